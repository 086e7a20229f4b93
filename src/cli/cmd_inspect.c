/* pare inspect: what is in a model. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/drawing.h"
#include "cli/feed.h"
#include "cli/tensors.h"

enum { SHOW, HISTOGRAM, SHAPE, SVG, WITHOUT, JSON };
static const cli_option options[] = {
    [SHOW] = {"show", "WHAT", "summary (the default), nodes, tensors, memory, support or graph", 0},
    [HISTOGRAM] = {"histogram", NULL, "with tensors: how their values are spread; reads all of them", 0},
    [SHAPE] = {"shape", "NAME=SHAPE", "for memory, nodes: the shape of an input, such as x=1x3x224x224, or batch=8", 0},
    [SVG] = {"svg", "FILE", "draw the graph into this file; needs the program dot of Graphviz", 0},
    [WITHOUT] = CLI_OPTION_WITHOUT,
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct inspect_run {
  const cli_arguments *arguments;
  const char *path; /* NULL: no model */
  bool json;
  pare_inspection *inspection;
  pare_model_info info;
} inspect_run;

static const char *or_none(const char *text) { return *text ? text : "-"; }
static const char *domain_name(const char *domain) { return *domain ? domain : "ai.onnx"; }

/* ---- summary ---- */

static json_t *value_json(const pare_model_value *value) {
  json_t *shape = value->rank < 0 ? json_null() : json_array();
  for (int i = 0; i < value->rank; i++) {
    const bool known = value->dim[i] >= 0;
    json_array_append_new(shape, known              ? json_integer(value->dim[i])
                                 : value->symbol[i] ? cli_json_text(value->symbol[i])
                                                    : json_null());
  }
  return json_pack("{s:o, s:s, s:o}", "name", cli_json_text(value->name), "dtype", value->dtype_name, "shape", shape);
}

static json_t *values_json(const inspect_run *run, bool inputs) {
  json_t *list = json_array();
  for (size_t i = 0; i < (inputs ? run->info.ninputs : run->info.noutputs); i++) {
    pare_model_value value = {0};
    if ((inputs ? pare_inspect_input : pare_inspect_output)(run->inspection, i, &value) == PARE_OK)
      json_array_append_new(list, value_json(&value));
  }
  return list;
}

static json_t *opsets_json(const inspect_run *run) {
  json_t *json = json_object();
  for (size_t i = 0; i < run->info.nopsets; i++) {
    const char *domain;
    int64_t version;
    if (pare_inspect_opset(run->inspection, i, &domain, &version) == PARE_OK)
      json_object_set_new(json, domain_name(domain), json_integer(version));
  }
  return json;
}

static json_t *metadata_json(const inspect_run *run) {
  json_t *json = json_object();
  for (size_t i = 0; i < run->info.nmetadata; i++) {
    const char *key, *value;
    if (pare_inspect_metadata(run->inspection, i, &key, &value) == PARE_OK)
      cli_json_set(json, key, cli_json_text(value));
  }
  return json;
}

static cli_exit summary_json(const inspect_run *run) {
  const pare_model_info *info = &run->info;
  return cli_json_print(json_pack(
      "{s:o, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "model",
      cli_json_text(run->path), "format", info->format, "file_bytes", (json_int_t)info->file_bytes, "ir_version",
      (json_int_t)info->ir_version, "producer", cli_json_text(info->producer_name), "producer_version",
      cli_json_text(info->producer_version), "graph", cli_json_text(info->graph_name), "description",
      cli_json_text(info->description), "nodes", (json_int_t)info->nnodes, "functions", (json_int_t)info->nfunctions,
      "unsupported_nodes", (json_int_t)info->nunsupported, "tensors", (json_int_t)info->ntensors, "parameters",
      (json_int_t)info->parameters, "tensor_bytes", (json_int_t)info->tensor_bytes, "opsets", opsets_json(run),
      "inputs", values_json(run, true), "outputs", values_json(run, false), "metadata", metadata_json(run)));
}

static void print_values(const inspect_run *run, bool inputs) {
  for (size_t i = 0; i < (inputs ? run->info.ninputs : run->info.noutputs); i++) {
    pare_model_value value = {0};
    char shape[CLI_SHAPE];
    if ((inputs ? pare_inspect_input : pare_inspect_output)(run->inspection, i, &value) != PARE_OK) continue;
    printf("%-10s%s: %s\n", i > 0 ? "" : inputs ? "inputs" : "outputs", value.name, cli_value_text(&value, shape));
  }
}

