/* Convolutions. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/move.h>
#include <pare/quantise.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/operators_window.h"

static void close_weights(void *prepared) { pare_convolution_weights_close(prepared); }

static pare_status read_groups(const pare__call *call, const pare__shape *w, int64_t *groups) {
  char text[PARE__SHAPE_TEXT];
  *groups = pare__call_get_int(call, "group", 1);
  if (*groups >= 1 && *groups <= INT32_MAX && w->dim[0] % *groups == 0) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "%lld groups do not divide weights of shape %s", (long long)*groups,
                         pare__shape_text(w->rank, w->dim, text, sizeof text));
}

/* What can be known without x. */
static pare_status read_options(const pare__call *call, const pare__shape *w, pare__window_plan *plan,
                                pare_convolution_options *options) {
  *options = (pare_convolution_options)PARE_CONVOLUTION_OPTIONS_INIT;
  PARE__TRY(pare__call_window(call, w->rank, w->dim + 2, plan));
  PARE__TRY(read_groups(call, w, &options->groups));
  memcpy(options->stride, plan->stride, sizeof options->stride);
  memcpy(options->dilation, plan->dilation, sizeof options->dilation);
  return PARE_OK;
}

/* The shape of y; the pads go into the options. */
static pare_status size_result(const pare__call *call, const pare_tensor *x, const pare__shape *w,
                               pare__window_plan *plan, pare_convolution_options *options, int64_t *y) {
  char x_text[PARE__SHAPE_TEXT], w_text[PARE__SHAPE_TEXT];
  const int64_t channels = w->dim[1] * options->groups,
                block = options->x_blocked ? x->shape.dim[x->shape.rank - 1] : 1;
  if (x->shape.rank != w->rank + options->x_blocked || x->shape.dim[1] != pare__div_up(channels, block))
    return pare__call_fail(call, PARE_ERR_SHAPE, "x has shape %s, the weights %s, in %lld groups: the channels differ",
                           pare__shape_text(x->shape.rank, x->shape.dim, x_text, sizeof x_text),
                           pare__shape_text(w->rank, w->dim, w_text, sizeof w_text), (long long)options->groups);
  y[0] = x->shape.dim[0];
  y[1] = w->dim[0];
  PARE__TRY(pare__call_window_sizes(call, plan, x->shape.dim + 2, false, y + 2));
  memcpy(options->pad, plan->before, sizeof options->pad);
  return PARE_OK;
}

/* Weights packed at load, else now; *made is to be closed. */
static pare_status weights_of(const pare__call *call, pare_tensor *w, const pare_convolution_options *options,
                              const pare_convolution_weights **weights, pare_convolution_weights **made) {
  *made = NULL;
  *weights = call->node->prepared;
  if (*weights) return PARE_OK;
  PARE__TRY(pare_convolution_weights_pack(w, options, made));
  *weights = *made;
  return PARE_OK;
}

/* ---- Conv, FusedConv ---- */

static pare_status prepare_conv(pare__call *call, pare__node *node) {
  pare__window_plan plan;
  pare_convolution_options options;
  pare_tensor *w;
  pare_convolution_weights *weights;
  if (!pare__call_has(call, 1)) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, 1, &w));
  PARE__TRY(read_options(call, &w->shape, &plan, &options));
  PARE__TRY(pare_convolution_weights_pack(w, &options, &weights));
  node->prepared = weights;
  node->prepared_close = close_weights;
  return PARE_OK;
}

/* FusedConv's activation and its parameters. */
typedef struct fused_activation {
  const char *name;
  pare_activation activation;
  double p, q;
  double scale, shift; /* of what it gives */
} fused_activation;

