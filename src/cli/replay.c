/* A trace as a machine and tasks, so that what ran can be simulated. SPDX-License-Identifier: Apache-2.0 */
#include "cli/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"

/* One task as its slices show it: they cover [0, n) of its steps once. */
typedef struct job {
  const char *kind;
  int64_t n;
  double from, until;
  double nbytes; /* copied for it, either way */
} job;

typedef struct jobs {
  size_t count;
  job *job; /* in the order of their first slices */
} jobs;

static int by_time(const void *a, const void *b) {
  const cli_slice *x = *(const cli_slice *const *)a, *y = *(const cli_slice *const *)b;
  return (x->from > y->from) - (x->from < y->from);
}

static bool is_same_piece(const cli_slice *a, const cli_slice *b) {
  return a->begin == b->begin && a->end == b->end && strcmp(a->name, b->name) == 0;
}

static bool meets(const cli_slice *a, const cli_slice *b) { return a->begin < b->end && b->begin < a->end; }

/* A slice belongs to the last task of its kernel, unless one of that task's had the same steps: then a new one began.
 */
static void add_slice(jobs *all, const cli_slice *const *slices, size_t index, size_t *of) {
  const cli_slice *slice = slices[index];
  size_t at = all->count;
  while (at > 0 && strcmp(all->job[at - 1].kind, slice->kind) != 0) at--;
  bool fits = at > 0;
  for (size_t i = index; fits && i-- > 0;) fits = of[i] != at - 1 || !meets(slices[i], slice);
  if (!fits) {
    all->job[all->count] = (job){.kind = slice->kind, .from = slice->from};
    at = ++all->count;
  }
  job *mine = &all->job[at - 1];
  of[index] = at - 1;
  mine->n = slice->end > mine->n ? slice->end : mine->n;
  mine->until = slice->until > mine->until ? slice->until : mine->until;
}

/* The slice of the work that a copy is for: behind what comes in, and before what goes back; NULL: there is none. They
 * lie by device and time. */
static const cli_slice *work_of(const cli_gantt *gantt, const cli_slice *copy) {
  const cli_slice *const first = gantt->slice, *const behind = gantt->slice + gantt->nslices;
  const cli_slice *found = NULL;
  /* A piece that waits for its copy begins before it, if no other runs before. */
  for (const cli_slice *at = copy; !found && at > first && at[-1].device == copy->device; at--)
    if (!at[-1].is_copy) {
      if (is_same_piece(&at[-1], copy) && (copy->is_back || at[-1].until >= copy->until)) found = &at[-1];
      if (!copy->is_back) break;
    }
  for (const cli_slice *at = copy + 1; !found && !copy->is_back && at < behind && at->device == copy->device; at++)
    if (!at->is_copy && is_same_piece(at, copy)) found = at;
  return found;
}

/* What each device did of each kernel, [device][kind]. */
typedef struct sums {
  double steps, microseconds;
} sums;

/* malloc'ed; NULL: out of memory. */
static sums *add_up(const cli_gantt *gantt) {
  sums *all = calloc(gantt->ndevices * gantt->nkinds + 1, sizeof *all);
  for (size_t i = 0; all && i < gantt->nslices; i++) {
    const cli_slice *slice = &gantt->slice[i];
    size_t kind = 0;
    if (slice->is_copy) continue;
    while (strcmp(slice->kind, gantt->kind[kind]) != 0) kind++;
    sums *own = &all[slice->device * gantt->nkinds + kind];
    own->steps += (double)(slice->end - slice->begin);
    own->microseconds += slice->until - slice->from;
  }
  /* What a piece waited for its copies is no work. */
  for (size_t i = 0; all && i < gantt->nslices; i++) {
    const cli_slice *copy = &gantt->slice[i], *work = copy->is_copy && !copy->is_back ? work_of(gantt, copy) : NULL;
    size_t kind = 0;
    if (!work || !(copy->nbytes > 0)) continue;
    while (strcmp(work->kind, gantt->kind[kind]) != 0) kind++;
    all[work->device * gantt->nkinds + kind].microseconds -=
        fmax(fmin(copy->until, work->until) - fmax(copy->from, work->from), 0);
  }
  return all;
}

static double steps_a_second(const sums *of) { return of->microseconds > 0 ? 1e6 * of->steps / of->microseconds : 0; }

/* Steps a second of each kernel on each device; what a device never ran, it runs as fast as the fastest one. */
static json_t *rates_of(const cli_gantt *gantt, const sums *all, size_t device) {
  json_t *rates = json_object();
  for (size_t k = 0; k < gantt->nkinds; k++) {
    const double own = steps_a_second(&all[device * gantt->nkinds + k]);
    double best = 0;
    for (size_t d = 0; d < gantt->ndevices; d++) best = fmax(best, steps_a_second(&all[d * gantt->nkinds + k]));
    if (best > 0) json_object_set_new(rates, gantt->kind[k], json_real(own > 0 ? own : best));
  }
  return rates;
}

