/* com.microsoft's MoE and QMoE: mixtures of experts, of floats and of integers. SPDX-License-Identifier: Apache-2.0
 *
 * A router gives each row a score for each expert; the k best experts see the row, and what they make of it is added
 * with weights from the softmax of the scores (Shazeer et al. 2017). Which experts those are is known on the device
 * only: rows go through all experts, one after the other, with weight 0 where an expert was not chosen. Constant
 * weights are packed for that once at load. Where they are not, and few rows have few of many experts, the weights of
 * those are gathered. */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <pare/select.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/quantised.h"

/* y = W x + b of each expert. */
typedef struct layer {
  pare_tensor *weights;      /* [experts, outputs, inputs], integers in bytes of `bits` each; NULL: none */
  pare_tensor *scale, *zero; /* [experts, outputs, blocks]; scale NULL: weights are floats; zero: a scalar, perhaps */
  pare_tensor *bias;         /* [experts, outputs]; NULL: none */
  int64_t outputs, inputs, bits;
  int number;   /* among the layers */
  bool is_used; /* else the node lacks it */
} layer;

/* Of layer i and expert e: [i * experts + e]; NULL: there is no such layer. */
typedef struct packed_experts {
  int64_t count;
  pare_weights *weights[];
} packed_experts;

typedef struct mixture {
  pare__call *call;
  const packed_experts *packed; /* NULL: the layers have the weights */
  pare_tensor *x;               /* [rows, size] */
  layer layer[3];
  int64_t experts, rows, size, inner, best;
  int fused;  /* a gate and what it opens in one layer: 1 in turns, 2 in halves */
  bool gated; /* SwiGLU */
  pare_unary_operation operation;
  double alpha, beta, limit;   /* of SwiGLU */
  pare_tensor *index, *weight; /* i64 and f32 [rows, best]: the experts of a row, and their weights */
} mixture;

/* Those whose turn it is: of `index` [slots], or one. */
typedef struct chosen {
  pare_tensor *index;
  int64_t expert;
} chosen;

/* ---- what the node says ---- */

static pare_status read_activation(mixture *m) {
  static const struct {
    const char *name;
    pare_unary_operation operation;
  } known[] = {
      {"relu", PARE_UNARY_relu},    {"gelu", PARE_UNARY_gelu_tanh},  {"silu", PARE_UNARY_swish},
      {"swiglu", PARE_UNARY_swish}, {"identity", PARE_UNARY_affine},
  };
  const pare__call *call = m->call;
  m->gated = pare__call_text_is(call, "activation_type", "relu", "swiglu");
  m->fused = m->gated ? (int)pare__call_get_int(call, "swiglu_fusion", 0) : 0;
  m->alpha = pare__call_get_float(call, "activation_alpha", 1);
  m->beta = pare__call_get_float(call, "activation_beta", 0);
  m->limit = pare__call_get_float(call, "swiglu_limit", INFINITY);
  if (m->fused < 0 || m->fused > 2)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "swiglu_fusion is %d; 0 to 2 are possible", m->fused);
  if (pare__call_get_int(call, "use_sparse_mixer", 0) != 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                           "its routing is a sparse mixer (use_sparse_mixer); only the "
                           "softmax of the scores is possible");
  if (!pare__call_text_is(call, "quant_type", "int", "int"))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its quant_type is not int, the only one that is possible");
  if (pare__call_get_int(call, "weights_prepacked", -1) > 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its weights are packed for one provider (weights_prepacked)");
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (pare__call_text_is(call, "activation_type", "relu", known[i].name)) {
      m->operation = known[i].operation;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                         "its activation_type is none of relu, gelu, silu, swiglu and identity");
}

/* *zero [experts, outputs, blocks] a byte each, of rows that are padded to whole bytes: a row an output where there are
 * blocks, else one an expert. */
