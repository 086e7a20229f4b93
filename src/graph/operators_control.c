/* Loop and Scan: operators that run a subgraph many times. SPDX-License-Identifier: Apache-2.0 */
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

#include "graph/estimate.h"
#include "graph/operator_tables.h"
#include "graph/run.h"

/* ---- how long ---- */

#define MOST_ITERATIONS 100000       /* where neither the caller nor the model says how many */
#define MOST_ITERATIONS_SAID 1000000 /* that the model may name by itself */
#define MOST_PLANNED_STEPS 1000      /* a longer Scan is run at once: a plan of it would be larger than its work */

/* The most iterations of the node, which itself says that there are `said`; -1: it does not. */
static int64_t most_iterations(const pare__call *call, int64_t said) {
  const uint64_t given = call->state->model->options.loop_limit;
  if (given > 0) return given > INT64_MAX ? INT64_MAX : (int64_t)given;
  return said > MOST_ITERATIONS && said <= MOST_ITERATIONS_SAID ? said : MOST_ITERATIONS;
}

static pare_status too_many(const pare__call *call, int64_t limit) {
  return pare__call_fail(call, PARE_ERR_LIMIT,
                         "it did not end in %lld iterations, the limit (loop_limit of the model's options, "
                         "--loop-limit of the commands)",
                         (long long)limit);
}

/* ---- stacking what each iteration makes ---- */

/* Results of iterations, one after the other along a new axis: on the host what the host knows, since a buffer of the
 * device for every number would take more than the numbers. */
typedef struct stack {
  size_t count, capacity;
  pare__slot *item;
} stack;

static void stack_clear(stack *s) {
  for (size_t i = 0; i < s->count; i++) pare__slot_clear(&s->item[i]);
  free(s->item);
  *s = (stack){0};
}

/* The slot as a tensor, made if only the host knows it. */
static pare_status slot_tensor(pare__call *call, const pare__slot *slot, pare_tensor **out) {
  if (slot->tensor) return pare__tensor_handle(slot->tensor, out);
  const pare__content *content = slot->content;
  if (!content) return pare__call_fail(call, PARE_ERR_FORMAT, "an output of its body was left out");
  return pare_tensor_from(call->context, content->dtype, content->shape.rank, content->shape.dim, content->data,
                          content->nbytes, out);
}

/* Items of one output have one dtype and one shape. */
static pare_status stack_push(pare__call *call, stack *s, const pare__slot *slot) {
  if (!slot->tensor && !slot->content)
    return pare__call_fail(call, PARE_ERR_FORMAT, "an output of its body was left out");
  const pare__shape *first = s->count > 0 ? &s->item[0].shape : &slot->shape;
  char text[2][PARE__SHAPE_TEXT];
  if (s->count > 0 && s->item[0].dtype != slot->dtype)
    return pare__call_fail(call, PARE_ERR_TYPE, "what its body makes was %s, and is %s in iteration %zu",
                           pare_dtype_name(s->item[0].dtype), pare_dtype_name(slot->dtype), s->count);
  if (first->rank != slot->shape.rank ||
      memcmp(first->dim, slot->shape.dim, (size_t)first->rank * sizeof *first->dim) != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "what its body makes had the shape %s, and has %s in iteration %zu",
                           pare__shape_text(first->rank, first->dim, text[0], sizeof text[0]),
                           pare__shape_text(slot->shape.rank, slot->shape.dim, text[1], sizeof text[1]), s->count);
  PARE__TRY(pare__array_grow((void **)&s->item, &s->capacity, s->count, sizeof *s->item));
  s->item[s->count] = (pare__slot){0};
  return pare__slot_copy(slot, &s->item[s->count++]);
}

/* Output i is what the host knows of all items. */
static pare_status stack_give_content(pare__call *call, unsigned i, const stack *s, int axis, const int64_t *dim,
                                      bool reversed) {
  const pare__shape *shape = &s->item[0].shape;
  pare__content *all;
  size_t inner = pare_dtype_bytes(s->item[0].dtype), outer = 1;
  for (int d = 0; d < axis; d++) outer *= (size_t)shape->dim[d];
  for (int d = axis; d < shape->rank; d++) inner *= (size_t)shape->dim[d];
  PARE__TRY(pare__content_create(s->item[0].dtype, shape->rank + 1, dim, NULL, &all));
  char *to = all->owned;
  for (size_t o = 0; o < outer; o++)
    for (size_t k = 0; k < s->count; k++, to += inner) {
      const pare__content *item = s->item[reversed ? s->count - 1 - k : k].content;
      if (inner > 0) memcpy(to, (const char *)item->data + o * inner, inner);
    }
  return pare__call_give_content(call, i, all);
}

