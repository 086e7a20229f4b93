/* A crew: opening, closing, submission and waiting. SPDX-License-Identifier: Apache-2.0 */
#include "sched/crew.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sched/crew_state.h"

double pare__crew_now(void) { return pare__seconds(); }

size_t pare__crew_members(const pare__crew *crew) { return crew->nmembers; }
bool pare__crew_plans(const pare__crew *crew) { return crew->plans; }

bool pare__crew_is_lost(pare__crew *crew, size_t member) {
  pare__crew_lock(crew);
  const bool lost = member < crew->nmembers && crew->member[member].lost;
  pare__crew_unlock(crew);
  return lost;
}

bool pare__crew_gives_up(const pare__crew *crew) { return crew->options.stall_seconds > 0; }

bool pare__crew_hangs(pare__crew *crew, size_t member) {
  pare__crew_lock(crew);
  const bool hangs = member < crew->nmembers && crew->member[member].abandoned && !crew->member[member].ended;
  pare__crew_unlock(crew);
  return hangs;
}

/* ---- who is inside ---- */

static _Thread_local pare__crew_frame *innermost;

void pare__crew_enter(pare__crew_frame *frame, const pare__crew *crew) {
  *frame = (pare__crew_frame){crew, innermost};
  innermost = frame;
}

void pare__crew_leave(pare__crew_frame *frame) { innermost = frame->outer; }

bool pare__crew_is_inside(const pare__crew *crew) {
  for (const pare__crew_frame *frame = innermost; frame; frame = frame->outer)
    if (frame->crew == crew) return true;
  return false;
}

/* ---- submission ---- */

/* "cpu, gpu" for a set of classes. */
static const char *class_names(unsigned set, char *buffer, size_t capacity) {
  static const char *const name[] = {"cpu", "gpu", "accelerator"};
  size_t used = 0;
  buffer[0] = '\0';
  for (unsigned i = 0; i < PARE__COUNT(name); i++)
    if (set >> i & 1 && used < capacity)
      used += (size_t)snprintf(buffer + used, capacity - used, "%s%s", used ? ", " : "", name[i]);
  return buffer;
}

static pare_status check_job(const pare__crew *crew, const pare__job *job) {
  const char *title = job->name ? job->name : job->kernel ? job->kernel : "";
  if (job->n < 0 || job->grain < 0 || (job->n > 0 && !job->run))
    return pare__fail(PARE_ERR_ARGUMENT, "job '%.60s': n = %lld, grain = %lld%s", title, (long long)job->n,
                      (long long)job->grain, job->run ? "" : ", and nothing to run");
  if (job->member != PARE__NO_DEVICE && job->member >= crew->nmembers)
    return pare__fail(PARE_ERR_ARGUMENT, "job '%.60s' is for device %zu; there are %zu", title, job->member,
                      crew->nmembers);
  const unsigned wanted = job->resources ? job->resources : PARE__ON_ANY;
  if (wanted & crew->resources) return PARE_OK;
  char want[40], have[40];
  return pare__fail(PARE_ERR_ARGUMENT, "job '%.60s' may run on %s only; selected are devices of class %s", title,
                    class_names(wanted, want, sizeof want), class_names(crew->resources, have, sizeof have));
}

static pare_status find_kernel(pare__crew *crew, const char *name, uint32_t *out) {
  uint32_t *seen = &crew->kernel_seen[pare__hash64(name, strlen(name)) % PARE__COUNT(crew->kernel_seen)];
  size_t kernel;
  if (*seen == 0 || strcmp(crew->performance->kernel[*seen - 1], name) != 0) {
    PARE__TRY(pare__performance_kernel(crew->performance, name, &kernel));
    *seen = (uint32_t)kernel + 1;
  }
  *out = *seen - 1;
  while (crew->nkernels <= *out) {
    void *kernels = crew->kernel;
    const pare_status status = pare__array_grow(&kernels, &crew->kernel_capacity, crew->nkernels, sizeof *crew->kernel);
    crew->kernel = kernels;
    PARE__TRY(status);
    pare__crew_count *count = calloc(crew->nmembers, sizeof *count);
    if (!count) return pare__fail_memory("counters of a kernel", crew->nmembers * sizeof *count);
    crew->kernel[crew->nkernels++] = (pare__crew_kernel){.count = count};
  }
  return PARE_OK;
}

