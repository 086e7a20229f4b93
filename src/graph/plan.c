/* Plans: one run's work recorded for one set of input shapes, with memory for all that lies between the nodes.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "graph/plan.h"

#define MOST_PLANS 8 /* kept; the one used longest ago goes first */

static void plan_close(pare__plan *plan) {
  if (!plan) return;
  pare__places_close(plan->places);
  pare__replay_close(plan->replay);
  pare__recording_close(plan->recording);
  for (unsigned i = 0; i < plan->ninputs && plan->input; i++) pare_tensor_close(plan->input[i]);
  for (unsigned i = 0; i < plan->noutputs && plan->output; i++) {
    pare_tensor_close(plan->output[i].tensor);
    pare__content_release(plan->output[i].content);
  }
  free(plan->key);
  free(plan->input);
  free(plan->output);
  free(plan->storage);
  free(plan->life);
  free(plan->arena_bytes);
  free(plan);
}

void pare__plans_close(pare_model *model) {
  while (model->plans) {
    pare__plan *next = model->plans->next;
    plan_close(model->plans);
    model->plans = next;
  }
  model->nplans = 0;
  for (size_t i = 0; i < model->narenas; i++) pare_tensor_close(model->arena[i]);
  free(model->arena);
  model->arena = NULL;
  model->narenas = 0;
}

/* ---- making one ---- */

typedef struct use {
  pare__storage *storage;
  size_t task;
} use;

static int by_storage(const void *a, const void *b) {
  const use *x = a, *y = b;
  if (x->storage != y->storage) return x->storage < y->storage ? -1 : 1;
  return x->task < y->task ? -1 : x->task > y->task;
}

static bool is_outside(const pare__plan *plan, const pare__storage *storage) {
  for (unsigned i = 0; i < plan->ninputs; i++)
    if (plan->input[i]->storage == storage) return true;
  for (unsigned i = 0; i < plan->noutputs; i++)
    if (plan->output[i].tensor && plan->output[i].tensor->storage == storage) return true;
  return false;
}

/* All uses of storages by the recorded tasks, ordered by storage, then by task. */
static pare_status list_uses(const pare__recording *recording, use **out, size_t *count) {
  size_t total = 0;
  for (size_t i = 0; i < pare__recording_tasks(recording); i++) total += pare__recording_task(recording, i)->naccesses;
  use *uses = malloc((total + 1) * sizeof *uses);
  if (!uses) return pare__fail_memory("a plan", total * sizeof *uses);
  *count = 0;
  for (size_t i = 0; i < pare__recording_tasks(recording); i++) {
    const pare__task *task = pare__recording_task(recording, i);
    for (unsigned k = 0; k < task->naccesses; k++)
      if (task->access[k].tensor) uses[(*count)++] = (use){task->access[k].tensor->storage, i};
  }
  qsort(uses, *count, sizeof *uses, by_storage);
  *out = uses;
  return PARE_OK;
}

/* Which tasks use the storage, and which are done before each of them begins. bits: zeros. */
static void note_tasks(const use *uses, size_t count, const pare__order *order, uint64_t *bits, pare__life *life) {
  life->used_by = bits;
  life->begins_after = bits + order->words;
  memset(life->begins_after, 0xff, order->words * sizeof *bits);
  for (size_t i = 0; i < count; i++) {
    const size_t task = uses[i].task;
    life->used_by[task / 64] |= UINT64_C(1) << task % 64;
    for (size_t w = 0; w < order->words; w++) life->begins_after[w] &= order->before[task * order->words + w];
  }
}

