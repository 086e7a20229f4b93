/* Files to be compressed: of any bytes weights are found, and what would become of them is planned, or there is a
 * message. SPDX-License-Identifier: Apache-2.0 */
#include <pare/compress.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "fuzz.h"

static const char *const recipes[] = {
    "pare: 1\nmodifiers:\n- smoothquant: {}\n- quantize: {scheme: W8A8}\n",
    "pare: 1\nmodifiers:\n- prune: {mask_structure: 2:4, coverage: 0.8}\n- gptq: {scheme: W4A16_ASYM, group_size: 32}\n"
    "- quantize: {scheme: F16}\n",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char path[256];
  snprintf(path, sizeof path, "%s/model", fuzz_folder());
  FUZZ_LAW(pare__file_write(path, data, nbytes) == PARE_OK);
  for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
    pare_recipe *recipe;
    pare_report *report = NULL;
    FUZZ_LAW(pare_recipe_parse(recipes[i], strlen(recipes[i]), "recipe", &recipe) == PARE_OK);
    const pare_status status = pare_compress_plan(path, recipe, NULL, &report);
    pare_report_summary summary;
    FUZZ_LAW((status == PARE_OK) == (report != NULL));
    FUZZ_LAW(status == PARE_OK || pare_message()[0] != '\0');
    FUZZ_LAW(pare_report_get(report, &summary) == (report ? PARE_OK : PARE_ERR_ARGUMENT));
    for (size_t t = 0; t < summary.ntensors; t++) {
      pare_report_tensor tensor;
      FUZZ_LAW(pare_report_tensor_get(report, t, &tensor) == PARE_OK);
      FUZZ_LAW(tensor.treatment && tensor.reason && tensor.name);
    }
    pare_report_close(report);
    pare_recipe_close(recipe);
  }
  return 0;
}
