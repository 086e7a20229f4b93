/* Convolution on tensors: checks, the problem, splitting. SPDX-License-Identifier: Apache-2.0 */
#include "op/convolve.h"

#include <string.h>

#include "kernel/family_convolve.h"

enum { ACCESS_X, ACCESS_W, ACCESS_BIAS, ACCESS_RESIDUAL, ACCESS_Y, NACCESSES };

typedef struct convolve_params {
  pare__problem whole;
  int axis;           /* of y that is split: 0 batch, 1 channels (blocks of them) */
  int64_t y_per_step; /* indices of axis 1 a step */
  int64_t o_per_step; /* channels a step; of a group where there is one, else of all */
  int dropped;        /* last axes that the problem leaves out, see drop_unit_axes */
} convolve_params;

static pare_status run_convolve(const pare__piece *piece) {
  const convolve_params *params = piece->params;
  const pare__problem *whole = &params->whole;
  const pare__binding *binding = piece->binding;
  pare__problem problem = *whole;
  int64_t *dim = problem.dim;
  if (params->axis == 0) {
    dim[CONV_N] = piece->end - piece->begin;
  } else if (piece->end - piece->begin < piece->n) {
    const int64_t channels = whole->dim[CONV_G] * whole->dim[CONV_O];
    const int64_t begin = piece->begin * params->o_per_step;
    const int64_t here = PARE__MIN(channels, piece->end * params->o_per_step) - begin;
    if (whole->dim[CONV_G] > 1)
      dim[CONV_G] = here / whole->dim[CONV_O];
    else
      dim[CONV_O] = here;
  }
  /* Strides of a staged piece are its own. */
  const pare__shape *x = &binding[ACCESS_X].shape, *y = &binding[ACCESS_Y].shape;
  const int rank = PARE__MAX(1, y->rank - 2 - (dim[CONV_Y_LENGTH] > 1));
  dim[CONV_X_BATCH] = x->stride[0];
  dim[CONV_X_BLOCK] = x->stride[1];
  dim[CONV_Y_BATCH] = y->stride[0];
  dim[CONV_Y_BLOCK] = y->stride[1];
  for (int d = 0; d < rank - params->dropped; d++) {
    dim[CONV_X_STRIDE + 3 - rank + params->dropped + d] = x->stride[2 + d];
    dim[CONV_Y_STRIDE + 3 - rank + params->dropped + d] = y->stride[2 + d];
  }
  pare__operand operand[CONV_NBUFFERS];
  for (int i = 0; i < NACCESSES; i++) operand[i] = (pare__operand){binding[i].mem, binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_convolve, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_convolve, &choice, whole, &problem, operand);
}

static const pare__codelet convolve_codelet = {"convolve", run_convolve};

static void spatial(const pare_tensor *tensor, bool blocked, int64_t *dim, int64_t *stride) {
  const int rank = tensor->shape.rank - 2 - blocked;
  for (int d = 0; d < 3; d++) {
    const int from = d - (3 - rank);
    dim[d] = from < 0 ? 1 : tensor->shape.dim[2 + from];
    stride[d] = from < 0 ? 0 : tensor->shape.stride[2 + from];
  }
}

/* Last axes of one pixel: convolutions along time often come as images one pixel wide, but kernels have their vectors
 * along the last axis. Tells how many it left out, the others moved up. */
static int drop_unit_axes(int64_t *dim) {
  static const struct {
    int first, neutral;
  } fields[] = {{CONV_X, 1},        {CONV_Y, 1},   {CONV_K, 1},        {CONV_STRIDE, 1},
                {CONV_DILATION, 1}, {CONV_PAD, 0}, {CONV_X_STRIDE, 0}, {CONV_Y_STRIDE, 0}};
  int dropped = 0;
  while (dropped < 2 && dim[CONV_X + 2] == 1 && dim[CONV_Y + 2] == 1 && dim[CONV_K + 2] == 1 &&
         dim[CONV_PAD + 2] == 0) {
    for (size_t i = 0; i < PARE__COUNT(fields); i++) {
      int64_t *field = dim + fields[i].first;
      memmove(field + 1, field, 2 * sizeof *field);
      field[0] = fields[i].neutral;
    }
    dropped++;
  }
  return dropped;
}

