/* A trace as a machine and tasks, so that what ran can be simulated. SPDX-License-Identifier: Apache-2.0 */
#include "cli/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"

#define MOST 1e18       /* of any number in files of machines and tasks */
#define LEAST 1e-12     /* of rates and work there */
#define MOST_NAME 120   /* bytes of a device's, here */
#define ROUNDING 0.002  /* microseconds: traces are written to a thousandth */
#define TELLS 1         /* what pieces differ in size, against which their times may err by one of theirs */
#define MOST_WAKING 1e3 /* microseconds that a thread may take to wake up; what waits longer waits for something */
#define MOST_LAUNCH 0.5 /* of a piece, in the mean */
#define ALIKE 1.5       /* copies whose sizes differ by less do not tell what each costs besides */

/* One task as its slices show it: they cover [0, n) of its steps once. */
typedef struct job {
  const char *kind;
  int64_t n, grain, ran; /* n 0: not said; grain 0: not said */
  double ready, until;   /* all that it needs was there; all of it is done, its copies included */
  double reads, writes;  /* bytes that were copied for it to devices, and back */
  double waking;         /* from when it was ready and a device free for it until it began there, without copies */
  double work;           /* of each step, in units of its kernel */
  bool says_ready;       /* else `ready` is when it began, and it may have waited for a device */
  size_t last;           /* of its slices */
} job;

typedef struct jobs {
  size_t count, nopen;
  job *job;     /* in the order of their first slices */
  size_t *open; /* those that may get more slices */
} jobs;

/* What each device did of each kernel, [device][kind]. */
typedef struct sums {
  double count, units, seconds, squares, products; /* squares: of units; products: of units and seconds */
  double launch;                                   /* seconds that each piece costs besides; below 0: not known */
} sums;

typedef struct replay {
  const cli_gantt *gantt;
  double *own;    /* of each slice: microseconds, without what it waited for its copies */
  size_t *of;     /* its task; NONE: of none */
  size_t *before; /* the slice of the same task before it; NONE: it is the first */
  sums *sums;
  double *launch;  /* that of a device's kernels of which it is not known */
  double *free_at; /* of each device, while slices are looked at by time */
  jobs jobs;
} replay;
#define NONE SIZE_MAX

static bool is_same_piece(const cli_slice *a, const cli_slice *b) {
  return a->begin == b->begin && a->end == b->end && strcmp(a->name, b->name) == 0;
}

static bool meets(const cli_slice *a, const cli_slice *b) { return a->begin < b->end && b->begin < a->end; }

static size_t kind_of(const cli_gantt *gantt, const char *kind) {
  size_t i = 0;
  while (strcmp(gantt->kind[i], kind) != 0) i++;
  return i;
}

/* In bounds that files of machines and tasks have. */
static json_t *real_of(double value, double least) { return json_real(fmax(fmin(value, MOST), least)); }

/* ---- what slices belong together ---- */

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

/* May the slice be one more of an open task? */
static bool fits(const replay *all, const job *mine, size_t index) {
  const cli_slice *slice = &all->gantt->slice[index];
  if (strcmp(mine->kind, slice->kind) != 0 || mine->n != slice->n || mine->work < slice->work ||
      mine->work > slice->work)
    return false;
  for (size_t i = mine->last; i != NONE; i = all->before[i])
    if (meets(&all->gantt->slice[i], slice)) return false;
  return true;
}

/* A slice belongs to the first task of its kernel that has as many steps and lacks these; where it is not said how many
 * there are, to the last one, unless that has them. */
static void add_slice(replay *all, size_t index) {
  const cli_slice *slice = &all->gantt->slice[index];
  const double waking = slice->from - fmax(slice->ready, all->free_at[slice->device]);
  jobs *known = &all->jobs;
  size_t at = 0;
  while (at < known->nopen && !fits(all, &known->job[known->open[at]], index)) at++;
  if (at == known->nopen) {
    if (slice->n == 0) /* the one before gets no more */
      for (size_t i = 0; i < known->nopen; i++)
        if (known->job[known->open[i]].n == 0 && strcmp(known->job[known->open[i]].kind, slice->kind) == 0) at = i;
    if (at == known->nopen) known->nopen++;
    known->open[at] = known->count;
    known->job[known->count++] = (job){.kind = slice->kind,
                                       .n = slice->n,
                                       .grain = slice->grain,
                                       .work = slice->work,
                                       .ready = slice->ready,
                                       .says_ready = slice->says_ready,
                                       .waking = waking <= MOST_WAKING ? fmax(waking, 0) : 0,
                                       .last = NONE};
  }
  job *mine = &known->job[known->open[at]];
  all->of[index] = known->open[at];
  all->before[index] = mine->last;
  mine->last = index;
  mine->ran += slice->end - slice->begin;
  mine->until = fmax(mine->until, slice->until);
  all->free_at[slice->device] = slice->until;
  if (mine->n > 0 && mine->ran >= mine->n) known->open[at] = known->open[--known->nopen];
}

