/* A matrix product as tasks: its problem, its codelet, and how it is cut. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernel/family_gemm_blocks.h"
#include "kernel/family_gemm_nm.h"
#include "op/gemm.h"

enum { ACCESS_A, ACCESS_B, ACCESS_BIAS, ACCESS_C, ACCESS_SUMMAND, ACCESS_SCALE, ACCESS_ZERO, NACCESSES };

typedef struct product_params {
  pare__problem whole; /* as it is run: transposed if it is a column times a matrix */
  const pare__family *family;
  pare_gemm_options options;
  int64_t panel, n;
  pare__blocks blocks; /* without its tensors */
  bool transposed;
} product_params;

/* ---- shapes to a problem ---- */

typedef struct batch_dim {
  int64_t size, stride[3]; /* of A, B, C */
} batch_dim;

static int64_t stride_or_zero(const pare__shape *shape, int axis) {
  return shape->dim[axis] == 1 ? 0 : shape->stride[axis];
}

/* The batch dimensions, neighbours merged where all operands step evenly through both; returns how many are left. */
static int merge_batches(const pare__shape *const shape[3], batch_dim *out) {
  int count = 0;
  for (int d = 0; d < shape[2]->rank - 2; d++) {
    batch_dim next = {.size = shape[2]->dim[d]};
    if (next.size == 1) continue;
    for (int i = 0; i < 3; i++) next.stride[i] = stride_or_zero(shape[i], d);
    bool even = count > 0;
    for (int i = 0; even && i < 3; i++) even = out[count - 1].stride[i] == next.stride[i] * next.size;
    if (even) {
      next.size *= out[count - 1].size;
      count--;
    }
    out[count++] = next;
  }
  return count;
}

/* A batch whose B is the same for all is more rows, if the rows of A and C go on evenly. */
static void merge_rows(pare__problem *problem, batch_dim *batch, int *count) {
  int64_t *dim = problem->dim;
  while (*count > 0) {
    const batch_dim *last = &batch[*count - 1];
    if (last->stride[1] != 0 || dim[GEMM_BIAS_ROW] != 0 || last->stride[0] != dim[GEMM_A_ROW] * dim[GEMM_M] ||
        last->stride[2] != dim[GEMM_C_ROW] * dim[GEMM_M])
      return;
    dim[GEMM_M] *= last->size;
    --*count;
  }
}

/* Elements of B from one panel to the next. */
static int64_t panel_elements(const product_params *params, int64_t k) {
  const pare__blocks *blocks = &params->blocks;
  if (blocks->bits) return pare__blocks_words(k, blocks->size, blocks->bits) * params->panel;
  if (!blocks->of) return k * params->panel;
  const pare__nm_units units = pare__nm_units_of(k, blocks->keep, blocks->of);
  return units.count * units.groups * blocks->keep * params->panel;
}

/* Fills the problem from the shapes of the operands (of the whole, or of a piece); false if more than three batch
 * dimensions stay. */
static bool build_problem(const pare__shape *a, const pare__shape *b, const pare__shape *bias, const pare__shape *c,
                          const product_params *params, pare__problem *problem) {
  const int rank = c->rank, row = rank - 2, col = rank - 1;
  int64_t *dim = problem->dim;
  dim[GEMM_M] = c->dim[row];
  dim[GEMM_N] = c->dim[col];
  dim[GEMM_K] = a->dim[col];
  /* the strides of dimensions of 1 say nothing: they become those of a contiguous matrix */
  dim[GEMM_A_COL] = a->dim[col] <= 1 ? 1 : a->stride[col];
  dim[GEMM_A_ROW] = a->dim[row] <= 1 ? dim[GEMM_K] : a->stride[row];
  if (params->panel > 0) {
    dim[GEMM_PANEL] = dim[GEMM_B_ROW] = params->panel;
    dim[GEMM_B_COL] = 1;
    dim[GEMM_B_PANEL] = panel_elements(params, dim[GEMM_K]);
  } else {
    dim[GEMM_B_COL] = b->dim[col] <= 1 ? 1 : b->stride[col];
    dim[GEMM_B_ROW] = b->dim[row] <= 1 ? dim[GEMM_N] : b->stride[row];
  }
  dim[GEMM_C_COL] = c->dim[col] <= 1 ? 1 : c->stride[col];
  dim[GEMM_C_ROW] = c->dim[row] <= 1 ? dim[GEMM_N] : c->stride[row];
  dim[GEMM_BIAS] = bias != NULL;
  if (bias) {
    dim[GEMM_BIAS_ROW] = stride_or_zero(bias, 0);
    dim[GEMM_BIAS_COL] = stride_or_zero(bias, 1);
  }
  dim[GEMM_ACTIVATION] = params->options.activation;
  dim[GEMM_BITS] = params->blocks.bits;
  dim[GEMM_BLOCK] = params->blocks.size;
  dim[GEMM_SHIFT] = params->blocks.shift;
  dim[GEMM_ROUND] = params->blocks.round;
  dim[GEMM_KEEP] = params->blocks.keep;
  dim[GEMM_OF] = params->blocks.of;
  problem->real[GEMM_ALPHA] = params->options.alpha;
  problem->real[GEMM_BETA] = params->options.beta;
  problem->real[GEMM_LOW] = params->options.clip_low;
  problem->real[GEMM_HIGH] = params->options.clip_high;
  batch_dim batch[PARE_MAX_RANK];
  int count = merge_batches((const pare__shape *const[]){a, b, c}, batch);
  merge_rows(problem, batch, &count);
  for (int d = 0; d < 3; d++) {
    const int from = d - (3 - count);
    const bool there = from >= 0 && count <= 3;
    dim[GEMM_BATCH0 + d] = there ? batch[from].size : 1;
    dim[GEMM_A_BATCH0 + d] = there ? batch[from].stride[0] : 0;
    dim[GEMM_B_BATCH0 + d] = there ? batch[from].stride[1] : 0;
    dim[GEMM_C_BATCH0 + d] = there ? batch[from].stride[2] : 0;
  }
  return count <= 3;
}

