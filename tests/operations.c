/* Operations whose results on several devices are compared with those on one. SPDX-License-Identifier: Apache-2.0 */
#include "operations.h"

#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <stdlib.h>

#include "fixture.h"

static pare_tensor *make(pare_context *in, pare_dtype dtype, int64_t rows, int64_t columns, uint32_t seed) {
  const int64_t shape[] = {rows, columns};
  pare_tensor *tensor;
  if (dtype == PARE_I64) {
    int64_t *values = calloc((size_t)(rows * columns), sizeof *values);
    for (int64_t i = 0; i < rows * columns; i++) values[i] = (i * 7919 + seed) % ROWS;
    OK(pare_tensor_from(in, dtype, 1, shape, values, (size_t)(rows * columns) * sizeof *values, &tensor));
    free(values);
    return tensor;
  }
  float *values = random_floats(rows * columns, seed);
  OK(pare_tensor_from(in, dtype, 2, shape, values, (size_t)(rows * columns) * sizeof *values, &tensor));
  free(values);
  return tensor;
}

operands operands_in(pare_context *in) {
  return (operands){.in = in,
                    .x = make(in, PARE_F32, ROWS, COLUMNS, 1),
                    .square = make(in, PARE_F32, COLUMNS, COLUMNS, 2),
                    .w = make(in, PARE_F32, ROWS, COLUMNS, 3),
                    .bias = make(in, PARE_F32, 1, COLUMNS, 4),
                    .index = make(in, PARE_I64, ROWS, 1, 5),
                    .y = make(in, PARE_F32, ROWS, COLUMNS, 6),
                    .column = make(in, PARE_F32, ROWS, 1, 7)};
}

void operands_close(operands *o) {
  pare_tensor *const all[] = {o->x, o->square, o->w, o->bias, o->index, o->y, o->column};
  for (size_t i = 0; i < PARE__COUNT(all); i++) pare_tensor_close(all[i]);
}

static void do_product(operands *o) {
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  OK(pare_gemm(o->x, o->square, o->bias, &options, o->y));
}
void do_add(operands *o) { OK(pare_binary(PARE_BINARY_add, o->x, o->bias, o->y)); }
static void do_in_place(operands *o) {
  OK(pare_unary(PARE_UNARY_tanh, o->y, o->y));
  OK(pare_binary(PARE_BINARY_mul, o->y, o->x, o->y));
}
static void do_columns(operands *o) {
  pare_tensor *from, *to;
  OK(pare_tensor_slice(o->x, 1, 1, COLUMNS / 2, 2, &from));
  OK(pare_tensor_slice(o->y, 1, COLUMNS / 2, COLUMNS / 2, 1, &to));
  OK(pare_unary(PARE_UNARY_exp, from, to));
  pare_tensor_close(from);
  pare_tensor_close(to);
}
void do_sum(operands *o) {
  const int axis = 1;
  OK(pare_reduce(o->x, PARE_REDUCTION_SUM, &axis, 1, true, o->column));
  OK(pare_binary(PARE_BINARY_add, o->w, o->column, o->y));
}
static void do_softmax(operands *o) { OK(pare_softmax(o->x, 1, o->y)); }
static void do_gather(operands *o) { OK(pare_gather(o->x, o->index, 0, o->y)); }
void do_chain(operands *o) {
  for (int i = 0; i < 6; i++) {
    do_product(o);
    OK(pare_unary(PARE_UNARY_tanh, o->y, o->x));
    do_softmax(o);
    OK(pare_binary(PARE_BINARY_add, o->y, o->w, o->x));
  }
  OK(pare_binary(PARE_BINARY_sub, o->x, o->bias, o->y));
}

static void (*const operations[OPERATIONS])(operands *) = {
    [PRODUCT] = do_product, [SUM_OF_TWO] = do_add,  [IN_PLACE] = do_in_place, [OF_COLUMNS] = do_columns,
    [REDUCTION] = do_sum,   [SOFTMAX] = do_softmax, [GATHER] = do_gather,     [CHAIN] = do_chain};

float *result_of(pare_context *in, operation which) {
  operands o = operands_in(in);
  operations[which](&o);
  float *values = floats_of(o.y);
  operands_close(&o);
  return values;
}

void expect_bits(pare_context *in, operation which, const float *want) {
  float *got = result_of(in, which);
  ck_assert_mem_eq(want, got, MOST_VALUES * sizeof *want);
  free(got);
}
