/* Products of few rows, which are divided among devices by columns: every kind of weights has one device's bits.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/gemm.h>
#include <pare/move.h>
#include <pare/sparse.h>
#include <stdlib.h>
#include <string.h>

#include "sched/multi.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

enum { MOST_ROWS = 5, PIECES = 5 };

typedef enum kind { PLAIN, TRANSPOSED, PACKED, INT8, QUANTIZED, INTEGER, INT4, INT4_ROUNDED, SPARSE, KINDS } kind;
typedef struct size {
  int64_t k, n;
} size;
static const size sizes[] = {{96, 160}, {64, 1000}, {256, 331}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static pare_tensor *values_in(pare_context *in, pare_dtype dtype, int rank, const int64_t *shape, const void *values) {
  pare_tensor *tensor;
  OK(pare_tensor_from(in, dtype, rank, shape, values, (size_t)count_of(rank, shape) * pare_dtype_bytes(dtype),
                      &tensor));
  return tensor;
}

static pare_tensor *floats_in(pare_context *in, int64_t rows, int64_t columns, uint32_t seed) {
  float *values = random_floats(rows * columns, seed);
  pare_tensor *tensor = values_in(in, PARE_F32, 2, (const int64_t[]){rows, columns}, values);
  free(values);
  return tensor;
}

/* Bytes below `most`, of type u8 or i8. */
static pare_tensor *bytes_in(pare_context *in, pare_dtype dtype, int64_t rows, int64_t columns, unsigned most,
                             uint32_t seed) {
  uint8_t *values = malloc((size_t)(rows * columns));
  ck_assert_ptr_nonnull(values);
  for (int64_t i = 0; i < rows * columns; i++) values[i] = (uint8_t)(next_random(&seed) % most);
  pare_tensor *tensor = values_in(in, dtype, 2, (const int64_t[]){rows, columns}, values);
  free(values);
  return tensor;
}

static pare_weights *sparse_in(pare_context *in, const size *s) {
  const pare_sparse_layout layout = {.dtype = PARE_F32, .keep = 2, .of = 4, .rows = s->n, .inputs = s->k};
  size_t values_bytes, indices_bytes;
  float *dense = random_floats(s->n * s->k, 5);
  pare_weights *weights;
  for (int64_t i = 0; i < s->n * s->k; i++)
    if (i % 4 == i / 4 % 4 || i % 4 == (i / 4 + 1) % 4) dense[i] = 0;
  OK(pare_sparse_sizes(&layout, &values_bytes, &indices_bytes));
  void *values = malloc(values_bytes);
  uint8_t *indices = malloc(indices_bytes);
  OK(pare_sparse_encode(&layout, dense, values, indices));
  OK(pare_weights_pack_sparse(in, &layout, values, indices, NULL, &weights));
  free(dense);
  free(values);
  free(indices);
  return weights;
}

static pare_weights *weights_in(pare_context *in, kind which, const size *s) {
  pare_weights *weights;
  pare_tensor *b = NULL, *scale = NULL, *zero = NULL;
  if (which == SPARSE) return sparse_in(in, s);
  if (which == PACKED) {
    b = floats_in(in, s->k, s->n, 2);
    OK(pare_weights_pack(b, false, &weights));
  } else if (which == INT4 || which == INT4_ROUNDED) {
    const pare_blocks_options options = PARE_BLOCKS_OPTIONS_INIT;
    b = bytes_in(in, PARE_U8, s->k, s->n, 16, 2);
    scale = floats_in(in, (s->k + 31) / 32, s->n, 3);
    zero = bytes_in(in, PARE_U8, (s->k + 31) / 32, s->n, 16, 4);
    OK(pare_weights_pack_blocks(b, scale, zero, &options, &weights));
  } else {
    b = bytes_in(in, PARE_I8, s->k, s->n, 256, 2);
    scale = floats_in(in, 1, s->n, 3);
    OK(pare_weights_pack_int8(b, false, which == INTEGER ? NULL : scale, &weights));
  }
  pare_tensor_close(b);
  pare_tensor_close(scale);
  pare_tensor_close(zero);
  return weights;
}

/* What a product is of. */
typedef struct operands {
  pare_tensor *a, *b, *bias, *bytes, *a_scale, *zero, *c;
  pare_weights *weights;
} operands;

