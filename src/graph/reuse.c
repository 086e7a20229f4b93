/* Results that lie where an input of theirs dies. SPDX-License-Identifier: Apache-2.0
 *
 * An elementwise operation, or a convolution with its summand, reads each element of that input just where it writes
 * the result: if the input is read no more afterwards, both can be one piece of memory, and a chain of such operations
 * is one piece all along. */
#include <string.h>

#include "graph/run.h"

/* The place of a storage in the list, which is ordered; count: it is not there. */
static size_t find(pare__storage *const *storage, size_t count, const pare__storage *wanted) {
  size_t begin = 0, end = count;
  while (begin < end) {
    const size_t middle = begin + (end - begin) / 2;
    if (storage[middle] < wanted)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin < count && storage[begin] == wanted ? begin : count;
}

/* The same elements of their storages in the same order? */
static bool lie_alike(const pare_tensor *a, const pare_tensor *b) {
  const size_t dims = (size_t)a->shape.rank * sizeof *a->shape.dim;
  return a->shape.rank == b->shape.rank && memcmp(a->shape.dim, b->shape.dim, dims) == 0 &&
         memcmp(a->shape.stride, b->shape.stride, dims) == 0 && a->offset == b->offset &&
         pare_dtype_bytes(a->dtype) == pare_dtype_bytes(b->dtype);
}

static const pare_tensor *written_by(const pare__task *task) {
  for (unsigned k = 0; k < task->naccesses; k++)
    if (task->access[k].tensor && task->access[k].mode == PARE__WRITE) return task->access[k].tensor;
  return NULL;
}

/* Does another access of the task see this storage, and not in place? */
static bool seen_otherwise(const pare__task *task, unsigned except, const pare_tensor *input) {
  for (unsigned k = 0; k < task->naccesses; k++) {
    const pare_tensor *other = task->access[k].tensor;
    if (k == except || !other || other->storage != input->storage) continue;
    if (!(task->in_place >> k & 1U) || !lie_alike(other, input)) return true;
  }
  return false;
}

/* Is the task the last that needs what is there? Beside tasks that may run at the same time: of all that use it,
 * whatever their order in the recording. */
static bool dies_with(const pare__life *owner, size_t task, const pare__order *order) {
  if (owner->last != task) return false;
  for (size_t w = 0; order && w < order->words; w++) {
    const uint64_t itself = w == task / 64 ? UINT64_C(1) << task % 64 : 0;
    if (owner->used_by[w] & ~order->before[task * order->words + w] & ~itself) return false;
  }
  return true;
}

static void share(pare__life *life, size_t owner, size_t with, const pare__order *order) {
  life[with].lies_on = owner + 1;
  life[owner].last = life[with].last;
  for (size_t w = 0; order && w < order->words; w++) {
    life[owner].used_by[w] |= life[with].used_by[w];
    life[owner].begins_after[w] &= life[with].begins_after[w];
  }
}

void pare__memory_share(const pare__recording *recording, pare__storage *const *storage, pare__life *life, size_t count,
                        const pare__order *order) {
  for (size_t t = 0; t < pare__recording_tasks(recording); t++) {
    const pare__task *task = pare__recording_task(recording, t);
    const pare_tensor *out = task->in_place ? written_by(task) : NULL;
    const size_t to = out ? find(storage, count, out->storage) : count;
    if (to == count || life[to].first != t || life[to].lies_on != 0) continue;
    for (unsigned k = 0; k < task->naccesses; k++) {
      const pare_tensor *input = task->access[k].tensor;
      if (!(task->in_place >> k & 1U) || !input || !lie_alike(input, out) || seen_otherwise(task, k, input)) continue;
      const size_t from = find(storage, count, input->storage);
      if (from == count || from == to || life[from].nbytes != life[to].nbytes) continue;
      const size_t owner = life[from].lies_on ? life[from].lies_on - 1 : from;
      if (!dies_with(&life[owner], t, order)) continue; /* it, or what lies on it, is read later */
      share(life, owner, to, order);
      break;
    }
  }
}
