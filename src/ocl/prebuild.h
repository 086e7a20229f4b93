/* A child process that compiles what a program's binary needs, while this process goes on.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A driver that compiles at the first launch (pare__quirks.late_binary) compiles for that launch alone; its binary also
 * holds each kernel for launches of any size, which it compiles when the binary is asked for: as long again, at the end
 * of a process that has built programs. The child does that on another core, as soon as a program is built, and what it
 * compiles goes to the driver's own cache, where this process finds it. Nothing depends on it: whatever it has not
 * done, or done wrong, or cannot do, is done here as without it. */
#ifndef PARE_OCL_PREBUILD_H
#define PARE_OCL_PREBUILD_H

#include "ocl/program.h"

/* Asks for a program that was just built from source. Does not wait. */
void pare__prebuild_ask(pare__device *device, const pare__program *program);
/* Ends the child: no more is needed. */
void pare__prebuild_close(pare__device *device);
/* What the child does: pare-trial prebuild DEVICE, and reads what is asked for. */
int pare__prebuild_main(int argc, char **argv);

#endif
