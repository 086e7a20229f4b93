/* Packing quantised values into panels of ints. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "kernel/family_gemm_blocks.h"

static int64_t panels_of(const pare__problem *problem) {
  return pare__div_up(problem->dim[BLOCKS_PACK_N], problem->dim[BLOCKS_PACK_PANEL]);
}
static int64_t words_of(const pare__problem *problem) {
  const int64_t *dim = problem->dim;
  return pare__blocks_words(dim[BLOCKS_PACK_K], dim[BLOCKS_PACK_BLOCK], dim[BLOCKS_PACK_TO_BITS]);
}

static pare_status pack_run(const pare__run *run, size_t group) {
  const int64_t *dim = run->piece->dim;
  pare__args args = {0};
  for (int i = BLOCKS_PACK_K; i <= BLOCKS_PACK_FLIP; i++) pare__arg_int(&args, (int32_t)dim[i]);
  const pare__operand *b = &run->operand[BLOCKS_PACK_BUFFER_B], *panels = &run->operand[BLOCKS_PACK_BUFFER_PANELS];
  pare__arg_mem(&args, b->mem);
  pare__arg_long(&args, b->offset);
  pare__arg_long(&args, dim[BLOCKS_PACK_ROW]);
  pare__arg_long(&args, dim[BLOCKS_PACK_COL]);
  pare__arg_mem(&args, panels->mem);
  pare__arg_long(&args, panels->offset);
  const size_t global = (size_t)panels_of(run->piece) * group;
  if (dim[BLOCKS_PACK_K] == 0 || global == 0) return PARE_OK;
  char options[60];
  snprintf(options, sizeof options, "-DGROUP=%zu -DB_BITS=%d", group, (int)dim[BLOCKS_PACK_TO_BITS]);
  return pare__run_kernel(run, "gemm_blocks_pack", options, 1, &global, &group, &args);
}

static pare_status item_launch(const pare__run *run) { return pack_run(run, 1); }
static pare_status group_launch(const pare__run *run) { return pack_run(run, 64); }

static bool accepts(const pare_device_info *info, const pare__problem *whole, int64_t group) {
  const int64_t *dim = whole->dim, steps = words_of(whole) * (1 + 32 / dim[BLOCKS_PACK_TO_BITS]);
  const uint32_t most = info->can.max_loop_steps;
  return dim[BLOCKS_PACK_N] <= INT32_MAX && dim[BLOCKS_PACK_K] <= INT32_MAX - 4096 &&
         (most == 0 || steps * pare__div_up(dim[BLOCKS_PACK_PANEL], group) < most);
}
static bool item_accepts(const pare_device_info *info, const pare__problem *whole) { return accepts(info, whole, 1); }
static bool group_accepts(const pare_device_info *info, const pare__problem *whole) { return accepts(info, whole, 64); }

static const pare__variant variants[] = {
    {.name = "item",
     .file = "gemm_blocks_pack.cl",
     .shaped = PARE__FOR_CPU,
     .accepts = item_accepts,
     .launch = item_launch},
    {.name = "group",
     .file = "gemm_blocks_pack.cl",
     .shaped = PARE__FOR_GPU,
     .accepts = group_accepts,
     .launch = group_launch},
    {.name = NULL},
};

static const struct {
  pare__case_set set;
  int64_t k, n, panel, block;
  int bits, to_bits, flip;
  bool transposed;
} cases[] = {
    {PARE__CASES_SELFTEST, 75, 37, 16, 32, 4, 4, 0, true},  {PARE__CASES_SELFTEST, 33, 21, 16, 16, 8, 4, 8, false},
    {PARE__CASES_SELFTEST, 9, 18, 16, 9, 8, 8, 128, false}, {PARE__CASES_TEST, 131, 97, 16, 16, 2, 4, 0, true},
    {PARE__CASES_TEST, 131, 97, 32, 10, 8, 4, 0, false},    {PARE__CASES_TEST, 62, 130, 64, 32, 8, 8, 0, true},
    {PARE__CASES_TEST, 1, 1, 8, 16, 4, 4, 0, true},         {PARE__CASES_TEST, 0, 9, 16, 16, 4, 4, 0, true},
    {PARE__CASES_TEST, 9, 0, 16, 16, 4, 4, 0, true},        {PARE__CASES_TEST, 64, 130, 16, 7, 8, 8, 128, false},
    {PARE__CASES_BENCH, 1536, 1536, 16, 32, 4, 4, 0, true}, {PARE__CASES_BENCH, 1536, 1536, 16, 1536, 8, 8, 0, false},
};

/* Transposed: columns of whole blocks, as MatMulNBits has them. */
static bool pack_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  for (unsigned i = 0; i < PARE__COUNT(cases); i++) {
    if (cases[i].set != set || index-- > 0) continue;
    int64_t *dim = out->dim;
    dim[BLOCKS_PACK_K] = cases[i].k;
    dim[BLOCKS_PACK_N] = cases[i].n;
    dim[BLOCKS_PACK_PANEL] = cases[i].panel;
    dim[BLOCKS_PACK_BLOCK] = cases[i].block;
    dim[BLOCKS_PACK_BITS] = cases[i].bits;
    dim[BLOCKS_PACK_TO_BITS] = cases[i].to_bits;
    dim[BLOCKS_PACK_FLIP] = cases[i].flip;
    dim[BLOCKS_PACK_ROW] = cases[i].transposed ? 1 : cases[i].n;
    dim[BLOCKS_PACK_COL] = cases[i].transposed ? pare__round_up(cases[i].k, cases[i].block) : 1;
    out->dtype[BLOCKS_PACK_BUFFER_B] = PARE_U8;
    out->dtype[BLOCKS_PACK_BUFFER_PANELS] = PARE_I32;
    return true;
  }
  return false;
}

