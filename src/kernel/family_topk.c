/* The top-k family: the largest elements of blocks, in order. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/family_select.h"
#include "kernel/reduce_reference.h"

static const int groups[] = {256, 128, 64, 0}, widths[] = {8, 16, 4, 0};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};
static const pare__param item_params[] = {{"WIDTH", widths}, {NULL, NULL}};

static size_t key_bytes(const pare__problem *p) { return (size_t)pare__select_key_bits(p->dtype[0]) / 8; }

/* Entries of the buffer that candidates wait in: enough that it is seldom sorted, as few as sort quickly. */
static int64_t item_capacity(const pare__problem *whole) {
  int64_t capacity = 32;
  while (capacity < PARE__TOPK_SORTED &&
         capacity < PARE__MIN(4 * whole->dim[PARE__TOPK_KEPT], whole->dim[PARE__TOPK_BLOCK]))
    capacity *= 2;
  return capacity;
}

/* A block that is longer than what is sorted at a time leaves room in the buffer for what it keeps. */
static bool fits(const pare__problem *p) {
  return (p->mode & PARE__TOPK_MERGE) || p->dim[PARE__TOPK_BLOCK] <= PARE__TOPK_SORTED ||
         p->dim[PARE__TOPK_KEPT] <= PARE__TOPK_SORTED / 2;
}

/* Each element of a block may reach the buffer, and each time it is full it is sorted: 4 steps an element for runs of
 * eight, one for every doubling. */
static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  if (!fits(whole)) return false;
  if (whole->mode & PARE__TOPK_MERGE) return true;
  int64_t capacity = item_capacity(whole), block = whole->dim[PARE__TOPK_BLOCK], kept = whole->dim[PARE__TOPK_KEPT];
  int64_t room = PARE__MAX(capacity - kept, 1), sorts = block > capacity ? 2 + (block - capacity) / room : 1;
  return (uint64_t)capacity * 2 * (key_bytes(whole) + sizeof(cl_int)) <= info->local_bytes &&
         (info->can.max_loop_steps == 0 || block * 2 + sorts * capacity * 14 < info->can.max_loop_steps);
}

static bool group_accepts(const pare_device_info *info, const pare__problem *whole) {
  (void)info;
  return fits(whole);
}

static void push_arguments(pare__args *args, const pare__run *run) {
  for (unsigned i = 0; i < 4; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
  }
  for (int i = 0; i <= PARE__TOPK_POSITION; i++) pare__arg_long(args, run->piece->dim[i]);
}

static void options_of(const pare__run *run, const char *more, char *text, size_t capacity) {
  int mode = run->whole->mode;
  snprintf(text, capacity, "-DWIDE=%d -DMAGNITUDE=0 -DSMALLEST=%d -DFIRST=%d -DMERGE=%d %s", key_bytes(run->whole) == 8,
           mode & PARE__TOPK_SMALLEST ? 1 : 0, mode & PARE__TOPK_FIRST ? 1 : 0, mode & PARE__TOPK_MERGE ? 1 : 0, more);
}

static int64_t block_count(const pare__problem *p) {
  return pare__div_up(p->dim[PARE__TOPK_LENGTH], p->dim[PARE__TOPK_BLOCK]);
}

static pare_status launch_merge(const pare__run *run, const char *options, int64_t part, size_t group,
                                pare__args *args) {
  const int64_t *dim = run->piece->dim;
  const size_t parts = (size_t)pare__div_up(PARE__MIN(dim[PARE__TOPK_KEPT], dim[PARE__TOPK_LENGTH]), part);
  const size_t global[3] = {parts * group, (size_t)block_count(run->piece), (size_t)dim[PARE__TOPK_OUTER]};
  const size_t local[3] = {group, 1, 1};
  return pare__run_kernel(run, "topk_merge", options, 3, global, local, args);
}

