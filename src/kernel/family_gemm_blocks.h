/* Products with weights quantised in blocks, as a problem. SPDX-License-Identifier: Apache-2.0
 *
 * The problem is that of family_gemm.h, with B as cl/gemm_blocks.cl says: ints in panels, GEMM_B_PANEL ints from one to
 * the next, and two more buffers, the scales and the zero points of the blocks. With GEMM_ROUND, A is rounded to 8
 * bits, each row a block at a time: a_scale = max |A| / 127, a = round(A / a_scale), ties to even. */
#ifndef PARE_KERNEL_FAMILY_GEMM_BLOCKS_H
#define PARE_KERNEL_FAMILY_GEMM_BLOCKS_H

#include "kernel/family_gemm.h"

/* Ints of a column of B: each block begins with a whole one. */
int64_t pare__blocks_words(int64_t k, int64_t block, int64_t bits);

/* Packing: values of `bits` bits (2, 4 or 8) anywhere in bytes, strides in values, into panels of TO_BITS. What lies
 * past a block, k or n is zero. Values are turned by xor with FLIP. Buffers: B (u8), panels (i32). */
enum {
  BLOCKS_PACK_K,
  BLOCKS_PACK_N,
  BLOCKS_PACK_PANEL,
  BLOCKS_PACK_BLOCK,
  BLOCKS_PACK_BITS,
  BLOCKS_PACK_FLIP,
  BLOCKS_PACK_ROW,
  BLOCKS_PACK_COL,
  BLOCKS_PACK_TO_BITS
};
enum { BLOCKS_PACK_BUFFER_B, BLOCKS_PACK_BUFFER_PANELS, BLOCKS_PACK_NBUFFERS };

extern const pare__family pare__family_gemm_blocks, pare__family_gemm_blocks_pack;

/* Parts of the family gemm_blocks: family_gemm_blocks_cases.c. */
bool pare__blocks_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out);
void pare__blocks_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out);
void pare__blocks_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data);
bool pare__blocks_reference(const pare__problem *problem, void *const *data, double *const *expected,
                            double *const *tolerance);
void pare__blocks_work(const pare__problem *problem, double *flops, double *bytes);
void pare__blocks_describe(const pare__problem *problem, char *text, size_t capacity);
void pare__blocks_shape_class(const pare__problem *problem, char *text, size_t capacity);
void pare__blocks_deciding_class(const pare__problem *problem, char *text, size_t capacity);

#endif
