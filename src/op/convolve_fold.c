/* Convolutions over more than three dimensions. SPDX-License-Identifier: Apache-2.0
 *
 * Along an outer dimension, y's places become batches and the kernel's taps channels:
 *
 *   x [n, c, X, rest] -> [n * Y, c * K, rest], whose element (n, p, c, k) is x[n][c][p stride - pad + k dilation]
 *
 * Weights [o, c, K, rest] are then weights [o, c * K, rest] as they lie, and groups of channels stay together. What is
 * left is a convolution over three dimensions, whose y [n * Y, o, rest] has its axes in another order. */
#include <pare/index.h>
#include <string.h>

#include "op/convolve.h"

static const char function[] = "pare_convolve";

pare_convolution_options pare__convolve_inner(const pare_convolution_options *options, int outer) {
  pare_convolution_options inner = *options;
  for (int d = 0; d < PARE_CONVOLUTION_RANK; d++) {
    const int from = d + outer;
    const bool given = from < PARE_CONVOLUTION_RANK;
    inner.stride[d] = given ? options->stride[from] : 0;
    inner.dilation[d] = given ? options->dilation[from] : 0;
    inner.pad[d] = given ? options->pad[from] : 0;
  }
  return inner;
}

/* One dimension of what is folded. */
typedef struct fold {
  int64_t batch, channels, length, rest; /* of x */
  int64_t places, taps;
  int64_t stride, dilation, pad;
} fold;

/* x with zeros around it, [batch, channels, what the windows reach, 1, rest]. */
static pare_status pad_length(pare_tensor *x, const fold *f, pare_tensor **out) {
  const int64_t reach = (f->places - 1) * f->stride + (f->taps - 1) * f->dilation + 1;
  const int64_t from[] = {f->batch, f->channels, f->length, 1, f->rest};
  const int64_t dim[] = {f->batch, f->channels, reach, 1, f->rest};
  const int64_t before[5] = {0, 0, f->pad}, after[5] = {0, 0, reach - f->length - f->pad};
  pare_tensor *line = NULL;
  PARE__TRY(pare_tensor_reshape(x, 5, from, &line));
  pare_status status = pare__tensor_scratch(x->context, x->dtype, 5, dim, "a padded input", out);
  if (status == PARE_OK) status = pare_pad(line, before, after, PARE_PAD_CONSTANT, NULL, *out);
  pare_tensor_close(line);
  return status;
}

/* What tap `k` sees of x, to its place in [batch, places, channels, taps, rest]. */
static pare_status copy_tap(pare_tensor *padded, const fold *f, int64_t k, pare_tensor *folded) {
  pare_tensor *seen = NULL, *turned = NULL, *place = NULL;
  pare_status status = pare_tensor_slice(padded, 2, k * f->dilation, f->places, f->stride, &seen);
  if (status == PARE_OK) status = pare_tensor_permute(seen, (const int[]){0, 2, 1, 3, 4}, &turned);
  if (status == PARE_OK) status = pare_tensor_slice(folded, 3, k, 1, 1, &place);
  if (status == PARE_OK) status = pare__copy(turned, place);
  pare_tensor_close(place);
  pare_tensor_close(turned);
  pare_tensor_close(seen);
  return status;
}

static pare_status fold_dimension(pare_tensor *x, const fold *f, pare_tensor **out) {
  const int64_t dim[] = {f->batch, f->places, f->channels, f->taps, f->rest};
  pare_tensor *padded = NULL;
  pare_status status = pare__tensor_scratch(x->context, x->dtype, 5, dim, "the windows of an outer dimension", out);
  if (status != PARE_OK || pare__shape_elements(&(*out)->shape) == 0) return status;
  status = pad_length(x, f, &padded);
  for (int64_t k = 0; status == PARE_OK && k < f->taps; k++) status = copy_tap(padded, f, k, *out);
  pare_tensor_close(padded);
  return status;
}

/* x with all of the outer dimensions folded: [N * places…, C * taps…, inner dimensions]. */
static pare_status fold_input(pare_tensor *x, const pare_convolution_weights *weights,
                              const pare_convolution_options *options, const pare__shape *y, pare_tensor **out) {
  const int rank = x->shape.rank;
  const int64_t *length = x->shape.dim + 2;
  int64_t dim[2 + PARE__KERNEL_RANK] = {x->shape.dim[0], x->shape.dim[1]};
  pare_tensor *now = NULL, *next = NULL;
  PARE__TRY(pare__contiguous(x, &now));
  pare_status status = PARE_OK;
  for (int d = 0; status == PARE_OK && d < weights->nouter; d++) {
    const pare_convolution_options here = pare__convolve_inner(options, d);
    pare__window window;
    status = pare__window_set(function, 1, &here, &window);
    if (status != PARE_OK) break;
    fold f = {dim[0],
              dim[1],
              length[d],
              1,
              y->dim[2 + d],
              weights->outer[d],
              window.stride[PARE__KERNEL_RANK - 1],
              window.dilation[PARE__KERNEL_RANK - 1],
              window.pad[PARE__KERNEL_RANK - 1]};
    for (int k = d + 1; k < rank - 2; k++) f.rest *= length[k];
    status = fold_dimension(now, &f, &next);
    pare_tensor_close(now);
    now = next;
    next = NULL;
    dim[0] *= f.places;
    dim[1] *= f.taps;
  }
  for (int d = 0; d < PARE__KERNEL_RANK; d++) dim[2 + d] = length[weights->nouter + d];
  if (status == PARE_OK) status = pare_tensor_reshape(now, 2 + PARE__KERNEL_RANK, dim, out);
  pare_tensor_close(now);
  return status;
}