/* Takes a slot for it; there must be one. */
static uint32_t add_job(pare__crew *crew, const pare__job *job, uint32_t kernel) {
  const uint32_t slot = pare__crew_take_slot(crew);
  pare__crew_job *made = pare__crew_job_at(crew, slot);
  made->run = job->run;
  made->settle = job->settle;
  made->done = job->done;
  made->local = job->local;
  made->argument = job->argument;
  made->name = job->name;
  made->left = job->n;
  made->least = job->least;
  made->since = crew->now;
  made->member = job->member == PARE__NO_DEVICE ? PARE__NO_JOB : (uint32_t)job->member;
  made->ran_on = PARE__NO_JOB;
  made->flowed = false;
  made->tells = job->tells;
  crew->task[slot] = (pare__policy_task){.kernel = kernel,
                                         .priority = job->priority,
                                         .resources = job->resources ? job->resources : PARE__ON_ANY,
                                         .uneven = job->uneven,
                                         .n = job->n,
                                         .grain = PARE__MAX(PARE__MIN(job->grain, job->n), 1),
                                         .per_step = job->per_step > 0 ? job->per_step : 1,
                                         .nbytes = job->nbytes,
                                         .read_bytes = job->read_bytes,
                                         .barred = crew->kernel[kernel].barred};
  return slot;
}

static pare__job_id id_of(const pare__crew *crew, uint32_t slot) {
  return (pare__job_id)pare__crew_job_at(crew, slot)->generation << 32 | slot;
}

/* The job, if it is not forgotten. */
static pare__crew_job *find_job(const pare__crew *crew, pare__job_id id) {
  const uint32_t slot = (uint32_t)id, generation = (uint32_t)(id >> 32);
  if (slot >= crew->nslots) return NULL;
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  return job->generation == generation && job->phase != PARE__JOB_FREE ? job : NULL;
}

static pare_status check_id(const pare__crew *crew, pare__job_id id) {
  const uint32_t slot = (uint32_t)id, generation = (uint32_t)(id >> 32);
  if (id == 0 || find_job(crew, id) ||
      (slot < crew->nslots && generation > 0 && generation < pare__crew_job_at(crew, slot)->generation))
    return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "there never was a job %llu", (unsigned long long)id);
}

static void add_need(pare__crew *crew, uint32_t slot, pare__job_id need) {
  pare__crew_job *job = find_job(crew, need);
  if (!job) return;
  if (job->phase == PARE__JOB_FAILED)
    pare__crew_fail_after(crew, slot, job->failure);
  else
    pare__crew_add_edge(crew, (uint32_t)need, slot);
}

static pare_status submit(pare__crew *crew, const pare__job *job, const pare__job_id *after, size_t nafter,
                          pare__job_id *out) {
  uint32_t kernel;
  PARE__TRY(check_job(crew, job));
  for (size_t i = 0; i < nafter; i++) PARE__TRY(check_id(crew, after[i]));
  PARE__TRY(pare__crew_reserve(crew, 1, nafter));
  PARE__TRY(find_kernel(crew, job->kernel ? job->kernel : "", &kernel));
  const uint32_t slot = add_job(crew, job, kernel);
  for (size_t i = 0; i < nafter; i++) add_need(crew, slot, after[i]);
  if (out) *out = id_of(crew, slot);
  if (pare__crew_job_at(crew, slot)->missing == 0) pare__crew_ready(crew, slot);
  pare__crew_tell_ended(crew);
  return PARE_OK;
}

