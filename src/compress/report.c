/* Reports. SPDX-License-Identifier: Apache-2.0 */
#include "compress/report.h"

#include <math.h>
#include <pare/elementwise.h>
#include <pare/reduce.h>
#include <pare/sparse.h>
#include <stdlib.h>
#include <string.h>

#include "compress/convert.h"
#include "compress/division.h"

/* ---- distances ---- */

pare_status pare__distance_tensors(pare_tensor *a, pare_tensor *b, pare__distance_sums *out) {
  enum { A, B, DIFFERENCE, LARGEST, COUNT };
  const int64_t count = COUNT;
  float found[COUNT];
  pare_tensor *difference = NULL, *all = NULL, *one[COUNT] = {NULL};
  pare_context *context = pare_tensor_context(a);
  *out = (pare__distance_sums){.count = (uint64_t)pare_tensor_elements(a)};
  if (out->count == 0) return PARE_OK;
  pare_status status = pare_tensor_create(context, PARE_F32, pare_tensor_rank(a), pare_tensor_shape(a), &difference);
  if (status == PARE_OK) status = pare_tensor_create(context, PARE_F32, 1, &count, &all);
  for (int i = 0; i < COUNT && status == PARE_OK; i++) {
    pare_tensor *slice;
    status = pare_tensor_slice(all, 0, i, 1, 1, &slice);
    if (status == PARE_OK) status = pare_tensor_reshape(slice, 0, NULL, &one[i]);
    pare_tensor_close(slice);
  }
  if (status == PARE_OK) status = pare_binary(PARE_BINARY_sub, a, b, difference);
  if (status == PARE_OK) status = pare_reduce(a, PARE_REDUCTION_SUM_SQUARE, NULL, 0, false, one[A]);
  if (status == PARE_OK) status = pare_reduce(b, PARE_REDUCTION_SUM_SQUARE, NULL, 0, false, one[B]);
  if (status == PARE_OK) status = pare_reduce(difference, PARE_REDUCTION_SUM_SQUARE, NULL, 0, false, one[DIFFERENCE]);
  if (status == PARE_OK) status = pare_unary(PARE_UNARY_abs, difference, difference);
  if (status == PARE_OK) status = pare_reduce(difference, PARE_REDUCTION_MAX, NULL, 0, false, one[LARGEST]);
  if (status == PARE_OK) status = pare_tensor_read(all, found, sizeof found);
  for (int i = 0; i < COUNT; i++) pare_tensor_close(one[i]);
  pare_tensor_close(all);
  pare_tensor_close(difference);
  if (status != PARE_OK) return status;
  out->a_squared = found[A];
  out->b_squared = found[B];
  out->error_squared = found[DIFFERENCE];
  out->product = (out->a_squared + out->b_squared - out->error_squared) / 2;
  out->max_error = found[LARGEST];
  return PARE_OK;
}

/* ---- collecting ---- */

static pare_status copy_text(pare_report *report, const char *text, const char **out) {
  return pare__arena_text(&report->arena, text ? text : "", text ? strlen(text) : 0, out);
}

/* The dtype of what a file has of each element, where it has one. */
static pare_dtype stored_dtype(const pare__weight *weight, const pare__treatment *treatment) {
  const pare__grid *grid = &treatment->grid;
  switch (treatment->storage) {
  case PARE__STORE_VALUES: return weight->dtype;
  case PARE__STORE_F16: return PARE_F16;
  case PARE__STORE_BF16: return PARE_BF16;
  case PARE__STORE_INTEGER:
    if (grid->bits == 8 && grid->strategy != PARE__PER_GROUP) return grid->symmetric ? PARE_I8 : PARE_U8;
    return PARE_NDTYPES;
  default: return PARE_NDTYPES;
  }
}

