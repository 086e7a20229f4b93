/* What time a child process has had. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_CHILD_TIME_H
#define PARE_OCL_CHILD_TIME_H

#include <stdint.h>

/* Of a child that nobody has waited for, in seconds since its start. */
/* Processor time of all its threads; 0 if the system does not say. */
double pare__child_used(int64_t child);
/* Time in which its threads could have run while others had the processors, of the threads that are left, added; < 0 if
 * the system does not say. */
double pare__child_waited(int64_t child);

#endif
