/* The problems of the softmax family, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * Along the middle axis of [outer][length][inner]. Buffers: 0 = x, 1 = m and 2 = s, contiguous [outer][inner] (only
 * with PARE__SOFTMAX_GIVEN; f32, or f64 for f64), 3 = y. */
#ifndef PARE_KERNEL_FAMILY_SOFTMAX_H
#define PARE_KERNEL_FAMILY_SOFTMAX_H

#include "kernel/kernel.h"

/* problem.mode */
enum { PARE__SOFTMAX_LOG = 1, PARE__SOFTMAX_GIVEN = 2 };
/* problem.dim; strides in elements, the inner one is 1 */
enum {
  PARE__SOFTMAX_OUTER,
  PARE__SOFTMAX_LENGTH,
  PARE__SOFTMAX_INNER,
  PARE__SOFTMAX_X_OUTER,
  PARE__SOFTMAX_X_AXIS, /* 1 if inner is 1 */
  PARE__SOFTMAX_Y_OUTER,
  PARE__SOFTMAX_Y_AXIS,
  PARE__SOFTMAX_NDIMS
};
extern const pare__family pare__family_softmax;

#endif
