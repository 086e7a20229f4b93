/* Running a part of a plan's tasks. SPDX-License-Identifier: Apache-2.0 */
#include "graph/stage.h"

#include <stdlib.h>
#include <string.h>

#include "graph/plan.h"

/* A storage that recorded tasks use and that has memory only while they run. */
typedef struct place {
  pare_tensor *tensor; /* some recorded handle */
  size_t last;         /* the last task that uses it */
  bool input, output;  /* of the graph */
} place;

typedef struct pare__places {
  size_t count;
  place *place;  /* in the order of first use */
  size_t *begin; /* of each task and the end, into use */
  uint32_t *use;
} pare__places;

void pare__places_close(pare__places *places) {
  if (!places) return;
  free(places->place);
  free(places->begin);
  free(places->use);
  free(places);
}

static bool is_input(const pare__plan *plan, const pare__storage *storage) {
  for (unsigned i = 0; i < plan->ninputs; i++)
    if (plan->input[i]->storage == storage) return true;
  return false;
}

static bool is_output(const pare__plan *plan, const pare__storage *storage) {
  for (unsigned i = 0; i < plan->noutputs; i++)
    if (plan->output[i].tensor && plan->output[i].tensor->storage == storage) return true;
  return false;
}

/* ---- places ---- */

typedef struct numbered {
  const pare__storage *storage;
  size_t use; /* the number of the use, then of the place */
} numbered;

static int by_storage(const void *a, const void *b) {
  const numbered *x = a, *y = b;
  if (x->storage != y->storage) return x->storage < y->storage ? -1 : 1;
  return (x->use > y->use) - (x->use < y->use);
}

/* The tensors that have no memory of their own, task by task: *uses of them. */
static size_t list_tensors(const pare__recording *recording, size_t *begin, pare_tensor **tensor) {
  size_t uses = 0;
  for (size_t i = 0; i < pare__recording_tasks(recording); i++) {
    const pare__task *task = pare__recording_task(recording, i);
    begin[i] = uses;
    for (unsigned k = 0; k < task->naccesses; k++)
      if (task->access[k].tensor && pare__storage_deferred(task->access[k].tensor->storage))
        tensor[uses++] = task->access[k].tensor;
  }
  begin[pare__recording_tasks(recording)] = uses;
  return uses;
}

/* first[i] = the earliest use of the storage that use i is of. */
static pare_status find_first_uses(pare_tensor *const *tensor, size_t uses, size_t *first) {
  numbered *all = malloc((uses + 1) * sizeof *all);
  if (!all) return pare__fail_memory("stages", uses * sizeof *all);
  for (size_t i = 0; i < uses; i++) all[i] = (numbered){tensor[i]->storage, i};
  qsort(all, uses, sizeof *all, by_storage);
  for (size_t i = 0, from = 0; i < uses; i++) {
    if (all[i].storage != all[from].storage) from = i;
    first[all[i].use] = all[from].use;
  }
  free(all);
  return PARE_OK;
}

static pare_status number_places(const pare__plan *plan, pare__places *places) {
  const size_t ntasks = pare__recording_tasks(plan->recording);
  const size_t most = ntasks * PARE__MAX_ACCESSES + 1;
  pare_tensor **tensor = malloc(most * sizeof(pare_tensor *));
  size_t *first = malloc(most * sizeof *first);
  places->begin = malloc((ntasks + 1) * sizeof *places->begin);
  places->use = malloc(most * sizeof *places->use);
  places->place = malloc(most * sizeof *places->place);
  pare_status status = tensor && first && places->begin && places->use && places->place
                           ? PARE_OK
                           : pare__fail_memory("stages", most * sizeof *places->place);
  const size_t uses = status == PARE_OK ? list_tensors(plan->recording, places->begin, tensor) : 0;
  if (status == PARE_OK) status = find_first_uses(tensor, uses, first);
  for (size_t task = 0; task < ntasks && status == PARE_OK; task++) {
    for (size_t i = places->begin[task]; i < places->begin[task + 1]; i++) {
      const pare__storage *storage = tensor[i]->storage;
      if (first[i] == i) {
        places->use[i] = (uint32_t)places->count;
        places->place[places->count++] =
            (place){.tensor = tensor[i], .input = is_input(plan, storage), .output = is_output(plan, storage)};
      } else {
        places->use[i] = places->use[first[i]];
      }
      places->place[places->use[i]].last = task;
    }
  }
  free(tensor);
  free(first);
  return status;
}

