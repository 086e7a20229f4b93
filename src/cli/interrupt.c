/* SIGINT while a model runs: what is under way stops, and the command ends as after an error. SIGBUS: likewise.
 * SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

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

/* Files are mapped: one that gets shorter, or whose disk fails, while it is read is told by this signal, on whichever
 * thread. Nothing has its place yet that was being written. */
static void end_short(int number, siginfo_t *info, void *unused) {
  static const char text[] = "pare: an input file got shorter, or could not be read, while it was in use; "
                             "nothing was written: try again with a file that nobody changes\n";
  (void)number;
  (void)unused;
  if (info->si_code != BUS_ADRERR) return; /* a driver's: it comes again, and ends the program */
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(CLI_INPUT);
  _exit(CLI_INPUT);
}

void cli_mappings_open(void) {
  struct sigaction now = {.sa_flags = SA_SIGINFO | (int)SA_RESETHAND};
  now.sa_sigaction = end_short;
  sigemptyset(&now.sa_mask);
  (void)sigaction(SIGBUS, &now, NULL);
}
