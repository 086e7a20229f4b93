/* Quantisation grids of weights: scales and zero points, codes, packing. SPDX-License-Identifier: Apache-2.0
 *
 * A grid maps codes to numbers: x = scale * (code - zero); code = saturate(round(x / scale) + zero), ties to even.
 * Codes of b bits are kept one a byte: in u8 they are 0 … 2^b - 1, in i8 -2^(b-1) … 2^(b-1) - 1; in packed form those
 * of u8 (pare_codes_pack). A symmetric grid has no zero points: zero is 2^(b-1) in u8, 0 in i8; its codes reach from
 * -(2^(b-1) - 1) to 2^(b-1) - 1 about zero, and with full_range from -2^(b-1).
 *
 * Scale and zero have one element (per tensor; any rank), one for each index of the axis (per channel; rank 1), or w's
 * shape with ceil(length / group_size) along the axis (per group; the last group may be shorter). scale f32, f16 or
 * bf16: it is rounded to its dtype first, and codes are those of the rounded one. zero has the codes' dtype; NULL for a
 * symmetric grid. Weights are f32, f16 or bf16, of any layout: [K, N] of ONNX MatMul has its inputs along axis 0, [N,
 * K] of safetensors along axis 1. Rows along the last axis are quickest; others are transposed on the device and back.
 *
 * NaN does not widen a range and gets the code of zero; infinities count as the largest finite number. A group of zeros
 * gets scale 1. No scale is below 2^-126. pare_first_nonfinite tells before.
 *
 * Errors of all functions: PARE_ERR_ARGUMENT for a grid out of range, PARE_ERR_TYPE, PARE_ERR_SHAPE. */
#ifndef PARE_GRID_H
#define PARE_GRID_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pare_granularity { PARE_PER_TENSOR, PARE_PER_CHANNEL, PARE_PER_GROUP } pare_granularity;

typedef struct pare_grid {
  int bits; /* 2 … 8 */
  bool symmetric;
  bool full_range; /* symmetric: with the code -2^(bits-1) too */
  pare_granularity granularity;
  int axis; /* per channel: a scale for each index of it; per group: groups lie along it. Negative: from the end */
  int64_t group_size; /* per group: at least 1 */
} pare_grid;
#define PARE_GRID_INIT \
  { 8, true, false, PARE_PER_TENSOR, 0, 0 }

/* The shape of scale and zero for weights of this shape; out_shape has room for PARE_MAX_RANK. Rank 0 per tensor. */
PARE_API pare_status pare_grid_shape(const pare_grid *grid, int rank, const int64_t *shape, int *out_rank,
                                     int64_t *out_shape);

typedef enum pare_range { PARE_RANGE_MIN_MAX, PARE_RANGE_PERCENTILE, PARE_RANGE_SQUARED_ERROR } pare_range;

typedef struct pare_fit_options {
  pare_range range;
  double percentile; /* in (0.5, 1]: the fraction of values that the range reaches on either side */
} pare_fit_options;
#define PARE_FIT_OPTIONS_INIT \
  { PARE_RANGE_MIN_MAX, 0.9999 }

/* Scale and zero point of each group of w (n elements).
 *
 * The range [low, high] holds zero. MIN_MAX: of all elements. PERCENTILE: from the k-th smallest to the k-th largest,
 * or to the k-th largest magnitude if symmetric, k = 1 + floor((1 - percentile) n). Asymmetric: scale = (high - low) /
 * (2^bits - 1), zero = round(-low / scale). Symmetric: scale = max(-low, high) / (2^(bits-1) - 1), or with full_range
 * / (2^(bits-1) - 1/2). Then |x - dequantised| <= scale / 2 for every x in the range, up to rounding.
 *
 * SQUARED_ERROR: those with the least sum of importance_i (w_i - dequantised_i)^2. The sum is a piecewise function of
 * the scale, its pieces bounded by the scales at which a code changes, |w_i| / (j + 1/2); within one the best scale is
 * sum(importance w code) / sum(importance code^2). Exact, but for the rounding of f32 sums, where all pieces are looked
 * at: symmetric grids with n 2^(bits-1) <= 1024 (groups of 128 at 4 bits, of 32 at 6). Otherwise a search: 64 ranges
 * (symmetric: from that of MIN_MAX down to a fifth of it; else either end shrunk by 0, 6, … 42 %), then the best scale
 * of the codes and the codes of that scale in turns; never worse than MIN_MAX. Asymmetric grids are always searched,
 * the zero point being that of the shrunk range. PERCENTILE counts NaN as larger than everything.
 *
 * importance (NULL: 1): f32, not negative, of a shape that broadcasts to w's: a diagonal over the inputs is [K, 1] for
 * w [K, N], and [K] for w [N, K]. Only SQUARED_ERROR looks at it. options NULL: the defaults. */
PARE_API pare_status pare_grid_fit(const pare_grid *grid, const pare_fit_options *options, pare_tensor *w,
                                   pare_tensor *importance, pare_tensor *scale, pare_tensor *zero);

/* q (u8 or i8, w's shape) = the codes of w on this grid. */
PARE_API pare_status pare_grid_quantize(const pare_grid *grid, pare_tensor *w, pare_tensor *scale, pare_tensor *zero,
                                        pare_tensor *q);
/* x (f32, f16 or bf16, q's shape) = scale * (q - zero), computed in f32. */
PARE_API pare_status pare_grid_dequantize(const pare_grid *grid, pare_tensor *q, pare_tensor *scale, pare_tensor *zero,
                                          pare_tensor *x);

/* pare_grid_fit, then pare_grid_quantize. q may also be packed: u8 of w's shape with ceil(length * bits / 8) bytes or
 * more along the last axis, as pare_codes_pack gives it. One pass over w where groups of min-max lie along the last
 * axis. */
PARE_API pare_status pare_grid_encode(const pare_grid *grid, const pare_fit_options *options, pare_tensor *w,
                                      pare_tensor *importance, pare_tensor *scale, pare_tensor *zero, pare_tensor *q);

/* packed = the codes of q (u8 or i8, of `bits` bits, as above) along the last axis, low bits first; rows begin at whole
 * bytes, and what a row has more than its codes is zero. packed u8: code i of a row takes its bits i * bits … of the
 * row, at least ceil(length * bits / 8) bytes: MatMulNBits' B [N, blocks, block_size * bits / 8] is q [N, K] packed to
 * [N, blocks * block_size * bits / 8], its zero points likewise. compressed-tensors' weight_packed
 * likewise, its words being four bytes each. packed i32: words of floor(32 / bits) codes, at least
 * ceil(length / floor(32 / bits)), as that library packed them before. i8 codes are packed as code + 2^(bits-1). */
PARE_API pare_status pare_codes_pack(pare_tensor *q, int bits, pare_tensor *packed);
/* The codes back; bit for bit. */
PARE_API pare_status pare_codes_unpack(pare_tensor *packed, int bits, pare_tensor *q);

/* Waits. *index = the first element (row-major) of x that is NaN or infinite, or -1. x f32, f16, bf16. */
PARE_API pare_status pare_first_nonfinite(pare_tensor *x, int64_t *index);

#ifdef __cplusplus
}
#endif
#endif