static pare_status places_of(pare__plan *plan) {
  if (plan->places) return PARE_OK;
  pare__places *places = calloc(1, sizeof *places);
  if (!places) return pare__fail_memory("stages", sizeof *places);
  const pare_status status = number_places(plan, places);
  if (status == PARE_OK)
    plan->places = places;
  else
    pare__places_close(places);
  return status;
}

/* ---- what crosses ---- */

/* All bytes of it; on the stack, as handles of operations are. */
static pare_tensor whole_of(const place *one, size_t *nbytes) {
  pare_tensor whole = *one->tensor;
  *nbytes = pare__storage_bytes(whole.storage);
  whole.dtype = PARE_U8;
  whole.offset = 0;
  whole.read_only = false;
  (void)pare__shape_set(&whole.shape, 1, (const int64_t[]){(int64_t)*nbytes}); /* it exists: its size is in range */
  return whole;
}

static pare_status bring_in(const place *one, const void *data) {
  size_t nbytes;
  pare_tensor whole = whole_of(one, &nbytes);
  return pare_tensor_write(&whole, data, nbytes);
}

static pare_status take_out(const place *one, void **out) {
  size_t nbytes;
  pare_tensor whole = whole_of(one, &nbytes);
  *out = malloc(PARE__MAX(nbytes, (size_t)1));
  return *out ? pare_tensor_read(&whole, *out, nbytes) : pare__fail_memory("what goes to the next stage", nbytes);
}

/* ---- a stage ---- */

typedef struct stretch {
  const pare__plan *plan;
  size_t begin, end; /* tasks */
  bool last;
  bool *used; /* places */
} stretch;

static size_t scaled(const pare__stage *stage, size_t number, size_t ntasks) {
  if (number == 0) return 0;
  const size_t all = stage->cut[stage->nstages - 1], cut = stage->cut[number - 1];
  return number == stage->nstages ? ntasks : all == ntasks || all == 0 ? PARE__MIN(cut, ntasks) : cut * ntasks / all;
}

static pare_status stretch_of(pare__plan *plan, pare__stage *stage, stretch *out) {
  PARE__TRY(places_of(plan));
  const size_t ntasks = pare__recording_tasks(plan->recording), nplaces = plan->places->count;
  if (stage->given && (stage->ntasks != ntasks || stage->nplaces != nplaces))
    return pare__fail(PARE_ERR_UNSUPPORTED,
                      "stages cannot run on different devices: one has %zu tasks with %zu tensors between, the other "
                      "%zu with %zu; use data, task, auto or off",
                      stage->ntasks, stage->nplaces, ntasks, nplaces);
  stage->ntasks = ntasks;
  stage->nplaces = nplaces;
  *out = (stretch){.plan = plan,
                   .begin = scaled(stage, stage->number, ntasks),
                   .end = scaled(stage, stage->number + 1, ntasks),
                   .last = stage->number + 1 == stage->nstages};
  out->used = calloc(nplaces + 1, sizeof *out->used);
  if (!out->used) return pare__fail_memory("a stage", nplaces);
  for (size_t i = plan->places->begin[out->begin]; i < plan->places->begin[out->end]; i++)
    out->used[plan->places->use[i]] = true;
  return PARE_OK;
}

static pare_status bring_all(const stretch *one, void *const *given) {
  for (size_t i = 0; i < one->plan->places->count; i++) {
    const place *to = &one->plan->places->place[i];
    const bool needed = one->used[i] || (one->last && to->output);
    if (given[i] && needed && !to->input) PARE__TRY(bring_in(to, given[i]));
  }
  return PARE_OK;
}