/* Where a graph comes from, and what it is made of. */
static void print_graph(const inspect_run *run) {
  const pare_model_info *info = &run->info;
  printf("%-10s%s%s%s%s%s\n", "made by", or_none(info->producer_name), *info->producer_version ? " " : "",
         info->producer_version, *info->graph_name ? "; graph " : "", info->graph_name);
  printf("%-10sIR %" PRId64, "format", info->ir_version);
  for (size_t i = 0; i < info->nopsets; i++) {
    const char *domain;
    int64_t version;
    if (pare_inspect_opset(run->inspection, i, &domain, &version) == PARE_OK)
      printf(", %s %" PRId64, domain_name(domain), version);
  }
  printf("\n%-10s%zu", "nodes", info->nnodes);
  if (info->nfunctions > 0) printf(", those of %zu functions included", info->nfunctions);
  if (info->nunsupported > 0)
    cli_print(CLI_BAD, "; pare does not have the operators of %zu (--show support)", info->nunsupported);
  putchar('\n');
}

static cli_exit show_summary(const inspect_run *run) {
  const pare_model_info *info = &run->info;
  char text[CLI_TEXT];
  if (run->json) return summary_json(run);
  cli_print(CLI_BOLD, "%s", run->path);
  printf(", %s", cli_bytes(info->file_bytes, text));
  if (info->nexternal > 0) printf(" with %zu external file%s", info->nexternal, info->nexternal > 1 ? "s" : "");
  putchar('\n');
  if (strcmp(info->format, "onnx") == 0)
    print_graph(run);
  else
    printf("%-10s%s\n", "format", info->format);
  printf("%-10s%zu tensors, %" PRIu64 " parameters, %s\n", "weights", info->ntensors, info->parameters,
         cli_bytes(info->tensor_bytes, text));
  print_values(run, true);
  print_values(run, false);
  for (size_t i = 0; i < info->nmetadata; i++) {
    const char *key, *value;
    if (pare_inspect_metadata(run->inspection, i, &key, &value) == PARE_OK)
      printf("%-10s%s: %.200s\n", i == 0 ? "metadata" : "", key, value);
  }
  return CLI_OK;
}

/* ---- nodes and tensors ---- */

static json_t *names_json(size_t count, const char *const *names) {
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++) json_array_append_new(list, cli_json_text(names[i]));
  return list;
}

/* The shapes that the file does not say, where a device is there to plan for: nothing else needs one. */
static cli_exit infer(const inspect_run *run, bool work) {
  pare_context *context;
  cli_feed *feed = NULL;
  const pare_context_options how = {.device = run->arguments->device};
  cli_exit code = cli_feed_open(run->arguments, NULL, &options[SHAPE], &feed);
  if (code != CLI_OK) return code;
  if (pare_context_open(&how, &context) == PARE_OK) {
    const bool inferred = pare_inspect_infer(run->inspection, context) == PARE_OK;
    if (!inferred) cli_note("shapes could not be inferred: %s", pare_message());
    pare_status status = PARE_OK;
    if (work && inferred) code = cli_feed_work(feed, context, run->inspection, &status);
    if (code == CLI_OK && status != PARE_OK) cli_note("the nodes' work is not known: %s", pare_message());
    pare_context_close(context);
  }
  cli_feed_close(feed);
  return code;
}

/* Not known if it could not be found. */
static pare_node_work work_of(const inspect_run *run, size_t index) {
  pare_node_work work;
  if (pare_inspect_node_work(run->inspection, index, &work) == PARE_OK && work.known) return work;
  return (pare_node_work){.kernel = ""};
}

static json_t *work_json(const pare_node_work *work) {
  if (!work->known) return json_null();
  return json_pack("{s:s, s:f, s:f, s:f}", "kernel", work->kernel, "operations", work->operations, "read_bytes",
                   work->read_bytes, "written_bytes", work->written_bytes);
}

