/* Every row of the kernel table against its double-precision reference, on every device.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Nothing here knows a family: a new row is tested because it is in the table. PARE_TEST_SMALL=1 takes the problems of
 * the self-test only (for oclgrind); PARE_TEST_ALL=1 takes every problem, where otherwise a family with many is
 * sampled; PARE_TEST_FLOPS=n leaves out problems of more than n operations (a simulator takes minutes for them);
 * PARE_DEVICE restricts the devices; PARE_TEST_FAMILY the families. */
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

static unsigned count_problems(const pare__family *family, pare__case_set set, const pare_device_info *info) {
  static const pare__family *counted;
  static unsigned count;
  if (counted != family) {
    pare__problem problem;
    for (count = 0; memset(&problem, 0, sizeof problem), family->problem(set, info, count, &problem);) count++;
    counted = family;
  }
  return count;
}

/* Which part of the sample is this problem of? Others are of a later one. */
static unsigned part_of_sample(const pare__family *family, const pare__variant *variant, pare__case_set set,
                               const pare_device_info *info, unsigned index) {
  if (set != PARE__CASES_TEST || getenv("PARE_TEST_ALL")) return 0;
  const unsigned count = count_problems(family, set, info);
  if (count <= SAMPLE) return 0;
  /* a multiplicative hash, so that no period of the list is missed */
  const unsigned salt = 1 + (unsigned)(variant - family->variants);
  return (unsigned)((uint64_t)(index * 2654435761U + salt * 2246822519U) * count / SAMPLE >> 32);
}

static bool affordable(const pare__family *family, const pare__problem *problem) {
  const char *most = getenv("PARE_TEST_FLOPS");
  double flops = 0, bytes = 0;
  family->work(problem, &flops, &bytes);
  return !most || flops <= strtod(most, NULL);
}

/* Runs one part of the sample; returns how many problems that were. */
static unsigned run_part(pare__device *device, const pare__family *family, const pare__variant *variant,
                         pare__case_set set, unsigned part, char *failure, size_t capacity) {
  const pare_device_info *info = pare__device_info(device);
  unsigned ran = 0;
  pare__problem problem;
  for (unsigned i = 0; memset(&problem, 0, sizeof problem), family->problem(set, info, i, &problem); i++) {
    char reason[400], text[160] = "";
    if (part_of_sample(family, variant, set, info, i) != part || !affordable(family, &problem)) continue;
    if (!pare__variant_possible(info, family, variant, &problem, reason, sizeof reason)) continue;
    family->describe(&problem, text, sizeof text);
    pare__tuning tuning;
    pare__variant_defaults(info, variant, &problem, &tuning);
    double worst = 0;
    pare_status status = pare__check(device, family, variant, &tuning, &problem, 1 + i, &worst, reason, sizeof reason);
    ran++;
    if (status != PARE_OK || worst > 1) {
      snprintf(failure, capacity, "%s/%s %s on %s: %s", family->name, variant->name, text, info->name,
               status != PARE_OK ? pare_message() : reason);
      return ran;
    }
  }
  return ran;
}

/* Returns the number of problems that this variant ran. */
static unsigned run_variant(pare__device *device, const pare__family *family, const pare__variant *variant,
                            pare__case_set set, char *failure, size_t capacity) {
  const uint64_t before = pare__preparations();
  unsigned ran = 0;
  for (unsigned part = 0; part < PARTS && !*failure && pare__preparations() - before < SAMPLE; part++)
    ran += run_part(device, family, variant, set, part, failure, capacity);
  return ran;
}

/* Why did this variant run no problem: does it take none on this device, or are those that it takes too large here? */
static void explain_none(pare__device *device, const pare__family *family, const pare__variant *variant,
                         pare__case_set set) {
  const pare_device_info *info = pare__device_info(device);
  pare__problem problem;
  char reason[400] = "there are none";
  bool takes = false;
  for (unsigned i = 0; !takes && (memset(&problem, 0, sizeof problem), family->problem(set, info, i, &problem)); i++)
    takes = pare__variant_possible(info, family, variant, &problem, reason, sizeof reason);
  printf("  %-14s %-18s UNTESTED: %s\n", family->name, variant->name,
         takes ? "each problem that it takes is too large or not of the sample" : reason);
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
  for (size_t d = 0; d < ndevices; d++) {
    unsigned ran = 0;
    bool everywhere = false; /* a family of which each variant needs something may run nowhere on a device */
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      everywhere = everywhere || variant->needs == 0;
      failure[0] = '\0';
      double start = pare__seconds();
      unsigned count = run_variant(devices[d], family, variant, set, failure, sizeof failure);
      ran += count;
      printf("  %-14s %-18s %-40.40s %5u problems %7.2f s%s\n", family->name, variant->name,
             pare__device_info(devices[d])->name, count, pare__seconds() - start, *failure ? "  FAILED" : "");
      if (count == 0) explain_none(devices[d], family, variant, set);
      fflush(stdout);
      if (*failure && used < sizeof failures)
        used += (size_t)snprintf(failures + used, sizeof failures - used, "\n  %s", failure);
    }
    ck_assert_msg(ran > 0 || !everywhere, "family %s has no variant that runs on %s", family->name,
                  pare__device_info(devices[d])->name);
  }
  ck_assert_msg(!*failures, "%s", failures);
}
END_TEST

START_TEST(self_test_trusts_every_variant) {
  const pare__family *family = pare__families[_i];
  if (!wanted(_i)) return;
  for (size_t d = 0; d < ndevices; d++)
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      pare__verdict verdict;
      char reason[400];
      ck_assert_msg(pare__selftest(devices[d], family, variant, false, &verdict, reason, sizeof reason) == PARE_OK,
                    "%s", pare_message());
      ck_assert_msg(verdict == PARE__TRUSTED || verdict == PARE__CANNOT, "%s/%s on %s: %s: %s", family->name,
                    variant->name, pare__device_info(devices[d])->name, pare__verdict_name(verdict), reason);
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
  /* first: what crashes or hangs does so in a child process, and says so */
  if (!getenv("PARE_TEST_SMALL")) tcase_add_loop_test(kernels, self_test_trusts_every_variant, 0, nfamilies);
  tcase_add_loop_test(kernels, every_variant_meets_its_reference, 0, nfamilies);
  return run_tests("kernels", kernels);
}
