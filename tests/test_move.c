/* Copies, permutes, concat and split against element by element moves on the host. SPDX-License-Identifier: Apache-2.0
 */
#include <pare/move.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tensor/context.h"

/* Bytes that differ from element to element, whatever the dtype; bool stays 0 or 1. */
static pare_tensor *filled(pare_dtype dtype, int rank, const int64_t *shape, unsigned char **bytes) {
  size_t n = pare_dtype_bytes(dtype);
  for (int i = 0; i < rank; i++) n *= (size_t)shape[i];
  *bytes = malloc(n + 1);
  for (size_t i = 0; i < n; i++) (*bytes)[i] = (unsigned char)(dtype == PARE_BOOL ? i * 7 % 3 == 0 : i * 167 + i / 251);
  pare_tensor *tensor;
  OK(pare_tensor_from(context, dtype, rank, shape, *bytes, n, &tensor));
  return tensor;
}

static unsigned char *read_bytes(pare_tensor *tensor) {
  size_t n = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(pare_tensor_dtype(tensor));
  unsigned char *bytes = malloc(n + 1);
  OK(pare_tensor_read(tensor, bytes, n));
  return bytes;
}

static const struct {
  int rank;
  int64_t shape[PARE_MAX_RANK];
  int axes[PARE_MAX_RANK];
} permutes[] = {
    {0, {0}, {0}},
    {2, {67, 131}, {1, 0}},
    {2, {256, 64}, {1, 0}},
    {3, {5, 33, 47}, {0, 2, 1}},
    {4, {2, 3, 17, 19}, {0, 2, 3, 1}},
    {4, {3, 20, 4, 21}, {2, 3, 0, 1}},
    {3, {4, 0, 3}, {2, 1, 0}},
    {8, {2, 3, 2, 3, 2, 1, 3, 4}, {7, 2, 5, 0, 6, 1, 4, 3}},
};

START_TEST(permutes_move_every_element) {
  size_t which = (size_t)_i / PARE_NDTYPES;
  pare_dtype dtype = (pare_dtype)(_i % PARE_NDTYPES);
  if (dtype == PARE_F64 && !pare_context_device(context)->can.f64) return;
  int rank = permutes[which].rank;
  const int64_t *shape = permutes[which].shape;
  const int *axes = permutes[which].axes;
  int64_t turned[PARE_MAX_RANK] = {0}, step[PARE_MAX_RANK] = {0}, n = 1;
  for (int i = rank - 1; i >= 0; i--) {
    step[i] = n;
    n *= shape[i];
  }
  for (int i = 0; i < rank; i++) turned[i] = shape[axes[i]];
  unsigned char *bytes;
  size_t element = pare_dtype_bytes(dtype);
  pare_tensor *a = filled(dtype, rank, shape, &bytes), *out = empty_tensor(dtype, rank, turned);
  for (int pieces = 0; pieces <= 3; pieces += 1) {
    pare__context_split(context, pieces);
    OK(pare_permute(a, axes, out));
    unsigned char *got = read_bytes(out);
    for (int64_t k = 0; k < n; k++) {
      int64_t from = 0, rest = k;
      for (int i = rank - 1; i >= 0; i--) {
        from += rest % turned[i] * step[axes[i]];
        rest /= turned[i];
      }
      ck_assert_mem_eq(got + (size_t)k * element, bytes + (size_t)from * element, element);
    }
    free(got);
  }
  pare__context_split(context, 0);
  free(bytes);
  pare_tensor_close(a);
  pare_tensor_close(out);
}
END_TEST

START_TEST(split_undoes_concat) {
  int axis = _i;
  int64_t shape[3] = {4, 5, 6}, whole_shape[3] = {4, 5, 6};
  const int64_t lengths[] = {3, 1, 0, 7};
  pare_tensor *parts[4], *back[4];
  unsigned char *bytes[4];
  whole_shape[axis] = 11;
  for (int i = 0; i < 4; i++) {
    shape[axis] = lengths[i];
    parts[i] = filled(PARE_I16, 3, shape, &bytes[i]);
    back[i] = empty_tensor(PARE_I16, 3, shape);
  }
  pare_tensor *whole = empty_tensor(PARE_I16, 3, whole_shape), *one;
  OK(pare_concat(4, parts, axis - 3, whole));
  OK(pare_tensor_slice(whole, axis, 3, 1, 1, &one));
  unsigned char *got = read_bytes(one);
  ck_assert_mem_eq(got, bytes[1], (size_t)pare_tensor_elements(one) * 2);
  free(got);
  OK(pare_split(whole, axis, 4, back));
  for (int i = 0; i < 4; i++) {
    got = read_bytes(back[i]);
    ck_assert_mem_eq(got, bytes[i], (size_t)pare_tensor_elements(parts[i]) * 2);
    free(got);
    free(bytes[i]);
    pare_tensor_close(parts[i]);
    pare_tensor_close(back[i]);
  }
  pare_tensor_close(one);
  pare_tensor_close(whole);
}
END_TEST

START_TEST(a_tensor_is_reversed_in_place) {
  unsigned char *bytes;
  pare_tensor *a = filled(PARE_F32, 1, (const int64_t[]){1001}, &bytes), *backwards;
  OK(pare_tensor_slice(a, 0, 1000, 1001, -1, &backwards));
  OK(pare_copy(backwards, a));
  unsigned char *got = read_bytes(a);
  for (int i = 0; i < 1001; i++) ck_assert_mem_eq(got + 4 * i, bytes + 4 * (1000 - i), 4);
  free(got);
  free(bytes);
  pare_tensor_close(backwards);
  pare_tensor_close(a);
}
END_TEST

START_TEST(a_copy_expands) {
  unsigned char *bytes;
  pare_tensor *a = filled(PARE_U8, 2, (const int64_t[]){3, 1}, &bytes),
              *out = empty_tensor(PARE_U8, 3, (const int64_t[]){2, 3, 50});
  OK(pare_copy(a, out));
  unsigned char *got = read_bytes(out);
  for (int i = 0; i < 300; i++) ck_assert_uint_eq(got[i], bytes[i / 50 % 3]);
  free(got);
  free(bytes);
  pare_tensor_close(a);
  pare_tensor_close(out);
}
END_TEST

START_TEST(bad_input_gets_a_clear_error) {
  pare_tensor *a = empty_tensor(PARE_F32, 2, (const int64_t[]){3, 4}),
              *b = empty_tensor(PARE_I32, 2, (const int64_t[]){3, 4});
  ck_assert_int_eq(pare_copy(a, b), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_copy(NULL, b), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_copy(a, NULL), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_permute(a, (const int[]){1, 0}, a), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_permute(a, (const int[]){0, 0}, a), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_permute(a, NULL, a), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_concat(0, NULL, 0, a), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_concat(1, &a, 2, a), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_concat(2, (pare_tensor *[]){a, a}, 0, a), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_concat(1, &b, 0, a), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_split(a, 0, 2, (pare_tensor *[]){a, NULL}), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_split(a, 0, 0, NULL), PARE_ERR_SHAPE);
  pare_tensor_close(a);
  pare_tensor_close(b);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("move");
  tcase_add_checked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, permutes_move_every_element, 0, (int)(sizeof permutes / sizeof *permutes) * PARE_NDTYPES);
  tcase_add_loop_test(laws, split_undoes_concat, 0, 3);
  tcase_add_test(laws, a_tensor_is_reversed_in_place);
  tcase_add_test(laws, a_copy_expands);
  tcase_add_test(laws, bad_input_gets_a_clear_error);
  return run_tests("move", laws);
}
