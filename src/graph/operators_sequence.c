/* Recurrent networks, and sequences read backwards. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/recurrent.h"

enum { Y, Y_H, Y_C }; /* outputs */

/* ---- what it is given ---- */

static pare_status check_input(const pare__recurrent *recurrent, unsigned i, int rank, const int64_t *dim) {
  const pare__call *call = recurrent->call;
  if (!pare__call_has(call, i)) return PARE_OK;
  const pare__shape *shape = &call->input[i]->shape;
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  if (shape->rank != rank || memcmp(shape->dim, dim, (size_t)rank * sizeof *dim) != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u is %s; it must be %s", i,
                           pare__shape_text(shape->rank, shape->dim, have, sizeof have),
                           pare__shape_text(rank, dim, want, sizeof want));
  const bool other = i == PARE__RECURRENT_LENGTHS || (recurrent->quantised && i <= PARE__RECURRENT_R);
  if (!other && call->input[i]->dtype != recurrent->dtype)
    return pare__call_fail(call, PARE_ERR_TYPE, "input %u is %s; the first one is %s", i,
                           pare_dtype_name(call->input[i]->dtype), pare_dtype_name(recurrent->dtype));
  return PARE_OK;
}

static pare_status check_inputs(const pare__recurrent *r) {
  const int64_t rows = r->gates * r->hidden,
                state[2][3] = {{r->directions, r->batch, r->hidden}, {r->batch, r->directions, r->hidden}};
  const int64_t w[2][3] = {{r->directions, rows, r->inputs}, {r->directions, r->inputs, rows}},
                hidden[2][3] = {{r->directions, rows, r->hidden}, {r->directions, r->hidden, rows}};
  PARE__TRY(check_input(r, PARE__RECURRENT_W, 3, w[r->quantised]));
  PARE__TRY(check_input(r, PARE__RECURRENT_R, 3, hidden[r->quantised]));
  PARE__TRY(check_input(r, PARE__RECURRENT_B, 2, (const int64_t[]){r->directions, 2 * rows}));
  PARE__TRY(check_input(r, PARE__RECURRENT_LENGTHS, 1, &r->batch));
  PARE__TRY(check_input(r, PARE__RECURRENT_INITIAL_H, 3, state[r->batch_first]));
  PARE__TRY(check_input(r, PARE__RECURRENT_INITIAL_C, 3, state[r->batch_first]));
  return check_input(r, PARE__RECURRENT_PEEPHOLES, 2, (const int64_t[]){r->directions, 3 * r->hidden});
}

/* x as one matrix of all steps, and which sequences reach how far. */
static pare_status take_sequences(pare__recurrent *r) {
  pare__call *call = r->call;
  PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_X, &r->x));
  if (r->batch_first) PARE__TRY(pare__call_permuted(call, r->x, (const int[]){1, 0, 2}, &r->x));
  PARE__TRY(pare__call_reshaped(call, r->x, 2, (const int64_t[]){r->steps * r->batch, r->inputs}, &r->x));
  PARE__TRY(pare__call_scalar(call, r->dtype, 0, &r->zero));
  if (!pare__call_has(call, PARE__RECURRENT_LENGTHS)) return PARE_OK;
  pare_tensor *lengths, *step;
  PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_LENGTHS, &lengths));
  PARE__TRY(pare__call_cast(call, lengths, PARE_I64, &lengths));
  PARE__TRY(pare__call_reshaped(call, lengths, 3, (const int64_t[]){1, r->batch, 1}, &lengths));
  PARE__TRY(pare__call_range(call, PARE_I64, r->steps, 3, 0, &step));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, (const int64_t[]){r->steps, r->batch, 1}, &r->mask));
  return pare_binary(PARE_BINARY_less, step, lengths, r->mask);
}

