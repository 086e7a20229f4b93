/* Quantisation to 8-bit integers and back. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_QUANTISE_H
#define PARE_QUANTISE_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A scale and a zero point for all of x, from its range: scale = (max(x, 0) - min(x, 0)) / 255, or 1 if that is 0;
 * zero = round(-min(x, 0) / scale); q = saturate(round(x / scale) + zero), ties to even. As ONNX DynamicQuantizeLinear;
 * NaN does not widen the range. x f32, f16 or bf16 of any shape; q u8 of the same; scale f32 and zero u8 of one
 * element. PARE_ERR_SHAPE, PARE_ERR_TYPE. */
PARE_API pare_status pare_dynamic_quantize(pare_tensor *x, pare_tensor *q, pare_tensor *scale, pare_tensor *zero);

/* q = saturate(round(x / scale) + zero), ties to even, as ONNX QuantizeLinear: x f32, f16 or bf16, q u8 or i8 of the
 * same shape. scale f32 and zero (q's dtype; NULL: 0) have one element, or one for each index of `axis` (negative: from
 * the end; ignored for one element). PARE_ERR_SHAPE, PARE_ERR_TYPE, PARE_ERR_ARGUMENT for an axis out of range. */
PARE_API pare_status pare_quantize(pare_tensor *x, pare_tensor *scale, pare_tensor *zero, int axis, pare_tensor *q);

/* x = (q - zero) * scale, as ONNX DequantizeLinear: q u8, i8 or i32, x f32, f16 or bf16; the rest as pare_quantize. */
PARE_API pare_status pare_dequantize(pare_tensor *q, pare_tensor *scale, pare_tensor *zero, int axis, pare_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