/* order: NULL if tasks run in theirs. *bits: what the lives point to, to be freed when memory is placed. */
static pare_status find_lives(pare__plan *plan, const pare__order *order, uint64_t **bits) {
  use *uses;
  size_t count;
  PARE__TRY(list_uses(plan->recording, &uses, &count));
  plan->storage = malloc((count + 1) * sizeof *plan->storage);
  plan->life = calloc(count + 1, sizeof *plan->life);
  *bits = order ? calloc(count + 1, 2 * order->words * sizeof **bits) : NULL;
  pare_status status = plan->storage && plan->life && (*bits || !order)
                           ? PARE_OK
                           : pare__fail_memory("a plan", count * sizeof *plan->life);
  for (size_t i = 0, end; i < count && status == PARE_OK; i = end) {
    pare__storage *storage = uses[i].storage;
    for (end = i; end < count && uses[end].storage == storage;) end++;
    if (!pare__storage_deferred(storage)) {
      plan->constant_bytes += pare__storage_bytes(storage);
    } else if (!is_outside(plan, storage)) {
      pare__life *life = &plan->life[plan->nstorages];
      *life = (pare__life){.nbytes = pare__storage_bytes(storage), .first = uses[i].task, .last = uses[end - 1].task};
      if (order) note_tasks(uses + i, end - i, order, *bits + 2 * order->words * plan->nstorages, life);
      plan->storage[plan->nstorages++] = storage;
    }
  }
  free(uses);
  if (status == PARE_OK) pare__memory_share(plan->recording, plan->storage, plan->life, plan->nstorages, order);
  return status;
}

static pare_status make_inputs(pare__plan *plan, pare_model *model, pare__run_state *state) {
  const pare__graph *graph = &model->network->graph;
  for (unsigned i = 0; i < plan->ninputs; i++) {
    const pare__shape_key *key = &plan->key[i];
    PARE__TRY(pare_tensor_create(model->context, key->dtype, key->rank, key->dim, &plan->input[i]));
    pare__slot *slot = &state->slot[graph->input[i]];
    PARE__TRY(pare__tensor_handle(plan->input[i], &slot->tensor));
    slot->dtype = slot->tensor->dtype;
    slot->shape = slot->tensor->shape;
  }
  return PARE_OK;
}

static pare_status make_outputs(pare__plan *plan, pare_model *model, pare__run_state *state) {
  const pare__graph *graph = &model->network->graph;
  const size_t most = (size_t)plan->ninputs + plan->noutputs;
  pare_tensor **avoid = calloc(most + 1, sizeof(pare_tensor *));
  if (!avoid) return pare__fail_memory("a plan", most * sizeof(pare_tensor *));
  memcpy(avoid, plan->input, plan->ninputs * sizeof(pare_tensor *));
  pare_status status = PARE_OK;
  for (unsigned i = 0; i < plan->noutputs && status == PARE_OK; i++) {
    const pare__slot *slot = &state->slot[graph->output[i]];
    if (slot->content) { /* whether or not the device has it, too, to compute with */
      plan->output[i].content = pare__content_retain(slot->content);
      plan->output_bytes += slot->content->nbytes;
      continue;
    }
    status = pare__run_output(state, graph->output[i], avoid, plan->ninputs + i, &plan->output[i].tensor);
    avoid[plan->ninputs + i] = plan->output[i].tensor;
    if (status == PARE_OK) plan->output_bytes += pare__storage_bytes(plan->output[i].tensor->storage);
  }
  free(avoid);
  return status;
}

/* Records the run. *values_needed: it cannot be planned. */
static pare_status record(pare__plan *plan, pare_model *model, bool *values_needed) {
  pare__run_state state = {0};
  PARE__TRY(pare__recording_begin(&plan->recording));
  pare_status status = pare__run_begin(model, true, &state);
  if (status == PARE_OK) status = make_inputs(plan, model, &state);
  if (status == PARE_OK) status = pare__run_graph(&state, &model->network->graph);
  if (status == PARE_OK) status = make_outputs(plan, model, &state);
  *values_needed = state.values_needed;
  if (state.slot) pare__run_end(&state);
  pare__recording_end(plan->recording);
  return status;
}

