/* A crew's threads: what a member does, how one is lost, the watchdog. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ocl/ocl.h"
#include "sched/crew_state.h"

#define LOCK_LOOKS 12       /* at a lock that somebody has, each twice as late as the one before */
#define MOST_LOCK_SPINS 128 /* between two of them; together as long as it takes to sleep and be woken */
#define SPINS 400           /* looks at its flag before it sleeps: work that comes at once finds it awake */
#define LEARN_EVERY 50e-6   /* seconds: pieces shorter than that are not all worth what learning costs */

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() atomic_signal_fence(memory_order_seq_cst)
#endif

/* ---- the lock ---- */

/* With a bounded exponential backoff (Anderson 1990). It is held for less than a microsecond, but who comes at once to
 * take it gets the lines of the cache that all is on as well, and for jobs that do next to nothing these then go from
 * core to core more slowly than the jobs run: whoever has it had better do several in a row. */
void pare__crew_lock_later(pare__crew *crew) {
  for (int look = 0, spins = 1; look < LOCK_LOOKS; look++) {
    for (int i = 0; i < spins; i++) RELAX();
    spins = PARE__MIN(2 * spins, MOST_LOCK_SPINS);
    if (pthread_mutex_trylock(&crew->lock) == 0) return;
  }
  pthread_mutex_lock(&crew->lock);
}

/* ---- asking ---- */

static void ask_one(pare__crew_worker *worker) {
  if (atomic_load_explicit(&worker->asked, memory_order_relaxed)) return;
  atomic_store_explicit(&worker->asked, true, memory_order_release);
  if (worker->asleep) pthread_cond_signal(&worker->wake);
}

void pare__crew_ask(pare__crew *crew, size_t member) {
  if (member == PARE__NO_DEVICE) return;
  if (member != PARE__EVERY_DEVICE) {
    ask_one(&crew->member[member]);
    return;
  }
  for (size_t i = 0; i < crew->nmembers; i++) ask_one(&crew->member[i]);
}

pare_status pare__crew_pin(pare__crew *crew, size_t member, const pare__policy_piece *piece) {
  pare__crew_worker *worker = &crew->member[member];
  const double key = crew->now - crew->task[piece->task].priority * crew->policy->options.ageing_seconds;
  PARE__TRY(pare__policy_push(&worker->pinned, key, crew->order++, piece));
  pare__crew_ask(crew, member);
  return PARE_OK;
}

/* Waits until it is asked. */
static void rest(pare__crew *crew, pare__crew_worker *worker) {
  pare__crew_unlock(crew);
  for (int i = 0; i < SPINS && !atomic_load_explicit(&worker->asked, memory_order_acquire); i++) RELAX();
  pare__crew_lock(crew);
  worker->asleep = true;
  while (!atomic_load_explicit(&worker->asked, memory_order_relaxed) && !crew->stopping && !worker->lost)
    pthread_cond_wait(&worker->wake, &crew->lock);
  worker->asleep = false;
  crew->now = pare__seconds();
}

/* ---- pieces ---- */

static bool is_probe(const pare__crew *crew, const pare__crew_flight *flight) {
  return flight->pinned && pare__crew_job_at(crew, flight->piece.task)->member == PARE__NO_JOB;
}

/* Where it was to run it will not. If its job failed meanwhile, it runs nowhere. */
static void place_again(pare__crew *crew, const pare__crew_flight *flight) {
  const pare__policy_piece *piece = &flight->piece;
  const bool probe = is_probe(crew, flight);
  pare__crew_place(crew, piece->task, piece->begin, piece->end);
  if (probe) pare__crew_probed(crew, piece->task);
}

/* One more piece in flight, if there is one for it. */
static bool take(pare__crew *crew, pare__crew_worker *worker) {
  pare__crew_flight *flight = &worker->flight[worker->count];
  for (;;) {
    pare__policy_entry entry;
    size_t wake = PARE__NO_DEVICE;
    *flight = (pare__crew_flight){.pinned = pare__policy_pop(&worker->pinned, &entry)};
    if (flight->pinned) {
      flight->piece = entry.piece;
      pare__policy_count(crew->policy, worker->index, &flight->piece, crew->now);
    } else if (!pare__policy_chunk(crew->policy, worker->index, crew->now, &flight->piece, &wake)) {
      pare__crew_ask(crew, wake);
      if (wake == PARE__NO_DEVICE) return false;
      continue;
    }
    pare__crew_ask(crew, wake);
    pare__policy_task *task = &crew->task[flight->piece.task];
    task->barred |= crew->kernel[task->kernel].barred;
    if (!pare__crew_job_at(crew, flight->piece.task)->failure && !pare__policy_barred(task, worker->index)) break;
    (void)pare__policy_complete(crew->policy, worker->index, &flight->piece, crew->now, NAN, &wake);
    pare__crew_ask(crew, wake);
    place_again(crew, flight);
  }
  worker->count++;
  return true;
}

