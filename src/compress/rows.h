/* Rows of weights on their way through a compression's methods. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_ROWS_H
#define PARE_COMPRESS_ROWS_H

#include "compress/distance.h"
#include "compress/method.h"

/* What formats ask while they write: rows of a weight after all of its steps, noted in the report. */
pare__producer pare__rows_producer(pare__compression *compression);

/* Rows made, and not yet noted: on any device, in any order. */
typedef struct pare__made_rows {
  size_t index;        /* of the weight */
  pare__result result; /* on the device where it was made */
  uint64_t elements;
  pare__distance_sums sums; /* with a report: to what they were, and how many are left */
  int64_t kept;
} pare__made_rows;
pare_status pare__make_rows(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                            pare__made_rows *out);
/* What they stand for: f32 on the device, nothing noted. */
pare_status pare__make_values(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                              pare_tensor **out);
/* Notes them, in the order of the file, and hands the result over. */
void pare__take_rows(pare__compression *compression, pare__made_rows *made, pare__result *out);

/* ---- ahead.c: several devices make rows before they are asked for ---- */

typedef struct pare__ahead pare__ahead;
/* *out NULL: one device does all. */
pare_status pare__ahead_open(pare__compression *compression, pare__ahead **out);
void pare__ahead_close(pare__ahead *ahead); /* NULL is allowed */
pare__producer pare__ahead_producer(pare__ahead *ahead);

#endif
