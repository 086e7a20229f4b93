/* Family "elementwise": y = f(a), f(a, b) or f(a, b, c), strided and broadcast. SPDX-License-Identifier: Apache-2.0
 *
 * Buffers 0 to 2 are the inputs, 3 is the output; kernel/elementwise.h says what dim, mode and real hold. No element
 * depends on another: any way to cut the work gives the same bits. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/elementwise.h"
#include "kernel/reference.h"
#include "kernel/walk.h"

enum { OUT = PARE__ELEMENTWISE_OUT, NCOMPUTED = PARE__FIRST_TINY };

/* ---- launching ---- */

static void walk_problem(const pare__problem *problem, int arity, pare__walk *walk) {
  const int64_t *stride[PARE__WALK_TENSORS] = {problem->dim + PARE_MAX_RANK * (1 + OUT)};
  for (int t = 0; t < arity; t++) stride[1 + t] = problem->dim + PARE_MAX_RANK * (1 + t);
  pare__walk_make(walk, problem->dim, 1 + (unsigned)arity, stride, 0);
}

/* An integer parameter: what lies outside of the dtype saturates for clip and wraps in arithmetic. */
static uint64_t unsigned_parameter(int mode, double value, double most, uint64_t largest) {
  if (value >= most) return largest;
  if (value < 0 && mode == PARE__UNARY + PARE_UNARY_clip) return 0;
  return value <= -0x1p63 ? UINT64_C(1) << 63 : value < 0 ? (uint64_t)(int64_t)value : (uint64_t)value;
}

static void push_parameter(pare__args *args, int mode, pare_dtype dtype, double value) {
  switch (dtype) {
  case PARE_U64: pare__arg_long(args, (int64_t)unsigned_parameter(mode, value, 0x1p64, UINT64_MAX)); return;
  case PARE_U32: pare__arg_int(args, (int32_t)unsigned_parameter(mode, value, 0x1p32, UINT32_MAX)); return;
  case PARE_F64: pare__arg_double(args, value); return;
  case PARE_I64:
    pare__arg_long(args, value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN : (int64_t)value);
    return;
  case PARE_F32:
  case PARE_F16:
  case PARE_BF16: pare__arg_float(args, (float)value); return;
  default: pare__arg_int(args, value >= 0x1p31 ? INT32_MAX : value <= -0x1p31 ? INT32_MIN : (int32_t)value);
  }
}

static void push_arguments(const pare__run *run, int arity, const pare__walk *walk, int64_t chunk, pare__args *args) {
  args->count = 0;
  pare__arg_long(args, walk->count);
  pare__arg_long(args, chunk);
  pare__arg_int(args, walk->rank);
  pare__arg_long8(args, walk->dim);
  pare__arg_mem(args, run->operand[OUT].mem);
  pare__arg_long(args, run->operand[OUT].offset);
  pare__arg_long8(args, walk->stride[0]);
  pare_dtype computed = run->whole->dtype[run->whole->mode == PARE__TERNARY + PARE_TERNARY_where];
  push_parameter(args, run->whole->mode, computed, run->whole->real[0]);
  push_parameter(args, run->whole->mode, computed, run->whole->real[1]);
  for (int t = 0; t < arity; t++) {
    pare__arg_mem(args, run->operand[t].mem);
    pare__arg_long(args, run->operand[t].offset);
    pare__arg_long8(args, walk->stride[1 + t]);
  }
}

/* Whole vectors along rows need the elements of the output side by side, and those of the inputs side by side or all
 * the same. */
static bool has_rows(const pare__walk *walk, int arity) {
  for (int t = 0; t < arity; t++)
    if (walk->stride[1 + t][0] != 0 && walk->stride[1 + t][0] != 1) return false;
  return (walk->stride[0][0] == 1 || walk->dim[0] == 1) && (walk->rank == 1 || walk->dim[0] >= 8);
}

