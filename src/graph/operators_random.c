/* Random numbers: the same in every run, on every device. SPDX-License-Identifier: Apache-2.0
 *
 * ONNX fixes no bits of them. What a node draws depends on its seed, on the name of its output and on how many
 * iterations of loops the run has begun before it, so that no two draws are alike, and a run can be repeated. */
#include <pare/elementwise.h>
#include <pare/random.h>
#include <pare/reduce.h>
#include <string.h>

#include "base/hash.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/run.h"

static uint64_t seed_of(const pare__call *call) {
  const double seed = pare__call_get_float(call, "seed", 0);
  uint64_t bits;
  memcpy(&bits, &seed, sizeof bits);
  return bits;
}

static uint64_t stream_of(const pare__call *call) {
  const char *name = call->state->model->network->value[call->node->output[0]].name;
  return pare__hash64(name, strlen(name)) + call->state->iterations;
}

/* The type that the attribute names. */
static pare_status read_dtype(const pare__call *call, pare_dtype otherwise, pare_dtype *out) {
  const int64_t given = pare__call_get_int(call, "dtype", 0);
  *out = otherwise;
  if (given == 0 || (given == (int32_t)given && pare__onnx_dtype_to_pare((int32_t)given, out))) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its dtype is %lld, which pare does not have", (long long)given);
}

/* ---- RandomUniform, RandomNormal and those like another tensor ---- */

enum { UNIFORM, NORMAL };

static pare_status fill(pare__call *call, pare_dtype dtype, int rank, const int64_t *dim) {
  pare_tensor *out;
  PARE__TRY(pare__call_takes_dtype(call, "its output", dtype));
  PARE__TRY(pare__call_output(call, 0, dtype, rank, dim, &out));
  if (call->node->op->detail == NORMAL)
    return pare_random_normal(seed_of(call), stream_of(call), pare__call_get_float(call, "mean", 0),
                              pare__call_get_float(call, "scale", 1), out);
  return pare_random_uniform(seed_of(call), stream_of(call), pare__call_get_float(call, "low", 0),
                             pare__call_get_float(call, "high", 1), out);
}

static pare_status random_shape(pare__call *call) {
  int64_t dim[PARE_MAX_RANK];
  size_t rank;
  pare_dtype dtype;
  PARE__TRY(pare__call_check(call, 0, 0));
  PARE__TRY(read_dtype(call, PARE_F32, &dtype));
  PARE__TRY(pare__call_get_ints(call, "shape", dim, PARE_MAX_RANK, &rank));
  for (size_t d = 0; d < rank; d++)
    if (dim[d] < 0)
      return pare__call_fail(call, PARE_ERR_ARGUMENT, "dimension %zu of its shape is %lld", d, (long long)dim[d]);
  return fill(call, dtype, (int)rank, dim);
}

static pare_status random_like(pare__call *call) {
  pare_dtype dtype;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(read_dtype(call, call->input[0]->dtype, &dtype));
  return fill(call, dtype, call->input[0]->shape.rank, call->input[0]->shape.dim);
}

/* ---- Bernoulli ---- */

/* 1 with the probability that the input has there. */
static pare_status bernoulli(pare__call *call) {
  pare_tensor *x, *drawn, *truth, *out;
  pare_dtype dtype;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(read_dtype(call, x->dtype, &dtype));
  PARE__TRY(pare__call_takes(call, 0));
  /* a number of few bits could round to 1, which would not be below a probability of 1 */
  const pare_dtype wide = x->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  PARE__TRY(pare__call_cast(call, x, wide, &x));
  PARE__TRY(pare__call_scratch(call, wide, x->shape.rank, x->shape.dim, &drawn));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, x->shape.rank, x->shape.dim, &truth));
  PARE__TRY(pare__call_output(call, 0, dtype, x->shape.rank, x->shape.dim, &out));
  PARE__TRY(pare_random_uniform(seed_of(call), stream_of(call), 0, 1, drawn));
  PARE__TRY(pare_binary(PARE_BINARY_less, drawn, x, truth));
  return pare_cast(truth, out);
}

/* ---- Multinomial ---- */

/* x [batch, classes], logarithms of weights: the class of the largest x + g, where g = -log(-log(u)) of a uniform u,
 * has the probability of its weight (Gumbel 1954). */
static pare_status multinomial(pare__call *call) {
  pare_tensor *x, *noise, *index, *out;
  pare_dtype dtype;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(read_dtype(call, PARE_I32, &dtype));
  const int64_t samples = pare__call_get_int(call, "sample_size", 1);
  if (x->shape.rank != 2 || x->shape.dim[1] < 1 || samples < 1)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "its input has rank %d, and %lld samples are asked for; batch and classes, and "
                           "one sample at least are possible",
                           x->shape.rank, (long long)samples);
  PARE__TRY(pare__call_takes(call, 0));
  if (dtype != PARE_I32 && dtype != PARE_I64)
    return pare__call_fail(call, PARE_ERR_TYPE, "it would make %s; it can make i32 or i64", pare_dtype_name(dtype));
  const int64_t spread[] = {x->shape.dim[0], 1, x->shape.dim[1]}, dim[] = {spread[0], samples, spread[2]};
  PARE__TRY(pare__call_cast(call, x, PARE_F32, &x));
  PARE__TRY(pare__call_reshaped(call, x, 3, spread, &x));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 3, dim, &noise));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, dim, &index));
  PARE__TRY(pare_random_uniform(seed_of(call), stream_of(call), 0, 1, noise));
  for (int turn = 0; turn < 2; turn++) {
    PARE__TRY(pare_unary(PARE_UNARY_log, noise, noise));
    PARE__TRY(pare_unary(PARE_UNARY_neg, noise, noise));
  }
  PARE__TRY(pare_binary(PARE_BINARY_add, noise, x, noise));
  PARE__TRY(pare_arg_max(noise, 2, false, false, index));
  PARE__TRY(pare__call_output(call, 0, dtype, 2, dim, &out));
  return pare_cast(index, out);
}

const pare__operator pare__operators_random[] = {
    {"", "RandomUniform", 1, 0, PARE__ON_DEVICE, random_shape, .detail = UNIFORM, .types = "floats"},
    {"", "RandomNormal", 1, 0, PARE__ON_DEVICE, random_shape, .detail = NORMAL, .types = "floats"},
    {"", "RandomUniformLike", 1, 0, PARE__ON_DEVICE, random_like, .detail = UNIFORM, .types = "floats"},
    {"", "RandomNormalLike", 1, 0, PARE__ON_DEVICE, random_like, .detail = NORMAL, .types = "floats"},
    {"", "Bernoulli", 15, 0, PARE__ON_DEVICE, bernoulli, .types = "floats"},
    {"", "Multinomial", 7, 0, PARE__ON_DEVICE, multinomial, .types = "floats"},
    {0},
};

bool pare__operator_draws(const pare__operator *row) {
  for (const pare__operator *one = pare__operators_random; one->name; one++)
    if (one == row) return true;
  return false;
}
