/* A convolution takes in what follows it: scales and shifts of its channels, batch norm, a summand, an activation.
 * SPDX-License-Identifier: Apache-2.0
 *
 * scale (W * x + b) + shift = (scale W) * x + (scale b + shift): new constants, computed in double once at load. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/pass.h"

/* A convolution, transposed or not, of constant f32 weights whose result has one reader. */
typedef struct foldable {
  const pare__node *node;
  const pare__content *weights, *bias; /* bias NULL: none */
  int64_t channels;                    /* of the result */
  int64_t groups; /* of a transposed one, whose weights have the result's channels second; else 0 */
} foldable;

static bool find_foldable(const pare__rewrite *rewrite, int32_t value, const char *op_type, foldable *out) {
  const pare__node *node = pare__rewrite_only(rewrite, value, op_type);
  if (!node || node->ninputs < 2 || node->input[1] < 0) return false;
  *out = (foldable){.node = node, .weights = rewrite->network->value[node->input[1]].constant};
  if (!out->weights || out->weights->dtype != PARE_F32 || out->weights->shape.rank < 3 || out->weights->count == 0)
    return false;
  const int64_t *dim = out->weights->shape.dim;
  out->channels = dim[0];
  if (strcmp(op_type, "ConvTranspose") == 0) {
    out->groups = pare__node_int(node, "group", 1);
    if (out->groups < 1 || dim[0] % out->groups != 0 || !pare__i64_mul(dim[1], out->groups, &out->channels))
      return false;
  }
  if (node->ninputs < 3 || node->input[2] < 0) return true;
  out->bias = rewrite->network->value[node->input[2]].constant;
  return out->bias && out->bias->dtype == PARE_F32 && (int64_t)out->bias->count == out->channels;
}

static bool find_convolution(const pare__rewrite *rewrite, int32_t value, foldable *out) {
  return find_foldable(rewrite, value, "Conv", out);
}

/* Which channel of the result element k of the weights is for. */
static int64_t channel_of(const foldable *conv, size_t k) {
  const pare__content *weights = conv->weights;
  const int64_t *dim = weights->shape.dim, row = (int64_t)(k / (weights->count / (size_t)dim[0]));
  if (conv->groups == 0) return row;
  const int64_t taps = (int64_t)weights->count / dim[0] / dim[1], column = (int64_t)k / taps % dim[1];
  return row / (dim[0] / conv->groups) * dim[1] + column;
}

/* A constant that is one number for each channel of the convolution's result, or one for all, into out[channels]. */
static bool per_channel(const pare__rewrite *rewrite, int32_t value, const foldable *conv, double *out) {
  const pare__content *content = value >= 0 ? rewrite->network->value[value].constant : NULL;
  if (!content || content->dtype != PARE_F32 || content->shape.rank > conv->weights->shape.rank) return false;
  const int place = content->shape.rank - (conv->weights->shape.rank - 1); /* of the channels, aligned at the right */
  const bool one = content->count == 1;
  if (!one && ((int64_t)content->count != conv->channels || place < 0 || content->shape.dim[place] != conv->channels))
    return false;
  for (int64_t i = 0; i < conv->channels; i++) out[i] = pare__content_number(content, one ? 0 : (size_t)i);
  return true;
}

/* A vector of [channels], as batch norm has them. */
static bool vector_of(const pare__rewrite *rewrite, int32_t value, int64_t channels, double *out) {
  const pare__content *content = value >= 0 ? rewrite->network->value[value].constant : NULL;
  if (!content || content->dtype != PARE_F32 || (int64_t)content->count != channels) return false;
  for (int64_t i = 0; i < channels; i++) out[i] = pare__content_number(content, (size_t)i);
  return true;
}

