/* Tasks on several devices: what they need, jobs of them, and waiting. SPDX-License-Identifier: Apache-2.0 */
#include "sched/multi.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece shall have so many bytes of tensors at least while nobody knows how long they take. */
#define LEAST_PIECE_BYTES ((double)(512 << 10))

/* ---- the state that a context has ---- */

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static void multi_close(void *state);

static pare__multi *multi_if_open(const pare_context *context) { return pare__crew_kept(context, multi_close); }

static pare_status wait_memory(pare__memory *memory, size_t low, size_t high, bool writing);

static pare_status wait_all(pare_context *context) {
  pare__crew *crew = pare__crew_of_if_open(context);
  return crew ? pare__crew_wait_all(crew) : PARE_OK;
}

static const pare__waiting waiting = {wait_memory, wait_all};

static pare_status multi_make(pare_context *context, pare__multi **out) {
  pare__multi *multi = *out = calloc(1, sizeof *multi);
  if (!multi) return pare__fail_memory("a scheduler", sizeof *multi);
  multi->context = context;
  pthread_mutex_init(&multi->order, NULL);
  pthread_mutex_init(&multi->lock, NULL);
  multi->flying = calloc(pare__context_members(context), sizeof(pare__part *));
  pare_status status = multi->flying ? pare__crew_of(context, &multi->crew) : pare__fail_memory("a scheduler", 0);
  if (status == PARE_OK) status = pare__crew_keep(context, multi, multi_close);
  if (status == PARE_OK) {
    pare__context_set_waiting(context, &waiting);
    return PARE_OK;
  }
  multi->crew = NULL;
  multi_close(multi);
  *out = NULL;
  return status;
}

static pare_status multi_of(pare_context *context, pare__multi **out) {
  pthread_mutex_lock(&opening);
  *out = multi_if_open(context);
  const pare_status status = *out ? PARE_OK : multi_make(context, out);
  pthread_mutex_unlock(&opening);
  return status;
}

static void multi_close(void *state) {
  pare__multi *multi = state;
  if (multi->crew) {
    (void)pare__crew_wait_all(multi->crew); /* what failed is in the tensors */
    pare__context_set_waiting(multi->context, NULL);
    pare__orphans_close(multi);
    if (pare__context_is_left_open(multi->context)) return; /* the call that hangs may come back to it */
  }
  pthread_mutex_destroy(&multi->order);
  pthread_mutex_destroy(&multi->lock);
  free(multi->flying);
  free(multi);
}

void pare__multi_apart(pare_context *context, bool apart) {
  atomic_store(&pare__context_residency(context)->apart, apart);
}

/* ---- a task, kept ---- */

static bool is_written(const pare__work_access *access) { return access->mode != PARE__READ; }

void pare__work_release(pare__work *work) {
  if (atomic_fetch_sub_explicit(&work->references, 1, memory_order_acq_rel) != 1) return;
  for (unsigned i = 0; i < work->naccesses; i++) pare__memory_release(work->access[i].memory);
  pthread_mutex_destroy(&work->lock);
  free(work->message);
  free(work->params);
  free(work);
}

static pare_status take_access(pare__work *work, const pare__access *from, pare__work_access *to) {
  if (!from->tensor) return PARE_OK;
  const pare_tensor *tensor = from->tensor;
  pare__memory *memory = pare__tensor_memory(tensor);
  if (!memory)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s: a tensor has no memory yet: its work is only being planned",
                      work->name);
  if (from->axis != PARE__WHOLE && (from->axis < 0 || from->axis >= tensor->shape.rank))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: it slices axis %d of a tensor of rank %d", work->name, from->axis,
                      tensor->shape.rank);
  if (from->axis == PARE__WHOLE && from->mode != PARE__READ && work->n > 1 && work->grain < work->n)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: it is split in %lld steps and each writes the whole of a tensor",
                      work->name, (long long)work->n);
  pare__memory_retain(memory);
  *to = (pare__work_access){.memory = memory,
                            .dtype = tensor->dtype,
                            .shape = tensor->shape,
                            .start = pare__tensor_start(tensor),
                            .mode = from->mode,
                            .axis = from->axis,
                            .per_step = from->per_step};
  to->range = pare__shape_range(&to->shape, to->start, pare_dtype_bytes(to->dtype));
  return PARE_OK;
}

