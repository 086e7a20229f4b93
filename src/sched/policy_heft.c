/* HEFT with insertion (Topcuoglu, Hariri & Wu 2002): the whole graph is planned before the start.
 * SPDX-License-Identifier: Apache-2.0
 *
 * rank(i) = mean w_i + max over successors j of (mean c_ij + rank(j)), where w_i has the copy of its results to the
 * host unless they stay where they were made; in the order of falling ranks each task goes to the device where it
 * weighs least (for the makespan: where it ends first), in a gap between others if it fits. A plan without gaps is made
 * as well and taken if it weighs less. Devices keep to the plan's order until one is lost; what is not planned goes
 * where it weighs least. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/policy_heft.h"

struct slot {
  double start, end;
  uint32_t task;
};

typedef struct timeline {
  struct slot *slots; /* by start */
  size_t count, capacity;
} timeline;

typedef struct assignment {
  double there; /* when others may read what it made */
  size_t device;
  bool divided; /* no device holds it whole: it is placed when it is ready */
  bool placed;  /* once; whatever has its number later is not planned */
} assignment;

/* All zero but for `strict`: no plan. */
struct plan {
  size_t ntasks;
  bool strict;             /* devices keep to the order */
  assignment *assigned;    /* [task] */
  size_t *position, *next; /* [task] on its device; [device]: how many it has begun */
  double makespan, weight;
};

struct planner {
  pare__policy *policy;
  const pare__policy_graph *graph;
  double *rank;
  uint32_t *order; /* tasks by falling rank */
  timeline *timelines;
  assignment *assigned;
  double until, weight; /* of what is assigned: the latest end; the sum, but for that end */
};

static double compute_seconds(const struct planner *planner, uint32_t task, size_t device) {
  const pare__policy_task *known = pare__policy_task_of(planner->policy, task);
  return pare__performance_seconds(planner->policy->performance, known->kernel, device,
                                   (double)known->n * known->per_step);
}

static double copy_seconds(const pare__policy_device *device, double nbytes) {
  return nbytes > 0 ? device->copy_seconds + nbytes * device->seconds_per_byte : 0;
}

/* From one device to another: from the host, where it is, or by way of it. */
static double move_seconds(const struct planner *planner, size_t from, size_t to, double nbytes) {
  const pare__policy *policy = planner->policy;
  if (from == to) return 0;
  return (policy->options.stays ? copy_seconds(&policy->device[from], nbytes) : 0) +
         copy_seconds(&policy->device[to], nbytes);
}

/* Until its results are at the host. */
static double back_seconds(const struct planner *planner, uint32_t task, size_t device) {
  const pare__policy_task *known = pare__policy_task_of(planner->policy, task);
  if (planner->policy->options.stays) return 0;
  return copy_seconds(&planner->policy->device[device], known->nbytes - known->read_bytes);
}

/* What a task reads that no other task makes comes from the host. */
static double host_seconds(const struct planner *planner, uint32_t task, size_t device) {
  const pare__policy_graph *graph = planner->graph;
  double nbytes = pare__policy_task_of(planner->policy, task)->read_bytes;
  for (size_t i = graph->begin[task]; i < graph->begin[task + 1]; i++) nbytes -= graph->need[i].nbytes;
  return copy_seconds(&planner->policy->device[device], nbytes);
}

/* All copies that a task needs on the device. */
static double transfer_seconds(const struct planner *planner, uint32_t task, size_t device) {
  const pare__policy_graph *graph = planner->graph;
  double sum = host_seconds(planner, task, device);
  for (size_t i = graph->begin[task]; i < graph->begin[task + 1]; i++) {
    const struct pare__policy_need *need = &graph->need[i];
    sum += move_seconds(planner, planner->assigned[need->from].device, device, need->nbytes);
  }
  return sum;
}

/* ---- ranks ---- */

static double mean_seconds(const struct planner *planner, uint32_t task) {
  const pare__policy_task *known = pare__policy_task_of(planner->policy, task);
  double sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < planner->policy->ndevices; i++) {
    if (!pare__policy_may(planner->policy, i, known)) continue;
    sum += compute_seconds(planner, task, i) + back_seconds(planner, task, i);
    count++;
  }
  return count ? sum / (double)count : 0;
}

