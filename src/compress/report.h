/* What a compression did, collected while it does it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_REPORT_H
#define PARE_COMPRESS_REPORT_H

#include <pare/tensor.h>

#include "compress/distance.h"
#include "compress/plan.h"

/* Over all elements of two f32 tensors of one shape, on the device; waits. */
pare_status pare__distance_tensors(pare_tensor *a, pare_tensor *b, pare__distance_sums *out);

typedef struct pare__report_row {
  const pare__weight *weight; /* copied by the report */
  pare__distance_sums sums;
  int64_t kept; /* elements that pruning left, of those that were looked at */
  bool changed;
} pare__report_row;

struct pare_report {
  pare__arena arena;
  pare_report_summary summary;
  pare_report_tensor *tensors;
  pare__report_row *rows;
  size_t noutputs;
  pare_report_output *outputs;
};

/* A report of the plan, with sizes in that storage: all texts are copied. */
pare_status pare__report_open(const pare_recipe *recipe, const pare__checkpoint *checkpoint,
                              const pare__treatment *treatments, pare_storage storage, const char *output,
                              pare_report **out);
/* Rows of weight `index` went through: how far they are now. */
void pare__report_rows(pare_report *report, size_t index, const pare__distance_sums *sums, int64_t kept);
/* How far all outputs are if only weight `index` is compressed. */
void pare__report_sensitivity(pare_report *report, size_t index, const pare__distance_sums *sums);
/* One more thing to say of weight `index`, after the reason that it has. */
pare_status pare__report_remark(pare_report *report, size_t index, const char *text);
pare_status pare__report_output(pare_report *report, const char *name, const pare__distance_sums *sums);

#endif