/* Node i becomes the convolution with its weights scaled and its bias scaled and shifted. */
static pare_status fold(pare__rewrite *rewrite, size_t i, const foldable *conv, const double *scale,
                        const double *shift) {
  const pare__content *old = conv->weights;
  pare__content *weights, *bias;
  PARE__TRY(pare__content_create(PARE_F32, old->shape.rank, old->shape.dim, NULL, &weights));
  const pare_status made = pare__content_create(PARE_F32, 1, &conv->channels, NULL, &bias);
  if (made != PARE_OK) {
    pare__content_release(weights);
    return made;
  }
  for (size_t k = 0; k < old->count; k++)
    ((float *)weights->owned)[k] = (float)(pare__content_number(old, k) * scale[channel_of(conv, k)]);
  for (int64_t c = 0; c < conv->channels; c++) {
    const double before = conv->bias ? pare__content_number(conv->bias, (size_t)c) : 0;
    ((float *)bias->owned)[c] = (float)(before * scale[c] + shift[c]);
  }
  pare__node folded;
  int32_t ids[2];
  pare_status status = pare__network_add_constant(rewrite->network, weights, &ids[0]);
  if (status != PARE_OK) {
    pare__content_release(bias);
    return status;
  }
  PARE__TRY(pare__network_add_constant(rewrite->network, bias, &ids[1]));
  PARE__TRY(pare__rewrite_grow(rewrite));
  PARE__TRY(pare__node_create(rewrite->network, "", conv->node->op_type, conv->node->opset, 3, 1, &folded));
  folded.name = conv->node->name;
  folded.nattributes = conv->node->nattributes;
  folded.attribute = conv->node->attribute;
  folded.input[0] = conv->node->input[0];
  folded.input[1] = ids[0];
  folded.input[2] = ids[1];
  folded.output[0] = rewrite->graph->node[i].output[0];
  return pare__rewrite_become(rewrite, i, folded);
}

/* ---- what is taken in ---- */

/* Mul, Add, Sub or Div of the result by constants. */
static bool read_affine(const pare__rewrite *rewrite, const pare__node *node, unsigned k, const foldable *conv,
                        double *scale, double *shift) {
  const bool divides = pare__node_is(node, "Div"), subtracts = pare__node_is(node, "Sub");
  const bool scales = divides || pare__node_is(node, "Mul");
  if (!scales && !subtracts && !pare__node_is(node, "Add")) return false;
  if ((divides || subtracts) && k != 0) return false;
  if (!per_channel(rewrite, node->input[1 - k], conv, scales ? scale : shift)) return false;
  for (int64_t c = 0; c < conv->channels; c++) {
    if (divides) scale[c] = 1 / scale[c];
    if (subtracts) shift[c] = -shift[c];
    if (scales)
      shift[c] = 0;
    else
      scale[c] = 1;
    if (!isfinite(scale[c])) return false;
  }
  return true;
}

static bool read_batch_norm(const pare__rewrite *rewrite, const pare__node *node, const foldable *conv, double *scale,
                            double *shift) {
  const pare__onnx_attribute *training = pare__node_attribute(node, "training_mode");
  const pare__onnx_attribute *given = pare__node_attribute(node, "epsilon");
  const double epsilon = given ? (double)given->f : 1e-5;
  for (unsigned k = 1; k < node->noutputs; k++)
    if (node->output[k] >= 0 && rewrite->uses[node->output[k]] > 0) return false;
  if (node->ninputs != 5 || (training && training->i != 0)) return false;
  double *mean = malloc((size_t)conv->channels * 2 * sizeof *mean), *variance = mean ? mean + conv->channels : NULL;
  const bool known = mean && vector_of(rewrite, node->input[1], conv->channels, scale) &&
                     vector_of(rewrite, node->input[2], conv->channels, shift) &&
                     vector_of(rewrite, node->input[3], conv->channels, mean) &&
                     vector_of(rewrite, node->input[4], conv->channels, variance);
  for (int64_t c = 0; known && c < conv->channels; c++) {
    scale[c] /= sqrt(variance[c] + epsilon);
    shift[c] -= mean[c] * scale[c];
  }
  free(mean);
  return known;
}