/* Needs point back, so a task's rank is whole once all that need it have added theirs: Kahn's order, backwards. */
static pare_status find_ranks(struct planner *planner) {
  const pare__policy_graph *graph = planner->graph;
  const size_t ndevices = planner->policy->ndevices;
  const double links = planner->policy->options.stays ? 2 : 1; /* of a copy from device to device */
  double per_byte = 0, each = 0;
  for (size_t i = 0; i < ndevices; i++) {
    per_byte += links * planner->policy->device[i].seconds_per_byte / (double)ndevices;
    each += links * planner->policy->device[i].copy_seconds / (double)ndevices;
  }
  uint32_t *successors = calloc(graph->ntasks + 1, sizeof *successors),
           *ready = malloc((graph->ntasks + 1) * sizeof *ready);
  pare_status status = successors && ready ? PARE_OK : pare__fail_memory("ranks of tasks", graph->ntasks * 8);
  size_t count = 0;
  for (size_t i = 0; status == PARE_OK && i < graph->begin[graph->ntasks]; i++) successors[graph->need[i].from]++;
  for (size_t i = 0; status == PARE_OK && i < graph->ntasks; i++)
    if (successors[i] == 0) ready[count++] = (uint32_t)i;
  for (size_t at = 0; at < count && status == PARE_OK; at++) {
    const uint32_t task = ready[at];
    planner->rank[task] += mean_seconds(planner, task);
    for (size_t i = graph->begin[task]; i < graph->begin[task + 1]; i++) {
      const struct pare__policy_need *need = &graph->need[i];
      const double copy = ndevices > 1 && need->nbytes > 0 ? each + need->nbytes * per_byte : 0;
      planner->rank[need->from] = fmax(planner->rank[need->from], copy + planner->rank[task]);
      if (--successors[need->from] == 0) ready[count++] = need->from;
    }
  }
  /* The reverse is an order in which needs come first: a stable sort by rank keeps it among equals. */
  for (size_t i = 0; status == PARE_OK && i < count; i++) planner->order[i] = ready[count - 1 - i];
  free(ready);
  free(successors);
  return status;
}

/* Merge sort: stable, and ranks are all the key there is. */
static void sort_by_rank(const double *rank, uint32_t *order, uint32_t *space, size_t count) {
  if (count < 2) return;
  const size_t half = count / 2;
  sort_by_rank(rank, order, space, half);
  sort_by_rank(rank, order + half, space, count - half);
  for (size_t i = 0, j = half, k = 0; k < count; k++)
    space[k] = j == count || (i < half && rank[order[i]] >= rank[order[j]]) ? order[i++] : order[j++];
  memcpy(order, space, count * sizeof *order);
}

/* ---- placing ---- */

/* The earliest start not before `ready`, and where among the slots. */
static double find_gap(const timeline *line, double ready, double seconds, bool insert, size_t *at) {
  size_t low = 0, high = line->count;
  while (low < high) { /* slots before `low` end before anything could begin */
    const size_t middle = (low + high) / 2;
    if (line->slots[middle].end <= ready)
      low = middle + 1;
    else
      high = middle;
  }
  if (!insert) low = line->count;
  double start = low > 0 ? fmax(ready, line->slots[low - 1].end) : ready;
  for (; low < line->count && start + seconds > line->slots[low].start; low++)
    start = fmax(start, line->slots[low].end);
  *at = low;
  return start;
}

static double ready_at(const struct planner *planner, uint32_t task, size_t device) {
  const pare__policy_graph *graph = planner->graph;
  double ready = host_seconds(planner, task, device);
  for (size_t i = graph->begin[task]; i < graph->begin[task + 1]; i++) {
    const struct pare__policy_need *need = &graph->need[i];
    const assignment *maker = &planner->assigned[need->from];
    ready = fmax(ready, maker->there + move_seconds(planner, maker->device, device, need->nbytes));
  }
  return ready;
}

