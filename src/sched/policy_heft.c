/* HEFT with insertion (Topcuoglu, Hariri & Wu 2002): the whole graph is planned before the start.
 * SPDX-License-Identifier: Apache-2.0
 *
 * rank(i) = mean w_i + max over successors j of (mean c_ij + rank(j)), where w_i has the copy of its results to the
 * host unless they stay where they were made; in the order of falling ranks each task goes to the device where it
 * weighs least (for the makespan: where it ends first), in a gap between others if it fits. A plan without gaps is made
 * as well and taken if it weighs less. A task that may be split is planned for all devices at once, of which each has
 * its share (M-HEFT: Casanova, Desprez & Suter 2004), and is divided when it is ready, by what is known then.
 *
 * Devices keep to the plan's order until it is late or one of them is lost; then they take what is ready, and idle ones
 * from others what they would end earlier. What is not planned goes where it weighs least. A plan by a line that is
 * wrong would never learn it, where it leaves the device out: so each gives a device one task of a kernel that
 * little is known of there or that it has not run for long. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/policy_heft.h"

#define LATE 0.1       /* of the plan's length: a task that is ready so much after its time ends the order */
#define LONG_UNUSED 16 /* plans in which a device had nothing of a kernel */

struct slot {
  double start, end;
  uint32_t task;
};

typedef struct timeline {
  struct slot *slots; /* by start */
  size_t count, capacity;
} timeline;

typedef struct assignment {
  double start, there; /* there: when others may read what it made */
  size_t device;
  bool divided; /* it is divided when it is ready */
  bool probe;   /* the device has it, or a grain of it, so that its time is seen */
  bool placed;  /* once; whatever has its number later is not planned */
} assignment;

/* ntasks = 0: no plan. */
struct plan {
  size_t ntasks, inserted; /* inserted: in gaps */
  bool strict;             /* devices keep to the order */
  bool divides;            /* some tasks are divided: there is an order of the others' starts, and no strict one */
  assignment *assigned;    /* [task] */
  size_t *position, *next; /* [task] on its device; [device]: how many it has begun */
  double makespan, weight;
  double began; /* when the first task was placed; negative: none was */
  /* Of each line of the performance models, plans that went by since it was last used. */
  uint8_t *unused;
  size_t nlines;
};