static pare_status plan_new(pare_model *model, pare_tensor *const *inputs, pare__plan **out) {
  const pare__graph *graph = &model->network->graph;
  *out = NULL;
  pare__plan *plan = calloc(1, sizeof *plan);
  if (!plan) return pare__fail_memory("a plan", sizeof *plan);
  plan->ninputs = graph->ninputs;
  plan->noutputs = graph->noutputs;
  plan->key = calloc(plan->ninputs + 1U, sizeof *plan->key);
  plan->input = calloc(plan->ninputs + 1U, sizeof(pare_tensor *));
  plan->output = calloc(plan->noutputs + 1U, sizeof *plan->output);
  if (!plan->key || !plan->input || !plan->output) {
    plan_close(plan);
    return pare__fail_memory("a plan", sizeof *plan);
  }
  for (unsigned i = 0; i < plan->ninputs; i++) {
    plan->key[i].dtype = inputs[i]->dtype;
    plan->key[i].rank = inputs[i]->shape.rank;
    memcpy(plan->key[i].dim, inputs[i]->shape.dim, (size_t)inputs[i]->shape.rank * sizeof(int64_t));
  }
  *out = plan;
  return PARE_OK;
}

static bool matches(const pare__plan *plan, pare_tensor *const *inputs) {
  for (unsigned i = 0; i < plan->ninputs; i++) {
    const pare__shape_key *key = &plan->key[i];
    if (key->dtype != inputs[i]->dtype || key->rank != inputs[i]->shape.rank ||
        memcmp(key->dim, inputs[i]->shape.dim, (size_t)key->rank * sizeof(int64_t)) != 0)
      return false;
  }
  return true;
}

/* Drops what was recorded, and remembers that these shapes are run at once. */
static pare_status plan_at_once(pare__plan **plan, pare_model *model, pare_tensor *const *inputs) {
  plan_close(*plan);
  *plan = NULL;
  PARE__TRY(plan_new(model, inputs, plan));
  (*plan)->at_once = true;
  return PARE_OK;
}

/* Where several devices work, tasks that do not need each other run beside each other: then no two of them may be given
 * the same memory, or they would wait after all. */
static pare_status place_all(pare__plan *plan, pare_context *context, bool *too_large) {
  const size_t largest = (size_t)pare__device_info(pare__context_device(context))->max_buffer_bytes;
  const bool beside =
      pare__context_members(context) > 1 && pare__recording_tasks(plan->recording) <= PARE__MOST_ORDERED;
  pare__order *order = NULL;
  uint64_t *bits = NULL;
  pare_status status = beside ? pare__recording_order(plan->recording, &order) : PARE_OK;
  if (status == PARE_OK) status = find_lives(plan, order, &bits);
  if (status == PARE_OK) {
    status = pare__memory_plan(plan->life, plan->nstorages, largest, order, &plan->arena_bytes, &plan->narenas);
    *too_large = status == PARE_ERR_LIMIT; /* such tensors live on the host, and are staged */
  }
  for (size_t i = 0; i < plan->nstorages; i++) plan->life[i].used_by = plan->life[i].begins_after = NULL;
  free(bits);
  pare__order_close(order);
  return status;
}

static pare_status go_on(void *user) { return pare__model_go_on(user, "the next step of a plan"); }

static pare_status plan_make(pare_model *model, pare_tensor *const *inputs, pare__plan **out) {
  pare__plan *plan;
  PARE__TRY(plan_new(model, inputs, &plan));
  bool values_needed = false, too_large = false;
  pare_status status = model->options.no_plan ? PARE_OK : record(plan, model, &values_needed);
  if (status == PARE_OK && !model->options.no_plan) status = place_all(plan, model->context, &too_large);
  if (status == PARE_OK && !model->options.no_plan)
    status = pare__replay_open(model->context, plan->recording, model->options.executor,
                               (pare__replay_gate){go_on, model, pare__seconds}, &plan->replay);
  if (values_needed || too_large || (status == PARE_OK && model->options.no_plan))
    status = plan_at_once(&plan, model, inputs);
  if (status != PARE_OK) {
    plan_close(plan);
    plan = NULL;
  }
  *out = plan;
  return status;
}

