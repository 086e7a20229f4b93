/* Pruning through the public API: laws of masks. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/prune.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "fixture.h"
#include "tensor/context.h"

static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16};

/* Scores with many ties and everything that is special, as stored. */
static void *make_scores(pare_dtype dtype, int64_t n, uint64_t seed) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -0.0, 0, 0.5, -0.5};
  void *data = malloc((size_t)n * sizeof(float) + 1);
  uint64_t state = seed;
  for (int64_t i = 0; i < n; i++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const double value = (double)(state >> 20) / 0x1p43 - 1;
    pare__store(dtype, data, (size_t)i, state >> 60 == 0 ? specials[state >> 50 & 7] : round(value * 50) / 50);
  }
  return data;
}

/* Does score i come before score j? */
static bool better(pare_dtype dtype, const void *scores, bool by_magnitude, int64_t i, int64_t j) {
  double a = pare__load(dtype, scores, (size_t)i), b = pare__load(dtype, scores, (size_t)j);
  if (by_magnitude) a = fabs(a), b = fabs(b);
  if (isnan(a) || isnan(b)) return isnan(a) && (!isnan(b) || i < j);
  return a > b || (a == b && i < j);
}

static uint8_t *mask_of(pare_tensor *mask) {
  const size_t n = (size_t)pare_tensor_elements(mask);
  uint8_t *values = malloc(n + 1);
  OK(pare_tensor_read(mask, values, n));
  return values;
}

static int64_t count_set(const uint8_t *mask, int64_t n) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) count += mask[i];
  return count;
}

/* Nothing that is left out comes before something that is kept. */
static void check_best(pare_dtype dtype, const void *scores, bool by_magnitude, const uint8_t *mask, int64_t begin,
                       int64_t n, int64_t step, int64_t k) {
  int64_t worst = -1, best = -1, kept = 0;
  for (int64_t e = 0; e < n; e++) {
    const int64_t i = begin + e * step;
    kept += mask[i];
    if (mask[i] && (worst < 0 || better(dtype, scores, by_magnitude, worst, i))) worst = i;
    if (!mask[i] && (best < 0 || better(dtype, scores, by_magnitude, i, best))) best = i;
  }
  ck_assert_int_eq(kept, k);
  ck_assert_msg(worst < 0 || best < 0 || better(dtype, scores, by_magnitude, worst, best),
                "%s: element %lld is kept and %lld is not", pare_dtype_name(dtype), (long long)worst, (long long)best);
}

START_TEST(keeps_exactly_the_k_largest) {
  const int64_t n = 70001, ks[] = {0, 1, 30000, n - 1, n};
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++) {
    void *data = make_scores(dtypes[d], n, 3 + d);
    pare_tensor *scores = tensor_of(dtypes[d], 1, &n, data), *mask = empty_tensor(PARE_BOOL, 1, &n);
    for (size_t i = 0; i < PARE__COUNT(ks); i++)
      for (int pieces = 1; pieces <= 3; pieces++) {
        pare__context_split(context, pieces);
        OK(pare_mask_largest(scores, i % 2, ks[i], mask));
        pare__context_split(context, 1);
        uint8_t *kept = mask_of(mask);
        check_best(dtypes[d], data, i % 2, kept, 0, n, 1, ks[i]);
        free(kept);
      }
    pare_tensor_close(scores);
    pare_tensor_close(mask);
    free(data);
  }
}
END_TEST

START_TEST(rows_keep_exactly_k_along_any_axis) {
  const int64_t shape[3] = {5, 37, 6}, n = 5 * 37 * 6;
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++) {
    void *data = make_scores(dtypes[d], n, 11);
    pare_tensor *scores = tensor_of(dtypes[d], 3, shape, data), *mask = empty_tensor(PARE_BOOL, 3, shape);
    for (int axis = -3; axis < 0; axis++)
      for (int64_t k = 0; k <= shape[axis + 3]; k += 1 + shape[axis + 3] / 3) {
        pare__context_split(context, 1 - axis);
        OK(pare_mask_largest_rows(scores, d % 2, axis, k, mask));
        pare__context_split(context, 1);
        uint8_t *kept = mask_of(mask);
        const int64_t inner = axis == -1 ? 1 : axis == -2 ? 6 : 37 * 6, length = shape[axis + 3];
        for (int64_t row = 0; row < n / length; row++)
          check_best(dtypes[d], data, d % 2, kept, row / inner * length * inner + row % inner, length, inner, k);
        free(kept);
      }
    pare_tensor_close(scores);
    pare_tensor_close(mask);
    free(data);
  }
}
END_TEST

