/* Tensors: shapes, views, transfers, limits. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/schedule.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "tensor/tensor.h"

/* 0, 1, 2, … as i32. */
static pare_tensor *counting(int rank, const int64_t *shape) {
  pare__shape s;
  ck_assert(pare__shape_set(&s, rank, shape));
  int64_t n = pare__shape_elements(&s);
  int32_t *data = malloc((size_t)(n + 1) * sizeof *data);
  for (int64_t i = 0; i < n; i++) data[i] = (int32_t)i;
  pare_tensor *tensor;
  OK(pare_tensor_from(context, PARE_I32, rank, shape, data, (size_t)n * sizeof *data, &tensor));
  free(data);
  return tensor;
}

/* What a view of a counting tensor must read as: the offset of each element. */
static void check_view(pare_tensor *view) {
  int64_t n = pare_tensor_elements(view);
  int32_t *got = malloc((size_t)(n + 1) * sizeof *got);
  OK(pare_tensor_read(view, got, (size_t)n * sizeof *got));
  int64_t index[PARE_MAX_RANK] = {0};
  for (int64_t k = 0; k < n; k++) {
    int64_t at = view->offset;
    for (int d = 0; d < view->shape.rank; d++) at += index[d] * view->shape.stride[d];
    ck_assert_int_eq(got[k], at);
    for (int d = view->shape.rank - 1; d >= 0 && ++index[d] == view->shape.dim[d]; d--) index[d] = 0;
  }
  free(got);
}

START_TEST(views_read_what_their_strides_say) {
  int64_t shape[] = {3, 4, 5};
  pare_tensor *t = counting(3, shape), *p, *s, *b;
  int axes[] = {2, 0, 1};
  OK(pare_tensor_permute(t, axes, &p));
  check_view(p);
  OK(pare_tensor_slice(p, 0, 4, 3, -2, &s)); /* elements 4, 2, 0 of the last axis */
  check_view(s);
  int32_t first;
  pare_tensor *one;
  OK(pare_tensor_slice(s, 1, 0, 1, 1, &one));
  pare_tensor_close(one);
  int64_t wide[] = {2, 3, 3, 4};
  OK(pare_tensor_broadcast(s, 4, wide, &b));
  check_view(b);
  ck_assert_int_eq(pare_tensor_write(b, &first, sizeof first), PARE_ERR_SHAPE);
  int32_t full[72] = {0};
  ck_assert_int_eq(pare_tensor_write(b, full, sizeof full), PARE_ERR_ARGUMENT);
  pare_tensor_close(t);
  check_view(b); /* the storage lives with its last view */
  pare_tensor_close(p);
  pare_tensor_close(s);
  pare_tensor_close(b);
}
END_TEST

START_TEST(reshape_keeps_the_order_or_refuses) {
  /* for random views: if reshape succeeds, reading the result equals reading the source; a contiguous source never
   * fails */
  srand(7);
  int64_t shape[] = {2, 3, 4, 6};
  const int64_t targets[][5] = {{144, 0, 0, 0, 0}, {6, 24, 0, 0, 0}, {2, 3, 24, 0, 0},
                                {12, -1, 1, 0, 0}, {1, 2, 3, 4, 6},  {4, 6, 6, 0, 0}};
  const int ranks[] = {1, 2, 3, 3, 5, 3};
  unsigned views = 0;
  for (int round = 0; round < 200; round++) {
    pare_tensor *t = counting(4, shape), *p, *r;
    int axes[] = {0, 1, 2, 3};
    for (int i = 3; i > 0 && round >= 6; i--) {
      int j = rand() % (i + 1), swap = axes[i];
      axes[i] = axes[j];
      axes[j] = swap;
    }
    OK(pare_tensor_permute(t, axes, &p));
    int which = round % 6;
    pare_status status = pare_tensor_reshape(p, ranks[which], targets[which], &r);
    if (round < 6) OK(status);
    if (status == PARE_OK) {
      int32_t a[144], b[144];
      OK(pare_tensor_read(p, a, sizeof a));
      OK(pare_tensor_read(r, b, sizeof b));
      ck_assert_mem_eq(a, b, sizeof a);
      views += round >= 6;
    } else {
      ck_assert_int_eq(status, PARE_ERR_SHAPE);
      ck_assert_ptr_null(r);
    }
    pare_tensor_close(r);
    pare_tensor_close(p);
    pare_tensor_close(t);
  }
  ck_assert_uint_ge(views, 20);
}
END_TEST

