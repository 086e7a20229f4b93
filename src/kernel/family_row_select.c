/* The family of selection within rows. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_prune.h"
#include "kernel/family_select.h"
#include "kernel/reference.h"

static int64_t parts_of(const pare__problem *p) {
  return pare__div_up(p->dim[ROW_SELECT_LENGTH], p->dim[ROW_SELECT_PART]);
}

static pare_status launch(const pare__run *run, int group, const char *group_option) {
  const int64_t *dim = run->piece->dim, parts = parts_of(run->piece);
  if (dim[ROW_SELECT_ROWS] * parts == 0) return PARE_OK;
  const int mode = run->whole->mode;
  char options[120];
  snprintf(options, sizeof options, "-DMAGNITUDE=%d -DSMALLEST=%d -DMASK=%d %s", mode & PRUNE_MAGNITUDE ? 1 : 0,
           mode & PRUNE_SMALLEST ? 1 : 0, mode & PRUNE_VALUES ? 0 : 1, group_option);
  pare__args args = {0};
  pare__arg_long(&args, dim[ROW_SELECT_LENGTH]);
  pare__arg_int(&args, (int32_t)parts);
  pare__arg_int(&args, (int32_t)PARE__MIN(dim[ROW_SELECT_PART], dim[ROW_SELECT_LENGTH]));
  for (int i = 0; i < ROW_SELECT_NBUFFERS; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  pare__arg_int(&args, (int32_t)dim[ROW_SELECT_K]);
  pare__arg_int(&args, (int32_t)dim[ROW_SELECT_K_LAST]);
  const size_t local = (size_t)group, global = (size_t)(dim[ROW_SELECT_ROWS] * parts) * local;
  return pare__run_kernel(run, "row_select", options, 1, &global, &local, &args);
}

static pare_status launch_items(const pare__run *run) { return launch(run, 1, "-DGROUP=1"); }
static pare_status launch_groups(const pare__run *run) { return launch(run, pare__tuned(run, "GROUP"), ""); }

/* Four digits, each with its pass and two loops over 256 bins, and the mask. */
static bool accepts_items(const pare_device_info *info, const pare__problem *whole) {
  const int64_t most = info->can.max_loop_steps,
                n = PARE__MIN(whole->dim[ROW_SELECT_PART], whole->dim[ROW_SELECT_LENGTH]);
  return n <= INT32_MAX && (most == 0 || 6 * n + 2048 < most);
}

static bool accepts_groups(const pare_device_info *info, const pare__problem *whole) {
  const int64_t most = info->can.max_loop_steps,
                n = PARE__MIN(whole->dim[ROW_SELECT_PART], whole->dim[ROW_SELECT_LENGTH]);
  return n <= INT32_MAX && (most == 0 || 20 * (n / 64 + 1) + 2048 < most);
}

static const struct {
  pare__case_set set;
  int mode;
  int64_t rows, length, part, k, k_last;
} cases[] = {
    {PARE__CASES_SELFTEST, PRUNE_MAGNITUDE, 3, 300, 300, 100, 100},
    {PARE__CASES_SELFTEST, PRUNE_VALUES | PRUNE_SMALLEST, 3, 300, 64, 2, 7},
    {PARE__CASES_TEST, PRUNE_MAGNITUDE, 7, 1031, 1031, 515, 515},
    {PARE__CASES_TEST, 0, 7, 1031, 1031, 0, 0},
    {PARE__CASES_TEST, PRUNE_SMALLEST, 5, 97, 97, 97, 97},
    {PARE__CASES_TEST, PRUNE_VALUES | PRUNE_MAGNITUDE, 9, 131, 32, 1, 3},
    {PARE__CASES_TEST, PRUNE_VALUES | PRUNE_SMALLEST, 2, 20000, 20000, 21, 21},
    {PARE__CASES_TEST, PRUNE_VALUES, 0, 32, 32, 1, 1},
    {PARE__CASES_BENCH, PRUNE_MAGNITUDE, 4096, 4096, 4096, 2048, 2048},
};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16};
  (void)info;
  const unsigned ndtypes = set == PARE__CASES_BENCH ? 1 : PARE__COUNT(dtypes);
  for (unsigned i = 0; i < PARE__COUNT(cases); i++) {
    if (cases[i].set != set) continue;
    if (index >= ndtypes) {
      index -= ndtypes;
      continue;
    }
    out->mode = cases[i].mode;
    out->dim[ROW_SELECT_ROWS] = cases[i].rows;
    out->dim[ROW_SELECT_LENGTH] = cases[i].length;
    out->dim[ROW_SELECT_PART] = cases[i].part;
    out->dim[ROW_SELECT_K] = cases[i].k;
    out->dim[ROW_SELECT_K_LAST] = cases[i].k_last;
    out->dtype[ROW_SELECT_BUFFER_X] = dtypes[index];
    out->dtype[ROW_SELECT_BUFFER_OUT] = out->mode & PRUNE_VALUES ? PARE_F32 : PARE_BOOL;
    return true;
  }
  return false;
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t rows = p->dim[ROW_SELECT_ROWS], length = p->dim[ROW_SELECT_LENGTH];
  *out = i == ROW_SELECT_BUFFER_X
             ? (pare__buffer_spec){PARE__IN, rows * length}
             : (pare__buffer_spec){PARE__OUT, rows * (p->mode & PRUNE_VALUES ? parts_of(p) : length)};
}

