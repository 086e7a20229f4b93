/* The scatter family: updates of rows and elements by index, in order. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_index.h"

static const struct {
  const char *name, *combine; /* in text, in scatter.cl */
} reductions[PARE__NSCATTERS] = {
    {"none", "none"}, {"add", "add"}, {"mul", "mul"}, {"min", "smaller"}, {"max", "larger"}};

static const int widths[] = {8, 4, 16, 0}, groups[] = {64, 128, 256, 0};
static const pare__param block_params[] = {{"WIDTH", widths}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};

static void block_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  int lanes = (int)(info->can.vector_bits / 8 / pare_dtype_bytes(whole->dtype[0]));
  tuning->value[0] = PARE__MAX(4, PARE__MIN(lanes, 16));
}

/* Launches over ranges of updates, one after the other: no work-item loops for long, neither where loops end early nor
 * where a watchdog waits. last_argument: columns of an item, or parts. */
static pare_status launch_ranges(const pare__run *run, const char *entry, unsigned dims, const size_t *global,
                                 const size_t *local, int64_t part_length, int64_t columns, int64_t last_argument) {
  const int64_t *dim = run->piece->dim;
  uint32_t limit = pare__device_info(run->device)->can.max_loop_steps;
  int64_t steps = limit ? (int64_t)limit / 2 : (int64_t)1 << 24;
  int64_t range = PARE__MAX(1, steps / (columns * (dim[PARE__INDEX_TUPLE] + 1) + 1));
  char options[40];
  snprintf(options, sizeof options, "-DREDUCE=%s", reductions[run->whole->mode].combine);
  for (int64_t first = 0; first < dim[PARE__INDEX_ROWS]; first += range) {
    pare__args args = {0};
    pare__index_arguments(run, &args);
    pare__arg_long(&args, dim[PARE__INDEX_POSITION]);
    pare__arg_long(&args, dim[PARE__INDEX_LENGTH]);
    pare__arg_long(&args, part_length);
    pare__arg_long(&args, first);
    pare__arg_long(&args, PARE__MIN(first + range, dim[PARE__INDEX_ROWS]));
    if (dims > 1)
      pare__arg_int(&args, (int32_t)last_argument);
    else
      pare__arg_long(&args, last_argument);
    PARE__TRY(pare__run_kernel(run, entry, options, dims, global, local, &args));
  }
  return PARE_OK;
}

/* Rows of one owner, for at least `wanted` owners in all; every owner walks all indices, so not many more. */
static int64_t part_length(const int64_t *dim, int64_t columns, int64_t wanted) {
  int64_t length = PARE__MAX(1, dim[PARE__INDEX_LENGTH]);
  int64_t parts = pare__div_up(wanted, PARE__MAX(1, dim[PARE__INDEX_OUTER] * columns));
  return pare__div_up(length, PARE__MIN(parts, length));
}

static pare_status launch_blocks(const pare__run *run) {
  const int64_t *dim = run->piece->dim, widest = 256;
  int64_t units = pare__device_info(run->device)->compute_units, inner = dim[PARE__INDEX_INNER];
  int64_t block = PARE__MAX(16, PARE__MIN(widest, pare__div_up(inner * dim[PARE__INDEX_OUTER], units * 4)));
  int64_t blocks = pare__div_up(inner, block), part = part_length(dim, blocks, units);
  const size_t one[3] = {1, 1, 1};
  const size_t global[3] = {(size_t)blocks, (size_t)pare__div_up(PARE__MAX(1, dim[PARE__INDEX_LENGTH]), part),
                            (size_t)dim[PARE__INDEX_OUTER]};
  return launch_ranges(run, "scatter_block", 3, global, one, part, block, block);
}

static pare_status launch_each(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  const int64_t items_per_unit = 64;
  int64_t units = pare__device_info(run->device)->compute_units, group = pare__tuned(run, "GROUP");
  int64_t part = part_length(dim, dim[PARE__INDEX_INNER], units * items_per_unit);
  int64_t parts = pare__div_up(PARE__MAX(1, dim[PARE__INDEX_LENGTH]), part);
  const size_t global[1] = {(size_t)pare__round_up(dim[PARE__INDEX_OUTER] * parts * dim[PARE__INDEX_INNER], group)};
  const size_t local[1] = {(size_t)group};
  return launch_ranges(run, "scatter_each", 1, global, local, part, 1, parts);
}

