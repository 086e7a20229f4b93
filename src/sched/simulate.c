/* The simulator: events in the order of their time, policies in the middle. SPDX-License-Identifier: Apache-2.0
 *
 * A device has PARE__IN_FLIGHT pieces, which run one after the other, and a link to the host for each way:
 *
 *     to device   [ a ][ b ]              [ c ]
 *     work             [ work on a ][ work on b ]
 *     to host                       [ a ]       [ b ]
 *
 * A piece is done when what it wrote is at the host: so copies between devices go by way of the host, a lost device
 * takes no finished work with it, and the next piece comes only then. Without contention, as in the literature, each
 * copy has a link of its own, and results stay where they were made until another device needs them. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/simulate.h"

#define AT_HOST UINT32_MAX
#define MOST_LINES ((size_t)1 << 22) /* kernels times devices */

struct flight {
  pare__policy_piece piece;
  double ready, copy_from, copy_until, from, until, back_from, back_until;
  double copied, back; /* bytes, to the device and from it */
};

struct station {
  struct flight flight[PARE__IN_FLIGHT]; /* the oldest first */
  size_t count;
  double speed, link_free; /* until when the link to the device is taken */
  double settled;          /* when the last piece that is done was */
  int64_t generation;      /* of the event for its oldest flight: older ones are stale */
  bool hungry;             /* asked, and got nothing */
};

struct state {
  int64_t left;          /* steps that have not run */
  double since;          /* ready; then done */
  float wait;            /* until its first piece started; below 0: none has */
  uint32_t missing;      /* needs that are not there yet, and 1 until it has come */
  uint32_t holder, copy; /* the devices that have its result */
};

struct simulator {
  const pare_machine *machine;
  const pare_workload *workload;
  pare_simulation *out;
  pare__performance *performance;
  pare__policy *policy;
  bool ahead;            /* the plan is known, so results are copied as soon as they are there */
  double *rate, *launch; /* [kernel][device] */
  struct station *station;
  struct state *state;
  size_t *first;
  uint32_t *after;
  size_t nevent, ndone;
  pare__policy_queue events; /* key: time; piece.task: the device; piece.begin: its generation */
  pare__policy_queue
      coming; /* key: time; piece.task: comes; piece.moved: all it needs was there, the host is through */
  uint64_t order, random;
  uint32_t *ask; /* devices to ask; a stack without repeats */
  size_t nask;
  double now;
};

/* ---- copies ---- */

static double link_seconds(const struct simulator *simulator, size_t device, double nbytes) {
  const pare__policy_device *at = &simulator->machine->device[device].seen;
  return at->seconds_per_byte > 0 && nbytes > 0 ? at->copy_seconds + nbytes * at->seconds_per_byte : 0;
}

static size_t find_local(void *user, uint32_t task, pare__policy_local out[PARE__MOST_LOCAL]) {
  const struct simulator *simulator = user;
  const pare_workload *workload = simulator->workload;
  size_t count = 0;
  for (size_t i = workload->begin[task]; i < workload->begin[task + 1]; i++) {
    const struct state *maker = &simulator->state[workload->need[i].from];
    const uint32_t where[] = {maker->holder, maker->copy};
    for (size_t k = 0; k < PARE__COUNT(where) && count < PARE__MOST_LOCAL; k++)
      if (where[k] != AT_HOST && (k == 0 || where[1] != where[0]))
        out[count++] = (pare__policy_local){where[k], workload->need[i].nbytes};
  }
  return count;
}

