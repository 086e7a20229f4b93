/* The family of exact selection: digits of the k-th key, from the top. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_select.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/reduce_reference.h"

int pare__select_key_bits(pare_dtype dtype) { return pare_dtype_bytes(dtype) == 8 ? 64 : 32; }

uint64_t pare__select_key(pare_dtype dtype, const void *data, size_t index, bool magnitude, bool smallest) {
  bool wide = pare__select_key_bits(dtype) == 64;
  uint64_t sign = wide ? UINT64_C(1) << 63 : UINT64_C(1) << 31, all = sign | (sign - 1), key;
  if (!pare__dtype_is_float(dtype)) {
    bool ordered = dtype == PARE_U32 || dtype == PARE_U64;
    key = ((uint64_t)pare__load_integer(dtype, data, index) & all) ^ (ordered ? 0 : sign);
  } else {
    double value = pare__load(dtype, data, index);
    float narrow = (float)value;
    uint32_t bits32;
    uint64_t bits;
    memcpy(&bits32, &narrow, sizeof bits32);
    memcpy(&bits, &value, sizeof bits);
    if (!wide) bits = bits32;
    uint64_t size = bits & ~sign;
    key = magnitude ? size : (bits & sign) && size ? ~bits & all : size | sign;
    if (isnan(value)) key = magnitude ? all & ~sign : all;
  }
  return smallest ? ~key & all : key;
}

static const int groups[] = {256, 128, 64, 0};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};

static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  return info->can.max_loop_steps == 0 || (whole->mode & PARE__SELECT_NARROW) ||
         whole->dim[PARE__SELECT_BLOCK] + 2 * PARE__SELECT_BINS < info->can.max_loop_steps;
}

static pare_status launch(const pare__run *run, int group, const char *group_option) {
  const pare__problem *piece = run->piece;
  int mode = run->whole->mode;
  bool narrow = mode & PARE__SELECT_NARROW;
  char options[120];
  snprintf(options, sizeof options, "-DWIDE=%d -DMAGNITUDE=%d -DSMALLEST=%d -DNARROW=%d -DFINAL=%d %s",
           pare__select_key_bits(run->whole->dtype[narrow ? 3 : 0]) == 64, mode & PARE__SELECT_MAGNITUDE ? 1 : 0,
           mode & PARE__SELECT_SMALLEST ? 1 : 0, narrow, mode & PARE__SELECT_FINAL ? 1 : 0, group_option);
  pare__args args = {0};
  for (unsigned i = 0; i < (narrow ? 5U : 3U); i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  if (narrow) {
    const size_t one[1] = {1};
    pare__arg_int(&args, (int32_t)piece->dim[PARE__SELECT_BITS]);
    return pare__run_kernel(run, "select_narrow", options, 1, one, one, &args);
  }
  int64_t length = piece->dim[PARE__SELECT_LENGTH], block = piece->dim[PARE__SELECT_BLOCK];
  pare__arg_long(&args, length);
  pare__arg_int(&args, (int32_t)block);
  pare__arg_int(&args, (int32_t)piece->dim[PARE__SELECT_SHIFT]);
  pare__arg_int(&args, (int32_t)piece->dim[PARE__SELECT_BITS]);
  const size_t global[1] = {(size_t)(pare__div_up(length, block) * group)}, local[1] = {(size_t)group};
  return pare__run_kernel(run, "select_histogram", options, 1, global, local, &args);
}

static pare_status launch_items(const pare__run *run) { return launch(run, 1, "-DGROUP=1"); }
static pare_status launch_groups(const pare__run *run) { return launch(run, pare__tuned(run, "GROUP"), ""); }

static const pare__variant variants[] = {
    {.name = "item", .file = "select.cl", .shaped = PARE__FOR_CPU, .accepts = item_accepts, .launch = launch_items},
    {.name = "group", .file = "select.cl", .shaped = PARE__FOR_GPU, .params = group_params, .launch = launch_groups},
    {.name = NULL},
};

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  bool narrow = p->mode & PARE__SELECT_NARROW, final = p->mode & PARE__SELECT_FINAL;
  int64_t blocks = pare__div_up(p->dim[PARE__SELECT_LENGTH], p->dim[PARE__SELECT_BLOCK]);
  const int64_t histogram[5] = {p->dim[PARE__SELECT_LENGTH], 4, blocks * PARE__SELECT_BINS, -1, -1};
  const int64_t narrowing[5] = {PARE__SELECT_BINS, 4, 4, final ? 1 : -1, final ? 2 : -1};
  out->elements = narrow ? narrowing[i] : histogram[i];
  out->role = out->elements < 0 ? PARE__ABSENT : i < 2 ? PARE__IN : PARE__OUT;
}

static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -0.0, 0, 1.25, 1.25};
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 5 + i;
  bool narrow = p->mode & PARE__SELECT_NARROW;
  int64_t *numbers = data;
  if (i == 1) { /* digits as they may be known, a rank */
    int rest = (narrow ? pare__select_key_bits(p->dtype[3]) : pare__select_key_bits(p->dtype[0])) -
               (int)(p->dim[PARE__SELECT_SHIFT] + p->dim[PARE__SELECT_BITS]);
    numbers[0] =
        rest > 0 ? (int64_t)(UINT64_C(3) << (rest - 2)) : 0; /* the upper half's upper half: small positive numbers */
    numbers[1] = 1 + (int64_t)(pare__reference_random(&state) % 5000);
    numbers[2] = 17;
    numbers[3] = 0;
    return;
  }
  for (int64_t k = 0; k < spec.elements; k++) {
    uint64_t bits = pare__reference_random(&state);
    if (narrow)
      numbers[k] = k < 1 << p->dim[PARE__SELECT_BITS] ? (int64_t)(bits % 9) : 0;
    else if (!pare__dtype_is_float(p->dtype[0])) {
      const uint64_t value = p->dtype[0] == PARE_BOOL ? bits & 1 : bits;
      memcpy((char *)data + (size_t)k * pare_dtype_bytes(p->dtype[0]), &value, pare_dtype_bytes(p->dtype[0]));
    } else
      pare__store(p->dtype[0], data, (size_t)k,
                  bits % 16 == 0 ? specials[bits >> 8 & 7]
                                 : ldexp(pare__reference_uniform(&state), (int)(bits >> 16 & 7)));
  }
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  (void)tolerance; /* all exact */
  const int64_t *state = data[1];
  int bits = (int)p->dim[PARE__SELECT_BITS];
  bool magnitude = p->mode & PARE__SELECT_MAGNITUDE, smallest = p->mode & PARE__SELECT_SMALLEST;
  if (!(p->mode & PARE__SELECT_NARROW)) {
    for (int64_t k = 0; k < p->dim[PARE__SELECT_LENGTH]; k++) {
      uint64_t key =
          pare__select_key(p->dtype[0], data[0], (size_t)k, magnitude, smallest) >> p->dim[PARE__SELECT_SHIFT];
      if (key >> bits == (uint64_t)state[0])
        expected[2]
                [k / p->dim[PARE__SELECT_BLOCK] * PARE__SELECT_BINS + (int64_t)(key & ((UINT64_C(1) << bits) - 1))]++;
    }
    return true;
  }
  const int64_t *totals = data[0];
  int64_t rank = state[1], larger = state[2], bin = (INT64_C(1) << bits) - 1;
  for (; bin > 0 && rank > totals[bin]; bin--) {
    rank -= totals[bin];
    larger += totals[bin];
  }
  int64_t digits = (int64_t)((uint64_t)state[0] << bits | (uint64_t)bin);
  const double next[4] = {(double)digits, (double)rank, (double)larger, 0};
  memcpy(expected[2], next, sizeof next);
  if (!(p->mode & PARE__SELECT_FINAL)) return true;
  expected[4][0] = (double)larger;
  expected[4][1] = (double)rank;
  tolerance[3][0] =
      -1; /* the value of a made-up key need not be one of the dtype: what selects is tested through the API */
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)p->dim[PARE__SELECT_LENGTH] * (double)pare_dtype_bytes(p->dtype[0]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s%s %lld/%lld digit at %lld %s", p->mode & PARE__SELECT_NARROW ? "narrow" : "histogram",
           p->mode & PARE__SELECT_MAGNITUDE ? " of magnitudes" : "",
           p->mode & PARE__SELECT_SMALLEST ? " from below" : "", (long long)p->dim[PARE__SELECT_LENGTH],
           (long long)p->dim[PARE__SELECT_BLOCK], (long long)p->dim[PARE__SELECT_SHIFT],
           pare_dtype_name(p->dtype[p->mode & PARE__SELECT_NARROW ? 3 : 0]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", pare_dtype_name(p->dtype[0]));
}

static void make_problem(int mode, pare_dtype dtype, int64_t length, int64_t block, bool first, pare__problem *out) {
  bool narrow = mode & PARE__SELECT_NARROW;
  int key_bits = pare__select_key_bits(dtype);
  out->mode = mode;
  out->dim[PARE__SELECT_LENGTH] = length;
  out->dim[PARE__SELECT_BLOCK] = block;
  out->dim[PARE__SELECT_BITS] = 11;
  out->dim[PARE__SELECT_SHIFT] = key_bits - (first ? 11 : 22);
  if (mode & PARE__SELECT_FINAL) out->dim[PARE__SELECT_SHIFT] = 0;
  out->dtype[0] = narrow ? PARE_I64 : dtype;
  out->dtype[1] = PARE_I64;
  out->dtype[2] = narrow ? PARE_I64 : PARE_I32;
  out->dtype[3] = dtype;
  out->dtype[4] = PARE_I64;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const int modes[] = {0, PARE__SELECT_MAGNITUDE, PARE__SELECT_SMALLEST, PARE__SELECT_NARROW,
                              PARE__SELECT_NARROW | PARE__SELECT_FINAL};
  static const int64_t lengths[][2] = {{1000, 300}, {1, 1}, {70001, 65536}};
  if (set == PARE__CASES_BENCH) {
    if (index == 0) make_problem(PARE__SELECT_MAGNITUDE, PARE_F32, 100000000, 65536, true, out);
    return index == 0;
  }
  unsigned nlengths = set == PARE__CASES_TEST ? 3 : 1, ndtypes = set == PARE__CASES_TEST ? PARE_NDTYPES : 1;
  unsigned mode = index % PARE__COUNT(modes), length = index / PARE__COUNT(modes) % nlengths;
  unsigned first = index / PARE__COUNT(modes) / nlengths % 2, dtype = index / PARE__COUNT(modes) / nlengths / 2;
  if (dtype >= ndtypes) return false;
  pare_dtype d = (pare_dtype)dtype;
  if (d == PARE_F64 && !info->can.f64) d = PARE_F32;
  int m = modes[mode];
  if (!pare__dtype_is_float(d)) m &= ~PARE__SELECT_MAGNITUDE;
  make_problem(m, d, lengths[length][0], lengths[length][1], first, out);
  return true;
}

const pare__family pare__family_select = {
    .name = "select",
    .what = "the k-th largest element, exactly: histograms of the digits of keys",
    .nbuffers = 5,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