static pare_status launch_items(const pare__run *run) {
  const int64_t *dim = run->piece->dim, part = 4096, worth = 4096; /* elements that an item should see */
  char options[120];
  options_of(run, "-DGROUP=1", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  if (run->whole->mode & PARE__TOPK_MERGE) {
    pare__arg_int(&args, (int32_t)part);
    return launch_merge(run, options, part, 1, &args);
  }
  int64_t blocks = block_count(run->piece), capacity = item_capacity(run->whole), all = dim[PARE__TOPK_OUTER] * blocks;
  int64_t blocks_per_item = PARE__MAX(1, worth / (dim[PARE__TOPK_BLOCK] * 14 + 64));
  pare__arg_long(&args, blocks);
  pare__arg_int(&args, (int32_t)capacity);
  pare__arg_int(&args, (int32_t)blocks_per_item);
  pare__arg_local(&args, (size_t)capacity * 2 * key_bytes(run->whole));
  pare__arg_local(&args, (size_t)capacity * 2 * sizeof(cl_int));
  const size_t global[1] = {(size_t)pare__div_up(all, blocks_per_item)}, one[1] = {1};
  return pare__run_kernel(run, "topk_scan", options, 1, global, one, &args);
}

static pare_status launch_groups(const pare__run *run) {
  const int64_t *dim = run->piece->dim, results_of_an_item = 8;
  int group = pare__tuned(run, "GROUP");
  char options[120];
  options_of(run, "", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  if (run->whole->mode & PARE__TOPK_MERGE)
    return launch_merge(run, options, group * results_of_an_item, (size_t)group, &args);
  int64_t capacity = 1, wanted = PARE__MIN(run->whole->dim[PARE__TOPK_BLOCK],
                                           PARE__MAX(4 * group, 4 * run->whole->dim[PARE__TOPK_KEPT]));
  while (capacity < PARE__MIN(wanted, PARE__TOPK_SORTED)) capacity *= 2;
  pare__arg_int(&args, (int32_t)capacity);
  pare__arg_local(&args, (size_t)capacity * key_bytes(run->whole));
  pare__arg_local(&args, (size_t)capacity * sizeof(cl_int));
  const size_t global[2] = {(size_t)block_count(run->piece) * (size_t)group, (size_t)dim[PARE__TOPK_OUTER]};
  const size_t local[2] = {(size_t)group, 1};
  return pare__run_kernel(run, "topk_scan", options, 2, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "item",
     .file = "topk.cl",
     .shaped = PARE__FOR_CPU,
     .params = item_params,
     .accepts = item_accepts,
     .launch = launch_items},
    {.name = "group",
     .file = "topk.cl",
     .shaped = PARE__FOR_GPU,
     .params = group_params,
     .accepts = group_accepts,
     .launch = launch_groups},
    {.name = NULL},
};

static int64_t kept_in_all(const pare__problem *p) {
  int64_t length = p->dim[PARE__TOPK_LENGTH], block = p->dim[PARE__TOPK_BLOCK], kept = p->dim[PARE__TOPK_KEPT];
  int64_t blocks = pare__div_up(length, block);
  return blocks == 0 ? 0 : (blocks - 1) * kept + PARE__MIN(kept, length - (blocks - 1) * block);
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  out->role = i >= 2 ? PARE__OUT : i == 1 && (p->mode & PARE__TOPK_FIRST) ? PARE__ABSENT : PARE__IN;
  out->elements = p->dim[PARE__TOPK_OUTER] * p->dim[i < 2 ? PARE__TOPK_X_OUTER : PARE__TOPK_Y_OUTER];
}

/* ---- inputs ---- */

/* An element with its place in its block, for sorting. */
typedef struct entry {
  uint64_t key, bits;
  int64_t place;
} entry;

static int best_first(const void *left, const void *right) {
  const entry *a = left, *b = right;
  if (a->key != b->key) return a->key < b->key ? 1 : -1;
  return (a->place > b->place) - (a->place < b->place);
}

/* The n elements of x from `from`, in order; NULL if out of memory. */
static entry *sorted(const pare__problem *p, const void *x, int64_t from, int64_t n) {
  entry *entries = calloc((size_t)n + 1, sizeof *entries);
  size_t element = pare_dtype_bytes(p->dtype[0]);
  if (!entries) return NULL;
  for (int64_t i = 0; i < n; i++) {
    entries[i].key = pare__select_key(p->dtype[0], x, (size_t)(from + i), false, p->mode & PARE__TOPK_SMALLEST);
    entries[i].place = i;
    memcpy(&entries[i].bits, (const char *)x + (size_t)(from + i) * element, element);
  }
  qsort(entries, (size_t)n, sizeof *entries, best_first);
  return entries;
}

/* Puts the runs of the rows in order, as a merge finds them. */
static void sort_runs(const pare__problem *p, char *x) {
  const int64_t *dim = p->dim;
  size_t element = pare_dtype_bytes(p->dtype[0]);
  for (int64_t o = 0; o < dim[PARE__TOPK_OUTER]; o++)
    for (int64_t from = 0; from < dim[PARE__TOPK_LENGTH]; from += dim[PARE__TOPK_RUN]) {
      int64_t n = PARE__MIN(dim[PARE__TOPK_RUN], dim[PARE__TOPK_LENGTH] - from),
              at = o * dim[PARE__TOPK_X_OUTER] + from;
      entry *entries = sorted(p, x, at, n);
      for (int64_t i = 0; entries && i < n; i++) memcpy(x + (size_t)(at + i) * element, &entries[i].bits, element);
      free(entries);
    }
}

static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -0.0, 0};
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 4 + i;
  for (int64_t k = 0; k < spec.elements; k++) {
    uint64_t bits = pare__reference_random(&state);
    if (i == 1)
      ((int64_t *)data)[k] = (int64_t)(bits >> 20);
    else if (pare__dtype_is_float(p->dtype[0]))
      pare__store(p->dtype[0], data, (size_t)k,
                  bits % 32 == 0 ? specials[(bits >> 8) % 6] : round(pare__reference_uniform(&state) * 64) / 64);
    else {
      uint64_t value = p->dtype[0] == PARE_BOOL ? bits & 1 : (uint64_t)((int64_t)bits >> 12); /* a double holds it */
      memcpy((char *)data + (size_t)k * pare_dtype_bytes(p->dtype[0]), &value, pare_dtype_bytes(p->dtype[0]));
    }
  }
  if (i == 0 && (p->mode & PARE__TOPK_MERGE)) sort_runs(p, data);
}

