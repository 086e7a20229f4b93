/* Packing B of a matrix product into panels. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_gemm_pack.h"

#include <stdio.h>

#include "base/dtype.h"

static const pare__param group_params[] = {{"GROUP", (const int[]){64, 128, 0}}, {NULL, NULL}};

/* Of one batch. */
static int64_t panel_elements(const pare__problem *problem) {
  const int64_t *dim = problem->dim;
  return pare__div_up(dim[PACK_N], dim[PACK_PANEL]) * dim[PACK_PANEL] * dim[PACK_K];
}

static pare_status pack_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  const pare__operand *b = &run->operand[PACK_BUFFER_B], *panels = &run->operand[PACK_BUFFER_PANELS];
  const bool cpu = run->variant->shaped == PARE__FOR_CPU;
  pare__args args = {0};
  pare__arg_int(&args, (int32_t)dim[PACK_K]);
  pare__arg_int(&args, (int32_t)dim[PACK_N]);
  pare__arg_int(&args, (int32_t)dim[PACK_PANEL]);
  pare__arg_mem(&args, b->mem);
  pare__arg_long(&args, b->offset);
  for (int i = PACK_B_BATCH; i <= PACK_B_COL; i++) pare__arg_long(&args, dim[i]);
  pare__arg_mem(&args, panels->mem);
  pare__arg_long(&args, panels->offset);
  pare__arg_long(&args, panel_elements(run->piece));
  if (dim[PACK_K] == 0) return PARE_OK;
  const size_t local[] = {cpu ? 1 : (size_t)pare__tuned(run, "GROUP"), 1};
  const size_t global[] = {(size_t)pare__div_up(dim[PACK_N], dim[PACK_PANEL]) * local[0], (size_t)dim[PACK_BATCH]};
  return pare__run_kernel(run, "gemm_pack", cpu ? "-DGROUP=1" : NULL, 2, global, local, &args);
}

static bool pack_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  const int64_t steps = whole->dim[PACK_K] * PARE__MAX(whole->dim[PACK_PANEL], 1); /* of the only item of a group */
  return whole->dim[PACK_N] <= INT32_MAX && whole->dim[PACK_K] <= INT32_MAX && (most == 0 || steps < most);
}

static bool pack_group_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  return whole->dim[PACK_N] <= INT32_MAX && whole->dim[PACK_K] <= INT32_MAX &&
         (most == 0 || whole->dim[PACK_K] < most / 2);
}

static const pare__variant variants[] = {
    {.name = "item", .file = "gemm_pack.cl", .shaped = PARE__FOR_CPU, .accepts = pack_accepts},
    {.name = "group",
     .file = "gemm_pack.cl",
     .shaped = PARE__FOR_GPU,
     .params = group_params,
     .accepts = pack_group_accepts},
    {.name = NULL},
};

typedef struct pack_case {
  int64_t k, n, batch, panel;
  bool transposed;
  pare_dtype from, to;
} pack_case;

static const pack_case selftest_cases[] = {
    {5, 37, 2, 16, false, PARE_F32, PARE_F32},
    {7, 37, 1, 16, true, PARE_F32, PARE_F32},
};
static const pack_case test_cases[] = {
    {131, 97, 1, 16, false, PARE_F32, PARE_F32}, {131, 97, 3, 32, true, PARE_F32, PARE_F32},
    {61, 130, 2, 64, false, PARE_F16, PARE_F16}, {61, 130, 1, 8, true, PARE_BF16, PARE_BF16},
    {7, 37, 1, 16, true, PARE_U8, PARE_U8},      {7, 37, 1, 16, false, PARE_I8, PARE_I8},
    {1, 1, 1, 16, false, PARE_F32, PARE_F32},    {0, 9, 1, 16, false, PARE_F32, PARE_F32},
    {9, 0, 1, 16, false, PARE_F32, PARE_F32},
};
static const pack_case bench_cases[] = {
    {1536, 1536, 1, 16, false, PARE_F32, PARE_F32},
    {1536, 1536, 1, 16, true, PARE_F32, PARE_F32},
};

static bool pack_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  static const struct {
    const pack_case *cases;
    size_t count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftest_cases, PARE__COUNT(selftest_cases)},
              [PARE__CASES_TEST] = {test_cases, PARE__COUNT(test_cases)},
              [PARE__CASES_BENCH] = {bench_cases, PARE__COUNT(bench_cases)}};
  if (index >= sets[set].count) return false;
  const pack_case *from = &sets[set].cases[index];
  int64_t *dim = out->dim;
  dim[PACK_K] = from->k;
  dim[PACK_N] = from->n;
  dim[PACK_BATCH] = from->batch;
  dim[PACK_PANEL] = from->panel;
  dim[PACK_B_BATCH] = from->k * from->n;
  dim[PACK_B_ROW] = from->transposed ? 1 : from->n;
  dim[PACK_B_COL] = from->transposed ? from->k : 1;
  out->dtype[PACK_BUFFER_B] = from->from;
  out->dtype[PACK_BUFFER_PANELS] = from->to;
  return true;
}

static void pack_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim;
  if (i == PACK_BUFFER_B)
    *out = (pare__buffer_spec){PARE__IN, dim[PACK_BATCH] * dim[PACK_K] * dim[PACK_N]};
  else
    *out = (pare__buffer_spec){PARE__OUT, dim[PACK_BATCH] * panel_elements(problem)};
}

static bool pack_reference(const pare__problem *problem, void *const *data, double *const *expected,
                           double *const *tolerance) {
  const int64_t *dim = problem->dim, panel = dim[PACK_PANEL], panels = pare__div_up(dim[PACK_N], panel);
  int64_t at = 0;
  for (int64_t b = 0; b < dim[PACK_BATCH]; b++)
    for (int64_t p = 0; p < panels; p++)
      for (int64_t l = 0; l < dim[PACK_K]; l++)
        for (int64_t j = p * panel; j < (p + 1) * panel; j++, at++) {
          const int64_t from = b * dim[PACK_B_BATCH] + l * dim[PACK_B_ROW] + j * dim[PACK_B_COL];
          expected[PACK_BUFFER_PANELS][at] =
              j < dim[PACK_N] ? pare__load(problem->dtype[PACK_BUFFER_B], data[PACK_BUFFER_B], (size_t)from) : 0;
          tolerance[PACK_BUFFER_PANELS][at] = 0;
        }
  return true;
}

static void pack_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = 0;
  *bytes = 0;
  for (unsigned i = 0; i < PACK_NBUFFERS; i++) {
    pare__buffer_spec spec;
    pack_buffer(problem, i, &spec);
    *bytes += (double)spec.elements * (double)pare_dtype_bytes(problem->dtype[i]);
  }
}

static void pack_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lld*%lldx%lld %s%s", (long long)dim[PACK_BATCH], (long long)dim[PACK_K],
           (long long)dim[PACK_N], pare_dtype_name(problem->dtype[PACK_BUFFER_B]),
           dim[PACK_B_COL] != 1 ? " transposed" : "");
}

static void pack_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s", pare_dtype_name(problem->dtype[PACK_BUFFER_B]),
           problem->dim[PACK_B_COL] != 1 ? " transposed" : "");
}

const pare__family pare__family_gemm_pack = {
    .name = "gemm_pack",
    .what = "weights of a matrix product into panels",
    .nbuffers = PACK_NBUFFERS,
    .variants = variants,
    .problem = pack_problem,
    .buffer = pack_buffer,
    .reference = pack_reference,
    .work = pack_work,
    .describe = pack_describe,
    .shape_class = pack_shape_class,
    .launch = pack_launch,
};
