/* The command pare: what all commands share. SPDX-License-Identifier: Apache-2.0
 *
 * A command is one file cmd_NAME.c that exports one cli_command, and one row of the table in main.c. Commands use the
 * public headers of libpare only; globals of the program begin with cli_, so that a pare__ name (the library's inside)
 * is never right here. */
#ifndef PARE_CLI_CLI_H
#define PARE_CLI_CLI_H

#include <jansson.h>
#include <pare.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define CLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What every command exits with. */
typedef enum cli_exit {
  CLI_OK = 0,
  CLI_FAILED = 1,       /* a check or a threshold failed */
  CLI_USAGE = 2,        /* the command line or the environment is wrong */
  CLI_INPUT = 3,        /* a file is missing, malformed, or cannot be written */
  CLI_DEVICE = 4,       /* a selector, a device, its driver, its memory, its kernels */
  CLI_INTERRUPTED = 130 /* by SIGINT, as shells call it: 128 + 2 */
} cli_exit;

/* ---- options (options.c) ---- */

/* An option of a command. `argument` is how help calls its value, NULL for a flag; completion knows SPEC, FAMILY and
 * LEVEL. */
typedef struct cli_option {
  const char *name, *argument, *what;
  char letter; /* 0: none */
} cli_option;

typedef struct cli_command cli_command;

typedef struct cli_given {
  const cli_option *option;
  const char *value; /* "" for a flag */
} cli_given;

/* A parsed command line. */
typedef struct cli_arguments {
  const cli_command *command;
  const char *device; /* of -d; NULL: PARE_DEVICE, else the default */
  const char *log_level;
  bool help, quiet, version;
  size_t ngiven, noperands;
  cli_given *given;
  const char **operands;
} cli_arguments;

struct cli_command {
  const char *name;
  const char *summary;       /* one line, for `pare help` */
  const char *usage;         /* what follows the name */
  const char *about;         /* a paragraph for `pare NAME --help` */
  const cli_option *options; /* ends with a row whose name is NULL */
  const char *operands;      /* words that completion offers, separated by spaces; NULL: none */
  size_t max_operands;
  bool uses_device; /* takes -d */
  cli_exit (*run)(const cli_arguments *arguments);
};

/* Every command, ends with NULL (main.c), and the options that all of them take (options.c). */
extern const cli_command *const cli_commands[];
extern const cli_option cli_global_options[];
/* NULL if there is none. */
const cli_command *cli_command_find(const char *name);
/* The command, or an error that names the nearest. */
cli_exit cli_command_get(const char *name, const cli_command **out);

/* Parses what follows the program's name. Finds the command; reports errors itself. */
cli_exit cli_parse(int argc, char **argv, cli_arguments *out);
void cli_arguments_close(cli_arguments *arguments);
/* The value given last, "" for a flag; NULL if the option was not given. `option` is a row of the command's table. */
const char *cli_value(const cli_arguments *arguments, const cli_option *option);
/* The nearest of `count` names if it is near enough to be a misspelling, else NULL. */
const char *cli_nearest(const char *name, size_t count, const char *const *names);
/* "60s", "2m", "500ms", "1.5h", "90": positive seconds. */
bool cli_parse_duration(const char *text, double *seconds);

/* ---- help (cmd_help.c) ---- */

void cli_help_command(const cli_command *command);
void cli_help_overview(void);

/* ---- output (output.c) ---- */

/* Once at the start: locale, colours, closed descriptors, SIGPIPE. */
void cli_output_open(void);
void cli_output_quiet(void);
/* Flushes; a failed write turns CLI_OK into CLI_INPUT. */
cli_exit cli_output_close(cli_exit code);
/* Takes the log: NULL is PARE_LOG, else warnings. */
cli_exit cli_log_open(const char *level);
extern const char *const cli_log_levels[4];

/* "pare: ..." on stderr; returns `code`. */
cli_exit cli_error(cli_exit code, const char *format, ...) CLI_PRINTF(2, 3);
/* Analysers see one file at a time: an error is never CLI_OK. */
static inline cli_exit cli_known(cli_exit code, cli_exit returned) {
  (void)returned;
  return code;
}
#define cli_error(code, ...) cli_known((code), cli_error((code), __VA_ARGS__))
/* The library's message of a failed call on stderr; returns the exit code of `status`. */
cli_exit cli_fail(pare_status status);
/* The same of a model's run: an argument that is wrong there, such as an index, came with the inputs or the model. */
cli_exit cli_run_fail(pare_status status);
/* A remark on stderr that -q silences. */
void cli_note(const char *format, ...) CLI_PRINTF(1, 2);

typedef enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_GOOD, CLI_BAD, CLI_WARN } cli_style;
/* Formatted text on stdout, coloured if stdout is a terminal and NO_COLOR is not set. */
void cli_print(cli_style style, const char *format, ...) CLI_PRINTF(2, 3);
/* Words of `text` from column `indent` on, broken at the terminal's width (78 columns elsewhere); newlines are kept.
 * The first line goes on from column `column`. Ends with a newline. */
