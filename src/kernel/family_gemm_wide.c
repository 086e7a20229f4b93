/* The matrix product for CPU devices: which blocks gemm_wide.cl works on. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "kernel/family_gemm.h"

/* MR, MR_SMALL: rows of a tile. KC: steps of k in a block; the only one that bits depend on. */
const pare__param pare__gemm_wide_params[] = {{"MR", (const int[]){6, 8, 4, 0}},
                                              {"MR_SMALL", (const int[]){4, 2, 0}},
                                              {"KC", (const int[]){512, 256, 384, 768, 0}},
                                              {NULL, NULL}};

void pare__gemm_wide_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  (void)whole;
  tuning->value[0] = pare__few_registers(info) ? 6 : 8;
  tuning->value[1] = 4;
  tuning->value[2] = 512;
}

bool pare__gemm_wide_accepts(const pare_device_info *info, const pare__problem *whole) {
  return pare__gemm_accepts(whole) && whole->dtype[GEMM_BUFFER_C] != PARE_F64 && whole->dim[GEMM_C_COL] == 1 &&
         (whole->dim[GEMM_PANEL] == 0 || whole->dim[GEMM_PANEL] == pare__gemm_panel(info));
}

/* How one launch is cut: blocks of nc columns and mc rows, a group each. */
typedef struct blocking {
  bool a_in_place, b_in_place;
  int64_t panel, kc, mc, nc, strips, bands; /* groups along the columns, along the rows */
  size_t a_bytes, b_bytes, partial_bytes;   /* local memory */
} blocking;

/* Blocks of k of equal length, of whole groups if B is N:M sparse; decided by the whole problem. */
static int64_t block_of_k(const pare__run *run) {
  const int64_t k = run->whole->dim[GEMM_K], most = pare__tuned(run, "KC"), of = run->whole->dim[GEMM_OF];
  if (k <= most) return PARE__MAX(k, 1);
  return pare__round_up(pare__div_up(k, pare__div_up(k, most)), of == 0 || 8 % of == 0 ? 8 : of == 16 ? 16 : 8 * of);
}

static bool sums_wait_in_c(const pare__run *run, const blocking *b) {
  return run->whole->dtype[GEMM_BUFFER_C] == PARE_F32 || run->whole->dim[GEMM_K] <= b->kc;
}

/* Enough groups to keep all units busy to the end, each large enough to be worth its start. Where groups pack B, each
 * band of rows does so anew: narrow strips come first, and a few groups have to do. */
static void choose_groups(const pare__run *run, blocking *b) {
  const double least_flops = 4e6;
  const int64_t *dim = run->piece->dim, m = dim[GEMM_M], n = dim[GEMM_N], z = dim[GEMM_BATCH1] * dim[GEMM_BATCH2];
  const int64_t units = pare__device_info(run->device)->compute_units;
  const int64_t least_rows = b->b_in_place ? 48 : 192, narrow = b->b_in_place ? 0 : n / (4 * b->panel);
  const int64_t most_bands = PARE__MAX(m / least_rows, 1), most_strips = PARE__MAX(n / (2 * b->panel), 1);
  const double flops = 2.0 * (double)m * (double)n * (double)dim[GEMM_K] * (double)z;
  const int64_t most = (b->b_in_place ? 8 : 4) * units;
  const int64_t wanted = PARE__MIN(most, (int64_t)PARE__MIN(flops / least_flops, 1e9) + 1);
  while (b->strips * b->bands * z < wanted) {
    if (b->strips < narrow || (b->bands >= most_bands && b->strips < most_strips))
      b->strips++;
    else if (b->bands < most_bands)
      b->bands++;
    else
      break;
  }
  if (flops > least_flops / 2) /* few groups: as many for each unit */
    for (int64_t i = 0; i < units && b->strips < most_strips && b->strips * b->bands * z < 4 * units; i++)
      if (b->strips * b->bands * z % units != 0) b->strips++;
}

