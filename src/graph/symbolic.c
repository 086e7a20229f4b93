/* Shapes of all values in terms of the symbols in the inputs' shapes. SPDX-License-Identifier: Apache-2.0
 *
 * There is one source of truth for shapes: what operators do when they plan. So the graph is planned several times,
 * without a device's work or memory: once for base numbers in the symbols' places, once with each symbol changed alone,
 * and once with all of them changed. A dimension is then a number, a product of symbols, a sum of multiples of them, or
 * a symbol divided by a power of two and rounded, if every plan agrees with that, and else unknown. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/inspect.h"
#include "graph/run.h"

enum { MOST_SYMBOLS = 8, MOST_PLANS = MOST_SYMBOLS + 2, EXPRESSION = 160 };

/* Numbers that tell factors apart; then such as images can have, that are halved again and again. */
static const struct scheme { int64_t first, step, change; } schemes[] = {{11, 6, 4}, {64, 96, 32}};

typedef struct observed {
  pare_dtype dtype;
  int rank; /* -1: not seen */
  int64_t dim[PARE_MAX_RANK];
} observed;

typedef struct inference {
  pare_model *model;
  size_t nsymbols, nplans;
  const char *symbol[MOST_SYMBOLS];
  int64_t value[MOST_PLANS][MOST_SYMBOLS];
  size_t nvalues, plan; /* the plan that is being made */
  observed *seen;       /* [nplans][nvalues] */
} inference;

/* ---- symbols ---- */

static pare_status add_symbol(inference *all, const char *name) {
  for (size_t i = 0; i < all->nsymbols; i++)
    if (strcmp(all->symbol[i], name) == 0) return PARE_OK;
  if (all->nsymbols == MOST_SYMBOLS)
    return pare__fail(PARE_ERR_LIMIT, "the inputs' shapes have more than %d symbols", MOST_SYMBOLS);
  all->symbol[all->nsymbols++] = name;
  return PARE_OK;
}

/* A dimension without a name gets one, "x.0"; some exporters call all of those "?". */
static pare_status name_of(const inference *all, pare__value *input, int d) {
  const bool named = input->symbol[d] && strcmp(input->symbol[d], "?") != 0;
  if (named || input->dim[d] >= 0) return PARE_OK;
  char name[EXPRESSION];
  snprintf(name, sizeof name, "%.100s.%d", input->name, d);
  return pare__onnx_text(all->model->network->onnx->source, name, &input->symbol[d]);
}

static pare_status find_symbols(inference *all) {
  const pare__graph *graph = &all->model->network->graph;
  for (unsigned i = 0; i < graph->ninputs; i++) {
    pare__value *input = &all->model->network->value[graph->input[i]];
    pare_dtype dtype;
    if (input->rank < 0 || !pare__held_dtype(input->onnx_dtype, &dtype))
      return pare__fail(PARE_ERR_UNSUPPORTED, "input '%s' has no shape, or no type, to begin with", input->name);
    for (int d = 0; d < input->rank; d++) {
      PARE__TRY(name_of(all, input, d));
      if (input->dim[d] < 0) PARE__TRY(add_symbol(all, input->symbol[d]));
    }
  }
  all->nplans = all->nsymbols == 0 ? 1 : all->nsymbols + 2;
  return PARE_OK;
}

static void choose_values(inference *all, const struct scheme *scheme) {
  for (size_t plan = 0; plan < all->nplans; plan++)
    for (size_t i = 0; i < all->nsymbols; i++) {
      const bool last = plan > all->nsymbols;
      const int64_t base = scheme->first + (int64_t)i * scheme->step;
      all->value[plan][i] = base + (plan == i + 1 ? scheme->change : last ? (int64_t)(3 + i % 2) * scheme->change : 0);
    }
}

/* ---- plans ---- */

static void set_input(const inference *all, const pare__value *input, pare__shape *out) {
  out->rank = input->rank;
  for (int d = 0; d < input->rank; d++) {
    out->dim[d] = input->dim[d];
    for (size_t i = 0; input->dim[d] < 0 && i < all->nsymbols; i++)
      if (strcmp(all->symbol[i], input->symbol[d]) == 0) out->dim[d] = all->value[all->plan][i];
  }
}

