/* Fixtures: a context of two devices. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "watch.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

enum { SECONDS_OPEN = 300 };

pare_context *several;

const char *halves(void) {
  static char selector[64];
  const char *given = getenv("PARE_DEVICE");
  (void)snprintf(selector, sizeof selector, "%.40s/1+1", given ? given : "cpu");
  return selector;
}

bool can_be_halved(void) {
  const pare_status status = try_several(NULL, 0);
  if (status != PARE_OK) fprintf(stderr, "skipped: %s\n", pare_message());
  close_several();
  return status == PARE_OK;
}

pare_status try_several(const pare_schedule_options *schedule, uint64_t memory_limit_bytes) {
  pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
  options.device = halves();
  options.memory_limit_bytes = memory_limit_bytes;
  options.schedule = schedule;
  watch_context(&several, SECONDS_OPEN);
  return pare_context_open(&options, &several);
}

pare_context *open_several(const char *policy) {
  pare_schedule_options schedule = PARE_SCHEDULE_OPTIONS_INIT;
  schedule.policy = policy;
  OK(try_several(&schedule, 0));
  return several;
}

void close_several(void) {
  pare_context_close(several);
  several = NULL;
  unwatch();
}

void run_rows(pare_context *in, pare_model *model, int64_t rows, int64_t width, const float *values, float *out) {
  const size_t nbytes = (size_t)(rows * width) * sizeof *values;
  pare_tensor *x, *y = NULL;
  OK(pare_tensor_from(in, PARE_F32, 2, (const int64_t[]){rows, width}, values, nbytes, &x));
  OK(pare_model_run(model, &x, NULL, &y));
  OK(pare_tensor_read(y, out, nbytes));
  pare_tensor_close(x);
  pare_tensor_close(y);
}

cl_event hold_queue(const pare__device *at, cl_command_queue queue) {
  cl_int code;
  cl_event gate = clCreateUserEvent(pare__device_context(at), &code);
  ck_assert_int_eq(code, CL_SUCCESS);
  ck_assert_int_eq(clEnqueueBarrierWithWaitList(queue, 1, &gate, NULL), CL_SUCCESS);
  return gate;
}

void release_queue(cl_event gate) {
  ck_assert_int_eq(clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
  ck_assert_int_eq(clReleaseEvent(gate), CL_SUCCESS);
}