static pare_status take_affine(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  const bool norm = pare__node_is(node, "BatchNormalization");
  for (unsigned k = 0; k < (norm ? 1U : 2U) && k < node->ninputs; k++) {
    foldable conv;
    const bool found = find_convolution(rewrite, node->input[k], &conv) ||
                       find_foldable(rewrite, node->input[k], "ConvTranspose", &conv);
    if (!found || (!norm && node->ninputs != 2)) continue;
    double *scale = calloc((size_t)conv.channels * 2 + 1, sizeof *scale);
    if (!scale) return pare__fail_memory("a convolution's scales", (size_t)conv.channels * 2 * sizeof *scale);
    double *shift = scale + conv.channels;
    *done =
        norm ? read_batch_norm(rewrite, node, &conv, scale, shift) : read_affine(rewrite, node, k, &conv, scale, shift);
    const pare_status status = *done ? fold(rewrite, i, &conv, scale, shift) : PARE_OK;
    free(scale);
    if (*done || status != PARE_OK) return status;
  }
  return PARE_OK;
}

/* The activation of a FusedConv that a node is; *count numbers go with it. NULL: none. */
static const char *activation_of(const pare__rewrite *rewrite, const pare__node *node, double *params, size_t *count) {
  static const char *const plain[] = {"Relu", "Sigmoid", "Tanh", "HardSwish"};
  *count = 0;
  for (size_t i = 0; i < PARE__COUNT(plain); i++)
    if (pare__node_is(node, plain[i])) return plain[i];
  if (pare__node_is(node, "Swish") && !pare__node_attribute(node, "alpha")) return "Silu";
  const bool clips = pare__node_is(node, "Clip"), gates = pare__node_is(node, "HardSigmoid");
  if (!clips && !gates) return NULL;
  static const char *const name[2][2] = {{"min", "max"}, {"alpha", "beta"}};
  params[0] = gates ? 0.2 : -3.402823466e38;
  params[1] = gates ? 0.5 : 3.402823466e38;
  for (unsigned k = 0; k < 2; k++) {
    const pare__onnx_attribute *attribute = pare__node_attribute(node, name[gates][k]);
    if (attribute) params[k] = (double)attribute->f;
    if (clips && node->ninputs > k + 1 && node->input[k + 1] >= 0 &&
        !pare__value_number(rewrite->network, node->input[k + 1], &params[k]))
      return NULL;
  }
  *count = 2;
  return node->op_type;
}

/* A FusedConv of the convolution, with room for a bias and a summand, that makes node i's output. */
static pare_status fused_from(pare__rewrite *rewrite, size_t i, const pare__node *conv, pare__node *out) {
  PARE__TRY(pare__node_create(rewrite->network, "com.microsoft", "FusedConv", 1, 4, 1, out));
  out->name = conv->name;
  out->nattributes = conv->nattributes;
  out->attribute = conv->attribute;
  for (unsigned k = 0; k < 4 && k < conv->ninputs; k++) out->input[k] = conv->input[k];
  out->output[0] = rewrite->graph->node[i].output[0];
  return PARE_OK;
}

/* Add of the result and something that is computed. */
static pare_status take_summand(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  foldable conv;
  for (unsigned k = 0; pare__node_is(node, "Add") && k < 2; k++) {
    if (!find_convolution(rewrite, node->input[k], &conv)) continue;
    pare__node fused;
    PARE__TRY(fused_from(rewrite, i, conv.node, &fused));
    fused.input[3] = node->input[1 - k];
    *done = true;
    return pare__rewrite_become(rewrite, i, fused);
  }
  return PARE_OK;
}

/* The convolution that makes `value` for one reader, with a summand or without; NULL: none, or it has an activation. */
static const pare__node *active_convolution(const pare__rewrite *rewrite, int32_t value) {
  foldable conv;
  if (find_convolution(rewrite, value, &conv)) return conv.node;
  if (value < 0 || rewrite->producer[value] < 0 || rewrite->uses[value] != 1) return NULL;
  const pare__node *node = &rewrite->graph->node[rewrite->producer[value]];
  const bool fused = node->op && strcmp(node->op_type, "FusedConv") == 0;
  return fused && !pare__node_attribute(node, "activation") ? node : NULL;
}

