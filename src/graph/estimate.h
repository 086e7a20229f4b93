/* How much memory a run takes that cannot be planned: its shapes depend on values. SPDX-License-Identifier: Apache-2.0
 *
 * The run is recorded as a plan is. Where an operator must see values, it says how large its outputs can become
 * (pare__call_bounding), and the recording goes on with that; where nothing bounds them, they and what is computed from
 * them are left out, and listed. */
#ifndef PARE_GRAPH_ESTIMATE_H
#define PARE_GRAPH_ESTIMATE_H

#include "graph/run.h"

/* Estimates a run at once for inputs of these shapes. *nodes: those whose outputs are not known, or bounded only, in
 * the order of the run; free it. */
pare_status pare__estimate_run(pare_model *model, pare_tensor *const *inputs, pare_model_memory *out,
                               pare_model_unplanned **nodes, size_t *count);
/* In place of pare__run_call while a run is estimated. */
pare_status pare__estimate_call(pare__call *call);
/* Does the file declare the shapes of all that the node makes? */
bool pare__estimate_declares(const pare__call *call);
/* The elements that the host knows of a value, which is there, are those of another one too: it is known no more. */
pare_status pare__estimate_forget(const pare__call *call, pare__slot *slot);
/* The value is there after the node that was run last: made by it, or dying now. */
pare_status pare__estimate_note(pare__run_state *state, const pare__slot *slot);

#endif
