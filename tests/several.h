/* Fixtures: a context of two devices, beside that of fixture.h, which has one. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SEVERAL_H
#define TESTS_SEVERAL_H

#include <pare/model.h>
#include <pare/schedule.h>

#include "fixture.h"

/* The selector of both halves of the device that PARE_DEVICE names. */
const char *halves(void);
/* Can it be halved? Says why not; for main. */
bool can_be_halved(void);

/* A context of both halves, under a watchdog (watch.h) while it is open; NULL: it is not. */
extern pare_context *several;
pare_status try_several(const pare_schedule_options *schedule, uint64_t memory_limit_bytes);
pare_context *open_several(const char *policy);
void close_several(void);

/* One run of a model with an input and an output of [rows, width]. */
void run_rows(pare_context *in, pare_model *model, int64_t rows, int64_t width, const float *values, float *out);

/* A queue that goes no further until it is released. */
cl_event hold_queue(const pare__device *at, cl_command_queue queue);
void release_queue(cl_event gate);

#endif
