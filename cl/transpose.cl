/* y[b][c][r] = x[b][r][c]: the two axes that are contiguous in x and in y change places.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Only bits move: T0 is an integer type of the element's size. ROWS counts x's rows (contiguous in y), COLUMNS x's
 * columns.
 *
 *   blocks  CPUs: one item a group, BLOCK rows by BLOCK * STRETCH columns an item. Tiles of 16 x 16, so that elements
 * of 4 bytes fill whole cache lines of x and of y: rows of a power of two share one set of the cache, and half a line
 * would be gone before the other half is asked for. A tile is four transposes of 8 x 8 by shuffles in three stages.
 * Tiles go along rows of x, which a processor reads ahead, but down its columns where all rows share one set: what was
 * read ahead would be gone. -DPREFETCH=1 asks for what comes next early.
 *   tiles   GPUs: 32 x 32 elements a group of 32 x 8 items through local memory, a column of padding against bank
 * conflicts (Ruetsch & Micikevicius 2009). */
#include "dtype.cl"

#ifndef BLOCK
#define BLOCK 64
#endif
#ifndef STREAM
#define STREAM 1
#endif
#define STRETCH 2
#define SIDE 16         /* of a tile */
#define SHARED_SET 4096 /* rows this many bytes apart, or a multiple, share a set of the first level cache */

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

/* One tile: the transposes of its quarters, stored a line of y after the other. */
static void move_tile(__global const element *x, long x_row, __global element *y, long y_column, int ahead) {
  octet upper[SIDE], lower[SIDE];
#if PREFETCH
#pragma unroll
  for (int k = 0; k < SIDE; k++) __builtin_prefetch((const void *)(ulong)(x + k * x_row + ahead));
#endif
  transpose_octets(x, x_row, upper);
  transpose_octets(x + 8, x_row, upper + 8);
  transpose_octets(x + 8 * x_row, x_row, lower);
  transpose_octets(x + 8 * x_row + 8, x_row, lower + 8);
#pragma unroll
  for (int k = 0; k < SIDE; k++) {
    store_octet(upper[k], y + k * y_column);
    store_octet(lower[k], y + k * y_column + 8);
  }
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void blocks(PARAMETERS) {
  const int c0 = get_global_id(0) * (BLOCK * STRETCH), r0 = get_global_id(1) * BLOCK;
  const int c1 = min(c0 + BLOCK * STRETCH, columns), r1 = min(r0 + BLOCK, rows);
  const int whole_rows = r0 + (r1 - r0) / SIDE * SIDE, whole_columns = c0 + (c1 - c0) / SIDE * SIDE;
  TO_BATCH((long)get_global_id(2));
  const bool along = x_row * sizeof(element) % SHARED_SET != 0;
  const int across = (whole_columns - c0) / SIDE, down = (whole_rows - r0) / SIDE;
  const int outer = along ? down : across, inner = along ? across : down;
  for (int o = 0; o < outer; o++)
    for (int i = 0; i < inner; i++) {
      const int r = r0 + (along ? o : i) * SIDE, c = c0 + (along ? i : o) * SIDE;
      move_tile(x + r * x_row + c, x_row, y + c * y_column + r, y_column, along ? 4 * SIDE : SIDE);
    }
  for (int c = c0; c < c1; c++)
    for (int r = c < whole_columns ? whole_rows : r0; r < r1; r++) y[c * y_column + r] = x[r * x_row + c];
}

#endif
