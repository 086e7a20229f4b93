/* Trial compiles and tiny runs. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ocl/child.h"
#include "ocl/host_cpu.h"

#define INTS_A_PROBE 4
#define SUBGROUP_ITEMS 32
#define CHILD_LIMIT_MS 30000
#define CHILD_BUILD_LIMIT_MS 120000
/* Compilers may keep the whole of this in one kernel: OpenCL C 1.2, one work-item. */
#define TOGETHER                                                                                                  \
  (1u << PARE__PROBE_LOOP | 1u << PARE__PROBE_F16 | 1u << PARE__PROBE_F64 | 1u << PARE__PROBE_VECTOR_EXTENSIONS | \
   1u << PARE__PROBE_NONTEMPORAL_STORE | 1u << PARE__PROBE_INLINE_ASSEMBLY)

typedef struct probe_row {
  const char *name;
  const char *extension; /* tried only where this is advertised; NULL: everywhere */
  const char *options;
  int group;
  cl_int expected[INTS_A_PROBE]; /* for the loop and the assembly: see check() */
} probe_row;

static const probe_row rows[PARE__NPROBES] = {
    [PARE__PROBE_LOOP] = {"LOOP", NULL, "", 1, {0}},
    [PARE__PROBE_F16] = {"F16", "cl_khr_fp16", "", 1, {15, 2048}},
    [PARE__PROBE_F64] = {"F64", "cl_khr_fp64", "", 1, {2}},
    [PARE__PROBE_VECTOR_EXTENSIONS] = {"VECTOR_EXTENSIONS", NULL, "", 1, {65, 2}},
    [PARE__PROBE_NONTEMPORAL_STORE] = {"NONTEMPORAL_STORE", NULL, "", 1, {4, 5, 6, 7}},
    [PARE__PROBE_INLINE_ASSEMBLY] = {"INLINE_ASSEMBLY", NULL, "", 1, {0}},
    [PARE__PROBE_SUBGROUPS] =
        {"SUBGROUPS", "subgroups", "-cl-std=CL3.0", SUBGROUP_ITEMS, {SUBGROUP_ITEMS, SUBGROUP_ITEMS}},
    [PARE__PROBE_INTEGER_DOT] = {"INTEGER_DOT",
                                 "cl_khr_integer_dot_product",
                                 "-cl-std=CL3.0",
                                 1,
                                 {-128 * 127 * 2 + 3 + 8, 128 * 127 + 127 * 128 + 3 + 8}},
};

/* ---- what the results must be ---- */

static void check(unsigned probes, const cl_int *got, pare__probe_result *out) {
  for (unsigned i = 0; i < PARE__NPROBES; i++, got += INTS_A_PROBE) {
    if (!(probes & 1u << i)) continue;
    bool right = memcmp(got, rows[i].expected, sizeof rows[i].expected) == 0;
    if (i == PARE__PROBE_INLINE_ASSEMBLY) right = pare__host_cpu_is(got);
    if (i == PARE__PROBE_LOOP) {
      out->loop_steps = got[0];
      right = got[0] > 0 && got[0] <= PARE__PROBE_STEPS;
    }
    if (right) out->passed |= 1u << i;
  }
}

/* ---- one try ---- */

static pare_status run_kernel(pare__device *device, unsigned probes, pare__kernel *kernel, size_t group,
                              pare__probe_result *out) {
  cl_int in[16], result[INTS_A_PROBE * PARE__NPROBES] = {0};
  for (int i = 0; i < 16; i++) in[i] = i + 1;
  pare__buffer *in_buffer = NULL, *out_buffer = NULL;
  pare__args args = {.count = 0};
  pare_status status = pare__buffer_create(device, sizeof in, "probes", &in_buffer);
  if (status == PARE_OK) status = pare__buffer_create(device, sizeof result, "probes", &out_buffer);
  if (status == PARE_OK) status = pare__buffer_write(in_buffer, 0, sizeof in, in);
  if (status == PARE_OK) status = pare__buffer_write(out_buffer, 0, sizeof result, result);
  if (status == PARE_OK) {
    pare__arg_mem(&args, pare__buffer_mem(out_buffer));
    pare__arg_mem(&args, pare__buffer_mem(in_buffer));
    pare__arg_long(&args, PARE__PROBE_STEPS);
    status = pare__launch(device, kernel, 1, &group, &group, &args);
  }
  if (status == PARE_OK) status = pare__buffer_read(out_buffer, 0, sizeof result, result);
  if (status == PARE_OK) check(probes, result, out);
  pare__buffer_release(in_buffer);
  pare__buffer_release(out_buffer);
  return status;
}

/* Builds and runs these probes in one kernel. They share options and group: those of the first. */
static pare_status try_here(pare__device *device, unsigned probes, pare__probe_result *out) {
  char options[400];
  int used = 0, group = 1;
  for (int i = 0; i < PARE__NPROBES; i++) {
    if (!(probes & 1u << i)) continue;
    group = rows[i].group;
    used +=
        snprintf(options + used, sizeof options - (size_t)used, "-DPROBE_%s=%d %s ", rows[i].name, i, rows[i].options);
  }
  snprintf(options + used, sizeof options - (size_t)used, "-DGROUP=%d", group);
  pare__program *program = NULL;
  pare__kernel *kernel = NULL;
  PARE__TRY(pare__program_get(device, PARE__PROBE_FILE, options, &program));
  PARE__TRY(pare__kernel_get(program, "probe", &kernel));
  return run_kernel(device, probes, kernel, (size_t)group, out);
}

