/* GPTQ against a reference in double precision, and its laws. SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/gptq.h"
#include "fixture.h"

#define MOST 80

/* A problem: correlated inputs, their Hessian, weights, and a grid of groups. */
struct problem {
  int64_t rows, columns, group, vectors;
  float *x, *hessian, *w;
  float *scale;
  uint8_t *zero;
};

static struct problem make(int64_t rows, int64_t columns, int64_t group, uint32_t seed) {
  struct problem problem = {.rows = rows, .columns = columns, .group = group, .vectors = 4 * columns};
  problem.x = random_floats(problem.vectors * columns, seed);
  for (int64_t v = 0; v < problem.vectors; v++) /* neighbours resemble each other */
    for (int64_t i = 1; i < columns; i++) problem.x[v * columns + i] += 0.8F * problem.x[v * columns + i - 1];
  problem.hessian = calloc((size_t)(columns * columns), sizeof(float));
  for (int64_t v = 0; v < problem.vectors; v++)
    for (int64_t i = 0; i < columns; i++)
      for (int64_t j = 0; j < columns; j++)
        problem.hessian[i * columns + j] += problem.x[v * columns + i] * problem.x[v * columns + j];
  problem.w = random_floats(rows * columns, seed + 1);
  const int64_t groups = (columns + group - 1) / group;
  problem.scale = malloc((size_t)(rows * groups) * sizeof(float));
  problem.zero = malloc((size_t)(rows * groups));
  for (int64_t i = 0; i < rows * groups; i++) {
    problem.scale[i] = 2.0F / 15;
    problem.zero[i] = 7 + (uint8_t)(i % 2);
  }
  return problem;
}

static void clear(struct problem *problem) {
  free(problem->x);
  free(problem->hessian);
  free(problem->w);
  free(problem->scale);
  free(problem->zero);
}

static pare__gptq_grid grid_of(const struct problem *problem) {
  return (pare__gptq_grid){
      .lowest = 0, .highest = 15, .group = problem->group, .scale = problem->scale, .zero = problem->zero};
}

static double number_of(const struct problem *problem, int64_t row, int64_t column, double value, int *code) {
  const int64_t groups = (problem->columns + problem->group - 1) / problem->group;
  const int64_t at = row * groups + column / problem->group;
  const double scale = problem->scale[at], zero = problem->zero[at];
  *code = (int)fmin(fmax(nearbyint(value / scale) + zero, 0), 15);
  return scale * (*code - zero);
}

/* sum over vectors and rows of ((w - q) x)^2 */
static double output_error(const struct problem *problem, const float *q) {
  double sum = 0;
  for (int64_t r = 0; r < problem->rows; r++)
    for (int64_t v = 0; v < problem->vectors; v++) {
      double y = 0;
      for (int64_t i = 0; i < problem->columns; i++)
        y += ((double)problem->w[r * problem->columns + i] - q[r * problem->columns + i]) *
             problem->x[v * problem->columns + i];
      sum += y * y;
    }
  return sum;
}

static float *quantised_by(const struct problem *problem, const pare__gptq_options *options, uint8_t *mask,
                           uint8_t *codes) {
  const size_t nbytes = (size_t)(problem->rows * problem->columns) * sizeof(float);
  float *w = malloc(nbytes);
  memcpy(w, problem->w, nbytes);
  const pare__gptq_grid grid = grid_of(problem);
  pare__gptq gptq;
  OK(pare__gptq_open(problem->columns, problem->hessian, options, &gptq));
  OK(pare__gptq_rows(&gptq, &grid, problem->rows, w, mask, codes));
  pare__gptq_close(&gptq);
  return w;
}

static float *quantised(const struct problem *problem, double dampening, bool by_activation, int64_t block,
                        uint8_t *mask, uint8_t *codes) {
  const pare__gptq_options options = {.dampening = dampening, .by_activation = by_activation, .block = block};
  return quantised_by(problem, &options, mask, codes);
}

static float *nearest(const struct problem *problem, const uint8_t *mask) {
  float *q = malloc((size_t)(problem->rows * problem->columns) * sizeof(float));
  for (int64_t i = 0; i < problem->rows * problem->columns; i++) {
    int code;
    const double number = number_of(problem, i / problem->columns, i % problem->columns, problem->w[i], &code);
    q[i] = mask && !mask[i] ? 0 : (float)number;
  }
  return q;
}

