/* Benchmark servers: pieces of one work on several devices. SPDX-License-Identifier: Apache-2.0 */
#include "serve_shared.h"

#include "serve_tensors.h"
#include "tensor/context.h"

enum { MOST_VIEWS = 3 };

typedef struct view {
  pare_tensor *whole[MOST_DEVICES];
  bool cut; /* by rows */
} view;

static struct {
  unsigned nviews;
  view view[MOST_VIEWS];
  int64_t nrows;
  int32_t steps; /* of the user's kernel */
  float spread;
  const char *(*piece)(unsigned member, int64_t begin, pare_tensor *const *bound);
} current;

unsigned shared_members;
static const char *user_kernel;

int64_t shared_rows(void) { return current.nrows; }

const char *shared_open(const char *kernel_file) {
  user_kernel = kernel_file;
  CHECK(pare_context_open(NULL, &context));
  shared_members = (unsigned)pare__context_members(context);
  return shared_members <= MOST_DEVICES ? NULL : "too many devices";
}

void shared_close(void) { pare_context_close(context); }

void shared_close_work(void) {
  for (unsigned v = 0; v < current.nviews; v++)
    for (unsigned m = 0; m < shared_members; m++) pare_tensor_close(current.view[v].whole[m]);
  current.nviews = 0;
}

/* One more tensor of every device. */
static const char *add(int rank, const int64_t *dim, bool cut) {
  pare_context *const all = context;
  view *added = &current.view[current.nviews++];
  *added = (view){.cut = cut};
  for (unsigned m = 0; m < shared_members; m++) {
    context = pare__context_member(all, m);
    const char *problem = add_tensor(rank, dim);
    context = all;
    if (problem != NULL) return problem;
    added->whole[m] = tensors[--ntensors];
  }
  return NULL;
}

static const char *multiply(unsigned member, int64_t begin, pare_tensor *const *bound) {
  (void)member, (void)begin;
  CHECK(pare_gemm(bound[0], bound[1], NULL, NULL, bound[2]));
  return NULL;
}

const char *shared_open_gemm(const long *arguments) {
  const int64_t m = arguments[0], n = arguments[1], k = arguments[2];
  current.nrows = m;
  current.piece = multiply;
  const char *problem = add(2, (const int64_t[]){m, k}, true);
  if (problem == NULL) problem = add(2, (const int64_t[]){k, n}, false);
  return problem != NULL ? problem : add(2, (const int64_t[]){m, n}, true);
}

static const char *iterate(unsigned member, int64_t begin, pare_tensor *const *bound) {
  const pare_task_tensor tensor[] = {{bound[0], PARE_ACCESS_READ, 0, 1}, {bound[1], PARE_ACCESS_WRITE, 0, 1}};
  const pare_task_number number[] = {{PARE_I32, {.i32 = (int32_t)current.nrows}},
                                     {PARE_I32, {.i32 = (int32_t)begin}},
                                     {PARE_I32, {.i32 = current.steps}},
                                     {PARE_F32, {.f32 = current.spread}}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = user_kernel;
  options.entry = "irregular";
  options.tensor = tensor;
  options.ntensors = 2;
  options.number = number;
  options.nnumbers = 4;
  options.n = pare_tensor_shape(bound[0])[0];
  options.group_items = 64;
  CHECK(pare_task_submit(pare__context_member(context, member), &options, NULL));
  return NULL;
}

const char *shared_open_rows(const long *arguments) {
  current.nrows = arguments[0];
  current.steps = (int32_t)arguments[1];
  current.spread = (float)arguments[2];
  current.piece = iterate;
  const char *problem = add(1, &(const int64_t){arguments[0]}, true);
  return problem != NULL ? problem : add(1, &(const int64_t){arguments[0]}, true);
}

static const char *run_bound(unsigned member, int64_t begin, int64_t end, pare_tensor **bound) {
  for (unsigned v = 0; v < current.nviews; v++) {
    const view *from = &current.view[v];
    const int64_t all = pare_tensor_shape(from->whole[member])[0];
    CHECK(
        pare_tensor_slice(from->whole[member], 0, from->cut ? begin : 0, from->cut ? end - begin : all, 1, &bound[v]));
  }
  const char *problem = current.piece(member, begin, bound);
  if (problem != NULL) return problem;
  CHECK(pare_context_wait(pare__context_member(context, member)));
  return NULL;
}

const char *shared_run(unsigned member, int64_t begin, int64_t end) {
  pare_tensor *bound[MOST_VIEWS] = {NULL};
  if (begin >= end) return NULL;
  const char *problem = run_bound(member, begin, end, bound);
  for (unsigned v = 0; v < current.nviews; v++) pare_tensor_close(bound[v]);
  return problem;
}