/* What is read and written: in one access, or in two that meet. */
static void find_rewritten(pare__work *work) {
  for (unsigned i = 0; i < work->naccesses; i++) {
    pare__work_access *access = &work->access[i];
    access->rewritten = access->mode == PARE__READ_WRITE;
    for (unsigned k = 0; k < work->naccesses && access->mode == PARE__WRITE; k++) {
      const pare__work_access *other = &work->access[k];
      if (k != i && other->mode != PARE__WRITE && other->memory == access->memory && access->memory &&
          pare__range_meets(other->range, access->range))
        access->rewritten = true;
    }
  }
}

static pare_status work_make(pare__multi *multi, const pare__task *task, pare__work **out) {
  pare__work *work = *out = calloc(1, sizeof *work);
  if (!work) return pare__fail_memory("a task", sizeof *work);
  atomic_init(&work->references, 1);
  pthread_mutex_init(&work->lock, NULL);
  work->multi = multi;
  work->codelet = task->codelet;
  work->flags = task->flags;
  (void)snprintf(work->name, sizeof work->name, "%s", task->name ? task->name : task->codelet->name);
  work->n = work->left = task->n;
  work->grain = PARE__MAX(task->grain, 1);
  work->naccesses = task->naccesses;
  pare_status status = PARE_OK;
  if (task->params_bytes > 0) {
    work->params = malloc(task->params_bytes);
    if (work->params)
      memcpy(work->params, task->params, task->params_bytes);
    else
      status = pare__fail_memory("a task's parameters", task->params_bytes);
  }
  for (unsigned i = 0; i < task->naccesses && status == PARE_OK; i++)
    status = take_access(work, &task->access[i], &work->access[i]);
  if (status == PARE_OK) {
    find_rewritten(work);
    return PARE_OK;
  }
  pare__work_release(work);
  *out = NULL;
  return status;
}

/* ---- as policies and models see it ---- */

static double bytes_of(const pare__work_access *access) {
  return (double)pare__shape_elements(&access->shape) * (double)pare_dtype_bytes(access->dtype);
}

/* Bytes of one step: its slices, and all that is not sliced; for a product that is in proportion to its operations. */
static double work_per_step(const pare__work *work) {
  double sum = 0;
  for (unsigned i = 0; i < work->naccesses; i++) {
    const pare__work_access *access = &work->access[i];
    if (access->memory) sum += access->axis == PARE__WHOLE ? bytes_of(access) : bytes_of(access) / (double)work->n;
  }
  return PARE__MAX(sum, 1);
}

/* One model a codelet, dtypes, and magnitude of a step: within that, time goes with bytes. */
static void name_kernel(pare__work *work, double per_step) {
  char types[48] = "";
  size_t used = 0;
  for (unsigned i = 0; i < work->naccesses; i++) {
    if (!work->access[i].memory || used + 8 >= sizeof types) continue;
    const int n = snprintf(types + used, sizeof types - used, " %s", pare_dtype_name(work->access[i].dtype));
    used += n > 0 ? (size_t)n : 0;
  }
  snprintf(work->kernel, sizeof work->kernel, "%s%s 2^%d", work->name, types, ilogb(per_step));
}

/* ---- what it needs ---- */

typedef struct needs {
  pare__job_id *id;
  size_t count, capacity;
} needs;

static pare_status add_need(needs *list, pare__job_id id) {
  PARE__TRY(pare__array_grow((void **)&list->id, &list->capacity, list->count, sizeof *list->id));
  list->id[list->count++] = id;
  return PARE_OK;
}

static pare_status need(needs *list, pare__work *on, uint64_t submission) {
  if (on->seen == submission) return PARE_OK;
  on->seen = submission;
  return add_need(list, on->id);
}

