/* Pooling and resampling on tensors: their laws, in any number of pieces with the same bits.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/pool.h>
#include <pare/resample.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tensor/context.h"

/* Runs `call` as one, two and three pieces into `out`, and compares the bits. What one piece gave; to be freed. */
static float *in_pieces(pare_status (*call)(void *what, pare_tensor *out), void *what, pare_tensor *out) {
  const size_t nbytes = (size_t)pare_tensor_elements(out) * sizeof(float);
  float *whole = NULL;
  for (int pieces = 1; pieces <= 3; pieces++) {
    float *garbage = malloc(nbytes + 1);
    memset(garbage, 0xcb, nbytes);
    OK(pare_tensor_write(out, garbage, nbytes));
    free(garbage);
    pare__context_split(context, pieces);
    OK(call(what, out));
    pare__context_split(context, 0);
    float *got = floats_of(out);
    if (!whole) {
      whole = got;
      continue;
    }
    ck_assert_msg(memcmp(whole, got, nbytes) == 0, "%d pieces give other bits than one", pieces);
    free(got);
  }
  return whole;
}

/* ---- pooling ---- */

static const int64_t x_shape[] = {3, 5, 9, 11}, pooled_shape[] = {3, 5, 5, 6};
static const pare_pool_options pool_options = {{3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 2, false, false, false};

typedef struct pooling {
  pare_tensor *x, *indices;
  pare_pooling pooling;
} pooling;

static pare_status pool(void *what, pare_tensor *out) {
  const pooling *p = what;
  return pare_pool(p->x, p->pooling, &pool_options, out, p->indices);
}

/* One window, straight from the formula; *at: where its first maximum lies. */
static double pooled_at(const float *x, pare_pooling how, int64_t plane, int64_t row, int64_t column, int64_t *at) {
  double most = -INFINITY, sum = 0, squares = 0;
  int count = 0;
  for (int64_t r = 2 * row - 1; r < 2 * row + 2; r++)
    for (int64_t c = 2 * column - 1; c < 2 * column + 2; c++) {
      if (r < 0 || r >= x_shape[2] || c < 0 || c >= x_shape[3]) continue;
      const int64_t index = (plane * x_shape[2] + r) * x_shape[3] + c;
      const double value = (double)x[index];
      if (value > most) {
        most = value;
        *at = index;
      }
      sum += value;
      squares += value * value;
      count++;
    }
  return how == PARE_POOLING_MAX ? most : how == PARE_POOLING_AVERAGE ? sum / count : sqrt(squares);
}

START_TEST(pools_the_windows_of_the_formula) {
  float *x = random_floats(count_of(4, x_shape), 1);
  pooling p = {tensor_of(PARE_F32, 4, x_shape, x), NULL, (pare_pooling)_i};
  const int64_t count = count_of(4, pooled_shape), area = pooled_shape[2] * pooled_shape[3];
  int64_t *indices = malloc((size_t)count * sizeof *indices);
  if (p.pooling == PARE_POOLING_MAX) p.indices = empty_tensor(PARE_I64, 4, pooled_shape);
  pare_tensor *y = empty_tensor(PARE_F32, 4, pooled_shape);
  float *got = in_pieces(pool, &p, y);
  if (p.indices) OK(pare_tensor_read(p.indices, indices, (size_t)count * sizeof *indices));
  for (int64_t i = 0; i < count; i++) {
    int64_t at = -1;
    const double want = pooled_at(x, p.pooling, i / area, i % area / pooled_shape[3], i % pooled_shape[3], &at);
    ck_assert_msg(fabs((double)got[i] - want) <= 1e-5, "element %lld: %g, expected %g", (long long)i, (double)got[i],
                  want);
    if (p.indices) ck_assert_int_eq(indices[i], at);
  }
  pare_tensor_close(p.x);
  pare_tensor_close(p.indices);
  pare_tensor_close(y);
  free(indices);
  free(got);
  free(x);
}
END_TEST

/* ---- interpolation along an axis ---- */

typedef struct resampling {
  pare_tensor *x, *indices, *weights;
} resampling;

static pare_status interpolate(void *what, pare_tensor *out) {
  const resampling *r = what;
  return pare_interpolate(r->x, 2, r->indices, r->weights, 9, out);
}

START_TEST(interpolates_by_the_weights) {
  static const int64_t y_shape[] = {3, 5, 4, 11}, taps_shape[] = {4, 2};
  static const int32_t at[4][2] = {{0, 1}, {3, 8}, {8, 2}, {-1, 4}}; /* below 0: outside */
  static const float weight[4][2] = {{0.25F, 0.75F}, {1, 0}, {-0.5F, 1.5F}, {0.5F, 0.5F}};
  float *x = random_floats(count_of(4, x_shape), 2);
  resampling r = {tensor_of(PARE_F32, 4, x_shape, x), tensor_of(PARE_I32, 2, taps_shape, at),
                  tensor_of(PARE_F32, 2, taps_shape, weight)};
  pare_tensor *y = empty_tensor(PARE_F32, 4, y_shape);
  float *got = in_pieces(interpolate, &r, y);
  for (int64_t i = 0; i < count_of(4, y_shape); i++) {
    const int64_t column = i % 11, row = i / 11 % 4, plane = i / 44;
    double want = 0;
    for (int t = 0; t < 2; t++)
      want += (double)weight[row][t] * (double)x[(plane * 9 + PARE__MAX(at[row][t], 0)) * 11 + column];
    if (at[row][0] < 0) want = 9;
    ck_assert_msg(fabs((double)got[i] - want) <= 1e-6, "element %lld: %g, expected %g", (long long)i, (double)got[i],
                  want);
  }
  pare_tensor *const all[] = {r.x, r.indices, r.weights, y};
  for (size_t i = 0; i < PARE__COUNT(all); i++) pare_tensor_close(all[i]);
  free(got);
  free(x);
}
END_TEST

/* ---- sampling on a grid ---- */

typedef struct sampling {
  pare_tensor *x, *grid;
  pare_sampling how;
} sampling;

static pare_status grid_sample(void *what, pare_tensor *out) {
  const sampling *s = what;
  return pare_grid_sample(s->x, s->grid, s->how, PARE_SAMPLING_BORDER, true, out);
}

/* A grid that names the elements themselves, from the last to the first. */
START_TEST(samples_at_elements_are_the_elements) {
  static const int64_t grid_shape[] = {3, 9, 11, 2};
  const int64_t area = 9 * 11;
  float *x = random_floats(count_of(4, x_shape), 3), *grid = malloc((size_t)count_of(4, grid_shape) * sizeof *grid);
  for (int64_t i = 0; i < 3 * area; i++) {
    const int64_t from = area - 1 - i % area;
    grid[2 * i] = (float)(from % 11) / 5 - 1;
    grid[2 * i + 1] = (float)(from / 11) / 4 - 1;
  }
  sampling s = {tensor_of(PARE_F32, 4, x_shape, x), tensor_of(PARE_F32, 4, grid_shape, grid), (pare_sampling)_i};
  pare_tensor *y = empty_tensor(PARE_F32, 4, x_shape);
  float *got = in_pieces(grid_sample, &s, y);
  for (int64_t i = 0; i < count_of(4, x_shape); i++) {
    const float want = x[i / area * area + area - 1 - i % area];
    ck_assert_msg(fabsf(got[i] - want) <= 1e-5F, "element %lld: %g, expected %g", (long long)i, (double)got[i],
                  (double)want);
  }
  pare_tensor_close(s.x);
  pare_tensor_close(s.grid);
  pare_tensor_close(y);
  free(got);
  free(grid);
  free(x);
}
END_TEST

/* ---- regions ---- */

typedef struct regions {
  pare_tensor *x, *rois, *batches;
  pare_roi_options options;
} regions;

static pare_status roi_align(void *what, pare_tensor *out) {
  const regions *r = what;
  return pare_roi_align(r->x, r->rois, r->batches, &r->options, out);
}

/* The mean of a plane that rises evenly is its value in the middle of a bin. */
START_TEST(regions_of_a_slope_have_its_means) {
  static const int64_t rois_shape[] = {5, 4}, y_shape[] = {5, 5, 2, 2}, nrois[] = {5};
  static const int64_t batches[] = {2, 0, 1, 1, 2};
  static const float rois[5][4] = {{1, 1, 5, 5}, {2, 0.5F, 6, 4.5F}, {1, 2, 3, 7}, {0.5F, 1, 8, 6}, {3, 3, 4, 4}};
  float *x = malloc((size_t)count_of(4, x_shape) * sizeof *x);
  for (int64_t i = 0; i < count_of(4, x_shape); i++) x[i] = (float)(100 * (i / 99) + 2 * (i % 11) + 3 * (i / 11 % 9));
  regions r = {tensor_of(PARE_F32, 4, x_shape, x),
               tensor_of(PARE_F32, 2, rois_shape, rois),
               tensor_of(PARE_I64, 1, nrois, batches),
               {1, 2, false, false, false}};
  pare_tensor *y = empty_tensor(PARE_F32, 4, y_shape);
  float *got = in_pieces(roi_align, &r, y);
  for (int64_t i = 0; i < count_of(4, y_shape); i++) {
    const int64_t region = i / 20, plane = batches[region] * 5 + i / 4 % 5;
    const float *c = rois[region];
    const double across = (double)c[0] + ((double)(i % 2) + 0.5) / 2 * (double)(c[2] - c[0]),
                 down = (double)c[1] + ((double)(i / 2 % 2) + 0.5) / 2 * (double)(c[3] - c[1]);
    const double want = 100.0 * (double)plane + 2 * across + 3 * down;
    ck_assert_msg(fabs((double)got[i] - want) <= 1e-3, "element %lld: %g, expected %g", (long long)i, (double)got[i],
                  want);
  }
  pare_tensor *const all[] = {r.x, r.rois, r.batches, y};
  for (size_t i = 0; i < PARE__COUNT(all); i++) pare_tensor_close(all[i]);
  free(got);
  free(x);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  tcase_add_unchecked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, pools_the_windows_of_the_formula, 0, PARE_NPOOLINGS);
  tcase_add_test(laws, interpolates_by_the_weights);
  tcase_add_loop_test(laws, samples_at_elements_are_the_elements, 0, 3);
  tcase_add_test(laws, regions_of_a_slope_have_its_means);
  return run_tests("resample", laws);
}
