/* The top-k family: the largest elements of blocks, in order. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/family_select.h"
#include "kernel/reduce_reference.h"

static const int groups[] = {256, 128, 64, 0};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};

static size_t key_bytes(const pare__problem *p) { return (size_t)pare__select_key_bits(p->dtype[0]) / 8; }

/* The keys of a block must fit into local memory, and an item walks a block for each of its elements. */
static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  int64_t block = whole->dim[PARE__TOPK_BLOCK];
  return (uint64_t)block * key_bytes(whole) <= PARE__MIN(info->local_bytes, (uint64_t)16384) &&
         (info->can.max_loop_steps == 0 || block * block < info->can.max_loop_steps);
}

static bool group_accepts(const pare_device_info *info, const pare__problem *whole) {
  return info->can.max_loop_steps == 0 || whole->dim[PARE__TOPK_BLOCK] < info->can.max_loop_steps / 2;
}

static void push_arguments(pare__args *args, const pare__run *run) {
  for (unsigned i = 0; i < 4; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
  }
  for (int i = 0; i <= PARE__TOPK_POSITION; i++) pare__arg_long(args, run->piece->dim[i]);
}

static void options_of(const pare__run *run, const char *group, char *text, size_t capacity) {
  snprintf(text, capacity, "-DWIDE=%d -DMAGNITUDE=0 -DSMALLEST=%d -DFIRST=%d %s", key_bytes(run->whole) == 8,
           run->whole->mode & PARE__TOPK_SMALLEST ? 1 : 0, run->whole->mode & PARE__TOPK_FIRST ? 1 : 0, group);
}

