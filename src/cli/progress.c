/* One line on stderr that says how far a long command is. SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

#define BAR 24

static bool shown, quiet;

/* Columns of the terminal on stderr; 0 if there is no progress to show. */
static size_t columns(void) {
  struct winsize size;
  const char *term = getenv("TERM");
  if (quiet || !isatty(STDERR_FILENO) || !term || strcmp(term, "dumb") == 0) return 0;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void cli_progress_quiet(void) { quiet = true; }

void cli_progress_clear(void) {
  if (shown) fputs("\r\033[K", stderr);
  shown = false;
}

static size_t print_bar(double fraction) {
  size_t filled = (size_t)((fraction > 1 ? 1 : fraction) * BAR + 0.5);
  for (size_t i = 0; i < BAR; i++) fputs(cli_unicode() ? i < filled ? "█" : "░" : i < filled ? "#" : ".", stderr);
  return BAR + (size_t)fprintf(stderr, " %3.0f%%  ", 100 * (fraction > 1 ? 1 : fraction));
}

void cli_progress(double fraction, const char *format, ...) {
  char text[512];
  size_t width = columns(), used = 0, nbytes = 0, step;
  va_list arguments;
  if (width == 0) return;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  cli_progress_clear();
  if (fraction >= 0 && width > 2 * BAR) used = print_bar(fraction);
  /* Never into the last column: the line would break and could not be cleared. */
  while (text[nbytes]) {
    size_t next = nbytes + cli_character(text + nbytes, strlen(text + nbytes), &step);
    if (used + step >= width) break;
    used += step;
    nbytes = next;
  }
  fwrite(text, 1, nbytes, stderr);
  fflush(stderr);
  shown = true;
}