START_TEST(writing_a_view_writes_its_elements_only) {
  int64_t shape[] = {4, 6};
  pare_tensor *t = counting(2, shape), *column;
  OK(pare_tensor_slice(t, 1, 5, 2, -3, &column)); /* columns 5 and 2 */
  int32_t data[] = {100, 101, 102, 103, 104, 105, 106, 107}, all[24];
  OK(pare_tensor_write(column, data, sizeof data));
  OK(pare_tensor_read(t, all, sizeof all));
  for (int r = 0; r < 4; r++)
    for (int c = 0; c < 6; c++)
      ck_assert_int_eq(all[r * 6 + c], c == 5 ? 100 + 2 * r : c == 2 ? 101 + 2 * r : r * 6 + c);
  pare_tensor_close(column);
  pare_tensor_close(t);
}
END_TEST

START_TEST(zero_size_and_scalar) {
  int64_t none[] = {3, 0, 5}, flat[] = {0};
  pare_tensor *t, *v, *scalar;
  OK(pare_tensor_create(context, PARE_F32, 3, none, &t));
  OK(pare_tensor_read(t, NULL, 0));
  OK(pare_tensor_write(t, NULL, 0));
  OK(pare_tensor_reshape(t, 1, flat, &v));
  ck_assert_int_eq(pare_tensor_elements(v), 0);
  float x = 2.5f, y = 0;
  OK(pare_tensor_from(context, PARE_F32, 0, NULL, &x, sizeof x, &scalar));
  OK(pare_tensor_read(scalar, &y, sizeof y));
  ck_assert(y == x);
  pare_tensor_close(t);
  pare_tensor_close(v);
  pare_tensor_close(scalar);
}
END_TEST

START_TEST(wrapped_memory_is_the_tensor) {
  int32_t *data = aligned_alloc(4096, 4096);
  for (int i = 0; i < 1024; i++) data[i] = i;
  int64_t shape[] = {1024};
  pare_tensor *t;
  OK(pare_tensor_wrap(context, PARE_I32, 1, shape, data, 4096, &t));
  int32_t got[1024];
  OK(pare_tensor_read(t, got, sizeof got));
  ck_assert_mem_eq(got, data, sizeof got);
  for (int i = 0; i < 1024; i++) got[i] = -i;
  OK(pare_tensor_write(t, got, sizeof got));
  OK(pare_tensor_sync(t));
  ck_assert_mem_eq(got, data, sizeof got);
  pare_tensor_close(t);
  ck_assert_int_eq(pare_tensor_wrap(context, PARE_I32, 1, shape, data, 4095, &t), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_tensor_wrap(context, PARE_I32, 1, shape, (char *)data + 1, 4096, &t), PARE_ERR_ARGUMENT);
  free(data);
}
END_TEST

