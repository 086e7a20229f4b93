/* The gather family: rows and elements by index. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_index.h"

static const int widths[] = {8, 4, 16, 0}, groups[] = {64, 128, 256, 0};
static const pare__param item_params[] = {{"WIDTH", widths}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};

static void item_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  int lanes = (int)(info->can.vector_bits / 8 / pare_dtype_bytes(whole->dtype[0]));
  tuning->value[0] = PARE__MAX(4, PARE__MIN(lanes, 16));
}

/* Scalars named by single indices: the rows become columns, so that the inner loop is long. */
static pare__problem rows_as_columns(const pare__problem *piece) {
  pare__problem turned = *piece;
  int64_t *dim = turned.dim;
  dim[PARE__INDEX_INNER] = dim[PARE__INDEX_ROWS];
  dim[PARE__INDEX_ROWS] = 1;
  dim[PARE__INDEX_DATA + 2] = 0;
  dim[PARE__INDEX_INDEX + 2] = dim[PARE__INDEX_INDEX + 1];
  dim[PARE__INDEX_VALUES + 2] = dim[PARE__INDEX_VALUES + 1];
  return turned;
}

static pare_status launch_items(const pare__run *run) {
  const int64_t steps = 8192, longest = 16384; /* of one item: enough to pay for it, few enough for every driver */
  pare__run turned_run = *run;
  pare__problem turned;
  bool slices = run->piece->dim[PARE__INDEX_INNER] != 1 && run->piece->dim[PARE__INDEX_INDEX + 2] == 0;
  if (run->piece->dim[PARE__INDEX_INNER] == 1) {
    turned = rows_as_columns(run->piece);
    turned_run.piece = &turned;
  }
  const int64_t *dim = turned_run.piece->dim;
  int width = slices ? pare__tuned(run, "WIDTH") : 1;
  int64_t columns = PARE__MIN(dim[PARE__INDEX_INNER], slices ? longest : steps / 4);
  int64_t row_steps = columns * (slices ? 1 : dim[PARE__INDEX_TUPLE]) / width + width + dim[PARE__INDEX_TUPLE];
  int64_t rows = dim[PARE__INDEX_OUTER] * dim[PARE__INDEX_ROWS];
  if (rows == 0 || columns == 0) return PARE_OK;
  int64_t rows_per_item = PARE__MAX(1, steps / row_steps);
  pare__args args = {0};
  pare__index_arguments(&turned_run, &args);
  pare__arg_int(&args, (int32_t)rows_per_item);
  pare__arg_int(&args, (int32_t)columns);
  const size_t global[2] = {(size_t)pare__div_up(dim[PARE__INDEX_INNER], columns),
                            (size_t)pare__div_up(rows, rows_per_item)};
  const size_t one[2] = {1, 1};
  return pare__run_kernel(run, slices ? "gather_slices" : "gather_elements", NULL, 2, global, one, &args);
}

static pare_status launch_each(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  int group = pare__tuned(run, "GROUP");
  pare__args args = {0};
  pare__index_arguments(run, &args);
  int64_t elements = dim[PARE__INDEX_OUTER] * dim[PARE__INDEX_ROWS] * dim[PARE__INDEX_INNER];
  const size_t global[1] = {(size_t)pare__round_up(elements, group)}, local[1] = {(size_t)group};
  return pare__run_kernel(run, "gather_each", NULL, 1, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "item",
     .file = "gather.cl",
     .shaped = PARE__FOR_CPU,
     .params = item_params,
     .defaults = item_defaults,
     .launch = launch_items},
    {.name = "group", .file = "gather.cl", .shaped = PARE__FOR_GPU, .params = group_params, .launch = launch_each},
    {.name = NULL},
};

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim, *from = dim + PARE__INDEX_DATA, *to = dim + PARE__INDEX_VALUES;
  (void)tolerance; /* all exact */
  expected[3][0] = 0;
  for (int64_t o = 0; o < dim[PARE__INDEX_OUTER]; o++)
    for (int64_t i = 0; i < dim[PARE__INDEX_ROWS]; i++)
      for (int64_t s = 0; s < dim[PARE__INDEX_INNER]; s++) {
        int64_t row = pare__index_row(p, data[1], o, i, s);
        double value =
            row < 0 ? 0 : pare__load(p->dtype[0], data[0], (size_t)(o * from[0] + row * from[1] + s * from[2]));
        expected[2][o * to[0] + i * to[1] + s * to[2]] = value;
        if (row < 0) expected[3][0] = 1;
      }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  double elements =
      (double)p->dim[PARE__INDEX_OUTER] * (double)p->dim[PARE__INDEX_ROWS] * (double)p->dim[PARE__INDEX_INNER];
  pare__buffer_spec index;
  pare__index_buffer(p, 1, &index);
  *flops = 0;
  *bytes = 2 * elements * (double)pare_dtype_bytes(p->dtype[0]) +
           (double)index.elements * (double)pare_dtype_bytes(p->dtype[1]);
}

