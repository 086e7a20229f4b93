/* Weights of convolutions, packed once. SPDX-License-Identifier: Apache-2.0 */
#include <pare/index.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/family_convolve.h"
#include "op/convolve.h"

static int64_t or_one(int64_t value) { return value == 0 ? 1 : value; }

pare_status pare__window_set(const char *function, int rank, const pare_convolution_options *options,
                             pare__window *out) {
  const int64_t most = INT32_MAX / 4;
  *out = (pare__window){{1, 1, 1}, {1, 1, 1}, {0, 0, 0}, or_one(options->groups)};
  for (int to = PARE__KERNEL_RANK - rank; to < PARE__KERNEL_RANK; to++) {
    const int d = to - (PARE__KERNEL_RANK - rank);
    out->stride[to] = or_one(options->stride[d]);
    out->dilation[to] = or_one(options->dilation[d]);
    out->pad[to] = options->pad[d];
    if (out->stride[to] < 1 || out->dilation[to] < 1 || out->stride[to] > most || out->dilation[to] > most ||
        out->pad[to] > most || out->pad[to] < -most)
      return pare__fail(
          PARE_ERR_ARGUMENT,
          "%s: stride %lld, dilation %lld, pad %lld of dimension %d; strides and dilations are 1 to %lld, "
          "pads between -%lld and %lld",
          function, (long long)out->stride[to], (long long)out->dilation[to], (long long)out->pad[to], d,
          (long long)most, (long long)most, (long long)most);
  }
  if (out->groups < 1)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: %lld groups; there is at least one", function, (long long)out->groups);
  return PARE_OK;
}

pare_status pare__convolve_pad_lanes(pare_tensor *w, const int64_t dim[4], int64_t lanes, pare_tensor **out) {
  const int64_t whole[] = {dim[0], pare__round_up(dim[1], lanes), pare__round_up(dim[2], lanes), dim[3]};
  const int64_t none[4] = {0}, after[4] = {0, whole[1] - dim[1], whole[2] - dim[2], 0};
  pare_tensor *compact = NULL, *view = NULL;
  pare_status status = pare__contiguous(w, &compact);
  if (status == PARE_OK) status = pare_tensor_reshape(compact, 4, dim, &view);
  if (status == PARE_OK && whole[1] == dim[1] && whole[2] == dim[2]) {
    *out = view;
    view = NULL;
  } else {
    if (status == PARE_OK) status = pare__tensor_scratch(w->context, w->dtype, 4, whole, "padded weights", out);
    if (status == PARE_OK) status = pare_pad(view, none, after, PARE_PAD_CONSTANT, 0, *out);
  }
  pare_tensor_close(view);
  pare_tensor_close(compact);
  return status;
}

/* Where the host does not. */
static pare_status pack_on_device(pare_tensor *w, const int64_t *dim, int64_t lanes, pare_tensor *packed) {
  pare_tensor *padded = NULL, *split = NULL, *turned = NULL;
  const int64_t blocks[] = {pare__div_up(dim[1], lanes), pare__div_up(dim[2], lanes)};
  const int64_t parts[] = {dim[0], blocks[0], lanes, blocks[1], lanes, dim[3]};
  pare_status status = pare__convolve_pad_lanes(w, dim, lanes, &padded);
  if (status == PARE_OK) status = pare_tensor_reshape(padded, 6, parts, &split);
  if (status == PARE_OK) status = pare_tensor_permute(split, (const int[]){0, 1, 3, 5, 4, 2}, &turned);
  if (status == PARE_OK) status = pare__copy(turned, packed);
  pare_tensor_close(turned);
  pare_tensor_close(split);
  pare_tensor_close(padded);
  return status;
}

/* w as [g][o][c][taps]: a view, or a copy of a strided tensor. */
static pare_status flatten(pare_tensor *w, const int64_t *dim, pare_tensor **out) {
  pare_tensor *compact = NULL;
  PARE__TRY(pare__contiguous(w, &compact));
  const pare_status status = pare_tensor_reshape(compact, 4, dim, out);
  pare_tensor_close(compact);
  return status;
}

/* [g][blocks of o][blocks of c][taps][c][o] */
static pare_status pack_lanes(pare_tensor *w, const int64_t *dim, int64_t lanes, pare_tensor **packed) {
  const int64_t to[] = {dim[0], pare__div_up(dim[1], lanes), pare__div_up(dim[2], lanes), dim[3], lanes, lanes};
  pare_tensor *flat;
  bool done = false;
  PARE__TRY(flatten(w, dim, &flat));
  pare_status status = pare__tensor_scratch(w->context, w->dtype, 6, to, "packed weights", packed);
  if (status == PARE_OK) status = pare__pack_on_host(flat, lanes, lanes, *packed, &done);
  if (status == PARE_OK && !done) status = pack_on_device(flat, dim, lanes, *packed);
  pare_tensor_close(flat);
  return status;
}

/* In the order that they have. */
static pare_status pack_plain(pare_tensor *w, const int64_t *dim, pare_tensor **packed) {
  pare_tensor *flat;
  bool done = false;
  PARE__TRY(flatten(w, dim, &flat));
  pare_status status = pare__tensor_scratch(w->context, w->dtype, 4, dim, "packed weights", packed);
  if (status == PARE_OK) status = pare__pack_on_host(flat, 1, 1, *packed, &done);
  if (status == PARE_OK && !done) status = pare__copy(flat, *packed);
  pare_tensor_close(flat);
  return status;
}

