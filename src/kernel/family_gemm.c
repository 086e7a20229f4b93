/* Matrix products: variants and launches. The problem is in family_gemm.h. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_gemm.h"

#include <stdio.h>

#ifdef PARE_HAVE_CLBLAST
#include "kernel/provider_clblast.h"
#endif

int pare__gemm_mode(const pare__problem *problem) {
  const int64_t *dim = problem->dim;
  const int64_t few_rows = 64, least_columns = 64; /* B is read so few times that packing it would not pay */
  int mode = GEMM_GENERAL;
  if (problem->dtype[GEMM_BUFFER_A] == PARE_F32 && dim[GEMM_A_COL] == 1) mode |= GEMM_A_ROWS;
  if (dim[GEMM_PANEL] > 0)
    mode |= GEMM_B_PANELS;
  else if (dim[GEMM_B_COL] == 1 && dim[GEMM_M] <= few_rows && dim[GEMM_N] >= least_columns)
    mode |= GEMM_B_ROWS;
  return mode;
}

int64_t pare__gemm_panel(const pare_device_info *info) {
  if (info->type != PARE_DEVICE_CPU) return 64;
  return info->can.vector_bits >= 512 ? 32 : info->can.vector_bits >= 256 ? 16 : 8;
}

void pare__gemm_args_operands(pare__args *args, const pare__run *run, int64_t batch0, bool panel_width, bool c_col) {
  static const struct {
    int buffer, batch0;
  } inputs[] = {{GEMM_BUFFER_A, GEMM_A_BATCH0}, {GEMM_BUFFER_B, GEMM_B_BATCH0}};
  const int64_t *dim = run->piece->dim;
  for (int i = GEMM_M; i <= GEMM_K; i++) pare__arg_int(args, (int32_t)dim[i]);
  pare__arg_int(args, (int32_t)dim[GEMM_BATCH2]);
  for (unsigned i = 0; i < PARE__COUNT(inputs); i++) {
    const pare__operand *operand = &run->operand[inputs[i].buffer];
    pare__arg_mem(args, operand->mem);
    pare__arg_long(args, operand->offset + batch0 * dim[inputs[i].batch0]);
    for (int stride = 1; stride <= 4; stride++) pare__arg_long(args, dim[inputs[i].batch0 + stride]);
  }
  pare__arg_long(args, dim[GEMM_B_PANEL]);
  if (panel_width) pare__arg_int(args, (int32_t)dim[GEMM_PANEL]);
  const pare__operand *bias = &run->operand[GEMM_BUFFER_BIAS], *c = &run->operand[GEMM_BUFFER_C];
  const pare__operand *summand = dim[GEMM_SUMMAND] ? &run->operand[GEMM_BUFFER_SUMMAND] : c;
  pare__arg_mem(args, dim[GEMM_BIAS] ? bias->mem : NULL);
  pare__arg_long(args, bias->offset);
  pare__arg_long(args, dim[GEMM_BIAS_ROW]);
  pare__arg_long(args, dim[GEMM_BIAS_COL]);
  pare__arg_mem(args, summand->mem);
  pare__arg_long(args, summand->offset + batch0 * dim[GEMM_C_BATCH0]);
  pare__arg_mem(args, c->mem);
  pare__arg_long(args, c->offset + batch0 * dim[GEMM_C_BATCH0]);
  for (int stride = GEMM_C_BATCH1; stride <= GEMM_C_ROW; stride++) pare__arg_long(args, dim[stride]);
  if (c_col) pare__arg_long(args, dim[GEMM_C_COL]);
}

pare_status pare__gemm_each_batch(const pare__run *run, pare_status (*launch)(const pare__run *run, int64_t batch0)) {
  const int64_t *dim = run->piece->dim;
  if (dim[GEMM_M] == 0 || dim[GEMM_N] == 0 || dim[GEMM_BATCH1] * dim[GEMM_BATCH2] == 0) return PARE_OK;
  for (int64_t i = 0; i < dim[GEMM_BATCH0]; i++) PARE__TRY(launch(run, i));
  return PARE_OK;
}

static bool is_f64(const pare__problem *problem) { return problem->dtype[GEMM_BUFFER_C] == PARE_F64; }

