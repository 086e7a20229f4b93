/* What the families over rows share: softmax and normalisation (cl/row.cl). SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_FAMILY_ROWS_H
#define PARE_KERNEL_FAMILY_ROWS_H

#include "kernel/kernel.h"

/* The dtype that rows are computed in: f64 for f64, else f32. */
pare_dtype pare__row_dtype(const pare__problem *problem);

extern const pare__param pare__row_item_params[], pare__row_group_params[];
void pare__row_item_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning);

/* The first arguments of every kernel: each operand with its offset, then the first ndims dimensions of the piece. */
void pare__row_args(pare__args *args, const pare__run *run, unsigned noperands, unsigned ndims);
/* How many of `rows` rows one work-item takes: about `elements`, and enough items for all units. */
int64_t pare__row_count(const pare__run *run, int64_t rows, int64_t length, int64_t elements);
/* Is a result of so many elements too large for the cache, and better stored past it? */
bool pare__row_streams(const pare__run *run, int64_t elements);

/* Number `index` of all problems of a set: each dtype with each mode with each shape. In tests all dtypes, else f32. */
typedef struct pare__row_case {
  unsigned shape, mode;
  pare_dtype dtype;
} pare__row_case;
bool pare__row_case_at(pare__case_set set, const pare_device_info *info, unsigned index, unsigned nshapes,
                       unsigned nmodes, pare__row_case *out);

#endif