static pare_status unpack_zeros(mixture *m, const layer *l, const int64_t *dim, pare_tensor **zero) {
  pare__call *call = m->call;
  const int64_t row = (*zero)->shape.rank == 3 ? dim[2] : dim[1], bytes = pare__div_up(row * l->bits, 8),
                rows = dim[0] * dim[1] * dim[2] / PARE__MAX(row, 1);
  if ((*zero)->dtype != PARE_U8 || pare__shape_elements(&(*zero)->shape) != rows * bytes)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld zero points' bytes; %lld rows of %lld (u8) are needed",
                           (long long)pare__shape_elements(&(*zero)->shape), (long long)rows, (long long)bytes);
  PARE__TRY(pare__call_reshaped(call, *zero, 2, (const int64_t[]){rows, bytes}, zero));
  PARE__TRY(pare__call_unpack(call, *zero, l->bits, zero));
  PARE__TRY(pare__call_slice(call, *zero, 1, 0, row, 1, zero));
  return pare__call_reshaped(call, *zero, 3, dim, zero);
}

/* The scale and zero point of weights whose shape is known. */
static pare_status read_scale(mixture *m, unsigned scale, unsigned zero, layer *l) {
  pare__call *call = m->call;
  PARE__TRY(pare__call_tensor(call, scale, &l->scale));
  PARE__TRY(pare__call_tensor(call, zero, &l->zero));
  const int64_t size = pare__call_get_int(call, "block_size", 0), block = size > 0 ? size : l->inputs,
                blocks = block > 0 ? l->inputs / block : 0, dim[3] = {m->experts, l->outputs, blocks};
  if (!l->scale || block < 1 || l->inputs % block != 0 ||
      pare__shape_elements(&l->scale->shape) != m->experts * l->outputs * blocks)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "input %u gives no scale for each of %lld experts, %lld outputs and %lld inputs in blocks "
                           "of %lld",
                           scale, (long long)m->experts, (long long)l->outputs, (long long)l->inputs, (long long)block);
  PARE__TRY(pare__call_reshaped(call, l->scale, 3, dim, &l->scale));
  if (l->zero) return unpack_zeros(m, l, dim, &l->zero);
  const uint8_t middle = (uint8_t)(1U << (l->bits - 1));
  return pare__call_constant(call, PARE_U8, 0, NULL, &middle, &l->zero);
}

/* Layer i (0 to 2) of `outputs` by `inputs`. */
static pare_status read_layer(mixture *m, int i, int64_t outputs, int64_t inputs) {
  /* inputs of the node */
  static const unsigned weights[2][3] = {{2, 4, 6}, {2, 5, 8}}, bias[2][3] = {{3, 5, 7}, {4, 7, 10}};
  static const char *const name[3] = {"fc1_expert_weight_bits", "fc2_expert_weight_bits", "fc3_expert_weight_bits"};
  pare__call *call = m->call;
  const int quantised = call->node->op->detail;
  layer *l = &m->layer[i];
  *l = (layer){.outputs = outputs, .inputs = inputs, .bits = 8, .number = i};
  l->is_used = pare__call_has(call, weights[quantised][i]);
  if (!l->is_used) return PARE_OK;
  const pare__slot *slot = call->input[weights[quantised][i]];
  PARE__TRY(pare__call_tensor(call, bias[quantised][i], &l->bias));
  if (quantised) l->bits = pare__call_get_int(call, name[i], pare__call_get_int(call, "expert_weight_bits", 4));
  if (l->bits != 2 && l->bits != 4 && l->bits != 8)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "weights of %lld bits", (long long)l->bits);
  const int64_t stored = quantised ? inputs * l->bits / 8 : inputs, *dim = slot->shape.dim;
  char have[PARE__SHAPE_TEXT];
  if (slot->shape.rank != 3 || dim[0] != m->experts || dim[1] != outputs || dim[2] != stored ||
      (quantised && (slot->dtype != PARE_U8 || inputs * l->bits % 8 != 0)))
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u is %s %s; [%lld, %lld, %lld] is needed",
                           weights[quantised][i], pare_dtype_name(slot->dtype),
                           pare__shape_text(slot->shape.rank, dim, have, sizeof have), (long long)m->experts,
                           (long long)outputs, (long long)stored);
  if (l->bias && pare__shape_elements(&l->bias->shape) != m->experts * outputs)
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u is no bias for %lld experts of %lld outputs",
                           bias[quantised][i], (long long)m->experts, (long long)outputs);
  if (l->bias) PARE__TRY(pare__call_reshaped(call, l->bias, 2, (const int64_t[]){m->experts, outputs}, &l->bias));
  if (m->packed) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, weights[quantised][i], &l->weights));
  return quantised ? read_scale(m, weights[1][i] + 1, 11 + (unsigned)i, l) : PARE_OK;
}