static void swap(int64_t *a, int64_t *b) {
  const int64_t kept = *a;
  *a = *b;
  *b = kept;
}

/* C^T = B^T A^T: the operands A and B change places. */
static void transpose_problem(pare__problem *problem) {
  int64_t *dim = problem->dim;
  swap(&dim[GEMM_M], &dim[GEMM_N]);
  swap(&dim[GEMM_A_ROW], &dim[GEMM_B_COL]);
  swap(&dim[GEMM_A_COL], &dim[GEMM_B_ROW]);
  swap(&dim[GEMM_C_ROW], &dim[GEMM_C_COL]);
  swap(&dim[GEMM_BIAS_ROW], &dim[GEMM_BIAS_COL]);
  for (int d = 0; d < 3; d++) swap(&dim[GEMM_A_BATCH0 + d], &dim[GEMM_B_BATCH0 + d]);
  const pare_dtype dtype = problem->dtype[GEMM_BUFFER_A];
  problem->dtype[GEMM_BUFFER_A] = problem->dtype[GEMM_BUFFER_B];
  problem->dtype[GEMM_BUFFER_B] = dtype;
}

/* ---- the codelet ---- */

static pare_status run_product(const pare__piece *piece) {
  const product_params *params = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem problem;
  memset(&problem, 0, sizeof problem);
  pare__operand operand[BLOCKS_NBUFFERS];
  for (int i = 0; i < BLOCKS_NBUFFERS; i++) {
    operand[i] = (pare__operand){bound[i].mem, bound[i].offset};
    problem.dtype[i] = bound[i].mem ? bound[i].dtype : params->whole.dtype[i];
  }
  build_problem(&bound[ACCESS_A].shape, &bound[ACCESS_B].shape,
                bound[ACCESS_BIAS].mem ? &bound[ACCESS_BIAS].shape : NULL, &bound[ACCESS_C].shape, params, &problem);
  if (params->transposed) {
    transpose_problem(&problem);
    const pare__operand a = operand[GEMM_BUFFER_A];
    operand[GEMM_BUFFER_A] = operand[GEMM_BUFFER_B];
    operand[GEMM_BUFFER_B] = a;
  }
  problem.dim[GEMM_ZEROS] = params->whole.dim[GEMM_ZEROS];
  problem.dim[GEMM_SUMMAND] = params->whole.dim[GEMM_SUMMAND];
  problem.mode = params->whole.mode;
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, params->family, &params->whole, &choice));
  return pare__run_choice(piece->device, params->family, &choice, &params->whole, &problem, operand);
}

static const pare__codelet product_codelet = {"gemm", run_product};

static bool is_staged(const pare_tensor *tensor) { return tensor && !pare__tensor_on_device(tensor); }

