/* Gather, scatter, pad and tile: against plain loops, by pieces, with bad input. SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <pare/index.h>

#include "sched/sched.h"

#define OK(call) ck_assert_msg((call) == PARE_OK, "%s", pare_message())
#define FAILS(status, text, call)                                                            \
  do {                                                                                       \
    ck_assert_int_eq((call), status);                                                        \
    ck_assert_msg(strstr(pare_message(), text), "'%s' is not in: %s", text, pare_message()); \
  } while (0)
#define SHAPE(...) \
  (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }
enum { MAX = 4096 };

static pare_context *context;
static void setup(void) { OK(pare_context_open(NULL, &context)); }
static void teardown(void) { pare_context_close(context); }

static int64_t count_of(int rank, const int64_t *shape) {
  int64_t n = 1;
  for (int d = 0; d < rank; d++) n *= shape[d];
  return n;
}

/* Elements first, first + step, … */
static pare_tensor *counted(pare_dtype dtype, int first, int step, int rank, const int64_t *shape) {
  char data[MAX * 8];
  int64_t n = count_of(rank, shape);
  ck_assert_int_le(n, MAX);
  for (int64_t i = 0; i < n; i++) {
    int64_t value = first + i * step;
    if (dtype == PARE_F32)
      ((float *)(void *)data)[i] = (float)value;
    else
      memcpy(data + (size_t)i * pare_dtype_bytes(dtype), &value, pare_dtype_bytes(dtype));
  }
  pare_tensor *tensor;
  OK(pare_tensor_from(context, dtype, rank, shape, data, (size_t)n * pare_dtype_bytes(dtype), &tensor));
  return tensor;
}

static pare_tensor *indices_of(const int64_t *data, int rank, const int64_t *shape) {
  pare_tensor *tensor;
  OK(pare_tensor_from(context, PARE_I64, rank, shape, data, (size_t)count_of(rank, shape) * 8, &tensor));
  return tensor;
}
#define INDICES(...) ((const int64_t[]){__VA_ARGS__})

static pare_tensor *empty(pare_dtype dtype, int rank, const int64_t *shape) {
  pare_tensor *tensor;
  OK(pare_tensor_create(context, dtype, rank, shape, &tensor));
  return tensor;
}

static void expect(pare_tensor *tensor, const int32_t *want) {
  int32_t got[MAX];
  int64_t n = pare_tensor_elements(tensor);
  OK(pare_tensor_read(tensor, got, (size_t)n * sizeof *got));
  for (int64_t i = 0; i < n; i++) ck_assert_msg(got[i] == want[i], "element %d: %d, not %d", (int)i, got[i], want[i]);
}
#define EXPECT(tensor, ...) expect(tensor, (const int32_t[]){__VA_ARGS__})

static void close_all(pare_tensor **tensors, int n) {
  for (int i = 0; i < n; i++) pare_tensor_close(tensors[i]);
}
#define CLOSE(...) \
  close_all((pare_tensor *[]){__VA_ARGS__}, (int)(sizeof((pare_tensor *[]){__VA_ARGS__}) / sizeof(pare_tensor *)))

START_TEST(gather_takes_rows_and_columns) {
  pare_tensor *data = counted(PARE_I32, 0, 1, SHAPE(3, 4)), *index = indices_of(INDICES(2, -3, 2), SHAPE(3));
  pare_tensor *rows = empty(PARE_I32, SHAPE(3, 4)), *columns = empty(PARE_I32, SHAPE(3, 3));
  OK(pare_gather(data, index, 0, rows));
  EXPECT(rows, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11);
  OK(pare_gather(data, index, -1, columns));
  EXPECT(columns, 2, 1, 2, 6, 5, 6, 10, 9, 10);
  pare_tensor *scalar = indices_of(INDICES(-1), 0, NULL), *row = empty(PARE_I32, SHAPE(4)), *turned,
              *column = empty(PARE_I32, SHAPE(3));
  OK(pare_gather(data, scalar, 0, row));
  EXPECT(row, 8, 9, 10, 11);
  OK(pare_tensor_permute(data, (const int[]){1, 0}, &turned));
  OK(pare_gather(turned, scalar, 0, column));
  EXPECT(column, 3, 7, 11);
  CLOSE(data, index, rows, columns, scalar, row, turned, column);
}
END_TEST

