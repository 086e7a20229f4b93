/* Where a pipeline is cut in stages, and when it is cut again. SPDX-License-Identifier: Apache-2.0
 *
 * The first cut is by what each task took on one replica, and by the speeds of devices as far as they are known. What
 * the stages then take says how long each device is at a task, against that replica: when the longest stage would be
 * much shorter with another cut, there is another. One that turns out longer is taken back, and the one before stays
 * for a while, then: what slowed it may have been something else. Results do not depend on cuts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/parallel.h"

/* A cut promises so much shorter a longest stage, or it is not made; and so often it is made. */
static const double worth_cutting = 0.9;
enum { MOST_RECUTS = 6, RESTS = 8 };

void pare__stages_close(pare__stages *stages) {
  while (stages) {
    pare__stages *older = stages->older;
    free(stages->key);
    free(stages->cut);
    free(stages->member);
    free(stages->seconds);
    free(stages->task_seconds);
    free(stages->times);
    free(stages->speed);
    free(stages);
    stages = older;
  }
}

void pare__stages_cut(pare__stages *stages, const double *seconds, size_t ntasks, const double *weight) {
  double all = 0, weights = 0, until = 0, reached = 0;
  for (size_t i = 0; i < ntasks; i++) all += seconds[i];
  for (size_t s = 0; s < stages->count; s++) weights += weight[s];
  for (size_t s = 0, task = 0; s < stages->count; s++) {
    const size_t first = task, later = stages->count - s - 1; /* each has a task at least */
    until += weight[s] / weights * all;
    while (task < ntasks - later && (later == 0 || task == first || reached + seconds[task] / 2 < until)) {
      stages->seconds[s] += seconds[task];
      reached += seconds[task++];
    }
    stages->cut[s] = task;
  }
}

double pare__stages_speed(const pare__team *team, size_t member, const pare__crew_line *line) {
  return line[member].b > 0 ? 1 / line[member].b : pare__team_weight(team, member);
}

/* For all members that are there: their number; stages are fewer if tasks are. */
static size_t take_members(const pare__team *team, size_t ntasks, size_t *member) {
  size_t count = 0;
  for (size_t i = 0; i < team->nmembers && count < ntasks; i++)
    if (!pare__crew_is_lost(team->crew, i)) member[count++] = i;
  return count;
}

pare_status pare__stages_open(const pare__team *team, const char *key, const double *task_seconds, size_t ntasks,
                              const double *speed, pare__stages **out) {
  pare__stages *stages = *out = calloc(1, sizeof *stages);
  const size_t most = team->nmembers + 1;
  double *weight = calloc(most, sizeof *weight);
  if (stages) {
    stages->key = pare__strdup(key);
    stages->cut = calloc(most, sizeof *stages->cut);
    stages->member = calloc(most, sizeof *stages->member);
    stages->seconds = calloc(most, sizeof *stages->seconds);
    stages->times = calloc(most, sizeof *stages->times);
    stages->speed = calloc(most, sizeof *stages->speed);
    stages->task_seconds = malloc((ntasks + 1) * sizeof *stages->task_seconds);
  }
  const bool there = stages && weight && stages->key && stages->cut && stages->member && stages->seconds &&
                     stages->times && stages->speed && stages->task_seconds;
  if (there) {
    memcpy(stages->task_seconds, task_seconds, ntasks * sizeof *task_seconds);
    memcpy(stages->speed, speed, team->nmembers * sizeof *speed);
    stages->ntasks = ntasks;
    stages->count = take_members(team, ntasks, stages->member);
    for (size_t s = 0; s < stages->count; s++) weight[s] = speed[stages->member[s]];
    if (stages->count > 0) pare__stages_cut(stages, task_seconds, ntasks, weight);
  }
  free(weight);
  if (!there) return pare__fail_memory("stages", ntasks * sizeof *task_seconds);
  return stages->count > 0 ? PARE_OK
         : ntasks == 0     ? pare__fail(PARE_ERR_UNSUPPORTED, "nothing of it is left to run on a device")
                           : pare__fail(PARE_ERR_DEVICE, "all devices of the context are lost");
}

