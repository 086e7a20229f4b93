/* Products with weights quantised in blocks: variants and launches. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_gemm_blocks.h"

#include <stdio.h>

#include "kernel/family_gemm_int8.h"

int64_t pare__blocks_words(int64_t k, int64_t block, int64_t bits) {
  return pare__div_up(k, block) * pare__div_up(block, 32 / bits);
}

static bool is_rounded(const pare__problem *whole) { return whole->dim[GEMM_ROUND] != 0; }
static int64_t blocks_of(const pare__problem *whole) {
  return pare__div_up(whole->dim[GEMM_K], whole->dim[GEMM_BLOCK]);
}
static int64_t steps_of(const pare__problem *whole) { /* of k that a column has, padded to words */
  const int64_t *dim = whole->dim;
  return pare__blocks_words(dim[GEMM_K], dim[GEMM_BLOCK], dim[GEMM_BITS]) * (32 / dim[GEMM_BITS]);
}
static bool few_rows(const pare__problem *whole) { return whole->dim[GEMM_M] <= GEMV_MOST_ROWS; }

/* What the kernels for CPUs need: panels as wide as the device's, and columns of C side by side. */
static bool cpu_accepts(const pare_device_info *info, const pare__problem *whole) {
  return pare__gemm_accepts(whole) && whole->dtype[GEMM_BUFFER_C] != PARE_F64 && whole->dim[GEMM_C_COL] == 1 &&
         whole->dim[GEMM_PANEL] == pare__gemm_panel(info);
}

static void push_epilogue(pare__args *args, const pare__run *run) {
  for (int i = GEMM_ALPHA; i <= GEMM_HIGH; i++) pare__arg_float(args, (float)run->piece->real[i]);
  pare__arg_int(args, (int32_t)run->piece->dim[GEMM_ACTIVATION]);
}

static void common_options(const pare__run *run, const char *more, char *text, size_t capacity) {
  const int64_t *dim = run->whole->dim;
  snprintf(text, capacity, "-DB_BITS=%d -DVW=%d -DNV=2 -DC_IS_F32=%d %s", (int)dim[GEMM_BITS],
           (int)(dim[GEMM_PANEL] / 2), run->whole->dtype[GEMM_BUFFER_C] == PARE_F32, more);
}

/* ---- rounded activations, for CPUs ---- */

static size_t rounded_row_bytes(const pare__problem *whole) {
  return (size_t)steps_of(whole) + (size_t)blocks_of(whole) * 2 * sizeof(float);
}

static bool rounded_accepts(const pare_device_info *info, const pare__problem *whole) {
  const size_t least_rows = 8;
  return is_rounded(whole) && whole->dim[GEMM_BITS] == 4 && cpu_accepts(info, whole) &&
         info->local_bytes / 2 >= least_rows * rounded_row_bytes(whole);
}

/* Blocks of whole tiles, or of less than one; few rows leave most of a tile empty, where VNNI is better. */
static bool amx_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t tile_rows = 16, most_rows = 32, tile_words = 8, most_words = 32;
  const int64_t words = pare__div_up(whole->dim[GEMM_BLOCK], 32 / whole->dim[GEMM_BITS]);
  return rounded_accepts(info, whole) && whole->dim[GEMM_M] >= tile_rows && words <= most_words &&
         (words <= tile_words || words % tile_words == 0) &&
         (int64_t)info->local_bytes / 2 >= most_rows * (int64_t)rounded_row_bytes(whole);
}

