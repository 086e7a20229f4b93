/* Self-tests in a child process: a compiler that aborts, an illegal instruction or a hang ends the child only.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_TRIAL_H
#define PARE_KERNEL_TRIAL_H

#include "kernel/state.h"

/* Variants with inline assembly or extensions, and every variant on a driver that the quirk table does not call known.
 */
bool pare__trial_needed(pare__device *device, const pare__instance *instance);

/* Runs the instance's self-test in a child, at most PARE_TRIAL_SECONDS (30) of processor time once it is built, and
 * four times that by the clock for building. What the child could not say is a verdict too. */
pare_status pare__trial_run(pare__device *device, const pare__instance *instance, pare__verdict *verdict, char *reason,
                            size_t capacity);

/* The child's side: takes the arguments that pare__trial_run gave, prints the verdict on its standard output and
 * returns the exit status. `families` ends with NULL. */
int pare__trial_main(int argc, char **argv, const pare__family *const *families);

#endif
