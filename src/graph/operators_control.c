/* If, Loop and Scan: operators that run subgraphs. SPDX-License-Identifier: Apache-2.0 */
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

#include "graph/operator_tables.h"
#include "graph/run.h"

/* ---- If ---- */

/* A condition that is known beforehand is planned; any other is looked at in the run. */
static pare_status branch(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  int64_t condition;
  const pare__graph *graph;
  PARE__TRY(pare__call_int(call, 0, &condition));
  PARE__TRY(pare__call_subgraph(call, condition ? "then_branch" : "else_branch", &graph));
  if (graph->noutputs < call->noutputs)
    return pare__call_fail(call, PARE_ERR_FORMAT, "its branch has %u outputs, the node %u", graph->noutputs,
                           call->noutputs);
  PARE__TRY(pare__call_run(call, graph));
  for (unsigned i = 0; i < call->noutputs; i++)
    if (pare__call_wants(call, i)) PARE__TRY(pare__slot_copy(pare__call_slot(call, graph->output[i]), call->output[i]));
  return PARE_OK;
}

/* ---- stacking what each iteration makes ---- */

/* Results of iterations, one after the other along a new axis. */
typedef struct stack {
  size_t count, capacity;
  pare_tensor **item;
} stack;

static void stack_clear(stack *s) {
  for (size_t i = 0; i < s->count; i++) pare_tensor_close(s->item[i]);
  free(s->item);
  *s = (stack){0};
}

/* The slot as a tensor, made if only the host knows it. */
static pare_status slot_tensor(pare__call *call, pare__slot *slot, pare_tensor **out) {
  if (slot->tensor) return pare__tensor_handle(slot->tensor, out);
  const pare__content *content = slot->content;
  if (!content) return pare__call_fail(call, PARE_ERR_FORMAT, "an output of its body was left out");
  return pare_tensor_from(call->context, content->dtype, content->shape.rank, content->shape.dim, content->data,
                          content->nbytes, out);
}

static pare_status stack_push(pare__call *call, stack *s, pare__slot *slot) {
  PARE__TRY(pare__array_grow((void **)&s->item, &s->capacity, s->count, sizeof(pare_tensor *)));
  PARE__TRY(slot_tensor(call, slot, &s->item[s->count]));
  s->count++;
  return PARE_OK;
}

/* Output i = all items along a new axis, the last first if reversed. */
static pare_status stack_give(pare__call *call, unsigned i, const stack *s, int axis, bool reversed) {
  if (!pare__call_wants(call, i)) return PARE_OK;
  const pare__shape *shape = &s->item[0]->shape;
  if (shape->rank + 1 > PARE_MAX_RANK || axis > shape->rank)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "output %u would have rank %d", i, shape->rank + 1);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, shape->dim, (size_t)axis * sizeof *dim);
  dim[axis] = (int64_t)s->count;
  memcpy(dim + axis + 1, shape->dim + axis, (size_t)(shape->rank - axis) * sizeof *dim);
  pare_tensor *out;
  PARE__TRY(pare__call_output(call, i, s->item[0]->dtype, shape->rank + 1, dim, &out));
  dim[axis] = 1;
  for (size_t k = 0; k < s->count; k++) {
    pare_tensor *part = NULL, *item = NULL;
    const int64_t place = (int64_t)(reversed ? s->count - 1 - k : k);
    pare_status status = pare__contiguous(s->item[k], &item);
    if (status == PARE_OK) status = pare_tensor_slice(out, axis, place, 1, 1, &part);
    pare_tensor *seen = NULL;
    if (status == PARE_OK) status = pare_tensor_reshape(item, shape->rank + 1, dim, &seen);
    if (status == PARE_OK) status = pare_copy(seen, part);
    pare_tensor_close(seen);
    pare_tensor_close(part);
    pare_tensor_close(item);
    PARE__TRY(status);
  }
  return PARE_OK;
}

