/* Memory of tensors in a context with several devices: the home is the host's, devices have copies.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The home is right whenever no work that writes it is under way: what a device computes is written back as soon as it
 * is done, so that nothing is lost with the device. A copy is a buffer over the home where the device computes in host
 * memory; elsewhere it is a buffer of the device, right in some ranges, and what is right there is not copied again.
 *
 * A copy on a member is made, used, and given up under memory pressure by that member's thread only. */
#ifndef PARE_TENSOR_MEMORY_H
#define PARE_TENSOR_MEMORY_H

#include "tensor/context.h"
#include "tensor/tensor.h"

/* Bytes [low, high). */
typedef struct pare__range {
  size_t low, high;
} pare__range;
/* Sorted, apart from each other. All zero is none. */
typedef struct pare__ranges {
  pare__range *range;
  size_t count, capacity;
} pare__ranges;
pare_status pare__ranges_add(pare__ranges *ranges, pare__range added);
/* Short of memory it forgets more than it should, never less. */
void pare__ranges_subtract(pare__ranges *ranges, pare__range gone);
/* The first part of `wanted` that is in none of them; false if there is none. */
bool pare__ranges_missing(const pare__ranges *ranges, pare__range wanted, pare__range *out);
static inline bool pare__range_meets(pare__range a, pare__range b) { return a.low < b.high && b.low < a.high; }

typedef struct pare__memory_copy {
  pare__buffer *buffer;
  unsigned pins; /* pieces in flight that use it */
  uint64_t used; /* the context's count when it was last pinned */
  pare__ranges valid;
} pare__memory_copy;

/* Work that is under way, in the order of submission. */
typedef struct pare__use {
  pare__range range;
  bool writes;
  void *work; /* floor 4's */
} pare__use;
/* What could not be computed. */
typedef struct pare__poison {
  pare__range range;
  pare_status status;
  char *message;
} pare__poison;

struct pare__memory {
  atomic_int references;
  pare_context *context; /* held */
  size_t nbytes;
  char *home;
  bool owned;
  pare__memory *previous, *next; /* of the context */
  /* The context's memory lock guards these, and `valid` of the copies. */
  pare__use *use;
  size_t nuses, use_capacity;
  pare__poison *poison;
  size_t npoisons, poison_capacity;
  pare__memory_copy copy[]; /* one a member */
};

/* wrap NULL: own memory. */
pare_status pare__memory_create(pare_context *context, size_t nbytes, void *wrap, const char *what, pare__memory **out);
void pare__memory_retain(pare__memory *memory);
void pare__memory_release(pare__memory *memory); /* NULL is allowed */

/* Does the member compute in the home itself? */
bool pare__memory_shared(pare_context *context, size_t member);
/* A buffer of the whole memory on the member that stays until it is unpinned. To make room, what was not used for the
 * longest time goes. PARE_ERR_LIMIT if that is not enough. */
pare_status pare__memory_pin(pare__memory *memory, size_t member, pare__buffer **out);
void pare__memory_unpin(pare__memory *memory, size_t member);
/* Gives up what is not pinned on the member, the oldest first; false if there is nothing. */
bool pare__memory_evict(pare_context *context, size_t member);
/* Enqueues the copies that make the range right on the member, where it is pinned, and adds them to the list, for its
 * work to wait for (pare__transfers_before). */
pare_status pare__memory_fetch(pare__memory *memory, size_t member, pare__range range, pare__transfers *list);
/* The home has new elements there. `member` has them, too; PARE__NO_MEMBER: nobody else has. */
#define PARE__NO_MEMBER SIZE_MAX
void pare__memory_written(pare__memory *memory, size_t member, pare__range range);
/* How many bytes of the range are right on the member, which does not compute in the home. */
size_t pare__memory_there(pare__memory *memory, size_t member, pare__range range);

/* Copies this thread's message. */
void pare__memory_poison(pare__memory *memory, pare__range range, pare_status status);
pare_status pare__memory_poisoned(pare__memory *memory, pare__range range);
void pare__memory_heal(pare__memory *memory, pare__range range);

/* ---- as tensors have it ---- */

pare__memory *pare__tensor_memory(const pare_tensor *tensor); /* NULL in a context with one device */
/* All bytes between the first and the last element of a view that begins at element `start`. */
pare__range pare__shape_range(const pare__shape *shape, int64_t start, size_t element_bytes);
/* Do the elements fill that range? */
bool pare__shape_dense(const pare__shape *shape);

#endif
