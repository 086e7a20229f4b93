/* SIGINT while a model runs: what is under way stops, and the command ends as after an error.
 * SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stddef.h>

#include "cli/cli.h"

static volatile int stop;

static void note(int number) {
  (void)number;
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

const volatile int *cli_interrupt_open(void) {
  struct sigaction before, now = {.sa_flags = SA_RESTART | (int)SA_RESETHAND};
  now.sa_handler = note;
  sigemptyset(&now.sa_mask);
  /* who starts a command in the background may want it to ignore the signal */
  if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN) (void)sigaction(SIGINT, &now, NULL);
  return &stop;
}

bool cli_interrupted(void) { return __atomic_load_n(&stop, __ATOMIC_RELAXED) != 0; }