/* Elements of one work-item: enough to be worth a group, few enough that all units have work. */
static int64_t chunk_length(const pare_device_info *info, bool heavy, int64_t count) {
  const int64_t least = heavy ? 1024 : 8192, most = info->can.max_loop_steps ? 4096 : 32768;
  int64_t chunk = pare__round_up(pare__div_up(count, (int64_t)info->compute_units * 8), 64);
  return PARE__MIN(PARE__MAX(chunk, least), most);
}

static pare_status launch_chunks(const pare__run *run) {
  const pare__elementwise *operation = pare__elementwise_get(run->whole->mode);
  pare__walk walk;
  pare__args args;
  walk_problem(run->piece, operation->arity, &walk);
  int64_t chunk = chunk_length(pare__device_info(run->device), operation->heavy, walk.count);
  push_arguments(run, operation->arity, &walk, chunk, &args);
  size_t global = (size_t)pare__div_up(walk.count, chunk), local = 1;
  return pare__run_kernel(run, has_rows(&walk, operation->arity) ? "rows" : "lanes", operation->options, 1, &global,
                          &local, &args);
}

static pare_status launch_grid(const pare__run *run) {
  enum { GROUP = 64, MOST_ITEMS = 1 << 22 };
  const pare__elementwise *operation = pare__elementwise_get(run->whole->mode);
  pare__walk walk;
  pare__args args;
  walk_problem(run->piece, operation->arity, &walk);
  push_arguments(run, operation->arity, &walk, 0, &args);
  size_t local = GROUP, global = (size_t)pare__round_up(PARE__MIN(walk.count, MOST_ITEMS), GROUP);
  return pare__run_kernel(run, "grid", operation->options, 1, &global, &local, &args);
}

/* ---- variants ---- */

static int64_t elements(const pare__problem *problem) {
  int64_t count = 1;
  for (int d = 0; d < PARE_MAX_RANK; d++) count *= problem->dim[d];
  return count;
}

/* An output larger than this would only push other data out of the cache. */
#define STREAM_BYTES ((int64_t)16 << 20)

static void chunks_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  bool wide_values = false;
  for (int i = 0; i <= OUT; i++) wide_values = wide_values || pare_dtype_bytes(whole->dtype[i]) == 8;
  int width = info->can.vector_bits >= 256 ? 16 : info->can.vector_bits >= 128 ? 8 : 4;
  if (info->can.lane_vectors) width = 4;
  tuning->value[0] = wide_values ? PARE__MAX(width / 2, 2) : width;
  /* Rows of fewer elements, such as blocks of channels times a number for each: a vector is a row. */
  pare__walk walk;
  walk_problem(whole, pare__elementwise_get(whole->mode)->arity, &walk);
  const bool short_rows = walk.rank > 1 && walk.dim[0] < tuning->value[0] && (walk.dim[0] == 8 || walk.dim[0] == 4);
  if (short_rows) tuning->value[0] = (int)walk.dim[0];
  bool large = elements(whole) * (int64_t)pare_dtype_bytes(whole->dtype[OUT]) >= STREAM_BYTES;
  tuning->value[1] = large && info->can.nontemporal_store ? 2 : 1;
}

static void grid_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  (void)info;
  tuning->value[2] = elements(whole) >= INT32_MAX ? 2 : 1;
}

/* STREAM and WIDE_INDEX: 1 no, 2 yes. */
static const int widths[] = {16, 8, 4, 2, 0}, one[] = {1, 0}, two[] = {1, 2, 0};
static const pare__param chunks_params[] = {{"VW", widths}, {"STREAM", two}, {NULL, NULL}};
static const pare__param grid_params[] = {{"VW", one}, {"SHAPED_FOR_GPU", one}, {"WIDE_INDEX", two}, {NULL, NULL}};

enum { CHUNKS_NEUTRAL = 2, GRID_NEUTRAL = 6 }; /* all but the width of vectors */

