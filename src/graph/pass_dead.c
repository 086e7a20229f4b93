/* Nodes whose results nobody reads. SPDX-License-Identifier: Apache-2.0 */
#include "graph/pass.h"

static bool is_dead(const pare__rewrite *rewrite, const pare__node *node) {
  for (unsigned k = 0; k < node->noutputs; k++)
    if (node->output[k] >= 0 && rewrite->uses[node->output[k]] > 0) return false;
  return true;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  /* from the end: what only dead nodes read is dead when its turn comes */
  for (size_t i = graph->nnodes; i-- > 0;)
    if (is_dead(&rewrite, &graph->node[i])) pare__rewrite_remove(&rewrite, i);
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return PARE_OK;
}

const pare__pass pare__pass_dead = {"dead", "nodes whose results nobody reads", run};
