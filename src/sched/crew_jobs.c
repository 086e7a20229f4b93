/* A crew's jobs: where they lie, who needs whom, and what happens when one ends. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/crew_state.h"

#define PROBES 64       /* so small a part of a job measures a device that nothing is known of */
#define WORTH_PROBING 4 /* probes must leave so many times as much work */
#define STAYS 2 /* the factor that a least piece may be off before it changes: nothing is cut now and whole then */

/* ---- slots and edges ---- */

static pare_status add_chunk(pare__crew *crew) {
  void *chunks = crew->chunk;
  pare_status status = pare__array_grow(&chunks, &crew->chunk_capacity, crew->nchunks, sizeof *crew->chunk);
  crew->chunk = chunks;
  PARE__TRY(status);
  crew->chunk[crew->nchunks] = malloc(PARE__JOBS_A_CHUNK * sizeof **crew->chunk);
  if (!crew->chunk[crew->nchunks]) return pare__fail_memory("jobs", PARE__JOBS_A_CHUNK * sizeof **crew->chunk);
  crew->nchunks++;
  return PARE_OK;
}

/* One slot more, in the list of free ones. */
static pare_status add_slot(pare__crew *crew) {
  if (crew->nslots >= PARE__NO_JOB) return pare__fail(PARE_ERR_MEMORY, "%zu jobs wait: no more fit", crew->nslots);
  if (crew->nslots == crew->nchunks * PARE__JOBS_A_CHUNK) PARE__TRY(add_chunk(crew));
  void *tasks = crew->task;
  pare_status status = pare__array_grow(&tasks, &crew->task_capacity, crew->nslots, sizeof *crew->task);
  crew->task = tasks;
  PARE__TRY(status);
  pare__crew_job *job = pare__crew_job_at(crew, (uint32_t)crew->nslots);
  *job = (pare__crew_job){.generation = 1, .phase = PARE__JOB_FREE, .next = crew->free_job};
  crew->free_job = (uint32_t)crew->nslots++;
  crew->spare++;
  return PARE_OK;
}

pare_status pare__crew_reserve(pare__crew *crew, size_t njobs, size_t nedges) {
  while (crew->spare < njobs) PARE__TRY(add_slot(crew));
  while (crew->edges_spare < nedges) {
    void *edges = crew->edge;
    pare_status status = pare__array_grow(&edges, &crew->edge_capacity, crew->nedges, sizeof *crew->edge);
    crew->edge = edges;
    PARE__TRY(status);
    if (crew->nedges >= PARE__NO_EDGE) return pare__fail(PARE_ERR_MEMORY, "%zu needs: no more fit", crew->nedges);
    crew->edge[crew->nedges].next = crew->free_edge;
    crew->free_edge = (uint32_t)crew->nedges++;
    crew->edges_spare++;
  }
  return PARE_OK;
}

void pare__crew_order_slots(pare__crew *crew) {
  crew->free_job = PARE__NO_JOB;
  for (uint32_t slot = (uint32_t)crew->nslots; slot-- > 0;) {
    pare__crew_job_at(crew, slot)->next = crew->free_job;
    crew->free_job = slot;
  }
}

uint32_t pare__crew_take_slot(pare__crew *crew) {
  const uint32_t slot = crew->free_job;
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  crew->free_job = job->next;
  crew->spare--;
  job->missing = job->probes = 0;
  job->failure = job->refusal = NULL;
  job->waited = false;
  job->phase = PARE__JOB_WAITS;
  job->behind = job->before = PARE__NO_EDGE;
  crew->pending++;
  return slot;
}

void pare__crew_free_slot(pare__crew *crew, uint32_t slot) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  job->phase = PARE__JOB_FREE;
  job->generation++;
  job->next = crew->free_job;
  crew->free_job = slot;
  crew->spare++;
}

static void free_edge(pare__crew *crew, uint32_t edge) {
  crew->edge[edge].next = crew->free_edge;
  crew->free_edge = edge;
  crew->edges_spare++;
}

void pare__crew_add_edge(pare__crew *crew, uint32_t from, uint32_t to) {
  const uint32_t edge = crew->free_edge;
  pare__crew_job *job = pare__crew_job_at(crew, from);
  crew->free_edge = crew->edge[edge].next;
  crew->edges_spare--;
  crew->edge[edge] = (pare__crew_edge){.to = to, .next = job->behind};
  job->behind = edge;
  pare__crew_job_at(crew, to)->missing++;
}

