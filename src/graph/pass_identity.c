/* Identity and Dropout nodes: their readers read their input. SPDX-License-Identifier: Apache-2.0 */
#include "graph/pass.h"

static bool passes_on(const pare__rewrite *rewrite, const pare__node *node) {
  if (node->ninputs < 1 || node->input[0] < 0 || node->noutputs < 1 || node->output[0] < 0) return false;
  if (pare__node_is(node, "Identity")) return true;
  /* without its mask, and unless it may be training */
  const bool masked = node->noutputs > 1 && node->output[1] >= 0 && rewrite->uses[node->output[1]] > 0;
  const bool training = node->ninputs > 2 && node->input[2] >= 0;
  return pare__node_is(node, "Dropout") && !masked && !training;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  for (size_t i = 0; i < graph->nnodes; i++) {
    pare__rewrite_visit(&rewrite, i);
    const pare__node *node = &graph->node[i];
    /* an output keeps its own name */
    if (!passes_on(&rewrite, node) || pare__is_output(graph, node->output[0])) continue;
    pare__rewrite_replace(&rewrite, node->output[0], node->input[0]);
    pare__rewrite_remove(&rewrite, i);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return PARE_OK;
}

const pare__pass pare__pass_identity = {"identity", "nodes that pass their input on unchanged", run};