/* All that meets the range; the residency's lock is held. */
static pare_status need_range(needs *list, const pare__memory *memory, pare__range range, bool writes,
                              uint64_t submission) {
  for (size_t i = 0; i < memory->nuses; i++)
    if (pare__range_meets(memory->use[i].range, range) && (writes || memory->use[i].writes))
      PARE__TRY(need(list, memory->use[i].work, submission));
  return PARE_OK;
}

static void drop_uses(pare__memory *memory, const pare__work *work, const pare__range *covered) {
  size_t kept = 0;
  for (size_t i = 0; i < memory->nuses; i++) {
    const pare__use *use = &memory->use[i];
    const bool gone = covered ? use->work != work && covered->low <= use->range.low && use->range.high <= covered->high
                              : use->work == work;
    if (!gone) memory->use[kept++] = *use;
  }
  memory->nuses = kept;
}

/* What covers an earlier use stands for it: who needs that one, needs this one. */
static pare_status add_use(pare__work *work, const pare__work_access *access) {
  pare__memory *memory = access->memory;
  PARE__TRY(pare__array_grow((void **)&memory->use, &memory->use_capacity, memory->nuses, sizeof *memory->use));
  memory->use[memory->nuses++] = (pare__use){access->range, is_written(access), work};
  if (is_written(access)) drop_uses(memory, work, &access->range);
  return PARE_OK;
}

static pare_status find_needs(pare__work *work, needs *list) {
  pare__multi *multi = work->multi;
  pthread_mutex_t *lock = &pare__context_residency(multi->context)->lock;
  const uint64_t submission = ++multi->submissions;
  pare_status status = PARE_OK;
  pthread_mutex_lock(lock);
  for (unsigned i = 0; i < work->naccesses && status == PARE_OK; i++)
    if (work->access[i].memory)
      status =
          need_range(list, work->access[i].memory, work->access[i].range, is_written(&work->access[i]), submission);
  for (unsigned i = 0; i < work->naccesses && status == PARE_OK; i++)
    if (work->access[i].memory) status = add_use(work, &work->access[i]);
  pthread_mutex_unlock(lock);
  return status;
}

static void forget_uses(pare__work *work) {
  pthread_mutex_t *lock = &pare__context_residency(work->multi->context)->lock;
  pthread_mutex_lock(lock);
  for (unsigned i = 0; i < work->naccesses; i++)
    if (work->access[i].memory) drop_uses(work->access[i].memory, work, NULL);
  pthread_mutex_unlock(lock);
}

/* ---- its end ---- */

void pare__work_fail(pare__work *work, pare_status status, bool inherited) {
  pthread_mutex_lock(&work->lock);
  if (work->failed == PARE_OK) {
    work->failed = status;
    work->inherited = inherited;
    work->message = pare__strdup(pare_message());
  }
  pthread_mutex_unlock(&work->lock);
}

/* What was wrong with it before is gone if all of it is written anew. */
static void heal_replaced(const pare__work_access *access) {
  if (access->memory && access->mode == PARE__WRITE && pare__shape_dense(&access->shape))
    pare__memory_heal(access->memory, access->range);
}

/* With this thread's message. */
static void poison_written(pare__work *work, pare_status status) {
  for (unsigned i = 0; i < work->naccesses; i++) {
    const pare__work_access *access = &work->access[i];
    if (!access->memory || !is_written(access)) continue;
    heal_replaced(access); /* whoever waits is told of this failure */
    pare__memory_poison(access->memory, access->range, status);
  }
}

static void end_work(pare__work *work) {
  if (work->failed != PARE_OK) {
    (void)pare__fail_text(work->failed, work->message ? work->message : pare_status_meaning(work->failed));
    if (!work->inherited) pare__context_record(work->multi->context, work->failed);
    poison_written(work, work->failed);
    return;
  }
  for (unsigned i = 0; i < work->naccesses; i++) heal_replaced(&work->access[i]);
}

void pare__work_count(pare__work *work, int64_t steps) {
  pthread_mutex_lock(&work->lock);
  work->left -= steps;
  const bool last = work->left == 0;
  pthread_mutex_unlock(&work->lock);
  if (last) end_work(work);
}