static const pare__variant variants[] = {
    {.name = "chunks",
     .file = "elementwise.cl",
     .shaped = PARE__FOR_CPU,
     .params = chunks_params,
     .neutral = CHUNKS_NEUTRAL,
     .defaults = chunks_defaults,
     .launch = launch_chunks},
    {.name = "grid",
     .file = "elementwise.cl",
     .shaped = PARE__FOR_GPU,
     .params = grid_params,
     .neutral = GRID_NEUTRAL,
     .defaults = grid_defaults,
     .launch = launch_grid},
    {.name = NULL},
};

/* ---- problems ---- */

/* How inputs and output lie in memory. */
typedef struct layout {
  int64_t dim[PARE_MAX_RANK];
  unsigned broadcast[3]; /* bit d set: input t has stride 0 along dimension d */
  bool reversed[4];      /* strides grow from left to right, as in a transposed view */
  int64_t gap[4];        /* elements between two of the innermost dimension */
} layout;

static const layout layouts[] = {
    {{1, 1, 1, 1, 1, 1, 1, 1037}, {0}, {0}, {1, 1, 1, 1}},
    {{1, 1, 1, 1, 1, 1, 7, 83}, {0, 1u << 6, 1u << 7}, {0}, {1, 1, 1, 1}},
    {{1, 1, 1, 1, 5, 3, 4, 6}, {0, 1u << 5, 1u << 4 | 1u << 7}, {true}, {1, 1, 2, 1}},
    {{1, 1, 1, 1, 1, 1, 33, 5}, {1u << 7}, {false, true, false, true}, {1, 1, 3, 2}},
    {{1, 1, 1, 1, 1, 1, 1, 1}, {0}, {0}, {1, 1, 1, 1}},
    {{1, 1, 1, 1, 1, 3, 0, 5}, {0}, {0}, {1, 1, 1, 1}},
    {{2, 3, 2, 3, 2, 2, 3, 2}, {1u << 3, 1u << 1 | 1u << 6, 0}, {false, true}, {1, 1, 1, 1}},
    {{1, 1, 1, 1, 1, 1, 1, 70001}, {0, 1u << 7}, {0}, {1, 1, 1, 1}},
    {{1, 1, 1, 1, 1, 7, 59, 8}, {0, 1u << 6, 1u << 7}, {0}, {1, 1, 1, 1}},
};
enum { SELFTEST_LAYOUTS = 4, TEST_LAYOUTS = PARE__COUNT(layouts) };

static void set_layout(pare__problem *problem, const layout *from) {
  memcpy(problem->dim, from->dim, sizeof from->dim);
  for (int t = 0; t <= OUT; t++) {
    int64_t *stride = pare__elementwise_strides(problem, t), step = from->gap[t];
    for (int i = 0; i < PARE_MAX_RANK; i++) {
      int d = from->reversed[t] ? i : PARE_MAX_RANK - 1 - i;
      bool broadcast = t < OUT && (from->broadcast[t] >> d & 1u);
      stride[d] = broadcast ? 0 : step;
      if (!broadcast) step *= PARE__MAX(from->dim[d], 1);
    }
  }
  problem->real[0] = 0.25;
  problem->real[1] = 1.5;
}

static void set_operation(pare__problem *problem, int mode, pare_dtype dtype, pare_dtype cast_to) {
  const pare__elementwise *operation = pare__elementwise_get(mode);
  bool where = mode == PARE__TERNARY + PARE_TERNARY_where;
  problem->mode = mode;
  for (int t = 0; t < operation->arity; t++) problem->dtype[t] = where && t == 0 ? PARE_BOOL : dtype;
  problem->dtype[OUT] = operation->result == PARE__SAME      ? dtype
                        : operation->result == PARE__TO_BOOL ? PARE_BOOL
                                                             : cast_to;
}

/* Tests go through every operation with its main dtype and one other that changes from operation to operation, then
 * through half of all casts (every dtype meets half of the others), then through all layouts with a few operations. The
 * layout changes from problem to problem. */