static int describe_whole(const pare__convolution *c, pare__problem *whole) {
  memset(whole, 0, sizeof *whole);
  int64_t *dim = whole->dim;
  const pare_convolution_options *options = c->options;
  dim[CONV_N] = c->x->shape.dim[0];
  dim[CONV_G] = c->weights->groups;
  dim[CONV_C] = c->weights->channels;
  dim[CONV_O] = c->weights->outputs;
  spatial(c->x, options->x_blocked, dim + CONV_X, dim + CONV_X_STRIDE);
  spatial(c->y, options->y_blocked, dim + CONV_Y, dim + CONV_Y_STRIDE);
  dim[CONV_X_BATCH] = c->x->shape.stride[0];
  dim[CONV_X_BLOCK] = c->x->shape.stride[1];
  dim[CONV_Y_BATCH] = c->y->shape.stride[0];
  dim[CONV_Y_BLOCK] = c->y->shape.stride[1];
  dim[CONV_X_CHANNEL] = dim[CONV_Y_CHANNEL] = 1;
  for (int d = 0; d < 3; d++) {
    dim[CONV_K + d] = c->weights->kernel[d];
    dim[CONV_STRIDE + d] = c->window->stride[d];
    dim[CONV_DILATION + d] = c->window->dilation[d];
    dim[CONV_PAD + d] = c->window->pad[d];
  }
  dim[CONV_X_LENGTH] = options->x_blocked ? c->block : 1;
  dim[CONV_Y_LENGTH] = options->y_blocked ? c->block : 1;
  dim[CONV_W_LANES] = c->weights->lanes;
  dim[CONV_ACTIVATION] = options->activation;
  whole->real[CONV_LOW] = options->clip_low;
  whole->real[CONV_HIGH] = options->clip_high;
  whole->real[CONV_SCALE] = options->scale == 0 ? 1 : options->scale;
  whole->real[CONV_SHIFT] = options->shift;
  whole->flags = (c->bias ? CONV_HAS_BIAS : 0) | (c->residual ? CONV_HAS_RESIDUAL : 0);
  whole->dtype[CONV_BUFFER_X] = c->x->dtype;
  whole->dtype[CONV_BUFFER_W] = c->weights->dtype;
  whole->dtype[CONV_BUFFER_BIAS] = c->bias ? c->bias->dtype : c->y->dtype;
  whole->dtype[CONV_BUFFER_RESIDUAL] = whole->dtype[CONV_BUFFER_Y] = c->y->dtype;
  const int dropped = drop_unit_axes(dim);
  whole->mode = pare__convolve_mode(whole);
  return dropped;
}

/* Neighbouring pixels of a pointwise convolution are one long row. */
static void flatten_pointwise(pare__problem *whole) {
  int64_t *dim = whole->dim;
  for (int d = 0; d < 3; d++)
    if (dim[CONV_K + d] != 1 || dim[CONV_STRIDE + d] != 1 || dim[CONV_PAD + d] != 0 ||
        dim[CONV_X + d] != dim[CONV_Y + d])
      return;
  for (int d = 1; d >= 0; d--) {
    const bool rows = (dim[CONV_X + d] == 1 || dim[CONV_X_STRIDE + d] == dim[CONV_X_STRIDE + 2] * dim[CONV_X + 2]) &&
                      (dim[CONV_Y + d] == 1 || dim[CONV_Y_STRIDE + d] == dim[CONV_Y_STRIDE + 2] * dim[CONV_Y + 2]);
    if (!rows) return;
    dim[CONV_X + 2] *= dim[CONV_X + d];
    dim[CONV_Y + 2] *= dim[CONV_Y + d];
    dim[CONV_X + d] = dim[CONV_Y + d] = 1;
  }
}

