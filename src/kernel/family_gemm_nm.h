/* Products with N:M sparse weights, as a problem. SPDX-License-Identifier: Apache-2.0
 *
 * The problem is that of family_gemm.h, with B as cl/gemm_nm.cl says: values of f32, f16, bf16 or i8 in panels,
 * GEMM_B_PANEL of them from one panel to the next, and two more buffers: a scale for each column (whole panels;
 * where GEMM_BLOCK is not 0), and the places of the values. K is a multiple of GEMM_OF. */
#ifndef PARE_KERNEL_FAMILY_GEMM_NM_H
#define PARE_KERNEL_FAMILY_GEMM_NM_H

#include "kernel/family_gemm.h"

/* How a column lies: units of some groups, each of whole words of places. */
typedef struct pare__nm_units {
  int bits, word; /* of a place; places in a word */
  int64_t groups, words, count;
} pare__nm_units;
pare__nm_units pare__nm_units_of(int64_t k, int64_t keep, int64_t of);

enum { NM_BUFFER_SCALE = BLOCKS_BUFFER_SCALE, NM_BUFFER_PLACES = BLOCKS_BUFFER_ZERO };

extern const pare__family pare__family_gemm_nm;

/* Parts of the family: family_gemm_nm_cases.c. */
bool pare__nm_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out);
void pare__nm_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out);
void pare__nm_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data);
bool pare__nm_reference(const pare__problem *problem, void *const *data, double *const *expected,
                        double *const *tolerance);
void pare__nm_work(const pare__problem *problem, double *flops, double *bytes);
void pare__nm_describe(const pare__problem *problem, char *text, size_t capacity);
void pare__nm_shape_class(const pare__problem *problem, char *text, size_t capacity);
void pare__nm_deciding_class(const pare__problem *problem, char *text, size_t capacity);

#endif
