/* Operators whose result is as long as the data say: the device lists the indices, and the host learns how many.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/reduce.h>
#include <pare/select.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "op/prune.h"

/* The indices of what is set in a mask, on the device; the host learns how many there are. They live as long as the
 * call. */
static pare_status list_set(pare__call *call, pare_tensor *mask, pare_tensor **out) {
  pare_tensor *flat, *list;
  const int64_t count = pare__shape_elements(&mask->shape);
  *out = NULL;
  if (pare__call_bounding(call)) return pare__call_scratch(call, PARE_I64, 1, &count, out); /* all may be set */
  PARE__TRY(pare__call_at_once(call));
  PARE__TRY(pare__call_reshaped(call, mask, 1, &count, &flat));
  PARE__TRY(pare__mask_list(flat, &list));
  PARE__TRY(pare__call_keep(call, list));
  *out = list;
  return PARE_OK;
}

/* Output i: the elements of x at these indices along the axis. */
static pare_status give_gathered(pare__call *call, unsigned i, pare_tensor *x, int axis, pare_tensor *indices) {
  pare_tensor *out;
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  dim[axis] = indices->shape.dim[0];
  PARE__TRY(pare__call_output(call, i, x->dtype, x->shape.rank, dim, &out));
  return pare_gather(x, indices, axis, out);
}

/* Input 0 along the axis of the attribute, or flat along axis 0 if there is none. */
static pare_status along_axis(pare__call *call, pare_tensor **x, int *axis) {
  PARE__TRY(pare__call_tensor(call, 0, x));
  if (pare__call_attribute(call, "axis"))
    return pare__call_axis(call, pare__call_get_int(call, "axis", 0), (*x)->shape.rank, axis);
  *axis = 0;
  const int64_t count = pare__shape_elements(&(*x)->shape);
  return pare__call_reshaped(call, *x, 1, &count, x);
}

/* ---- Compress ---- */

/* The same, of a condition that the host knows. */
static pare_status list_known(pare__call *call, const pare__content *condition, pare_tensor **out) {
  int64_t *index = malloc((condition->count + 1) * sizeof *index), count = 0;
  if (!index) return pare__fail_memory("indices", condition->count * sizeof *index);
  for (size_t i = 0; i < condition->count; i++)
    if (pare__content_int(condition, i) != 0) index[count++] = (int64_t)i;
  const pare_status status = pare__call_constant(call, PARE_I64, 1, &count, index, out);
  free(index);
  return status;
}

static pare_status compress(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  pare_tensor *x, *mask, *indices;
  const pare__slot *condition = call->input[1];
  int axis;
  PARE__TRY(along_axis(call, &x, &axis));
  const int64_t length = x->shape.dim[axis];
  if (condition->shape.rank != 1 || condition->dtype != PARE_BOOL || condition->shape.dim[0] > length) {
    char have[PARE__SHAPE_TEXT];
    return pare__call_fail(
        call, PARE_ERR_SHAPE, "its condition is %s%s for %lld along axis %d", pare_dtype_name(condition->dtype),
        pare__shape_text(condition->shape.rank, condition->shape.dim, have, sizeof have), (long long)length, axis);
  }
  if (condition->content) {
    PARE__TRY(list_known(call, condition->content, &indices));
  } else {
    PARE__TRY(pare__call_tensor(call, 1, &mask));
    PARE__TRY(list_set(call, mask, &indices));
  }
  return give_gathered(call, 0, x, axis, indices);
}

/* ---- NonZero ---- */

/* One row a dimension, the indices of elements that are not 0 in row-major order; of a scalar [0, count], as ONNX has
 * it. */
static pare_status non_zero_on_host(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const pare__content *x = call->input[0]->content;
  const int rank = x->shape.rank;
  int64_t count = 0, at = 0;
  for (size_t i = 0; i < x->count; i++) count += pare__content_number(x, i) != 0;
  pare__content *out;
  PARE__TRY(pare__content_create(PARE_I64, 2, (const int64_t[]){rank, count}, NULL, &out));
  int64_t *to = out->owned;
  for (size_t i = 0; i < x->count && rank > 0; i++) {
    if (pare__content_number(x, i) == 0) continue;
    for (int d = 0; d < rank; d++) to[d * count + at] = (int64_t)i / x->shape.stride[d] % x->shape.dim[d];
    at++;
  }
  return pare__call_give_content(call, 0, out);
}

