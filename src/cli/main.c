/* The command pare: its table of commands, and how one is run. SPDX-License-Identifier: Apache-2.0 */
#include <pare/opencl.h>
#include <stdio.h>

#include "cli/cli.h"

/* Told by the build (src/cli/local.mk). */
#ifndef PARE_BUILD_SUMMARY
#define PARE_BUILD_SUMMARY "an unknown compiler"
#endif
#ifndef PARE_BUILD_FLAGS
#define PARE_BUILD_FLAGS ""
#endif
#if defined(CL_VERSION_3_0)
#define OPENCL_HEADERS "3.0"
#elif defined(CL_VERSION_2_2)
#define OPENCL_HEADERS "2.2"
#else
#define OPENCL_HEADERS "before 2.2"
#endif

/* In the order of `pare help`. */
const cli_command *const cli_commands[] = {
    &cli_cmd_run,      &cli_cmd_inspect,  &cli_cmd_eval,     &cli_cmd_verify,
    &cli_cmd_bench,    &cli_cmd_devices,  &cli_cmd_selftest, &cli_cmd_tune,
    &cli_cmd_cache,    &cli_cmd_compress, &cli_cmd_convert,  &cli_cmd_diff,
    &cli_cmd_simulate, &cli_cmd_trace,    &cli_cmd_help,     NULL,
};

static void print_version(void) {
  printf("pare %s\n", pare_version());
  printf("built by  %s\n", PARE_BUILD_SUMMARY);
  printf("flags     %s\n", PARE_BUILD_FLAGS);
  printf("headers   OpenCL %s (calls up to %d.%d), jansson %s\n", OPENCL_HEADERS, CL_TARGET_OPENCL_VERSION / 100,
         CL_TARGET_OPENCL_VERSION / 10 % 10, JANSSON_VERSION);
}

static cli_exit run(int argc, char **argv) {
  cli_arguments arguments;
  cli_exit code = cli_parse(argc, argv, &arguments);
  if (code != CLI_OK) goto out;
  if (arguments.quiet) cli_output_quiet();
  code = cli_log_open(arguments.log_level);
  if (code != CLI_OK) goto out;
  if (arguments.version)
    print_version();
  else if (!arguments.command) {
    cli_help_overview();
    code = arguments.help ? CLI_OK : CLI_USAGE;
  } else if (arguments.help)
    cli_help_command(arguments.command);
  else
    code = arguments.command->run(&arguments);
out:
  cli_arguments_close(&arguments);
  return code;
}

int main(int argc, char **argv) {
  cli_output_open();
  cli_mappings_open();
  const cli_exit code = run(argc, argv);
  return (int)cli_output_close(cli_interrupted() ? CLI_INTERRUPTED : code);
}
