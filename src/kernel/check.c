/* Runs one problem with one variant and compares it with the family's double-precision reference.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every buffer has a guard before and after it: operands start at odd offsets, and what lies outside must stay as it
 * was. Outputs start as garbage, so that an element that is not written shows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/kernel.h"
#include "kernel/reference.h"

#define GUARD 67 /* elements on either side; prime, so that nothing is aligned by luck */
#define GARBAGE 0xCB

typedef struct trial {
  const pare__family *family;
  const pare__problem *problem;
  pare__buffer_spec spec[PARE__MAX_BUFFERS];
  size_t element[PARE__MAX_BUFFERS], nbytes[PARE__MAX_BUFFERS]; /* without guards */
  void *data[PARE__MAX_BUFFERS];                                /* inputs, as the reference sees them */
  pare__buffer *buffer[PARE__MAX_BUFFERS];
  pare__operand operand[PARE__MAX_BUFFERS];
} trial;

static void fill_uniform(pare_dtype dtype, int64_t elements, uint64_t seed, void *data) {
  uint64_t state = seed;
  size_t element = pare_dtype_bytes(dtype);
  for (int64_t i = 0; i < elements; i++) {
    if (pare__dtype_is_float(dtype)) {
      pare__store(dtype, data, (size_t)i, pare__reference_uniform(&state));
    } else {
      uint64_t bits = pare__reference_random(&state);
      if (dtype == PARE_BOOL) bits &= 1;
      memcpy((char *)data + (size_t)i * element, &bits, element);
    }
  }
}

static bool is_input(const pare__buffer_spec *spec) { return spec->role == PARE__IN || spec->role == PARE__INOUT; }
static bool is_output(const pare__buffer_spec *spec) { return spec->role == PARE__OUT || spec->role == PARE__INOUT; }

static pare_status make_buffer(pare__device *device, trial *t, unsigned i, uint64_t seed) {
  size_t element = t->element[i], total = t->nbytes[i] + 2 * GUARD * element;
  char *image = malloc(total);
  if (!image) return pare__fail_memory("test data", total);
  memset(image, GARBAGE, total);
  char *start = image + GUARD * element;
  if (is_input(&t->spec[i]) && t->nbytes[i] > 0) {
    if (t->family->generate)
      t->family->generate(t->problem, i, seed, start);
    else
      fill_uniform(t->problem->dtype[i], t->spec[i].elements, seed * PARE__MAX_BUFFERS + i, start);
    t->data[i] = malloc(t->nbytes[i]);
    if (t->data[i]) memcpy(t->data[i], start, t->nbytes[i]);
  }
  pare_status status = PARE_OK;
  if (is_input(&t->spec[i]) && t->nbytes[i] > 0 && !t->data[i]) status = pare__fail_memory("test data", t->nbytes[i]);
  if (status == PARE_OK) status = pare__buffer_create(device, total, "test data", &t->buffer[i]);
  if (status == PARE_OK) status = pare__buffer_write(t->buffer[i], 0, total, image);
  if (status == PARE_OK) t->operand[i] = (pare__operand){pare__buffer_mem(t->buffer[i]), GUARD};
  free(image);
  return status;
}

static pare_status trial_open(pare__device *device, const pare__family *family, const pare__problem *problem,
                              uint64_t seed, trial *t) {
  memset(t, 0, sizeof *t);
  t->family = family;
  t->problem = problem;
  for (unsigned i = 0; i < family->nbuffers; i++) {
    t->spec[i].role = PARE__ABSENT;
    family->buffer(problem, i, &t->spec[i]);
    if (t->spec[i].role == PARE__ABSENT) continue;
    t->element[i] = pare_dtype_bytes(problem->dtype[i]);
    t->nbytes[i] = (size_t)t->spec[i].elements * t->element[i];
    PARE__TRY(make_buffer(device, t, i, seed));
  }
  return PARE_OK;
}

static void trial_close(trial *t) {
  for (unsigned i = 0; i < PARE__MAX_BUFFERS; i++) {
    pare__buffer_release(t->buffer[i]);
    free(t->data[i]);
  }
}

/* error / tolerance of one element; 0 = right, infinity = hopeless. */
static double badness(double got, double expected, double tolerance) {
  if (tolerance < 0 || got == expected || (isnan(got) && isnan(expected))) return 0;
  double error = fabs(got - expected);
  if (isnan(error) || isinf(expected) || tolerance == 0) return INFINITY;
  return error / tolerance;
}

static bool all_garbage(const unsigned char *bytes, size_t nbytes) {
  for (size_t i = 0; i < nbytes; i++)
    if (bytes[i] != GARBAGE) return false;
  return true;
}

