/* NonZero, Compress, Unique, n-grams: what is listed and counted on the device, against loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"
#include "tensor/tensor.h"

static char folder[] = "/tmp/pare-test-select-XXXXXX";

/* More than a block of the kernel that lists has. */
enum { ROWS = 307, COLUMNS = 229, COUNT = ROWS * COLUMNS };

static int64_t *integers_of(pare_tensor *tensor) {
  const size_t count = (size_t)pare_tensor_elements(tensor);
  int64_t *data = malloc((count + 1) * sizeof *data);
  ck_assert_int_eq(pare_tensor_dtype(tensor), PARE_I64);
  OK(pare_tensor_read(tensor, data, count * sizeof *data));
  return data;
}

/* Elements that repeat, with zeros of both signs and NaN. */
static float *few_values(int64_t count, uint32_t seed) {
  float *data = random_floats(count, seed);
  for (int64_t i = 0; i < count; i++) {
    const float step = floorf(data[i] * 20);
    data[i] = step == 7 ? NAN : step == 3 ? -0.0F : step == 4 ? 0.0F : step;
  }
  return data;
}

/* ---- NonZero, Compress ---- */

START_TEST(non_zero_lists_in_row_major_order) {
  const int64_t dim[3] = {ROWS, 1, COLUMNS};
  float *x = few_values(COUNT, 3);
  if (_i == 1)
    for (int64_t i = 0; i < COUNT; i++) x[i] = 0;
  int64_t count = 0, at = 0;
  for (int64_t i = 0; i < COUNT; i++) count += x[i] != 0;
  one_node one = one_node_begin(13, "NonZero", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, dim, x);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  ck_assert_int_eq(out->shape.rank, 2);
  ck_assert_int_eq(out->shape.dim[0], 3);
  ck_assert_int_eq(out->shape.dim[1], count);
  int64_t *found = integers_of(out);
  for (int64_t i = 0; i < COUNT; i++) {
    if (x[i] == 0) continue;
    ck_assert_int_eq(found[at], i / COLUMNS);
    ck_assert_int_eq(found[count + at], 0);
    ck_assert_int_eq(found[2 * count + at], i % COLUMNS);
    at++;
  }
  free(found);
  free(x);
  pare_tensor_close(out);
}
END_TEST

START_TEST(compress_keeps_what_a_condition_says) {
  const int64_t dim[2] = {ROWS, COLUMNS}, most[] = {COLUMNS, COUNT}, length = most[_i] - 2;
  float *x = random_floats(COUNT, 5), *sign = random_floats(COUNT, 7);
  bool *condition = malloc(COUNT);
  for (int64_t i = 0; i < COUNT; i++) condition[i] = sign[i] > 0.3F;
  one_node one = one_node_begin(13, "Compress", "x c", "y");
  if (_i == 0) node_int(one.onnx, one.node, "axis", 1);
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, dim, x);
  one_node_input(&one, "c", PARE__ONNX_BOOL, 1, &length, condition);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", true, &out));
  float *found = floats_of(out);
  int64_t at = 0;
  for (int64_t i = 0; i < COUNT; i++) {
    const int64_t place = _i == 0 ? i % COLUMNS : i;
    if (place < length && condition[place]) ck_assert(found[at++] == x[i]);
  }
  ck_assert_int_eq(pare_tensor_elements(out), at);
  FREE_ALL(found, x, sign);
  free(condition);
  pare_tensor_close(out);
}
END_TEST

/* ---- Unique ---- */

enum { SLICES = 900, MOST_ELEMENTS = 3 };

/* NaN is equal to NaN and larger than everything else. */
static int compare(const float *a, const float *b, int elements) {
  for (int e = 0; e < elements; e++) {
    if (isnan(a[e]) || isnan(b[e])) {
      if (isnan(a[e]) && isnan(b[e])) continue;
      return isnan(a[e]) ? 1 : -1;
    }
    if (a[e] != b[e]) return a[e] < b[e] ? -1 : 1;
  }
  return 0;
}

static void check_unique(const float *x, int elements, bool sorted, pare_tensor *const *out) {
  float *y = floats_of(out[0]);
  int64_t *first = integers_of(out[1]), *inverse = integers_of(out[2]), *counts = integers_of(out[3]);
  const int64_t kinds = pare_tensor_elements(out[1]);
  int64_t seen[SLICES] = {0}, begun = 0;
  ck_assert_int_eq(pare_tensor_elements(out[0]), kinds * elements);
  ck_assert_int_eq(pare_tensor_elements(out[2]), SLICES);
  ck_assert_int_eq(pare_tensor_elements(out[3]), kinds);
  for (int64_t i = 0; i < SLICES; i++) {
    const int64_t kind = inverse[i];
    ck_assert(kind >= 0 && kind < kinds);
    if (seen[kind]++ == 0) {
      ck_assert_int_eq(first[kind], i);
      if (!sorted) ck_assert_int_eq(kind, begun);
      begun++;
    }
    ck_assert_int_eq(compare(x + i * elements, x + first[kind] * elements, elements), 0);
    ck_assert_int_eq(compare(y + kind * elements, x + i * elements, elements), 0);
  }
  ck_assert_int_eq(begun, kinds);
  for (int64_t k = 0; k < kinds; k++) {
    ck_assert_int_eq(counts[k], seen[k]);
    if (sorted && k > 0) ck_assert_int_lt(compare(y + (k - 1) * elements, y + k * elements, elements), 0);
  }
  free(first);
  free(inverse);
  free(counts);
  free(y);
}

