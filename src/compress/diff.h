/* What the files diff*.c share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_DIFF_H
#define PARE_COMPRESS_DIFF_H

#include <pare/diff.h>

#include "base/arena.h"

struct pare_diff {
  pare__arena arena; /* of all texts */
  const char *path[2];
  bool runs; /* there are graphs */
  size_t nrows, capacity;
  pare_diff_row *row;
};

/* Copies the texts. */
pare_status pare__diff_add(pare_diff *diff, const pare_diff_row *row);
void pare__diff_sort(pare_diff *diff);

#endif