/* The plan that was not used for the longest time goes. */
static void drop_last(pare_model *model) {
  pare__plan **link = &model->plans;
  if (!*link) return;
  while ((*link)->next) link = &(*link)->next;
  plan_close(*link);
  *link = NULL;
  model->nplans--;
}

pare_status pare__plan_find(pare_model *model, pare_tensor *const *inputs, pare__plan **out) {
  pare__plan **link = &model->plans;
  while (*link && !matches(*link, inputs)) link = &(*link)->next;
  pare__plan *plan = *link;
  *out = NULL;
  if (plan) {
    *link = plan->next;
  } else {
    pare__prepared();
    PARE__TRY(plan_make(model, inputs, &plan));
    if (model->nplans >= MOST_PLANS) drop_last(model);
    model->nplans++;
  }
  plan->next = model->plans;
  model->plans = plan;
  *out = plan->at_once ? NULL : plan;
  return PARE_OK;
}

/* ---- running one ---- */

static pare_status bind_between(const pare__plan *plan, pare_model *model) {
  if (plan->narenas > model->narenas) {
    pare_tensor **more = realloc(model->arena, plan->narenas * sizeof(pare_tensor *));
    if (!more) return pare__fail_memory("a plan", plan->narenas * sizeof(pare_tensor *));
    model->arena = more;
    while (model->narenas < plan->narenas) model->arena[model->narenas++] = NULL;
  }
  for (size_t i = 0; i < plan->narenas; i++) {
    if (model->arena[i] && pare_tensor_elements(model->arena[i]) >= (int64_t)plan->arena_bytes[i]) continue;
    /* the smaller one goes first: both need not fit beside each other */
    for (size_t k = 0; k < plan->nstorages; k++)
      if (plan->life[k].arena == i) pare__storage_bind(plan->storage[k], NULL, 0);
    pare_tensor_close(model->arena[i]);
    model->arena[i] = NULL;
    const int64_t nbytes = (int64_t)plan->arena_bytes[i];
    PARE__TRY(pare__tensor_scratch(model->context, PARE_U8, 1, &nbytes, "activations", &model->arena[i]));
  }
  for (size_t i = 0; i < plan->narenas; i++) pare__tensor_heal(model->arena[i]);
  for (size_t k = 0; k < plan->nstorages; k++)
    pare__storage_bind(plan->storage[k], model->arena[plan->life[k].arena], plan->life[k].offset);
  return PARE_OK;
}

/* Lets the arenas go that other plans still hold. */
static void unbind_others(const pare__plan *plan, pare_model *model) {
  for (pare__plan *other = model->plans; other; other = other->next)
    for (size_t k = 0; other != plan && k < other->nstorages; k++) pare__storage_bind(other->storage[k], NULL, 0);
}

static pare_status bind_inputs(const pare__plan *plan, pare_tensor *const *inputs, pare_tensor **compact) {
  for (unsigned i = 0; i < plan->ninputs; i++) {
    PARE__TRY(pare__tensor_poisoned(inputs[i]));
    PARE__TRY(pare__contiguous(inputs[i], &compact[i]));
    const size_t base = (size_t)pare__tensor_start(compact[i]) * pare_dtype_bytes(compact[i]->dtype);
    pare__storage_bind(plan->input[i]->storage, compact[i], base);
  }
  return PARE_OK;
}

static pare_status make_fresh_outputs(const pare__plan *plan, pare_model *model, pare_tensor **outputs) {
  for (unsigned i = 0; i < plan->noutputs; i++) {
    const pare__content *content = plan->output[i].content;
    if (content) {
      PARE__TRY(pare_tensor_from(model->context, content->dtype, content->shape.rank, content->shape.dim, content->data,
                                 content->nbytes, &outputs[i]));
      continue;
    }
    const pare_tensor *planned = plan->output[i].tensor;
    PARE__TRY(pare_tensor_create(model->context, planned->dtype, planned->shape.rank, planned->shape.dim, &outputs[i]));
    pare__storage_bind(planned->storage, outputs[i], 0);
  }
  return PARE_OK;
}

