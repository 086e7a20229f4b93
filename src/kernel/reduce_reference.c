/* The reduction family's generator and reference. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/reduce_reference.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- inputs ---- */

static int operation_of(const pare__problem *p) { return p->mode & PARE__REDUCE_OPERATION; }
static bool is_index(int operation) { return operation == PARE__REDUCE_ARG_MIN || operation == PARE__REDUCE_ARG_MAX; }
static bool is_extreme(int operation) {
  return operation == PARE__REDUCE_MIN || operation == PARE__REDUCE_MAX || is_index(operation);
}

static double float_sample(const pare__problem *p, uint64_t *state) {
  double u = pare__reference_uniform(state);
  int operation = operation_of(p);
  bool first = p->mode & PARE__REDUCE_FIRST;
  if (is_extreme(operation)) return round(u * 16) / 16; /* ties */
  if (operation == PARE__REDUCE_PRODUCT) return (u < 0 ? -1 : 1) * exp2(fmod(u * 1024, 1) / 16);
  if (operation == PARE__REDUCE_LOG_SUM || (operation == PARE__REDUCE_L2 && !first)) return fabs(u) + 0.01;
  if (operation == PARE__REDUCE_LOG_SUM_EXP) return u * 20;
  return u;
}

static int64_t integer_sample(const pare__problem *p, pare_dtype dtype, uint64_t *state) {
  uint64_t bits = pare__reference_random(state);
  if (dtype == PARE_BOOL) return (int64_t)(bits & 1);
  if (is_extreme(operation_of(p))) /* a double holds it */
    return pare__dtype_is_unsigned(dtype) ? (int64_t)(bits >> 12) : (int64_t)bits >> 12;
  int64_t small = (int64_t)bits >> 43;
  bool negative_too = (p->mode & PARE__REDUCE_FIRST) && !pare__dtype_is_unsigned(dtype);
  return small < 0 && !negative_too ? -small : small;
}

/* One of NaN, an infinity or a denormal in some rows and columns: the others must not notice. */
static void put_specials(const pare__problem *p, uint64_t seed, void *data) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -0.0};
  int64_t outer = p->dim[PARE__REDUCE_OUTER], reduced = p->dim[PARE__REDUCE_REDUCED],
          inner = p->dim[PARE__REDUCE_INNER];
  uint64_t state = seed;
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) {
      uint64_t bits = pare__reference_random(&state);
      if (bits % 4 != 0 || reduced == 0) continue;
      int64_t r = (int64_t)((bits >> 8) % (uint64_t)reduced);
      size_t at = (size_t)(o * p->dim[PARE__REDUCE_X_OUTER] + r * p->dim[PARE__REDUCE_X_REDUCED] + i);
      pare__store(p->dtype[0], data, at, specials[(bits >> 40) % PARE__COUNT(specials)]);
    }
}

void pare__reduce_generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  pare__family_reduce.buffer(p, i, &spec);
  pare_dtype dtype = p->dtype[i];
  uint64_t state = seed * 8 + i;
  for (int64_t k = 0; k < spec.elements; k++) {
    if (i == 1 && is_index(operation_of(p)))
      ((int64_t *)data)[k] = (int64_t)(pare__reference_random(&state) >> 20);
    else if (i == 1)
      pare__store(dtype, data, (size_t)k, 1.5 + pare__reference_uniform(&state));
    else if (pare__dtype_is_float(dtype))
      pare__store(dtype, data, (size_t)k, float_sample(p, &state));
    else {
      int64_t value = integer_sample(p, dtype, &state);
      memcpy((char *)data + (size_t)k * pare_dtype_bytes(dtype), &value, pare_dtype_bytes(dtype));
    }
  }
  if (i == 0 && pare__dtype_is_float(dtype)) put_specials(p, state, data);
}

/* ---- reference of one block ---- */

typedef struct span {
  const pare__problem *problem;
  void *const *data;
  size_t first;         /* element of x */
  int64_t length, from; /* along the reduced axis */
  double centre;
} span;

typedef struct outcome {
  double value, extra;
  double value_error, extra_error; /* absolute; negative: anything will do */
} outcome;

static size_t element_at(const span *s, int64_t r) {
  return s->first + (size_t)(r * s->problem->dim[PARE__REDUCE_X_REDUCED]);
}
static double element(const span *s, int64_t r) {
  return pare__load(s->problem->dtype[0], s->data[0], element_at(s, r));
}

static int64_t integer(const span *s, int64_t r) {
  return pare__load_integer(s->problem->dtype[0], s->data[0], element_at(s, r));
}

