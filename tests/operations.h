/* Operations whose results on several devices are compared with those on one. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_OPERATIONS_H
#define TESTS_OPERATIONS_H

#include <pare/tensor.h>

enum { ROWS = 203, COLUMNS = 157, MOST_VALUES = ROWS * COLUMNS };

/* All but these are [ROWS, COLUMNS]: square [COLUMNS, COLUMNS], bias [1, COLUMNS], index and column [ROWS, 1]. */
typedef struct operands {
  pare_context *in;
  pare_tensor *x, *square, *w, *bias, *index, *y, *column;
} operands;
operands operands_in(pare_context *in);
void operands_close(operands *o);

/* Each computes y, or a part of it, of the others; the chain overwrites x, and the reduction the column, too. */
typedef enum operation {
  PRODUCT,
  SUM_OF_TWO,
  IN_PLACE,
  OF_COLUMNS,
  REDUCTION,
  SOFTMAX,
  GATHER,
  CHAIN,
  OPERATIONS
} operation;
void do_add(operands *o);
void do_sum(operands *o);
void do_chain(operands *o);

/* y of operands that are the same each time; to be freed. */
float *result_of(pare_context *in, operation which);
/* It is `want` bit for bit. */
void expect_bits(pare_context *in, operation which, const float *want);

#endif
