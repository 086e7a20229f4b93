/* The problems of 3x3 convolution by Winograd's F(4x4, 3x3), as operations put them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * y[n][o][p] = shift + scale activation(sum over c, k of x[n][c][p - pad + k] w[o][c][k] + bias[o] + residual[n][o][p])
 *
 * in tiles of 4x4 pixels: with d the 6x6 pixels of x that a tile sees, V = B' d B and the transformed weights U = G w
 * G' of each pair of channels, a tile is A' (sum over c of U V) A (Lavin & Gray 2016). U is [ceil(O / L)][36][ceil(C /
 * L) L][L], zero past O and C, L = WINOGRAD_LANES. x, y and residual have channels in blocks or not, as in
 * family_convolve.h. V is scratch: [N][36][ceil(C / L)][pitch][L], pitch = pare__winograd_pitch. Buffers: x, U, bias,
 * residual, V, y. real: the ends of clip, scale, shift. */
#ifndef PARE_KERNEL_FAMILY_WINOGRAD_H
#define PARE_KERNEL_FAMILY_WINOGRAD_H

#include "kernel/kernel.h"

enum {
  WINOGRAD_N,
  WINOGRAD_C,
  WINOGRAD_O,
  WINOGRAD_X_H,
  WINOGRAD_X_W,
  WINOGRAD_Y_H,
  WINOGRAD_Y_W,
  WINOGRAD_PAD_H,
  WINOGRAD_PAD_W,
  WINOGRAD_X_BATCH, /* strides in elements */
  WINOGRAD_X_BLOCK,
  WINOGRAD_X_ROW,
  WINOGRAD_X_PIXEL,
  WINOGRAD_Y_BATCH,
  WINOGRAD_Y_BLOCK,
  WINOGRAD_Y_ROW,
  WINOGRAD_Y_PIXEL,
  WINOGRAD_X_LENGTH, /* channels of a block: 1, or WINOGRAD_LANES */
  WINOGRAD_Y_LENGTH,
  WINOGRAD_LANES,
  WINOGRAD_ACTIVATION,
  WINOGRAD_NDIMS
};
enum {
  WINOGRAD_BUFFER_X,
  WINOGRAD_BUFFER_U,
  WINOGRAD_BUFFER_BIAS,
  WINOGRAD_BUFFER_RESIDUAL,
  WINOGRAD_BUFFER_V,
  WINOGRAD_BUFFER_Y,
  WINOGRAD_NBUFFERS
};
enum { WINOGRAD_HAS_BIAS = 1, WINOGRAD_HAS_RESIDUAL = 2 }; /* problem.flags */
enum { WINOGRAD_X_BLOCKED = 1, WINOGRAD_Y_BLOCKED = 2 };   /* problem.mode */

/* G: U = G w G'. */
extern const double pare__winograd_g[6][3];
/* Tiles of one plane of y, and what they take in V: an odd number, so that planes do not fall on the same cache lines.
 */
int64_t pare__winograd_tiles(const int64_t *dim);
int64_t pare__winograd_pitch(const int64_t *dim);

extern const pare__family pare__family_winograd;

#endif
