/* Running a network: the state of a run, plans, and the model that owns them. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_RUN_H
#define PARE_GRAPH_RUN_H

#include <pthread.h>

#include "graph/operator.h"
#include "sched/order.h"

typedef struct pare__plan pare__plan;

struct pare_model {
  pare_context *context;
  struct pare__team *team; /* replicas on the context's devices; NULL: there is one, and this is the model itself */
  pare__network *network;  /* with a team: as the file has it, for what goes in and out */
  pare_model_options options;
  char *without;     /* a copy of options.without */
  char **overridden; /* a copy of options.overridden, up to a NULL */
  atomic_bool interrupted;
  pthread_mutex_t lock;              /* guards what follows, and is held through each run */
  pare_tensor **constant;            /* on the device; one for each value, NULL: not there */
  uint64_t load_bytes, loaded_bytes; /* of the device's memory: the most while it was opened, and what that has left */
  uint64_t constant_bytes;           /* of what it left, constants as they are read */
  pare__plan *plans;                 /* the last used first */
  size_t nplans;
  /* The memory that all plans share: work of one queue runs in order, so one run's values may lie where another's do.
   */
  size_t narenas;
  pare_tensor **arena; /* bytes */
};

/* As pare_model_run, of a model of several devices that is no team: no operation is divided, if the run can be planned,
 * and those that do not need each other run beside each other. */
pare_status pare__model_run_undivided(pare_model *model, pare_tensor *const *inputs, const bool *wanted,
                                      pare_tensor **outputs);
/* As pare_model_open, of the model that the edits make of the file; they are used only meanwhile. */
pare_status pare__model_open_edited(pare_context *context, const char *path, const pare_model_options *options,
                                    const pare__edits *edits, pare_model **out);

#define PARE__MOST_DEPTH 64 /* subgraphs in subgraphs */

/* Sees every node after it has run, those of its subgraphs before it. */
typedef pare_status (*pare__observe)(void *user, pare__run_state *state, const pare__node *node, unsigned depth,
                                     double begun);

struct pare__run_state {
  pare_model *model;
  pare__slot *slot; /* one a value */
  bool planning;
  bool shapes_only;                /* planning, for the shapes alone: large constants stay where they are */
  bool values_needed;              /* planning failed only because an operator must see values */
  struct pare__estimate *estimate; /* planning, only to learn how much memory a run at once takes; NULL: no */
  bool bounding;                   /* a call has given bounds in place of shapes */
  bool counting;                   /* bounds of how many elements there are, not of shapes */
  unsigned depth;                  /* of subgraphs */
  uint64_t iterations;             /* of loops that have begun */
  size_t nkept, kept_capacity;
  pare_tensor **kept; /* handles that live as long as a call */
  pare__observe observe;
  void *user;
};

/* PARE_ERR_ARGUMENT once the model is interrupted: "interrupted before " and what the format says. */
pare_status pare__model_go_on(const pare_model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Slots of constants are filled. Close it in any case. */
pare_status pare__run_begin(pare_model *model, bool planning, pare__run_state *state);
void pare__run_end(pare__run_state *state);
/* Runs the nodes of a graph in order; releases values when they die. */
pare_status pare__run_graph(pare__run_state *state, const pare__graph *graph);
/* The operator itself. */
pare_status pare__run_call(pare__call *call);
/* Runs one node whatever is known of its inputs: for folding. */
pare_status pare__run_node(pare__run_state *state, const pare__node *node);
/* May the node be computed on the host: it can be, and all of its inputs are known and small? */
bool pare__run_on_host(const pare__run_state *state, const pare__node *node);
/* Neither on the device nor known to the host. */
bool pare__slot_empty(const pare__slot *slot);
/* An output of a graph as a tensor of its own: not an input's, a constant's or another output's elements. */
pare_status pare__run_output(pare__run_state *state, int32_t id, pare_tensor *const *avoid, size_t navoid,
                             pare_tensor **out);

/* A run at once that is observed after every node. Outputs that are not taken are closed by the caller; all NULL if it
 * fails. */
pare_status pare__model_observe(const char *function, pare_model *model, pare_tensor *const *inputs,
                                pare__observe observe, void *user, pare_tensor **outputs);

/* A model as its file has it, without folding, passes and packed weights: for the shapes of its values. */
pare_status pare__model_open_bare(pare_context *context, const char *path, pare_model **out);

/* Plans a bare model for inputs of these shapes, one each, and observes every node: up to the first that must see
 * values to know its shapes, and then values_needed is true. Nothing runs, and no memory is taken. */
pare_status pare__model_shapes(pare_model *bare, const pare__shape *inputs, pare__observe observe, void *user,
                               bool *values_needed);

/* ---- at load ---- */

/* Computes the nodes whose inputs are all constants, once, and takes them out of the graphs. keep_weights: but not
 * those that would expand weights, so that passes see them as they are stored. */
pare_status pare__model_fold(pare_model *model, bool keep_weights);
/* Calls every operator's `prepare`. */
pare_status pare__model_prepare(pare_model *model);

/* ---- plans: a run recorded for one set of input shapes ---- */

/* The plan for these inputs, from the cache or made now. *out NULL: the graph needs values to know its shapes; run it
 * at once. */
pare_status pare__plan_find(pare_model *model, pare_tensor *const *inputs, pare__plan **out);
/* Fresh output tensors are made. undivided: with several devices, each operation goes whole to one of them. */
pare_status pare__plan_run(pare__plan *plan, pare_model *model, bool undivided, pare_tensor *const *inputs,
                           pare_tensor **outputs);
void pare__plan_memory(const pare__plan *plan, pare_model_memory *out);
void pare__plan_launches(const pare__plan *plan, pare_model_launches *out);
void pare__plans_close(pare_model *model);

/* ---- memory: where in shared buffers storages with known lives lie ---- */

typedef struct pare__life {
  size_t nbytes;
  size_t first, last; /* tasks, both included */
  size_t lies_on;     /* 1 + the life whose memory it shares, an earlier value that it is computed from; 0: none */
  /* Where tasks may run beside each other, which of them use it, and which are done before any of these begins: a bit a
   * task. NULL: they run in their order. */
  uint64_t *used_by, *begins_after;
  /* found: */
  size_t arena, offset;
} pare__life;
/* Lets results of tasks that may work in place lie where an input of theirs dies: lives of storages in the order of
 * their addresses, whose `lies_on` is set; the life that is shared lasts as long as both. */
void pare__memory_share(const pare__recording *recording, pare__storage *const *storage, pare__life *life, size_t count,
                        const pare__order *order);
/* Places every life so that no two that overlap in time overlap in memory; no arena is larger than `largest`. nbytes of
 * arena i: (*sizes)[i]; free it. PARE_ERR_LIMIT if one life alone is larger. Greedy by size (Pisarchyk & Lee 2020).
 * order: of tasks that may run beside each other; then one life ends before another only if all tasks that use it are
 * done before any that uses the other begins. NULL: tasks run in their order. */
pare_status pare__memory_plan(pare__life *life, size_t count, size_t largest, const pare__order *order, size_t **sizes,
                              size_t *narenas);

#endif
