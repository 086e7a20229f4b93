/* Matrix products: gemm, batched and strided, and products with packed weights. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GEMM_H
#define PARE_GEMM_H

#include <pare/sparse.h>
#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Applied to each element of a product at its end. NaN stays NaN. */
typedef enum pare_activation {
  PARE_ACTIVATION_NONE,
  PARE_ACTIVATION_RELU,      /* max(x, 0) */
  PARE_ACTIVATION_GELU,      /* x / 2 (1 + erf(x / sqrt 2)); Hendrycks & Gimpel 2016 */
  PARE_ACTIVATION_GELU_TANH, /* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
  PARE_ACTIVATION_SILU,      /* x / (1 + e^-x) */
  PARE_ACTIVATION_SIGMOID,   /* 1 / (1 + e^-x) */
  PARE_ACTIVATION_TANH,
  PARE_ACTIVATION_CLIP,         /* min(max(x, clip_low), clip_high) */
  PARE_ACTIVATION_HARD_SWISH,   /* x min(max(x / 6 + 1/2, 0), 1) */
  PARE_ACTIVATION_HARD_SIGMOID, /* min(max(clip_low x + clip_high, 0), 1) */
  PARE_ACTIVATION_LEAKY_RELU,   /* x < 0: clip_low x; else x */
  PARE_NACTIVATIONS
} pare_activation;

typedef struct pare_gemm_options {
  double alpha, beta;
  bool transpose_a, transpose_b; /* swap the last two axes first */
  pare_activation activation;
  double clip_low, clip_high;
  pare_tensor *summand; /* what beta multiplies, of C's shape and dtype; NULL: C */
} pare_gemm_options;
#define PARE_GEMM_OPTIONS_INIT \
  { 1, 0, false, false, PARE_ACTIVATION_NONE, 0, 0, NULL }

/* C[…][m][n] = activation(alpha * sum over k of A[…][m][k] * B[…][k][n] + beta * D[…][m][n] + bias[m][n]), D = summand
 *
 * A [… M K], B [… K N], C [… M N]; the batch dimensions of A and B broadcast to those of C, as numpy's and ONNX's
 * matmul do. A of rank 1 is a row and B of rank 1 a column, whose dimension C then lacks. All may be views of any
 * strides. bias (NULL: none) broadcasts to [M N]: [N] adds a row to every row, [M 1] a column. options NULL: the plain
 * product. With beta 0, D is not read; without a summand it is C. C may share memory with A, B, bias or D. K = 0 gives
 * the epilogue of zero.
 *
 * f32, f16 and bf16 in any mixture (D as C), accumulated in f32; or all f64. An element's bits depend on its inputs and
 * on the whole shape only. PARE_ERR_SHAPE if shapes do not fit, PARE_ERR_TYPE for other dtypes, PARE_ERR_UNSUPPORTED
 * for f64 where the device has none. Blocking after Goto & van de Geijn 2008. */
PARE_API pare_status pare_gemm(pare_tensor *a, pare_tensor *b, pare_tensor *bias, const pare_gemm_options *options,
                               pare_tensor *c);

/* B of many products, packed once into the layout that the device's kernels read fastest, in B's dtype. */
typedef struct pare_weights pare_weights;

/* Packs B [… K N], or [… N K] if transposed. B may be closed afterwards. Below 256 KiB it waits for B and packs on the
 * host, which is done before a kernel for that would be built; else it submits and returns. PARE_ERR_SHAPE if its rank
 * is below 2. */
PARE_API pare_status pare_weights_pack(pare_tensor *b, bool transposed, pare_weights **out);
/* NULL is allowed. */
PARE_API void pare_weights_close(pare_weights *weights);
/* Device memory that they hold. */
PARE_API uint64_t pare_weights_bytes(const pare_weights *weights);

/* As pare_gemm, with packed B of any kind; transpose_b is ignored. Quantised weights are not expanded in memory:
 * kernels turn them into floats in registers or in a block that stays in the cache. The bits are those of pare_gemm
 * wherever that packs on the way. PARE_ERR_ARGUMENT for int8 weights without a scale. */
PARE_API pare_status pare_gemm_packed(pare_tensor *a, const pare_weights *weights, pare_tensor *bias,
                                      const pare_gemm_options *options, pare_tensor *c);

/* int8 weights: B i8 [K N], or [N K] if transposed, with scale f32 [N] or of one element: a weight is B[k][n] *
 * scale[n]. Without a scale (NULL) they serve pare_gemm_integer only. PARE_ERR_SHAPE, PARE_ERR_TYPE;
 * PARE_ERR_UNSUPPORTED for K over 65,000, whose sums could overflow. */
