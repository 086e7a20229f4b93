/* Pooling and transposed convolution over any number of dimensions, against their formulas in double precision.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/pool.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

enum { RANK = PARE_CONVOLUTION_RANK, N = 2, CHANNELS = 3 };

static char folder[] = "/tmp/pare-test-windows-XXXXXX";

/* ---- pooling ---- */

typedef struct window {
  int rank;
  int64_t x[RANK], y[RANK];
  pare_pool_options options;
} window;

static const window windows[] = {
    {1, {11}, {5}, {{3}, {2}, {1}, {1}, {1}, 3, true, false, false}},
    {2, {5, 6}, {5, 3}, {{2, 3}, {1, 2}, {1, 1}, {0, 1}, {1, 1}, 2, false, false, false}},
    {3, {4, 3, 5}, {3, 2, 3}, {{2, 2, 3}, {0}, {1, 1, 1}, {0}, {0}, 1, false, false, false}},
    {4, {3, 4, 2, 5}, {3, 2, 2, 3}, {{3, 2, 1, 3}, {1, 2, 1, 2}, {0}, {1, 0, 0, 1}, {1, 0, 0, 1}, 3, false, 0, 0}},
    {5, {3, 2, 4, 3, 2}, {1, 1, 2, 3, 2}, {{2, 2, 2, 1, 1}, {1, 1, 2, 1, 1}, {2, 1, 1}, {0}, {0}, 2, false, 0, 0}},
    {6,
     {2, 3, 2, 2, 3, 2},
     {1, 2, 2, 1, 3, 2},
     {{2, 2, 2, 2, 2, 1}, {0}, {0}, {0, 0, 1, 0, 1, 0}, {0, 0, 0, 0, 0, 0}, 2, true, 0, 0}},
};
enum { NWINDOWS = sizeof windows / sizeof *windows };

static int64_t or_one(int64_t value) { return value ? value : 1; }

typedef struct pooled {
  double value;
  int64_t index; /* of the first maximum */
} pooled;

/* The window at `place`, straight from the formula. */
static pooled pool_at(const window *w, const float *x, int64_t first, const int64_t *place, pare_pooling pooling) {
  const pare_pool_options *o = &w->options;
  int64_t taps = 1, count = 0;
  double sum = pooling == PARE_POOLING_MAX ? -INFINITY : 0;
  pooled found = {0, -1};
  for (int d = 0; d < w->rank; d++) taps *= o->kernel[d];
  for (int64_t t = 0; t < taps; t++) {
    int64_t at = 0, rest = t, tap[RANK];
    bool inside = true, padded = true;
    for (int d = w->rank - 1; d >= 0; d--) tap[d] = rest % o->kernel[d], rest /= o->kernel[d];
    for (int d = 0; d < w->rank; d++) {
      const int64_t i = place[d] * or_one(o->stride[d]) - o->pad[d] + tap[d] * or_one(o->dilation[d]);
      inside = inside && i >= 0 && i < w->x[d];
      padded = padded && i < w->x[d] + o->pad_after[d];
      at = at * w->x[d] + i;
    }
    count += inside || (padded && o->count_padding);
    if (!inside) continue;
    const double value = (double)x[first + at];
    if (pooling == PARE_POOLING_MAX && value > sum) {
      sum = value;
      found.index = first + at;
    }
    if (pooling == PARE_POOLING_AVERAGE) sum += value;
    if (pooling == PARE_POOLING_NORM) sum += pow(fabs(value), o->p);
  }
  found.value = pooling == PARE_POOLING_AVERAGE ? sum / (double)count
                : pooling == PARE_POOLING_NORM  ? pow(sum, 1 / o->p)
                                                : sum;
  return found;
}

static void check_pooled(const window *w, pare_pooling pooling, const float *x, pare_tensor *y, pare_tensor *indices) {
  int64_t y_area = 1, x_area = 1, *index = NULL;
  for (int d = 0; d < w->rank; d++) y_area *= w->y[d], x_area *= w->x[d];
  float *found = floats_of(y);
  if (indices) {
    index = malloc((size_t)(N * CHANNELS * y_area) * sizeof *index);
    OK(pare_tensor_read(indices, index, (size_t)(N * CHANNELS * y_area) * sizeof *index));
  }
  for (int64_t i = 0; i < N * CHANNELS * y_area; i++) {
    int64_t place[RANK], rest = i % y_area;
    for (int d = w->rank - 1; d >= 0; d--) place[d] = rest % w->y[d], rest /= w->y[d];
    const pooled expected = pool_at(w, x, i / y_area * x_area, place, pooling);
    ck_assert_msg(fabs((double)found[i] - expected.value) <= 1e-5 * fmax(1, fabs(expected.value)),
                  "element %lld: %g, expected %g", (long long)i, (double)found[i], expected.value);
    if (index) ck_assert_int_eq(index[i], expected.index);
  }
  free(index);
  free(found);
}

