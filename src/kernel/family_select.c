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

static const int groups[] = {256, 128, 64, 0}, widths[] = {8, 16, 4, 0};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};
static const pare__param item_params[] = {{"WIDTH", widths}, {NULL, NULL}};

/* ---- what a problem is ---- */

typedef enum step { HISTOGRAM, LISTED, BRACKET, DECIDE, NARROW, FINAL } step;

static step step_of(const pare__problem *p) {
  if (p->mode & PARE__SELECT_FINAL) return FINAL;
  if (p->mode & PARE__SELECT_NARROW) return NARROW;
  if (p->mode & PARE__SELECT_DECIDE) return DECIDE;
  if (p->mode & PARE__SELECT_BRACKET) return BRACKET;
  return p->mode & PARE__SELECT_LISTED ? LISTED : HISTOGRAM;
}

static const struct {
  const char *name, *entry;
  bool blocks; /* goes through x in blocks */
  unsigned nbuffers, ninputs;
  int dims[6]; /* that the kernel takes, from the left; -1 ends them */
} steps[] = {
    [HISTOGRAM] = {"histogram",
                   "select_histogram",
                   true,
                   3,
                   2,
                   {PARE__SELECT_LENGTH, PARE__SELECT_BLOCK, PARE__SELECT_ROOM, PARE__SELECT_SHIFT, PARE__SELECT_BITS,
                    -1}},
    [LISTED] = {"histogram of lists",
                "select_histogram",
                true,
                5,
                5,
                {PARE__SELECT_LENGTH, PARE__SELECT_BLOCK, PARE__SELECT_ROOM, PARE__SELECT_SHIFT, PARE__SELECT_BITS,
                 -1}},
    [BRACKET] = {"bracket",
                 "select_bracket",
                 true,
                 4,
                 2,
                 {PARE__SELECT_LENGTH, PARE__SELECT_BLOCK, PARE__SELECT_ROOM, PARE__SELECT_OPEN, -1}},
    [DECIDE] = {"decide", "select_decide", false, 4, 4, {PARE__SELECT_OPEN, -1}},
    [NARROW] = {"narrow", "select_narrow", false, 3, 2, {PARE__SELECT_BITS, -1}},
    [FINAL] = {"narrow at last", "select_narrow", false, 5, 2, {PARE__SELECT_BITS, -1}},
};

static pare__role role_of(step s, unsigned i) {
  if (i >= steps[s].nbuffers) return PARE__ABSENT;
  bool written = i == 2 && (s == LISTED || s == DECIDE);
  return written || i >= steps[s].ninputs ? PARE__OUT : PARE__IN;
}

/* The dtype of x, which a step that has no x keeps at 3. */
static pare_dtype dtype_of(const pare__problem *p) { return p->dtype[steps[step_of(p)].blocks ? 0 : 3]; }

/* ---- variants ---- */

static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  return info->can.max_loop_steps == 0 || !steps[step_of(whole)].blocks ||
         whole->dim[PARE__SELECT_BLOCK] * 2 + 2 * PARE__SELECT_BINS < info->can.max_loop_steps;
}

