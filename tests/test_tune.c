/* The tuner: what it found is kept over processes, used, and right; two that tune at once lose nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/cache.h>
#include <pare/context.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernel/state.h"

static char folder[] = "/tmp/pare-test-XXXXXX";

/* A new device knows nothing but what is on disk, as a new process does. */
static void reopen(void) {
  close_device();
  open_device();
}

static void problem_of(const pare__family *family, pare__case_set set, unsigned index, pare__problem *out) {
  memset(out, 0, sizeof *out);
  ck_assert(family->problem(set, pare__device_info(device), index, out));
}

/* What the database says of the problem, on a device that was just opened. */
static bool kept(const pare__family *family, const pare__problem *problem, pare__choice *out) {
  pare__state *state;
  OK(pare__state_get(device, &state));
  return pare__database_find(device, state, family, problem, false, out);
}

static void store(const pare__family *family, const pare__problem *problem, const pare__choice *choice) {
  char shape_class[120] = "";
  pare__state *state;
  OK(pare__state_get(device, &state));
  family->shape_class(problem, shape_class, sizeof shape_class);
  OK(pare__database_store(device, state, family, shape_class, choice));
}

static bool same_choice(const pare__choice *a, const pare__choice *b) {
  return a->variant == b->variant && memcmp(&a->tuning, &b->tuning, sizeof a->tuning) == 0;
}

/* The last possible variant with the last value of each parameter: hardly anybody's default. */
static pare__choice strange_choice(const pare__family *family, const pare__problem *problem) {
  pare__choice choice = {NULL, {{0}}};
  char reason[200];
  for (const pare__variant *variant = family->variants; variant->name; variant++)
    if (!variant->provider &&
        pare__variant_possible(pare__device_info(device), family, variant, problem, reason, sizeof reason))
      choice.variant = variant;
  ck_assert_ptr_nonnull(choice.variant);
  for (unsigned i = 0; choice.variant->params && choice.variant->params[i].name; i++) {
    const int *value = choice.variant->params[i].values;
    while (value[1]) value++;
    choice.tuning.value[i] = *value;
  }
  return choice;
}

static void check_right(const pare__family *family, const pare__problem *problem, const pare__choice *choice) {
  double worst = 0;
  char reason[400];
  OK(pare__check(device, family, choice->variant, &choice->tuning, problem, 1, &worst, reason, sizeof reason));
  ck_assert_msg(worst <= 1, "%s/%s: %s", family->name, choice->variant->name, reason);
}

/* ---- laws ---- */

static const char *const families[] = {"reduce", "transpose"};

START_TEST(what_was_tuned_is_kept_used_and_right) {
  const pare__family *family = pare__family_find(families[_i]);
  pare__problem problem;
  pare__choice before, after, found;
  problem_of(family, PARE__CASES_SELFTEST, 0, &problem);
  OK(pare__choose(device, family, &problem, &before));
  const pare__choice strange = strange_choice(family, &problem);
  ck_assert(!same_choice(&strange, &before));
  store(family, &problem, &strange);
  OK(pare__choose(device, family, &problem, &after)); /* at once */
  ck_assert(same_choice(&after, &strange));
  reopen();
  ck_assert(kept(family, &problem, &found));
  ck_assert(same_choice(&found, &strange));
  OK(pare__choose(device, family, &problem, &after));
  ck_assert(same_choice(&after, &strange));
  check_right(family, &problem, &after);
}
END_TEST

/* Two devices stand for two processes: each has read the database before the other wrote. */
START_TEST(two_that_tune_at_once_lose_nothing) {
  const pare__family *one = pare__family_find("reduce"), *other = pare__family_find("transpose");
  pare__problem of_one, of_other;
  pare__choice found;
  problem_of(one, PARE__CASES_SELFTEST, 0, &of_one);
  problem_of(other, PARE__CASES_SELFTEST, 0, &of_other);
  (void)kept(one, &of_one, &found);
  pare__device *first = device, *second;
  pare_device_list *list;
  pare_device_choice which;
  size_t ndevices;
  OK(pare_device_list_open(false, &list));
  OK(pare_device_list_select(list, NULL, 1, &which, &ndevices));
  OK(pare__device_open(list, &which, 0, &second));
  device = second;
  (void)kept(other, &of_other, &found);
  pare__choice choice = strange_choice(other, &of_other);
  store(other, &of_other, &choice);
  device = first;
  choice = strange_choice(one, &of_one);
  store(one, &of_one, &choice);
  pare__device_close(second);
  pare_device_list_close(list);
  reopen();
  ck_assert(kept(one, &of_one, &found));
  ck_assert(kept(other, &of_other, &found));
}
END_TEST

static unsigned nasked;
static void count(const char *family, const char *shape_class, const char *variant, double fraction, void *user) {
  ck_assert(*family && *shape_class && *variant && user == &nasked);
  ck_assert(fraction >= 0 && fraction <= 1);
  nasked++;
}

/* However short the time, what is kept can be run and is right. */
START_TEST(the_tuner_keeps_what_can_run) {
  const pare__family *family = pare__family_find("random");
  pare__problem problem;
  pare__choice found, chosen;
  nasked = 0;
  OK(pare__tune(device, family, 0.3, count, &nasked));
  ck_assert_uint_gt(nasked, 0);
  reopen();
  problem_of(family, PARE__CASES_BENCH, 0, &problem);
  ck_assert(kept(family, &problem, &found));
  OK(pare__choose(device, family, &problem, &chosen));
  ck_assert(same_choice(&found, &chosen));
  pare__problem small;
  problem_of(family, PARE__CASES_SELFTEST, 0, &small);
  char reason[200];
  if (pare__variant_possible(pare__device_info(device), family, chosen.variant, &small, reason, sizeof reason))
    check_right(family, &small, &chosen);
}
END_TEST