static pare_status read_call(pare__call *call, pare__recurrent *r) {
  static const int64_t gates[] = {1, 3, 4};
  const int detail = call->node->op->detail;
  const pare__cell cell = (pare__cell)(detail & ~PARE__CELL_QUANTISED);
  const bool quantised = (detail & PARE__CELL_QUANTISED) != 0;
  PARE__TRY(pare__call_check(call, 3,
                             quantised                 ? PARE__RECURRENT_NINPUTS
                             : cell == PARE__CELL_LSTM ? PARE__RECURRENT_PEEPHOLES + 1
                                                       : PARE__RECURRENT_INITIAL_H + 1));
  const pare__shape *x = &call->input[PARE__RECURRENT_X]->shape, *w = &call->input[PARE__RECURRENT_W]->shape;
  *r = (pare__recurrent){
      .call = call, .cell = cell, .quantised = quantised, .dtype = call->input[PARE__RECURRENT_X]->dtype};
  r->gates = gates[r->cell];
  r->batch_first = pare__call_get_int(call, "layout", 0) != 0;
  r->linear_before_reset = pare__call_get_int(call, "linear_before_reset", 0) != 0;
  r->input_forget = pare__call_get_int(call, "input_forget", 0) != 0;
  r->clip = pare__call_get_float(call, "clip", 0);
  r->directions = pare__call_text_is(call, "direction", "forward", "bidirectional") ? 2 : 1;
  if (r->directions == 1 && !pare__call_text_is(call, "direction", "forward", "forward") &&
      !pare__call_text_is(call, "direction", "forward", "reverse"))
    return pare__call_fail(call, PARE_ERR_FORMAT, "its direction is none of forward, reverse, bidirectional");
  if (x->rank != 3 || w->rank != 3)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input and weights have ranks %d and %d; both must be 3", x->rank,
                           w->rank);
  r->steps = x->dim[r->batch_first ? 1 : 0];
  r->batch = x->dim[r->batch_first ? 0 : 1];
  r->inputs = x->dim[2];
  r->hidden = w->dim[quantised ? 2 : 1] / r->gates;
  const int64_t given = pare__call_get_int(call, "hidden_size", r->hidden);
  if (given != r->hidden)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its hidden_size is %lld; the weights have %lld", (long long)given,
                           (long long)r->hidden);
  PARE__TRY(check_inputs(r));
  return take_sequences(r);
}

/* ---- one direction ---- */

/* The biases of the products: all that can be added beforehand is added to the input's. */
static pare_status take_bias(const pare__recurrent *r, pare__recurrent_direction *direction) {
  pare__call *call = r->call;
  const int64_t rows = r->gates * r->hidden;
  pare_tensor *bias, *input, *recurrent, *sum;
  PARE__TRY(pare__call_tensor(call, PARE__RECURRENT_B, &bias));
  if (!bias) return PARE_OK;
  PARE__TRY(pare__call_at(call, bias, 0, direction->index, &bias));
  PARE__TRY(pare__call_slice(call, bias, 0, 0, rows, 1, &input));
  PARE__TRY(pare__call_slice(call, bias, 0, rows, rows, 1, &recurrent));
  direction->input_bias = input;
  direction->recurrent_bias = recurrent;
  if (r->cell == PARE__CELL_GRU && r->linear_before_reset) return PARE_OK;
  PARE__TRY(pare__call_scratch(call, r->dtype, 1, &rows, &sum));
  PARE__TRY(pare_binary(PARE_BINARY_add, input, recurrent, sum));
  direction->input_bias = sum;
  return PARE_OK;
}

static pare_status take_scratch(const pare__recurrent *r, pare__recurrent_direction *direction) {
  const int64_t all[2] = {r->batch, r->gates * r->hidden}, one[2] = {r->batch, r->hidden};
  PARE__TRY(pare__call_scratch(r->call, r->dtype, 2, all, &direction->gate));
  PARE__TRY(pare__call_scratch(r->call, r->dtype, 2, all, &direction->other));
  return pare__call_scratch(r->call, r->dtype, 2, one, &direction->part);
}

/* [batch, hidden] of direction d of an initial or last state. */
static pare_status state_of(const pare__recurrent *r, pare_tensor *states, int d, pare_tensor **out) {
  return pare__call_at(r->call, states, r->batch_first ? 1 : 0, d, out);
}

