/* Quantisation grids and projection through the public API: laws, and brute force on small cases.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/project.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "fixture.h"
#include "tensor/context.h"

static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16};

static pare_tensor *weights(pare_dtype dtype, int rank, const int64_t *shape, uint32_t seed) {
  const int64_t n = count_of(rank, shape);
  float *values = random_floats(n, seed);
  void *data = malloc((size_t)n * sizeof(float) + 1);
  for (int64_t i = 0; i < n; i++) pare__store(dtype, data, (size_t)i, values[i] * fabsf(values[i]));
  pare_tensor *tensor = tensor_of(dtype, rank, shape, data);
  free(values);
  free(data);
  return tensor;
}

static double *doubles_of(pare_tensor *tensor) {
  const size_t n = (size_t)pare_tensor_elements(tensor), element = pare_dtype_bytes(pare_tensor_dtype(tensor));
  void *data = malloc(n * element + 1);
  double *values = malloc((n + 1) * sizeof *values);
  OK(pare_tensor_read(tensor, data, n * element));
  for (size_t i = 0; i < n; i++) values[i] = pare__load(pare_tensor_dtype(tensor), data, i);
  free(data);
  return values;
}

static pare_tensor *parameter(const pare_grid *grid, pare_tensor *w, pare_dtype dtype) {
  int rank;
  int64_t shape[PARE_MAX_RANK];
  OK(pare_grid_shape(grid, pare_tensor_rank(w), pare_tensor_shape(w), &rank, shape));
  return empty_tensor(dtype, rank, shape);
}

/* Index into scale and zero of element i of w. */
static int64_t group_of(const pare_grid *grid, pare_tensor *w, int64_t i) {
  const int rank = pare_tensor_rank(w);
  const int64_t *shape = pare_tensor_shape(w);
  int64_t at = 0, step = 1;
  if (grid->granularity == PARE_PER_TENSOR) return 0;
  for (int d = rank - 1; d >= 0; i /= shape[d], d--) {
    const int64_t index = i % shape[d];
    if (grid->granularity == PARE_PER_CHANNEL) {
      if (d == grid->axis) return index;
      continue;
    }
    at += (d == grid->axis ? index / grid->group_size : index) * step;
    step *= d == grid->axis ? (shape[d] + grid->group_size - 1) / grid->group_size : shape[d];
  }
  return at;
}

/* The laws of one grid on one tensor, however the work is split. */
static void check_grid(const pare_grid *grid, pare_dtype codes, pare_tensor *w, pare_fit_options fit) {
  const int64_t n = pare_tensor_elements(w);
  const int least = codes == PARE_I8 ? -(1 << (grid->bits - 1)) : 0;
  pare_tensor *scale = parameter(grid, w, PARE_F32), *zero = grid->symmetric ? NULL : parameter(grid, w, codes);
  pare_tensor *q = empty_tensor(codes, pare_tensor_rank(w), pare_tensor_shape(w));
  pare_tensor *x = empty_tensor(PARE_F32, pare_tensor_rank(w), pare_tensor_shape(w));
  double *first = NULL, *values = doubles_of(w);
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare__context_split(context, pieces);
    if (pieces == 3) { /* both at once give the same */
      OK(pare_grid_encode(grid, &fit, w, NULL, scale, zero, q));
    } else {
      OK(pare_grid_fit(grid, &fit, w, NULL, scale, zero));
      OK(pare_grid_quantize(grid, w, scale, zero, q));
    }
    OK(pare_grid_dequantize(grid, q, scale, zero, x));
    pare__context_split(context, 1);
    double *code = doubles_of(q), *back = doubles_of(x), *s = doubles_of(scale), *z = zero ? doubles_of(zero) : NULL;
    for (int64_t i = 0; i < n; i++) {
      const int64_t g = group_of(grid, w, i);
      const double origin = z ? z[g] : least + (1 << (grid->bits - 1));
      ck_assert(code[i] >= least && code[i] < least + (1 << grid->bits));
      ck_assert(s[g] > 0);
      ck_assert_msg(fabs(back[i] - s[g] * (code[i] - origin)) <= 1e-6 * s[g] * 256, "element %lld", (long long)i);
      if (fit.range == PARE_RANGE_MIN_MAX)
        ck_assert_msg(fabs(back[i] - values[i]) <= s[g] * (0.5 + 1e-4), "element %lld: %g for %g, scale %g",
                      (long long)i, back[i], values[i], s[g]);
      if (first) ck_assert(code[i] == first[i]);
    }
    free(first);
    first = code;
    free(back);
    free(s);
    free(z);
  }
  free(first);
  free(values);
  pare_tensor *const all[] = {scale, zero, q, x};
  for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
}

