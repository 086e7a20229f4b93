/* The padding family: constant, reflected, repeated edges, wrapped; wrapped is tiling.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_pad.h"

#include <stdio.h>
#include <string.h>

#include "base/dtype.h"

static const int widths[] = {8, 4, 16, 0}, groups[] = {64, 128, 256, 0};
static const pare__param row_params[] = {{"WIDTH", widths}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};

static void row_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  int lanes = (int)(info->can.vector_bits / 8 / pare_dtype_bytes(whole->dtype[0]));
  tuning->value[0] = PARE__MAX(4, PARE__MIN(lanes, 16));
}

static void push_arguments(pare__args *args, const pare__run *run) {
  const pare__problem *piece = run->piece;
  for (unsigned i = 0; i < 2; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
  }
  for (int i = PARE__PAD_OUT; i <= PARE__PAD_OUT_STRIDE; i += PARE_MAX_RANK) pare__arg_long8(args, piece->dim + i);
  int leading = 0;
  while (leading < PARE_MAX_RANK - 1 && piece->dim[PARE__PAD_OUT + leading] == 1 &&
         piece->dim[PARE__PAD_DATA + leading] == 1 && piece->dim[PARE__PAD_BEFORE + leading] == 0)
    leading++;
  pare__arg_int(args, leading);
  pare__arg_int(args, run->whole->mode);
  int64_t bits;
  memcpy(&bits, &run->whole->real[0], sizeof bits);
  pare__arg_long(args, bits);
}

static int64_t row_count(const pare__problem *p) {
  int64_t rows = 1;
  for (int d = 0; d < PARE_MAX_RANK - 1; d++) rows *= p->dim[PARE__PAD_OUT + d];
  return rows;
}

static pare_status launch_rows(const pare__run *run) {
  const int64_t steps = 8192, row_cost = 16; /* of one item: enough to pay for it, few enough for every driver */
  int64_t row_length = run->piece->dim[PARE__PAD_OUT + PARE_MAX_RANK - 1], rows = row_count(run->piece);
  if (row_length == 0 || rows == 0) return PARE_OK;
  int64_t columns = PARE__MIN(row_length, steps), rows_per_item = PARE__MAX(1, steps / (columns + row_cost));
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_long(&args, rows);
  pare__arg_int(&args, (int32_t)rows_per_item);
  pare__arg_int(&args, (int32_t)columns);
  const size_t global[2] = {(size_t)pare__div_up(row_length, columns), (size_t)pare__div_up(rows, rows_per_item)};
  const size_t one[2] = {1, 1};
  return pare__run_kernel(run, "pad_rows", NULL, 2, global, one, &args);
}

static pare_status launch_each(const pare__run *run) {
  int group = pare__tuned(run, "GROUP");
  int64_t elements = row_count(run->piece) * run->piece->dim[PARE__PAD_OUT + PARE_MAX_RANK - 1];
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_long(&args, elements);
  const size_t global[1] = {(size_t)pare__round_up(elements, group)}, local[1] = {(size_t)group};
  return pare__run_kernel(run, "pad_each", NULL, 1, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "row",
     .file = "pad.cl",
     .shaped = PARE__FOR_CPU,
     .params = row_params,
     .defaults = row_defaults,
     .launch = launch_rows},
    {.name = "group", .file = "pad.cl", .shaped = PARE__FOR_GPU, .params = group_params, .launch = launch_each},
    {.name = NULL},
};

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  out->role = i == 0 ? PARE__IN : PARE__OUT;
  out->elements = 1;
  for (int d = 0; d < PARE_MAX_RANK; d++) out->elements *= p->dim[(i == 0 ? PARE__PAD_DATA : PARE__PAD_OUT) + d];
}

