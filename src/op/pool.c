/* Pooling on tensors. SPDX-License-Identifier: Apache-2.0 */
#include "op/pool.h"

#include "kernel/family_pool.h"

#define KERNEL_RANK 3 /* spatial dimensions that kernels go over */

enum { ACCESS_X, ACCESS_Y, ACCESS_INDICES, NACCESSES };

static pare_status run_pool(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  pare__problem problem = *whole;
  problem.dim[POOL_PLANES] = piece->end - piece->begin;
  problem.dim[POOL_FIRST] = piece->begin;
  pare__operand operand[POOL_NBUFFERS];
  for (int i = 0; i < NACCESSES; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_pool, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_pool, &choice, whole, &problem, operand);
}

static const pare__codelet pool_codelet = {"pool", run_pool};

/* The dimension of a window that counts as 1 if it is left at 0. */
static int64_t or_one(int64_t value) { return value == 0 ? 1 : value; }

static pare_status fill_window(int rank, const pare_pool_options *options, int64_t *dim) {
  const int64_t most = INT32_MAX / 8;
  for (int d = 0; d < KERNEL_RANK; d++)
    dim[POOL_X + d] = dim[POOL_Y + d] = dim[POOL_K + d] = dim[POOL_STRIDE + d] = dim[POOL_DILATION + d] = 1;
  for (int d = 0; d < rank; d++) {
    const int to = KERNEL_RANK - rank + d;
    const int64_t value[] = {options->kernel[d], or_one(options->stride[d]), or_one(options->dilation[d]),
                             options->pad[d], options->pad_after[d]};
    for (int i = 0; i < 5; i++) {
      const int64_t least = i < 3 ? 1 : -most;
      if (value[i] < least || value[i] > most)
        return pare__fail(PARE_ERR_ARGUMENT,
                          "pare_pool: kernel %lld, stride %lld, dilation %lld, pads %lld and %lld of dimension %d; the "
                          "first three are 1 to %lld",
                          (long long)value[0], (long long)value[1], (long long)value[2], (long long)value[3],
                          (long long)value[4], d, (long long)most);
      dim[POOL_K + KERNEL_RANK * i + to] = value[i];
    }
  }
  return PARE_OK;
}

static pare_status describe_whole(const pare_tensor *x, pare_pooling pooling, const pare_pool_options *options,
                                  const pare_tensor *y, const pare_tensor *indices, pare__problem *whole) {
  const int rank = x->shape.rank - 2 - options->blocked;
  int64_t *dim = whole->dim;
  PARE__TRY(fill_window(rank, options, dim));
  dim[POOL_PLANES] = x->shape.dim[0] * x->shape.dim[1];
  dim[POOL_LANES] = options->blocked ? x->shape.dim[x->shape.rank - 1] : 1;
  for (int d = 0; d < rank; d++) {
    dim[POOL_X + KERNEL_RANK - rank + d] = x->shape.dim[2 + d];
    dim[POOL_Y + KERNEL_RANK - rank + d] = y->shape.dim[2 + d];
  }
  whole->mode = (int)pooling;
  whole->flags = (options->count_padding ? POOL_COUNT_PADDING : 0) | (options->column_major ? POOL_COLUMN_MAJOR : 0) |
                 (indices ? POOL_HAS_INDICES : 0);
  whole->real[0] = options->p == 0 ? 2 : options->p;
  whole->dtype[POOL_BUFFER_X] = whole->dtype[POOL_BUFFER_Y] = x->dtype;
  whole->dtype[POOL_BUFFER_INDICES] = PARE_I64;
  return PARE_OK;
}

/* All contiguous: as planes. */
static pare_status submit(pare_tensor *x, pare_tensor *y, pare_tensor *indices, const pare__problem *whole) {
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  const int64_t planes = whole->dim[POOL_PLANES];
  pare_tensor flat[NACCESSES], *tensors[NACCESSES] = {x, y, indices};
  for (int i = 0; i < NACCESSES; i++) {
    if (i == ACCESS_INDICES && !indices) continue;
    flat[i] = *tensors[i];
    const int64_t dim[] = {planes, pare__shape_elements(&tensors[i]->shape) / planes};
    pare__shape_set(&flat[i].shape, 2, dim);
  }
  const pare__task task = {.codelet = &pool_codelet,
                           .context = y->context,
                           .params = whole,
                           .params_bytes = sizeof *whole,
                           .n = planes,
                           .naccesses = NACCESSES,
                           .access = {[ACCESS_X] = {&flat[ACCESS_X], PARE__READ, 0, 1},
                                      [ACCESS_Y] = {&flat[ACCESS_Y], PARE__WRITE, 0, 1},
                                      [ACCESS_INDICES] = {indices ? &flat[ACCESS_INDICES] : NULL, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

static pare_status check(pare_tensor *x, pare_pooling pooling, const pare_pool_options *options, pare_tensor *y,
                         pare_tensor *indices) {
  static const char function[] = "pare_pool";
  const uint32_t allowed =
      PARE__FLOATS | (pooling == PARE_POOLING_MAX ? PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_I8) : 0);
  PARE__TRY(pare__check_call(function, y, PARE__NAMED(x)));
  if ((unsigned)pooling >= PARE_NPOOLINGS)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: there is no pooling %d", function, (int)pooling);
  PARE__TRY(pare__check_dtype(function, "x", x, allowed));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "y", y));
  PARE__TRY(pare__check_rank(function, "x", x, 3 + options->blocked,
                             2 + (options->blocked ? KERNEL_RANK + 1 : PARE_CONVOLUTION_RANK)));
  int64_t dim[PARE_MAX_RANK] = {0};
  for (int d = 0; d < x->shape.rank; d++) {
    const bool kept = d < 2 || (options->blocked && d == x->shape.rank - 1);
    dim[d] = kept || d >= y->shape.rank ? x->shape.dim[d] : y->shape.dim[d];
  }
  PARE__TRY(pare__check_shape(function, "y", y, x->shape.rank, dim));
  if (!indices) return PARE_OK;
  if (pooling != PARE_POOLING_MAX || options->blocked)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: only a maximum without blocks has indices", function);
  PARE__TRY(pare__check_output(function, "indices", indices, x));
  PARE__TRY(pare__check_dtype(function, "indices", indices, PARE__DTYPE(PARE_I64)));
  return pare__check_shape(function, "indices", indices, y->shape.rank, y->shape.dim);
}

pare_status pare_pool(pare_tensor *x, pare_pooling pooling, const pare_pool_options *options, pare_tensor *y,
                      pare_tensor *indices) {
  if (!options) return pare__fail_null("pare_pool", "options");
  PARE__TRY(check(x, pooling, options, y, indices));
  if (x->shape.rank > 2 + KERNEL_RANK + options->blocked) return pare__pool_in_turns(x, pooling, options, y, indices);
  pare__problem whole = {0};
  PARE__TRY(describe_whole(x, pooling, options, y, indices, &whole));
  pare_tensor *input = NULL, *result = NULL, *places = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__result_begin(y, &result);
  if (status == PARE_OK && indices) status = pare__result_begin(indices, &places);
  if (status == PARE_OK) status = submit(input, result, places, &whole);
  if (indices) status = pare__result_end(status, indices, places);
  status = pare__result_end(status, y, result);
  pare_tensor_close(input);
  return status;
}
