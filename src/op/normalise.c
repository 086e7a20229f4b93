/* Layer, RMS, group, instance and batch norm: one family of kernels over rows. SPDX-License-Identifier: Apache-2.0
 *
 * Rows that are too long for one item (or for staging) get their mean and their sum of squared distances by reductions
 * in blocks, and a second pass over the elements. */
#include <pare/elementwise.h>
#include <pare/normalise.h>
#include <string.h>

#include "kernel/family_normalise.h"
#include "op/reduce.h"

#define LONGEST_ROW (1 << 17)

typedef struct normalise_params {
  pare__problem whole;
  bool along_rows; /* the split axis is the row's, not the rows' */
} normalise_params;

enum { X, SCALE, BIAS, Y, MEAN, SPREAD, SKIP, SUM, NBUFFERS };

/* What is to be done to contiguous x, seen as rows. */
typedef struct job {
  int mode;
  int64_t rows, length, segment, groups, period;
  double epsilon, factor;
  pare_tensor *tensor[NBUFFERS]; /* NULL: absent */
} job;

static pare_status run_piece(const pare__piece *piece) {
  const normalise_params *params = piece->params;
  pare__problem problem = params->whole;
  const pare__shape *x = &piece->binding[X].shape, *y = &piece->binding[Y].shape;
  problem.dim[PARE__NORMALISE_ROWS] = x->dim[0];
  problem.dim[PARE__NORMALISE_LENGTH] = x->dim[1];
  problem.dim[PARE__NORMALISE_X_STRIDE] = x->stride[0];
  problem.dim[PARE__NORMALISE_Y_STRIDE] = y->stride[0];
  problem.dim[params->along_rows ? PARE__NORMALISE_FIRST_COLUMN : PARE__NORMALISE_FIRST_ROW] = piece->begin;
  pare__operand operand[NBUFFERS];
  for (int i = 0; i < NBUFFERS; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_normalise, &params->whole, &choice));
  return pare__run_choice(piece->device, &pare__family_normalise, &choice, &params->whole, &problem, operand);
}

static const pare__codelet normalise_codelet = {"normalise", run_piece};

static pare_tensor seen_as_rows(const pare_tensor *tensor, int64_t rows, int64_t length) {
  pare_tensor seen = *tensor;
  const int64_t dim[2] = {rows, length};
  pare__shape_set(&seen.shape, 2, dim);
  return seen;
}

static pare_status submit(const job *j) {
  if (j->rows == 0 || j->length == 0) return PARE_OK;
  normalise_params params;
  memset(&params, 0, sizeof params);
  params.along_rows = (j->mode & PARE__NORMALISE_GIVEN) && j->length > j->rows;
  params.whole.mode = j->mode;
  params.whole.real[0] = j->epsilon;
  params.whole.real[1] = j->factor;
  const int64_t dims[] = {j->rows, j->length, j->length, j->length, j->segment, j->groups, 0, 0, j->length, j->period};
  memcpy(params.whole.dim, dims, sizeof dims);
  pare_tensor seen[NBUFFERS];
  int axis = params.along_rows ? 1 : 0;
  bool saved = j->mode & PARE__NORMALISE_SAVED;
  pare__task task = {.codelet = &normalise_codelet,
                     .context = j->tensor[X]->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = dims[axis],
                     .naccesses = NBUFFERS};
  for (int i = 0; i < NBUFFERS; i++) {
    if (!j->tensor[i]) continue;
    params.whole.dtype[i] = j->tensor[i]->dtype;
    const bool rows = i == X || i == Y || i >= SKIP;
    const bool result = i == Y || i == SUM || ((i == MEAN || i == SPREAD) && saved);
    seen[i] = rows ? seen_as_rows(j->tensor[i], j->rows, j->length)
                   : seen_as_rows(j->tensor[i], pare__shape_elements(&j->tensor[i]->shape), 1);
    task.access[i] = (pare__access){&seen[i], result ? PARE__WRITE : PARE__READ,
                                    rows     ? axis
                                    : result ? 0
                                             : PARE__WHOLE,
                                    1};
  }
  return pare__submit(&task);
}

