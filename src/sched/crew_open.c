/* A crew comes and goes. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "sched/crew_state.h"

/* ---- release ---- */

static void release_jobs(pare__crew *crew) {
  while (crew->failed_first != PARE__NO_JOB)
    pare__crew_failure_release(pare__crew_take_failure(crew, crew->failed_first));
  for (size_t i = 0; i < crew->nchunks; i++) free(crew->chunk[i]);
  free(crew->chunk);
  free(crew->task);
  free(crew->edge);
  for (size_t i = 0; i < crew->nkernels; i++) free(crew->kernel[i].count);
  free(crew->kernel);
}

static void release(pare__crew *crew) {
  release_jobs(crew);
  pare__policy_close(crew->policy);
  pare__performance_close(crew->performance);
  pare__crew_energy_close(crew->energy);
  for (size_t i = 0; crew->member && i < crew->nmembers; i++) {
    pare__crew_worker *worker = &crew->member[i];
    pare__policy_queue_close(&worker->pinned);
    pthread_cond_destroy(&worker->wake);
    free(worker->name);
    free(worker->key);
    free(worker->why);
  }
  free(crew->member);
  free(crew->performance_path);
  pthread_cond_destroy(&crew->progress);
  pthread_cond_destroy(&crew->tick);
  pthread_mutex_destroy(&crew->lock);
  free(crew);
}

void pare__crew_let_go(pare__crew *crew) {
  pare__crew_lock(crew);
  const bool last = --crew->nthreads == 0;
  pare__crew_unlock(crew);
  if (last) release(crew);
}

/* ---- opening ---- */

static size_t find_local(void *user, uint32_t task, pare__policy_local out[PARE__MOST_LOCAL]) {
  pare__crew *crew = user;
  const pare__crew_job *job = pare__crew_job_at(crew, task);
  if (job->local) return job->local(job->argument, out);
  return crew->options.local ? crew->options.local(crew->options.user, job->argument, out) : 0;
}

static pare_status open_members(pare__crew *crew, const pare__crew_member *member, size_t nmembers) {
  crew->member = calloc(nmembers, sizeof *crew->member);
  if (!crew->member) return pare__fail_memory("a crew", nmembers * sizeof *crew->member);
  crew->nmembers = nmembers;
  for (size_t i = 0; i < nmembers; i++) {
    pare__crew_worker *worker = &crew->member[i];
    worker->crew = crew;
    worker->index = i;
    worker->is_group = member[i].is_group;
    worker->traced_as = crew->options.shared_as ? crew->options.shared_as[i] : crew->options.shared_first + i;
    pthread_cond_init(&worker->wake, NULL);
    atomic_init(&worker->asked, false);
    crew->resources |= member[i].seen.resource;
  }
  for (size_t i = 0; i < nmembers; i++) {
    pare__crew_worker *worker = &crew->member[i];
    worker->name = pare__strdup(member[i].name ? member[i].name : "");
    worker->key = pare__strdup(member[i].key ? member[i].key : "");
    if (!worker->name || !worker->key) return pare__fail_memory("names of devices", 0);
  }
  return PARE_OK;
}

/* The keys of all members; NULL without memory. */
static const char **keys_of(const pare__crew *crew) {
  const char **key = malloc(crew->nmembers * sizeof *key);
  for (size_t i = 0; key && i < crew->nmembers; i++) key[i] = crew->member[i].key;
  return key;
}

static pare_status open_models(pare__crew *crew, const pare__crew_member *member) {
  double *weight = malloc(crew->nmembers * sizeof *weight);
  if (!weight) return pare__fail_memory("weights of devices", crew->nmembers * sizeof *weight);
  for (size_t i = 0; i < crew->nmembers; i++) weight[i] = member[i].weight > 0 ? member[i].weight : 1;
  pare_status status = pare__performance_open(crew->nmembers, weight, &crew->performance);
  free(weight);
  if (status == PARE_OK) status = pare__performance_kernel(crew->performance, "transfer (bytes)", &crew->copies);
  if (status != PARE_OK || !crew->options.performance) return status;
  crew->performance_path = pare__strdup(crew->options.performance);
  const char **key = keys_of(crew);
  status = key && crew->performance_path ? pare__performance_read(crew->performance, crew->performance_path, key)
                                         : pare__fail_memory("performance models", 0);
  free(key);
  return status;
}

static pare_status open_policy(pare__crew *crew, const pare__crew_member *member) {
  const pare__policy_options options = {.weights = crew->options.weights,
                                        .tasks = (const pare__policy_task *const *)&crew->task,
                                        .local = find_local,
                                        .user = crew};
  const pare__policy_class *isa = crew->options.policy ? crew->options.policy : pare__policies[0];
  pare__policy_device *seen = malloc(crew->nmembers * sizeof *seen);
  if (!seen) return pare__fail_memory("devices of a policy", crew->nmembers * sizeof *seen);
  for (size_t i = 0; i < crew->nmembers; i++) {
    seen[i] = member[i].seen;
    seen[i].divides = member[i].is_group;
  }
  crew->plans = isa->plan != NULL;
  const pare_status status = pare__policy_open(isa, seen, crew->nmembers, crew->performance, &options, &crew->policy);
  free(seen);
  crew->options.weights = NULL; /* the caller's */
  for (size_t i = 0; i < crew->nmembers && status == PARE_OK; i++) pare__crew_use_copies(crew, i);
  return status;
}