static const fused_activation activations[] = {
    {"", PARE_ACTIVATION_NONE, 0, 0, 1, 0},
    {"Relu", PARE_ACTIVATION_RELU, 0, 0, 1, 0},
    {"Sigmoid", PARE_ACTIVATION_SIGMOID, 0, 0, 1, 0},
    {"Tanh", PARE_ACTIVATION_TANH, 0, 0, 1, 0},
    {"Clip", PARE_ACTIVATION_CLIP, -3.402823466e38, 3.402823466e38, 1, 0},
    {"LeakyRelu", PARE_ACTIVATION_LEAKY_RELU, 0.01, 0, 1, 0},
    {"HardSigmoid", PARE_ACTIVATION_HARD_SIGMOID, 0.2, 0.5, 1, 0},
    {"HardSwish", PARE_ACTIVATION_HARD_SWISH, 0, 0, 1, 0},
    {"Gelu", PARE_ACTIVATION_GELU, 0, 0, 1, 0},
    {"Silu", PARE_ACTIVATION_SILU, 0, 0, 1, 0},
};

static pare_status read_activation(const pare__call *call, fused_activation *out) {
  double params[2];
  size_t count;
  for (unsigned i = 0; i < PARE__COUNT(activations); i++) {
    if (!pare__call_text_is(call, "activation", "", activations[i].name)) continue;
    *out = activations[i];
    PARE__TRY(pare__call_get_floats(call, "activation_params", params, 2, &count));
    if (count > 0) out->p = params[0];
    if (count > 1) out->q = params[1];
    out->scale = pare__call_get_float(call, "activation_scale", 1);
    out->shift = pare__call_get_float(call, "activation_shift", 0);
    return PARE_OK;
  }
  return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "pare does not have its activation");
}

/* A summand of another shape than the convolution's broadcasts: it is added by itself, then the activation follows. */
static pare_status add_broadcast(pare__call *call, const fused_activation *activation, pare_tensor *sums,
                                 pare_tensor *residual) {
  static const pare_unary_operation alone[PARE_NACTIVATIONS] = {
      [PARE_ACTIVATION_RELU] = PARE_UNARY_relu,
      [PARE_ACTIVATION_GELU] = PARE_UNARY_gelu,
      [PARE_ACTIVATION_GELU_TANH] = PARE_UNARY_gelu_tanh,
      [PARE_ACTIVATION_SIGMOID] = PARE_UNARY_sigmoid,
      [PARE_ACTIVATION_TANH] = PARE_UNARY_tanh,
      [PARE_ACTIVATION_CLIP] = PARE_UNARY_clip,
      [PARE_ACTIVATION_HARD_SWISH] = PARE_UNARY_hard_swish,
      [PARE_ACTIVATION_HARD_SIGMOID] = PARE_UNARY_hard_sigmoid,
      [PARE_ACTIVATION_LEAKY_RELU] = PARE_UNARY_leaky_relu,
  };
  pare__shape shape;
  pare_tensor *y;
  PARE__TRY(pare__shape_broadcast(&sums->shape, &residual->shape, &shape));
  PARE__TRY(pare__call_output(call, 0, sums->dtype, shape.rank, shape.dim, &y));
  PARE__TRY(pare_binary(PARE_BINARY_add, sums, residual, y));
  if (activation->activation == PARE_ACTIVATION_SILU)
    PARE__TRY(pare_unary_with(PARE_UNARY_swish, 1, 0, y, y));
  else if (activation->activation != PARE_ACTIVATION_NONE)
    PARE__TRY(pare_unary_with(alone[activation->activation], activation->p, activation->q, y, y));
  if (activation->scale == 1 && activation->shift == 0) return PARE_OK;
  return pare_unary_with(PARE_UNARY_affine, activation->scale, activation->shift, y, y);
}

/* What a node of a convolution of floats is given. */
typedef struct convolution {
  pare_tensor *x, *w, *bias; /* w NULL: packed weights are read no more, and need not be on the device as they were */
  const pare__shape *w_shape;
  pare__window_plan plan;
  pare_convolution_options options;
} convolution;

static pare_status read_convolution(pare__call *call, convolution *out) {
  *out = (convolution){.w_shape = &call->input[1]->shape};
  PARE__TRY(pare__call_tensor(call, 0, &out->x));
  if (!call->node->prepared) PARE__TRY(pare__call_tensor(call, 1, &out->w));
  PARE__TRY(pare__call_tensor(call, 2, &out->bias));
  return read_options(call, out->w_shape, &out->plan, &out->options);
}

