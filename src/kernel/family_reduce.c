/* The reduction family: sums, extremes, products, norms, log-sum-exp and indices of extremes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_reduce.h"

#include <stdio.h>
#include <string.h>

#include "kernel/reduce_reference.h"

typedef struct reduction {
  const char *name, *map, *merge, *finish;
  bool accumulates; /* integers need 64 bits */
  bool index, pair;
} reduction;

static const reduction reductions[PARE__NREDUCTIONS] = {
    [PARE__REDUCE_SUM] = {"sum", "plain", "sum", "plain", true, false, false},
    [PARE__REDUCE_MEAN] = {"mean", "plain", "sum", "mean", true, false, false},
    [PARE__REDUCE_MIN] = {"min", "plain", "smallest", "plain", false, false, false},
    [PARE__REDUCE_MAX] = {"max", "plain", "largest", "plain", false, false, false},
    [PARE__REDUCE_PRODUCT] = {"product", "plain", "product", "plain", true, false, false},
    [PARE__REDUCE_L1] = {"l1", "magnitude", "sum", "plain", true, false, false},
    [PARE__REDUCE_L2] = {"l2", "square", "sum", "root", true, false, false},
    [PARE__REDUCE_SUM_SQUARE] = {"sum-square", "square", "sum", "plain", true, false, false},
    [PARE__REDUCE_LOG_SUM] = {"log-sum", "plain", "sum", "logarithm", true, false, false},
    [PARE__REDUCE_LOG_SUM_EXP] = {"log-sum-exp", "plain", "logsumexp", "logsumexp", false, false, true},
    [PARE__REDUCE_ARG_MIN] = {"arg-min", "plain", "arg_smallest", "plain", false, true, true},
    [PARE__REDUCE_ARG_MAX] = {"arg-max", "plain", "arg_largest", "plain", false, true, true},
    [PARE__REDUCE_SPREAD] = {"spread", "centred", "sum", "plain", true, false, false},
};

static const reduction *reduction_of(int mode) { return &reductions[mode & PARE__REDUCE_OPERATION]; }

pare_dtype pare__reduce_partial(int mode, pare_dtype dtype) {
  if (dtype == PARE_F64 || dtype == PARE_I64 || dtype == PARE_U64) return dtype;
  if (pare__dtype_is_float(dtype)) return PARE_F32;
  if (dtype == PARE_U32) return reduction_of(mode)->accumulates ? PARE_U64 : PARE_U32;
  return reduction_of(mode)->accumulates ? PARE_I64 : PARE_I32;
}

/* What a pass adds up in: sums of a block of small integers fit 32 bits, and are twice as fast and more than in 64. */
static pare_dtype accumulator(const pare__problem *whole) {
  const int64_t longest = 32768; /* 2^15 elements of up to 2^15, or 2^14 where a byte is squared */
  const reduction *r = reduction_of(whole->mode);
  pare_dtype dtype = whole->dtype[0], partial = pare__reduce_partial(whole->mode, dtype);
  size_t element = pare_dtype_bytes(dtype);
  bool squares = strcmp(r->map, "square") == 0, root = strcmp(r->finish, "root") == 0;
  bool small = partial == PARE_I64 && (whole->mode & PARE__REDUCE_FIRST) && strcmp(r->merge, "sum") == 0 &&
               whole->dim[PARE__REDUCE_BLOCK] <= longest && element <= (squares ? 1U : 2U);
  return small && !(root && (whole->mode & PARE__REDUCE_FINAL)) ? PARE_I32 : partial;
}

bool pare__reduce_is_pair(int mode) { return reduction_of(mode)->pair; }

int64_t pare__reduce_block(int64_t reduced, int64_t inner) {
  const int64_t row_block = 32768, column_block = 1024;
  return PARE__MAX(1, PARE__MIN(reduced, inner == 1 ? row_block : column_block));
}

/* ---- variants ---- */

static const int widths[] = {8, 4, 16, 2, 0}, unrolls[] = {4, 2, 8, 0}, groups[] = {256, 128, 64, 0};
static const pare__param item_params[] = {{"WIDTH", widths}, {"UNROLL", unrolls}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};

