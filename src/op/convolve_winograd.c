/* 3x3 convolution by Winograd's F(4x4, 3x3) on tensors. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <string.h>

#include "kernel/family_winograd.h"
#include "op/convolve.h"

/* ---- weights ---- */

/* G w G' for every pair of channels: [O C, 9] times [9, 36]. */
static pare_status transform_weights(pare_tensor *w, pare_tensor **out) {
  float matrix[9][36];
  for (int k = 0; k < 9; k++)
    for (int e = 0; e < 36; e++)
      matrix[k][e] = (float)(pare__winograd_g[e / 6][k / 3] * pare__winograd_g[e % 6][k % 3]);
  const int64_t pairs = w->shape.dim[0] * w->shape.dim[1], rows[] = {pairs, 9}, to[] = {pairs, 36};
  pare_tensor *single = NULL, *flat = NULL, *g = NULL;
  pare_status status = pare__tensor_scratch(w->context, PARE_F32, 4, w->shape.dim, "weights", &single);
  if (status == PARE_OK) status = pare_cast(w, single);
  if (status == PARE_OK) status = pare_tensor_reshape(single, 2, rows, &flat);
  if (status == PARE_OK)
    status = pare_tensor_from(w->context, PARE_F32, 2, (const int64_t[]){9, 36}, matrix, sizeof matrix, &g);
  if (status == PARE_OK) status = pare__tensor_scratch(w->context, PARE_F32, 2, to, "transformed weights", out);
  if (status == PARE_OK) status = pare_gemm(flat, g, NULL, NULL, *out);
  pare_tensor_close(single);
  pare_tensor_close(flat);
  pare_tensor_close(g);
  return status;
}

pare_status pare__winograd_pack(pare_tensor *w, int64_t lanes, pare_tensor **out) {
  const int64_t dim[] = {1, w->shape.dim[0], w->shape.dim[1], 36}, blocks = pare__div_up(dim[1], lanes);
  const int64_t split[] = {blocks, lanes, pare__round_up(dim[2], lanes), 36};
  pare_tensor *transformed = NULL, *padded = NULL, *parts = NULL, *turned = NULL;
  pare_status status = transform_weights(w, &transformed);
  if (status == PARE_OK) status = pare__convolve_pad_lanes(transformed, dim, lanes, &padded);
  if (status == PARE_OK) status = pare_tensor_reshape(padded, 4, split, &parts);
  if (status == PARE_OK) status = pare_tensor_permute(parts, (const int[]){0, 3, 2, 1}, &turned);
  if (status == PARE_OK)
    status = pare__tensor_scratch(w->context, PARE_F32, 4, turned->shape.dim, "transformed weights", out);
  if (status == PARE_OK) status = pare__copy(turned, *out);
  pare_tensor_close(transformed);
  pare_tensor_close(padded);
  pare_tensor_close(parts);
  pare_tensor_close(turned);
  return status;
}

/* ---- the convolution, batch by batch ---- */

static pare_status run_winograd(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  pare__problem problem = *whole;
  problem.dim[WINOGRAD_N] = piece->end - piece->begin;
  pare__operand operand[WINOGRAD_NBUFFERS];
  for (int i = 0; i < WINOGRAD_NBUFFERS; i++)
    operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  for (int axis = 0; axis < 4; axis++) { /* strides of a staged piece are its own */
    problem.dim[WINOGRAD_X_BATCH + axis] = piece->binding[WINOGRAD_BUFFER_X].shape.stride[axis];
    problem.dim[WINOGRAD_Y_BATCH + axis] = piece->binding[WINOGRAD_BUFFER_Y].shape.stride[axis];
  }
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_winograd, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_winograd, &choice, whole, &problem, operand);
}

static const pare__codelet winograd_codelet = {"winograd", run_winograd};

static void describe_whole(const pare__convolution *c, pare__problem *whole) {
  memset(whole, 0, sizeof *whole);
  int64_t *dim = whole->dim;
  const pare__shape *x = &c->x->shape, *y = &c->y->shape;
  dim[WINOGRAD_N] = x->dim[0];
  dim[WINOGRAD_C] = c->weights->channels;
  dim[WINOGRAD_O] = c->weights->outputs;
  for (int d = 0; d < 2; d++) {
    dim[WINOGRAD_X_H + d] = x->dim[2 + d];
    dim[WINOGRAD_Y_H + d] = y->dim[2 + d];
    dim[WINOGRAD_PAD_H + d] = c->window->pad[1 + d];
  }
  for (int i = 0; i < 4; i++) {
    dim[WINOGRAD_X_BATCH + i] = x->stride[i];
    dim[WINOGRAD_Y_BATCH + i] = y->stride[i];
  }
  dim[WINOGRAD_X_LENGTH] = c->options->x_blocked ? c->block : 1;
  dim[WINOGRAD_Y_LENGTH] = c->options->y_blocked ? c->block : 1;
  dim[WINOGRAD_LANES] = c->weights->lanes;
  dim[WINOGRAD_ACTIVATION] = c->options->activation;
  whole->real[0] = c->options->clip_low;
  whole->real[1] = c->options->clip_high;
  whole->real[2] = c->options->scale == 0 ? 1 : c->options->scale;
  whole->real[3] = c->options->shift;
  whole->mode = (c->options->x_blocked ? WINOGRAD_X_BLOCKED : 0) | (c->options->y_blocked ? WINOGRAD_Y_BLOCKED : 0);
  whole->flags = (c->bias ? WINOGRAD_HAS_BIAS : 0) | (c->residual ? WINOGRAD_HAS_RESIDUAL : 0);
  for (int i = 0; i < WINOGRAD_NBUFFERS; i++) whole->dtype[i] = c->y->dtype;
  whole->dtype[WINOGRAD_BUFFER_U] = whole->dtype[WINOGRAD_BUFFER_V] = PARE_F32;
}

pare_status pare__winograd_submit(const pare__convolution *c) {
  pare__problem whole;
  describe_whole(c, &whole);
  const int64_t *dim = whole.dim;
  const int64_t scratch[] = {dim[WINOGRAD_N], 36, pare__div_up(dim[WINOGRAD_C], dim[WINOGRAD_LANES]),
                             pare__winograd_pitch(dim), dim[WINOGRAD_LANES]};
  pare_tensor *v = NULL;
  PARE__TRY(pare__tensor_scratch(c->y->context, PARE_F32, 5, scratch, "transformed pixels", &v));
  const pare__task task = {.codelet = &winograd_codelet,
                           .context = c->y->context,
                           .params = &whole,
                           .params_bytes = sizeof whole,
                           .n = dim[WINOGRAD_N],
                           .naccesses = WINOGRAD_NBUFFERS,
                           .in_place = 1U << WINOGRAD_BUFFER_RESIDUAL,
                           .access = {[WINOGRAD_BUFFER_X] = {c->x, PARE__READ, 0, 1},
                                      [WINOGRAD_BUFFER_U] = {c->weights->packed, PARE__READ, PARE__WHOLE, 1},
                                      [WINOGRAD_BUFFER_BIAS] = {c->bias, PARE__READ, PARE__WHOLE, 1},
                                      [WINOGRAD_BUFFER_RESIDUAL] = {c->residual, PARE__READ, 0, 1},
                                      [WINOGRAD_BUFFER_V] = {v, PARE__WRITE, 0, 1},
                                      [WINOGRAD_BUFFER_Y] = {c->y, PARE__WRITE, 0, 1}}};
  const pare_status status = pare__submit(&task);
  pare_tensor_close(v);
  return status;
}