START_TEST(bad_arguments_are_told) {
  pare_tensor *t = (pare_tensor *)1;
  int64_t negative[] = {2, -1}, huge[] = {INT64_MAX / 2, 3}, hidden[] = {0, INT64_MAX, INT64_MAX},
          nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  ck_assert_int_eq(pare_tensor_create(NULL, PARE_F32, 0, NULL, &t), PARE_ERR_ARGUMENT);
  ck_assert_ptr_null(t);
  ck_assert_int_eq(pare_tensor_create(context, (pare_dtype)77, 0, NULL, &t), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 2, negative, &t), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 2, huge, &t), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 3, hidden, &t), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 9, nine, &t), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 2, NULL, &t), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 0, NULL, NULL), PARE_ERR_ARGUMENT);
  int64_t shape[] = {2, 3};
  pare_tensor *base = counting(2, shape);
  int twice[] = {1, 1}, outside[] = {0, 2};
  int32_t data[6];
  ck_assert_int_eq(pare_tensor_permute(base, twice, &t), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_permute(base, outside, &t), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_slice(base, 2, 0, 1, 1, &t), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_slice(base, 1, 0, 4, 1, &t), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_slice(base, 1, 2, 2, INT64_MAX, &t), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_slice(base, 1, 2, 2, 0, &t), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_broadcast(base, 2, negative, &t), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_tensor_read(base, data, 5), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_tensor_read(NULL, data, 24), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_tensor_read(base, NULL, 24), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "pare_tensor_read"));
  pare_tensor_close(base);
  pare_tensor_close(NULL);
}
END_TEST

START_TEST(closed_context_is_told) {
  pare_context *other;
  OK(pare_context_open(NULL, &other));
  int64_t shape[] = {4};
  pare_tensor *t, *u;
  OK(pare_tensor_create(other, PARE_F32, 1, shape, &t));
  pare_context_close(other);
  float data[4];
  ck_assert_int_eq(pare_tensor_read(t, data, sizeof data), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "closed"));
  ck_assert_int_eq(pare_tensor_slice(t, 0, 0, 1, 1, &u), PARE_ERR_ARGUMENT);
  pare_tensor_close(t);
}
END_TEST

START_TEST(memory_limit_is_kept_and_told) {
  pare_context *small;
  pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
  options.memory_limit_bytes = 1 << 20;
  pare_schedule_options alone = PARE_SCHEDULE_OPTIONS_INIT;
  alone.parallel = PARE_PARALLEL_OFF; /* with several devices memory is taken where and when work runs */
  options.schedule = &alone;
  OK(pare_context_open(&options, &small));
  int64_t most[] = {200 * 1024}, more[] = {100 * 1024};
  pare_tensor *a, *b;
  OK(pare_tensor_create(small, PARE_F32, 1, most, &a));
  ck_assert_int_eq(pare_tensor_create(small, PARE_F32, 1, more, &b), PARE_ERR_LIMIT);
  ck_assert_ptr_null(b);
  pare_memory_usage usage;
  OK(pare_context_memory(small, &usage));
  ck_assert_uint_eq(usage.limit_bytes, 1 << 20);
  ck_assert_uint_eq(usage.in_use_bytes, 800 * 1024);
  pare_tensor_close(a);
  OK(pare_tensor_create(small, PARE_F32, 1, more, &b));
  pare_tensor_close(b);
  OK(pare_context_memory(small, &usage));
  ck_assert_uint_eq(usage.in_use_bytes, 0);
  ck_assert_uint_ge(usage.peak_bytes, 800 * 1024);
  pare_context_close(small);
}
END_TEST

START_TEST(a_forked_child_is_refused) {
  fflush(NULL);
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    pare_tensor *t;
    pare_status status = pare_tensor_create(context, PARE_F32, 0, NULL, &t);
    _exit(status == PARE_ERR_ARGUMENT && strstr(pare_message(), "fork") ? 0 : 1);
  }
  int end;
  ck_assert_int_eq(waitpid(child, &end, 0), child);
  ck_assert(WIFEXITED(end) && WEXITSTATUS(end) == 0);
  pare_tensor *t;
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &t));
  pare_tensor_close(t);
}
END_TEST

/* How a forked child ends that does this; an alarm ends one that hangs. */
static int in_a_fork(int (*body)(void)) {
  int end;
  fflush(NULL);
  const pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    (void)alarm(120);
    _exit(body());
  }
  ck_assert_int_eq(waitpid(child, &end, 0), child);
  ck_assert_msg(!WIFSIGNALED(end), "the child was ended by signal %d", WTERMSIG(end));
  return WEXITSTATUS(end);
}