static pare_status rounded_batch(const pare__run *run, int64_t batch0, int product) {
  const int64_t *dim = run->piece->dim;
  const size_t bytes = PARE__MAX(rounded_row_bytes(run->whole), (size_t)8);
  const pare__gemm_int8_shape shape = {dim[GEMM_M],   dim[GEMM_N], dim[GEMM_K], dim[GEMM_PANEL], pare__tuned(run, "MR"),
                                       (int64_t)bytes};
  int64_t mc, nc;
  pare__gemm_int8_cut(pare__device_info(run->device), &shape, &mc, &nc);
  pare__args args = {0};
  pare__gemm_args_operands(&args, run, batch0, false, false);
  push_epilogue(&args, run);
  pare__arg_int(&args, (int32_t)mc);
  pare__arg_int(&args, (int32_t)nc);
  pare__arg_local(&args, (size_t)mc * bytes);
  pare__gemm_args_blocks(&args, run);
  char more[32], options[120];
  snprintf(more, sizeof more, "-DPRODUCT=%d", product);
  common_options(run, more, options, sizeof options);
  const size_t global[] = {(size_t)pare__div_up(dim[GEMM_N], nc), (size_t)pare__div_up(dim[GEMM_M], mc),
                           (size_t)(dim[GEMM_BATCH1] * dim[GEMM_BATCH2])};
  return pare__run_kernel(run, "gemm_blocks_int8", options, 3, global, NULL, &args);
}

static pare_status plain_batch(const pare__run *run, int64_t batch0) { return rounded_batch(run, batch0, 0); }
static pare_status bytes_batch(const pare__run *run, int64_t batch0) { return rounded_batch(run, batch0, 1); }
static pare_status vnni_batch(const pare__run *run, int64_t batch0) { return rounded_batch(run, batch0, 2); }
static pare_status amx_batch(const pare__run *run, int64_t batch0) { return rounded_batch(run, batch0, 3); }
static pare_status plain_launch(const pare__run *run) { return pare__gemm_each_batch(run, plain_batch); }
static pare_status bytes_launch(const pare__run *run) { return pare__gemm_each_batch(run, bytes_batch); }
static pare_status vnni_launch(const pare__run *run) { return pare__gemm_each_batch(run, vnni_batch); }
static pare_status amx_launch(const pare__run *run) { return pare__gemm_each_batch(run, amx_batch); }

/* Rows of a tile: what keeps the sums of a block in registers; one row needs no more. */
static const pare__param rows_params[] = {{"MR", (const int[]){4, 2, 1, 0}}, {NULL, NULL}};
static const pare__param rows512_params[] = {{"MR", (const int[]){8, 4, 1, 0}}, {NULL, NULL}};

static void rows_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  const int most = info->can.vector_bits == 512 ? 8 : 4;
  tuning->value[0] = whole->dim[GEMM_M] == 1 ? 1 : whole->dim[GEMM_M] == 2 && most == 4 ? 2 : most;
}

/* Without the vectors of a device: four rows anywhere. */
static void integers_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  (void)info;
  tuning->value[0] = whole->dim[GEMM_M] == 1 || whole->dim[GEMM_M] == 2 ? (int)whole->dim[GEMM_M] : 4;
}

/* ---- float activations, for CPUs ---- */

static const pare__param stream_params[] = {{"NC", (const int[]){512, 256, 1024, 128, 0}}, {NULL, NULL}};

static size_t placed_bytes(const pare__problem *whole) {
  return (size_t)whole->dim[GEMM_M] * (size_t)(steps_of(whole) + blocks_of(whole) + 1) * sizeof(float);
}

static bool stream_accepts(const pare_device_info *info, const pare__problem *whole) {
  return !is_rounded(whole) && few_rows(whole) && cpu_accepts(info, whole) &&
         info->local_bytes / 2 >= placed_bytes(whole);
}