static void work_done(void *argument, pare_status status) {
  pare__work *work = argument;
  if (status != PARE_OK) { /* no device is left for it */
    pare__context_record(work->multi->context, status);
    poison_written(work, status);
  }
  pare__work_abandon(work);
  forget_uses(work);
  pare__work_release(work);
}

/* How much of what it reads is on devices with memory of their own. */
static size_t find_local(void *argument, pare__policy_local out[PARE__MOST_LOCAL]) {
  const pare__work *work = argument;
  pare_context *context = work->multi->context;
  size_t count = 0;
  for (size_t m = 0; m < pare__context_members(context) && count < PARE__MOST_LOCAL; m++) {
    size_t nbytes = 0;
    if (pare__memory_shared(context, m)) continue;
    for (unsigned i = 0; i < work->naccesses; i++)
      if (work->access[i].memory && work->access[i].mode == PARE__READ)
        nbytes += pare__memory_there(work->access[i].memory, m, work->access[i].range);
    if (nbytes > 0) out[count++] = (pare__policy_local){m, (double)nbytes};
  }
  return count;
}

/* ---- submitting ---- */

static bool all_share(pare_context *context) {
  for (size_t m = 0; m < pare__context_members(context); m++)
    if (!pare__memory_shared(context, m)) return false;
  return true;
}

static pare__job describe(pare__work *work, const pare__task *task) {
  const double per_step = work_per_step(work);
  name_kernel(work, per_step);
  const int pieces = pare__context_pieces(task->context);
  const int64_t shortest = pieces > 1 ? pare__round_up(pare__div_up(work->n, pieces), work->grain) : work->grain;
  double read = 0, all = 0;
  for (unsigned i = 0; i < work->naccesses; i++) {
    if (!work->access[i].memory) continue;
    const double nbytes = bytes_of(&work->access[i]);
    all += nbytes;
    if (work->access[i].mode != PARE__WRITE) read += nbytes;
  }
  return (pare__job){.run = pare__work_run,
                     .settle = pare__work_settle,
                     .done = work_done,
                     .argument = work,
                     .name = work->name,
                     .kernel = work->kernel,
                     .n = work->n,
                     .grain = task->whole ? work->n : shortest,
                     .least = pieces > 1 ? 0 : (int64_t)(LEAST_PIECE_BYTES / per_step) + 1,
                     .per_step = per_step,
                     .nbytes = all,
                     .read_bytes = read,
                     .member = PARE__NO_DEVICE,
                     .priority = task->priority,
                     .resources = task->resources,
                     .uneven = task->uneven,
                     .tells = true,
                     .local = all_share(task->context) ? NULL : find_local};
}

/* A half is full of jobs, or of bytes that only they hold: then the next one begins, and the one before must be done,
 * which is put into `out`; how many jobs that is. */
static size_t begin_half(pare__multi *multi, pare__job_id id, pare__job_id out[PARE__PACE_TASKS / 2]) {
  const uint64_t closed_bytes = atomic_load(&pare__context_residency(multi->context)->closed_bytes);
  multi->newer[multi->nnewer++] = id;
  if (multi->nnewer < PARE__PACE_TASKS / 2 && closed_bytes - multi->closed_bytes < PARE__PACE_BYTES / 2) return 0;
  const size_t count = multi->nolder;
  memcpy(out, multi->older, count * sizeof *out);
  memcpy(multi->older, multi->newer, multi->nnewer * sizeof *out);
  multi->nolder = multi->nnewer;
  multi->nnewer = 0;
  multi->closed_bytes = closed_bytes;
  return count;
}

