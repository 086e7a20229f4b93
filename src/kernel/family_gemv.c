/* Products of at most four rows with a matrix: bound by reading B. The problem is that of family_gemm.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "kernel/family_gemm.h"

int pare__gemv_mode(const pare__problem *problem) {
  const int64_t *dim = problem->dim;
  if (dim[GEMM_PANEL] > 0) return GEMV_PANELS;
  return dim[GEMM_B_ROW] == 1 && dim[GEMM_B_COL] != 1 ? GEMV_DOTS : GEMV_COLUMNS;
}

static bool accepts(const pare__problem *whole) {
  return pare__gemm_accepts(whole) && whole->dim[GEMM_M] <= GEMV_MOST_ROWS;
}

/* ---- for CPUs ---- */

static const pare__param cpu_params[] = {{"NC", (const int[]){512, 256, 1024, 128, 0}}, {NULL, NULL}};

static bool cpu_accepts(const pare_device_info *info, const pare__problem *whole) {
  (void)info;
  return accepts(whole) && whole->dtype[GEMM_BUFFER_C] != PARE_F64;
}

static pare_status cpu_batch(const pare__run *run, int64_t batch0) {
  const int64_t *dim = run->piece->dim, least_columns = 64;
  const pare_device_info *info = pare__device_info(run->device);
  const int64_t batches = dim[GEMM_BATCH1] * dim[GEMM_BATCH2],
                groups = pare__div_up(4 * (int64_t)info->compute_units, batches);
  int64_t nc = pare__round_up(pare__div_up(dim[GEMM_N], groups), least_columns);
  nc = PARE__MIN(nc, pare__tuned(run, "NC"));
  pare__args args = {0};
  pare__gemm_args_operands(&args, run, batch0, true, true);
  for (int i = GEMM_ALPHA; i <= GEMM_HIGH; i++) pare__arg_float(&args, (float)run->piece->real[i]);
  pare__arg_int(&args, (int32_t)dim[GEMM_ACTIVATION]);
  pare__arg_int(&args, (int32_t)nc);
  pare__arg_local(&args, (size_t)(dim[GEMM_M] * PARE__MAX(nc, dim[GEMM_PANEL])) * sizeof(float));
  char options[64];
  snprintf(options, sizeof options, "-DVW=%u -DROWS=%d", PARE__MAX(info->can.vector_bits, 128U) / 32, (int)dim[GEMM_M]);
  const size_t global[] = {(size_t)pare__div_up(dim[GEMM_N], nc), (size_t)batches};
  return pare__run_kernel(run, run->whole->mode == GEMV_DOTS ? "gemv_dots" : "gemv_columns", options, 2, global, NULL,
                          &args);
}

static pare_status cpu_launch(const pare__run *run) { return pare__gemm_each_batch(run, cpu_batch); }

/* ---- for GPUs ---- */

const pare__param pare__gemv_group_params[] = {{"GROUP", (const int[]){256, 128, 64, 0}}, {NULL, NULL}};

bool pare__gemv_group_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  const int64_t least_slices = 2; /* of k, with the smallest group */
  return accepts(whole) && (most == 0 || whole->dim[GEMM_K] / least_slices * (1 + GEMV_MOST_ROWS) < most);
}

static pare_status gpu_batch(const pare__run *run, int64_t batch0) {
  const int64_t *dim = run->piece->dim;
  const int group = pare__tuned(run, "GROUP"), x = run->whole->mode == GEMV_DOTS ? 1 : 32;
  const bool f64 = run->whole->dtype[GEMM_BUFFER_C] == PARE_F64;
  const size_t local[] = {(size_t)x, (size_t)(group / x), 1};
  const size_t global[] = {(size_t)pare__round_up(dim[GEMM_N], x), local[1],
                           (size_t)(dim[GEMM_BATCH1] * dim[GEMM_BATCH2])};
  pare__args args = {0};
  pare__gemm_args_any_strides(&args, run, batch0);
  char packed[40], options[120];
  snprintf(options, sizeof options, "-DGROUP_X=%d -DGROUP_Y=%d -DROWS=%d %s%s", x, group / x, (int)dim[GEMM_M],
           pare__gemm_packed_options(run->whole, packed, sizeof packed), f64 ? " -DREAL_IS_DOUBLE=1" : "");
  return pare__run_kernel(run, "gemv_group", options, 3, global, local, &args);
}

pare_status pare__gemv_group_launch(const pare__run *run) { return pare__gemm_each_batch(run, gpu_batch); }

