/* The families of pruning: N:M, masks from thresholds, the largest of rows. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_prune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_select.h"
#include "kernel/reference.h"

static const int groups[] = {64, 128, 256, 0}, widths[] = {8, 16, 4, 0};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};
static const pare__param item_params[] = {{"WIDTH", widths}, {NULL, NULL}};

static const pare_dtype float_dtypes[] = {PARE_F32, PARE_F16, PARE_BF16};

/* ---- what the three share ---- */

static bool for_gpu(const pare__run *run) { return run->variant->shaped == PARE__FOR_GPU; }
static int group_of(const pare__run *run) { return for_gpu(run) ? pare__tuned(run, "GROUP") : 1; }

/* The order of keys, for the build. */
static void order_options(const pare__run *run, const char *more, char *text, size_t capacity) {
  const int mode = run->whole->mode;
  snprintf(text, capacity, "-DMAGNITUDE=%d -DSMALLEST=%d %s %s", mode & PRUNE_MAGNITUDE ? 1 : 0,
           mode & PRUNE_SMALLEST ? 1 : 0, for_gpu(run) ? "" : "-DGROUP=1", more);
}

static void push(pare__args *args, const pare__operand *operand) {
  pare__arg_mem(args, operand->mem);
  pare__arg_long(args, operand->offset);
}

static uint64_t key_at(const pare__problem *p, const void *x, int64_t i) {
  return pare__select_key(p->dtype[0], x, (size_t)i, p->mode & PRUNE_MAGNITUDE, p->mode & PRUNE_SMALLEST);
}

/* Values with many ties and everything that is special. */
static void fill_scores(pare_dtype dtype, int64_t n, uint64_t seed, void *data) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -0.0, 0, 0.5, -0.5};
  uint64_t state = seed;
  for (int64_t i = 0; i < n; i++) {
    const uint64_t bits = pare__reference_random(&state);
    const double value = pare__reference_uniform(&state);
    pare__store(dtype, data, (size_t)i,
                bits % 16 == 0  ? specials[bits >> 8 & 7]
                : bits % 4 == 0 ? floor(value * 8) / 8
                                : value);
  }
}

static void name_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", pare_dtype_name(problem->dtype[0]));
}

/* ---- N:M ---- */

static pare_status n_of_m_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  const int64_t inner = dim[N_OF_M_INNER], m = dim[N_OF_M_M], sets = dim[N_OF_M_SETS];
  const bool values = run->whole->mode & PRUNE_VALUES, flat = inner == 1, gpu = for_gpu(run);
  const int64_t work = 16384; /* elements of an item, about */
  if (sets == 0 || inner == 0) return PARE_OK;
  const int64_t columns = gpu ? group_of(run) : flat ? work / m : PARE__MIN(inner, work / m);
  const int64_t height = gpu || flat ? 1 : PARE__MAX(work / (columns * m), 1);
  char more[80], options[160];
  snprintf(more, sizeof more, "-DM=%d -DVALUES=%d -DFLAT=%d", (int)m, values, flat);
  order_options(run, more, options, sizeof options);
  pare__args args = {0};
  pare__arg_long(&args, sets);
  pare__arg_long(&args, inner);
  push(&args, &run->operand[N_OF_M_BUFFER_X]);
  push(&args, &run->operand[N_OF_M_BUFFER_OUT]);
  pare__arg_int(&args, (int32_t)dim[N_OF_M_N]);
  pare__arg_int(&args, run->operand[N_OF_M_BUFFER_OUT].offset % 16 == 0);
  pare__arg_int(&args, (int32_t)height);
  pare__arg_int(&args, (int32_t)columns);
  const size_t local[] = {(size_t)group_of(run), 1};
  const size_t global[] = {(size_t)(pare__div_up(flat ? sets : inner, columns) * (gpu ? columns : 1)),
                           (size_t)(flat ? 1 : pare__div_up(sets, height))};
  return pare__run_kernel(run, "prune_n_of_m", options, 2, global, local, &args);
}

