/* Passes: rewrites of a graph that keep its results. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_PASS_H
#define PARE_GRAPH_PASS_H

#include "graph/graph.h"

/* One pass, one file pass_NAME.c. It looks at one graph (subgraphs come by themselves) and says if it changed anything.
 * Nodes stay in topological order. Values that a pass may not touch: outputs of the graph, and what other graphs read
 * (uses counts both). */
typedef struct pare__pass {
  const char *name, *what; /* what: one line for help */
  pare_status (*run)(pare__network *network, pare__graph *graph, bool *changed);
} pare__pass;

/* Runs all but those in `without` (names separated by commas, "all"; NULL: none) until nothing changes.
 * PARE_ERR_ARGUMENT for a name that is no pass, with the list. */
pare_status pare__passes_run(pare__network *network, const char *without);

/* Is the pass of this name left out? */
bool pare__pass_left_out(const char *without, const char *name);
/* Nodes whose inputs are constants are computed at load (fold.c): no pass, but before and after them, and left out by
 * its name alone, not by "all", which keeps the nodes that depend on inputs as they are written. */
#define PARE__PASS_FOLD "fold"
bool pare__folding_left_out(const char *without);

/* ---- for passes ---- */

/* A graph under rewriting: who makes and who reads a value. Beginning costs what the graph is large, not the model. */
typedef struct pare__rewrite {
  pare__network *network;
  pare__graph *graph;
  uint32_t *uses;    /* of each value by this graph and its subgraphs; network->rewriting has the arrays */
  int32_t *producer; /* node of this graph that makes each value; -1: none does */
  bool changed;
  bool renames; /* values are to be read in place of others */
} pare__rewrite;
pare_status pare__rewrite_begin(pare__network *network, pare__graph *graph, pare__rewrite *out);
/* Takes out the nodes that pare__rewrite_remove marked, and applies what pare__rewrite_replace said. */
void pare__rewrite_end(pare__rewrite *rewrite);
/* After values were added to the network: makes room for them here. */
pare_status pare__rewrite_grow(pare__rewrite *rewrite);
/* The graph has these nodes instead, in their order; copied. For passes that add some. */
pare_status pare__rewrite_nodes(pare__rewrite *rewrite, const pare__node *node, size_t count);
void pare__rewrite_remove(pare__rewrite *rewrite, size_t node);
/* Node i is still there. */
bool pare__rewrite_alive(const pare__rewrite *rewrite, size_t node);
/* The node that makes a value if it is of that operator (domain "": ai.onnx) and nobody else reads the value; NULL
 * otherwise. */
pare__node *pare__rewrite_only(const pare__rewrite *rewrite, int32_t value, const char *op_type);
/* The same, however many read it. */
pare__node *pare__rewrite_made_by(const pare__rewrite *rewrite, int32_t value, const char *op_type);
/* A value as a product: constant times factors, in no order. */
typedef struct pare__factors {
  double constant, tolerance; /* what its numbers are rounded to: 1e-4 at least */
  unsigned count;
  int32_t factor[8];
} pare__factors;
/* Opens products (Mul, and Div by a constant) that serve `value` alone, and value itself however many read it if
 * `root`. */
void pare__factors_open(const pare__rewrite *rewrite, int32_t value, bool root, pare__factors *out);
/* value = other + constant (to 1e-4), made for one reader alone? */
bool pare__sum_with(const pare__rewrite *rewrite, int32_t value, double constant, int32_t *other);
bool pare__near(double a, double b); /* to 1e-4 of b */
/* Is the constant that number, as far as it may be rounded? */
bool pare__factors_near(const pare__factors *factors, double number);
/* Every reader of `from`, which the node that the pass is at makes, reads `to` instead, in subgraphs too. Costs the
 * same however many there are: a pass that replaces goes from the first node to the last, and has each read what it is
 * to read by pare__rewrite_visit before it looks at it. */
void pare__rewrite_visit(pare__rewrite *rewrite, size_t node);
void pare__rewrite_replace(pare__rewrite *rewrite, int32_t from, int32_t to);
/* Input k of the node reads another value. */
void pare__rewrite_move_input(pare__rewrite *rewrite, size_t node, unsigned k, int32_t value);
/* The node at that place becomes another one (its outputs stay), with its operator looked up; the uses are counted
 * anew. */
pare_status pare__rewrite_become(pare__rewrite *rewrite, size_t node, pare__node replacement);
bool pare__node_is(const pare__node *node, const char *op_type);
/* An operator of one input that looks at one element at a time, and at nothing else? */
bool pare__node_is_elementwise(const pare__node *node);
bool pare__node_is_one_of(const pare__node *node, size_t count, const char *const *op_types);
/* Attributes of a node, or what they are where they are not given. */
int64_t pare__node_int(const pare__node *node, const char *name, int64_t otherwise);
float pare__node_float(const pare__node *node, const char *name, float otherwise);
/* A list of integers that is an attribute, or else input 1 if that is a constant. false: none of 1 to `most` is known.
 */
bool pare__node_list(const pare__network *network, const pare__node *node, const char *name, size_t most, int64_t *out,
                     size_t *count);
/* A reduction over one known axis that stays as a dimension of 1: the axis as it is written. */
bool pare__reduces_axis(const pare__network *network, const pare__node *node, int64_t *axis);
/* The rank of a value as it is declared or as the nodes that make it tell; -1: unknown. */
int pare__value_rank(const pare__rewrite *rewrite, int32_t value);
/* `value` is made of x and constants: has none of these a higher rank than x, so that the result has x's? The rank of x
 * is `known` at least. */
bool pare__keeps_rank(const pare__rewrite *rewrite, int32_t value, int32_t x, int known);
/* Is it an output of the graph? Such a value keeps its name. */
bool pare__is_output(const pare__graph *graph, int32_t value);
/* com.microsoft FusedMatMul of matrices that lie as those of MatMul do, or transposed. */
bool pare__fused_matmul(const pare__node *node);
/* MatMul or FusedMatMul with these attributes. */
typedef struct pare__product_node {
  double alpha;
  bool transpose_b;
} pare__product_node;
/* Is the node a product without bias, residual and activation, of an A that is not transposed? */
bool pare__plain_product(const pare__node *node, pare__product_node *out);
/* Is the node a norm that can add two summands itself (pass skip-norm)? */
bool pare__norm_takes_sums(const pare__rewrite *rewrite, const pare__node *node);
/* Is input i there? */
bool pare__node_has(const pare__node *node, unsigned i);
/* Is the value left out (which counts as 0), or a constant that holds nothing but this number? */
bool pare__value_is_all(const pare__network *network, int32_t value, double number);
/* Is the value a constant of one element, and which? */
bool pare__value_number(const pare__network *network, int32_t value, double *out);

#endif