static cli_exit write_lines(const char *path, json_t *lines) {
  char *text = NULL;
  size_t nbytes = 0, i;
  json_t *line;
  FILE *file = open_memstream(&text, &nbytes);
  bool failed = !file || !lines;
  json_array_foreach(lines, i, line) {
    char *one = json_dumps(line, JSON_REAL_PRECISION(9));
    failed = failed || !one || fprintf(file, "%s\n", one) < 0;
    free(one);
  }
  if (file && fclose(file) != 0) failed = true;
  const cli_exit code = failed ? cli_error(CLI_DEVICE, "out of memory") : cli_file_write(path, text, nbytes);
  free(text);
  json_decref(lines);
  return code;
}

/* Bytes a second of its copies; 0: there are none. */
static double bandwidth_of(const cli_gantt *gantt, size_t device) {
  double nbytes = 0, microseconds = 0;
  for (size_t i = 0; i < gantt->nslices; i++) {
    const cli_slice *slice = &gantt->slice[i];
    if (slice->device != device || !(slice->nbytes > 0)) continue;
    nbytes += slice->nbytes;
    microseconds += slice->until - slice->from;
  }
  return microseconds > 0 ? 1e6 * nbytes / microseconds : 0;
}

cli_exit cli_replay_machine(const cli_gantt *gantt, const char *path) {
  sums *all = add_up(gantt);
  json_t *lines = all ? json_array() : NULL;
  for (size_t d = 0; d < gantt->ndevices && lines; d++) {
    const double bandwidth = bandwidth_of(gantt, d);
    json_t *line = json_pack("{s:o, s:s, s:o}", "device", cli_json_text(gantt->device[d]), "class", "cpu", "rates",
                             rates_of(gantt, all, d));
    if (bandwidth > 0) json_object_set_new(line, "bandwidth", json_real(bandwidth));
    json_array_append_new(lines, line);
  }
  free(all);
  return write_lines(path, lines);
}

static json_t *task_line(const jobs *all, size_t index) {
  const job *mine = &all->job[index];
  char name[CLI_TEXT];
  snprintf(name, sizeof name, "%zu", index);
  json_t *line = json_pack("{s:s, s:o, s:I, s:b}", "task", name, "kernel", cli_json_text(mine->kind), "n",
                           (json_int_t)mine->n, "split", mine->n > 1);
  for (size_t i = index; i-- > 0;) {
    if (all->job[i].until > mine->from) continue;
    snprintf(name, sizeof name, "%zu", i);
    json_object_set_new(line, "needs", json_pack("[s]", name));
    break;
  }
  if (mine->nbytes > 0) json_object_set_new(line, "reads", json_real(mine->nbytes));
  return line;
}

/* All that was copied for a task counts as read by it: the time on the link is the same, and so is a chain. */
static void add_copies(jobs *all, const cli_gantt *gantt, const cli_slice *const *slices, const size_t *of,
                       size_t count) {
  for (size_t i = 0; i < gantt->nslices; i++) {
    const cli_slice *copy = &gantt->slice[i], *work = copy->nbytes > 0 ? work_of(gantt, copy) : NULL;
    if (!work) continue;
    size_t low = 0, high = count; /* the first that begins no earlier */
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      if (slices[middle]->from < work->from)
        low = middle + 1;
      else
        high = middle;
    }
    while (low < count && slices[low] != work) low++;
    if (low < count) all->job[of[low]].nbytes += copy->nbytes;
  }
}

cli_exit cli_replay_tasks(const cli_gantt *gantt, const char *path) {
  const cli_slice **slices = calloc(gantt->nslices + 1, sizeof *slices);
  size_t *of = calloc(gantt->nslices + 1, sizeof *of), count = 0;
  jobs all = {.job = calloc(gantt->nslices + 1, sizeof *all.job)};
  cli_exit code = slices && of && all.job ? CLI_OK : cli_error(CLI_DEVICE, "out of memory");
  for (size_t i = 0; i < gantt->nslices && code == CLI_OK; i++)
    if (!gantt->slice[i].is_copy && gantt->slice[i].end > gantt->slice[i].begin) slices[count++] = &gantt->slice[i];
  if (code == CLI_OK && count == 0) code = cli_error(CLI_INPUT, "the trace does not say which steps its slices ran");
  if (code == CLI_OK) qsort(slices, count, sizeof *slices, by_time);
  for (size_t i = 0; i < count && code == CLI_OK; i++) add_slice(&all, slices, i, of);
  if (code == CLI_OK) add_copies(&all, gantt, slices, of, count);
  json_t *lines = code == CLI_OK ? json_array() : NULL;
  for (size_t i = 0; i < all.count && code == CLI_OK; i++) json_array_append_new(lines, task_line(&all, i));
  if (code == CLI_OK) code = write_lines(path, lines);
  free(slices);
  free(of);
  free(all.job);
  return code;
}