static void work_cells(cli_table *table, const pare_node_work *work) {
  char text[CLI_TEXT];
  if (!work->known) {
    for (int i = 0; i < 3; i++) cli_table_cell(table, CLI_PLAIN, "%s", "");
    return;
  }
  cli_table_cell(table, CLI_PLAIN, "%.0f", work->operations);
  cli_table_cell(table, CLI_PLAIN, "%s", cli_bytes((uint64_t)work->read_bytes, text));
  cli_table_cell(table, CLI_PLAIN, "%s", cli_bytes((uint64_t)work->written_bytes, text));
}

/* Types and shapes of a node's outputs. */
static void shapes_text(const inspect_run *run, const pare_node_info *node, char *text, size_t capacity) {
  size_t used = 0;
  *text = '\0';
  for (size_t i = 0; i < node->noutputs && used < capacity; i++) {
    pare_model_value value;
    char shape[CLI_SHAPE] = "?";
    if (!*node->output[i]) continue;
    if (pare_inspect_value(run->inspection, node->output[i], &value)) cli_value_text(&value, shape);
    used += (size_t)snprintf(text + used, capacity - used, "%s%s", used ? ", " : "", shape);
  }
}

static void names_cell(cli_table *table, size_t count, const char *const *names) {
  char text[1024] = "";
  size_t used = 0;
  for (size_t i = 0; i < count && used < sizeof text; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", or_none(names[i]));
  cli_table_cell(table, CLI_PLAIN, "%s", text);
}

static cli_exit show_nodes(const inspect_run *run) {
  const cli_exit code = infer(run, true);
  if (code != CLI_OK) return code;
  json_t *list = run->json ? json_array() : NULL;
  cli_table *table =
      run->json ? NULL : cli_table_open(">node|op|name|inputs|outputs|shapes|>operations|>read|>written|attributes");
  for (size_t i = 0; i < run->info.nnodes; i++) {
    pare_node_info node;
    char shapes[4 * CLI_SHAPE];
    if (pare_inspect_node(run->inspection, i, &node) != PARE_OK) continue;
    shapes_text(run, &node, shapes, sizeof shapes);
    const pare_node_work work = work_of(run, i);
    if (run->json) {
      json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:I, s:o, s:i, s:o, s:o, s:o, s:o, s:b, s:o}", "name",
                                            cli_json_text(node.name), "op", cli_json_text(node.op_type), "domain",
                                            cli_json_text(node.domain), "opset", (json_int_t)node.opset, "within",
                                            cli_json_text(node.within), "depth", (int)node.depth, "inputs",
                                            names_json(node.ninputs, node.input), "outputs",
                                            names_json(node.noutputs, node.output), "shapes", cli_json_text(shapes),
                                            "attributes", cli_json_text(node.attributes), "supported",
                                            (int)node.supported, "work", work_json(&work)));
      continue;
    }
    cli_table_cell(table, CLI_PLAIN, "%zu", i);
    cli_table_cell(table, node.supported ? CLI_PLAIN : CLI_BAD, "%*s%s%s%s%s%s", 2 * (int)node.depth, "", node.within,
                   *node.within ? ": " : "", node.domain, *node.domain ? "." : "", node.op_type);
    cli_table_cell(table, CLI_PLAIN, "%s", node.name);
    names_cell(table, node.ninputs, node.input);
    names_cell(table, node.noutputs, node.output);
    cli_table_cell(table, CLI_PLAIN, "%s", shapes);
    work_cells(table, &work);
    cli_table_cell(table, CLI_DIM, "%s", node.attributes);
  }
  return run->json ? cli_json_print(list) : cli_table_print(table);
}

static cli_exit show_tensors(const inspect_run *run) {
  return cli_show_tensors(run->inspection, run->json, cli_value(run->arguments, &options[HISTOGRAM]) != NULL);
}

/* ---- support ---- */

static void opsets_text(const pare_operator_info *row, char text[CLI_TEXT]) {
  if (row->until == 0)
    snprintf(text, CLI_TEXT, "%d+", row->since);
  else
    snprintf(text, CLI_TEXT, row->since == row->until ? "%d" : "%d-%d", row->since, row->until);
}