pare_status pare__multi_submit(const pare__task *task) {
  pare__multi *multi;
  PARE__TRY(multi_of(task->context, &multi));
  pare__work *work;
  PARE__TRY(work_make(multi, task, &work));
  const pare__job job = describe(work, task);
  needs list = {NULL, 0, 0};
  pare__job_id half[PARE__PACE_TASKS / 2];
  size_t nhalf = 0;
  pthread_mutex_lock(&multi->order);
  pare_status status = PARE_OK;
  for (size_t i = 0; i < task->nafter && status == PARE_OK; i++) status = add_need(&list, task->after[i]);
  if (status == PARE_OK) status = find_needs(work, &list);
  if (status == PARE_OK) {
    pare__job_id id = 0;
    atomic_fetch_add(&work->references, 1); /* the crew's; it may be done before its id is noted */
    status = pare__crew_submit(multi->crew, &job, list.id, list.count, &id);
    if (status == PARE_OK)
      work->id = id;
    else
      atomic_fetch_sub(&work->references, 1);
    if (task->id) *task->id = id;
    if (status == PARE_OK) nhalf = begin_half(multi, id, half);
  }
  if (status != PARE_OK) forget_uses(work);
  pthread_mutex_unlock(&multi->order);
  free(list.id);
  pare__work_release(work);
  /* what failed is in the tensors; who submits from inside of a job cannot wait */
  for (size_t i = 0; i < nhalf; i++) (void)pare__crew_wait(multi->crew, half[i]);
  return status;
}

/* ---- many at once ---- */

/* Tasks that are submitted together. Until they are, a work's id is its number among them, from 1: ids of jobs are
 * larger than any. */
typedef struct graph {
  size_t count;
  pare__work **work;
  pare__job *job;
  size_t *begin; /* of each and the end, into needs */
  pare__job_id *id;
  needs needs;
  bool waits; /* some need what was there before */
} graph;
#define LEAST_ID (UINT64_C(1) << 32)

static void graph_close(graph *all) {
  for (size_t i = 0; i < all->count; i++) pare__work_release(all->work[i]);
  free(all->work);
  free(all->job);
  free(all->begin);
  free(all->id);
  free(all->needs.id);
}

static pare_status graph_open(size_t most, graph *out) {
  *out = (graph){.work = calloc(most + 1, sizeof(pare__work *)),
                 .job = calloc(most + 1, sizeof(pare__job)),
                 .begin = calloc(most + 1, sizeof(size_t)),
                 .id = calloc(most + 1, sizeof(pare__job_id))};
  return out->work && out->job && out->begin && out->id ? PARE_OK
                                                        : pare__fail_memory("tasks", most * sizeof(pare__job));
}

/* One more; the order lock is held. */
static pare_status graph_add(pare__multi *multi, const pare__task *task, graph *all) {
  pare__work *work;
  PARE__TRY(pare__task_check(task));
  if (task->n <= 0) return PARE_OK;
  PARE__TRY(work_make(multi, task, &work));
  const size_t before = all->needs.count;
  pare_status status = PARE_OK;
  for (size_t i = 0; i < task->nafter && status == PARE_OK; i++) status = add_need(&all->needs, task->after[i]);
  if (status == PARE_OK) status = find_needs(work, &all->needs);
  if (status != PARE_OK) {
    all->needs.count = before;
    forget_uses(work);
    pare__work_release(work);
    return status;
  }
  for (size_t i = before; i < all->needs.count; i++) all->waits = all->waits || all->needs.id[i] >= LEAST_ID;
  all->job[all->count] = describe(work, task);
  all->work[all->count++] = work;
  all->begin[all->count] = all->needs.count;
  work->id = all->count;
  return PARE_OK;
}

/* Whole, for the policy to plan. */
static pare_status submit_whole(pare__crew *crew, graph *all) {
  uint32_t *after = malloc((all->needs.count + 1) * sizeof *after);
  if (!after) return pare__fail_memory("tasks", all->needs.count * sizeof *after);
  for (size_t i = 0; i < all->needs.count; i++) after[i] = (uint32_t)all->needs.id[i] - 1;
  const pare_status status = pare__crew_submit_graph(crew, all->job, all->count, all->begin, after, all->id);
  free(after);
  return status;
}