PARE_API pare_status pare_weights_pack_int8(pare_tensor *b, bool transposed, pare_tensor *scale, pare_weights **out);

/* Weights quantised in blocks along K, as ONNX's MatMulNBits and blocked DequantizeLinear have them. */
typedef struct pare_blocks_options {
  int bits;        /* of a value: 2, 4 or 8 */
  int64_t block;   /* steps of k that share a scale and a zero point; 0: all of them */
  bool transposed; /* B is [N K]; scale and zero are [N blocks] */
  bool packed;     /* B holds 8 / bits values a byte, low bits first, in rows of whole blocks; it is transposed */
  int64_t k;       /* of packed B, whose rows may be longer */
  int zero;        /* the zero point where no zero points are given */
} pare_blocks_options;
#define PARE_BLOCKS_OPTIONS_INIT \
  { 4, 32, false, false, 0, 0 }

/* A weight is (B[k][n] - zero[k / block][n]) * scale[k / block][n]. B u8 or i8 [K N] with a value of `bits` bits in
 * each byte ([N K] if transposed), or packed: u8 [N, blocks * block * bits / 8], of any rank that has so many elements.
 * scale f32, f16 or bf16 [blocks N], or of one element; zero (NULL: options->zero) u8, i8, f32, f16 or bf16, likewise.
 * They are kept in 4 bits (2 and 4) or 8, in a layout of the device's kernels. PARE_ERR_SHAPE, PARE_ERR_TYPE;
 * PARE_ERR_ARGUMENT for other bits. */
PARE_API pare_status pare_weights_pack_blocks(pare_tensor *b, pare_tensor *scale, pare_tensor *zero,
                                              const pare_blocks_options *options, pare_weights **out);

/* N:M sparse weights, as <pare/sparse.h> stores them: layout->rows are N, layout->inputs K; values and indices lie on
 * the host and are checked. values f32, f16 or bf16 (scale NULL: the weights themselves), or i8 with scale f32, f16 or
 * bf16 [N] or of one element; fill 0. They stay sparse on the device. PARE_ERR_TYPE, PARE_ERR_SHAPE, PARE_ERR_ARGUMENT;
 * PARE_ERR_FORMAT: indices that do not ascend in their group; PARE_ERR_LIMIT: larger than one buffer may be. */
PARE_API pare_status pare_weights_pack_sparse(pare_context *context, const pare_sparse_layout *layout,
                                              const void *values, const uint8_t *indices, pare_tensor *scale,
                                              pare_weights **out);

/* C[…][m][n] = activation((sum over k of (q[…][m][k] - zero) * B[k][n]) * a_scale * scale[n] + bias[n])
 *
 * A [… K] f32, f16 or bf16 is quantised on the way, with one scale and zero point for all of it, as
 * pare_dynamic_quantize does; the sum is exact. bias f32 [N] or NULL; C [… N] f32, f16 or bf16. Of the options only the
 * activation counts. This is ONNX's DynamicQuantizeLinear, MatMulInteger, Cast, Mul and Add in one.
 *
 * With weights of pare_weights_pack_blocks it is pare_gemm_packed (all options count) with A rounded to 8 bits, a row
 * and a block of it at a time: a_scale = max |A| / 127, a = round(A / a_scale), as MatMulNBits of accuracy level 4.
 * Weights of 8 bits in blocks, and N:M sparse ones, get A as it is. */
PARE_API pare_status pare_gemm_int8(pare_tensor *a, const pare_weights *weights, pare_tensor *bias,
                                    const pare_gemm_options *options, pare_tensor *c);

/* pare_gemm_int8 of activations that were quantised before: A u8 or i8 [… K], a_scale f32 of one element, zero of A's
 * dtype and one element (NULL: 0). What several products read is so quantised once. */
PARE_API pare_status pare_gemm_quantized(pare_tensor *a, pare_tensor *a_scale, pare_tensor *zero,
                                         const pare_weights *weights, pare_tensor *bias,
                                         const pare_gemm_options *options, pare_tensor *c);

/* C[…][m][n] = sum over k of (A[…][m][k] - zero) * B[k][n], exact: A u8 or i8 [… K], zero of A's dtype and one element
 * (NULL: 0), C i32 [… N]. */
PARE_API pare_status pare_gemm_integer(pare_tensor *a, pare_tensor *zero, const pare_weights *weights, pare_tensor *c);

#ifdef __cplusplus
}
#endif
#endif