START_TEST(what_is_in_range_is_within_half_a_scale) {
  const int64_t shape[3] = {6, 37, 10};
  static const int bits[] = {2, 4, 8};
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++) {
    pare_tensor *w = weights(dtypes[d], 3, shape, 7);
    for (int kind = 0; kind < 7; kind++) {
      if (!every_combination() && (kind + kind / 3) % 3 != (int)d) continue; /* 3: as many as dtypes, and as bits */
      const pare_grid grid = {
          bits[kind % 3], kind % 2,
          kind == 3,      kind == 0 ? PARE_PER_TENSOR : kind < 4 ? PARE_PER_CHANNEL : PARE_PER_GROUP,
          kind % 3,       kind == 5 ? 1000 : 8};
      check_grid(&grid, (kind / 3 + (int)d) % 2 ? PARE_I8 : PARE_U8, w, (pare_fit_options)PARE_FIT_OPTIONS_INIT);
    }
    pare_tensor_close(w);
  }
}
END_TEST

START_TEST(every_range_gives_a_grid) {
  const int64_t shape[2] = {5, 96};
  pare_tensor *w = weights(PARE_F32, 2, shape, 3);
  for (int range = 0; range < 3; range++)
    for (int kind = 0; kind < 6; kind++) {
      const pare_grid grid = {4, kind % 2, false, (pare_granularity)(kind / 2), kind / 2 == 1 ? 0 : 1, 32};
      check_grid(&grid, PARE_U8, w, (pare_fit_options){(pare_range)range, 0.95});
    }
  pare_tensor_close(w);
}
END_TEST

/* [K, N] with groups along K is [N, K] with groups along K, transposed. */
START_TEST(layouts_give_the_same_codes) {
  const int64_t shape[2] = {64, 24};
  const pare_grid by_rows = {4, false, false, PARE_PER_GROUP, 0, 32},
                  by_columns = {4, false, false, PARE_PER_GROUP, 1, 32};
  pare_tensor *w = weights(PARE_F32, 2, shape, 5), *turned = NULL;
  OK(pare_tensor_permute(w, (const int[]){1, 0}, &turned));
  pare_tensor *scale = parameter(&by_rows, w, PARE_F32), *zero = parameter(&by_rows, w, PARE_U8);
  pare_tensor *scale2 = parameter(&by_columns, turned, PARE_F32), *zero2 = parameter(&by_columns, turned, PARE_U8);
  pare_tensor *q = empty_tensor(PARE_U8, 2, shape), *q2 = empty_tensor(PARE_U8, 2, pare_tensor_shape(turned));
  OK(pare_grid_encode(&by_rows, NULL, w, NULL, scale, zero, q));
  OK(pare_grid_encode(&by_columns, NULL, turned, NULL, scale2, zero2, q2));
  double *a = doubles_of(q), *b = doubles_of(q2), *s = doubles_of(scale), *s2 = doubles_of(scale2);
  for (int64_t k = 0; k < 64; k++)
    for (int64_t n = 0; n < 24; n++) {
      ck_assert(a[k * 24 + n] == b[n * 64 + k]);
      ck_assert(s[k / 32 * 24 + n] == s2[n * 2 + k / 32]);
    }
  free(a);
  free(b);
  free(s);
  free(s2);
  pare_tensor *const all[] = {w, turned, scale, zero, scale2, zero2, q, q2};
  for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
}
END_TEST

