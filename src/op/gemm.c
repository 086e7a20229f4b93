/* gemm on tensors: checks, broadcasting of batches, results that need scratch. SPDX-License-Identifier: Apache-2.0 */
#include "op/gemm.h"

#include <string.h>

static const char *shape_text(const pare_tensor *tensor, char *text) {
  return pare__shape_text(tensor->shape.rank, tensor->shape.dim, text, PARE__SHAPE_TEXT);
}

/* The shape of a matrix operand at this rank: dimensions of 1 before those it has; a vector becomes a row, or a column.
 */
static void matrix_dims(int rank, int from_rank, const int64_t *from, bool column, int64_t *out) {
  for (int i = 0; i < rank; i++) out[i] = 1;
  if (from_rank == 1)
    out[column ? rank - 2 : rank - 1] = from[0];
  else
    memcpy(out + rank - from_rank, from, (size_t)from_rank * sizeof *out);
}

/* A view with the last two axes swapped. */
static pare_status swapped_view(pare_tensor *tensor, pare_tensor **out) {
  const int rank = tensor->shape.rank;
  int axes[PARE_MAX_RANK];
  for (int i = 0; i < rank; i++) axes[i] = i;
  axes[rank - 2] = rank - 1;
  axes[rank - 1] = rank - 2;
  return pare_tensor_permute(tensor, axes, out);
}

/* Another handle of the tensor, transposed if asked for (a vector never is). */
static pare_status operand_view(pare_tensor *tensor, bool transposed, pare_tensor **out) {
  if (transposed && tensor->shape.rank > 1) return swapped_view(tensor, out);
  return pare_tensor_reshape(tensor, tensor->shape.rank, tensor->shape.dim, out);
}

static pare_status matrix_view(pare_tensor *tensor, int rank, bool column, pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK];
  matrix_dims(rank, tensor->shape.rank, tensor->shape.dim, column, dim);
  return pare_tensor_reshape(tensor, rank, dim, out);
}

static pare_status check_floats(const char *function, const pare_tensor *a, const pare_tensor *bias,
                                const pare_tensor *c) {
  PARE__TRY(pare__check_dtype(function, "a", a, PARE__FLOATS));
  if (bias) PARE__TRY(pare__check_dtype(function, "bias", bias, PARE__FLOATS));
  PARE__TRY(pare__check_dtype(function, "c", c, PARE__FLOATS));
  const bool f64 = c->dtype == PARE_F64;
  if ((a->dtype == PARE_F64) != f64 || (bias && (bias->dtype == PARE_F64) != f64))
    return pare__fail(PARE_ERR_TYPE, "%s: f64 does not mix with other dtypes; a is %s, %s%s%sc is %s: cast some",
                      function, pare_dtype_name(a->dtype), bias ? "bias is " : "",
                      bias ? pare_dtype_name(bias->dtype) : "", bias ? ", " : "", pare_dtype_name(c->dtype));
  return PARE_OK;
}

static pare_status check_options(const char *function, const pare_gemm_options *options) {
  if ((unsigned)options->activation >= PARE_NACTIVATIONS)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: activation %d; they are 0 to %d", function, (int)options->activation,
                      (int)PARE_NACTIVATIONS - 1);
  return PARE_OK;
}

/* Does C have the shape that A (as views see it) and B give? a_dim and b_dim have `rank` entries, C has its own. */
static pare_status check_shapes(const char *function, const pare_tensor *a, const int64_t *a_dim, int b_rank,
                                const int64_t *b_shape, const int64_t *b_dim, const pare_tensor *c, int rank) {
  char a_text[PARE__SHAPE_TEXT], b_text[PARE__SHAPE_TEXT], c_text[PARE__SHAPE_TEXT], want_text[PARE__SHAPE_TEXT];
  pare__shape_text(b_rank, b_shape, b_text, sizeof b_text);
  bool fits = a_dim[rank - 1] == b_dim[rank - 2];
  int64_t want[PARE_MAX_RANK];
  int count = 0;
  for (int d = 0; d < rank - 2; d++) {
    fits = fits && (a_dim[d] == b_dim[d] || a_dim[d] == 1 || b_dim[d] == 1);
    want[count++] = a_dim[d] == 1 ? b_dim[d] : a_dim[d];
  }
  if (!fits)
    return pare__fail(PARE_ERR_SHAPE, "%s: a %s and b %s cannot be multiplied: K, or the batch dimensions, differ",
                      function, shape_text(a, a_text), b_text);
  if (a->shape.rank > 1) want[count++] = a_dim[rank - 2];
  if (b_rank > 1) want[count++] = b_dim[rank - 1];
  if (c->shape.rank == count && (count == 0 || memcmp(c->shape.dim, want, (size_t)count * sizeof *want) == 0))
    return PARE_OK;
  return pare__fail(PARE_ERR_SHAPE, "%s: a %s times b %s gives %s, and c is %s", function, shape_text(a, a_text),
                    b_text, pare__shape_text(count, want, want_text, sizeof want_text), shape_text(c, c_text));
}