/* May the device run the task, and in one piece? */
static bool holds(const struct planner *planner, size_t device, const pare__policy_task *task) {
  return pare__policy_may(planner->policy, device, task) &&
         pare__policy_most_steps(planner->policy, device, task) >= task->n;
}

static double weigh(const struct planner *planner, uint32_t task, size_t device, double start, double seconds,
                    double back) {
  const double transfer = planner->policy->weights.transfer > 0 ? transfer_seconds(planner, task, device) + back : 0;
  return planner->policy->weights.finish * back + pare__policy_weigh(planner->policy, device, start, seconds, transfer,
                                                                     fmax(start + seconds + back - planner->until, 0));
}

static pare_status assign(struct planner *planner, uint32_t task, bool insert) {
  const pare__policy_task *known = pare__policy_task_of(planner->policy, task);
  size_t best = PARE__NO_DEVICE, place = 0;
  struct slot slot = {.task = task};
  double least = INFINITY, there = 0;
  bool divided = true;
  for (size_t i = 0; i < planner->policy->ndevices; i++)
    if (holds(planner, i, known)) divided = false;
  for (size_t i = 0; i < planner->policy->ndevices; i++) {
    size_t at;
    if (divided ? !pare__policy_may(planner->policy, i, known) : !holds(planner, i, known)) continue;
    const double seconds = compute_seconds(planner, task, i), back = back_seconds(planner, task, i),
                 start = find_gap(&planner->timelines[i], ready_at(planner, task, i), seconds, insert, &at);
    const double weight = weigh(planner, task, i, start, seconds, back);
    if (weight >= least) continue;
    least = weight;
    slot.start = start;
    slot.end = start + seconds;
    there = slot.end + back;
    best = i;
    place = at;
  }
  if (best == PARE__NO_DEVICE) return pare__fail(PARE_ERR_DEVICE, "no device may run task %u", task);
  planner->weight += least - planner->policy->weights.finish * there;
  planner->until = fmax(planner->until, there);
  timeline *line = &planner->timelines[best];
  void *items = line->slots;
  const pare_status status = pare__array_grow(&items, &line->capacity, line->count, sizeof slot);
  line->slots = items;
  if (status != PARE_OK) return status;
  memmove(line->slots + place + 1, line->slots + place, (line->count - place) * sizeof slot);
  line->slots[place] = slot;
  line->count++;
  planner->assigned[task] = (assignment){.there = there, .device = best, .divided = divided};
  return PARE_OK;
}

/* Plans all tasks and keeps the plan if it weighs less than what there is. */
static pare_status try_plan(struct planner *planner, struct plan *plan, bool insert) {
  const size_t ntasks = planner->graph->ntasks;
  planner->until = planner->weight = 0;
  for (size_t i = 0; i < planner->policy->ndevices; i++) planner->timelines[i].count = 0;
  for (size_t i = 0; i < ntasks; i++) PARE__TRY(assign(planner, planner->order[i], insert));
  const double weight = planner->weight + planner->policy->weights.finish * planner->until;
  if (!(weight < plan->weight)) return PARE_OK;
  plan->weight = weight;
  plan->makespan = planner->until;
  memcpy(plan->assigned, planner->assigned, ntasks * sizeof *plan->assigned);
  for (size_t i = 0; i < planner->policy->ndevices; i++)
    for (size_t k = 0; k < planner->timelines[i].count; k++) plan->position[planner->timelines[i].slots[k].task] = k;
  return PARE_OK;
}

/* ---- the policy ---- */

static void close_plan(pare__policy *policy) {
  struct plan *plan = policy->own;
  if (!plan) return;
  free(plan->assigned);
  free(plan->position);
  free(plan->next);
  free(plan);
  policy->own = NULL;
}

static pare_status open_plan(pare__policy *policy, size_t ntasks) {
  close_plan(policy);
  struct plan *made = policy->own = calloc(1, sizeof *made);
  if (!made) return pare__fail_memory("a plan", sizeof *made);
  made->ntasks = ntasks;
  made->strict = true;
  made->makespan = made->weight = INFINITY;
  made->assigned = calloc(ntasks + 1, sizeof *made->assigned);
  made->position = calloc(ntasks + 1, sizeof *made->position);
  made->next = calloc(policy->ndevices + 1, sizeof *made->next);
  if (made->assigned && made->position && made->next) return PARE_OK;
  return pare__fail_memory("a plan", ntasks * sizeof *made->assigned);
}