/* y [N, O, outer…, inner…] as [N, outer…, O, inner…], a view. */
static pare_status turn(pare_tensor *y, int nouter, pare_tensor **out) {
  int axes[PARE_MAX_RANK] = {0};
  for (int d = 1; d < y->shape.rank; d++) axes[d] = d <= nouter ? d + 1 : d == nouter + 1 ? 1 : d;
  return pare_tensor_permute(y, axes, out);
}

/* The same as [N * outer…, O, inner…], compact. */
static pare_status fold_result(pare_tensor *y, int nouter, pare_tensor **out) {
  int64_t dim[2 + PARE__KERNEL_RANK] = {y->shape.dim[0], y->shape.dim[1]};
  for (int d = 0; d < nouter; d++) dim[0] *= y->shape.dim[2 + d];
  for (int d = 0; d < PARE__KERNEL_RANK; d++) dim[2 + d] = y->shape.dim[2 + nouter + d];
  pare_tensor *turned = NULL, *compact = NULL;
  pare_status status = turn(y, nouter, &turned);
  if (status == PARE_OK) status = pare__contiguous(turned, &compact);
  if (status == PARE_OK) status = pare_tensor_reshape(compact, 2 + PARE__KERNEL_RANK, dim, out);
  pare_tensor_close(compact);
  pare_tensor_close(turned);
  return status;
}

static pare_status check_folded(const pare_tensor *x, const pare_convolution_weights *weights,
                                const pare_tensor *residual, const pare_convolution_options *options,
                                const pare_tensor *y) {
  const int rank = 2 + weights->nouter + weights->rank;
  char x_text[PARE__SHAPE_TEXT], y_text[PARE__SHAPE_TEXT];
  int64_t taps = 1;
  for (int d = 0; d < weights->nouter; d++) taps *= weights->outer[d];
  const int64_t outputs = weights->groups * weights->outputs;
  const int64_t channels = taps ? weights->groups * weights->channels / taps : x->shape.dim[1];
  if (options->x_blocked || options->y_blocked)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s: blocked channels with %d spatial dimensions; at most %d", function,
                      rank - 2, PARE__KERNEL_RANK);
  if (x->shape.rank != rank || y->shape.rank != rank || x->shape.dim[0] != y->shape.dim[0] ||
      x->shape.dim[1] != channels || y->shape.dim[1] != outputs)
    return pare__fail(PARE_ERR_SHAPE,
                      "%s: x has shape %s and y %s; weights of %d spatial dimensions expect [N, %lld, …] and [N, %lld, "
                      "…]",
                      function, pare__shape_text(x->shape.rank, x->shape.dim, x_text, sizeof x_text),
                      pare__shape_text(y->shape.rank, y->shape.dim, y_text, sizeof y_text), rank - 2,
                      (long long)channels, (long long)outputs);
  if (residual) PARE__TRY(pare__check_shape(function, "residual", residual, rank, y->shape.dim));
  return PARE_OK;
}

pare_status pare__convolve_folded(pare_tensor *x, const pare_convolution_weights *weights, pare_tensor *bias,
                                  pare_tensor *residual, const pare_convolution_options *options, pare_tensor *y) {
  PARE__TRY(check_folded(x, weights, residual, options, y));
  const int nouter = weights->nouter;
  const pare_convolution_options inner = pare__convolve_inner(options, nouter);
  pare_convolution_weights plain = *weights;
  plain.nouter = 0;
  int64_t dim[PARE_MAX_RANK] = {y->shape.dim[0]}, flat[2 + PARE__KERNEL_RANK] = {y->shape.dim[0]};
  for (int d = 1; d < y->shape.rank; d++) dim[d] = y->shape.dim[d <= nouter ? d + 1 : d == nouter + 1 ? 1 : d];
  for (int d = 0; d < nouter; d++) flat[0] *= dim[1 + d];
  memcpy(flat + 1, dim + 1 + nouter, (1 + PARE__KERNEL_RANK) * sizeof *dim);
  pare_tensor *folded = NULL, *added = NULL, *made = NULL, *rows = NULL, *to = NULL;
  pare_status status = fold_input(x, weights, options, &y->shape, &folded);
  if (status == PARE_OK && residual) status = fold_result(residual, nouter, &added);
  if (status == PARE_OK)
    status =
        pare__tensor_scratch(y->context, y->dtype, y->shape.rank, dim, "a convolution over many dimensions", &made);
  if (status == PARE_OK) status = pare_tensor_reshape(made, 2 + PARE__KERNEL_RANK, flat, &rows);
  if (status == PARE_OK) status = pare_convolve(folded, &plain, bias, added, &inner, rows);
  if (status == PARE_OK) status = turn(y, nouter, &to);
  if (status == PARE_OK) status = pare__copy(made, to);
  pare_tensor_close(to);
  pare_tensor_close(rows);
  pare_tensor_close(made);
  pare_tensor_close(added);
  pare_tensor_close(folded);
  return status;
}