/* The element of an axis of n that position i shows, found by walking step by step; -1: the constant. */
static int64_t walk_to(int64_t i, int64_t n, int mode) {
  if (i >= 0 && i < n) return i;
  if (mode == PARE__PAD_CONSTANT || n == 0) return -1;
  int64_t at = i < 0 ? 0 : n - 1, distance = i < 0 ? -i : i - n + 1, way = i < 0 ? 1 : -1;
  for (; distance > 0 && mode != PARE__PAD_EDGE && n > 1; distance--) {
    if (mode == PARE__PAD_WRAP) {
      at = (at - way + n) % n;
      continue;
    }
    if (at + way < 0 || at + way >= n) way = -way;
    at += way;
  }
  return at;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  (void)tolerance; /* all exact */
  pare__buffer_spec out;
  buffer(p, 1, &out);
  for (int64_t e = 0; e < out.elements; e++) {
    int64_t rest = e, from = 0;
    bool inside = true;
    for (int d = PARE_MAX_RANK - 1; d >= 0; d--) {
      int64_t i = rest % p->dim[PARE__PAD_OUT + d] - p->dim[PARE__PAD_BEFORE + d];
      int64_t at = walk_to(i, p->dim[PARE__PAD_DATA + d], p->mode);
      rest /= p->dim[PARE__PAD_OUT + d];
      inside = inside && at >= 0;
      from += at * p->dim[PARE__PAD_DATA_STRIDE + d];
    }
    int64_t bits;
    memcpy(&bits, &p->real[0], sizeof bits);
    expected[1][e] = inside ? pare__load(p->dtype[0], data[0], (size_t)from) : pare__load(p->dtype[0], &bits, 0);
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  pare__buffer_spec data, out;
  buffer(p, 0, &data);
  buffer(p, 1, &out);
  *flops = 0;
  *bytes = ((double)data.elements + (double)out.elements) * (double)pare_dtype_bytes(p->dtype[0]);
}

static const char *const modes[PARE__NPADDINGS] = {"constant", "reflect", "edge", "wrap"};

static void describe(const pare__problem *p, char *text, size_t capacity) {
  int n = snprintf(text, capacity, "%s", modes[p->mode]);
  for (int d = 0; d < PARE_MAX_RANK && n > 0 && (size_t)n < capacity; d++)
    if (p->dim[PARE__PAD_OUT + d] != 1)
      n += snprintf(text + n, capacity - (size_t)n, " %lld->%lld", (long long)p->dim[PARE__PAD_DATA + d],
                    (long long)p->dim[PARE__PAD_OUT + d]);
  if (n > 0 && (size_t)n < capacity) snprintf(text + n, capacity - (size_t)n, " %s", pare_dtype_name(p->dtype[0]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", pare_dtype_name(p->dtype[0]),
           p->dim[PARE__PAD_OUT + PARE_MAX_RANK - 1] < 64 ? "short rows" : "rows");
}

/* The last three axes: data, before, after. */
typedef struct shape {
  int64_t data[3], before[3], after[3];
} shape;

static void make_problem(int mode, pare_dtype dtype, const shape *s, pare__problem *out) {
  const int64_t constant = 42;
  out->mode = mode;
  memcpy(&out->real[0], &constant, sizeof constant);
  out->dtype[0] = out->dtype[1] = dtype;
  int64_t data_stride = 1, out_stride = 1;
  for (int d = PARE_MAX_RANK - 1; d >= 0; d--) {
    int k = d - (PARE_MAX_RANK - 3);
    int64_t length = k < 0 ? 1 : s->data[k], before = k < 0 ? 0 : s->before[k], after = k < 0 ? 0 : s->after[k];
    out->dim[PARE__PAD_OUT + d] = length + before + after;
    out->dim[PARE__PAD_BEFORE + d] = before;
    out->dim[PARE__PAD_DATA + d] = length;
    out->dim[PARE__PAD_DATA_STRIDE + d] = data_stride;
    out->dim[PARE__PAD_OUT_STRIDE + d] = out_stride;
    data_stride *= length;
    out_stride *= length + before + after;
  }
}

static const pare_dtype sizes[] = {PARE_I32, PARE_U8, PARE_I16, PARE_I64};
static const shape selftest_shapes[] = {{{3, 4, 37}, {1, 0, 20}, {2, 1, 40}}, {{2, 3, 5}, {3, 0, 13}, {0, 2, 17}}};
/* Pads longer than the data, single and no elements, rows longer than an item's, axes that only one side pads. */
static const shape test_shapes[] = {{{5, 7, 131}, {2, 3, 50}, {1, 4, 61}}, {{1, 1, 1}, {2, 3, 4}, {4, 3, 2}},
                                    {{1, 2, 3}, {0, 5, 31}, {0, 7, 29}},   {{1, 1, 20011}, {0, 0, 7}, {0, 0, 9001}},
                                    {{1, 1, 3}, {0, 0, 0}, {0, 0, 9001}},  {{7, 11, 13}, {0, 0, 0}, {0, 0, 0}},
                                    {{0, 3, 4}, {0, 1, 1}, {0, 1, 1}},     {{300, 1, 2}, {1, 0, 1}, {1, 0, 0}}};
static const shape bench_shapes[] = {{{64, 224, 224}, {0, 3, 3}, {0, 3, 3}},
                                     {{1, 1024, 4096}, {0, 0, 0}, {0, 3072, 0}}};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  const struct {
    const shape *shapes;
    unsigned nshapes, nsizes, nmodes;
  } sets[] = {
      [PARE__CASES_SELFTEST] = {selftest_shapes, PARE__COUNT(selftest_shapes), PARE__COUNT(sizes), PARE__NPADDINGS},
      [PARE__CASES_TEST] = {test_shapes, PARE__COUNT(test_shapes), PARE__COUNT(sizes), PARE__NPADDINGS},
      [PARE__CASES_BENCH] = {bench_shapes, PARE__COUNT(bench_shapes), 1, PARE__NPADDINGS}};
  unsigned nshapes = sets[set].nshapes, nmodes = sets[set].nmodes;
  unsigned size = index / (nshapes * nmodes), mode = index / nshapes % nmodes;
  if (size >= sets[set].nsizes) return false;
  make_problem((int)mode, sizes[size], &sets[set].shapes[index % nshapes], out);
  return true;
}

const pare__family pare__family_pad = {
    .name = "pad",
    .what = "padding with a constant, reflection, the edge or wrapping; tiling",
    .nbuffers = 2,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