START_TEST(n_of_m_keeps_n_of_each_m) {
  const int64_t shape[3] = {3, 48, 9}, n = 3 * 48 * 9;
  static const int pairs[][2] = {{2, 4}, {1, 2}, {3, 4}, {2, 3}, {5, 8}, {7, 16}};
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++)
    for (size_t p = 0; p < PARE__COUNT(pairs); p++)
      for (int axis = 0; axis < 3; axis++) {
        const int keep = pairs[p][0], m = pairs[p][1];
        if (shape[axis] % m != 0) continue;
        void *data = make_scores(dtypes[d], n, p);
        pare_tensor *scores = tensor_of(dtypes[d], 3, shape, data), *mask = empty_tensor(PARE_BOOL, 3, shape);
        pare_tensor *pruned = empty_tensor(dtypes[d], 3, shape), *masked = empty_tensor(dtypes[d], 3, shape);
        pare__context_split(context, 1 + axis);
        OK(pare_mask_n_of_m(scores, true, axis, keep, m, mask));
        OK(pare_prune_n_of_m(scores, axis, keep, m, pruned));
        pare__context_split(context, 1);
        uint8_t *kept = mask_of(mask);
        const int64_t inner = axis == 2 ? 1 : axis == 1 ? 9 : 48 * 9;
        for (int64_t set = 0; set < n / m; set++)
          check_best(dtypes[d], data, true, kept, set / inner * m * inner + set % inner, m, inner, keep);
        /* one pass gives what two do; again changes nothing */
        const size_t nbytes = (size_t)n * pare_dtype_bytes(dtypes[d]);
        char *once = malloc(nbytes), *twice = malloc(nbytes);
        OK(pare_mask_apply(scores, mask, masked));
        OK(pare_tensor_read(masked, once, nbytes));
        OK(pare_tensor_read(pruned, twice, nbytes));
        ck_assert_int_eq(memcmp(once, twice, nbytes), 0);
        OK(pare_prune_n_of_m(pruned, axis, keep, m, pruned));
        OK(pare_tensor_read(pruned, twice, nbytes));
        ck_assert_int_eq(memcmp(once, twice, nbytes), 0);
        pare_tensor *const all[] = {scores, mask, pruned, masked};
        for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
        free(once);
        free(twice);
        free(kept);
        free(data);
      }
}
END_TEST

START_TEST(a_mask_keeps_bits_and_leaves_zero) {
  static const uint32_t bits[] = {0x7fc12345, 0x80000000, 0xff800000, 0x3f800000, 0x7f812345, 0x00000001, 0xffffffff};
  static const uint8_t set[] = {1, 1, 0, 0, 1, 1, 0};
  const int64_t n = PARE__COUNT(bits), one = 1;
  uint32_t got[PARE__COUNT(bits)];
  int64_t counted;
  pare_tensor *w = tensor_of(PARE_F32, 1, &n, bits), *mask = tensor_of(PARE_BOOL, 1, &n, set);
  pare_tensor *count = empty_tensor(PARE_I64, 1, &one);
  for (int again = 0; again < 2; again++) { /* in place, and once more */
    OK(pare_mask_apply(w, mask, w));
    OK(pare_tensor_read(w, got, sizeof got));
    for (int64_t i = 0; i < n; i++) ck_assert_uint_eq(got[i], set[i] ? bits[i] : 0);
  }
  OK(pare_mask_count(mask, count));
  OK(pare_tensor_read(count, &counted, sizeof counted));
  ck_assert_int_eq(counted, 4);
  pare_tensor_close(w);
  pare_tensor_close(mask);
  pare_tensor_close(count);
}
END_TEST

