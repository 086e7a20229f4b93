/* .npy files: any bytes are refused with a message, or give an array that fits its shape.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "format/npy.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  pare__array array, again;
  pare_status status = pare__npy_parse(data, nbytes, "fuzz.npy", &array);
  if (status != PARE_OK) {
    FUZZ_LAW(strstr(pare_message(), "fuzz.npy") != NULL || status == PARE_ERR_MEMORY);
    FUZZ_LAW(array.data == NULL && array.release == NULL);
    return 0;
  }
  FUZZ_LAW(array.nbytes == (size_t)array.count * pare__npy_dtype_bytes(array.dtype));
  char *head;
  size_t head_bytes;
  FUZZ_LAW(pare__npy_head(&array, &head, &head_bytes) == PARE_OK);
  char *file = malloc(head_bytes + array.nbytes);
  FUZZ_LAW(file != NULL);
  memcpy(file, head, head_bytes);
  if (array.nbytes > 0) memcpy(file + head_bytes, array.data, array.nbytes);
  FUZZ_LAW(pare__npy_parse(file, head_bytes + array.nbytes, "again.npy", &again) == PARE_OK);
  FUZZ_LAW(again.rank == array.rank && memcmp(again.dims, array.dims, sizeof array.dims) == 0);
  FUZZ_LAW(again.nbytes == array.nbytes && again.release == NULL);
  free(file);
  free(head);
  pare__array_close(&array);
  return 0;
}
