/* The tensors of a file, as a table. SPDX-License-Identifier: Apache-2.0 */
#include "cli/tensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static void dims_text(const pare_tensor_info *tensor, char *text, size_t capacity) {
  size_t used = 0;
  for (size_t i = 0; i < tensor->rank && used < capacity; i++)
    used += (size_t)snprintf(text + used, capacity - used, "%s%" PRId64, i ? ", " : "", tensor->dim[i]);
}

/* A number, or null where JSON has none. */
static json_t *number_json(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *histogram_json(const pare_histogram *histogram) {
  json_t *bins = json_array();
  for (size_t i = 0; i < PARE_HISTOGRAM_BINS; i++)
    json_array_append_new(bins, json_integer((json_int_t)histogram->bin[i]));
  return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "values", (json_int_t)histogram->values, "zeros",
                   (json_int_t)histogram->zeros, "nans", (json_int_t)histogram->nans, "infinities",
                   (json_int_t)histogram->infinities, "minimum", number_json(histogram->minimum), "maximum",
                   number_json(histogram->maximum), "mean", number_json(histogram->mean), "deviation",
                   number_json(histogram->deviation), "bins", bins);
}

static json_t *tensor_json(const pare_tensor_info *tensor, const pare_histogram *histogram) {
  json_t *dims = json_array();
  for (size_t d = 0; d < tensor->rank; d++) json_array_append_new(dims, json_integer(tensor->dim[d]));
  json_t *json = json_pack("{s:o, s:s, s:o, s:I, s:I, s:o, s:b, s:o}", "name", cli_json_text(tensor->name), "dtype",
                           tensor->dtype_name, "shape", dims, "elements", (json_int_t)tensor->elements, "bytes",
                           (json_int_t)tensor->nbytes, "file", cli_json_text(tensor->file), "sparse",
                           (int)tensor->sparse, "quantised", cli_json_text(tensor->quantised));
  if (histogram) json_object_set_new(json, "histogram", histogram_json(histogram));
  return json;
}

/* Columns by the square root of their count, so that tails show. */
static void bars_text(const pare_histogram *histogram, char text[3 * PARE_HISTOGRAM_BINS + 1]) {
  static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const char *const plain[] = {" ", ".", ".", ":", ":", "-", "=", "#", "#"};
  const char *const *bars = cli_unicode() ? blocks : plain;
  uint64_t most = 1;
  for (size_t i = 0; i < PARE_HISTOGRAM_BINS; i++)
    if (histogram->bin[i] > most) most = histogram->bin[i];
  size_t used = 0;
  for (size_t i = 0; i < PARE_HISTOGRAM_BINS; i++) {
    const double height = ceil(8 * sqrt((double)histogram->bin[i] / (double)most));
    used += (size_t)sprintf(text + used, "%s", bars[(size_t)height]);
  }
}

static void histogram_cells(cli_table *table, const pare_histogram *histogram) {
  char bars[3 * PARE_HISTOGRAM_BINS + 1];
  const double values = histogram->values > 0 ? (double)histogram->values : 1;
  cli_table_cell(table, CLI_PLAIN, "%.4g", histogram->minimum);
  cli_table_cell(table, CLI_PLAIN, "%.4g", histogram->maximum);
  cli_table_cell(table, CLI_PLAIN, "%.4g", histogram->mean);
  cli_table_cell(table, CLI_PLAIN, "%.4g", histogram->deviation);
  cli_table_cell(table, CLI_PLAIN, "%.1f %%", 100 * (double)histogram->zeros / values);
  if (histogram->nans + histogram->infinities > 0)
    cli_table_cell(table, CLI_BAD, "%" PRIu64, histogram->nans + histogram->infinities);
  else
    cli_table_cell(table, CLI_DIM, "0");
  bars_text(histogram, bars);
  cli_table_cell(table, CLI_PLAIN, "%s", bars);
}

static void tensor_cells(cli_table *table, const pare_tensor_info *tensor) {
  char shape[CLI_SHAPE] = "";
  dims_text(tensor, shape, sizeof shape);
  cli_table_cell(table, CLI_PLAIN, "%s", tensor->name);
  cli_table_cell(table, CLI_PLAIN, "%s%s", tensor->dtype_name, tensor->sparse ? ", sparse" : "");
  cli_table_cell(table, CLI_PLAIN, "[%s]", shape);
}

static bool any_quantised(const pare_inspection *inspection, size_t ntensors) {
  pare_tensor_info tensor;
  for (size_t i = 0; i < ntensors; i++)
    if (pare_inspect_tensor(inspection, i, &tensor) == PARE_OK && *tensor.quantised) return true;
  return false;
}

cli_exit cli_show_tensors(const pare_inspection *inspection, bool json, bool histogram) {
  static const char plain[] = "tensor|dtype|shape|>bytes|file",
                    spread[] = "tensor|dtype|shape|>least|>most|>mean|>deviation|>zeros|>not finite|histogram";
  char titles[sizeof spread + 20];
  pare_tensor_info tensor;
  pare_model_info info;
  if (pare_inspect_model(inspection, &info) != PARE_OK) return cli_fail(PARE_ERR_ARGUMENT);
  const bool quantised = any_quantised(inspection, info.ntensors);
  snprintf(titles, sizeof titles, "%s%s", histogram ? spread : plain, quantised ? "|stands for" : "");
  json_t *list = json ? json_array() : NULL;
  cli_table *table = json ? NULL : cli_table_open(titles);
  for (size_t i = 0; i < info.ntensors; i++) {
    pare_histogram values;
    if (pare_inspect_tensor(inspection, i, &tensor) != PARE_OK) continue;
    const pare_status status = histogram ? pare_inspect_histogram(inspection, i, &values) : PARE_OK;
    if (status != PARE_OK && status != PARE_ERR_UNSUPPORTED) {
      json_decref(list);
      if (table) cli_table_print(table);
      return cli_fail(status);
    }
    const bool known = histogram && status == PARE_OK;
    if (json) {
      json_array_append_new(list, tensor_json(&tensor, known ? &values : NULL));
      continue;
    }
    tensor_cells(table, &tensor);
    if (known) {
      histogram_cells(table, &values);
    } else if (histogram) {
      for (unsigned k = 0; k < 7; k++) cli_table_cell(table, CLI_DIM, "-");
    } else {
      cli_table_cell(table, CLI_PLAIN, "%" PRIu64, tensor.nbytes);
      cli_table_cell(table, CLI_DIM, "%s", tensor.file);
    }
    if (quantised) cli_table_cell(table, CLI_DIM, "%s", tensor.quantised);
  }
  return json ? cli_json_print(list) : cli_table_print(table);
}