/* Every operator that pare has. */
static cli_exit show_all_operators(bool json) {
  json_t *list = json ? json_array() : NULL;
  cli_table *table = json ? NULL : cli_table_open("operator|domain|opsets|runs on|types");
  pare_operator_info row;
  for (size_t i = 0; pare_operator_get(i, &row); i++) {
    char opsets[CLI_TEXT];
    if (json) {
      json_array_append_new(list,
                            json_pack("{s:s, s:s, s:i, s:i, s:s, s:s}", "op", row.name, "domain", row.domain, "since",
                                      row.since, "until", row.until, "placement", row.placement, "types", row.types));
      continue;
    }
    opsets_text(&row, opsets);
    cli_table_cell(table, CLI_PLAIN, "%s", row.name);
    cli_table_cell(table, CLI_PLAIN, "%s", domain_name(row.domain));
    cli_table_cell(table, CLI_PLAIN, "%s", opsets);
    cli_table_cell(table, CLI_PLAIN, "%s", row.placement);
    cli_table_cell(table, CLI_PLAIN, "%s", row.types);
  }
  return json ? cli_json_print(list) : cli_table_print(table);
}

typedef struct used_operator {
  pare_node_info node; /* the first that uses it */
  size_t count;
} used_operator;

static int by_operator(const void *a, const void *b) {
  const pare_node_info *x = &((const used_operator *)a)->node, *y = &((const used_operator *)b)->node;
  const int supported = (int)x->supported - (int)y->supported, domains = strcmp(x->domain, y->domain);
  if (supported || domains) return supported ? supported : domains;
  const int names = strcmp(x->op_type, y->op_type);
  return names ? names : (x->opset > y->opset) - (x->opset < y->opset);
}

/* The operators of a model, each once, what pare lacks first. */
static size_t count_operators(const inspect_run *run, used_operator *used) {
  size_t count = 0, n = 0;
  for (size_t i = 0; i < run->info.nnodes; i++)
    if (pare_inspect_node(run->inspection, i, &used[n].node) == PARE_OK) used[n++].count = 1;
  qsort(used, n, sizeof *used, by_operator);
  for (size_t i = 0; i < n; i++) {
    if (count > 0 && by_operator(&used[count - 1], &used[i]) == 0)
      used[count - 1].count++;
    else
      used[count++] = used[i];
  }
  return count;
}

static cli_exit show_support(const inspect_run *run) {
  used_operator *used = calloc(run->info.nnodes + 1, sizeof *used);
  if (!used) return cli_error(CLI_DEVICE, "out of memory");
  const size_t count = count_operators(run, used);
  json_t *list = run->json ? json_array() : NULL;
  cli_table *table = run->json ? NULL : cli_table_open("operator|domain|>opset|>nodes|supported");
  for (size_t i = 0; i < count; i++) {
    const pare_node_info *node = &used[i].node;
    if (run->json) {
      json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:I, s:b}", "op", cli_json_text(node->op_type), "domain",
                                            cli_json_text(node->domain), "opset", (json_int_t)node->opset, "nodes",
                                            (json_int_t)used[i].count, "supported", (int)node->supported));
      continue;
    }
    cli_table_cell(table, CLI_PLAIN, "%s", node->op_type);
    cli_table_cell(table, CLI_PLAIN, "%s", domain_name(node->domain));
    cli_table_cell(table, CLI_PLAIN, "%" PRId64, node->opset);
    cli_table_cell(table, CLI_PLAIN, "%zu", used[i].count);
    cli_table_cell(table, node->supported ? CLI_GOOD : CLI_BAD, "%s", node->supported ? "yes" : "no");
  }
  free(used);
  return run->json ? cli_json_print(list) : cli_table_print(table);
}

/* ---- memory: the one that needs a device ---- */

/* What a run of these inputs takes, beforehand. */
typedef struct forecast {
  pare_model_memory memory;
  pare_model_unplanned *node;
  size_t nnodes;
} forecast;

static json_t *unplanned_json(const forecast *found) {
  json_t *list = json_array();
  for (size_t i = 0; i < found->nnodes; i++) {
    const pare_model_unplanned *node = &found->node[i];
    json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:b, s:b, s:o}", "name", cli_json_text(node->node), "op",
                                          cli_json_text(node->op_type), "domain", cli_json_text(node->domain),
                                          "bounded", (int)node->bounded, "follows", (int)node->follows, "output",
                                          node->bounded ? cli_json_text(node->output) : json_null()));
  }
  return list;
}