static const struct {
  pare__case_set set;
  int mode;
  int n, m;
  int64_t sets, inner;
} n_of_m_cases[] = {
    {PARE__CASES_SELFTEST, PRUNE_MAGNITUDE, 2, 4, 37, 1},
    {PARE__CASES_SELFTEST, PRUNE_MAGNITUDE | PRUNE_VALUES, 1, 4, 37, 1},
    {PARE__CASES_SELFTEST, 0, 2, 4, 5, 27},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE, 2, 4, 10007, 1},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE | PRUNE_VALUES, 2, 4, 10007, 1},
    {PARE__CASES_TEST, 0, 3, 4, 501, 1},
    {PARE__CASES_TEST, 0, 1, 2, 1001, 1},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE, 4, 8, 301, 1},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE | PRUNE_VALUES, 5, 16, 77, 1},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE, 2, 3, 99, 131},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE | PRUNE_VALUES, 2, 4, 96, 384},
    {PARE__CASES_TEST, 0, 15, 16, 9, 37},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE, 2, 4, 3, 20000},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE, 2, 4, 0, 1},
    {PARE__CASES_BENCH, PRUNE_MAGNITUDE | PRUNE_VALUES, 2, 4, 1 << 22, 1},
    {PARE__CASES_BENCH, PRUNE_MAGNITUDE, 2, 4, 1024, 4096},
};

static bool n_of_m_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  const unsigned ndtypes = set == PARE__CASES_BENCH ? 1 : PARE__COUNT(float_dtypes);
  for (unsigned i = 0; i < PARE__COUNT(n_of_m_cases); i++) {
    if (n_of_m_cases[i].set != set) continue;
    if (index >= ndtypes) {
      index -= ndtypes;
      continue;
    }
    out->mode = n_of_m_cases[i].mode;
    out->dim[N_OF_M_SETS] = n_of_m_cases[i].sets;
    out->dim[N_OF_M_M] = n_of_m_cases[i].m;
    out->dim[N_OF_M_INNER] = n_of_m_cases[i].inner;
    out->dim[N_OF_M_N] = n_of_m_cases[i].n;
    out->dtype[N_OF_M_BUFFER_X] = float_dtypes[index];
    out->dtype[N_OF_M_BUFFER_OUT] = out->mode & PRUNE_VALUES ? float_dtypes[index] : PARE_BOOL;
    return true;
  }
  return false;
}

static int64_t n_of_m_elements(const pare__problem *p) {
  return p->dim[N_OF_M_SETS] * p->dim[N_OF_M_M] * p->dim[N_OF_M_INNER];
}

static void n_of_m_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  *out = (pare__buffer_spec){i == N_OF_M_BUFFER_X ? PARE__IN : PARE__OUT, n_of_m_elements(problem)};
}

static void n_of_m_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data) {
  fill_scores(problem->dtype[i], n_of_m_elements(problem), seed, data);
}

static bool n_of_m_reference(const pare__problem *problem, void *const *data, double *const *expected,
                             double *const *tolerance) {
  (void)tolerance; /* all exact */
  const int64_t m = problem->dim[N_OF_M_M], inner = problem->dim[N_OF_M_INNER];
  const void *x = data[N_OF_M_BUFFER_X];
  for (int64_t e = 0; e < n_of_m_elements(problem); e++) {
    const int64_t own = e / inner % m, first = e - own * inner;
    const uint64_t key = key_at(problem, x, e);
    int64_t better = 0;
    for (int64_t j = 0; j < m; j++) {
      const uint64_t other = key_at(problem, x, first + j * inner);
      better += other > key || (other == key && j < own);
    }
    const bool kept = better < problem->dim[N_OF_M_N];
    const double value = problem->mode & PRUNE_VALUES ? pare__load(problem->dtype[0], x, (size_t)e) : 1;
    expected[N_OF_M_BUFFER_OUT][e] = kept ? value : 0;
  }
  return true;
}

static void n_of_m_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)n_of_m_elements(problem) *
           (double)(pare_dtype_bytes(problem->dtype[0]) + pare_dtype_bytes(problem->dtype[1]));
}

