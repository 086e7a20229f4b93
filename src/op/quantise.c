/* Quantisation on tensors: the range of activations, values to integers and back. SPDX-License-Identifier: Apache-2.0
 */
#include "op/quantise.h"

#include <string.h>

#include "kernel/family_quantise.h"

/* ---- range, scale and zero point ---- */

typedef struct range_params {
  int64_t count, chunk; /* of the whole */
} range_params;

static void fill_range(pare__problem *problem, int64_t count, int64_t chunk, const pare__binding *binding,
                       int nbuffers) {
  memset(problem, 0, sizeof *problem);
  problem->dim[RANGE_COUNT] = count;
  problem->dim[RANGE_CHUNK] = chunk;
  for (int i = 0; i < nbuffers; i++) problem->dtype[i] = binding[i].dtype;
}

static pare_status run_range(const pare__piece *piece) {
  const range_params *params = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem whole, part;
  fill_range(&whole, params->count, params->chunk, bound, RANGE_NBUFFERS);
  fill_range(&part, bound[RANGE_BUFFER_X].shape.dim[0], params->chunk, bound, RANGE_NBUFFERS);
  const pare__operand operand[] = {{bound[0].mem, bound[0].offset}, {bound[1].mem, bound[1].offset}};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_range, &whole, &choice));
  return pare__run_choice(piece->device, &pare__family_range, &choice, &whole, &part, operand);
}

static pare_status run_affine(const pare__piece *piece) {
  const range_params *params = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem problem;
  fill_range(&problem, params->count, params->chunk, bound, AFFINE_NBUFFERS);
  pare__operand operand[AFFINE_NBUFFERS];
  for (int i = 0; i < AFFINE_NBUFFERS; i++) operand[i] = (pare__operand){bound[i].mem, bound[i].offset};
  return pare__run_family(piece->device, &pare__family_affine, &problem, operand);
}

static const pare__codelet range_codelet = {"range", run_range};
static const pare__codelet affine_codelet = {"affine", run_affine};

/* A view of all elements in a row. */
static pare_status flat_view(pare_tensor *tensor, pare_tensor **out) {
  return pare_tensor_reshape(tensor, 1, (const int64_t[]){pare__shape_elements(&tensor->shape)}, out);
}

static pare_status submit_affine(pare_tensor *x, pare_tensor *scale, pare_tensor *zero) {
  const int64_t count = pare__shape_elements(&x->shape);
  const range_params params = {count, PARE__MAX(count, 1)};
  const pare__task task = {.codelet = &affine_codelet,
                           .context = x->context,
                           .params = &params,
                           .params_bytes = sizeof params,
                           .n = 1,
                           .naccesses = AFFINE_NBUFFERS,
                           .access = {{x, PARE__READ, PARE__WHOLE, 0},
                                      {scale, PARE__WRITE, PARE__WHOLE, 0},
                                      {zero, PARE__WRITE, PARE__WHOLE, 0}}};
  return pare__submit(&task);
}

pare_status pare__range_submit(pare_tensor *x, pare_tensor **range) {
  const int64_t least_chunk = 16384, most_chunks = 256;
  const int64_t count = pare__shape_elements(&x->shape);
  const range_params params = {count, PARE__MAX(least_chunk, pare__div_up(count, most_chunks))};
  const int64_t chunks = pare__div_up(count, params.chunk);
  pare_tensor *flat = NULL;
  *range = NULL;
  pare_status status = flat_view(x, &flat);
  if (status == PARE_OK)
    status = pare__tensor_scratch(x->context, PARE_F32, 2, (const int64_t[]){chunks, 2}, "range of values", range);
  const pare__task task = {.codelet = &range_codelet,
                           .context = x->context,
                           .params = &params,
                           .params_bytes = sizeof params,
                           .n = chunks,
                           .naccesses = RANGE_NBUFFERS,
                           .access = {{flat, PARE__READ, 0, params.chunk}, {*range, PARE__WRITE, 0, 1}}};
  if (status == PARE_OK) status = pare__submit(&task);
  pare_tensor_close(flat);
  return status;
}

pare_status pare__affine_submit(pare_tensor *x, pare_tensor *scale, pare_tensor *zero) {
  const int64_t few = 65536; /* one work-item is quicker than another launch */
  if (pare__shape_elements(&x->shape) <= few && pare__tensor_on_device(x)) return submit_affine(x, scale, zero);
  pare_tensor *range = NULL;
  pare_status status = pare__range_submit(x, &range);
  if (status == PARE_OK) status = submit_affine(range, scale, zero);
  pare_tensor_close(range);
  return status;
}

/* ---- values ---- */

typedef struct quantise_params {
  int64_t outer, axis, inner; /* of the whole */
  int mode;
} quantise_params;