START_TEST(a_threshold_keeps_what_reaches_it) {
  const int64_t n = 5003;
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++)
    for (int by_magnitude = 0; by_magnitude < 2; by_magnitude++) {
      static const double limits[] = {0.5, 0, -0.25, INFINITY};
      void *data = make_scores(dtypes[d], n, 5);
      pare_tensor *scores = tensor_of(dtypes[d], 1, &n, data), *mask = empty_tensor(PARE_BOOL, 1, &n);
      for (size_t l = 0; l < PARE__COUNT(limits); l++) {
        OK(pare_mask_threshold(scores, by_magnitude, limits[l], mask));
        uint8_t *kept = mask_of(mask);
        for (int64_t i = 0; i < n; i++) {
          double value = pare__load(dtypes[d], data, (size_t)i);
          if (by_magnitude) value = fabs(value);
          ck_assert_int_eq(kept[i], isnan(value) || value >= limits[l]);
        }
        free(kept);
      }
      pare_tensor_close(scores);
      pare_tensor_close(mask);
      free(data);
    }
}
END_TEST

START_TEST(random_masks_of_ranges_are_those_of_the_whole) {
  const int64_t n = 10007, cut = 4099, rest = n - cut;
  pare_tensor *whole = empty_tensor(PARE_BOOL, 1, &n), *head = NULL, *tail = NULL;
  OK(pare_mask_random(42, 7, 0, 0.3, whole));
  uint8_t *expected = mask_of(whole), *got = malloc((size_t)n);
  OK(pare_tensor_slice(whole, 0, 0, cut, 1, &head));
  OK(pare_tensor_slice(whole, 0, cut, rest, 1, &tail));
  OK(pare_mask_random(42, 7, 0, 0.3, head));
  OK(pare_mask_random(42, 7, cut, 0.3, tail));
  OK(pare_tensor_read(whole, got, (size_t)n));
  ck_assert_int_eq(memcmp(got, expected, (size_t)n), 0);
  const double share = (double)count_set(expected, n) / (double)n;
  ck_assert(fabs(share - 0.3) < 0.03);
  /* the first elements, as every device and every version must give them */
  static const uint8_t first[] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0};
  ck_assert_int_eq(memcmp(expected, first, sizeof first), 0);
  pare_tensor_close(whole);
  pare_tensor_close(head);
  pare_tensor_close(tail);
  free(expected);
  free(got);
}
END_TEST

/* Random scores select at random: exactly k. */
START_TEST(random_scores_keep_exactly_k) {
  const int64_t n = 10007, k = 3001, cut = 2000, rest = n - cut;
  pare_tensor *scores = empty_tensor(PARE_F32, 1, &n), *mask = empty_tensor(PARE_BOOL, 1, &n), *tail = NULL;
  OK(pare_random_scores(9, 1, 0, scores));
  float *values = floats_of(scores);
  OK(pare_mask_largest(scores, false, k, mask));
  uint8_t *kept = mask_of(mask);
  ck_assert_int_eq(count_set(kept, n), k);
  OK(pare_tensor_slice(scores, 0, cut, rest, 1, &tail));
  OK(pare_random_scores(9, 1, cut, tail));
  float *again = floats_of(scores);
  ck_assert_int_eq(memcmp(values, again, (size_t)n * sizeof *values), 0);
  pare_tensor_close(scores);
  pare_tensor_close(mask);
  pare_tensor_close(tail);
  free(values);
  free(again);
  free(kept);
}
END_TEST

/* ---- over many tensors ---- */

enum { NTENSORS = 5 };

typedef struct model {
  pare_dtype dtype[NTENSORS];
  int64_t n[NTENSORS], total;
  void *data[NTENSORS];
  pare_tensor *tensor[NTENSORS];
} model;