/* An iteration never ran: an output of no rows, of the rank that the body declares. */
static pare_status give_empty(pare__call *call, unsigned i, int32_t id) {
  if (!pare__call_wants(call, i)) return PARE_OK;
  const pare__value *value = &call->state->model->network->value[id];
  pare_dtype dtype = PARE_F32;
  (void)pare__onnx_dtype_to_pare(value->onnx_dtype, &dtype);
  int64_t dim[PARE_MAX_RANK] = {0};
  const int rank = PARE__MIN(PARE__MAX(value->rank, 0) + 1, PARE_MAX_RANK);
  for (int d = 1; d < rank; d++) dim[d] = PARE__MAX(value->dim[d - 1], 0);
  pare_tensor *out;
  return pare__call_output(call, i, dtype, rank, dim, &out);
}

/* What the iterations pass on: copies of slots, so that a body may permute them. */
static void slots_clear(pare__slot *slots, unsigned count) {
  for (unsigned i = 0; i < count && slots; i++) pare__slot_clear(&slots[i]);
  free(slots);
}

/* ---- Loop ---- */

typedef struct loop {
  pare__call *call;
  const pare__graph *body;
  unsigned ncarried, nstacked;
  int64_t trips, limit; /* trips -1: no number given */
  bool condition;
  pare__slot *carried;
  stack *stacked;
} loop;

static pare_status loop_begin(pare__call *call, loop *out) {
  *out = (loop){.call = call, .trips = -1, .condition = true};
  PARE__TRY(pare__call_subgraph(call, "body", &out->body));
  out->limit = call->state->model->options.loop_limit ? (int64_t)call->state->model->options.loop_limit : INT32_MAX;
  out->ncarried = call->ninputs > 2 ? call->ninputs - 2 : 0;
  if (out->body->ninputs != out->ncarried + 2 || out->body->noutputs < out->ncarried + 1 ||
      out->body->noutputs - 1 < call->noutputs)
    return pare__call_fail(call, PARE_ERR_FORMAT,
                           "its body has %u inputs and %u outputs, which does not fit %u carried values and %u outputs",
                           out->body->ninputs, out->body->noutputs, out->ncarried, call->noutputs);
  out->nstacked = out->body->noutputs - 1 - out->ncarried;
  if (pare__call_has(call, 0)) PARE__TRY(pare__call_int(call, 0, &out->trips));
  if (pare__call_has(call, 1)) {
    int64_t condition;
    PARE__TRY(pare__call_int(call, 1, &condition));
    out->condition = condition != 0;
  }
  out->carried = calloc(out->ncarried + 1U, sizeof *out->carried);
  out->stacked = calloc(out->nstacked + 1U, sizeof *out->stacked);
  if (!out->carried || !out->stacked) return pare__fail_memory("a loop", out->ncarried * sizeof *out->carried);
  for (unsigned i = 0; i < out->ncarried; i++)
    if (call->input[i + 2]) PARE__TRY(pare__slot_copy(call->input[i + 2], &out->carried[i]));
  return PARE_OK;
}

static pare_status set_number(pare__call *call, int32_t id, pare_dtype dtype, int64_t value) {
  pare__slot slot = {.dtype = dtype};
  const uint8_t truth = value != 0;
  PARE__TRY(pare__content_create(dtype, 0, NULL, dtype == PARE_BOOL ? (const void *)&truth : &value, &slot.content));
  slot.shape = slot.content->shape;
  const pare_status status = pare__call_set(call, id, &slot);
  pare__slot_clear(&slot);
  return status;
}

/* The condition that the body made. */
static pare_status read_condition(pare__call *call, pare__slot *slot, bool *out) {
  uint8_t truth = 0;
  if (slot->dtype != PARE_BOOL || pare__shape_elements(&slot->shape) != 1)
    return pare__call_fail(call, PARE_ERR_TYPE, "the condition that its body makes is not one bool");
  if (slot->content)
    truth = pare__content_int(slot->content, 0) != 0;
  else
    PARE__TRY(pare_tensor_read(slot->tensor, &truth, 1));
  *out = truth != 0;
  return PARE_OK;
}

