/* What an operator sees of its node: inputs, outputs, scratch, subgraphs. SPDX-License-Identifier: Apache-2.0 */
#include <pare/gemm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pare/elementwise.h>

#include "format/mapping.h"
#include "graph/estimate.h"
#include "graph/run.h"

pare_status(pare__call_fail)(const pare__call *call, pare_status status, const char *format, ...) {
  (void)call; /* its name and operator are put before the message where the node is run */
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return pare__fail_text(status, message);
}

pare_status pare__call_check(const pare__call *call, unsigned least, unsigned most) {
  if (call->ninputs > most)
    return pare__call_fail(call, PARE_ERR_FORMAT, "it has %u inputs; %u at most are possible", call->ninputs, most);
  for (unsigned i = 0; i < least; i++)
    if (!pare__call_has(call, i))
      return pare__call_fail(call, PARE_ERR_FORMAT, "input %u is left out; it needs %u inputs", i, least);
  for (unsigned i = 0; i < call->noutputs; i++)
    if (call->output[i]) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_FORMAT, "it has no output");
}

pare_status pare__call_takes_dtype(const pare__call *call, const char *what, pare_dtype dtype) {
  char list[256];
  size_t used = 0;
  const pare__operator *row = call->node->op;
  if (pare__operator_takes(row, dtype)) return PARE_OK;
  for (int d = 0; d < PARE_NDTYPES; d++) {
    if (!pare__operator_takes(row, (pare_dtype)d) || used >= sizeof list) continue;
    used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", pare_dtype_name((pare_dtype)d));
  }
  return pare__call_fail(call, PARE_ERR_TYPE, "%s is %s; it can be %s", what, pare_dtype_name(dtype), list);
}

pare_status pare__call_takes(const pare__call *call, unsigned i) {
  char what[24];
  if (!pare__call_has(call, i)) return PARE_OK;
  snprintf(what, sizeof what, "input %u", i);
  return pare__call_takes_dtype(call, what, call->input[i]->dtype);
}

void pare__weights_release(void *prepared) { pare_weights_close(prepared); }

/* ---- inputs ---- */

bool pare__call_has(const pare__call *call, unsigned i) { return i < call->ninputs && call->input[i]; }
bool pare__call_wants(const pare__call *call, unsigned i) { return i < call->noutputs && call->output[i]; }

/* Piece by piece, and pages of the file that were read for one do not stay in memory beside what the device has. */
static pare_status write_mapped(const pare__content *content, pare_tensor *tensor) {
  const int64_t piece = 1 << 20, count = (int64_t)content->count;
  const size_t each = pare_dtype_bytes(content->dtype);
  pare_tensor *flat;
  PARE__TRY(pare_tensor_reshape(tensor, 1, &count, &flat));
  pare_status status = PARE_OK;
  for (int64_t i = 0; i < count && status == PARE_OK; i += piece) {
    const int64_t here = PARE__MIN(piece, count - i);
    const char *data = (const char *)content->data + (size_t)i * each;
    pare_tensor *part = NULL;
    status = pare_tensor_slice(flat, 0, i, here, 1, &part);
    if (status == PARE_OK) status = pare_tensor_write(part, data, (size_t)here * each);
    pare__mapping_release(data, (size_t)here * each);
    pare_tensor_close(part);
  }
  pare_tensor_close(flat);
  return status;
}

static pare_status content_to_device(pare_context *context, const pare__content *content, pare_tensor **out) {
  const int rank = content->shape.rank;
  if (!content->file || !content->file->mapped)
    return pare_tensor_from(context, content->dtype, rank, content->shape.dim, content->data, content->nbytes, out);
  const bool deferring = pare__tensors_defer(false); /* elements that are given need memory now */
  pare_status status = pare_tensor_create(context, content->dtype, rank, content->shape.dim, out);
  pare__tensors_defer(deferring);
  if (status == PARE_OK) status = write_mapped(content, *out);
  if (status != PARE_OK) {
    pare_tensor_close(*out);
    *out = NULL;
  }
  return status;
}

static pare_status upload(pare__call *call, int32_t id, pare__slot *slot) {
  pare_model *model = call->state->model;
  const pare__content *content = slot->content;
  pare_tensor **shared = id >= 0 && content == model->network->value[id].constant ? &model->constant[id] : NULL;
  pare_tensor *tensor = NULL;
  if (shared && *shared) {
    PARE__TRY(pare__tensor_handle(*shared, &slot->tensor));
    return PARE_OK;
  }
  if (call->state->shapes_only && content->nbytes > 4096) /* recorded: it has no memory */
    return pare_tensor_create(call->context, content->dtype, content->shape.rank, content->shape.dim, &slot->tensor);
  PARE__TRY(content_to_device(call->context, content, &tensor));
  if (shared) {
    *shared = tensor;
    return pare__tensor_handle(tensor, &slot->tensor);
  }
  slot->tensor = tensor;
  return PARE_OK;
}

