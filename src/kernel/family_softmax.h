/* The problems of the softmax family, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * Along the middle axis of [outer][length][inner]. Buffers: 0 = x, 1 = m and 2 = s, contiguous [outer][inner] (only
 * with PARE__SOFTMAX_GIVEN; f32, or f64 for f64), 3 = y. With PARE__SOFTMAX_MASKED (inner is 1) buffer 1 is the mask:
 * floats that are added to x, or bool, false where x is to be real[0]; its row for row r of x begins at
 * r / (middle_rows inner_rows) mask_outer + r / inner_rows % middle_rows mask_middle + r % inner_rows mask_inner. */
#ifndef PARE_KERNEL_FAMILY_SOFTMAX_H
#define PARE_KERNEL_FAMILY_SOFTMAX_H

#include "kernel/kernel.h"

/* problem.mode */
enum { PARE__SOFTMAX_LOG = 1, PARE__SOFTMAX_GIVEN = 2, PARE__SOFTMAX_MASKED = 4 };
/* problem.dim; strides in elements, the inner one is 1 */
enum {
  PARE__SOFTMAX_OUTER,
  PARE__SOFTMAX_LENGTH,
  PARE__SOFTMAX_INNER,
  PARE__SOFTMAX_X_OUTER,
  PARE__SOFTMAX_X_AXIS, /* 1 if inner is 1 */
  PARE__SOFTMAX_Y_OUTER,
  PARE__SOFTMAX_Y_AXIS,
  PARE__SOFTMAX_MASK_OUTER,
  PARE__SOFTMAX_MASK_MIDDLE,
  PARE__SOFTMAX_MASK_INNER,
  PARE__SOFTMAX_MIDDLE_ROWS,
  PARE__SOFTMAX_INNER_ROWS,
  PARE__SOFTMAX_FIRST_ROW, /* of this piece in the whole */
  PARE__SOFTMAX_NDIMS
};
extern const pare__family pare__family_softmax;

#endif