static int by_time(const void *a, const void *b, void *user) {
  const cli_slice *slice = user, *x = &slice[*(const size_t *)a], *y = &slice[*(const size_t *)b];
  return (x->from > y->from) - (x->from < y->from);
}

/* Copies belong to tasks, and what a piece waited for them is no work. */
static void add_copies(replay *all) {
  for (size_t i = 0; i < all->gantt->nslices; i++) {
    const cli_slice *copy = &all->gantt->slice[i], *work = copy->nbytes > 0 ? work_of(all->gantt, copy) : NULL;
    const size_t at = work ? (size_t)(work - all->gantt->slice) : 0;
    if (!work || all->of[at] == NONE) continue;
    job *mine = &all->jobs.job[all->of[at]];
    *(copy->is_back ? &mine->writes : &mine->reads) += copy->nbytes;
    mine->ready = fmin(mine->ready, copy->from);
    mine->until = fmax(mine->until, copy->until);
    if (copy->is_back) continue;
    mine->waking = 0;
    all->own[at] -= fmax(fmin(copy->until, work->until) - fmax(copy->from, work->from), 0);
  }
}

/* Seconds of work of the slice, without waiting for its copies. */
static double seconds_of(const replay *all, size_t index) { return 1e-6 * fmax(all->own[index], 0); }

static sums *sums_of(const replay *all, const cli_slice *slice) {
  return &all->sums[slice->device * all->gantt->nkinds + kind_of(all->gantt, slice->kind)];
}

/* t = a + b n, where each kernel has its own b and all have the device's a: least squares, a no longer than the
 * shortest piece. Kernels whose pieces are of one size say nothing of it. */
static double launch_of(const replay *all, size_t device) {
  const cli_gantt *gantt = all->gantt;
  double count = 0, seconds = 0, shortest = INFINITY, told = 0, weight = 0;
  for (size_t i = 0; i < gantt->nslices; i++) {
    if (gantt->slice[i].device != device || gantt->slice[i].is_copy) continue;
    shortest = fmin(shortest, seconds_of(all, i));
  }
  for (size_t k = 0; k < gantt->nkinds; k++) {
    const sums *sum = &all->sums[device * gantt->nkinds + k];
    if (!(sum->squares > 0)) continue;
    count += sum->count;
    seconds += sum->seconds;
    told += sum->products * sum->units / sum->squares;
    weight += sum->units * sum->units / sum->squares;
  }
  return count - weight > TELLS ? fmax(fmin((seconds - told) / (count - weight), shortest), 0) : 0;
}

/* What policies reckoned with when they cut is what they shall reckon with again, whatever a line through the pieces
 * that came of it says; but no piece is a launch for the most part. */
static double own_launch(const replay *all, size_t device, size_t kind) {
  const sums *sum = &all->sums[device * all->gantt->nkinds + kind];
  if (sum->launch < 0 || !(sum->count > 0)) return all->launch[device];
  return fmin(sum->launch, MOST_LAUNCH * sum->seconds / sum->count);
}

/* Units a second, without launches; 0: it ran none, or in no time. */
static double rate_of(const replay *all, size_t device, size_t kind) {
  const sums *sum = &all->sums[device * all->gantt->nkinds + kind];
  const double seconds = sum->seconds - sum->count * own_launch(all, device, kind);
  return seconds > 0 ? sum->units / seconds : 0;
}

/* What devices did of each kernel. */
static void add_work(replay *all) {
  const cli_gantt *gantt = all->gantt;
  for (size_t i = 0; i < gantt->nslices; i++) {
    const cli_slice *slice = &gantt->slice[i];
    const double units = slice->work * (double)(slice->end - slice->begin);
    if (slice->is_copy) continue;
    sums *sum = sums_of(all, slice);
    sum->count++;
    sum->launch = slice->launch < 0 ? -1 : 1e-6 * slice->launch; /* as it was last */
    sum->units += units;
    sum->squares += units * units;
    sum->products += units * seconds_of(all, i);
    sum->seconds += seconds_of(all, i);
  }
  for (size_t d = 0; d < gantt->ndevices; d++) all->launch[d] = launch_of(all, d);
}

static void close_replay(replay *all) {
  free(all->own);
  free(all->of);
  free(all->before);
  free(all->sums);
  free(all->launch);
  free(all->free_at);
  free(all->jobs.job);
  free(all->jobs.open);
}

