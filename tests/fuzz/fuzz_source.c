/* Kernel files with their includes: any content expands or is refused. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ocl/device.h"

static void write_kernel(const char *name, const void *data, size_t nbytes) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
  FILE *file = fopen(path, "wb");
  FUZZ_LAW(file != NULL);
  FUZZ_LAW(fwrite(data, 1, nbytes, file) == nbytes);
  fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static const char other[] = "#include \"fuzz.cl\"\nint other;";
  static bool written;
  if (!written) write_kernel("other.cl", other, sizeof other - 1);
  written = true;
  write_kernel("fuzz.cl", data, nbytes);
  struct pare__device device = {.references = 1};
  pare__source *source = NULL;
  pare_status status = pare__source_get(&device, "fuzz.cl", &source);
  if (status == PARE_OK) {
    FUZZ_LAW(strlen(source->hash) == 32);
    FUZZ_LAW(source == device.sources && source->next == NULL);
    free(source->file);
    free(source->text);
    free(source);
  } else {
    FUZZ_LAW(source == NULL && device.sources == NULL);
    FUZZ_LAW(pare_message()[0] != '\0');
  }
  return 0;
}
