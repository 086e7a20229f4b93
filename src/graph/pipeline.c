/* A model as a pipeline: stages on different devices, several parts of a batch in flight (Huang et al. 2019, "GPipe").
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/parallel.h"
#include "graph/stage.h"

/* So many parts of a batch for each stage: while the pipeline fills and drains, stages are idle for as long as one part
 * less than there are stages takes. */
enum { PARTS_A_STAGE = 4, MOST_STAGES_KEPT = 64 };

/* A part of the batch on its way through the stages. Nothing of it is freed before the run's last reference is gone: a
 * thread that hangs in its driver may still read it. */
typedef struct pare__microbatch pare__microbatch;
typedef struct step {
  pare__microbatch *microbatch;
  size_t stage;
  void **made; /* by this stage: of each place a copy, or NULL */
} step;
struct pare__microbatch {
  pare__divided *divided;
  pare__stages *stages; /* NULL: all tasks at once, timed */
  int64_t first, rows;
  size_t ntasks, nplaces; /* 0: no stage has run */
  double *seconds;        /* of the timed run */
  step *step;
};

static void microbatch_close(pare__microbatch *one) {
  for (size_t s = 0; one->step && s < (one->stages ? one->stages->count : 1); s++) {
    for (size_t p = 0; one->step[s].made && p < one->nplaces; p++) free(one->step[s].made[p]);
    free(one->step[s].made);
  }
  free(one->step);
  free(one->seconds);
}

void pare__microbatches_close(pare__divided *divided) {
  for (size_t i = 0; i < divided->nmicrobatches; i++) microbatch_close(&divided->microbatch[i]);
  if (divided->timed) microbatch_close(divided->timed);
  free(divided->microbatch);
  free(divided->timed);
}

/* ---- one stage of one part, on whatever member has it ---- */

/* The newest copy of each place that stages before this one made. */
static pare_status find_given(const pare__microbatch *one, size_t stage, void ***out) {
  *out = NULL;
  if (stage == 0) return PARE_OK;
  void **given = *out = calloc(one->nplaces + 1, sizeof(void *));
  if (!given) return pare__fail_memory("a stage", one->nplaces * sizeof(void *));
  for (size_t s = 0; s < stage; s++)
    for (size_t p = 0; one->step[s].made && p < one->nplaces; p++)
      if (one->step[s].made[p]) given[p] = one->step[s].made[p];
  return PARE_OK;
}

/* What was made is there for the next stage. A stage may have run twice, if its first member seemed lost: the copies
 * of whoever ends first stay, since others may read them already. */
static void keep_made(step *one, pare__stage *stage) {
  pare__microbatch *microbatch = one->microbatch;
  pthread_mutex_lock(&microbatch->divided->lock);
  const bool first = !one->made;
  if (first) {
    microbatch->ntasks = stage->ntasks;
    microbatch->nplaces = stage->nplaces;
    microbatch->seconds = stage->seconds;
    one->made = stage->made;
  }
  pthread_mutex_unlock(&microbatch->divided->lock);
  if (first) return;
  for (size_t p = 0; p < stage->nplaces; p++) free(stage->made[p]);
  free(stage->made);
  free(stage->seconds);
}

static pare_status run_part(step *one, size_t member, pare__stage *stage, pare__part *part) {
  pare__divided *divided = one->microbatch->divided;
  pare_model *replica;
  PARE__TRY(pare__divided_replica(divided, member, &replica));
  PARE__TRY(pare__part_open(divided, member, part));
  PARE__TRY(pare__stage_run(replica, part->input, stage, part->output));
  for (unsigned i = 0; i < divided->noutputs && divided->wanted; i++) {
    if (divided->wanted[i]) continue;
    pare_tensor_close(part->output[i]);
    part->output[i] = NULL;
  }
  const bool last = stage->number + 1 == stage->nstages && !stage->timed;
  const pare_status status = last ? pare__part_read(divided, part, false) : PARE_OK;
  keep_made(one, stage);
  return status;
}

/* On the device that it is cut for. */
static void note_seconds(const step *one, size_t member, double seconds) {
  const pare__microbatch *microbatch = one->microbatch;
  pare__team *team = microbatch->divided->team;
  pare__stages *stages = microbatch->stages;
  if (!stages || stages->member[one->stage] != member) return;
  pthread_mutex_lock(&team->lock);
  pare__stages_note(stages, one->stage, seconds / (double)PARE__MAX(microbatch->rows, (int64_t)1));
  pthread_mutex_unlock(&team->lock);
}