/* Scratch that begins with the initial state of input i, or zeros. */
static pare_status begin_state(const pare__recurrent *r, unsigned i, int d, pare_tensor **out) {
  pare_tensor *initial;
  PARE__TRY(pare__call_tensor(r->call, i, &initial));
  if (initial) PARE__TRY(state_of(r, initial, d, &initial));
  PARE__TRY(pare__call_scratch(r->call, r->dtype, 2, (const int64_t[]){r->batch, r->hidden}, out));
  return pare_copy(initial ? initial : r->zero, *out);
}

/* All steps; y: [steps, batch, hidden]. *h and *c are the states after the last. */
static pare_status run_steps(const pare__recurrent *r, const pare__recurrent_direction *direction, pare_tensor *x,
                             pare_tensor *y, pare_tensor **h, pare_tensor *c) {
  pare__call *call = r->call;
  pare_tensor *new_h, *new_c = c, *state = *h, *x_step, *y_step, *mask;
  const int64_t dim[2] = {r->batch, r->hidden};
  if (r->mask) PARE__TRY(pare__call_scratch(call, r->dtype, 2, dim, &new_h));
  if (r->mask && c) PARE__TRY(pare__call_scratch(call, r->dtype, 2, dim, &new_c));
  for (int64_t i = 0; i < r->steps; i++) {
    const int64_t t = direction->reverse ? r->steps - 1 - i : i;
    PARE__TRY(pare__call_at(call, x, 0, t, &x_step));
    PARE__TRY(pare__call_at(call, y, 0, t, &y_step));
    if (!r->mask) {
      PARE__TRY(pare__recurrent_step(r, direction, x_step, state, c, y_step, new_c));
      state = y_step;
      continue;
    }
    PARE__TRY(pare__recurrent_step(r, direction, x_step, state, c, new_h, new_c));
    PARE__TRY(pare__call_at(call, r->mask, 0, t, &mask));
    PARE__TRY(pare_ternary(PARE_TERNARY_where, mask, new_h, r->zero, y_step));
    PARE__TRY(pare_ternary(PARE_TERNARY_where, mask, new_h, state, state));
    if (c) PARE__TRY(pare_ternary(PARE_TERNARY_where, mask, new_c, c, c));
  }
  *h = state;
  return PARE_OK;
}

/* y: [steps, batch, hidden]; last_h and last_c [batch, hidden]. */
static pare_status run_direction(const pare__recurrent *r, int d, pare_tensor *y, pare_tensor *last_h,
                                 pare_tensor *last_c) {
  pare__call *call = r->call;
  const int64_t columns = r->gates * r->hidden;
  pare__recurrent_direction direction = {.index = d};
  direction.reverse = d == 1 || pare__call_text_is(call, "direction", "forward", "reverse");
  PARE__TRY(pare__recurrent_functions(r, &direction));
  PARE__TRY(pare__recurrent_take_weights(r, &direction));
  PARE__TRY(take_bias(r, &direction));
  PARE__TRY(take_scratch(r, &direction));
  pare_tensor *x, *h, *c = NULL;
  PARE__TRY(pare__call_scratch(call, r->dtype, 2, (const int64_t[]){r->steps * r->batch, columns}, &x));
  PARE__TRY(pare__gate_product(&direction.input, r->x, direction.input_bias, x));
  PARE__TRY(pare__call_reshaped(call, x, 3, (const int64_t[]){r->steps, r->batch, columns}, &x));
  PARE__TRY(begin_state(r, PARE__RECURRENT_INITIAL_H, d, &h));
  if (r->cell == PARE__CELL_LSTM) PARE__TRY(begin_state(r, PARE__RECURRENT_INITIAL_C, d, &c));
  bool done;
  PARE__TRY(pare__recurrent_at_once(r, &direction, x, h, c, y, &done));
  if (!done) PARE__TRY(run_steps(r, &direction, x, y, &h, c));
  PARE__TRY(pare_copy(h, last_h));
  return c ? pare_copy(c, last_c) : PARE_OK;
}

