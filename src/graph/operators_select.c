/* Operators whose result is as long as the data say: the host lists the indices, the device moves the elements.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/index.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* Gives `count` integers as output i; [count] unless `rank` says otherwise. */
static pare_status give_integers(pare__call *call, unsigned i, int rank, const int64_t *dim, const int64_t *data) {
  pare__content *content;
  PARE__TRY(pare__content_create(PARE_I64, rank, dim, data, &content));
  return pare__call_give_content(call, i, content);
}

/* Output 0: the elements of x at these indices along the axis. */
static pare_status give_gathered(pare__call *call, pare_tensor *x, int axis, int64_t count, const int64_t *index) {
  pare_tensor *indices, *out;
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  dim[axis] = count;
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &out));
  PARE__TRY(pare__call_constant(call, PARE_I64, 1, &count, index, &indices));
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

static pare_status compress(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  pare_tensor *x;
  const pare__content *condition;
  int axis;
  PARE__TRY(along_axis(call, &x, &axis));
  PARE__TRY(pare__call_content(call, 1, &condition));
  const int64_t length = x->shape.dim[axis];
  if (condition->shape.rank != 1 || condition->dtype != PARE_BOOL || condition->shape.dim[0] > length)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its condition is %s with %zu elements for %lld along axis %d",
                           pare_dtype_name(condition->dtype), condition->count, (long long)length, axis);
  int64_t *index = malloc((condition->count + 1) * sizeof *index), count = 0;
  if (!index) return pare__fail_memory("indices", condition->count * sizeof *index);
  for (size_t i = 0; i < condition->count; i++)
    if (pare__content_int(condition, i) != 0) index[count++] = (int64_t)i;
  const pare_status status = give_gathered(call, x, axis, count, index);
  free(index);
  return status;
}

/* ---- NonZero ---- */

/* One row a dimension, the indices of elements that are not 0 in row-major order; of a scalar [0, count], as ONNX has
 * it. */
