/* The context: an open device, errors of work that nobody has seen yet, flags that kernels raise.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_TENSOR_CONTEXT_H
#define PARE_TENSOR_CONTEXT_H

#include <pare/context.h>
#include <stdatomic.h>

#include "ocl/ocl.h"
#include "tensor/tensor.h"

/* Checks that a context may be used: not NULL, open, in the process that opened it. PARE_ERR_ARGUMENT naming
 * `function`. */
pare_status pare__context_check(const char *function, const pare_context *context);
pare__device *pare__context_device(pare_context *context);

/* The context of one of its devices alone, in the order of selection; with one device it is the context itself. What is
 * made in a member's context lives on that device and knows nothing of the others. */
size_t pare__context_members(const pare_context *context);
pare_context *pare__context_member(pare_context *context, size_t member);
/* First guess of the member's relative speed, from the selector. */
double pare__context_weight(const pare_context *context, size_t member);
/* The context's groups, as the selector has them, in which members follow each other: a member that stands in no group
 * is one by itself. 0: there are none, or there is one only. */
size_t pare__context_groups(const pare_context *context);
/* The context of the group's devices alone: a member's, or one with several members, which are this one's. Its schedule
 * is the one for inside of groups. Closed with the context. */
pare_context *pare__context_group(pare_context *context, size_t group);
/* Where it begins; of all groups: how many members there are. */
size_t pare__context_group_begin(const pare_context *context, size_t group);
/* Which of the selector's parentheses it is; 0: none. */
unsigned pare__context_group_number(const pare_context *context, size_t group);
/* Of a group with several members: the context that it is a group of, and which one it is there. Else NULL. */
pare_context *pare__context_whole(const pare_context *context, size_t *group);
/* Those that have several members; nobody uses them any more. */
void pare__context_close_groups(pare_context *context);
const pare_schedule_options *pare__context_schedule(const pare_context *context); /* with a copy of its texts */
/* One object of a higher floor that lives and dies with the context; `close` runs when the context is closed, while its
 * devices still work. is_inside: is this thread in a call that `close` would wait for? Attaching when there is one
 * already is an error of the caller. */
void pare__context_attach(pare_context *context, void *state, void (*close)(void *state),
                          bool (*is_inside)(void *state));
void *pare__context_attached(const pare_context *context); /* NULL if there is none */
/* PARE_ERR_ARGUMENT: this thread works for the context, or for a group of it, or is in a callback of theirs: what it
 * would wait for may wait for it. */
pare_status pare__context_may_wait(const char *function, const pare_context *context);

/* ---- several members ---- */

typedef struct pare__memory pare__memory; /* tensor/memory.h */
typedef struct pare__residency {
  pthread_mutex_t lock; /* of the context's memories; nothing else is locked while it is held */
  pare__memory *memories;
  uint64_t count;                    /* of pins: what was used when */
  atomic_uint_fast64_t closed_bytes; /* of storages, ever: work that is under way may still hold them */
  atomic_bool apart; /* for tests: members that could compute in the host's memory get copies like others */
} pare__residency;
pare__residency *pare__context_residency(pare_context *context);

/* What floor 4 does for tensors when work may be under way; all NULL until it has begun. */
typedef struct pare__waiting {
  /* Until all that writes bytes [low, high) of the memory is done; reads as well if `writing`. */
  pare_status (*memory)(pare__memory *memory, size_t low, size_t high, bool writing);
  pare_status (*all)(pare_context *context);
} pare__waiting;
void pare__context_set_waiting(pare_context *context, const pare__waiting *waiting); /* static */
const pare__waiting *pare__context_waiting(const pare_context *context);             /* NULL: nothing is under way */
/* A flag of a member was found set: whoever waits next for the whole context is told so with this thread's message. */
void pare__context_raise_flag(pare_context *context, pare_status status);

/* Tensors hold their context: the device closes with the last of them. */
void pare__context_retain(pare_context *context);
void pare__context_release(pare_context *context);
/* A driver hangs in a call of it: closing it waits for no device and gives back nothing that the call may touch. */
void pare__context_leave_open(pare_context *context);
bool pare__context_is_left_open(const pare_context *context);

/* Records an error of work with this thread's message; pare_context_wait raises the first one. */
void pare__context_record(pare_context *context, pare_status status);

/* What this thread's operations are part of: it puts that around the messages of errors that only the device finds. */
typedef struct pare__origin {
  void (*describe)(const struct pare__origin *origin, const char *message, char *text, size_t capacity);
} pare__origin;
/* From now on; NULL: nothing. What it was. */
const pare__origin *pare__origin_set(const pare__origin *origin);

#define PARE__INDEX_MESSAGE 640
/* What is to be said of an index of this operation that is out of range, here. */
void pare__index_message(const char *operation, char text[PARE__INDEX_MESSAGE]);
/* An int in device memory, zero, that a kernel sets to something else when it meets an index out of range. Whoever
 * waits next gets PARE_ERR_ARGUMENT with the message if it was set. Each message keeps its flag as long as the context
 * lives, so that work may be recorded and run again. */
pare_status pare__context_flag(pare_context *context, const char *message, cl_mem *mem, int64_t *offset);
/* After the queue is finished: raises the first flag that is set, and clears all. */
pare_status pare__context_flags_check(pare_context *context);
/* The same of work that is known to be done, whatever was enqueued since. */
pare_status pare__context_flags_check_done(pare_context *context);

/* For tests of the law of splitting: every later submission is cut into `pieces` pieces (0 or 1: as usual). */
void pare__context_split(pare_context *context, int pieces);
int pare__context_pieces(const pare_context *context);

#endif