static pare_status non_zero(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  if (call->input[0]->content) return non_zero_on_host(call); /* a constant, whose result has a known length */
  pare_tensor *x, *mask, *indices, *step, *length, *passed, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_cast(call, x, PARE_BOOL, &mask));
  PARE__TRY(list_set(call, mask, &indices));
  const pare__shape *shape = &mask->shape;
  pare__shape compact;
  const int64_t rank = shape->rank, dim[2] = {rank, indices->shape.dim[0]}, column[2] = {rank, 1};
  PARE__TRY(pare__call_output(call, 0, PARE_I64, 2, dim, &out));
  if (rank == 0 || dim[1] == 0) return PARE_OK;
  (void)pare__shape_set(&compact, shape->rank, shape->dim); /* it exists: its size is in range */
  PARE__TRY(pare__call_constant(call, PARE_I64, 2, column, compact.stride, &step));
  PARE__TRY(pare__call_constant(call, PARE_I64, 2, column, compact.dim, &length));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, dim, &passed));
  PARE__TRY(pare_binary(PARE_BINARY_div, indices, step, passed));
  return pare_binary(PARE_BINARY_mod, passed, length, out);
}

/* ---- Unique ---- */

/* *out = positions of keys [n] in ascending order, of equal ones in the order of positions. */
static pare_status sorted_positions(pare__call *call, pare_tensor *keys, pare_tensor **out) {
  pare_tensor *values;
  PARE__TRY(pare__call_scratch(call, keys->dtype, 1, keys->shape.dim, &values));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 1, keys->shape.dim, out));
  return pare_top_k(keys, keys->shape.dim[0], 0, true, values, *out);
}

/* *out = from at these indices, along axis 0. */
static pare_status gathered(pare__call *call, pare_tensor *from, pare_tensor *indices, pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, from->shape.dim, sizeof dim);
  dim[0] = indices->shape.dim[0];
  PARE__TRY(pare__call_scratch(call, from->dtype, from->shape.rank, dim, out));
  return pare_gather(from, indices, 0, *out);
}

/* *order = the slices x [n][elements] in lexicographic order: sorted by their last elements first, as every sort keeps
 * the order of what is equal. */
static pare_status sorted_slices(pare__call *call, pare_tensor *x, pare_tensor **order) {
  const int64_t elements = x->shape.dim[1];
  pare_tensor *keys, *positions;
  if (elements <= 0) return pare__call_range(call, PARE_I64, x->shape.dim[0], 1, 0, order);
  PARE__TRY(pare__call_at(call, x, 1, elements - 1, &keys));
  PARE__TRY(sorted_positions(call, keys, order));
  for (int64_t e = elements - 2; e >= 0; e--) {
    PARE__TRY(pare__call_at(call, x, 1, e, &keys));
    PARE__TRY(gathered(call, keys, *order, &keys));
    PARE__TRY(sorted_positions(call, keys, &positions));
    PARE__TRY(gathered(call, *order, positions, order));
  }
  return PARE_OK;
}

/* *out = which elements of a and b differ; two that are NaN do not. */
static pare_status differing(pare__call *call, pare_tensor *a, pare_tensor *b, pare_tensor **out) {
  const int64_t *dim = a->shape.dim;
  pare_tensor *lost[2];
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, out));
  PARE__TRY(pare_binary(PARE_BINARY_not_equal, a, b, *out));
  if (!pare__dtype_is_float(a->dtype)) return PARE_OK;
  for (int i = 0; i < 2; i++) {
    PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, &lost[i]));
    PARE__TRY(pare_unary(PARE_UNARY_isnan, i ? b : a, lost[i]));
  }
  PARE__TRY(pare_binary(PARE_BINARY_and, lost[0], lost[1], lost[0]));
  return pare_binary(PARE_BINARY_xor, *out, lost[0], *out);
}

/* *out = which of the slices, in order, is the first of its kind. */
static pare_status first_of_kind(pare__call *call, pare_tensor *slices, pare_tensor *order, pare_tensor **out) {
  const int64_t n = slices->shape.dim[0];
  const int last_axis = 1;
  pare_tensor *sorted, *before, *after, *differs, *yes, *begin, *rest;
  PARE__TRY(gathered(call, slices, order, &sorted));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 1, &n, out));
  PARE__TRY(pare__call_scalar(call, PARE_BOOL, 1, &yes));
  PARE__TRY(pare__call_slice(call, *out, 0, 0, 1, 1, &begin));
  PARE__TRY(pare_cast(yes, begin));
  PARE__TRY(pare__call_slice(call, *out, 0, 1, n - 1, 1, &rest));
  PARE__TRY(pare__call_slice(call, sorted, 0, 0, n - 1, 1, &before));
  PARE__TRY(pare__call_slice(call, sorted, 0, 1, n - 1, 1, &after));
  PARE__TRY(differing(call, before, after, &differs));
  return pare_reduce(differs, PARE_REDUCTION_ANY, &last_axis, 1, false, rest);
}