/* Its own, or one that it shares with others. */
static pare_status open_trace(pare__crew *crew) {
  crew->trace = crew->options.shared;
  if (!crew->trace && crew->options.trace) {
    PARE__TRY(pare__trace_open(crew->options.trace, &crew->trace));
    for (size_t i = 0; i < crew->nmembers; i++) pare__trace_device(crew->trace, (unsigned)i, crew->member[i].name);
  }
  if (crew->trace) crew->traced_from = pare__trace_opened(crew->trace);
  return PARE_OK;
}

/* Ends the threads that there are; none has work. */
static void end_threads(pare__crew *crew) {
  pare__crew_lock(crew);
  crew->stopping = true;
  crew->ticking = false;
  pthread_cond_signal(&crew->tick);
  for (size_t i = 0; i < crew->nmembers; i++) pthread_cond_signal(&crew->member[i].wake);
  pare__crew_unlock(crew);
  if (crew->has_watchdog) pthread_join(crew->watchdog, NULL);
  for (size_t i = 0; i < crew->nmembers; i++) {
    pare__crew_worker *worker = &crew->member[i];
    if (!worker->started) continue;
    pare__crew_lock(crew);
    const bool hangs = worker->abandoned && !worker->ended;
    pare__crew_unlock(crew);
    if (hangs)
      pthread_detach(worker->thread);
    else
      pthread_join(worker->thread, NULL);
  }
}

static pare_status start_threads(pare__crew *crew) {
  int error = 0;
  for (size_t i = 0; i < crew->nmembers && error == 0; i++) {
    crew->nthreads++;
    error = pthread_create(&crew->member[i].thread, NULL, pare__crew_work, &crew->member[i]);
    crew->member[i].started = error == 0;
    if (error) crew->nthreads--;
  }
  if (error == 0 && crew->options.stall_seconds > 0) {
    crew->ticking = true;
    error = pthread_create(&crew->watchdog, NULL, pare__crew_watch, crew);
    crew->has_watchdog = error == 0;
  }
  return error == 0 ? PARE_OK : pare__fail(PARE_ERR_MEMORY, "cannot start a thread: %s", strerror(error));
}

static void open_locks(pare__crew *crew) {
  pthread_condattr_t condition;
  pthread_mutex_init(&crew->lock, NULL);
  pthread_condattr_init(&condition);
  pthread_condattr_setclock(&condition, CLOCK_MONOTONIC);
  pthread_cond_init(&crew->progress, NULL);
  pthread_cond_init(&crew->tick, &condition);
  pthread_condattr_destroy(&condition);
}

pare_status pare__crew_open(const pare__crew_member *member, size_t nmembers, const pare__crew_options *options,
                            pare__crew **out) {
  *out = NULL;
  if (nmembers == 0) return pare__fail(PARE_ERR_ARGUMENT, "a crew without devices");
  pare__crew *crew = calloc(1, sizeof *crew);
  if (!crew) return pare__fail_memory("a crew", sizeof *crew);
  open_locks(crew);
  if (options) crew->options = *options;
  crew->nthreads = 1;
  crew->free_job = crew->ended_first = crew->ended_last = crew->failed_first = crew->failed_last = PARE__NO_JOB;
  crew->free_edge = PARE__NO_EDGE;
  crew->opened = pare__seconds();
  pare_status status = open_members(crew, member, nmembers);
  if (status == PARE_OK) status = open_models(crew, member);
  if (status == PARE_OK) status = open_policy(crew, member);
  if (status == PARE_OK) status = open_trace(crew);
  crew->energy = pare__crew_energy_open(crew->options.powercap);
  if (status == PARE_OK) status = start_threads(crew);
  if (status != PARE_OK) {
    end_threads(crew);
    if (!crew->options.shared) pare__trace_cancel(crew->trace);
    release(crew);
    return status;
  }
  *out = crew;
  return PARE_OK;
}

/* ---- closing ---- */

static void write_models(const pare__crew *crew) {
  const char **key = keys_of(crew);
  if (!key || pare__performance_write(crew->performance, crew->performance_path, key) != PARE_OK)
    pare__log(PARE_LOG_WARN, "performance models are lost: %s", key ? pare_message() : "out of memory");
  free(key);
}

pare_status pare__crew_close(pare__crew *crew) {
  if (!crew) return PARE_OK;
  if (pare__crew_is_inside(crew))
    return pare__fail(PARE_ERR_ARGUMENT, "closing a crew from inside of one of its jobs would never end");
  pare__crew_lock(crew);
  crew->waiters++;
  while (crew->pending > 0) pthread_cond_wait(&crew->progress, &crew->lock);
  crew->waiters--;
  pare__crew_unlock(crew);
  end_threads(crew);
  /* What hangs may still come back, and must find nothing to write to. */
  pare__crew_lock(crew);
  pare__trace *trace = crew->options.shared ? NULL : crew->trace;
  crew->trace = NULL;
  if (crew->performance_path) write_models(crew);
  pare__crew_unlock(crew);
  const pare_status status = pare__trace_close(trace);
  pare__crew_let_go(crew);
  return status;
}