void cli_print_wrapped(size_t column, size_t indent, const char *text);

bool cli_terminal(void); /* stdout is one */
size_t cli_terminal_width(void);
bool cli_unicode(void); /* the locale's character set is UTF-8 */
/* Columns that UTF-8 text takes; bytes that are not UTF-8 count one each. */
size_t cli_text_width(const char *text, size_t nbytes);
/* The byte length of the character at text, at least 1, and its width. */
size_t cli_character(const char *text, size_t nbytes, size_t *width);

#define CLI_TEXT 48
const char *cli_bytes(uint64_t nbytes, char text[CLI_TEXT]);  /* "3.7 GiB" */
const char *cli_seconds(double seconds, char text[CLI_TEXT]); /* "12 ms" */
const char *cli_figure(double value, char text[CLI_TEXT]);    /* four digits, four decimals: "0.0123", "1.234" */
const char *cli_ordinal(size_t rank, char text[CLI_TEXT]);    /* 1 gives "1st" */

/* ---- interruption (interrupt.c) ---- */

/* From now on the first SIGINT makes *stop 1, for pare_model_options, and the second ends the program. */
const volatile int *cli_interrupt_open(void);
bool cli_interrupted(void);
/* From now on a mapped file that gets shorter ends the program with a message and CLI_INPUT. */
void cli_mappings_open(void);

/* ---- tables (table.c) ---- */

/* Columns are separated by '|'; a title that begins with '>' aligns right. The last column is wrapped on a terminal. */
typedef struct cli_table cli_table;
cli_table *cli_table_open(const char *columns);
/* The next cell; rows fill from left to right. */
void cli_table_cell(cli_table *table, cli_style style, const char *format, ...) CLI_PRINTF(3, 4);
size_t cli_table_rows(const cli_table *table);
/* Prints what there is and closes. CLI_DEVICE if memory ran out, else CLI_OK. */
cli_exit cli_table_print(cli_table *table);

/* ---- progress (progress.c): one line on stderr, only if that is a terminal and not with -q ---- */

/* `fraction` below 0: not known, no bar. */
void cli_progress(double fraction, const char *format, ...) CLI_PRINTF(2, 3);
void cli_progress_clear(void);
void cli_progress_quiet(void);

/* ---- JSON (json.c) ---- */

/* A string; bytes that are not UTF-8 become '?'. */
json_t *cli_json_text(const char *text);
/* json_object_set_new with a key that may be no UTF-8 either. */
int cli_json_set(json_t *object, const char *key, json_t *value);
json_t *cli_json_device(const pare_device_list *list, size_t index);
/* Prints and releases. NULL means that memory ran out. */
cli_exit cli_json_print(json_t *json);
/* Prints and releases the array of a command that ended with `code`: after an error only what it holds, if anything. */
cli_exit cli_json_print_results(json_t *array, cli_exit code);

/* ---- devices (device.c) ---- */

/* One row a capability that devices may have. */
typedef struct cli_capability {
  const char *name, *text; /* in JSON, for people */
  size_t offset;           /* of the bool in pare_device_capabilities */
  bool cpu_only;           /* no other device is said to lack it */
} cli_capability;
extern const cli_capability cli_capabilities[];
extern const size_t cli_ncapabilities;
bool cli_can(const pare_device_info *info, const cli_capability *capability);
const char *cli_device_type(pare_device_type type); /* "cpu", as selectors say it */
/* The position of the device among those of its type: the n of "cpu:n". */
size_t cli_type_index(const pare_device_list *list, size_t index);

/* Which devices the command line selects. `choices` is malloc'ed. */
pare_status cli_select(const pare_device_list *list, const char *spec, pare_device_choice **choices, size_t *count);
/* The error on a machine without a device: what to install. */
extern const char cli_no_device[];

/* Opens a context on each selected device in turn, with all its parts if the selector divides it and there is a
 * schedule, and calls `run`; stops at the first failure that is not CLI_FAILED. */
typedef cli_exit (*cli_device_run)(pare_context *context, void *user);
cli_exit cli_each_device(const char *spec, const pare_schedule_options *schedule, cli_device_run run, void *user);

/* Checks the name of a kernel family; NULL is fine. */
cli_exit cli_family_check(const char *family);

/* ---- the commands ---- */

extern const cli_command cli_cmd_bench, cli_cmd_cache, cli_cmd_compress, cli_cmd_convert, cli_cmd_devices, cli_cmd_diff,
    cli_cmd_eval, cli_cmd_help, cli_cmd_inspect, cli_cmd_run, cli_cmd_selftest, cli_cmd_simulate, cli_cmd_trace,
    cli_cmd_tune, cli_cmd_verify;

#define CLI_OPTION_JSON \
  { "json", NULL, "print JSON", 0 }
#define CLI_OPTIONS_END \
  { NULL, NULL, NULL, 0 }

#endif