/* Close it in any case. */
static cli_exit open_replay(const cli_gantt *gantt, replay *all) {
  const size_t most = gantt->nslices + 1;
  size_t *order = calloc(most, sizeof *order), count = 0;
  *all = (replay){.gantt = gantt,
                  .own = calloc(most, sizeof *all->own),
                  .of = calloc(most, sizeof *all->of),
                  .before = calloc(most, sizeof *all->before),
                  .sums = calloc(gantt->ndevices * gantt->nkinds + 1, sizeof *all->sums),
                  .launch = calloc(gantt->ndevices + 1, sizeof *all->launch),
                  .free_at = calloc(gantt->ndevices + 1, sizeof *all->free_at),
                  .jobs = {.job = calloc(most, sizeof(job)), .open = calloc(most, sizeof(size_t))}};
  const bool failed = !order || !all->own || !all->of || !all->before || !all->sums || !all->launch || !all->free_at ||
                      !all->jobs.job || !all->jobs.open;
  for (size_t i = 0; i < gantt->nslices && !failed; i++) {
    const cli_slice *slice = &gantt->slice[i];
    all->own[i] = slice->until - slice->from;
    all->of[i] = NONE;
    if (!slice->is_copy && slice->end > slice->begin) order[count++] = i;
  }
  if (!failed) {
    qsort_r(order, count, sizeof *order, by_time, gantt->slice);
    for (size_t i = 0; i < count; i++) add_slice(all, order[i]);
    add_copies(all);
    add_work(all);
  }
  free(order);
  if (failed) return cli_error(CLI_DEVICE, "out of memory");
  return all->jobs.count > 0
             ? CLI_OK
             : cli_error(CLI_INPUT, "the trace does not say which steps its slices ran: --machine and --tasks are "
                                    "of traces that pare wrote");
}

/* ---- the machine ---- */

/* Units a second of each kernel on each device; what a device never ran, it runs as fast as the fastest one. */
static json_t *rates_of(const replay *all, size_t device) {
  const cli_gantt *gantt = all->gantt;
  json_t *rates = json_object();
  for (size_t k = 0; k < gantt->nkinds; k++) {
    const double own = rate_of(all, device, k);
    double best = 0, units = 0;
    for (size_t d = 0; d < gantt->ndevices; d++) {
      best = fmax(best, rate_of(all, d, k));
      units += all->sums[d * gantt->nkinds + k].units;
    }
    if (units > 0) json_object_set_new(rates, gantt->kind[k], real_of(own > 0 ? own : best > 0 ? best : MOST, LEAST));
  }
  return rates;
}

/* Seconds of each kernel's launch; of all others that of the device. */
static json_t *launches_of(const replay *all, size_t device) {
  const cli_gantt *gantt = all->gantt;
  json_t *launches = json_object();
  for (size_t k = 0; k < gantt->nkinds; k++) {
    const sums *sum = &all->sums[device * gantt->nkinds + k];
    if (sum->count > 0 && sum->launch >= 0)
      json_object_set_new(launches, gantt->kind[k], real_of(own_launch(all, device, k), 0));
  }
  json_object_set_new(launches, "*", real_of(all->launch[device], 0));
  return launches;
}

/* With numbers in front where the names alone would not do: those of other programs' traces may be the same, or none.
 */
