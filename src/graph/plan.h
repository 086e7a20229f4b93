/* What a plan is made of, for the files that run it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_PLAN_H
#define PARE_GRAPH_PLAN_H

#include "graph/run.h"
#include "sched/replay.h"

typedef struct pare__shape_key {
  pare_dtype dtype;
  int rank;
  int64_t dim[PARE_MAX_RANK];
} pare__shape_key;

/* An output: made by the recorded work, or known beforehand. */
typedef struct pare__planned_output {
  pare_tensor *tensor; /* without memory; NULL: content */
  pare__content *content;
} pare__planned_output;

struct pare__plan {
  pare__plan *next;
  unsigned ninputs, noutputs;
  pare__shape_key *key;
  bool at_once; /* nothing is recorded: these shapes cannot be planned */
  pare__recording *recording;
  pare__replay *replay; /* of it */
  pare_tensor **input;  /* stand-ins without memory */
  pare__planned_output *output;
  /* what lies between */
  size_t nstorages;
  pare__storage **storage;
  pare__life *life;
  size_t narenas, *arena_bytes;
  uint64_t constant_bytes, output_bytes;
  struct pare__places *places; /* stage.c: made when it is first run by stages */
};

/* Gives all storages memory for a run: inputs and fresh outputs theirs, what lies between a part of the arenas.
 * compact: one for each input, NULL before. Unbind in any case, which closes them. */
pare_status pare__plan_bind(const pare__plan *plan, pare_model *model, pare_tensor *const *inputs,
                            pare_tensor **compact, pare_tensor **outputs);
void pare__plan_unbind(const pare__plan *plan, pare_tensor **compact);
void pare__places_close(struct pare__places *places); /* NULL is allowed */

#endif