/* ---- reference ---- */

static bool reference_block(const pare__problem *p, void *const *data, double *const *expected, int64_t o, int64_t b) {
  const int64_t *dim = p->dim;
  int64_t first = b * dim[PARE__TOPK_BLOCK], from = o * dim[PARE__TOPK_X_OUTER] + first;
  int64_t n = PARE__MIN(dim[PARE__TOPK_BLOCK], dim[PARE__TOPK_LENGTH] - first);
  entry *entries = sorted(p, data[0], from, n);
  if (!entries) return false;
  for (int64_t i = 0; i < PARE__MIN(n, dim[PARE__TOPK_KEPT]); i++) {
    int64_t to = o * dim[PARE__TOPK_Y_OUTER] + b * dim[PARE__TOPK_KEPT] + i, at = from + entries[i].place;
    expected[2][to] = pare__load(p->dtype[0], data[0], (size_t)at);
    expected[3][to] = p->mode & PARE__TOPK_FIRST ? (double)(dim[PARE__TOPK_POSITION] + first + entries[i].place)
                                                 : (double)((const int64_t *)data[1])[at];
  }
  free(entries);
  return true;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  (void)tolerance; /* all exact */
  for (int64_t o = 0; o < p->dim[PARE__TOPK_OUTER]; o++)
    for (int64_t b = 0; b < block_count(p); b++)
      if (!reference_block(p, data, expected, o, b)) return false;
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)p->dim[PARE__TOPK_OUTER] * (double)p->dim[PARE__TOPK_LENGTH] * (double)pare_dtype_bytes(p->dtype[0]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s %lld of %lld, %lldx%lld %s%s", p->mode & PARE__TOPK_MERGE ? "merge, " : "",
           p->mode & PARE__TOPK_SMALLEST ? "smallest" : "largest", (long long)p->dim[PARE__TOPK_KEPT],
           (long long)p->dim[PARE__TOPK_BLOCK], (long long)p->dim[PARE__TOPK_OUTER],
           (long long)p->dim[PARE__TOPK_LENGTH], pare_dtype_name(p->dtype[0]),
           p->mode & PARE__TOPK_FIRST ? "" : " with indices");
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", pare_dtype_name(p->dtype[0]),
           p->mode & PARE__TOPK_MERGE                     ? "merge"
           : p->dim[PARE__TOPK_BLOCK] > PARE__TOPK_SORTED ? "long"
                                                          : "short");
}

