/* Fixtures: an open context or device, and tensors in it. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include <pare/tensor.h>

#include "ocl/ocl.h"
#include "run.h"

/* A context on the first device of PARE_DEVICE. */
extern pare_context *context;
void open_context(void);
void close_context(void);

/* The first of these devices, for what lies below contexts. */
extern pare__device *device;
void open_device(void);
void close_device(void);

int64_t count_of(int rank, const int64_t *shape);
/* Contiguous tensors of the context. */
pare_tensor *tensor_of(pare_dtype dtype, int rank, const int64_t *shape, const void *data);
pare_tensor *empty_tensor(pare_dtype dtype, int rank, const int64_t *shape);
/* n values in [-1, 1) that depend on the seed alone; to be freed. */
float *random_floats(int64_t n, uint32_t seed);
/* All values of a tensor of floats; to be freed. */
float *floats_of(pare_tensor *tensor);

#endif
