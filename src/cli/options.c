/* The command line: one parser for every command's table. SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { GLOBAL_DEVICE, GLOBAL_LOG, GLOBAL_QUIET, GLOBAL_HELP, GLOBAL_VERSION, GLOBAL_COUNT };
const cli_option cli_global_options[] = {
    [GLOBAL_DEVICE] = {"device", "SPEC", "use these devices; wins over PARE_DEVICE (pare help selectors)", 'd'},
    [GLOBAL_LOG] = {"log", "LEVEL", "log to stderr: error, warn (the default), info or debug; wins over PARE_LOG", 0},
    [GLOBAL_QUIET] = {"quiet", NULL, "no remarks, no progress, no warnings: results and errors only", 'q'},
    [GLOBAL_HELP] = {"help", NULL, "explain the command and its options", 'h'},
    [GLOBAL_VERSION] = {"version", NULL, "print the version and how it was built", 'V'},
    [GLOBAL_COUNT] = CLI_OPTIONS_END,
};

#define MAX_NAMES 64
#define MAX_DISTANCE 3

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Edits that turn a into b: insertions, deletions, substitutions and swaps of neighbours (Damerau 1964, restricted).
 * Only names that fit the rows are compared; a longer one is no misspelling. */
static size_t edit_distance(const char *a, const char *b) {
  enum { LENGTH = 40 };
  size_t row[3][LENGTH + 1], na = strlen(a), nb = strlen(b);
  if (na > LENGTH || nb > LENGTH) return LENGTH;
  for (size_t j = 0; j <= nb; j++) row[0][j] = j;
  for (size_t i = 1; i <= na; i++) {
    size_t *now = row[i % 3], *before = row[(i - 1) % 3];
    now[0] = i;
    for (size_t j = 1; j <= nb; j++) {
      now[j] = smaller(smaller(now[j - 1], before[j]) + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = smaller(now[j], row[(i - 2) % 3][j - 2] + 1);
    }
  }
  return row[na % 3][nb];
}

const char *cli_nearest(const char *name, size_t count, const char *const *names) {
  const char *best = NULL;
  size_t best_distance = smaller(MAX_DISTANCE, strlen(name) / 2) + 1;
  for (size_t i = 0; i < count; i++) {
    size_t distance = strncmp(name, names[i], strlen(name)) == 0 ? 1 : edit_distance(name, names[i]);
    if (distance < best_distance) {
      best = names[i];
      best_distance = distance;
    }
  }
  return best;
}

bool cli_parse_duration(const char *text, double *seconds) {
  static const struct {
    const char *unit;
    double seconds;
  } units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"min", 60}, {"h", 3600}};
  char *end;
  if (!isdigit((unsigned char)*text) && *text != '.') return false;
  double value = strtod(text, &end);
  for (size_t i = 0; i < CLI_COUNT(units); i++) {
    if (strcmp(end, units[i].unit) != 0) continue;
    *seconds = value * units[i].seconds;
    return isfinite(*seconds) && *seconds > 0;
  }
  return false;
}

const cli_command *cli_command_find(const char *name) {
  for (size_t i = 0; cli_commands[i]; i++)
    if (strcmp(cli_commands[i]->name, name) == 0) return cli_commands[i];
  return NULL;
}

cli_exit cli_command_get(const char *name, const cli_command **out) {
  const char *names[MAX_NAMES];
  size_t count = 0;
  *out = cli_command_find(name);
  if (*out) return CLI_OK;
  for (size_t i = 0; cli_commands[i] && count < MAX_NAMES; i++) names[count++] = cli_commands[i]->name;
  const char *nearest = cli_nearest(name, count, names);
  if (nearest) return cli_error(CLI_USAGE, "there is no command '%s'; did you mean '%s'?", name, nearest);
  return cli_error(CLI_USAGE, "there is no command '%s'; 'pare help' lists them", name);
}

/* The option by its long name (`nbytes` of it) or, if nbytes is 0, by its letter. */
static const cli_option *find_in(const cli_option *options, const char *name, size_t nbytes) {
  for (const cli_option *option = options; option && option->name; option++) {
    if (nbytes == 0 && option->letter && option->letter == *name) return option;
    if (nbytes > 0 && strlen(option->name) == nbytes && memcmp(option->name, name, nbytes) == 0) return option;
  }
  return NULL;
}

static const cli_option *find_option(const cli_command *command, const char *name, size_t nbytes) {
  const cli_option *option = command ? find_in(command->options, name, nbytes) : NULL;
  return option ? option : find_in(cli_global_options, name, nbytes);
}

static void usage_hint(const cli_command *command, char *text, size_t capacity) {
  snprintf(text, capacity, command ? "'pare %s --help' lists its options" : "'pare help' lists commands and options",
           command ? command->name : "");
}

