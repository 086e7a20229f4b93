/* What the command prints: errors, log, colours, widths, units. SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/cli.h"

const char *const cli_log_levels[4] = {"error", "warn", "info", "debug"};

static struct { bool quiet, colour, terminal, unicode; } output;

static bool environment_says(const char *name) {
  const char *value = getenv(name);
  return value && *value;
}

void cli_output_open(void) {
  /* A descriptor that is closed would be given to the next file that a driver opens, and our output would go there. One
   * that is open the wrong way keeps the place and makes a write fail. */
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) _exit(CLI_INPUT);
  signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported like a full disk */
  setlocale(LC_CTYPE, "");
  output.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  output.terminal = isatty(STDOUT_FILENO);
  const char *term = getenv("TERM");
  output.colour = output.terminal && !environment_says("NO_COLOR") && !(term && strcmp(term, "dumb") == 0);
}

void cli_output_quiet(void) {
  output.quiet = true;
  cli_progress_quiet();
}

bool cli_terminal(void) { return output.terminal; }
bool cli_unicode(void) { return output.unicode; }

cli_exit cli_output_close(cli_exit code) {
  cli_progress_clear();
  errno = 0;
  bool failed = ferror(stdout) != 0;
  if (fclose(stdout) != 0) failed = true;
  if (!failed) return code;
  cli_error(CLI_INPUT, "cannot write the output: %s", errno ? strerror(errno) : "an earlier write failed");
  return code == CLI_OK ? CLI_INPUT : code;
}

/* ---- errors, remarks, log ---- */

static void to_stderr(const char *kind, const char *text) {
  cli_progress_clear();
  fprintf(stderr, "pare: %s%s\n", kind, text);
}

cli_exit(cli_error)(cli_exit code, const char *format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fflush(stdout);
  to_stderr("", text);
  return code;
}

/* Which exit code a status becomes. */
static const cli_exit exit_codes[] = {
    [PARE_OK] = CLI_OK,
    [PARE_ERR_ARGUMENT] = CLI_USAGE,
    [PARE_ERR_MEMORY] = CLI_DEVICE,
    [PARE_ERR_LIMIT] = CLI_DEVICE,
    [PARE_ERR_SHAPE] = CLI_INPUT,
    [PARE_ERR_TYPE] = CLI_INPUT,
    [PARE_ERR_SELECTOR] = CLI_DEVICE,
    [PARE_ERR_DEVICE] = CLI_DEVICE,
    [PARE_ERR_KERNEL] = CLI_DEVICE,
    [PARE_ERR_IO] = CLI_INPUT,
    [PARE_ERR_FORMAT] = CLI_INPUT,
    [PARE_ERR_UNSUPPORTED] = CLI_DEVICE,
};

cli_exit cli_fail(pare_status status) {
  const char *message = pare_message();
  fflush(stdout);
  to_stderr("", *message ? message : pare_status_meaning(status));
  return (size_t)status < CLI_COUNT(exit_codes) ? exit_codes[status] : CLI_DEVICE;
}

cli_exit cli_run_fail(pare_status status) {
  const cli_exit code = cli_fail(status);
  return status == PARE_ERR_ARGUMENT ? CLI_INPUT : code;
}

void cli_note(const char *format, ...) {
  va_list arguments;
  if (output.quiet) return;
  cli_progress_clear();
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
}

static void log_line(pare_log_level level, const char *line, void *user) {
  static const char *const kinds[] = {"error: ", "warning: ", "", ""};
  (void)user;
  to_stderr((size_t)level < CLI_COUNT(kinds) ? kinds[level] : "", line);
}

cli_exit cli_log_open(const char *level) {
  const char *from = level ? "--log" : "PARE_LOG";
  if (!level) level = getenv("PARE_LOG");
  if (!level || !*level) level = output.quiet ? "error" : "warn";
  for (size_t i = 0; i < CLI_COUNT(cli_log_levels); i++) {
    if (strcmp(level, cli_log_levels[i]) != 0) continue;
    pare_log_set(log_line, NULL, (pare_log_level)i);
    return CLI_OK;
  }
  return cli_error(CLI_USAGE, "%s: there is no log level '%s'; it is one of error, warn, info, debug", from, level);
}

/* ---- text on stdout ---- */