START_TEST(gather_elements_takes_shorter_indices) {
  pare_tensor *data = counted(PARE_I32, 0, 1, SHAPE(3, 4)), *index = indices_of(INDICES(3, 0, -1, 1), SHAPE(2, 2));
  pare_tensor *out = empty(PARE_I32, SHAPE(2, 2));
  OK(pare_gather_elements(data, index, 1, out));
  EXPECT(out, 3, 0, 7, 5);
  pare_tensor *down = indices_of(INDICES(2, 0, -1, 1), SHAPE(2, 2));
  OK(pare_gather_elements(data, down, 0, out));
  EXPECT(out, 8, 1, 8, 5);
  CLOSE(data, index, out, down);
}
END_TEST

START_TEST(gather_nd_takes_tuples_and_batches) {
  pare_tensor *data = counted(PARE_I32, 0, 1, SHAPE(2, 3, 2)), *tuples = indices_of(INDICES(1, 2, 0, -3), SHAPE(2, 2));
  pare_tensor *out = empty(PARE_I32, SHAPE(2, 2));
  OK(pare_gather_nd(data, tuples, 0, out));
  EXPECT(out, 10, 11, 0, 1);
  pare_tensor *batched = indices_of(INDICES(2, 1), SHAPE(2, 1)), *full = indices_of(INDICES(1, 1, 1), SHAPE(3)),
              *one = empty(PARE_I32, 0, NULL);
  OK(pare_gather_nd(data, batched, 1, out));
  EXPECT(out, 4, 5, 8, 9);
  OK(pare_gather_nd(data, full, 0, one));
  EXPECT(one, 9);
  CLOSE(data, tuples, out, batched, full, one);
}
END_TEST

START_TEST(scatter_elements_applies_duplicates_in_order) {
  pare_tensor *data = counted(PARE_I32, 0, 1, SHAPE(2, 4)),
              *index = indices_of(INDICES(1, -3, 1, 0, 0, 3), SHAPE(2, 3));
  pare_tensor *updates = counted(PARE_I32, 10, 1, SHAPE(2, 3)), *out = empty(PARE_I32, SHAPE(2, 4));
  OK(pare_scatter_elements(data, index, updates, 1, PARE_SCATTER_NONE, out));
  EXPECT(out, 0, 12, 2, 3, 14, 5, 6, 15);
  OK(pare_scatter_elements(data, index, updates, 1, PARE_SCATTER_ADD, out));
  EXPECT(out, 0, 34, 2, 3, 31, 5, 6, 22);
  OK(pare_scatter_elements(data, index, updates, 1, PARE_SCATTER_MUL, out));
  EXPECT(out, 0, 1320, 2, 3, 728, 5, 6, 105);
  OK(pare_scatter_elements(data, index, updates, 1, PARE_SCATTER_MIN, out));
  EXPECT(out, 0, 1, 2, 3, 4, 5, 6, 7);
  OK(pare_scatter_elements(data, index, updates, 1, PARE_SCATTER_MAX, data));
  EXPECT(data, 0, 12, 2, 3, 14, 5, 6, 15);
  CLOSE(data, index, updates, out);
}
END_TEST

START_TEST(scatter_nd_updates_slices) {
  pare_tensor *data = counted(PARE_I32, 0, 1, SHAPE(3, 2)), *index = indices_of(INDICES(2, 0, -1), SHAPE(3, 1));
  pare_tensor *updates = counted(PARE_I32, 10, 1, SHAPE(3, 2)), *out = empty(PARE_I32, SHAPE(3, 2)), *turned;
  OK(pare_scatter_nd(data, index, updates, PARE_SCATTER_NONE, out));
  EXPECT(out, 12, 13, 2, 3, 14, 15);
  OK(pare_scatter_nd(data, index, data, PARE_SCATTER_ADD, data)); /* updates in the output's memory */
  EXPECT(data, 2, 4, 2, 3, 8, 11);
  pare_tensor *wide = empty(PARE_I32, SHAPE(2, 3));
  OK(pare_tensor_permute(wide, (const int[]){1, 0}, &turned)); /* a strided output */
  OK(pare_scatter_nd(out, index, updates, PARE_SCATTER_ADD, turned));
  EXPECT(turned, 24, 26, 2, 3, 38, 41);
  CLOSE(data, index, updates, out, wide, turned);
}
END_TEST