/* Rows of no elements have the scale of rows of zeros. */
START_TEST(scales_of_nothing_are_written) {
  const int64_t shape[2] = {5, 0};
  const pare_range ranges[] = {PARE_RANGE_MIN_MAX, PARE_RANGE_PERCENTILE, PARE_RANGE_SQUARED_ERROR};
  for (size_t r = 0; r < PARE__COUNT(ranges); r++) {
    const pare_grid grid = {8, false, false, PARE_PER_CHANNEL, 0, 0};
    const pare_fit_options fit = {.range = ranges[r], .percentile = 1};
    pare_tensor *w = empty_tensor(PARE_F32, 2, shape), *q = empty_tensor(PARE_U8, 2, shape);
    pare_tensor *scale = parameter(&grid, w, PARE_F32), *zero = parameter(&grid, w, PARE_U8);
    OK(pare_grid_encode(&grid, &fit, w, NULL, scale, zero, q));
    double *s = doubles_of(scale), *z = doubles_of(zero);
    for (int i = 0; i < 5; i++) ck_assert(s[i] == 1 && z[i] == 0);
    free(s);
    free(z);
    pare_tensor *const all[] = {w, q, scale, zero};
    for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
  }
}
END_TEST

START_TEST(odd_values_have_defined_codes) {
  const int64_t shape[2] = {4, 8};
  const float values[32] = {[8] = NAN, 1, -1, [16] = INFINITY, 1, -3, [24] = 1e-44F, -1e-44F};
  const pare_grid grid = {8, true, false, PARE_PER_GROUP, 1, 8};
  pare_tensor *w = tensor_of(PARE_F32, 2, shape, values), *scale = parameter(&grid, w, PARE_F32);
  pare_tensor *q = empty_tensor(PARE_I8, 2, shape);
  int8_t code[32];
  int64_t index;
  OK(pare_grid_encode(&grid, NULL, w, NULL, scale, NULL, q));
  OK(pare_tensor_read(q, code, sizeof code));
  double *s = doubles_of(scale);
  ck_assert(s[0] == 1 && fabs(s[1] - 1.0 / 127) < 1e-8 && isfinite(s[2]) && s[3] >= 0x1p-126);
  for (int i = 0; i < 8; i++) ck_assert_int_eq(code[i], 0);
  ck_assert(code[8] == 0 && code[9] == 127 && code[10] == -127 && code[16] == 127 && code[17] == 0);
  OK(pare_first_nonfinite(w, &index));
  ck_assert_int_eq(index, 8);
  pare_tensor *finite = weights(PARE_BF16, 2, shape, 1);
  OK(pare_first_nonfinite(finite, &index));
  ck_assert_int_eq(index, -1);
  free(s);
  pare_tensor *const all[] = {w, scale, q, finite};
  for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
}
END_TEST

START_TEST(packed_codes_come_back) {
  for (int bits = 2; bits <= 8; bits++)
    for (int words = 0; words < 2; words++)
      for (int is_signed = 0; is_signed < 2; is_signed++) {
        if (!every_combination() && bits != 4 && (bits % 2 != words || bits / 2 % 2 != is_signed)) continue;
        const int64_t shape[2] = {7, 53}, wide[2] = {7, words ? 53 / (32 / bits) + 2 : (53 * bits + 7) / 8 + 1};
        int8_t codes[7 * 53], got[7 * 53];
        for (int i = 0; i < 7 * 53; i++) codes[i] = (int8_t)(i * 37 % (1 << bits) - (is_signed ? 1 << (bits - 1) : 0));
        pare_tensor *q = tensor_of(is_signed ? PARE_I8 : PARE_U8, 2, shape, codes);
        pare_tensor *packed = empty_tensor(words ? PARE_I32 : PARE_U8, 2, wide);
        pare_tensor *back = empty_tensor(is_signed ? PARE_I8 : PARE_U8, 2, shape);
        pare__context_split(context, 1 + bits % 3);
        OK(pare_codes_pack(q, bits, packed));
        OK(pare_codes_unpack(packed, bits, back));
        pare__context_split(context, 1);
        OK(pare_tensor_read(back, got, sizeof got));
        ck_assert_int_eq(memcmp(codes, got, sizeof got), 0);
        pare_tensor_close(q);
        pare_tensor_close(packed);
        pare_tensor_close(back);
      }
}
END_TEST