/* In compact storage zeros of N:M take no bytes, where that saves any. */
static uint64_t stored_bytes(const pare__weight *weight, const pare__treatment *treatment, pare_storage storage) {
  const pare_sparse_layout layout = {.dtype = stored_dtype(weight, treatment),
                                     .keep = (int)treatment->keep,
                                     .of = (int)treatment->of,
                                     .rows = weight->elements / PARE__MAX(pare__weight_inputs(weight), 1),
                                     .inputs = pare__weight_inputs(weight)};
  size_t values, indices;
  if (storage != PARE_STORAGE_COMPACT || treatment->of == 0 || weight->elements < PARE__COMPACT_LEAST ||
      layout.dtype == PARE_NDTYPES || pare_sparse_sizes(&layout, &values, &indices) != PARE_OK)
    return treatment->stored_bytes;
  const uint64_t dense = (uint64_t)weight->elements * pare_dtype_bytes(layout.dtype);
  return treatment->stored_bytes - dense + PARE__MIN(dense, values + indices);
}

/* A product that SmoothQuant leaves in the graph is told, too. */
static pare_status copy_reason(pare_report *report, const pare__treatment *treatment, const char **out) {
  const pare__division *division = treatment->division;
  if (!division || division->into) return copy_text(report, treatment->reason, out);
  char *text = pare__format("%s%sa Mul divides its inputs: %s", treatment->reason ? treatment->reason : "",
                            treatment->reason ? "; " : "", division->reason);
  if (!text) return pare__fail_memory("a reason", 128);
  const pare_status status = copy_text(report, text, out);
  free(text);
  return status;
}

static pare_status describe(pare_report *report, const pare__weight *weight, const pare__treatment *treatment,
                            pare_storage storage, pare_report_tensor *out) {
  char text[256];
  void *dim;
  *out = (pare_report_tensor){.rank = weight->rank <= PARE_MAX_RANK ? weight->rank : 0,
                              .bytes_before = weight->nbytes,
                              .bytes_after = stored_bytes(weight, treatment, storage),
                              .kept = 1};
  if (weight->elements > 0) out->bits = 8.0 * (double)out->bytes_after / (double)weight->elements;
  PARE__TRY(pare__arena_allocate(&report->arena, sizeof weight->dim, &dim));
  out->dim = memcpy(dim, weight->dim, sizeof weight->dim);
  PARE__TRY(copy_text(report, weight->name, &out->name));
  PARE__TRY(copy_text(report, weight->dtype_name, &out->dtype_name));
  PARE__TRY(copy_text(report, pare__role_name(weight->role), &out->role));
  PARE__TRY(copy_reason(report, treatment, &out->reason));
  return copy_text(report, pare__treatment_text(treatment, text, sizeof text), &out->treatment);
}

static pare_status fill(pare_report *report, const pare_recipe *recipe, const pare__checkpoint *checkpoint,
                        const pare__treatment *treatments, pare_storage storage, const char *output) {
  pare_report_summary *summary = &report->summary;
  void *memory;
  char *text;
  summary->ntensors = checkpoint->nweights;
  PARE__TRY(pare__arena_allocate(&report->arena, (checkpoint->nweights + 1) * sizeof *report->tensors, &memory));
  report->tensors = memory;
  PARE__TRY(pare__arena_allocate(&report->arena, (checkpoint->nweights + 1) * sizeof *report->rows, &memory));
  report->rows = memory;
  for (size_t i = 0; i < checkpoint->nweights; i++) {
    PARE__TRY(describe(report, &checkpoint->weights[i], &treatments[i], storage, &report->tensors[i]));
    summary->weight_bytes_before += checkpoint->weights[i].nbytes;
    summary->weight_bytes_after += report->tensors[i].bytes_after;
  }
  summary->input_bytes = checkpoint->file_bytes;
  summary->output_bytes = checkpoint->file_bytes + summary->weight_bytes_after -
                          PARE__MIN(summary->weight_bytes_before, checkpoint->file_bytes);
  summary->planned_only = !output;
  PARE__TRY(copy_text(report, checkpoint->path, &summary->input));
  PARE__TRY(copy_text(report, output, &summary->output));
  PARE__TRY(pare_recipe_text(recipe, &text));
  const pare_status status = copy_text(report, text, &summary->recipe);
  free(text);
  return status;
}