static const pare__variant variants[] = {
    {.name = "block",
     .file = "scatter.cl",
     .shaped = PARE__FOR_CPU,
     .params = block_params,
     .defaults = block_defaults,
     .launch = launch_blocks},
    {.name = "group", .file = "scatter.cl", .shaped = PARE__FOR_GPU, .params = group_params, .launch = launch_each},
    {.name = NULL},
};

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  pare__index_buffer(p, i, out);
  if (i == 0) out->role = PARE__INOUT;
  if (i == 2) out->role = PARE__IN;
}

static double combine_real(int mode, double a, double b) {
  if (isnan(a)) return a;
  switch (mode) {
  case PARE__SCATTER_ADD: return a + b;
  case PARE__SCATTER_MUL: return a * b;
  case PARE__SCATTER_MIN: return b >= a ? a : b;
  default: return b <= a ? a : b;
  }
}

static int64_t combine_integer(pare_dtype dtype, int mode, int64_t a, int64_t b) {
  bool less = dtype == PARE_U64 ? (uint64_t)a < (uint64_t)b : a < b;
  switch (mode) {
  case PARE__SCATTER_ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
  case PARE__SCATTER_MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
  case PARE__SCATTER_MIN: return less ? a : b;
  default: return less ? b : a;
  }
}

/* Rounded or wrapped to the dtype after every update, as the kernel does it. */
static void update(const pare__problem *p, void *data, size_t to, const void *values, size_t from) {
  pare_dtype dtype = p->dtype[0];
  size_t element = pare_dtype_bytes(dtype);
  char *target = (char *)data + to * element;
  if (p->mode == PARE__SCATTER_NONE) {
    memcpy(target, (const char *)values + from * element, element);
  } else if (pare__dtype_is_float(dtype)) {
    pare__store(dtype, data, to, combine_real(p->mode, pare__load(dtype, data, to), pare__load(dtype, values, from)));
  } else {
    int64_t a = pare__load_integer(dtype, data, to), b = pare__load_integer(dtype, values, from);
    pare__store_integer(dtype, data, to, combine_integer(dtype, p->mode, a, b));
  }
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim, *to = dim + PARE__INDEX_DATA, *from = dim + PARE__INDEX_VALUES;
  (void)tolerance; /* all exact: no rounding is the kernel's choice */
  expected[3][0] = 0;
  for (int64_t o = 0; o < dim[PARE__INDEX_OUTER]; o++)
    for (int64_t i = 0; i < dim[PARE__INDEX_ROWS]; i++)
      for (int64_t s = 0; s < dim[PARE__INDEX_INNER]; s++) {
        int64_t row = pare__index_row(p, data[1], o, i, s);
        if (row >= 0)
          update(p, data[0], (size_t)(o * to[0] + row * to[1] + s * to[2]), data[2],
                 (size_t)(o * from[0] + i * from[1] + s * from[2]));
        else
          expected[3][0] = 1;
      }
  pare__buffer_spec spec;
  buffer(p, 0, &spec);
  for (int64_t i = 0; i < spec.elements; i++) expected[0][i] = pare__load(p->dtype[0], data[0], (size_t)i);
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  double elements =
      (double)p->dim[PARE__INDEX_OUTER] * (double)p->dim[PARE__INDEX_ROWS] * (double)p->dim[PARE__INDEX_INNER];
  pare__buffer_spec index;
  pare__index_buffer(p, 1, &index);
  *flops = p->mode == PARE__SCATTER_NONE ? 0 : elements;
  *bytes = (p->mode == PARE__SCATTER_NONE ? 2 : 3) * elements * (double)pare_dtype_bytes(p->dtype[0]) +
           (double)index.elements * (double)pare_dtype_bytes(p->dtype[1]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  int n = snprintf(text, capacity, "%s ", reductions[p->mode].name);
  if (n > 0 && (size_t)n < capacity) pare__index_describe(p, text + n, capacity - (size_t)n);
}

typedef struct instance {
  int mode;
  pare_dtype data, index;
} instance;

static const instance selftests[] = {{PARE__SCATTER_NONE, PARE_I32, PARE_I64}, {PARE__SCATTER_ADD, PARE_F32, PARE_I64}};
static const pare__index_shape selftest_shapes[] = {
    {2, 5, 17, 19, 1, false}, {1, 12, 40, 1, 2, false}, {3, 11, 30, 3, 1, true}};

/* Every dtype's loads and stores once; every reduction in each kind of arithmetic. */
static const instance tests[] = {{PARE__SCATTER_NONE, PARE_I32, PARE_I64}, {PARE__SCATTER_NONE, PARE_U8, PARE_I64},
                                 {PARE__SCATTER_NONE, PARE_I16, PARE_I64}, {PARE__SCATTER_NONE, PARE_I64, PARE_I32},
                                 {PARE__SCATTER_ADD, PARE_F32, PARE_I64},  {PARE__SCATTER_ADD, PARE_F16, PARE_I64},
                                 {PARE__SCATTER_MAX, PARE_BF16, PARE_I64}, {PARE__SCATTER_MUL, PARE_F64, PARE_I64},
                                 {PARE__SCATTER_ADD, PARE_I8, PARE_I64},   {PARE__SCATTER_MIN, PARE_U8, PARE_I64},
                                 {PARE__SCATTER_ADD, PARE_I16, PARE_I64},  {PARE__SCATTER_MUL, PARE_I32, PARE_I64},
                                 {PARE__SCATTER_MIN, PARE_I64, PARE_I64},  {PARE__SCATTER_ADD, PARE_BOOL, PARE_I64},
                                 {PARE__SCATTER_MIN, PARE_F32, PARE_I64},  {PARE__SCATTER_MAX, PARE_F32, PARE_I32},
                                 {PARE__SCATTER_ADD, PARE_U16, PARE_I64},  {PARE__SCATTER_MAX, PARE_U32, PARE_I64},
                                 {PARE__SCATTER_MIN, PARE_U64, PARE_I64}};
static const pare__index_shape test_shapes[] = {
    {3, 101, 57, 131, 1, false}, {2, 9, 37, 11, 1, true},    {3, 24, 61, 5, 3, false},  {1, 101, 3001, 1, 1, true},
    {0, 5, 3, 4, 1, false},      {2, 5, 0, 4, 1, false},     {2, 5, 3, 0, 1, false},    {2, 0, 3, 4, 1, false},
    {1, 1, 1, 1, 1, false},      {1, 24, 2000, 1, 3, false}, {1, 40, 7, 1009, 1, true}, {1, 3, 3, 4099, 1, false}};

static const struct {
  instance instance;
  pare__index_shape shape;
} benches[] = {{{PARE__SCATTER_NONE, PARE_I32, PARE_I64}, {1, 30000, 4096, 768, 1, false}},
               {{PARE__SCATTER_ADD, PARE_F32, PARE_I64}, {1, 30000, 4096, 768, 1, false}},
               {{PARE__SCATTER_ADD, PARE_F32, PARE_I64}, {1, 100000, 100000, 1, 1, false}},
               {{PARE__SCATTER_NONE, PARE_I32, PARE_I64}, {1, 1024, 1024, 1024, 1, true}}};

static bool crossed(const instance *instances, unsigned ninstances, const pare__index_shape *shapes, unsigned nshapes,
                    unsigned index, pare__problem *out) {
  unsigned i = index / nshapes;
  if (i >= ninstances) return false;
  out->mode = instances[i].mode;
  pare__index_problem(&shapes[index % nshapes], instances[i].data, instances[i].index, out);
  return true;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  if (set == PARE__CASES_SELFTEST)
    return crossed(selftests, PARE__COUNT(selftests), selftest_shapes, PARE__COUNT(selftest_shapes), index, out);
  if (set == PARE__CASES_TEST)
    return crossed(tests, PARE__COUNT(tests), test_shapes, PARE__COUNT(test_shapes), index, out);
  if (index >= PARE__COUNT(benches)) return false;
  return crossed(&benches[index].instance, 1, &benches[index].shape, 1, 0, out);
}

const pare__family pare__family_scatter = {
    .name = "scatter",
    .what = "updates of slices and elements named by indices, in order",
    .nbuffers = 4,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = pare__index_generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = pare__index_class,
};
