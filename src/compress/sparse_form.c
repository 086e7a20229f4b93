/* Which N:M form a tensor has, found by looking. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "compress/convert.h"

#define MOST_KEPT 0.95

/* One element: is it anything but `fill`? Bits decide, so that -0 is kept. */
static bool is_kept(const uint8_t *data, size_t i, size_t size, uint8_t fill) {
  uint32_t bits = 0;
  memcpy(&bits, data + i * size, size);
  return bits != fill;
}

/* What pruned codes are: the zero point, which only the codes themselves tell. */
static uint8_t find_fill(pare_dtype dtype, const uint8_t *data, size_t count) {
  size_t histogram[256] = {0}, most = 0;
  if (dtype != PARE_U8) return 0;
  for (size_t i = 0; i < count; i++) histogram[data[i]]++;
  for (size_t value = 1; value < 256; value++)
    if (histogram[value] > histogram[most]) most = value;
  return (uint8_t)most;
}

/* The most elements that a group of `of` keeps; more than `limit` is as good as all. counts: room for `inner`. */
static int most_kept(const pare__sparse_form *form, int of, int limit, size_t size, const uint8_t *data,
                     uint8_t *counts) {
  const int64_t inner = form->inner, inputs = form->layout.inputs, outer = form->layout.rows / inner;
  const uint8_t fill = (uint8_t)form->layout.fill;
  int most = 0;
  for (int64_t g = 0; g < outer * (inputs / of); g++) { /* groups of one outer index lie after those of the last */
    const size_t first = (size_t)(g * of * inner);
    memset(counts, 0, (size_t)inner);
    for (int u = 0; u < of; u++)
      for (int64_t i = 0; i < inner; i++) counts[i] += is_kept(data, first + (size_t)(u * inner + i), size, fill);
    for (int64_t i = 0; i < inner; i++) most = PARE__MAX(most, counts[i]);
    if (most > limit) return of;
  }
  return PARE__MAX(most, 1);
}

/* Bits that an element of a row takes which keeps `keep` of `of`: a row's indices end with a byte. */
static double element_bits(int64_t inputs, int keep, int of, size_t size) {
  const int64_t kept = inputs / of * keep;
  const int64_t index_bytes = pare__div_up(kept * pare__sparse_index_bits(of), 8);
  return 8 * (double)(kept * (int64_t)size + index_bytes) / (double)inputs;
}

/* The form of one axis, if it is smaller than `best` bits an element. */
static bool search_axis(pare__sparse_form *form, size_t size, const uint8_t *data, uint8_t *counts, double *best) {
  static const int sizes[] = {4, 8, 16, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15};
  bool found = false;
  for (size_t i = 0; i < PARE__COUNT(sizes); i++) {
    const int of = sizes[i];
    int limit = of - 1;
    if (form->layout.inputs % of != 0) continue;
    while (limit > 0 && element_bits(form->layout.inputs, limit, of, size) >= *best) limit--;
    if (limit == 0) continue;
    const int keep = most_kept(form, of, limit, size, data, counts);
    if (keep > limit) continue;
    form->layout.keep = keep;
    form->layout.of = of;
    *best = element_bits(form->layout.inputs, keep, of, size);
    found = true;
  }
  return found;
}

bool pare__sparse_form_find(pare_dtype dtype, int rank, const int64_t *dim, const void *data, pare__sparse_form *out) {
  const size_t size = pare_dtype_bytes(dtype);
  const bool fits =
      dtype == PARE_F32 || dtype == PARE_F16 || dtype == PARE_BF16 || dtype == PARE_I8 || dtype == PARE_U8;
  int64_t count = 1;
  for (int d = 0; d < rank; d++)
    if (dim[d] <= 0 || !pare__i64_mul(count, dim[d], &count)) return false;
  if (!fits || rank < 2 || count < PARE__COMPACT_LEAST) return false;
  const uint8_t fill = find_fill(dtype, data, (size_t)count);
  int64_t kept = 0;
  for (int64_t i = 0; i < count; i++) kept += is_kept(data, (size_t)i, size, fill);
  if ((double)kept > MOST_KEPT * (double)count) return false;
  double best = 8 * (double)size * MOST_KEPT;
  bool found = false;
  const int last = rank == 2 ? 0 : 1; /* of a matrix both axes, of a convolution the input channels */
  for (int axis = 1; axis >= last; axis--) {
    pare__sparse_form form = {.axis = axis, .inner = 1};
    form.layout = (pare_sparse_layout){.dtype = dtype, .rows = count / dim[axis], .inputs = dim[axis]};
    form.layout.fill = fill;
    for (int d = axis + 1; d < rank; d++) form.inner *= dim[d];
    uint8_t *counts = malloc((size_t)form.inner);
    if (counts && search_axis(&form, size, data, counts, &best)) {
      *out = form;
      found = true;
    }
    free(counts);
  }
  return found;
}
