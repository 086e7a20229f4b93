/* One step of a recurrent cell, and the functions of its gates. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <string.h>
#include <strings.h>

#include "graph/compose.h"
#include "graph/recurrent.h"
#include "kernel/family_recurrent.h"
#include "op/recurrent.h"

/* alpha and beta: do they take it, and what is it otherwise? */
typedef struct function_row {
  const char *name;
  pare_unary_operation operation;
  bool takes_alpha, takes_beta, scaled;
  double alpha, beta;
} function_row;
static const function_row function_table[] = {
    {"Relu", PARE_UNARY_relu, false, false, false, 0, 0},
    {"Tanh", PARE_UNARY_tanh, false, false, false, 0, 0},
    {"Sigmoid", PARE_UNARY_sigmoid, false, false, false, 0, 0},
    {"Affine", PARE_UNARY_affine, true, true, false, 1, 0},
    {"LeakyRelu", PARE_UNARY_leaky_relu, true, false, false, 0.01, 0},
    {"ThresholdedRelu", PARE_UNARY_thresholded_relu, true, false, false, 1, 0},
    {"ScaledTanh", PARE_UNARY_tanh, true, true, true, 1, 1},
    {"HardSigmoid", PARE_UNARY_hard_sigmoid, true, true, false, 0.2, 0.5},
    {"Elu", PARE_UNARY_elu, true, false, false, 1, 0},
    {"Softsign", PARE_UNARY_softsign, false, false, false, 0, 0},
    {"Softplus", PARE_UNARY_softplus, false, false, false, 0, 0},
};

static const function_row *find_function(const char *name, size_t length) {
  for (size_t i = 0; i < PARE__COUNT(function_table); i++)
    if (strlen(function_table[i].name) == length && strncasecmp(function_table[i].name, name, length) == 0)
      return &function_table[i];
  return NULL;
}

bool pare__gate_function_named(const char *name, size_t length, pare__gate_function *out) {
  const function_row *row = find_function(name, length);
  if (row) *out = (pare__gate_function){row->operation, row->alpha, row->beta, row->scaled};
  return row != NULL;
}

pare_status pare__recurrent_functions(const pare__recurrent *recurrent, pare__recurrent_direction *direction) {
  static const char *const usual[][3] = {{"Tanh"}, {"Sigmoid", "Tanh"}, {"Sigmoid", "Tanh", "Tanh"}};
  static const int needed[] = {1, 2, 3};
  enum { MOST = 6 };
  const pare__call *call = recurrent->call;
  const int each = needed[recurrent->cell], first = direction->index * each;
  const pare__onnx_attribute *names = pare__node_attribute(call->node, "activations");
  double alpha[MOST], beta[MOST];
  size_t nalphas, nbetas, next_alpha = 0, next_beta = 0;
  PARE__TRY(pare__call_get_floats(call, "activation_alpha", alpha, MOST, &nalphas));
  PARE__TRY(pare__call_get_floats(call, "activation_beta", beta, MOST, &nbetas));
  if (names && names->strings.count != (size_t)(each * recurrent->directions))
    return pare__call_fail(call, PARE_ERR_FORMAT, "it names %zu activations; %d for each of %lld directions are needed",
                           names->strings.count, each, (long long)recurrent->directions);
  for (int i = 0; i < first + each;
       i++) { /* from the first one, for alphas and betas are given to those that take one */
    const char *name = names ? names->strings.items[i].data : usual[recurrent->cell][i % each];
    const size_t length = names ? names->strings.items[i].nbytes : strlen(name);
    const function_row *row = find_function(name, length);
    if (!row)
      return pare__call_fail(call, PARE_ERR_FORMAT, "its activation '%.*s' is none of ONNX's", (int)length, name);
    const double p = row->takes_alpha && next_alpha < nalphas ? alpha[next_alpha++] : row->alpha;
    const double q = row->takes_beta && next_beta < nbetas ? beta[next_beta++] : row->beta;
    if (i >= first) direction->function[i - first] = (pare__gate_function){row->operation, p, q, row->scaled};
  }
  return PARE_OK;
}

