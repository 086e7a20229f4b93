/* Every row of the kernel table against its double-precision reference, on every device.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Nothing here knows a family: a new row is tested because it is in the table. A row that a device
 * can run, and that no problem suits, fails. PARE_TEST_SMALL=1 takes the problems of the self-test only;
 * PARE_TEST_ALL=1 takes every problem, where otherwise a family with many is sampled; PARE_TEST_FLOPS=n leaves out
 * problems, and self-tests, of more than n operations (a simulator takes minutes for them); PARE_DEVICE restricts the
 * devices; PARE_TEST_FAMILY the families. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"
#include "run.h"

#define MAX_DEVICES 16

static pare_device_list *list;
static pare__device *devices[MAX_DEVICES];
static size_t ndevices;

static void open_devices(void) {
  OK(pare_device_list_open(false, &list));
  pare_device_choice choice[MAX_DEVICES];
  const char *spec = getenv("PARE_DEVICE");
  size_t count;
  ck_assert_msg(pare_device_list_select(list, spec && *spec ? spec : "all", MAX_DEVICES, choice, &count) == PARE_OK,
                "%s", pare_message());
  for (size_t i = 0; i < count && i < MAX_DEVICES; i++) {
    OK(pare__device_open(list, &choice[i], 0, &devices[ndevices]));
    printf("device: %s (%s)\n", pare__device_info(devices[ndevices])->name,
           pare__device_info(devices[ndevices])->driver);
    ndevices++;
  }
  ck_assert_uint_gt(ndevices, 0);
}

static void close_devices(void) {
  for (size_t i = 0; i < ndevices; i++) pare__device_close(devices[i]);
  pare_device_list_close(list);
  ndevices = 0;
}

/* Of a family with many problems each variant takes a fixed sample of its own, about this many; and as many again if
 * that built little, because they share programs or few suit the variant. PARE_TEST_ALL takes all. */
enum { SAMPLE = 16, PARTS = 2 };

#ifndef SHARE
#define SHARE 0
#endif

/* A variant before the problems of its family. */
typedef struct tested {
  pare__device *device;
  const pare__family *family;
  const pare__variant *variant;
  pare__case_set set;
  unsigned count; /* of the set's problems */
} tested;

static bool problem_of(const tested *t, unsigned index, pare__problem *problem) {
  memset(problem, 0, sizeof *problem);
  return t->family->problem(t->set, pare__device_info(t->device), index, problem);
}

/* The last part of the sample. */
static unsigned last_part(const tested *t) {
  return t->set != PARE__CASES_TEST || t->count <= SAMPLE || getenv("PARE_TEST_ALL") ? 0 : t->count / SAMPLE;
}

/* Which part of the sample is this problem of? */
static unsigned part_of_sample(const tested *t, unsigned index) {
  if (last_part(t) == 0) return 0;
  /* a multiplicative hash, so that no period of the list is missed */
  const unsigned salt = 1 + (unsigned)(t->variant - t->family->variants);
  return (unsigned)((uint64_t)(index * 2654435761U + salt * 2246822519U) * t->count / SAMPLE >> 32);
}

static double flops_of(const pare__family *family, const pare__problem *problem) {
  double flops = 0, bytes = 0;
  family->work(problem, &flops, &bytes);
  return flops;
}

static double most_flops(void) {
  const char *most = getenv("PARE_TEST_FLOPS");
  return most ? strtod(most, NULL) : INFINITY;
}

static bool takes(const tested *t, const pare__problem *problem) {
  char reason[400];
  return pare__variant_possible(pare__device_info(t->device), t->family, t->variant, problem, reason, sizeof reason);
}

/* Runs one part of the sample; returns how many problems that were. */
static unsigned run_part(const tested *t, unsigned part, char *failure, size_t capacity) {
  const pare_device_info *info = pare__device_info(t->device);
  unsigned ran = 0;
  pare__problem problem;
  for (unsigned i = 0; problem_of(t, i, &problem); i++) {
    char reason[400], text[160] = "";
    if (part_of_sample(t, i) != part || flops_of(t->family, &problem) > most_flops() || !takes(t, &problem)) continue;
    t->family->describe(&problem, text, sizeof text);
    pare__tuning tuning;
    pare__variant_defaults(info, t->variant, &problem, &tuning);
    double worst = 0;
    pare_status status =
        pare__check(t->device, t->family, t->variant, &tuning, &problem, 1 + i, &worst, reason, sizeof reason);
    ran++;
    if (status != PARE_OK || worst > 1) {
      snprintf(failure, capacity, "%s/%s %s on %s: %s", t->family->name, t->variant->name, text, info->name,
               status != PARE_OK ? pare_message() : reason);
      return ran;
    }
  }
  return ran;
}