static operands operands_in(pare_context *in, kind which, const size *s, int64_t rows) {
  operands o = {.a = floats_in(in, rows, s->k, 1),
                .bytes = bytes_in(in, PARE_U8, rows, s->k, 256, 6),
                .a_scale = floats_in(in, 1, 1, 7),
                .zero = bytes_in(in, PARE_U8, 1, 1, 200, 8)};
  float *bias = random_floats(s->n, 9);
  if (which <= TRANSPOSED) o.b = which == PLAIN ? floats_in(in, s->k, s->n, 2) : floats_in(in, s->n, s->k, 2);
  if (which > TRANSPOSED) o.weights = weights_in(in, which, s);
  o.bias = values_in(in, PARE_F32, 1, (const int64_t[]){s->n}, bias);
  if (which == INTEGER)
    OK(pare_tensor_create(in, PARE_I32, 2, (const int64_t[]){rows, s->n}, &o.c));
  else
    o.c = floats_in(in, rows, s->n, 10);
  free(bias);
  return o;
}

static void operands_close(operands *o) {
  pare_tensor *const all[] = {o->a, o->b, o->bias, o->bytes, o->a_scale, o->zero, o->c};
  for (size_t i = 0; i < PARE__COUNT(all); i++) pare_tensor_close(all[i]);
  pare_weights_close(o->weights);
}

/* C = relu(A B + bias + C / 2), as far as the kind of weights has that. */
static void multiply(kind which, operands *o) {
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.activation = PARE_ACTIVATION_RELU;
  options.beta = 0.5;
  options.transpose_b = which == TRANSPOSED;
  switch (which) {
  case PLAIN:
  case TRANSPOSED: OK(pare_gemm(o->a, o->b, o->bias, &options, o->c)); return;
  case PACKED:
  case INT4:
  case SPARSE: OK(pare_gemm_packed(o->a, o->weights, o->bias, &options, o->c)); return;
  case INT8:
  case INT4_ROUNDED: OK(pare_gemm_int8(o->a, o->weights, o->bias, &options, o->c)); return;
  case QUANTIZED: OK(pare_gemm_quantized(o->bytes, o->a_scale, o->zero, o->weights, o->bias, &options, o->c)); return;
  default: OK(pare_gemm_integer(o->bytes, o->zero, o->weights, o->c)); return;
  }
}

static void *product_of(pare_context *in, kind which, const size *s, int64_t rows, bool divided) {
  const size_t nbytes = (size_t)(rows * s->n) * sizeof(float);
  operands o = operands_in(in, which, s, rows);
  void *out = malloc(nbytes);
  pare_schedule_stats before, after;
  OK(pare_context_wait(in));
  if (divided) OK(pare_context_stats(in, &before));
  multiply(which, &o);
  OK(pare_tensor_read(o.c, out, nbytes));
  if (divided) {
    OK(pare_context_wait(in));
    OK(pare_context_stats(in, &after));
    for (size_t i = 0; i < 2; i++)
      ck_assert_msg(after.device[i].pieces > before.device[i].pieces, "kind %d: device %zu had nothing", which, i);
    pare_schedule_stats_close(&before);
    pare_schedule_stats_close(&after);
  }
  operands_close(&o);
  return out;
}

START_TEST(few_rows_are_divided_by_columns_with_the_same_bits) {
  const kind which = (kind)(_i % KINDS);
  const size *s = &sizes[_i / KINDS];
  for (int64_t rows = 1; rows <= MOST_ROWS; rows++) {
    open_context();
    void *want = product_of(context, which, s, rows, false);
    close_context();
    for (int apart = 0; apart <= 1; apart++) {
      open_several("round-robin");
      pare__multi_apart(several, apart);
      pare__context_split(several, PIECES);
      void *got = product_of(several, which, s, rows, true);
      close_several();
      ck_assert_msg(memcmp(want, got, (size_t)(rows * s->n) * sizeof(float)) == 0, "kind %d, %d rows: other bits",
                    which, (int)rows);
      free(got);
    }
    free(want);
  }
}
END_TEST

/* As tasks are recorded: each piece reads its own part of B. */
START_TEST(each_piece_reads_its_columns_of_b) {
  for (int which = PLAIN; which < KINDS; which++) {
    operands o = operands_in(open_several("round-robin"), (kind)which, &sizes[0], 1);
    pare__recording *recording;
    OK(pare_context_wait(several));
    OK(pare__recording_begin(&recording));
    multiply((kind)which, &o);
    pare__recording_end(recording);
    const pare__task *task = pare__recording_task(recording, pare__recording_tasks(recording) - 1);
    ck_assert_msg(task->n > 1, "kind %d is in one piece", which);
    ck_assert_int_eq(task->access[0].axis, PARE__WHOLE);
    ck_assert_int_ne(task->access[1].axis, PARE__WHOLE);
    pare__recording_close(recording);
    operands_close(&o);
    close_several();
  }
}
END_TEST

int main(void) {
  if (!can_be_halved()) return 77;
  TCase *tests = tcase_create("columns");
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, few_rows_are_divided_by_columns_with_the_same_bits, 0, KINDS * SIZES);
  tcase_add_test(tests, each_piece_reads_its_columns_of_b);
  return run_tests("columns", tests);
}
