/* Merging the dimensions of strided tensors. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/walk.h"

#include <string.h>

static int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }

/* Does dimension d go outside of dimension e? */
static bool outside(const int64_t *leading, int d, int e) {
  int64_t of_d = magnitude(leading[d]), of_e = magnitude(leading[e]);
  return of_d > of_e || (of_d == of_e && d < e);
}

static bool mergeable(const pare__walk *walk, unsigned ntensors, int inner, const int64_t *const *stride, int outer) {
  for (unsigned t = 0; t < ntensors; t++)
    if (stride[t][outer] != walk->stride[t][inner] * walk->dim[inner]) return false;
  return true;
}

void pare__walk_make(pare__walk *walk, const int64_t *dim, unsigned ntensors, const int64_t *const *stride,
                     unsigned leader) {
  int order[PARE_MAX_RANK], n = 0;
  memset(walk, 0, sizeof *walk);
  walk->count = 1;
  for (int d = PARE_MAX_RANK - 1; d >= 0; d--) {
    walk->count *= dim[d];
    walk->dim[d] = 1;
    if (dim[d] == 1) continue;
    int at = n++;
    for (; at > 0 && outside(stride[leader], order[at - 1], d); at--) order[at] = order[at - 1];
    order[at] = d;
  }
  walk->rank = 1;
  for (int i = 0; i < n; i++) {
    int last = walk->rank - 1, d = order[i];
    if (i > 0 && mergeable(walk, ntensors, last, stride, d)) {
      walk->dim[last] *= dim[d];
      continue;
    }
    if (i > 0) last = walk->rank++;
    walk->dim[last] = dim[d];
    for (unsigned t = 0; t < ntensors; t++) walk->stride[t][last] = stride[t][d];
  }
}

int64_t pare__span(const int64_t *dim, const int64_t *stride) {
  int64_t last = 0;
  for (int d = 0; d < PARE_MAX_RANK; d++) {
    if (dim[d] == 0) return 0;
    last += (dim[d] - 1) * stride[d];
  }
  return last + 1;
}

int64_t pare__distinct(const int64_t *dim, const int64_t *stride) {
  int64_t count = 1;
  for (int d = 0; d < PARE_MAX_RANK; d++)
    if (stride[d] != 0 || dim[d] == 0) count *= dim[d];
  return count;
}