/* ---- failures ---- */

static pare__crew_failure no_memory = {.references = SIZE_MAX / 2, .status = PARE_ERR_MEMORY};

static pare__crew_failure *failure_open(pare_status status, const char *text) {
  const size_t nbytes = strlen(text) + 1;
  pare__crew_failure *made = malloc(sizeof *made + nbytes);
  if (!made) return NULL;
  made->references = 1;
  made->status = status;
  memcpy(made->text, text, nbytes);
  return made;
}

void pare__crew_failure_release(pare__crew_failure *failure) {
  if (failure && failure != &no_memory && --failure->references == 0) free(failure);
}

void pare__crew_fail(pare__crew *crew, uint32_t slot, pare_status status, const char *text) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  if (job->failure) return;
  job->failure = failure_open(status, text);
  if (!job->failure) job->failure = &no_memory;
}

void pare__crew_fail_after(pare__crew *crew, uint32_t slot, pare__crew_failure *failure) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  if (job->failure) return;
  if (failure != &no_memory) failure->references++;
  job->failure = failure;
}

bool pare__of_device(pare_status status) {
  return status == PARE_ERR_DEVICE || status == PARE_ERR_KERNEL || status == PARE_ERR_LIMIT ||
         status == PARE_ERR_MEMORY;
}

bool pare__crew_refuse(pare__crew *crew, size_t member, uint32_t slot, pare_status status) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  pare__policy_task *task = &crew->task[slot];
  if (job->failure || !pare__of_device(status) || member >= PARE__MOST_BARRED) return false;
  if (!job->refusal) job->refusal = failure_open(status, pare_message());
  if (!job->refusal) job->refusal = &no_memory;
  task->barred |= UINT64_C(1) << member;
  /* Memory may be free again for the next job; what does not build never will. */
  if (status == PARE_ERR_KERNEL) crew->kernel[task->kernel].barred |= UINT64_C(1) << member;
  return true;
}

pare__crew_failure *pare__crew_take_failure(pare__crew *crew, uint32_t slot) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  pare__crew_failure *failure = job->failure;
  if (job->previous != PARE__NO_JOB)
    pare__crew_job_at(crew, job->previous)->next = job->next;
  else
    crew->failed_first = job->next;
  if (job->next != PARE__NO_JOB)
    pare__crew_job_at(crew, job->next)->previous = job->previous;
  else
    crew->failed_last = job->previous;
  pare__crew_free_slot(crew, slot);
  return failure;
}

static void keep_failed(pare__crew *crew, uint32_t slot) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  job->phase = PARE__JOB_FAILED;
  job->next = PARE__NO_JOB;
  job->previous = crew->failed_last;
  if (crew->failed_last != PARE__NO_JOB)
    pare__crew_job_at(crew, crew->failed_last)->next = slot;
  else
    crew->failed_first = slot;
  crew->failed_last = slot;
}

/* ---- a job's way ---- */

static void end_job(pare__crew *crew, uint32_t slot) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  job->phase = PARE__JOB_ENDS;
  job->next = PARE__NO_JOB;
  if (crew->ended_last != PARE__NO_JOB)
    pare__crew_job_at(crew, crew->ended_last)->next = slot;
  else
    crew->ended_first = slot;
  crew->ended_last = slot;
}

void pare__crew_ran(pare__crew *crew, uint32_t slot, int64_t steps) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  job->left -= steps;
  if (job->left == 0 && job->phase == PARE__JOB_READY) end_job(crew, slot);
}

/* A plan must not wait for it. */
static void not_placed(pare__crew *crew, uint32_t slot) {
  if (!crew->plans) return;
  pare__policy_cancel(crew->policy, slot);
  pare__crew_ask(crew, PARE__EVERY_DEVICE);
}

void pare__crew_place(pare__crew *crew, uint32_t slot, int64_t begin, int64_t end) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  size_t wake = PARE__NO_DEVICE;
  if (job->failure) {
    pare__crew_ran(crew, slot, end - begin);
    return;
  }
  const pare_status status = pare__policy_place(crew->policy, slot, begin, end, crew->now, &wake);
  pare__crew_ask(crew, wake);
  if (status == PARE_OK) return;
  if (status == PARE_ERR_DEVICE) {
    pare__crew_strand(crew, slot);
  } else { /* a part of it may be in queues */
    pare__crew_fail(crew, slot, status, pare_message());
    pare__policy_drop(crew->policy, slot, begin, end);
  }
  not_placed(crew, slot);
  pare__crew_ran(crew, slot, end - begin);
}

