/* Looking at an ONNX file without a device. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "graph/inspect.h"
#include "graph/operator.h"

#define MOST_DEPTH 64 /* subgraphs in subgraphs: what the reader takes is bounded, too */

static const char *text(const char *maybe) { return maybe ? maybe : ""; }

/* ---- walking the file ---- */

typedef struct walk {
  pare_inspection *inspection;
  const pare__onnx_opsets *opsets; /* of the model or of the function */
  const char *within;
  unsigned depth;
} walk;

static bool has_function(const pare__onnx_model *onnx, const char *domain, const pare__onnx_node *node) {
  for (size_t i = 0; i < onnx->functions.count; i++) {
    const pare__onnx_function *function = &onnx->functions.items[i];
    if (strcmp(text(function->name), text(node->op_type)) == 0 &&
        strcmp(text(function->overload), text(node->overload)) == 0 &&
        strcmp(pare__onnx_domain(function->domain), domain) == 0)
      return true;
  }
  return false;
}

static pare_status add_value(pare_inspection *all, const pare__onnx_value *value) {
  PARE__TRY(pare__array_grow((void **)&all->value, &all->values_capacity, all->nvalues, sizeof *all->value));
  all->value[all->nvalues++] = value;
  return PARE_OK;
}

static pare_status add_values(pare_inspection *all, const pare__onnx_values *values) {
  for (size_t i = 0; i < values->count; i++)
    if (*text(values->items[i].name)) PARE__TRY(add_value(all, &values->items[i]));
  return PARE_OK;
}

static const char *external_file(const pare__onnx_tensor *tensor) {
  if (tensor->data_location != PARE__ONNX_LOCATION_EXTERNAL) return "";
  for (size_t i = 0; i < tensor->external_data.count; i++)
    if (strcmp(text(tensor->external_data.items[i].key), "location") == 0)
      return text(tensor->external_data.items[i].value);
  return "";
}

pare_status pare__inspect_add(pare_inspection *inspection, const pare_tensor_info *info, size_t nbytes) {
  PARE__TRY(pare__array_grow((void **)&inspection->tensor, &inspection->tensors_capacity, inspection->info.ntensors,
                             sizeof *inspection->tensor));
  pare_tensor_info *added = &inspection->tensor[inspection->info.ntensors++];
  *added = *info;
  int64_t elements = 1;
  for (size_t i = 0; i < info->rank; i++)
    if (info->dim[i] < 0 || !pare__i64_mul(elements, info->dim[i], &elements)) return PARE_OK;
  added->elements = (uint64_t)elements;
  added->nbytes = nbytes;
  if (!__builtin_add_overflow(inspection->info.parameters, added->elements, &inspection->info.parameters) &&
      !__builtin_add_overflow(inspection->info.tensor_bytes, added->nbytes, &inspection->info.tensor_bytes))
    return PARE_OK;
  return pare__fail(PARE_ERR_FORMAT, "the tensors have more elements than can be counted");
}

static pare_status add_tensor(pare_inspection *all, const pare__onnx_tensor *tensor, const pare__onnx_ints *dims,
                              bool sparse) {
  const size_t index = all->info.ntensors;
  int64_t elements = 1;
  size_t nbytes = 0;
  bool counted = true;
  for (size_t i = 0; i < dims->count; i++)
    counted = counted && dims->items[i] >= 0 && pare__i64_mul(elements, dims->items[i], &elements);
  if (!counted || !pare__onnx_dtype_size(tensor->data_type, elements, &nbytes)) nbytes = 0;
  PARE__TRY(pare__array_grow((void **)&all->source, &all->sources_capacity, index, sizeof *all->source));
  all->source[index] = sparse ? NULL : tensor;
  return pare__inspect_add(all,
                           &(pare_tensor_info){.name = text(tensor->name),
                                               .dtype_name = pare__onnx_dtype_name(tensor->data_type),
                                               .rank = dims->count,
                                               .dim = dims->items,
                                               .file = external_file(tensor),
                                               .sparse = sparse,
                                               .quantised = ""},
                           nbytes);
}

static pare_status walk_nodes(const walk *at, const pare__onnx_nodes *nodes);

