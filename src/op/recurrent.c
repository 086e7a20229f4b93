/* Recurrent sequences: weights in panels, one task for all steps. SPDX-License-Identifier: Apache-2.0 */
#include "op/recurrent.h"

#include <pare/move.h>
#include <string.h>

#include "kernel/family_recurrent.h"

/* A core reads all weights at every step: they have to stay in its cache. */
#define MOST_WEIGHT_BYTES ((int64_t)1 << 20)
/* With more rows the product of a step fills the device by itself. */
#define MOST_ROWS 16

pare_status pare__sequence_pack(pare_tensor *r, int64_t gates, pare_tensor **out) {
  const pare_device_info *info = pare__device_info(pare__context_device(r->context));
  const int64_t hidden = r->shape.dim[1];
  *out = NULL;
  if (info->type != PARE_DEVICE_CPU || info->can.max_loop_steps != 0 || r->dtype != PARE_F32 || hidden == 0 ||
      r->shape.dim[0] != gates * hidden || gates * hidden * hidden * (int64_t)sizeof(float) > MOST_WEIGHT_BYTES)
    return PARE_OK;
  const int64_t panels = pare__div_up(hidden, RECURRENT_UNITS);
  const int64_t apart[] = {gates, hidden, hidden}, whole[] = {gates, panels * RECURRENT_UNITS, hidden};
  const int64_t split[] = {gates, panels, RECURRENT_UNITS, hidden};
  const float zero = 0;
  pare_tensor *rows = NULL, *nothing = NULL, *padded = NULL, *inside = NULL, *parts = NULL, *turned = NULL;
  pare_status status = pare_tensor_reshape(r, 3, apart, &rows);
  if (status == PARE_OK) status = pare_tensor_from(r->context, PARE_F32, 0, NULL, &zero, sizeof zero, &nothing);
  if (status == PARE_OK) status = pare__tensor_scratch(r->context, PARE_F32, 3, whole, "recurrent weights", &padded);
  if (status == PARE_OK) status = pare_copy(nothing, padded);
  if (status == PARE_OK) status = pare_tensor_slice(padded, 1, 0, hidden, 1, &inside);
  if (status == PARE_OK) status = pare_copy(rows, inside);
  if (status == PARE_OK) status = pare_tensor_reshape(padded, 4, split, &parts);
  if (status == PARE_OK) status = pare_tensor_permute(parts, (const int[]){1, 3, 0, 2}, &turned);
  if (status == PARE_OK)
    status = pare__tensor_scratch(r->context, PARE_F32, 4, turned->shape.dim, "recurrent weights", out);
  if (status == PARE_OK) status = pare_copy(turned, *out);
  pare_tensor_close(rows);
  pare_tensor_close(nothing);
  pare_tensor_close(padded);
  pare_tensor_close(inside);
  pare_tensor_close(parts);
  pare_tensor_close(turned);
  return status;
}

static pare_status run_sequence(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  pare__problem problem = *whole;
  pare__operand operand[RECURRENT_NBUFFERS];
  const pare__binding *binding = piece->binding;
  problem.dim[RECURRENT_ROWS] = piece->end - piece->begin;
  for (int i = 0; i < RECURRENT_NBUFFERS; i++) operand[i] = (pare__operand){binding[i].mem, binding[i].offset};
  for (int axis = 0; axis < 2; axis++) { /* strides of a staged piece are its own */
    problem.dim[RECURRENT_X_STEP + axis] = binding[RECURRENT_BUFFER_X].shape.stride[axis];
    problem.dim[RECURRENT_Y_STEP + axis] = binding[RECURRENT_BUFFER_Y].shape.stride[axis];
    if (binding[RECURRENT_BUFFER_MASK].mem)
      problem.dim[RECURRENT_MASK_STEP + axis] = binding[RECURRENT_BUFFER_MASK].shape.stride[axis];
  }
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_recurrent, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_recurrent, &choice, whole, &problem, operand);
}

static const pare__codelet sequence_codelet = {"recurrent", run_sequence};

static bool is_dense(const pare_tensor *tensor) { return tensor->shape.stride[tensor->shape.rank - 1] == 1; }

pare_status pare__sequence_run(const pare__sequence *s, bool *done) {
  const int64_t *dim = s->y->shape.dim, rows = dim[1];
  *done = false;
  if (!s->weights || rows == 0 || rows > MOST_ROWS || !is_dense(s->x) || !is_dense(s->y)) return PARE_OK;
  pare__problem whole;
  memset(&whole, 0, sizeof whole);
  whole.mode = s->mode;
  whole.real[0] = s->clip;
  for (int axis = 0; axis < 3; axis++) whole.dim[RECURRENT_STEPS + axis] = dim[axis];
  whole.dim[RECURRENT_HAS_EXTRA] = s->extra != NULL;
  whole.dim[RECURRENT_HAS_MASK] = s->mask != NULL;
  for (int i = 0; i < RECURRENT_NBUFFERS; i++) whole.dtype[i] = i == RECURRENT_BUFFER_MASK ? PARE_BOOL : PARE_F32;
  pare__choice choice;
  if (pare__choose(pare__context_device(s->y->context), &pare__family_recurrent, &whole, &choice) != PARE_OK)
    return PARE_OK;
  const pare__task task = {.codelet = &sequence_codelet,
                           .context = s->y->context,
                           .params = &whole,
                           .params_bytes = sizeof whole,
                           .n = rows,
                           .naccesses = RECURRENT_NBUFFERS,
                           .access = {[RECURRENT_BUFFER_X] = {s->x, PARE__READ, 1, 1},
                                      [RECURRENT_BUFFER_W] = {s->weights, PARE__READ, PARE__WHOLE, 1},
                                      [RECURRENT_BUFFER_EXTRA] = {s->extra, PARE__READ, PARE__WHOLE, 1},
                                      [RECURRENT_BUFFER_MASK] = {s->mask, PARE__READ, 1, 1},
                                      [RECURRENT_BUFFER_H] = {s->h, PARE__READ_WRITE, 0, 1},
                                      [RECURRENT_BUFFER_C] = {s->c, PARE__READ_WRITE, 0, 1},
                                      [RECURRENT_BUFFER_Y] = {s->y, PARE__WRITE, 1, 1}}};
  *done = true;
  return pare__submit(&task);
}