/* Statistics by reductions, then one pass over the elements. */
static pare_status submit_long(job j) {
  pare_tensor *x = j.tensor[X], *mean = NULL, *spread = NULL;
  pare__reduce_view view = {j.rows, j.length, 1, j.length, 1};
  pare_dtype partial = pare__reduce_partial(PARE__REDUCE_SUM, x->dtype);
  int whole = PARE__REDUCE_FIRST | PARE__REDUCE_FINAL;
  bool rms = j.mode & PARE__NORMALISE_RMS;
  pare_status status = pare__tensor_scratch(x->context, partial, 1, &j.rows, "sums of squares of a norm", &spread);
  if (status == PARE_OK && !rms) {
    status = pare__tensor_scratch(x->context, partial, 1, &j.rows, "means of a norm", &mean);
    if (status == PARE_OK) status = pare__reduce_axis(PARE__REDUCE_MEAN | whole, x, NULL, &view, j.length, mean, NULL);
  }
  if (status == PARE_OK)
    status = pare__reduce_axis((rms ? PARE__REDUCE_SUM_SQUARE : PARE__REDUCE_SPREAD) | whole, x, mean, &view, j.length,
                               spread, NULL);
  j.mode = (j.mode & ~PARE__NORMALISE_SAVED) | PARE__NORMALISE_GIVEN;
  j.factor = 1.0 / (double)j.length;
  j.period = j.rows;
  j.tensor[MEAN] = mean;
  j.tensor[SPREAD] = spread;
  if (status == PARE_OK) status = submit(&j);
  pare_tensor_close(mean);
  pare_tensor_close(spread);
  return status;
}

/* Where the results of a job go; NULL: not wanted. */
typedef struct results {
  pare_tensor *out, *mean, *inverse, *sum;
} results;

/* A result that is written whether it is wanted or not. */
static pare_status begin_statistics(const job *j, pare_tensor *wanted, const char *what, pare_tensor **out) {
  if (wanted) return pare__result_begin(wanted, out);
  const pare_tensor *x = j->tensor[X];
  return pare__tensor_scratch(x->context, pare__reduce_partial(PARE__REDUCE_SUM, x->dtype), 1, &j->rows, what, out);
}

static pare_status end(pare_status status, pare_tensor *wanted, pare_tensor *result) {
  if (wanted) return pare__result_end(status, wanted, result);
  pare_tensor_close(result);
  return status;
}

/* Makes what is read contiguous and what is written too, runs the job, and lets go of the copies. */
static pare_status run_job(job j, const results *to) {
  pare_tensor *held[NBUFFERS] = {NULL}, *result = NULL, *mean = NULL, *inverse = NULL, *sum = NULL;
  const bool given = j.mode & PARE__NORMALISE_GIVEN, saved = !given && (to->mean || to->inverse);
  /* saved statistics come of whole rows only */
  const bool is_long = !given && j.length > LONGEST_ROW && !saved;
  pare_status status = PARE_OK;
  for (int i = 0; status == PARE_OK && i < NBUFFERS; i++)
    if (j.tensor[i]) {
      status = pare__contiguous(j.tensor[i], &held[i]);
      j.tensor[i] = held[i];
    }
  if (status == PARE_OK) status = pare__result_begin(to->out, &result);
  if (status == PARE_OK && saved) status = begin_statistics(&j, to->mean, "means of a norm", &mean);
  if (status == PARE_OK && saved) status = begin_statistics(&j, to->inverse, "deviations of a norm", &inverse);
  if (status == PARE_OK && to->sum) status = pare__result_begin(to->sum, &sum);
  j.tensor[Y] = result;
  if (sum) {
    j.mode |= PARE__NORMALISE_SUM;
    j.tensor[SUM] = sum;
  }
  if (saved) {
    j.mode |= PARE__NORMALISE_SAVED;
    j.tensor[MEAN] = mean;
    j.tensor[SPREAD] = inverse;
  }
  if (status == PARE_OK) status = is_long ? submit_long(j) : submit(&j);
  status = pare__result_end(status, to->out, result);
  status = end(status, to->mean, mean);
  status = end(status, to->inverse, inverse);
  status = end(status, to->sum, sum);
  for (int i = 0; i < NBUFFERS; i++) pare_tensor_close(held[i]);
  return status;
}

static pare_status check_x(const char *function, pare_tensor *x, pare_tensor *out) {
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__FLOATS));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "out", out));
  return pare__check_shape(function, "out", out, x->shape.rank, x->shape.dim);
}

/* NULL is fine; else x's dtype and `elements` elements. */
static pare_status check_parameter(const char *function, const char *name, const pare_tensor *parameter,
                                   const pare_tensor *x, int64_t elements) {
  if (!parameter) return PARE_OK;
  PARE__TRY(pare__check_same_dtype(function, "x", x, name, parameter));
  if (pare__shape_elements(&parameter->shape) == elements) return PARE_OK;
  char text[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE, "%s: %s is %s; it needs %lld elements", function, name,
                    pare__shape_text(parameter->shape.rank, parameter->shape.dim, text, sizeof text),
                    (long long)elements);
}