static void choose_blocks(const pare__run *run, blocking *b) {
  const pare_device_info *info = pare__device_info(run->device);
  const int64_t *dim = run->piece->dim, m = dim[GEMM_M], n = dim[GEMM_N], mr = pare__tuned(run, "MR");
  const int64_t cache_bytes = 262144; /* of the second level, for a block of B */
  const int64_t budget = PARE__MIN(cache_bytes, (int64_t)info->local_bytes / 2);
  b->panel = pare__gemm_panel(info);
  b->a_in_place = (run->whole->mode & GEMM_A_ROWS) && dim[GEMM_A_COL] == 1;
  b->b_in_place = dim[GEMM_BITS] == 0 && dim[GEMM_OF] == 0 &&
                  (dim[GEMM_PANEL] > 0 || ((run->whole->mode & GEMM_B_ROWS) && dim[GEMM_B_COL] == 1 && n >= b->panel));
  b->kc = block_of_k(run);
  const int64_t most_columns = PARE__MAX(budget / (b->kc * (int64_t)sizeof(float)) / b->panel, 1) * b->panel;
  const bool in_c = sums_wait_in_c(run, b);
  const int64_t most_rows = in_c ? m : PARE__MAX(budget / 2 / (most_columns * (int64_t)sizeof(float)), mr);
  b->strips = pare__div_up(n, most_columns);
  b->bands = pare__div_up(m, most_rows);
  choose_groups(run, b);
  b->nc = pare__round_up(pare__div_up(n, b->strips), b->panel);
  b->mc = PARE__MIN(pare__round_up(pare__div_up(m, b->bands), mr), most_rows);
  b->strips = pare__div_up(n, b->nc);
  b->bands = pare__div_up(m, b->mc);
  b->a_bytes = b->a_in_place ? sizeof(float) : (size_t)(mr * b->kc) * sizeof(float);
  b->b_bytes = b->b_in_place ? sizeof(float) : (size_t)(b->nc * b->kc) * sizeof(float);
  b->partial_bytes = in_c ? sizeof(float) : (size_t)(b->mc * b->nc) * sizeof(float);
}

static pare_status launch_batch(const pare__run *run, int64_t batch0) {
  const int64_t *dim = run->piece->dim;
  blocking b = {0};
  choose_blocks(run, &b);
  pare__args args = {0};
  pare__gemm_args_operands(&args, run, batch0, false, false);
  for (int i = GEMM_ALPHA; i <= GEMM_HIGH; i++) pare__arg_float(&args, (float)run->piece->real[i]);
  pare__arg_int(&args, (int32_t)dim[GEMM_ACTIVATION]);
  pare__arg_int(&args, (int32_t)b.mc);
  pare__arg_int(&args, (int32_t)b.nc);
  pare__arg_int(&args, (int32_t)b.kc);
  pare__arg_local(&args, b.a_bytes);
  pare__arg_local(&args, b.b_bytes);
  pare__arg_local(&args, b.partial_bytes);
  pare__gemm_args_blocks(&args, run);
  char packed[40], options[160];
  const bool prefetch = pare__device_info(run->device)->can.inline_assembly; /* SPIR-V has no such thing */
  snprintf(options, sizeof options, "-DVW=%d -DNV=2 -DA_IN_PLACE=%d -DB_IN_PLACE=%d -DC_IS_F32=%d -DPREFETCH=%d %s",
           (int)(b.panel / 2), b.a_in_place, b.b_in_place, run->whole->dtype[GEMM_BUFFER_C] == PARE_F32, prefetch,
           pare__gemm_packed_options(run->whole, packed, sizeof packed));
  const size_t global[] = {(size_t)b.strips, (size_t)b.bands, (size_t)(dim[GEMM_BATCH1] * dim[GEMM_BATCH2])};
  return pare__run_kernel(run, "gemm_wide", options, 3, global, NULL, &args);
}

pare_status pare__gemm_wide_launch(const pare__run *run) { return pare__gemm_each_batch(run, launch_batch); }