static void item_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  int lanes = (int)(info->can.vector_bits / 8 / pare_dtype_bytes(accumulator(whole)));
  if (pare_dtype_bytes(whole->dtype[0]) < 4 && !pare__dtype_is_float(whole->dtype[0])) lanes *= 2; /* wider loads */
  tuning->value[0] = PARE__MAX(2, PARE__MIN(lanes, 16));
  tuning->value[1] = 4;
}

static int64_t block_length(const pare__problem *p) {
  return PARE__MIN(p->dim[PARE__REDUCE_BLOCK], p->dim[PARE__REDUCE_REDUCED]);
}

/* A block is walked by one item; columns also walk the vectors of a row. */
static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  int64_t steps = block_length(whole) * (whole->dim[PARE__REDUCE_INNER] == 1 ? 1 : 32);
  return info->can.max_loop_steps == 0 || steps < info->can.max_loop_steps;
}

static int64_t block_count(const pare__problem *p) {
  return PARE__MAX(1, pare__div_up(p->dim[PARE__REDUCE_REDUCED], p->dim[PARE__REDUCE_BLOCK]));
}

static const char *lift_of(int mode) {
  const reduction *r = reduction_of(mode);
  if (r->index) return "index";
  if (!r->pair) return "none";
  return mode & PARE__REDUCE_FIRST ? "one" : "loaded";
}

/* The ends of a dtype, as OpenCL C. */
static const char *const ends[PARE_NDTYPES][2] = {[PARE_F32] = {"(-INFINITY)", "INFINITY"},
                                                  [PARE_F16] = {"(-INFINITY)", "INFINITY"},
                                                  [PARE_BF16] = {"(-INFINITY)", "INFINITY"},
                                                  [PARE_F64] = {"(-INFINITY)", "INFINITY"},
                                                  [PARE_I8] = {"(-128)", "127"},
                                                  [PARE_U8] = {"0", "255"},
                                                  [PARE_I16] = {"(-32768)", "32767"},
                                                  [PARE_I32] = {"INT_MIN", "INT_MAX"},
                                                  [PARE_I64] = {"LONG_MIN", "LONG_MAX"},
                                                  [PARE_BOOL] = {"0", "1"},
                                                  [PARE_U16] = {"0", "65535"},
                                                  [PARE_U32] = {"0", "UINT_MAX"},
                                                  [PARE_U64] = {"0", "ULONG_MAX"}};

static void options_of(const pare__problem *whole, const char *more, char *text, size_t capacity) {
  int mode = whole->mode;
  const reduction *r = reduction_of(mode);
  bool first = mode & PARE__REDUCE_FIRST, final = mode & PARE__REDUCE_FINAL;
  pare_dtype sums = accumulator(whole);
  pare_dtype extra = r->index ? (pare_dtype_bytes(sums) == 4 ? PARE_I32 : PARE_I64) : sums;
  snprintf(text, capacity,
           "-DACC=%s -DEXTRA=%s -DMAP=%s -DMERGE=%s -DLIFT=%s -DFINISH=%s -DLOWEST=%s -DHIGHEST=%s -DTIE_LAST=%d "
           "-DFIRST=%d -DCENTRED=%d -DSAVE_VALUE=%d -DSAVE_INDEX=%d -DSAVE_SECOND=%d %s",
           pare_dtype_name(sums), pare_dtype_name(extra), first ? r->map : "plain", r->merge, lift_of(mode),
           final ? r->finish : "plain", ends[whole->dtype[0]][0], ends[whole->dtype[0]][1],
           (mode & PARE__REDUCE_LAST_INDEX) != 0, first,
           first && (mode & PARE__REDUCE_OPERATION) == PARE__REDUCE_SPREAD, !(r->index && final), r->index,
           r->pair && !r->index && !final, more);
}

static void push_arguments(pare__args *args, const pare__run *run) {
  const pare__problem *piece = run->piece;
  for (unsigned i = 0; i < 4; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
  }
  pare__arg_long(args, piece->dim[PARE__REDUCE_OUTER]);
  pare__arg_long(args, piece->dim[PARE__REDUCE_REDUCED]);
  pare__arg_long(args, piece->dim[PARE__REDUCE_INNER]);
  pare__arg_int(args, (int32_t)piece->dim[PARE__REDUCE_BLOCK]);
  pare__arg_long(args, block_count(piece));
  for (int i = PARE__REDUCE_X_OUTER; i <= PARE__REDUCE_COUNT; i++) pare__arg_long(args, piece->dim[i]);
}