static pare_status stream_batch(const pare__run *run, int64_t batch0) {
  const int64_t *dim = run->piece->dim;
  const pare_device_info *info = pare__device_info(run->device);
  const int64_t batches = dim[GEMM_BATCH1] * dim[GEMM_BATCH2],
                groups = pare__div_up(4 * (int64_t)info->compute_units, batches);
  const int64_t strip = pare__round_up(pare__div_up(dim[GEMM_N], groups), dim[GEMM_PANEL]);
  const int64_t nc = PARE__MIN(strip, pare__tuned(run, "NC"));
  pare__args args = {0};
  pare__gemm_args_operands(&args, run, batch0, false, false);
  push_epilogue(&args, run);
  pare__arg_int(&args, (int32_t)nc);
  pare__arg_local(&args, PARE__MAX(placed_bytes(run->piece), sizeof(float)));
  pare__gemm_args_blocks(&args, run);
  char more[32], options[120];
  snprintf(more, sizeof more, "-DROWS=%d", (int)dim[GEMM_M]);
  common_options(run, more, options, sizeof options);
  const size_t global[] = {(size_t)pare__div_up(dim[GEMM_N], nc), (size_t)batches};
  return pare__run_kernel(run, "gemv_blocks", options, 2, global, NULL, &args);
}

static pare_status stream_launch(const pare__run *run) { return pare__gemm_each_batch(run, stream_batch); }

/* The panels in local memory begin with a word of B. */
static bool wide_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim;
  return !is_rounded(whole) && (dim[GEMM_BLOCK] % (32 / dim[GEMM_BITS]) == 0 || dim[GEMM_BLOCK] >= dim[GEMM_K]) &&
         pare__gemm_wide_accepts(info, whole);
}

/* ---- for GPUs, and for any device ---- */

static bool group_accepts(const pare_device_info *info, const pare__problem *whole) {
  return !is_rounded(whole) && pare__gemv_group_accepts(info, whole);
}

static bool tile_accepts(const pare_device_info *info, const pare__problem *whole) {
  return !is_rounded(whole) && pare__gemm_tile_accepts(info, whole);
}

static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  return !is_rounded(whole) && pare__gemm_plain_accepts(info, whole);
}

static bool rounded_tile_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t steps_per_k = 4;
  const uint32_t most = info->can.max_loop_steps;
  return is_rounded(whole) && whole->dim[GEMM_BITS] == 4 && pare__gemm_accepts(whole) &&
         whole->dtype[GEMM_BUFFER_C] != PARE_F64 && (most == 0 || steps_of(whole) * steps_per_k < most);
}

static pare_status rounded_tile_batch(const pare__run *run, int64_t batch0, bool dot) {
  const int64_t *dim = run->piece->dim, tile = 32, group = 8;
  pare__args args = {0};
  pare__gemm_args_any_strides(&args, run, batch0);
  const size_t local[] = {(size_t)group, (size_t)group, 1};
  const size_t global[] = {(size_t)(pare__div_up(dim[GEMM_N], tile) * group),
                           (size_t)(pare__div_up(dim[GEMM_M], tile) * group),
                           (size_t)(dim[GEMM_BATCH1] * dim[GEMM_BATCH2])};
  return pare__run_kernel(run, "gemm_blocks_tile", dot ? "-DB_BITS=4 -DDOT=1" : "-DB_BITS=4 -DDOT=0", 3, global, local,
                          &args);
}

static pare_status tile_plain_batch(const pare__run *run, int64_t batch0) {
  return rounded_tile_batch(run, batch0, false);
}
static pare_status tile_dot_batch(const pare__run *run, int64_t batch0) {
  return rounded_tile_batch(run, batch0, true);
}
static pare_status tile_plain_launch(const pare__run *run) { return pare__gemm_each_batch(run, tile_plain_batch); }
static pare_status tile_dot_launch(const pare__run *run) { return pare__gemm_each_batch(run, tile_dot_batch); }

/* ---- the table ---- */