pare_status pare__heft_plan(pare__policy *policy, const pare__policy_graph *graph, bool only_append) {
  const size_t ntasks = graph->ntasks;
  struct planner planner = {policy,
                            graph,
                            calloc(ntasks + 1, sizeof(double)),
                            malloc((ntasks + 1) * sizeof(uint32_t)),
                            calloc(policy->ndevices + 1, sizeof(timeline)),
                            calloc(ntasks + 1, sizeof(assignment)),
                            0,
                            0};
  uint32_t *space = malloc((ntasks + 1) * sizeof *space);
  pare_status status = open_plan(policy, ntasks);
  if (status == PARE_OK && (!planner.rank || !planner.order || !planner.timelines || !planner.assigned || !space))
    status = pare__fail_memory("a plan", ntasks * sizeof(assignment));
  if (status == PARE_OK) status = find_ranks(&planner);
  if (status == PARE_OK) {
    sort_by_rank(planner.rank, planner.order, space, ntasks);
    if (!only_append) status = try_plan(&planner, policy->own, true);
  }
  if (status == PARE_OK) status = try_plan(&planner, policy->own, false);
  for (size_t i = 0; planner.timelines && i < policy->ndevices; i++) free(planner.timelines[i].slots);
  free(planner.timelines);
  free(planner.assigned);
  free(planner.rank);
  free(planner.order);
  free(space);
  return status;
}

double pare__heft_makespan(const pare__policy *policy) {
  const struct plan *plan = policy->own;
  return plan ? plan->makespan : 0;
}

static pare_status make_plan(pare__policy *policy, const pare__policy_graph *graph) {
  return pare__heft_plan(policy, graph, false);
}

static pare_status place(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake) {
  struct plan *plan = policy->own;
  if (!plan || piece->task >= plan->ntasks || plan->assigned[piece->task].divided ||
      plan->assigned[piece->task].placed ||
      !pare__policy_may(policy, plan->assigned[piece->task].device, pare__policy_task_of(policy, piece->task))) {
    if (plan) plan->strict = false;
    PARE__TRY(pare__policy_place_best(policy, piece, now, wake));
    *wake = PARE__EVERY_DEVICE; /* those that waited for the plan, too */
    return PARE_OK;
  }
  assignment *assigned = &plan->assigned[piece->task];
  assigned->placed = true;
  pare__policy_piece given = *piece;
  pare__policy_count(policy, assigned->device, &given, now);
  *wake = assigned->device;
  PARE__TRY(pare__policy_push(&policy->queue[assigned->device], (double)plan->position[piece->task], policy->order++,
                              &given));
  policy->queued++;
  return PARE_OK;
}

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  struct plan *plan = policy->own;
  const pare__policy_queue *queue = &policy->queue[device];
  (void)now;
  (void)wake;
  if (plan && plan->strict && queue->count > 0) {
    if (plan->position[pare__policy_head(queue)->piece.task] != plan->next[device]) return false;
    plan->next[device]++;
  }
  return pare__policy_take(policy, device, out);
}

/* Tasks of the lost device come in between, and what they were to make is late: first come, first served. */
static pare_status lost(pare__policy *policy, size_t device) {
  struct plan *plan = policy->own;
  (void)device;
  if (plan) plan->strict = false;
  return PARE_OK;
}

/* Its place in the order stays empty. */
static void cancel(pare__policy *policy, uint32_t task) {
  struct plan *plan = policy->own;
  if (plan && task < plan->ntasks) plan->strict = false;
}

const pare__policy_class pare__policy_heft = {.name = "heft",
                                              .what = "the whole graph is planned ahead, with insertion",
                                              .plan = make_plan,
                                              .place = place,
                                              .chunk = chunk,
                                              .lost = lost,
                                              .cancel = cancel,
                                              .close = close_plan};