/* The activation of a convolution goes into its options. */
static void set_activation(const fused_activation *activation, pare_convolution_options *options) {
  options->activation = activation->activation;
  options->clip_low = activation->p;
  options->clip_high = activation->q;
  options->scale = activation->scale;
  options->shift = activation->shift;
}

static pare_status conv(pare__call *call) {
  convolution c;
  pare_tensor *residual, *y;
  fused_activation activation = activations[0];
  int64_t dim[PARE_MAX_RANK];
  const pare_convolution_weights *weights;
  pare_convolution_weights *made;
  PARE__TRY(pare__call_check(call, 2, 4));
  PARE__TRY(read_convolution(call, &c));
  PARE__TRY(pare__call_tensor(call, 3, &residual));
  c.options.x_blocked = pare__call_get_int(call, "x_blocked", 0) != 0;
  c.options.y_blocked = pare__call_get_int(call, "y_blocked", 0) != 0;
  PARE__TRY(size_result(call, c.x, c.w_shape, &c.plan, &c.options, dim));
  PARE__TRY(read_activation(call, &activation));
  const int rank = c.w_shape->rank + c.options.y_blocked;
  if (c.options.y_blocked) {
    dim[rank - 1] = pare_convolution_block(call->context, c.x->dtype);
    dim[1] = pare__div_up(dim[1], dim[rank - 1]);
  }
  const bool broadcast =
      residual && (residual->shape.rank != rank || memcmp(residual->shape.dim, dim, (size_t)rank * sizeof *dim) != 0);
  if (!broadcast) {
    set_activation(&activation, &c.options);
    PARE__TRY(pare__call_output(call, 0, c.x->dtype, rank, dim, &y));
  } else {
    PARE__TRY(pare__call_scratch(call, c.x->dtype, rank, dim, &y));
  }
  PARE__TRY(weights_of(call, c.w, &c.options, &weights, &made));
  pare_status status = pare_convolve(c.x, weights, c.bias, broadcast ? NULL : residual, &c.options, y);
  if (status == PARE_OK && broadcast) status = add_broadcast(call, &activation, y, residual);
  pare_convolution_weights_close(made);
  return status;
}

/* com.microsoft NhwcConv and NhwcFusedConv: x, y and a summand have their channels last, the weights are those of Conv.
 */
static pare_status nhwc_conv(pare__call *call) {
  convolution c;
  pare_tensor *residual, *y, *out;
  fused_activation activation = activations[0];
  int64_t dim[PARE_MAX_RANK];
  const pare_convolution_weights *weights;
  pare_convolution_weights *made;
  PARE__TRY(pare__call_check(call, 2, call->node->op->detail ? 4 : 3));
  PARE__TRY(read_convolution(call, &c));
  PARE__TRY(pare__call_tensor(call, 3, &residual));
  PARE__TRY(pare__call_channels_first(call, c.x, &c.x));
  if (residual) PARE__TRY(pare__call_channels_first(call, residual, &residual));
  PARE__TRY(read_activation(call, &activation));
  set_activation(&activation, &c.options);
  PARE__TRY(size_result(call, c.x, c.w_shape, &c.plan, &c.options, dim));
  PARE__TRY(pare__call_scratch(call, c.x->dtype, c.w_shape->rank, dim, &y));
  PARE__TRY(weights_of(call, c.w, &c.options, &weights, &made));
  const pare_status status = pare_convolve(c.x, weights, c.bias, residual, &c.options, y);
  pare_convolution_weights_close(made);
  PARE__TRY(status);
  PARE__TRY(pare__call_channels_last(call, y, &y));
  PARE__TRY(pare__call_output(call, 0, y->dtype, y->shape.rank, y->shape.dim, &out));
  return pare_copy(y, out);
}

/* ---- ConvInteger, QLinearConv ---- */