/* The whole problem, what runs it, and whether its batch dimensions fit. */
static bool describe_whole(const pare__product *p, product_params *params) {
  memset(params, 0, sizeof *params);
  params->options = p->options;
  params->panel = p->panel;
  params->n = p->n;
  params->blocks = p->blocks;
  params->blocks.scale = params->blocks.zero = NULL;
  pare__problem *whole = &params->whole;
  whole->dtype[GEMM_BUFFER_A] = p->a->dtype;
  whole->dtype[GEMM_BUFFER_B] = p->b->dtype;
  whole->dtype[GEMM_BUFFER_BIAS] = p->bias ? p->bias->dtype : p->c->dtype;
  whole->dtype[GEMM_BUFFER_C] = whole->dtype[GEMM_BUFFER_SUMMAND] = p->c->dtype;
  const bool fits =
      build_problem(&p->a->shape, &p->b->shape, p->bias ? &p->bias->shape : NULL, &p->c->shape, params, whole);
  whole->dtype[BLOCKS_BUFFER_SCALE] = p->blocks.scale ? p->blocks.scale->dtype : p->c->dtype;
  whole->dtype[BLOCKS_BUFFER_ZERO] = p->blocks.zero ? p->blocks.zero->dtype : PARE_U8;
  whole->dim[GEMM_ZEROS] = p->blocks.zero != NULL;
  whole->dim[GEMM_SUMMAND] = p->summand != NULL;
  params->transposed = p->panel == 0 && whole->dim[GEMM_N] == 1 && whole->dim[GEMM_M] > 1;
  if (params->transposed) transpose_problem(whole);
  const bool few_rows = whole->dim[GEMM_M] <= GEMV_MOST_ROWS;
  const bool plain = !p->blocks.bits && !p->blocks.of;
  params->family = p->blocks.of     ? &pare__family_gemm_nm
                   : p->blocks.bits ? &pare__family_gemm_blocks
                   : few_rows       ? &pare__family_gemv
                                    : &pare__family_gemm;
  whole->mode = few_rows && plain ? pare__gemv_mode(whole) : pare__gemm_mode(whole);
  if (is_staged(p->a) || is_staged(p->b) || is_staged(p->bias) || is_staged(p->summand) || is_staged(p->c))
    whole->flags = PARE__IN_PIECES;
  return fits;
}

/* ---- cutting ---- */

pare_status pare__product_slice(pare_tensor *tensor, int axis, int64_t start, int64_t count, pare_tensor **out) {
  *out = NULL;
  if (!tensor) return PARE_OK;
  if (tensor->shape.dim[axis] == 1) {
    start = 0;
    count = 1;
  }
  return pare_tensor_slice(tensor, axis, start, count, 1, out);
}

/* Whether the variant that will run takes whole problems only. An error of the choice is left to the codelet. */
static bool runs_whole_only(const pare__product *p, const product_params *params) {
  pare__choice choice;
  return pare__choose(pare__context_device(p->c->context), params->family, &params->whole, &choice) == PARE_OK &&
         choice.variant->whole_only;
}

/* An access that steps through the columns of C with those of B, each with its parameters. */
static pare__access of_columns(pare_tensor *tensor, int axis, int64_t per_step) {
  const bool sliced = tensor && tensor->shape.dim[axis] != 1;
  return (pare__access){tensor, PARE__READ, sliced ? axis : PARE__WHOLE, per_step};
}

static pare__access of_panels(pare_tensor *tensor) {
  return of_columns(tensor, tensor ? tensor->shape.rank - 3 : 0, 1);
}

/* What pieces see of the operands; all of them where the product is not split. */
static void find_accesses(const pare__product *p, pare__product_split *split, bool whole, pare__access *access) {
  const int rows = split->c.shape.rank - 2, axis = whole ? PARE__WHOLE : split->axis;
  const pare__mode writes = p->options.beta != 0 && !p->summand ? PARE__READ_WRITE : PARE__WRITE;
  const bool by_rows = axis == rows, by_columns = axis > rows;
  access[ACCESS_A] = (pare__access){&split->a, PARE__READ, axis, 1};
  access[ACCESS_B] = (pare__access){&split->b, PARE__READ, axis, 1};
  access[ACCESS_BIAS] = (pare__access){p->bias, PARE__READ, by_rows && split->bias_rows ? 0 : PARE__WHOLE, 1};
  access[ACCESS_C] = (pare__access){&split->c, writes, axis, split->per_step};
  access[ACCESS_SUMMAND] = (pare__access){p->summand ? &split->summand : NULL, PARE__READ, axis, split->per_step};
  access[ACCESS_SCALE] = (pare__access){p->blocks.scale, PARE__READ, PARE__WHOLE, 1};
  access[ACCESS_ZERO] = (pare__access){p->blocks.zero, PARE__READ, PARE__WHOLE, 1};
  if (by_columns) {
    access[ACCESS_A].axis = PARE__WHOLE;
    access[ACCESS_B] = p->panel > 0 ? of_panels(&split->b) : of_columns(&split->b, axis, split->per_step);
    access[ACCESS_BIAS] = of_columns(p->bias, 1, split->per_step);
    access[ACCESS_SCALE] = of_panels(p->blocks.scale);
    access[ACCESS_ZERO] = of_panels(p->blocks.zero);
  } else if (axis != PARE__WHOLE) { /* dimensions of 1 are the same for all */
    if (split->a.shape.dim[axis] == 1 && split->c.shape.dim[axis] != 1) access[ACCESS_A].axis = PARE__WHOLE;
    if (by_rows || split->b.shape.dim[axis] == 1) access[ACCESS_B].axis = PARE__WHOLE;
  }
}