/* Why none ran of a variant that the device can run: there is no law without a problem. */
static void explain_none(const tested *t, char *failure, size_t capacity) {
  unsigned taken = 0;
  pare__problem problem;
  for (unsigned i = 0; problem_of(t, i, &problem); i++) taken += takes(t, &problem);
  snprintf(
      failure, capacity,
      "%s/%s is untested on %s: the device can run it, but of %u problems its accept function takes %u%s. Give its "
      "family's generator one",
      t->family->name, t->variant->name, pare__device_info(t->device)->name, t->count, taken,
      taken > 0 ? ", all of more operations than PARE_TEST_FLOPS" : "");
}

/* Runs the variant's sample; returns the number of problems. */
static unsigned run_variant(tested *t, char *failure, size_t capacity) {
  const uint64_t before = pare__preparations();
  unsigned ran = 0;
  pare__problem problem;
  for (t->count = 0; problem_of(t, t->count, &problem);) t->count++;
  for (unsigned part = 0; part <= last_part(t) && !*failure; part++)
    if (ran == 0 || (part < PARTS && pare__preparations() - before < SAMPLE))
      ran += run_part(t, part, failure, capacity);
  char reason[400];
  if (pare__variant_possible(pare__device_info(t->device), t->family, t->variant, NULL, reason, sizeof reason)) {
    if (ran == 0) explain_none(t, failure, capacity);
  } else {
    printf("  %-14s %-18s cannot run: %s\n", t->family->name, t->variant->name, reason);
  }
  return ran;
}

/* What is written for vectors of one width is tested as if the processor's had it: one of 512 bits has shorter ones,
 * and what it lacks for longer ones is among the variant's needs. */
static unsigned run_variant_at_its_width(tested *t, char *failure, size_t capacity) {
  pare_device_info *info = (pare_device_info *)pare__device_info(t->device);
  const unsigned own = info->can.vector_bits;
  if (info->type == PARE_DEVICE_CPU && t->variant->vector_bits != 0) info->can.vector_bits = t->variant->vector_bits;
  unsigned ran = run_variant(t, failure, capacity);
  info->can.vector_bits = own;
  return ran;
}

/* Is a family this program's? It is built twice, for every other family each, so that two cores compile at a time. A
 * family asked for by name is either's. */
static bool wanted(int family) {
  const char *only = getenv("PARE_TEST_FAMILY");
  return only && *only ? strcmp(only, pare__families[family]->name) == 0 : family % 2 == SHARE;
}

START_TEST(every_variant_meets_its_reference) {
  const pare__family *family = pare__families[_i];
  if (!wanted(_i)) return;
  pare__case_set set = getenv("PARE_TEST_SMALL") ? PARE__CASES_SELFTEST : PARE__CASES_TEST;
  /* Hundreds of programs, each for this test alone. */
  if (set == PARE__CASES_TEST) ck_assert(setenv("PARE_BINARIES", "0", 0) == 0);
  char failures[4000] = "", failure[900];
  size_t used = 0;
  for (size_t d = 0; d < ndevices; d++)
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      failure[0] = '\0';
      double start = pare__seconds();
      tested t = {devices[d], family, variant, set, 0};
      unsigned count = run_variant_at_its_width(&t, failure, sizeof failure);
      printf("  %-14s %-18s %-40.40s %5u problems %7.2f s%s\n", family->name, variant->name,
             pare__device_info(devices[d])->name, count, pare__seconds() - start, *failure ? "  FAILED" : "");
      fflush(stdout);
      if (*failure && used < sizeof failures)
        used += (size_t)snprintf(failures + used, sizeof failures - used, "\n  %s", failure);
    }
  ck_assert_msg(!*failures, "%s", failures);
}
END_TEST

/* A self-test runs all of its problems: no simulator does that in time. */
static bool self_test_is_affordable(pare__device *device, const pare__family *family, const pare__variant *variant) {
  const tested t = {device, family, variant, PARE__CASES_SELFTEST, 0};
  double flops = 0;
  pare__problem problem;
  for (unsigned i = 0; problem_of(&t, i, &problem); i++)
    if (takes(&t, &problem)) flops += flops_of(family, &problem);
  if (flops > most_flops())
    printf("  %-14s %-18s not self-tested: %.0f operations, and PARE_TEST_FLOPS allows %.0f\n", family->name,
           variant->name, flops, most_flops());
  return flops <= most_flops();
}