static pare_status walk_graph(const walk *at, const pare__onnx_graph *graph) {
  pare_inspection *all = at->inspection;
  if (at->depth > MOST_DEPTH) return pare__fail(PARE_ERR_FORMAT, "more than %d subgraphs in each other", MOST_DEPTH);
  for (size_t i = 0; i < graph->initializer.count; i++)
    PARE__TRY(add_tensor(all, &graph->initializer.items[i], &graph->initializer.items[i].dims, false));
  for (size_t i = 0; i < graph->sparse_initializer.count; i++) {
    const pare__onnx_sparse_tensor *sparse = &graph->sparse_initializer.items[i];
    if (sparse->values) PARE__TRY(add_tensor(all, sparse->values, &sparse->dims, true));
  }
  PARE__TRY(add_values(all, &graph->input));
  PARE__TRY(add_values(all, &graph->output));
  PARE__TRY(add_values(all, &graph->value_info));
  return walk_nodes(at, &graph->node);
}

static pare_status walk_subgraphs(const walk *at, const pare__onnx_node *node) {
  for (size_t i = 0; i < node->attribute.count; i++) {
    const pare__onnx_attribute *attribute = &node->attribute.items[i];
    walk inside = *at;
    inside.within = text(attribute->name);
    inside.depth++;
    if (attribute->g) PARE__TRY(walk_graph(&inside, attribute->g));
    for (size_t k = 0; k < attribute->graphs.count; k++) PARE__TRY(walk_graph(&inside, &attribute->graphs.items[k]));
  }
  return PARE_OK;
}

/* A weight that is the result of a Constant node, as some exporters have all of theirs. One number is none. */
static pare_status add_constant(pare_inspection *all, const pare__onnx_node *node) {
  const pare__onnx_attribute *value = pare__onnx_attribute_find(node, "value");
  if (strcmp(text(node->op_type), "Constant") != 0 || *pare__onnx_domain(node->domain) || node->output.count != 1 ||
      !value || !value->t)
    return PARE_OK;
  int64_t elements = 1;
  for (size_t d = 0; d < value->t->dims.count; d++)
    if (!pare__i64_mul(elements, value->t->dims.items[d], &elements)) return PARE_OK;
  if (elements < 2) return PARE_OK;
  PARE__TRY(add_tensor(all, value->t, &value->t->dims, false));
  all->tensor[all->info.ntensors - 1].name = text(node->output.items[0]);
  return PARE_OK;
}

/* Names as the public interface has them: NULL is "". */
static pare_status copy_names(pare_inspection *all, const pare__onnx_texts *names, const char *const **out) {
  void *memory;
  PARE__TRY(pare__onnx_allocate(all->onnx->source, (names->count + 1) * sizeof(const char *), &memory));
  const char **copy = memory;
  for (size_t i = 0; i < names->count; i++) copy[i] = text(names->items[i]);
  *out = copy;
  return PARE_OK;
}

static pare_status walk_nodes(const walk *at, const pare__onnx_nodes *nodes) {
  pare_inspection *all = at->inspection;
  for (size_t i = 0; i < nodes->count; i++) {
    const pare__onnx_node *node = &nodes->items[i];
    const char *domain = pare__onnx_domain(node->domain);
    PARE__TRY(pare__array_grow((void **)&all->node, &all->nodes_capacity, all->info.nnodes, sizeof *all->node));
    pare_node_info *info = &all->node[all->info.nnodes++];
    *info = (pare_node_info){.name = text(node->name),
                             .op_type = text(node->op_type),
                             .domain = domain,
                             .opset = pare__onnx_opset_version(at->opsets, domain),
                             .within = at->within,
                             .depth = at->depth,
                             .ninputs = node->input.count,
                             .noutputs = node->output.count};
    const pare__operator *row = pare__operator_find(domain, info->op_type, info->opset);
    if (row && !pare__operator_in_files(row)) row = NULL;
    info->supported = has_function(all->onnx, domain, node) || row;
    info->placement = row ? pare__placement_name(row->placement) : "";
    if (!info->supported) all->info.nunsupported++;
    PARE__TRY(copy_names(all, &node->input, &info->input));
    PARE__TRY(copy_names(all, &node->output, &info->output));
    PARE__TRY(pare__attributes_text(all->onnx->source, node, &info->attributes));
    PARE__TRY(add_constant(all, node));
    PARE__TRY(walk_subgraphs(at, node));
  }
  return PARE_OK;
}

