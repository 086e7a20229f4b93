/* How long a run of two models takes, the one beside the other. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_LATENCY_H
#define PARE_CLI_LATENCY_H

#include "cli/page.h"

/* Medians of some runs on random inputs, in turns; sizes that the model leaves open are 1. Files without a graph, and
 * models that need inputs of their own, leave both 0: that is no error. `shapes` has room for the text that *out points
 * to. */
cli_exit cli_latency_measure(const char *device, const char *before, const char *after, char *shapes, size_t capacity,
                             cli_page_latency *out);

#endif