static void fill_quantise(pare__problem *problem, const quantise_params *params, const pare__binding *binding) {
  memset(problem, 0, sizeof *problem);
  problem->mode = params->mode;
  problem->dim[QUANTISE_OUTER] = params->outer;
  problem->dim[QUANTISE_AXIS] = params->axis;
  problem->dim[QUANTISE_INNER] = params->inner;
  problem->dim[QUANTISE_HAS_ZERO] = binding[QUANTISE_BUFFER_ZERO].mem != NULL;
  for (int i = 0; i < QUANTISE_NBUFFERS; i++) problem->dtype[i] = binding[i].dtype;
  if (!binding[QUANTISE_BUFFER_ZERO].mem) /* absent: the dtype it would have */
    problem->dtype[QUANTISE_BUFFER_ZERO] =
        binding[params->mode == QUANTISE ? QUANTISE_BUFFER_OUT : QUANTISE_BUFFER_X].dtype;
}

static pare_status run_quantise(const pare__piece *piece) {
  const quantise_params *params = piece->params;
  const pare__binding *bound = piece->binding;
  quantise_params of_piece = *params;
  of_piece.outer = bound[QUANTISE_BUFFER_X].shape.dim[0];
  of_piece.axis = bound[QUANTISE_BUFFER_X].shape.dim[1];
  pare__problem whole, part;
  fill_quantise(&whole, params, bound);
  fill_quantise(&part, &of_piece, bound);
  pare__operand operand[QUANTISE_NBUFFERS];
  for (int i = 0; i < QUANTISE_NBUFFERS; i++) operand[i] = (pare__operand){bound[i].mem, bound[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_quantise, &whole, &choice));
  return pare__run_choice(piece->device, &pare__family_quantise, &choice, &whole, &part, operand);
}

static const pare__codelet quantise_codelet = {"quantise", run_quantise};

/* All four contiguous; `axis` of from and to, or -1 for one scale. */
static pare_status submit_quantise(pare_tensor *from, pare_tensor *scale, pare_tensor *zero, int axis, int mode,
                                   pare_tensor *to) {
  const int64_t elements = pare__shape_elements(&from->shape), grain = 4096;
  quantise_params params = {elements, 1, 1, mode};
  for (int d = 0; axis >= 0 && d < from->shape.rank; d++) {
    if (d == 0) params.outer = 1;
    *(d < axis ? &params.outer : d == axis ? &params.axis : &params.inner) *= from->shape.dim[d];
  }
  const int64_t dim[] = {params.outer, params.axis, params.inner};
  const bool by_axis = params.outer == 1 && axis >= 0;
  const int scale_axis = by_axis ? 0 : PARE__WHOLE;
  pare_tensor *view[4] = {NULL};
  pare_status status = pare_tensor_reshape(from, 3, dim, &view[0]);
  if (status == PARE_OK) status = flat_view(scale, &view[1]);
  if (status == PARE_OK && zero) status = flat_view(zero, &view[2]);
  if (status == PARE_OK) status = pare_tensor_reshape(to, 3, dim, &view[3]);
  const pare__task task = {.codelet = &quantise_codelet,
                           .context = from->context,
                           .params = &params,
                           .params_bytes = sizeof params,
                           .n = elements == 0 ? 0
                                : by_axis     ? params.axis
                                              : params.outer,
                           .grain = axis < 0 ? grain : 1,
                           .naccesses = QUANTISE_NBUFFERS,
                           .access = {{view[0], PARE__READ, by_axis, 1},
                                      {view[1], PARE__READ, scale_axis, 1},
                                      {view[2], PARE__READ, scale_axis, 1},
                                      {view[3], PARE__WRITE, by_axis, 1}}};
  if (status == PARE_OK) status = pare__submit(&task);
  for (unsigned i = 0; i < PARE__COUNT(view); i++) pare_tensor_close(view[i]);
  return status;
}

/* ---- the public functions ---- */

/* scale or zero: one element (*axis becomes -1), or one for each index of the axis. */
static pare_status check_parameter(const char *function, const char *name, const pare_tensor *tensor,
                                   const pare_tensor *x, int *axis) {
  const int64_t elements = pare__shape_elements(&tensor->shape);
  if (elements == 1 && (*axis < 0 || x->shape.dim[*axis] != 1)) {
    *axis = -1;
    return PARE_OK;
  }
  if (*axis >= 0 && tensor->shape.rank == 1 && elements == x->shape.dim[*axis]) return PARE_OK;
  char text[PARE__SHAPE_TEXT], x_text[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE, "%s: %s is %s; it must have one element, or one for each index of axis %d of %s",
                    function, name, pare__shape_text(tensor->shape.rank, tensor->shape.dim, text, sizeof text), *axis,
                    pare__shape_text(x->shape.rank, x->shape.dim, x_text, sizeof x_text));
}

