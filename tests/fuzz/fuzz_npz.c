/* .npz files: any bytes are refused with a message, or give arrays. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "format/npz.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  pare__npz *npz;
  if (pare__npz_open_memory(data, nbytes, "fuzz.npz", &npz) != PARE_OK) {
    FUZZ_LAW(npz == NULL && strstr(pare_message(), "fuzz.npz") != NULL);
    return 0;
  }
  for (size_t i = 0; i < pare__npz_count(npz); i++) {
    pare__array array;
    size_t index;
    FUZZ_LAW(pare__npz_find(npz, pare__npz_name(npz, i), &index) && index <= i);
    if (pare__npz_read(npz, i, &array) == PARE_OK)
      FUZZ_LAW(array.nbytes == (size_t)array.count * pare__npy_dtype_bytes(array.dtype));
    else
      FUZZ_LAW(pare_message()[0] != '\0');
    pare__array_close(&array);
  }
  pare__npz_close(npz);
  return 0;
}
