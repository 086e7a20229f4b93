/* Two files whose weights are compared: the first is as long as its first two bytes say (little-endian), what follows
 * is the second. Of any bytes there are rows with numbers or reasons, or a message; a file is no different from itself.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/diff.h>
#include <stdio.h>

#include "base/path.h"
#include "fuzz.h"

static void compare(const char *first, const char *second, bool same) {
  pare_diff *diff;
  const pare_status status = pare_diff_open(first, second, &diff);
  FUZZ_LAW((status == PARE_OK) == (diff != NULL));
  FUZZ_LAW(status == PARE_OK || pare_message()[0] != '\0');
  for (size_t i = 0; diff && i < pare_diff_count(diff); i++) {
    pare_diff_row row;
    FUZZ_LAW(pare_diff_get(diff, i, &row) == PARE_OK);
    FUZZ_LAW(row.name && row.layer && row.form && row.kind == PARE_DIFF_WEIGHT);
    FUZZ_LAW(!same || row.missing || !(row.distance.max_error > 0)); /* it may be NaN */
  }
  pare_diff_close(diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char first[256], second[256];
  if (nbytes < 2) return 0;
  const size_t wanted = data[0] | (size_t)data[1] << 8, length = wanted < nbytes - 2 ? wanted : nbytes - 2;
  snprintf(first, sizeof first, "%s/first", fuzz_folder());
  snprintf(second, sizeof second, "%s/second", fuzz_folder());
  FUZZ_LAW(pare__file_write(first, data + 2, length) == PARE_OK);
  FUZZ_LAW(pare__file_write(second, data + 2 + length, nbytes - 2 - length) == PARE_OK);
  compare(first, second, false);
  compare(second, first, false);
  compare(first, first, true);
  return 0;
}