static void n_of_m_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lld:%lld of %lldx%lldx%lld %s->%s", (long long)dim[N_OF_M_N], (long long)dim[N_OF_M_M],
           (long long)dim[N_OF_M_SETS], (long long)dim[N_OF_M_M], (long long)dim[N_OF_M_INNER],
           pare_dtype_name(problem->dtype[0]), pare_dtype_name(problem->dtype[1]));
}

static const pare__variant n_of_m_variants[] = {
    {.name = "item",
     .file = "n_of_m.cl",
     .needs = PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = item_params},
    {.name = "group", .file = "n_of_m.cl", .shaped = PARE__FOR_GPU, .params = group_params},
    {.name = NULL},
};

const pare__family pare__family_n_of_m = {
    .name = "n_of_m",
    .what = "the n largest of each m neighbours: a mask, or what is kept",
    .nbuffers = N_OF_M_NBUFFERS,
    .variants = n_of_m_variants,
    .problem = n_of_m_problem,
    .buffer = n_of_m_buffer,
    .generate = n_of_m_generate,
    .reference = n_of_m_reference,
    .work = n_of_m_work,
    .describe = n_of_m_describe,
    .shape_class = name_class,
    .launch = n_of_m_launch,
};

/* ---- masks from a threshold ---- */

static int step_of(const pare__problem *p) { return p->mode & PRUNE_STEP; }

static pare_status mask_launch(const pare__run *run) {
  const int64_t length = run->piece->dim[MASK_LENGTH], block = run->piece->dim[MASK_BLOCK];
  const int step = step_of(run->whole), group = step == MASK_SHARE ? 1 : group_of(run);
  if (length == 0 && step != MASK_SHARE) return PARE_OK;
  char more[40], options[160];
  snprintf(more, sizeof more, "-DSTEP=%d", step);
  order_options(run, more, options, sizeof options);
  pare__args args = {0};
  pare__arg_long(&args, length);
  pare__arg_int(&args, (int32_t)block);
  for (int i = 0; i < MASK_NBUFFERS; i++) push(&args, &run->operand[i]);
  const size_t local = (size_t)group, global = step == MASK_SHARE ? 1 : (size_t)pare__div_up(length, block) * local;
  return pare__run_kernel(run, "mask_step", options, 1, &global, &local, &args);
}

static bool mask_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  if (step_of(whole) == MASK_SHARE) return most == 0 || whole->dim[MASK_LENGTH] < most;
  return most == 0 || 2 * whole->dim[MASK_BLOCK] < most;
}

static bool mask_accepts_group(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  if (step_of(whole) == MASK_SHARE) return mask_accepts(info, whole);
  return most == 0 || whole->dim[MASK_BLOCK] / groups[0] * 12 < most; /* a step has loops over words of bits */
}

static bool mask_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  static const int modes[] = {MASK_TIES | PRUNE_MAGNITUDE,      MASK_SHARE, MASK_KEEP,
                              MASK_KEEP | PRUNE_MAGNITUDE,      MASK_COUNT, MASK_TIES,
                              MASK_NONFINITE | PRUNE_MAGNITUDE, MASK_LIST};
  static const int64_t lengths[][2] = {{1000, 300}, {0, 300}, {70001, 65536}, {1, 64}};
  if (set == PARE__CASES_BENCH) {
    if (index > 0) return false;
    out->mode = MASK_KEEP | PRUNE_MAGNITUDE;
    out->dim[MASK_LENGTH] = 1 << 24;
    out->dim[MASK_BLOCK] = 65536;
  } else {
    const unsigned mode = index % PARE__COUNT(modes), rest = index / PARE__COUNT(modes);
    const unsigned length = set == PARE__CASES_TEST ? rest % PARE__COUNT(lengths) : 0;
    index = set == PARE__CASES_TEST ? rest / PARE__COUNT(lengths) : rest;
    if (index >= 2 * PARE__COUNT(float_dtypes)) return false;
    out->mode = modes[mode];
    out->dim[MASK_LENGTH] = lengths[length][0];
    out->dim[MASK_BLOCK] = lengths[length][1];
  }
  const int step = step_of(out);
  out->dim[MASK_SHARED] = step == MASK_KEEP && index % 2;
  const pare_dtype dtype = float_dtypes[index / 2];
  const bool of_mask = step == MASK_COUNT || step == MASK_LIST, integers = step == MASK_SHARE || step == MASK_LIST;
  out->dtype[MASK_BUFFER_X] = of_mask ? PARE_BOOL : step == MASK_SHARE ? PARE_I32 : dtype;
  out->dtype[MASK_BUFFER_THRESHOLD] = integers ? PARE_I64 : step == MASK_KEEP ? dtype : PARE_F32;
  out->dtype[MASK_BUFFER_FIGURES] = PARE_I32;
  out->dtype[MASK_BUFFER_OUT] = integers ? PARE_I64 : PARE_BOOL;
  return true;
}