/* All that the run will take is there, or nothing of it is taken. */
static pare_status check_room(const pare__plan *plan, const pare_model *model) {
  uint64_t in_use, peak, limit, between = 0;
  pare__device_memory(pare__context_device(model->context), &in_use, &peak, &limit);
  for (size_t i = 0; i < plan->narenas; i++) {
    const pare_tensor *arena = i < model->narenas ? model->arena[i] : NULL;
    const uint64_t has = arena ? (uint64_t)pare_tensor_elements(arena) : 0;
    between += plan->arena_bytes[i] - PARE__MIN(has, plan->arena_bytes[i]);
  }
  if (limit == 0 || in_use + between + plan->output_bytes <= limit) return PARE_OK;
  char text[4][32];
  return pare__fail(
      PARE_ERR_LIMIT,
      "a run of these shapes takes %s of device memory between its nodes and %s for its outputs, beside "
      "the %s that are in use; the limit is %s: raise PARE_MEMORY or the context's limit, or run fewer "
      "samples at once",
      pare__bytes_text(between, text[0], sizeof text[0]), pare__bytes_text(plan->output_bytes, text[1], sizeof text[1]),
      pare__bytes_text(in_use, text[2], sizeof text[2]), pare__bytes_text(limit, text[3], sizeof text[3]));
}

pare_status pare__plan_bind(const pare__plan *plan, pare_model *model, pare_tensor *const *inputs,
                            pare_tensor **compact, pare_tensor **outputs) {
  unbind_others(plan, model);
  PARE__TRY(check_room(plan, model));
  PARE__TRY(bind_between(plan, model));
  PARE__TRY(bind_inputs(plan, inputs, compact));
  return make_fresh_outputs(plan, model, outputs);
}

void pare__plan_unbind(const pare__plan *plan, pare_tensor **compact) {
  for (unsigned i = 0; i < plan->noutputs; i++)
    if (plan->output[i].tensor) pare__storage_bind(plan->output[i].tensor->storage, NULL, 0);
  for (unsigned i = 0; i < plan->ninputs; i++) {
    pare__storage_bind(plan->input[i]->storage, NULL, 0);
    pare_tensor_close(compact[i]);
    compact[i] = NULL;
  }
}

pare_status pare__plan_run(pare__plan *plan, pare_model *model, bool undivided, pare_tensor *const *inputs,
                           pare_tensor **outputs) {
  pare_tensor **compact = calloc(plan->ninputs + 1U, sizeof(pare_tensor *));
  if (!compact) return pare__fail_memory("a run", plan->ninputs * sizeof(pare_tensor *));
  pare_status status = pare__plan_bind(plan, model, inputs, compact, outputs);
  if (status == PARE_OK) status = pare__replay_submit(plan->replay, undivided);
  for (unsigned i = 0; i < plan->noutputs && status == PARE_OK; i++) {
    if (!plan->output[i].tensor) continue;
    const pare_status failed = pare__tensor_poisoned(plan->output[i].tensor);
    if (failed != PARE_OK) pare__tensor_poison(outputs[i], failed);
  }
  pare__plan_unbind(plan, compact);
  free(compact);
  return status;
}

void pare__plan_memory(const pare__plan *plan, pare_model_memory *out) {
  *out = (pare_model_memory){
      .output_bytes = plan->output_bytes, .weight_bytes = plan->constant_bytes, .exact = true, .bounded = true};
  for (size_t i = 0; i < plan->narenas; i++) out->activation_bytes += plan->arena_bytes[i];
}

void pare__plan_launches(const pare__plan *plan, pare_model_launches *out) {
  if (plan && plan->replay) pare__replay_count(plan->replay, out);
}
