/* Which node is the first whose output differs from a reference? SPDX-License-Identifier: Apache-2.0 */
#include <pare/arrays.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/scope.h"
#include "graph/verify.h"

/* Values by name: the first that had it, if a loop makes several. */
struct pare_layers {
  pare__scope names;
  size_t count, capacity;
  struct layer {
    char *name;
    pare__content *content;
  } * layer;
};

void pare_layers_close(pare_layers *layers) {
  if (!layers) return;
  pare__scope_clear(&layers->names);
  for (size_t i = 0; i < layers->count; i++) {
    free(layers->layer[i].name);
    pare__content_release(layers->layer[i].content);
  }
  free(layers->layer);
  free(layers);
}

size_t pare_layers_count(const pare_layers *layers) { return layers ? layers->count : 0; }

/* Takes the content over, also if it fails. */
static pare_status add(pare_layers *layers, const char *name, pare__content *content) {
  pare_status status =
      pare__array_grow((void **)&layers->layer, &layers->capacity, layers->count, sizeof *layers->layer);
  char *copy = status == PARE_OK ? pare__strdup(name) : NULL;
  if (status == PARE_OK && !copy) status = pare__fail_memory("a layer", strlen(name));
  if (status == PARE_OK) status = pare__scope_define(&layers->names, copy, (int32_t)layers->count);
  if (status == PARE_OK) {
    layers->layer[layers->count++] = (struct layer){copy, content};
    return PARE_OK;
  }
  free(copy);
  pare__content_release(content);
  return status;
}

static pare_status new_layers(pare_layers **out) {
  *out = calloc(1, sizeof **out);
  return *out ? PARE_OK : pare__fail_memory("layers", sizeof **out);
}

pare_status pare_layers_open(const char *path, pare_layers **out) {
  if (!out) return pare__fail_null("pare_layers_open", "out");
  *out = NULL;
  if (!path) return pare__fail_null("pare_layers_open", "path");
  pare_arrays *arrays;
  PARE__TRY(pare_arrays_open(path, &arrays));
  pare_status status = new_layers(out);
  for (size_t i = 0; i < pare_arrays_count(arrays) && status == PARE_OK; i++) {
    pare_array array;
    pare__content *content = NULL;
    status = pare_arrays_get(arrays, i, &array);
    if (status != PARE_OK || !array.data || !array.name) continue;
    status = pare__content_create(array.dtype, array.rank, array.dim, array.data, &content);
    if (status == PARE_OK) status = add(*out, array.name, content);
  }
  pare_arrays_close(arrays);
  if (status == PARE_OK) return PARE_OK;
  pare_layers_close(*out);
  *out = NULL;
  return status;
}

/* ---- running ---- */

/* Runs data set 0 of a case, observed. */
static pare_status run_observed(const char *function, pare_context *context, const char *path,
                                const pare_verify_options *options, pare__observe observe, void *user) {
  char *folder;
  pare_model *model;
  PARE__TRY(pare__case_open(pare__context_member(context, 0), path, options, &folder, &model));
  const size_t ninputs = pare_model_inputs(model), noutputs = pare_model_outputs(model);
  pare_tensor **tensors = calloc(ninputs + noutputs + 1, sizeof(pare_tensor *));
  char *set = pare__format("%s/test_data_set_0", folder);
  pare_status status = tensors && set ? PARE_OK : pare__fail_memory("a case", ninputs + noutputs);
  if (status == PARE_OK) status = pare__case_inputs(model, set, tensors);
  if (status == PARE_OK) status = pare__model_observe(function, model, tensors, observe, user, tensors + ninputs);
  for (size_t i = 0; tensors && i < ninputs + noutputs; i++) pare_tensor_close(tensors[i]);
  free(tensors);
  free(set);
  free(folder);
  pare_model_close(model);
  return status;
}