/* What it finds of n slices, all i64. */
typedef struct kinds {
  pare_tensor *order;  /* [n] slices, sorted */
  pare_tensor *starts; /* [kinds] where each kind begins in the order */
  pare_tensor *flags;  /* [n] bool: there it begins */
  pare_tensor *rank;   /* [kinds] the kinds in the order of their first slices; NULL: they stay sorted */
} kinds;

/* *out = the kind of every slice. */
static pare_status kinds_of_slices(pare__call *call, const kinds *found, pare_tensor **out) {
  pare_tensor *begun, *kind, *one, *position;
  PARE__TRY(pare__call_cast(call, found->flags, PARE_I64, &begun));
  PARE__TRY(pare__call_scan(call, PARE_BINARY_add, 0, begun, &kind));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 1, &one));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 1, kind->shape.dim, out));
  PARE__TRY(pare_binary(PARE_BINARY_sub, kind, one, *out));
  PARE__TRY(sorted_positions(call, found->order, &position)); /* the inverse of a permutation */
  PARE__TRY(gathered(call, *out, position, out));
  if (!found->rank) return PARE_OK;
  PARE__TRY(sorted_positions(call, found->rank, &position));
  return gathered(call, position, *out, out);
}

/* *out = how many slices are of each kind. */
static pare_status count_kinds(pare__call *call, const kinds *found, pare_tensor **out) {
  const int64_t count = found->starts->shape.dim[0];
  pare_tensor *n, *starts, *target;
  PARE__TRY(pare__call_scratch(call, PARE_I64, 1, &count, out));
  PARE__TRY(pare__call_slice(call, found->starts, 0, 1, count - 1, 1, &starts));
  PARE__TRY(pare__call_slice(call, *out, 0, 0, count - 1, 1, &target));
  PARE__TRY(pare_copy(starts, target));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)found->order->shape.dim[0], &n));
  PARE__TRY(pare__call_slice(call, *out, 0, count - 1, 1, 1, &target));
  PARE__TRY(pare_cast(n, target));
  PARE__TRY(pare_binary(PARE_BINARY_sub, *out, found->starts, *out));
  return found->rank ? gathered(call, *out, found->rank, out) : PARE_OK;
}

/* *out = x as [length along the axis][the rest]. */
static pare_status slices_of(pare__call *call, pare_tensor *x, int axis, pare_tensor **out) {
  int axes[PARE_MAX_RANK], naxes = 0;
  int64_t dim[2] = {x->shape.dim[axis], 1};
  axes[naxes++] = axis;
  for (int d = 0; d < x->shape.rank; d++) {
    if (d == axis) continue;
    axes[naxes++] = d;
    dim[1] *= x->shape.dim[d];
  }
  PARE__TRY(pare__call_permuted(call, x, axes, out));
  return pare__call_reshaped(call, *out, 2, dim, out);
}

static pare_status give_copy(pare__call *call, unsigned i, pare_tensor *tensor) {
  pare_tensor *out;
  PARE__TRY(pare__call_output(call, i, tensor->dtype, tensor->shape.rank, tensor->shape.dim, &out));
  return pare_copy(tensor, out);
}