static pare_status non_zero(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const pare__content *x;
  PARE__TRY(pare__call_content(call, 0, &x));
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

/* ---- Unique ---- */

/* Slices of x along an axis: outer runs of `inner` elements, `length` of them in each. */
typedef struct slices {
  const pare__content *x;
  int64_t outer, length, inner;
} slices;

static int compare_elements(const pare__content *x, size_t a, size_t b) {
  if (!pare__dtype_is_float(x->dtype)) {
    const int64_t p = pare__content_int(x, a), q = pare__content_int(x, b);
    if (x->dtype == PARE_U64) return ((uint64_t)p > (uint64_t)q) - ((uint64_t)p < (uint64_t)q);
    return (p > q) - (p < q);
  }
  const double p = pare__content_number(x, a), q = pare__content_number(x, b);
  if (p != p || q != q) return (p != p) - (q != q); /* NaN last */
  return (p > q) - (p < q);
}

static int compare_slices(const slices *s, int64_t a, int64_t b) {
  for (int64_t o = 0; o < s->outer; o++)
    for (int64_t i = 0; i < s->inner; i++) {
      const int order = compare_elements(s->x, (size_t)((o * s->length + a) * s->inner + i),
                                         (size_t)((o * s->length + b) * s->inner + i));
      if (order != 0) return order;
    }
  return 0;
}

/* Merge sort of indices: stable, so that the first of equal slices comes first. */
static void sort_slices(const slices *s, int64_t *index, int64_t *spare) {
  for (int64_t width = 1; width < s->length; width *= 2) {
    for (int64_t begin = 0; begin < s->length; begin += 2 * width) {
      const int64_t middle = PARE__MIN(begin + width, s->length), end = PARE__MIN(begin + 2 * width, s->length);
      int64_t left = begin, right = middle;
      for (int64_t k = begin; k < end; k++) {
        const bool from_left = left < middle && (right == end || compare_slices(s, index[left], index[right]) <= 0);
        spare[k] = from_left ? index[left++] : index[right++];
      }
    }
    memcpy(index, spare, (size_t)s->length * sizeof *index);
  }
}

static int by_value(const void *a, const void *b) {
  const int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
  return (p > q) - (p < q);
}

/* What it finds: four arrays of `length`. */
typedef struct unique_lists {
  int64_t *sorted, *first, *inverse, *counts, *place;
} unique_lists;

/* first: the first slice of each kind; returns how many kinds there are. */
static int64_t find_kinds(const slices *s, bool sorted, unique_lists *lists) {
  int64_t kinds = 0;
  for (int64_t i = 0; i < s->length; i++) lists->sorted[i] = i;
  sort_slices(s, lists->sorted, lists->place);
  for (int64_t i = 0; i < s->length; i++) {
    if (i == 0 || compare_slices(s, lists->sorted[i - 1], lists->sorted[i]) != 0)
      lists->first[kinds++] = lists->sorted[i];
    lists->place[lists->sorted[i]] = lists->first[kinds - 1]; /* of each slice, the first that is equal */
  }
  if (!sorted) qsort(lists->first, (size_t)kinds, sizeof *lists->first, by_value);
  for (int64_t k = 0; k < kinds; k++) lists->sorted[lists->first[k]] = k; /* the kind of each first slice */
  for (int64_t k = 0; k < kinds; k++) lists->counts[k] = 0;
  for (int64_t i = 0; i < s->length; i++) {
    lists->inverse[i] = lists->sorted[lists->place[i]];
    lists->counts[lists->inverse[i]]++;
  }
  return kinds;
}

static pare_status unique(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  pare_tensor *x;
  slices s = {.outer = 1, .inner = 1};
  int axis;
  PARE__TRY(along_axis(call, &x, &axis));
  PARE__TRY(pare__call_content(call, 0, &s.x));
  s.length = x->shape.dim[axis];
  for (int d = 0; d < axis; d++) s.outer *= x->shape.dim[d];
  for (int d = axis + 1; d < x->shape.rank; d++) s.inner *= x->shape.dim[d];
  int64_t *memory = calloc((size_t)s.length + 1, 5 * sizeof *memory);
  if (!memory) return pare__fail_memory("indices", (size_t)s.length * 5 * sizeof *memory);
  unique_lists lists = {memory, memory + s.length, memory + 2 * s.length, memory + 3 * s.length, memory + 4 * s.length};
  const int64_t kinds = find_kinds(&s, pare__call_get_int(call, "sorted", 1) != 0, &lists);
  pare_status status = give_gathered(call, x, axis, kinds, lists.first);
  if (status == PARE_OK) status = give_integers(call, 1, 1, &kinds, lists.first);
  if (status == PARE_OK) status = give_integers(call, 2, 1, &s.length, lists.inverse);
  if (status == PARE_OK) status = give_integers(call, 3, 1, &kinds, lists.counts);
  free(memory);
  return status;
}

/* ---- NonMaxSuppression ---- */

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

static pare_status non_max_suppression(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 5));
  suppression s = {.most = 0, .least = (double)-INFINITY};
  PARE__TRY(read_suppression(call, &s));
  const size_t nboxes = (size_t)s.boxes->shape.dim[1];
  s.kept = malloc((nboxes + 1) * sizeof *s.kept);
  if (!s.kept) return pare__fail_memory("boxes", nboxes * sizeof *s.kept);
  pare_status status = PARE_OK;
  for (int64_t batch = 0; batch < s.boxes->shape.dim[0]; batch++)
    for (int64_t c = 0; c < s.scores->shape.dim[1] && status == PARE_OK; c++) status = suppress(&s, batch, c);
  if (status == PARE_OK) status = give_integers(call, 0, 2, (const int64_t[]){s.nout, 3}, s.out);
  free(s.kept);
  free(s.out);
  return status;
}

const pare__operator pare__operators_select[] = {
    {"", "Compress", 9, 0, PARE__ON_DEVICE, compress, NULL, .types = "any"},
    {"", "NonZero", 9, 0, PARE__ON_HOST, non_zero, NULL, .types = "any"},
    {"", "Unique", 11, 0, PARE__ON_DEVICE, unique, NULL, .types = "any"},
    {"", "NonMaxSuppression", 10, 0, PARE__ON_HOST, non_max_suppression, NULL, .types = "f32"},
    {0},
};