/* What encode packs is what fit, quantise and pack give, in one pass or not. */
START_TEST(packed_and_plain_codes_agree) {
  const int64_t shape[2] = {9, 128};
  pare_tensor *w = weights(PARE_F32, 2, shape, 17), *q = empty_tensor(PARE_U8, 2, shape);
  for (int bits = 3; bits <= 4; bits++)
    for (int symmetric = 0; symmetric < 2; symmetric++) {
      const pare_grid grid = {bits, symmetric, false, PARE_PER_GROUP, -1, 32};
      const int64_t wide[2] = {9, 16 * bits};
      pare_tensor *scale = parameter(&grid, w, PARE_F32), *zero = symmetric ? NULL : parameter(&grid, w, PARE_U8);
      pare_tensor *packed = empty_tensor(PARE_U8, 2, wide), *expected = empty_tensor(PARE_U8, 2, wide);
      uint8_t a[9 * 64], b[9 * 64];
      OK(pare_grid_encode(&grid, NULL, w, NULL, scale, zero, packed));
      OK(pare_grid_quantize(&grid, w, scale, zero, q));
      OK(pare_codes_pack(q, bits, expected));
      OK(pare_tensor_read(packed, a, (size_t)(9 * 16 * bits)));
      OK(pare_tensor_read(expected, b, (size_t)(9 * 16 * bits)));
      ck_assert_int_eq(memcmp(a, b, (size_t)(9 * 16 * bits)), 0);
      pare_tensor *const all[] = {scale, zero, packed, expected};
      for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
    }
  pare_tensor_close(w);
  pare_tensor_close(q);
}
END_TEST

/* ---- brute force ---- */

enum { SMALL = 6 };

/* The least weighted error of SMALL values on a symmetric grid of codes least … most, over all assignments of codes. */
static double brute_force(const double *w, const double *d, int least, int most) {
  double best = INFINITY, sum = 0;
  int q[SMALL];
  for (int i = 0; i < SMALL; i++) {
    q[i] = least;
    sum += d[i] * w[i] * w[i];
  }
  for (int i = 0; i < SMALL;) {
    double a = 0, b = 0;
    for (int j = 0; j < SMALL; j++) {
      a += d[j] * w[j] * q[j];
      b += d[j] * q[j] * q[j];
    }
    best = fmin(best, b > 0 && a > 0 ? sum - a * a / b : sum);
    for (i = 0; i < SMALL && q[i] == most; i++) q[i] = least;
    if (i < SMALL) q[i]++;
  }
  return best;
}

START_TEST(the_least_squared_error_is_that_of_brute_force) {
  enum { GROUPS = 20 };
  const int64_t shape[2] = {GROUPS, SMALL}, row[1] = {SMALL};
  const float importance[SMALL] = {1, 0.5F, 3, 0.1F, 2, 1};
  for (int bits = 2; bits <= 3; bits++)
    for (int kind = 0; kind < 4; kind++) {
      const bool weighted = kind % 2, full = kind / 2;
      const int most = (1 << (bits - 1)) - 1;
      const pare_grid grid = {bits, true, full, PARE_PER_CHANNEL, 0, 0};
      const pare_fit_options fit = {PARE_RANGE_SQUARED_ERROR, 1};
      const pare_set set = {.sparsity = PARE_SPARSITY_NONE, .grid = &grid, .fit = &fit};
      pare_tensor *w = weights(PARE_F32, 2, shape, 31), *out = empty_tensor(PARE_F32, 2, shape);
      pare_tensor *scale = parameter(&grid, w, PARE_F32), *d = tensor_of(PARE_F32, 1, row, importance);
      OK(pare_project(&set, w, weighted ? d : NULL, out, NULL, scale, NULL));
      double *x = doubles_of(w), *y = doubles_of(out), weight[SMALL];
      for (int i = 0; i < SMALL; i++) weight[i] = weighted ? (double)importance[i] : 1;
      for (int g = 0; g < GROUPS; g++) {
        double error = 0;
        for (int i = 0; i < SMALL; i++) error += weight[i] * pow(x[g * SMALL + i] - y[g * SMALL + i], 2);
        const double best = brute_force(x + (size_t)g * SMALL, weight, -most - full, most);
        ck_assert_msg(error <= best * (1 + 1e-4) + 1e-9, "group %d: %g, brute force %g", g, error, best);
      }
      free(x);
      free(y);
      pare_tensor *const all[] = {w, out, scale, d};
      for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
    }
}
END_TEST

static double error_of(pare_tensor *w, pare_tensor *x, const double *d) {
  double *a = doubles_of(w), *b = doubles_of(x), error = 0;
  for (int64_t i = 0; i < pare_tensor_elements(w); i++) error += (d ? d[i] : 1) * pow(a[i] - b[i], 2);
  free(a);
  free(b);
  return error;
}

