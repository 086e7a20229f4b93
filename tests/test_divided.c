/* Along which axis an operation is divided among devices. SPDX-License-Identifier: Apache-2.0 */
#include <pare/gemm.h>
#include <pare/normalise.h>
#include <stdlib.h>

#include "sched/multi.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

static pare_tensor *matrix(pare_context *in, int64_t rows, int64_t columns, uint32_t seed) {
  const int64_t shape[] = {rows, columns};
  float *values = random_floats(rows * columns, seed);
  pare_tensor *tensor;
  OK(pare_tensor_from(in, PARE_F32, 2, shape, values, (size_t)(rows * columns) * sizeof *values, &tensor));
  free(values);
  return tensor;
}

/* Heads beside each other, as projections leave them; `each` of them share a key. n: steps of the task that makes the
 * scores on two devices; shared: whether each piece of it needs all keys. */
typedef struct attention_case {
  int64_t batch, keyed, each, queries, keys, size, n;
  bool shared;
} attention_case;
static const attention_case attention_cases[] = {
    {1, 12, 1, 40, 40, 24, 12, false}, /* heads */
    {1, 5, 1, 37, 41, 24, 5, false},   /* odd */
    {2, 7, 1, 37, 41, 24, 7, false},   /* more than the batch has samples */
    {9, 2, 1, 17, 13, 8, 9, false},    /* and fewer */
    {1, 6, 4, 19, 23, 16, 6, false},   /* in groups that share a key */
    {2, 4, 2, 1, 50, 16, 4, false},    /* and a query each */
    {1, 1, 6, 64, 8, 16, 64, true},    /* one key for all: rows */
    {1, 1, 1, 40, 30, 16, 40, true},   /* one head: rows */
    {1, 2, 1, 256, 16, 16, 256, true}, /* two heads leave half a device idle, if one is slower; rows do not */
};

static pare_tensor *heads_of(pare_tensor *flat, int64_t batch, int64_t length, int64_t keyed, int64_t each,
                             int64_t size) {
  pare_tensor *seen, *out;
  OK(pare_tensor_reshape(flat, 5, (const int64_t[]){batch, length, keyed, each, size}, &seen));
  OK(pare_tensor_permute(seen, (const int[]){0, 2, 3, 1, 4}, &out));
  pare_tensor_close(seen);
  return out;
}

static float *attention_of(pare_context *in, const attention_case *c, bool recorded) {
  const int64_t heads = c->keyed * c->each, dim[5] = {c->batch, c->keyed, c->each, c->queries, c->keys};
  pare_tensor *q = matrix(in, c->batch * c->queries, heads * c->size, 1),
              *k = matrix(in, c->batch * c->keys, c->keyed * c->size, 2),
              *y = matrix(in, c->batch * c->queries, heads * c->size, 3), *scores;
  pare_tensor *query = heads_of(q, c->batch, c->queries, c->keyed, c->each, c->size),
              *key = heads_of(k, c->batch, c->keys, c->keyed, 1, c->size),
              *out = heads_of(y, c->batch, c->queries, c->keyed, c->each, c->size);
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.transpose_b = true;
  OK(pare_tensor_create(in, PARE_F32, 5, dim, &scores));
  float *values = NULL;
  pare__recording *recording = NULL;
  if (recorded) OK(pare__recording_begin(&recording));
  OK(pare_gemm(query, key, NULL, &options, scores));
  OK(pare_softmax(scores, 4, scores));
  OK(pare_gemm(scores, key, NULL, NULL, out));
  if (recorded) {
    pare__recording_end(recording);
    const pare__task *task = pare__recording_task(recording, 0);
    ck_assert_int_eq(task->n, c->n);
    ck_assert_int_eq(task->access[1].axis == PARE__WHOLE, c->shared);
    pare__recording_close(recording);
  } else {
    values = floats_of(y);
  }
  pare_tensor *const all[] = {q, k, y, query, key, out, scores};
  for (size_t i = 0; i < PARE__COUNT(all); i++) pare_tensor_close(all[i]);
  return values;
}

/* By heads, by batch or by rows: so that pieces are many and few of them need the same keys. */
START_TEST(attention_is_divided_where_devices_get_even_shares) {
  (void)attention_of(open_several("round-robin"), &attention_cases[_i], true);
  close_several();
}
END_TEST

/* Of a layer's input [3, 50, 24], which is one matrix of 150 rows unless each row of a sample has a bias. */
START_TEST(samples_of_a_layer_are_rows) {
  pare_context *in = open_several("round-robin");
  pare_tensor *flat = matrix(in, 150, 24, 1), *w = matrix(in, 24, 16, 2), *bias = matrix(in, 50, 1, 3), *x, *y;
  pare__recording *recording;
  OK(pare_tensor_reshape(flat, 3, (const int64_t[]){3, 50, 24}, &x));
  OK(pare_tensor_create(in, PARE_F32, 3, (const int64_t[]){3, 50, 16}, &y));
  OK(pare__recording_begin(&recording));
  OK(pare_gemm(x, w, NULL, NULL, y));
  OK(pare_gemm(x, w, bias, NULL, y));
  pare__recording_end(recording);
  ck_assert_int_eq(pare__recording_task(recording, 0)->n, 150);
  ck_assert_int_eq(pare__recording_task(recording, 1)->n, 50);
  pare__recording_close(recording);
  pare_tensor *const all[] = {flat, w, bias, x, y};
  for (size_t i = 0; i < PARE__COUNT(all); i++) pare_tensor_close(all[i]);
  close_several();
}
END_TEST

/* _i = a case, then the same with copies. */
START_TEST(divided_attention_has_the_bits_of_one_device) {
  const attention_case *c = &attention_cases[_i / 2];
  const size_t nbytes = (size_t)(c->batch * c->queries * c->keyed * c->each * c->size) * sizeof(float);
  float *want = attention_of(context, c, false);
  pare_context *in = open_several("round-robin");
  pare__multi_apart(in, _i % 2);
  for (int pieces = 2; pieces <= 5; pieces++) {
    pare__context_split(in, pieces);
    float *got = attention_of(in, c, false);
    ck_assert_mem_eq(want, got, nbytes);
    free(got);
  }
  pare_schedule_stats stats;
  OK(pare_context_stats(in, &stats));
  for (size_t m = 0; m < stats.ndevices; m++) ck_assert_uint_ge(stats.device[m].pieces, 3);
  pare_schedule_stats_close(&stats);
  close_several();
  free(want);
}
END_TEST

int main(void) {
  if (!can_be_halved()) return 77;
  TCase *tests = tcase_create("divided");
  tcase_add_checked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, attention_is_divided_where_devices_get_even_shares, 0, (int)PARE__COUNT(attention_cases));
  tcase_add_test(tests, samples_of_a_layer_are_rows);
  tcase_add_loop_test(tests, divided_attention_has_the_bits_of_one_device, 0, 2 * (int)PARE__COUNT(attention_cases));
  return run_tests("divided", tests);
}