pare_status pare__crew_submit(pare__crew *crew, const pare__job *job, const pare__job_id *after, size_t nafter,
                              pare__job_id *out) {
  pare__crew_lock(crew);
  const pare_status status = submit(crew, job, after, nafter, out);
  if (status != PARE_OK && out) *out = 0; /* not before: it may be one of `after` */
  pare__crew_unlock(crew);
  return status;
}

/* ---- graphs ---- */

/* PARE_ERR_ARGUMENT if the jobs need each other in a circle (Kahn 1962). first, space: njobs + 1 zeros, and room for
 * as many. */
static pare_status check_cycles(const pare__job *job, size_t njobs, const size_t *begin, const uint32_t *after) {
  size_t *first = calloc(njobs + 2, sizeof *first), nready = 0;
  uint32_t *missing = malloc((njobs + 1) * sizeof *missing), *ready = malloc((njobs + 1) * sizeof *ready),
           *behind = malloc((begin[njobs] + 1) * sizeof *behind);
  pare_status status = PARE_OK;
  if (!first || !missing || !ready || !behind) {
    status = pare__fail_memory("a graph of jobs", njobs * sizeof *first);
    goto out;
  }
  for (size_t i = 0; i < begin[njobs]; i++) first[after[i] + 2]++;
  for (size_t i = 2; i < njobs + 2; i++) first[i] += first[i - 1];
  for (size_t i = 0; i < njobs; i++) {
    for (size_t k = begin[i]; k < begin[i + 1]; k++) behind[first[after[k] + 1]++] = (uint32_t)i;
    missing[i] = (uint32_t)(begin[i + 1] - begin[i]);
    if (missing[i] == 0) ready[nready++] = (uint32_t)i;
  }
  for (size_t at = 0; at < nready; at++)
    for (size_t k = first[ready[at]]; k < first[ready[at] + 1]; k++)
      if (--missing[behind[k]] == 0) ready[nready++] = behind[k];
  for (size_t i = 0; nready < njobs && i < njobs; i++) {
    if (missing[i] == 0) continue;
    /* Back along needs that are missing, until one comes again: that one lies on the circle. */
    uint32_t at = (uint32_t)i;
    for (size_t steps = 0; steps < njobs; steps++)
      for (size_t k = begin[at]; k < begin[at + 1]; k++)
        if (missing[after[k]] > 0) {
          at = after[k];
          break;
        }
    status = pare__fail(PARE_ERR_ARGUMENT, "job %u '%.60s' needs itself, by way of those that it needs", at,
                        job[at].name ? job[at].name : "");
    break;
  }
out:
  free(first);
  free(missing);
  free(ready);
  free(behind);
  return status;
}

/* Tells the policy of all, if it plans and nothing else is there that its plan would not know. */
static pare_status plan(pare__crew *crew, size_t njobs, const size_t *begin, const uint32_t *after) {
  struct pare__policy_need *need = malloc((begin[njobs] + 1) * sizeof *need);
  if (!need) return pare__fail_memory("a plan", begin[njobs] * sizeof *need);
  for (size_t i = 0; i < begin[njobs]; i++) {
    const pare__policy_task *from = &crew->task[after[i]];
    need[i] = (struct pare__policy_need){after[i], PARE__MAX(from->nbytes - from->read_bytes, 0)};
  }
  const pare__policy_graph graph = {njobs, begin, need};
  const pare_status status = pare__policy_plan(crew->policy, &graph);
  free(need);
  return status;
}