struct planner {
  pare__policy *policy;
  const pare__policy_graph *graph;
  double *rank;
  uint32_t *order; /* tasks by falling rank */
  timeline *timelines;
  assignment *assigned;
  size_t *probe;        /* [task]: the device that shall run it, or PARE__NO_DEVICE */
  double until, weight; /* of what is assigned: the latest end; the sum, but for that end */
  size_t inserted;
  bool divides;
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

static pare_status add_slot(struct planner *planner, size_t device, size_t place, struct slot slot) {
  timeline *line = &planner->timelines[device];
  void *items = line->slots;
  const pare_status status = pare__array_grow(&items, &line->capacity, line->count, sizeof slot);
  line->slots = items;
  if (status != PARE_OK) return status;
  memmove(line->slots + place + 1, line->slots + place, (line->count - place) * sizeof slot);
  line->slots[place] = slot;
  planner->inserted += place < line->count;
  line->count++;
  return PARE_OK;
}

/* When the device could begin its share, behind all that it has. */
static double share_start(const struct planner *planner, uint32_t task, size_t device) {
  size_t at;
  return find_gap(&planner->timelines[device], ready_at(planner, task, device), 0, false, &at);
}

/* For all devices that begin before the end T, at which all end: T = (W + sum (s_i + a_i) / b_i) / sum 1 / b_i. Without
 * those that begin later T is earlier, or the same but for rounding: who begins just then may be in or out, but no
 * device comes in again, and the first stays. */
static pare_status assign_divided(struct planner *planner, uint32_t task) {
  const pare__policy_task *known = pare__policy_task_of(planner->policy, task);
  const pare__performance *lines = planner->policy->performance;
  const double work = (double)known->n * known->per_step;
  double until = INFINITY, first = INFINITY;
  size_t device = PARE__NO_DEVICE, count = SIZE_MAX, before;
  do {
    double sum = work, rate = 0, earliest = INFINITY;
    before = count;
    count = 0;
    for (size_t i = 0; i < planner->policy->ndevices; i++) {
      const size_t at = pare__performance_at(lines, known->kernel, i);
      const double start = share_start(planner, task, i) + lines->a[at];
      if (!pare__policy_may(planner->policy, i, known) || start >= until) continue;
      sum += start / lines->b[at];
      rate += 1 / lines->b[at];
      earliest = fmin(earliest, start);
      count++;
    }
    if (count == 0) return pare__fail(PARE_ERR_DEVICE, "no device may run task %u", task);
    until = fmax(sum / rate, nextafter(earliest, INFINITY));
  } while (count < before);
  for (size_t i = 0; i < planner->policy->ndevices; i++) {
    const double start = share_start(planner, task, i);
    if (!pare__policy_may(planner->policy, i, known) || start >= until) continue;
    if (start < first) device = i;
    first = fmin(first, start);
    PARE__TRY(add_slot(planner, i, planner->timelines[i].count, (struct slot){start, until, task}));
  }
  planner->until = fmax(planner->until, until);
  planner->divides = true;
  planner->assigned[task] = (assignment){.start = first, .there = until, .device = device, .divided = true};
  return PARE_OK;
}

static pare_status assign_whole(struct planner *planner, uint32_t task, bool insert, bool divided) {
  const pare__policy_task *known = pare__policy_task_of(planner->policy, task);
  const size_t probe = planner->probe[task];
  size_t best = PARE__NO_DEVICE, place = 0;
  struct slot slot = {.task = task};
  double least = INFINITY, there = 0;
  for (size_t i = 0; i < planner->policy->ndevices; i++) {
    size_t at;
    if (divided ? !pare__policy_may(planner->policy, i, known) : !holds(planner, i, known)) continue;
    if (probe != PARE__NO_DEVICE && probe != i) continue;
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
  planner->divides = planner->divides || divided;
  planner->assigned[task] = (assignment){.start = slot.start, .there = there, .device = best, .divided = divided};
  return add_slot(planner, best, place, slot);
}

/* Is it divided among devices so that it ends early, rather than kept to one that weighs least? */
static bool is_shared(const pare__policy *policy, const pare__policy_task *task) {
  size_t count = 0;
  if (!pare__policy_hurries(policy) || !pare__policy_splits(task, 0, task->n)) return false;
  for (size_t i = 0; i < policy->ndevices && count < 2; i++) count += pare__policy_may(policy, i, task);
  return count > 1;
}

static pare_status assign(struct planner *planner, uint32_t task, bool insert) {
  const pare__policy_task *known = pare__policy_task_of(planner->policy, task);
  bool held = false;
  for (size_t i = 0; i < planner->policy->ndevices; i++) held = held || holds(planner, i, known);
  PARE__TRY(is_shared(planner->policy, known) ? assign_divided(planner, task)
                                              : assign_whole(planner, task, insert, !held));
  assignment *assigned = &planner->assigned[task];
  assigned->probe = planner->probe[task] != PARE__NO_DEVICE;
  if (assigned->probe) assigned->device = planner->probe[task];
  return PARE_OK;
}

/* Plans all tasks and keeps the plan if it weighs less than what there is. */
static pare_status try_plan(struct planner *planner, struct plan *plan, bool insert) {
  const size_t ntasks = planner->graph->ntasks;
  planner->until = planner->weight = 0;
  planner->inserted = 0;
  planner->divides = false;
  for (size_t i = 0; i < planner->policy->ndevices; i++) planner->timelines[i].count = 0;
  for (size_t i = 0; i < ntasks; i++) PARE__TRY(assign(planner, planner->order[i], insert));
  const double weight = planner->weight + planner->policy->weights.finish * planner->until;
  if (!(weight < plan->weight)) return PARE_OK;
  plan->weight = weight;
  plan->makespan = planner->until;
  plan->inserted = planner->inserted;
  plan->divides = planner->divides;
  plan->strict = !planner->divides;
  memcpy(plan->assigned, planner->assigned, ntasks * sizeof *plan->assigned);
  for (size_t i = 0; i < planner->policy->ndevices; i++)
    for (size_t k = 0; k < planner->timelines[i].count; k++) plan->position[planner->timelines[i].slots[k].task] = k;
  return PARE_OK;
}

/* ---- probes ---- */

static size_t line_of(const pare__policy *policy, uint32_t task, size_t device) {
  return pare__performance_at(policy->performance, pare__policy_task_of(policy, task)->kernel, device);
}

static pare_status know_lines(const pare__policy *policy, struct plan *plan) {
  const size_t nlines = policy->performance->nkernels * policy->ndevices;
  if (nlines <= plan->nlines) return PARE_OK;
  uint8_t *unused = realloc(plan->unused, nlines);
  if (!unused) return pare__fail_memory("lines of a plan", nlines);
  memset(unused + plan->nlines, 0, nlines - plan->nlines);
  plan->unused = unused;
  plan->nlines = nlines;
  return PARE_OK;
}

/* For each device the task that costs least of those whose kernel it should be seen to run: one a plan, that of the
 * kernel that it has been without for longest. */
static void find_probes(struct planner *planner, const struct plan *plan) {
  const pare__policy *policy = planner->policy;
  const size_t ntasks = planner->graph->ntasks;
  for (size_t i = 0; i < ntasks; i++) planner->probe[i] = PARE__NO_DEVICE;
  for (size_t device = 0; device < policy->ndevices && !pare__policy_saves(policy); device++) {
    uint8_t longest = 0;
    size_t chosen = ntasks;
    for (size_t i = ntasks; i-- > 0;) { /* the last are needed least */
      const uint32_t task = planner->order[i];
      const pare__policy_task *known = pare__policy_task_of(policy, task);
      const uint8_t unused = plan->unused[line_of(policy, task, device)];
      const bool due = unused >= LONG_UNUSED || pare__performance_doubtful(policy->performance, known->kernel, device);
      const bool may =
          is_shared(policy, known) ? pare__policy_may(policy, device, known) : holds(planner, device, known);
      if (unused <= longest || !due || !may || planner->probe[task] != PARE__NO_DEVICE) continue;
      longest = unused;
      chosen = task;
    }
    if (chosen < ntasks) planner->probe[chosen] = device;
  }
}

/* One more plan; who runs something of it says so. */
static void count_unused(const pare__policy *policy, struct plan *plan) {
  for (size_t i = 0; i < plan->ntasks; i++)
    for (size_t device = 0; device < policy->ndevices; device++)
      plan->unused[line_of(policy, (uint32_t)i, device)] |= 128;
  for (size_t at = 0; at < plan->nlines; at++) {
    const uint8_t count = plan->unused[at] & 127;
    plan->unused[at] = plan->unused[at] & 128 ? (uint8_t)PARE__MIN(count + 1, 127) : count;
  }
}

/* ---- the policy ---- */

static void forget_plan(struct plan *plan) {
  free(plan->assigned);
  free(plan->position);
  free(plan->next);
  *plan = (struct plan){.unused = plan->unused, .nlines = plan->nlines};
}

static void close_plan(pare__policy *policy) {
  struct plan *plan = policy->own;
  if (!plan) return;
  forget_plan(plan);
  free(plan->unused);
  free(plan);
  policy->own = NULL;
}

static pare_status open_plan(pare__policy *policy, size_t ntasks) {
  struct plan *plan = policy->own ? policy->own : calloc(1, sizeof *plan);
  if (!plan) return pare__fail_memory("a plan", sizeof *plan);
  policy->own = plan;
  forget_plan(plan);
  plan->assigned = calloc(ntasks + 1, sizeof *plan->assigned);
  plan->position = calloc(ntasks + 1, sizeof *plan->position);
  plan->next = calloc(policy->ndevices + 1, sizeof *plan->next);
  plan->makespan = plan->weight = INFINITY;
  plan->began = -1;
  if (!plan->assigned || !plan->position || !plan->next)
    return pare__fail_memory("a plan", ntasks * sizeof *plan->assigned);
  PARE__TRY(know_lines(policy, plan));
  plan->ntasks = ntasks;
  return PARE_OK;
}

pare_status pare__heft_plan(pare__policy *policy, const pare__policy_graph *graph, bool only_append) {
  const size_t ntasks = graph->ntasks;
  struct planner planner = {.policy = policy,
                            .graph = graph,
                            .rank = calloc(ntasks + 1, sizeof(double)),
                            .order = malloc((ntasks + 1) * sizeof(uint32_t)),
                            .timelines = calloc(policy->ndevices + 1, sizeof(timeline)),
                            .assigned = calloc(ntasks + 1, sizeof(assignment)),
                            .probe = malloc((ntasks + 1) * sizeof(size_t))};
  uint32_t *space = malloc((ntasks + 1) * sizeof *space);
  pare_status status = open_plan(policy, ntasks);
  struct plan *plan = policy->own;
  if (status == PARE_OK &&
      (!planner.rank || !planner.order || !planner.timelines || !planner.assigned || !planner.probe || !space))
    status = pare__fail_memory("a plan", ntasks * sizeof(assignment));
  if (status == PARE_OK) status = find_ranks(&planner);
  if (status == PARE_OK) {
    sort_by_rank(planner.rank, planner.order, space, ntasks);
    find_probes(&planner, plan);
    if (!only_append) status = try_plan(&planner, plan, true);
  }
  if (status == PARE_OK) status = try_plan(&planner, plan, false);
  if (status == PARE_OK)
    count_unused(policy, plan);
  else if (plan)
    forget_plan(plan);
  for (size_t i = 0; planner.timelines && i < policy->ndevices; i++) free(planner.timelines[i].slots);
  free(planner.timelines);
  free(planner.assigned);
  free(planner.probe);
  free(planner.rank);
  free(planner.order);
  free(space);
  return status;
}

double pare__heft_makespan(const pare__policy *policy) {
  const struct plan *plan = policy->own;
  return plan && plan->ntasks > 0 ? plan->makespan : 0;
}

size_t pare__heft_inserted(const pare__policy *policy) {
  const struct plan *plan = policy->own;
  return plan ? plan->inserted : 0;
}

static pare_status make_plan(pare__policy *policy, const pare__policy_graph *graph) {
  return pare__heft_plan(policy, graph, false);
}

/* Gives the probe its grain, and divides the rest. */
static pare_status place_divided(pare__policy *policy, const assignment *assigned, const pare__policy_piece *piece,
                                 double now, size_t *wake) {
  pare__policy_piece rest = *piece, probe = *piece;
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  if (assigned->probe && pare__policy_may(policy, assigned->device, task) &&
      pare__policy_splits(task, piece->begin, piece->end)) {
    rest.begin = probe.end = piece->begin + PARE__MAX(task->grain, 1);
    PARE__TRY(pare__policy_give(policy, assigned->device, &probe, now));
  }
  PARE__TRY(pare__policy_place_best(policy, &rest, now, wake));
  *wake = PARE__EVERY_DEVICE;
  return PARE_OK;
}

static pare_status place(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake) {
  struct plan *plan = policy->own;
  assignment *assigned = plan && piece->task < plan->ntasks ? &plan->assigned[piece->task] : NULL;
  const bool planned = assigned && !assigned->placed;
  if (planned) assigned->placed = true;
  if (planned && plan->began < 0) plan->began = now;
  if (planned && assigned->divided) return place_divided(policy, assigned, piece, now, wake);
  if (!planned || !pare__policy_may(policy, assigned->device, pare__policy_task_of(policy, piece->task))) {
    if (plan) plan->strict = false;
    PARE__TRY(pare__policy_place_best(policy, piece, now, wake));
    *wake = PARE__EVERY_DEVICE; /* those that waited for the plan, too */
    return PARE_OK;
  }
  const bool late = plan->strict && now > plan->began + assigned->start + LATE * plan->makespan;
  if (late) plan->strict = false;
  pare__policy_piece given = *piece;
  pare__policy_count(policy, assigned->device, &given, now);
  *wake = late ? PARE__EVERY_DEVICE : assigned->device;
  const double key = plan->divides ? plan->began + assigned->start : (double)plan->position[piece->task];
  PARE__TRY(pare__policy_push(&policy->queue[assigned->device], key, policy->order++, &given));
  policy->queued++;
  return PARE_OK;
}

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  struct plan *plan = policy->own;
  const pare__policy_queue *queue = &policy->queue[device];
  (void)wake;
  if (plan && plan->strict && queue->count > 0) {
    if (plan->position[pare__policy_head(queue)->piece.task] != plan->next[device]) return false;
    plan->next[device]++;
  }
  const bool taken =
      pare__policy_take(policy, device, out) ||
      (plan && !plan->strict && pare__policy_steal(policy, device, now) && pare__policy_take(policy, device, out));
  if (taken && plan && plan->nlines > line_of(policy, out->task, device))
    plan->unused[line_of(policy, out->task, device)] = 0;
  return taken;
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