static pare_status observe_shapes(void *user, pare__run_state *state, const pare__node *node, unsigned depth,
                                  double begun) {
  (void)depth;
  (void)begun;
  const inference *all = user;
  for (unsigned i = 0; i < node->noutputs; i++) {
    if (node->output[i] < 0) continue;
    const pare__slot *slot = &state->slot[node->output[i]];
    observed *to = &all->seen[all->plan * all->nvalues + (size_t)node->output[i]];
    if (!slot->tensor && !slot->content) continue;
    to->dtype = slot->dtype;
    to->rank = slot->shape.rank;
    memcpy(to->dim, slot->shape.dim, (size_t)slot->shape.rank * sizeof *to->dim);
  }
  return PARE_OK;
}

/* What comes behind a node that must see values stays unseen. */
static pare_status make_plan(inference *all) {
  const pare__network *network = all->model->network;
  bool values_needed;
  pare__shape *inputs = calloc(network->graph.ninputs + 1, sizeof *inputs);
  if (!inputs) return pare__fail_memory("shapes", network->graph.ninputs * sizeof *inputs);
  for (unsigned i = 0; i < network->graph.ninputs; i++)
    set_input(all, &network->value[network->graph.input[i]], &inputs[i]);
  const pare_status status = pare__model_shapes(all->model, inputs, observe_shapes, all, &values_needed);
  free(inputs);
  return status;
}

/* If all numbers are impossible somewhere, what lies before that place is still known. */
static pare_status make_plans(inference *all) {
  pare_status status = PARE_OK;
  for (size_t s = 0; s < PARE__COUNT(schemes); s++) {
    choose_values(all, &schemes[s]);
    for (size_t i = 0; i < all->nplans * all->nvalues; i++) all->seen[i].rank = -1;
    status = PARE_OK;
    for (all->plan = 0; all->plan < all->nplans; all->plan++) {
      const pare_status made = make_plan(all);
      if (made == PARE_ERR_MEMORY || made == PARE_ERR_DEVICE) return made;
      if (made != PARE_OK) status = made;
    }
    if (status == PARE_OK) break;
  }
  return PARE_OK;
}

/* ---- from numbers to expressions ---- */

static int64_t greatest_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* number[plan] = p / q times the symbols of a set? */
static bool is_product(const inference *all, const int64_t *number, char *text) {
  for (unsigned set = 1; set < 1U << all->nsymbols; set++) {
    int64_t product[MOST_PLANS] = {0};
    bool fits = true;
    for (size_t plan = 0; plan < all->nplans && fits; plan++) {
      product[plan] = 1;
      for (size_t i = 0; i < all->nsymbols; i++)
        if (set >> i & 1U) product[plan] *= all->value[plan][i];
      fits = number[plan] > 0 && number[plan] * product[0] == number[0] * product[plan];
    }
    if (!fits) continue;
    const int64_t common = greatest_divisor(number[0], product[0]), p = number[0] / common, q = product[0] / common;
    int used = p == 1 ? 0 : snprintf(text, EXPRESSION, "%" PRId64 "*", p);
    bool first = true;
    for (size_t i = 0; i < all->nsymbols; i++) {
      if (!(set >> i & 1U) || used >= EXPRESSION) continue;
      used += snprintf(text + used, (size_t)(EXPRESSION - used), "%s%s", first ? "" : "*", all->symbol[i]);
      first = false;
    }
    if (q != 1 && used < EXPRESSION) snprintf(text + used, (size_t)(EXPRESSION - used), "/%" PRId64, q);
    return true;
  }
  return false;
}

/* number[plan] = constant + the sum of multiples of symbols? */
static bool is_sum(const inference *all, const int64_t *number, char *text) {
  int64_t factor[MOST_SYMBOLS], constant = number[0], check;
  for (size_t i = 0; i < all->nsymbols; i++) {
    const int64_t by = all->value[i + 1][i] - all->value[0][i], change = number[i + 1] - number[0];
    if (by == 0 || change % by != 0) return false;
    factor[i] = change / by;
    constant -= factor[i] * all->value[0][i];
  }
  check = constant;
  for (size_t i = 0; i < all->nsymbols; i++) check += factor[i] * all->value[all->nplans - 1][i];
  if (check != number[all->nplans - 1]) return false;
  int used = 0;
  for (size_t i = 0; i < all->nsymbols && used < EXPRESSION; i++) {
    if (factor[i] == 0) continue;
    const char *sign = used == 0 ? (factor[i] < 0 ? "-" : "") : factor[i] < 0 ? " - " : " + ";
    used += snprintf(text + used, (size_t)(EXPRESSION - used), "%s", sign);
    const int64_t size = factor[i] < 0 ? -factor[i] : factor[i];
    if (size != 1) used += snprintf(text + used, (size_t)PARE__MAX(EXPRESSION - used, 0), "%" PRId64 "*", size);
    used += snprintf(text + used, (size_t)PARE__MAX(EXPRESSION - used, 0), "%s", all->symbol[i]);
  }
  if (constant != 0 && used < EXPRESSION)
    snprintf(text + used, (size_t)(EXPRESSION - used), " %c %" PRId64, constant < 0 ? '-' : '+',
             constant < 0 ? -constant : constant);
  return true;
}

