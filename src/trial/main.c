/* pare-trial: the child process that runs a self-test which its parent may not survive. Started by the library, not by
 * people. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "kernel/trial.h"
#include "ocl/probe.h"

/* Ends by _exit: the verdict is written and flushed by then, and neither a driver that crashes while it is unloaded nor
 * a sanitizer's search for leaks shall change how the process ends. */
int main(int argc, char **argv) {
  bool probe = argc > 1 && strcmp(argv[1], "probe") == 0;
  _exit(probe ? pare__probe_main(argc, argv) : pare__trial_main(argc, argv, pare__families));
}