static pare_status loop_step(loop *l, int64_t iteration) {
  pare__call *call = l->call;
  PARE__TRY(set_number(call, l->body->input[0], PARE_I64, iteration));
  PARE__TRY(set_number(call, l->body->input[1], PARE_BOOL, l->condition));
  for (unsigned i = 0; i < l->ncarried; i++) PARE__TRY(pare__call_set(call, l->body->input[i + 2], &l->carried[i]));
  PARE__TRY(pare__call_run(call, l->body));
  PARE__TRY(read_condition(call, pare__call_slot(call, l->body->output[0]), &l->condition));
  for (unsigned i = 0; i < l->ncarried; i++)
    PARE__TRY(pare__slot_copy(pare__call_slot(call, l->body->output[i + 1]), &l->carried[i]));
  for (unsigned i = 0; i < l->nstacked; i++)
    PARE__TRY(stack_push(call, &l->stacked[i], pare__call_slot(call, l->body->output[1 + l->ncarried + i])));
  return PARE_OK;
}

static pare_status loop_give(loop *l) {
  pare__call *call = l->call;
  for (unsigned i = 0; i < call->noutputs; i++) {
    if (i < l->ncarried) {
      if (pare__call_wants(call, i)) PARE__TRY(pare__slot_copy(&l->carried[i], call->output[i]));
    } else if (l->stacked[i - l->ncarried].count == 0) {
      PARE__TRY(give_empty(call, i, l->body->output[1 + i]));
    } else {
      PARE__TRY(stack_give(call, i, &l->stacked[i - l->ncarried], 0, false));
    }
  }
  return PARE_OK;
}

static pare_status loop_run(pare__call *call) {
  PARE__TRY(pare__call_check(call, 0, UINT16_MAX));
  PARE__TRY(pare__call_at_once(call));
  loop l;
  pare_status status = loop_begin(call, &l);
  for (int64_t i = 0; status == PARE_OK && l.condition && (l.trips < 0 || i < l.trips); i++)
    status = i < l.limit ? loop_step(&l, i)
                         : pare__call_fail(call, PARE_ERR_LIMIT,
                                           "it did not end in %lld iterations, the limit of "
                                           "the model's options",
                                           (long long)l.limit);
  if (status == PARE_OK) status = loop_give(&l);
  slots_clear(l.carried, l.ncarried);
  for (unsigned i = 0; i < l.nstacked && l.stacked; i++) stack_clear(&l.stacked[i]);
  free(l.stacked);
  return status;
}

/* ---- Scan ---- */

typedef struct scan {
  pare__call *call;
  const pare__graph *body;
  unsigned first; /* input where the states begin */
  unsigned nstates, nscans, nstacked;
  int axis[64]; /* of the scanned inputs */
  bool backward[64];
  int64_t steps;
  pare__slot *state;
  stack *stacked;
} scan;

static pare_status scan_directions(const pare__call *call, const char *name, unsigned count, bool *out) {
  int64_t given[64];
  size_t ngiven;
  PARE__TRY(pare__call_get_ints(call, name, given, 64, &ngiven));
  for (unsigned i = 0; i < count; i++) out[i] = i < ngiven && given[i] != 0;
  return PARE_OK;
}

static pare_status scan_axes(scan *s) {
  int64_t given[64];
  size_t ngiven;
  PARE__TRY(pare__call_get_ints(s->call, "scan_input_axes", given, 64, &ngiven));
  s->steps = -1;
  for (unsigned i = 0; i < s->nscans; i++) {
    const pare__slot *slot = s->call->input[s->first + s->nstates + i];
    if (!slot) return pare__call_fail(s->call, PARE_ERR_FORMAT, "a scanned input is left out");
    PARE__TRY(pare__call_axis(s->call, i < ngiven ? given[i] : 0, slot->shape.rank, &s->axis[i]));
    const int64_t length = slot->shape.dim[s->axis[i]];
    if (s->steps >= 0 && length != s->steps)
      return pare__call_fail(s->call, PARE_ERR_SHAPE, "its scanned inputs have the lengths %lld and %lld",
                             (long long)s->steps, (long long)length);
    s->steps = length;
  }
  return PARE_OK;
}