static pare_status describe_weights(const pare_tensor *w, const pare__window *window,
                                    pare_convolution_weights *weights) {
  const int rank = w->shape.rank - 2;
  char text[PARE__SHAPE_TEXT];
  weights->dtype = w->dtype;
  weights->groups = window->groups;
  weights->rank = rank;
  if (w->shape.dim[0] % window->groups != 0)
    return pare__fail(PARE_ERR_SHAPE, "pare_convolution_weights_pack: w %s has no multiple of %lld groups of channels",
                      pare__shape_text(w->shape.rank, w->shape.dim, text, sizeof text), (long long)window->groups);
  weights->outputs = w->shape.dim[0] / window->groups;
  weights->channels = w->shape.dim[1];
  for (int d = 0; d < PARE__KERNEL_RANK; d++) weights->kernel[d] = 1;
  for (int d = 0; d < rank; d++) weights->kernel[PARE__KERNEL_RANK - rank + d] = w->shape.dim[2 + d];
  return PARE_OK;
}

/* Enough channels to pay for the transforms, not so many that reading transformed weights, four times as large, takes
 * longer than computing with plain ones. */
static bool prefers_winograd(const pare_tensor *w, const pare__window *window) {
  const int64_t few = 32, most = 320 * 320, *dim = w->shape.dim;
  bool fits = w->shape.rank == 4 && dim[2] == 3 && dim[3] == 3 && window->groups == 1;
  for (int d = 0; d < 3; d++) fits = fits && window->stride[d] == 1 && window->dilation[d] == 1;
  return fits && (PARE__SMALL_FLOATS >> w->dtype & 1U) && dim[0] >= few && dim[1] >= few && dim[0] * dim[1] <= most;
}

static pare_status pack(pare_tensor *w, const pare__window *window, pare_convolution_weights *weights) {
  PARE__TRY(describe_weights(w, window, weights));
  const pare_device_info *info = pare__device_info(pare__context_device(w->context));
  const int64_t dim[] = {weights->groups, weights->outputs, weights->channels,
                         weights->kernel[0] * weights->kernel[1] * weights->kernel[2]};
  const bool depthwise = weights->channels == 1 && weights->groups > 1;
  if (depthwise || !pare__convolve_packs(info) || pare__shape_elements(&w->shape) == 0)
    return pack_plain(w, dim, &weights->packed);
  weights->lanes = pare__convolve_lanes(info, w->dtype);
  weights->transformed = prefers_winograd(w, window);
  if (weights->transformed) return pare__winograd_pack(w, weights->lanes, &weights->packed);
  return pack_lanes(w, dim, weights->lanes, &weights->packed);
}

/* [O, C / g, K…]: outer dimensions of K are channels, too, the channels' own index first. */
static pare_status pack_folded(pare_tensor *w, const pare_convolution_options *options,
                               pare_convolution_weights **out) {
  const int nouter = w->shape.rank - 2 - PARE__KERNEL_RANK;
  const int64_t *dim = w->shape.dim;
  const pare_convolution_options inner = pare__convolve_inner(options, nouter);
  int64_t folded[2 + PARE__KERNEL_RANK] = {dim[0], dim[1]};
  for (int d = 0; d < nouter; d++) folded[1] *= dim[2 + d];
  for (int d = 0; d < PARE__KERNEL_RANK; d++) folded[2 + d] = dim[2 + nouter + d];
  pare_tensor *compact = NULL, *view = NULL;
  pare_status status = pare__contiguous(w, &compact);
  if (status == PARE_OK) status = pare_tensor_reshape(compact, 2 + PARE__KERNEL_RANK, folded, &view);
  if (status == PARE_OK) status = pare_convolution_weights_pack(view, &inner, out);
  if (status == PARE_OK) {
    (*out)->nouter = nouter;
    memcpy((*out)->outer, dim + 2, (size_t)nouter * sizeof *dim);
  }
  pare_tensor_close(view);
  pare_tensor_close(compact);
  return status;
}

pare_status pare_convolution_weights_pack(pare_tensor *w, const pare_convolution_options *options,
                                          pare_convolution_weights **out) {
  static const char function[] = "pare_convolution_weights_pack";
  const pare_convolution_options plain = PARE_CONVOLUTION_OPTIONS_INIT;
  pare__window window;
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!w) return pare__fail_null(function, "w");
  PARE__TRY(pare__context_check(function, w->context));
  PARE__TRY(pare__check_dtype(function, "w", w, PARE__FLOATS | PARE__DTYPE(PARE_I16)));
  PARE__TRY(pare__check_rank(function, "w", w, 3, 2 + PARE_CONVOLUTION_RANK));
  if (w->shape.rank - 2 > PARE__KERNEL_RANK) return pack_folded(w, options ? options : &plain, out);
  PARE__TRY(pare__window_set(function, w->shape.rank - 2, options ? options : &plain, &window));
  pare_convolution_weights *weights = calloc(1, sizeof *weights);
  if (!weights) return pare__fail_memory("packed weights", sizeof *weights);
  weights->context = w->context;
  pare__context_retain(w->context);
  pare_status status = pack(w, &window, weights);
  if (status != PARE_OK) {
    pare_convolution_weights_close(weights);
    return status;
  }
  *out = weights;
  return PARE_OK;
}

void pare_convolution_weights_close(pare_convolution_weights *weights) {
  if (!weights) return;
  pare_tensor_close(weights->packed);
  pare__context_release(weights->context);
  free(weights);
}

uint64_t pare_convolution_weights_bytes(const pare_convolution_weights *weights) {
  if (!weights || !weights->packed) return 0;
  return (uint64_t)pare__shape_elements(&weights->packed->shape) * pare_dtype_bytes(weights->packed->dtype);
}
