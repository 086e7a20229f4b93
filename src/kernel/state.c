/* What floor 2 remembers of an open device. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/state.h"

#include <stdlib.h>

static void state_close(void *attached) {
  pare__state *state = attached;
  if (state->close_provider) state->close_provider();
  for (size_t i = 0; i < state->ntrust; i++) free(state->trust[i].reason);
  for (size_t i = 0; i < state->built_slots; i++) {
    free(state->built[i].entry);
    free(state->built[i].extra_options);
  }
  json_decref(state->tuning);
  free(state->trust);
  free(state->built);
  free(state->choices);
  free(state);
}

pare_status pare__state_get(pare__device *device, pare__state **out) {
  *out = pare__device_attached(device);
  if (*out) return PARE_OK;
  pare__state *state = calloc(1, sizeof *state);
  if (!state) return pare__fail_memory("the kernels' state", sizeof *state);
  pare__device_attach(device, state, state_close);
  *out = state;
  return PARE_OK;
}

void pare__state_forget_choices(pare__state *state) {
  free(state->choices);
  state->choices = NULL;
}