/* The inverse by Gauss and Jordan, and one step of optimal brain surgery a column: no Cholesky, no blocks. */
static void reference(const struct problem *problem, double dampening, double *q) {
  const int64_t n = problem->columns;
  static double inverse[MOST * MOST], a[MOST * MOST];
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += problem->hessian[i * n + i] / (double)n;
  for (int64_t i = 0; i < n * n; i++) {
    const bool diagonal = i / n == i % n;
    a[i] = problem->hessian[i] + (diagonal ? dampening * mean : 0);
    inverse[i] = diagonal;
  }
  for (int64_t p = 0; p < n; p++) {
    const double pivot = a[p * n + p];
    for (int64_t j = 0; j < n; j++) a[p * n + j] /= pivot;
    for (int64_t j = 0; j < n; j++) inverse[p * n + j] /= pivot;
    for (int64_t i = 0; i < n; i++) {
      const double factor = i == p ? 0 : a[i * n + p];
      for (int64_t j = 0; j < n && factor != 0; j++) a[i * n + j] -= factor * a[p * n + j];
      for (int64_t j = 0; j < n && factor != 0; j++) inverse[i * n + j] -= factor * inverse[p * n + j];
    }
  }
  for (int64_t i = 0; i < problem->rows * n; i++) q[i] = problem->w[i];
  for (int64_t c = 0; c < n; c++) { /* then column c leaves the inverse */
    for (int64_t r = 0; r < problem->rows; r++) {
      int code;
      double *w = q + r * n;
      const double number = number_of(problem, r, c, w[c], &code), error = (w[c] - number) / inverse[c * n + c];
      for (int64_t j = c + 1; j < n; j++) w[j] -= error * inverse[c * n + j];
      w[c] = number;
    }
    for (int64_t i = c + 1; i < n; i++)
      for (int64_t j = n; j-- > c + 1;)
        inverse[i * n + j] -= inverse[i * n + c] * inverse[c * n + j] / inverse[c * n + c];
  }
}

START_TEST(small_matrices_match_a_reference_in_double) {
  struct problem problem = make(5, 16 + 7 * _i, 8, (uint32_t)(40 + _i));
  uint8_t codes[5 * MOST];
  double q[5 * MOST];
  reference(&problem, 0.01, q);
  float *w = quantised(&problem, 0.01, false, 5, NULL, codes);
  int64_t differ = 0;
  for (int64_t i = 0; i < problem.rows * problem.columns; i++) {
    differ += fabs(w[i] - q[i]) > 1e-4;
    const int64_t groups = (problem.columns + 7) / 8;
    const int64_t at = i / problem.columns * groups + i % problem.columns / 8;
    ck_assert_float_eq(w[i], problem.scale[at] * (float)(codes[i] - problem.zero[at]));
  }
  /* a value between two codes may fall to either side, and takes its row along */
  ck_assert_msg(differ <= problem.columns, "%lld elements differ", (long long)differ);
  free(w);
  clear(&problem);
}
END_TEST

START_TEST(blocks_change_nothing_but_rounding) {
  struct problem problem = make(6, 70, 32, 7);
  uint8_t whole[6 * MOST], parts[6 * MOST];
  float *a = quantised(&problem, 0.01, true, 128, NULL, whole), *b = quantised(&problem, 0.01, true, 16, NULL, parts);
  int differ = 0;
  for (int64_t i = 0; i < 6 * 70; i++) differ += whole[i] != parts[i];
  ck_assert_int_le(differ, 70);
  free(a);
  free(b);
  clear(&problem);
}
END_TEST

START_TEST(outputs_are_nearer_than_those_of_rounding) {
  struct problem problem = make(8, 64, 32, (uint32_t)(100 + _i));
  uint8_t codes[8 * MOST], mask[8 * MOST];
  float *rounded = nearest(&problem, NULL), *w = quantised(&problem, 0.01, _i % 2, 32, NULL, codes);
  ck_assert_double_lt(output_error(&problem, w), 0.8 * output_error(&problem, rounded));
  free(rounded);
  free(w);
  for (size_t i = 0; i < sizeof mask; i++) mask[i] = i % 4 < 2; /* 2:4 */
  rounded = nearest(&problem, mask);
  w = quantised(&problem, 0.01, _i % 2, 32, mask, codes);
  ck_assert_double_lt(output_error(&problem, w), 0.8 * output_error(&problem, rounded));
  for (int64_t i = 0; i < 8 * 64; i++)
    if (!mask[i]) ck_assert_float_eq(w[i], 0);
  free(rounded);
  free(w);
  clear(&problem);
}
END_TEST

/* The N largest of each M as they are. */
static void mask_largest(const struct problem *problem, unsigned keep, unsigned of, uint8_t *mask) {
  for (int64_t i = 0; i < problem->rows * problem->columns; i++) {
    const int64_t first = i / of * of;
    unsigned before = 0;
    for (int64_t k = first; k < first + of; k++) {
      const float a = fabsf(problem->w[k]), b = fabsf(problem->w[i]);
      before += a > b || (a == b && k < i);
    }
    mask[i] = before < keep;
  }
}