static const pare__variant variants[] = {
    {.name = "amx",
     .file = "gemm_blocks_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AMX_INT8 | PARE__NEEDS_INLINE_ASSEMBLY,
     .vector_bits = 512,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = pare__gemm_amx_params,
     .neutral = 1, /* MR */
     .accepts = amx_accepts,
     .launch = amx_launch},
    {.name = "vnni",
     .file = "gemm_blocks_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AVX512_VNNI | PARE__NEEDS_INLINE_ASSEMBLY,
     .vector_bits = 512,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = rows512_params,
     .neutral = 1, /* MR */
     .defaults = rows_defaults,
     .accepts = rounded_accepts,
     .launch = vnni_launch},
    {.name = "bytes512",
     .file = "gemm_blocks_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AVX512 | PARE__NEEDS_VECTOR_EXTENSIONS,
     .vector_bits = 512,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = rows512_params,
     .neutral = 1, /* MR */
     .defaults = rows_defaults,
     .accepts = rounded_accepts,
     .launch = bytes_launch},
    {.name = "bytes",
     .file = "gemm_blocks_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AVX2 | PARE__NEEDS_VECTOR_EXTENSIONS,
     .vector_bits = 256,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = rows_params,
     .neutral = 1, /* MR */
     .defaults = rows_defaults,
     .accepts = rounded_accepts,
     .launch = bytes_launch},
    {.name = "integers",
     .file = "gemm_blocks_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = rows_params,
     .neutral = 1, /* MR */
     .defaults = integers_defaults,
     .accepts = rounded_accepts,
     .launch = plain_launch},
    {.name = "stream",
     .file = "gemv_blocks.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = stream_params,
     .accepts = stream_accepts,
     .launch = stream_launch},
    {.name = "wide",
     .file = "gemm_wide.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .local_bytes = GEMM_WIDE_LOCAL_BYTES,
     .shaped = PARE__FOR_CPU,
     .params = pare__gemm_wide_params,
     .neutral = GEMM_WIDE_NEUTRAL,
     .defaults = pare__gemm_wide_defaults,
     .accepts = wide_accepts,
     .launch = pare__gemm_wide_launch},
    {.name = "tile-dot",
     .file = "gemm_blocks_tile.cl",
     .needs = PARE__NEEDS_INTEGER_DOT,
     .shaped = PARE__FOR_GPU,
     .risky = true,
     .accepts = rounded_tile_accepts,
     .launch = tile_dot_launch},
    {.name = "tile-integers",
     .file = "gemm_blocks_tile.cl",
     .shaped = PARE__FOR_GPU,
     .accepts = rounded_tile_accepts,
     .launch = tile_plain_launch},
    {.name = "group",
     .file = "gemv_group.cl",
     .local_bytes = GEMV_GROUP_LOCAL_BYTES,
     .shaped = PARE__FOR_GPU,
     .params = pare__gemv_group_params,
     .accepts = group_accepts,
     .launch = pare__gemv_group_launch},
    {.name = "tile",
     .file = "gemm_tile.cl",
     .local_bytes = GEMM_TILE_LOCAL_BYTES,
     .shaped = PARE__FOR_GPU,
     .params = pare__gemm_tile_params,
     .neutral = GEMM_TILE_NEUTRAL,
     .defaults = pare__gemm_tile_defaults,
     .accepts = tile_accepts,
     .launch = pare__gemm_tile_launch},
    {.name = "plain",
     .file = "gemm_plain.cl",
     .shaped = PARE__FOR_ANY,
     .accepts = item_accepts,
     .launch = pare__gemm_plain_launch},
    {.name = NULL},
};

const pare__family pare__family_gemm_blocks = {
    .name = "gemm_blocks",
    .what = "matrix product with weights of 4 or 8 bits in blocks",
    .nbuffers = BLOCKS_NBUFFERS,
    .variants = variants,
    .problem = pare__blocks_cases,
    .buffer = pare__blocks_buffer,
    .generate = pare__blocks_generate,
    .reference = pare__blocks_reference,
    .work = pare__blocks_work,
    .describe = pare__blocks_describe,
    .shape_class = pare__blocks_shape_class,
    .deciding_class = pare__blocks_deciding_class,
};