static void compare_elements(const trial *t, unsigned i, const char *image, const double *expected,
                             const double *tolerance, double *worst, char *reason, size_t capacity) {
  size_t after = GUARD * t->element[i] + t->nbytes[i];
  const unsigned char *bytes = (const unsigned char *)image;
  if (!all_garbage(bytes, GUARD * t->element[i]) || !all_garbage(bytes + after, GUARD * t->element[i])) {
    *worst = INFINITY;
    snprintf(reason, capacity, "output %u: wrote outside of its buffer", i);
    return;
  }
  for (int64_t k = 0; k < t->spec[i].elements; k++) {
    double got = pare__load(t->problem->dtype[i], image + GUARD * t->element[i], (size_t)k);
    double bad = badness(got, expected[k], tolerance[k]);
    if (bad <= *worst) continue;
    *worst = bad;
    snprintf(reason, capacity, "output %u, element %lld of %lld: got %.9g, expected %.9g (tolerance %.2g)", i,
             (long long)k, (long long)t->spec[i].elements, got, expected[k], tolerance[k]);
  }
}

static pare_status compare(const trial *t, double *worst, char *reason, size_t capacity) {
  double *expected[PARE__MAX_BUFFERS] = {0}, *tolerance[PARE__MAX_BUFFERS] = {0};
  char *image = NULL;
  pare_status status = PARE_OK;
  for (unsigned i = 0; i < t->family->nbuffers; i++) {
    if (!is_output(&t->spec[i])) continue;
    size_t n = (size_t)t->spec[i].elements + 1;
    expected[i] = calloc(n, sizeof(double));
    tolerance[i] = calloc(n, sizeof(double));
    if (!expected[i] || !tolerance[i]) {
      status = pare__fail_memory("the reference", n * sizeof(double));
      goto out;
    }
  }
  if (!t->family->reference(t->problem, t->data, expected, tolerance)) {
    status = pare__fail_memory("the reference", 0);
    goto out;
  }
  for (unsigned i = 0; i < t->family->nbuffers; i++) {
    if (!is_output(&t->spec[i])) continue;
    size_t total = t->nbytes[i] + 2 * GUARD * t->element[i];
    free(image);
    image = malloc(total);
    if (!image) {
      status = pare__fail_memory("test results", total);
      goto out;
    }
    status = pare__buffer_read(t->buffer[i], 0, total, image);
    if (status != PARE_OK) goto out;
    compare_elements(t, i, image, expected[i], tolerance[i], worst, reason, capacity);
  }
out:
  free(image);
  for (unsigned i = 0; i < PARE__MAX_BUFFERS; i++) {
    free(expected[i]);
    free(tolerance[i]);
  }
  return status;
}

pare_status pare__check(pare__device *device, const pare__family *family, const pare__variant *variant,
                        const pare__tuning *tuning, const pare__problem *problem, uint64_t seed, double *worst,
                        char *reason, size_t capacity) {
  *worst = 0;
  if (capacity > 0) reason[0] = '\0';
  trial t;
  pare_status status = trial_open(device, family, problem, seed, &t);
  pare__choice choice = {variant, *tuning};
  if (status == PARE_OK) status = pare__run_choice(device, family, &choice, problem, problem, t.operand);
  if (status == PARE_OK) status = compare(&t, worst, reason, capacity);
  trial_close(&t);
  return status;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

pare_status pare__time(pare__device *device, const pare__family *family, const pare__choice *choice,
                       const pare__problem *problem, unsigned rounds, double *seconds) {
  enum { MAX_ROUNDS = 101, MAX_REPEATS = 4096 };
  const double sample_seconds = 2e-3; /* long enough that one finish does not show */
  double sample[MAX_ROUNDS];
  rounds = PARE__MAX(1U, PARE__MIN(rounds, (unsigned)MAX_ROUNDS));
  trial t;
  pare_status status = trial_open(device, family, problem, 1, &t);
  unsigned repeats = 1;
  for (int warm = 0; status == PARE_OK && warm < 3; warm++) {
    double start = pare__seconds();
    for (unsigned k = 0; status == PARE_OK && k < repeats; k++)
      status = pare__run_choice(device, family, choice, problem, problem, t.operand);
    if (status == PARE_OK) status = pare__device_finish(device);
    double one = (pare__seconds() - start) / repeats;
    if (warm > 0) repeats = (unsigned)PARE__MAX(1.0, PARE__MIN(sample_seconds / PARE__MAX(one, 1e-7), MAX_REPEATS));
  }
  for (unsigned round = 0; status == PARE_OK && round < rounds; round++) {
    double start = pare__seconds();
    for (unsigned k = 0; status == PARE_OK && k < repeats; k++)
      status = pare__run_choice(device, family, choice, problem, problem, t.operand);
    if (status == PARE_OK) status = pare__device_finish(device);
    sample[round] = (pare__seconds() - start) / repeats;
  }
  trial_close(&t);
  if (status != PARE_OK) return status;
  qsort(sample, rounds, sizeof sample[0], by_value);
  *seconds = sample[rounds / 2];
  return PARE_OK;
}