START_TEST(self_test_trusts_every_variant) {
  const pare__family *family = pare__families[_i];
  if (!wanted(_i)) return;
  for (size_t d = 0; d < ndevices; d++)
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      const pare_device_info *info = pare__device_info(devices[d]);
      pare__verdict verdict;
      char reason[400];
      if (!self_test_is_affordable(devices[d], family, variant)) continue;
      const bool can_run = pare__variant_possible(info, family, variant, NULL, reason, sizeof reason);
      ck_assert_msg(pare__selftest(devices[d], family, variant, false, &verdict, reason, sizeof reason) == PARE_OK,
                    "%s", pare_message());
      ck_assert_msg(verdict == (can_run ? PARE__TRUSTED : PARE__CANNOT), "%s/%s on %s: %s: %s", family->name,
                    variant->name, info->name, pare__verdict_name(verdict), reason);
    }
}
END_TEST

/* These have a variant that suits any device, or a plain one for GPUs; sequences go over GPUs step by step. */
static bool needs_both_shapes(const pare__family *family) {
  static const char *const one_will_do[] = {"grid_sample", "roi_align", "ticketed", "pool", "winograd", "recurrent"};
  for (size_t i = 0; i < PARE__COUNT(one_will_do); i++)
    if (strcmp(family->name, one_will_do[i]) == 0) return false;
  return true;
}

START_TEST(table_is_well_formed) {
  for (size_t i = 0; pare__families[i]; i++) {
    const pare__family *family = pare__families[i];
    ck_assert_ptr_eq(pare__family_find(family->name), family);
    ck_assert_msg(family->problem && family->buffer && family->reference && family->work && family->describe &&
                      family->what,
                  "%s lacks a function", family->name);
    ck_assert_uint_le(family->nbuffers, PARE__MAX_BUFFERS);
    bool for_cpu = false, for_gpu = false;
    for (const pare__variant *a = family->variants; a->name; a++) {
      for_cpu = for_cpu || a->shaped == PARE__FOR_CPU;
      for_gpu = for_gpu || a->shaped == PARE__FOR_GPU;
      ck_assert_msg(a->risky || !(a->needs & (PARE__NEEDS_INLINE_ASSEMBLY | PARE__NEEDS_VECTOR_EXTENSIONS)),
                    "%s/%s needs inline assembly or extensions and is not risky", family->name, a->name);
      ck_assert_msg(a->launch || family->launch, "%s/%s cannot be launched", family->name, a->name);
      for (const pare__variant *b = family->variants; b < a; b++)
        ck_assert_msg(strcmp(a->name, b->name) != 0, "%s has two variants %s", family->name, a->name);
    }
    ck_assert_msg((for_cpu && for_gpu) || !needs_both_shapes(family),
                  "%s needs a variant shaped for CPUs and one for GPUs", family->name);
  }
}
END_TEST

static bool in_space(const pare__variant *variant, const pare__tuning *tuning) {
  for (unsigned i = 0; variant->params && variant->params[i].name; i++) {
    const int *value = variant->params[i].values;
    while (*value && *value != tuning->value[i]) value++;
    if (*value == 0) return false;
  }
  return true;
}

/* Devices that are not at hand: CPUs with vectors of 128, 256 and 512 bits, and a GPU. */
START_TEST(defaults_are_of_the_tuning_space_everywhere) {
  static const unsigned bits[] = {128, 256, 512, 32};
  pare_device_info info = *pare__device_info(devices[0]);
  info.type = bits[_i] == 32 ? PARE_DEVICE_GPU : PARE_DEVICE_CPU;
  info.can.vector_bits = bits[_i];
  info.can.avx2 = bits[_i] >= 256 && bits[_i] != 32;
  info.can.avx512 = bits[_i] == 512;
  for (size_t f = 0; pare__families[f]; f++)
    for (int set = PARE__CASES_SELFTEST; set <= PARE__CASES_BENCH; set++)
      for (const pare__variant *variant = pare__families[f]->variants; variant->name; variant++) {
        pare__problem problem;
        char reason[400];
        for (unsigned i = 0;
             memset(&problem, 0, sizeof problem), pare__families[f]->problem((pare__case_set)set, &info, i, &problem);
             i++) {
          pare__tuning tuning;
          if (!pare__variant_possible(&info, pare__families[f], variant, &problem, reason, sizeof reason)) continue;
          pare__variant_defaults(&info, variant, &problem, &tuning);
          ck_assert_msg(in_space(variant, &tuning), "%s/%s: defaults for vectors of %u bits are not among its values",
                        pare__families[f]->name, variant->name, bits[_i]);
        }
      }
}
END_TEST