/* Books copies of what a piece reads on the link to the device. */
static void copy_inputs(struct simulator *simulator, size_t device, struct flight *flight) {
  const pare_workload *workload = simulator->workload;
  const uint32_t id = flight->piece.task;
  const pare__policy_task *task = &workload->task[id];
  struct station *station = &simulator->station[device];
  const double share = (double)(flight->piece.end - flight->piece.begin) / (double)task->n;
  double from_host = task->read_bytes;
  flight->copy_from = INFINITY;
  flight->copy_until = flight->copied = 0;
  for (size_t i = workload->begin[id]; i <= workload->begin[id + 1]; i++) {
    double seconds, nbytes, ready = simulator->ahead ? 0 : simulator->now;
    if (i < workload->begin[id + 1]) {
      const struct pare__policy_need *need = &workload->need[i];
      struct state *maker = &simulator->state[need->from];
      from_host -= need->nbytes;
      if (maker->holder == device || maker->copy == device) continue;
      if (simulator->ahead) ready = maker->since;
      nbytes = need->nbytes * share;
      seconds = link_seconds(simulator, device, nbytes);
      if (maker->holder != AT_HOST && !simulator->machine->contention)
        seconds += link_seconds(simulator, maker->holder, nbytes);
      if (share >= 1) maker->copy = (uint32_t)device; /* a part is not the whole */
    } else {
      nbytes = from_host > 0.5 ? from_host * share : 0;
      seconds = link_seconds(simulator, device, nbytes);
    }
    if (!(seconds > 0)) continue;
    const double begin = simulator->machine->contention ? fmax(ready, station->link_free) : ready;
    flight->copy_from = fmin(flight->copy_from, begin);
    flight->copy_until = fmax(flight->copy_until, begin + seconds);
    station->link_free = fmax(station->link_free, begin + seconds);
    flight->copied += nbytes;
    simulator->out->device[device].copying += seconds;
  }
  if (flight->copy_until <= 0) flight->copy_from = flight->copy_until = simulator->now;
}

/* When what a piece in flight wrote is at the host, from when its work ends: pieces are done in their order. */
static void copy_back(const struct simulator *simulator, size_t device, size_t index) {
  const struct station *station = &simulator->station[device];
  struct flight *flight = &simulator->station[device].flight[index];
  const pare__policy_task *task = &simulator->workload->task[flight->piece.task];
  const double share = (double)(flight->piece.end - flight->piece.begin) / (double)task->n,
               seconds = simulator->machine->contention
                             ? link_seconds(simulator, device, (task->nbytes - task->read_bytes) * share)
                             : 0;
  flight->back = seconds > 0 ? (task->nbytes - task->read_bytes) * share : 0;
  flight->back_from = fmax(flight->until, index > 0 ? station->flight[index - 1].back_until : station->settled);
  flight->back_until = flight->back_from + seconds;
}

/* ---- pieces ---- */

static pare_status announce(struct simulator *simulator, size_t device) {
  struct station *station = &simulator->station[device];
  if (station->count == 0) return PARE_OK;
  const pare__policy_piece event = {.task = (uint32_t)device, .begin = ++station->generation};
  return pare__policy_push(&simulator->events, station->flight[0].back_until, simulator->order++, &event);
}

static pare_status start_piece(struct simulator *simulator, size_t device, const pare__policy_piece *piece) {
  struct station *station = &simulator->station[device];
  struct flight *flight = &station->flight[station->count];
  const pare__policy_task *task = &simulator->workload->task[piece->task];
  struct state *state = &simulator->state[piece->task];
  const size_t line = task->kernel * simulator->machine->ndevices + device;
  const double rate = simulator->rate[line],
               free_at = station->count > 0 ? station->flight[station->count - 1].until : simulator->now;
  flight->piece = *piece;
  flight->ready = state->since;
  copy_inputs(simulator, device, flight);
  double seconds = simulator->launch[line] + (double)(piece->end - piece->begin) * task->per_step / rate;
  seconds *= 1 + simulator->machine->noise * pare__random_unit(&simulator->random);
  flight->from = fmax(free_at, flight->copy_until);
  flight->until = flight->from + seconds / station->speed;
  copy_back(simulator, device, station->count);
  if (state->wait < 0) state->wait = (float)fmin(flight->from - state->since, (double)FLT_MAX);
  return station->count++ == 0 ? announce(simulator, device) : PARE_OK;
}