/* Input i minus its zero point, input z, as i16. per_channel: zero may have an entry for each index of axis 0. */
static pare_status centred(pare__call *call, unsigned i, unsigned z, bool per_channel, pare_tensor **out) {
  pare_tensor *x, *zero, *wide, *zeros;
  PARE__TRY(pare__call_tensor(call, i, &x));
  PARE__TRY(pare__call_tensor(call, z, &zero));
  if (x->dtype != PARE_U8 && x->dtype != PARE_I8)
    return pare__call_fail(call, PARE_ERR_TYPE, "input %u is %s; it must be u8 or i8", i, pare_dtype_name(x->dtype));
  PARE__TRY(pare__call_cast(call, x, PARE_I16, &wide));
  *out = wide;
  if (!zero) return PARE_OK;
  const int64_t entries = pare__shape_elements(&zero->shape);
  if (zero->dtype != x->dtype || (entries != 1 && (!per_channel || entries != x->shape.dim[0])))
    return pare__call_fail(call, PARE_ERR_SHAPE, "the zero point of input %u has %lld elements of %s", i,
                           (long long)entries, pare_dtype_name(zero->dtype));
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < x->shape.rank; d++) dim[d] = d == 0 ? entries : 1;
  PARE__TRY(pare__call_cast(call, zero, PARE_I16, &zeros));
  PARE__TRY(pare__call_reshaped(call, zeros, x->shape.rank, dim, &zeros));
  PARE__TRY(pare__call_scratch(call, PARE_I16, x->shape.rank, x->shape.dim, out));
  return pare_binary(PARE_BINARY_sub, wide, zeros, *out);
}

/* Which inputs are what. */
typedef struct integer_inputs {
  unsigned x, x_zero, w, w_zero;
} integer_inputs;
static const integer_inputs plain_inputs = {0, 2, 1, 3}, linear_inputs = {0, 2, 3, 5};

static pare_status prepare_integer(pare__call *call, pare__node *node) {
  const integer_inputs *in = node->op->detail ? &linear_inputs : &plain_inputs;
  pare__window_plan plan;
  pare_convolution_options options;
  pare_tensor *w;
  pare_convolution_weights *weights;
  const bool zero_is_given = in->w_zero < node->ninputs && node->input[in->w_zero] != PARE__NO_VALUE;
  if (!pare__call_has(call, in->w) || (zero_is_given && !pare__call_has(call, in->w_zero))) return PARE_OK;
  PARE__TRY(centred(call, in->w, in->w_zero, true, &w));
  PARE__TRY(read_options(call, &w->shape, &plan, &options));
  PARE__TRY(pare_convolution_weights_pack(w, &options, &weights));
  node->prepared = weights;
  node->prepared_close = close_weights;
  return PARE_OK;
}

/* com.microsoft QLinearConv may have them so; the weights are those of Conv. */
static bool channels_are_last(const pare__call *call) { return pare__call_get_int(call, "channels_last", 0) != 0; }

/* The exact sums, channels first, as output 0 or in scratch. */
static pare_status integer_sums(pare__call *call, const integer_inputs *in, pare_tensor *bias, bool is_output,
                                pare_tensor **y) {
  pare_tensor *x, *w = NULL;
  pare__window_plan plan;
  pare_convolution_options options;
  int64_t dim[PARE_MAX_RANK];
  const pare_convolution_weights *weights;
  pare_convolution_weights *made;
  PARE__TRY(centred(call, in->x, in->x_zero, false, &x));
  if (channels_are_last(call)) PARE__TRY(pare__call_channels_first(call, x, &x));
  if (!call->node->prepared) PARE__TRY(centred(call, in->w, in->w_zero, true, &w));
  const pare__shape *w_shape = &call->input[in->w]->shape;
  PARE__TRY(read_options(call, w_shape, &plan, &options));
  PARE__TRY(size_result(call, x, w_shape, &plan, &options, dim));
  if (is_output)
    PARE__TRY(pare__call_output(call, 0, PARE_I32, x->shape.rank, dim, y));
  else
    PARE__TRY(pare__call_scratch(call, PARE_I32, x->shape.rank, dim, y));
  PARE__TRY(weights_of(call, w, &options, &weights, &made));
  const pare_status status = pare_convolve(x, weights, bias, NULL, &options, *y);
  pare_convolution_weights_close(made);
  return status;
}

static pare_status conv_integer(pare__call *call) {
  pare_tensor *y;
  PARE__TRY(pare__call_check(call, 2, 4));
  return integer_sums(call, &plain_inputs, NULL, true, &y);
}