static pare_status take_activation(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  double params[2];
  size_t count;
  const char *name = activation_of(rewrite, node, params, &count);
  const pare__node *conv = name ? active_convolution(rewrite, node->input[0]) : NULL;
  if (!conv) return PARE_OK;
  pare__node fused;
  PARE__TRY(fused_from(rewrite, i, conv, &fused));
  PARE__TRY(pare__node_set_text(rewrite->network, &fused, "activation", name));
  if (count > 0) PARE__TRY(pare__node_set_floats(rewrite->network, &fused, "activation_params", count, params));
  *done = true;
  return pare__rewrite_become(rewrite, i, fused);
}

/* A constant that does not make the convolution's result of a higher rank, nor of another dtype. */
static bool fits_rank(const pare__rewrite *rewrite, int32_t number, const pare__node *conv) {
  const pare__content *content = rewrite->network->value[number].constant;
  const pare__content *weights = rewrite->network->value[conv->input[1]].constant;
  return weights && weights->dtype == PARE_F32 && content->dtype == PARE_F32 &&
         content->shape.rank <= weights->shape.rank;
}

/* Mul, Add, Sub or Div by one number of what an activation gave. */
static pare_status take_number(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  const bool divides = pare__node_is(node, "Div"), subtracts = pare__node_is(node, "Sub");
  const bool scales = divides || pare__node_is(node, "Mul");
  if (node->ninputs != 2 || (!scales && !subtracts && !pare__node_is(node, "Add"))) return PARE_OK;
  for (unsigned k = 0; k < (divides || subtracts ? 1U : 2U); k++) {
    const int32_t x = node->input[k];
    double number;
    if (x < 0 || rewrite->producer[x] < 0 || rewrite->uses[x] != 1) continue;
    const pare__node *conv = &rewrite->graph->node[rewrite->producer[x]];
    if (!conv->op || strcmp(conv->op_type, "FusedConv") != 0 || !pare__node_attribute(conv, "activation")) continue;
    if (!pare__value_number(rewrite->network, node->input[1 - k], &number) ||
        !fits_rank(rewrite, node->input[1 - k], conv))
      continue;
    const pare__onnx_attribute *scale = pare__node_attribute(conv, "activation_scale");
    const pare__onnx_attribute *shift = pare__node_attribute(conv, "activation_shift");
    if (divides) number = 1 / number;
    if (subtracts) number = -number;
    const double new_scale = (scale ? (double)scale->f : 1) * (scales ? number : 1);
    const double new_shift = (shift ? (double)shift->f : 0) * (scales ? number : 1) + (scales ? 0 : number);
    if (!isfinite(new_scale) || !isfinite(new_shift) || new_scale == 0) continue;
    pare__node fused;
    PARE__TRY(fused_from(rewrite, i, conv, &fused));
    PARE__TRY(pare__node_set_float(rewrite->network, &fused, "activation_scale", (float)new_scale));
    PARE__TRY(pare__node_set_float(rewrite->network, &fused, "activation_shift", (float)new_shift));
    *done = true;
    return pare__rewrite_become(rewrite, i, fused);
  }
  return PARE_OK;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    if (!pare__rewrite_alive(&rewrite, i) || node->ninputs < 1 || node->noutputs < 1 || node->output[0] < 0) continue;
    int32_t inputs[2] = {node->input[0], node->ninputs > 1 ? node->input[1] : PARE__NO_VALUE};
    bool done = false;
    status = take_affine(&rewrite, i, &done);
    if (status == PARE_OK && !done) status = take_summand(&rewrite, i, &done);
    if (status == PARE_OK && !done) status = take_activation(&rewrite, i, &done);
    if (status == PARE_OK && !done) status = take_number(&rewrite, i, &done);
    /* the convolution that was taken over has no reader left */
    for (unsigned k = 0; k < 2 && done && status == PARE_OK; k++)
      if (inputs[k] >= 0 && rewrite.uses[inputs[k]] == 0 && rewrite.producer[inputs[k]] >= 0)
        pare__rewrite_remove(&rewrite, (size_t)rewrite.producer[inputs[k]]);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_convolution = {
    "convolution",
    "convolutions take in scales, shifts, batch norm, a summand, the activation after them and numbers after that",
    run};
