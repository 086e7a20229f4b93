/* pare-trial: the child process that runs a self-test which its parent may not survive. Started by the library, not by
 * people. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernel/trial.h"
#include "ocl/probe.h"

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "probe") == 0) return pare__probe_main(argc, argv);
  return pare__trial_main(argc, argv, pare__families);
}