static cli_exit unknown_option(const cli_command *command, const char *text) {
  const char *names[MAX_NAMES], *bare = text + strspn(text, "-");
  char stem[64], hint[128];
  size_t count = 0;
  for (const cli_option *o = command ? command->options : NULL; o && o->name && count < MAX_NAMES; o++)
    names[count++] = o->name;
  for (const cli_option *o = cli_global_options; o->name && count < MAX_NAMES; o++) names[count++] = o->name;
  snprintf(stem, sizeof stem, "%.*s", (int)strcspn(bare, "="), bare);
  const char *nearest = strlen(stem) > 1 ? cli_nearest(stem, count, names) : NULL;
  usage_hint(command, hint, sizeof hint);
  if (nearest) return cli_error(CLI_USAGE, "there is no option '%s'; did you mean '--%s'?", text, nearest);
  return cli_error(CLI_USAGE, "there is no option '%s'; %s", text, hint);
}

static bool names_file(const cli_option *option) {
  return option->argument && (strcmp(option->argument, "FILE") == 0 || strcmp(option->argument, "OUT") == 0);
}

static cli_exit store(cli_arguments *arguments, const cli_option *option, const char *value) {
  if (names_file(option) && !*value) /* as an unset variable in a script leaves it */
    return cli_error(CLI_USAGE, "option '--%s' needs the name of a file, and '' is none: --%s %s", option->name,
                     option->name, option->argument);
  if (option == &cli_global_options[GLOBAL_DEVICE])
    arguments->device = value;
  else if (option == &cli_global_options[GLOBAL_LOG])
    arguments->log_level = value;
  else if (option == &cli_global_options[GLOBAL_QUIET])
    arguments->quiet = true;
  else if (option == &cli_global_options[GLOBAL_HELP])
    arguments->help = true;
  else if (option == &cli_global_options[GLOBAL_VERSION])
    arguments->version = true;
  else
    arguments->given[arguments->ngiven++] = (cli_given){option, value};
  return CLI_OK;
}

/* "--name", "--name=value" or "--name value" at argv[*i]. */
static cli_exit parse_long(int argc, char **argv, int *i, cli_arguments *out) {
  const char *text = argv[*i] + 2, *equals = strchr(text, '=');
  const cli_option *option = find_option(out->command, text, equals ? (size_t)(equals - text) : strlen(text));
  const char *value = equals ? equals + 1 : "";
  if (!option) return unknown_option(out->command, argv[*i]);
  if (equals && !option->argument) return cli_error(CLI_USAGE, "option '--%s' takes no value", option->name);
  if (!equals && option->argument) {
    if (*i + 1 >= argc)
      return cli_error(CLI_USAGE, "option '--%s' needs a value: --%s %s", option->name, option->name, option->argument);
    value = argv[++*i];
  }
  return store(out, option, value);
}

/* "-q", "-qd SPEC", "-dSPEC" at argv[*i]. */
static cli_exit parse_short(int argc, char **argv, int *i, cli_arguments *out) {
  for (const char *letter = argv[*i] + 1; *letter; letter++) {
    const char shown[] = {'-', *letter, 0};
    const cli_option *option = find_option(out->command, letter, 0);
    if (!option) return unknown_option(out->command, shown);
    if (!option->argument) {
      (void)store(out, option, "");
      continue;
    }
    if (letter[1] == 0 && *i + 1 >= argc)
      return cli_error(CLI_USAGE, "option '%s' needs a value: %s %s", shown, shown, option->argument);
    return store(out, option, letter[1] ? letter + 1 : argv[++*i]);
  }
  return CLI_OK;
}

static cli_exit check(const cli_arguments *arguments) {
  const cli_command *command = arguments->command;
  if (!command || arguments->help || arguments->version) return CLI_OK;
  if (arguments->device && !command->uses_device)
    return cli_error(CLI_USAGE, "'pare %s' uses no device: leave -d out", command->name);
  if (arguments->noperands > command->max_operands)
    return cli_error(CLI_USAGE, "'pare %s' does not take '%s'; usage: pare %s %s", command->name,
                     arguments->operands[command->max_operands], command->name, command->usage);
  return CLI_OK;
}

cli_exit cli_parse(int argc, char **argv, cli_arguments *out) {
  bool only_operands = false;
  memset(out, 0, sizeof *out);
  out->given = calloc((size_t)argc + 1, sizeof *out->given);
  out->operands = calloc((size_t)argc + 1, sizeof *out->operands);
  if (!out->given || !out->operands) return cli_error(CLI_DEVICE, "out of memory");
  for (int i = 1; i < argc; i++) {
    const char *text = argv[i];
    cli_exit code = CLI_OK;
    if (!only_operands && strcmp(text, "--") == 0)
      only_operands = true;
    else if (!only_operands && strncmp(text, "--", 2) == 0)
      code = parse_long(argc, argv, &i, out);
    else if (!only_operands && text[0] == '-' && text[1])
      code = parse_short(argc, argv, &i, out);
    else if (!out->command)
      code = cli_command_get(text, &out->command);
    else
      out->operands[out->noperands++] = text;
    if (code != CLI_OK) return code;
  }
  return check(out);
}

void cli_arguments_close(cli_arguments *arguments) {
  free(arguments->given);
  free(arguments->operands);
}

const char *cli_value(const cli_arguments *arguments, const cli_option *option) {
  for (size_t i = arguments->ngiven; i-- > 0;)
    if (arguments->given[i].option == option) return arguments->given[i].value;
  return NULL;
}
