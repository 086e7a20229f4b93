/* Traces: any bytes are drawn, summed up and turned into what pare simulate reads, or there is an error.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/simulate.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "cli/cli.h"
#include "fuzz.h"

/* ---- what prints is silent; cli_error is a macro, too ---- */

cli_exit(cli_error)(cli_exit code, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  FUZZ_LAW(code != CLI_OK && text[0] != '\0');
  return code;
}

cli_exit cli_json_print(json_t *json) {
  FUZZ_LAW(json != NULL);
  json_decref(json);
  return CLI_OK;
}

json_t *cli_json_text(const char *text) { return json_string(text); }

const char *cli_value(const cli_arguments *arguments, const cli_option *option) {
  for (size_t i = 0; i < arguments->ngiven; i++)
    if (arguments->given[i].option == option) return arguments->given[i].value;
  return NULL;
}

/* Never called: the sums are asked for as JSON. */
cli_table *cli_table_open(const char *titles) {
  (void)titles;
  return NULL;
}
void cli_table_cell(cli_table *table, cli_style style, const char *format, ...) {
  (void)table;
  (void)style;
  (void)format;
}
cli_exit cli_table_print(cli_table *table) {
  (void)table;
  return CLI_FAILED;
}
const char *cli_seconds(double seconds, char text[CLI_TEXT]) {
  (void)seconds;
  return text;
}

/* ---- the fuzzer ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static const char *const names[] = {"svg", "machine", "tasks", "json"};
  char path[5][256];
  cli_given given[4];
  for (size_t i = 0; i < 4; i++) {
    const cli_option *option = cli_cmd_trace.options;
    while (strcmp(option->name, names[i]) != 0) option++;
    snprintf(path[i], sizeof path[i], "%s/trace.%s", fuzz_folder(), names[i]);
    given[i] = (cli_given){option, path[i]};
  }
  snprintf(path[4], sizeof path[4], "%s/trace", fuzz_folder());
  FUZZ_LAW(pare__file_write(path[4], data, nbytes) == PARE_OK);
  const char *operand = path[4];
  const cli_arguments arguments = {.ngiven = 4, .noperands = 1, .given = given, .operands = &operand};
  if (cli_cmd_trace.run(&arguments) != CLI_OK) return 0;
  pare_machine *machine;
  pare_workload *work;
  FUZZ_LAW(pare_machine_open(path[1], &machine) == PARE_OK);
  FUZZ_LAW(pare_workload_open(path[2], &work) == PARE_OK);
  pare_workload_close(work);
  pare_machine_close(machine);
  return 0;
}
