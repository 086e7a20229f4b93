/* Number formats on the host: conversion of every dtype to and from double. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_BASE_DTYPE_H
#define PARE_BASE_DTYPE_H

#include <pare/dtype.h>

/* Round to nearest even; overflow to infinity; NaN stays NaN (quiet); denormals kept. */
uint16_t pare__f32_to_f16(float value);
float pare__f16_to_f32(uint16_t bits);
uint16_t pare__f32_to_bf16(float value);
float pare__bf16_to_f32(uint16_t bits);

/* Dtypes from this one on are floats of a byte or less: stored, moved and cast, but not computed with. Each takes a
 * byte; f4e2m1 the low half of it. */
#define PARE__FIRST_TINY PARE_F8E4M3FN
bool pare__dtype_is_tiny(pare_dtype dtype);
/* The largest finite value of a tiny dtype. */
double pare__tiny_largest(pare_dtype dtype);

/* Element `index` of an array of `dtype`. i64 and u64 beyond 2^53 lose bits. Bool reads as 0 or 1. */
double pare__load(pare_dtype dtype, const void *data, size_t index);
/* The same of data at any address, such as a view of a mapped file. */
double pare__load_unaligned(pare_dtype dtype, const void *data, size_t index);
/* Floats round to nearest even; integers truncate towards zero and saturate (NaN gives 0); bool is value != 0. */
void pare__store(pare_dtype dtype, void *data, size_t index, double value);

/* The same for integer dtypes and bool without the detour over double. A u64 keeps its bits. */
int64_t pare__load_integer(pare_dtype dtype, const void *data, size_t index);
/* Keeps the low bits; bool is value != 0. */
void pare__store_integer(pare_dtype dtype, void *data, size_t index, int64_t value);

bool pare__dtype_is_float(pare_dtype dtype);
bool pare__dtype_is_real(pare_dtype dtype);     /* a float that is computed with: f16, bf16, f32, f64 */
bool pare__dtype_is_unsigned(pare_dtype dtype); /* u8 to u64; not bool */
bool pare__dtype_is_valid(pare_dtype dtype);
/* Unit roundoff 2^-p of a float dtype; 0 for integers. */
double pare__dtype_epsilon(pare_dtype dtype);

#endif
