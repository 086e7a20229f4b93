/* A small piece of real work that tests repeat under faults, in threads and with little memory.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WORKLOAD_H
#define TESTS_WORKLOAD_H

#include <pare.h>
#include <stdbool.h>

#include "sched/sched.h"

enum { WORKLOAD_ROWS = 24, WORKLOAD_INNER = 40, WORKLOAD_COLUMNS = 33 };

typedef struct workload_result {
  float softmax[WORKLOAD_ROWS * WORKLOAD_COLUMNS]; /* softmax(relu(A B + bias)) along the rows */
  float sum[WORKLOAD_ROWS];                        /* of each row of relu(A B + bias) */
} workload_result;

/* Tensors made from `seed`, a view, a product, elementwise, softmax, a reduction, reading back. Everything it makes is
 * closed again, whatever fails. */
pare_status workload_compute(pare_context *context, unsigned seed, workload_result *result);

/* Models that compute the same: as layers, or by a convolution, weights of 8 bits, an If and a Loop that depend on
 * values, so that it is run at once. */
typedef enum workload_model { WORKLOAD_LAYERS, WORKLOAD_AT_ONCE } workload_model;
/* Writes the ONNX file, with weights made from `seed`; false if it cannot be written. */
bool workload_write_model(const char *path, workload_model kind, unsigned seed);
/* Runs an open model of the seed on the first `rows` rows; only those of the result are written. */
pare_status workload_run(pare_context *context, pare_model *model, unsigned seed, int rows, workload_result *result);
/* Until it is called with NULL, workload_compute opens this model and runs it twice: once planned, once replayed; with
 * the ticketed executor four times: planned, watched and built, compared, ticketed. Its seed must be the one that the
 * model was written with. */
void workload_use_model(const char *path, pare_executor executor);

/* Compares with double precision on the host. */
bool workload_is_right(unsigned seed, const workload_result *result);
bool workload_rows_are_right(unsigned seed, int rows, const workload_result *result);

/* The law that unfinished work is bounded: far more tasks of `codelet` than that are submitted, each with a tensor of
 * its own, small or of some MiB, while `context` stands still; then `go` lets it run. */
void workload_is_paced(pare_context *context, const pare__codelet *codelet, bool large, void (*go)(void *),
                       void *argument);

#endif
