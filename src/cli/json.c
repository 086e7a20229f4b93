/* JSON through jansson. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

json_t *cli_json_text(const char *text) {
  json_t *json = json_string(text);
  if (json) return json;
  char *copy = strdup(text);
  if (!copy) return NULL;
  for (char *c = copy; *c; c++)
    if ((unsigned char)*c >= 128) *c = '?';
  json = json_string(copy);
  free(copy);
  return json;
}

/* Keys are UTF-8 as well. */
int cli_json_set(json_t *object, const char *key, json_t *value) {
  json_t *text = cli_json_text(key);
  const int failed = json_object_set_new(object, text ? json_string_value(text) : "", value);
  json_decref(text);
  return failed;
}

static json_t *capabilities(const pare_device_info *info) {
  json_t *json = json_pack("{s:i, s:I}", "vector_bits", (int)info->can.vector_bits, "max_loop_steps",
                           (json_int_t)info->can.max_loop_steps);
  for (size_t i = 0; json && i < cli_ncapabilities; i++)
    json_object_set_new(json, cli_capabilities[i].name, json_boolean(cli_can(info, &cli_capabilities[i])));
  return json;
}

json_t *cli_json_device(const pare_device_list *list, size_t index) {
  const pare_device_info *info = pare_device_list_get(list, index);
  const char *type = cli_device_type(info->type);
  size_t type_index = cli_type_index(list, index);
  char by_type[64], by_place[64], by_index[32];
  snprintf(by_index, sizeof by_index, "%zu", index);
  snprintf(by_type, sizeof by_type, "%s:%zu", type, type_index);
  snprintf(by_place, sizeof by_place, "%u:%u", info->platform_index, info->device_index);
  return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:o, s:b, "
                   "s:o, s:[s, s, s]}",
                   "index", (json_int_t)index, "name", cli_json_text(info->name), "vendor", cli_json_text(info->vendor),
                   "platform", cli_json_text(info->platform), "driver", cli_json_text(info->driver), "driver_version",
                   cli_json_text(info->driver_version), "opencl_version", cli_json_text(info->opencl_version), "type",
                   type, "type_index", (json_int_t)type_index, "platform_index", (int)info->platform_index,
                   "device_index", (int)info->device_index, "compute_units", (int)info->compute_units, "clock_mhz",
                   (int)info->clock_mhz, "memory_bytes", (json_int_t)info->memory_bytes, "max_buffer_bytes",
                   (json_int_t)info->max_buffer_bytes, "local_bytes", (json_int_t)info->local_bytes, "driver_bytes",
                   (json_int_t)info->driver_bytes, "capabilities", capabilities(info), "usable", info->usable, "remark",
                   cli_json_text(info->remark ? info->remark : ""), "selectors", by_index, by_type, by_place);
}

cli_exit cli_json_print(json_t *json) {
  if (!json) return cli_error(CLI_DEVICE, "out of memory for JSON");
  int failed = json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
  json_decref(json);
  putchar('\n');
  return failed && !ferror(stdout) ? cli_error(CLI_DEVICE, "out of memory for JSON") : CLI_OK;
}

cli_exit cli_json_print_results(json_t *array, cli_exit code) {
  bool worth_it = code == CLI_OK || code == CLI_FAILED || json_array_size(array) > 0;
  if (!worth_it) json_decref(array);
  cli_exit printed = worth_it ? cli_json_print(array) : CLI_OK;
  return code == CLI_OK ? printed : code;
}