void pare__crew_strand(pare__crew *crew, uint32_t slot) {
  pare__policy_task *task = &crew->task[slot];
  const pare__crew_job *job = pare__crew_job_at(crew, slot);
  const bool refused = task->barred != 0;
  /* Whoever has pieces of it drops them, and may try the next one: all that cannot is as good as all that can. */
  task->barred = crew->kernel[task->kernel].barred = 0;
  pare__crew_ask(crew, PARE__EVERY_DEVICE);
  if (job->refusal) {
    pare__crew_fail_after(crew, slot, job->refusal);
    return;
  }
  const char *last = "";
  for (size_t i = 0; i < crew->nmembers; i++)
    if (crew->member[i].why) last = crew->member[i].why;
  if (crew->nlost == 0)
    (void)pare__fail(PARE_ERR_DEVICE, "no device has the memory for '%s'%s", pare__crew_job_name(crew, slot),
                     refused ? " and can build its kernels" : "");
  else
    (void)pare__fail(PARE_ERR_DEVICE, "no device is left that may run '%s'; %zu of %zu %s lost: %s",
                     pare__crew_job_name(crew, slot), crew->nlost, crew->nmembers, crew->nlost == 1 ? "was" : "were",
                     last);
  pare__crew_fail(crew, slot, PARE_ERR_DEVICE, pare_message());
}

int64_t pare__crew_choose_grain(pare__crew *crew, uint32_t slot) {
  const pare__policy_task *task = &crew->task[slot];
  pare__crew_kernel *kernel = &crew->kernel[task->kernel];
  double worth = 0;
  int64_t room = task->n;
  for (size_t i = 0; i < crew->nmembers; i++) {
    if (crew->member[i].lost || !(crew->policy->device[i].resource & task->resources)) continue;
    worth = fmax(worth, pare__performance_worth(crew->performance, task->kernel, i));
    room = PARE__MIN(room, pare__policy_most_steps(crew->policy, i, task));
  }
  if (worth > STAYS * kernel->least || worth < kernel->least / STAYS) kernel->least = worth;
  const double steps =
      kernel->least > 0 ? kernel->least / task->per_step : (double)pare__crew_job_at(crew, slot)->least;
  int64_t least = (int64_t)fmin(ceil(steps), (double)task->n);
  if (room < task->n) least = PARE__MIN(least, PARE__MAX(room / 2, 1));
  if (task->n < 2 * least) return task->n;
  return PARE__MIN(pare__round_up(PARE__MAX(least, 1), task->grain), task->n);
}

/* Small pieces for idle devices that nothing is known of for this kernel: the rest is divided by what they tell. */
static int64_t probe(pare__crew *crew, uint32_t slot) {
  const pare__policy_task *task = &crew->task[slot];
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  const int64_t grain = PARE__MAX(task->grain, 1);
  if (crew->nmembers < 2 || task->n / grain < (int64_t)(WORTH_PROBING * crew->nmembers)) return 0;
  const int64_t steps = pare__round_up(pare__div_up(task->n, PROBES), grain);
  int64_t at = 0;
  for (size_t i = 0; i < crew->nmembers && task->n - at >= WORTH_PROBING * steps; i++) {
    const pare__crew_worker *worker = &crew->member[i];
    if (crew->performance->samples[pare__performance_at(crew->performance, task->kernel, i)] || worker->count > 0 ||
        worker->pinned.count > 0 || crew->policy->queue[i].count > 0 || !pare__policy_may(crew->policy, i, task) ||
        pare__policy_most_steps(crew->policy, i, task) < steps)
      continue;
    const pare__policy_piece piece = {.task = slot, .begin = at, .end = at + steps};
    if (pare__crew_pin(crew, i, &piece) != PARE_OK) break;
    job->probes++;
    at += steps;
  }
  return at;
}

bool pare__crew_probe_again(pare__crew *crew, size_t member, const pare__policy_piece *piece) {
  pare__crew_job *job = pare__crew_job_at(crew, piece->task);
  const int64_t n = crew->task[piece->task].n, steps = piece->end - piece->begin;
  const pare__policy_piece next = {.task = piece->task, .begin = job->held, .end = job->held + steps};
  if (job->failure || crew->member[member].lost || n - job->held < steps * (int64_t)(WORTH_PROBING * crew->nmembers))
    return false;
  if (pare__crew_pin(crew, member, &next) != PARE_OK) return false;
  job->held = next.end;
  return true;
}

