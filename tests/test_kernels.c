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

/* Of a family with many problems a fixed sample is taken, about this many, unless PARE_TEST_ALL is set: each costs a
 * build. */
enum { SAMPLE = 32 };

#ifndef SHARE
#define SHARE 0
#endif

static bool sampled(const pare__family *family, pare__case_set set, const pare_device_info *info, unsigned index) {
  static const pare__family *counted;
  static unsigned count;
  if (set != PARE__CASES_TEST || getenv("PARE_TEST_ALL")) return true;
  if (counted != family) {
    pare__problem problem;
    for (count = 0; memset(&problem, 0, sizeof problem), family->problem(set, info, count, &problem);) count++;
    counted = family;
  }
  /* a multiplicative hash, so that no period of the list is missed */
  return count <= SAMPLE || (uint64_t)(index * 2654435761U) * count < ((uint64_t)SAMPLE << 32);
}

static bool affordable(const pare__family *family, const pare__problem *problem) {
  const char *most = getenv("PARE_TEST_FLOPS");
  double flops = 0, bytes = 0;
  family->work(problem, &flops, &bytes);
  return !most || flops <= strtod(most, NULL);
}

/* Returns the number of problems that this variant ran. */
static unsigned run_variant(pare__device *device, const pare__family *family, const pare__variant *variant,
                            pare__case_set set, char *failure, size_t capacity) {
  const pare_device_info *info = pare__device_info(device);
  unsigned ran = 0;
  pare__problem problem;
  for (unsigned i = 0; memset(&problem, 0, sizeof problem), family->problem(set, info, i, &problem); i++) {
    char reason[400], text[160] = "";
    if (!sampled(family, set, info, i) || !affordable(family, &problem)) continue;
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
  char failures[4000] = "", failure[900];
  size_t used = 0;
  for (size_t d = 0; d < ndevices; d++) {
    unsigned ran = 0;
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      failure[0] = '\0';
      double start = pare__seconds();
      unsigned count = run_variant(devices[d], family, variant, set, failure, sizeof failure);
      ran += count;
      printf("  %-14s %-18s %-40.40s %5u problems %7.2f s%s\n", family->name, variant->name,
             pare__device_info(devices[d])->name, count, pare__seconds() - start, *failure ? "  FAILED" : "");
      fflush(stdout);
      if (*failure && used < sizeof failures)
        used += (size_t)snprintf(failures + used, sizeof failures - used, "\n  %s", failure);
    }
    ck_assert_msg(ran > 0, "family %s has no variant that runs on %s", family->name,
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
      for_cpu = for_cpu || a->shaped != PARE__FOR_GPU;
      for_gpu = for_gpu || a->shaped != PARE__FOR_CPU;
      ck_assert_msg(a->launch || family->launch, "%s/%s cannot be launched", family->name, a->name);
      for (const pare__variant *b = family->variants; b < a; b++)
        ck_assert_msg(strcmp(a->name, b->name) != 0, "%s has two variants %s", family->name, a->name);
    }
    ck_assert_msg(for_cpu && for_gpu, "%s needs a variant shaped for CPUs and one for GPUs", family->name);
  }
}
END_TEST

int main(void) {
  int nfamilies = 0;
  while (pare__families[nfamilies]) nfamilies++;
  TCase *kernels = tcase_create("kernels");
  tcase_add_unchecked_fixture(kernels, open_devices, close_devices);
  tcase_add_test(kernels, table_is_well_formed);
  tcase_add_loop_test(kernels, every_variant_meets_its_reference, 0, nfamilies);
  if (!getenv("PARE_TEST_SMALL")) tcase_add_loop_test(kernels, self_test_trusts_every_variant, 0, nfamilies);
  return run_tests("kernels", kernels);
}