static pare_status launch_items(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  char options[100];
  options_of(run, "-DGROUP=1", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_local(&args, (size_t)dim[PARE__TOPK_BLOCK] * key_bytes(run->whole));
  const size_t global[2] = {(size_t)pare__div_up(dim[PARE__TOPK_LENGTH], dim[PARE__TOPK_BLOCK]),
                            (size_t)(dim[PARE__TOPK_OUTER] * dim[PARE__TOPK_INNER])};
  const size_t one[2] = {1, 1};
  return pare__run_kernel(run, "topk_item", options, 2, global, one, &args);
}

static pare_status launch_groups(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  int group = pare__tuned(run, "GROUP");
  int64_t groups_a_block = pare__div_up(dim[PARE__TOPK_BLOCK], group);
  char options[100];
  options_of(run, "", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_long(&args, groups_a_block);
  const size_t global[2] = {
      (size_t)(pare__div_up(dim[PARE__TOPK_LENGTH], dim[PARE__TOPK_BLOCK]) * groups_a_block * group),
      (size_t)(dim[PARE__TOPK_OUTER] * dim[PARE__TOPK_INNER])};
  const size_t local[2] = {(size_t)group, 1};
  return pare__run_kernel(run, "topk_group", options, 2, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "item", .file = "topk.cl", .shaped = PARE__FOR_CPU, .accepts = item_accepts, .launch = launch_items},
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
}

static void reference_block(const pare__problem *p, void *const *data, double *const *expected, int64_t x, int64_t y,
                            int64_t first, int64_t n) {
  const int64_t *dim = p->dim;
  bool smallest = p->mode & PARE__TOPK_SMALLEST;
  for (int64_t j = 0; j < n; j++) {
    size_t at = (size_t)(x + j * dim[PARE__TOPK_X_AXIS]);
    uint64_t mine = pare__select_key(p->dtype[0], data[0], at, false, smallest);
    int64_t place = 0;
    for (int64_t e = 0; e < n; e++) {
      uint64_t other =
          pare__select_key(p->dtype[0], data[0], (size_t)(x + e * dim[PARE__TOPK_X_AXIS]), false, smallest);
      place += other > mine || (other == mine && e < j);
    }
    if (place >= dim[PARE__TOPK_KEPT]) continue;
    size_t to = (size_t)(y + place * dim[PARE__TOPK_Y_AXIS]);
    expected[2][to] = pare__load(p->dtype[0], data[0], at);
    expected[3][to] = p->mode & PARE__TOPK_FIRST ? (double)(dim[PARE__TOPK_POSITION] + first + j)
                                                 : (double)((const int64_t *)data[1])[at];
  }
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  (void)tolerance; /* all exact */
  const int64_t *dim = p->dim;
  for (int64_t k = 0; k < dim[PARE__TOPK_OUTER] * dim[PARE__TOPK_INNER]; k++)
    for (int64_t b = 0; b * dim[PARE__TOPK_BLOCK] < dim[PARE__TOPK_LENGTH]; b++) {
      int64_t o = k / dim[PARE__TOPK_INNER], i = k % dim[PARE__TOPK_INNER], first = b * dim[PARE__TOPK_BLOCK];
      reference_block(p, data, expected, o * dim[PARE__TOPK_X_OUTER] + first * dim[PARE__TOPK_X_AXIS] + i,
                      o * dim[PARE__TOPK_Y_OUTER] + b * dim[PARE__TOPK_KEPT] * dim[PARE__TOPK_Y_AXIS] + i, first,
                      PARE__MIN(dim[PARE__TOPK_BLOCK], dim[PARE__TOPK_LENGTH] - first));
    }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)(p->dim[PARE__TOPK_OUTER] * p->dim[PARE__TOPK_LENGTH] * p->dim[PARE__TOPK_INNER]) *
           (double)pare_dtype_bytes(p->dtype[0]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %lld of %lld, %lldx%lldx%lld %s%s",
           p->mode & PARE__TOPK_SMALLEST ? "smallest" : "largest", (long long)p->dim[PARE__TOPK_KEPT],
           (long long)p->dim[PARE__TOPK_BLOCK], (long long)p->dim[PARE__TOPK_OUTER],
           (long long)p->dim[PARE__TOPK_LENGTH], (long long)p->dim[PARE__TOPK_INNER], pare_dtype_name(p->dtype[0]),
           p->mode & PARE__TOPK_FIRST ? "" : " with indices");
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", pare_dtype_name(p->dtype[0]), p->dim[PARE__TOPK_BLOCK] > 1024 ? "long" : "short");
}

static void make_problem(int mode, pare_dtype dtype, const int64_t *shape, pare__problem *out) {
  out->mode = mode;
  out->dtype[0] = out->dtype[2] = dtype;
  out->dtype[1] = out->dtype[3] = PARE_I64;
  memcpy(out->dim, shape, 5 * sizeof *shape); /* outer, length, inner, block, kept */
  out->dim[PARE__TOPK_X_OUTER] = shape[1] * shape[2];
  out->dim[PARE__TOPK_X_AXIS] = out->dim[PARE__TOPK_Y_AXIS] = shape[2];
  out->dim[PARE__TOPK_Y_OUTER] = kept_in_all(out) * shape[2];
  out->dim[PARE__TOPK_POSITION] = mode & PARE__TOPK_FIRST ? 5 : 0;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const int64_t shapes[][5] = {{3, 37, 1, 37, 5}, {2, 150, 3, 64, 7}, {1, 1, 1, 1, 1}, {2, 700, 1, 300, 300}};
  static const int64_t bench[][5] = {{1, 1000000, 1, 1024, 10}, {4096, 1000, 1, 1000, 5}};
  if (set == PARE__CASES_BENCH) {
    if (index < PARE__COUNT(bench)) make_problem(PARE__TOPK_FIRST, PARE_F32, bench[index], out);
    return index < PARE__COUNT(bench);
  }
  unsigned nshapes = set == PARE__CASES_TEST ? 4 : 2, nmodes = set == PARE__CASES_TEST ? 4 : 2,
           ndtypes = set == PARE__CASES_TEST ? PARE_NDTYPES : 1;
  if (index >= nshapes * nmodes * ndtypes) return false;
  pare_dtype dtype = (pare_dtype)(index / nshapes / nmodes);
  make_problem((int)(index / nshapes % nmodes), dtype == PARE_F64 && !info->can.f64 ? PARE_F32 : dtype,
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