/* number[plan] = a symbol divided by a power of two and rounded? */
static bool is_rounded(const inference *all, const int64_t *number, char *text) {
  for (size_t i = 0; i < all->nsymbols; i++)
    for (int64_t by = 2; by <= 64; by *= 2)
      for (int up = 1; up >= 0; up--) {
        bool fits = true;
        for (size_t plan = 0; plan < all->nplans && fits; plan++)
          fits = number[plan] == (all->value[plan][i] + (up ? by - 1 : 0)) / by;
        if (!fits) continue;
        snprintf(text, EXPRESSION, "%s(%s/%" PRId64 ")", up ? "ceil" : "floor", all->symbol[i], by);
        return true;
      }
  return false;
}

static pare_status express(const inference *all, const int64_t *number, int64_t *dim, const char **symbol) {
  bool same = true;
  char text[EXPRESSION];
  for (size_t plan = 1; plan < all->nplans; plan++) same = same && number[plan] == number[0];
  *dim = same ? number[0] : -1;
  *symbol = NULL;
  if (same) return PARE_OK;
  if (!is_product(all, number, text) && !is_sum(all, number, text) && !is_rounded(all, number, text)) return PARE_OK;
  return pare__onnx_text(all->model->network->onnx->source, text, symbol);
}

/* What is known of a value from all plans. */
static pare_status conclude(const inference *all, size_t id) {
  pare__value *value = &all->model->network->value[id];
  const observed *first = &all->seen[id];
  for (size_t plan = 0; plan < all->nplans; plan++)
    if (all->seen[plan * all->nvalues + id].rank < 0 || all->seen[plan * all->nvalues + id].rank != first->rank)
      return PARE_OK;
  value->onnx_dtype = pare__onnx_dtype_from_pare(first->dtype);
  value->rank = first->rank;
  for (int d = 0; d < first->rank; d++) {
    int64_t number[MOST_PLANS] = {0};
    for (size_t plan = 0; plan < all->nplans; plan++) number[plan] = all->seen[plan * all->nvalues + id].dim[d];
    PARE__TRY(express(all, number, &value->dim[d], &value->symbol[d]));
  }
  return PARE_OK;
}

static pare_status infer(pare_model *model) {
  inference all = {.model = model, .nvalues = model->network->nvalues};
  PARE__TRY(find_symbols(&all));
  all.seen = calloc(all.nplans * all.nvalues + 1, sizeof *all.seen);
  if (!all.seen) return pare__fail_memory("shapes", all.nplans * all.nvalues * sizeof *all.seen);
  pare_status status = make_plans(&all);
  for (size_t id = 0; id < all.nvalues && status == PARE_OK; id++) status = conclude(&all, id);
  free(all.seen);
  return status;
}

pare_status pare_inspect_infer(pare_inspection *inspection, pare_context *context) {
  if (!inspection) return pare__fail_null("pare_inspect_infer", "inspection");
  PARE__TRY(pare__context_check("pare_inspect_infer", context));
  if (!inspection->onnx || inspection->inferred) return PARE_OK;
  pare_model *model;
  PARE__TRY(pare__model_open_bare(pare__context_member(context, 0), pare__onnx_source_path(inspection->onnx->source),
                                  &model));
  const pare_status status = infer(model);
  if (status == PARE_OK)
    inspection->inferred = model;
  else
    pare_model_close(model);
  return status;
}

bool pare__inspect_inferred(const pare_inspection *inspection, const char *name, pare_model_value *out) {
  const pare__network *network = inspection->inferred ? inspection->inferred->network : NULL;
  for (size_t i = 0; network && i < network->nvalues; i++) {
    const pare__value *value = &network->value[i];
    if (value->rank < 0 || strcmp(value->name, name) != 0) continue;
    *out = (pare_model_value){.name = value->name,
                              .dtype = PARE_NDTYPES,
                              .dtype_name = pare__onnx_dtype_name(value->onnx_dtype),
                              .rank = value->rank};
    if (!pare__held_dtype(value->onnx_dtype, &out->dtype)) out->dtype = PARE_NDTYPES;
    memcpy(out->dim, value->dim, sizeof out->dim);
    memcpy(out->symbol, value->symbol, sizeof out->symbol);
    return true;
  }
  return false;
}
