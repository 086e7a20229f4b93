/* The problems of gather and scatter, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * data is [outer][length][inner], values [outer][rows][inner]. values[o][i][s] meets data[o][row][s], where row is
 * named by an index tuple: that of (o, i), or with an index_inner stride that of (o, i, s). Entry k of a tuple counts
 * along an axis of axis_length[k] whose neighbours are axis_step[k] rows apart; negative entries count from the end. An
 * index out of range raises the flag; gather then gives zero and scatter leaves that update out. Scatter applies
 * updates in the order of i. Buffers: 0 = data, 1 = index (i32 or i64), 2 = values, 3 = flag. */
#ifndef PARE_KERNEL_FAMILY_INDEX_H
#define PARE_KERNEL_FAMILY_INDEX_H

#include "kernel/kernel.h"

/* problem.dim; strides in elements. */
enum {
  PARE__INDEX_OUTER,
  PARE__INDEX_ROWS,
  PARE__INDEX_INNER,
  PARE__INDEX_TUPLE,         /* entries of an index tuple */
  PARE__INDEX_DATA,          /* strides of data: outer, row, inner (1 for scatter) */
  PARE__INDEX_INDEX = 7,     /* strides of index: outer, row, inner (0: a tuple a row) */
  PARE__INDEX_VALUES = 10,   /* strides of values: outer, row, inner (1) */
  PARE__INDEX_POSITION = 13, /* row of the whole that data begins with: a piece of scatter may have some rows only */
  PARE__INDEX_LENGTH,        /* rows of data */
  PARE__INDEX_AXIS_LENGTH,
  PARE__INDEX_AXIS_STEP = PARE__INDEX_AXIS_LENGTH + PARE_MAX_RANK
};

/* problem.mode of scatter; gather has mode 0. */
typedef enum pare__scatter_reduction {
  PARE__SCATTER_NONE,
  PARE__SCATTER_ADD,
  PARE__SCATTER_MUL,
  PARE__SCATTER_MIN,
  PARE__SCATTER_MAX,
  PARE__NSCATTERS
} pare__scatter_reduction;

extern const pare__family pare__family_gather, pare__family_scatter;

/* A dtype that stands for all of its size where bits only move, so that they share programs and devices without f64
 * move it. */
pare_dtype pare__bits_dtype(pare_dtype dtype);

/* ---- between the two families ---- */

/* Contiguous operands. `each`: an index an element. K > 1: the rows are counted by tuples over axes of 3, 2, …, and the
 * rest. */
typedef struct pare__index_shape {
  int64_t outer, length, rows, inner;
  int tuple;
  bool each;
} pare__index_shape;
void pare__index_problem(const pare__index_shape *shape, pare_dtype data, pare_dtype index, pare__problem *out);
/* The sizes of the four buffers; the roles are those of gather. */
void pare__index_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out);
/* Indices with duplicates, negative ones, and (with an axis over 8) some out of range; the flag 0; random elements. */
void pare__index_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data);
/* The row for (o, i, s); -1 if out of range. */
int64_t pare__index_row(const pare__problem *problem, const void *index, int64_t o, int64_t i, int64_t s);
void pare__index_describe(const pare__problem *problem, char *text, size_t capacity);
void pare__index_class(const pare__problem *problem, char *text, size_t capacity);
void pare__index_arguments(const pare__run *run, pare__args *args);

#endif