START_TEST(a_mask_chosen_on_the_way_is_exact_and_better_than_one_chosen_before) {
  static const unsigned structures[][2] = {{2, 4}, {1, 2}, {5, 8}, {1, 3}};
  const unsigned keep = structures[_i % 4][0], of = structures[_i % 4][1];
  struct problem problem = make(8, of == 3 ? 66 : 64, 32, (uint32_t)(200 + _i));
  const int64_t n = problem.rows * problem.columns;
  uint8_t codes[8 * MOST], mask[8 * MOST], largest[8 * MOST] = {0};
  const pare__gptq_options options = {
      .dampening = 0.01, .by_activation = _i / 4 % 2, .block = 20, .keep = keep, .of = of};
  mask_largest(&problem, keep, of, largest);
  float *rounded = nearest(&problem, largest);
  for (int64_t i = 0; i < n; i++) mask[i] = 1;
  float *w = quantised_by(&problem, &options, mask, codes);
  ck_assert_double_lt(output_error(&problem, w), 0.8 * output_error(&problem, rounded));
  for (int64_t first = 0; first < n; first += of) {
    unsigned kept = 0;
    for (int64_t i = first; i < first + of; i++) {
      kept += mask[i];
      if (!mask[i]) ck_assert_float_eq(w[i], 0);
    }
    ck_assert_uint_eq(kept, keep);
  }
  free(w);
  for (int64_t i = 0; i < n; i++) mask[i] = largest[i]; /* a mask that was there is kept */
  w = quantised_by(&problem, &options, mask, codes);
  ck_assert_mem_eq(mask, largest, (size_t)n);
  free(w);
  free(rounded);
  clear(&problem);
}
END_TEST

START_TEST(uncorrelated_inputs_give_the_nearest_codes) {
  struct problem problem = make(4, 48, 16, 3);
  uint8_t codes[4 * MOST];
  for (int64_t i = 0; i < 48 * 48; i++) problem.hessian[i] = i / 48 == i % 48 ? 2 : 0;
  problem.hessian[5 * 48 + 5] = 0; /* an input that never comes */
  float *rounded = nearest(&problem, NULL), *w = quantised(&problem, 0, true, 128, NULL, codes);
  for (int64_t i = 0; i < 4 * 48; i++) ck_assert_float_eq_tol(w[i], rounded[i], 1e-6F);
  free(rounded);
  free(w);
  clear(&problem);
}
END_TEST

START_TEST(a_hessian_that_is_none_is_refused) {
  static const float indefinite[] = {1, 2, 2, 1}, nan[] = {NAN, 0, 0, 1}, nan_beside[] = {1, NAN, NAN, 1};
  const pare__gptq_options options = {.dampening = 0.01, .by_activation = true, .block = 128};
  pare__gptq gptq;
  ck_assert_int_eq(pare__gptq_open(2, indefinite, &options, &gptq), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "dampening_frac"));
  pare__gptq_close(&gptq);
  ck_assert_int_eq(pare__gptq_open(2, nan, &options, &gptq), PARE_ERR_ARGUMENT);
  pare__gptq_close(&gptq);
  ck_assert_int_eq(pare__gptq_open(2, nan_beside, &options, &gptq), PARE_ERR_ARGUMENT);
  pare__gptq_close(&gptq);
  ck_assert_int_eq(pare__gptq_open((int64_t)INT_MAX + 1, indefinite, &options, &gptq), PARE_ERR_LIMIT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "2147483648 columns"));
  pare__gptq_close(&gptq);
}
END_TEST

/* The drift of the problem's inputs from others that they stand for: sum of (y - x) x^T. */
static float *drift_of(const struct problem *problem, const float *y) {
  const int64_t n = problem->columns;
  float *drift = calloc((size_t)(n * n), sizeof *drift);
  for (int64_t v = 0; v < problem->vectors; v++)
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++)
        drift[i * n + j] += (y[v * n + i] - problem->x[v * n + i]) * problem->x[v * n + j];
  return drift;
}

/* y = x with some of its neighbours, and noise. */
static float *wanted_inputs(const struct problem *problem, uint32_t seed) {
  const int64_t n = problem->columns;
  float *y = random_floats(problem->vectors * n, seed);
  for (int64_t i = 0; i < problem->vectors * n; i++)
    y[i] = 0.2F * y[i] + 0.9F * problem->x[i] + 0.3F * problem->x[i / n * n + (i + 3) % n];
  return y;
}

