/* A file of safetensors with a config.json beside it, which is as long as the first two bytes say (little-endian); what
 * follows it is the file. Of any bytes there are tensors whose values can be spread or not, and a plan to compress
 * them, or a message; the file is no different from itself. SPDX-License-Identifier: Apache-2.0 */
#include <pare/compress.h>
#include <pare/diff.h>
#include <pare/inspect.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "fuzz.h"

static void inspect(const char *path) {
  pare_inspection *inspection;
  pare_model_info info;
  const pare_status status = pare_inspect_open(path, &inspection);
  FUZZ_LAW((status == PARE_OK) == (inspection != NULL));
  FUZZ_LAW(status == PARE_OK || pare_message()[0] != '\0');
  if (pare_inspect_model(inspection, &info) != PARE_OK) return;
  for (size_t i = 0; i < info.ntensors; i++) {
    pare_tensor_info tensor;
    pare_histogram values;
    uint64_t counted = 0;
    FUZZ_LAW(pare_inspect_tensor(inspection, i, &tensor) == PARE_OK && tensor.quantised);
    if (pare_inspect_histogram(inspection, i, &values) != PARE_OK) continue;
    for (size_t k = 0; k < PARE_HISTOGRAM_BINS; k++) counted += values.bin[k];
    FUZZ_LAW(counted + values.nans + values.infinities == values.values);
  }
  pare_inspect_close(inspection);
}

static void compare(const char *path) {
  pare_diff *diff;
  const pare_status status = pare_diff_open(path, path, &diff);
  FUZZ_LAW((status == PARE_OK) == (diff != NULL));
  for (size_t i = 0; diff && i < pare_diff_count(diff); i++) {
    pare_diff_row row;
    FUZZ_LAW(pare_diff_get(diff, i, &row) == PARE_OK);
    FUZZ_LAW(row.missing || !(row.distance.max_error > 0)); /* it may be NaN */
  }
  pare_diff_close(diff);
}

static void plan(const char *path) {
  static const char text[] = "pare: 1\nmodifiers:\n- prune: {sparsity: 0.5}\n";
  pare_recipe *recipe;
  pare_report *report = NULL;
  FUZZ_LAW(pare_recipe_parse(text, strlen(text), "recipe", &recipe) == PARE_OK);
  const pare_status status = pare_compress_plan(path, recipe, NULL, &report);
  FUZZ_LAW((status == PARE_OK) == (report != NULL));
  pare_report_close(report);
  pare_recipe_close(recipe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char path[256], config[256];
  if (nbytes < 2) return 0;
  const size_t wanted = data[0] | (size_t)data[1] << 8, length = wanted < nbytes - 2 ? wanted : nbytes - 2;
  snprintf(path, sizeof path, "%s/model.safetensors", fuzz_folder());
  snprintf(config, sizeof config, "%s/config.json", fuzz_folder());
  FUZZ_LAW(pare__file_write(config, data + 2, length) == PARE_OK);
  FUZZ_LAW(pare__file_write(path, data + 2 + length, nbytes - 2 - length) == PARE_OK);
  inspect(path);
  compare(path);
  plan(path);
  return 0;
}