/* Item k goes to its place along the axis. */
static pare_status stack_place(pare__call *call, const stack *s, size_t k, pare_tensor *out, int axis, int64_t place) {
  pare_tensor *made = NULL, *item = NULL, *part = NULL, *seen = NULL;
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, out->shape.dim, sizeof dim);
  dim[axis] = 1;
  pare_status status = slot_tensor(call, &s->item[k], &made);
  if (status == PARE_OK) status = pare__contiguous(made, &item);
  if (status == PARE_OK) status = pare_tensor_slice(out, axis, place, 1, 1, &part);
  if (status == PARE_OK) status = pare_tensor_reshape(item, out->shape.rank, dim, &seen);
  if (status == PARE_OK) status = pare_copy(seen, part);
  pare_tensor_close(seen);
  pare_tensor_close(part);
  pare_tensor_close(item);
  pare_tensor_close(made);
  return status;
}

/* Output i = all items along a new axis, the last first if reversed. */
static pare_status stack_give(pare__call *call, unsigned i, const stack *s, int axis, bool reversed) {
  if (!pare__call_wants(call, i)) return PARE_OK;
  if (s->count == 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "output %u stacks nothing: its shape is not known", i);
  const pare__shape *shape = &s->item[0].shape;
  if (shape->rank + 1 > PARE_MAX_RANK || axis > shape->rank)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "output %u would have rank %d", i, shape->rank + 1);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, shape->dim, (size_t)axis * sizeof *dim);
  dim[axis] = (int64_t)s->count;
  memcpy(dim + axis + 1, shape->dim + axis, (size_t)(shape->rank - axis) * sizeof *dim);
  bool on_host = true;
  for (size_t k = 0; k < s->count; k++) on_host = on_host && s->item[k].content;
  if (on_host) return stack_give_content(call, i, s, axis, dim, reversed);
  pare_tensor *out;
  PARE__TRY(pare__call_output(call, i, s->item[0].dtype, shape->rank + 1, dim, &out));
  for (size_t k = 0; k < s->count; k++)
    PARE__TRY(stack_place(call, s, k, out, axis, (int64_t)(reversed ? s->count - 1 - k : k)));
  return PARE_OK;
}

