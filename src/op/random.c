/* Random fill. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/prune.h>
#include <pare/random.h>
#include <string.h>

#include "kernel/family_random.h"
#include "op/op.h"

static pare_status random_run(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  const pare__binding *y = &piece->binding[0];
  pare__problem part = *whole;
  part.dim[RANDOM_BEGIN] += piece->begin;
  part.dim[RANDOM_N] = y->shape.dim[0];
  pare__operand operand = {y->mem, y->offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_random, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_random, &choice, whole, &part, &operand);
}

static const pare__codelet random_codelet = {"random fill", random_run};

static pare_status fill_flat(pare__problem *problem, pare_tensor *flat) {
  problem->dim[RANDOM_N] = flat->shape.dim[0];
  pare__task task = {.codelet = &random_codelet,
                     .context = flat->context,
                     .params = problem,
                     .params_bytes = sizeof *problem,
                     .n = flat->shape.dim[0],
                     .naccesses = 1,
                     .access = {{flat, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

/* Fills out with neighbouring elements of the stream; where they begin, mode, reals, low and range are set. */
static pare_status fill(pare__problem *problem, uint64_t seed, uint64_t stream, pare_tensor *out) {
  problem->dim[RANDOM_SEED] = (int64_t)seed;
  problem->dim[RANDOM_STREAM] = (int64_t)stream;
  problem->dtype[0] = out->dtype;
  const int64_t elements[] = {pare__shape_elements(&out->shape)};
  pare_tensor *result = NULL, *flat = NULL;
  pare_status status = pare__result_begin(out, &result);
  if (status == PARE_OK) status = pare_tensor_reshape(result, 1, elements, &flat);
  if (status == PARE_OK) status = fill_flat(problem, flat);
  pare_tensor_close(flat);
  return pare__result_end(status, out, result);
}

pare_status pare_random_uniform(uint64_t seed, uint64_t stream, double low, double high, pare_tensor *out) {
  const char *function = "pare_random_uniform";
  PARE__TRY(pare__check_output(function, "out", out, NULL));
  PARE__TRY(pare__check_dtype(function, "out", out, PARE__FLOATS));
  if (!(low < high) || !isfinite(low) || !isfinite(high) || !isfinite(high - low))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the range [%g, %g) is empty or not finite", function, low, high);
  pare__problem problem = {.mode = RANDOM_UNIFORM, .real = {low, high}};
  return fill(&problem, seed, stream, out);
}

pare_status pare_random_normal(uint64_t seed, uint64_t stream, double mean, double deviation, pare_tensor *out) {
  const char *function = "pare_random_normal";
  PARE__TRY(pare__check_output(function, "out", out, NULL));
  PARE__TRY(pare__check_dtype(function, "out", out, PARE__FLOATS));
  if (!isfinite(mean) || !isfinite(deviation) || deviation < 0)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: mean %g and deviation %g must be finite, the deviation not negative",
                      function, mean, deviation);
  pare__problem problem = {.mode = RANDOM_NORMAL, .real = {mean, deviation}};
  return fill(&problem, seed, stream, out);
}

static pare_status check_begin(const char *function, int64_t begin) {
  if (begin >= 0) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s: begin is %lld; it must not be negative", function, (long long)begin);
}

static pare_status fill_bernoulli(const char *function, uint64_t seed, uint64_t stream, int64_t begin,
                                  double probability, pare_tensor *out) {
  if (!(probability >= 0 && probability <= 1))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the probability %g is not in [0, 1]", function, probability);
  pare__problem problem = {.mode = RANDOM_BERNOULLI, .dim[RANDOM_BEGIN] = begin};
  problem.dim[RANDOM_RANGE] = (int64_t)rint(probability * 0x1p32);
  return fill(&problem, seed, stream, out);
}

pare_status pare_random_bernoulli(uint64_t seed, uint64_t stream, double probability, pare_tensor *out) {
  const char *function = "pare_random_bernoulli";
  PARE__TRY(pare__check_output(function, "out", out, NULL));
  return fill_bernoulli(function, seed, stream, 0, probability, out);
}

pare_status pare_mask_random(uint64_t seed, uint64_t stream, int64_t begin, double probability, pare_tensor *mask) {
  const char *function = "pare_mask_random";
  PARE__TRY(pare__check_output(function, "mask", mask, NULL));
  PARE__TRY(pare__check_dtype(function, "mask", mask, PARE__DTYPE(PARE_BOOL)));
  PARE__TRY(check_begin(function, begin));
  return fill_bernoulli(function, seed, stream, begin, probability, mask);
}

pare_status pare_random_scores(uint64_t seed, uint64_t stream, int64_t begin, pare_tensor *scores) {
  const char *function = "pare_random_scores";
  PARE__TRY(pare__check_output(function, "scores", scores, NULL));
  PARE__TRY(pare__check_dtype(function, "scores", scores, PARE__DTYPE(PARE_F32)));
  PARE__TRY(check_begin(function, begin));
  pare__problem problem = {.mode = RANDOM_UNIFORM, .real = {0, 1}, .dim[RANDOM_BEGIN] = begin};
  return fill(&problem, seed, stream, scores);
}

/* The least and greatest integer of a dtype. */
static void integer_limits(pare_dtype dtype, int64_t *least, int64_t *most) {
  switch (dtype) {
  case PARE_I8: *least = INT8_MIN, *most = INT8_MAX; break;
  case PARE_U8: *least = 0, *most = UINT8_MAX; break;
  case PARE_I16: *least = INT16_MIN, *most = INT16_MAX; break;
  case PARE_I32: *least = INT32_MIN, *most = INT32_MAX; break;
  case PARE_BOOL: *least = 0, *most = 1; break;
  case PARE_U16: *least = 0, *most = UINT16_MAX; break;
  case PARE_U32: *least = 0, *most = UINT32_MAX; break;
  case PARE_U64: *least = 0, *most = INT64_MAX; break;
  default: *least = INT64_MIN, *most = INT64_MAX; break;
  }
}

pare_status pare_random_integer(uint64_t seed, uint64_t stream, int64_t low, int64_t high, pare_tensor *out) {
  const char *function = "pare_random_integer";
  PARE__TRY(pare__check_output(function, "out", out, NULL));
  PARE__TRY(pare__check_dtype(function, "out", out, PARE__INTEGERS | PARE__DTYPE(PARE_BOOL)));
  int64_t least, most;
  integer_limits(out->dtype, &least, &most);
  if (low >= high || low < least || high - 1 > most)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: [%lld, %lld) is empty or not within the %lld to %lld of %s", function,
                      (long long)low, (long long)high, (long long)least, (long long)most, pare_dtype_name(out->dtype));
  pare__problem problem = {.mode = RANDOM_INTEGER};
  problem.dim[RANDOM_LOW] = low;
  problem.dim[RANDOM_RANGE] = (int64_t)((uint64_t)high - (uint64_t)low);
  return fill(&problem, seed, stream, out);
}
