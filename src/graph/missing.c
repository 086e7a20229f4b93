/* Operators that a model has nodes of and pare lacks. SPDX-License-Identifier: Apache-2.0
 *
 * A line for each operator, however many nodes are of it: a large model without one of its operators gives a message of
 * one line, not of thousands. */
#include "graph/missing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPERATORS 1000 /* that are told apart: each node is compared with all of them */
#define MOST_TEXT 3400      /* bytes of the list: what follows it still fits in a message */

static const char *label(const pare__onnx_node *node) {
  const char *name = node->name && *node->name ? node->name : node->output.count > 0 ? node->output.items[0] : NULL;
  return name ? name : "";
}

pare_status pare__missing_note(pare__missing *missing, const pare__onnx_node *node, int64_t opset) {
  const char *domain = pare__onnx_domain(node->domain);
  struct pare__missing_operator *op = NULL;
  for (size_t i = 0; i < missing->count && !op; i++)
    if (strcmp(missing->op[i].op_type, node->op_type) == 0 && strcmp(missing->op[i].domain, domain) == 0 &&
        missing->op[i].opset == opset)
      op = &missing->op[i];
  missing->nnodes++;
  if (!op && missing->count == MOST_OPERATORS) return PARE_OK;
  if (!op) {
    PARE__TRY(pare__array_grow((void **)&missing->op, &missing->capacity, missing->count, sizeof *missing->op));
    op = &missing->op[missing->count++];
    *op = (struct pare__missing_operator){.domain = domain, .op_type = node->op_type, .opset = opset};
  }
  if (op->nnodes < PARE__MISSING_NODES) op->node[op->nnodes] = label(node);
  op->nnodes++;
  return PARE_OK;
}

/* "\n  Einsum (domain ai.onnx, opset 17), 12 nodes: 'a', 'b', 'c', ..." after what `text` has; its new length. */
static size_t append_line(const struct pare__missing_operator *op, char *text, size_t size, size_t used) {
  char nodes[256] = "";
  size_t length = 0;
  for (size_t i = 0; i < op->nnodes && i < PARE__MISSING_NODES; i++)
    length += (size_t)snprintf(nodes + length, sizeof nodes - length, "%s'%.70s'", i ? ", " : "", op->node[i]);
  const int written =
      snprintf(text + used, size - used, "\n  %.100s (domain %.100s, opset %" PRId64 "), %zu node%s: %s%s", op->op_type,
               *op->domain ? op->domain : "ai.onnx", op->opset, op->nnodes, op->nnodes == 1 ? "" : "s", nodes,
               op->nnodes > PARE__MISSING_NODES ? ", ..." : "");
  return used + (size_t)written;
}

pare_status pare__missing_fail(const pare__missing *missing, const char *path) {
  char text[MOST_TEXT + 600] = ""; /* a line has less than 600 bytes */
  size_t used = 0, listed = 0, nodes = 0;
  for (; listed < missing->count && used < MOST_TEXT; listed++) {
    used = append_line(&missing->op[listed], text, sizeof text, used);
    nodes += missing->op[listed].nnodes;
  }
  if (nodes < missing->nnodes)
    snprintf(text + used, sizeof text - used, "\n  and others, %zu nodes", missing->nnodes - nodes);
  const bool many = missing->count == MOST_OPERATORS;
  return pare__fail(PARE_ERR_UNSUPPORTED, "%s: pare lacks %s%zu of its operators, which %zu of its nodes are of:%s",
                    path, many ? "at least " : "", missing->count, missing->nnodes, text);
}

void pare__missing_clear(pare__missing *missing) {
  free(missing->op);
  *missing = (pare__missing){0};
}
