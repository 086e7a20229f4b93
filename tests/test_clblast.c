/* CLBlast as a variant of the matrix product, as if the tuner had found it fastest. SPDX-License-Identifier: Apache-2.0
 *
 * It compiles for seconds where it meets a driver for the first time: the problems are few and share its programs. */
#include <check.h>
#include <math.h>
#include <pare/gemm.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/family_gemm.h"
#include "kernel/state.h"
#include "tensor/context.h"
#include "tensor/tensor.h"

#define MUST(call) ck_assert_msg((call) == PARE_OK, "%s", pare_message())
enum { M = 521, N = 523, K = 509 }; /* large enough for padded copies on most devices */

static pare_context *context;

/* In memory only: the database on disk is everybody's. */
static void prefer_clblast(void) {
  pare__device *device = pare__context_device(context);
  pare__state *state;
  pare__device_lock(device);
  MUST(pare__state_get(device, &state));
  json_decref(state->tuning);
  state->tuning = json_pack("{s:{s:{s:s},s:{s:s}}}", "gemm", "f32 many rows", "variant", "clblast", "f32 few rows",
                            "variant", "clblast");
  ck_assert_ptr_nonnull(state->tuning);
  pare__state_forget_choices(state);
  pare__device_unlock(device);
}

static void open_context(void) {
  MUST(pare_context_open(NULL, &context));
  prefer_clblast();
}
static void close_context(void) { pare_context_close(context); }

/* It does not run where loops end early. */
static bool possible(void) { return pare_context_device(context)->can.max_loop_steps == 0; }

static pare_tensor *matrix(int64_t rows, int64_t columns, float seed) {
  const int64_t shape[] = {rows, columns};
  float *data = malloc((size_t)(rows * columns) * sizeof *data);
  for (int64_t i = 0; i < rows * columns; i++) data[i] = isnan(seed) ? seed : sinf(seed * (float)i);
  pare_tensor *tensor;
  MUST(pare_tensor_from(context, PARE_F32, 2, shape, data, (size_t)(rows * columns) * sizeof *data, &tensor));
  free(data);
  return tensor;
}

static const char *chosen(const pare_tensor *a, const pare_tensor *b, const pare_tensor *c, unsigned flags) {
  pare__problem problem;
  memset(&problem, 0, sizeof problem);
  const pare__gemm_case as = {.m = c->shape.dim[0],
                              .n = c->shape.dim[1],
                              .k = a->shape.dim[1],
                              .alpha = 1,
                              .a = a->dtype,
                              .b = b->dtype,
                              .c = c->dtype};
  pare__gemm_problem(pare_context_device(context), &as, &problem);
  problem.flags = flags;
  pare__choice choice;
  MUST(pare__choose(pare__context_device(context), &pare__family_gemm, &problem, &choice));
  return choice.variant->name;
}

START_TEST(splitting_keeps_every_bit) {
  if (!possible()) return;
  pare_tensor *a = matrix(M, K, 0.1F), *b = matrix(K, N, 0.3F);
  static float first[M * N], other[M * N];
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare_tensor *c = matrix(M, N, NAN); /* beta is 0: what lies there is not looked at */
    pare__context_split(context, pieces);
    ck_assert_str_eq(chosen(a, b, c, 0), "clblast");
    MUST(pare_gemm(a, b, NULL, NULL, c));
    MUST(pare_tensor_read(c, pieces == 1 ? first : other, sizeof first));
    if (pieces > 1) ck_assert_mem_eq(first, other, sizeof first);
    pare_tensor_close(c);
  }
  for (int i = 0; i < M * N; i++) ck_assert(isfinite(first[i]));
  pare_tensor_close(a);
  pare_tensor_close(b);
}
END_TEST

START_TEST(work_in_pieces_is_for_others) {
  if (!possible()) return;
  pare_tensor *a = matrix(M, K, 0.1F), *b = matrix(K, N, 0.3F), *c = matrix(M, N, 0);
  ck_assert_str_ne(chosen(a, b, c, PARE__IN_PIECES), "clblast");
  pare_tensor_close(a);
  pare_tensor_close(b);
  pare_tensor_close(c);
}
END_TEST

/* Its padded copies are pare's memory: over the limit there is an error, and everything is still usable. */
START_TEST(memory_for_padding_is_accounted) {
  if (!possible()) return;
  const uint64_t limit = (uint64_t)(M * K + K * N + M * N) * sizeof(float) + (1U << 20);
  pare_context *roomy = context;
  const pare_context_options options = {.memory_limit_bytes = limit};
  MUST(pare_context_open(&options, &context));
  prefer_clblast();
  pare_tensor *a = matrix(M, K, 0.1F), *b = matrix(K, N, 0.3F), *c = matrix(M, N, 0), *first, *few;
  static float values[M * N];
  pare_status status = pare_gemm(a, b, NULL, NULL, c);
  if (status == PARE_OK) status = pare_tensor_read(c, values, sizeof values);
  /* a device may be one where CLBlast pads only what is larger */
  ck_assert_msg(status == PARE_ERR_LIMIT || status == PARE_OK, "status %d: %s", (int)status, pare_message());
  if (status == PARE_ERR_LIMIT) ck_assert_ptr_nonnull(strstr(pare_message(), "padded matrices"));
  MUST(pare_tensor_slice(a, 0, 0, 5, 1, &first));
  MUST(pare_tensor_slice(c, 0, 0, 5, 1, &few));
  (void)pare_context_wait(context);
  MUST(pare_gemm(first, b, NULL, NULL, few));
  MUST(pare_context_wait(context));
  pare_tensor *const all[] = {first, few, a, b, c};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  pare_context_close(context);
  context = roomy;
}
END_TEST

int main(void) {
  Suite *suite = suite_create("clblast");
  TCase *products = tcase_create("products");
  tcase_add_unchecked_fixture(products, open_context, close_context);
  tcase_set_timeout(products, 0);
  tcase_add_test(products, splitting_keeps_every_bit);
  tcase_add_test(products, work_in_pieces_is_for_others);
  tcase_add_test(products, memory_for_padding_is_accounted);
  suite_add_tcase(suite, products);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* drivers do not survive fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