static void ask_later(struct simulator *simulator, size_t device) {
  if (device == PARE__EVERY_DEVICE) {
    for (size_t i = simulator->machine->ndevices; i-- > 0;)
      if (simulator->station[i].hungry) ask_later(simulator, i);
  } else if (device != PARE__NO_DEVICE && simulator->station[device].hungry) {
    simulator->station[device].hungry = false;
    simulator->ask[simulator->nask++] = (uint32_t)device;
  }
}

/* Asks for pieces until all that were to be asked have enough or get none. */
static pare_status feed(struct simulator *simulator) {
  while (simulator->nask > 0) {
    const size_t device = simulator->ask[--simulator->nask];
    struct station *station = &simulator->station[device];
    size_t wake = PARE__NO_DEVICE;
    pare__policy_piece piece;
    while (station->count < PARE__IN_FLIGHT) {
      if (pare__policy_chunk(simulator->policy, device, simulator->now, &piece, &wake)) {
        PARE__TRY(start_piece(simulator, device, &piece));
        ask_later(simulator, wake);
        continue;
      }
      ask_later(simulator, wake);
      if (wake == PARE__NO_DEVICE) break;
    }
    station->hungry = true; /* or full: then it is asked when a piece ends */
  }
  return PARE_OK;
}

static pare_status place(struct simulator *simulator, uint32_t task, int64_t begin, int64_t end) {
  size_t wake;
  PARE__TRY(pare__policy_place(simulator->policy, task, begin, end, simulator->now, &wake));
  ask_later(simulator, wake);
  return PARE_OK;
}

/* All that it needs is there, and it has come. */
static pare_status make_ready(struct simulator *simulator, uint32_t task) {
  struct state *state = &simulator->state[task];
  state->since = simulator->now;
  return place(simulator, task, 0, simulator->workload->task[task].n);
}

static pare_status come_at(struct simulator *simulator, uint32_t task, double at, bool hosted) {
  const pare__policy_piece coming = {.task = task, .moved = hosted};
  return pare__policy_push(&simulator->coming, at, simulator->order++, &coming);
}

/* One thing less is missing: another task, or that it comes. Then the host has its part to do. */
static pare_status meet_need(struct simulator *simulator, uint32_t task) {
  const double *host = simulator->workload->host;
  if (--simulator->state[task].missing > 0) return PARE_OK;
  return host && host[task] > 0 ? come_at(simulator, task, simulator->now + host[task], true)
                                : make_ready(simulator, task);
}

static pare_status finish_task(struct simulator *simulator, uint32_t task, uint32_t holder) {
  struct state *state = &simulator->state[task];
  state->since = simulator->now;
  state->holder = holder;
  simulator->ndone++;
  for (size_t i = simulator->first[task]; i < simulator->first[task + 1]; i++)
    PARE__TRY(meet_need(simulator, simulator->after[i]));
  return PARE_OK;
}

static pare_status keep_chunk(struct simulator *simulator, size_t device, const struct flight *flight) {
  pare_simulation *out = simulator->out;
  out->result.chunks++;
  if (!out->traced) return PARE_OK;
  void *items = out->chunk;
  const pare_status status = pare__array_grow(&items, &out->chunk_capacity, out->nchunks, sizeof *out->chunk);
  out->chunk = items;
  if (status != PARE_OK) return status;
  out->chunk[out->nchunks++] = (pare_simulation_chunk){.task = flight->piece.task,
                                                       .device = device,
                                                       .begin = flight->piece.begin,
                                                       .end = flight->piece.end,
                                                       .ready = flight->ready,
                                                       .copy_from = flight->copy_from,
                                                       .copy_until = flight->copy_until,
                                                       .from = flight->from,
                                                       .until = flight->until,
                                                       .back_from = flight->back_from,
                                                       .back_until = flight->back_until,
                                                       .copied_bytes = flight->copied,
                                                       .back_bytes = flight->back};
  return PARE_OK;
}

