/* Self-tests in a child process. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/trial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ocl/child.h"

#define DEFAULT_SECONDS 30
#define BUILD_SHARE 4 /* times that to build */
#define REASON 320

/* The positions of the child's arguments; the numbers of modes, dtypes and tuning are lists "1,2,3". */
enum { ARG_DEVICE = 1, ARG_FAMILY, ARG_VARIANT, ARG_MODE, ARG_DTYPES, ARG_TUNING, ARG_COUNT };

bool pare__trial_needed(pare__device *device, const pare__instance *instance) {
  return instance->variant->risky || !pare__device_known(device);
}

static void print_list(char *text, size_t capacity, const int *value, unsigned count) {
  size_t used = 0;
  for (unsigned i = 0; i < count && used < capacity; i++)
    used += (size_t)snprintf(text + used, capacity - used, "%s%d", i ? "," : "", value[i]);
}

static bool parse_list(const char *text, int *value, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || errno || number < INT32_MIN || number > INT32_MAX || *end != (i + 1 < count ? ',' : '\0'))
      return false;
    value[i] = (int)number;
    text = end + 1;
  }
  return true;
}

static unsigned time_limit_ms(void) {
  const char *text = getenv("PARE_TRIAL_SECONDS");
  char *end;
  unsigned long seconds = text ? strtoul(text, &end, 10) : 0;
  if (!text || end == text || *end != '\0' || seconds == 0 || seconds > 3600) seconds = DEFAULT_SECONDS;
  return (unsigned)seconds * 1000;
}

/* Reads the line of the child. */
static bool read_verdict(const char *output, pare__verdict *verdict, char *reason, size_t capacity) {
  const char *text;
  bool found = pare__verdict_parse(output, verdict, &text);
  if (found) snprintf(reason, capacity, "%.*s", (int)strcspn(text, "\n"), text);
  return found;
}

pare_status pare__trial_run(pare__device *device, const pare__instance *instance, pare__verdict *verdict, char *reason,
                            size_t capacity) {
  const pare_device_info *info = pare__device_info(device);
  char where[40], mode[20], dtypes[PARE__MAX_BUFFERS * 12], tuning[PARE__MAX_PARAMS * 12];
  int dtype[PARE__MAX_BUFFERS];
  for (unsigned i = 0; i < PARE__MAX_BUFFERS; i++) dtype[i] = (int)instance->dtype[i];
  snprintf(where, sizeof where, "%u:%u", info->platform_index, info->device_index);
  snprintf(mode, sizeof mode, "%d", instance->mode);
  print_list(dtypes, sizeof dtypes, dtype, PARE__MAX_BUFFERS);
  print_list(tuning, sizeof tuning, instance->tuning.value, PARE__MAX_PARAMS);
  const char *const arguments[] = {where, instance->family->name, instance->variant->name, mode, dtypes, tuning, NULL};

  char *output = NULL;
  pare__child_end end;
  const unsigned limit_ms = time_limit_ms();
  const pare__child_limits limits = {BUILD_SHARE * limit_ms, limit_ms};
  PARE__TRY(pare__child_run(arguments, &limits, &output, &end));
  if (!end.started) {
    *verdict = PARE__UNTESTED;
    snprintf(reason, capacity, "its self-test needs a child process, and the program for that could not be started");
  } else if (end.building) {
    *verdict = PARE__SLOW_BUILD;
    snprintf(reason, capacity, "not built after %u s", limits.build_ms / 1000);
  } else if (end.timed_out) {
    *verdict = end.starved ? PARE__SLOW_RUN : PARE__HUNG;
    snprintf(reason, capacity, "no result after %.0f s%s, %.0f s of them on a processor", end.seconds,
             end.starved ? " of a busy machine" : "", end.used);
  } else if (end.signal != 0) {
    *verdict = PARE__CRASHED;
    snprintf(reason, capacity, "signal %d (%s)", end.signal, strsignal(end.signal));
  } else if (!output || !read_verdict(output, verdict, reason, capacity)) {
    *verdict = PARE__CRASHED; /* some compilers end their process */
    snprintf(reason, capacity, "the child process ended with status %d and no verdict", end.code);
  }
  free(output);
  return PARE_OK;
}

static pare_status find_instance(char **argv, const pare__family *const *families, pare__instance *out) {
  memset(out, 0, sizeof *out);
  int dtype[PARE__MAX_BUFFERS];
  for (size_t i = 0; families[i] && !out->family; i++)
    if (strcmp(families[i]->name, argv[ARG_FAMILY]) == 0) out->family = families[i];
  for (const pare__variant *variant = out->family ? out->family->variants : NULL; variant && variant->name; variant++)
    if (strcmp(variant->name, argv[ARG_VARIANT]) == 0) out->variant = variant;
  bool ok = out->variant && parse_list(argv[ARG_MODE], &out->mode, 1) &&
            parse_list(argv[ARG_DTYPES], dtype, PARE__MAX_BUFFERS) &&
            parse_list(argv[ARG_TUNING], out->tuning.value, PARE__MAX_PARAMS);
  for (unsigned i = 0; ok && i < PARE__MAX_BUFFERS; i++) {
    out->dtype[i] = (pare_dtype)dtype[i];
    ok = dtype[i] >= 0 && dtype[i] < PARE_NDTYPES;
  }
  return ok ? PARE_OK : pare__fail(PARE_ERR_ARGUMENT, "there is no such variant");
}

static pare_status run_here(char **argv, const pare__family *const *families, pare__verdict *verdict, char *reason,
                            size_t capacity) {
  pare__instance instance;
  PARE__TRY(find_instance(argv, families, &instance));
  pare_device_list *list;
  pare_device_choice choice;
  size_t count;
  PARE__TRY(pare_device_list_open(false, &list));
  pare__device *device = NULL;
  pare_status status = pare_device_list_select(list, argv[ARG_DEVICE], 1, &choice, &count);
  if (status == PARE_OK) status = pare__device_open(list, &choice, 0, &device);
  if (status == PARE_OK) pare__device_watch_builds(device, pare__child_tell);
  if (status == PARE_OK) status = pare__trust_here(device, &instance, verdict, reason, capacity);
  pare__device_close(device);
  pare_device_list_close(list);
  return status;
}

int pare__trial_main(int argc, char **argv, const pare__family *const *families) {
  pare__verdict verdict;
  char reason[REASON] = "";
  if (argc != ARG_COUNT) return 2;
  pare__child_end_with_parent();
  if (run_here(argv, families, &verdict, reason, sizeof reason) != PARE_OK) {
    verdict = PARE__REFUSED;
    snprintf(reason, sizeof reason, "%s", pare_message());
  }
  for (char *c = reason; *c; c++)
    if (*c == '\n') *c = ' ';
  char line[REASON + 40];
  int length = snprintf(line, sizeof line, "%s: %s\n", pare__verdict_name(verdict), reason);
  return length > 0 && fwrite(line, 1, (size_t)length, stdout) == (size_t)length && fflush(stdout) == 0 ? 0 : 1;
}