/* The layers, whose weights say how many experts there are and how wide they are. */
static pare_status read_layers(mixture *m) {
  pare__call *call = m->call;
  const unsigned second = call->node->op->detail ? 5 : 4;
  PARE__TRY(read_activation(m));
  if (!pare__call_has(call, 2) || !pare__call_has(call, second))
    return pare__call_fail(call, PARE_ERR_FORMAT, "its first or second layer, input 2 or %u, is left out", second);
  const pare__shape *first = &call->input[2]->shape, *last = &call->input[second]->shape;
  if (first->rank != 3 || last->rank != 3)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its weights have ranks %d and %d; 3 is needed", first->rank,
                           last->rank);
  m->experts = first->dim[0];
  m->inner = m->fused ? first->dim[1] / 2 : first->dim[1];
  m->size = last->dim[1];
  m->best = pare__call_get_int(call, "k", 1);
  PARE__TRY(read_layer(m, 0, m->fused ? 2 * m->inner : m->inner, m->size));
  PARE__TRY(read_layer(m, 1, m->size, m->inner));
  PARE__TRY(read_layer(m, 2, m->inner, m->size));
  if (m->gated && (m->fused != 0) == m->layer[2].is_used)
    return pare__call_fail(call, PARE_ERR_FORMAT, "SwiGLU with swiglu_fusion %d %s a third layer", m->fused,
                           m->fused ? "and" : "without");
  return PARE_OK;
}

static pare_status read_mixture(mixture *m) {
  pare__call *call = m->call;
  pare_tensor *scores;
  PARE__TRY(pare__call_check(call, 3, call->node->op->detail ? 15 : 8));
  m->packed = call->node->prepared;
  PARE__TRY(read_layers(m));
  PARE__TRY(pare__call_tensor(call, 0, &m->x));
  PARE__TRY(pare__call_tensor(call, 1, &scores));
  const pare__shape *x = &m->x->shape, *s = &scores->shape;
  if (x->rank < 2 || s->rank < 2 || x->dim[x->rank - 1] != m->size || s->dim[s->rank - 1] != m->experts || m->size < 1)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "its input and scores, of ranks %d and %d, do not have %lld columns and %lld experts",
                           x->rank, s->rank, (long long)m->size, (long long)m->experts);
  m->rows = pare__shape_elements(x) / m->size;
  if (m->best < 1 || m->best > m->experts || pare__shape_elements(s) != m->rows * m->experts)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld scores for %lld rows; the best %lld of %lld experts",
                           (long long)pare__shape_elements(s), (long long)m->rows, (long long)m->best,
                           (long long)m->experts);
  return pare__call_reshaped(call, m->x, 2, (const int64_t[]){m->rows, m->size}, &m->x);
}

/* Experts and weights of each row. */
static pare_status route(mixture *m) {
  pare__call *call = m->call;
  const int64_t all[2] = {m->rows, m->experts}, dim[2] = {m->rows, m->best}, one[2] = {m->rows, 1};
  pare_tensor *scores, *best, *mixing, *sum;
  PARE__TRY(pare__call_tensor(call, 1, &scores));
  PARE__TRY(pare__call_tensor(call, 14, &mixing));
  PARE__TRY(pare__call_reshaped(call, scores, 2, all, &scores));
  PARE__TRY(pare__call_cast(call, scores, PARE_F32, &scores));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, dim, &best));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, dim, &m->index));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, dim, &m->weight));
  PARE__TRY(pare_top_k(scores, m->best, 1, false, best, m->index));
  if (mixing) {
    PARE__TRY(pare__call_reshaped(call, mixing, 2, all, &mixing));
    PARE__TRY(pare__call_cast(call, mixing, PARE_F32, &mixing));
  } else {
    PARE__TRY(pare__call_scratch(call, PARE_F32, 2, all, &mixing));
    PARE__TRY(pare_softmax(scores, 1, mixing));
  }
  PARE__TRY(pare_gather_elements(mixing, m->index, 1, m->weight));
  /* ONNX Runtime's QMoE takes the softmax of the best scores alone, whatever this attribute says. */
  const bool of_best = call->node->op->detail && !pare__call_has(call, 14);
  if (!of_best && pare__call_get_int(call, "normalize_routing_weights", 0) == 0) return PARE_OK;
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, one, &sum));
  PARE__TRY(pare_reduce(m->weight, PARE_REDUCTION_SUM, (const int[]){1}, 1, true, sum));
  return pare_binary(PARE_BINARY_div, m->weight, sum, m->weight);
}

