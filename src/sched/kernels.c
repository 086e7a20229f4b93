/* Self-test, tuning and benchmark of the kernels on a context's device. SPDX-License-Identifier: Apache-2.0 */
#include <pare/kernel.h>
#include <stdio.h>
#include <string.h>

#include "sched/sched.h"

/* NULL: all families; *family stays NULL then. */
static pare_status find_family(const char *function, const char *name, const pare__family **family) {
  *family = NULL;
  if (!name) return PARE_OK;
  *family = pare__family_find(name);
  if (*family) return PARE_OK;
  char list[400] = "";
  size_t used = 0;
  for (unsigned i = 0; pare__families[i] && used < sizeof list; i++) {
    int n = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", pare__families[i]->name);
    used += n > 0 ? (size_t)n : 0;
  }
  return pare__fail(PARE_ERR_ARGUMENT, "%s: there is no kernel family '%s'; there are %s", function, name, list);
}

const char *pare_kernel_family(unsigned index) {
  for (unsigned i = 0; pare__families[i]; i++)
    if (i == index) return pare__families[i]->name;
  return NULL;
}

pare_status pare_kernel_selftest(pare_context *context, const char *family_name, bool again,
                                 pare_kernel_report_callback callback, void *user) {
  const char *function = "pare_kernel_selftest";
  PARE__TRY(pare__context_check(function, context));
  const pare__family *only;
  PARE__TRY(find_family(function, family_name, &only));
  unsigned distrusted = 0;
  for (unsigned i = 0; pare__families[i]; i++) {
    const pare__family *family = pare__families[i];
    if (only && family != only) continue;
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      pare__verdict verdict;
      char reason[400];
      double start = pare__seconds();
      PARE__TRY(pare__selftest(pare__context_device(context), family, variant, again, &verdict, reason, sizeof reason));
      distrusted += verdict != PARE__TRUSTED && verdict != PARE__CANNOT;
      pare_kernel_report report = {family->name, variant->name, pare__verdict_name(verdict), reason,
                                   pare__seconds() - start};
      if (callback) callback(&report, user);
    }
  }
  if (distrusted > 0)
    return pare__fail(PARE_ERR_KERNEL, "%u kernel variant%s not trusted on %s and will not be used", distrusted,
                      distrusted == 1 ? " is" : "s are", pare_context_device(context)->name);
  return PARE_OK;
}

pare_status pare_kernel_tune(pare_context *context, const char *family_name, double budget_seconds,
                             pare_kernel_progress_callback progress, void *user) {
  PARE__TRY(pare__context_check("pare_kernel_tune", context));
  if (!(budget_seconds > 0))
    return pare__fail(PARE_ERR_ARGUMENT, "pare_kernel_tune: a budget of %g seconds; it must be positive",
                      budget_seconds);
  const pare__family *family;
  PARE__TRY(find_family("pare_kernel_tune", family_name, &family));
  return pare__tune(pare__context_device(context), family, budget_seconds, progress, user);
}

static pare_status bench_problem(pare__device *device, const pare__family *family, const pare__problem *problem,
                                 bool all_variants, pare_kernel_figure_callback callback, void *user) {
  enum { ROUNDS = 7 };
  pare__choice chosen;
  PARE__TRY(pare__choose(device, family, problem, &chosen));
  char text[160] = "";
  family->describe(problem, text, sizeof text);
  pare_kernel_figure figure = {.family = family->name, .problem = text};
  family->work(problem, &figure.flops, &figure.bytes);
  for (const pare__variant *variant = family->variants; variant->name; variant++) {
    char reason[200];
    figure.chosen = variant == chosen.variant;
    if (!figure.chosen) {
      if (!all_variants ||
          !pare__variant_possible(pare__device_info(device), family, variant, problem, reason, sizeof reason))
        continue;
      pare__verdict verdict;
      PARE__TRY(pare__selftest(device, family, variant, false, &verdict, reason, sizeof reason));
      if (verdict != PARE__TRUSTED) continue;
    }
    pare__choice choice = chosen;
    if (!figure.chosen) {
      choice.variant = variant;
      pare__variant_defaults(pare__device_info(device), variant, problem, &choice.tuning);
    }
    figure.variant = variant->name;
    PARE__TRY(pare__time(device, family, &choice, problem, ROUNDS, &figure.seconds));
    if (callback) callback(&figure, user);
  }
  return PARE_OK;
}

pare_status pare_kernel_bench(pare_context *context, const char *family_name, bool all_variants,
                              pare_kernel_figure_callback callback, void *user) {
  PARE__TRY(pare__context_check("pare_kernel_bench", context));
  const pare__family *only;
  PARE__TRY(find_family("pare_kernel_bench", family_name, &only));
  pare__device *device = pare__context_device(context);
  for (unsigned i = 0; pare__families[i]; i++) {
    const pare__family *family = pare__families[i];
    if (only && family != only) continue;
    pare__problem problem;
    for (unsigned k = 0; memset(&problem, 0, sizeof problem),
                  family->problem(PARE__CASES_BENCH, pare__device_info(device), k, &problem);
         k++)
      PARE__TRY(bench_problem(device, family, &problem, all_variants, callback, user));
  }
  return PARE_OK;
}

pare_status pare_cache_get(pare_cache_info *out) {
  if (!out) return pare__fail_null("pare_cache_get", "out");
  return pare__cache_describe(out);
}

pare_status pare_cache_clear(uint64_t *nremoved) { return pare__cache_clear(nremoved); }