/* The elements of a value now; *out NULL: it was left out. */
static pare_status read_slot(const pare__slot *slot, pare__content **out) {
  *out = NULL;
  if (slot->tensor) return pare__content_read(slot->tensor, out);
  if (slot->content) *out = pare__content_retain(slot->content);
  return PARE_OK;
}

static pare_status keep_values(void *user, pare__run_state *state, const pare__node *node, unsigned depth,
                               double begun) {
  (void)depth;
  (void)begun;
  pare_layers *layers = user;
  for (unsigned i = 0; i < node->noutputs; i++) {
    const char *name = node->output[i] >= 0 ? state->model->network->value[node->output[i]].name : "";
    pare__content *content = NULL;
    if (!*name || pare__scope_find(&layers->names, name) >= 0) continue;
    PARE__TRY(read_slot(&state->slot[node->output[i]], &content));
    if (content) PARE__TRY(add(layers, name, content));
  }
  return PARE_OK;
}

pare_status pare_layers_record(pare_context *context, const char *path, const pare_verify_options *options,
                               pare_layers **out) {
  static const char function[] = "pare_layers_record";
  static const pare_verify_options defaults = PARE_VERIFY_OPTIONS_INIT;
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!path) return pare__fail_null(function, "path");
  PARE__TRY(pare__context_check(function, context));
  PARE__TRY(new_layers(out));
  const pare_status status = run_observed(function, context, path, options ? options : &defaults, keep_values, *out);
  if (status == PARE_OK) return PARE_OK;
  pare_layers_close(*out);
  *out = NULL;
  return status;
}

typedef struct comparison {
  const pare_layers *reference;
  const pare_verify_options *options;
  pare_verify_result *result;
  bool *seen; /* of the reference's values */
} comparison;

static pare_status compare_values(void *user, pare__run_state *state, const pare__node *node, unsigned depth,
                                  double begun) {
  (void)depth;
  (void)begun;
  const comparison *c = user;
  for (unsigned i = 0; i < node->noutputs && c->result->status == PARE_CASE_PASS; i++) {
    const char *name = node->output[i] >= 0 ? state->model->network->value[node->output[i]].name : "";
    const int32_t at = *name ? pare__scope_find(&c->reference->names, name) : PARE__NO_VALUE;
    pare__content *found = NULL;
    if (at < 0 || c->seen[at]) continue;
    c->seen[at] = true;
    PARE__TRY(read_slot(&state->slot[node->output[i]], &found));
    if (!found) continue;
    char what[300];
    snprintf(what, sizeof what, "node '%.100s' (%.50s): output '%.100s'", node->name, node->op_type, name);
    pare__case_compare(what, found, c->reference->layer[at].content, c->options, c->result);
    pare__content_release(found);
    c->result->nlayers++;
  }
  return PARE_OK;
}

pare_status pare_verify_layers(pare_context *context, const char *path, const pare_layers *reference,
                               const pare_verify_options *options, pare_verify_result *out) {
  static const char function[] = "pare_verify_layers";
  static const pare_verify_options defaults = PARE_VERIFY_OPTIONS_INIT;
  if (!out) return pare__fail_null(function, "out");
  *out = (pare_verify_result){.status = PARE_CASE_PASS};
  if (!path || !reference) return pare__fail_null(function, path ? "reference" : "path");
  PARE__TRY(pare__context_check(function, context));
  if (!options) options = &defaults;
  comparison c = {reference, options, out, calloc(reference->count + 1, sizeof(bool))};
  if (!c.seen) return pare__fail_memory("layers", reference->count);
  const pare_status status = run_observed(function, context, path, options, compare_values, &c);
  free(c.seen);
  if (status != PARE_OK) {
    pare__case_failed(out, status);
  } else if (out->status == PARE_CASE_PASS && out->nlayers == 0) {
    pare__fail(PARE_ERR_ARGUMENT, "the reference has none of the values that the nodes of %s make", path);
    pare__case_failed(out, PARE_ERR_ARGUMENT);
  }
  return PARE_OK;
}