/* How many additions may follow each other in one partial result: 16 or more run side by side in a row. */
static double chain(const span *s) {
  return s->problem->dim[PARE__REDUCE_INNER] == 1 ? (double)s->length / 16 + 96 : (double)s->length + 16;
}

static bool replaces(int operation, bool last, double new, double old) {
  if (isnan(new) || isnan(old)) return isnan(new) && (!isnan(old) || last);
  if (new == old) return last;
  return operation == PARE__REDUCE_MIN || operation == PARE__REDUCE_ARG_MIN ? new < old : new > old;
}

/* The value that no element beats. */
static double end_of(pare_dtype dtype, bool highest) {
  static const double ends[PARE_NDTYPES][2] = {[PARE_I8] = {-128, 127},        [PARE_U8] = {0, 255},
                                               [PARE_I16] = {-32768, 32767},   [PARE_I32] = {-0x1p31, 0x1p31 - 1},
                                               [PARE_I64] = {-0x1p63, 0x1p63}, [PARE_BOOL] = {0, 1},
                                               [PARE_U16] = {0, 65535},        [PARE_U32] = {0, 0x1p32 - 1},
                                               [PARE_U64] = {0, 0x1p64}};
  if (pare__dtype_is_float(dtype)) return highest ? INFINITY : -INFINITY;
  return ends[dtype][highest];
}

static outcome reduce_extreme(const span *s) {
  const pare__problem *p = s->problem;
  int operation = operation_of(p);
  if (s->length == 0) return (outcome){end_of(p->dtype[0], operation == PARE__REDUCE_MIN), -1, 0, 0};
  int64_t best = 0;
  for (int64_t r = 1; r < s->length; r++)
    if (replaces(operation, p->mode & PARE__REDUCE_LAST_INDEX, element(s, r), element(s, best))) best = r;
  double index = (double)(p->dim[PARE__REDUCE_POSITION] + s->from + best);
  if (!(p->mode & PARE__REDUCE_FIRST) && s->data[1]) index = pare__load(PARE_I64, s->data[1], element_at(s, best));
  return (outcome){element(s, best), index, 0, 0};
}

static outcome reduce_log_sum_exp(const span *s) {
  const pare__problem *p = s->problem;
  bool first = p->mode & PARE__REDUCE_FIRST, nan = false;
  double eps = pare__dtype_epsilon(p->dtype[0] == PARE_F64 ? PARE_F64 : PARE_F32), largest = -INFINITY, sum = 0;
  for (int64_t r = 0; r < s->length; r++) {
    nan = nan || isnan(element(s, r));
    if (element(s, r) > largest) largest = element(s, r);
  }
  for (int64_t r = 0; r < s->length; r++) {
    double distance = element(s, r) == largest ? 0 : element(s, r) - largest;
    sum += exp(distance) * (first ? 1 : pare__load(p->dtype[1], s->data[1], element_at(s, r)));
  }
  double relative = eps * (2 * chain(s) + 200);
  /* of a NaN the pair keeps one in either part */
  if (!(p->mode & PARE__REDUCE_FINAL)) return (outcome){largest, sum, nan ? -1 : 0, nan ? -1 : relative * sum};
  double result = nan ? NAN : largest + log(sum);
  return (outcome){result, 0, relative + 4 * eps * (isfinite(result) ? fabs(result) : 0), 0};
}

static double mapped(const span *s, double x) {
  int operation = operation_of(s->problem);
  if (!(s->problem->mode & PARE__REDUCE_FIRST)) return x;
  if (operation == PARE__REDUCE_L1) return fabs(x);
  if (operation == PARE__REDUCE_L2 || operation == PARE__REDUCE_SUM_SQUARE) return x * x;
  return operation == PARE__REDUCE_SPREAD ? (x - s->centre) * (x - s->centre) : x;
}