/* Once for each kernel and device it is news. */
static void tell_refused(pare__crew *crew, const pare__crew_worker *worker, uint32_t kernel, const char *text) {
  pare__crew_frame frame;
  const uint64_t bit = UINT64_C(1) << worker->index;
  const bool news = !(crew->kernel[kernel].told & bit);
  crew->kernel[kernel].told |= bit;
  pare__crew_unlock(crew);
  pare__crew_enter(&frame, crew);
  pare__log(news ? PARE_LOG_WARN : PARE_LOG_DEBUG, "%s", text);
  pare__crew_leave(&frame);
  pare__crew_lock(crew);
}

/* The member could not run it: others try. */
static void give_to_others(pare__crew *crew, const pare__crew_worker *worker, const pare__crew_flight *flight) {
  const uint32_t slot = flight->piece.task, kernel = crew->task[slot].kernel;
  char *text = pare__format("%s cannot run '%s': %s; it runs elsewhere", worker->name, pare__crew_job_name(crew, slot),
                            pare_message());
  place_again(crew, flight);
  if (text && !pare__crew_job_at(crew, slot)->failure) tell_refused(crew, worker, kernel, text);
  free(text);
}

/* It ran, or failed for good. */
static void end_piece(pare__crew *crew, pare__crew_worker *worker, size_t index, pare_status status) {
  const pare__crew_flight flight = worker->flight[index];
  const uint32_t slot = flight.piece.task;
  const double from = fmax(flight.began, worker->settled_at),
               until = flight.back > 0 ? fmin(flight.back, crew->now) : crew->now,
               seconds = fmax(until - from - flight.copied, 0);
  size_t wake = PARE__NO_DEVICE;
  const bool refused = status != PARE_ERR_DEVICE && pare__crew_refuse(crew, worker->index, slot, status);
  if (status == PARE_ERR_DEVICE || (!refused && pare__of_device(status) && worker->index >= PARE__MOST_BARRED)) {
    pare__crew_retire(crew, worker->index, pare_message(), true);
    return;
  }
  pare__crew_energy_keep_up(crew->energy, crew->now);
  if (index + 1 < worker->count) worker->flight[index] = worker->flight[index + 1];
  worker->count--;
  worker->settled_at = until;
  pare__crew_note_active(worker, from, until);
  pare__crew_count *count = pare__crew_count_of(crew, slot, worker->index);
  count->busy_seconds += seconds;
  count->pieces += !refused;
  if (status != PARE_OK && !refused) pare__crew_fail(crew, slot, status, pare_message());
  const size_t line = pare__performance_at(crew->performance, crew->task[slot].kernel, worker->index);
  const bool learn = status == PARE_OK && !flight.untimed &&
                     (crew->now - worker->learned_at > LEARN_EVERY || !crew->performance->samples[line]);
  if (learn) worker->learned_at = crew->now;
  (void)pare__policy_complete(crew->policy, worker->index, &flight.piece, crew->now, learn ? seconds : NAN, &wake);
  pare__crew_ask(crew, wake);
  if (crew->trace && !worker->is_group) pare__crew_trace_piece(crew, worker, &flight, from, until);
  if (refused) {
    give_to_others(crew, worker, &flight);
    return;
  }
  if (is_probe(crew, &flight) && !(flight.untimed && pare__crew_probe_again(crew, worker->index, &flight.piece)))
    pare__crew_probed(crew, slot);
  pare__crew_ran(crew, slot, flight.piece.end - flight.piece.begin);
}