/* Is element e of the mask set that is listed? As it is known without the data, so is the list's length. */
static bool is_listed(int64_t e) { return (uint64_t)e * 0x9e3779b97f4a7c15U >> 61 < 3; }

static int64_t listed_before(int64_t end) {
  int64_t count = 0;
  for (int64_t e = 0; e < end; e++) count += is_listed(e);
  return count;
}

static void mask_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  static const pare__role roles[][MASK_NBUFFERS] = {
      [MASK_TIES] = {PARE__IN, PARE__IN, PARE__OUT, PARE__ABSENT},
      [MASK_SHARE] = {PARE__IN, PARE__IN, PARE__OUT, PARE__OUT},
      [MASK_KEEP] = {PARE__IN, PARE__IN, PARE__IN, PARE__OUT},
      [MASK_COUNT] = {PARE__IN, PARE__ABSENT, PARE__OUT, PARE__ABSENT},
      [MASK_NONFINITE] = {PARE__IN, PARE__ABSENT, PARE__OUT, PARE__ABSENT},
      [MASK_LIST] = {PARE__IN, PARE__IN, PARE__ABSENT, PARE__OUT},
  };
  const int step = step_of(problem);
  const int64_t length = problem->dim[MASK_LENGTH], blocks = pare__div_up(length, problem->dim[MASK_BLOCK]);
  const int64_t elements[] = {length, step == MASK_LIST ? blocks : 1, step == MASK_SHARE ? length : blocks,
                              step == MASK_SHARE  ? 1
                              : step == MASK_LIST ? listed_before(length)
                                                  : length};
  *out = (pare__buffer_spec){roles[step][i], elements[i]};
  if (i == MASK_BUFFER_FIGURES && step == MASK_KEEP && !problem->dim[MASK_SHARED]) out->role = PARE__ABSENT;
}

static void mask_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  mask_buffer(problem, i, &spec);
  const pare_dtype dtype = problem->dtype[i];
  uint64_t state = seed + i;
  if (step_of(problem) == MASK_LIST) {
    for (int64_t e = 0; e < spec.elements; e++)
      pare__store_integer(dtype, data, (size_t)e,
                          i == MASK_BUFFER_X ? is_listed(e) : listed_before(e * problem->dim[MASK_BLOCK]));
    return;
  }
  if (i == MASK_BUFFER_X && step_of(problem) == MASK_NONFINITE && seed % 2) { /* none, or one at the end */
    for (int64_t e = 0; e < spec.elements; e++)
      pare__store(dtype, data, (size_t)e, e > 0 && e == spec.elements - 1 ? NAN : 1);
    return;
  }
  if (i == MASK_BUFFER_THRESHOLD && step_of(problem) != MASK_SHARE) {
    pare__store(dtype, data, 0, 0.5);
    return;
  }
  if (pare__dtype_is_float(dtype)) {
    fill_scores(dtype, spec.elements, seed, data);
    return;
  }
  for (int64_t e = 0; e < spec.elements; e++)
    pare__store_integer(dtype, data, (size_t)e,
                        (int64_t)(pare__reference_random(&state) % (dtype == PARE_I64 ? 900 : 9)));
}

