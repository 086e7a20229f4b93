/* Performance models on disk: any content is read as far as it can be, and lines that are read make sense.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/path.h"
#include "fuzz.h"
#include "sched/performance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static const char *const keys[] = {"d", "e"};
  static const double weights[] = {1, 2};
  pare__performance *performance;
  char path[256];
  snprintf(path, sizeof path, "%s/performance.json", fuzz_folder());
  FUZZ_LAW(pare__file_write(path, data, nbytes) == PARE_OK);
  FUZZ_LAW(pare__performance_open(2, weights, &performance) == PARE_OK);
  FUZZ_LAW(pare__performance_read(performance, path, keys) == PARE_OK);
  for (size_t kernel = 0; kernel < performance->nkernels; kernel++)
    for (size_t device = 0; device < 2; device++) {
      const double seconds = pare__performance_seconds(performance, kernel, device, 1000);
      FUZZ_LAW(!isnan(seconds) && seconds >= 0);
    }
  FUZZ_LAW(pare__performance_write(performance, path, keys) == PARE_OK);
  pare__performance_close(performance);
  return 0;
}