START_TEST(pooling_over_any_number_of_dimensions) {
  const window *w = &windows[_i % NWINDOWS];
  const pare_pooling pooling = (pare_pooling)(_i / NWINDOWS);
  int64_t x_dim[PARE_MAX_RANK] = {N, CHANNELS}, y_dim[PARE_MAX_RANK] = {N, CHANNELS};
  memcpy(x_dim + 2, w->x, sizeof w->x);
  memcpy(y_dim + 2, w->y, sizeof w->y);
  const int rank = w->rank + 2;
  float *data = random_floats(count_of(rank, x_dim), 1);
  for (int64_t i = 0; i < count_of(rank, x_dim); i++) data[i] = floorf(data[i] * 4); /* many maxima are equal */
  pare_tensor *x = tensor_of(PARE_F32, rank, x_dim, data), *y = empty_tensor(PARE_F32, rank, y_dim);
  pare_tensor *indices = pooling == PARE_POOLING_MAX ? empty_tensor(PARE_I64, rank, y_dim) : NULL;
  OK(pare_pool(x, pooling, &w->options, y, indices));
  check_pooled(w, pooling, data, y, indices);
  pare_tensor_close(indices);
  pare_tensor_close(y);
  pare_tensor_close(x);
  free(data);
}
END_TEST

/* ---- transposed convolution ---- */

static const struct {
  int rank;
  int64_t groups, x[RANK], k[RANK], stride[RANK], dilation[RANK], pads[2 * RANK], y[RANK];
} spreads[] = {
    {2, 2, {3, 2}, {3, 2}, {2, 1}, {1, 2}, {1, 0, 0, 1}, {6, 3}},
    {4, 1, {2, 3, 1, 2}, {2, 1, 3, 2}, {2, 1, 1, 3}, {1, 1, 1, 1}, {0, 0, 1, 0, 1, 0, 1, 0}, {3, 3, 1, 5}},
    {5, 2, {2, 1, 2, 2, 2}, {1, 2, 2, 2, 1}, {3, 1, 1, 2, 1}, {1, 1, 1, 1, 1}, {0}, {4, 2, 3, 4, 2}},
    {6, 2, {1, 2, 2, 1, 2, 1}, {2, 1, 1, 2, 2, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 2, 1}, {0}, {2, 2, 2, 2, 4, 1}},
};

START_TEST(transposed_convolutions_spread_every_element) {
  enum { IN = 4, OUT = 2 }; /* channels; OUT: of a group */
  const int rank = spreads[_i].rank;
  const int64_t groups = spreads[_i].groups, *k_dim = spreads[_i].k;
  int64_t x_dim[PARE_MAX_RANK] = {1, IN}, w_dim[PARE_MAX_RANK] = {IN, OUT}, x_area = 1, k_area = 1, y_area = 1;
  for (int d = 0; d < rank; d++) {
    x_area *= x_dim[2 + d] = spreads[_i].x[d];
    k_area *= w_dim[2 + d] = k_dim[d];
    y_area *= spreads[_i].y[d];
  }
  float *x = random_floats(IN * x_area, 1), *w = random_floats(IN * OUT * k_area, 2), *bias = random_floats(OUT * 2, 3);
  double *expected = calloc((size_t)(OUT * groups * y_area), sizeof *expected);
  for (int64_t o = 0; o < OUT * groups; o++)
    for (int64_t i = 0; i < y_area; i++) expected[o * y_area + i] = (double)bias[o];
  for (int64_t i = 0; i < IN * x_area; i++)
    for (int64_t k = 0; k < OUT * k_area; k++) {
      int64_t at = 0, step = 1, from = i % x_area, tap = k % k_area;
      bool inside = true;
      for (int d = rank - 1; d >= 0; d--) {
        const int64_t length = spreads[_i].y[d];
        const int64_t to = from % spreads[_i].x[d] * spreads[_i].stride[d] + tap % k_dim[d] * spreads[_i].dilation[d] -
                           spreads[_i].pads[d];
        inside = inside && to >= 0 && to < length;
        at += to * step;
        step *= length;
        from /= spreads[_i].x[d];
        tap /= k_dim[d];
      }
      const int64_t c = i / x_area, o = c / (IN / groups) * OUT + k / k_area;
      if (inside) expected[o * y_area + at] += (double)x[i] * (double)w[c * OUT * k_area + k];
    }
  one_node one = one_node_begin(17, "ConvTranspose", "x w b", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, rank + 2, x_dim, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, rank + 2, w_dim, w);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){OUT * groups}, bias);
  node_int(one.onnx, one.node, "group", groups);
  node_ints(one.onnx, one.node, "strides", (size_t)rank, spreads[_i].stride);
  node_ints(one.onnx, one.node, "dilations", (size_t)rank, spreads[_i].dilation);
  node_ints(one.onnx, one.node, "pads", 2 * (size_t)rank, spreads[_i].pads);
  one_node_expect(folder, &one, "y", OUT * groups * y_area, expected);
  FREE_ALL(x, w, bias);
  free(expected);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("windows");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, pooling_over_any_number_of_dimensions, 0, PARE_NPOOLINGS * NWINDOWS);
  tcase_add_loop_test(tests, transposed_convolutions_spread_every_element, 0, (int)(sizeof spreads / sizeof *spreads));
  return remove_folder(folder, run_tests("windows", tests));
}