static pare_dtype other_dtype(int mode, uint32_t allowed) {
  int dtype = (mode * 3 + 1) % NCOMPUTED;
  while (!(allowed >> dtype & 1u)) dtype = (dtype + 1) % NCOMPUTED;
  return (pare_dtype)dtype;
}

static bool operation_problem(unsigned index, pare__problem *out) {
  int mode = (int)(index / 2);
  if (mode >= PARE__CAST) return false;
  uint32_t allowed = pare__elementwise_get(mode)->dtypes;
  static const pare_dtype main_dtypes[] = {PARE_F32, PARE_I32, PARE_BOOL};
  int which = 0;
  while (which + 1 < (int)PARE__COUNT(main_dtypes) && !(allowed >> main_dtypes[which] & 1u)) which++;
  set_operation(out, mode, index % 2 == 0 ? main_dtypes[which] : other_dtype(mode, allowed), PARE_F32);
  set_layout(out, &layouts[index % 5]);
  return true;
}

static bool test_problem(unsigned index, pare__problem *out) {
  static const int everywhere[] = {PARE__UNARY + PARE_UNARY_neg, PARE__BINARY + PARE_BINARY_sub,
                                   PARE__TERNARY + PARE_TERNARY_where};
  if (operation_problem(index, out)) return true;
  index -= PARE__CAST * 2;
  const unsigned half = (NCOMPUTED + 1) / 2;
  if (index < NCOMPUTED * half) {
    unsigned from = index / half, to = (index % half * 2 + from % 2) % NCOMPUTED;
    set_operation(out, PARE__CAST, (pare_dtype)from, (pare_dtype)to);
    set_layout(out, &layouts[index % 3]);
    return true;
  }
  index -= NCOMPUTED * half;
  /* Floats of a byte: one way each; the formats share their code, and the host's tests hold all of their numbers. */
  if (index < PARE_NDTYPES - NCOMPUTED) {
    const pare_dtype tiny = (pare_dtype)(NCOMPUTED + index);
    const bool to = tiny == PARE_F8E4M3FN || tiny == PARE_F8E5M2FNUZ || tiny == PARE_F4E2M1;
    set_operation(out, PARE__CAST, to ? PARE_F32 : tiny, to ? tiny : PARE_F32);
    set_layout(out, &layouts[index % 3]);
    return true;
  }
  index -= PARE_NDTYPES - NCOMPUTED;
  if (index >= PARE__COUNT(everywhere) * TEST_LAYOUTS) return false;
  set_operation(out, everywhere[index / TEST_LAYOUTS], PARE_F32, PARE_F32);
  set_layout(out, &layouts[index % TEST_LAYOUTS]);
  return true;
}

/* A few operations in each of the first layouts; floats of a byte, which code of their own converts, in one. */
static bool selftest_problem(unsigned index, pare__problem *out) {
  static const pare_dtype tiny[][2] = {{PARE_F32, PARE_F8E4M3FN}, {PARE_F8E8M0, PARE_F32}};
  static const struct {
    int mode;
    pare_dtype dtype, to;
  } rows[] = {{PARE__BINARY + PARE_BINARY_add, PARE_F32, PARE_F32},
              {PARE__UNARY + PARE_UNARY_gelu, PARE_F32, PARE_F32},
              {PARE__CAST, PARE_F32, PARE_F16},
              {PARE__CAST, PARE_BF16, PARE_F32},
              {PARE__BINARY + PARE_BINARY_mul, PARE_I64, PARE_I64},
              {PARE__TERNARY + PARE_TERNARY_where, PARE_F32, PARE_F32}};
  if (index >= PARE__COUNT(rows) * SELFTEST_LAYOUTS) {
    index -= PARE__COUNT(rows) * SELFTEST_LAYOUTS;
    if (index >= PARE__COUNT(tiny)) return false;
    set_operation(out, PARE__CAST, tiny[index][0], tiny[index][1]);
    set_layout(out, &layouts[1]);
    return true;
  }
  set_operation(out, rows[index / SELFTEST_LAYOUTS].mode, rows[index / SELFTEST_LAYOUTS].dtype,
                rows[index / SELFTEST_LAYOUTS].to);
  set_layout(out, &layouts[index % SELFTEST_LAYOUTS]);
  return true;
}