static cli_exit memory_json(const inspect_run *run, const char *device, json_t *shapes, const forecast *found) {
  const pare_model_memory *memory = &found->memory;
  return cli_json_print(json_pack("{s:o, s:o, s:o, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "model",
                                  cli_json_text(run->path), "device", cli_json_text(device), "shapes", shapes, "exact",
                                  (int)memory->exact, "bounded", (int)memory->bounded, "weight_bytes",
                                  (json_int_t)memory->weight_bytes, "input_bytes", (json_int_t)memory->input_bytes,
                                  "activation_bytes", (json_int_t)memory->activation_bytes, "output_bytes",
                                  (json_int_t)memory->output_bytes, "load_bytes", (json_int_t)memory->load_bytes,
                                  "peak_bytes", (json_int_t)memory->peak_bytes, "unplanned", unplanned_json(found)));
}

/* The nodes whose outputs depend on values; of those that nothing bounds the first ones, as the others follow. */
static void print_unplanned(const forecast *found) {
  size_t nfollowing = 0;
  if (found->memory.exact) return;
  printf("shapes depend on values: the run is not planned, and this is an estimate\n");
  for (size_t i = 0; i < found->nnodes; i++) {
    const pare_model_unplanned *node = &found->node[i];
    if (node->follows)
      nfollowing++;
    else if (node->bounded)
      printf("%-12s%s (%s): counted as %s\n", "at most", node->node, node->op_type, node->output);
    else
      cli_print(CLI_BAD, "%-12s%s (%s): what it makes is not known beforehand\n", "not counted", node->node,
                node->op_type);
  }
  if (nfollowing > 0)
    cli_print(CLI_BAD, "%-12s%zu node%s that read%s what those make\n", "not counted", nfollowing,
              nfollowing > 1 ? "s" : "", nfollowing > 1 ? "" : "s");
}

static void bytes_line(const char *label, uint64_t nbytes) {
  char text[CLI_TEXT];
  printf("%-12s%s\n", label, cli_bytes(nbytes, text));
}

static cli_exit print_memory(const inspect_run *run, const pare_context *context, const cli_inputs *inputs,
                             const pare_model *model, const forecast *found) {
  const char *device = pare_context_device(context)->name;
  const pare_model_memory *memory = &found->memory;
  if (run->json) return memory_json(run, device, cli_inputs_shapes(inputs, model), found);
  char text[CLI_TEXT];
  printf("%s on %s\n", run->path, device);
  for (size_t i = 0; i < inputs->count; i++) {
    pare_model_value value = {0};
    char shape[CLI_SHAPE];
    if (pare_model_input(model, i, &value) != PARE_OK) continue;
    value.rank = pare_tensor_rank(inputs->tensor[i]);
    memcpy(value.dim, pare_tensor_shape(inputs->tensor[i]), (size_t)value.rank * sizeof *value.dim);
    printf("%-12s%s: %s\n", i == 0 ? "inputs" : "", value.name, cli_value_text(&value, shape));
  }
  print_unplanned(found);
  bytes_line("weights", memory->weight_bytes);
  bytes_line("inputs", memory->input_bytes);
  bytes_line("between", memory->activation_bytes);
  bytes_line("outputs", memory->output_bytes);
  bytes_line("opening", memory->load_bytes);
  printf("%-12s%s%s (%" PRIu64 " bytes)%s\n", "peak",
         memory->exact     ? ""
         : memory->bounded ? "at most "
                           : "at least ",
         cli_bytes(memory->peak_bytes, text), memory->peak_bytes,
         memory->load_bytes == memory->peak_bytes ? ", while the model is opened" : "");
  return CLI_OK;
}

