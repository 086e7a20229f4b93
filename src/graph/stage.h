/* Stages: consecutive tasks of a plan, run by themselves. SPDX-License-Identifier: Apache-2.0
 *
 * What crosses from one stage to a later one goes through host memory, so that each may run on a replica of its own.
 * Its tensors are numbered in the order in which the recorded tasks use them first: the same numbers on each replica.
 */
#ifndef PARE_GRAPH_STAGE_H
#define PARE_GRAPH_STAGE_H

#include "graph/run.h"

typedef struct pare__stage {
  /* Where all stages end, in tasks of a plan of `cut[nstages]`; scaled if this plan has another number of them. */
  const size_t *cut;
  size_t nstages, number;
  size_t ntasks, nplaces; /* of the plan; 0: not known yet, and found; what differs then is PARE_ERR_UNSUPPORTED */
  void *const *given;     /* of each place, what earlier stages made of it, NULL: nothing; not for the first stage */
  void **made;            /* found: of each place, a malloc'ed copy if later stages need it; NULL if the run fails */
  double *seconds;        /* found, if `timed`: of each task, waiting after each; malloc'ed */
  bool timed;
} pare__stage;

/* outputs: as of pare_model_run, but only those of the last stage have all their elements. Done on return, but for the
 * outputs. PARE_ERR_UNSUPPORTED: runs with such inputs are not planned. */
pare_status pare__stage_run(pare_model *model, pare_tensor *const *inputs, pare__stage *stage, pare_tensor **outputs);

#endif