static pare_status launch(const pare__run *run, int group, const char *group_option) {
  const pare__problem *piece = run->piece;
  int mode = run->whole->mode;
  step s = step_of(run->whole);
  char options[160];
  snprintf(options, sizeof options,
           "-DWIDE=%d -DMAGNITUDE=%d -DSMALLEST=%d -DNARROW=%d -DFINAL=%d -DBRACKET=%d -DDECIDE=%d -DLISTED=%d %s",
           pare__select_key_bits(dtype_of(run->whole)) == 64, mode & PARE__SELECT_MAGNITUDE ? 1 : 0,
           mode & PARE__SELECT_SMALLEST ? 1 : 0, s == NARROW || s == FINAL, s == FINAL, s == BRACKET, s == DECIDE,
           s == LISTED, group_option);
  pare__args args = {0};
  unsigned nbuffers = s == HISTOGRAM || s == NARROW ? 5 : steps[s].nbuffers; /* two kernels have buffers to spare */
  for (unsigned i = 0; i < nbuffers; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  for (const int *dim = steps[s].dims; *dim >= 0; dim++)
    if (*dim == PARE__SELECT_LENGTH)
      pare__arg_long(&args, piece->dim[*dim]);
    else
      pare__arg_int(&args, (int32_t)piece->dim[*dim]);
  int64_t blocks = steps[s].blocks ? pare__div_up(piece->dim[PARE__SELECT_LENGTH], piece->dim[PARE__SELECT_BLOCK]) : 1;
  int items = steps[s].blocks ? group : 1;
  const size_t global[1] = {(size_t)(blocks * items)}, local[1] = {(size_t)items};
  return pare__run_kernel(run, steps[s].entry, options, 1, global, local, &args);
}

static pare_status launch_items(const pare__run *run) { return launch(run, 1, "-DGROUP=1"); }
static pare_status launch_groups(const pare__run *run) { return launch(run, pare__tuned(run, "GROUP"), ""); }

static const pare__variant variants[] = {
    {.name = "item",
     .file = "select.cl",
     .shaped = PARE__FOR_CPU,
     .params = item_params,
     .accepts = item_accepts,
     .launch = launch_items},
    {.name = "group", .file = "select.cl", .shaped = PARE__FOR_GPU, .params = group_params, .launch = launch_groups},
    {.name = NULL},
};

/* ---- inputs ---- */

static int64_t block_count(const pare__problem *p) {
  return pare__div_up(p->dim[PARE__SELECT_LENGTH], p->dim[PARE__SELECT_BLOCK]);
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  int64_t length = p->dim[PARE__SELECT_LENGTH], blocks = block_count(p), lists = blocks * p->dim[PARE__SELECT_ROOM],
          tallies = blocks * PARE__SELECT_TALLIES, state = PARE__SELECT_STATE;
  const int64_t elements[][5] = {[HISTOGRAM] = {length, state, blocks * PARE__SELECT_BINS},
                                 [LISTED] = {length, state, blocks * PARE__SELECT_BINS, lists, tallies},
                                 [BRACKET] = {length, 2, lists, tallies},
                                 [DECIDE] = {PARE__SELECT_TALLIES, state, state, 2},
                                 [NARROW] = {PARE__SELECT_BINS, state, state},
                                 [FINAL] = {PARE__SELECT_BINS, state, state, 1, 2}};
  out->role = role_of(step_of(p), i);
  out->elements = elements[step_of(p)][i];
}

/* Digits as they may be known, a rank; the lists count if they are there. */
static void generate_state(const pare__problem *p, uint64_t *random, int64_t *state) {
  step s = step_of(p);
  int rest = pare__select_key_bits(dtype_of(p)) - (int)(p->dim[PARE__SELECT_SHIFT] + p->dim[PARE__SELECT_BITS]);
  memset(state, 0, PARE__SELECT_STATE * sizeof *state);
  /* the upper half's upper half: small positive numbers */
  if (s != DECIDE && rest >= 2) state[0] = (int64_t)(UINT64_C(3) << (rest - 2));
  state[1] = 1 + (int64_t)(pare__reference_random(random) % (s == DECIDE ? 400 : 5000));
  state[2] = 17;
  state[3] = s == LISTED;
}

static void generate_element(pare_dtype dtype, uint64_t *random, void *data, size_t k) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -0.0, 0, 1.25, 1.25};
  uint64_t bits = pare__reference_random(random);
  if (pare__dtype_is_float(dtype)) {
    double value = ldexp(pare__reference_uniform(random), (int)(bits >> 16 & 7));
    pare__store(dtype, data, k, bits % 16 == 0 ? specials[bits >> 8 & 7] : value);
  } else {
    const uint64_t value = dtype == PARE_BOOL ? bits & 1 : bits;
    memcpy((char *)data + k * pare_dtype_bytes(dtype), &value, pare_dtype_bytes(dtype));
  }
}

/* Keys whose upper digits are often those of the state. */
static void generate_key(const pare__problem *p, uint64_t *random, void *data, int64_t k) {
  uint64_t bits = pare__reference_random(random);
  if (pare__select_key_bits(dtype_of(p)) == 64)
    ((uint64_t *)data)[k] = bits >> 2 | UINT64_C(3) << 62;
  else
    ((uint32_t *)data)[k] = (uint32_t)(bits >> 34) | UINT32_C(3) << 30;
}

static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t random = seed * 5 + i;
  step s = step_of(p);
  int64_t *numbers = data, room = p->dim[PARE__SELECT_ROOM];
  if (i == 1 && s != BRACKET) {
    generate_state(p, &random, data);
    return;
  }
  for (int64_t k = 0; k < spec.elements; k++) {
    if (s == LISTED && i == 4)
      ((int32_t *)data)[k] = (int32_t)(pare__reference_random(&random) % (uint64_t)(room + 1));
    else if (s == LISTED && i == 3)
      generate_key(p, &random, data, k);
    else if (i == 0 && s == DECIDE)
      numbers[k] = k < 4 ? (int64_t)(pare__reference_random(&random) % 100) : 0;
    else if (i == 0 && !steps[s].blocks)
      numbers[k] = k < 1 << p->dim[PARE__SELECT_BITS] ? (int64_t)(pare__reference_random(&random) % 9) : 0;
    else
      generate_element(p->dtype[s == DECIDE ? 3 : i], &random, data, (size_t)k);
  }
}