static pare_status submit(const pare__convolution *c) {
  if (pare__shape_elements(&c->y->shape) == 0) return PARE_OK;
  if (c->weights->transformed) return pare__winograd_submit(c);
  convolve_params params;
  memset(&params, 0, sizeof params);
  params.dropped = describe_whole(c, &params.whole);
  flatten_pointwise(&params.whole);
  const int64_t *dim = params.whole.dim;
  const int64_t lanes = PARE__MAX(dim[CONV_W_LANES], 1), channels = dim[CONV_G] * dim[CONV_O];
  params.axis = dim[CONV_N] > 1 ? 0 : 1;
  /* Steps along the channels: groups where there are several, else blocks of packed weights. */
  const bool grouped = dim[CONV_G] > 1, blocked = dim[CONV_Y_LENGTH] > 1;
  params.o_per_step = blocked && grouped ? dim[CONV_Y_LENGTH]
                      : grouped          ? dim[CONV_O]
                                         : PARE__MAX(lanes, dim[CONV_Y_LENGTH]);
  params.y_per_step = blocked ? params.o_per_step / dim[CONV_Y_LENGTH] : params.o_per_step;
  const bool batch = params.axis == 0;
  const int64_t w_per_step = grouped     ? params.o_per_step / dim[CONV_O]
                             : lanes > 1 ? params.o_per_step / lanes
                                         : params.o_per_step;
  const int x_axis = batch ? 0 : grouped ? 1 : PARE__WHOLE;
  const int64_t x_per_step = batch ? 1 : dim[CONV_X_LENGTH] > 1 ? 1 : grouped ? w_per_step * dim[CONV_C] : 1;
  const pare__task task = {
      .codelet = &convolve_codelet,
      .context = c->y->context,
      .params = &params,
      .params_bytes = sizeof params,
      .n = batch ? dim[CONV_N] : pare__div_up(channels, params.o_per_step),
      .naccesses = NACCESSES,
      .in_place = 1U << ACCESS_RESIDUAL,
      .access = {[ACCESS_X] = {c->x, PARE__READ, x_axis, x_per_step},
                 [ACCESS_W] = {c->weights->packed, PARE__READ,
                               batch     ? PARE__WHOLE
                               : grouped ? 0
                                         : 1,
                               w_per_step},
                 [ACCESS_BIAS] = {c->bias, PARE__READ, batch ? PARE__WHOLE : 0, params.o_per_step},
                 [ACCESS_RESIDUAL] = {c->residual, PARE__READ, params.axis, batch ? 1 : params.y_per_step},
                 [ACCESS_Y] = {c->y, PARE__WRITE, params.axis, batch ? 1 : params.y_per_step}}};
  return pare__submit(&task);
}

/* ---- checks ---- */

static pare_status check_dtypes(const char *function, const pare__convolution *c) {
  const pare_dtype x = c->x->dtype, w = c->weights->dtype, y = c->y->dtype;
  const bool integer = x == PARE_I16 && w == PARE_I16 && y == PARE_I32;
  const bool f64 = y == PARE_F64;
  const bool floats = x == y && pare__dtype_is_float(y) && pare__dtype_is_float(w) && (w == PARE_F64) == f64;
  if (!integer && !floats)
    return pare__fail(PARE_ERR_TYPE,
                      "%s: x is %s, the weights are %s, y is %s; x and y have one float dtype and f64 does "
                      "not mix, or they are i16, i16 and i32",
                      function, pare_dtype_name(x), pare_dtype_name(w), pare_dtype_name(y));
  if (integer && c->options->activation != PARE_ACTIVATION_NONE)
    return pare__fail(PARE_ERR_TYPE, "%s: integers take no activation", function);
  PARE__TRY(pare__check_dtype(function, "y", c->y, PARE__FLOATS | PARE__DTYPE(PARE_I32)));
  if (c->bias) PARE__TRY(pare__check_same_dtype(function, "bias", c->bias, "y", c->y));
  if (c->residual) PARE__TRY(pare__check_same_dtype(function, "residual", c->residual, "y", c->y));
  return PARE_OK;
}

/* Is `tensor` [n, channels, …], or [n, blocks, …, block]? */
static bool has_channels(const pare__convolution *c, const pare_tensor *tensor, bool blocked, int64_t channels) {
  const int rank = tensor->shape.rank;
  const int64_t *dim = tensor->shape.dim;
  if (rank != c->weights->rank + 2 + blocked) return false;
  if (blocked) return dim[rank - 1] == c->block && dim[1] == pare__div_up(channels, c->block);
  return dim[1] == channels;
}

static pare_status check_shapes(const char *function, const pare__convolution *c) {
  const pare_convolution_weights *weights = c->weights;
  const int64_t inputs = weights->groups * weights->channels, outputs = weights->groups * weights->outputs;
  char x[PARE__SHAPE_TEXT], y[PARE__SHAPE_TEXT];
  pare__shape_text(c->x->shape.rank, c->x->shape.dim, x, sizeof x);
  pare__shape_text(c->y->shape.rank, c->y->shape.dim, y, sizeof y);
  if (!has_channels(c, c->x, c->options->x_blocked, inputs) || !has_channels(c, c->y, c->options->y_blocked, outputs) ||
      c->x->shape.dim[0] != c->y->shape.dim[0])
    return pare__fail(PARE_ERR_SHAPE,
                      "%s: x has shape %s and y %s; weights of %d spatial dimensions from %lld channels to %lld expect "
                      "[N, %lld, …] and [N, %lld, …]%s",
                      function, x, y, weights->rank, (long long)inputs, (long long)outputs, (long long)inputs,
                      (long long)outputs, c->options->x_blocked || c->options->y_blocked ? ", in blocks as asked" : "");
  if (c->window->groups != weights->groups)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: %lld groups; the weights were packed for %lld", function,
                      (long long)c->window->groups, (long long)weights->groups);
  const bool depthwise = weights->channels == 1 && weights->outputs == 1;
  if ((c->options->x_blocked || c->options->y_blocked) && weights->groups > 1 && !depthwise)
    return pare__fail(PARE_ERR_UNSUPPORTED,
                      "%s: blocked channels in %lld groups of %lld and %lld; only one group, or one "
                      "channel a group",
                      function, (long long)weights->groups, (long long)weights->channels, (long long)weights->outputs);
  if (depthwise && weights->groups > 1 && c->options->x_blocked != c->options->y_blocked)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s: with a channel a group both x and y are blocked, or neither",
                      function);
  if (c->bias) PARE__TRY(pare__check_shape(function, "bias", c->bias, 1, &outputs));
  if (c->residual) PARE__TRY(pare__check_shape(function, "residual", c->residual, c->y->shape.rank, c->y->shape.dim));
  return PARE_OK;
}