static pare_status run_step(void *argument, size_t member, int64_t begin, int64_t end) {
  step *one = argument;
  pare__microbatch *microbatch = one->microbatch;
  pare__divided *divided = microbatch->divided;
  static const size_t all_tasks = 0;
  pare__part part = {.first = microbatch->first, .rows = microbatch->rows};
  void **given = NULL;
  (void)begin;
  (void)end;
  atomic_fetch_add(&divided->references, 1);
  pthread_mutex_lock(&divided->lock);
  const pare__stages *stages = microbatch->stages;
  pare__stage stage = {.cut = stages ? stages->cut : &all_tasks,
                       .nstages = stages ? stages->count : 1,
                       .number = one->stage,
                       .ntasks = microbatch->ntasks,
                       .nplaces = microbatch->nplaces,
                       .timed = !stages};
  pare_status status = find_given(microbatch, one->stage, &given);
  pthread_mutex_unlock(&divided->lock);
  stage.given = given;
  const uint64_t preparations = pare__team_preparations(divided->team, member);
  const double began = pare__seconds();
  if (status == PARE_OK) status = run_part(one, member, &stage, &part);
  if (status == PARE_OK) note_seconds(one, member, pare__seconds() - began);
  pare__team_prepared(divided->team, member, preparations);
  pare__part_close(divided, &part);
  free(given);
  pare__divided_release(divided);
  return status;
}

/* ---- the parts of a batch ---- */

static pare_status microbatch_open(pare__microbatch *one, pare__divided *divided, pare__stages *stages, int64_t first,
                                   int64_t rows) {
  const size_t nstages = stages ? stages->count : 1;
  *one = (pare__microbatch){.divided = divided, .stages = stages, .first = first, .rows = rows};
  one->step = calloc(nstages, sizeof *one->step);
  if (!one->step) return pare__fail_memory("a run", nstages * sizeof *one->step);
  for (size_t s = 0; s < nstages; s++) one->step[s] = (step){.microbatch = one, .stage = s};
  return PARE_OK;
}

int64_t pare__pipeline_rows(const pare__divided *divided, size_t nstages) {
  if (!divided->split) return PARE__MAX(divided->batch, (int64_t)1);
  const int64_t wanted = divided->batch / ((int64_t)nstages * PARTS_A_STAGE);
  int64_t rows = PARE__LEAST_ROWS;
  while (2 * rows <= wanted) rows *= 2;
  return rows;
}

static pare_status submit_step(pare__divided *divided, step *one, size_t member, const pare__job_id *after,
                               size_t nafter, pare__job_id *id) {
  pare__team *team = divided->team;
  const pare__stages *stages = one->microbatch->stages;
  /* Before there are stages all of it runs in one, whose tasks are timed. */
  char *kernel = stages ? pare__format("%s stage %zu of %zu %s", team->name, one->stage + 1, stages->count, stages->key)
                        : pare__format("%s tasks timed %s", team->name, divided->key);
  if (!kernel) return pare__fail_memory("a run", strlen(divided->key));
  const pare__job job = {.run = run_step,
                         .argument = one,
                         .name = team->name,
                         .kernel = kernel,
                         .n = 1,
                         .grain = 1,
                         .per_step = (double)PARE__MAX(one->microbatch->rows, (int64_t)1),
                         .member = member};
  const pare_status status = pare__crew_submit(team->crew, &job, after, nafter, id);
  free(kernel);
  return status;
}

/* ---- how it is cut ---- */

/* Of the newest cut. */
static pare__stages **find_stages(const pare__team *team, const char *key) {
  for (size_t i = 0; i < team->nstages; i++)
    if (strcmp(team->stages[i]->key, key) == 0) return &team->stages[i];
  return NULL;
}

/* By what tasks took on one replica, and by what is known of devices. */
static pare_status first_cut(const pare__divided *divided, const char *key, pare__stages **out) {
  const pare__team *team = divided->team;
  const pare__microbatch *one = divided->timed;
  char *kernel = pare__divided_kernel(divided, key);
  pare__crew_line *line = calloc(team->nmembers + 1, sizeof *line);
  double *speed = calloc(team->nmembers + 1, sizeof *speed), *seconds = calloc(one->ntasks + 1, sizeof *seconds);
  pare_status status =
      kernel && line && speed && seconds ? PARE_OK : pare__fail_memory("stages", one->ntasks * sizeof *seconds);
  if (status == PARE_OK) {
    pare__crew_lines(team->crew, kernel, line);
    for (size_t i = 0; i < team->nmembers; i++) speed[i] = pare__stages_speed(team, i, line);
    for (size_t i = 0; i < one->ntasks; i++) seconds[i] = one->seconds[i] / (double)PARE__MAX(one->rows, (int64_t)1);
    status = pare__stages_open(team, key, seconds, one->ntasks, speed, out);
  }
  free(kernel);
  free(line);
  free(speed);
  free(seconds);
  return status;
}

/* A run of all tasks, each timed, on one member. */
static pare_status measure(pare__divided *divided, const char *key, pare__stages **out) {
  pare__job_id id = 0;
  pare__microbatch *one = divided->timed = calloc(1, sizeof *one);
  if (!one) return pare__fail_memory("a run", sizeof *one);
  PARE__TRY(microbatch_open(one, divided, NULL, 0, pare__pipeline_rows(divided, divided->team->nmembers)));
  PARE__TRY(submit_step(divided, &one->step[0], PARE__NO_DEVICE, NULL, 0, &id));
  PARE__TRY(pare__crew_wait(divided->team->crew, id));
  return first_cut(divided, key, out);
}