static pare_status scan_begin(pare__call *call, scan *out) {
  *out = (scan){.call = call, .first = call->node->opset < 9 ? 1 : 0};
  PARE__TRY(pare__call_subgraph(call, "body", &out->body));
  const int64_t nscans = pare__call_get_int(call, "num_scan_inputs", 0);
  const int64_t nstates = (int64_t)call->ninputs - out->first - nscans;
  if (nscans < 1 || nscans > 64 || nstates < 0 || out->body->ninputs != nstates + nscans ||
      out->body->noutputs < nstates || out->body->noutputs - nstates > 64 || call->noutputs > out->body->noutputs)
    return pare__call_fail(call, PARE_ERR_FORMAT, "%lld scanned inputs do not fit a body of %u inputs and %u outputs",
                           (long long)nscans, out->body->ninputs, out->body->noutputs);
  out->nscans = (unsigned)nscans;
  out->nstates = (unsigned)nstates;
  out->nstacked = out->body->noutputs - out->nstates;
  PARE__TRY(scan_axes(out));
  PARE__TRY(scan_directions(call, "scan_input_directions", out->nscans, out->backward));
  out->state = calloc(out->nstates + 1U, sizeof *out->state);
  out->stacked = calloc(out->nstacked + 1U, sizeof *out->stacked);
  if (!out->state || !out->stacked) return pare__fail_memory("a scan", out->nstates * sizeof *out->state);
  for (unsigned i = 0; i < out->nstates; i++)
    if (call->input[out->first + i]) PARE__TRY(pare__slot_copy(call->input[out->first + i], &out->state[i]));
  return PARE_OK;
}

/* One step of a scanned input, without the axis. */
static pare_status scanned(scan *s, unsigned i, int64_t step, pare__slot *out) {
  pare_tensor *tensor, *part;
  PARE__TRY(pare__call_tensor(s->call, s->first + s->nstates + i, &tensor));
  const int64_t at = s->backward[i] ? s->steps - 1 - step : step;
  PARE__TRY(pare_tensor_slice(tensor, s->axis[i], at, 1, 1, &part));
  for (int d = s->axis[i]; d + 1 < part->shape.rank; d++) {
    part->shape.dim[d] = part->shape.dim[d + 1];
    part->shape.stride[d] = part->shape.stride[d + 1];
  }
  part->shape.rank--;
  *out = (pare__slot){.dtype = part->dtype, .shape = part->shape, .tensor = part};
  return PARE_OK;
}

static pare_status scan_step(scan *s, int64_t step) {
  for (unsigned i = 0; i < s->nstates; i++) PARE__TRY(pare__call_set(s->call, s->body->input[i], &s->state[i]));
  for (unsigned i = 0; i < s->nscans; i++) {
    pare__slot slot;
    PARE__TRY(scanned(s, i, step, &slot));
    const pare_status status = pare__call_set(s->call, s->body->input[s->nstates + i], &slot);
    pare__slot_clear(&slot);
    PARE__TRY(status);
  }
  PARE__TRY(pare__call_run(s->call, s->body));
  for (unsigned i = 0; i < s->nstates; i++)
    PARE__TRY(pare__slot_copy(pare__call_slot(s->call, s->body->output[i]), &s->state[i]));
  for (unsigned i = 0; i < s->nstacked; i++)
    PARE__TRY(stack_push(s->call, &s->stacked[i], pare__call_slot(s->call, s->body->output[s->nstates + i])));
  return PARE_OK;
}

static pare_status scan_give(scan *s) {
  bool reversed[64];
  int64_t axes[64];
  size_t naxes;
  PARE__TRY(scan_directions(s->call, "scan_output_directions", s->nstacked, reversed));
  PARE__TRY(pare__call_get_ints(s->call, "scan_output_axes", axes, 64, &naxes));
  for (unsigned i = 0; i < s->call->noutputs; i++) {
    if (i < s->nstates) {
      if (pare__call_wants(s->call, i)) PARE__TRY(pare__slot_copy(&s->state[i], s->call->output[i]));
      continue;
    }
    const unsigned k = i - s->nstates;
    if (s->stacked[k].count == 0) {
      PARE__TRY(give_empty(s->call, i, s->body->output[i]));
      continue;
    }
    int axis;
    PARE__TRY(pare__call_axis(s->call, k < naxes ? axes[k] : 0, s->stacked[k].item[0]->shape.rank + 1, &axis));
    PARE__TRY(stack_give(s->call, i, &s->stacked[k], axis, reversed[k]));
  }
  return PARE_OK;
}

