/* Counter-based random fill: the same numbers on every device. SPDX-License-Identifier: Apache-2.0
 *
 * Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011). Element i, counted row-major, depends on (seed, stream, i) and the
 * dtype's word size alone: not on the device, nor on how the work is split. Streams of one seed are independent of each
 * other. */
#ifndef PARE_RANDOM_H
#define PARE_RANDOM_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Uniform in [low, high): low + (high - low) u, with 24 random bits (f32, f16, bf16; 53 for f64) in u. out: a float
 * dtype; rounding to f16 or bf16 may reach high. PARE_ERR_ARGUMENT unless low < high, both finite. Bits agree between
 * devices. */
PARE_API pare_status pare_random_uniform(uint64_t seed, uint64_t stream, double low, double high, pare_tensor *out);

/* Normal with this mean and standard deviation, in pairs (Box & Muller 1958). out: a float dtype. Bits agree between
 * devices. PARE_ERR_ARGUMENT unless deviation >= 0, both finite. */
PARE_API pare_status pare_random_normal(uint64_t seed, uint64_t stream, double mean, double deviation,
                                        pare_tensor *out);

/* 1 with this probability (to 32 bits), else 0. out: any dtype. PARE_ERR_ARGUMENT unless 0 <= probability <= 1. */
PARE_API pare_status pare_random_bernoulli(uint64_t seed, uint64_t stream, double probability, pare_tensor *out);

/* Integers low … high - 1, by the high half of word x (high - low): biased by at most (high - low) / 2^32 (2^64 for
 * i64) of a probability. out: an integer dtype that holds them, or bool. PARE_ERR_ARGUMENT unless low < high fit the
 * dtype. */
PARE_API pare_status pare_random_integer(uint64_t seed, uint64_t stream, int64_t low, int64_t high, pare_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