/* bias as [M or 1][N or 1]. */
static pare_status bias_view(const char *function, pare_tensor *bias, int64_t m, int64_t n, pare_tensor **out) {
  const pare__shape *shape = &bias->shape;
  bool fits = true;
  int64_t dim[2] = {1, 1};
  for (int i = 1; i <= shape->rank; i++) {
    const int64_t size = shape->dim[shape->rank - i];
    if (i <= 2) dim[2 - i] = size;
    fits = fits && (size == 1 || (i == 1 && size == n) || (i == 2 && size == m));
  }
  char text[PARE__SHAPE_TEXT];
  if (!fits)
    return pare__fail(PARE_ERR_SHAPE, "%s: bias %s does not broadcast to the [%lld, %lld] of a product", function,
                      shape_text(bias, text), (long long)m, (long long)n);
  return pare_tensor_reshape(bias, 2, dim, out);
}

/* C as a matrix of this rank: the dimension that a vector operand takes away comes back as 1. */
static pare_status result_view(pare_tensor *c, int rank, bool a_is_vector, bool b_is_vector, pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK];
  const int batches = c->shape.rank - !a_is_vector - !b_is_vector;
  for (int i = 0; i < rank; i++) dim[i] = 1;
  for (int i = 0; i < batches; i++) dim[rank - 2 - batches + i] = c->shape.dim[i];
  if (!a_is_vector) dim[rank - 2] = c->shape.dim[batches];
  if (!b_is_vector) dim[rank - 1] = c->shape.dim[c->shape.rank - 1];
  return pare_tensor_reshape(c, rank, dim, out);
}

