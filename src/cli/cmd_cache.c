/* pare cache: the folder of built programs, self-tests, tuning and learned speeds. SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

enum { JSON };
static const cli_option options[] = {[JSON] = CLI_OPTION_JSON, CLI_OPTIONS_END};

static cli_exit show(bool json) {
  pare_cache_info info;
  char bytes[CLI_TEXT], limit[CLI_TEXT];
  pare_status status = pare_cache_get(&info);
  if (status != PARE_OK) return cli_fail(status);
  if (json)
    return cli_json_print(json_pack("{s:o, s:I, s:I, s:I}", "folder", cli_json_text(info.folder), "files",
                                    (json_int_t)info.files, "bytes", (json_int_t)info.bytes, "limit_bytes",
                                    (json_int_t)info.limit_bytes));
  printf("folder  %s\n",
         *info.folder ? info.folder : "none: PARE_CACHE, XDG_CACHE_HOME or HOME names one by an absolute path");
  printf("files   %llu\n", (unsigned long long)info.files);
  printf("size    %s of at most %s\n", cli_bytes(info.bytes, bytes), cli_bytes(info.limit_bytes, limit));
  return CLI_OK;
}

static cli_exit clear(bool json) {
  pare_cache_info info;
  uint64_t nremoved = 0;
  pare_status status = pare_cache_get(&info);
  if (status == PARE_OK) status = pare_cache_clear(&nremoved);
  if (status != PARE_OK) return cli_fail(status);
  if (json)
    return cli_json_print(
        json_pack("{s:o, s:I}", "folder", cli_json_text(info.folder), "removed", (json_int_t)nremoved));
  printf("%llu file%s removed from %s\n", (unsigned long long)nremoved, nremoved == 1 ? "" : "s",
         *info.folder ? info.folder : "no folder");
  return CLI_OK;
}

static cli_exit run(const cli_arguments *arguments) {
  const char *action = arguments->noperands ? arguments->operands[0] : "show";
  bool json = cli_value(arguments, &options[JSON]) != NULL;
  if (strcmp(action, "show") == 0) return show(json);
  if (strcmp(action, "clear") == 0) return clear(json);
  return cli_error(CLI_USAGE, "'pare cache %s' is not known; there are 'pare cache show' and 'pare cache clear'",
                   action);
}

const cli_command cli_cmd_cache = {
    .name = "cache",
    .summary = "show or clear the cache of programs, self-tests, tuning and speeds",
    .usage = "[show|clear] [--json]",
    .about = "Built programs, the results of self-tests and of tuning, and the speeds that the scheduler has learned "
             "are kept "
             "in $PARE_CACHE, else $XDG_CACHE_HOME/pare, else ~/.cache/pare. Clearing it costs time at the next run, "
             "never a result; tuning has to be repeated.",
    .options = options,
    .operands = "show clear",
    .max_operands = 1,
    .run = run,
};
