/* What a compression did, as one page of HTML without anything from elsewhere. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_PAGE_H
#define PARE_CLI_PAGE_H

#include <pare/compress.h>

#include "cli/cli.h"

typedef struct cli_page_latency {
  double before, after; /* median seconds of a run; 0: not measured */
  const char *device, *shapes;
} cli_page_latency;

/* Writes the page to `path`, whole or not at all. latency NULL: not measured. */
cli_exit cli_page_write(const char *path, const pare_report *report, const cli_page_latency *latency);

#endif