static void reference_figures(const pare__problem *problem, void *const *data, double *figures) {
  const int64_t length = problem->dim[MASK_LENGTH], block = problem->dim[MASK_BLOCK];
  const int step = step_of(problem);
  const uint64_t infinite = 0x7f800000;
  for (int64_t b = 0; b * block < length; b++) {
    figures[b] = step == MASK_NONFINITE ? -1 : 0;
    for (int64_t i = b * block; i < PARE__MIN((b + 1) * block, length); i++) {
      if (step == MASK_COUNT) figures[b] += ((const uint8_t *)data[0])[i] != 0;
      if (step == MASK_TIES)
        figures[b] += key_at(problem, data[0], i) ==
                      pare__select_key(problem->dtype[1], data[1], 0, problem->mode & PRUNE_MAGNITUDE, false);
      if (step == MASK_NONFINITE && figures[b] < 0 && key_at(problem, data[0], i) >= infinite)
        figures[b] = (double)(i - b * block);
    }
  }
}

static void reference_keep(const pare__problem *problem, void *const *data, double *mask) {
  const int64_t length = problem->dim[MASK_LENGTH], block = problem->dim[MASK_BLOCK];
  const uint64_t limit = pare__select_key(problem->dtype[1], data[1], 0, problem->mode & PRUNE_MAGNITUDE, false);
  const int32_t *share = data[MASK_BUFFER_FIGURES];
  for (int64_t i = 0, taken = 0; i < length; i++) {
    if (i % block == 0) taken = 0;
    const uint64_t key = key_at(problem, data[0], i);
    mask[i] = key > limit || (key == limit && (!share || taken < share[i / block]));
    taken += key == limit;
  }
}

static bool mask_reference(const pare__problem *problem, void *const *data, double *const *expected,
                           double *const *tolerance) {
  (void)tolerance; /* all exact */
  if (step_of(problem) == MASK_KEEP) {
    reference_keep(problem, data, expected[MASK_BUFFER_OUT]);
  } else if (step_of(problem) == MASK_SHARE) {
    int64_t left = ((const int64_t *)data[MASK_BUFFER_THRESHOLD])[0];
    for (int64_t b = 0; b < problem->dim[MASK_LENGTH]; b++) {
      const int64_t share = PARE__MIN(left, ((const int32_t *)data[0])[b]);
      expected[MASK_BUFFER_FIGURES][b] = (double)share;
      left -= share;
    }
    expected[MASK_BUFFER_OUT][0] = (double)left;
  } else if (step_of(problem) == MASK_LIST) {
    for (int64_t e = 0, k = 0; e < problem->dim[MASK_LENGTH]; e++)
      if (is_listed(e)) expected[MASK_BUFFER_OUT][k++] = (double)e;
  } else {
    reference_figures(problem, data, expected[MASK_BUFFER_FIGURES]);
  }
  return true;
}

static void mask_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)problem->dim[MASK_LENGTH] * (double)(pare_dtype_bytes(problem->dtype[0]) + 1);
}

static void mask_describe(const pare__problem *problem, char *text, size_t capacity) {
  static const char *const names[] = {"ties", "share", "keep", "count", "not finite", "list"};
  snprintf(text, capacity, "%s %lld/%lld%s %s", names[step_of(problem)], (long long)problem->dim[MASK_LENGTH],
           (long long)problem->dim[MASK_BLOCK], problem->dim[MASK_SHARED] ? " with shares" : "",
           pare_dtype_name(problem->dtype[0]));
}

static const pare__variant mask_variants[] = {
    {.name = "item", .file = "mask.cl", .shaped = PARE__FOR_CPU, .params = item_params, .accepts = mask_accepts},
    {.name = "group",
     .file = "mask.cl",
     .shaped = PARE__FOR_GPU,
     .params = group_params,
     .accepts = mask_accepts_group},
    {.name = NULL},
};

const pare__family pare__family_mask = {
    .name = "mask",
    .what = "masks from a threshold, ties in order; figures of blocks",
    .nbuffers = MASK_NBUFFERS,
    .variants = mask_variants,
    .problem = mask_problem,
    .buffer = mask_buffer,
    .generate = mask_generate,
    .reference = mask_reference,
    .work = mask_work,
    .describe = mask_describe,
    .shape_class = name_class,
    .launch = mask_launch,
};
