/* What a crew costs: jobs that do nothing on two members that do nothing. SPDX-License-Identifier: Apache-2.0
 *
 * serve_crew [POLICY [JOBS]] prints microseconds a job for jobs without needs and for a chain, and the bytes that a
 * waiting job takes. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/crew.h"

static pare_status nothing(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  return PARE_OK;
}

/* Holds back all that needs it until the main thread lets go. */
static pare_status hold(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)member, (void)begin, (void)end;
  pthread_mutex_lock(argument);
  pthread_mutex_unlock(argument);
  return PARE_OK;
}

static const pare__job no_op = {.run = nothing, .kernel = "nothing", .n = 1, .member = PARE__NO_DEVICE};

static pare_status open_crew(const char *policy, pare__crew **out) {
  const pare__crew_member member[] = {{.name = "first", .seen = {.resource = PARE__ON_CPU}, .weight = 1},
                                      {.name = "second", .seen = {.resource = PARE__ON_CPU}, .weight = 1}};
  pare__policy_choice choice;
  PARE__TRY(pare__policy_read(policy, NULL, &choice));
  const pare__crew_options options = {.policy = choice.isa, .weights = &choice.weights};
  return pare__crew_open(member, 2, &options, out);
}

/* Microseconds a job, submission and all. */
static pare_status time_jobs(const char *policy, size_t njobs, bool chain, double *out) {
  pare__crew *crew;
  pare__job_id last = 0;
  PARE__TRY(open_crew(policy, &crew));
  const double begin = pare__crew_now();
  pare_status status = PARE_OK;
  for (size_t i = 0; i < njobs && status == PARE_OK; i++) status = pare__crew_submit(crew, &no_op, &last, chain, &last);
  if (status == PARE_OK) status = pare__crew_wait_all(crew);
  *out = (pare__crew_now() - begin) / (double)njobs * 1e6;
  const pare_status closed = pare__crew_close(crew);
  return status != PARE_OK ? status : closed;
}

/* Bytes that a job takes while it waits for one that is held back. */
static pare_status weigh_jobs(const char *policy, size_t njobs, double *out) {
  static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pare__crew *crew;
  pare__job_id first;
  pare__job held = no_op;
  PARE__TRY(open_crew(policy, &crew));
  held.run = hold;
  held.argument = &gate;
  pthread_mutex_lock(&gate);
  const struct mallinfo2 before = mallinfo2();
  pare_status status = pare__crew_submit(crew, &held, NULL, 0, &first);
  for (size_t i = 0; i < njobs && status == PARE_OK; i++) status = pare__crew_submit(crew, &no_op, &first, 1, NULL);
  const struct mallinfo2 after = mallinfo2();
  *out = (double)(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / (double)njobs;
  pthread_mutex_unlock(&gate);
  const pare_status closed = pare__crew_close(crew);
  return status != PARE_OK ? status : closed;
}

int main(int argc, char **argv) {
  const char *policy = argc > 1 ? argv[1] : pare__policies[0]->name;
  const size_t njobs = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
  double independent = 0, chain = 0, nbytes = 0;
  pare_status status = time_jobs(policy, njobs, false, &independent);
  if (status == PARE_OK) status = time_jobs(policy, njobs, true, &chain);
  if (status == PARE_OK) status = weigh_jobs(policy, njobs, &nbytes);
  if (status != PARE_OK) {
    fprintf(stderr, "serve_crew: %s\n", pare_message());
    return EXIT_FAILURE;
  }
  printf("%s\t%.3f\t%.3f\t%.0f\n", policy, independent, chain, nbytes);
  return EXIT_SUCCESS;
}