static pare_status finish_piece(struct simulator *simulator, size_t device) {
  struct station *station = &simulator->station[device];
  const struct flight done = station->flight[0];
  struct state *state = &simulator->state[done.piece.task];
  size_t wake;
  memmove(station->flight, station->flight + 1, (PARE__IN_FLIGHT - 1) * sizeof done);
  station->count--;
  station->settled = simulator->now;
  PARE__TRY(announce(simulator, device));
  PARE__TRY(keep_chunk(simulator, device, &done));
  simulator->out->device[device].chunks++;
  simulator->out->device[device].busy += done.until - done.from;
  simulator->out->device[device].copying += done.back_until - done.back_from;
  PARE__TRY(
      pare__policy_complete(simulator->policy, device, &done.piece, simulator->now, done.until - done.from, &wake));
  const int64_t ran = done.piece.end - done.piece.begin;
  const bool alone = ran == simulator->workload->task[done.piece.task].n;
  state->left -= ran;
  if (state->left == 0) PARE__TRY(finish_task(simulator, done.piece.task, alone ? (uint32_t)device : AT_HOST));
  ask_later(simulator, wake);
  ask_later(simulator, device);
  return feed(simulator);
}

/* ---- what happens to devices ---- */

static pare_status lose(struct simulator *simulator, size_t device) {
  struct station *station = &simulator->station[device];
  const size_t count = station->count;
  if (simulator->out->device[device].lost_at >= 0) return PARE_OK;
  simulator->out->device[device].lost_at = simulator->now;
  simulator->out->result.lost++;
  for (size_t i = 0; i < count; i++)
    simulator->out->device[device].busy +=
        fmax(fmin(simulator->now, station->flight[i].until) - station->flight[i].from, 0);
  for (size_t i = 0; i < simulator->workload->ntasks; i++) {
    struct state *state = &simulator->state[i];
    if (state->holder == device) state->holder = AT_HOST;
    if (state->copy == device) state->copy = AT_HOST;
  }
  station->count = 0;
  station->generation++;
  PARE__TRY(pare__policy_lost(simulator->policy, device, simulator->now));
  for (size_t i = 0; i < count; i++)
    PARE__TRY(
        place(simulator, station->flight[i].piece.task, station->flight[i].piece.begin, station->flight[i].piece.end));
  ask_later(simulator, PARE__EVERY_DEVICE);
  return feed(simulator);
}

/* What runs goes on at the new speed. */
static pare_status change_speed(struct simulator *simulator, size_t device, double speed) {
  struct station *station = &simulator->station[device];
  double free_at = 0;
  for (size_t i = 0; i < station->count; i++) {
    struct flight *flight = &station->flight[i];
    const double ran = fmax(simulator->now - flight->from, 0), all = flight->until - flight->from;
    if (!(ran > 0)) {
      flight->from = fmax(free_at, flight->copy_until);
      flight->until = flight->from + all * station->speed / speed;
    } else if (ran < all) {
      flight->until = simulator->now + (all - ran) * station->speed / speed;
    }
    copy_back(simulator, device, i);
    free_at = flight->until;
  }
  station->speed = speed;
  return announce(simulator, device);
}

static pare_status happen(struct simulator *simulator, const pare__machine_event *event) {
  if (simulator->out->device[event->device].lost_at >= 0) return PARE_OK;
  return event->speed > 0 ? change_speed(simulator, event->device, event->speed) : lose(simulator, event->device);
}

/* ---- the loop ---- */

static pare_status arrive(struct simulator *simulator) {
  pare__policy_entry next;
  pare__policy_pop(&simulator->coming, &next);
  simulator->now = fmax(simulator->now, next.key);
  PARE__TRY(next.piece.moved ? make_ready(simulator, next.piece.task) : meet_need(simulator, next.piece.task));
  return feed(simulator);
}

