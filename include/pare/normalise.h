/* Softmax and normalisation. SPDX-License-Identifier: Apache-2.0
 *
 * Floats only (f32, f16, bf16, f64); computed in f32, in f64 for f64. NaN and infinities as IEEE 754: they reach the
 * row they stand in, no other. Scale and bias have x's dtype. Views are allowed everywhere; out may be x. */
#ifndef PARE_NORMALISE_H
#define PARE_NORMALISE_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* out_i = exp(x_i - m) / sum_j exp(x_j - m) along `axis`, m = max x_j. Results under 2^-126 become 0; a row with
 * +infinity or of -infinity alone gives NaN. PARE_ERR_SHAPE, PARE_ERR_TYPE, PARE_ERR_ARGUMENT (axis). */
PARE_API pare_status pare_softmax(pare_tensor *x, int axis, pare_tensor *out);
/* Softmax along the last axis with a mask, which broadcasts to x. Floats of x's dtype are added to x; with bool, x is
 * replaced by `least` where the mask is false. PARE_ERR_SHAPE, PARE_ERR_TYPE. */
PARE_API pare_status pare_masked_softmax(pare_tensor *x, pare_tensor *mask, double least, pare_tensor *out);
/* out_i = x_i - m - log(sum_j exp(x_j - m)). */
PARE_API pare_status pare_log_softmax(pare_tensor *x, int axis, pare_tensor *out);

/* out = (x - mean) / sqrt(variance + epsilon) * scale + bias, mean and variance over the dimensions from `axis` to the
 * last. scale, bias: those dimensions' shape, or one dimension of as many elements; NULL: 1 and 0. mean,
 * inverse_deviation (NULL allowed): f32 (f64 for f64), x's shape with the normalised dimensions 1. The variance is
 * taken in two passes: a mean that is large against it costs no accuracy. As ONNX LayerNormalization (Ba, Kiros &
 * Hinton 2016). */
PARE_API pare_status pare_layer_norm(pare_tensor *x, int axis, pare_tensor *scale, pare_tensor *bias, double epsilon,
                                     pare_tensor *out, pare_tensor *mean, pare_tensor *inverse_deviation);

/* out = x / sqrt(mean of x^2 + epsilon) * scale, over the dimensions from `axis` to the last (Zhang & Sennrich 2019).
 */
PARE_API pare_status pare_rms_norm(pare_tensor *x, int axis, pare_tensor *scale, double epsilon, pare_tensor *out);

/* The same of x + skip, which has x's shape and dtype; sum (NULL allowed) becomes x + skip. As com.microsoft
 * SkipLayerNormalization and SkipSimplifiedLayerNormalization; one pass over memory less than the sum by itself. */
PARE_API pare_status pare_skip_layer_norm(pare_tensor *x, pare_tensor *skip, int axis, pare_tensor *scale,
                                          pare_tensor *bias, double epsilon, pare_tensor *out, pare_tensor *sum);
PARE_API pare_status pare_skip_rms_norm(pare_tensor *x, pare_tensor *skip, int axis, pare_tensor *scale, double epsilon,
                                        pare_tensor *out, pare_tensor *sum);

/* x is [N, C, ...]: layer norm of each run of C / groups channels with all that follows them; scale and bias [C] or
 * NULL. C must be a multiple of groups. As ONNX GroupNormalization 21 (Wu & He 2018); groups = C is instance norm. */
PARE_API pare_status pare_group_norm(pare_tensor *x, int64_t groups, pare_tensor *scale, pare_tensor *bias,
                                     double epsilon, pare_tensor *out);
PARE_API pare_status pare_instance_norm(pare_tensor *x, pare_tensor *scale, pare_tensor *bias, double epsilon,
                                        pare_tensor *out);

/* Inference: out = (x - mean) / sqrt(variance + epsilon) * scale + bias with mean, variance, scale, bias [C] for x [N,
 * C, ...]; scale and bias may be NULL. As ONNX BatchNormalization without training (Ioffe & Szegedy 2015). */
PARE_API pare_status pare_batch_norm(pare_tensor *x, pare_tensor *scale, pare_tensor *bias, pare_tensor *mean,
                                     pare_tensor *variance, double epsilon, pare_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