void cli_print(cli_style style, const char *format, ...) {
  static const char *const codes[] = {[CLI_BOLD] = "\033[1m", [CLI_DIM] = "\033[2m",   [CLI_GOOD] = "\033[32m",
                                      [CLI_BAD] = "\033[31m", [CLI_WARN] = "\033[33m", [CLI_PLAIN] = ""};
  bool coloured = output.colour && style != CLI_PLAIN;
  va_list arguments;
  if (coloured) fputs(codes[style], stdout);
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  if (coloured) fputs("\033[0m", stdout);
}

size_t cli_terminal_width(void) {
  struct winsize size;
  const char *columns = getenv("COLUMNS");
  long width = 78;
  if (output.terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    width = size.ws_col;
  else if (output.terminal && columns)
    width = strtol(columns, NULL, 10);
  return width < 40 ? 40 : width > 1000 ? 1000 : (size_t)width;
}

size_t cli_character(const char *text, size_t nbytes, size_t *width) {
  wchar_t character = 0;
  mbstate_t state;
  memset(&state, 0, sizeof state);
  size_t length = mbrtowc(&character, text, nbytes, &state);
  *width = 1;
  if (length == 0 || length > nbytes) return 1; /* the terminator, or bytes that are not of this locale */
  int columns = wcwidth(character);
  *width = columns < 0 ? 1 : (size_t)columns;
  return length;
}

size_t cli_text_width(const char *text, size_t nbytes) {
  size_t width = 0, columns;
  for (size_t i = 0; i < nbytes; width += columns) i += cli_character(text + i, nbytes - i, &columns);
  return width;
}

/* Bytes up to the next blank; what stands in brackets is one word. */
static size_t word_length(const char *text) {
  size_t nbytes = 0;
  for (int depth = 0; text[nbytes] && text[nbytes] != '\n' && (depth > 0 || text[nbytes] != ' '); nbytes++)
    depth += (text[nbytes] == '[') - (text[nbytes] == ']');
  return nbytes;
}

void cli_print_wrapped(size_t column, size_t indent, const char *text) {
  size_t limit = cli_terminal_width();
  bool first = true;
  while (*text) {
    size_t nbytes = word_length(text), width = cli_text_width(text, nbytes);
    if (!first && column + 1 + width > limit) {
      printf("\n%*s", (int)indent, "");
      column = indent;
      first = true;
    }
    if (!first && nbytes > 0) column += (size_t)printf(" ");
    fwrite(text, 1, nbytes, stdout);
    column += width;
    if (nbytes > 0) first = false;
    text += nbytes;
    if (*text == '\n') {
      printf("\n%*s", text[1] && text[1] != '\n' ? (int)indent : 0, "");
      column = indent;
      first = true;
    }
    if (*text) text++;
  }
  putchar('\n');
}

/* ---- units ---- */

const char *cli_bytes(uint64_t nbytes, char text[CLI_TEXT]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = (double)nbytes;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < CLI_COUNT(units); unit++) value /= 1024;
  snprintf(text, CLI_TEXT, unit == 0 || value >= 99.95 || value == floor(value) ? "%.0f %s" : "%.1f %s", value,
           units[unit]);
  return text;
}

const char *cli_figure(double value, char text[CLI_TEXT]) {
  int decimals = value <= 0 || !isfinite(value) ? 0 : 3 - (int)floor(log10(value));
  decimals = decimals < 0 ? 0 : decimals > 4 ? 4 : decimals;
  snprintf(text, CLI_TEXT, "%.*f", decimals, value);
  return text;
}

const char *cli_seconds(double seconds, char text[CLI_TEXT]) {
  static const struct {
    double least, scale;
    const char *unit;
  } units[] = {{60, 1.0 / 60, "min"}, {1, 1, "s"}, {1e-3, 1e3, "ms"}, {0, 1e6, "us"}};
  size_t i = 0;
  while (i + 1 < CLI_COUNT(units) && seconds < units[i].least) i++;
  double value = seconds * units[i].scale;
  snprintf(text, CLI_TEXT, value < 9.95 && value != floor(value) ? "%.1f %s" : "%.0f %s", value, units[i].unit);
  return text;
}

const char *cli_ordinal(size_t rank, char text[CLI_TEXT]) {
  static const char *const endings[] = {"th", "st", "nd", "rd"};
  size_t last = rank % 100 / 10 == 1 ? 0 : rank % 10;
  snprintf(text, CLI_TEXT, "%zu%s", rank, last < CLI_COUNT(endings) ? endings[last] : endings[0]);
  return text;
}
