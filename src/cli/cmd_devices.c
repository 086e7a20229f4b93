/* pare devices: what there is, what is selected, how to select another. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { JSON };
static const cli_option options[] = {[JSON] = CLI_OPTION_JSON, CLI_OPTIONS_END};

/* The machine and the selection, however far they were found. */
typedef struct machine {
  pare_device_list *list;
  pare_device_choice *choices;
  size_t nchoices;
  const char *spec, *spec_from; /* "-d", "PARE_DEVICE", "default" */
  pare_status status;           /* of the selection */
} machine;

#define LABEL 12 /* columns of the labels */

static void field(const char *label, const char *text) {
  if (!*text) return;
  printf("   %-*s", LABEL, label);
  cli_print_wrapped(3 + LABEL, 3 + LABEL, text);
}

static const char *type_text(pare_device_type type) {
  static const char *const names[] = {
      [PARE_DEVICE_CPU] = "CPU", [PARE_DEVICE_GPU] = "GPU", [PARE_DEVICE_ACCELERATOR] = "accelerator"};
  return (size_t)type < CLI_COUNT(names) ? names[type] : "?";
}

static void print_type(const pare_device_info *info) {
  char text[256], clock[CLI_TEXT] = "", vectors[CLI_TEXT] = "";
  if (info->clock_mhz) snprintf(clock, sizeof clock, " at %u MHz", info->clock_mhz);
  if (info->can.vector_bits) snprintf(vectors, sizeof vectors, ", %u-bit vectors", info->can.vector_bits);
  snprintf(text, sizeof text, "%s, %u unit%s%s%s", type_text(info->type), info->compute_units,
           info->compute_units == 1 ? "" : "s", clock, vectors);
  field("type", text);
}

static void print_memory(const pare_device_info *info) {
  char text[4 * CLI_TEXT + 64], memory[CLI_TEXT], buffer[CLI_TEXT], local[CLI_TEXT];
  snprintf(text, sizeof text, "%s, largest buffer %s, local %s", cli_bytes(info->memory_bytes, memory),
           cli_bytes(info->max_buffer_bytes, buffer), cli_bytes(info->local_bytes, local));
  field("memory", text);
  if (info->driver_bytes == 0) return;
  snprintf(text, sizeof text, "the driver itself takes %s of the host's memory", cli_bytes(info->driver_bytes, memory));
  field("", text);
}

static void print_capabilities(const pare_device_info *info, bool wanted, const char *label) {
  char text[1024] = "";
  size_t used = 0;
  bool cpu = info->type == PARE_DEVICE_CPU;
  for (size_t i = 0; i < cli_ncapabilities && used < sizeof text; i++)
    if (cli_can(info, &cli_capabilities[i]) == wanted && (wanted || cpu || !cli_capabilities[i].cpu_only))
      used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", cli_capabilities[i].text);
  field(label, text);
}

/* "OpenCL 3.0 and what the vendor adds": the length without the addition. */
static size_t opencl_version_length(const char *text) {
  size_t first = strcspn(text, " ");
  return text[first] ? first + 1 + strcspn(text + first + 1, " ") : first;
}

/* "selected 1st" or "selected 2nd, 3rd" for the parts of a divided device. */
static void print_rank(const machine *found, size_t index) {
  const char *before = "  selected ";
  for (size_t i = 0; i < found->nchoices; i++) {
    char text[CLI_TEXT];
    if (found->choices[i].index != index) continue;
    cli_print(CLI_GOOD, "%s%s", before, cli_ordinal(i + 1, text));
    unsigned units = found->choices[i].compute_units;
    if (found->choices[i].nparts > 1) cli_print(CLI_GOOD, " (%u unit%s)", units, units == 1 ? "" : "s");
    if (found->choices[i].group > 0) cli_print(CLI_GOOD, " in group %u", found->choices[i].group);
    before = ", ";
  }
}

static void print_device(const machine *found, size_t index) {
  const pare_device_info *info = pare_device_list_get(found->list, index);
  const char *type = cli_device_type(info->type);
  char text[1024];
  cli_print(CLI_BOLD, "%zu  %s", index, info->name);
  print_rank(found, index);
  if (!info->usable) cli_print(CLI_BAD, "  refused");
  putchar('\n');
  field("vendor", info->vendor);
  snprintf(text, sizeof text, "%s, version %s, %.*s", info->driver, info->driver_version,
           (int)opencl_version_length(info->opencl_version), info->opencl_version);
  field("driver", text);
  field("platform", info->platform);
  print_type(info);
  print_memory(info);
  print_capabilities(info, true, "supports");
  if (info->can.vector_bits) print_capabilities(info, false, "lacks"); /* else nothing was tried: see the remark */
  field("remark", info->remark ? info->remark : "");
  snprintf(text, sizeof text, "-d %zu, -d %s:%zu or -d %u:%u", index, type, cli_type_index(found->list, index),
           info->platform_index, info->device_index);
  field("select by", text);
  putchar('\n');
}

