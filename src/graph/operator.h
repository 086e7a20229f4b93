/* Operators: one table row each, one file a family. SPDX-License-Identifier: Apache-2.0
 *
 * An operator's `run` sees the shapes of its inputs, makes its outputs and submits work on them with the operations of
 * floor 5. It is called in two ways: to plan, when tensors have no memory yet and what is submitted is recorded for
 * later; and to run at once, where the shapes of a graph depend on the values in it. It need not know which: it never
 * reads a tensor itself, but asks for what must be known on the host by pare__call_content or pare__call_ints. */
#ifndef PARE_GRAPH_OPERATOR_H
#define PARE_GRAPH_OPERATOR_H

#include "graph/graph.h"

/* What an estimate of memory knows of a value beforehand: its shape, a shape that is nowhere smaller, how many elements
 * it has at most (in one dimension), or nothing. */
typedef enum pare__extent { PARE__EXACT, PARE__BOUND, PARE__COUNTED, PARE__UNKNOWN } pare__extent;

/* A value in a run: on the device, known to the host, or both. Neither: it was left out. */
typedef struct pare__slot {
  pare_dtype dtype;
  pare__shape shape;
  pare_tensor *tensor;
  pare__content *content;
  pare__extent extent; /* EXACT but in an estimate */
} pare__slot;

typedef struct pare__run_state pare__run_state;
typedef struct pare__call {
  pare__run_state *state;
  const pare__node *node;
  pare_context *context;
  unsigned ninputs, noutputs;
  pare__slot *const *input;  /* NULL: left out */
  pare__slot *const *output; /* NULL: not wanted */
} pare__call;

/* Where an operator's work is done. */
typedef enum pare__placement {
  PARE__ON_DEVICE, /* tensor work */
  PARE__ON_HOST,   /* what no tensor is read for (Shape), and what takes one decision after another (boxes) */
  PARE__IS_VIEW,   /* none: another view of the same elements */
  PARE__IS_CONTROL /* runs subgraphs */
} pare__placement;

const char *pare__placement_name(pare__placement placement); /* "device", "host", "view", "control" */

struct pare__operator {
  const char *domain, *name; /* "" is ai.onnx; "pare" what passes make */
  int since, until;          /* opsets that it is right for, both included; until 0: all later ones */
  pare__placement placement;
  pare_status (*run)(pare__call *call);
  /* The same on the host, taken instead of run where the content of every input is known and small: how shapes are
   * computed. NULL: none. */
  pare_status (*on_host)(pare__call *call);
  /* Called once at load for a node some of whose inputs are constants: packs weights into node->prepared. NULL: nothing
   * to do. The inputs that are not constant are NULL in the call, and it has no outputs. */
  pare_status (*prepare)(pare__call *call, pare__node *node);
  int detail;        /* which of those that share a function, e.g. a pare_unary_operation */
  const char *types; /* for the table in doc/operators.md: "floats", "any", "u8, i8" */
};

/* What closes packed weights that a node has prepared. */
void pare__weights_release(void *prepared);

/* Tables of families; the last row of each has name NULL. operators.c lists them. */
extern const pare__operator *const pare__operator_tables[];
/* May a model's file have it? What passes make (domain "pare") it may not, but for what compact files have. */
bool pare__operator_in_files(const pare__operator *row);
/* The last opset of the domain in which an operator that pare has changed; 0: it has none. */
int pare__operator_newest(const char *domain);
/* Does it draw random numbers? Two such nodes are never the same, nor is one of them in two iterations of a loop. */
bool pare__operator_draws(const pare__operator *row);
/* Is the type among those that the row's column names, by itself or as one of floats, integers, numbers or any? */
bool pare__operator_takes(const pare__operator *row, pare_dtype dtype);
/* NULL: pare does not have it. */
const pare__operator *pare__operator_find(const char *domain, const char *name, int64_t opset);

/* ---- inputs ---- */

/* Was input i given? */
bool pare__call_has(const pare__call *call, unsigned i);
/* Was output i asked for? */
bool pare__call_wants(const pare__call *call, unsigned i);
/* Input i on the device (a constant is uploaded once); it belongs to the slot: do not close it. NULL if left out. */
pare_status pare__call_tensor(pare__call *call, unsigned i, pare_tensor **out);
/* What the host must know of input i to go on. It belongs to the slot. PARE_ERR_ARGUMENT if left out. */
pare_status pare__call_content(pare__call *call, unsigned i, const pare__content **out);
/* The same as integers (any integer dtype or bool), at most `capacity`. */
pare_status pare__call_ints(pare__call *call, unsigned i, int64_t *out, size_t capacity, size_t *count);
/* One integer, one number: of a content with one element. */
pare_status pare__call_int(pare__call *call, unsigned i, int64_t *out);
pare_status pare__call_number(pare__call *call, unsigned i, double *out);
/* PARE_ERR_TYPE, PARE_ERR_SHAPE, ... with the node's name, its operator and the text. */
pare_status pare__call_fail(const pare__call *call, pare_status status, const char *format, ...) PARE__PRINTF(3, 4);
/* Analysers see one file at a time: a failure is never PARE_OK. */
#define pare__call_fail(call, status, ...) pare__known((status), pare__call_fail((call), (status), __VA_ARGS__))
/* The number of inputs is between least and most, and the first `least` are given; at least one output is wanted. */
pare_status pare__call_check(const pare__call *call, unsigned least, unsigned most);
/* Input i, if it is given, or what is called so, has a type that the operator's column names; else PARE_ERR_TYPE. For
 * operators that are made of operations which take more. */