START_TEST(nan_stays_and_bool_is_or) {
  const float values[] = {NAN, 1, 2}, updates[] = {0, NAN, 1};
  const uint8_t yes[] = {1, 0, 0}, more[] = {1, 1, 0};
  pare_tensor *data, *update, *flags, *change, *index = indices_of(INDICES(0, 1, 2), SHAPE(3));
  OK(pare_tensor_from(context, PARE_F32, SHAPE(3), values, sizeof values, &data));
  OK(pare_tensor_from(context, PARE_F32, SHAPE(3), updates, sizeof updates, &update));
  OK(pare_tensor_from(context, PARE_BOOL, SHAPE(3), yes, sizeof yes, &flags));
  OK(pare_tensor_from(context, PARE_BOOL, SHAPE(3), more, sizeof more, &change));
  OK(pare_scatter_elements(data, index, update, 0, PARE_SCATTER_MAX, data));
  OK(pare_scatter_elements(flags, index, change, 0, PARE_SCATTER_ADD, flags));
  float got[3];
  uint8_t or [3];
  OK(pare_tensor_read(data, got, sizeof got));
  OK(pare_tensor_read(flags, or, sizeof or));
  ck_assert(isnan(got[0]) && isnan(got[1]) && got[2] == 2);
  ck_assert(or [0] == 1 && or [1] == 1 && or [2] == 0);
  CLOSE(data, update, flags, change, index);
}
END_TEST

START_TEST(an_index_out_of_range_is_an_error_at_the_read) {
  pare_tensor *data = counted(PARE_I32, 1, 1, SHAPE(3)),
              *index = indices_of(INDICES(3, -4, INT64_MAX, INT64_MIN, 2), SHAPE(5));
  pare_tensor *out = empty(PARE_I32, SHAPE(5)), *updates = counted(PARE_I32, 7, 1, SHAPE(5)),
              *target = empty(PARE_I32, SHAPE(3));
  int32_t got[5];
  OK(pare_gather(data, index, 0, out));
  FAILS(PARE_ERR_ARGUMENT, "pare_gather", pare_tensor_read(out, got, sizeof got));
  EXPECT(out, 0, 0, 0, 0, 3);
  OK(pare_scatter_elements(data, index, updates, 0, PARE_SCATTER_NONE, target));
  FAILS(PARE_ERR_ARGUMENT, "pare_scatter_elements", pare_context_wait(context));
  EXPECT(target, 1, 2, 11);
  pare_tensor *nothing = empty(PARE_I32, SHAPE(0));
  OK(pare_gather(nothing, index, 0, out));
  FAILS(PARE_ERR_ARGUMENT, "pare_gather", pare_context_wait(context));
  CLOSE(data, index, out, updates, target, nothing);
}
END_TEST

START_TEST(pads_show_what_their_mode_says) {
  pare_tensor *data = counted(PARE_I32, 1, 1, SHAPE(4)), *out = empty(PARE_I32, SHAPE(9)),
              *cut = empty(PARE_I32, SHAPE(5));
  OK(pare_pad(data, INDICES(2), INDICES(3), PARE_PAD_CONSTANT, &(int32_t){-5}, out));
  EXPECT(out, -5, -5, 1, 2, 3, 4, -5, -5, -5);
  OK(pare_pad(data, INDICES(2), INDICES(3), PARE_PAD_REFLECT, NULL, out));
  EXPECT(out, 3, 2, 1, 2, 3, 4, 3, 2, 1);
  OK(pare_pad(data, INDICES(2), INDICES(3), PARE_PAD_EDGE, NULL, out));
  EXPECT(out, 1, 1, 1, 2, 3, 4, 4, 4, 4);
  OK(pare_pad(data, INDICES(2), INDICES(3), PARE_PAD_WRAP, NULL, out));
  EXPECT(out, 3, 4, 1, 2, 3, 4, 1, 2, 3);
  OK(pare_pad(data, INDICES(-1), INDICES(2), PARE_PAD_REFLECT, NULL, cut));
  EXPECT(cut, 2, 3, 4, 3, 2);
  pare_tensor *scalar = counted(PARE_I32, 9, 1, 0, NULL), *one = empty(PARE_I32, 0, NULL);
  OK(pare_pad(scalar, NULL, NULL, PARE_PAD_EDGE, NULL, one));
  EXPECT(one, 9);
  CLOSE(data, out, cut, scalar, one);
}
END_TEST

