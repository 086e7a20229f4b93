/* A model's nodes as work to simulate. SPDX-License-Identifier: Apache-2.0
 *
 * A node that does nothing itself, such as a view, is no task: who reads its output needs what it needs. */
#include "cli/model_tasks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct made_by {
  const char *name; /* of a value */
  size_t node;
} made_by;

typedef struct lister {
  const pare_inspection *inspection;
  size_t nnodes, nmakers;
  made_by *maker;
  bool *seen; /* of the node that is looked at */
  FILE *to;
  size_t batch;
} lister;

static int by_name(const void *a, const void *b) {
  return strcmp(((const made_by *)a)->name, ((const made_by *)b)->name);
}

static bool is_task(const pare_node_work *work) {
  return *work->kernel && work->operations + work->read_bytes + work->written_bytes > 0;
}

static cli_exit list_makers(lister *all) {
  size_t count = 0;
  for (size_t i = 0; i < all->nnodes; i++) {
    pare_node_info node;
    pare_node_work work;
    if (pare_inspect_node(all->inspection, i, &node) != PARE_OK || node.depth > 0) continue;
    if (pare_inspect_node_work(all->inspection, i, &work) != PARE_OK || !work.known)
      return cli_error(CLI_INPUT, "node %zu, %s: its work depends on values, and cannot be simulated", i, node.op_type);
    count += node.noutputs;
  }
  all->maker = calloc(count + 1, sizeof *all->maker);
  all->seen = calloc(all->nnodes + 1, sizeof *all->seen);
  if (!all->maker || !all->seen) return cli_error(CLI_DEVICE, "out of memory");
  for (size_t i = 0; i < all->nnodes; i++) {
    pare_node_info node;
    if (pare_inspect_node(all->inspection, i, &node) != PARE_OK || node.depth > 0) continue;
    for (size_t k = 0; k < node.noutputs; k++)
      if (*node.output[k]) all->maker[all->nmakers++] = (made_by){node.output[k], i};
  }
  qsort(all->maker, all->nmakers, sizeof *all->maker, by_name);
  return CLI_OK;
}

static char *task_name(const lister *all, size_t index, char text[CLI_TEXT]) {
  pare_node_info node;
  const bool found = pare_inspect_node(all->inspection, index, &node) == PARE_OK;
  snprintf(text, CLI_TEXT, "%zu.%zu %.20s", all->batch, index, found ? node.op_type : "");
  return text;
}

/* The tasks whose results node `index` reads; names in order, so that the text is the same each time. */
static void add_needs(lister *all, size_t index, json_t *needs) {
  pare_node_info node;
  if (pare_inspect_node(all->inspection, index, &node) != PARE_OK) return;
  for (size_t i = 0; i < node.ninputs; i++) {
    pare_node_work work;
    char text[CLI_TEXT];
    const made_by key = {node.input[i], 0};
    const made_by *maker = bsearch(&key, all->maker, all->nmakers, sizeof key, by_name);
    if (!maker || all->seen[maker->node]) continue;
    all->seen[maker->node] = true;
    if (pare_inspect_node_work(all->inspection, maker->node, &work) == PARE_OK && is_task(&work))
      json_array_append_new(needs, cli_json_text(task_name(all, maker->node, text)));
    else
      add_needs(all, maker->node, needs);
  }
}

static void print_task(lister *all, size_t index, const pare_node_work *work) {
  char text[CLI_TEXT];
  json_t *needs = json_array();
  const bool memory = strcmp(work->kernel, "memory") == 0;
  memset(all->seen, 0, all->nnodes);
  add_needs(all, index, needs);
  const double amount = memory ? work->read_bytes + work->written_bytes : work->operations;
  json_t *task =
      json_pack("{s:o, s:s, s:f, s:f, s:o}", "task", cli_json_text(task_name(all, index, text)), "kernel", work->kernel,
                "work", amount > 1 ? amount : 1, "writes", work->written_bytes, "needs", needs);
  json_dumpf(task, all->to, JSON_COMPACT);
  fputc('\n', all->to);
  json_decref(task);
}

static cli_exit print_tasks(lister *all, size_t batches) {
  for (all->batch = 0; all->batch < batches; all->batch++)
    for (size_t i = 0; i < all->nnodes; i++) {
      pare_node_info node;
      pare_node_work work;
      if (pare_inspect_node(all->inspection, i, &node) == PARE_OK && node.depth == 0 &&
          pare_inspect_node_work(all->inspection, i, &work) == PARE_OK && is_task(&work))
        print_task(all, i, &work);
    }
  return CLI_OK;
}

static cli_exit make_tasks(pare_inspection *inspection, const char *path, size_t batches, pare_workload **out) {
  pare_model_info info;
  char *text = NULL;
  size_t nbytes = 0;
  pare_status status = pare_inspect_model(inspection, &info);
  if (status != PARE_OK) return cli_fail(status);
  lister all = {.inspection = inspection, .nnodes = info.nnodes, .to = open_memstream(&text, &nbytes)};
  cli_exit code = all.to ? list_makers(&all) : cli_error(CLI_DEVICE, "out of memory");
  if (code == CLI_OK) code = print_tasks(&all, batches);
  if (all.to && fclose(all.to) != 0 && code == CLI_OK) code = cli_error(CLI_DEVICE, "out of memory");
  if (code == CLI_OK) {
    status = pare_workload_parse(text, nbytes, path, out);
    if (status != PARE_OK) code = cli_fail(status);
  }
  free(all.maker);
  free(all.seen);
  free(text);
  return code;
}

cli_exit cli_model_tasks(const cli_arguments *arguments, const cli_option *shape, const char *path, size_t batches,
                         pare_workload **out) {
  pare_inspection *inspection = NULL;
  pare_context *context = NULL;
  cli_feed *feed = NULL;
  cli_exit code = cli_feed_open(arguments, NULL, shape, &feed);
  if (code == CLI_OK) {
    const pare_status status = pare_inspect_open(path, &inspection);
    if (status != PARE_OK) code = cli_fail(status);
  }
  if (code == CLI_OK) code = cli_context_open(arguments->device, NULL, &context);
  pare_status planned = PARE_OK;
  if (code == CLI_OK) code = cli_feed_work(feed, context, inspection, &planned);
  if (code == CLI_OK && planned != PARE_OK) code = cli_fail(planned);
  if (code == CLI_OK) code = make_tasks(inspection, path, batches, out);
  pare_inspect_close(inspection);
  pare_context_close(context);
  cli_feed_close(feed);
  return code;
}