static pare_status begin_all(struct simulator *simulator) {
  const pare_workload *workload = simulator->workload;
  if (simulator->ahead) {
    const pare__policy_graph graph = {workload->ntasks, workload->begin, workload->need};
    PARE__TRY(pare__policy_plan(simulator->policy, &graph));
  }
  for (size_t i = 0; i < simulator->machine->ndevices; i++) simulator->station[i].hungry = true;
  for (size_t i = 0; i < workload->ntasks; i++) {
    const uint32_t task = (uint32_t)i;
    const double at = workload->at ? workload->at[i] : 0;
    PARE__TRY(at > 0 ? come_at(simulator, task, at, false) : meet_need(simulator, task));
  }
  return feed(simulator);
}

static pare_status run(struct simulator *simulator) {
  PARE__TRY(begin_all(simulator));
  while (simulator->ndone < simulator->workload->ntasks) {
    const double ends = simulator->events.count > 0 ? pare__policy_head(&simulator->events)->key : INFINITY,
                 comes = simulator->coming.count > 0 ? pare__policy_head(&simulator->coming)->key : INFINITY,
                 happens = simulator->nevent < simulator->machine->nevents
                               ? simulator->machine->event[simulator->nevent].at
                               : INFINITY;
    pare__policy_entry event;
    if (isinf(ends) && isinf(comes) && isinf(happens))
      return pare__fail(PARE_ERR_DEVICE, "the policy %s leaves %zu of %zu tasks waiting for ever at %g s",
                        simulator->policy->isa->name, simulator->workload->ntasks - simulator->ndone,
                        simulator->workload->ntasks, simulator->now);
    if (happens <= ends && happens <= comes) {
      simulator->now = fmax(simulator->now, happens);
      PARE__TRY(happen(simulator, &simulator->machine->event[simulator->nevent++]));
    } else if (comes < ends) {
      PARE__TRY(arrive(simulator));
    } else {
      pare__policy_pop(&simulator->events, &event);
      if (event.piece.begin != simulator->station[event.piece.task].generation) continue;
      simulator->now = event.key;
      PARE__TRY(finish_piece(simulator, event.piece.task));
    }
  }
  return PARE_OK;
}

/* ---- before and after ---- */

