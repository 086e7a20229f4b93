/* Convolution on tensors: laws of shapes, groups, splitting, blocks. SPDX-License-Identifier: Apache-2.0 */
#include <pare/convolve.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "tensor/context.h"

static pare_context *context;

static void open_context(void) { ck_assert_msg(pare_context_open(NULL, &context) == PARE_OK, "%s", pare_message()); }
static void close_context(void) { pare_context_close(context); }

static size_t count_of(int rank, const int64_t *dim) {
  size_t count = 1;
  for (int d = 0; d < rank; d++) count *= (size_t)dim[d];
  return count;
}

/* Small whole numbers: sums are exact, so that any order gives the same. */
static pare_tensor *make(int rank, const int64_t *dim, unsigned seed, float **data) {
  const size_t count = count_of(rank, dim);
  float *values = malloc((count + 1) * sizeof *values);
  for (size_t i = 0; i < count; i++) values[i] = (float)((int)((i * 2654435761U + seed * 40503U) >> 7 & 15U) - 7);
  pare_tensor *tensor = NULL;
  OK(pare_tensor_from(context, PARE_F32, rank, dim, values, count * sizeof *values, &tensor));
  if (data)
    *data = values;
  else
    free(values);
  return tensor;
}

static float *contents(pare_tensor *tensor) {
  const size_t nbytes = (size_t)pare_tensor_elements(tensor) * sizeof(float);
  float *values = malloc(nbytes + 1);
  OK(pare_tensor_read(tensor, values, nbytes));
  return values;
}

enum { RANK = PARE_CONVOLUTION_RANK };

typedef struct shape {
  int rank;
  int64_t n, groups, channels, outputs, x[RANK], k[RANK], y[RANK];
  pare_convolution_options options;
} shape;

