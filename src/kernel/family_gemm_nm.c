/* Products with N:M sparse weights: variants and launches. SPDX-License-Identifier: Apache-2.0
 *
 * A few rows are multiplied with the values as they lie; for more, and on GPUs, the kernels of dense products expand a
 * block of B at a time into local memory, which costs little against the rows that read it. */
#include "kernel/family_gemm_nm.h"

#include <stdio.h>

pare__nm_units pare__nm_units_of(int64_t k, int64_t keep, int64_t of) {
  pare__nm_units units = {.bits = of <= 4 ? 2 : 4};
  units.word = 32 / units.bits;
  units.groups = keep >= units.word ? 1 : units.word / keep;
  units.words = pare__div_up(keep, units.word);
  units.count = pare__div_up(k / of, units.groups);
  return units;
}

static pare__nm_units units_of(const pare__problem *whole) {
  return pare__nm_units_of(whole->dim[GEMM_K], whole->dim[GEMM_KEEP], whole->dim[GEMM_OF]);
}

/* ---- a few rows, for CPUs ---- */

static const pare__param stream_params[] = {{"NC", (const int[]){512, 256, 1024, 128, 0}}, {NULL, NULL}};

static size_t grouped_bytes(const pare__problem *whole) {
  const pare__nm_units units = units_of(whole);
  const int64_t of = whole->dim[GEMM_OF], width = of <= 4 ? 4 : of <= 8 ? 8 : 16;
  return (size_t)(whole->dim[GEMM_M] * units.count * units.groups * width) * sizeof(float);
}

static bool stream_accepts(const pare_device_info *info, const pare__problem *whole) {
  return pare__gemm_accepts(whole) && whole->dtype[GEMM_BUFFER_C] != PARE_F64 && whole->dim[GEMM_C_COL] == 1 &&
         whole->dim[GEMM_M] <= GEMV_MOST_ROWS && whole->dim[GEMM_PANEL] == pare__gemm_panel(info) &&
         info->local_bytes / 2 >= grouped_bytes(whole);
}

static bool permute_accepts(const pare_device_info *info, const pare__problem *whole) {
  return stream_accepts(info, whole) && whole->dim[GEMM_PANEL] % 8 == 0;
}

static pare_status stream_batch(const pare__run *run, int64_t batch0, int64_t lanes, bool permute) {
  const int64_t *dim = run->piece->dim;
  const pare_device_info *info = pare__device_info(run->device);
  const int64_t batches = dim[GEMM_BATCH1] * dim[GEMM_BATCH2],
                groups = pare__div_up(4 * (int64_t)info->compute_units, batches);
  const int64_t strip = pare__round_up(pare__div_up(dim[GEMM_N], groups), dim[GEMM_PANEL]);
  const int64_t nc = PARE__MIN(strip, pare__tuned(run, "NC"));
  pare__args args = {0};
  pare__gemm_args_operands(&args, run, batch0, false, false);
  for (int i = GEMM_ALPHA; i <= GEMM_HIGH; i++) pare__arg_float(&args, (float)run->piece->real[i]);
  pare__arg_int(&args, (int32_t)dim[GEMM_ACTIVATION]);
  pare__arg_int(&args, (int32_t)nc);
  pare__arg_local(&args, PARE__MAX(grouped_bytes(run->piece), sizeof(float)));
  pare__gemm_args_blocks(&args, run);
  char packed[40], options[160];
  snprintf(options, sizeof options, "-DVW=%d -DNV=%d -DROWS=%d -DCHAINS=%d -DPERMUTE=%d -DC_IS_F32=%d %s", (int)lanes,
           (int)(dim[GEMM_PANEL] / lanes), (int)dim[GEMM_M], run->whole->dim[GEMM_M] == 1 ? 2 : 1, permute,
           run->whole->dtype[GEMM_BUFFER_C] == PARE_F32, pare__gemm_packed_options(run->whole, packed, sizeof packed));
  const size_t global[] = {(size_t)pare__div_up(dim[GEMM_N], nc), (size_t)batches};
  return pare__run_kernel(run, "gemv_nm", options, 2, global, NULL, &args);
}

static pare_status permute_batch(const pare__run *run, int64_t batch0) { return stream_batch(run, batch0, 8, true); }
static pare_status lanes_batch(const pare__run *run, int64_t batch0) {
  return stream_batch(run, batch0, run->whole->dim[GEMM_PANEL] / 2, false);
}
static pare_status permute_launch(const pare__run *run) { return pare__gemm_each_batch(run, permute_batch); }
static pare_status lanes_launch(const pare__run *run) { return pare__gemm_each_batch(run, lanes_batch); }

/* ---- the table ---- */

static const pare__variant variants[] = {
    {.name = "permute",
     .file = "gemv_nm.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AVX2 | PARE__NEEDS_VECTOR_EXTENSIONS,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = stream_params,
     .accepts = permute_accepts,
     .launch = permute_launch},
    {.name = "lanes",
     .file = "gemv_nm.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = stream_params,
     .accepts = stream_accepts,
     .launch = lanes_launch},
    {.name = "wide",
     .file = "gemm_wide.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .local_bytes = GEMM_WIDE_LOCAL_BYTES,
     .shaped = PARE__FOR_CPU,
     .params = pare__gemm_wide_params,
     .neutral = GEMM_WIDE_NEUTRAL,
     .defaults = pare__gemm_wide_defaults,
     .accepts = pare__gemm_wide_accepts,
     .launch = pare__gemm_wide_launch},
    {.name = "group",
     .file = "gemv_group.cl",
     .local_bytes = GEMV_GROUP_LOCAL_BYTES,
     .shaped = PARE__FOR_GPU,
     .params = pare__gemv_group_params,
     .accepts = pare__gemv_group_accepts,
     .launch = pare__gemv_group_launch},
    {.name = "tile",
     .file = "gemm_tile.cl",
     .local_bytes = GEMM_TILE_LOCAL_BYTES,
     .shaped = PARE__FOR_GPU,
     .params = pare__gemm_tile_params,
     .neutral = GEMM_TILE_NEUTRAL,
     .defaults = pare__gemm_tile_defaults,
     .accepts = pare__gemm_tile_accepts,
     .launch = pare__gemm_tile_launch},
    {.name = "plain",
     .file = "gemm_plain.cl",
     .shaped = PARE__FOR_ANY,
     .accepts = pare__gemm_plain_accepts,
     .launch = pare__gemm_plain_launch},
    {.name = NULL},
};

const pare__family pare__family_gemm_nm = {
    .name = "gemm_nm",
    .what = "matrix product with N:M sparse weights",
    .nbuffers = BLOCKS_NBUFFERS,
    .variants = variants,
    .problem = pare__nm_cases,
    .buffer = pare__nm_buffer,
    .generate = pare__nm_generate,
    .reference = pare__nm_reference,
    .work = pare__nm_work,
    .describe = pare__nm_describe,
    .shape_class = pare__nm_shape_class,
    .deciding_class = pare__nm_deciding_class,
};
