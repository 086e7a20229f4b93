/* Fixtures: an open context or device, and tensors in it. SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <pare/schedule.h>
#include <stdlib.h>

pare_context *context;
pare__device *device;
static pare_device_list *list;

void open_context(void) {
  pare_schedule_options schedule = PARE_SCHEDULE_OPTIONS_INIT;
  pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
  schedule.parallel = PARE_PARALLEL_OFF;
  options.schedule = &schedule;
  OK(pare_context_open(&options, &context));
}
void close_context(void) { pare_context_close(context); }

void open_device(void) {
  pare_device_choice choice;
  size_t count;
  OK(pare_device_list_open(false, &list));
  OK(pare_device_list_select(list, NULL, 1, &choice, &count));
  OK(pare__device_open(list, &choice, 0, &device));
}

void close_device(void) {
  pare__device_close(device);
  pare_device_list_close(list);
}

int64_t count_of(int rank, const int64_t *shape) {
  int64_t n = 1;
  for (int d = 0; d < rank; d++) n *= shape[d];
  return n;
}

pare_tensor *tensor_of(pare_dtype dtype, int rank, const int64_t *shape, const void *data) {
  pare_tensor *tensor;
  size_t nbytes = (size_t)count_of(rank, shape) * pare_dtype_bytes(dtype);
  OK(pare_tensor_from(context, dtype, rank, shape, data, nbytes, &tensor));
  return tensor;
}

pare_tensor *empty_tensor(pare_dtype dtype, int rank, const int64_t *shape) {
  pare_tensor *tensor;
  OK(pare_tensor_create(context, dtype, rank, shape, &tensor));
  return tensor;
}

float *random_floats(int64_t n, uint32_t seed) {
  float *data = malloc((size_t)(n + 1) * sizeof *data);
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525U + 1013904223U;
    data[i] = (float)(seed >> 8) / 8388608.0F - 1.0F;
  }
  return data;
}

float *floats_of(pare_tensor *tensor) {
  size_t n = (size_t)pare_tensor_elements(tensor);
  float *data = malloc((n + 1) * sizeof *data);
  OK(pare_tensor_read(tensor, data, n * sizeof *data));
  return data;
}