/* ---- what they took ---- */

void pare__stages_note(pare__stages *stages, size_t stage, double seconds) {
  pare__timings_add(&stages->times[stage], seconds);
}

static bool is_ripe(const pare__stages *stages) {
  for (size_t s = 0; s < stages->count; s++)
    if (!pare__timings_full(&stages->times[s])) return false;
  return true;
}

static double longest(const double *seconds, size_t count) {
  double most = 0;
  for (size_t s = 0; s < count; s++) most = fmax(most, seconds[s]);
  return most;
}

/* How long each stage's device is at a task, against the replica that was timed: [member]. What was measured begins
 * anew. */
static void find_slowness(pare__stages *stages, double *slowness) {
  stages->longest = 0;
  for (size_t s = 0; s < stages->count; s++) {
    const double seconds = pare__timings_median(&stages->times[s]);
    double expected = 0;
    for (size_t i = s ? stages->cut[s - 1] : 0; i < stages->cut[s]; i++) expected += stages->task_seconds[i];
    slowness[stages->member[s]] = seconds / fmax(expected, 1e-12);
    stages->longest = fmax(stages->longest, seconds);
    stages->times[s] = (pare__timings){0};
  }
}

/* ---- again ---- */

static bool lacks_a_member(const pare__team *team, const pare__stages *stages) {
  for (size_t s = 0; s < stages->count; s++)
    if (pare__crew_is_lost(team->crew, stages->member[s])) return true;
  return false;
}

/* Puts the older one before it. */
static pare__stages *take_back(pare__stages *stages) {
  pare__stages *older = stages->older;
  stages->older = older->older;
  older->older = stages;
  older->ncuts = stages->ncuts + 1;
  older->rests = RESTS;
  return older;
}

/* Is it longer than the one before was? That is asked once: later, other things have changed as well. */
static bool is_worse(const pare__team *team, pare__stages *stages) {
  const pare__stages *older = stages->judged ? NULL : stages->older;
  stages->judged = true;
  return older && older->longest > 0 && stages->longest > older->longest && !lacks_a_member(team, older);
}

/* By slowness; NULL: by the speeds of before. NULL if there is no memory for it: it is a help. */
static pare__stages *cut_again(const pare__team *team, pare__stages *stages, const double *slowness) {
  pare__stages *made = NULL;
  double *speed = calloc(team->nmembers + 1, sizeof *speed);
  for (size_t i = 0; speed && i < team->nmembers; i++)
    speed[i] = slowness ? 1 / fmax(slowness[i], 1e-12) : stages->speed[i];
  if (!speed || pare__stages_open(team, stages->key, stages->task_seconds, stages->ntasks, speed, &made) != PARE_OK) {
    pare__stages_close(made);
    made = NULL;
  }
  free(speed);
  if (!made) return NULL;
  made->ncuts = stages->ncuts + 1;
  for (size_t s = 0; slowness && s < made->count; s++) made->seconds[s] *= slowness[made->member[s]];
  return made;
}

pare__stages *pare__stages_improve(const pare__team *team, pare__stages *stages) {
  pare__stages *made = NULL;
  if (lacks_a_member(team, stages)) {
    made = cut_again(team, stages, NULL);
  } else if (stages->ncuts < MOST_RECUTS && is_ripe(stages)) {
    double *slowness = calloc(team->nmembers + 1, sizeof *slowness);
    if (!slowness) return stages;
    find_slowness(stages, slowness);
    const bool worse = is_worse(team, stages), rests = stages->rests > 0;
    if (rests) stages->rests--;
    if (!worse && !rests) made = cut_again(team, stages, slowness);
    free(slowness);
    if (worse) return take_back(stages);
    if (made && longest(made->seconds, made->count) > worth_cutting * stages->longest) {
      pare__stages_close(made);
      made = NULL;
    }
  }
  if (!made) return stages;
  made->older = stages;
  return made;
}
