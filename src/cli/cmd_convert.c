/* pare convert: models in portable or compact storage. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/storage.h"

enum { STORAGE, JSON };
static const cli_option options[] = {
    [STORAGE] = {"storage", "portable|compact", "portable: every ONNX runtime reads it; compact: only pare does", 0},
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

bool cli_storage(const char *text, pare_storage *out) {
  if (text && strcmp(text, "portable") == 0)
    *out = PARE_STORAGE_PORTABLE;
  else if (text && strcmp(text, "compact") == 0)
    *out = PARE_STORAGE_COMPACT;
  else
    return text == NULL;
  return true;
}

static cli_exit run(const cli_arguments *arguments) {
  const char *storage = cli_value(arguments, &options[STORAGE]);
  pare_storage to = PARE_STORAGE_PORTABLE;
  pare_conversion conversion;
  char text[2][CLI_TEXT];
  if (arguments->noperands < 2)
    return cli_error(CLI_USAGE, "say which files: pare convert IN OUT --storage compact (IN itself is allowed)");
  if (!storage || !cli_storage(storage, &to)) return cli_error(CLI_USAGE, "--storage: say portable or compact");
  const char *in = arguments->operands[0], *out = arguments->operands[1];
  const pare_status status = pare_convert(in, out, to, &conversion);
  if (status != PARE_OK) return cli_fail(status);
  if (cli_value(arguments, &options[JSON]))
    return cli_json_print(json_pack("{s:o, s:o, s:s, s:I, s:I, s:I}", "input", cli_json_text(in), "output",
                                    cli_json_text(out), "storage", storage, "input_bytes",
                                    (json_int_t)conversion.input_bytes, "output_bytes",
                                    (json_int_t)conversion.output_bytes, "tensors", (json_int_t)conversion.ntensors));
  printf("%s: %s %s instead of %s; %zu tensor%s changed\n", out, cli_bytes(conversion.output_bytes, text[0]), storage,
         cli_bytes(conversion.input_bytes, text[1]), conversion.ntensors, conversion.ntensors == 1 ? "" : "s");
  return CLI_OK;
}

const cli_command cli_cmd_convert = {
    .name = "convert",
    .summary = "store a pruned model compact, or portable again",
    .usage = "IN OUT --storage portable|compact [--json]",
    .about =
        "Writes an ONNX model again with its N:M sparse tensors (2:4 and whatever else is found) packed, values and "
        "indices, as only pare reads them; or with dense zeros, as every runtime does. Nothing else changes, and "
        "back again gives the same bytes. OUT may be IN.",
    .options = options,
    .max_operands = 2,
    .run = run,
};