static const shape shapes[] = {
    {1, 2, 1, 5, 9, {17}, {3}, {9}, {{2}, {1}, {1}, 1, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {2, 1, 1, 19, 33, {7, 13}, {3, 3}, {7, 13}, {{0}, {0}, {1, 1}, 0, PARE_ACTIVATION_RELU, 0, 0, 1, 0, 0, 0}},
    {2, 3, 2, 4, 6, {9, 8}, {2, 3}, {4, 10}, {{2, 1}, {2, 1}, {0, 2}, 2, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {2, 1, 11, 1, 1, {9, 21}, {3, 3}, {5, 11}, {{2, 2}, {1, 1}, {1, 1}, 11, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {2, 2, 1, 37, 41, {9, 14}, {3, 3}, {9, 14}, {{0}, {0}, {1, 1}, 0, PARE_ACTIVATION_RELU, 0, 0, 1, 0, 0, 0}},
    {3, 1, 1, 3, 4, {4, 5, 6}, {2, 3, 2}, {5, 3, 7}, {{0}, {0}, {1, 0, 1}, 0, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {2, 2, 1, 9, 7, {19, 1}, {5, 1}, {9, 1}, {{2, 3}, {1, 1}, {1, 0}, 0, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {2, 1, 5, 1, 1, {23, 1}, {3, 1}, {23, 1}, {{1, 1}, {1, 1}, {1, 0}, 5, PARE_ACTIVATION_RELU, 0, 0, 1, 0, 0, 0}},
    {3, 1, 1, 3, 5, {21, 1, 1}, {4, 1, 1}, {18, 1, 1}, {{0}, {0}, {0}, 0, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {2, 3, 1, 6, 5, {1, 1}, {1, 1}, {1, 1}, {{0}, {0}, {0}, 0, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {4,
     2,
     1,
     3,
     5,
     {5, 3, 4, 6},
     {2, 1, 3, 3},
     {3, 3, 4, 3},
     {{2, 1, 1, 2}, {2, 1, 1, 1}, {1, 0, 1, 1}, 0, PARE_ACTIVATION_RELU, 0, 0, 1, 0, 0, 0}},
    {5,
     1,
     2,
     2,
     3,
     {3, 4, 2, 3, 5},
     {3, 2, 1, 2, 3},
     {1, 5, 2, 2, 5},
     {{0}, {0}, {0, 1, 0, 0, 1}, 2, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
    {6,
     2,
     3,
     1,
     1,
     {4, 3, 2, 2, 3, 3},
     {2, 2, 1, 2, 2, 1},
     {2, 2, 3, 1, 4, 3},
     {{1, 1, 1, 1, 1, 1}, {1, 2, 1, 1, 1, 1}, {-1, 1, 0, 0, 1, 0}, 3, PARE_ACTIVATION_NONE, 0, 0, 1, 0, 0, 0}},
};

typedef struct instance {
  shape s;
  pare_tensor *x, *w, *bias, *residual, *y;
  float *x_data, *w_data, *bias_data, *residual_data;
  pare_convolution_weights *weights;
} instance;

static void dims_of(int64_t *dim, int64_t a, int64_t b, int rank, const int64_t *rest) {
  dim[0] = a;
  dim[1] = b;
  memcpy(dim + 2, rest, (size_t)rank * sizeof *rest);
}

static void instance_open(const shape *s, instance *t) {
  int64_t dim[PARE_MAX_RANK];
  t->s = *s;
  dims_of(dim, s->n, s->groups * s->channels, s->rank, s->x);
  t->x = make(s->rank + 2, dim, 1, &t->x_data);
  dims_of(dim, s->groups * s->outputs, s->channels, s->rank, s->k);
  t->w = make(s->rank + 2, dim, 2, &t->w_data);
  t->bias = make(1, (const int64_t[]){s->groups * s->outputs}, 3, &t->bias_data);
  dims_of(dim, s->n, s->groups * s->outputs, s->rank, s->y);
  t->residual = make(s->rank + 2, dim, 4, &t->residual_data);
  OK(pare_tensor_create(context, PARE_F32, s->rank + 2, dim, &t->y));
  OK(pare_convolution_weights_pack(t->w, &s->options, &t->weights));
}

static void instance_close(instance *t) {
  pare_convolution_weights_close(t->weights);
  pare_tensor *const tensors[] = {t->x, t->w, t->bias, t->residual, t->y};
  for (size_t i = 0; i < 5; i++) pare_tensor_close(tensors[i]);
  free(t->x_data);
  free(t->w_data);
  free(t->bias_data);
  free(t->residual_data);
}

static int64_t at(const int64_t *values, int rank, int d, int64_t otherwise) {
  return d < RANK - rank || values[d - (RANK - rank)] == 0 ? otherwise : values[d - (RANK - rank)];
}

/* Straight from the formula. */
static double expected_at(const instance *t, size_t index) {
  const shape *s = &t->s;
  const pare_convolution_options *o = &s->options;
  int64_t pixel[RANK], channel, n, y_area = 1, x_area = 1, k_area = 1;
  for (int d = 0; d < s->rank; d++) y_area *= s->y[d], x_area *= s->x[d], k_area *= s->k[d];
  int64_t rest = (int64_t)index % y_area;
  for (int d = RANK - 1; d >= 0; d--) pixel[d] = rest % at(s->y, s->rank, d, 1), rest /= at(s->y, s->rank, d, 1);
  channel = (int64_t)index / y_area % (s->groups * s->outputs);
  n = (int64_t)index / y_area / (s->groups * s->outputs);
  double sum = (double)t->bias_data[channel] + (double)t->residual_data[index];
  for (int64_t c = 0; c < s->channels; c++)
    for (int64_t k = 0; k < k_area; k++) {
      int64_t tap[RANK], from = 0, left = k;
      bool inside = true;
      for (int d = RANK - 1; d >= 0; d--) tap[d] = left % at(s->k, s->rank, d, 1), left /= at(s->k, s->rank, d, 1);
      for (int d = 0; d < RANK; d++) {
        const int64_t i = pixel[d] * at(o->stride, s->rank, d, 1) - at(o->pad, s->rank, d, 0) +
                          tap[d] * at(o->dilation, s->rank, d, 1);
        inside = inside && i >= 0 && i < at(s->x, s->rank, d, 1);
        from = from * at(s->x, s->rank, d, 1) + i;
      }
      if (!inside) continue;
      const int64_t x_channel = channel / s->outputs * s->channels + c;
      sum += (double)t->x_data[(n * s->groups * s->channels + x_channel) * x_area + from] *
             (double)t->w_data[(channel * s->channels + c) * k_area + k];
    }
  return o->activation == PARE_ACTIVATION_RELU && sum < 0 ? 0 : sum;
}

/* Exact, but for Winograd's algorithm, which serves many channels. */
static void check_result(const instance *t, pare_tensor *y) {
  const double tolerance = t->s.channels >= 32 ? 0.05 : 0;
  float *got = contents(y);
  for (size_t i = 0; i < (size_t)pare_tensor_elements(y); i++) {
    const double error = (double)got[i] - expected_at(t, i);
    ck_assert_msg(error <= tolerance && error >= -tolerance, "element %zu: %g, expected %g", i, (double)got[i],
                  expected_at(t, i));
  }
  free(got);
}

START_TEST(gives_the_sum_of_the_formula) {
  instance t;
  instance_open(&shapes[_i], &t);
  OK(pare_convolve(t.x, t.weights, t.bias, t.residual, &t.s.options, t.y));
  check_result(&t, t.y);
  instance_close(&t);
}
END_TEST

START_TEST(pieces_have_the_same_bits) {
  instance t;
  instance_open(&shapes[_i], &t);
  const size_t nbytes = (size_t)pare_tensor_elements(t.y) * sizeof(float);
  float *whole = NULL;
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare__context_split(context, pieces);
    OK(pare_convolve(t.x, t.weights, t.bias, t.residual, &t.s.options, t.y));
    pare__context_split(context, 0);
    check_result(&t, t.y);
    float *got = contents(t.y);
    if (whole) ck_assert_mem_eq(whole, got, nbytes);
    free(whole);
    whole = got;
  }
  free(whole);
  instance_close(&t);
}
END_TEST

START_TEST(strided_results_and_sums_in_place) {
  instance t;
  instance_open(&shapes[_i], &t);
  OK(pare_convolve(t.x, t.weights, t.bias, t.residual, &t.s.options, t.residual));
  check_result(&t, t.residual);
  pare_tensor *wide = NULL, *view = NULL;
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, pare_tensor_shape(t.y), (size_t)(t.s.rank + 2) * sizeof *dim);
  const int last = t.s.rank + 1;
  dim[last] = 2 * dim[last] + 1;
  wide = make(last + 1, dim, 9, NULL);
  OK(pare_tensor_slice(wide, last, 1, pare_tensor_shape(t.y)[last], 2, &view));
  OK(pare_tensor_write(t.residual, t.residual_data, (size_t)pare_tensor_elements(t.y) * sizeof(float)));
  OK(pare_convolve(t.x, t.weights, t.bias, t.residual, &t.s.options, view));
  check_result(&t, view);
  pare_tensor_close(view);
  pare_tensor_close(wide);
  instance_close(&t);
}
END_TEST

static pare_tensor *blocked(pare_tensor *tensor) {
  int64_t dim[PARE_MAX_RANK];
  const int rank = pare_tensor_rank(tensor);
  memcpy(dim, pare_tensor_shape(tensor), (size_t)rank * sizeof *dim);
  dim[rank] = pare_convolution_block(context, PARE_F32);
  dim[1] = (dim[1] + dim[rank] - 1) / dim[rank];
  pare_tensor *out = NULL;
  OK(pare_tensor_create(context, PARE_F32, rank + 1, dim, &out));
  OK(pare_channels_block(tensor, out));
  return out;
}

START_TEST(blocks_change_nothing) {
  instance t;
  if (shapes[_i].rank + 3 > PARE_MAX_RANK) return; /* there is no room for blocks */
  instance_open(&shapes[_i], &t);
  const bool allowed = t.s.rank <= 3 && (t.s.groups == 1 || (t.s.channels == 1 && t.s.outputs == 1));
  pare_tensor *x = blocked(t.x), *residual = blocked(t.residual), *y = blocked(t.y);
  pare_convolution_options options = t.s.options;
  options.x_blocked = options.y_blocked = true;
  const pare_status status = pare_convolve(x, t.weights, t.bias, residual, &options, y);
  ck_assert_int_eq(status, allowed ? PARE_OK : PARE_ERR_UNSUPPORTED);
  if (allowed) {
    OK(pare_channels_unblock(y, t.y));
    check_result(&t, t.y);
  }
  pare_tensor_close(x);
  pare_tensor_close(residual);
  pare_tensor_close(y);
  instance_close(&t);
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
  instance t;
  instance_open(&shapes[0], &t);
  pare_convolution_options options = t.s.options;
  pare_convolution_weights *weights;
  options.groups = 2;
  ck_assert_int_eq(pare_convolution_weights_pack(t.w, &options, &weights), PARE_ERR_SHAPE);
  ck_assert_ptr_null(weights);
  ck_assert_int_eq(pare_convolve(t.x, t.weights, t.bias, t.residual, &options, t.y), PARE_ERR_ARGUMENT);
  options = t.s.options;
  options.stride[0] = -1;
  ck_assert_int_eq(pare_convolve(t.x, t.weights, t.bias, t.residual, &options, t.y), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_convolve(t.y, t.weights, t.bias, NULL, &t.s.options, t.x), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_convolve(t.x, t.weights, t.x, NULL, &t.s.options, t.y), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_convolve(t.x, t.weights, t.bias, t.x, &t.s.options, t.y), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_convolve(t.x, NULL, t.bias, NULL, &t.s.options, t.y), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_convolution_weights_pack(t.bias, NULL, &weights), PARE_ERR_SHAPE);
  instance_close(&t);
}
END_TEST

int main(void) {
  const int nshapes = sizeof shapes / sizeof *shapes;
  TCase *laws = tcase_create("laws");
  tcase_add_unchecked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, gives_the_sum_of_the_formula, 0, nshapes);
  tcase_add_loop_test(laws, pieces_have_the_same_bits, 0, nshapes);
  tcase_add_loop_test(laws, strided_results_and_sums_in_place, 0, nshapes);
  tcase_add_loop_test(laws, blocks_change_nothing, 0, nshapes);
  tcase_add_test(laws, what_does_not_fit_is_refused);
  return run_tests("convolve", laws);
}