/* ---- bits ---- */

enum { ROWS = 600, K = 1100, COLUMNS = 70 };

/* tanh of the product of the first rows of x with w. */
static float *product_of(pare_context *in, const float *x, const float *w, int64_t rows) {
  const int64_t of_x[] = {rows, K}, of_w[] = {K, COLUMNS}, of_y[] = {rows, COLUMNS};
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  pare_tensor *a, *b, *y;
  OK(pare_tensor_from(in, PARE_F32, 2, of_x, x, (size_t)(rows * K) * sizeof *x, &a));
  OK(pare_tensor_from(in, PARE_F32, 2, of_w, w, (size_t)(K * COLUMNS) * sizeof *w, &b));
  OK(pare_tensor_create(in, PARE_F32, 2, of_y, &y));
  OK(pare_gemm(a, b, NULL, &options, y));
  OK(pare_unary(PARE_UNARY_tanh, y, y));
  float *values = floats_of(y);
  pare_tensor_close(a);
  pare_tensor_close(b);
  pare_tensor_close(y);
  return values;
}

/* Entries for the classes of bench problems, no two alike where the table leaves a choice; deciding: also for those
 * that decide for others. */
static void store_different_entries(const pare__family *family, bool deciding) {
  const pare_device_info *info = pare__device_info(device);
  pare__problem problem;
  for (unsigned i = 0; memset(&problem, 0, sizeof problem), family->problem(PARE__CASES_BENCH, info, i, &problem);
       i++) {
    char reason[200];
    pare__choice choice = {family->variants, {{0}}};
    if (!pare__variant_possible(info, family, choice.variant, &problem, reason, sizeof reason)) continue;
    if (!deciding && !pare__class_is_led(family, &problem)) continue;
    for (unsigned p = 0; choice.variant->params && choice.variant->params[p].name; p++) {
      const int *value = choice.variant->params[p].values;
      int count = 0;
      while (value[count]) count++;
      choice.tuning.value[p] = value[(i + p) % (unsigned)count];
    }
    store(family, &problem, &choice);
  }
}

/* _i = whether there are entries for classes that decide for others. */
START_TEST(entries_that_differ_by_rows_give_the_same_bits) {
  static const int64_t rows[] = {8, 40, 64, 65, 300, 512, 513};
  static const pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
  const pare__family *families_of_both[] = {pare__family_find("gemm"), pare__family_find("elementwise")};
  float *x = random_floats((int64_t)ROWS * K, 1), *w = random_floats((int64_t)K * COLUMNS, 2);
  OK(pare_cache_clear(NULL));
  for (size_t f = 0; f < 2; f++) store_different_entries(families_of_both[f], _i == 1);
  pare_context *in;
  OK(pare_context_open(&options, &in));
  float *whole = product_of(in, x, w, ROWS);
  for (size_t i = 0; i < PARE__COUNT(rows); i++) {
    float *piece = product_of(in, x, w, rows[i]);
    ck_assert_msg(memcmp(whole, piece, (size_t)(rows[i] * COLUMNS) * sizeof *piece) == 0, "other bits for %d rows",
                  (int)rows[i]);
    free(piece);
  }
  pare_context_close(in);
  free(whole);
  free(x);
  free(w);
}
END_TEST

/* More problems than choices are kept of: one that has to be made again is made from what is known, and is nothing that
 * a run's time is not to be learned from. */
START_TEST(a_choice_that_was_pushed_out_is_no_preparation) {
  enum { MORE_THAN_ARE_KEPT = 3 * PARE__CHOICE_SLOTS };
  const pare__family *family = pare__family_find("reduce");
  pare__problem problem;
  pare__choice first, choice;
  problem_of(family, PARE__CASES_SELFTEST, 0, &problem);
  OK(pare__choose(device, family, &problem, &first));
  const int64_t before = problem.dim[0];
  for (int round = 0; round < 2; round++) {
    const uint64_t preparations = pare__preparations();
    for (int64_t i = 0; i < MORE_THAN_ARE_KEPT; i++) {
      problem.dim[0] = before + i;
      OK(pare__choose(device, family, &problem, &choice));
    }
    if (round == 0) continue;
    ck_assert_uint_eq(pare__preparations(), preparations);
  }
  problem.dim[0] = before;
  OK(pare__choose(device, family, &problem, &choice));
  ck_assert(same_choice(&choice, &first));
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return 99;
  setenv("PARE_CACHE", folder, 1);
  TCase *laws = tcase_create("tune");
  tcase_add_checked_fixture(laws, open_device, close_device);
  tcase_add_loop_test(laws, what_was_tuned_is_kept_used_and_right, 0, (int)PARE__COUNT(families));
  tcase_add_test(laws, two_that_tune_at_once_lose_nothing);
  tcase_add_test(laws, the_tuner_keeps_what_can_run);
  tcase_add_test(laws, a_choice_that_was_pushed_out_is_no_preparation);
  tcase_add_loop_test(laws, entries_that_differ_by_rows_give_the_same_bits, 0, 2);
  return remove_folder(folder, run_tests("tune", laws));
}
