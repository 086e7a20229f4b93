/* What a ticketed program is made of. Private to ticketed.c and ticketed_program.c. SPDX-License-Identifier: Apache-2.0
 */
#ifndef PARE_OCL_TICKETED_PARTS_H
#define PARE_OCL_TICKETED_PARTS_H

#include "ocl/ticketed.h"

typedef struct pare__ticket_part {
  char *file, *entry, *options;
  char *kinds; /* of its arguments: PARE__ARG_… */
} pare__ticket_part;

struct pare__ticketed_parts {
  pare__device *device;
  size_t count;
  pare__ticket_part *part; /* sorted */
  char key[33];
};

/* `count` if there is none. */
size_t pare__ticketed_part_index(const pare__ticketed_parts *parts, const pare__captured *launch);
/* How much room an argument of a kind has in the table. */
unsigned pare__ticketed_longs(char kind);
/* Runs no step: the driver has compiled everything then. */
pare_status pare__ticketed_warm(const pare__ticketed_parts *parts, pare__program *program);

#endif