static pare_status submit_task(const pare__product *p, const product_params *params) {
  pare__product_split split;
  pare__product_split_of(p, pare__context_members(p->c->context), &split);
  const bool empty = pare__shape_elements(&split.c.shape) == 0, whole = !empty && runs_whole_only(p, params);
  pare__task task = {.codelet = &product_codelet,
                     .context = p->c->context,
                     .params = params,
                     .params_bytes = sizeof *params,
                     .n = empty   ? 0
                          : whole ? 1
                                  : split.steps,
                     .naccesses = NACCESSES,
                     .in_place = p->summand ? 1U << ACCESS_SUMMAND : 0};
  find_accesses(p, &split, whole, task.access);
  return pare__submit(&task);
}

static pare_status submit_cut(const pare__product *p, const product_params *params);

/* The product of one index of a batch dimension, or of a block of columns. */
static pare_status submit_part(const pare__product *p, const product_params *params, int axis, int64_t start,
                               int64_t count) {
  const bool columns = axis == p->c->shape.rank - 1;
  pare__product part = {.panel = p->panel, .n = columns ? count : p->n, .blocks = p->blocks, .options = p->options};
  product_params anew;
  pare_status status = columns ? PARE_OK : pare__product_slice(p->a, axis, start, count, &part.a);
  if (status == PARE_OK) status = pare__product_slice(p->b, axis, start, count, &part.b);
  if (status == PARE_OK) status = pare__product_slice(p->c, axis, start, count, &part.c);
  if (status == PARE_OK) status = pare__product_slice(p->summand, axis, start, count, &part.summand);
  if (status == PARE_OK && p->bias)
    status = columns ? pare__product_slice(p->bias, 1, start, count, &part.bias)
                     : pare_tensor_slice(p->bias, 0, 0, p->bias->shape.dim[0], 1, &part.bias);
  pare_tensor *const a = part.a;
  if (columns) part.a = p->a;
  if (status == PARE_OK && !params) /* too many batch dimensions for one problem: each part is a whole of its own */
    status = describe_whole(&part, &anew) ? submit_cut(&part, &anew) : submit_cut(&part, NULL);
  else if (status == PARE_OK)
    status = submit_cut(&part, params);
  pare_tensor_close(a);
  pare_tensor_close(part.b);
  pare_tensor_close(part.bias);
  pare_tensor_close(part.summand);
  pare_tensor_close(part.c);
  return status;
}

static int64_t view_bytes(const pare_tensor *tensor) {
  return pare__shape_elements(&tensor->shape) * (int64_t)pare_dtype_bytes(tensor->dtype);
}

/* Columns of a block of B that one launch may hold; 0: all. */
static int64_t columns_of_block(const pare__product *p) {
  const int64_t multiple = 64, most_bytes = (int64_t)256 << 20;
  const int64_t limit =
      PARE__MIN(most_bytes, (int64_t)pare__device_info(pare__context_device(p->c->context))->max_buffer_bytes);
  if (p->panel > 0 || !is_staged(p->b) || view_bytes(p->b) <= limit) return 0;
  const int64_t column_bytes = view_bytes(p->b) / p->n;
  return PARE__MAX(limit / column_bytes / multiple, 1) * multiple;
}

/* Where nothing must be cut, one task. Else batch by batch, and B by blocks of columns; the executor cuts the rows. */
static pare_status submit_cut(const pare__product *p, const product_params *params) {
  const pare__shape *c = &p->c->shape;
  if (pare__shape_elements(c) == 0) return PARE_OK;
  const bool staged = is_staged(p->a) || is_staged(p->b) || is_staged(p->summand) || is_staged(p->c);
  if (params && !staged) return submit_task(p, params);
  for (int axis = 0; axis < c->rank - 2; axis++) {
    if (c->dim[axis] == 1) continue;
    for (int64_t i = 0; i < c->dim[axis]; i++) PARE__TRY(submit_part(p, params, axis, i, 1));
    return PARE_OK;
  }
  const int64_t block = columns_of_block(p);
  if (block == 0) return submit_task(p, params);
  for (int64_t j = 0; j < p->n; j += block)
    PARE__TRY(submit_part(p, params, c->rank - 1, j, PARE__MIN(block, p->n - j)));
  return PARE_OK;
}

pare_status pare__product_submit(const pare__product *product) {
  product_params params;
  const bool fits = describe_whole(product, &params);
  return submit_cut(product, fits ? &params : NULL);
}
