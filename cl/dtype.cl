/* How an element is stored: the only file that knows. SPDX-License-Identifier: Apache-2.0
 *
 * A kernel is built with -DT0=f32 -DT1=bf16 …, a dtype for each buffer of its family (f32 f16 bf16 f64 i8 u8 i16 i32 i64 bool), and includes
 * this file. It declares buffer i as `__global const STORE(Ti) *p`, reads with LOAD(Ti, p, index) and writes with SAVE(Ti, p, index, value).
 * A value is computed with as VALUE(Ti): float for f32, f16 and bf16; double; int for i8 … i32, u8 and bool; long.
 * f16 uses vload_half and vstore_half, which OpenCL 1.2 has on every device; bf16 is shifted, rounded to nearest even.
 * Vectors: LOADV(Ti, n, p, i) and SAVEV(Ti, n, p, i, v) move n elements (n = 2 4 8 16) from element i (any alignment) as VALUEV(Ti, n). */
