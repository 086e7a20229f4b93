/* B of a matrix product into panels: P[panel][k][column], packed once and used often.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Group (x, y) packs panel x of batch y; its items share the steps of k and the columns. Columns past n are zero. */
#include "dtype.cl"

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
gemm_pack(int k, int n, int panel, __global const STORE(T0) *b, long b_offset, long b_batch, long b_row, long b_col,
          __global STORE(T1) *panels, long panels_offset, long panels_batch) {
  const int j0 = get_group_id(0) * panel, items = GROUP;
  b += b_offset + get_group_id(1) * b_batch;
  panels += panels_offset + get_group_id(1) * panels_batch + (long)get_group_id(0) * k * panel;
  /* neighbours along the columns, or along k where that is how B lies in memory */
  const bool along_k = b_row == 1 && b_col != 1;
  const int inner = along_k ? k : panel, outer = along_k ? panel : k;
  for (int o = 0; o < outer; o++)
    for (int i = get_local_id(0); i < inner; i += items) {
      const int l = along_k ? i : o, j = along_k ? o : i;
      SAVE(T1, panels, (long)l * panel + j, j0 + j < n ? LOAD(T0, b, l * b_row + (j0 + j) * b_col) : 0);
    }
}