/* Beyond 2^53, where a double would round. */
START_TEST(large_integers_stay_exact) {
  const int64_t large = INT64_MAX - 1, values[] = {(INT64_C(1) << 53) + 1, -large, 3};
  pare_tensor *data, *padded = empty(PARE_I64, SHAPE(5)), *taken = empty(PARE_I64, SHAPE(2)),
                     *index = indices_of(INDICES(1, 0), SHAPE(2));
  int64_t got[5];
  OK(pare_tensor_from(context, PARE_I64, SHAPE(3), values, sizeof values, &data));
  OK(pare_pad(data, INDICES(1), INDICES(1), PARE_PAD_CONSTANT, &large, padded));
  OK(pare_tensor_read(padded, got, sizeof got));
  ck_assert(got[0] == large && got[4] == large && memcmp(got + 1, values, sizeof values) == 0);
  OK(pare_gather(data, index, 0, taken));
  OK(pare_tensor_read(taken, got, 2 * sizeof *got));
  ck_assert(got[0] == -large && got[1] == values[0]);
  OK(pare_scatter_elements(data, index, taken, 0, PARE_SCATTER_MAX, data)); /* the same values: nothing changes */
  OK(pare_scatter_elements(data, index, index, 0, PARE_SCATTER_ADD, data)); /* 1 and 0 */
  OK(pare_tensor_read(data, got, sizeof values));
  ck_assert(got[0] == values[0] && got[1] == -large + 1 && got[2] == 3);
  CLOSE(data, padded, taken, index);
}
END_TEST

START_TEST(f64_moves_where_the_device_has_it) {
  if (!pare_context_device(context)->can.f64) return;
  const double values[] = {1 + 0x1p-52, -0.1, 1e300}, constant = 0.1;
  double got[5];
  pare_tensor *data, *padded = empty(PARE_F64, SHAPE(5)), *taken = empty(PARE_F64, SHAPE(2)),
                     *index = indices_of(INDICES(2, 0), SHAPE(2));
  OK(pare_tensor_from(context, PARE_F64, SHAPE(3), values, sizeof values, &data));
  OK(pare_pad(data, INDICES(1), INDICES(1), PARE_PAD_CONSTANT, &constant, padded));
  OK(pare_tensor_read(padded, got, sizeof got));
  ck_assert(got[0] == 0.1 && got[4] == 0.1 && memcmp(got + 1, values, sizeof values) == 0);
  OK(pare_gather(data, index, 0, taken));
  OK(pare_tensor_read(taken, got, 2 * sizeof *got));
  ck_assert(got[0] == values[2] && got[1] == values[0]);
  OK(pare_scatter_elements(data, index, taken, 0, PARE_SCATTER_MUL, data));
  OK(pare_tensor_read(data, got, sizeof values));
  ck_assert(got[0] == values[0] * values[0] && got[1] == values[1] && got[2] == INFINITY);
  CLOSE(data, padded, taken, index);
}
END_TEST

START_TEST(tiles_repeat_every_axis) {
  pare_tensor *data = counted(PARE_I32, 1, 1, SHAPE(2, 2)), *out = empty(PARE_I32, SHAPE(4, 6)),
              *none = empty(PARE_I32, SHAPE(0, 2));
  OK(pare_tile(data, INDICES(2, 3), out));
  EXPECT(out, 1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4, 1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4);
  OK(pare_tile(data, INDICES(0, 1), none));
  OK(pare_context_wait(context));
  CLOSE(data, out, none);
}
END_TEST

