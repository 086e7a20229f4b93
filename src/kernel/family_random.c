/* Random fill: variants, launch, reference. The problem is in family_random.h. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"

static bool is_wide(const pare__problem *problem) {
  return (problem->dtype[0] == PARE_F64 && problem->mode <= RANDOM_NORMAL) ||
         (pare_dtype_bytes(problem->dtype[0]) == 8 && problem->mode == RANDOM_INTEGER);
}

/* ---- reference ---- */

void pare__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53U * c[0], b = (uint64_t)0xCD9E8D57U * c[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
    memcpy(c, next, sizeof c);
    k[0] += 0x9E3779B9U;
    k[1] += 0xBB67AE85U;
  }
  memcpy(out, c, sizeof c);
}

static void words_of(const pare__problem *problem, uint64_t block, uint32_t word[4]) {
  uint64_t seed = (uint64_t)problem->dim[RANDOM_SEED], stream = (uint64_t)problem->dim[RANDOM_STREAM];
  const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  pare__philox(counter, key, word);
}

/* The angle is a quadrant, and a position in (0, 1) in it. */
static double normal_of(double u1, unsigned quadrant, double position, bool second) {
  const double angle = M_PI_2 * position, radius = sqrt(-2 * log(u1)), x = radius * cos(angle), y = radius * sin(angle);
  switch (quadrant) {
  case 0: return second ? y : x;
  case 1: return second ? x : -y;
  case 2: return second ? -y : -x;
  default: return second ? -x : y;
  }
}

/* Element `index` of the stream in double; *absolute gets the error that f32 arithmetic may add. */
static double element(const pare__problem *problem, uint64_t index, double *absolute) {
  const double low = problem->real[0], high = problem->real[1];
  const bool wide = is_wide(problem);
  const unsigned per = wide ? 2 : 4, k = (unsigned)(index % per);
  uint32_t w[4];
  words_of(problem, index / per, w);
  uint64_t w64[2] = {((uint64_t)w[1] << 32) | w[0], ((uint64_t)w[3] << 32) | w[2]};
  uint64_t range = (uint64_t)problem->dim[RANDOM_RANGE];
  *absolute = 0;
  switch (problem->mode) {
  case RANDOM_UNIFORM:
    *absolute = (wide ? 0x1p-52 : 0x1p-23) * (fabs(low) + fabs(high));
    return low + (high - low) * (wide ? (double)(w64[k] >> 11) * 0x1p-53 : (double)(w[k] >> 8) * 0x1p-24);
  case RANDOM_NORMAL:
    *absolute = (wide ? 1e-14 : 3e-6) * fabs(high) + 0x1p-23 * fabs(low);
    /* 53 or 24 bits of position in the quadrant that the two top bits name, in the middle of a step */
    if (wide)
      return low + high * normal_of((double)((w64[0] >> 11) + 1) * 0x1p-53, (unsigned)(w64[1] >> 62),
                                    ((double)((w64[1] >> 9) & 0x1FFFFFFFFFFFFFU) + 0.5) * 0x1p-53, k);
    return low + high * normal_of((double)((w[k & 2U] >> 8) + 1) * 0x1p-24, w[(k & 2U) + 1] >> 30,
                                  ((double)((w[(k & 2U) + 1] >> 6) & 0xFFFFFFU) + 0.5) * 0x1p-24, k & 1U);
  case RANDOM_BERNOULLI: return (double)(w[k] < range);
  default: break;
  }
  uint64_t low_bits = (uint64_t)problem->dim[RANDOM_LOW];
  if (!wide) return (double)(int64_t)(low_bits + ((w[k] * range) >> 32));
  uint64_t high_word = range ? (uint64_t)(((unsigned __int128)w64[k] * range) >> 64) : w64[k];
  return (double)(int64_t)(low_bits + high_word);
}

static bool random_reference(const pare__problem *problem, void *const *data, double *const *expected,
                             double *const *tolerance) {
  (void)data;
  for (int64_t i = 0; i < problem->dim[RANDOM_N]; i++) {
    double absolute;
    expected[0][i] = element(problem, (uint64_t)(problem->dim[RANDOM_BEGIN] + i), &absolute);
    bool real = problem->mode <= RANDOM_NORMAL;
    tolerance[0][i] = absolute + (real ? 2 * pare__dtype_epsilon(problem->dtype[0]) * fabs(expected[0][i]) : 0);
  }
  return true;
}

/* ---- problems ---- */

static void set_problem(pare__problem *out, int mode, pare_dtype dtype, int64_t n, int64_t begin) {
  static const double reals[][2] = {{-1.5, 2.5}, {0.25, 3}, {0, 0}, {0, 0}};
  out->mode = mode;
  out->dtype[0] = dtype;
  out->dim[RANDOM_N] = n;
  out->dim[RANDOM_BEGIN] = begin;
  out->dim[RANDOM_SEED] = 0x123456789ABCDEF;
  out->dim[RANDOM_STREAM] = 3;
  out->dim[RANDOM_LOW] = mode == RANDOM_INTEGER ? (pare__dtype_is_unsigned(dtype) || dtype == PARE_BOOL ? 0 : -5) : 0;
  out->dim[RANDOM_RANGE] = mode == RANDOM_BERNOULLI ? 0x4CCCCCCC : dtype == PARE_BOOL ? 2 : 101;
  memcpy(out->real, reals[mode], sizeof reals[mode]);
}

