/* What a crew saw and what it is doing: counters, slices of the trace, text. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/crew_state.h"

/* ---- latencies: a histogram of sixteen buckets an octave, from 2^-32 seconds ---- */

#define BUCKETS_AN_OCTAVE 16
#define LEAST_OCTAVE (-32)

void pare__crew_note_latency(pare__crew *crew, double seconds) {
  int octave;
  const double part = frexp(fmax(seconds, 1e-12), &octave); /* [0.5, 1) */
  const int64_t bucket =
      (int64_t)(octave - LEAST_OCTAVE) * BUCKETS_AN_OCTAVE + (int64_t)((part - 0.5) * 2 * BUCKETS_AN_OCTAVE);
  crew->latency[pare__i64_clamp(bucket, 0, PARE__LATENCY_BUCKETS - 1)]++;
}

/* The middle of the bucket that holds it: within 4%. */
static double latency_at(const pare__crew *crew, double share) {
  uint64_t all = 0, seen = 0;
  for (size_t i = 0; i < PARE__LATENCY_BUCKETS; i++) all += crew->latency[i];
  for (size_t i = 0; i < PARE__LATENCY_BUCKETS; i++) {
    seen += crew->latency[i];
    if (all > 0 && (double)seen >= share * (double)all) {
      const double part = ((double)(i % BUCKETS_AN_OCTAVE) + 0.5) / (2 * BUCKETS_AN_OCTAVE) + 0.5;
      return ldexp(part, (int)(i / BUCKETS_AN_OCTAVE) + LEAST_OCTAVE);
    }
  }
  return 0;
}

/* ---- counters ---- */

static pare_device_stats sum_kernels(const pare__crew *crew, size_t member, double elapsed) {
  const pare__crew_worker *worker = &crew->member[member];
  pare_device_stats sum = {.name = worker->name, .lost = worker->lost, .copied_bytes = worker->copied_bytes};
  for (size_t k = 0; k < crew->nkernels; k++) {
    const pare__crew_count *count = &crew->kernel[k].count[member];
    sum.busy_seconds += count->busy_seconds;
    sum.copy_seconds += count->copy_seconds;
    sum.wait_seconds += count->wait_seconds;
    sum.pieces += count->pieces;
  }
  sum.idle_seconds = fmax(elapsed - worker->active, 0);
  sum.price = sum.busy_seconds / 3600 * crew->policy->device[member].price_per_hour;
  return sum;
}

/* Measured if the counters are of one device alone; shared by busy time, or from watts, it is an estimate. */
void pare__share_joules(const pare__policy_device *seen, size_t ndevices, double elapsed, double counted,
                        pare_device_stats *device) {
  double busy = 0;
  size_t ncpus = 0;
  for (size_t i = 0; i < ndevices; i++) {
    if (seen[i].resource != PARE__ON_CPU) continue;
    busy += device[i].busy_seconds;
    ncpus++;
  }
  for (size_t i = 0; i < ndevices; i++) {
    pare_device_stats *out = &device[i];
    out->joules = -1;
    if (seen[i].busy_watts > 0) {
      out->joules = out->busy_seconds * seen[i].busy_watts + (elapsed - out->busy_seconds) * seen[i].idle_watts;
      out->joules_estimated = true;
    } else if (counted >= 0 && seen[i].resource == PARE__ON_CPU) {
      const double share = ncpus == 1 ? 1 : busy > 0 ? out->busy_seconds / busy : 1 / (double)ncpus;
      out->joules = share * counted;
      out->joules_estimated = ncpus > 1;
    }
  }
}

double pare__crew_joules(pare__crew *crew) {
  pare__crew_lock(crew);
  const double joules = crew->energy ? pare__crew_energy_joules(crew->energy) : -1;
  pare__crew_unlock(crew);
  return joules;
}

static int by_busy_time(const void *a, const void *b) {
  const pare_kernel_stats *x = a, *y = b;
  return (x->busy_seconds < y->busy_seconds) - (x->busy_seconds > y->busy_seconds);
}

static pare_status list_kernels(const pare__crew *crew, pare_schedule_stats *out) {
  const size_t most = crew->nkernels * crew->nmembers;
  out->kernel = calloc(most + 1, sizeof *out->kernel);
  if (!out->kernel) return pare__fail_memory("counters of kernels", most * sizeof *out->kernel);
  for (size_t k = 0; k < crew->nkernels; k++)
    for (size_t i = 0; i < crew->nmembers; i++) {
      const pare__crew_count *count = &crew->kernel[k].count[i];
      if (count->pieces == 0) continue;
      out->kernel[out->nkernels++] = (pare_kernel_stats){.kernel = crew->performance->kernel[k],
                                                         .device = i,
                                                         .busy_seconds = count->busy_seconds,
                                                         .copy_seconds = count->copy_seconds,
                                                         .wait_seconds = count->wait_seconds,
                                                         .pieces = count->pieces};
    }
  qsort(out->kernel, out->nkernels, sizeof *out->kernel, by_busy_time);
  return PARE_OK;
}