static pare_status submit_graph(pare__crew *crew, const pare__job *job, size_t njobs, const size_t *begin,
                                const uint32_t *after, uint32_t *slot) {
  const bool plans = crew->plans && crew->pending == 0 && crew->failed_first == PARE__NO_JOB;
  PARE__TRY(pare__crew_reserve(crew, njobs, begin[njobs]));
  for (size_t i = 0; i < njobs; i++) {
    PARE__TRY(check_job(crew, &job[i]));
    PARE__TRY(find_kernel(crew, job[i].kernel ? job[i].kernel : "", &slot[i]));
  }
  if (plans) pare__crew_order_slots(crew);
  for (size_t i = 0; i < njobs; i++) slot[i] = add_job(crew, &job[i], slot[i]);
  for (size_t i = 0; plans && i < njobs; i++) /* what a plan shall know is found again when they are ready */
    if (job[i].least > 0) crew->task[slot[i]].grain = pare__crew_choose_grain(crew, slot[i]);
  /* A plan is a help: without memory for it jobs go where they end first. */
  if (plans) (void)plan(crew, njobs, begin, after);
  for (size_t i = 0; i < njobs; i++)
    for (size_t k = begin[i]; k < begin[i + 1]; k++) pare__crew_add_edge(crew, slot[after[k]], slot[i]);
  /* Those that end at once make others ready: each only once. */
  for (size_t i = 0; i < njobs; i++) pare__crew_job_at(crew, slot[i])->missing++;
  for (size_t i = 0; i < njobs; i++)
    if (--pare__crew_job_at(crew, slot[i])->missing == 0) pare__crew_ready(crew, slot[i]);
  return PARE_OK;
}

pare_status pare__crew_submit_graph(pare__crew *crew, const pare__job *job, size_t njobs, const size_t *begin,
                                    const uint32_t *after, pare__job_id *out) {
  for (size_t i = 0; i < begin[njobs]; i++)
    if (after[i] >= njobs)
      return pare__fail(PARE_ERR_ARGUMENT, "a graph of %zu jobs: one needs job %u", njobs, after[i]);
  PARE__TRY(check_cycles(job, njobs, begin, after));
  uint32_t *slot = malloc((njobs + 1) * sizeof *slot);
  if (!slot) return pare__fail_memory("a graph of jobs", njobs * sizeof *slot);
  pare__crew_lock(crew);
  const pare_status status = submit_graph(crew, job, njobs, begin, after, slot);
  for (size_t i = 0; out && i < njobs; i++) out[i] = status == PARE_OK ? id_of(crew, slot[i]) : 0;
  if (status == PARE_OK) pare__crew_tell_ended(crew);
  pare__crew_unlock(crew);
  free(slot);
  return status;
}

/* ---- waiting ---- */

static pare_status check_may_wait(const pare__crew *crew, const char *what) {
  if (!pare__crew_is_inside(crew)) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s from inside of a job would never end", what);
}

pare_status pare__crew_wait(pare__crew *crew, pare__job_id id) {
  PARE__TRY(check_may_wait(crew, "waiting for a job"));
  pare__crew_failure *failure = NULL;
  pare__crew_job *job;
  pare__crew_lock(crew);
  pare_status status = check_id(crew, id);
  crew->waiters++;
  while (status == PARE_OK && (job = find_job(crew, id)) && job->phase != PARE__JOB_FAILED) {
    job->waited = true;
    pthread_cond_wait(&crew->progress, &crew->lock);
  }
  crew->waiters--;
  if (status == PARE_OK && find_job(crew, id)) failure = pare__crew_take_failure(crew, (uint32_t)id);
  if (failure) {
    status = pare__crew_raise(failure);
    pare__crew_failure_release(failure);
  }
  pare__crew_unlock(crew);
  return status;
}

pare_status pare__crew_wait_all(pare__crew *crew) {
  PARE__TRY(check_may_wait(crew, "waiting for all jobs"));
  pare_status status = PARE_OK;
  pare__crew_lock(crew);
  crew->waiters++;
  while (crew->pending > 0) pthread_cond_wait(&crew->progress, &crew->lock);
  crew->waiters--;
  while (crew->failed_first != PARE__NO_JOB) {
    pare__crew_failure *failure = pare__crew_take_failure(crew, crew->failed_first);
    if (status == PARE_OK) status = pare__crew_raise(failure);
    pare__crew_failure_release(failure);
  }
  pare__crew_unlock(crew);
  return status;
}
