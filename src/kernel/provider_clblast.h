/* CLBlast as a provider of matrix products. SPDX-License-Identifier: Apache-2.0
 *
 * It takes problems of the family gemm in f32 and f64 whose operands are matrices of BLAS: rows or columns contiguous,
 * C by rows, no bias, no activation, no packed B. Not f16: CLBlast sums it in half, and pare promises sums in f32. Its
 * way through a product (one kernel, or padding, product, copying back) depends on the shape it is given, so that it
 * must be given whole problems. The self-test reaches the one kernel; padding begins at sizes that only the tests have.
 */
#ifndef PARE_KERNEL_PROVIDER_CLBLAST_H
#define PARE_KERNEL_PROVIDER_CLBLAST_H

#include "kernel/kernel.h"

#include <clblast_c.h>

#define PARE__CLBLAST_TEXT(x) #x
#define PARE__CLBLAST_DIGITS(major, minor, patch) \
  "CLBlast " PARE__CLBLAST_TEXT(major) "." PARE__CLBLAST_TEXT(minor) "." PARE__CLBLAST_TEXT(patch)
#define PARE__CLBLAST_VERSION PARE__CLBLAST_DIGITS(CLBLAST_VERSION_MAJOR, CLBLAST_VERSION_MINOR, CLBLAST_VERSION_PATCH)
#define PARE__CLBLAST_DTYPES (1U << PARE_F32 | 1U << PARE_F64)

bool pare__clblast_accepts(const pare_device_info *info, const pare__problem *whole);
pare_status pare__clblast_launch(const pare__run *run);

#endif