static pare_status quantise_call(const char *function, pare_tensor *from, pare_tensor *scale, pare_tensor *zero,
                                 int axis, int mode, pare_tensor *to) {
  PARE__TRY(pare__check_dtype(function, "scale", scale, PARE__DTYPE(PARE_F32)));
  const pare_tensor *integers = mode == QUANTISE ? to : from;
  if (zero) PARE__TRY(pare__check_same_dtype(function, "zero", zero, "q", integers));
  PARE__TRY(pare__check_shape(function, mode == QUANTISE ? "q" : "x", to, from->shape.rank, from->shape.dim));
  const bool one = pare__shape_elements(&scale->shape) == 1;
  if (one)
    axis = -1;
  else
    PARE__TRY(pare__axis(function, axis, from->shape.rank, &axis));
  PARE__TRY(check_parameter(function, "scale", scale, from, &axis));
  int zero_axis = axis;
  if (zero) PARE__TRY(check_parameter(function, "zero", zero, from, &zero_axis));
  if (zero_axis != axis)
    return pare__fail(PARE_ERR_SHAPE, "%s: zero has one element and scale has %lld; they must have as many", function,
                      (long long)pare__shape_elements(&scale->shape));
  pare_tensor *input = NULL, *steps = NULL, *origin = NULL, *result = NULL;
  pare_status status = pare__contiguous(from, &input);
  if (status == PARE_OK) status = pare__contiguous(scale, &steps);
  if (status == PARE_OK && zero) status = pare__contiguous(zero, &origin);
  if (status == PARE_OK) status = pare__result_begin(to, &result);
  if (status == PARE_OK) status = submit_quantise(input, steps, origin, axis, mode, result);
  status = pare__result_end(status, to, result);
  pare_tensor_close(input);
  pare_tensor_close(steps);
  pare_tensor_close(origin);
  return status;
}

#define BYTES (PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_I8))

pare_status pare_quantize(pare_tensor *x, pare_tensor *scale, pare_tensor *zero, int axis, pare_tensor *q) {
  static const char function[] = "pare_quantize";
  PARE__TRY(pare__check_call(function, q, PARE__NAMED(x), PARE__NAMED(scale), PARE__OPTIONAL(zero)));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_dtype(function, "q", q, BYTES));
  return quantise_call(function, x, scale, zero, axis, QUANTISE, q);
}

pare_status pare_dequantize(pare_tensor *q, pare_tensor *scale, pare_tensor *zero, int axis, pare_tensor *x) {
  static const char function[] = "pare_dequantize";
  PARE__TRY(pare__check_call(function, x, PARE__NAMED(q), PARE__NAMED(scale), PARE__OPTIONAL(zero)));
  PARE__TRY(pare__check_dtype(function, "q", q, BYTES | PARE__DTYPE(PARE_I32)));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__SMALL_FLOATS));
  return quantise_call(function, q, scale, zero, axis, DEQUANTISE, x);
}

static pare_status check_one(const char *function, const char *name, const pare_tensor *tensor, pare_dtype dtype) {
  PARE__TRY(pare__check_dtype(function, name, tensor, PARE__DTYPE(dtype)));
  if (pare__shape_elements(&tensor->shape) == 1) return PARE_OK;
  char text[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE, "%s: %s is %s; it must have one element", function, name,
                    pare__shape_text(tensor->shape.rank, tensor->shape.dim, text, sizeof text));
}

pare_status pare_dynamic_quantize(pare_tensor *x, pare_tensor *q, pare_tensor *scale, pare_tensor *zero) {
  static const char function[] = "pare_dynamic_quantize";
  PARE__TRY(pare__check_call(function, q, PARE__NAMED(x)));
  PARE__TRY(pare__check_output(function, "scale", scale, x));
  PARE__TRY(pare__check_output(function, "zero", zero, x));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_dtype(function, "q", q, PARE__DTYPE(PARE_U8)));
  PARE__TRY(pare__check_shape(function, "q", q, x->shape.rank, x->shape.dim));
  PARE__TRY(check_one(function, "scale", scale, PARE_F32));
  PARE__TRY(check_one(function, "zero", zero, PARE_U8));
  pare_tensor *input = NULL, *result = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__affine_submit(input, scale, zero);
  if (status == PARE_OK) status = pare__result_begin(q, &result);
  if (status == PARE_OK) status = submit_quantise(input, scale, zero, -1, QUANTISE, result);
  status = pare__result_end(status, q, result);
  pare_tensor_close(input);
  return status;
}
