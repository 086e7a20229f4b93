/* Which tasks must be done before which. SPDX-License-Identifier: Apache-2.0
 *
 * Two tasks depend on each other if they touch the same bytes and one of them writes: the later one waits for the
 * earlier. Tasks of which neither needs the other, directly or by way of others, may run beside each other. */
#ifndef PARE_SCHED_ORDER_H
#define PARE_SCHED_ORDER_H

#include "sched/sched.h"

/* Bytes [begin, end) of something that has an address. */
typedef struct pare__touched {
  const void *where;
  int64_t begin, end;
  bool written;
} pare__touched;
typedef struct pare__footprint {
  unsigned count;
  pare__touched range[PARE__MAX_ACCESSES];
} pare__footprint;

typedef struct pare__order {
  size_t ntasks;
  /* Task i waits for need[begin[i]], … need[begin[i + 1] - 1]: the latest first, and none that another of them needs.
   */
  size_t *begin;
  uint32_t *need;
  size_t need_capacity;
  size_t words;     /* of a task, in `before` */
  uint64_t *before; /* a bit for each task that must be done before */
} pare__order;

#define PARE__MOST_ORDERED 16384 /* tasks that are worth it: each two of them take a bit */

/* Of recorded tasks, by the elements that they touch of each tensor's storage. */
pare_status pare__recording_order(const pare__recording *recording, pare__order **out);
pare_status pare__order_open(const pare__footprint *task, size_t ntasks, pare__order **out);
void pare__order_close(pare__order *order); /* NULL is allowed */
/* Must `earlier` be done before `task` begins? */
bool pare__order_before(const pare__order *order, size_t earlier, size_t task);

#endif