/* The arguments of gemm_plain.cl and gemm_tile.cl, in the precision that they compute in. */
void pare__gemm_args_any_strides(pare__args *args, const pare__run *run, int64_t batch0) {
  pare__gemm_args_operands(args, run, batch0, true, true);
  for (int i = GEMM_ALPHA; i <= GEMM_HIGH; i++)
    if (is_f64(run->whole))
      pare__arg_double(args, run->piece->real[i]);
    else
      pare__arg_float(args, (float)run->piece->real[i]);
  pare__arg_int(args, (int32_t)run->piece->dim[GEMM_ACTIVATION]);
  pare__gemm_args_blocks(args, run);
}

void pare__gemm_args_blocks(pare__args *args, const pare__run *run) {
  const int64_t *dim = run->whole->dim;
  if (!dim[GEMM_BITS] && !dim[GEMM_OF]) return;
  const pare__operand *scale = &run->operand[BLOCKS_BUFFER_SCALE], *zero = &run->operand[BLOCKS_BUFFER_ZERO];
  pare__arg_mem(args, scale->mem);
  pare__arg_long(args, scale->offset);
  pare__arg_mem(args, dim[GEMM_ZEROS] ? zero->mem : NULL);
  pare__arg_long(args, zero->offset);
  pare__arg_int(args, (int32_t)dim[GEMM_BLOCK]);
  pare__arg_float(args, (float)dim[GEMM_SHIFT]);
}

const char *pare__gemm_packed_options(const pare__problem *whole, char *text, size_t capacity) {
  const int64_t *dim = whole->dim;
  text[0] = '\0';
  if (dim[GEMM_BITS]) snprintf(text, capacity, "-DB_BITS=%d", (int)dim[GEMM_BITS]);
  if (dim[GEMM_OF])
    snprintf(text, capacity, "-DNM_N=%d -DNM_M=%d -DB_BYTES=%d", (int)dim[GEMM_KEEP], (int)dim[GEMM_OF],
             whole->dtype[GEMM_BUFFER_B] == PARE_I8);
  return text;
}

static const char *real_option(const pare__run *run, char *text, size_t capacity) {
  return is_f64(run->whole) ? "-DREAL_IS_DOUBLE=1" : pare__gemm_packed_options(run->whole, text, capacity);
}

bool pare__gemm_accepts(const pare__problem *whole) {
  const int64_t *dim = whole->dim;
  const bool f64 = is_f64(whole);
  if ((whole->dtype[GEMM_BUFFER_A] == PARE_F64) != f64 || (whole->dtype[GEMM_BUFFER_B] == PARE_F64) != f64)
    return false;
  if (dim[GEMM_BIAS] && (whole->dtype[GEMM_BUFFER_BIAS] == PARE_F64) != f64) return false;
  return dim[GEMM_M] <= INT32_MAX && dim[GEMM_N] <= INT32_MAX && dim[GEMM_K] <= INT32_MAX - 4096 &&
         dim[GEMM_BATCH1] * dim[GEMM_BATCH2] <= INT32_MAX;
}

/* ---- plain ---- */

bool pare__gemm_plain_accepts(const pare_device_info *info, const pare__problem *whole) {
  uint32_t most = info->can.max_loop_steps;
  return pare__gemm_accepts(whole) && (most == 0 || whole->dim[GEMM_K] < most);
}

static pare_status plain_batch(const pare__run *run, int64_t batch0) {
  const int64_t *dim = run->piece->dim;
  pare__args args = {0};
  pare__gemm_args_any_strides(&args, run, batch0);
  size_t global[] = {(size_t)dim[GEMM_N], (size_t)dim[GEMM_M], (size_t)(dim[GEMM_BATCH1] * dim[GEMM_BATCH2])};
  char options[40];
  return pare__run_kernel(run, "gemm_plain", real_option(run, options, sizeof options), 3, global, NULL, &args);
}

pare_status pare__gemm_plain_launch(const pare__run *run) { return pare__gemm_each_batch(run, plain_batch); }

/* ---- tile ---- */

const pare__param pare__gemm_tile_params[] = {
    {"TILE_M", (const int[]){64, 32, 128, 0}}, {"TILE_N", (const int[]){64, 32, 128, 0}},
    {"TILE_K", (const int[]){16, 8, 32, 0}},   {"WORK_M", (const int[]){4, 8, 0}},
    {"WORK_N", (const int[]){4, 8, 0}},        {NULL, NULL}};

