/* A sum and the norm of it are one node, which gives both. SPDX-License-Identifier: Apache-2.0
 *
 * Add, then LayerNormalization or RMSNormalization over the last axis, as every block of a transformer has them: the
 * norm's kernel reads both summands, and memory is walked once. */
#include "graph/pass.h"

/* The domain and name that the norm has with a summand; NULL: it is no such norm. */
static const char *with_summand(const pare__rewrite *rewrite, const pare__node *norm) {
  static const char *const names[][2] = {{"LayerNormalization", "SkipLayerNormalization"},
                                         {"RMSNormalization", "SkipSimplifiedLayerNormalization"},
                                         {"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"}};
  const char *found = NULL;
  for (size_t i = 0; i < PARE__COUNT(names); i++)
    if (pare__node_is(norm, names[i][0])) found = names[i][1];
  if (!found || norm->ninputs < 2 || norm->output[0] < 0) return NULL;
  for (unsigned k = 1; k < norm->noutputs; k++)
    if (norm->output[k] >= 0 && rewrite->uses[norm->output[k]] > 0) return NULL;
  const int64_t axis = pare__node_int(norm, "axis", -1);
  return axis == -1 || axis == pare__value_rank(rewrite, norm->input[0]) - 1 ? found : NULL;
}

/* Scale and shift are vectors that are there before any node runs. */
static bool has_constants(const pare__rewrite *rewrite, const pare__node *norm) {
  for (unsigned k = 1; k < norm->ninputs; k++) {
    const int32_t value = norm->input[k];
    if (value >= 0 && (rewrite->producer[value] >= 0 || rewrite->network->value[value].rank != 1)) return false;
  }
  return norm->input[1] >= 0;
}

bool pare__norm_takes_sums(const pare__rewrite *rewrite, const pare__node *node) {
  return with_summand(rewrite, node) && has_constants(rewrite, node);
}

/* Two values that are computed: a bias that no product has taken in stays by itself. */
static bool is_sum(const pare__rewrite *rewrite, const pare__node *sum) {
  const pare__value *value = rewrite->network->value;
  return sum && sum->ninputs == 2 && !value[sum->input[0]].constant && !value[sum->input[1]].constant;
}

/* The node stands where the sum is made: others may read that before the norm's place comes. */
static pare_status fuse(pare__rewrite *rewrite, size_t i, const char *op_type) {
  const pare__node *norm = &rewrite->graph->node[i];
  const size_t place = (size_t)rewrite->producer[norm->input[0]];
  const pare__node *sum = &rewrite->graph->node[place];
  pare__node both;
  PARE__TRY(pare__node_create(rewrite->network, "com.microsoft", op_type, 1, norm->ninputs > 2 ? 4 : 3, 4, &both));
  PARE__TRY(pare__node_set_float(rewrite->network, &both, "epsilon", pare__node_float(norm, "epsilon", 1e-5F)));
  both.name = norm->name;
  for (unsigned k = 0; k < 2; k++) both.input[k] = sum->input[k];
  for (unsigned k = 1; k < norm->ninputs && k < 3; k++) both.input[k + 1] = norm->input[k];
  both.output[0] = norm->output[0];
  if (rewrite->uses[norm->input[0]] > 1) both.output[3] = norm->input[0];
  pare__rewrite_remove(rewrite, i);
  return pare__rewrite_become(rewrite, place, both);
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    if (!pare__rewrite_alive(&rewrite, i)) continue;
    const char *op_type = with_summand(&rewrite, node);
    const pare__node *sum = op_type ? pare__rewrite_made_by(&rewrite, node->input[0], "Add") : NULL;
    if (is_sum(&rewrite, sum) && has_constants(&rewrite, node)) status = fuse(&rewrite, i, op_type);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_skip_norm = {"skip-norm", "a sum and the norm of it become one node", run};