START_TEST(rank_eight_and_no_elements_work) {
  const int64_t shape[8] = {2, 1, 3, 1, 2, 1, 1, 2}, padded[8] = {2, 1, 3, 1, 3, 1, 1, 2},
                none[8] = {2, 1, 0, 1, 2, 1, 1, 2};
  const int64_t after[8] = {0, 0, 0, 0, 1, 0, 0, 0};
  pare_tensor *data = counted(PARE_I32, 0, 1, 8, shape), *out = empty(PARE_I32, 8, padded),
              *nothing = empty(PARE_I32, 8, none);
  pare_tensor *index = indices_of(INDICES(1, 0, 0), SHAPE(3)), *no_index = empty(PARE_I64, SHAPE(0)),
              *updates = empty(PARE_I32, 8, none);
  OK(pare_gather(data, index, 4, out));
  int32_t got[36];
  OK(pare_tensor_read(out, got, sizeof got));
  for (int i = 0; i < 36; i++) ck_assert_int_eq(got[i], i / 6 * 4 + (i / 2 % 3 == 0 ? 2 : 0) + i % 2);
  OK(pare_pad(data, NULL, after, PARE_PAD_EDGE, NULL, out));
  OK(pare_tensor_read(out, got, sizeof got));
  for (int i = 0; i < 36; i++) ck_assert_int_eq(got[i], i / 6 * 4 + (i / 2 % 3 == 0 ? 0 : 2) + i % 2);
  OK(pare_gather(data, no_index, 2, nothing));
  pare_tensor *no_indices = empty(PARE_I64, 8, none), *copy = empty(PARE_I32, 8, shape);
  OK(pare_scatter_elements(data, no_indices, updates, 2, PARE_SCATTER_ADD, copy));
  int32_t same[24];
  OK(pare_tensor_read(copy, same, sizeof same));
  for (int i = 0; i < 24; i++) ck_assert_int_eq(same[i], i);
  CLOSE(data, out, nothing, index, no_index, updates, no_indices, copy);
}
END_TEST

START_TEST(dtypes_move_by_their_size) {
  static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16, PARE_I8,  PARE_U8,  PARE_I16,
                                      PARE_I32, PARE_I64, PARE_BOOL, PARE_U16, PARE_U32, PARE_U64};
  pare_tensor *index = indices_of(INDICES(1, 0), SHAPE(2));
  for (size_t t = 0; t < PARE__COUNT(dtypes); t++) {
    uint8_t bits[48], got[72];
    size_t row = 3 * pare_dtype_bytes(dtypes[t]);
    for (size_t i = 0; i < sizeof bits; i++) bits[i] = (uint8_t)(dtypes[t] == PARE_BOOL ? i % 2 : i * 37 + 5);
    pare_tensor *data, *out = empty(dtypes[t], SHAPE(2, 3)), *tiled = empty(dtypes[t], SHAPE(3, 3));
    OK(pare_tensor_from(context, dtypes[t], SHAPE(2, 3), bits, 2 * row, &data));
    OK(pare_gather(data, index, 0, out));
    OK(pare_tensor_read(out, got, 2 * row));
    ck_assert(memcmp(got, bits + row, row) == 0 && memcmp(got + row, bits, row) == 0);
    OK(pare_pad(data, NULL, INDICES(1, 0), PARE_PAD_WRAP, NULL, tiled));
    OK(pare_tensor_read(tiled, got, 3 * row));
    ck_assert(memcmp(got, bits, 2 * row) == 0 && memcmp(got + 2 * row, bits, row) == 0);
    CLOSE(data, out, tiled);
  }
  CLOSE(index);
}
END_TEST

/* ---- the law of splitting ---- */

typedef struct operands {
  pare_tensor *data, *rows, *each, *tuples, *row_updates, *each_updates;
} operands;