void pare__gemm_tile_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  (void)info;
  const int64_t *dim = whole->dim;
  /* Large products: eight by eight in registers. Small ones, and double: more groups, fewer registers. */
  const bool large = dim[GEMM_M] >= 512 && dim[GEMM_N] >= 512 && !is_f64(whole);
  const bool small = dim[GEMM_M] <= 32 || dim[GEMM_N] <= 32 || is_f64(whole);
  *tuning = large   ? (pare__tuning){{128, 128, 8, 8, 8}}
            : small ? (pare__tuning){{32, 32, 16, 4, 4}}
                    : (pare__tuning){{64, 64, 16, 4, 4}};
}

bool pare__gemm_tile_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t steps_per_k = 4; /* of all loops of an item, if the driver unrolls none that is not marked */
  const uint32_t most = info->can.max_loop_steps;
  return pare__gemm_accepts(whole) && (most == 0 || whole->dim[GEMM_K] < most / steps_per_k);
}

static pare_status tile_batch(const pare__run *run, int64_t batch0) {
  const int64_t *dim = run->piece->dim;
  const int tile_m = pare__tuned(run, "TILE_M"), tile_n = pare__tuned(run, "TILE_N");
  const size_t local[] = {(size_t)(tile_n / pare__tuned(run, "WORK_N")), (size_t)(tile_m / pare__tuned(run, "WORK_M")),
                          1};
  const size_t global[] = {(size_t)pare__div_up(dim[GEMM_N], tile_n) * local[0],
                           (size_t)pare__div_up(dim[GEMM_M], tile_m) * local[1],
                           (size_t)(dim[GEMM_BATCH1] * dim[GEMM_BATCH2])};
  pare__args args = {0};
  pare__gemm_args_any_strides(&args, run, batch0);
  char options[40];
  return pare__run_kernel(run, "gemm_tile", real_option(run, options, sizeof options), 3, global, local, &args);
}

pare_status pare__gemm_tile_launch(const pare__run *run) { return pare__gemm_each_batch(run, tile_batch); }

/* ---- the table ---- */

static const pare__variant variants[] = {
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
    {.name = "tile",
     .file = "gemm_tile.cl",
     .local_bytes = GEMM_TILE_LOCAL_BYTES,
     .shaped = PARE__FOR_GPU,
     .params = pare__gemm_tile_params,
     .neutral = GEMM_TILE_NEUTRAL,
     .defaults = pare__gemm_tile_defaults,
     .accepts = pare__gemm_tile_accepts,
     .launch = pare__gemm_tile_launch},
#ifdef PARE_HAVE_CLBLAST
    /* After `tile`, so that a GPU runs it where the tuner found it faster: untuned results are the same with and
     * without CLBlast, and only `tile` splits, fuses the epilogue and is built once for all processes. Tests compile
     * for some seconds where CLBlast meets a driver for the first time; its problems are few for that reason. */
    {.name = "clblast",
     .provider = PARE__CLBLAST_VERSION,
     .needs = PARE__NEEDS_LONG_LOOPS, /* how many steps a loop of its kernels takes is not told */
     .shaped = PARE__FOR_GPU,
     .whole_only = true,
     .dtypes = PARE__CLBLAST_DTYPES,
     .accepts = pare__clblast_accepts,
     .launch = pare__clblast_launch},
#endif
    {.name = "plain",
     .file = "gemm_plain.cl",
     .shaped = PARE__FOR_ANY,
     .accepts = pare__gemm_plain_accepts,
     .launch = pare__gemm_plain_launch},
    {.name = NULL},
};

const pare__family pare__family_gemm = {
    .name = "gemm",
    .what = "matrix product, batched, strided, with bias and activation",
    .nbuffers = GEMM_NBUFFERS,
    .variants = variants,
    .problem = pare__gemm_cases,
    .buffer = pare__gemm_buffer,
    .reference = pare__gemm_reference,
    .work = pare__gemm_work,
    .describe = pare__gemm_describe,
    .shape_class = pare__gemm_shape_class,
    .deciding_class = pare__gemm_deciding_class,
};