/* ---- reference ---- */

static uint64_t key_at(const pare__problem *p, const void *data, int64_t k) {
  return pare__select_key(dtype_of(p), data, (size_t)k, p->mode & PARE__SELECT_MAGNITUDE,
                          p->mode & PARE__SELECT_SMALLEST);
}

static void reference_histogram(const pare__problem *p, void *const *data, double *counts) {
  int shift = (int)p->dim[PARE__SELECT_SHIFT], bits = (int)p->dim[PARE__SELECT_BITS];
  uint64_t known = (uint64_t)((const int64_t *)data[1])[0];
  int64_t length = p->dim[PARE__SELECT_LENGTH], block = p->dim[PARE__SELECT_BLOCK], room = p->dim[PARE__SELECT_ROOM];
  bool wide = pare__select_key_bits(p->dtype[0]) == 64, listed = step_of(p) == LISTED;
  for (int64_t b = 0; b < block_count(p); b++) {
    int64_t n = PARE__MIN(block, length - b * block);
    if (listed) n = ((const int32_t *)data[4])[b * PARE__SELECT_TALLIES + 2];
    for (int64_t i = 0; i < n; i++) {
      uint64_t key = !listed ? key_at(p, data[0], b * block + i)
                     : wide  ? ((const uint64_t *)data[3])[b * room + i]
                             : ((const uint32_t *)data[3])[b * room + i];
      key >>= shift;
      if (key >> bits == known) counts[b * PARE__SELECT_BINS + (int64_t)(key & ((UINT64_C(1) << bits) - 1))]++;
    }
  }
}

/* The bounds may be of another dtype than x, if both have keys of the same size. */
static void bounds_of(const pare__problem *p, const void *bounds, uint64_t *high, uint64_t *low) {
  int open = (int)p->dim[PARE__SELECT_OPEN];
  pare__problem of_bounds = *p;
  if (step_of(p) == BRACKET) of_bounds.dtype[0] = p->dtype[1];
  *high = open & 1 ? UINT64_MAX >> (64 - pare__select_key_bits(dtype_of(p))) : key_at(&of_bounds, bounds, 0);
  *low = open & 2 ? 0 : key_at(&of_bounds, bounds, 1);
}

/* The order within a list is free, so that only its length is told. */
static void reference_bracket(const pare__problem *p, void *const *data, double *const *expected,
                              double *const *tolerance) {
  uint64_t high, low;
  int64_t block = p->dim[PARE__SELECT_BLOCK], room = p->dim[PARE__SELECT_ROOM];
  bounds_of(p, data[1], &high, &low);
  for (int64_t k = 0; k < p->dim[PARE__SELECT_LENGTH]; k++) {
    uint64_t key = key_at(p, data[0], k);
    double *tallies = expected[3] + k / block * PARE__SELECT_TALLIES;
    tallies[0] += key > high;
    tallies[1] += key == high;
    tallies[2] += key > low && key < high;
    tallies[3] += key == low && low != high;
    tallies[4] = tallies[2] >= (double)room;
  }
  for (int64_t k = 0; k < block_count(p) * room; k++) tolerance[2][k] = -1;
}

static void reference_decide(const pare__problem *p, void *const *data, double *next) {
  enum { FROM_ALL, FROM_LISTS, KNOWN };
  const int64_t *totals = data[0];
  int64_t rank = ((const int64_t *)data[1])[1], larger = 0, source = FROM_ALL;
  uint64_t bound[2], key = 0;
  bounds_of(p, data[3], &bound[0], &bound[1]);
  for (int i = 0; i < 4; i++) {
    if (rank <= totals[i]) {
      if (i == 2 && totals[4] == 0) source = FROM_LISTS;
      if (i == 1 || i == 3) source = KNOWN;
      if (source == KNOWN) key = bound[i / 2];
      break;
    }
    rank -= totals[i];
    larger += totals[i];
  }
  if (source == FROM_ALL) {
    rank += larger;
    larger = 0;
  }
  next[1] = (double)rank;
  next[2] = (double)larger;
  next[3] = (double)source;
  next[4] = (double)(int64_t)key;
}

