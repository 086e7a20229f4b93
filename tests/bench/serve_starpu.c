/* The peer of serve_crew: StarPU on two workers, the same work. SPDX-License-Identifier: Apache-2.0
 *
 * serve_starpu POLICY JOBS prints as serve_crew does; bytes are of the whole process. */
#include <malloc.h>
#include <starpu.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void nothing(void *buffers[], void *argument) { (void)buffers, (void)argument; }

/* A chain is a datum that each task writes: dependencies follow from the order of submission. */
static struct starpu_codelet alone = {.cpu_funcs = {nothing}, .nbuffers = 0};
static struct starpu_codelet linked = {.cpu_funcs = {nothing}, .nbuffers = 1, .modes = {STARPU_RW}};

/* Microseconds a task, submission and all. */
static double time_tasks(size_t ntasks, bool chain) {
  int datum = 0;
  starpu_data_handle_t handle;
  starpu_variable_data_register(&handle, STARPU_MAIN_RAM, (uintptr_t)&datum, sizeof datum);
  const double begin = starpu_timing_now();
  for (size_t i = 0; i < ntasks; i++) {
    struct starpu_task *task = starpu_task_create();
    task->cl = chain ? &linked : &alone;
    if (chain) task->handles[0] = handle;
    if (starpu_task_submit(task) != 0) return -1;
  }
  starpu_task_wait_for_all();
  const double seconds = starpu_timing_now() - begin;
  starpu_data_unregister(handle);
  return seconds / (double)ntasks;
}

/* Bytes that a task takes before it may begin. */
static double weigh_tasks(size_t ntasks) {
  const struct mallinfo2 before = mallinfo2();
  starpu_pause();
  for (size_t i = 0; i < ntasks; i++) {
    struct starpu_task *task = starpu_task_create();
    task->cl = &alone;
    if (starpu_task_submit(task) != 0) return -1;
  }
  const struct mallinfo2 after = mallinfo2();
  starpu_resume();
  starpu_task_wait_for_all();
  return (double)(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / (double)ntasks;
}

int main(int argc, char **argv) {
  struct starpu_conf conf;
  const size_t ntasks = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
  starpu_conf_init(&conf);
  conf.ncpus = 2;
  conf.ncuda = conf.nopencl = 0;
  conf.sched_policy_name = argc > 1 ? argv[1] : "eager";
  if (starpu_init(&conf) != 0) {
    fprintf(stderr, "serve_starpu: StarPU does not start\n");
    return EXIT_FAILURE;
  }
  const double independent = time_tasks(ntasks, false), chain = time_tasks(ntasks, true), nbytes = weigh_tasks(ntasks);
  printf("%s\t%.3f\t%.3f\t%.0f\n", argc > 1 ? argv[1] : "eager", independent, chain, nbytes);
  starpu_shutdown();
  return EXIT_SUCCESS;
}
