/* Col2Im: blocks of an image laid side by side are added back into it. SPDX-License-Identifier: Apache-2.0
 *
 * y[n][c][p] = sum of x[n][c B + k][l] over the blocks l and places k in them with l stride + k dilation - pad = p: one
 * strided sum for each of the B places of a block, into an image with its padding, which is then cropped. */
#include <pare/elementwise.h>
#include <pare/move.h>
#include <string.h>

#include "graph/operator_tables.h"

enum { MOST_SPATIAL = PARE_MAX_RANK - 3, MOST_PLACES = 4096 };

typedef struct columns {
  int rank; /* spatial dimensions */
  int64_t image[MOST_SPATIAL], block[MOST_SPATIAL], dilation[MOST_SPATIAL], stride[MOST_SPATIAL];
  int64_t pad[2 * MOST_SPATIAL]; /* before each dimension, then after */
  int64_t padded[MOST_SPATIAL], count[MOST_SPATIAL];
  int64_t places, blocks; /* in a block; in all */
} columns;

static pare_status read_list(const pare__call *call, const char *name, int count, int64_t otherwise, int64_t *out) {
  size_t given;
  PARE__TRY(pare__call_get_ints(call, name, out, (size_t)count, &given));
  if (given != 0 && given != (size_t)count)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%s has %zu entries; it needs %d", name, given, count);
  for (int d = 0; given == 0 && d < count; d++) out[d] = otherwise;
  return PARE_OK;
}

static pare_status read_columns(pare__call *call, columns *out) {
  const int64_t most = INT32_MAX / 16;
  size_t count, nblock;
  memset(out, 0, sizeof *out);
  PARE__TRY(pare__call_ints(call, 1, out->image, MOST_SPATIAL, &count));
  PARE__TRY(pare__call_ints(call, 2, out->block, MOST_SPATIAL, &nblock));
  if (count < 1 || count != nblock)
    return pare__call_fail(call, PARE_ERR_SHAPE, "an image of %zu dimensions, a block of %zu", count, nblock);
  out->rank = (int)count;
  PARE__TRY(read_list(call, "dilations", out->rank, 1, out->dilation));
  PARE__TRY(read_list(call, "strides", out->rank, 1, out->stride));
  PARE__TRY(read_list(call, "pads", 2 * out->rank, 0, out->pad));
  out->places = out->blocks = 1;
  for (int d = 0; d < out->rank; d++) {
    const int64_t before = out->pad[d], after = out->pad[out->rank + d];
    const int64_t sizes[] = {out->image[d], out->block[d], out->dilation[d], out->stride[d]};
    bool sane = before >= 0 && before <= most && after >= 0 && after <= most;
    for (size_t i = 0; i < PARE__COUNT(sizes); i++) sane = sane && sizes[i] >= 1 && sizes[i] <= most;
    const int64_t room = sane ? sizes[0] + before + after - (sizes[1] - 1) * sizes[2] - 1 : -1;
    if (room < 0)
      return pare__call_fail(call, PARE_ERR_SHAPE, "dimension %d: blocks of %lld do not fit into an image of %lld", d,
                             (long long)sizes[1], (long long)sizes[0]);
    out->padded[d] = sizes[0] + before + after;
    out->count[d] = room / sizes[3] + 1;
    out->places *= sizes[1];
    if (out->places > MOST_PLACES || !pare__i64_mul(out->blocks, out->count[d], &out->blocks))
      return pare__call_fail(call, PARE_ERR_LIMIT, "blocks of over %d elements, or too many", MOST_PLACES);
  }
  return PARE_OK;
}

/* A slice that is kept; the view before it may go. */
static pare_status cut(pare__call *call, pare_tensor *from, int axis, int64_t first, int64_t count, int64_t step,
                       pare_tensor **out) {
  pare_tensor *view;
  PARE__TRY(pare_tensor_slice(from, axis, first, count, step, &view));
  *out = view;
  return pare__call_keep(call, view);
}

/* Adds what place k of every block holds: x is [N, C, places, blocks…]. */
static pare_status add_place(pare__call *call, const columns *c, int64_t k, pare_tensor *x, pare_tensor *image) {
  int64_t dim[PARE_MAX_RANK] = {x->shape.dim[0], x->shape.dim[1]};
  memcpy(dim + 2, c->count, (size_t)c->rank * sizeof *dim);
  pare_tensor *part, *to = image;
  PARE__TRY(cut(call, x, 2, k, 1, 1, &part));
  PARE__TRY(pare__call_reshaped(call, part, c->rank + 2, dim, &part));
  for (int d = c->rank - 1; d >= 0; d--) {
    const int64_t place = k % c->block[d];
    k /= c->block[d];
    PARE__TRY(cut(call, to, 2 + d, place * c->dilation[d], c->count[d], c->stride[d], &to));
  }
  return pare_binary(PARE_BINARY_add, to, part, to);
}

static pare_status column_to_image(pare__call *call) {
  static const double zero;
  columns c;
  pare_tensor *x, *wide, *image, *nothing, *y;
  char text[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(read_columns(call, &c));
  if (x->shape.rank != 3 || x->shape.dim[1] % c.places != 0 || x->shape.dim[2] != c.blocks)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input has shape %s; %lld blocks of %lld elements are expected",
                           pare__shape_text(x->shape.rank, x->shape.dim, text, sizeof text), (long long)c.blocks,
                           (long long)c.places);
  const bool small = x->dtype == PARE_F16 || x->dtype == PARE_BF16;
  int64_t parts[PARE_MAX_RANK] = {x->shape.dim[0], x->shape.dim[1] / c.places, c.places};
  int64_t dim[PARE_MAX_RANK] = {parts[0], parts[1]};
  memcpy(parts + 3, c.count, (size_t)c.rank * sizeof *parts);
  memcpy(dim + 2, c.padded, (size_t)c.rank * sizeof *dim);
  PARE__TRY(pare__call_cast(call, x, small ? PARE_F32 : x->dtype, &wide));
  PARE__TRY(pare__call_reshaped(call, wide, 3 + c.rank, parts, &wide));
  PARE__TRY(pare__call_scratch(call, wide->dtype, 2 + c.rank, dim, &image));
  PARE__TRY(pare__call_constant(call, wide->dtype, 0, NULL, &zero, &nothing));
  PARE__TRY(pare_copy(nothing, image));
  for (int64_t k = 0; k < c.places; k++) PARE__TRY(add_place(call, &c, k, wide, image));
  for (int d = 0; d < c.rank; d++) {
    dim[2 + d] = c.image[d];
    PARE__TRY(cut(call, image, 2 + d, c.pad[d], c.image[d], 1, &image));
  }
  PARE__TRY(pare__call_output(call, 0, x->dtype, 2 + c.rank, dim, &y));
  return pare_cast(image, y);
}

const pare__operator pare__operators_columns[] = {
    {"", "Col2Im", 18, 0, PARE__ON_DEVICE, column_to_image, .types = "numbers"},
    {0},
};