/* ---- what the graph takes ---- */

static int by_value_name(const void *a, const void *b) {
  return strcmp((*(const pare__onnx_value *const *)a)->name, (*(const pare__onnx_value *const *)b)->name);
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool is_among(size_t count, const char *const *names, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

bool pare__inspect_has_default(const pare_inspection *inspection, const char *name) {
  for (size_t i = 0; i < inspection->info.ntensors; i++)
    if (strcmp(inspection->tensor[i].name, name) == 0) return true;
  return false;
}

static pare_status find_inputs(pare_inspection *all, size_t noverridden, const char *const *overridden) {
  const pare__onnx_graph *graph = all->onnx->graph;
  const size_t ntensors = all->info.ntensors;
  free(all->input);
  all->ninputs = 0;
  all->input = calloc(graph->input.count + 1, sizeof *all->input);
  const char **names = calloc(ntensors + 1, sizeof *names);
  if (!all->input || !names) {
    free(names);
    return pare__fail_memory("an inspection", (graph->input.count + ntensors) * sizeof *names);
  }
  for (size_t i = 0; i < ntensors; i++) names[i] = all->tensor[i].name;
  qsort(names, ntensors, sizeof *names, by_text);
  for (size_t i = 0; i < graph->input.count; i++) {
    const char *name = text(graph->input.items[i].name);
    const bool has_default = bsearch(&name, names, ntensors, sizeof *names, by_text) != NULL;
    if (!has_default || is_among(noverridden, overridden, name)) all->input[all->ninputs++] = &graph->input.items[i];
  }
  free(names);
  all->info.ninputs = all->ninputs;
  return PARE_OK;
}

pare_status pare__inspect_override(pare_inspection *inspection, size_t count, const char *const *names) {
  return inspection->onnx ? find_inputs(inspection, count, names) : PARE_OK;
}

static pare_status inspect(pare_inspection *all, const char *path) {
  if (pare__inspect_is_safetensors(path)) return pare__inspect_safetensors(all, path);
  PARE__TRY(pare__onnx_open(path, &all->onnx));
  const pare__onnx_model *onnx = all->onnx;
  walk at = {.inspection = all, .opsets = &onnx->opset_import, .within = ""};
  PARE__TRY(walk_graph(&at, onnx->graph));
  PARE__TRY(find_inputs(all, 0, NULL));
  for (size_t i = 0; i < onnx->functions.count; i++) {
    const pare__onnx_function *function = &onnx->functions.items[i];
    at = (walk){.inspection = all, .opsets = &function->opset_import, .within = text(function->name), .depth = 1};
    PARE__TRY(add_values(all, &function->value_info));
    PARE__TRY(walk_nodes(&at, &function->node));
  }
  if (all->nvalues > 0) qsort(all->value, all->nvalues, sizeof *all->value, by_value_name);
  pare_model_info *info = &all->info;
  info->format = "onnx";
  info->ir_version = onnx->ir_version;
  info->model_version = onnx->model_version;
  info->producer_name = text(onnx->producer_name);
  info->producer_version = text(onnx->producer_version);
  info->domain = text(onnx->domain);
  info->graph_name = text(onnx->graph->name);
  info->description = text(onnx->doc_string);
  info->noutputs = onnx->graph->output.count;
  info->nopsets = onnx->opset_import.count;
  info->nmetadata = onnx->metadata_props.count;
  info->nfunctions = onnx->functions.count;
  return PARE_OK;
}

/* ---- sizes of files ---- */

static void add_file(const char *path, struct stat *seen, pare_model_info *info) {
  struct stat *found = &seen[info->nexternal];
  if (stat(path, found) != 0) return; /* told where it is read */
  for (size_t i = 0; i < info->nexternal; i++)
    if (seen[i].st_dev == found->st_dev && seen[i].st_ino == found->st_ino) return;
  info->file_bytes += (uint64_t)found->st_size;
  info->nexternal++;
}

static pare_status count_files(pare_inspection *all, const char *path) {
  const char *slash = strrchr(path, '/');
  const int folder = slash ? (int)(slash - path) + 1 : 0;
  struct stat own, *seen = calloc(all->info.ntensors + 1, sizeof *seen);
  if (!seen) return pare__fail_memory("an inspection", all->info.ntensors * sizeof *seen);
  pare_status status = PARE_OK;
  if (stat(path, &own) == 0) all->info.file_bytes = (uint64_t)own.st_size;
  for (size_t i = 0; i < all->info.ntensors && status == PARE_OK; i++) {
    const char *name = all->tensor[i].file;
    if (!name || !*name || (i > 0 && all->tensor[i - 1].file && strcmp(all->tensor[i - 1].file, name) == 0)) continue;
    char *full = pare__format("%.*s%s", folder, path, name);
    if (full)
      add_file(full, seen, &all->info);
    else
      status = pare__fail_memory("an inspection", strlen(name));
    free(full);
  }
  free(seen);
  return status;
}

/* ---- the public interface ---- */

pare_status pare_inspect_open(const char *path, pare_inspection **out) {
  if (!out) return pare__fail_null("pare_inspect_open", "out");
  *out = NULL;
  if (!path) return pare__fail_null("pare_inspect_open", "path");
  pare_inspection *inspection = calloc(1, sizeof *inspection);
  if (!inspection) return pare__fail_memory("an inspection", sizeof *inspection);
  pare_status status = inspect(inspection, path);
  if (status == PARE_OK) status = count_files(inspection, path);
  if (status != PARE_OK) {
    pare_inspect_close(inspection);
    return status;
  }
  *out = inspection;
  return PARE_OK;
}

void pare_inspect_close(pare_inspection *inspection) {
  if (!inspection) return;
  pare__onnx_close(inspection->onnx);
  pare__arena_clear(&inspection->texts);
  pare__quantised_close(&inspection->quantised);
  pare__safetensors_close(&inspection->safetensors);
  pare_model_close(inspection->inferred);
  free(inspection->source);
  free(inspection->node);
  free(inspection->work);
  free(inspection->tensor);
  free(inspection->value);
  free(inspection->input);
  free(inspection);
}

/* Arguments as all functions below have them. */
static pare_status check(const char *function, const pare_inspection *inspection, bool has_out, size_t index,
                         size_t count) {
  if (!inspection) return pare__fail_null(function, "inspection");
  if (!has_out) return pare__fail_null(function, "out");
  if (index < count) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s: there is no number %zu; the model has %zu", function, index, count);
}

pare_status pare_inspect_model(const pare_inspection *inspection, pare_model_info *out) {
  if (!out) return pare__fail_null("pare_inspect_model", "out");
  *out = (pare_model_info){
      .format = "", .producer_name = "", .producer_version = "", .domain = "", .graph_name = "", .description = ""};
  if (!inspection) return pare__fail_null("pare_inspect_model", "inspection");
  *out = inspection->info;
  return PARE_OK;
}

pare_status pare_inspect_opset(const pare_inspection *inspection, size_t index, const char **domain, int64_t *version) {
  PARE__TRY(
      check("pare_inspect_opset", inspection, domain && version, index, inspection ? inspection->info.nopsets : 0));
  *domain = pare__onnx_domain(inspection->onnx->opset_import.items[index].domain);
  *version = inspection->onnx->opset_import.items[index].version;
  return PARE_OK;
}

pare_status pare_inspect_metadata(const pare_inspection *inspection, size_t index, const char **key,
                                  const char **value) {
  PARE__TRY(
      check("pare_inspect_metadata", inspection, key && value, index, inspection ? inspection->info.nmetadata : 0));
  if (!inspection->onnx) {
    *key = inspection->safetensors.text[index].key;
    *value = inspection->safetensors.text[index].value;
    return PARE_OK;
  }
  *key = text(inspection->onnx->metadata_props.items[index].key);
  *value = text(inspection->onnx->metadata_props.items[index].value);
  return PARE_OK;
}

static void describe(const pare__onnx_value *value, pare_model_value *out) {
  static const char *const other[] = {[PARE__ONNX_TYPE_SEQUENCE] = "sequence",
                                      [PARE__ONNX_TYPE_MAP] = "map",
                                      [PARE__ONNX_TYPE_OPAQUE] = "opaque",
                                      [PARE__ONNX_TYPE_SPARSE_TENSOR] = "sparse tensor",
                                      [PARE__ONNX_TYPE_OPTIONAL] = "optional"};
  *out = (pare_model_value){.name = text(value->name), .dtype = PARE_NDTYPES, .dtype_name = "undefined", .rank = -1};
  const pare__onnx_type *type = value->type;
  if (!type) return;
  if (type->which != PARE__ONNX_TYPE_TENSOR) {
    const bool named = type->which > 0 && (size_t)type->which < PARE__COUNT(other) && other[type->which];
    if (named) out->dtype_name = other[type->which];
    return;
  }
  const pare__onnx_tensor_type *tensor = type->tensor_type;
  out->dtype_name = pare__onnx_dtype_name(tensor->elem_type);
  if (!pare__held_dtype(tensor->elem_type, &out->dtype)) out->dtype = PARE_NDTYPES;
  if (!tensor->shape || tensor->shape->dim.count > PARE_MAX_RANK) return;
  out->rank = (int)tensor->shape->dim.count;
  for (int i = 0; i < out->rank; i++) {
    const pare__onnx_dimension *dim = &tensor->shape->dim.items[i];
    out->dim[i] = dim->which == PARE__ONNX_DIM_VALUE && dim->dim_value >= 0 ? dim->dim_value : -1;
    if (dim->which == PARE__ONNX_DIM_PARAM && *text(dim->dim_param)) out->symbol[i] = dim->dim_param;
  }
}

/* What the file leaves open may have been inferred. */
static void refine(const pare_inspection *inspection, pare_model_value *value) {
  pare_model_value inferred;
  bool open = value->rank < 0;
  for (int d = 0; d < value->rank; d++) open = open || (value->dim[d] < 0 && !value->symbol[d]);
  if (open && pare__inspect_inferred(inspection, value->name, &inferred)) *value = inferred;
}

pare_status pare_inspect_input(const pare_inspection *inspection, size_t index, pare_model_value *out) {
  PARE__TRY(check("pare_inspect_input", inspection, out, index, inspection ? inspection->info.ninputs : 0));
  describe(inspection->input[index], out);
  return PARE_OK;
}

pare_status pare_inspect_output(const pare_inspection *inspection, size_t index, pare_model_value *out) {
  PARE__TRY(check("pare_inspect_output", inspection, out, index, inspection ? inspection->info.noutputs : 0));
  describe(&inspection->onnx->graph->output.items[index], out);
  refine(inspection, out);
  return PARE_OK;
}

bool pare_inspect_value(const pare_inspection *inspection, const char *name, pare_model_value *out) {
  if (!inspection || !name || !out) return false;
  const pare__onnx_value wanted = {.name = name}, *key = &wanted;
  const pare__onnx_value **found = NULL;
  if (inspection->nvalues > 0)
    found = bsearch(&key, inspection->value, inspection->nvalues, sizeof *inspection->value, by_value_name);
  if (!found) return pare__inspect_inferred(inspection, name, out);
  describe(*found, out);
  refine(inspection, out);
  return true;
}

pare_status pare_inspect_node(const pare_inspection *inspection, size_t index, pare_node_info *out) {
  PARE__TRY(check("pare_inspect_node", inspection, out, index, inspection ? inspection->info.nnodes : 0));
  *out = inspection->node[index];
  return PARE_OK;
}

pare_status pare_inspect_tensor(const pare_inspection *inspection, size_t index, pare_tensor_info *out) {
  PARE__TRY(check("pare_inspect_tensor", inspection, out, index, inspection ? inspection->info.ntensors : 0));
  *out = inspection->tensor[index];
  return PARE_OK;
}
