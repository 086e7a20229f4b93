/* Pooling over more than three dimensions. SPDX-License-Identifier: Apache-2.0
 *
 * Windows are boxes, and a maximum, an average or a norm over a box is that of its rows' results: the three innermost
 * dimensions are gone over first, then two in a turn, with what lies inside of them as one more dimension that the
 * window does not reach along. */
#include <pare/elementwise.h>
#include <pare/index.h>
#include <string.h>

#include "op/pool.h"

enum { FIRST_TURN = 3, LATER_TURN = 2 };

/* x before and after a turn over dimensions [from, to): [lead, 1, dimensions…, rest]. */
typedef struct turn {
  pare_pool_options options;
  int rank;
  int64_t before[PARE_MAX_RANK], after[PARE_MAX_RANK];
} turn;

static turn describe_turn(const pare_pool_options *options, const pare_tensor *x, const pare_tensor *y, int from,
                          int to) {
  const int rank = x->shape.rank - 2;
  const int64_t *length = x->shape.dim + 2, *places = y->shape.dim + 2;
  turn t = {.options = PARE_POOL_OPTIONS_INIT, .rank = 2 + to - from};
  int64_t lead = x->shape.dim[0] * x->shape.dim[1], rest = 1;
  for (int d = 0; d < from; d++) lead *= length[d];
  for (int d = to; d < rank; d++) rest *= places[d];
  t.before[0] = t.after[0] = lead;
  t.before[1] = t.after[1] = 1;
  t.options.p = options->p;
  t.options.count_padding = options->count_padding;
  for (int d = from, k = 0; d < to; d++, k++) {
    t.options.kernel[k] = options->kernel[d];
    t.options.stride[k] = options->stride[d];
    t.options.dilation[k] = options->dilation[d];
    t.options.pad[k] = options->pad[d];
    t.options.pad_after[k] = options->pad_after[d];
    t.before[2 + k] = length[d];
    t.after[2 + k] = places[d];
  }
  if (to < rank) {
    t.before[t.rank] = t.after[t.rank] = rest;
    t.options.kernel[t.rank - 2] = 1;
    t.rank++;
  }
  return t;
}

/* What a turn finds in what the one before it found. */
typedef struct found {
  pare_tensor *value, *index;
} found;

static void close_found(found *f) {
  pare_tensor_close(f->value);
  pare_tensor_close(f->index);
  *f = (found){0};
}

/* Indices into what the last turn made become indices into x. */
static pare_status compose(pare_tensor *earlier, pare_tensor **index) {
  const int64_t count = pare__shape_elements(&earlier->shape);
  pare_tensor *line = NULL, *composed = NULL;
  pare_status status = pare_tensor_reshape(earlier, 1, &count, &line);
  if (status == PARE_OK)
    status = pare__tensor_scratch(earlier->context, PARE_I64, (*index)->shape.rank, (*index)->shape.dim,
                                  "indices of a pooling", &composed);
  if (status == PARE_OK) status = pare_gather(line, *index, 0, composed);
  pare_tensor_close(line);
  pare_tensor_close(*index);
  *index = composed;
  return status;
}

static pare_status take_turn(const turn *t, pare_pooling pooling, bool indexed, found *now) {
  found next = {0};
  pare_tensor *x = NULL;
  pare_context *context = now->value->context;
  pare_status status = pare_tensor_reshape(now->value, t->rank, t->before, &x);
  if (status == PARE_OK)
    status = pare__tensor_scratch(context, x->dtype, t->rank, t->after, "a turn of pooling", &next.value);
  if (status == PARE_OK && indexed)
    status = pare__tensor_scratch(context, PARE_I64, t->rank, t->after, "indices of a pooling", &next.index);
  if (status == PARE_OK) status = pare_pool(x, pooling, &t->options, next.value, next.index);
  if (status == PARE_OK && now->index) status = compose(now->index, &next.index);
  pare_tensor_close(x);
  close_found(now);
  *now = next;
  return status;
}

/* Of [lead, 1, …] the shape of y. */
static pare_status give(pare_tensor *result, pare_tensor *y) {
  pare_tensor *view = NULL;
  pare_status status = pare_tensor_reshape(result, y->shape.rank, y->shape.dim, &view);
  if (status == PARE_OK) status = pare_cast(view, y);
  pare_tensor_close(view);
  return status;
}

/* x compact, and of a dtype in which the turns' results lose nothing. */
static pare_status begin(pare_tensor *x, pare_pooling pooling, pare_tensor **out) {
  if (pooling == PARE_POOLING_MAX || x->dtype == PARE_F64) return pare__contiguous(x, out);
  PARE__TRY(pare__tensor_scratch(x->context, PARE_F32, x->shape.rank, x->shape.dim, "an input of pooling", out));
  return pare_cast(x, *out);
}

pare_status pare__pool_in_turns(pare_tensor *x, pare_pooling pooling, const pare_pool_options *options, pare_tensor *y,
                                pare_tensor *indices) {
  if (indices && options->column_major)
    return pare__fail(PARE_ERR_UNSUPPORTED,
                      "pare_pool: indices that count the first spatial dimension fastest, over %d dimensions; at most "
                      "%d",
                      x->shape.rank - 2, FIRST_TURN);
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  found now = {0};
  pare_status status = begin(x, pooling, &now.value);
  for (int to = x->shape.rank - 2, length = FIRST_TURN; status == PARE_OK && to > 0; length = LATER_TURN) {
    const int from = PARE__MAX(0, to - length);
    const turn t = describe_turn(options, x, y, from, to);
    status = take_turn(&t, pooling, indices != NULL, &now);
    to = from;
  }
  if (status == PARE_OK) status = give(now.value, y);
  if (status == PARE_OK && indices) status = give(now.index, indices);
  close_found(&now);
  return status;
}