/* Calls `run` of the last flight, or `settle` of the first. */
static void call(pare__crew *crew, pare__crew_worker *worker, bool settle) {
  const size_t index = settle ? 0 : worker->count - 1;
  pare__crew_flight *flight = &worker->flight[index];
  const pare__crew_job *job = pare__crew_job_at(crew, flight->piece.task);
  pare_status (*function)(void *, size_t, int64_t, int64_t) = settle ? job->settle : job->run;
  void *argument = job->argument;
  const int64_t begin = flight->piece.begin, end = flight->piece.end;
  const bool later = !settle && job->settle;
  if (!settle) {
    flight->began = crew->now;
    pare__crew_count_of(crew, flight->piece.task, worker->index)->wait_seconds += crew->now - job->since;
  }
  worker->in_call = true;
  worker->settling = settle;
  worker->call_since = crew->now;
  worker->calls++;
  pare__crew_unlock(crew);
  const uint64_t preparations = pare__preparations();
  const pare_status status = function(argument, worker->index, begin, end);
  const bool prepared = pare__preparations() != preparations;
  pare__crew_lock(crew);
  worker->in_call = worker->claimed = false;
  crew->preparations += prepared;
  for (size_t i = 0; i < worker->count && prepared; i++) worker->flight[i].untimed = true;
  if (worker->abandoned) return; /* it runs elsewhere: what was done here does not count */
  if (!later || status != PARE_OK) end_piece(crew, worker, index, status);
}

void pare__crew_finished(pare__crew *crew, size_t member) {
  pare__crew_worker *worker = &crew->member[member];
  pare__crew_lock(crew);
  if (!worker->abandoned && worker->in_call && !worker->settling) worker->flight[worker->count - 1].finished = true;
  pare__crew_unlock(crew);
}

void pare__crew_worked(pare__crew *crew, size_t member) {
  pare__crew_worker *worker = &crew->member[member];
  pare__crew_lock(crew);
  if (!worker->abandoned && worker->in_call && worker->settling && !(worker->flight[0].back > 0))
    worker->flight[0].back = crew->now;
  pare__crew_unlock(crew);
}

bool pare__crew_claim(pare__crew *crew, size_t member) {
  pare__crew_worker *worker = &crew->member[member];
  pare__crew_lock(crew);
  worker->claimed = !worker->abandoned;
  const bool claimed = worker->claimed;
  pare__crew_unlock(crew);
  return claimed;
}

void pare__crew_unclaim(pare__crew *crew, size_t member) {
  pare__crew_lock(crew);
  crew->member[member].claimed = false;
  pare__crew_unlock(crew);
}

void *pare__crew_work(void *argument) {
  pare__crew_worker *worker = argument;
  pare__crew *crew = worker->crew;
  pare__crew_frame frame;
  pare__thread_be_prompt();
  pare__crew_enter(&frame, crew);
  pare__crew_lock(crew);
  for (;;) {
    pare__crew_tell_ended(crew);
    if (worker->lost && worker->count == 0) break;
    atomic_store_explicit(&worker->asked, false, memory_order_relaxed);
    const bool done = worker->count > 0 && worker->flight[0].finished;
    if (!worker->lost && !done && worker->count < PARE__IN_FLIGHT && take(crew, worker))
      call(crew, worker, false);
    else if (worker->count > 0)
      call(crew, worker, true);
    else if (crew->ended_first == PARE__NO_JOB && crew->stopping)
      break;
    else if (crew->ended_first == PARE__NO_JOB)
      rest(crew, worker);
  }
  worker->ended = true;
  pare__crew_unlock(crew);
  pare__crew_leave(&frame);
  pare__crew_let_go(crew);
  return NULL;
}

/* ---- loss ---- */

/* What the policy could place nowhere any more. */
static void strand_all(pare__crew *crew) {
  pare__policy_entry entry;
  while (pare__policy_pop(&crew->policy->pool[0], &entry)) {
    pare__crew_strand(crew, entry.piece.task);
    pare__crew_ran(crew, entry.piece.task, entry.piece.end - entry.piece.begin);
  }
}

/* What it has in flight will not end there. If it is in a call, that one will not come back. */
static void give_back(pare__crew *crew, pare__crew_worker *worker) {
  pare__crew_flight flight[PARE__IN_FLIGHT];
  const size_t count = worker->count;
  memcpy(flight, worker->flight, count * sizeof *flight);
  worker->abandoned = worker->in_call;
  worker->count = 0;
  for (size_t i = 0; i < count; i++) place_again(crew, &flight[i]);
}