static const pare__variant variants[] = {
    {.name = "stream",
     .file = "gemv.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .local_bytes = 32768,
     .shaped = PARE__FOR_CPU,
     .params = cpu_params,
     .accepts = cpu_accepts,
     .launch = cpu_launch},
    {.name = "group",
     .file = "gemv_group.cl",
     .local_bytes = GEMV_GROUP_LOCAL_BYTES,
     .shaped = PARE__FOR_GPU,
     .params = pare__gemv_group_params,
     .accepts = pare__gemv_group_accepts,
     .launch = pare__gemv_group_launch},
    {.name = "plain",
     .file = "gemm_plain.cl",
     .shaped = PARE__FOR_ANY,
     .accepts = pare__gemm_plain_accepts,
     .launch = pare__gemm_plain_launch},
    {.name = NULL},
};

/* ---- problems ---- */

#define F32 PARE_F32, PARE_F32, PARE_F32

static const pare__gemm_case selftest_cases[] = {
    {1, 1, 1, 75, 37, false, false, false, 1, 2, 0.5, 0.25, F32, 3, false},
    {2, 1, 3, 33, 18, true, false, false, 2, 1, 1, 0, F32, 0, false},
    {1, 1, 1, 37, 75, false, true, false, 1, 3, 1, 1, F32, 0, false},
    {2, 1, 4, 9, 70, true, true, false, 0, 4, 1, 0, F32, 1, true},
    {1, 1, 2, 67, 19, false, false, true, 1, 5, 2, 0, F32, 0, false},
    {1, 1, 1, 16, 1, false, false, true, 1, 7, 1, 0, F32, 0, false},
};
static const pare__gemm_case test_cases[] = {
    {1, 1, 1, 1, 1, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 1, 0, 7, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 2, 9, 0, false, true, false, 1, 1, 1, 0.5, F32, 0, false},
    {1, 1, 1, 1031, 1009, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 1, 1031, 1009, false, true, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 1, 1031, 1009, false, false, true, 1, 2, 1, 0, F32, 0, false},
    {3, 2, 4, 131, 257, false, false, false, 1, 6, 1, 1, F32, 2, true},
    {3, 1, 3, 131, 257, false, true, false, 2, 0, 1, 0, F32, 0, false},
    {1, 1, 2, 257, 131, false, false, true, 0, 0, -1, 2, F32, 0, false},
    {1, 1, 1, 300, 517, false, true, false, 1, 0, 1, 0, PARE_F16, PARE_F16, PARE_F16, 0, false},
    {1, 1, 1, 300, 517, false, false, false, 1, 2, 1, 0, PARE_F32, PARE_F16, PARE_F32, 0, false},
    {1, 1, 1, 300, 517, false, false, true, 1, 2, 1, 0, PARE_F32, PARE_BF16, PARE_F32, 0, false},
    {1, 1, 2, 300, 517, false, true, false, 0, 0, 1, 0, PARE_BF16, PARE_BF16, PARE_BF16, 0, false},
    {1, 1, 1, 77, 133, false, true, false, 1, 6, 1, 0.5, PARE_F64, PARE_F64, PARE_F64, 0, false},
    {1, 1, 3, 77, 133, true, false, false, 0, 0, 1, 0, PARE_F64, PARE_F64, PARE_F64, 0, false},
};
static const pare__gemm_case bench_cases[] = {
    {1, 1, 1, 4096, 4096, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 1, 4096, 4096, false, true, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 1, 4096, 4096, false, false, true, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 4, 4096, 4096, false, true, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 1, 4096, 4096, false, true, false, 0, 0, 1, 0, PARE_F32, PARE_F16, PARE_F32, 0, false},
    {1, 1, 1, 4096, 4096, false, false, true, 0, 0, 1, 0, PARE_F32, PARE_BF16, PARE_F32, 0, false},
    {1, 1, 1, 1536, 384, false, false, true, 0, 0, 1, 0, F32, 0, false},
};

static bool gemv_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const struct {
    const pare__gemm_case *cases;
    size_t count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftest_cases, PARE__COUNT(selftest_cases)},
              [PARE__CASES_TEST] = {test_cases, PARE__COUNT(test_cases)},
              [PARE__CASES_BENCH] = {bench_cases, PARE__COUNT(bench_cases)}};
  if (index >= sets[set].count) return false;
  pare__gemm_problem(info, &sets[set].cases[index], out);
  out->mode = pare__gemv_mode(out);
  return true;
}

static void gemv_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  static const char *const modes[] = {[GEMV_COLUMNS] = "columns", [GEMV_DOTS] = "dots", [GEMV_PANELS] = "packed"};
  snprintf(text, capacity, "%s %s", pare_dtype_name(problem->dtype[GEMM_BUFFER_B]), modes[problem->mode]);
}

const pare__family pare__family_gemv = {
    .name = "gemv",
    .what = "product of one to four rows with a matrix",
    .nbuffers = GEMM_NBUFFERS,
    .variants = variants,
    .problem = gemv_problem,
    .buffer = pare__gemm_buffer,
    .reference = pare__gemm_reference,
    .work = pare__gemm_work,
    .describe = pare__gemm_describe,
    .shape_class = gemv_shape_class,
};