/* A part of every batch item's input: opset 8 has a batch in front of all. */
static pare_status refuse_batches(const pare__call *call) {
  for (unsigned i = 1; i < call->ninputs; i++)
    if (call->input[i] && (call->input[i]->shape.rank < 1 || call->input[i]->shape.dim[0] != 1))
      return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "Scan of opset 8 with a batch other than 1");
  return PARE_OK;
}

static pare_status scan_run(pare__call *call) {
  PARE__TRY(pare__call_check(call, 0, UINT16_MAX));
  scan s;
  pare_status status = scan_begin(call, &s);
  for (int64_t i = 0; status == PARE_OK && i < s.steps; i++) status = scan_step(&s, i);
  if (status == PARE_OK) status = scan_give(&s);
  slots_clear(s.state, s.nstates);
  for (unsigned i = 0; i < s.nstacked && s.stacked; i++) stack_clear(&s.stacked[i]);
  free(s.stacked);
  return status;
}

/* Opset 8: a batch in front of everything, here of 1, which is taken off before and put back after. */
static pare_status scan_run_8(pare__call *call) {
  PARE__TRY(refuse_batches(call));
  pare__slot inputs[64] = {0}, *input[64] = {NULL}, *const *given = call->input;
  if (call->ninputs > 64) return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "it has %u inputs", call->ninputs);
  pare_status status = PARE_OK;
  for (unsigned i = 1; i < call->ninputs && status == PARE_OK; i++) {
    if (!given[i]) continue;
    pare_tensor *tensor;
    status = pare__call_tensor(call, i, &tensor);
    if (status == PARE_OK) status = pare_tensor_slice(tensor, 0, 0, 1, 1, &inputs[i].tensor);
    if (status != PARE_OK) break;
    pare__shape *shape = &inputs[i].tensor->shape;
    memmove(shape->dim, shape->dim + 1, (size_t)(shape->rank - 1) * sizeof *shape->dim);
    memmove(shape->stride, shape->stride + 1, (size_t)(shape->rank - 1) * sizeof *shape->stride);
    shape->rank--;
    inputs[i].dtype = tensor->dtype;
    inputs[i].shape = *shape;
    input[i] = &inputs[i];
  }
  call->input = input;
  if (status == PARE_OK) status = scan_run(call);
  call->input = given;
  for (unsigned i = 0; i < call->noutputs && status == PARE_OK; i++) {
    if (!pare__call_wants(call, i)) continue;
    pare_tensor *made = NULL, *compact = NULL, *batch = NULL;
    status = slot_tensor(call, call->output[i], &made);
    if (status == PARE_OK) status = pare__contiguous(made, &compact);
    int64_t dim[PARE_MAX_RANK] = {1};
    if (status == PARE_OK && made->shape.rank + 1 <= PARE_MAX_RANK) {
      memcpy(dim + 1, made->shape.dim, (size_t)made->shape.rank * sizeof *dim);
      status = pare_tensor_reshape(compact, made->shape.rank + 1, dim, &batch);
    }
    if (status == PARE_OK) status = pare__call_give(call, i, batch);
    pare_tensor_close(made);
    pare_tensor_close(compact);
  }
  for (unsigned i = 0; i < call->ninputs; i++) pare__slot_clear(&inputs[i]);
  return status;
}

const pare__operator pare__operators_control[] = {
    {"", "If", 1, 0, PARE__IS_CONTROL, branch, NULL, .types = "any"},
    {"", "Loop", 1, 0, PARE__IS_CONTROL, loop_run, NULL, .types = "any"},
    {"", "Scan", 8, 8, PARE__IS_CONTROL, scan_run_8, NULL, .types = "any"},
    {"", "Scan", 9, 0, PARE__IS_CONTROL, scan_run, NULL, .types = "any"},
    {0},
};