static void tell_lost(pare__crew *crew, const pare__crew_worker *worker) {
  pare__crew_frame frame;
  const size_t left = crew->nmembers - crew->nlost;
  char alone[60] = "no device is left";
  if (crew->options.group > 0) snprintf(alone, sizeof alone, "no device of group %u is left", crew->options.group);
  char *text = pare__format("%s is lost: %s; %s", worker->name, worker->why ? worker->why : "out of memory",
                            left > 0 ? "its work runs elsewhere" : alone);
  pare__crew_unlock(crew);
  pare__crew_enter(&frame, crew);
  const char *message = text ? text : "a device is lost";
  if (crew->options.lost)
    crew->options.lost(crew->options.user, worker->index, message);
  else
    pare__log(PARE_LOG_WARN, "%s", message);
  pare__crew_leave(&frame);
  free(text);
  pare__crew_lock(crew);
}

void pare__crew_retire(pare__crew *crew, size_t member, const char *why, bool failed) {
  pare__crew_worker *worker = &crew->member[member];
  if (worker->lost) {
    if (failed && !worker->abandoned) give_back(crew, worker);
    return;
  }
  worker->lost = true;
  worker->why = pare__strdup(why);
  crew->nlost++;
  /* Those that are left try everything again: there may be nobody else for it now. */
  for (size_t i = 0; i < crew->nkernels; i++) crew->kernel[i].barred = 0;
  pare__policy_queue pinned = worker->pinned;
  pare__policy_entry entry;
  worker->pinned = (pare__policy_queue){0};
  (void)pare__policy_lost(crew->policy, member, crew->now);
  if (failed) give_back(crew, worker);
  while (pare__policy_pop(&pinned, &entry)) {
    const pare__crew_flight waited = {.piece = entry.piece, .pinned = true};
    place_again(crew, &waited);
  }
  pare__policy_queue_close(&pinned);
  strand_all(crew);
  pare__crew_ask(crew, PARE__EVERY_DEVICE);
  if (crew->trace && !worker->is_group)
    pare__trace_mark(crew->trace, (unsigned)worker->traced_as, "lost", crew->now - crew->traced_from);
  tell_lost(crew, worker);
}

void pare__crew_lose(pare__crew *crew, size_t member, const char *why) {
  if (member >= crew->nmembers) return;
  pare__crew_lock(crew);
  pare__crew_retire(crew, member, why ? why : "given up", false);
  pare__crew_tell_ended(crew);
  pare__crew_unlock(crew);
}

/* ---- the watchdog ---- */

/* How long a member has been in its call. A tick counts for one pause however long it took: when the whole process was
 * stopped, nothing stalled. */
static bool has_stalled(pare__crew_worker *worker, double pause, double limit) {
  if (!worker->in_call || worker->claimed || worker->watched != worker->calls) worker->stalled = 0;
  worker->watched = worker->calls;
  if (!worker->in_call || worker->claimed || worker->abandoned || worker->is_group) return false;
  worker->stalled += pause;
  return worker->stalled > limit;
}

static void pause_watch(pare__crew *crew, double seconds) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  const double nanoseconds = (double)until.tv_nsec + fmod(seconds, 1) * 1e9;
  until.tv_sec += (time_t)seconds + (nanoseconds >= 1e9);
  until.tv_nsec = (long)(nanoseconds - (nanoseconds >= 1e9 ? 1e9 : 0));
  pthread_cond_timedwait(&crew->tick, &crew->lock, &until);
  crew->now = pare__seconds();
}

void *pare__crew_watch(void *argument) {
  pare__crew *crew = argument;
  const double limit = crew->options.stall_seconds, pause = fmin(limit / 8, 1);
  pare__crew_frame frame;
  pare__crew_enter(&frame, crew);
  pare__crew_lock(crew);
  while (crew->ticking) {
    pause_watch(crew, pause);
    for (size_t i = 0; i < crew->nmembers && crew->ticking; i++) {
      char why[80];
      if (!has_stalled(&crew->member[i], pause, limit)) continue;
      (void)snprintf(why, sizeof why, "no progress for %.3g s", crew->member[i].stalled);
      pare__crew_retire(crew, i, why, true);
    }
    pare__crew_tell_ended(crew);
  }
  pare__crew_unlock(crew);
  pare__crew_leave(&frame);
  return NULL;
}
