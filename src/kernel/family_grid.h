/* Quantisation grids of weights as problems: three families. SPDX-License-Identifier: Apache-2.0
 *
 * grid: x [ROWS][LENGTH] in groups of PART, the last of a row shorter; scale and zero [ROWS][groups]. By mode ENCODE (x
 * to scale, zero and codes), RANGE (x to scale and zero), FROM_RANGE (low, high of each group, ROWS * groups of them,
 * to scale and zero), QUANTISE (x, scale, zero to codes), DEQUANTISE. Codes are u8 or i8 [ROWS][LENGTH], or packed, two
 * of 4 bits a byte (LENGTH even if there is more than one row, PART even if there is more than one group). zero is
 * absent if symmetric. grid_fit: x, importance f32 (optional; IMPORTANCE_STRIDE 0: one row for all) to scale and zero
 * of least squared error. codes_pack: codes [ROWS][LENGTH] to packed [ROWS][PACKED_LENGTH], u8 or i32; mode CODES_BACK:
 * from it. */
#ifndef PARE_KERNEL_FAMILY_GRID_H
#define PARE_KERNEL_FAMILY_GRID_H

#include "kernel/kernel.h"

/* problem.mode of grid and grid_fit: a step and flags */
enum { CODING_ENCODE, CODING_RANGE, CODING_FROM_RANGE, CODING_QUANTISE, CODING_DEQUANTISE, CODING_STEP = 7 };
enum { CODING_SYMMETRIC = 8, CODING_FULL_RANGE = 16, CODING_SIGNED = 32, CODING_PACKED = 64, CODING_EXACT = 128 };
enum { CODING_ROWS, CODING_LENGTH, CODING_PART, CODING_BITS, CODING_IMPORTANCE, CODING_IMPORTANCE_STRIDE };
enum { CODING_BUFFER_X, CODING_BUFFER_SCALE, CODING_BUFFER_ZERO, CODING_BUFFER_OUT, CODING_NBUFFERS };
#define CODING_BUFFER_IMPORTANCE CODING_BUFFER_OUT

enum { CODES_FORTH, CODES_BACK };
enum { CODES_ROWS, CODES_LENGTH, CODES_PACKED_LENGTH, CODES_BITS };
enum { CODES_BUFFER_CODES, CODES_BUFFER_PACKED, CODES_NBUFFERS };

extern const pare__family pare__family_grid, pare__family_grid_fit, pare__family_codes_pack;

/* Groups of a row. */
int64_t pare__grid_parts(const pare__problem *problem);
/* References, in doubles: scale and zero point of a range that holds zero; a code less the zero point. */
double pare__grid_reference_scale(const pare__problem *problem, double low, double high, double *zero);
double pare__grid_reference_steps(const pare__problem *problem, double x, double scale, double zero);

#endif