static json_t *name_of(const cli_gantt *gantt, size_t device) {
  bool do_alone = true;
  char name[MOST_NAME + 24];
  for (size_t i = 0; i < gantt->ndevices; i++) {
    const size_t length = strlen(gantt->device[i]);
    do_alone = do_alone && length > 0 && length <= MOST_NAME;
    for (size_t k = 0; k < i && do_alone; k++) do_alone = strcmp(gantt->device[i], gantt->device[k]) != 0;
  }
  if (do_alone) return cli_json_text(gantt->device[device]);
  snprintf(name, sizeof name, "%zu %.*s", device + 1, MOST_NAME, gantt->device[device]);
  return cli_json_text(name);
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

/* Of its copies: a second each, and bytes a second; no bandwidth: there are none. */
typedef struct link {
  double latency, bandwidth;
} link;

static const cli_slice *copy_of(const cli_gantt *gantt, size_t device, size_t index) {
  const cli_slice *slice = &gantt->slice[index];
  return slice->device == device && slice->nbytes > 0 ? slice : NULL;
}

/* t = a + b n by least squares, neither below 0, so that all of its copies together take as long as they did. */
static link link_of(const cli_gantt *gantt, size_t device) {
  double count = 0, n = 0, t = 0, least = INFINITY, most = 0, nn = 0, nt = 0;
  for (size_t i = 0; i < gantt->nslices; i++) {
    const cli_slice *copy = copy_of(gantt, device, i);
    if (!copy) continue;
    count++;
    n += copy->nbytes;
    t += 1e-6 * (copy->until - copy->from);
    least = fmin(least, copy->nbytes);
    most = fmax(most, copy->nbytes);
  }
  if (!(t > 0)) return (link){0, 0};
  for (size_t i = 0; i < gantt->nslices; i++) {
    const cli_slice *copy = copy_of(gantt, device, i);
    if (!copy) continue;
    nn += (copy->nbytes - n / count) * (copy->nbytes - n / count);
    nt += (copy->nbytes - n / count) * (1e-6 * (copy->until - copy->from) - t / count);
  }
  const double slope = nn > 0 ? nt / nn : 0, each = (t - slope * n) / count;
  if (most < ALIKE * least || each < 0) return (link){0, fmin(n / t, MOST)}; /* sizes that tell no line */
  if (!(slope > 1 / MOST)) return (link){t / count, MOST};
  return (link){each, fmin(1 / slope, MOST)};
}

cli_exit cli_replay_machine(const cli_gantt *gantt, const char *path) {
  replay all;
  cli_exit code = open_replay(gantt, &all);
  json_t *lines = code == CLI_OK ? json_array() : NULL;
  for (size_t d = 0; d < gantt->ndevices && lines; d++) {
    const link copies = link_of(gantt, d);
    json_t *line =
        json_pack("{s:o, s:s, s:o}", "device", name_of(gantt, d), "class", "cpu", "rates", rates_of(&all, d));
    json_object_set_new(line, "launch", launches_of(&all, d));
    if (copies.bandwidth > 0) json_object_set_new(line, "bandwidth", real_of(copies.bandwidth, LEAST));
    if (copies.latency > 0) json_object_set_new(line, "latency", real_of(copies.latency, 0));
    json_array_append_new(lines, line);
  }
  close_replay(&all);
  return code == CLI_OK ? write_lines(path, lines) : code;
}

/* ---- the tasks ---- */

static int by_end(const void *a, const void *b, void *user) {
  const job *all = user, *x = &all[*(const size_t *)a], *y = &all[*(const size_t *)b];
  return (x->until > y->until) - (x->until < y->until);
}

/* The last task that had ended when this one was ready; NONE: there is none. `ended` has them by their ends. */
static size_t needed_by(const jobs *all, const size_t *ended, size_t index) {
  size_t low = 0, high = all->count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (all->job[ended[middle]].until <= all->job[index].ready + ROUNDING)
      low = middle + 1;
    else
      high = middle;
  }
  while (low > 0 && ended[low - 1] >= index) low--; /* so that no rounding makes a circle */
  return low > 0 ? ended[low - 1] : NONE;
}

static json_t *task_line(const jobs *all, const size_t *ended, size_t index, double from) {
  const job *mine = &all->job[index];
  const int64_t n = mine->ran; /* of a task that failed half-way less than all */
  const size_t need = needed_by(all, ended, index);
  /* Nothing that ran explains why it did not begin earlier: so long the host read, wrote, computed or woke up. */
  const double paused = mine->ready - (need == NONE ? from : all->job[need].until) + mine->waking;
  char name[CLI_TEXT];
  snprintf(name, sizeof name, "%zu", index);
  json_t *line = json_pack("{s:s, s:o, s:I, s:b}", "task", name, "kernel", cli_json_text(mine->kind), "n",
                           (json_int_t)n, "split", mine->grain > 0 ? mine->grain < n : n > 1);
  if (mine->grain > 1 && mine->grain < n) json_object_set_new(line, "grain", json_integer(mine->grain));
  if (mine->work < 1 || mine->work > 1) json_object_set_new(line, "work", real_of(mine->work, LEAST));
  snprintf(name, sizeof name, "%zu", need);
  if (need != NONE) json_object_set_new(line, "needs", json_pack("{s:i}", name, 0)); /* its copies are known */
  if (mine->says_ready && paused > ROUNDING) json_object_set_new(line, "host", real_of(1e-6 * paused, 0));
  if (mine->reads > 0) json_object_set_new(line, "reads", real_of(mine->reads, 0));
  if (mine->writes > 0) json_object_set_new(line, "writes", real_of(mine->writes, 0));
  return line;
}

cli_exit cli_replay_tasks(const cli_gantt *gantt, const char *path) {
  replay all;
  cli_exit code = open_replay(gantt, &all);
  size_t *ended = calloc(all.jobs.count + 1, sizeof *ended);
  if (code == CLI_OK && !ended) code = cli_error(CLI_DEVICE, "out of memory");
  json_t *lines = code == CLI_OK ? json_array() : NULL;
  for (size_t i = 0; i < all.jobs.count && code == CLI_OK; i++) ended[i] = i;
  if (code == CLI_OK) qsort_r(ended, all.jobs.count, sizeof *ended, by_end, all.jobs.job);
  for (size_t i = 0; i < all.jobs.count && code == CLI_OK; i++)
    json_array_append_new(lines, task_line(&all.jobs, ended, i, gantt->from));
  if (code == CLI_OK) code = write_lines(path, lines);
  free(ended);
  close_replay(&all);
  return code;
}