/* The summand as C is seen; NULL where nothing but C is read. */
static pare_status summand_view(const char *function, const pare_gemm_options *options, const pare_tensor *c, int rank,
                                bool a_is_vector, bool b_is_vector, pare_tensor **out) {
  pare_tensor *summand = options->beta != 0 ? options->summand : NULL;
  if (!summand) return PARE_OK;
  if (summand->context != c->context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: c and the summand belong to different contexts", function);
  PARE__TRY(pare__check_same_dtype(function, "summand", summand, "c", c));
  PARE__TRY(pare__check_shape(function, "summand", summand, c->shape.rank, c->shape.dim));
  return result_view(summand, rank, a_is_vector, b_is_vector, out);
}

static bool shares_memory(const pare_tensor *a, const pare_tensor *b) { return a && b && a->storage == b->storage; }

pare_status pare__product_open(const char *function, pare_tensor *a, bool transpose_a, int b_rank,
                               const int64_t *b_shape, pare_tensor *bias, const pare_gemm_options *options,
                               pare_tensor *c, pare__product *out) {
  *out = (pare__product){.options = *options};
  out->options.summand = NULL;
  PARE__TRY(check_options(function, options));
  PARE__TRY(check_floats(function, a, bias, c));
  PARE__TRY(pare__check_rank(function, "a", a, 1, PARE_MAX_RANK));
  const int rank = PARE__MAX(PARE__MAX(a->shape.rank, b_rank), 2);
  int64_t a_dim[PARE_MAX_RANK], b_dim[PARE_MAX_RANK];
  pare_tensor *view = NULL;
  PARE__TRY(operand_view(a, transpose_a, &view));
  matrix_dims(rank, a->shape.rank, view->shape.dim, false, a_dim);
  matrix_dims(rank, b_rank, b_shape, true, b_dim);
  out->n = b_dim[rank - 1];
  pare_status status = check_shapes(function, view, a_dim, b_rank, b_shape, b_dim, c, rank);
  if (status == PARE_OK) status = matrix_view(view, rank, false, &out->a);
  if (status == PARE_OK && bias) status = bias_view(function, bias, a_dim[rank - 2], out->n, &out->bias);
  if (status == PARE_OK) status = result_view(c, rank, a->shape.rank == 1, b_rank == 1, &out->c);
  if (status == PARE_OK)
    status = summand_view(function, options, c, rank, a->shape.rank == 1, b_rank == 1, &out->summand);
  pare_tensor_close(view);
  if (status != PARE_OK) pare__product_close(out);
  return status;
}

void pare__product_close(pare__product *product) {
  pare_tensor_close(product->a);
  pare_tensor_close(product->b);
  pare_tensor_close(product->bias);
  pare_tensor_close(product->summand);
  pare_tensor_close(product->c);
  *product = (pare__product){0};
}

/* Is each element of the summand where C's is, counted from the first? It may be C, but not a part of it. */
static bool fits_summand(const pare__product *product) {
  const pare_tensor *summand = product->summand, *c = product->c;
  if (!summand) return true;
  for (int d = 0; d < c->shape.rank; d++)
    if (c->shape.dim[d] > 1 && summand->shape.stride[d] != c->shape.stride[d]) return false;
  if (!pare__shape_contiguous(&c->shape) && (!pare__tensor_on_device(c) || !pare__tensor_on_device(summand)))
    return false; /* staged pieces lie close together */
  return summand->storage != c->storage || summand->offset == c->offset;
}

pare_status pare__product_run(const pare__product *product) {
  const pare__shape *shape = &product->c->shape;
  const bool in_order = shape->stride[shape->rank - 1] == 1 || shape->dim[shape->rank - 1] <= 1;
  const bool shared = shares_memory(product->c, product->a) || shares_memory(product->c, product->b) ||
                      shares_memory(product->c, product->bias);
  if (in_order && !shared && fits_summand(product)) return pare__product_submit(product);
  pare__product in_scratch = *product;
  PARE__TRY(
      pare__tensor_scratch(product->c->context, product->c->dtype, shape->rank, shape->dim, "gemm", &in_scratch.c));
  pare_status status = PARE_OK;
  in_scratch.summand = NULL;
  if (product->options.beta != 0) status = pare__copy(product->summand ? product->summand : product->c, in_scratch.c);
  if (status == PARE_OK) status = pare__product_submit(&in_scratch);
  if (status == PARE_OK) status = pare__copy(in_scratch.c, product->c);
  pare_tensor_close(in_scratch.c);
  return status;
}

pare_status pare_gemm(pare_tensor *a, pare_tensor *b, pare_tensor *bias, const pare_gemm_options *options,
                      pare_tensor *c) {
  static const char function[] = "pare_gemm";
  const pare_gemm_options plain = PARE_GEMM_OPTIONS_INIT;
  if (!options) options = &plain;
  PARE__TRY(pare__check_call(function, c, PARE__NAMED(a), PARE__NAMED(b), PARE__OPTIONAL(bias)));
  PARE__TRY(pare__check_dtype(function, "b", b, PARE__FLOATS));
  PARE__TRY(pare__check_rank(function, "b", b, 1, PARE_MAX_RANK));
  if ((b->dtype == PARE_F64) != (c->dtype == PARE_F64))
    return pare__fail(PARE_ERR_TYPE, "%s: f64 does not mix with other dtypes; b is %s, c is %s: cast one", function,
                      pare_dtype_name(b->dtype), pare_dtype_name(c->dtype));
  pare_tensor *view = NULL;
  pare__product product = {0};
  PARE__TRY(operand_view(b, options->transpose_b, &view));
  pare_status status =
      pare__product_open(function, a, options->transpose_a, b->shape.rank, view->shape.dim, bias, options, c, &product);
  if (status == PARE_OK) status = matrix_view(view, product.c->shape.rank, true, &product.b);
  if (status == PARE_OK) status = pare__product_run(&product);
  pare__product_close(&product);
  pare_tensor_close(view);
  return status;
}
