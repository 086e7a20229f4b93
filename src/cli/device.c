/* Which devices a command runs on. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/feed.h"

#define CAPABILITY(field, text, cpu_only) \
  { #field, text, offsetof(pare_device_capabilities, field), cpu_only }
const cli_capability cli_capabilities[] = {
    CAPABILITY(f16, "half", false),
    CAPABILITY(f64, "double", false),
    CAPABILITY(subgroups, "subgroups", false),
    CAPABILITY(integer_dot, "integer dot product", false),
    CAPABILITY(vector_extensions, "clang vectors", true),
    CAPABILITY(nontemporal_store, "non-temporal stores", true),
    CAPABILITY(inline_assembly, "x86 assembly", true),
    CAPABILITY(avx2, "AVX2", true),
    CAPABILITY(avx512, "AVX-512", true),
    CAPABILITY(avx512_vnni, "AVX-512 VNNI", true),
    CAPABILITY(avx512_bf16, "AVX-512 BF16", true),
    CAPABILITY(amx_int8, "AMX int8", true),
    CAPABILITY(unified_memory, "memory shared with the host", false),
};
const size_t cli_ncapabilities = CLI_COUNT(cli_capabilities);

const char cli_no_device[] = "there is no OpenCL device: no driver is installed, or those that are list none.\n"
                             "Install the driver of a device, for example (Debian, Ubuntu):\n"
                             "  pocl-opencl-icd    any CPU\n"
                             "  intel-opencl-icd   Intel GPUs\n"
                             "  mesa-opencl-icd    AMD GPUs (and others: RUSTICL_ENABLE=radeonsi, iris, llvmpipe)\n"
                             "  NVIDIA's and AMD's own drivers bring their OpenCL with them\n"
                             "PoCL lists no device where it cannot write its cache: POCL_CACHE_DIR names a folder";

bool cli_can(const pare_device_info *info, const cli_capability *capability) {
  bool value;
  memcpy(&value, (const char *)&info->can + capability->offset, sizeof value);
  return value;
}

const char *cli_device_type(pare_device_type type) {
  static const char *const names[] = {
      [PARE_DEVICE_CPU] = "cpu", [PARE_DEVICE_GPU] = "gpu", [PARE_DEVICE_ACCELERATOR] = "accel"};
  return (size_t)type < CLI_COUNT(names) ? names[type] : "?";
}

size_t cli_type_index(const pare_device_list *list, size_t index) {
  size_t count = 0;
  for (size_t i = 0; i < index; i++)
    if (pare_device_list_get(list, i)->type == pare_device_list_get(list, index)->type) count++;
  return count;
}

pare_status cli_select(const pare_device_list *list, const char *spec, pare_device_choice **choices, size_t *count) {
  *choices = NULL;
  pare_status status = pare_device_list_select(list, spec, 0, NULL, count);
  if (status != PARE_OK || *count == 0) return status;
  *choices = calloc(*count, sizeof **choices);
  if (!*choices) return PARE_ERR_MEMORY;
  return pare_device_list_select(list, spec, *count, *choices, count);
}

/* The selector of the n-th choice alone: its device by index, its parts as they were asked for. */
static void selector_of(const pare_device_choice *choices, size_t count, size_t n, char *text, size_t capacity) {
  size_t used = (size_t)snprintf(text, capacity, "%zu", choices[n].index);
  if (choices[n].nparts < 2) return;
  for (size_t i = n; i < count && choices[i].index == choices[n].index && used < capacity; i++)
    used += (size_t)snprintf(text + used, capacity - used, "%c%u", i == n ? '/' : '+', choices[i].compute_units);
}

cli_exit cli_each_device(const char *spec, const pare_schedule_options *schedule, cli_device_run run, void *user) {
  static const pare_schedule_options alone = {.parallel = PARE_PARALLEL_OFF};
  pare_device_list *list = NULL;
  pare_device_choice *choices = NULL;
  size_t count = 0;
  cli_exit code = CLI_OK;
  pare_status status = pare_device_list_open(false, &list);
  if (status == PARE_OK && pare_device_list_count(list) == 0) {
    code = cli_error(CLI_DEVICE, "%s", cli_no_device);
    goto out;
  }
  if (status == PARE_OK) status = cli_select(list, spec, &choices, &count);
  if (status != PARE_OK) {
    code = cli_fail(status);
    goto out;
  }
  for (size_t i = 0; i < count && (code == CLI_OK || code == CLI_FAILED); i++) {
    char selector[512];
    pare_context *context = NULL;
    if (i > 0 && choices[i].index == choices[i - 1].index) continue; /* another part of the same device */
    selector_of(choices, count, i, selector, sizeof selector);
    pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
    options.device = selector;
    options.schedule = schedule ? schedule : &alone;
    status = pare_context_open(&options, &context);
    cli_exit one = status == PARE_OK ? run(context, user) : cli_fail(status);
    pare_context_close(context);
    if (one != CLI_OK) code = one;
  }
out:
  free(choices);
  pare_device_list_close(list);
  return code;
}