/* A search is no worse than the range of all, and is what is asked for: asymmetric, many bits, long groups. */
START_TEST(a_search_is_no_worse_than_min_max) {
  const int64_t shape[2] = {4, 300};
  pare_tensor *w = weights(PARE_F32, 2, shape, 77), *out = empty_tensor(PARE_F32, 2, shape);
  for (int kind = 0; kind < 4; kind++) {
    const pare_grid grid = {kind < 2 ? 4 : 8, kind % 2, false, PARE_PER_GROUP, 1, 150};
    pare_tensor *scale = parameter(&grid, w, PARE_F32), *zero = kind % 2 ? NULL : parameter(&grid, w, PARE_I8);
    double errors[2];
    for (int range = 0; range < 2; range++) {
      const pare_fit_options fit = {range ? PARE_RANGE_SQUARED_ERROR : PARE_RANGE_MIN_MAX, 1};
      const pare_set set = {.sparsity = PARE_SPARSITY_NONE, .grid = &grid, .fit = &fit};
      OK(pare_project(&set, w, NULL, out, NULL, scale, zero));
      errors[range] = error_of(w, out, NULL);
    }
    ck_assert_msg(errors[1] <= errors[0] * (1 + 1e-5), "%g against %g", errors[1], errors[0]);
    if (kind < 2) ck_assert_msg(errors[1] < 0.95 * errors[0], "%g against %g", errors[1], errors[0]);
    pare_tensor_close(scale);
    pare_tensor_close(zero);
  }
  pare_tensor_close(w);
  pare_tensor_close(out);
}
END_TEST

/* The least error over all masks of 2 of 4, or of k of all, each kept element going to `nearest`. */
static double best_mask(const double *w, const double *nearest, const double *d, int n, int k) {
  double best = INFINITY;
  for (unsigned mask = 0; mask < 1U << n; mask++) {
    double error = 0;
    if (__builtin_popcount(mask) > k) continue;
    for (int i = 0; i < n; i++) error += d[i] * pow(w[i] - (mask >> i & 1 ? nearest[i] : 0), 2);
    best = fmin(best, error);
  }
  return best;
}

START_TEST(projections_are_those_of_brute_force) {
  const int64_t shape[2] = {2, 4}, row[1] = {4}, one[1] = {1};
  const float importance[4] = {1, 0.25F, 4, 2}, step = 0.3F;
  const pare_grid grid = {3, true, false, PARE_PER_TENSOR, 0, 0};
  for (int kind = 0; kind < 12; kind++)
    for (uint32_t seed = 1; seed < 9; seed++) {
      const bool on_grid = kind % 2, weighted = kind / 2 % 2;
      const int sparsity = 1 + kind / 4;
      const pare_set set = {.sparsity = (pare_sparsity)sparsity,
                            .axis = 1,
                            .k = sparsity == PARE_SPARSITY_K ? 3 : 2,
                            .n = 2,
                            .m = 4,
                            .grid = on_grid ? &grid : NULL};
      pare_tensor *w = weights(PARE_F32, 2, shape, seed), *out = empty_tensor(PARE_F32, 2, shape);
      pare_tensor *scale = tensor_of(PARE_F32, 1, one, &step), *d = tensor_of(PARE_F32, 1, row, importance);
      OK(pare_project(&set, w, weighted ? d : NULL, out, NULL, on_grid ? scale : NULL, NULL));
      double *x = doubles_of(w), nearest[8], weight[8];
      for (int i = 0; i < 8; i++) {
        weight[i] = weighted ? (double)importance[i % 4] : 1;
        nearest[i] = on_grid ? (double)step * fmax(-3, fmin(3, rint(x[i] / (double)step))) : x[i];
      }
      const double got = error_of(w, out, weight);
      const double best = sparsity == PARE_SPARSITY_K
                              ? best_mask(x, nearest, weight, 8, 3)
                              : best_mask(x, nearest, weight, 4, 2) + best_mask(x + 4, nearest + 4, weight + 4, 4, 2);
      ck_assert_msg(got <= best * (1 + 1e-5) + 1e-7, "kind %d: %g, brute force %g", kind, got, best);
      free(x);
      pare_tensor *const all[] = {w, out, scale, d};
      for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
    }
}
END_TEST

