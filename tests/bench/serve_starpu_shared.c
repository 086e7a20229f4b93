/* The peer of serve_sched: StarPU spreads pieces of the same work over the same devices.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   serve_starpu_shared FILE.cl POLICY PIECES     serves as serve.h says
 *
 * A worker of StarPU is a device: its codelets run pieces (serve_shared.h) and wait for them. StarPU has one model of
 * time for all workers on processors, so policies that foresee times do not know these apart; those that hand out
 * pieces as workers ask need not. */
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"
#include "serve_shared.h"

static unsigned npieces;
static const char *_Atomic failure; /* of a codelet */

static int64_t first_row(unsigned piece) { return shared_rows() * piece / npieces; }

static void run_piece(void *buffers[], void *argument) {
  (void)buffers;
  const unsigned piece = (unsigned)(uintptr_t)argument;
  const char *problem = shared_run((unsigned)starpu_worker_get_id(), first_row(piece), first_row(piece + 1));
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

static const char *serve(const char *policy) {
  static const bench_work works[] = {{"gemm", 3, shared_open_gemm, run_pieces, shared_close_work},
                                     {"rows", 3, shared_open_rows, run_pieces, shared_close_work},
                                     {NULL, 0, NULL, NULL, NULL}};
  struct starpu_conf conf;
  starpu_conf_init(&conf);
  conf.ncpus = (int)shared_members;
  conf.ncuda = conf.nopencl = 0;
  conf.sched_policy_name = policy;
  if (starpu_init(&conf) != 0) return "StarPU does not start";
  const char *problem = starpu_cpu_worker_get_count() == shared_members ? NULL : "StarPU has not a worker a device";
  if (problem == NULL && bench_serve(works, false) != 0) problem = "serving";
  starpu_shutdown();
  return problem;
}

int main(int argc, char **argv) {
  if (argc != 4 || (npieces = (unsigned)strtoul(argv[3], NULL, 10)) == 0) return EXIT_FAILURE;
  const char *problem = shared_open(argv[1]);
  if (problem == NULL) problem = serve(argv[2]);
  if (problem != NULL) fprintf(stderr, "serve_starpu_shared: %s\n", problem);
  shared_close();
  return problem == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}