static int mode_of(const pare_tensor *scale, const pare_tensor *bias) {
  return (scale ? PARE__NORMALISE_SCALED : 0) | (bias ? PARE__NORMALISE_BIASED : 0);
}

/* Mean and deviation: x's shape with the dimensions from `axis` on 1. */
static pare_status check_statistics(const char *function, const char *name, pare_tensor *statistics,
                                    const pare_tensor *x, int axis) {
  if (!statistics) return PARE_OK;
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < x->shape.rank; d++) dim[d] = d < axis ? x->shape.dim[d] : 1;
  PARE__TRY(pare__check_output(function, name, statistics, x));
  PARE__TRY(
      pare__check_dtype(function, name, statistics, PARE__DTYPE(pare__reduce_partial(PARE__REDUCE_SUM, x->dtype))));
  return pare__check_shape(function, name, statistics, x->shape.rank, dim);
}

static pare_status check_sum(const char *function, pare_tensor *sum, const pare_tensor *x) {
  if (!sum) return PARE_OK;
  PARE__TRY(pare__check_output(function, "sum", sum, x));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "sum", sum));
  return pare__check_shape(function, "sum", sum, x->shape.rank, x->shape.dim);
}

static pare_status norm_from(const char *function, int mode, pare_tensor *x, pare_tensor *skip, int axis,
                             pare_tensor *scale, pare_tensor *bias, double epsilon, const results *to) {
  PARE__TRY(check_x(function, x, to->out));
  PARE__TRY(pare__axis(function, axis, x->shape.rank, &axis));
  int64_t rows = 1, length = 1;
  for (int d = 0; d < x->shape.rank; d++) *(d < axis ? &rows : &length) *= x->shape.dim[d];
  PARE__TRY(check_parameter(function, "scale", scale, x, length));
  PARE__TRY(check_parameter(function, "bias", bias, x, length));
  PARE__TRY(check_statistics(function, "mean", to->mean, x, axis));
  PARE__TRY(check_statistics(function, "inverse_deviation", to->inverse, x, axis));
  job j = {mode | mode_of(scale, bias), rows, length, 1, 1, PARE__MAX(rows, 1), epsilon, 1, {x, scale, bias}};
  if (!skip) return run_job(j, to);
  PARE__TRY(pare__check_same_dtype(function, "x", x, "skip", skip));
  PARE__TRY(pare__check_shape(function, "skip", skip, x->shape.rank, x->shape.dim));
  j.mode |= PARE__NORMALISE_SKIP;
  j.tensor[SKIP] = skip;
  if (length <= LONGEST_ROW) return run_job(j, to);
  pare_tensor *sum = NULL;
  PARE__TRY(to->sum ? pare__tensor_handle(to->sum, &sum)
                    : pare__tensor_scratch(x->context, x->dtype, x->shape.rank, x->shape.dim, "a sum", &sum));
  pare_status status = pare_binary(PARE_BINARY_add, x, skip, sum);
  if (status == PARE_OK)
    status = norm_from(function, mode, sum, NULL, axis, scale, bias, epsilon, &(results){.out = to->out});
  pare_tensor_close(sum);
  return status;
}

pare_status pare_layer_norm(pare_tensor *x, int axis, pare_tensor *scale, pare_tensor *bias, double epsilon,
                            pare_tensor *out, pare_tensor *mean, pare_tensor *inverse_deviation) {
  static const char function[] = "pare_layer_norm";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x), PARE__OPTIONAL(scale), PARE__OPTIONAL(bias)));
  return norm_from(function, 0, x, NULL, axis, scale, bias, epsilon, &(results){out, mean, inverse_deviation, NULL});
}

pare_status pare_rms_norm(pare_tensor *x, int axis, pare_tensor *scale, double epsilon, pare_tensor *out) {
  static const char function[] = "pare_rms_norm";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x), PARE__OPTIONAL(scale)));
  return norm_from(function, PARE__NORMALISE_RMS, x, NULL, axis, scale, NULL, epsilon, &(results){.out = out});
}

pare_status pare_skip_layer_norm(pare_tensor *x, pare_tensor *skip, int axis, pare_tensor *scale, pare_tensor *bias,
                                 double epsilon, pare_tensor *out, pare_tensor *sum) {
  static const char function[] = "pare_skip_layer_norm";
  PARE__TRY(
      pare__check_call(function, out, PARE__NAMED(x), PARE__NAMED(skip), PARE__OPTIONAL(scale), PARE__OPTIONAL(bias)));
  PARE__TRY(check_sum(function, sum, x));
  return norm_from(function, 0, x, skip, axis, scale, bias, epsilon, &(results){out, NULL, NULL, sum});
}