static pare_tensor *held[3];

static int close_all(void) {
  for (size_t i = 0; i < PARE__COUNT(held); i++) pare_tensor_close(held[i]);
  pare_context_close(context);
  return 0;
}

/* Wrapped memory is waited for when its tensor is closed: in a fork there is nobody to wait for. */
START_TEST(a_forked_child_closes_what_it_inherits) {
  static int32_t memory[4096] = {1, 2, 3};
  int64_t shape[] = {4096};
  OK(pare_tensor_wrap(context, PARE_I32, 1, shape, memory, sizeof memory, &held[0]));
  held[1] = counting(1, shape);
  OK(pare_tensor_slice(held[1], 0, 0, 2, 1, &held[2]));
  OK(pare_context_wait(context));
  ck_assert_int_eq(in_a_fork(close_all), 0);
  int32_t data[4096];
  OK(pare_tensor_read(held[1], data, sizeof data)); /* here it goes on */
  ck_assert_int_eq(data[4095], 4095);
  for (size_t i = 0; i < PARE__COUNT(held); i++) pare_tensor_close(held[i]);
}
END_TEST

static int open_another(void) {
  pare_context *another = context;
  pare_device_list *list = NULL;
  if (pare_context_open(NULL, &another) != PARE_ERR_ARGUMENT || another) return 1;
  if (!strstr(pare_message(), "exec")) return 2;
  return pare_device_list_open(false, &list) == PARE_ERR_ARGUMENT && !list ? 0 : 3;
}

START_TEST(a_forked_child_opens_no_context) {
  ck_assert_int_eq(in_a_fork(open_another), 0);
  close_context(); /* the drivers stay loaded */
  ck_assert_int_eq(in_a_fork(open_another), 0);
  open_context();
}
END_TEST

START_TEST(poison_is_read_and_healed_by_overwriting) {
  int64_t shape[] = {4};
  pare_tensor *t = counting(1, shape), *half;
  int32_t data[4] = {0};
  (void)pare__fail(PARE_ERR_DEVICE, "the device burns");
  pare__tensor_poison(t, PARE_ERR_DEVICE);
  (void)pare__fail(PARE_ERR_IO, "something else");
  ck_assert_int_eq(pare_tensor_read(t, data, sizeof data), PARE_ERR_DEVICE);
  ck_assert_str_eq(pare_message(), "the device burns");
  OK(pare_tensor_slice(t, 0, 0, 2, 1, &half));
  OK(pare_tensor_write(half, data, 8));
  ck_assert_int_eq(pare_tensor_read(t, data, sizeof data), PARE_ERR_DEVICE);
  OK(pare_tensor_write(t, data, sizeof data));
  OK(pare_tensor_read(t, data, sizeof data));
  pare_tensor_close(half);
  pare_tensor_close(t);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("tensor");
  tcase_add_checked_fixture(laws, open_context, close_context);
  tcase_add_test(laws, views_read_what_their_strides_say);
  tcase_add_test(laws, reshape_keeps_the_order_or_refuses);
  tcase_add_test(laws, writing_a_view_writes_its_elements_only);
  tcase_add_test(laws, zero_size_and_scalar);
  tcase_add_test(laws, wrapped_memory_is_the_tensor);
  tcase_add_test(laws, bad_arguments_are_told);
  tcase_add_test(laws, closed_context_is_told);
  tcase_add_test(laws, memory_limit_is_kept_and_told);
  tcase_add_test(laws, a_forked_child_is_refused);
  tcase_add_test(laws, a_forked_child_closes_what_it_inherits);
  tcase_add_test(laws, a_forked_child_opens_no_context);
  tcase_add_test(laws, poison_is_read_and_healed_by_overwriting);
  return run_tests("tensor", laws);
}