/* out = function(clip(a)) */
static pare_status apply(const pare__recurrent *recurrent, const pare__gate_function *function, pare_tensor *a,
                         pare_tensor *out) {
  if (recurrent->clip > 0) {
    PARE__TRY(pare_unary_with(PARE_UNARY_clip, -recurrent->clip, recurrent->clip, a, out));
    a = out;
  }
  if (!function->scaled) return pare_unary_with(function->operation, function->p, function->q, a, out);
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, function->q, 0, a, out));
  PARE__TRY(pare_unary(PARE_UNARY_tanh, out, out));
  return pare_unary_with(PARE_UNARY_affine, function->p, 0, out, out);
}

/* Gates first … first + count - 1 of a [batch, gates * hidden]. */
static pare_status gates(const pare__recurrent *recurrent, pare_tensor *all, int first, int count, pare_tensor **out) {
  return pare__call_slice(recurrent->call, all, all->shape.rank - 1, first * recurrent->hidden,
                          count * recurrent->hidden, 1, out);
}

/* gate += peephole number i * c */
static pare_status peep(const pare__recurrent *recurrent, const pare__recurrent_direction *direction, int i,
                        pare_tensor *c, pare_tensor *gate) {
  pare_tensor *weight;
  if (!direction->peephole) return PARE_OK;
  PARE__TRY(gates(recurrent, direction->peephole, i, 1, &weight));
  return pare_ternary(PARE_TERNARY_fma, weight, c, gate, gate);
}

/* Gates in the order i, o, f, c. */
static pare_status lstm_step(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                             pare_tensor *x, pare_tensor *h, pare_tensor *c, pare_tensor *new_h, pare_tensor *new_c) {
  pare_tensor *gate = direction->gate, *three, *i, *o, *f, *candidate;
  PARE__TRY(pare__gate_product(&direction->recurrent, h, x, gate));
  PARE__TRY(gates(recurrent, gate, 0, 3, &three));
  PARE__TRY(gates(recurrent, gate, 0, 1, &i));
  PARE__TRY(gates(recurrent, gate, 1, 1, &o));
  PARE__TRY(gates(recurrent, gate, 2, 1, &f));
  PARE__TRY(gates(recurrent, gate, 3, 1, &candidate));
  if (direction->peephole) {
    PARE__TRY(peep(recurrent, direction, 0, c, i));
    PARE__TRY(peep(recurrent, direction, 2, c, f));
    PARE__TRY(apply(recurrent, &direction->function[0], i, i));
    PARE__TRY(apply(recurrent, &direction->function[0], f, f));
  } else {
    PARE__TRY(apply(recurrent, &direction->function[0], three, three));
  }
  PARE__TRY(apply(recurrent, &direction->function[1], candidate, candidate));
  if (recurrent->input_forget) PARE__TRY(pare_unary_with(PARE_UNARY_affine, -1, 1, i, f));
  PARE__TRY(pare_binary(PARE_BINARY_mul, f, c, new_c));
  PARE__TRY(pare_ternary(PARE_TERNARY_fma, i, candidate, new_c, new_c));
  if (direction->peephole) {
    PARE__TRY(peep(recurrent, direction, 1, new_c, o));
    PARE__TRY(apply(recurrent, &direction->function[0], o, o));
  }
  const pare__recurrent unclipped = {.clip = 0};
  PARE__TRY(apply(&unclipped, &direction->function[2], new_c, direction->part));
  return pare_binary(PARE_BINARY_mul, o, direction->part, new_h);
}

