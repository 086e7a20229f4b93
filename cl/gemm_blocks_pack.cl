/* Quantised values into panels[panel][word][column], as gemm_blocks.cl says. SPDX-License-Identifier: Apache-2.0
 *
 * B has `bits` (2, 4 or 8) bits a value, low bits of a byte first: value (l, j) is the one at l * b_row + j * b_col.
 * `flip` turns bits of it. -D B_BITS: of a value in the panels. Group x packs panel x; its items share the columns.
 * What lies past a block, k or n is zero. */
#include "dtype.cl"
#include "gemm_blocks.cl"

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void gemm_blocks_pack(
    int k, int n, int panel, int block, int bits, int flip, __global const uchar *b, long b_offset, long b_row,
    long b_col, __global int *panels, long panels_offset) {
  const int blocks = (k + block - 1) / block, words = (block + BLOCKS_STEPS - 1) / BLOCKS_STEPS, p = get_group_id(0);
  const int values = 8 / bits, mask = (1 << bits) - 1;
  b += b_offset;
  panels += panels_offset + (long)p * blocks * words * panel;
  for (int t = get_local_id(0); t < panel * blocks; t += GROUP) {
    const int column = t % panel, g = t / panel, count = min(block, k - g * block);
    const long j = (long)p * panel + column, first = (long)g * block * b_row + j * b_col;
    for (int w = 0; w < words; w++) {
      int word = 0;
      for (int u = 0; u < BLOCKS_STEPS; u++) {
        const int l = w * BLOCKS_STEPS + u;
        const long at = first + l * b_row;
        if (j >= n || l >= count) continue;
        const int value = (((b[at / values] >> (at % values * bits)) & mask) ^ flip) & ((1 << B_BITS) - 1);
#if B_BITS == 4
        word |= value << (u < 4 ? 8 * u : 8 * u - 28);
#else
        word |= value << (8 * u);
#endif
      }
      panels[((long)g * words + w) * panel + column] = word;
    }
  }
}