static void print_selection(const machine *found) {
  char text[1024], from[512];
  if (found->nchoices == 0) return;
  const pare_device_info *first = pare_device_list_get(found->list, found->choices[0].index);
  if (found->spec)
    snprintf(from, sizeof from, "%s '%s'", found->spec_from, found->spec);
  else
    snprintf(from, sizeof from, "the default (all GPUs, else the first CPU)");
  const bool alone = found->nchoices == 1;
  snprintf(text, sizeof text, "%zu selected by %s. %s %zu, %s.", found->nchoices, from,
           alone ? "Everything runs on it:"
                 : "Work is divided among them by measured speed; with --parallel off everything runs on the first:",
           found->choices[0].index, first->name);
  cli_print_wrapped(0, 0, text);
  cli_print_wrapped(0, 0,
                    "To select others: -d SPEC, or PARE_DEVICE=SPEC in the environment; SPEC is a number above, gpu, "
                    "cpu:1, a driver or "
                    "a part of a name, several by commas, !NAME to leave out. See 'pare help selectors'.");
}

static cli_exit print_people(const machine *found) {
  size_t count = pare_device_list_count(found->list);
  for (size_t i = 0; i < count; i++) print_device(found, i);
  if (count == 0) return cli_error(CLI_DEVICE, "%s", cli_no_device);
  if (found->status != PARE_OK) return cli_fail(found->status);
  print_selection(found);
  return CLI_OK;
}

static json_t *selected_json(const machine *found) {
  json_t *array = json_array();
  for (size_t i = 0; array && i < found->nchoices; i++) {
    const pare_device_choice *choice = &found->choices[i];
    json_array_append_new(array,
                          json_pack("{s:I, s:i, s:i, s:i, s:f, s:i}", "index", (json_int_t)choice->index, "part",
                                    (int)choice->part, "nparts", (int)choice->nparts, "compute_units",
                                    (int)choice->compute_units, "weight", choice->weight, "group", (int)choice->group));
  }
  return array;
}

static cli_exit print_json(const machine *found) {
  json_t *devices = json_array();
  size_t count = pare_device_list_count(found->list);
  const char *error = "";
  if (count == 0)
    error = "there is no OpenCL device";
  else if (found->status != PARE_OK)
    error = pare_message();
  for (size_t i = 0; devices && i < count; i++) json_array_append_new(devices, cli_json_device(found->list, i));
  json_t *json = json_pack("{s:s, s:o, s:{s:s?, s:s}, s:o, s:o}", "version", pare_version(), "devices", devices,
                           "selector", "text", found->spec, "from", found->spec_from, "selected", selected_json(found),
                           "error", *error ? cli_json_text(error) : json_null());
  cli_exit code = cli_json_print(json);
  if (code != CLI_OK || !*error) return code;
  return count == 0 ? cli_error(CLI_DEVICE, "%s", cli_no_device) : cli_fail(found->status);
}

static cli_exit run(const cli_arguments *arguments) {
  machine found = {.spec = arguments->device, .spec_from = arguments->device ? "-d" : "PARE_DEVICE"};
  if (!found.spec) found.spec = getenv("PARE_DEVICE");
  if (!found.spec || !*found.spec) {
    if (!arguments->device) found.spec = NULL;
    found.spec_from = arguments->device ? "-d" : "default";
  }
  pare_status status = pare_device_list_open(true, &found.list);
  if (status != PARE_OK) {
    cli_exit code = cli_fail(status);
    cli_note("%s", cli_no_device);
    return code;
  }
  if (pare_device_list_count(found.list) > 0)
    found.status = cli_select(found.list, arguments->device, &found.choices, &found.nchoices);
  if (found.status != PARE_OK) found.nchoices = 0;
  cli_exit code = cli_value(arguments, &options[JSON]) ? print_json(&found) : print_people(&found);
  free(found.choices);
  pare_device_list_close(found.list);
  return code;
}

const cli_command cli_cmd_devices = {
    .name = "devices",
    .summary = "list the OpenCL devices and show which are selected",
    .usage = "[-d SPEC] [--json]",
    .about =
        "Lists every device of every installed OpenCL driver, what it can do, which devices are selected and in what "
        "order, and how to select others. Everything is listed even when the selector is wrong; the exit code is then "
        "4.",
    .options = options,
    .uses_device = true,
    .run = run,
};