static pare_status keep_stages(pare__team *team, pare__stages *stages, pare__stages **out) {
  pthread_mutex_lock(&team->lock);
  pare_status status = PARE_OK;
  pare__stages **found = find_stages(team, stages->key);
  *out = found ? *found : NULL;
  if (!*out)
    status = pare__array_grow((void **)&team->stages, &team->stages_capacity, team->nstages, sizeof *team->stages);
  if (!*out && status == PARE_OK) {
    *out = team->stages[team->nstages++] = stages;
    stages = NULL;
  }
  pthread_mutex_unlock(&team->lock);
  pare__stages_close(stages);
  return status;
}

static void say_stages(const pare__divided *divided, char why[320]) {
  const pare__stages *stages = divided->stages;
  const int64_t rows = PARE__MAX(divided->microbatch->rows, (int64_t)1);
  char text[200] = "";
  size_t used = 0;
  for (size_t s = 0; s < stages->count && used < sizeof text - 1; s++) {
    const int n = snprintf(text + used, sizeof text - used, "%s%zu (%.3g ms)", s ? ", " : "",
                           stages->cut[s] - (s ? stages->cut[s - 1] : 0), 1e3 * (double)rows * stages->seconds[s]);
    used = PARE__MIN(used + (size_t)PARE__MAX(n, 0), sizeof text - 1);
  }
  char again[40] = "";
  pthread_mutex_lock(&divided->team->lock);
  const unsigned ncuts = stages->ncuts;
  pthread_mutex_unlock(&divided->team->lock);
  if (ncuts > 0) snprintf(again, sizeof again, "; cut again %u times", ncuts);
  snprintf(why, 320, "%zu parts of the batch go through %zu stages, one a device; of %zu operations they have %s%s",
           divided->nmicrobatches, stages->count, stages->cut[stages->count - 1], text, again);
}

static pare_status find_or_measure(pare__divided *divided, const char *key, pare__stages **out) {
  pare__team *team = divided->team;
  pthread_mutex_lock(&team->lock);
  pare__stages **found = find_stages(team, key);
  *out = found ? *found = pare__stages_improve(team, *found) : NULL;
  const bool full = team->nstages == MOST_STAGES_KEPT;
  pthread_mutex_unlock(&team->lock);
  if (*out) return PARE_OK;
  if (full) return pare__fail(PARE_ERR_UNSUPPORTED, "inputs of too many shapes were seen");
  pare__stages *stages = NULL;
  pare_status status = measure(divided, key, &stages);
  if (status == PARE_OK) return keep_stages(team, stages, out);
  pare__stages_close(stages);
  return status;
}

pare_status pare__pipeline_decide(pare__divided *divided, const char *key, char why[320]) {
  pare__stages *stages;
  const pare_status status = find_or_measure(divided, key, &stages);
  if (status == PARE_ERR_UNSUPPORTED) {
    char text[200];
    snprintf(text, sizeof text, "%s", pare_message());
    return pare__fail(status, "%s cannot be parallel by pipeline: %s; use data, task, auto or off", divided->team->path,
                      text);
  }
  PARE__TRY(status);
  divided->stages = stages;
  const int64_t rows = pare__pipeline_rows(divided, stages->count);
  const size_t count = divided->split ? (size_t)PARE__MAX(divided->batch / rows, (int64_t)1) : 1;
  divided->microbatch = calloc(count, sizeof *divided->microbatch);
  if (!divided->microbatch) return pare__fail_memory("a run", count * sizeof *divided->microbatch);
  for (; divided->nmicrobatches < count; divided->nmicrobatches++) {
    const int64_t first = (int64_t)divided->nmicrobatches * rows;
    const bool last = divided->nmicrobatches + 1 == count;
    PARE__TRY(microbatch_open(&divided->microbatch[divided->nmicrobatches], divided, stages, first,
                              last ? divided->batch - first : rows));
  }
  say_stages(divided, why);
  return PARE_OK;
}

/* Stage s of a part comes after stage s - 1 of it and stage s of the part before. */
pare_status pare__pipeline_run(pare__divided *divided) {
  const pare__stages *stages = divided->stages;
  const size_t count = divided->nmicrobatches * stages->count;
  pare__job_id *id = calloc(count + 1, sizeof *id);
  size_t submitted = 0;
  pare_status status = id ? PARE_OK : pare__fail_memory("a run", count * sizeof *id);
  for (; submitted < count && status == PARE_OK; submitted++) {
    const size_t part = submitted / stages->count, stage = submitted % stages->count;
    const pare__job_id after[] = {stage > 0 ? id[submitted - 1] : 0, part > 0 ? id[submitted - stages->count] : 0};
    status =
        submit_step(divided, &divided->microbatch[part].step[stage], stages->member[stage], after, 2, &id[submitted]);
  }
  char *message = status == PARE_OK ? NULL : pare__strdup(pare_message());
  for (size_t i = 0; i < submitted; i++) {
    const pare_status done = pare__crew_wait(divided->team->crew, id[i]);
    if (status != PARE_OK || done == PARE_OK) continue;
    status = done;
    message = pare__strdup(pare_message());
  }
  if (status != PARE_OK) status = pare__fail_text(status, message ? message : pare_status_meaning(status));
  free(message);
  free(id);
  return status;
}