/* The k-th largest of f32 magnitudes or values, by sorting. */
static int descending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  if (isnan(x) || isnan(y)) return isnan(y) - isnan(x);
  return (x < y) - (x > y);
}

static void check_selection(model *m, int64_t k, bool by_magnitude, unsigned most_passes) {
  pare_selection *selection = NULL;
  double threshold;
  int64_t beyond, ties, kept_in_all = 0, ties_seen = 0;
  unsigned passes = 0;
  OK(pare_selection_open(context, m->total, k, by_magnitude, &selection));
  for (bool done = false; !done; passes++) {
    for (int t = 0; t < NTENSORS; t++) OK(pare_selection_feed(selection, m->tensor[t]));
    OK(pare_selection_step(selection, &done));
  }
  ck_assert_uint_le(passes, most_passes);
  OK(pare_selection_threshold(selection, &threshold, &beyond, &ties));
  float *sorted = malloc((size_t)m->total * sizeof *sorted);
  for (int64_t t = 0, at = 0; t < NTENSORS; t++)
    for (int64_t i = 0; i < m->n[t]; i++, at++) {
      const float value = (float)pare__load(m->dtype[t], m->data[t], (size_t)i);
      sorted[at] = by_magnitude ? fabsf(value) : value;
    }
  qsort(sorted, (size_t)m->total, sizeof *sorted, descending);
  if (k > 0) {
    const float expected = sorted[k - 1];
    ck_assert_msg((float)threshold == expected || (isnan(threshold) && isnan(expected)), "k = %lld: %g, expected %g",
                  (long long)k, threshold, (double)expected);
    ck_assert_int_eq(beyond + ties, k);
    ck_assert(beyond == 0 || descending(&sorted[beyond - 1], &expected) < 0);
    ck_assert(beyond == m->total || descending(&sorted[beyond], &expected) == 0);
  }
  for (int again = 0; again < 2; again++) { /* a second round of masks is the first one */
    kept_in_all = ties_seen = 0;
    for (int t = 0; t < NTENSORS; t++) {
      pare_tensor *mask = empty_tensor(PARE_BOOL, 1, &m->n[t]);
      pare__context_split(context, 1 + t % 3);
      OK(pare_selection_mask(selection, m->tensor[t], mask));
      pare__context_split(context, 1);
      uint8_t *kept = mask_of(mask);
      for (int64_t i = 0; i < m->n[t]; i++) {
        float value = (float)pare__load(m->dtype[t], m->data[t], (size_t)i), limit = (float)threshold;
        if (by_magnitude) value = fabsf(value);
        const int way = k == 0 ? 1 : descending(&value, &limit);
        ck_assert_int_eq(kept[i], way < 0 || (way == 0 && ties_seen < ties));
        ties_seen += way == 0;
      }
      kept_in_all += count_set(kept, m->n[t]);
      free(kept);
      pare_tensor_close(mask);
    }
    ck_assert_int_eq(kept_in_all, k);
  }
  pare_selection_close(selection);
  free(sorted);
}

static void open_model(model *m, int64_t unit, bool ordered) {
  static const int64_t sizes[NTENSORS] = {3, 0, 1, 7, 2};
  m->total = 0;
  for (int t = 0; t < NTENSORS; t++) {
    m->dtype[t] = dtypes[t % 3];
    m->n[t] = sizes[t] * unit + t;
    if (t == 1) m->n[t] = 0;
    m->total += m->n[t];
    m->data[t] = make_scores(m->dtype[t], m->n[t], 100 + (uint64_t)t);
    for (int64_t i = 0; !ordered && i < m->n[t]; i++) /* other scales, fewer ties */
      pare__store(m->dtype[t], m->data[t], (size_t)i,
                  (t + 1) * pare__load(m->dtype[t], m->data[t], (size_t)i) + 1e-7 * (double)(i * 7919 % 1000003));
    for (int64_t i = 0; ordered && i < m->n[t]; i++) pare__store(m->dtype[t], m->data[t], (size_t)i, (double)(i % 256));
    m->tensor[t] = tensor_of(m->dtype[t], 1, &m->n[t], m->data[t]);
  }
}