/* Many ties: a hundred values. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  uint64_t state = seed;
  for (int64_t e = 0; e < p->dim[ROW_SELECT_ROWS] * p->dim[ROW_SELECT_LENGTH]; e++)
    pare__store(p->dtype[i], data, (size_t)e, (double)(pare__reference_random(&state) % 101) / 32 - 1.5);
}

typedef struct ranked {
  uint64_t key;
  int64_t index;
} ranked;

static int best_first(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  return x->key != y->key ? (x->key < y->key) - (x->key > y->key) : (x->index > y->index) - (x->index < y->index);
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  (void)tolerance; /* all exact */
  const int64_t length = p->dim[ROW_SELECT_LENGTH], part = p->dim[ROW_SELECT_PART], parts = parts_of(p);
  ranked *order = malloc((size_t)PARE__MAX(PARE__MIN(part, length), 1) * sizeof *order);
  if (!order) return false;
  for (int64_t r = 0; r < p->dim[ROW_SELECT_ROWS] * parts; r++) {
    const int64_t begin = r / parts * length + r % parts * part, n = PARE__MIN(part, length - r % parts * part);
    const int64_t k = p->dim[r % parts == parts - 1 ? ROW_SELECT_K_LAST : ROW_SELECT_K];
    for (int64_t i = 0; i < n; i++)
      order[i] = (ranked){pare__select_key(p->dtype[0], data[0], (size_t)(begin + i), p->mode & PRUNE_MAGNITUDE,
                                           p->mode & PRUNE_SMALLEST),
                          begin + i};
    qsort(order, (size_t)n, sizeof *order, best_first);
    if (p->mode & PRUNE_VALUES) {
      const double value = pare__load(p->dtype[0], data[0], (size_t)order[k - 1].index);
      expected[1][r] = p->mode & PRUNE_MAGNITUDE && value < 0 ? -value : value;
    } else {
      for (int64_t i = 0; i < n; i++) expected[1][order[i].index] = i < k;
    }
  }
  free(order);
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)(p->dim[ROW_SELECT_ROWS] * p->dim[ROW_SELECT_LENGTH]) * (double)(pare_dtype_bytes(p->dtype[0]) + 1);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %lld of %lldx%lld in parts of %lld %s", p->mode & PRUNE_VALUES ? "value" : "mask",
           (long long)p->dim[ROW_SELECT_K], (long long)p->dim[ROW_SELECT_ROWS], (long long)p->dim[ROW_SELECT_LENGTH],
           (long long)p->dim[ROW_SELECT_PART], pare_dtype_name(p->dtype[0]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", pare_dtype_name(p->dtype[0]));
}

static const pare__param group_params[] = {{"GROUP", (const int[]){64, 128, 256, 0}}, {NULL, NULL}};
static const pare__variant variants[] = {
    {.name = "item",
     .file = "row_select.cl",
     .shaped = PARE__FOR_CPU,
     .accepts = accepts_items,
     .launch = launch_items},
    {.name = "group",
     .file = "row_select.cl",
     .shaped = PARE__FOR_GPU,
     .params = group_params,
     .accepts = accepts_groups,
     .launch = launch_groups},
    {.name = NULL},
};

const pare__family pare__family_row_select = {
    .name = "row_select",
    .what = "the k-th largest of each row, or the mask of its k largest",
    .nbuffers = ROW_SELECT_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