static pare_status try_in_child(pare__device *device, unsigned probes, pare__probe_result *out) {
  char where[40], set[16];
  snprintf(where, sizeof where, "%u:%u", device->info.platform_index, device->info.device_index);
  snprintf(set, sizeof set, "%u", probes);
  const char *const arguments[] = {"probe", where, set, NULL};
  char *output = NULL;
  pare__child_end end;
  pare__probe_result result = {.complete = true};
  const pare__child_limits limits = {CHILD_BUILD_LIMIT_MS, CHILD_LIMIT_MS};
  PARE__TRY(pare__child_run(arguments, &limits, &output, &end));
  char *steps = NULL;
  unsigned long passed = output ? strtoul(output, &steps, 10) : 0;
  bool answered = output && *steps == ' ';
  if (answered) result = (pare__probe_result){(unsigned)passed, strtol(steps, NULL, 10), true};
  free(output);
  if (!end.started)
    return pare__fail(PARE_ERR_IO,
                      "trying out %s needs the program pare-trial, which could not be started; install pare whole",
                      device->info.name);
  if (end.building)
    return pare__fail(PARE_ERR_DEVICE, "a probe of %s was not built after %d s", device->info.name,
                      CHILD_BUILD_LIMIT_MS / 1000);
  if (end.starved)
    return pare__fail(PARE_ERR_DEVICE, "a probe of %s had no result after %.0f s on a busy machine", device->info.name,
                      end.seconds);
  if (!answered)
    return pare__fail(PARE_ERR_KERNEL, "a probe of %s %s", device->info.name,
                      end.timed_out ? "hung"
                      : end.signal  ? "crashed"
                                    : "gave no result");
  out->passed |= result.passed & probes;
  if (probes & 1u << PARE__PROBE_LOOP) out->loop_steps = result.loop_steps;
  return PARE_OK;
}

/* ---- all of them ---- */

typedef pare_status (*try_function)(pare__device *device, unsigned probes, pare__probe_result *out);

/* What does not build, crashes or computes wrong values is not possible, which is no error. A driver that fails
 * otherwise may work tomorrow: then the findings are not complete. */
static pare_status attempt(pare__device *device, unsigned probes, try_function try_probes, pare__probe_result *out) {
  pare_status status = try_probes(device, probes, out);
  if (status == PARE_OK) return PARE_OK;
  pare__log(PARE_LOG_DEBUG, "probes %#x of %s: %s", probes, device->info.name, pare_message());
  if (status != PARE_ERR_KERNEL) out->complete = false;
  return status;
}

static unsigned offered_probes(const pare__device *device, const char *extensions) {
  unsigned offered = 0;
  cl_uint nsubgroups = 0;
  /* not known before OpenCL 2.1 */
  bool subgroups =
      clGetDeviceInfo(device->id, CL_DEVICE_MAX_NUM_SUB_GROUPS, sizeof nsubgroups, &nsubgroups, NULL) == CL_SUCCESS &&
      nsubgroups > 0;
  for (unsigned i = 0; i < PARE__NPROBES; i++)
    if (!rows[i].extension || strstr(extensions, rows[i].extension)) offered |= 1u << i;
  if (!subgroups) offered &= ~(1u << PARE__PROBE_SUBGROUPS);
#if defined(__x86_64__)
  bool assembly = device->info.type == PARE_DEVICE_CPU && !device->quirks->simulator;
#else
  bool assembly = false;
#endif
  if (!assembly) offered &= ~(1u << PARE__PROBE_INLINE_ASSEMBLY);
  return offered;
}

pare_status pare__probe_device(pare__device *device, const char *extensions, bool in_child, pare__probe_result *out) {
  *out = (pare__probe_result){.complete = true};
  char source[33];
  PARE__TRY(pare__source_hash(device, PARE__PROBE_FILE, source)); /* without the file every probe would seem to fail */
  try_function try_probes = in_child ? try_in_child : try_here;
  unsigned offered = offered_probes(device, extensions), together = offered & TOGETHER;
  if (attempt(device, together, try_probes, out) == PARE_OK)
    offered &= ~together;
  else
    out->complete = true; /* each is tried again */
  for (unsigned i = 0; i < PARE__NPROBES; i++) {
    if (!(offered & 1u << i)) continue;
    pare_status status = attempt(device, 1u << i, try_probes, out);
    /* without the loop the device would be refused: that takes more than a failing call */
    if (i == PARE__PROBE_LOOP && status != PARE_OK && status != PARE_ERR_KERNEL) return status;
  }
  return PARE_OK;
}

int pare__probe_main(int argc, char **argv) {
  char *end = NULL;
  unsigned long probes = argc == 4 ? strtoul(argv[3], &end, 10) : 0;
  if (argc != 4 || *end || probes == 0 || probes >> PARE__NPROBES) return 2;
  pare__child_end_with_parent();
  pare_device_list *list = NULL;
  pare_device_choice choice;
  size_t count = 0;
  pare__device *device = NULL;
  pare__probe_result result = {.complete = true};
  pare_status status = pare_device_list_open(false, &list);
  if (status == PARE_OK) status = pare_device_list_select(list, argv[2], 1, &choice, &count);
  if (status == PARE_OK) status = pare__device_open_bare(list, choice.index, &device);
  if (status == PARE_OK) pare__device_watch_builds(device, pare__child_tell);
  if (status == PARE_OK) status = try_here(device, (unsigned)probes, &result);
  pare__device_close(device);
  pare_device_list_close(list);
  if (status != PARE_OK) return 1;
  return printf("%u %ld\n", result.passed, result.loop_steps) > 0 && fflush(stdout) == 0 ? 0 : 1;
}
