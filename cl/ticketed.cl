/* One launch for many: groups claim tickets in topological order. SPDX-License-Identifier: Apache-2.0
 *
 * The host puts before this text, for each part (a kernel's source, turned into a function): its declaration in
 * PARTS, its case in RUN_PART; and MOVING, MOVING_ARGUMENTS, MOVING_LIST: the buffers that are arguments.
 *
 *   table:  rows of STEP_LONGS longs, one a step and one past the last, then their arguments, dependencies, and the
 *           first group of each of a step's tickets and the end of the last
 *   counts: [0] the next ticket, [LINE] groups that have left, [(2 + step) * LINE] tickets of a step that are done
 *
 * A ticket is claimed once it can be worked on, never before: a group whose core is taken away holds up nobody while it
 * waits, and no number of groups that run at once is assumed. The last group to leave sets everything back to zero for
 * the next launch. */
enum {
  FIRST_TICKET,
  STARTS,
  GROUPS_X,
  GROUPS_Y,
  GROUPS_Z,
  PART,
  ARGUMENTS,
  AFTER,
  AFTER_END,
  STEP_LONGS
};
#define LINE 16 /* ints of a cache line: counters do not share one */

PARTS

/* For buffers that stay: where they lie. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void ticketed_address(__global const char *buffer,
                                                                              __global ulong *addresses, int index) {
  addresses[index] = (ulong)buffer;
}

#define SPINS 1000 /* a microsecond: most waits are shorter */

/* Lets other threads have the core, which may be what the others wait for. */
static void yield(void) {
#if PARE_INLINE_ASSEMBLY && defined(__x86_64__) && defined(__linux__)
  long call = 24; /* sched_yield */
  __asm__ volatile("syscall" : "+a"(call) : : "rcx", "r11", "memory");
#endif
}

/* Is all done that a step needs? */
static bool is_ready(__global const long *table, __global const long *step, volatile __global int *counts) {
  for (long i = step[AFTER]; i < step[AFTER_END]; i++) {
    const long other = table[i];
    __global const long *row = table + other * STEP_LONGS;
    if (counts[(2 + other) * LINE] < (int)(row[STEP_LONGS + FIRST_TICKET] - row[FIRST_TICKET])) return false;
  }
  return true;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void ticketed(__global const long *table,
                                                                      __global const ulong *addresses,
                                                                      volatile __global int *counts, int begin, int end,
                                                                      __local char *pool MOVING_ARGUMENTS) {
  const ulong moving[MOVING] = {MOVING_LIST};
  const long base = table[begin * STEP_LONGS + FIRST_TICKET];
  for (int at = begin, ready = -1, spins = 0;; spins++) {
    if (spins >= SPINS) yield();
    const int ticket = counts[0];
    while (at < end && base + ticket >= table[(at + 1) * STEP_LONGS + FIRST_TICKET]) at++;
    if (at >= end) break;
    __global const long *step = table + at * STEP_LONGS;
    if (ready != at && !is_ready(table, step, counts)) continue;
    ready = at;
    if (atomic_cmpxchg(counts, ticket, ticket + 1) != ticket) continue;
    spins = 0;
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    __global const long *arguments = table + step[ARGUMENTS];
    __global const long *start = table + step[STARTS] + (base + ticket - step[FIRST_TICKET]);
    for (long group = start[0]; group < start[1]; group++) {
      const ulong x = group % step[GROUPS_X], rest = group / step[GROUPS_X];
      const ulong y = rest % step[GROUPS_Y], z = rest / step[GROUPS_Y];
      switch (step[PART]) { RUN_PART(step + GROUPS_X, x, y, z, arguments, addresses, moving, pool) }
    }
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    atomic_inc(counts + (2 + at) * LINE);
  }
  if (atomic_inc(counts + LINE) != (int)get_num_groups(0) - 1) return;
  for (int at = begin; at < end; at++) counts[(2 + at) * LINE] = 0;
  counts[0] = 0;
  counts[LINE] = 0;
}