/* x_scale w_scale / y_scale, for each channel or for all of them: [entries, 1, …]. */
static pare_status multiplier(pare__call *call, int rank, pare_tensor **out) {
  static const unsigned scales[] = {1, 4, 6};
  pare_tensor *scale[3], *product;
  int64_t dim[PARE_MAX_RANK];
  for (int i = 0; i < 3; i++) {
    PARE__TRY(pare__call_tensor(call, scales[i], &scale[i]));
    const int64_t entries = pare__shape_elements(&scale[i]->shape);
    if (scale[i]->dtype != PARE_F32 || (i != 1 && entries != 1))
      return pare__call_fail(call, PARE_ERR_TYPE, "the scale, input %u, has %lld elements of %s; it must be f32%s",
                             scales[i], (long long)entries, pare_dtype_name(scale[i]->dtype), i != 1 ? ", one" : "");
    for (int d = 0; d < rank - 1; d++) dim[d] = d == 0 ? entries : 1;
    PARE__TRY(pare__call_reshaped(call, scale[i], rank - 1, dim, &scale[i]));
  }
  PARE__TRY(pare__call_scratch(call, PARE_F32, rank - 1, scale[1]->shape.dim, &product));
  PARE__TRY(pare_binary(PARE_BINARY_mul, scale[0], scale[1], product));
  PARE__TRY(pare_binary(PARE_BINARY_div, product, scale[2], product));
  *out = product;
  return PARE_OK;
}

static pare_status linear_conv(pare__call *call) {
  static const float one = 1;
  pare_tensor *bias, *sums, *scaled, *factor = NULL, *unit, *zero, *y;
  PARE__TRY(pare__call_check(call, 8, 9));
  PARE__TRY(pare__call_tensor(call, 8, &bias));
  PARE__TRY(pare__call_tensor(call, 7, &zero));
  PARE__TRY(integer_sums(call, &linear_inputs, bias, false, &sums));
  PARE__TRY(multiplier(call, sums->shape.rank, &factor));
  if (factor->shape.dim[0] != 1 && factor->shape.dim[0] != sums->shape.dim[1])
    return pare__call_fail(call, PARE_ERR_SHAPE, "the weights have %lld scales; there are %lld channels",
                           (long long)factor->shape.dim[0], (long long)sums->shape.dim[1]);
  PARE__TRY(pare__call_cast(call, sums, PARE_F32, &scaled));
  PARE__TRY(pare_binary(PARE_BINARY_mul, scaled, factor, scaled));
  PARE__TRY(pare__call_constant(call, PARE_F32, 0, NULL, &one, &unit));
  if (channels_are_last(call)) PARE__TRY(pare__call_channels_last(call, scaled, &scaled));
  PARE__TRY(pare__call_output(call, 0, zero->dtype, scaled->shape.rank, scaled->shape.dim, &y));
  return pare_quantize(scaled, unit, zero, 0, y);
}

const pare__operator pare__operators_convolution[] = {
    {"", "Conv", 1, 0, PARE__ON_DEVICE, conv, NULL, prepare_conv, 0, "floats"},
    {"com.microsoft", "FusedConv", 1, 0, PARE__ON_DEVICE, conv, NULL, prepare_conv, 0, "floats"},
    {"com.microsoft", "NhwcConv", 1, 0, PARE__ON_DEVICE, nhwc_conv, NULL, prepare_conv, 0, "floats"},
    {"com.microsoft", "NhwcFusedConv", 1, 0, PARE__ON_DEVICE, nhwc_conv, NULL, prepare_conv, 1, "floats"},
    {"", "ConvInteger", 10, 0, PARE__ON_DEVICE, conv_integer, NULL, prepare_integer, 0, "u8, i8"},
    {"", "QLinearConv", 10, 0, PARE__ON_DEVICE, linear_conv, NULL, prepare_integer, 1, "u8, i8"},
    {"com.microsoft", "QLinearConv", 1, 0, PARE__ON_DEVICE, linear_conv, NULL, prepare_integer, 1, "u8, i8"},
    {0},
};