cli_exit cli_family_check(const char *family) {
  const char *names[256];
  unsigned count = 0;
  if (!family) return CLI_OK;
  for (; count < CLI_COUNT(names) && pare_kernel_family(count); count++) {
    names[count] = pare_kernel_family(count);
    if (strcmp(names[count], family) == 0) return CLI_OK;
  }
  const char *nearest = cli_nearest(family, count, names);
  if (nearest) return cli_error(CLI_USAGE, "there is no kernel family '%s'; did you mean '%s'?", family, nearest);
  char known[2048] = "";
  for (size_t i = 0, used = 0; i < count && used < sizeof known; i++)
    used += (size_t)snprintf(known + used, sizeof known - used, " %s", names[i]);
  return cli_error(CLI_USAGE, "there is no kernel family '%s'; there are:%s", family, known);
}

/* What several devices do is traced: of one there would be no file. */
static cli_exit check_trace(pare_context *context, const pare_schedule_options *schedule) {
  pare_schedule_stats stats;
  if (!schedule || !schedule->trace || pare_context_stats(context, &stats) != PARE_OK) return CLI_OK;
  const size_t count = stats.ndevices;
  pare_schedule_stats_close(&stats);
  if (count > 1) return CLI_OK;
  return cli_error(CLI_USAGE,
                   "--trace %s: a trace shows what several devices do, and %s; select more, as in -d cpu/1+1 or -d all",
                   schedule->trace,
                   schedule->parallel == PARE_PARALLEL_OFF ? "with --parallel off one does all" : "one is selected");
}

cli_exit cli_context_open(const char *spec, const pare_schedule_options *schedule, pare_context **out) {
  static const pare_schedule_options alone = {.parallel = PARE_PARALLEL_OFF};
  pare_device_list *list = NULL;
  *out = NULL;
  pare_status status = pare_device_list_open(false, &list);
  const bool none = status == PARE_OK && pare_device_list_count(list) == 0;
  pare_device_list_close(list);
  if (none) return cli_error(CLI_DEVICE, "%s", cli_no_device);
  const pare_context_options options = {.device = spec, .schedule = schedule ? schedule : &alone};
  if (status == PARE_OK) status = pare_context_open(&options, out);
  if (status != PARE_OK) return cli_fail(status);
  const cli_exit code = check_trace(*out, schedule);
  if (code == CLI_OK) return CLI_OK;
  pare_context_close(*out);
  *out = NULL;
  return code;
}

cli_exit cli_model_open(pare_context *context, const char *path, const pare_model_options *options, pare_model **out) {
  const pare_status status = pare_model_open(context, path, options, out);
  if (status == PARE_OK) return CLI_OK;
  const cli_exit code = cli_fail(status);
  return status == PARE_ERR_UNSUPPORTED ? CLI_INPUT : code; /* it is the file that holds what pare lacks */
}

cli_exit cli_model_limits(const char *text, pare_model_options *options) {
  char *end;
  options->stop = cli_interrupt_open();
  if (!text) return CLI_OK;
  const long long count = strtoll(text, &end, 10);
  if (!*text || *end || count < 1) return cli_error(CLI_USAGE, "--loop-limit: '%s' is no number of iterations", text);
  options->loop_limit = (uint64_t)count;
  return CLI_OK;
}

static const char *const executors[] = {
    [PARE_EXECUTOR_AUTO] = "auto", [PARE_EXECUTOR_LAUNCHES] = "launches", [PARE_EXECUTOR_TICKETED] = "ticketed"};

const char *cli_executor_name(pare_executor executor) { return executors[executor]; }

pare_model_launches cli_launches(pare_model *model) {
  pare_model_launches count = {0};
  (void)pare_model_count_launches(model, &count); /* zeros then */
  return count;
}

cli_exit cli_executor(const char *text, pare_executor *out) {
  *out = PARE_EXECUTOR_AUTO;
  if (!text) return CLI_OK;
  for (unsigned i = 0; i < CLI_COUNT(executors); i++)
    if (strcmp(executors[i], text) == 0) {
      *out = (pare_executor)i;
      return CLI_OK;
    }
  return cli_error(CLI_USAGE, "--executor: '%s' is none of auto, launches, ticketed", text);
}