static int by_value(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* The nearest rank of so many values, from 0 on. */
static size_t rank_of(double share, size_t count) { return (size_t)fmax(ceil(share * (double)count) - 1, 0); }

static pare_status sum_up(struct simulator *simulator) {
  pare_simulation_result *result = &simulator->out->result;
  const size_t ntasks = simulator->workload->ntasks;
  float *wait = malloc((ntasks + 1) * sizeof *wait);
  double there = 0, busy = 0;
  if (!wait) return pare__fail_memory("waiting times", ntasks * sizeof *wait);
  result->makespan = simulator->now;
  result->moves = simulator->policy->moves;
  result->relearned = simulator->performance->relearned;
  for (size_t i = 0; i < ntasks; i++) {
    wait[i] = fmaxf(simulator->state[i].wait, 0);
    result->wait_mean += (double)wait[i] / (double)ntasks;
  }
  qsort(wait, ntasks, sizeof *wait, by_value);
  result->wait_p95 = (double)wait[rank_of(0.95, ntasks)];
  result->wait_p99 = (double)wait[rank_of(0.99, ntasks)];
  free(wait);
  for (size_t i = 0; i < simulator->machine->ndevices; i++) {
    const pare__policy_device *seen = &simulator->machine->device[i].seen;
    pare_simulation_device *device = &simulator->out->device[i];
    const double alive = device->lost_at >= 0 ? device->lost_at : result->makespan;
    device->joules = device->busy * seen->busy_watts + fmax(alive - device->busy, 0) * seen->idle_watts;
    device->price = device->busy * seen->price_per_hour / 3600;
    result->joules += device->joules;
    result->price += device->price;
    there += alive;
    busy += device->busy;
  }
  result->utilisation = there > 0 ? busy / there : 0;
  size_t kept = ntasks * (sizeof(pare__policy_task) + sizeof(struct state) + 2 * sizeof(size_t)) +
                simulator->workload->begin[ntasks] * (sizeof(struct pare__policy_need) + sizeof(uint32_t)) +
                simulator->events.capacity * sizeof(pare__policy_entry);
  for (size_t i = 0; i < PARE__RESOURCE_SETS; i++)
    kept += simulator->policy->pool[i].capacity * sizeof(pare__policy_entry);
  for (size_t i = 0; i < simulator->machine->ndevices; i++)
    kept += simulator->policy->queue[i].capacity * sizeof(pare__policy_entry);
  result->bytes_a_task = kept / ntasks;
  return PARE_OK;
}

static pare_status check_tasks(const struct simulator *simulator) {
  const pare_workload *workload = simulator->workload;
  for (size_t i = 0; i < workload->ntasks; i++) {
    size_t d = 0;
    while (d < simulator->machine->ndevices && !pare__policy_may(simulator->policy, d, &workload->task[i])) d++;
    if (d < simulator->machine->ndevices) continue;
    char number[24] = "";
    (void)snprintf(number, sizeof number, "%zu", i);
    return pare__fail(PARE_ERR_FORMAT,
                      "the task '%.40s' can run nowhere: the machine has no device of its class with memory for it",
                      workload->name ? workload->name[i] : number);
  }
  return PARE_OK;
}

/* The rates that the machine has for the kernels of the work, and what policies know of them. */
static pare_status open_rates(struct simulator *simulator, bool cold) {
  const size_t ndevices = simulator->machine->ndevices, nkernels = simulator->workload->nkernels;
  if (ndevices == 0 || nkernels > MOST_LINES / ndevices)
    return pare__fail(PARE_ERR_ARGUMENT, "%zu kernels on %zu devices are more than the %zu that can be simulated",
                      nkernels, ndevices, MOST_LINES);
  double *weight = malloc((ndevices + 1) * sizeof *weight);
  simulator->rate = malloc((ndevices * nkernels + 1) * sizeof *simulator->rate);
  simulator->launch = malloc((ndevices * nkernels + 1) * sizeof *simulator->launch);
  pare_status status = weight && simulator->rate && simulator->launch
                           ? PARE_OK
                           : pare__fail_memory("rates", ndevices * nkernels * sizeof *simulator->rate);
  for (size_t i = 0; status == PARE_OK && i < ndevices; i++) weight[i] = simulator->machine->device[i].weight;
  if (status == PARE_OK) status = pare__performance_open(ndevices, weight, &simulator->performance);
  free(weight);
  for (size_t k = 0; k < nkernels && status == PARE_OK; k++) {
    size_t kernel;
    status = pare__performance_kernel(simulator->performance, simulator->workload->kernel[k], &kernel);
    for (size_t i = 0; i < ndevices && status == PARE_OK; i++) {
      const pare__simulated_device *device = &simulator->machine->device[i];
      const double rate = pare__by_kernel_get(device->rates, simulator->workload->kernel[k]),
                   launch = pare__by_kernel_get(device->launch, simulator->workload->kernel[k]);
      simulator->rate[k * ndevices + i] = rate;
      simulator->launch[k * ndevices + i] = launch;
      if (!(rate > 0))
        status =
            pare__fail(PARE_ERR_FORMAT, "the device '%.40s' has no rate for the kernel '%.40s', and none for \"*\"",
                       device->name, simulator->workload->kernel[k]);
      else if (!cold)
        pare__performance_set(simulator->performance, kernel, i, launch, 1 / rate);
    }
  }
  return status;
}

static pare_status open_tasks(struct simulator *simulator) {
  const pare_workload *workload = simulator->workload;
  simulator->state = malloc((workload->ntasks + 1) * sizeof *simulator->state);
  if (!simulator->state) return pare__fail_memory("tasks to simulate", workload->ntasks * sizeof *simulator->state);
  for (size_t i = 0; i < workload->ntasks; i++)
    simulator->state[i] = (struct state){.left = workload->task[i].n,
                                         .wait = -1,
                                         .missing = (uint32_t)(workload->begin[i + 1] - workload->begin[i]) + 1,
                                         .holder = AT_HOST,
                                         .copy = AT_HOST};
  return pare__workload_after(workload, &simulator->first, &simulator->after);
}

static pare_status open_policy(struct simulator *simulator, const pare_simulate_options *options) {
  const pare_machine *machine = simulator->machine;
  pare__policy_choice choice;
  PARE__TRY(pare__policy_read(options->policy, options->objective, &choice));
  const pare__policy_options given = {.ageing_seconds = options->ageing_seconds,
                                      .weights = &choice.weights,
                                      .stays = !machine->contention,
                                      .tasks = (const pare__policy_task *const *)&simulator->workload->task,
                                      .local = find_local,
                                      .user = simulator};
  pare__policy_device *seen = malloc(machine->ndevices * sizeof *seen);
  if (!seen) return pare__fail_memory("devices to simulate", machine->ndevices * sizeof *seen);
  for (size_t i = 0; i < machine->ndevices; i++) seen[i] = machine->device[i].seen;
  const pare_status status =
      pare__policy_open(choice.isa, seen, machine->ndevices, simulator->performance, &given, &simulator->policy);
  free(seen);
  simulator->ahead = choice.isa->plan != NULL;
  simulator->out->result.policy = choice.isa->name;
  simulator->out->result.objective = pare__objective_name(choice.objective);
  return status;
}

static pare_status simulate(struct simulator *simulator, const pare_simulate_options *options) {
  const size_t ndevices = simulator->machine->ndevices;
  pare_simulation *out = simulator->out;
  simulator->station = calloc(ndevices + 1, sizeof *simulator->station);
  simulator->ask = malloc((ndevices + 1) * sizeof *simulator->ask);
  out->device = calloc(ndevices + 1, sizeof *out->device);
  if (!simulator->station || !simulator->ask || !out->device)
    return pare__fail_memory("devices to simulate", ndevices * sizeof *simulator->station);
  for (size_t i = 0; i < ndevices; i++) {
    simulator->station[i].speed = 1;
    out->device[i].name = simulator->machine->device[i].name;
    out->device[i].lost_at = -1;
  }
  simulator->random = options->seed;
  out->traced = options->trace;
  out->result.devices = ndevices;
  out->result.tasks = simulator->workload->ntasks;
  PARE__TRY(open_rates(simulator, options->cold));
  PARE__TRY(open_tasks(simulator));
  PARE__TRY(open_policy(simulator, options));
  PARE__TRY(check_tasks(simulator));
  PARE__TRY(
      pare__simulate_bounds(simulator->machine, simulator->workload, simulator->first, simulator->after, &out->result));
  PARE__TRY(run(simulator));
  return sum_up(simulator);
}

pare_status pare_simulate(const pare_machine *machine, const pare_workload *workload,
                          const pare_simulate_options *options, pare_simulation **out) {
  static const pare_simulate_options defaults = PARE_SIMULATE_OPTIONS_INIT;
  if (!out) return pare__fail_null("pare_simulate", "out");
  *out = NULL;
  if (!machine) return pare__fail_null("pare_simulate", "machine");
  if (!workload) return pare__fail_null("pare_simulate", "workload");
  struct simulator simulator = {.machine = machine, .workload = workload, .out = calloc(1, sizeof(pare_simulation))};
  if (!simulator.out) return pare__fail_memory("a simulation", sizeof(pare_simulation));
  simulator.out->machine = machine;
  simulator.out->workload = workload;
  const pare_status status = simulate(&simulator, options ? options : &defaults);
  pare__policy_close(simulator.policy);
  pare__performance_close(simulator.performance);
  free(simulator.rate);
  free(simulator.launch);
  free(simulator.station);
  free(simulator.state);
  free(simulator.first);
  free(simulator.after);
  pare__policy_queue_close(&simulator.coming);
  pare__policy_queue_close(&simulator.events);
  free(simulator.ask);
  if (status == PARE_OK)
    *out = simulator.out;
  else
    pare_simulation_close(simulator.out);
  return status;
}