static cli_exit show_memory(const inspect_run *run) {
  pare_context *context = NULL;
  pare_model *model = NULL;
  cli_feed *feed = NULL;
  cli_inputs inputs = {0};
  forecast found = {0};
  pare_model_options how = {.without = cli_value(run->arguments, &options[WITHOUT])};
  cli_exit code = cli_feed_open(run->arguments, NULL, &options[SHAPE], &feed);
  if (code == CLI_OK) code = cli_feed_names(feed, &how);
  if (code == CLI_OK) code = cli_context_open(run->arguments->device, NULL, &context);
  if (code == CLI_OK) code = cli_model_open(context, run->path, &how, &model);
  if (code == CLI_OK) code = cli_feed_inputs(feed, context, model, &inputs);
  if (code == CLI_OK) {
    const pare_status status =
        pare_model_unplanned_nodes(model, inputs.tensor, &found.memory, &found.node, &found.nnodes);
    if (status != PARE_OK) code = cli_fail(status);
  }
  if (code == CLI_OK) code = print_memory(run, context, &inputs, model, &found);
  pare_model_unplanned_free(found.node);
  cli_inputs_close(&inputs);
  pare_model_close(model);
  pare_context_close(context);
  cli_feed_close(feed);
  return code;
}

/* ---- the command ---- */

static cli_exit show_graph(const inspect_run *run) {
  const char *svg = cli_value(run->arguments, &options[SVG]);
  const cli_exit inferred = infer(run, false);
  if (inferred != CLI_OK) return inferred;
  if (svg) return cli_drawing_svg(run->inspection, svg);
  if (!run->json) return cli_drawing_dot(run->inspection, stdout);
  char *text = NULL;
  size_t nbytes = 0;
  FILE *to = open_memstream(&text, &nbytes);
  cli_exit code = to ? cli_drawing_dot(run->inspection, to) : cli_error(CLI_DEVICE, "out of memory");
  if (to && fclose(to) != 0) code = cli_error(CLI_DEVICE, "out of memory");
  if (code == CLI_OK) code = cli_json_print(json_pack("{s:o}", "dot", cli_json_text(text)));
  free(text);
  return code;
}

static const struct {
  const char *name;
  cli_exit (*show)(const inspect_run *run);
  bool needs_graph; /* a file of tensors has none */
} shows[] = {
    {"summary", show_summary, false}, {"nodes", show_nodes, true},     {"tensors", show_tensors, false},
    {"memory", show_memory, true},    {"support", show_support, true}, {"graph", show_graph, true},
};

static cli_exit run(const cli_arguments *arguments) {
  inspect_run run = {.arguments = arguments,
                     .path = arguments->noperands > 0 ? arguments->operands[0] : NULL,
                     .json = cli_value(arguments, &options[JSON]) != NULL};
  const char *what = cli_value(arguments, &options[SHOW]);
  if (!what)
    what = cli_value(arguments, &options[SVG])         ? "graph"
           : cli_value(arguments, &options[HISTOGRAM]) ? "tensors"
                                                       : "summary";
  size_t i = 0;
  while (i < CLI_COUNT(shows) && strcmp(shows[i].name, what) != 0) i++;
  if (i == CLI_COUNT(shows))
    return cli_error(CLI_USAGE,
                     "--show: there is no '%s'; it is one of summary, nodes, tensors, memory, support, graph", what);
  if (!run.path && shows[i].show == show_support) return show_all_operators(run.json);
  if (!run.path) return cli_error(CLI_USAGE, "say which model to look at: pare inspect MODEL.onnx");
  pare_status status = pare_inspect_open(run.path, &run.inspection);
  if (status == PARE_OK) status = pare_inspect_model(run.inspection, &run.info);
  cli_exit code = status == PARE_OK ? CLI_OK : cli_fail(status);
  if (code == CLI_OK && shows[i].needs_graph && strcmp(run.info.format, "onnx") != 0)
    code = cli_error(CLI_INPUT, "%s is a file of %s: it has tensors, and no %s", run.path, run.info.format, what);
  if (code == CLI_OK) code = shows[i].show(&run);
  pare_inspect_close(run.inspection);
  return code;
}

const cli_command cli_cmd_inspect = {
    .name = "inspect",
    .summary = "show what is in a model, and what of it pare supports",
    .usage = "MODEL [--show summary|nodes|tensors|memory|support|graph] [--histogram] [--shape NAME=SHAPE]... [--svg "
             "FILE] [--json]",
    .about = "Shows an ONNX model, or a file of safetensors, as it is in its file. Only --show memory needs a device: "
             "it tells the peak of device "
             "memory before anything runs. --show graph prints the graph in the language of Graphviz, and --svg draws "
             "it. --show support without a model lists all operators that pare has.",
    .options = options,
    .max_operands = 1,
    .uses_device = true,
    .run = run,
};