void pare__crew_probed(pare__crew *crew, uint32_t slot) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  if (--job->probes == 0) pare__crew_place(crew, slot, job->held, crew->task[slot].n);
}

void pare__crew_ready(pare__crew *crew, uint32_t slot) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  const pare__policy_task *task = &crew->task[slot];
  job->since = crew->now;
  job->phase = PARE__JOB_READY;
  if (job->failure || task->n == 0) {
    not_placed(crew, slot);
    job->left = 0;
    end_job(crew, slot);
    return;
  }
  crew->task[slot].barred |= crew->kernel[task->kernel].barred;
  if (job->least > 0) crew->task[slot].grain = pare__crew_choose_grain(crew, slot);
  if (job->member != PARE__NO_JOB && (crew->member[job->member].lost || pare__policy_barred(task, job->member)))
    job->member = PARE__NO_JOB;
  if (job->member != PARE__NO_JOB) {
    const pare__policy_piece whole = {.task = slot, .begin = 0, .end = task->n};
    not_placed(crew, slot);
    if (pare__crew_pin(crew, job->member, &whole) == PARE_OK) return;
    pare__crew_fail(crew, slot, PARE_ERR_MEMORY, pare_message());
    pare__crew_ran(crew, slot, task->n);
    return;
  }
  job->held = probe(crew, slot);
  if (job->probes == 0) pare__crew_place(crew, slot, 0, task->n);
}

/* Those that needed it. */
static void release_edges(pare__crew *crew, uint32_t slot) {
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  for (uint32_t edge = job->behind, next; edge != PARE__NO_EDGE; edge = next) {
    const uint32_t to = crew->edge[edge].to;
    pare__crew_job *other = pare__crew_job_at(crew, to);
    next = crew->edge[edge].next;
    if (crew->trace && job->ran_on != PARE__NO_JOB) {
      crew->edge[edge] = (pare__crew_edge){job->ran_on, other->before, job->ran_until};
      other->before = edge;
    } else {
      free_edge(crew, edge);
    }
    if (job->failure && !job->tells) pare__crew_fail_after(crew, to, job->failure);
    if (--other->missing == 0) pare__crew_ready(crew, to);
  }
  for (uint32_t edge = job->before, next; edge != PARE__NO_EDGE; edge = next) {
    next = crew->edge[edge].next;
    free_edge(crew, edge);
  }
  job->behind = job->before = PARE__NO_EDGE;
}

/* `done` with the job's status and message. */
static void tell_done(pare__crew *crew, pare__crew_job *job) {
  pare__crew_frame frame;
  pare_status status = PARE_OK;
  const pare__crew_failure *failure = job->failure;
  pare__crew_unlock(crew);
  pare__crew_enter(&frame, crew);
  if (failure) status = pare__crew_raise(failure);
  job->done(job->argument, status);
  pare__crew_leave(&frame);
  pare__crew_lock(crew);
}

void pare__crew_tell_ended(pare__crew *crew) {
  while (crew->ended_first != PARE__NO_JOB) {
    const uint32_t slot = crew->ended_first;
    pare__crew_job *job = pare__crew_job_at(crew, slot);
    crew->ended_first = job->next;
    if (crew->ended_first == PARE__NO_JOB) crew->ended_last = PARE__NO_JOB;
    if (!job->failure) pare__crew_note_latency(crew, crew->now - job->since);
    if (job->done) tell_done(crew, job);
    release_edges(crew, slot);
    crew->njobs++;
    crew->pending--;
    const bool waited = job->waited;
    pare__crew_failure_release(job->refusal);
    if (job->tells) pare__crew_failure_release(job->failure);
    if (job->failure && !job->tells)
      keep_failed(crew, slot);
    else
      pare__crew_free_slot(crew, slot);
    if (crew->waiters > 0 && (waited || crew->pending == 0)) pthread_cond_broadcast(&crew->progress);
  }
}

const char *pare__crew_job_name(const pare__crew *crew, uint32_t slot) {
  const pare__crew_job *job = pare__crew_job_at(crew, slot);
  return job->name ? job->name : crew->performance->kernel[crew->task[slot].kernel];
}

pare_status pare__crew_raise(const pare__crew_failure *failure) {
  if (failure == &no_memory) return pare__fail_memory("the message of a failure", 0);
  return pare__fail_text(failure->status, failure->text);
}
