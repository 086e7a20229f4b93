/* Matrix products as a problem: shared by the families gemm and gemv, and by their operations.
 * SPDX-License-Identifier: Apache-2.0
 *
 * C[b][i][j] = activation(alpha * sum over l of A[b][i][l] * B[b][l][j] + beta * D[b][i][j] + bias[i][j])
 *
 * Buffers: A, B, bias (optional), C, and the summand D (optional; it has the strides and dtype of C, which is read in
 * its place where it is left out). Every operand has a stride for each of three batch dimensions (0 = the same for
 * all), for its rows and for its columns. With GEMM_PANEL > 0, B is in panels: element (l, j) is panel j / GEMM_PANEL,
 * row l of it, column j % GEMM_PANEL; GEMM_B_ROW is then GEMM_PANEL, GEMM_B_COL is 1 and GEMM_B_PANEL the elements from
 * one panel to the next. real: alpha, beta, and the ends of clip. mode: pare__gemm_mode of the whole. Products of f16
 * and bf16 accumulate in f32. */
#ifndef PARE_KERNEL_FAMILY_GEMM_H
#define PARE_KERNEL_FAMILY_GEMM_H

#include "kernel/kernel.h"

enum {
  GEMM_M,
  GEMM_N,
  GEMM_K,
  GEMM_BATCH0,
  GEMM_BATCH1,
  GEMM_BATCH2,
  GEMM_A_BATCH0,
  GEMM_A_BATCH1,
  GEMM_A_BATCH2,
  GEMM_A_ROW,
  GEMM_A_COL,
  GEMM_B_BATCH0,
  GEMM_B_BATCH1,
  GEMM_B_BATCH2,
  GEMM_B_ROW,
  GEMM_B_COL,
  GEMM_B_PANEL,
  GEMM_PANEL,
  GEMM_C_BATCH0,
  GEMM_C_BATCH1,
  GEMM_C_BATCH2,
  GEMM_C_ROW,
  GEMM_C_COL,
  GEMM_BIAS, /* 0: none */
  GEMM_BIAS_ROW,
  GEMM_BIAS_COL,
  GEMM_ACTIVATION,
  GEMM_SUMMAND, /* 0: beta is of C itself */
  /* of the family gemm_blocks; 0 in others */
  GEMM_BITS,  /* of a value of B in its panels: 4 or 8 */
  GEMM_BLOCK, /* steps of k that share a scale */
  GEMM_ZEROS, /* the zero points have a buffer */
  GEMM_SHIFT, /* what is added to each of them */
  GEMM_ROUND, /* A is rounded to 8 bits */
  /* of the family gemm_nm; 0 in others. Its places are where gemm_blocks has zero points. */
  GEMM_KEEP, /* values of B that a column has for each GEMM_OF steps of k */
  GEMM_OF,
  GEMM_NDIMS
};
enum { GEMM_ALPHA, GEMM_BETA, GEMM_LOW, GEMM_HIGH };
enum { GEMM_BUFFER_A, GEMM_BUFFER_B, GEMM_BUFFER_BIAS, GEMM_BUFFER_C, GEMM_BUFFER_SUMMAND, GEMM_NBUFFERS };
/* gemm_blocks has two more. */
enum { BLOCKS_BUFFER_SCALE = GEMM_NBUFFERS, BLOCKS_BUFFER_ZERO, BLOCKS_NBUFFERS };

/* How the operands lie: each is a path through the kernels of its own, trusted by itself. */
enum {
  GEMM_GENERAL = 0,
  GEMM_A_ROWS = 1 /* rows of A are f32 and contiguous */,
  GEMM_B_PANELS = 2,
  GEMM_B_ROWS = 4 /* few rows, B used directly */
};
int pare__gemm_mode(const pare__problem *problem);
/* The same for the family gemv: which way B is read. */
enum { GEMV_COLUMNS, GEMV_DOTS, GEMV_PANELS };
#define GEMV_MOST_ROWS 4
int pare__gemv_mode(const pare__problem *problem);
/* Rows of the class that decides what bits depend on: many, but for the few that have kernels of their own. */
static inline int64_t pare__gemm_deciding_rows(const pare__problem *problem) {
  return problem->dim[GEMM_M] > GEMV_MOST_ROWS ? INT64_MAX : problem->dim[GEMM_M];
}
/* Parameters of gemm_wide.cl and gemm_tile.cl that no bit depends on: all but KC; all. */
enum { GEMM_WIDE_NEUTRAL = 3, GEMM_TILE_NEUTRAL = 31 };