/* ---- experts ---- */

static pare_status of_chosen(mixture *m, const chosen *which, pare_tensor *all, pare_tensor **out) {
  if (!which->index) return pare__call_slice(m->call, all, 0, which->expert, 1, 1, out);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, all->shape.dim, sizeof dim);
  dim[0] = which->index->shape.dim[0];
  PARE__TRY(pare__call_scratch(m->call, all->dtype, all->shape.rank, dim, out));
  return pare_gather(all, which->index, 0, *out);
}

/* The weights [slots, outputs, inputs] as floats. */
static pare_status weights_of(mixture *m, const layer *l, const chosen *which, pare_tensor **out) {
  pare__call *call = m->call;
  PARE__TRY(of_chosen(m, which, l->weights, out));
  if (!l->scale) return PARE_OK;
  pare__quantisation q = {.broadcasts = true, .zero = l->zero};
  pare_tensor *bytes;
  const int64_t slots = (*out)->shape.dim[0], blocks = l->scale->shape.dim[2],
                split[4] = {slots, l->outputs, blocks, l->inputs / blocks}, each[4] = {slots, l->outputs, blocks, 1};
  PARE__TRY(pare__call_unpack(call, *out, l->bits, &bytes));
  PARE__TRY(pare__call_reshaped(call, bytes, 4, split, &bytes));
  PARE__TRY(of_chosen(m, which, l->scale, &q.scale));
  PARE__TRY(pare__call_reshaped(call, q.scale, 4, each, &q.scale));
  if (l->zero->shape.rank > 0) {
    PARE__TRY(of_chosen(m, which, l->zero, &q.zero));
    PARE__TRY(pare__call_reshaped(call, q.zero, 4, each, &q.zero));
  }
  PARE__TRY(pare__call_scratch(call, PARE_F32, 4, split, out));
  PARE__TRY(pare__call_dequantise(call, bytes, &q, *out));
  return pare__call_reshaped(call, *out, 3, (const int64_t[]){slots, l->outputs, l->inputs}, out);
}

/* x [slots, n, inputs] to *out [slots, n, outputs], f32. */
static pare_status apply_layer(mixture *m, const layer *l, const chosen *which, pare_tensor *x, pare_tensor **out) {
  pare__call *call = m->call;
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.transpose_b = true;
  pare_tensor *weights, *bias;
  const int64_t slots = x->shape.dim[0];
  PARE__TRY(pare__call_scratch(call, PARE_F32, 3, (const int64_t[]){slots, x->shape.dim[1], l->outputs}, out));
  if (m->packed) {
    PARE__TRY(pare_gemm_packed(x, m->packed->weights[l->number * m->experts + which->expert], NULL, NULL, *out));
  } else {
    PARE__TRY(weights_of(m, l, which, &weights));
    PARE__TRY(pare_gemm(x, weights, NULL, &options, *out));
  }
  if (!l->bias) return PARE_OK;
  PARE__TRY(of_chosen(m, which, l->bias, &bias));
  PARE__TRY(pare__call_reshaped(call, bias, 3, (const int64_t[]){slots, 1, l->outputs}, &bias));
  PARE__TRY(pare__call_cast(call, bias, PARE_F32, &bias));
  return pare_binary(PARE_BINARY_add, *out, bias, *out);
}

