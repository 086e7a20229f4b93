/* Convolution for CPU devices: vectors of output channels times single pixels. SPDX-License-Identifier: Apache-2.0
 *
 * One work-item a work-group computes tiles of NO blocks of LANES channels by NP neighbouring pixels of a row, which
 * stay in registers while all of c and k pass:
 *
 *   w: [block of c][tap][c][LANES of o]      NO vectors, in order
 *   x: pixels p, p + stride, …               NP scalars, each to all lanes; any layout, by strides
 *
 * Tiles whose pixels all see only the inside of x along a row run without tests; rows outside are skipped. The last
 * tile of a row overlaps the one before it and stores only what is new (Georganas et al. 2018). An element's bits
 * depend on the order of c and k alone. With -DY_IS_BLOCKED=1 a vector is stored as it is, else lane by lane. */
#ifndef LANES
#define LANES 8
#endif
#ifndef NO
#define NO 2
#endif
#ifndef NP
#define NP 6
#endif
#define REAL_WIDTH LANES
#include "convolve.cl"

#define UNROLL _Pragma("unroll")

typedef struct geometry {
  long block, channel, depth, row, pixel; /* of x: elements from one to the next */
  int channels, taps;
  int4 x_dims, k_dims, dilation;
  int step;     /* pixels of x from one pixel of the tile to the next */
  long w_block; /* elements from one block of o to the next */
} geometry;

#define TILE_NAME tile_inside
#define EDGE 0
#define POINT 0
#include "convolve_direct_tile.cl"
#undef TILE_NAME
#undef EDGE
#define TILE_NAME tile_edge
#define EDGE 1
#include "convolve_direct_tile.cl"
#undef TILE_NAME
#undef EDGE
#undef POINT
#define TILE_NAME tile_point
#define EDGE 0
#define POINT 1
#include "convolve_direct_tile.cl"

#include "convolve_finish.cl"

/* Group (i, j, n): `chunk` tiles of all rows from i * chunk, `span` sets of NO blocks of channels of all groups from
 * j * span, batch n. What the tiles of a chunk see of x stays in the second level cache for all of the sets. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void convolve_direct(CONVOLVE_ARGUMENTS, int chunk, int span) {
  CONVOLVE_BEGIN;
  const int n = get_global_id(2), blocks = (outputs + LANES - 1) / LANES, sets = (blocks + NO - 1) / NO;
  const int taps = k_dims.x * k_dims.y * k_dims.z, parts_of_c = (channels + LANES - 1) / LANES;
  const int across = (y_dims.z + NP - 1) / NP;
  const long tiles = (long)across * y_dims.x * y_dims.y, from = get_global_id(0) * (long)chunk;
  geometry e = {x_steps.s1 * (LANES / x_length),
                x_length == 1 ? x_steps.s1 : x_steps.s2,
                x_steps.s3,
                x_steps.s4,
                x_steps.s5,
                channels,
                taps,
                x_dims,
                k_dims,
                dilation,
                stride.z,
                (long)parts_of_c * taps * LANES * LANES};
  SUM sums[NO * NP * LANES];
  const int first_set = get_global_id(1) * span, last_set = min(first_set + span, sets * groups);
  for (int set = first_set; set < last_set; set++) {
    const int g = set / sets, block0 = set % sets * NO, nblocks = min(NO, blocks - block0);
    __global const STORE(T0) *in = x + X_AT((long)n, g * (long)channels);
    __global const STORE(T1) *weights = w + ((long)g * blocks + block0) * e.w_block;
    for (long t = from; t < min(from + chunk, tiles); t++) {
      const int line = t / across, pz = line / y_dims.y, py = line % y_dims.y, at = (int)(t % across) * NP;
      const int px = max(0, min(at, y_dims.z - NP)), first = at - px, last = min(NP, y_dims.z - px);
      const int z0 = pz * stride.x - pad.x, y0 = py * stride.y - pad.y, x0 = px * stride.z - pad.z;
      const int inside = x0 >= 0 && x0 + (NP - 1) * stride.z + (k_dims.z - 1) * dilation.z < x_dims.z;
      if (inside && taps == 1 && z0 >= 0 && z0 < x_dims.x && y0 >= 0 && y0 < x_dims.y)
        tile_point(&e, in, weights, nblocks, z0, y0, x0, sums);
      else if (inside)
        tile_inside(&e, in, weights, nblocks, z0, y0, x0, sums);
      else
        tile_edge(&e, in, weights, nblocks, z0, y0, x0, sums);
      for (int b = 0; b < nblocks; b++) {
        const int o = (block0 + b) * LANES, channel = g * outputs + o;
        const long to = Y_AT((long)n, channel) + pz * y_steps.s3 + py * y_steps.s4 + px * y_steps.s5;
        finish(sums + b * NP * LANES, first, last, min(LANES, outputs - o), bias ? bias + channel : 0,
               residual ? residual + to : 0, y + to, y_steps.s1, y_steps.s5, activation, ends);
      }
    }
  }
}