/* What is built for other vectors is right on these: products and rows, of which each width has kernels of its own. */
START_TEST(other_widths_of_vectors_are_right) {
  static const struct {
    const char *family, *variant;
    unsigned bits;
  } rows[] = {{"gemm", "wide", 128}, {"gemm", "wide", 512}, {"reduce", "item", 128}, {"reduce", "item", 512}};
  const pare__family *family = pare__family_find(rows[_i].family);
  pare_device_info *info = (pare_device_info *)pare__device_info(devices[0]);
  const pare_device_capabilities real = info->can;
  if (info->type != PARE_DEVICE_CPU || real.max_loop_steps != 0) return;
  info->can.vector_bits = rows[_i].bits;
  unsigned ran = 0;
  for (const pare__variant *variant = family->variants; variant->name; variant++) {
    pare__problem problem;
    if (strcmp(variant->name, rows[_i].variant) != 0) continue;
    for (unsigned i = 0;
         ran == 0 && (memset(&problem, 0, sizeof problem), family->problem(PARE__CASES_SELFTEST, info, i, &problem));
         i++) {
      pare__tuning tuning;
      double worst = 0;
      char reason[400];
      if (!pare__variant_possible(info, family, variant, &problem, reason, sizeof reason)) continue;
      pare__variant_defaults(info, variant, &problem, &tuning);
      pare_status status =
          pare__check(devices[0], family, variant, &tuning, &problem, 1, &worst, reason, sizeof reason);
      ran++;
      info->can = real;
      ck_assert_msg(status == PARE_OK && worst <= 1, "%s/%s with vectors of %u bits: %s", family->name, variant->name,
                    rows[_i].bits, status != PARE_OK ? pare_message() : reason);
    }
  }
  info->can = real;
  ck_assert_uint_eq(ran, 1);
}
END_TEST

/* Ticketed launches wait in loops. */
START_TEST(what_may_hang_is_risky) { ck_assert(pare__family_find("ticketed")->variants[0].risky); }
END_TEST

/* What makes a self-test take milliseconds anywhere, no clock asked. */
START_TEST(self_tests_are_tiny) {
  const double most_flops = 8e6, most_bytes = 1e6;
  const pare__family *family = pare__families[_i];
  for (size_t d = 0; d < ndevices; d++) {
    const pare_device_info *info = pare__device_info(devices[d]);
    pare__problem problem;
    for (unsigned i = 0; memset(&problem, 0, sizeof problem), family->problem(PARE__CASES_SELFTEST, info, i, &problem);
         i++) {
      double flops = 0, bytes = 0;
      char text[160] = "";
      family->work(&problem, &flops, &bytes);
      family->describe(&problem, text, sizeof text);
      ck_assert_msg(flops <= most_flops && bytes <= most_bytes, "%s %s: %g operations, %g bytes", family->name, text,
                    flops, bytes);
    }
  }
}
END_TEST

/* What oclgrind runs, at some hundred thousand operations a second: a problem of every variant, at least. */
START_TEST(every_self_test_has_a_problem_for_a_simulator) {
  const double most = 200000;
  const pare__family *family = pare__families[_i];
  for (size_t d = 0; d < ndevices; d++)
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      const tested t = {devices[d], family, variant, PARE__CASES_SELFTEST, 0};
      char reason[400];
      pare__problem problem;
      double least = INFINITY;
      if (!pare__variant_possible(pare__device_info(devices[d]), family, variant, NULL, reason, sizeof reason))
        continue;
      for (unsigned i = 0; problem_of(&t, i, &problem); i++)
        if (takes(&t, &problem)) least = fmin(least, flops_of(family, &problem));
      ck_assert_msg(least <= most, "%s/%s on %s: no problem of the self-test has %.0f operations or fewer",
                    family->name, variant->name, pare__device_info(devices[d])->name, most);
    }
}
END_TEST

int main(void) {
  int nfamilies = 0;
  while (pare__families[nfamilies]) nfamilies++;
  TCase *kernels = tcase_create("kernels");
  tcase_add_unchecked_fixture(kernels, open_devices, close_devices);
  tcase_add_test(kernels, table_is_well_formed);
  tcase_add_test(kernels, what_may_hang_is_risky);
  tcase_add_loop_test(kernels, defaults_are_of_the_tuning_space_everywhere, 0, 4);
  if (SHARE == 0 && !getenv("PARE_TEST_SMALL")) tcase_add_loop_test(kernels, other_widths_of_vectors_are_right, 0, 4);
  tcase_add_loop_test(kernels, self_tests_are_tiny, 0, nfamilies);
  tcase_add_loop_test(kernels, every_self_test_has_a_problem_for_a_simulator, 0, nfamilies);
  /* first: what crashes or hangs does so in a child process, and says so */
  tcase_add_loop_test(kernels, self_test_trusts_every_variant, 0, nfamilies);
  tcase_add_loop_test(kernels, every_variant_meets_its_reference, 0, nfamilies);
  return run_tests("kernels", kernels);
}
