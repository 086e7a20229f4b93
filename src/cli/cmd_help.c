/* pare help: the table of commands, for people and for completion. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

enum { MACHINE };
static const cli_option options[] = {
    [MACHINE] = {"machine", NULL, "print the commands, options and kernel families as lines of tab-separated fields",
                 0},
    CLI_OPTIONS_END,
};

/* Pages that are no command. */
static const struct topic {
  const char *name, *summary, *text;
} topics[] = {
    {"selectors", "how -d and PARE_DEVICE name devices",
     "A selector is one term or several separated by commas; earlier terms come\n"
     "first:\n"
     "\n"
     "  all  gpu  cpu  accel   every device, or every one of a type\n"
     "  2                      the device with that number in 'pare devices'\n"
     "  gpu:1                  the second GPU\n"
     "  0:1, nvidia:*          a device of a platform; all of NVIDIA's\n"
     "  pocl                   by the driver's short name (pocl intel rusticl nvidia\n"
     "                         amd ...), or by a part of the device's, platform's or\n"
     "                         vendor's name\n"
     "  \"AMD EPYC\"             the same, quoted: may hold commas and spaces\n"
     "  !intel                 all but these; alone, it starts from all\n"
     "  cpu/4                  a device cut into 4 equal sub-devices\n"
     "  cpu/3+1                sub-devices of 3 and of 1 compute units\n"
     "  gpu=3,cpu=1            a first guess of the relative speeds\n"
     "  (gpu:0,gpu:1),cpu      a group of two, and the CPU by itself: a model is divided\n"
     "                         among them, and inside of the group another way\n"
     "\n"
     "Case does not matter. A term that matches nothing is an error, never a silent\n"
     "fallback. Without a selector: all GPUs, else the first CPU.\n"},
    {"environment", "variables that pare reads",
     "  PARE_DEVICE         which devices to use; -d wins over it\n"
     "  PARE_MEMORY         most memory that pare takes of each selected device: 512MiB\n"
     "  PARE_POLICY         who runs which piece on several devices; --policy wins\n"
     "  PARE_WATTS          what the selected devices draw, busy:idle: 120:10,65:5\n"
     "  PARE_PRICES         what an hour of each costs while it is busy: 0.50,0.12\n"
     "  PARE_LOG            error, warn (the default), info or debug; --log wins\n"
     "  PARE_KERNEL_PATH    folders that hold the kernels (.cl), separated by colons\n"
     "  PARE_CACHE          the cache folder; else $XDG_CACHE_HOME/pare, else\n"
     "                      ~/.cache/pare\n"
     "  PARE_CACHE_LIMIT    its largest size (512MiB)\n"
     "  PARE_TRIAL_SECONDS  processor time of a self-test in a child process (30);\n"
     "                      building it may take four times as long by the clock\n"
     "  PARE_TRIAL          the helper program for such tests\n"
     "  PARE_BINARIES       0: what PoCL builds is kept in its own cache only\n"
     "  PARE_PREBUILD       0: nothing is compiled ahead in a child process\n"
     "  NO_COLOR            no colours, if set and not empty\n"},
    {"exit-codes", "what the exit code says",
     "  0    fine\n"
     "  1    a check or a threshold failed\n"
     "  2    the command line or the environment is wrong\n"
     "  3    bad input: a file is missing or malformed; or output cannot be written\n"
     "  4    device: a selector, a driver, device memory, or the kernels\n"
     "  130  interrupted by Ctrl-C: run, eval, bench and verify end before their next\n"
     "       node\n"},
};

static void print_options(const cli_option *rows) {
  enum { EXPLANATION = 26 }; /* its column */
  for (const cli_option *option = rows; option && option->name; option++) {
    char letter[8] = "    ";
    if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    const int width = printf("  %s--%s%s%s", letter, option->name, option->argument ? " " : "",
                             option->argument ? option->argument : "");
    if (width + 2 > EXPLANATION)
      printf("\n%*s", EXPLANATION, "");
    else
      printf("%*s", EXPLANATION - width, "");
    cli_print_wrapped(EXPLANATION, EXPLANATION, option->what);
  }
}

