/* int8 weights into panels[panel][k / 4][column][k % 4], and the sums of their columns.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Group x packs panel x; its items share the columns. What lies past k or n is zero. */
#include "dtype.cl"

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void gemm_int8_pack(
    int k, int n, int panel, __global const char *b, long b_offset, long b_row, long b_col, __global int *panels,
    long panels_offset, __global int *sums, long sums_offset) {
  const int quads = (k + 3) / 4, p = get_group_id(0);
  panels += panels_offset + (long)p * quads * panel;
  for (int column = get_local_id(0); column < panel; column += GROUP) {
    const long j = (long)p * panel + column;
    int sum = 0;
    for (int q = 0; q < quads; q++) {
      char4 word = 0;
      __global const char *from = b + b_offset + (long)q * 4 * b_row + j * b_col;
      if (j < n) {
        word.x = from[0];
        if (4 * q + 1 < k) word.y = from[b_row];
        if (4 * q + 2 < k) word.z = from[2 * b_row];
        if (4 * q + 3 < k) word.w = from[3 * b_row];
      }
      sum += word.x + word.y + word.z + word.w;
      panels[(long)q * panel + column] = as_int(word);
    }
    sums[sums_offset + j] = sum;
  }
}