static pare_status law_gather_0(operands *o, pare_tensor *out) { return pare_gather(o->data, o->rows, 0, out); }
static pare_status law_gather_1(operands *o, pare_tensor *out) { return pare_gather(o->data, o->rows, 1, out); }
static pare_status law_gather_elements_0(operands *o, pare_tensor *out) {
  return pare_gather_elements(o->data, o->each, 0, out);
}
static pare_status law_gather_elements_1(operands *o, pare_tensor *out) {
  return pare_gather_elements(o->data, o->each, 1, out);
}
static pare_status law_gather_nd(operands *o, pare_tensor *out) { return pare_gather_nd(o->data, o->tuples, 0, out); }
static pare_status law_scatter_elements_0(operands *o, pare_tensor *out) {
  return pare_scatter_elements(o->data, o->each, o->each_updates, 0, PARE_SCATTER_ADD, out);
}
static pare_status law_scatter_elements_1(operands *o, pare_tensor *out) {
  return pare_scatter_elements(o->data, o->each, o->each_updates, 1, PARE_SCATTER_NONE, out);
}
static pare_status law_scatter_nd(operands *o, pare_tensor *out) {
  return pare_scatter_nd(o->data, o->tuples, o->row_updates, PARE_SCATTER_ADD, out);
}
static pare_status law_pad_reflect(operands *o, pare_tensor *out) {
  return pare_pad(o->data, INDICES(5, 3), INDICES(40, 1), PARE_PAD_REFLECT, NULL, out);
}
static pare_status law_pad_constant(operands *o, pare_tensor *out) {
  return pare_pad(o->data, INDICES(0, 30), INDICES(0, 11), PARE_PAD_CONSTANT, &(float){1.5f}, out);
}
static pare_status law_tile(operands *o, pare_tensor *out) { return pare_tile(o->data, INDICES(2, 3), out); }

enum { ROWS = 23, COLUMNS = 17, TAKEN = 11 };
static const struct {
  pare_status (*run)(operands *o, pare_tensor *out);
  int64_t shape[2];
} laws[] = {{law_gather_0, {TAKEN, COLUMNS}},
            {law_gather_1, {ROWS, TAKEN}},
            {law_gather_elements_0, {TAKEN, COLUMNS}},
            {law_gather_elements_1, {TAKEN, COLUMNS}},
            {law_gather_nd, {TAKEN, COLUMNS}},
            {law_scatter_elements_0, {ROWS, COLUMNS}},
            {law_scatter_elements_1, {ROWS, COLUMNS}},
            {law_scatter_nd, {ROWS, COLUMNS}},
            {law_pad_reflect, {ROWS + 45, COLUMNS + 4}},
            {law_pad_constant, {ROWS, COLUMNS + 41}},
            {law_tile, {ROWS * 2, COLUMNS * 3}}};

START_TEST(pieces_give_the_same_bits) {
  int64_t index[TAKEN * COLUMNS];
  float values[TAKEN * COLUMNS];
  for (int i = 0; i < TAKEN * COLUMNS; i++) {
    index[i] = i * 7 % 16 - 8;
    values[i] = (float)(i * 31 % 97) / 7.0f;
  }
  operands o = {.data = counted(PARE_F32, 0, 1, SHAPE(ROWS, COLUMNS)),
                .rows = indices_of(index, SHAPE(TAKEN)),
                .each = indices_of(index, SHAPE(TAKEN, COLUMNS)),
                .tuples = indices_of(index, SHAPE(TAKEN, 1))};
  OK(pare_tensor_from(context, PARE_F32, SHAPE(TAKEN, COLUMNS), values, sizeof values, &o.each_updates));
  OK(pare_tensor_from(context, PARE_F32, SHAPE(TAKEN, COLUMNS), values, sizeof values, &o.row_updates));
  int64_t n = count_of(2, laws[_i].shape);
  float once[MAX], again[MAX];
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare_tensor *out = empty(PARE_F32, 2, laws[_i].shape);
    pare__context_split(context, pieces);
    OK(laws[_i].run(&o, out));
    OK(pare_tensor_read(out, pieces == 1 ? once : again, (size_t)n * sizeof *once));
    pare__context_split(context, 1);
    if (pieces > 1) ck_assert_msg(memcmp(once, again, (size_t)n * sizeof *once) == 0, "law %d, %d pieces", _i, pieces);
    CLOSE(out);
  }
  CLOSE(o.data, o.rows, o.each, o.tuples, o.each_updates, o.row_updates);
}
END_TEST