/* Columns of a panel of packed B that the device's best kernels want. */
int64_t pare__gemm_panel(const pare_device_info *info);

extern const pare__family pare__family_gemm, pare__family_gemv;

/* Parts of the families gemm and gemv. */
void pare__gemm_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out);
bool pare__gemm_reference(const pare__problem *problem, void *const *data, double *const *expected,
                          double *const *tolerance);
void pare__gemm_work(const pare__problem *problem, double *flops, double *bytes);
void pare__gemm_describe(const pare__problem *problem, char *text, size_t capacity);
void pare__gemm_shape_class(const pare__problem *problem, char *text, size_t capacity);
void pare__gemm_deciding_class(const pare__problem *problem, char *text, size_t capacity);

/* One line of a set of problems. Strides follow from it: row-major, `padding` elements after each row. */
typedef struct pare__gemm_case {
  int64_t batch0, batch1, m, n, k;
  bool a_transposed, b_transposed, packed;
  int bias; /* 0 none, 1 a row vector, 2 a column vector */
  int activation;
  double alpha, beta;
  pare_dtype a, b, c;
  int64_t padding;
  bool broadcast_b; /* one B for all of batch 0 */
} pare__gemm_case;
void pare__gemm_problem(const pare_device_info *info, const pare__gemm_case *from, pare__problem *out);

/* The arguments that all kernels share, A to C or to the column stride of C; the third batch dimension is taken by the
 * caller. */
void pare__gemm_args_operands(pare__args *args, const pare__run *run, int64_t batch0, bool panel_width, bool c_col);
/* Calls `launch` once for each index of the outermost batch dimension; nothing to do if C is empty. */
pare_status pare__gemm_each_batch(const pare__run *run, pare_status (*launch)(const pare__run *run, int64_t batch0));

bool pare__gemm_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out);
/* For kernels that take any strides: all arguments up to the activation, in the precision that they compute in. */
void pare__gemm_args_any_strides(pare__args *args, const pare__run *run, int64_t batch0);
bool pare__gemm_plain_accepts(const pare_device_info *info, const pare__problem *whole);
pare_status pare__gemm_plain_launch(const pare__run *run);
/* All operands f64 or none; sizes that fit an int. */
bool pare__gemm_accepts(const pare__problem *whole);
/* Launches that the family gemm_blocks shares, which adds the arguments of its blocks. */
enum { GEMM_TILE_LOCAL_BYTES = 16384 };
bool pare__gemm_tile_accepts(const pare_device_info *info, const pare__problem *whole);
extern const pare__param pare__gemm_tile_params[];
void pare__gemm_tile_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning);
pare_status pare__gemm_tile_launch(const pare__run *run);
extern const pare__param pare__gemv_group_params[];
enum { GEMV_GROUP_LOCAL_BYTES = 16384 };
bool pare__gemv_group_accepts(const pare_device_info *info, const pare__problem *whole);
pare_status pare__gemv_group_launch(const pare__run *run);
/* Scale, zero point and block, if B has blocks or is N:M sparse: always the last arguments. */
void pare__gemm_args_blocks(pare__args *args, const pare__run *run);
/* How B is packed, as -D; returns text. */
const char *pare__gemm_packed_options(const pare__problem *whole, char *text, size_t capacity);

/* The variant for CPU devices: family_gemm_wide.c. */
extern const pare__param pare__gemm_wide_params[];
void pare__gemm_wide_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning);
enum { GEMM_WIDE_LOCAL_BYTES = 131072 };
bool pare__gemm_wide_accepts(const pare_device_info *info, const pare__problem *whole);
pare_status pare__gemm_wide_launch(const pare__run *run);

#endif
