/* pare-trial: the child process that runs a self-test which its parent may not survive, or builds beside it. Started
 * by the library, not by people. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kernel/family_ticketed.h"
#include "kernel/trial.h"
#include "ocl/prebuild.h"
#include "ocl/probe.h"

/* What it builds beside its parent is for later; each launch of the parent's waits for all of its threads, and a core
 * shared with an equal would make short ones ten times as long. */
static void give_way(void) {
  const int niceness = 10;
  (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + niceness);
}

/* Ends by _exit: the verdict is written and flushed by then, and neither a driver that crashes while it is unloaded nor
 * a sanitizer's search for leaks shall change how the process ends. */
int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  (void)setenv("PARE_PREBUILD", "0", 1); /* it has no child of its own */
  if (strcmp(what, "prebuild") == 0 || strcmp(what, "ticketed") == 0) give_way();
  if (strcmp(what, "prebuild") == 0) _exit(pare__prebuild_main(argc, argv));
  if (strcmp(what, "probe") == 0) _exit(pare__probe_main(argc, argv));
  if (strcmp(what, "ticketed") == 0) _exit(pare__ticketed_main(argc, argv));
  _exit(pare__trial_main(argc, argv, pare__families));
}