/* One after the other, since some need what no plan knows; *count: so many were. */
static pare_status submit_each(pare__crew *crew, graph *all, size_t *count) {
  pare_status status = PARE_OK;
  *count = 0;
  while (*count < all->count && status == PARE_OK) {
    const size_t at = *count, first = all->begin[at];
    for (size_t i = first; i < all->begin[at + 1]; i++)
      if (all->needs.id[i] > 0 && all->needs.id[i] < LEAST_ID) all->needs.id[i] = all->id[all->needs.id[i] - 1];
    status = pare__crew_submit(crew, &all->job[at], all->needs.id + first, all->begin[at + 1] - first, &all->id[at]);
    *count += status == PARE_OK;
  }
  return status;
}

static pare_status submit_graph(pare__multi *multi, graph *all) {
  size_t count = all->count;
  for (size_t i = 0; i < all->count; i++) atomic_fetch_add(&all->work[i]->references, 1); /* the crew's */
  pare_status status;
  if (all->waits) {
    status = submit_each(multi->crew, all, &count);
  } else {
    status = submit_whole(multi->crew, all);
    if (status != PARE_OK) count = 0;
  }
  for (size_t i = 0; i < count; i++) all->work[i]->id = all->id[i];
  for (size_t i = count; i < all->count; i++) {
    forget_uses(all->work[i]);
    atomic_fetch_sub(&all->work[i]->references, 1);
  }
  return status;
}

bool pare__multi_plans(pare_context *context) {
  pare__multi *multi;
  return pare__context_members(context) > 1 && multi_of(context, &multi) == PARE_OK && pare__crew_plans(multi->crew);
}

pare_status pare__multi_submit_all(const pare__recording *recording, bool undivided) {
  const size_t ntasks = pare__recording_tasks(recording);
  pare__multi *multi;
  graph all;
  if (ntasks == 0) return PARE_OK;
  PARE__TRY(multi_of(pare__recording_task(recording, 0)->context, &multi));
  pare_status status = graph_open(ntasks, &all);
  pthread_mutex_lock(&multi->order);
  for (size_t i = 0; i < ntasks && status == PARE_OK; i++) {
    pare__task task = *pare__recording_task(recording, i);
    task.whole = undivided;
    status = graph_add(multi, &task, &all);
  }
  /* What came before a task that is wrong runs. */
  const pare_status submitted = all.count > 0 ? submit_graph(multi, &all) : PARE_OK;
  if (status == PARE_OK) status = submitted;
  pthread_mutex_unlock(&multi->order);
  for (size_t i = 0; i < all.count && submitted == PARE_OK; i++) {
    pare__job_id half[PARE__PACE_TASKS / 2];
    pthread_mutex_lock(&multi->order);
    const size_t nhalf = begin_half(multi, all.id[i], half);
    pthread_mutex_unlock(&multi->order);
    for (size_t k = 0; k < nhalf; k++) (void)pare__crew_wait(multi->crew, half[k]);
  }
  graph_close(&all);
  return status;
}

/* ---- waiting ---- */

static pare_status wait_memory(pare__memory *memory, size_t low, size_t high, bool writing) {
  pare__multi *multi = multi_if_open(memory->context);
  if (!multi) return PARE_OK;
  needs list = {NULL, 0, 0};
  pthread_mutex_t *lock = &pare__context_residency(memory->context)->lock;
  pthread_mutex_lock(&multi->order);
  const uint64_t submission = ++multi->submissions;
  pthread_mutex_lock(lock);
  pare_status status = need_range(&list, memory, (pare__range){low, high}, writing, submission);
  pthread_mutex_unlock(lock);
  pthread_mutex_unlock(&multi->order);
  /* For all of them, also when one has failed: the caller may give the memory back. The first failure is told. */
  char *message = NULL;
  for (size_t i = 0; i < list.count; i++) {
    const pare_status waited = pare__crew_wait(multi->crew, list.id[i]);
    if (status != PARE_OK || waited == PARE_OK) continue;
    status = waited;
    message = pare__strdup(pare_message());
  }
  free(list.id);
  if (message) status = pare__fail_text(status, message);
  free(message);
  return status;
}