/* detail: com.microsoft's, in the order of first elements, whose places are not given. */
static pare_status unique(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const bool microsoft = call->node->op->detail != 0;
  const unsigned which = microsoft ? 1 : 2; /* the output of kinds; their numbers follow */
  pare_tensor *x, *slices, *first, *wanted;
  kinds found = {0};
  int axis;
  PARE__TRY(along_axis(call, &x, &axis));
  if (x->shape.dim[axis] == 0) {
    const int64_t none = 0;
    PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &wanted));
    for (unsigned i = 1; i < which + 2; i++) PARE__TRY(pare__call_output(call, i, PARE_I64, 1, &none, &wanted));
    return PARE_OK;
  }
  PARE__TRY(slices_of(call, x, axis, &slices));
  PARE__TRY(sorted_slices(call, slices, &found.order));
  PARE__TRY(first_of_kind(call, slices, found.order, &found.flags));
  PARE__TRY(list_set(call, found.flags, &found.starts));
  PARE__TRY(gathered(call, found.order, found.starts, &first));
  if (microsoft || pare__call_get_int(call, "sorted", 1) == 0) {
    PARE__TRY(sorted_positions(call, first, &found.rank));
    PARE__TRY(gathered(call, first, found.rank, &first));
  }
  PARE__TRY(give_gathered(call, 0, x, axis, first));
  if (!microsoft && pare__call_wants(call, 1)) PARE__TRY(give_copy(call, 1, first));
  if (pare__call_wants(call, which)) {
    PARE__TRY(kinds_of_slices(call, &found, &wanted));
    PARE__TRY(give_copy(call, which, wanted));
  }
  if (!pare__call_wants(call, which + 1)) return PARE_OK;
  PARE__TRY(count_kinds(call, &found, &wanted));
  return give_copy(call, which + 1, wanted);
}

/* ---- NonMaxSuppression, on the host: whether a box stays depends on all that stayed before it ---- */

typedef struct candidate {
  double score, low[2], high[2]; /* the box's corners */
  int64_t index;
} candidate;

typedef struct suppression {
  const pare__content *boxes, *scores;
  bool center;
  int64_t most;
  double overlap, least;
  candidate *kept;
  int64_t *out, nout, capacity;
} suppression;

/* The best score first; of equal ones the first box. */
static int by_score(const void *a, const void *b) {
  const candidate *p = a, *q = b;
  if (p->score != q->score) return p->score > q->score ? -1 : 1;
  return (p->index > q->index) - (p->index < q->index);
}

static candidate read_box(const suppression *s, int64_t batch, int64_t index, double score) {
  double x[4];
  for (size_t i = 0; i < 4; i++)
    x[i] = pare__content_number(s->boxes, (size_t)(batch * s->boxes->shape.dim[1] + index) * 4 + i);
  candidate box = {.score = score, .index = index};
  for (int d = 0; d < 2; d++) { /* center: x, y, width, height; else two corners in any order */
    const double a = s->center ? x[d] - x[d + 2] / 2 : x[d], b = s->center ? x[d] + x[d + 2] / 2 : x[d + 2];
    box.low[d] = PARE__MIN(a, b);
    box.high[d] = PARE__MAX(a, b);
  }
  return box;
}

static double intersection_over_union(const candidate *a, const candidate *b) {
  double inside = 1, area_a = 1, area_b = 1;
  for (int d = 0; d < 2; d++) {
    const double length = PARE__MIN(a->high[d], b->high[d]) - PARE__MAX(a->low[d], b->low[d]);
    inside *= length > 0 ? length : 0;
    area_a *= a->high[d] - a->low[d];
    area_b *= b->high[d] - b->low[d];
  }
  const double all = area_a + area_b - inside;
  return all > 0 ? inside / all : 0;
}

/* The boxes of one class, the best first, without those that overlap a better one that is kept. */
static pare_status suppress(suppression *s, int64_t batch, int64_t class_index) {
  const int64_t nclasses = s->scores->shape.dim[1], nboxes = s->boxes->shape.dim[1];
  int64_t count = 0, nkept = 0;
  for (int64_t i = 0; i < nboxes; i++) {
    const double score = pare__content_number(s->scores, (size_t)((batch * nclasses + class_index) * nboxes + i));
    if (score > s->least) s->kept[count++] = read_box(s, batch, i, score);
  }
  qsort(s->kept, (size_t)count, sizeof *s->kept, by_score);
  for (int64_t i = 0; i < count && nkept < s->most; i++) {
    bool overlaps = false;
    for (int64_t k = 0; k < nkept && !overlaps; k++)
      overlaps = intersection_over_union(&s->kept[i], &s->kept[k]) > s->overlap;
    if (overlaps) continue;
    s->kept[nkept++] = s->kept[i]; /* nkept is never beyond i */
    if (s->nout == s->capacity) {
      const int64_t capacity = 2 * s->capacity + 64;
      int64_t *more = realloc(s->out, (size_t)capacity * 3 * sizeof *more);
      if (!more) return pare__fail_memory("boxes", (size_t)capacity * 3 * sizeof *more);
      s->out = more;
      s->capacity = capacity;
    }
    int64_t *to = s->out + 3 * s->nout++;
    to[0] = batch;
    to[1] = class_index;
    to[2] = s->kept[nkept - 1].index;
  }
  return PARE_OK;
}

