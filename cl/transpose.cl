/* y[b][c][r] = x[b][r][c]: the two axes that are contiguous in x and in y change places.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Only bits move: T0 is an integer type of the element's size. ROWS counts x's rows (contiguous in y), COLUMNS x's
 * columns.
 *
 *   blocks  CPUs: one item a group, BLOCK x BLOCK elements an item. Tiles of 16 rows by 8 columns go through registers,
 * so that every store fills a cache line of y: two transposes of 8 x 8 by shuffles in three stages. tiles   GPUs: 32 x
 * 32 elements a group of 32 x 8 items through local memory, a column of padding against bank conflicts (Ruetsch &
 * Micikevicius 2009). */
#include "dtype.cl"

#ifndef BLOCK
#define BLOCK 64
#endif
#ifndef STREAM
#define STREAM 1
#endif

typedef STORE(T0) element;
typedef JOIN(STORE(T0), 8) octet;

#define PARAMETERS                                                                                           \
  int rows, int columns, int batch1, __global const element *x, long x_offset, long x_batch0, long x_batch1, \
      long x_row, __global element *y, long y_offset, long y_batch0, long y_batch1, long y_column

#define TO_BATCH(b)                                                  \
  x += x_offset + (b) / batch1 * x_batch0 + (b) % batch1 * x_batch1; \
  y += y_offset + (b) / batch1 * y_batch0 + (b) % batch1 * y_batch1

#ifdef SHAPED_FOR_GPU

#define TILE 32
#define GROUP_ROWS 8

__attribute__((reqd_work_group_size(TILE, GROUP_ROWS, 1))) __kernel void tiles(PARAMETERS) {
  __local element tile[TILE][TILE + 1];
  const int lx = get_local_id(0), ly = get_local_id(1);
  const int c0 = get_group_id(0) * TILE, r0 = get_group_id(1) * TILE;
  TO_BATCH((long)get_group_id(2));
  for (int k = ly; k < TILE; k += GROUP_ROWS)
    if (r0 + k < rows && c0 + lx < columns) tile[k][lx] = x[(r0 + k) * x_row + c0 + lx];
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int k = ly; k < TILE; k += GROUP_ROWS)
    if (c0 + k < columns && r0 + lx < rows) y[(c0 + k) * y_column + r0 + lx] = tile[lx][k];
}

#else

/* Pairs of lanes of a and b, at distance 1, 2 and 4: three rounds of these transpose 8 x 8. Lane by lane, which
 * compiles to the same shuffles as vectors made of vectors: those crash oclgrind 21.10. */
#define LOW1(a, b) (octet)((a).s0, (b).s0, (a).s2, (b).s2, (a).s4, (b).s4, (a).s6, (b).s6)
#define HIGH1(a, b) (octet)((a).s1, (b).s1, (a).s3, (b).s3, (a).s5, (b).s5, (a).s7, (b).s7)
#define LOW2(a, b) (octet)((a).s0, (a).s1, (b).s0, (b).s1, (a).s4, (a).s5, (b).s4, (b).s5)
#define HIGH2(a, b) (octet)((a).s2, (a).s3, (b).s2, (b).s3, (a).s6, (a).s7, (b).s6, (b).s7)
#define LOW4(a, b) (octet)((a).s0, (a).s1, (a).s2, (a).s3, (b).s0, (b).s1, (b).s2, (b).s3)
#define HIGH4(a, b) (octet)((a).s4, (a).s5, (a).s6, (a).s7, (b).s4, (b).s5, (b).s6, (b).s7)

/* out[c] = column c of the 8 x 8 elements at x. */
static void transpose_octets(__global const element *x, long x_row, octet *out) {
  octet a[8], b[8];
#pragma unroll
  for (int i = 0; i < 8; i++) a[i] = vload8(0, x + i * x_row);
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    b[i] = LOW1(a[i], a[i + 1]);
    b[i + 1] = HIGH1(a[i], a[i + 1]);
  }
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
#pragma unroll
    for (int k = 0; k < 2; k++) {
      a[i + k] = LOW2(b[i + k], b[i + k + 2]);
      a[i + k + 2] = HIGH2(b[i + k], b[i + k + 2]);
    }
  }
#pragma unroll
  for (int k = 0; k < 4; k++) {
    out[k] = LOW4(a[k], a[k + 4]);
    out[k + 4] = HIGH4(a[k], a[k + 4]);
  }
}

static void store_octet(octet v, __global element *p) {
#if STREAM == 2 && defined(PARE_NONTEMPORAL)
  if (((ulong)p & (sizeof(octet) - 1)) == 0) {
    __builtin_nontemporal_store(v, (__global octet *)p);
    return;
  }
#endif
  vstore8(v, 0, p);
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void blocks(PARAMETERS) {
  const int c0 = get_global_id(0) * BLOCK, r0 = get_global_id(1) * BLOCK;
  const int c1 = min(c0 + BLOCK, columns), r1 = min(r0 + BLOCK, rows);
  TO_BATCH((long)get_global_id(2));
  int r = r0;
  for (; r + 16 <= r1; r += 16) {
    int c = c0;
    for (; c + 8 <= c1; c += 8) {
      octet upper[8], lower[8];
      transpose_octets(x + r * x_row + c, x_row, upper);
      transpose_octets(x + (r + 8) * x_row + c, x_row, lower);
#pragma unroll
      for (int k = 0; k < 8; k++) {
        store_octet(upper[k], y + (c + k) * y_column + r);
        store_octet(lower[k], y + (c + k) * y_column + r + 8);
      }
    }
    for (; c < c1; c++)
      for (int k = 0; k < 16; k++) y[c * y_column + r + k] = x[(r + k) * x_row + c];
  }
  for (; r < r1; r++)
    for (int c = c0; c < c1; c++) y[c * y_column + r] = x[r * x_row + c];
}

#endif
