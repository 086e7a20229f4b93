/* Kernels: self-test, tuning, benchmark. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_H
#define PARE_KERNEL_H

#include <pare/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One line of a report; strings are valid during the callback only. */
typedef struct pare_kernel_report {
  const char *family, *variant; /* "gemm", "wide" */
  /* "trusted", "wrong", "crashed", "hung", "not built", "slow build" (not built in time), "slow run" (others had the
   * processors), "refused" (the driver failed the launch), "untested" (it needs a child process, which could not be
   * started), "cannot" (the device lacks something) */
  const char *verdict;
  const char *reason; /* "" if trusted */
  double seconds;     /* that the test took, builds included */
} pare_kernel_report;
typedef void (*pare_kernel_report_callback)(const pare_kernel_report *report, void *user);

/* Runs the self-test of every variant (of `family`, or all if NULL) on the context's device. `again`: also what was
 * tested before. PARE_OK when every variant that the device can run is trusted; PARE_ERR_KERNEL if one is not (the rest
 * still run). */
PARE_API pare_status pare_kernel_selftest(pare_context *context, const char *family, bool again,
                                          pare_kernel_report_callback callback, void *user);

/* Searches variants and parameters for at most budget_seconds and keeps the best per device and shape class on disk. A
 * later context uses them. progress (NULL allowed) is told what is being timed and the fraction done, 0 to 1. */
typedef void (*pare_kernel_progress_callback)(const char *family, const char *shape_class, const char *variant,
                                              double fraction, void *user);
PARE_API pare_status pare_kernel_tune(pare_context *context, const char *family, double budget_seconds,
                                      pare_kernel_progress_callback progress, void *user);

/* One timed problem. */
typedef struct pare_kernel_figure {
  const char *family, *variant, *problem; /* "512x512x512 f32" */
  bool chosen;                            /* this variant is the one that pare would use */
  double seconds;                         /* median of a run */
  double flops, bytes;                    /* of a run */
} pare_kernel_figure;
typedef void (*pare_kernel_figure_callback)(const pare_kernel_figure *figure, void *user);

/* Times the benchmark problems of `family` (NULL: all) with the chosen variant, or with every variant if all_variants.
 */
PARE_API pare_status pare_kernel_bench(pare_context *context, const char *family, bool all_variants,
                                       pare_kernel_figure_callback callback, void *user);

/* Names of the families in order; NULL past the last. */
PARE_API const char *pare_kernel_family(unsigned index);

#ifdef __cplusplus
}
#endif
#endif
