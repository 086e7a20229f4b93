/* A small piece of real work that tests repeat under faults, in threads and with little memory.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WORKLOAD_H
#define TESTS_WORKLOAD_H

#include <pare.h>
#include <stdbool.h>

enum { WORKLOAD_ROWS = 24, WORKLOAD_INNER = 40, WORKLOAD_COLUMNS = 33 };

typedef struct workload_result {
  float hidden[WORKLOAD_ROWS * WORKLOAD_COLUMNS]; /* relu(A B + bias) */
  float sum[WORKLOAD_ROWS];                       /* of each row of it */
} workload_result;

/* Tensors made from `seed`, views, products, reading back. Everything it makes is closed again, whatever fails. */
pare_status workload_compute(pare_context *context, unsigned seed, workload_result *result);

/* Compares with double precision on the host. */
bool workload_is_right(unsigned seed, const workload_result *result);

#endif