/* Gates in the order z, r, h: new_h = (1 - z) candidate + z h. */
static pare_status gru_step(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                            pare_tensor *x, pare_tensor *h, pare_tensor *new_h) {
  pare_tensor *two, *z, *r, *candidate, *x_two, *x_candidate, *part = direction->part;
  PARE__TRY(gates(recurrent, direction->gate, 0, 2, &two));
  PARE__TRY(gates(recurrent, direction->gate, 0, 1, &z));
  PARE__TRY(gates(recurrent, direction->gate, 1, 1, &r));
  PARE__TRY(gates(recurrent, direction->gate, 2, 1, &candidate));
  PARE__TRY(gates(recurrent, x, 0, 2, &x_two));
  PARE__TRY(gates(recurrent, x, 2, 1, &x_candidate));
  if (recurrent->linear_before_reset) {
    pare_tensor *product_two, *product_candidate;
    PARE__TRY(pare__gate_product(&direction->recurrent, h, direction->recurrent_bias, direction->other));
    PARE__TRY(gates(recurrent, direction->other, 0, 2, &product_two));
    PARE__TRY(gates(recurrent, direction->other, 2, 1, &product_candidate));
    PARE__TRY(pare_binary(PARE_BINARY_add, product_two, x_two, two));
    PARE__TRY(apply(recurrent, &direction->function[0], two, two));
    PARE__TRY(pare_ternary(PARE_TERNARY_fma, r, product_candidate, x_candidate, candidate));
  } else {
    PARE__TRY(pare__gate_product(&direction->recurrent, h, x_two, two));
    PARE__TRY(apply(recurrent, &direction->function[0], two, two));
    PARE__TRY(pare_binary(PARE_BINARY_mul, r, h, part));
    PARE__TRY(pare__gate_product(&direction->candidate, part, x_candidate, candidate));
  }
  PARE__TRY(apply(recurrent, &direction->function[1], candidate, candidate));
  PARE__TRY(pare_binary(PARE_BINARY_sub, h, candidate, part));
  return pare_ternary(PARE_TERNARY_fma, z, part, candidate, new_h);
}

pare_status pare__recurrent_step(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                                 pare_tensor *x, pare_tensor *h, pare_tensor *c, pare_tensor *new_h,
                                 pare_tensor *new_c) {
  if (recurrent->cell == PARE__CELL_LSTM) return lstm_step(recurrent, direction, x, h, c, new_h, new_c);
  if (recurrent->cell == PARE__CELL_GRU) return gru_step(recurrent, direction, x, h, new_h);
  PARE__TRY(pare__gate_product(&direction->recurrent, h, x, direction->gate));
  return apply(recurrent, &direction->function[0], direction->gate, new_h);
}

/* ---- all steps at once ---- */

static int mode_of(const pare__recurrent *recurrent, bool reverse) {
  static const int cells[] = {RECURRENT_RNN, RECURRENT_GRU, RECURRENT_LSTM};
  return cells[recurrent->cell] | (reverse ? RECURRENT_REVERSE : 0);
}

/* Are the functions those that sequences know? *mode gets what else it says. */
static bool has_usual_functions(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                                int *mode) {
  static const pare_unary_operation usual[][3] = {
      {PARE_UNARY_tanh}, {PARE_UNARY_sigmoid, PARE_UNARY_tanh}, {PARE_UNARY_sigmoid, PARE_UNARY_tanh, PARE_UNARY_tanh}};
  static const int count[] = {1, 2, 3};
  for (int i = 0; i < count[recurrent->cell]; i++) {
    const pare__gate_function *function = &direction->function[i];
    const bool relu = recurrent->cell == PARE__CELL_RNN && function->operation == PARE_UNARY_relu;
    if (function->scaled || (!relu && function->operation != usual[recurrent->cell][i])) return false;
    if (relu) *mode |= RECURRENT_RELU;
  }
  return true;
}

pare_status pare__recurrent_at_once(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                                    pare_tensor *x, pare_tensor *h, pare_tensor *c, pare_tensor *y, bool *done) {
  pare__sequence sequence = {.mode = mode_of(recurrent, direction->reverse),
                             .clip = recurrent->clip,
                             .x = x,
                             .weights = direction->panels,
                             .mask = recurrent->mask,
                             .h = h,
                             .c = c,
                             .y = y};
  *done = false;
  if (!direction->panels || !has_usual_functions(recurrent, direction, &sequence.mode)) return PARE_OK;
  if (recurrent->cell == PARE__CELL_LSTM) sequence.extra = direction->peephole;
  if (recurrent->cell == PARE__CELL_LSTM && recurrent->input_forget) sequence.mode |= RECURRENT_INPUT_FORGET;
  if (recurrent->cell == PARE__CELL_GRU && recurrent->linear_before_reset) {
    sequence.mode |= RECURRENT_RESET_AFTER;
    sequence.extra = direction->recurrent_bias;
  }
  return pare__sequence_run(&sequence, done);
}