void cli_help_command(const cli_command *command) {
  printf("pare %s: %s\n\n", command->name, command->summary);
  cli_print(CLI_BOLD, "usage:");
  const int start = printf(" pare %s ", command->name) + (int)strlen("usage:");
  cli_print_wrapped((size_t)start, (size_t)start, command->usage);
  putchar('\n');
  cli_print_wrapped(0, 0, command->about);
  putchar('\n');
  if (command->options && command->options->name) {
    cli_print(CLI_BOLD, "options:\n");
    print_options(command->options);
    putchar('\n');
  }
  cli_print(CLI_BOLD, "options of every command:\n");
  print_options(command->uses_device ? cli_global_options : cli_global_options + 1);
}

void cli_help_overview(void) {
  printf("pare runs and compresses neural networks on every OpenCL device.\n\n");
  cli_print(CLI_BOLD, "usage:");
  printf(" pare [OPTION]... COMMAND [OPTION]...\n\n");
  cli_print(CLI_BOLD, "commands:\n");
  for (size_t i = 0; cli_commands[i]; i++) printf("  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
  putchar('\n');
  cli_print(CLI_BOLD, "options of every command:\n");
  print_options(cli_global_options);
  putchar('\n');
  cli_print(CLI_BOLD, "more:\n");
  printf("  pare COMMAND --help     a command and its options\n");
  for (size_t i = 0; i < CLI_COUNT(topics); i++) printf("  pare help %-13s %s\n", topics[i].name, topics[i].summary);
}

static void machine_options(const char *command, const cli_option *rows) {
  for (const cli_option *option = rows; option && option->name; option++)
    printf("option\t%s\t--%s\t%s%c\t%s\t%s\n", command, option->name, option->letter ? "-" : "",
           option->letter ? option->letter : '-', option->argument ? option->argument : "-", option->what);
}

/* What completion reads (doc/completion): no field is empty, because shells join neighbouring tabs. */
static void print_machine(void) {
  machine_options("-", cli_global_options);
  for (size_t i = 0; cli_commands[i]; i++) {
    const cli_command *command = cli_commands[i];
    printf("command\t%s\t%s\t%s\n", command->name, command->uses_device ? "device" : "-", command->summary);
    machine_options(command->name, command->options);
    if (command->operands) printf("operands\t%s\t%s\n", command->name, command->operands);
    printf("operands\thelp\t%s\n", command->name);
  }
  for (size_t i = 0; i < CLI_COUNT(topics); i++) printf("operands\thelp\t%s\n", topics[i].name);
  for (unsigned i = 0; pare_kernel_family(i); i++) printf("family\t%s\n", pare_kernel_family(i));
  for (size_t i = 0; i < CLI_COUNT(cli_log_levels); i++) printf("level\t%s\n", cli_log_levels[i]);
}

static cli_exit run(const cli_arguments *arguments) {
  const cli_command *command;
  if (cli_value(arguments, &options[MACHINE])) {
    print_machine();
    return CLI_OK;
  }
  if (arguments->noperands == 0) {
    cli_help_overview();
    return CLI_OK;
  }
  for (size_t i = 0; i < CLI_COUNT(topics); i++) {
    if (strcmp(arguments->operands[0], topics[i].name) != 0) continue;
    fputs(topics[i].text, stdout);
    return CLI_OK;
  }
  cli_exit code = cli_command_get(arguments->operands[0], &command);
  if (code == CLI_OK) cli_help_command(command);
  return code;
}

const cli_command cli_cmd_help = {
    .name = "help",
    .summary = "explain pare, a command or a topic",
    .usage = "[COMMAND|TOPIC] [--machine]",
    .about = "Topics are selectors, environment and exit-codes. The manual pages say more: man pare, man pare-devices "
             "and so on.",
    .options = options,
    .max_operands = 1,
    .run = run,
};