static bool bench_problem(unsigned index, pare__problem *out) {
  static const layout large = {{1, 1, 1, 1, 1, 1, 1, 1 << 25}, {0}, {0}, {1, 1, 1, 1}},
                      bias = {{1, 1, 1, 1, 1, 1, 1 << 13, 1 << 11}, {0, 1u << 6}, {0}, {1, 1, 1, 1}},
                      small = {{1, 1, 1, 1, 1, 1, 1, 1024}, {0}, {0}, {1, 1, 1, 1}};
  static const struct {
    int mode;
    pare_dtype dtype, to;
    const layout *layout;
  } rows[] = {{PARE__UNARY + PARE_UNARY_relu, PARE_F32, PARE_F32, &large},
              {PARE__BINARY + PARE_BINARY_add, PARE_F32, PARE_F32, &large},
              {PARE__UNARY + PARE_UNARY_exp, PARE_F32, PARE_F32, &large},
              {PARE__UNARY + PARE_UNARY_gelu, PARE_F32, PARE_F32, &large},
              {PARE__UNARY + PARE_UNARY_tanh, PARE_F32, PARE_F32, &large},
              {PARE__BINARY + PARE_BINARY_add, PARE_F32, PARE_F32, &bias},
              {PARE__CAST, PARE_F32, PARE_F16, &large},
              {PARE__CAST, PARE_F16, PARE_F32, &large},
              {PARE__CAST, PARE_F32, PARE_BF16, &large},
              {PARE__BINARY + PARE_BINARY_add, PARE_F32, PARE_F32, &small}};
  if (index >= PARE__COUNT(rows)) return false;
  set_operation(out, rows[index].mode, rows[index].dtype, rows[index].to);
  set_layout(out, rows[index].layout);
  return true;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  memset(out, 0, sizeof *out);
  if (set == PARE__CASES_SELFTEST) return selftest_problem(index, out);
  return set == PARE__CASES_TEST ? test_problem(index, out) : bench_problem(index, out);
}

static void buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const pare__elementwise *operation = pare__elementwise_get(problem->mode);
  if (i != OUT && (int)i >= operation->arity) {
    *out = (pare__buffer_spec){PARE__ABSENT, 0};
    return;
  }
  out->role = i == OUT ? PARE__OUT : PARE__IN;
  out->elements = pare__span(problem->dim, problem->dim + PARE_MAX_RANK * (1 + i));
}

/* ---- inputs and reference ---- */

static double float_value(uint64_t bits) {
  static const double special[] = {0,   -0.0, 1,   -1, INFINITY, -INFINITY, NAN, 88.5,
                                   -90, 1e-3, 300, 2,  0.5,      -2.5,      1.5, 3};
  if (bits % 8 == 0) return special[bits >> 8 & 15];
  return ((double)(bits >> 11) * 0x1p-53 - 0.5) * (bits % 8 == 1 ? 40 : 8);
}

/* Exponents and shifts are small; other integers have all lengths. */
static int64_t integer_value(uint64_t bits, bool small) {
  return small ? (int64_t)(bits >> 40) % 67 - 2 : (int64_t)bits >> (bits & 63);
}