static const struct {
  int mode;
  pare_dtype dtype;
} combinations[] = {{RANDOM_UNIFORM, PARE_F32}, {RANDOM_NORMAL, PARE_F32},    {RANDOM_BERNOULLI, PARE_BOOL},
                    {RANDOM_INTEGER, PARE_I64}, {RANDOM_INTEGER, PARE_I32},   {RANDOM_UNIFORM, PARE_F16},
                    {RANDOM_NORMAL, PARE_BF16}, {RANDOM_BERNOULLI, PARE_F32}, {RANDOM_INTEGER, PARE_U8},
                    {RANDOM_UNIFORM, PARE_F64}, {RANDOM_NORMAL, PARE_F64}};

static bool random_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const int64_t test_n[] = {0, 1, 4, 1031, 70001}, test_begin[] = {0, 3, 0, ((int64_t)1 << 34) + 1, 2};
  unsigned count = PARE__COUNT(combinations) - (info->can.f64 ? 0 : 2); /* the f64 ones stand last */
  if (set == PARE__CASES_BENCH) {
    if (index >= 2) return false;
    set_problem(out, combinations[index].mode, combinations[index].dtype, (int64_t)1 << 24, 0);
    return true;
  }
  unsigned sizes = set == PARE__CASES_SELFTEST ? 1 : PARE__COUNT(test_n), c = index / sizes, s = index % sizes;
  if (c >= count) return false;
  bool tiny = set == PARE__CASES_SELFTEST;
  set_problem(out, combinations[c].mode, combinations[c].dtype, tiny ? 301 : test_n[s], tiny ? 5 : test_begin[s]);
  return true;
}

static void random_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  (void)i;
  *out = (pare__buffer_spec){PARE__OUT, problem->dim[RANDOM_N]};
}

static void random_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)problem->dim[RANDOM_N] * (double)pare_dtype_bytes(problem->dtype[0]);
}

static void random_describe(const pare__problem *problem, char *text, size_t capacity) {
  static const char *const names[] = {"uniform", "normal", "bernoulli", "integers"};
  snprintf(text, capacity, "%s %lld %s", names[problem->mode], (long long)problem->dim[RANDOM_N],
           pare_dtype_name(problem->dtype[0]));
}

static void random_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%s mode %d", pare_dtype_name(problem->dtype[0]), problem->mode);
}

/* ---- launch ---- */

static void push_real(pare__args *args, bool wide, double value) {
  if (wide)
    pare__arg_double(args, value);
  else
    pare__arg_float(args, (float)value);
}

/* The largest value below high in the precision computed in: rounding must not reach it. */
static double below(bool wide, double high) {
  return wide ? nextafter(high, -INFINITY) : nextafterf((float)high, -INFINITY);
}

static pare_status random_launch(const pare__run *run) {
  const pare__problem *problem = run->piece;
  const int64_t n = problem->dim[RANDOM_N], begin = problem->dim[RANDOM_BEGIN];
  if (n == 0) return PARE_OK;
  const bool wide = is_wide(problem), real = problem->mode <= RANDOM_NORMAL;
  const int64_t per = wide ? 2 : 4, first_block = begin / per, nblocks = (begin + n - 1) / per - first_block + 1;
  const double low = real ? problem->real[0] : 0, high = real ? problem->real[1] : 0;
  pare__args args = {0};
  pare__arg_long(&args, n);
  pare__arg_long(&args, begin);
  pare__arg_ulong(&args, (uint64_t)first_block);
  pare__arg_long(&args, nblocks);
  pare__arg_ulong(&args, (uint64_t)problem->dim[RANDOM_SEED]);
  pare__arg_ulong(&args, (uint64_t)problem->dim[RANDOM_STREAM]);
  pare__arg_mem(&args, run->operand[0].mem);
  pare__arg_long(&args, run->operand[0].offset);
  push_real(&args, wide && real, low);
  push_real(&args, wide && real, problem->mode == RANDOM_UNIFORM ? high - low : high);
  push_real(&args, wide && real, below(wide, high));
  pare__arg_long(&args, problem->dim[RANDOM_LOW]);
  pare__arg_ulong(&args, (uint64_t)problem->dim[RANDOM_RANGE]);
  char options[64];
  snprintf(options, sizeof options, "-DDISTRIBUTION=%d -DWORDS=%d", problem->mode, (int)per);
  const int64_t group = pare__tuned(run, "GROUP"), chunk = pare__tuned(run, "CHUNK"), most_items = 1 << 20;
  const int64_t items = chunk > 1 ? pare__div_up(nblocks, chunk) : PARE__MIN(nblocks, most_items);
  size_t global = (size_t)pare__round_up(items, group), local = (size_t)group;
  return pare__run_kernel(run, "random_fill", options, 1, &global, &local, &args);
}

/* A parameter's values end with 0, so a chunk of one block stands for dealing blocks out. */
static const pare__param chunk_params[] = {
    {"CHUNK", (const int[]){512, 128, 2048, 0}}, {"GROUP", (const int[]){1, 0}}, {NULL, NULL}};
static const pare__param deal_params[] = {
    {"CHUNK", (const int[]){1, 0}}, {"GROUP", (const int[]){128, 64, 256, 0}}, {NULL, NULL}};

static const pare__variant variants[] = {
    {.name = "chunk", .file = "random.cl", .shaped = PARE__FOR_CPU, .params = chunk_params},
    {.name = "deal", .file = "random.cl", .shaped = PARE__FOR_GPU, .params = deal_params},
    {.name = NULL},
};

const pare__family pare__family_random = {
    .name = "random",
    .what = "counter-based random fill",
    .nbuffers = 1,
    .variants = variants,
    .problem = random_problem,
    .buffer = random_buffer,
    .reference = random_reference,
    .work = random_work,
    .describe = random_describe,
    .shape_class = random_class,
    .launch = random_launch,
};
