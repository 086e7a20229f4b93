/* Models between portable and compact storage: of any bytes there is another file, which can be converted again, or a
 * message, and no file. SPDX-License-Identifier: Apache-2.0 */
#include <pare/compress.h>
#include <stdio.h>
#include <unistd.h>

#include "base/path.h"
#include "fuzz.h"

static pare_status convert(const char *in, const char *out, pare_storage storage) {
  pare_conversion conversion;
  const pare_status status = pare_convert(in, out, storage, &conversion);
  FUZZ_LAW(status == PARE_OK || pare_message()[0] != '\0');
  FUZZ_LAW(pare__file_exists(out) == (status == PARE_OK));
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char path[256], compact[256], portable[256];
  snprintf(path, sizeof path, "%s/model", fuzz_folder());
  snprintf(compact, sizeof compact, "%s/compact", fuzz_folder());
  snprintf(portable, sizeof portable, "%s/portable", fuzz_folder());
  FUZZ_LAW(pare__file_write(path, data, nbytes) == PARE_OK);
  /* What was packed can be unpacked. */
  if (convert(path, compact, PARE_STORAGE_COMPACT) == PARE_OK) {
    if (convert(path, portable, PARE_STORAGE_PORTABLE) == PARE_OK) {
      unlink(portable);
      FUZZ_LAW(convert(compact, portable, PARE_STORAGE_PORTABLE) == PARE_OK);
    }
  }
  unlink(compact);
  unlink(portable);
  convert(path, portable, PARE_STORAGE_PORTABLE);
  unlink(portable);
  return 0;
}