START_TEST(the_pull_of_a_drift_solves_its_equation) {
  struct problem problem = make(1, 40, 8, (uint32_t)(300 + _i));
  const int64_t n = problem.columns;
  float *y = wanted_inputs(&problem, 77), *drift = drift_of(&problem, y);
  const pare__gptq_options options = {.dampening = 0.02, .by_activation = _i % 2, .block = 16, .drift = drift};
  pare__gptq gptq;
  double mean = 0, worst = 0, largest = 0;
  OK(pare__gptq_open(n, problem.hessian, &options, &gptq));
  for (int64_t i = 0; i < n; i++) mean += problem.hessian[i * n + i] / (double)n;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) { /* P (H + lambda I) = D */
      double sum = gptq.pull[i * n + j] * options.dampening * mean;
      for (int64_t k = 0; k < n; k++) sum += (double)gptq.pull[i * n + k] * problem.hessian[k * n + j];
      worst = fmax(worst, fabs(sum - drift[i * n + j]));
      largest = fmax(largest, fabs((double)drift[i * n + j]));
    }
  ck_assert_msg(worst <= 1e-5 * largest, "%g of %g", worst, largest);
  pare__gptq_close(&gptq);
  free(drift);
  free(y);
  clear(&problem);
}
END_TEST

/* sum over vectors and rows of (w y - q x)^2 */
static double distance_to_wanted(const struct problem *problem, const float *y, const float *q) {
  const int64_t n = problem->columns;
  double sum = 0;
  for (int64_t r = 0; r < problem->rows; r++)
    for (int64_t v = 0; v < problem->vectors; v++) {
      double difference = 0;
      for (int64_t i = 0; i < n; i++)
        difference += (double)problem->w[r * n + i] * y[v * n + i] - (double)q[r * n + i] * problem->x[v * n + i];
      sum += difference * difference;
    }
  return sum;
}

START_TEST(weights_pulled_by_the_drift_give_nearer_outputs) {
  struct problem problem = make(8, 48, 16, (uint32_t)(400 + _i));
  const int64_t n = problem.columns;
  uint8_t codes[8 * MOST];
  for (int64_t i = 0; i < 8 * n; i++) problem.w[i] *= 0.6F; /* the grid has room for more */
  float *y = wanted_inputs(&problem, (uint32_t)(500 + _i)), *drift = drift_of(&problem, y);
  float *plain = quantised(&problem, 0.01, true, 128, NULL, codes), *pulled = malloc(8 * (size_t)n * sizeof(float));
  const pare__gptq_options options = {.dampening = 0.01, .by_activation = true, .block = 128, .drift = drift};
  const pare__gptq_grid grid = grid_of(&problem);
  pare__gptq gptq;
  OK(pare__gptq_open(n, problem.hessian, &options, &gptq));
  for (int64_t i = 0; i < 8 * n; i++) {
    double sum = problem.w[i];
    for (int64_t k = 0; k < n; k++) sum += (double)problem.w[i / n * n + k] * gptq.pull[k * n + i % n];
    pulled[i] = (float)sum;
  }
  OK(pare__gptq_rows(&gptq, &grid, 8, pulled, NULL, codes));
  const double with = distance_to_wanted(&problem, y, pulled), without = distance_to_wanted(&problem, y, plain);
  ck_assert_msg(with < 0.7 * without, "%g of %g", with, without);
  pare__gptq_close(&gptq);
  memset(drift, 0, (size_t)(n * n) * sizeof *drift); /* none pulls not at all, and changes no factor */
  pare__gptq bare;
  const pare__gptq_options alone = {.dampening = 0.01, .by_activation = true, .block = 128};
  OK(pare__gptq_open(n, problem.hessian, &options, &gptq));
  OK(pare__gptq_open(n, problem.hessian, &alone, &bare));
  for (int64_t i = 0; i < n * n; i++) ck_assert_float_eq(gptq.pull[i], 0);
  ck_assert_mem_eq(gptq.upper, bare.upper, (size_t)(n * n) * sizeof(float));
  ck_assert_ptr_null(bare.pull);
  pare__gptq_close(&bare);
  pare__gptq_close(&gptq);
  free(pulled);
  free(plain);
  free(drift);
  free(y);
  clear(&problem);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("gptq");
  tcase_add_loop_test(tests, small_matrices_match_a_reference_in_double, 0, 8);
  tcase_add_test(tests, blocks_change_nothing_but_rounding);
  tcase_add_loop_test(tests, outputs_are_nearer_than_those_of_rounding, 0, 8);
  tcase_add_loop_test(tests, a_mask_chosen_on_the_way_is_exact_and_better_than_one_chosen_before, 0, 8);
  tcase_add_test(tests, uncorrelated_inputs_give_the_nearest_codes);
  tcase_add_test(tests, a_hessian_that_is_none_is_refused);
  tcase_add_loop_test(tests, the_pull_of_a_drift_solves_its_equation, 0, 4);
  tcase_add_loop_test(tests, weights_pulled_by_the_drift_give_nearer_outputs, 0, 8);
  return run_tests("gptq", tests);
}