typedef struct instance {
  pare__index_shape shape; /* outer, length, rows, inner, tuple, each */
  pare_dtype data, index;
} instance;

static const instance selftests[] = {
    {{2, 5, 7, 19, 1, false}, PARE_I32, PARE_I64}, {{1, 12, 40, 1, 2, false}, PARE_I32, PARE_I64},
    {{3, 11, 30, 2, 1, true}, PARE_I32, PARE_I64}, {{2, 5, 7, 37, 1, false}, PARE_U8, PARE_I64},
    {{2, 5, 7, 37, 1, false}, PARE_I16, PARE_I64}, {{2, 5, 7, 19, 1, false}, PARE_I64, PARE_I64},
    {{2, 5, 7, 19, 1, false}, PARE_I32, PARE_I32}};
static const instance tests[] = {
    {{0, 5, 3, 4, 1, false}, PARE_I32, PARE_I64},     {{2, 5, 0, 4, 1, false}, PARE_I32, PARE_I64},
    {{2, 5, 3, 0, 1, false}, PARE_I32, PARE_I64},     {{2, 0, 3, 4, 1, false}, PARE_I32, PARE_I64},
    {{1, 1, 1, 1, 1, false}, PARE_I32, PARE_I64},     {{3, 101, 257, 131, 1, false}, PARE_I32, PARE_I64},
    {{1, 7, 3, 40009, 1, false}, PARE_I32, PARE_I64}, {{2, 30, 9001, 1, 1, false}, PARE_I32, PARE_I64},
    {{3, 24, 61, 5, 3, false}, PARE_I32, PARE_I64},   {{1, 24, 3001, 1, 3, false}, PARE_I32, PARE_I64},
    {{5, 13, 17, 23, 1, true}, PARE_I32, PARE_I64},   {{7, 200, 3, 1, 1, true}, PARE_I32, PARE_I64},
    {{1, 9, 4, 5003, 1, true}, PARE_I32, PARE_I64},   {{2, 11, 13, 47, 1, false}, PARE_U8, PARE_I64},
    {{2, 11, 13, 47, 1, false}, PARE_I16, PARE_I64},  {{2, 11, 13, 47, 1, false}, PARE_I64, PARE_I64},
    {{2, 11, 13, 47, 1, false}, PARE_I32, PARE_I32},  {{2, 11, 13, 47, 1, true}, PARE_I32, PARE_I32}};
static const instance benches[] = {{{1, 30000, 4096, 768, 1, false}, PARE_I32, PARE_I64},
                                   {{1, 1000000, 1000000, 1, 1, false}, PARE_I32, PARE_I64},
                                   {{1, 4096, 1024, 1024, 1, true}, PARE_I32, PARE_I64}};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  const struct {
    const instance *instance;
    unsigned count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftests, PARE__COUNT(selftests)},
              [PARE__CASES_TEST] = {tests, PARE__COUNT(tests)},
              [PARE__CASES_BENCH] = {benches, PARE__COUNT(benches)}};
  if (index >= sets[set].count) return false;
  const instance *chosen = &sets[set].instance[index];
  pare__index_problem(&chosen->shape, chosen->data, chosen->index, out);
  return true;
}

const pare__family pare__family_gather = {
    .name = "gather",
    .what = "slices and elements named by indices",
    .nbuffers = 4,
    .variants = variants,
    .problem = problem,
    .buffer = pare__index_buffer,
    .generate = pare__index_generate,
    .reference = reference,
    .work = work,
    .describe = pare__index_describe,
    .shape_class = pare__index_class,
};