static pare_status recurrent(pare__call *call) {
  pare__recurrent r;
  PARE__TRY(read_call(call, &r));
  const int64_t all[2][4] = {{r.steps, r.directions, r.batch, r.hidden}, {r.batch, r.steps, r.directions, r.hidden}};
  const int64_t state[2][3] = {{r.directions, r.batch, r.hidden}, {r.batch, r.directions, r.hidden}};
  pare_tensor *y, *y_h, *y_c = NULL;
  PARE__TRY(pare__call_output(call, Y, r.dtype, 4, all[r.batch_first], &y));
  PARE__TRY(pare__call_output(call, Y_H, r.dtype, 3, state[r.batch_first], &y_h));
  if (r.cell == PARE__CELL_LSTM) PARE__TRY(pare__call_output(call, Y_C, r.dtype, 3, state[r.batch_first], &y_c));
  if (r.batch_first) PARE__TRY(pare__call_permuted(call, y, (const int[]){1, 2, 0, 3}, &y));
  for (int d = 0; d < r.directions; d++) {
    pare_tensor *part, *last_h, *last_c = NULL;
    PARE__TRY(pare__call_at(call, y, 1, d, &part));
    PARE__TRY(state_of(&r, y_h, d, &last_h));
    if (y_c) PARE__TRY(state_of(&r, y_c, d, &last_c));
    PARE__TRY(run_direction(&r, d, part, last_h, last_c));
  }
  return PARE_OK;
}

/* ---- ReverseSequence ---- */

/* out[t][b] = x[t < length[b] ? length[b] - 1 - t : t][b] */
static pare_status reverse_sequence(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  pare_tensor *x, *lengths, *time, *one, *back, *inside, *index, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &lengths));
  const int64_t time_axis = pare__call_get_int(call, "time_axis", 0);
  const int64_t batch_axis = pare__call_get_int(call, "batch_axis", 1);
  const pare__shape *shape = &x->shape;
  if (time_axis == batch_axis || time_axis < 0 || batch_axis < 0 || PARE__MAX(time_axis, batch_axis) >= shape->rank)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "axes %lld for time and %lld for the batch of an input of rank %d",
                           (long long)time_axis, (long long)batch_axis, shape->rank);
  if (lengths->shape.rank != 1 || lengths->shape.dim[0] != shape->dim[batch_axis])
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld lengths for a batch of %lld",
                           (long long)pare__shape_elements(&lengths->shape), (long long)shape->dim[batch_axis]);
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < shape->rank; d++) dim[d] = d == batch_axis ? shape->dim[d] : 1;
  PARE__TRY(pare__call_cast(call, lengths, PARE_I64, &lengths));
  PARE__TRY(pare__call_reshaped(call, lengths, shape->rank, dim, &lengths));
  PARE__TRY(pare__call_range(call, PARE_I64, shape->dim[time_axis], shape->rank, (int)time_axis, &time));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 1, &one));
  dim[time_axis] = shape->dim[time_axis];
  PARE__TRY(pare__call_scratch(call, PARE_I64, shape->rank, dim, &back));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, shape->rank, dim, &inside));
  PARE__TRY(pare_binary(PARE_BINARY_less, time, lengths, inside));
  PARE__TRY(pare_binary(PARE_BINARY_sub, lengths, time, back));
  PARE__TRY(pare_binary(PARE_BINARY_sub, back, one, back));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, inside, back, time, back));
  PARE__TRY(pare__call_broadcast(call, back, shape->rank, shape->dim, &index));
  PARE__TRY(pare__call_output(call, 0, x->dtype, shape->rank, shape->dim, &out));
  return pare_gather_elements(x, index, (int)time_axis, out);
}

#define CELL(op, cell) \
  { "", op, 7, 0, PARE__ON_DEVICE, recurrent, NULL, pare__recurrent_prepare, cell, "floats" }
const pare__operator pare__operators_sequence[] = {
    CELL("RNN", PARE__CELL_RNN),
    CELL("GRU", PARE__CELL_GRU),
    CELL("LSTM", PARE__CELL_LSTM),
    {"com.microsoft", "DynamicQuantizeLSTM", 1, 0, PARE__ON_DEVICE, recurrent, NULL, pare__recurrent_prepare,
     PARE__CELL_LSTM | PARE__CELL_QUANTISED, "f32"},
    {"", "ReverseSequence", 10, 0, PARE__ON_DEVICE, reverse_sequence, NULL, .types = "any"},
    {0},
};
