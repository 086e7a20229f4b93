/* The tuner's database on disk: any content gives a choice that exists, or none. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "kernel/state.h"
#include "ocl/device.h"

static void check_choice(const pare__family *family, const pare__choice *choice) {
  unsigned row = 0;
  while (family->variants[row].name && &family->variants[row] != choice->variant) row++;
  FUZZ_LAW(family->variants[row].name != NULL);
  const pare__param *params = choice->variant->params;
  for (unsigned i = 0; params && params[i].name; i++) {
    const int *value = params[i].values;
    while (*value && *value != choice->tuning.value[i]) value++;
    FUZZ_LAW(*value != 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static struct pare__device device;
  static pare_device_info info = {.type = PARE_DEVICE_CPU, .can = {.vector_bits = 256}};
  if (!device.key[0]) {
    fuzz_folder();
    memset(device.key, 'f', sizeof device.key - 1);
    pthread_mutex_init(&device.lock, NULL);
    device.info = info;
  }
  char *text = fuzz_text(data, nbytes);
  pare__state state = {0};
  FUZZ_LAW(pare__note_write(&device, "tuning", text) == PARE_OK);
  for (const pare__family *const *family = pare__families; *family; family++) {
    pare__problem problem = {0};
    pare__choice choice;
    if (!(*family)->problem(PARE__CASES_BENCH, &info, 0, &problem)) continue;
    if (pare__database_find(&device, &state, *family, &problem, false, &choice)) check_choice(*family, &choice);
  }
  json_decref(state.tuning);
  free(text);
  return 0;
}
