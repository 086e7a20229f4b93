/* What the system is asked for threads. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "base/base.h"

#if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)

#define SLICE_NANOSECONDS 100000 /* the least that Linux grants */
#define FAIR 0                   /* SCHED_OTHER: for others these fields say something else */

/* struct sched_attr, as of Linux 3.14; not every libc has it. */
typedef struct attributes {
  uint32_t nbytes, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
} attributes;

void pare__thread_be_prompt(void) {
  attributes of = {.nbytes = sizeof of};
  if (syscall(SYS_sched_getattr, 0, &of, sizeof of, 0) != 0 || of.policy != FAIR) return;
  of.nbytes = sizeof of;
  of.runtime = SLICE_NANOSECONDS;
  (void)syscall(SYS_sched_setattr, 0, &of, 0);
}
#else
void pare__thread_be_prompt(void) {}
#endif