static void generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data) {
  pare_dtype dtype = problem->dtype[i];
  pare__buffer_spec spec;
  buffer(problem, i, &spec);
  bool small = i == 1 && (problem->mode == PARE__BINARY + PARE_BINARY_pow ||
                          problem->mode == PARE__BINARY + PARE_BINARY_shift_left ||
                          problem->mode == PARE__BINARY + PARE_BINARY_shift_right);
  uint64_t state = seed * 4 + i;
  size_t element = pare_dtype_bytes(dtype);
  for (int64_t k = 0; k < spec.elements; k++) {
    uint64_t bits = pare__reference_random(&state);
    if (pare__dtype_is_float(dtype)) {
      pare__store(dtype, data, (size_t)k, float_value(bits));
    } else {
      int64_t value = dtype == PARE_BOOL ? (int64_t)(bits >> 63) : integer_value(bits, small);
      memcpy((char *)data + (size_t)k * element, &value, element); /* little-endian, like every OpenCL host */
    }
  }
}

/* The value that is left of an integer in a dtype. */
static double wrap_integer(pare_dtype dtype, int64_t value) {
  switch (dtype) {
  case PARE_I8: return (int8_t)value;
  case PARE_U8: return (uint8_t)value;
  case PARE_I16: return (int16_t)value;
  case PARE_I32: return (int32_t)value;
  case PARE_U16: return (uint16_t)value;
  case PARE_U32: return (uint32_t)value;
  case PARE_U64: return (double)(uint64_t)value;
  default: return (double)value;
  }
}

static double rounded(pare_dtype dtype, double value) {
  uint64_t storage = 0;
  pare__store(dtype, &storage, 0, value);
  return pare__load(dtype, &storage, 0);
}

/* Casts between integers keep low bits; what else a cast does is what pare__store does. Integers beyond 2^53 do not
 * become 16-bit floats through double without a second rounding; they are far beyond f16, and bf16 allows for it. */
static double cast_reference(const pare__problem *problem, const void *data, int64_t at, double *tolerance) {
  pare_dtype from = problem->dtype[0], to = problem->dtype[OUT];
  *tolerance = from == PARE_F8E8M0 ? 0x1p-126 : 0; /* its smallest number is a denormal float */
  if (pare__dtype_is_float(from)) return rounded(to, pare__load(from, data, (size_t)at));
  int64_t value = pare__load_integer(from, data, (size_t)at);
  double real = from == PARE_U64 ? (double)(uint64_t)value : (double)value;
  if (to == PARE_BOOL) return value != 0;
  if (to == PARE_F32) return from == PARE_U64 ? (float)(uint64_t)value : (float)value;
  if (to == PARE_BF16 && pare_dtype_bytes(from) == 8) *tolerance = fabs(real) * 0x1p-8;
  return pare__dtype_is_float(to) ? rounded(to, real) : wrap_integer(to, value);
}

static double element_reference(const pare__problem *problem, void *const *data, const int64_t *at, double *tolerance) {
  const pare__elementwise *operation = pare__elementwise_get(problem->mode);
  pare_dtype to = problem->dtype[OUT], computed = problem->dtype[operation->arity - 1];
  *tolerance = 0;
  if (operation->result == PARE__OTHER) return cast_reference(problem, data[0], at[0], tolerance);
  if (!pare__dtype_is_float(computed)) {
    int64_t v[3] = {0};
    for (int t = 0; t < operation->arity; t++) v[t] = pare__load_integer(problem->dtype[t], data[t], (size_t)at[t]);
    pare__elementwise_natural natural = computed == PARE_U64 ? pare__elementwise_natural_get(problem->mode) : NULL;
    if (natural)
      return wrap_integer(to, (int64_t)natural((uint64_t)v[0], (uint64_t)v[1], (uint64_t)v[2], problem->real));
    int bits = (int)pare_dtype_bytes(computed) * 8;
    return wrap_integer(to, operation->integer(v[0], v[1], v[2], problem->real, bits));
  }
  double v[3] = {0};
  for (int t = 0; t < operation->arity; t++) v[t] = pare__load(problem->dtype[t], data[t], (size_t)at[t]);
  double exact = operation->real(v[0], v[1], v[2], problem->real), result = rounded(to, exact);
  if (operation->ulps > 0 && isfinite(result)) {
    double size = operation->of_input ? fmax(fabs(exact), fabs(v[0])) : fabs(exact);
    bool wide = to == PARE_F64;
    /* an ulp is at most two unit roundoffs; a narrow result is rounded once more; denormals may be flushed */
    *tolerance =
        size * (operation->ulps * (wide ? 0x1p-52 : 0x1p-23) + (wide || to == PARE_F32 ? 0 : pare__dtype_epsilon(to))) +
        (to == PARE_F16 ? 0x1p-25
         : wide         ? 0x1p-1022
                        : 0x1p-126);
  }
  return operation->ulps > 0 && isfinite(result) ? exact : result;
}