/* *x = the gate's activation, times what the gate opens (NULL: nothing). */
static pare_status activate(mixture *m, pare_tensor *opened, pare_tensor **x) {
  pare__call *call = m->call;
  pare_tensor *gate = *x, *out;
  const int64_t dim[3] = {gate->shape.dim[0], gate->shape.dim[1], m->inner};
  if (m->fused) {
    const int64_t next = m->fused == 1 ? 1 : m->inner, step = m->fused == 1 ? 2 : 1;
    PARE__TRY(pare__call_slice(call, *x, 2, next, m->inner, step, &opened));
    PARE__TRY(pare__call_slice(call, *x, 2, 0, m->inner, step, &gate));
  }
  PARE__TRY(pare__call_scratch(call, PARE_F32, 3, dim, &out));
  *x = out;
  if (m->gated) {
    PARE__TRY(pare_unary_with(PARE_UNARY_clip, -INFINITY, m->limit, gate, gate));
    PARE__TRY(pare_unary_with(PARE_UNARY_clip, -m->limit, m->limit, opened, opened));
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, 1, m->beta, opened, opened));
  }
  PARE__TRY(pare_unary_with(m->operation, m->gated ? m->alpha : 1, 0, gate, out));
  return opened ? pare_binary(PARE_BINARY_mul, out, opened, out) : PARE_OK;
}

/* What the chosen experts make of x [slots, n, size]. */
static pare_status ask(mixture *m, const chosen *which, pare_tensor *x, pare_tensor **out) {
  pare_tensor *inner, *opened = NULL;
  PARE__TRY(apply_layer(m, &m->layer[0], which, x, &inner));
  if (m->layer[2].is_used) PARE__TRY(apply_layer(m, &m->layer[2], which, x, &opened));
  PARE__TRY(activate(m, opened, &inner));
  return apply_layer(m, &m->layer[1], which, inner, out);
}

/* sum [rows, size]: a slot for each row and expert of its. */
static pare_status ask_gathered(mixture *m, pare_tensor *sum) {
  pare__call *call = m->call;
  const int64_t slots = m->rows * m->best, wide[3] = {m->rows, m->best, m->size};
  chosen which = {0};
  pare_tensor *x, *weight, *made;
  PARE__TRY(pare__call_reshaped(call, m->index, 1, &slots, &which.index));
  PARE__TRY(pare__call_reshaped(call, m->x, 3, (const int64_t[]){m->rows, 1, m->size}, &x));
  PARE__TRY(pare__call_broadcast(call, x, 3, wide, &x));
  PARE__TRY(pare__call_reshaped(call, x, 3, (const int64_t[]){slots, 1, m->size}, &x));
  PARE__TRY(ask(m, &which, x, &made));
  PARE__TRY(pare__call_reshaped(call, m->weight, 3, (const int64_t[]){slots, 1, 1}, &weight));
  PARE__TRY(pare_binary(PARE_BINARY_mul, made, weight, made));
  PARE__TRY(pare__call_reshaped(call, made, 3, wide, &made));
  return pare_reduce(made, PARE_REDUCTION_SUM, (const int[]){1}, 1, false, sum);
}

/* The same with all experts. */
static pare_status ask_all(mixture *m, pare_tensor *sum) {
  pare__call *call = m->call;
  const int64_t all[2] = {m->rows, m->experts}, rows[3] = {1, m->rows, m->size};
  pare_tensor *zero, *base, *weights, *weight, *x, *made;
  PARE__TRY(pare__call_scalar(call, PARE_F32, 0, &zero));
  PARE__TRY(pare_copy(zero, sum));
  PARE__TRY(pare__call_broadcast(call, zero, 2, all, &base));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, all, &weights));
  PARE__TRY(pare_scatter_elements(base, m->index, m->weight, 1, PARE_SCATTER_NONE, weights));
  PARE__TRY(pare__call_reshaped(call, m->x, 3, rows, &x));
  for (int64_t e = 0; e < m->experts; e++) {
    const chosen which = {.expert = e};
    PARE__TRY(ask(m, &which, x, &made));
    PARE__TRY(pare__call_reshaped(call, made, 2, rows + 1, &made));
    PARE__TRY(pare__call_slice(call, weights, 1, e, 1, 1, &weight));
    PARE__TRY(pare_ternary(PARE_TERNARY_fma, made, weight, sum, sum));
  }
  return PARE_OK;
}

