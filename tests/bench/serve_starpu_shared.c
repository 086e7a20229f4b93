/* The peer of serve_sched: StarPU spreads pieces of the same work over the same devices.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   serve_starpu_shared FILE.cl POLICY PIECES     serves as serve.h says
 *
 * A worker of StarPU is a device: its codelets run pare's operation on rows of that device's own tensors and wait for
 * them. So the kernels are the same, nothing is copied, and what differs is who decides. StarPU has one model of time
 * for all workers on processors, so policies that foresee times do not know these apart; those that hand out pieces as
 * workers ask need not. */
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"
#include "serve_tensors.h"
#include "tensor/context.h"

enum { MOST_DEVICES = 8, MOST_PIECES = 256, MOST_VIEWS = 3 };

typedef struct work {
  unsigned nviews; /* of a piece */
  int64_t nrows;
  int32_t steps; /* of the user's kernel */
  float spread;
  const char *(*piece)(unsigned member, unsigned piece);
} work;

static const char *kernel_file;
static work current;
static unsigned npieces, nmembers;
static pare_tensor *whole[MOST_DEVICES][MOST_VIEWS];
static pare_tensor *view[MOST_DEVICES][MOST_PIECES][MOST_VIEWS];
static const char *_Atomic failure; /* of a codelet */

static int64_t first_row(unsigned piece) { return current.nrows * piece / npieces; }

/* ---- data: each device has all of it, and views of the rows of each piece ---- */

static void close_work(void) {
  for (unsigned m = 0; m < nmembers; m++)
    for (unsigned v = 0; v < MOST_VIEWS; v++) {
      for (unsigned p = 0; p < npieces; p++) {
        pare_tensor_close(view[m][p][v]);
        view[m][p][v] = NULL;
      }
      pare_tensor_close(whole[m][v]);
      whole[m][v] = NULL;
    }
}

/* One more tensor of every device; cut: by rows. */
static const char *add(int rank, const int64_t *dim, bool cut) {
  pare_context *const all = context;
  for (unsigned m = 0; m < nmembers; m++) {
    context = pare__context_member(all, m);
    const char *problem = add_tensor(rank, dim);
    context = all;
    if (problem != NULL) return problem;
    pare_tensor *tensor = whole[m][current.nviews] = tensors[--ntensors];
    for (unsigned p = 0; p < npieces && cut; p++)
      CHECK(
          pare_tensor_slice(tensor, 0, first_row(p), first_row(p + 1) - first_row(p), 1, &view[m][p][current.nviews]));
  }
  current.nviews++;
  return NULL;
}

static const char *multiply(unsigned m, unsigned p) {
  CHECK(pare_gemm(view[m][p][0], whole[m][1], NULL, NULL, view[m][p][2]));
  CHECK(pare_context_wait(pare__context_member(context, m)));
  return NULL;
}

static const char *open_product(const long *arguments) {
  const int64_t m = arguments[0], n = arguments[1], k = arguments[2];
  current = (work){.nrows = m, .piece = multiply};
  const char *problem = add(2, (const int64_t[]){m, k}, true);
  if (problem == NULL) problem = add(2, (const int64_t[]){k, n}, false);
  if (problem == NULL) problem = add(2, (const int64_t[]){m, n}, true);
  return problem;
}

static const char *iterate(unsigned m, unsigned p) {
  const pare_task_tensor bound[] = {{view[m][p][0], PARE_ACCESS_READ, 0, 1}, {view[m][p][1], PARE_ACCESS_WRITE, 0, 1}};
  const pare_task_number numbers[] = {{PARE_I32, {.i32 = (int32_t)current.nrows}},
                                      {PARE_I32, {.i32 = (int32_t)first_row(p)}},
                                      {PARE_I32, {.i32 = current.steps}},
                                      {PARE_F32, {.f32 = current.spread}}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = kernel_file;
  options.entry = "irregular";
  options.tensor = bound;
  options.ntensors = 2;
  options.number = numbers;
  options.nnumbers = 4;
  options.n = first_row(p + 1) - first_row(p);
  options.group_items = 64;
  CHECK(pare_task_submit(pare__context_member(context, m), &options, NULL));
  CHECK(pare_context_wait(pare__context_member(context, m)));
  return NULL;
}

static const char *open_rows(const long *arguments) {
  current =
      (work){.nrows = arguments[0], .steps = (int32_t)arguments[1], .spread = (float)arguments[2], .piece = iterate};
  const char *problem = add(1, &(const int64_t){arguments[0]}, true);
  return problem != NULL ? problem : add(1, &(const int64_t){arguments[0]}, true);
}

/* ---- StarPU ---- */

static void run_piece(void *buffers[], void *argument) {
  (void)buffers;
  const char *problem = current.piece((unsigned)starpu_worker_get_id(), (unsigned)(uintptr_t)argument);
  if (problem != NULL) failure = problem;
}

static struct starpu_codelet codelet = {.cpu_funcs = {run_piece}, .nbuffers = 0};

static const char *run_pieces(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) {
    /* the last first: where rows differ they cost most */
    for (unsigned p = npieces; p-- > 0;) {
      struct starpu_task *task = starpu_task_create();
      task->cl = &codelet;
      task->cl_arg = (void *)(uintptr_t)p;
      if (starpu_task_submit(task) != 0) return "StarPU takes no task";
    }
    starpu_task_wait_for_all();
  }
  return failure;
}

int main(int argc, char **argv) {
  static const bench_work works[] = {{"gemm", 3, open_product, run_pieces, close_work},
                                     {"rows", 3, open_rows, run_pieces, close_work},
                                     {NULL, 0, NULL, NULL, NULL}};
  struct starpu_conf conf;
  if (argc != 4 || (npieces = (unsigned)strtoul(argv[3], NULL, 10)) == 0 || npieces > MOST_PIECES) return EXIT_FAILURE;
  kernel_file = argv[1];
  if (pare_context_open(NULL, &context) != PARE_OK) {
    fprintf(stderr, "serve_starpu_shared: %s\n", pare_message());
    return EXIT_FAILURE;
  }
  nmembers = (unsigned)pare__context_members(context);
  starpu_conf_init(&conf);
  conf.ncpus = (int)nmembers;
  conf.ncuda = conf.nopencl = 0;
  conf.sched_policy_name = argv[2];
  int status = EXIT_FAILURE;
  if (nmembers > MOST_DEVICES || starpu_init(&conf) != 0)
    fprintf(stderr, "serve_starpu_shared: StarPU does not start\n");
  else {
    if (starpu_cpu_worker_get_count() == nmembers)
      status = bench_serve(works, false);
    else
      fprintf(stderr, "serve_starpu_shared: StarPU has %u workers for %u devices\n", starpu_cpu_worker_get_count(),
              nmembers);
    starpu_shutdown();
  }
  pare_context_close(context);
  return status;
}