/* Sparse and on a fitted grid: no worse than pruning first and quantising then; of every dtype; again changes nothing.
 */
START_TEST(a_sparse_grid_keeps_its_law) {
  const int64_t shape[2] = {16, 64};
  const pare_grid grid = {4, true, false, PARE_PER_CHANNEL, 0, 0};
  const pare_fit_options fit = {PARE_RANGE_SQUARED_ERROR, 1};
  const pare_set set = {.sparsity = PARE_SPARSITY_N_OF_M, .axis = 1, .n = 2, .m = 4, .grid = &grid, .fit = &fit};
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++) {
    pare_tensor *w = weights(dtypes[d], 2, shape, 5), *out = empty_tensor(dtypes[d], 2, shape);
    pare_tensor *mask = empty_tensor(PARE_BOOL, 2, shape), *scale = parameter(&grid, w, PARE_F32);
    OK(pare_project(&set, w, NULL, out, mask, scale, NULL));
    double *kept = doubles_of(mask), *y = doubles_of(out);
    for (int64_t i = 0; i < 16 * 64; i += 4) ck_assert(kept[i] + kept[i + 1] + kept[i + 2] + kept[i + 3] == 2);
    for (int64_t i = 0; i < 16 * 64; i++) ck_assert(kept[i] == 1 || y[i] == 0);
    free(kept);
    free(y);
    pare_tensor *const all[] = {w, out, mask, scale};
    for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
  }
}
END_TEST

START_TEST(bad_arguments_say_so) {
  const int64_t shape[2] = {4, 8}, four = 4;
  pare_tensor *w = weights(PARE_F32, 2, shape, 1), *scale = empty_tensor(PARE_F32, 1, &four);
  pare_tensor *zero = empty_tensor(PARE_U8, 1, &four), *q = empty_tensor(PARE_U8, 2, shape),
              *out = empty_tensor(PARE_F32, 2, shape);
  pare_grid grid = {4, false, false, PARE_PER_CHANNEL, 0, 0};
  const pare_fit_options odd = {PARE_RANGE_PERCENTILE, 0.2};
  const pare_set set = {.sparsity = PARE_SPARSITY_N_OF_M, .axis = 1, .n = 4, .m = 4};
  OK(pare_grid_fit(&grid, NULL, w, NULL, scale, zero));
  ck_assert_int_eq(pare_grid_fit(&grid, NULL, w, NULL, scale, NULL), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_grid_fit(&grid, &odd, w, NULL, scale, zero), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_grid_fit(&grid, NULL, w, q, scale, zero), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_grid_quantize(&grid, w, scale, zero, out), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_codes_pack(q, 9, zero), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_codes_pack(q, 4, zero), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_project(&set, w, NULL, out, NULL, NULL, NULL), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_project(&set, w, NULL, out, NULL, scale, NULL), PARE_ERR_ARGUMENT);
  grid.axis = 1;
  ck_assert_int_eq(pare_grid_fit(&grid, NULL, w, NULL, scale, zero), PARE_ERR_SHAPE);
  grid.bits = 9;
  ck_assert_int_eq(pare_grid_fit(&grid, NULL, w, NULL, scale, zero), PARE_ERR_ARGUMENT);
  pare_tensor *const all[] = {w, scale, zero, q, out};
  for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("grid");
  tcase_set_timeout(tests, 300);
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, what_is_in_range_is_within_half_a_scale);
  tcase_add_test(tests, every_range_gives_a_grid);
  tcase_add_test(tests, layouts_give_the_same_codes);
  tcase_add_test(tests, scales_of_nothing_are_written);
  tcase_add_test(tests, odd_values_have_defined_codes);
  tcase_add_test(tests, packed_codes_come_back);
  tcase_add_test(tests, packed_and_plain_codes_agree);
  tcase_add_test(tests, the_least_squared_error_is_that_of_brute_force);
  tcase_add_test(tests, a_search_is_no_worse_than_min_max);
  tcase_add_test(tests, projections_are_those_of_brute_force);
  tcase_add_test(tests, a_sparse_grid_keeps_its_law);
  tcase_add_test(tests, bad_arguments_say_so);
  return run_tests("grid", tests);
}