static void close_model(model *m) {
  for (int t = 0; t < NTENSORS; t++) {
    pare_tensor_close(m->tensor[t]);
    free(m->data[t]);
  }
}

START_TEST(a_selection_keeps_exactly_k_over_all) {
  model m;
  open_model(&m, 9001, false);
  const int64_t ks[] = {0, 1, m.total / 2, m.total - 1, m.total};
  for (size_t i = 0; i < PARE__COUNT(ks); i++) check_selection(&m, ks[i], i % 2 == 0, 3);
  close_model(&m);
}
END_TEST

/* Over 2^21 elements: two passes where a sample tells, up to five where it misleads (periodic scores). */
START_TEST(a_long_selection_takes_two_passes) {
  model m;
  open_model(&m, 200003, false);
  check_selection(&m, m.total / 2, true, 2);
  check_selection(&m, m.total / 10, false, 2);
  check_selection(&m, 1, true, 2);
  check_selection(&m, m.total, true, 2);
  close_model(&m);
  open_model(&m, 200003, true);
  check_selection(&m, m.total / 3, true, 5);
  close_model(&m);
}
END_TEST

START_TEST(bad_arguments_say_so) {
  const int64_t shape[2] = {3, 8}, other[2] = {8, 3};
  float data[24] = {0};
  pare_tensor *w = tensor_of(PARE_F32, 2, shape, data), *mask = empty_tensor(PARE_BOOL, 2, shape);
  pare_tensor *turned = empty_tensor(PARE_BOOL, 2, other), *whole = empty_tensor(PARE_I32, 2, shape);
  ck_assert_int_eq(pare_mask_largest(w, true, 25, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_largest(w, true, -1, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_largest(w, true, 2, turned), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_mask_largest(w, true, 2, w), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_mask_largest(whole, true, 2, mask), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_mask_largest_rows(w, true, 2, 2, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_largest_rows(w, true, 0, 4, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_n_of_m(w, true, 0, 2, 4, mask), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_mask_n_of_m(w, true, 1, 4, 4, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_n_of_m(w, true, 1, 0, 4, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_prune_n_of_m(w, 1, 2, 17, w), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_threshold(w, true, NAN, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_random(1, 2, -1, 0.5, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_mask_random(1, 2, 0, 1.5, mask), PARE_ERR_ARGUMENT);
  pare_selection *selection = NULL;
  bool done;
  ck_assert_int_eq(pare_selection_open(context, 5, 6, true, &selection), PARE_ERR_ARGUMENT);
  OK(pare_selection_open(context, 30, 6, true, &selection));
  OK(pare_selection_feed(selection, w));
  ck_assert_int_eq(pare_selection_feed(selection, w), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_selection_step(selection, &done), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_selection_mask(selection, w, mask), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_selection_threshold(selection, NULL, NULL, NULL), PARE_ERR_ARGUMENT);
  pare_selection_close(selection);
  pare_tensor *const all[] = {w, mask, turned, whole};
  for (size_t t = 0; t < PARE__COUNT(all); t++) pare_tensor_close(all[t]);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("prune");
  tcase_set_timeout(tests, 300);
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, keeps_exactly_the_k_largest);
  tcase_add_test(tests, rows_keep_exactly_k_along_any_axis);
  tcase_add_test(tests, n_of_m_keeps_n_of_each_m);
  tcase_add_test(tests, a_mask_keeps_bits_and_leaves_zero);
  tcase_add_test(tests, a_threshold_keeps_what_reaches_it);
  tcase_add_test(tests, random_masks_of_ranges_are_those_of_the_whole);
  tcase_add_test(tests, random_scores_keep_exactly_k);
  tcase_add_test(tests, a_selection_keeps_exactly_k_over_all);
  tcase_add_test(tests, a_long_selection_takes_two_passes);
  tcase_add_test(tests, bad_arguments_say_so);
  return run_tests("prune", tests);
}
