/* safetensors files: any bytes are refused with a message, or give tensors. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "format/safetensors.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  pare__safetensors file;
  if (pare__safetensors_open_memory(data, nbytes, "fuzz.safetensors", &file) != PARE_OK) {
    FUZZ_LAW(file.file == NULL && strstr(pare_message(), "fuzz.safetensors") != NULL);
    return 0;
  }
  size_t total = 0;
  unsigned sum = 0;
  for (size_t i = 0; i < file.ntensors; i++) {
    const pare__safetensors_tensor *tensor = &file.tensor[i];
    pare__safetensors_tensor measured = *tensor;
    FUZZ_LAW(pare__safetensors_find(&file, tensor->name) == tensor);
    FUZZ_LAW(pare__safetensors_measure(&measured) == PARE_OK && measured.nbytes == tensor->nbytes);
    const uint8_t *bytes = tensor->data;
    for (size_t k = 0; k < tensor->nbytes; k++) sum += bytes[k];
    total += tensor->nbytes;
  }
  FUZZ_LAW(total < nbytes && sum <= 255 * total);
  pare__safetensors_close(&file);
  return 0;
}
