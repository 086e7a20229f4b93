/* Independent requests at the same time. SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cli/schedule.h"

typedef struct requests {
  atomic_size_t next;
  atomic_int code; /* of the first failure */
  size_t count;
  cli_exit (*work)(void *user, size_t request);
  void *user;
} requests;

static void *serve(void *argument) {
  requests *all = argument;
  size_t request;
  while (atomic_load(&all->code) == CLI_OK && (request = atomic_fetch_add(&all->next, 1)) < all->count) {
    int none = CLI_OK;
    const cli_exit code = all->work(all->user, request);
    if (code != CLI_OK) (void)atomic_compare_exchange_strong(&all->code, &none, code);
  }
  return NULL;
}

size_t cli_requests_at_once(const cli_schedule *schedule, pare_context *context) {
  pare_schedule_stats stats;
  size_t left = 0;
  unsigned group = 0;
  if (schedule->options.parallel != PARE_PARALLEL_TASK || pare_context_stats(context, &stats) != PARE_OK) return 1;
  for (size_t i = 0; i < stats.ndevices; i++) {
    const pare_device_stats *device = &stats.device[i];
    if (device->lost || (device->group > 0 && device->group == group)) continue; /* a group has one at a time */
    group = device->group;
    left++;
  }
  pare_schedule_stats_close(&stats);
  return left > 0 ? left : 1;
}

cli_exit cli_serve(size_t count, size_t at_once, cli_exit (*work)(void *user, size_t request), void *user) {
  requests all = {.count = count, .work = work, .user = user};
  pthread_t *thread = calloc(at_once, sizeof *thread);
  size_t started = 0;
  if (!thread) return cli_error(CLI_DEVICE, "out of memory");
  atomic_init(&all.next, 0);
  atomic_init(&all.code, CLI_OK);
  while (started + 1 < at_once && pthread_create(&thread[started], NULL, serve, &all) == 0) started++;
  serve(&all);
  for (size_t i = 0; i < started; i++) pthread_join(thread[i], NULL);
  free(thread);
  return (cli_exit)atomic_load(&all.code);
}