static bool reference(const pare__problem *problem, void *const *data, double *const *expected,
                      double *const *tolerance) {
  const pare__elementwise *operation = pare__elementwise_get(problem->mode);
  int64_t span = pare__span(problem->dim, problem->dim + PARE_MAX_RANK * (1 + OUT));
  for (int64_t k = 0; k < span; k++) tolerance[OUT][k] = -1; /* between the elements anything may lie */
  for (int64_t k = 0, n = elements(problem); k < n; k++) {
    int64_t at[4] = {0}, rest = k;
    for (int d = PARE_MAX_RANK - 1; d >= 0; d--) {
      int64_t position = rest % problem->dim[d];
      rest /= problem->dim[d];
      for (int t = 0; t <= OUT; t++)
        if (t == OUT || t < operation->arity) at[t] += position * problem->dim[PARE_MAX_RANK * (1 + t) + d];
    }
    expected[OUT][at[OUT]] = element_reference(problem, data, at, &tolerance[OUT][at[OUT]]);
  }
  return true;
}

/* ---- reports ---- */

static void work(const pare__problem *problem, double *flops, double *bytes) {
  const pare__elementwise *operation = pare__elementwise_get(problem->mode);
  *flops = (double)elements(problem);
  *bytes = *flops * (double)pare_dtype_bytes(problem->dtype[OUT]);
  for (int t = 0; t < operation->arity; t++)
    *bytes += (double)pare__distinct(problem->dim, problem->dim + PARE_MAX_RANK * (1 + t)) *
              (double)pare_dtype_bytes(problem->dtype[t]);
}

static void describe(const pare__problem *problem, char *text, size_t capacity) {
  const pare__elementwise *operation = pare__elementwise_get(problem->mode);
  int n = snprintf(text, capacity, "%s %s", operation->name, pare_dtype_name(problem->dtype[operation->arity - 1]));
  if (operation->result == PARE__OTHER && n > 0 && (size_t)n < capacity)
    n += snprintf(text + n, capacity - (size_t)n, " to %s", pare_dtype_name(problem->dtype[OUT]));
  bool first = true;
  for (int d = 0; d < PARE_MAX_RANK && n > 0 && (size_t)n < capacity; d++) {
    if (problem->dim[d] == 1 && (first && d < PARE_MAX_RANK - 1)) continue;
    n += snprintf(text + n, capacity - (size_t)n, "%s%lld", first ? " " : "x", (long long)problem->dim[d]);
    first = false;
  }
}

static void class_of(const pare__problem *problem, int64_t count, char *text, size_t capacity) {
  const pare__elementwise *operation = pare__elementwise_get(problem->mode);
  snprintf(text, capacity, "%s %s to %s %s", operation->name, pare_dtype_name(problem->dtype[operation->arity - 1]),
           pare_dtype_name(problem->dtype[OUT]),
           count < 1 << 16   ? "small"
           : count < 1 << 22 ? "medium"
                             : "large");
}

static void shape_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, elements(problem), text, capacity);
}

static void deciding_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, INT64_MAX, text, capacity);
}

const pare__family pare__family_elementwise = {
    .name = "elementwise",
    .what = "a function of the elements of one to three tensors, broadcast; casts",
    .nbuffers = OUT + 1,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
    .deciding_class = deciding_class,
};