START_TEST(misfits_are_named) {
  pare_tensor *data = counted(PARE_I32, 0, 1, SHAPE(3, 4)), *index = indices_of(INDICES(0, 1), SHAPE(2));
  pare_tensor *wrong = empty(PARE_I32, SHAPE(2, 5)), *floats = empty(PARE_F32, SHAPE(2, 4)),
              *right = empty(PARE_I32, SHAPE(2, 4));
  FAILS(PARE_ERR_SHAPE, "[2, 5]", pare_gather(data, index, 0, wrong));
  FAILS(PARE_ERR_SHAPE, "[2, 4]", pare_gather(data, index, 0, wrong));
  FAILS(PARE_ERR_TYPE, "f32", pare_gather(data, index, 0, floats));
  FAILS(PARE_ERR_TYPE, "indices", pare_gather(data, floats, 0, right));
  FAILS(PARE_ERR_ARGUMENT, "pare_gather", pare_gather(data, index, 2, right));
  FAILS(PARE_ERR_ARGUMENT, "data is NULL", pare_gather(NULL, index, 0, right));
  FAILS(PARE_ERR_SHAPE, "[3, 4]", pare_gather_elements(data, index, 0, right));
  FAILS(PARE_ERR_ARGUMENT, "batch_dims", pare_gather_nd(data, index, 1, right));
  FAILS(PARE_ERR_SHAPE, "updates", pare_scatter_nd(data, index, wrong, PARE_SCATTER_NONE, data));
  FAILS(PARE_ERR_ARGUMENT, "reduction", pare_scatter_nd(data, index, wrong, (pare_scatter_reduction)9, data));
  FAILS(PARE_ERR_SHAPE, "[2, 4]", pare_pad(data, INDICES(1, 0), NULL, PARE_PAD_EDGE, NULL, right));
  FAILS(PARE_ERR_SHAPE, "lose", pare_pad(data, INDICES(-2, 0), INDICES(-2, 0), PARE_PAD_EDGE, NULL, right));
  FAILS(PARE_ERR_ARGUMENT, "mode", pare_pad(data, NULL, NULL, (pare_pad_mode)7, NULL, right));
  FAILS(PARE_ERR_ARGUMENT, "-1 times", pare_tile(data, INDICES(-1, 1), right));
  pare_tensor *nothing = empty(PARE_I32, SHAPE(0)), *one = empty(PARE_I32, SHAPE(1));
  FAILS(PARE_ERR_SHAPE, "no elements", pare_pad(nothing, INDICES(1), NULL, PARE_PAD_EDGE, NULL, one));
  OK(pare_context_wait(context));
  CLOSE(data, index, wrong, floats, right, nothing, one);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("index");
  TCase *tests = tcase_create("index");
  tcase_set_timeout(tests, 120);
  tcase_add_unchecked_fixture(tests, setup, teardown);
  tcase_add_test(tests, gather_takes_rows_and_columns);
  tcase_add_test(tests, gather_elements_takes_shorter_indices);
  tcase_add_test(tests, gather_nd_takes_tuples_and_batches);
  tcase_add_test(tests, scatter_elements_applies_duplicates_in_order);
  tcase_add_test(tests, scatter_nd_updates_slices);
  tcase_add_test(tests, nan_stays_and_bool_is_or);
  tcase_add_test(tests, an_index_out_of_range_is_an_error_at_the_read);
  tcase_add_test(tests, pads_show_what_their_mode_says);
  tcase_add_test(tests, large_integers_stay_exact);
  tcase_add_test(tests, f64_moves_where_the_device_has_it);
  tcase_add_test(tests, tiles_repeat_every_axis);
  tcase_add_test(tests, rank_eight_and_no_elements_work);
  tcase_add_test(tests, dtypes_move_by_their_size);
  tcase_add_loop_test(tests, pieces_give_the_same_bits, 0, (int)PARE__COUNT(laws));
  tcase_add_test(tests, misfits_are_named);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* drivers do not survive fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