static pare_status read_suppression(pare__call *call, suppression *s) {
  PARE__TRY(pare__call_content(call, 0, &s->boxes));
  PARE__TRY(pare__call_content(call, 1, &s->scores));
  const pare__shape *boxes = &s->boxes->shape, *scores = &s->scores->shape;
  char have[PARE__SHAPE_TEXT], other[PARE__SHAPE_TEXT];
  if (boxes->rank != 3 || scores->rank != 3 || boxes->dim[2] != 4 || boxes->dim[0] != scores->dim[0] ||
      boxes->dim[1] != scores->dim[2])
    return pare__call_fail(call, PARE_ERR_SHAPE, "boxes %s do not fit scores %s",
                           pare__shape_text(boxes->rank, boxes->dim, have, sizeof have),
                           pare__shape_text(scores->rank, scores->dim, other, sizeof other));
  const int64_t center = pare__call_get_int(call, "center_point_box", 0);
  if (center != 0 && center != 1)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "center_point_box is %lld; it must be 0 or 1", (long long)center);
  s->center = center == 1;
  if (pare__call_has(call, 2)) PARE__TRY(pare__call_int(call, 2, &s->most));
  if (pare__call_has(call, 3)) PARE__TRY(pare__call_number(call, 3, &s->overlap));
  if (pare__call_has(call, 4)) PARE__TRY(pare__call_number(call, 4, &s->least));
  return PARE_OK;
}

/* Every box of every class, or the most of each. */
static pare_status bound_suppression(pare__call *call) {
  const pare__shape *scores = &call->input[1]->shape;
  int64_t most = 0, dim[2] = {0, 3};
  pare_tensor *out;
  if (scores->rank != 3)
    return pare__call_fail(call, PARE_ERR_SHAPE, "scores have rank %d; they must have 3", scores->rank);
  if (pare__call_has(call, 2) && call->input[2]->content) PARE__TRY(pare__call_int(call, 2, &most));
  if (pare__call_has(call, 2) && !call->input[2]->content) most = scores->dim[2];
  dim[0] = scores->dim[0] * scores->dim[1]; /* in range, as the scores exist */
  if (!pare__i64_mul(dim[0], pare__i64_clamp(most, 0, scores->dim[2]), &dim[0])) dim[0] = INT64_MAX;
  return pare__call_output(call, 0, PARE_I64, 2, dim, &out);
}

static pare_status non_max_suppression(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 5));
  const bool known = call->input[0]->content && call->input[1]->content;
  if (!known && pare__call_bounding(call)) return bound_suppression(call);
  suppression s = {.most = 0, .least = (double)-INFINITY};
  PARE__TRY(read_suppression(call, &s));
  const size_t nboxes = (size_t)s.boxes->shape.dim[1];
  s.kept = malloc((nboxes + 1) * sizeof *s.kept);
  if (!s.kept) return pare__fail_memory("boxes", nboxes * sizeof *s.kept);
  pare_status status = PARE_OK;
  for (int64_t batch = 0; batch < s.boxes->shape.dim[0]; batch++)
    for (int64_t c = 0; c < s.scores->shape.dim[1] && status == PARE_OK; c++) status = suppress(&s, batch, c);
  pare__content *content = NULL;
  if (status == PARE_OK) status = pare__content_create(PARE_I64, 2, (const int64_t[]){s.nout, 3}, s.out, &content);
  if (status == PARE_OK) status = pare__call_give_content(call, 0, content);
  free(s.kept);
  free(s.out);
  return status;
}

const pare__operator pare__operators_select[] = {
    {"", "Compress", 9, 0, PARE__ON_DEVICE, compress, NULL, .types = "any"},
    {"", "NonZero", 9, 0, PARE__ON_DEVICE, non_zero, non_zero_on_host, .types = "any"},
    {"", "Unique", 11, 0, PARE__ON_DEVICE, unique, NULL, .types = "numbers, bool"},
    {"com.microsoft", "Unique", 1, 0, PARE__ON_DEVICE, unique, NULL, .detail = 1, .types = "numbers, bool"},
    {"", "NonMaxSuppression", 10, 0, PARE__ON_HOST, non_max_suppression, NULL, .types = "f32"},
    {0},
};