static void pack_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim, k = dim[BLOCKS_PACK_K], n = dim[BLOCKS_PACK_N];
  if (i == BLOCKS_PACK_BUFFER_PANELS) {
    *out = (pare__buffer_spec){PARE__OUT, panels_of(problem) * dim[BLOCKS_PACK_PANEL] * words_of(problem)};
    return;
  }
  const int64_t last = (k - 1) * dim[BLOCKS_PACK_ROW] + (n - 1) * dim[BLOCKS_PACK_COL];
  *out = (pare__buffer_spec){PARE__IN, k == 0 || n == 0 ? 0 : last * dim[BLOCKS_PACK_BITS] / 8 + 1};
}

static bool pack_reference(const pare__problem *problem, void *const *data, double *const *expected,
                           double *const *tolerance) {
  const int64_t *dim = problem->dim, panel = dim[BLOCKS_PACK_PANEL], block = dim[BLOCKS_PACK_BLOCK];
  const int64_t bits = dim[BLOCKS_PACK_BITS], to_bits = dim[BLOCKS_PACK_TO_BITS], steps = 32 / to_bits;
  const int64_t words = pare__div_up(block, steps), all = words_of(problem);
  for (int64_t j = 0; j < panels_of(problem) * panel; j++)
    for (int64_t w = 0; w < all; w++) {
      uint32_t word = 0;
      for (int64_t u = 0; u < steps; u++) {
        const int64_t r = w % words * steps + u, l = w / words * block + r;
        if (r >= block || l >= dim[BLOCKS_PACK_K] || j >= dim[BLOCKS_PACK_N]) continue;
        const int64_t at = l * dim[BLOCKS_PACK_ROW] + j * dim[BLOCKS_PACK_COL], values = 8 / bits;
        const uint32_t byte = ((const uint8_t *)data[BLOCKS_PACK_BUFFER_B])[at / values];
        const uint32_t raw = byte >> (at % values * bits) & ((1U << bits) - 1);
        const uint32_t value = (raw ^ (uint32_t)dim[BLOCKS_PACK_FLIP]) & ((1U << to_bits) - 1);
        word |= value << (to_bits == 8 || u < 4 ? 8 * u : 8 * u - 28);
      }
      const int64_t at = (j / panel * all + w) * panel + j % panel;
      expected[BLOCKS_PACK_BUFFER_PANELS][at] = (int32_t)word;
      tolerance[BLOCKS_PACK_BUFFER_PANELS][at] = 0;
    }
  return true;
}

static void pack_work(const pare__problem *problem, double *flops, double *bytes) {
  const int64_t *dim = problem->dim;
  *flops = 0;
  *bytes = (double)dim[BLOCKS_PACK_K] * (double)dim[BLOCKS_PACK_N] *
           (double)(dim[BLOCKS_PACK_BITS] + dim[BLOCKS_PACK_TO_BITS]) / 8;
}

static void pack_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lld %lld to %lld bits in blocks of %lld", (long long)dim[BLOCKS_PACK_K],
           (long long)dim[BLOCKS_PACK_N], (long long)dim[BLOCKS_PACK_BITS], (long long)dim[BLOCKS_PACK_TO_BITS],
           (long long)dim[BLOCKS_PACK_BLOCK]);
}

static void pack_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%lld bits", (long long)problem->dim[BLOCKS_PACK_BITS]);
}

const pare__family pare__family_gemm_blocks_pack = {
    .name = "gemm_blocks_pack",
    .what = "quantised weights into panels of ints",
    .nbuffers = BLOCKS_PACK_NBUFFERS,
    .variants = variants,
    .problem = pack_problem,
    .buffer = pack_buffer,
    .reference = pack_reference,
    .work = pack_work,
    .describe = pack_describe,
    .shape_class = pack_shape_class,
};