static void reference_narrow(const pare__problem *p, void *const *data, double *const *expected,
                             double *const *tolerance) {
  const int64_t *totals = data[0], *state = data[1];
  int bits = (int)p->dim[PARE__SELECT_BITS];
  int64_t rank = state[1], larger = state[2], bin = (INT64_C(1) << bits) - 1;
  for (; bin > 0 && rank > totals[bin]; bin--) {
    rank -= totals[bin];
    larger += totals[bin];
  }
  int64_t digits = (int64_t)((uint64_t)state[0] << bits | (uint64_t)bin);
  const double next[PARE__SELECT_STATE] = {(double)digits, (double)rank, (double)larger};
  memcpy(expected[2], next, sizeof next);
  if (step_of(p) != FINAL) return;
  expected[4][0] = (double)larger;
  expected[4][1] = (double)rank;
  /* the value of a made-up key need not be one of the dtype: what selects is tested through the API */
  tolerance[3][0] = -1;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  switch (step_of(p)) { /* all exact */
  case HISTOGRAM:
  case LISTED: reference_histogram(p, data, expected[2]); break;
  case BRACKET: reference_bracket(p, data, expected, tolerance); break;
  case DECIDE: reference_decide(p, data, expected[2]); break;
  default: reference_narrow(p, data, expected, tolerance);
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)p->dim[PARE__SELECT_LENGTH] * (double)pare_dtype_bytes(p->dtype[0]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s%s %lld/%lld digit at %lld %s", steps[step_of(p)].name,
           p->mode & PARE__SELECT_MAGNITUDE ? " of magnitudes" : "",
           p->mode & PARE__SELECT_SMALLEST ? " from below" : "", (long long)p->dim[PARE__SELECT_LENGTH],
           (long long)p->dim[PARE__SELECT_BLOCK], (long long)p->dim[PARE__SELECT_SHIFT], pare_dtype_name(dtype_of(p)));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", p->mode & PARE__SELECT_BRACKET ? "bracket" : "digit", pare_dtype_name(dtype_of(p)));
}

/* ---- problems ---- */

static void make_problem(int mode, pare_dtype dtype, int64_t length, int64_t block, bool first, pare__problem *out) {
  out->mode = mode;
  step s = step_of(out);
  pare_dtype key = pare__select_key_bits(dtype) == 64 ? PARE_I64 : PARE_I32;
  const pare_dtype dtypes[][5] = {
      [HISTOGRAM] = {dtype, PARE_I64, PARE_I32},        [LISTED] = {dtype, PARE_I64, PARE_I32, key, PARE_I32},
      [BRACKET] = {dtype, dtype, key, PARE_I32},        [DECIDE] = {PARE_I64, PARE_I64, PARE_I64, dtype},
      [NARROW] = {PARE_I64, PARE_I64, PARE_I64, dtype}, [FINAL] = {PARE_I64, PARE_I64, PARE_I64, dtype, PARE_I64}};
  memcpy(out->dtype, dtypes[s], sizeof dtypes[s]);
  out->dim[PARE__SELECT_LENGTH] = length;
  out->dim[PARE__SELECT_BLOCK] = block;
  out->dim[PARE__SELECT_BITS] = 11;
  out->dim[PARE__SELECT_SHIFT] = s == FINAL ? 0 : pare__select_key_bits(dtype) - (first ? 11 : 22);
  out->dim[PARE__SELECT_ROOM] = block / (first ? 1 : 8) + 1;
  out->dim[PARE__SELECT_OPEN] = (s == BRACKET || s == DECIDE) && first ? 1 + length % 2 : 0;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const int modes[] = {0,
                              PARE__SELECT_MAGNITUDE,
                              PARE__SELECT_SMALLEST,
                              PARE__SELECT_NARROW,
                              PARE__SELECT_NARROW | PARE__SELECT_FINAL,
                              PARE__SELECT_LISTED,
                              PARE__SELECT_BRACKET,
                              PARE__SELECT_BRACKET | PARE__SELECT_MAGNITUDE,
                              PARE__SELECT_BRACKET | PARE__SELECT_SMALLEST,
                              PARE__SELECT_DECIDE};
  static const int64_t lengths[][2] = {{1000, 300}, {1, 1}, {70001, 65536}};
  if (set == PARE__CASES_BENCH) {
    static const int steps_timed[] = {PARE__SELECT_MAGNITUDE, PARE__SELECT_MAGNITUDE | PARE__SELECT_BRACKET};
    if (index < PARE__COUNT(steps_timed))
      make_problem(steps_timed[index], PARE_F32, 100000000, 262144, index == 0, out);
    return index < PARE__COUNT(steps_timed);
  }
  unsigned nlengths = set == PARE__CASES_TEST ? 3 : 1, ndtypes = set == PARE__CASES_TEST ? PARE__FIRST_TINY : 1;
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
