/* A model's graph as a picture. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_DRAWING_H
#define PARE_CLI_DRAWING_H

#include <stdio.h>

#include "cli/cli.h"

/* In the language of Graphviz. */
cli_exit cli_drawing_dot(const pare_inspection *inspection, FILE *to);
/* Drawn by the program dot, which must be installed. */
cli_exit cli_drawing_svg(const pare_inspection *inspection, const char *path);

#endif