static pare_status launch_items(const pare__run *run) {
  const pare__problem *piece = run->piece;
  char options[400];
  options_of(run->whole, "", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  int64_t outer = piece->dim[PARE__REDUCE_OUTER], inner = piece->dim[PARE__REDUCE_INNER], blocks = block_count(piece);
  const size_t one[3] = {1, 1, 1};
  if (run->whole->dim[PARE__REDUCE_INNER] == 1) {
    /* enough work an item to pay for it, enough items for all units */
    int64_t units = pare__device_info(run->device)->compute_units, rows = outer * blocks;
    int64_t by_work = 8192 / (block_length(piece) + 8), by_units = rows / (units * 8);
    int64_t rows_per_item = PARE__MAX(1, PARE__MIN(by_work, by_units));
    pare__arg_int(&args, (int32_t)rows_per_item);
    const size_t global[1] = {(size_t)pare__div_up(rows, rows_per_item)};
    return pare__run_kernel(run, "reduce_rows", options, 1, global, one, &args);
  }
  const int columns = pare__tuned(run, "WIDTH") * 16;
  const size_t global[3] = {(size_t)pare__div_up(inner, columns), (size_t)blocks, (size_t)outer};
  return pare__run_kernel(run, "reduce_columns", options, 3, global, one, &args);
}

static int power_of_two(int64_t at_least, int at_most) {
  int power = 1;
  while (power < at_least && power < at_most) power *= 2;
  return power;
}

static pare_status launch_groups(const pare__run *run) {
  const pare__problem *piece = run->piece;
  char options[400];
  options_of(run->whole, "-DWIDTH=1", options, sizeof options);
  int group = pare__tuned(run, "GROUP");
  /* whole, not piece: the tree's shape decides the order of additions */
  int columns = power_of_two(run->whole->dim[PARE__REDUCE_INNER], 32);
  int lanes = power_of_two(block_length(run->whole), group / columns), spans = group / (columns * lanes);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_int(&args, columns);
  pare__arg_int(&args, lanes);
  int64_t rows = piece->dim[PARE__REDUCE_OUTER] * block_count(piece);
  int64_t tiles = pare__div_up(piece->dim[PARE__REDUCE_INNER], columns);
  const size_t global[1] = {(size_t)(pare__div_up(rows, spans) * tiles * group)}, local[1] = {(size_t)group};
  return pare__run_kernel(run, "reduce_group", options, 1, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "item",
     .file = "reduce.cl",
     .shaped = PARE__FOR_CPU,
     .params = item_params,
     .defaults = item_defaults,
     .accepts = item_accepts,
     .launch = launch_items},
    {.name = "group", .file = "reduce.cl", .shaped = PARE__FOR_GPU, .params = group_params, .launch = launch_groups},
    {.name = NULL},
};

/* ---- problems ---- */

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const reduction *r = reduction_of(p->mode);
  bool first = p->mode & PARE__REDUCE_FIRST, final = p->mode & PARE__REDUCE_FINAL;
  bool spread = first && (p->mode & PARE__REDUCE_OPERATION) == PARE__REDUCE_SPREAD;
  int64_t outer = p->dim[PARE__REDUCE_OUTER], inner = p->dim[PARE__REDUCE_INNER];
  const bool present[4] = {true, spread || (r->pair && !first), !(r->index && final), r->index || (r->pair && !final)};
  out->role = !present[i] ? PARE__ABSENT : i < 2 ? PARE__IN : PARE__OUT;
  out->elements = i < 2 ? outer * p->dim[PARE__REDUCE_X_OUTER] : outer * p->dim[PARE__REDUCE_Y_OUTER];
  if (i == 1 && spread) out->elements = outer * inner;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  double in =
      (double)p->dim[PARE__REDUCE_OUTER] * (double)p->dim[PARE__REDUCE_REDUCED] * (double)p->dim[PARE__REDUCE_INNER];
  double out = (double)p->dim[PARE__REDUCE_OUTER] * (double)block_count(p) * (double)p->dim[PARE__REDUCE_INNER];
  *flops = in;
  *bytes = in * (double)pare_dtype_bytes(p->dtype[0]) + out * (double)pare_dtype_bytes(p->dtype[2]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s%s%s %lldx%lldx%lld/%lld %s", reduction_of(p->mode)->name,
           p->mode & PARE__REDUCE_LAST_INDEX ? " last" : "", p->mode & PARE__REDUCE_FIRST ? "" : " of partial",
           p->mode & PARE__REDUCE_FINAL ? "" : " to partial", (long long)p->dim[PARE__REDUCE_OUTER],
           (long long)p->dim[PARE__REDUCE_REDUCED], (long long)p->dim[PARE__REDUCE_INNER],
           (long long)p->dim[PARE__REDUCE_BLOCK], pare_dtype_name(p->dtype[0]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s %s", reduction_of(p->mode)->merge, pare_dtype_name(p->dtype[0]),
           p->dim[PARE__REDUCE_INNER] > 1      ? "columns"
           : p->dim[PARE__REDUCE_REDUCED] < 64 ? "short rows"
                                               : "rows");
}

typedef struct shape {
  int64_t outer, reduced, inner, block, gap; /* gap: elements between the rows of x, so that it is a view */
} shape;

static void make_problem(int mode, pare_dtype dtype, const shape *s, pare__problem *out) {
  const reduction *r = reduction_of(mode);
  pare_dtype partial = pare__reduce_partial(mode, dtype);
  bool first = mode & PARE__REDUCE_FIRST, final = mode & PARE__REDUCE_FINAL;
  out->mode = mode;
  out->dtype[0] = first ? dtype : partial;
  out->dtype[2] = final ? dtype : partial;
  out->dtype[1] = out->dtype[3] = r->index ? PARE_I64 : partial;
  const int64_t x_reduced = s->inner == 1 ? 1 : s->inner + s->gap;
  const int64_t dims[] = {s->outer,
                          s->reduced,
                          s->inner,
                          s->block,
                          s->reduced * x_reduced + s->gap,
                          x_reduced,
                          PARE__MAX(1, pare__div_up(s->reduced, s->block)) * s->inner,
                          s->inner,
                          first ? 7 : 0,
                          s->reduced};
  for (unsigned i = 0; i < PARE__COUNT(dims); i++) out->dim[i] = dims[i];
}

#define WHOLE (PARE__REDUCE_FIRST | PARE__REDUCE_FINAL)

static const shape selftest_shapes[] = {{3, 203, 1, 203, 0}, {5, 3, 1, 3, 2}, {2, 300, 1, 128, 0}, {2, 9, 37, 4, 1}};
static const struct {
  int mode;
  pare_dtype dtype;
} selftest_modes[] = {{PARE__REDUCE_SUM | WHOLE, PARE_F32},
                      {PARE__REDUCE_MAX | WHOLE, PARE_F32},
                      {PARE__REDUCE_ARG_MAX | WHOLE, PARE_F32},
                      {PARE__REDUCE_LOG_SUM_EXP | PARE__REDUCE_FIRST, PARE_F32},
                      {PARE__REDUCE_LOG_SUM_EXP | PARE__REDUCE_FINAL, PARE_F32},
                      {PARE__REDUCE_SUM | WHOLE, PARE_I8}};

/* Odd, prime, empty, long and broad ones. */
static const shape test_shapes[] = {{1, 0, 1, 1, 0},         {2, 0, 3, 1, 0},       {0, 5, 1, 5, 0},
                                    {1, 1, 1, 1, 0},         {7, 2, 1, 2, 0},       {3, 1009, 1, 1009, 3},
                                    {1, 70001, 1, 32768, 0}, {2, 2500, 3, 1024, 0}, {1, 131, 257, 131, 5},
                                    {3, 2, 8, 2, 0},         {1, 1, 1000, 1, 0}};
static const int phases[] = {WHOLE, PARE__REDUCE_FIRST, 0, PARE__REDUCE_FINAL, WHOLE | PARE__REDUCE_LAST_INDEX};

static const struct {
  int operation;
  pare_dtype dtype;
  shape shape;
} bench[] = {{PARE__REDUCE_SUM | PARE__REDUCE_FIRST, PARE_F32, {1, 100000000, 1, 32768, 0}},
             {PARE__REDUCE_MAX | PARE__REDUCE_FIRST, PARE_F32, {1, 100000000, 1, 32768, 0}},
             {PARE__REDUCE_SUM | WHOLE, PARE_F32, {4096, 1024, 1, 1024, 0}},
             {PARE__REDUCE_SUM | WHOLE, PARE_F32, {1000000, 16, 1, 16, 0}},
             {PARE__REDUCE_SUM | PARE__REDUCE_FIRST, PARE_F32, {1, 16384, 1000, 1024, 0}},
             {PARE__REDUCE_ARG_MAX | PARE__REDUCE_FIRST, PARE_F32, {1, 10000000, 1, 32768, 0}},
             {PARE__REDUCE_LOG_SUM_EXP | PARE__REDUCE_FIRST, PARE_F32, {1, 10000000, 1, 32768, 0}},
             {PARE__REDUCE_SUM | PARE__REDUCE_FIRST, PARE_I8, {1, 100000000, 1, 32768, 0}},
             {PARE__REDUCE_MAX | PARE__REDUCE_FIRST, PARE_I8, {1, 100000000, 1, 32768, 0}},
             {PARE__REDUCE_SUM | PARE__REDUCE_FIRST, PARE_I16, {1, 100000000, 1, 32768, 0}},
             {PARE__REDUCE_MAX | PARE__REDUCE_FIRST, PARE_BOOL, {1, 100000000, 1, 32768, 0}}};

static bool takes(int operation, pare_dtype dtype) {
  bool is_float = pare__dtype_is_float(dtype);
  switch (operation) {
  case PARE__REDUCE_LOG_SUM:
  case PARE__REDUCE_LOG_SUM_EXP:
  case PARE__REDUCE_SPREAD: return is_float;
  case PARE__REDUCE_MIN:
  case PARE__REDUCE_MAX:
  case PARE__REDUCE_ARG_MIN:
  case PARE__REDUCE_ARG_MAX: return true;
  default: return dtype != PARE_BOOL;
  }
}

/* Does this combination say anything that another does not? */
static bool is_test(int mode, pare_dtype dtype, const shape *s) {
  int operation = mode & PARE__REDUCE_OPERATION;
  bool index = reduction_of(mode)->index, whole = (mode & WHOLE) == WHOLE;
  if (!takes(operation, dtype)) return false;
  if ((mode & PARE__REDUCE_LAST_INDEX) && !index) return false;
  if (s->reduced == 0 && (index || operation == PARE__REDUCE_MEAN)) return false;
  if (operation == PARE__REDUCE_SPREAD && !(mode & PARE__REDUCE_FIRST)) return false;
  /* dtypes differ in loads, stores and the kind of the sums only */
  bool typical = operation == PARE__REDUCE_SUM || operation == PARE__REDUCE_MAX || operation == PARE__REDUCE_ARG_MAX;
  if (dtype == PARE_F32) return whole || s->reduced == 131 || s->reduced == 1009;
  return whole && (typical || dtype == PARE_I32 || dtype == PARE_F64) && (s->reduced == 1009 || s->reduced == 131);
}

static bool test_problem(const pare_device_info *info, unsigned index, pare__problem *out) {
  for (int operation = 0; operation < PARE__NREDUCTIONS; operation++)
    for (int dtype = 0; dtype < PARE__FIRST_TINY; dtype++)
      for (unsigned phase = 0; phase < PARE__COUNT(phases); phase++)
        for (unsigned i = 0; i < PARE__COUNT(test_shapes); i++) {
          int mode = operation | phases[phase];
          if ((dtype == PARE_F64 && !info->can.f64) || !is_test(mode, (pare_dtype)dtype, &test_shapes[i])) continue;
          if (index-- > 0) continue;
          make_problem(mode, (pare_dtype)dtype, &test_shapes[i], out);
          return true;
        }
  return false;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  if (set == PARE__CASES_TEST) return test_problem(info, index, out);
  if (set == PARE__CASES_BENCH) {
    if (index >= PARE__COUNT(bench)) return false;
    make_problem(bench[index].operation, bench[index].dtype, &bench[index].shape, out);
    return true;
  }
  unsigned mode = index / PARE__COUNT(selftest_shapes), i = index % PARE__COUNT(selftest_shapes);
  if (mode >= PARE__COUNT(selftest_modes)) return false;
  make_problem(selftest_modes[mode].mode, selftest_modes[mode].dtype, &selftest_shapes[i], out);
  return true;
}

const pare__family pare__family_reduce = {
    .name = "reduce",
    .what = "sums, extremes, products, norms, log-sum-exp, indices of extremes over any axes",
    .nbuffers = 4,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = pare__reduce_generate,
    .reference = pare__reduce_reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