pare_status pare__crew_stats(pare__crew *crew, pare_schedule_stats *out) {
  *out = (pare_schedule_stats){0};
  pare_device_stats *device = calloc(crew->nmembers, sizeof *device);
  if (!device) return pare__fail_memory("counters of devices", crew->nmembers * sizeof *device);
  pare__crew_lock(crew);
  const double elapsed = crew->now - crew->opened;
  *out = (pare_schedule_stats){.elapsed_seconds = elapsed,
                               .jobs = crew->njobs,
                               .moved = crew->policy->moves,
                               .relearned = crew->performance->relearned,
                               .latency_p50 = latency_at(crew, 0.50),
                               .latency_p95 = latency_at(crew, 0.95),
                               .latency_p99 = latency_at(crew, 0.99),
                               .ndevices = crew->nmembers,
                               .device = device};
  for (size_t i = 0; i < crew->nmembers; i++) {
    device[i] = sum_kernels(crew, i, elapsed);
    out->pieces += device[i].pieces;
  }
  pare__share_joules(crew->policy->device, crew->nmembers, elapsed,
                     crew->energy ? pare__crew_energy_joules(crew->energy) : -1, device);
  const pare_status status = list_kernels(crew, out);
  pare__crew_unlock(crew);
  if (status != PARE_OK) pare_schedule_stats_close(out);
  return status;
}

void pare__crew_lines(pare__crew *crew, const char *kernel, pare__crew_line *line) {
  pare__crew_lock(crew);
  const pare__performance *performance = crew->performance;
  size_t index = 0;
  while (index < performance->nkernels && strcmp(performance->kernel[index], kernel) != 0) index++;
  for (size_t i = 0; i < crew->nmembers; i++) {
    line[i] = (pare__crew_line){.lost = crew->member[i].lost};
    if (index == performance->nkernels) continue;
    const size_t at = pare__performance_at(performance, index, i);
    line[i].a = performance->a[at];
    line[i].b = performance->b[at];
    line[i].known = performance->samples[at] != NULL;
  }
  pare__crew_unlock(crew);
}

uint64_t pare__crew_preparations(pare__crew *crew) {
  pare__crew_lock(crew);
  const uint64_t count = crew->preparations;
  pare__crew_unlock(crew);
  return count;
}

/* ---- copies ---- */

void pare__crew_note_active(pare__crew_worker *worker, double from, double until) {
  worker->active += fmax(until - fmax(from, worker->active_until), 0);
  worker->active_until = fmax(until, worker->active_until);
}

void pare__crew_use_copies(pare__crew *crew, size_t member) {
  pare__policy_device *device = &crew->policy->device[member];
  const size_t at = pare__performance_at(crew->performance, crew->copies, member);
  if (!(device->seconds_per_byte > 0) || !crew->performance->samples[at]) return;
  device->copy_seconds = crew->performance->a[at];
  device->seconds_per_byte = crew->performance->b[at];
}

static void learn_copy(pare__crew *crew, size_t member, size_t nbytes, double seconds) {
  pare__learned learned;
  /* Without memory nothing is learned, and the guess stays. */
  (void)pare__performance_observe(crew->performance, crew->copies, member, (double)nbytes, seconds, false, &learned);
  if (learned != PARE__LEARNED_NOTHING) pare__crew_use_copies(crew, member);
}

/* What of the piece's own time, which begins when the work before it is done, is copies and not work; active in it the
 * member is all the time. */
static void take_from_work(pare__crew_worker *worker, pare__crew_flight *flight, pare__crew_copy kind, double from,
                           double until) {
  const double begin = fmax(flight->began, worker->settled_at);
  if (worker->settling && kind != PARE__COPIED_IN) {
    flight->back = flight->back > 0 ? fmin(flight->back, from) : from;
    flight->back = fmax(flight->back, begin);
    pare__crew_note_active(worker, begin, flight->back);
    pare__crew_note_active(worker, from, until);
  } else if (worker->settling || worker->count == 1) { /* else the piece before runs, and its time is not this one's */
    flight->copied += fmax(until - fmax(from, begin), 0);
    pare__crew_note_active(worker, from, fmin(until, begin));
  }
}

static void trace_copy(pare__crew *crew, pare__crew_worker *worker, const pare__crew_flight *flight, size_t way,
                       size_t nbytes, double from, double until) {
  /* Two clocks agree to some microseconds: slices on a row shall not overlap for that. */
  from = fmax(from, worker->copied_until[way]);
  worker->copied_until[way] = fmax(from, until);
  pare__trace_copy(crew->trace, (unsigned)worker->traced_as, way ? PARE__TRACE_COPIES_BACK : PARE__TRACE_COPIES,
                   pare__crew_job_name(crew, flight->piece.task), nbytes, from - crew->traced_from,
                   worker->copied_until[way] - crew->traced_from, flight->piece.begin, flight->piece.end);
}