static outcome reduce_floats(const span *s) {
  const pare__problem *p = s->problem;
  int operation = operation_of(p);
  bool product = operation == PARE__REDUCE_PRODUCT;
  double eps = pare__dtype_epsilon(p->dtype[0] == PARE_F64 ? PARE_F64 : PARE_F32), value = product ? 1 : 0,
         magnitude = 0;
  for (int64_t r = 0; r < s->length; r++) {
    double x = mapped(s, element(s, r));
    value = product ? value * x : value + x;
    magnitude += fabs(x);
  }
  double error = eps * chain(s) * magnitude + (double)s->length * FLT_MIN;
  if (operation == PARE__REDUCE_SPREAD) error += eps * 4 * magnitude;
  if (product) error = eps * ((double)s->length + 16) * fabs(value) + FLT_MIN;
  if (!(p->mode & PARE__REDUCE_FINAL)) return (outcome){value, 0, error, 0};
  double count = (double)p->dim[PARE__REDUCE_COUNT];
  switch (operation) {
  case PARE__REDUCE_MEAN: return (outcome){value / count, 0, error / count + 2 * eps * fabs(value / count), 0};
  case PARE__REDUCE_L2:
    return (outcome){sqrt(value), 0, value > 0 ? error / sqrt(value) + 4 * eps * sqrt(value) : 0, 0};
  case PARE__REDUCE_LOG_SUM:
    return (outcome){log(value), 0, value != 0 ? error / fabs(value) + 4 * eps * (fabs(log(value)) + 1) : 0, 0};
  default: return (outcome){value, 0, error, 0};
  }
}

/* Modulo 2^64, and then modulo the output's width. */
static outcome reduce_integers(const span *s) {
  const pare__problem *p = s->problem;
  int operation = operation_of(p);
  bool is_unsigned = pare__dtype_is_unsigned(p->dtype[0]);
  uint64_t total = operation == PARE__REDUCE_PRODUCT ? 1 : 0;
  for (int64_t r = 0; r < s->length; r++) {
    uint64_t x = (uint64_t)integer(s, r);
    bool first = p->mode & PARE__REDUCE_FIRST;
    if (first && operation == PARE__REDUCE_L1 && !is_unsigned && (int64_t)x < 0) x = 0 - x;
    if (first && (operation == PARE__REDUCE_L2 || operation == PARE__REDUCE_SUM_SQUARE)) x *= x;
    total = operation == PARE__REDUCE_PRODUCT ? total * x : total + x;
  }
  int64_t result = (int64_t)total;
  if (p->mode & PARE__REDUCE_FINAL) {
    int64_t count = p->dim[PARE__REDUCE_COUNT];
    if (operation == PARE__REDUCE_MEAN) result = is_unsigned ? (int64_t)(total / (uint64_t)count) : result / count;
    if (operation == PARE__REDUCE_L2) result = (int64_t)floor(sqrt((double)result));
  }
  pare_dtype out = p->dtype[2];
  int64_t kept = 0;
  memcpy(&kept, &result, pare_dtype_bytes(out));
  return (outcome){pare__load(out, &kept, 0), 0, 0, 0};
}

static outcome reduce_span(const span *s) {
  int operation = operation_of(s->problem);
  if (is_extreme(operation)) return reduce_extreme(s);
  if (operation == PARE__REDUCE_LOG_SUM_EXP) return reduce_log_sum_exp(s);
  return pare__dtype_is_float(s->problem->dtype[0]) ? reduce_floats(s) : reduce_integers(s);
}

bool pare__reduce_reference(const pare__problem *p, void *const *data, double *const *expected,
                            double *const *tolerance) {
  int64_t outer = p->dim[PARE__REDUCE_OUTER], reduced = p->dim[PARE__REDUCE_REDUCED],
          inner = p->dim[PARE__REDUCE_INNER];
  int64_t block = p->dim[PARE__REDUCE_BLOCK], blocks = PARE__MAX(1, pare__div_up(reduced, block));
  bool spread = operation_of(p) == PARE__REDUCE_SPREAD && (p->mode & PARE__REDUCE_FIRST);
  for (int64_t k = 0; k < outer * blocks * inner; k++) {
    int64_t o = k / (blocks * inner), b = k / inner % blocks, i = k % inner, from = b * block;
    span s = {p,
              data,
              (size_t)(o * p->dim[PARE__REDUCE_X_OUTER] + from * p->dim[PARE__REDUCE_X_REDUCED] + i),
              PARE__MIN(block, reduced - from),
              from,
              0};
    if (spread) s.centre = pare__load(p->dtype[1], data[1], (size_t)(o * inner + i));
    outcome result = reduce_span(&s);
    size_t at = (size_t)(o * p->dim[PARE__REDUCE_Y_OUTER] + b * p->dim[PARE__REDUCE_Y_BLOCK] + i);
    if (expected[2]) {
      expected[2][at] = pare__reference_overflow(p->dtype[2], result.value);
      bool exact = is_extreme(operation_of(p)) || !pare__dtype_is_float(p->dtype[2]) || result.value_error < 0;
      tolerance[2][at] = result.value_error + (exact ? 0 : pare__reference_rounding(p->dtype[2], result.value));
    }
    if (expected[3]) {
      expected[3][at] = result.extra;
      tolerance[3][at] = result.extra_error;
    }
  }
  return true;
}