static pare_status take_all(const stretch *one, void **made) {
  for (size_t i = 0; i < one->plan->places->count && !one->last; i++) {
    const place *from = &one->plan->places->place[i];
    if (one->used[i] && !from->input && (from->output || from->last >= one->end)) PARE__TRY(take_out(from, &made[i]));
  }
  return PARE_OK;
}

/* Failures of work lie with what it writes. */
static pare_status run_task(const pare__task *task) {
  PARE__TRY(pare__submit(task));
  for (unsigned i = 0; i < task->naccesses; i++)
    if (task->access[i].tensor && task->access[i].mode != PARE__READ)
      PARE__TRY(pare__tensor_poisoned(task->access[i].tensor));
  return PARE_OK;
}

/* Of a group of devices, its crew's work. */
static pare_status finish(pare_context *context) {
  if (pare__context_members(context) == 1) return pare__device_finish(pare__context_device(context));
  const pare__waiting *waiting = pare__context_waiting(context);
  return waiting ? waiting->all(context) : PARE_OK;
}

static pare_status run_tasks(const stretch *one, const pare_model *model, double *seconds) {
  double began = 0;
  if (seconds) PARE__TRY(finish(model->context));
  for (size_t i = one->begin; i < one->end; i++) {
    if (seconds) began = pare__seconds();
    PARE__TRY(pare__model_go_on(model, "the next step of a stage"));
    PARE__TRY(run_task(pare__recording_task(one->plan->recording, i)));
    if (!seconds) continue;
    PARE__TRY(finish(model->context));
    seconds[i] = pare__seconds() - began;
  }
  if (pare__context_members(model->context) > 1) return PARE_OK;
  return pare__device_flush(pare__context_device(model->context));
}

static pare_status run_stretch(const stretch *one, pare_model *model, pare_tensor *const *inputs, pare__stage *stage,
                               pare_tensor **outputs) {
  const pare__plan *plan = one->plan;
  pare_tensor **compact = calloc(plan->ninputs + 1U, sizeof(pare_tensor *));
  stage->made = calloc(stage->nplaces + 1, sizeof(void *));
  if (stage->timed) stage->seconds = calloc(stage->ntasks + 1, sizeof *stage->seconds);
  pare_status status = compact && stage->made && (!stage->timed || stage->seconds)
                           ? pare__plan_bind(plan, model, inputs, compact, outputs)
                           : pare__fail_memory("a stage", stage->nplaces * sizeof(void *));
  if (status == PARE_OK && stage->given) status = bring_all(one, stage->given);
  if (status == PARE_OK) status = run_tasks(one, model, NULL);
  if (status == PARE_OK && stage->timed) status = run_tasks(one, model, stage->seconds);
  if (status == PARE_OK) status = take_all(one, stage->made);
  if (compact) pare__plan_unbind(plan, compact);
  free(compact);
  return status;
}

static void forget(pare__stage *stage) {
  for (size_t i = 0; stage->made && i < stage->nplaces; i++) free(stage->made[i]);
  free(stage->made);
  free(stage->seconds);
  stage->made = NULL;
  stage->seconds = NULL;
}

pare_status pare__stage_run(pare_model *model, pare_tensor *const *inputs, pare__stage *stage, pare_tensor **outputs) {
  pare__plan *plan = NULL;
  stretch one = {0};
  stage->made = NULL;
  stage->seconds = NULL;
  pthread_mutex_lock(&model->lock);
  pare_status status = pare__plan_find(model, inputs, &plan);
  if (status == PARE_OK && !plan)
    status = pare__fail(PARE_ERR_UNSUPPORTED, "its shapes depend on values, so that it has no stages");
  if (status == PARE_OK) status = pare__model_go_on(model, "stage %zu", stage->number + 1);
  if (status == PARE_OK) status = stretch_of(plan, stage, &one);
  if (status == PARE_OK) status = run_stretch(&one, model, inputs, stage, outputs);
  if (status != PARE_OK) forget(stage);
  free(one.used);
  pthread_mutex_unlock(&model->lock);
  return status;
}