void pare__crew_copied(pare__crew *crew, size_t member, pare__crew_copy kind, size_t nbytes, double from,
                       double until) {
  pare__crew_lock(crew);
  pare__crew_worker *worker = &crew->member[member];
  if (!worker->abandoned && worker->in_call) {
    pare__crew_flight *flight = &worker->flight[worker->settling ? 0 : worker->count - 1];
    worker->copied_bytes += nbytes;
    if (until > from) {
      pare__crew_count_of(crew, flight->piece.task, member)->copy_seconds += until - from;
      take_from_work(worker, flight, kind, from, until);
      if (kind != PARE__COPIED_AT_HOST) learn_copy(crew, member, nbytes, until - from);
      if (crew->trace && !worker->is_group)
        trace_copy(crew, worker, flight, kind != PARE__COPIED_IN, nbytes, from, until);
    }
  }
  pare__crew_unlock(crew);
}

/* ---- slices ---- */

void pare__crew_trace_piece(pare__crew *crew, const pare__crew_worker *worker, const pare__crew_flight *flight,
                            double from, double until) {
  const uint32_t slot = flight->piece.task;
  pare__crew_job *job = pare__crew_job_at(crew, slot);
  const unsigned index = (unsigned)worker->index, shown = (unsigned)worker->traced_as;
  const pare__policy_task *task = &crew->task[slot];
  const pare__trace_steps steps = {.begin = flight->piece.begin,
                                   .end = flight->piece.end,
                                   .n = task->n,
                                   .grain = task->grain,
                                   .work = task->per_step,
                                   .ready = job->since - crew->traced_from,
                                   .launch =
                                       pare__performance_launch(crew->performance, task->kernel, index, task->uneven)};
  pare__trace_work(crew->trace, shown, pare__crew_job_name(crew, slot), crew->performance->kernel[task->kernel],
                   from - crew->traced_from, until - crew->traced_from, &steps);
  if (!job->flowed)
    for (uint32_t edge = job->before; edge != PARE__NO_EDGE; edge = crew->edge[edge].next)
      if (crew->edge[edge].to != index)
        pare__trace_flow(crew->trace, (unsigned)crew->member[crew->edge[edge].to].traced_as, crew->edge[edge].at, shown,
                         from - crew->traced_from);
  job->flowed = true;
  job->ran_on = index;
  job->ran_until = until - crew->traced_from;
}

/* ---- text ---- */

#define MOST_SHOWN 40

static void put_member(const pare__crew *crew, const pare__crew_worker *worker, FILE *to) {
  fprintf(to, "%zu %s: %s", worker->index, worker->name,
          worker->abandoned                     ? "lost, its thread hangs"
          : worker->lost                        ? "lost"
          : worker->settling && worker->in_call ? "settles"
          : worker->in_call                     ? "runs"
          : worker->asleep                      ? "sleeps"
                                                : "chooses");
  if (worker->in_call) fprintf(to, " since %.3f s", crew->now - worker->call_since);
  fprintf(to, "; %zu pieces for it alone, %zu in its queue\n", worker->pinned.count,
          crew->policy->queue[worker->index].count);
  for (size_t i = 0; i < worker->count; i++) {
    const pare__policy_piece *piece = &worker->flight[i].piece;
    fprintf(to, "  in flight: '%s' [%" PRId64 ", %" PRId64 ")\n", pare__crew_job_name(crew, piece->task), piece->begin,
            piece->end);
  }
}

static void put_job(const pare__crew *crew, uint32_t slot, FILE *to) {
  static const char *const phase[] = {"", "waits", "is ready", "ends", "failed"};
  const pare__crew_job *job = pare__crew_job_at(crew, slot);
  size_t shown = 0;
  fprintf(to, "job %" PRIu32 " '%s' %s: %" PRId64 " of %" PRId64 " steps left, %" PRIu32 " needs missing", slot,
          pare__crew_job_name(crew, slot), phase[job->phase], job->left, crew->task[slot].n, job->missing);
  if (job->probes > 0) fprintf(to, ", %u probes", (unsigned)job->probes);
  for (uint32_t edge = job->behind; edge != PARE__NO_EDGE && shown < MOST_SHOWN; edge = crew->edge[edge].next, shown++)
    fprintf(to, "%s %" PRIu32, shown ? "," : "; waited for by", crew->edge[edge].to);
  fputc('\n', to);
}

pare_status pare__crew_state(pare__crew *crew, char **out) {
  size_t nbytes = 0, shown = 0;
  *out = NULL;
  FILE *to = open_memstream(out, &nbytes);
  if (!to) return pare__fail_memory("the state of a crew", 0);
  pare__crew_lock(crew);
  fprintf(to, "policy %s, %zu jobs pending, %zu pieces pooled, %zu queued, %zu waiting threads\n",
          crew->policy->isa->name, crew->pending, crew->policy->pooled, crew->policy->queued, crew->waiters);
  for (size_t i = 0; i < crew->nmembers; i++) put_member(crew, &crew->member[i], to);
  for (uint32_t slot = 0; slot < crew->nslots && shown < MOST_SHOWN; slot++) {
    if (pare__crew_job_at(crew, slot)->phase == PARE__JOB_FREE) continue;
    put_job(crew, slot, to);
    shown++;
  }
  pare__crew_unlock(crew);
  if (fclose(to) != 0 || !*out) {
    free(*out);
    *out = NULL;
    return pare__fail_memory("the state of a crew", nbytes);
  }
  return PARE_OK;
}