pare_status pare__call_tensor(pare__call *call, unsigned i, pare_tensor **out) {
  *out = NULL;
  if (!pare__call_has(call, i)) return PARE_OK;
  pare__slot *slot = call->input[i];
  if (!slot->tensor) PARE__TRY(upload(call, call->node->input[i], slot));
  *out = slot->tensor;
  return PARE_OK;
}

bool pare__call_bounding(pare__call *call) {
  if (!call->state->estimate) return false;
  call->state->bounding = true;
  return true;
}

bool pare__call_counting(pare__call *call) {
  /* what a subgraph gives has a shape, and what the file declares is better than none */
  if (call->state->depth > 0 || !call->state->estimate || pare__estimate_declares(call)) return false;
  call->state->counting = pare__call_bounding(call);
  return call->state->counting;
}

static pare_status need_values(pare__call *call, unsigned i) {
  call->state->values_needed = true;
  return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "the values of input %u must be known to plan it", i);
}

pare_status pare__call_content(pare__call *call, unsigned i, const pare__content **out) {
  *out = NULL;
  if (!pare__call_has(call, i)) return pare__call_fail(call, PARE_ERR_ARGUMENT, "input %u is left out", i);
  pare__slot *slot = call->input[i];
  if (!slot->content) {
    if (call->state->planning) return need_values(call, i);
    pare__content *content;
    PARE__TRY(pare__content_create(slot->dtype, slot->shape.rank, slot->shape.dim, NULL, &content));
    const pare_status status = pare_tensor_read(slot->tensor, content->owned, content->nbytes);
    if (status != PARE_OK) {
      pare__content_release(content);
      return status;
    }
    slot->content = content;
  }
  *out = slot->content;
  return PARE_OK;
}

pare_status pare__call_ints(pare__call *call, unsigned i, int64_t *out, size_t capacity, size_t *count) {
  const pare__content *content;
  PARE__TRY(pare__call_content(call, i, &content));
  if (pare__dtype_is_float(content->dtype))
    return pare__call_fail(call, PARE_ERR_TYPE, "input %u is %s; integers are needed", i,
                           pare_dtype_name(content->dtype));
  if (content->count > capacity)
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u has %zu elements; %zu at most are possible", i,
                           content->count, capacity);
  for (size_t k = 0; k < content->count; k++) out[k] = pare__content_int(content, k);
  *count = content->count;
  return PARE_OK;
}

static pare_status need_one(const pare__call *call, unsigned i, size_t count) {
  if (count == 1) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "input %u has %zu elements; it must be one", i, count);
}

pare_status pare__call_int(pare__call *call, unsigned i, int64_t *out) {
  const pare__content *content;
  PARE__TRY(pare__call_content(call, i, &content));
  PARE__TRY(need_one(call, i, content->count));
  *out = pare__content_int(content, 0);
  return PARE_OK;
}

pare_status pare__call_number(pare__call *call, unsigned i, double *out) {
  const pare__content *content;
  PARE__TRY(pare__call_content(call, i, &content));
  PARE__TRY(need_one(call, i, content->count));
  *out = pare__content_number(content, 0);
  return PARE_OK;
}

/* ---- handles that live as long as the call ---- */

pare_status pare__call_keep(pare__call *call, pare_tensor *tensor) {
  pare__run_state *state = call->state;
  const pare_status status =
      pare__array_grow((void **)&state->kept, &state->kept_capacity, state->nkept, sizeof(pare_tensor *));
  if (status != PARE_OK) {
    pare_tensor_close(tensor);
    return status;
  }
  state->kept[state->nkept++] = tensor;
  return PARE_OK;
}

static pare_status keep_new(pare__call *call, pare_status made, pare_tensor *tensor, pare_tensor **out) {
  *out = NULL;
  PARE__TRY(made);
  PARE__TRY(pare__call_keep(call, tensor));
  *out = tensor;
  return PARE_OK;
}

pare_status pare__call_scratch(pare__call *call, pare_dtype dtype, int rank, const int64_t *dim, pare_tensor **out) {
  pare_tensor *tensor = NULL;
  const pare_status made = pare_tensor_create(call->context, dtype, rank, dim, &tensor);
  return keep_new(call, made, tensor, out);
}

