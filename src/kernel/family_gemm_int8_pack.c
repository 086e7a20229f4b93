/* Packing int8 weights into panels, with the sums of their columns. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/dtype.h"
#include "kernel/family_gemm_int8.h"

static int64_t quads(const pare__problem *problem) { return pare__div_up(problem->dim[INT8_PACK_K], 4); }
static int64_t panels(const pare__problem *problem) {
  return pare__div_up(problem->dim[INT8_PACK_N], problem->dim[INT8_PACK_PANEL]);
}

static pare_status pack_run(const pare__run *run, size_t group) {
  const int64_t *dim = run->piece->dim;
  pare__args args = {0};
  for (int i = INT8_PACK_K; i <= INT8_PACK_PANEL; i++) pare__arg_int(&args, (int32_t)dim[i]);
  for (int i = 0; i < INT8_PACK_NBUFFERS; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
    if (i != INT8_PACK_BUFFER_B) continue;
    pare__arg_long(&args, dim[INT8_PACK_ROW]);
    pare__arg_long(&args, dim[INT8_PACK_COL]);
  }
  const size_t global = (size_t)panels(run->piece) * group;
  char options[40];
  snprintf(options, sizeof options, "-DGROUP=%zu", group);
  return pare__run_kernel(run, "gemm_int8_pack", options, 1, &global, &group, &args);
}

static pare_status item_launch(const pare__run *run) { return pack_run(run, 1); }
static pare_status group_launch(const pare__run *run) { return pack_run(run, 64); }

static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  return most == 0 || quads(whole) * whole->dim[INT8_PACK_PANEL] < most;
}

static bool group_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  return most == 0 || quads(whole) < most / 2;
}

static const pare__variant variants[] = {
    {.name = "item",
     .file = "gemm_int8_pack.cl",
     .shaped = PARE__FOR_CPU,
     .accepts = item_accepts,
     .launch = item_launch},
    {.name = "group",
     .file = "gemm_int8_pack.cl",
     .shaped = PARE__FOR_GPU,
     .accepts = group_accepts,
     .launch = group_launch},
    {.name = NULL},
};

static const struct {
  pare__case_set set;
  int64_t k, n, panel;
  bool transposed;
} cases[] = {
    {PARE__CASES_SELFTEST, 9, 37, 16, false},   {PARE__CASES_SELFTEST, 8, 21, 16, true},
    {PARE__CASES_TEST, 131, 97, 16, false},     {PARE__CASES_TEST, 131, 97, 32, true},
    {PARE__CASES_TEST, 62, 130, 64, false},     {PARE__CASES_TEST, 1, 1, 8, true},
    {PARE__CASES_TEST, 0, 9, 16, false},        {PARE__CASES_TEST, 9, 0, 16, false},
    {PARE__CASES_BENCH, 1536, 1536, 16, false},
};

static bool pack_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  for (unsigned i = 0; i < PARE__COUNT(cases); i++) {
    if (cases[i].set != set || index-- > 0) continue;
    int64_t *dim = out->dim;
    dim[INT8_PACK_K] = cases[i].k;
    dim[INT8_PACK_N] = cases[i].n;
    dim[INT8_PACK_PANEL] = cases[i].panel;
    dim[INT8_PACK_ROW] = cases[i].transposed ? 1 : cases[i].n;
    dim[INT8_PACK_COL] = cases[i].transposed ? cases[i].k : 1;
    out->dtype[INT8_PACK_BUFFER_B] = PARE_I8;
    out->dtype[INT8_PACK_BUFFER_PANELS] = out->dtype[INT8_PACK_BUFFER_SUMS] = PARE_I32;
    return true;
  }
  return false;
}

static void pack_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim, padded = panels(problem) * dim[INT8_PACK_PANEL];
  switch (i) {
  case INT8_PACK_BUFFER_B: *out = (pare__buffer_spec){PARE__IN, dim[INT8_PACK_K] * dim[INT8_PACK_N]}; break;
  case INT8_PACK_BUFFER_PANELS: *out = (pare__buffer_spec){PARE__OUT, padded * quads(problem)}; break;
  default: *out = (pare__buffer_spec){PARE__OUT, padded};
  }
}

static bool pack_reference(const pare__problem *problem, void *const *data, double *const *expected,
                           double *const *tolerance) {
  const int64_t *dim = problem->dim, panel = dim[INT8_PACK_PANEL];
  for (int64_t j = 0; j < panels(problem) * panel; j++) {
    expected[INT8_PACK_BUFFER_SUMS][j] = tolerance[INT8_PACK_BUFFER_SUMS][j] = 0;
    for (int64_t q = 0; q < quads(problem); q++) {
      uint32_t word = 0;
      for (int64_t k = 4 * q; k < 4 * q + 4; k++) {
        if (k >= dim[INT8_PACK_K] || j >= dim[INT8_PACK_N]) continue;
        const int8_t value =
            ((const int8_t *)data[INT8_PACK_BUFFER_B])[k * dim[INT8_PACK_ROW] + j * dim[INT8_PACK_COL]];
        word |= (uint32_t)(uint8_t)value << (8 * (k % 4));
        expected[INT8_PACK_BUFFER_SUMS][j] += value;
      }
      const int64_t at = (j / panel * quads(problem) + q) * panel + j % panel;
      expected[INT8_PACK_BUFFER_PANELS][at] = (int32_t)word;
      tolerance[INT8_PACK_BUFFER_PANELS][at] = 0;
    }
  }
  return true;
}

static void pack_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = 0;
  *bytes = 2.0 * (double)problem->dim[INT8_PACK_K] * (double)problem->dim[INT8_PACK_N];
}

static void pack_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lld%s", (long long)dim[INT8_PACK_K], (long long)dim[INT8_PACK_N],
           dim[INT8_PACK_COL] != 1 ? " transposed" : "");
}

static void pack_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", problem->dim[INT8_PACK_COL] != 1 ? "transposed" : "rows");
}

const pare__family pare__family_gemm_int8_pack = {
    .name = "gemm_int8_pack",
    .what = "int8 weights into panels, with the sums of their columns",
    .nbuffers = INT8_PACK_NBUFFERS,
    .variants = variants,
    .problem = pack_problem,
    .buffer = pack_buffer,
    .reference = pack_reference,
    .work = pack_work,
    .describe = pack_describe,
    .shape_class = pack_shape_class,
};
