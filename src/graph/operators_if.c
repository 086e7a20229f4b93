/* If: an operator that runs one of two subgraphs. SPDX-License-Identifier: Apache-2.0 */
#include "graph/operator_tables.h"
#include "graph/run.h"

static pare_status run_branch(pare__call *call, bool condition, const pare__graph **out) {
  PARE__TRY(pare__call_subgraph(call, condition ? "then_branch" : "else_branch", out));
  if ((*out)->noutputs < call->noutputs)
    return pare__call_fail(call, PARE_ERR_FORMAT, "its branch has %u outputs, the node %u", (*out)->noutputs,
                           call->noutputs);
  return pare__call_run(call, *out);
}

/* Output i as large as both: one of them, or a tensor that covers either. */
static pare_status give_larger(pare__call *call, unsigned i, const pare__slot *a, const pare__slot *b) {
  const int rank = a->shape.rank;
  int64_t dim[PARE_MAX_RANK];
  bool covers[2] = {a->tensor, b->tensor};
  pare_tensor *out;
  if (!pare__call_wants(call, i)) return PARE_OK;
  if (a->dtype != b->dtype || rank != b->shape.rank) return pare__call_at_once(call);
  for (int d = 0; d < rank; d++) {
    dim[d] = PARE__MAX(a->shape.dim[d], b->shape.dim[d]);
    covers[0] = covers[0] && a->shape.dim[d] == dim[d];
    covers[1] = covers[1] && b->shape.dim[d] == dim[d];
  }
  if (covers[0] || covers[1]) return pare__slot_copy(covers[0] ? a : b, call->output[i]);
  return pare__call_output(call, i, a->dtype, rank, dim, &out);
}

static pare_status bound_branches(pare__call *call) {
  const pare__graph *graph[2];
  for (int i = 0; i < 2; i++) PARE__TRY(run_branch(call, i == 0, &graph[i]));
  for (unsigned i = 0; i < call->noutputs; i++)
    PARE__TRY(
        give_larger(call, i, pare__call_slot(call, graph[0]->output[i]), pare__call_slot(call, graph[1]->output[i])));
  return PARE_OK;
}

/* A condition that is known beforehand is planned; any other is looked at in the run. */
static pare_status branch(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  int64_t condition;
  const pare__graph *graph;
  if (!call->input[0]->content && pare__call_bounding(call)) return bound_branches(call);
  PARE__TRY(pare__call_int(call, 0, &condition));
  PARE__TRY(run_branch(call, condition != 0, &graph));
  for (unsigned i = 0; i < call->noutputs; i++)
    if (pare__call_wants(call, i)) PARE__TRY(pare__slot_copy(pare__call_slot(call, graph->output[i]), call->output[i]));
  return PARE_OK;
}

const pare__operator pare__operators_if[] = {
    {"", "If", 1, 0, PARE__IS_CONTROL, branch, NULL, .types = "any"},
    {0},
};
