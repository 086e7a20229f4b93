/* Makes the operating system fail the library: memory runs out, disks are full. SPDX-License-Identifier: Apache-2.0
 *
 * A test program linked with SYSTEM_FAULT_LDFLAGS (--wrap for the functions below) sends the calls of the objects
 * linked into it (the library's, statically) through here. Drivers are shared objects: theirs go to the C library as
 * ever. */
#ifndef FAULT_SYSTEM_H
#define FAULT_SYSTEM_H

#include <stdbool.h>

/* Allocation number nth from now on fails (from 1); 0: none does. Counts from 0 again. */
void system_fail_allocation(unsigned long nth);
/* Allocations since then. */
unsigned long system_allocations(void);

/* While true, write(2) fails with ENOSPC. */
void system_fill_disk(bool full);

#endif