/* A loop of 4: flat or along an axis, sorted or not. */
START_TEST(unique_finds_every_kind_once) {
  const bool along = _i & 1, sorted = !(_i & 2);
  const int elements = along ? MOST_ELEMENTS : 1;
  const int64_t dim[2] = {SLICES, elements};
  float *x = few_values(SLICES * elements, 11);
  for (int64_t i = 0; i < SLICES * elements && along; i++) x[i] = isnan(x[i]) ? NAN : fmodf(x[i], 4);
  one_node one = one_node_begin(13, "Unique", "x", "y first inverse counts");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, dim, x);
  if (along) node_int(one.onnx, one.node, "axis", 0);
  node_int(one.onnx, one.node, "sorted", sorted);
  pare_tensor *out[4];
  model_output(one.onnx, "y");
  model_output(one.onnx, "first");
  model_output(one.onnx, "inverse");
  OK(one_node_run(folder, &one, "counts", false, out));
  check_unique(x, elements, sorted, out);
  for (int i = 0; i < 4; i++) pare_tensor_close(out[i]);
  free(x);
}
END_TEST

START_TEST(unique_of_nothing_and_of_empty_slices) {
  const int64_t nothing[2] = {0, 3}, empty[2] = {5, 0};
  for (int i = 0; i < 2; i++) {
    one_node one = one_node_begin(13, "Unique", "x", "y - inverse counts");
    one_node_input(&one, "x", PARE__ONNX_INT64, 2, i ? empty : nothing, NULL);
    node_int(one.onnx, one.node, "axis", 0);
    pare_tensor *out;
    OK(one_node_run(folder, &one, "counts", false, &out));
    ck_assert_int_eq(pare_tensor_elements(out), i);
    int64_t *counts = integers_of(out);
    if (i) ck_assert_int_eq(counts[0], 5);
    free(counts);
    pare_tensor_close(out);
  }
}
END_TEST

/* ---- TfIdfVectorizer ---- */

/* Of 5 5 7 5 7: 5 thrice, 7 twice; 5 7 twice side by side, and once with one between; 7 5 once, 7 7 with one between.
 */
START_TEST(n_grams_are_counted_and_weighed) {
  static const char *const modes[] = {"TF", "IDF", "TFIDF"};
  static const float weights[5] = {2, 3, 5, 7, 11};
  /* columns: 7 5, 5, nothing, 5 7, 9 */
  static const double expected[3][5] = {{1, 3, 0, 3, 0}, {2, 3, 0, 7, 0}, {2, 9, 0, 21, 0}};
  static const int32_t x[5] = {5, 5, 7, 5, 7};
  one_node one = one_node_begin(17, "TfIdfVectorizer", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_INT32, 1, (const int64_t[]){5}, x);
  one_node_text(&one, "mode", modes[_i]);
  one_node_floats(&one, "weights", 5, weights);
  node_int(one.onnx, one.node, "max_gram_length", 2);
  node_int(one.onnx, one.node, "max_skip_count", 1);
  node_ints(one.onnx, one.node, "pool_int64s", 6, (const int64_t[]){5, 9, 7, 5, 5, 7});
  node_ints(one.onnx, one.node, "ngram_counts", 2, (const int64_t[]){0, 2});
  node_ints(one.onnx, one.node, "ngram_indexes", 4, (const int64_t[]){1, 4, 0, 3});
  one_node_expect(folder, &one, "y", 5, expected[_i]);
}
END_TEST

START_TEST(a_pool_that_does_not_fit_is_refused) {
  static const int32_t x[2] = {1, 2};
  one_node one = one_node_begin(17, "TfIdfVectorizer", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_INT32, 1, (const int64_t[]){2}, x);
  one_node_text(&one, "mode", "TF");
  node_ints(one.onnx, one.node, "pool_int64s", 3, (const int64_t[]){5, 9, 7});
  node_ints(one.onnx, one.node, "ngram_counts", 2, (const int64_t[]){0, 2});
  node_ints(one.onnx, one.node, "ngram_indexes", 2, (const int64_t[]){0, 1});
  one_node_refused(folder, &one, PARE_ERR_FORMAT, "3 integers");
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("operators that select");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, non_zero_lists_in_row_major_order, 0, 2);
  tcase_add_loop_test(tests, compress_keeps_what_a_condition_says, 0, 2);
  tcase_add_loop_test(tests, unique_finds_every_kind_once, 0, 4);
  tcase_add_test(tests, unique_of_nothing_and_of_empty_slices);
  tcase_add_loop_test(tests, n_grams_are_counted_and_weighed, 0, 3);
  tcase_add_test(tests, a_pool_that_does_not_fit_is_refused);
  return remove_folder(folder, run_tests("operators that select", tests));
}