static pare_status mixture_of_experts(pare__call *call) {
  mixture m = {.call = call};
  pare_tensor *sum, *out;
  PARE__TRY(read_mixture(&m));
  PARE__TRY(route(&m));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, (const int64_t[]){m.rows, m.size}, &sum));
  PARE__TRY(!m.packed && m.rows * m.best <= m.experts ? ask_gathered(&m, sum) : ask_all(&m, sum));
  const pare__shape *shape = &call->input[0]->shape;
  PARE__TRY(pare__call_output(call, 0, call->input[0]->dtype, shape->rank, shape->dim, &out));
  PARE__TRY(pare__call_reshaped(call, sum, shape->rank, shape->dim, &sum));
  return pare_cast(sum, out);
}

/* ---- weights packed at load ---- */

static void release_experts(void *prepared) {
  packed_experts *packed = prepared;
  for (int64_t i = 0; packed && i < packed->count; i++) pare_weights_close(packed->weights[i]);
  free(packed);
}

static pare_status pack_expert(mixture *m, const layer *l, int64_t expert, pare_weights **out) {
  const chosen which = {.expert = expert};
  pare_tensor *weights, *scale, *zero = NULL;
  PARE__TRY(of_chosen(m, &which, l->weights, &weights));
  const int64_t dim[2] = {l->outputs, weights->shape.dim[2]};
  PARE__TRY(pare__call_reshaped(m->call, weights, 2, dim, &weights));
  if (!l->scale) return pare_weights_pack(weights, true, out);
  const int64_t blocks = l->scale->shape.dim[2], each[2] = {l->outputs, blocks};
  const pare_blocks_options options = {.bits = (int)l->bits,
                                       .block = l->inputs / blocks,
                                       .transposed = true,
                                       .packed = true,
                                       .k = l->inputs,
                                       .zero = 1 << (l->bits - 1)};
  PARE__TRY(of_chosen(m, &which, l->scale, &scale));
  PARE__TRY(pare__call_reshaped(m->call, scale, 2, each, &scale));
  if (l->zero->shape.rank > 0) {
    PARE__TRY(of_chosen(m, &which, l->zero, &zero));
    PARE__TRY(pare__call_reshaped(m->call, zero, 2, each, &zero));
  }
  return pare_weights_pack_blocks(weights, scale, zero, &options, out);
}

/* Are all weights constant, with their scales and zero points? */
static bool are_constant(const pare__call *call, const pare__node *node) {
  const bool quantised = node->op->detail != 0;
  for (unsigned i = 2; i < node->ninputs && i < (quantised ? 14U : 8U); i++)
    if (node->input[i] >= 0 && !pare__call_has(call, i)) return false;
  return true;
}

static pare_status prepare_experts(pare__call *call, pare__node *node) {
  const int64_t most_a_choice = 8; /* floats of more experts than so many times k: reading all of them costs more */
  mixture m = {.call = call};
  if (!are_constant(call, node)) return PARE_OK;
  PARE__TRY(read_layers(&m));
  if (m.experts < 1 || m.size < 1 || m.inner < 1 || (!node->op->detail && m.experts / most_a_choice > m.best))
    return PARE_OK;
  size_t nbytes;
  if (!pare__size_mul((size_t)m.experts, 3 * sizeof(pare_weights *), &nbytes))
    return pare__call_fail(call, PARE_ERR_LIMIT, "%lld experts", (long long)m.experts);
  packed_experts *packed = calloc(1, sizeof *packed + nbytes);
  if (!packed) return pare__call_fail(call, PARE_ERR_MEMORY, "no memory for %zu bytes", nbytes);
  packed->count = 3 * m.experts;
  node->prepared = packed;
  node->prepared_close = release_experts;
  for (int64_t i = 0; i < packed->count; i++) {
    const layer *l = &m.layer[i / m.experts];
    if (l->is_used) PARE__TRY(pack_expert(&m, l, i % m.experts, &packed->weights[i]));
  }
  return PARE_OK;
}

const pare__operator pare__operators_mixture[] = {
    {"com.microsoft", "MoE", 1, 0, PARE__ON_DEVICE, mixture_of_experts, NULL, prepare_experts, .types = "small floats"},
    {"com.microsoft", "QMoE", 1, 0, PARE__ON_DEVICE, mixture_of_experts, NULL, prepare_experts, .detail = 1,
     .types = "small floats with 2, 4 and 8 bits"},
    {0},
};