/* ---- problems ---- */

/* outer, length, block, kept; the block of a merge is even. */
typedef int64_t shape[4];

static void make_problem(int mode, pare_dtype dtype, const shape s, pare__problem *out) {
  out->mode = mode;
  out->dtype[0] = out->dtype[2] = dtype;
  out->dtype[1] = out->dtype[3] = PARE_I64;
  memcpy(out->dim, s, sizeof(shape));
  out->dim[PARE__TOPK_RUN] = mode & PARE__TOPK_MERGE ? s[2] / 2 : 0;
  out->dim[PARE__TOPK_X_OUTER] = s[1];
  out->dim[PARE__TOPK_Y_OUTER] = kept_in_all(out);
  out->dim[PARE__TOPK_POSITION] = mode & PARE__TOPK_FIRST ? 5 : 0;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const int modes[] = {PARE__TOPK_FIRST, PARE__TOPK_FIRST | PARE__TOPK_SMALLEST, 0, PARE__TOPK_SMALLEST,
                              PARE__TOPK_MERGE, PARE__TOPK_MERGE | PARE__TOPK_SMALLEST};
  static const shape shapes[] = {{3, 37, 38, 5},        {2, 1500, 1200, 7},   {1, 1, 2, 1},          {2, 700, 300, 300},
                                 {1, 1024, 1024, 1024}, {3, 8003, 8002, 501}, {2, 20011, 8192, 512}, {0, 5, 4, 2}};
  static const struct {
    int mode;
    shape shape;
  } bench[] = {{PARE__TOPK_FIRST, {1, 1000000, 8192, 10}},
               {PARE__TOPK_FIRST, {4096, 1000, 1000, 5}},
               {PARE__TOPK_FIRST, {1, 1000000, 1024, 1024}},
               {PARE__TOPK_MERGE, {1, 1000000, 524288, 524288}}};
  if (set == PARE__CASES_BENCH) {
    if (index < PARE__COUNT(bench)) make_problem(bench[index].mode, PARE_F32, bench[index].shape, out);
    return index < PARE__COUNT(bench);
  }
  unsigned nshapes = set == PARE__CASES_TEST ? PARE__COUNT(shapes) : 2, nmodes = PARE__COUNT(modes);
  unsigned ndtypes = set == PARE__CASES_TEST ? PARE__FIRST_TINY : 1;
  if (index >= nshapes * nmodes * ndtypes) return false;
  pare_dtype dtype = (pare_dtype)(index / nshapes / nmodes);
  make_problem(modes[index / nshapes % nmodes], dtype == PARE_F64 && !info->can.f64 ? PARE_F32 : dtype,
               shapes[index % nshapes], out);
  return true;
}

const pare__family pare__family_topk = {
    .name = "topk",
    .what = "the k largest or smallest elements in order, with their indices",
    .nbuffers = 4,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