pare_status pare__call_takes(const pare__call *call, unsigned i);
pare_status pare__call_takes_dtype(const pare__call *call, const char *what, pare_dtype dtype);

/* ---- attributes ---- */

bool pare__call_attribute(const pare__call *call, const char *name); /* is it given? */
int64_t pare__call_get_int(const pare__call *call, const char *name, int64_t otherwise);
double pare__call_get_float(const pare__call *call, const char *name, double otherwise);
/* Is the text attribute equal to `value`? `otherwise`: what an attribute that is not given counts as. */
bool pare__call_text_is(const pare__call *call, const char *name, const char *otherwise, const char *value);
/* Copies at most `capacity` integers (floats); *count = 0 if not given. PARE_ERR_FORMAT if there are more. */
pare_status pare__call_get_ints(const pare__call *call, const char *name, int64_t *out, size_t capacity, size_t *count);
pare_status pare__call_get_floats(const pare__call *call, const char *name, double *out, size_t capacity,
                                  size_t *count);
/* A tensor attribute, dense or sparse; *out NULL if not given; release it. */
pare_status pare__call_get_content(const pare__call *call, const char *name, pare__content **out);
/* `axis`, counted from the end if negative, or PARE_ERR_ARGUMENT. rank: of what it counts. */
pare_status pare__call_axis(const pare__call *call, int64_t axis, int rank, int *out);
/* Axes that are an attribute up to some opset and input i afterwards. *count = -1: not given. Each in [0, rank). */
pare_status pare__call_axes(pare__call *call, const char *name, unsigned i, int rank, int *axes, int *count);

/* ---- outputs ---- */

/* Makes output i: a new tensor that belongs to the slot. If output i is not wanted, it is scratch that lives as long as
 * the call. */
pare_status pare__call_output(pare__call *call, unsigned i, pare_dtype dtype, int rank, const int64_t *dim,
                              pare_tensor **out);
/* Gives a tensor, e.g. a view of an input, as output i; takes the handle over, also if it fails. */
pare_status pare__call_give(pare__call *call, unsigned i, pare_tensor *tensor);
/* Gives elements that the host computed; takes the reference over, also if it fails. */
pare_status pare__call_give_content(pare__call *call, unsigned i, pare__content *content);
/* Output i is input j, unchanged: on the device, on the host, or both. */
pare_status pare__call_pass(pare__call *call, unsigned i, unsigned j);
/* Scratch that lives as long as the call: do not close it. */
pare_status pare__call_scratch(pare__call *call, pare_dtype dtype, int rank, const int64_t *dim, pare_tensor **out);
/* A handle made on the way (a view); closed with the call. Takes it over, also if it fails. */
pare_status pare__call_keep(pare__call *call, pare_tensor *tensor);
/* A view of a tensor in another shape, through a copy if its strides do not allow one; lives as long as the call. */
pare_status pare__call_reshaped(pare__call *call, pare_tensor *tensor, int rank, const int64_t *dim, pare_tensor **out);
/* A constant small tensor on the device, made of host elements; lives as long as the call (and its recording). */
pare_status pare__call_constant(pare__call *call, pare_dtype dtype, int rank, const int64_t *dim, const void *data,
                                pare_tensor **out);
/* The tensor cast to dtype: itself if it has that already; lives as long as the call. */
pare_status pare__call_cast(pare__call *call, pare_tensor *tensor, pare_dtype dtype, pare_tensor **out);

/* ---- subgraphs ---- */

/* The subgraph of that attribute. PARE_ERR_FORMAT if it has none. */
pare_status pare__call_subgraph(const pare__call *call, const char *attribute, const pare__graph **out);
/* Gives value `id` of a subgraph the same elements as `slot` (NULL: leaves it out). */
pare_status pare__call_set(pare__call *call, int32_t id, const pare__slot *slot);
/* Runs the subgraph's nodes; its outputs are then read by pare__call_slot. Interruptible between nodes. */
pare_status pare__call_run(pare__call *call, const pare__graph *graph);
/* The slot of any value of the model. */
pare__slot *pare__call_slot(pare__call *call, int32_t id);
/* Must control operators run at once (their shapes or steps depend on values)? Then this fails while planning, and the
 * graph is not planned but run. */
pare_status pare__call_at_once(pare__call *call);
/* Is this an estimate of memory? Then a call that cannot go on without values makes its outputs as large as they can
 * become, whatever the values are, and they count as bounds. */
bool pare__call_bounding(pare__call *call);
/* The same of a call that knows how many elements its outputs have at most, and not their shape, which the file does
 * not declare either. */
bool pare__call_counting(pare__call *call);

/* Slots by themselves. */
pare_status pare__slot_copy(const pare__slot *from, pare__slot *to); /* releases what `to` held */
void pare__slot_clear(pare__slot *slot);

#endif