pare_status pare__call_constant(pare__call *call, pare_dtype dtype, int rank, const int64_t *dim, const void *data,
                                pare_tensor **out) {
  pare__shape shape;
  if (rank < 0 || rank > PARE_MAX_RANK || !pare__shape_set(&shape, rank, dim))
    return pare__call_fail(call, PARE_ERR_SHAPE, "a constant of rank %d is too large", rank);
  pare_tensor *tensor = NULL;
  const pare_status made = pare_tensor_from(call->context, dtype, rank, dim, data,
                                            (size_t)pare__shape_elements(&shape) * pare_dtype_bytes(dtype), &tensor);
  return keep_new(call, made, tensor, out);
}

pare_status pare__call_reshaped(pare__call *call, pare_tensor *tensor, int rank, const int64_t *dim,
                                pare_tensor **out) {
  pare_tensor *compact = NULL, *view = NULL;
  PARE__TRY(pare__contiguous(tensor, &compact));
  const pare_status made = pare_tensor_reshape(compact, rank, dim, &view);
  pare_tensor_close(compact);
  return keep_new(call, made, view, out);
}

pare_status pare__call_cast(pare__call *call, pare_tensor *tensor, pare_dtype dtype, pare_tensor **out) {
  *out = tensor;
  if (tensor->dtype == dtype) return PARE_OK;
  PARE__TRY(pare__call_scratch(call, dtype, tensor->shape.rank, tensor->shape.dim, out));
  return pare_cast(tensor, *out);
}

/* ---- outputs ---- */

static void describe_slot(pare__slot *slot, const pare_tensor *tensor) {
  slot->dtype = tensor->dtype;
  slot->shape = tensor->shape;
}

pare_status pare__call_output(pare__call *call, unsigned i, pare_dtype dtype, int rank, const int64_t *dim,
                              pare_tensor **out) {
  if (!pare__call_wants(call, i)) return pare__call_scratch(call, dtype, rank, dim, out);
  *out = NULL;
  pare__slot *slot = call->output[i];
  pare__slot_clear(slot);
  PARE__TRY(pare_tensor_create(call->context, dtype, rank, dim, &slot->tensor));
  describe_slot(slot, slot->tensor);
  *out = slot->tensor;
  return PARE_OK;
}

pare_status pare__call_give(pare__call *call, unsigned i, pare_tensor *tensor) {
  if (!pare__call_wants(call, i)) {
    pare_tensor_close(tensor);
    return PARE_OK;
  }
  pare__slot *slot = call->output[i];
  pare__slot_clear(slot);
  slot->tensor = tensor;
  describe_slot(slot, tensor);
  return PARE_OK;
}

pare_status pare__call_give_content(pare__call *call, unsigned i, pare__content *content) {
  if (!pare__call_wants(call, i)) {
    pare__content_release(content);
    return PARE_OK;
  }
  pare__slot *slot = call->output[i];
  pare__slot_clear(slot);
  slot->content = content;
  slot->dtype = content->dtype;
  slot->shape = content->shape;
  return PARE_OK;
}

pare_status pare__call_pass(pare__call *call, unsigned i, unsigned j) {
  if (!pare__call_wants(call, i)) return PARE_OK;
  if (!pare__call_has(call, j)) return pare__call_fail(call, PARE_ERR_FORMAT, "input %u is left out", j);
  return pare__slot_copy(call->input[j], call->output[i]);
}

/* ---- subgraphs ---- */

pare_status pare__call_subgraph(const pare__call *call, const char *attribute, const pare__graph **out) {
  *out = NULL;
  for (unsigned i = 0; i < call->node->nsubgraphs; i++)
    if (strcmp(call->node->subgraph[i].attribute, attribute) == 0) *out = call->node->subgraph[i].graph;
  return *out ? PARE_OK : pare__call_fail(call, PARE_ERR_FORMAT, "it has no subgraph '%s'", attribute);
}

pare__slot *pare__call_slot(pare__call *call, int32_t id) { return &call->state->slot[id]; }

pare_status pare__call_set(pare__call *call, int32_t id, const pare__slot *slot) {
  if (slot) return pare__slot_copy(slot, pare__call_slot(call, id));
  pare__slot_clear(pare__call_slot(call, id));
  return PARE_OK;
}

pare_status pare__call_run(pare__call *call, const pare__graph *graph) {
  call->state->depth++;
  const pare_status status = pare__run_graph(call->state, graph);
  call->state->depth--;
  return status;
}

pare_status pare__call_at_once(pare__call *call) {
  if (!call->state->planning) return PARE_OK;
  call->state->values_needed = true;
  return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "it cannot be planned");
}