/* An iteration never ran: an output of no rows, of the rank that the body declares. */
static pare_status give_empty(pare__call *call, unsigned i, int32_t id) {
  if (!pare__call_wants(call, i)) return PARE_OK;
  const pare__value *value = &call->state->model->network->value[id];
  pare_dtype dtype = PARE_F32;
  (void)pare__held_dtype(value->onnx_dtype, &dtype);
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

static void loop_close(loop *l) {
  slots_clear(l->carried, l->ncarried);
  for (unsigned i = 0; i < l->nstacked && l->stacked; i++) stack_clear(&l->stacked[i]);
  free(l->stacked);
}

/* All but what must be read: how often it goes round. */
static pare_status loop_open(pare__call *call, loop *out) {
  *out = (loop){.call = call, .trips = -1, .condition = true};
  PARE__TRY(pare__call_subgraph(call, "body", &out->body));
  out->ncarried = call->ninputs > 2 ? call->ninputs - 2 : 0;
  if (out->body->ninputs != out->ncarried + 2 || out->body->noutputs < out->ncarried + 1 ||
      out->body->noutputs - 1 < call->noutputs)
    return pare__call_fail(call, PARE_ERR_FORMAT,
                           "its body has %u inputs and %u outputs, which does not fit %u carried values and %u outputs",
                           out->body->ninputs, out->body->noutputs, out->ncarried, call->noutputs);
  out->nstacked = out->body->noutputs - 1 - out->ncarried;
  out->carried = calloc(out->ncarried + 1U, sizeof *out->carried);
  out->stacked = calloc(out->nstacked + 1U, sizeof *out->stacked);
  if (!out->carried || !out->stacked) return pare__fail_memory("a loop", out->ncarried * sizeof *out->carried);
  for (unsigned i = 0; i < out->ncarried; i++)
    if (call->input[i + 2]) PARE__TRY(pare__slot_copy(call->input[i + 2], &out->carried[i]));
  return PARE_OK;
}

static pare_status loop_begin(pare__call *call, loop *out) {
  PARE__TRY(loop_open(call, out));
  if (pare__call_has(call, 0)) PARE__TRY(pare__call_int(call, 0, &out->trips));
  out->limit = most_iterations(call, out->trips);
  if (pare__call_has(call, 1)) {
    int64_t condition;
    PARE__TRY(pare__call_int(call, 1, &condition));
    out->condition = condition != 0;
  }
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
  /* a body may have no nodes */
  PARE__TRY(pare__model_go_on(call->state->model, "iteration %lld", (long long)iteration));
  PARE__TRY(set_number(call, l->body->input[0], PARE_I64, iteration));
  PARE__TRY(set_number(call, l->body->input[1], PARE_BOOL, l->condition));
  for (unsigned i = 0; i < l->ncarried; i++) PARE__TRY(pare__call_set(call, l->body->input[i + 2], &l->carried[i]));
  call->state->iterations++;
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

/* ---- how large the values of a Loop become ---- */

/* In an estimate the body is run for its shapes, knowing nothing in which iterations differ: when no carried value has
 * another shape than before, none that follows will. Results have the largest of the shapes on the way, since any
 * iteration may be the last. */
enum { MOST_ITERATIONS_TO_REST = 100 };

static pare_status set_unknown(pare__call *call, int32_t id, pare_dtype dtype) {
  pare__slot slot = {.dtype = dtype};
  PARE__TRY(pare_tensor_create(call->context, dtype, 0, NULL, &slot.tensor));
  slot.shape = slot.tensor->shape;
  const pare_status status = pare__call_set(call, id, &slot);
  pare__slot_clear(&slot);
  return status;
}

/* One iteration. *rests: carried values have the shapes that they had before; largest: of each so far. */
static pare_status bound_step(loop *l, pare__shape *largest, bool *rests) {
  pare__call *call = l->call;
  PARE__TRY(pare__model_go_on(call->state->model, "an estimate of a loop"));
  PARE__TRY(set_unknown(call, l->body->input[0], PARE_I64));
  PARE__TRY(set_unknown(call, l->body->input[1], PARE_BOOL));
  for (unsigned i = 0; i < l->ncarried; i++) {
    const bool passed_on = l->body->output[i + 1] == l->body->input[i + 2];
    if (!passed_on) PARE__TRY(pare__estimate_forget(call, &l->carried[i]));
    PARE__TRY(pare__call_set(call, l->body->input[i + 2], &l->carried[i]));
  }
  PARE__TRY(pare__call_run(call, l->body));
  *rests = true;
  for (unsigned i = 0; i < l->ncarried; i++) {
    const pare__slot *made = pare__call_slot(call, l->body->output[i + 1]);
    if (pare__slot_empty(made) || made->shape.rank != largest[i].rank) return pare__call_at_once(call);
    for (int d = 0; d < made->shape.rank; d++) {
      *rests = *rests && made->shape.dim[d] == l->carried[i].shape.dim[d];
      largest[i].dim[d] = PARE__MAX(largest[i].dim[d], made->shape.dim[d]);
    }
    PARE__TRY(pare__slot_copy(made, &l->carried[i]));
  }
  return PARE_OK;
}

/* The items of stacked output k, which wait beside each other until they are stacked, and alike the output. */
static pare_status bound_stack(loop *l, unsigned k, pare__slot *items) {
  pare__call *call = l->call;
  const pare__slot *item = pare__call_slot(call, l->body->output[1 + l->ncarried + k]);
  int64_t dim[PARE_MAX_RANK + 1] = {PARE__MIN(l->trips, l->limit)};
  if (l->trips < 0 || pare__slot_empty(item) || item->shape.rank == PARE_MAX_RANK) return pare__call_at_once(call);
  memcpy(dim + 1, item->shape.dim, (size_t)item->shape.rank * sizeof *dim);
  pare__slot_clear(items);
  items->dtype = item->dtype;
  if (pare_tensor_create(call->context, item->dtype, item->shape.rank + 1, dim, &items->tensor) != PARE_OK)
    return pare__call_at_once(call); /* no run would stack so much */
  items->shape = items->tensor->shape;
  return pare__estimate_note(call->state, items);
}

static pare_status bound_outputs(loop *l, const pare__shape *largest, const pare__slot *items) {
  pare__call *call = l->call;
  pare_tensor *out;
  for (unsigned i = 0; i < call->noutputs; i++) {
    if (!pare__call_wants(call, i)) continue;
    if (i >= l->ncarried) {
      const pare__slot *all = &items[i - l->ncarried];
      PARE__TRY(pare__estimate_note(call->state, all));
      PARE__TRY(pare__call_output(call, i, all->dtype, all->shape.rank, all->shape.dim, &out));
      continue;
    }
    const pare__shape *shape = &l->carried[i].shape;
    if (memcmp(shape->dim, largest[i].dim, (size_t)shape->rank * sizeof *shape->dim) == 0)
      PARE__TRY(pare__slot_copy(&l->carried[i], call->output[i]));
    else
      PARE__TRY(pare__call_output(call, i, l->carried[i].dtype, shape->rank, largest[i].dim, &out));
  }
  return PARE_OK;
}

static pare_status bound_loop(loop *l, pare__shape *largest, pare__slot *items) {
  pare__call *call = l->call;
  const int64_t least = 2; /* the first passes nothing on that an iteration has made */
  const int64_t most = l->trips < 0 ? INT64_MAX : PARE__MIN(l->trips, l->limit);
  bool rests = false;
  for (unsigned i = 0; i < l->ncarried; i++) {
    if (pare__slot_empty(&l->carried[i])) return pare__call_at_once(call);
    largest[i] = l->carried[i].shape;
  }
  for (int64_t step = 0; step < most && (step < least || !rests); step++) {
    if (step == MOST_ITERATIONS_TO_REST) return pare__call_at_once(call);
    PARE__TRY(bound_step(l, largest, &rests));
    for (unsigned k = 0; k < l->nstacked; k++)
      if (pare__call_wants(call, l->ncarried + k)) PARE__TRY(bound_stack(l, k, &items[k]));
  }
  return bound_outputs(l, largest, items);
}

/* What only the run knows of how often it goes round is no number here. */
static pare_status loop_bound(pare__call *call) {
  loop l;
  pare__shape *largest = NULL;
  pare__slot *items = NULL;
  pare_status status = loop_open(call, &l);
  if (status == PARE_OK && pare__call_has(call, 0) && call->input[0]->content)
    status = pare__call_int(call, 0, &l.trips);
  l.limit = most_iterations(call, l.trips);
  if (status == PARE_OK) {
    largest = calloc(l.ncarried + 1U, sizeof *largest);
    items = calloc(l.nstacked + 1U, sizeof *items);
    status =
        largest && items ? bound_loop(&l, largest, items) : pare__fail_memory("a loop", l.ncarried * sizeof *largest);
  }
  slots_clear(items, l.nstacked);
  free(largest);
  loop_close(&l);
  return status;
}

static pare_status loop_run(pare__call *call) {
  PARE__TRY(pare__call_check(call, 0, UINT16_MAX));
  if (pare__call_bounding(call)) return loop_bound(call);
  PARE__TRY(pare__call_at_once(call));
  loop l;
  pare_status status = loop_begin(call, &l);
  for (int64_t i = 0; status == PARE_OK && l.condition && (l.trips < 0 || i < l.trips); i++)
    status = i < l.limit ? loop_step(&l, i) : too_many(call, l.limit);
  if (status == PARE_OK) status = loop_give(&l);
  loop_close(&l);
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
  int64_t steps; /* as long as the axes, or fewer */
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
  PARE__TRY(scan_directions(call, out->first ? "directions" : "scan_input_directions", out->nscans, out->backward));
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
  PARE__TRY(pare__model_go_on(s->call->state->model, "step %lld", (long long)step));
  for (unsigned i = 0; i < s->nstates; i++) PARE__TRY(pare__call_set(s->call, s->body->input[i], &s->state[i]));
  for (unsigned i = 0; i < s->nscans; i++) {
    pare__slot slot;
    PARE__TRY(scanned(s, i, step, &slot));
    const pare_status status = pare__call_set(s->call, s->body->input[s->nstates + i], &slot);
    pare__slot_clear(&slot);
    PARE__TRY(status);
  }
  s->call->state->iterations++;
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
    PARE__TRY(pare__call_axis(s->call, k < naxes ? axes[k] : 0, s->stacked[k].item[0].shape.rank + 1, &axis));
    PARE__TRY(stack_give(s->call, i, &s->stacked[k], axis, reversed[k]));
  }
  return PARE_OK;
}

/* length: of the sequences, from the beginning of the axes on; -1: the axes whole. */
static pare_status scan_sequence(pare__call *call, int64_t length) {
  scan s;
  pare_status status = scan_begin(call, &s);
  if (status == PARE_OK && length > s.steps)
    status = pare__call_fail(call, PARE_ERR_SHAPE, "a sequence is %lld long, its axis %lld", (long long)length,
                             (long long)s.steps);
  if (status == PARE_OK && length >= 0) s.steps = length;
  /* an axis can be long where there are no elements */
  const int64_t limit = status == PARE_OK ? most_iterations(call, s.steps) : 0;
  if (status == PARE_OK && s.steps > limit) status = too_many(call, limit);
  if (status == PARE_OK && s.steps > MOST_PLANNED_STEPS) status = pare__call_at_once(call);
  for (int64_t i = 0; status == PARE_OK && i < s.steps; i++) status = scan_step(&s, i);
  if (status == PARE_OK) status = scan_give(&s);
  slots_clear(s.state, s.nstates);
  for (unsigned i = 0; i < s.nstacked && s.stacked; i++) stack_clear(&s.stacked[i]);
  free(s.stacked);
  return status;
}

static pare_status scan_run(pare__call *call) {
  PARE__TRY(pare__call_check(call, 0, UINT16_MAX));
  return scan_sequence(call, -1);
}

/* ---- Scan of opset 8: a batch in front of everything, whose sequences may end early ---- */

#define MOST_BATCHED 64 /* inputs, and outputs */

/* The batch, and the axis of the sequences where there are any; each given input has both. */
static pare_status batch_of(const pare__call *call, int64_t nscans, int64_t *batch, int64_t *axis) {
  *batch = *axis = -1;
  for (unsigned i = 1; i < call->ninputs; i++) {
    if (!call->input[i]) continue;
    const pare__shape *shape = &call->input[i]->shape;
    const bool is_sequence = (int64_t)i >= (int64_t)call->ninputs - nscans;
    if (shape->rank < (is_sequence ? 2 : 1) || (*batch >= 0 && shape->dim[0] != *batch))
      return pare__call_fail(call, PARE_ERR_SHAPE, "input %u has rank %d; it needs the batch of %lld in front", i,
                             shape->rank, (long long)*batch);
    *batch = shape->dim[0];
    if (is_sequence) *axis = shape->dim[1];
  }
  if (*batch < 1) return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its batch is empty");
  return PARE_OK;
}

/* What item b of the batch scans, in place of the node's inputs. */
static pare_status take_item(pare__call *call, pare__slot *const *given, int64_t b, pare__slot *inputs,
                             pare__slot **input) {
  for (unsigned i = 1; i < call->ninputs; i++) {
    pare__slot_clear(&inputs[i]);
    if (!given[i]) continue;
    pare_tensor *tensor;
    call->input = given;
    PARE__TRY(pare__call_tensor(call, i, &tensor));
    PARE__TRY(pare_tensor_slice(tensor, 0, b, 1, 1, &inputs[i].tensor));
    pare__shape *shape = &inputs[i].tensor->shape;
    memmove(shape->dim, shape->dim + 1, (size_t)(shape->rank - 1) * sizeof *shape->dim);
    memmove(shape->stride, shape->stride + 1, (size_t)(shape->rank - 1) * sizeof *shape->stride);
    shape->rank--;
    inputs[i].dtype = tensor->dtype;
    inputs[i].shape = *shape;
    input[i] = &inputs[i];
  }
  return PARE_OK;
}

/* The slot's rows, and zeros up to `length` rows; `like` has the shape of a row where there are none. */
static pare_status pad_rows(pare__call *call, const pare__slot *slot, int64_t length, const pare__slot *like,
                            pare__slot *out) {
  const int64_t rows = slot->shape.dim[0];
  if (rows == length) return pare__slot_copy(slot, out);
  pare__shape shape = rows > 0 ? slot->shape : like->shape;
  shape.dim[0] = length;
  pare_tensor *made = NULL, *part = NULL;
  pare__content *zeros;
  PARE__TRY(pare__content_create(like->dtype, shape.rank, shape.dim, NULL, &zeros));
  pare_status status =
      pare_tensor_from(call->context, like->dtype, shape.rank, shape.dim, zeros->data, zeros->nbytes, &out->tensor);
  pare__content_release(zeros);
  if (status == PARE_OK && rows > 0) {
    status = slot_tensor(call, slot, &made);
    if (status == PARE_OK) status = pare_tensor_slice(out->tensor, 0, 0, rows, 1, &part);
    if (status == PARE_OK) status = pare_copy(made, part);
  }
  pare_tensor_close(part);
  pare_tensor_close(made);
  if (status != PARE_OK) return status;
  out->dtype = out->tensor->dtype;
  out->shape = out->tensor->shape;
  return PARE_OK;
}

/* Output i of all items of the batch; sequences that ended early are filled with zeros. */
static pare_status give_batch(pare__call *call, unsigned i, const stack *items, int64_t length) {
  stack all = {0};
  pare_status status = PARE_OK;
  const pare__slot *like = &items->item[0];
  for (size_t b = 1; b < items->count; b++)
    if (length >= 0 && items->item[b].shape.dim[0] > 0) like = &items->item[b];
  for (size_t b = 0; b < items->count && status == PARE_OK; b++) {
    pare__slot whole = {0};
    status =
        length < 0 ? pare__slot_copy(&items->item[b], &whole) : pad_rows(call, &items->item[b], length, like, &whole);
    if (status == PARE_OK) status = stack_push(call, &all, &whole);
    pare__slot_clear(&whole);
  }
  if (status == PARE_OK) status = stack_give(call, i, &all, 0, false);
  stack_clear(&all);
  return status;
}

static pare_status run_items(pare__call *call, const int64_t *lengths, int64_t batch, stack *items) {
  pare__slot inputs[MOST_BATCHED] = {0}, *input[MOST_BATCHED] = {NULL}, *const *given = call->input;
  pare_status status = PARE_OK;
  for (int64_t b = 0; b < batch && status == PARE_OK; b++) {
    status = take_item(call, given, b, inputs, input);
    call->input = input;
    if (status == PARE_OK) status = scan_sequence(call, lengths ? lengths[b] : -1);
    for (unsigned i = 0; i < call->noutputs && status == PARE_OK; i++) {
      if (!pare__call_wants(call, i)) continue;
      status = pare__array_grow((void **)&items[i].item, &items[i].capacity, items[i].count, sizeof *items[i].item);
      if (status != PARE_OK) break;
      items[i].item[items[i].count] = (pare__slot){0};
      status = pare__slot_copy(call->output[i], &items[i].item[items[i].count++]);
    }
  }
  call->input = given;
  for (unsigned i = 0; i < call->ninputs; i++) pare__slot_clear(&inputs[i]);
  return status;
}

static pare_status scan_run_8(pare__call *call) {
  const int64_t nscans = pare__call_get_int(call, "num_scan_inputs", 0);
  int64_t batch, axis, *lengths = NULL;
  PARE__TRY(pare__call_check(call, 0, MOST_BATCHED));
  if (call->noutputs > MOST_BATCHED || nscans < 1 || nscans >= (int64_t)call->ninputs)
    return pare__call_fail(call, PARE_ERR_FORMAT, "%lld scanned inputs do not fit %u inputs and %u outputs",
                           (long long)nscans, call->ninputs, call->noutputs);
  PARE__TRY(batch_of(call, nscans, &batch, &axis));
  const unsigned nstates = call->ninputs - 1 - (unsigned)nscans;
  stack items[MOST_BATCHED] = {{0}};
  pare_status status = PARE_OK;
  if (pare__call_has(call, 0)) {
    size_t count = 0;
    lengths = calloc((size_t)batch + 1, sizeof *lengths);
    status = lengths ? pare__call_ints(call, 0, lengths, (size_t)batch, &count)
                     : pare__fail_memory("a scan", (size_t)batch * sizeof *lengths);
    bool fits = (int64_t)count == batch;
    for (size_t b = 0; b < count && status == PARE_OK; b++) fits = fits && lengths[b] >= 0;
    if (status == PARE_OK && !fits)
      status = pare__call_fail(call, PARE_ERR_SHAPE, "it has %zu lengths of sequences, which are not the batch of %lld",
                               count, (long long)batch);
  }
  if (status == PARE_OK) status = run_items(call, lengths, batch, items);
  for (unsigned i = 0; i < call->noutputs; i++) {
    if (status == PARE_OK && items[i].count > 0) status = give_batch(call, i, &items[i], i < nstates ? -1 : axis);
    stack_clear(&items[i]);
  }
  free(lengths);
  return status;
}

const pare__operator pare__operators_control[] = {
    {"", "Loop", 1, 0, PARE__IS_CONTROL, loop_run, NULL, .types = "any"},
    {"", "Scan", 8, 8, PARE__IS_CONTROL, scan_run_8, NULL, .types = "any"},
    {"", "Scan", 9, 0, PARE__IS_CONTROL, scan_run, NULL, .types = "any"},
    {0},
};
