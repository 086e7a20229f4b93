/* Elementwise operations with broadcasting, and casts. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_ELEMENTWISE_H
#define PARE_ELEMENTWISE_H

#include <pare/operation.h>
#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Inputs broadcast as numpy and ONNX do: shapes aligned at the right, a dimension of 1 stretched. `out` has the
 * broadcast shape and the inputs' dtype, or bool where the list says so. It may be one of the inputs (the same elements
 * in the same order). f16 and bf16 are computed in f32 and rounded once; f64 in f64; integers wrap modulo 2^bits;
 * dividing an integer by 0 gives 0. NaN, infinities, signed zeros and denormals as IEEE 754 and the ONNX operators say:
 * min, max, clip and relu pass NaN on. p and q are parameters; a call without them takes those in the list, which are
 * ONNX's. Every call: PARE_ERR_SHAPE if the shapes do not broadcast to out's, PARE_ERR_TYPE if the operation does not
 * take the dtype. Errors: of the first group at most 3 ulp (f32), of the second 8, of the third 16; the rest is exact
 * or correctly rounded. */

/* out = operation(a) with the list's parameters; with p and q of the caller's. */
PARE_API pare_status pare_unary(pare_unary_operation operation, pare_tensor *a, pare_tensor *out);
PARE_API pare_status pare_unary_with(pare_unary_operation operation, double p, double q, pare_tensor *a,
                                     pare_tensor *out);
/* out = operation(a, b) */
PARE_API pare_status pare_binary(pare_binary_operation operation, pare_tensor *a, pare_tensor *b, pare_tensor *out);
/* out = operation(a, b, c) */
PARE_API pare_status pare_ternary(pare_ternary_operation operation, pare_tensor *a, pare_tensor *b, pare_tensor *c,
                                  pare_tensor *out);

/* out = a in out's dtype, between all pairs, as ONNX Cast and C say: to floats rounded to nearest even, once; floats to
 * integers truncated, then saturated, NaN to 0; between integers modulo 2^bits; to bool: a != 0. a broadcasts to out's
 * shape. */
PARE_API pare_status pare_cast(pare_tensor *a, pare_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