pare_status pare__report_open(const pare_recipe *recipe, const pare__checkpoint *checkpoint,
                              const pare__treatment *treatments, pare_storage storage, const char *output,
                              pare_report **out) {
  pare_report *report = calloc(1, sizeof *report);
  *out = NULL;
  if (!report) return pare__fail_memory("a report", sizeof *report);
  const pare_status status = fill(report, recipe, checkpoint, treatments, storage, output);
  if (status == PARE_OK)
    *out = report;
  else
    pare_report_close(report);
  return status;
}

void pare__report_rows(pare_report *report, size_t index, const pare__distance_sums *sums, int64_t kept) {
  pare__report_row *row = &report->rows[index];
  pare_report_tensor *tensor = &report->tensors[index];
  pare__distance_join(&row->sums, sums);
  row->kept += kept;
  tensor->changed = true;
  tensor->distance = pare__distance_of(&row->sums);
  tensor->kept = row->sums.count > 0 ? (double)row->kept / (double)row->sums.count : 1;
}

void pare__report_sensitivity(pare_report *report, size_t index, const pare__distance_sums *sums) {
  report->summary.nsensitive++;
  report->tensors[index].tried_alone = true;
  report->tensors[index].outputs_alone = pare__distance_of(sums);
}

pare_status pare__report_remark(pare_report *report, size_t index, const char *text) {
  pare_report_tensor *tensor = &report->tensors[index];
  char *both = pare__format("%s%s%s", tensor->reason, *tensor->reason ? "; " : "", text);
  if (!both) return pare__fail_memory("a remark", strlen(text));
  const pare_status status = copy_text(report, both, &tensor->reason);
  free(both);
  return status;
}

pare_status pare__report_output(pare_report *report, const char *name, const pare__distance_sums *sums) {
  void *memory;
  PARE__TRY(pare__arena_allocate(&report->arena, (report->noutputs + 1) * sizeof *report->outputs, &memory));
  if (report->noutputs > 0) memcpy(memory, report->outputs, report->noutputs * sizeof *report->outputs);
  report->outputs = memory;
  pare_report_output *output = &report->outputs[report->noutputs++];
  output->distance = pare__distance_of(sums);
  report->summary.noutputs = report->noutputs;
  return copy_text(report, name, &output->name);
}

/* ---- asking ---- */

pare_status pare_report_get(const pare_report *report, pare_report_summary *out) {
  if (!out) return pare__fail_null("pare_report_get", "out");
  *out = (pare_report_summary){.input = "", .output = "", .recipe = ""};
  if (!report) return pare__fail_null("pare_report_get", "report");
  *out = report->summary;
  return PARE_OK;
}

pare_status pare_report_tensor_get(const pare_report *report, size_t index, pare_report_tensor *out) {
  if (!report || !out) return pare__fail_null("pare_report_tensor_get", report ? "out" : "report");
  if (index >= report->summary.ntensors)
    return pare__fail(PARE_ERR_ARGUMENT, "the report has %zu tensors, and none of number %zu", report->summary.ntensors,
                      index);
  *out = report->tensors[index];
  return PARE_OK;
}

pare_status pare_report_output_get(const pare_report *report, size_t index, pare_report_output *out) {
  if (!report || !out) return pare__fail_null("pare_report_output_get", report ? "out" : "report");
  if (index >= report->noutputs)
    return pare__fail(PARE_ERR_ARGUMENT, "the report has %zu outputs, and none of number %zu", report->noutputs, index);
  *out = report->outputs[index];
  return PARE_OK;
}

void pare_report_close(pare_report *report) {
  if (!report) return;
  pare__arena_clear(&report->arena);
  free(report);
}