static bool shares_memory(const pare_tensor *a, const pare_tensor *b) { return a && b && a->storage == b->storage; }

/* y may be written where it is if its blocks are whole and no input lies there in another order. */
static bool in_place(const pare__convolution *c) {
  const pare__shape *y = &c->y->shape, *residual = c->residual ? &c->residual->shape : y;
  if (c->options->y_blocked && y->stride[y->rank - 1] != 1) return false;
  for (int d = 0; d < y->rank; d++)
    if (residual->stride[d] != y->stride[d] && y->dim[d] != 1) return false;
  if (shares_memory(c->residual, c->y) && c->residual->offset != c->y->offset) return false;
  return !shares_memory(c->x, c->y) && !shares_memory(c->bias, c->y);
}

static pare_status run_through_scratch(pare__convolution *c) {
  pare_tensor *const y = c->y, *compact = NULL;
  c->y = NULL;
  PARE__TRY(pare__tensor_scratch(y->context, y->dtype, y->shape.rank, y->shape.dim, "a convolution", &c->y));
  pare_status status = PARE_OK;
  if (c->residual) {
    status = pare__contiguous(c->residual, &compact);
    c->residual = compact;
  }
  if (status == PARE_OK) status = submit(c);
  if (status == PARE_OK) status = pare__copy(c->y, y);
  pare_tensor_close(c->y);
  pare_tensor_close(compact);
  return status;
}

pare_status pare_convolve(pare_tensor *x, const pare_convolution_weights *weights, pare_tensor *bias,
                          pare_tensor *residual, const pare_convolution_options *options, pare_tensor *y) {
  static const char function[] = "pare_convolve";
  const pare_convolution_options plain = PARE_CONVOLUTION_OPTIONS_INIT;
  if (!weights) return pare__fail_null(function, "weights");
  PARE__TRY(pare__check_call(function, y, PARE__NAMED(x), PARE__OPTIONAL(bias), PARE__OPTIONAL(residual)));
  if (weights->context != y->context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the weights belong to another context", function);
  if (weights->nouter > 0) return pare__convolve_folded(x, weights, bias, residual, options ? options : &plain, y);
  pare__window window;
  pare__convolution c = {.window = &window,

                         .x = x,
                         .bias = bias,
                         .residual = residual,
                         .y = y,
                         .weights = weights,
                         .options = options ? options : &plain};
  if ((unsigned)c.options->activation >= PARE_NACTIVATIONS)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: activation %d; they are 0 to %d", function, (int)c.options->activation,
                      (int)PARE_NACTIVATIONS - 1);
  c.block = pare_convolution_block(y->context, y->dtype);
  PARE__TRY(pare__window_set(function, weights->rank, c.options, &window));
  if (weights->transformed)
    for (int d = 0; d < 3; d++)
      if (window.stride[d] != 1 || window.dilation[d] != 1)
        return pare__fail(PARE_ERR_ARGUMENT, "%s: stride %lld, dilation %lld; the weights were packed for 1 and 1",
                          function, (long long)window.stride[d], (long long)window.dilation[d]);
  PARE__TRY(check_dtypes(function, &c));
  PARE__TRY(check_shapes(function, &c));
  pare_tensor *input = NULL, *line = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK && bias) status = pare__contiguous(bias, &line);
  c.x = input;
  c.bias = line;
  if (status == PARE_OK) status = in_place(&c) ? submit(&c) : run_through_scratch(&c);
  pare_tensor_close(input);
  pare_tensor_close(line);
  return status;
}
