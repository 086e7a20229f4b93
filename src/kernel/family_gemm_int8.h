/* Products of quantised activations with int8 weights, as a problem. SPDX-License-Identifier: Apache-2.0
 *
 * C[i][j] = activation((sum over k of (A[i][k] - zero) * B[k][j]) * a_scale * b_scale[j] + bias[j])
 *
 * A is u8, i8, or floats that are quantised on the way to u8: q = saturate(round(x / a_scale) + zero). Where C is i32
 * it is the sum alone, and the scales are absent. RANGE > 0: instead of the scale its buffer holds so many values (A
 * itself, or what the family `range` makes of it) whose range gives scale and zero point, as the family `affine` has
 * it; no zero point is given then. B is packed by the family gemm_int8_pack: ints of four steps of k,
 * panels[panel][k / 4][column], and the sums of its columns, both padded to whole panels. The sum is exact in 32 bits
 * (K up to 65,000). mode: of A's and C's kinds. */
#ifndef PARE_KERNEL_FAMILY_GEMM_INT8_H
#define PARE_KERNEL_FAMILY_GEMM_INT8_H

#include "kernel/kernel.h"

enum {
  INT8_M,
  INT8_N,
  INT8_K,
  INT8_A_ROW,
  INT8_C_ROW,
  INT8_PANEL,
  INT8_ACTIVATION,
  INT8_HAS_ZERO,
  INT8_HAS_BIAS,
  INT8_RANGE
};
enum { INT8_LOW, INT8_HIGH };
enum {
  INT8_BUFFER_A,
  INT8_BUFFER_B,
  INT8_BUFFER_SUMS,
  INT8_BUFFER_B_SCALE,
  INT8_BUFFER_A_SCALE,
  INT8_BUFFER_A_ZERO,
  INT8_BUFFER_BIAS,
  INT8_BUFFER_C,
  INT8_NBUFFERS
};

enum { INT8_PACK_K, INT8_PACK_N, INT8_PACK_PANEL, INT8_PACK_ROW, INT8_PACK_COL };
enum { INT8_PACK_BUFFER_B, INT8_PACK_BUFFER_PANELS, INT8_PACK_BUFFER_SUMS, INT8_PACK_NBUFFERS };

extern const pare__family pare__family_gemm_int8, pare__family_gemm_int8_pack;

/* How kernels that round rows of A into local memory are cut into groups. Bands of rows, each rounded once, until there
 * are enough groups; their packed activations stay in the second level cache. Strips of columns, which round the same
 * rows again, only where there are few rows. */
typedef struct pare__gemm_int8_shape {
  int64_t m, n, k, panel, tile_rows, row_bytes; /* row_bytes: of packed activations */
} pare__gemm_int8_shape;
extern const pare__param pare__gemm_amx_params[]; /* rows of a tile that AMX multiplies */
void pare__gemm_int8_cut(const pare_device_info *info, const pare__gemm_int8_shape *shape, int64_t *mc, int64_t *nc);

#endif
