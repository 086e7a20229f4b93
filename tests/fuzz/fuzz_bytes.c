/* Sizes such as "512MiB": any text gives a number or a message. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char *text = fuzz_text(data, nbytes);
  uint64_t value = 0;
  if (pare__parse_bytes("PARE_MEMORY", text, &value) == PARE_OK) {
    char plain[32], readable[32];
    uint64_t again = 0;
    snprintf(plain, sizeof plain, "%llu", (unsigned long long)value);
    FUZZ_LAW(pare__parse_bytes("PARE_MEMORY", plain, &again) == PARE_OK && again == value);
    FUZZ_LAW(strlen(pare__bytes_text(value, readable, sizeof readable)) < sizeof readable);
  } else {
    FUZZ_LAW(strstr(pare_message(), "PARE_MEMORY") != NULL);
  }
  free(text);
  return 0;
}
