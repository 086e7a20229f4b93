/* Sensitivity: one tensor compressed at a time. SPDX-License-Identifier: Apache-2.0 */
#include "compress/sensitivity.h"

#include <stdlib.h>
#include <unistd.h>

#include "compress/report.h"
#include "compress/trial.h"
#include "compress/verify.h"

static void join_output(void *user, const char *output, const pare__distance_sums *sums) {
  (void)output;
  pare__distance_join(user, sums);
}

static pare_status try_alone(pare__compression *compression, pare__reference *reference,
                             const pare__treatment *treatments, const char *scratch, pare__distance_sums *sums) {
  char *companion = NULL;
  *sums = (pare__distance_sums){0};
  pare_status status = pare__trial_write(compression, treatments, scratch, &companion);
  if (status == PARE_OK)
    status = pare__reference_compare(reference, scratch, compression->checkpoint->path, join_output, sums);
  unlink(scratch);
  if (companion) unlink(companion);
  free(companion);
  return status;
}

pare_status pare__sensitivity(pare__compression *compression, const char *scratch) {
  const pare__checkpoint *checkpoint = compression->checkpoint;
  pare__reference *reference;
  if (!checkpoint->runs)
    return pare__fail(PARE_ERR_ARGUMENT, "%s has no graph, so nothing is sensitive in it; take an ONNX model",
                      checkpoint->path);
  PARE__TRY(pare__reference_open(compression->context, checkpoint->path, compression->recipe->calibration, &reference));
  pare__treatment *treatments = calloc(checkpoint->nweights + 1, sizeof *treatments);
  pare_status status = treatments ? PARE_OK : pare__fail_memory("a plan", checkpoint->nweights * sizeof *treatments);
  pare_report *report = compression->report;
  compression->report = NULL; /* the tensors' own errors are noted when the whole model is written */
  for (size_t i = 0; i < checkpoint->nweights && status == PARE_OK; i++) {
    pare__distance_sums sums;
    if (compression->treatments[i].storage == PARE__STORE_AS_IS) continue;
    /* Alone it makes what it always made, and not what a layer after it would rather have. */
    struct pare__division *const takes = compression->treatments[i].takes;
    compression->treatments[i].takes = NULL;
    treatments[i] = compression->treatments[i];
    status = try_alone(compression, reference, treatments, scratch, &sums);
    compression->treatments[i].takes = takes;
    if (status != PARE_OK)
      status = pare__fail(status, "tensor '%.100s' compressed alone: %s", checkpoint->weights[i].name, pare_message());
    treatments[i] = (pare__treatment){0};
    if (status == PARE_OK) pare__report_sensitivity(report, i, &sums);
  }
  compression->report = report;
  report->summary.calibrated_inputs = compression->recipe->calibration != NULL;
  free(treatments);
  pare__reference_close(reference);
  return status;
}