pare_status pare_skip_rms_norm(pare_tensor *x, pare_tensor *skip, int axis, pare_tensor *scale, double epsilon,
                               pare_tensor *out, pare_tensor *sum) {
  static const char function[] = "pare_skip_rms_norm";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x), PARE__NAMED(skip), PARE__OPTIONAL(scale)));
  PARE__TRY(check_sum(function, sum, x));
  return norm_from(function, PARE__NORMALISE_RMS, x, skip, axis, scale, NULL, epsilon,
                   &(results){out, NULL, NULL, sum});
}

/* [N, C, ...]: what stands behind a channel. */
static int64_t spatial_size(const pare_tensor *x) {
  int64_t size = 1;
  for (int d = 2; d < x->shape.rank; d++) size *= x->shape.dim[d];
  return size;
}

static pare_status group_norm(const char *function, pare_tensor *x, int64_t groups, pare_tensor *scale,
                              pare_tensor *bias, double epsilon, pare_tensor *out) {
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x), PARE__OPTIONAL(scale), PARE__OPTIONAL(bias)));
  PARE__TRY(check_x(function, x, out));
  PARE__TRY(pare__check_rank(function, "x", x, 2, PARE_MAX_RANK));
  int64_t channels = x->shape.dim[1], spatial = spatial_size(x);
  if (groups < 0) groups = channels;
  if (channels > 0 && (groups == 0 || channels % groups != 0))
    return pare__fail(PARE_ERR_SHAPE, "%s: %lld channels cannot be cut into %lld groups", function, (long long)channels,
                      (long long)groups);
  PARE__TRY(check_parameter(function, "scale", scale, x, channels));
  PARE__TRY(check_parameter(function, "bias", bias, x, channels));
  if (pare__shape_elements(&x->shape) == 0) return PARE_OK;
  int64_t rows = x->shape.dim[0] * groups;
  job j = {mode_of(scale, bias), rows, channels / groups * spatial, spatial, groups, rows, epsilon, 1,
           {x, scale, bias}};
  return run_job(j, &(results){.out = out});
}

pare_status pare_group_norm(pare_tensor *x, int64_t groups, pare_tensor *scale, pare_tensor *bias, double epsilon,
                            pare_tensor *out) {
  if (groups <= 0) return pare__fail(PARE_ERR_ARGUMENT, "pare_group_norm: %lld groups", (long long)groups);
  return group_norm("pare_group_norm", x, groups, scale, bias, epsilon, out);
}

pare_status pare_instance_norm(pare_tensor *x, pare_tensor *scale, pare_tensor *bias, double epsilon,
                               pare_tensor *out) {
  return group_norm("pare_instance_norm", x, -1, scale, bias, epsilon, out);
}

pare_status pare_batch_norm(pare_tensor *x, pare_tensor *scale, pare_tensor *bias, pare_tensor *mean,
                            pare_tensor *variance, double epsilon, pare_tensor *out) {
  const char *function = "pare_batch_norm";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x), PARE__OPTIONAL(scale), PARE__OPTIONAL(bias),
                             PARE__NAMED(mean), PARE__NAMED(variance)));
  PARE__TRY(check_x(function, x, out));
  PARE__TRY(pare__check_rank(function, "x", x, 2, PARE_MAX_RANK));
  int64_t batch = x->shape.dim[0], channels = x->shape.dim[1], spatial = spatial_size(x);
  PARE__TRY(check_parameter(function, "scale", scale, x, channels));
  PARE__TRY(check_parameter(function, "bias", bias, x, channels));
  PARE__TRY(check_parameter(function, "mean", mean, x, channels));
  PARE__TRY(check_parameter(function, "variance", variance, x, channels));
  if (pare__shape_elements(&x->shape) == 0) return PARE_OK;
  int mode = mode_of(scale, bias) | PARE__NORMALISE_GIVEN;
  job j = {
      mode, batch * channels, spatial, spatial, channels, channels, epsilon, 1, {x, scale, bias, NULL, mean, variance}};
  if (spatial == 1)
    j = (job){mode | PARE__NORMALISE_PER_COLUMN,     batch, channels, 1, 1, 1, epsilon, 1,
              {x, scale, bias, NULL, mean, variance}};
  return run_job(j, &(results){.out = out});
}
