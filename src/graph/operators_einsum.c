/* Einsum: products of tensors by the letters of their axes. SPDX-License-Identifier: Apache-2.0
 *
 * Factors are taken from left to right. An axis that neither the result nor a later factor names is summed as early as
 * possible: in one factor by a reduction, between two by a matrix product. */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/move.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* Letters are 'A' … 'z'; the axes of an ellipsis are ELLIPSIS + 0, 1, … counted from the last one. */
enum { ELLIPSIS = 128, LABELS = ELLIPSIS + PARE_MAX_RANK };

typedef struct factor {
  pare_tensor *tensor;
  int count; /* axes, each with a label of its own */
  uint8_t label[PARE_MAX_RANK];
} factor;

typedef struct einsum {
  pare__call *call;
  const char *text; /* of one term and those that follow */
  size_t left;      /* bytes of it */
  int64_t dim[LABELS];
  int times[LABELS];  /* how many terms name it */
  int needed[LABELS]; /* how many of the terms still to come, and the result */
  factor result;
  int ellipsis; /* the most axes that one stands for */
} einsum;

static void skip_spaces(einsum *e) {
  while (e->left > 0 && *e->text == ' ') e->text++, e->left--;
}

static bool take(einsum *e, const char *word) {
  skip_spaces(e);
  const size_t length = strlen(word);
  if (e->left < length || memcmp(e->text, word, length) != 0) return false;
  e->text += length;
  e->left -= length;
  return true;
}

/* In any locale. */
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* The letters of one term; an ellipsis stands for as many axes as `rank` leaves (rank -1: e->ellipsis of them). */
static pare_status parse_term(einsum *e, int rank, uint8_t *label, int *count) {
  int after = 0, at = -1, n = 0; /* at: where the ellipsis is */
  for (skip_spaces(e); e->left > 0; skip_spaces(e)) {
    if (at < 0 && take(e, "...")) {
      at = n;
      continue;
    }
    if (!is_letter(*e->text)) break;
    if (n == PARE_MAX_RANK)
      return pare__call_fail(e->call, PARE_ERR_UNSUPPORTED, "a term of its equation has too many axes");
    label[n++] = (uint8_t)*e->text;
    e->text++;
    e->left--;
  }
  const int wide = at < 0 ? 0 : rank < 0 ? e->ellipsis : rank - n;
  if (wide < 0 || n + wide > PARE_MAX_RANK || (rank >= 0 && n + wide != rank))
    return pare__call_fail(e->call, PARE_ERR_SHAPE, "a term of its equation names %d axes of a tensor of rank %d", n,
                           rank);
  if (at >= 0) {
    after = n - at;
    memmove(label + at + wide, label + at, (size_t)after);
    for (int i = 0; i < wide; i++) label[at + i] = (uint8_t)(ELLIPSIS + wide - 1 - i);
    e->ellipsis = PARE__MAX(e->ellipsis, wide);
  }
  *count = n + wide;
  return PARE_OK;
}

/* A view in which every label is one axis: the diagonal where a term repeats it. */
static pare_status take_diagonals(einsum *e, factor *f) {
  pare_tensor *view;
  PARE__TRY(pare__tensor_handle(f->tensor, &view));
  PARE__TRY(pare__call_keep(e->call, view));
  pare__shape *shape = &view->shape;
  int count = 0;
  for (int d = 0; d < f->count; d++) {
    int same = 0;
    while (same < count && f->label[same] != f->label[d]) same++;
    if (same == count) {
      f->label[count] = f->label[d];
      shape->dim[count] = shape->dim[d];
      shape->stride[count++] = shape->stride[d];
    } else if (shape->dim[same] != shape->dim[d]) {
      return pare__call_fail(e->call, PARE_ERR_SHAPE, "its equation equates axes of %lld and %lld",
                             (long long)shape->dim[same], (long long)shape->dim[d]);
    } else {
      shape->stride[same] += shape->stride[d];
    }
  }
  view->read_only = true;
  shape->rank = f->count = count;
  f->tensor = view;
  return PARE_OK;
}

static pare_status note_dims(einsum *e, const factor *f) {
  for (int d = 0; d < f->count; d++) {
    int64_t *dim = &e->dim[f->label[d]];
    const int64_t have = f->tensor->shape.dim[d];
    e->times[f->label[d]]++;
    if (*dim == 1) *dim = have;
    if (have != *dim && have != 1)
      return pare__call_fail(e->call, PARE_ERR_SHAPE, "its equation equates axes of %lld and %lld", (long long)*dim,
                             (long long)have);
  }
  return PARE_OK;
}

/* Without "->": the ellipsis, then the letters that are named once, in the alphabet's order. */
static pare_status implied_result(einsum *e) {
  factor *r = &e->result;
  for (int i = e->ellipsis - 1; i >= 0; i--) r->label[r->count++] = (uint8_t)(ELLIPSIS + i);
  for (int letter = 0; letter < ELLIPSIS; letter++) {
    if (e->times[letter] != 1) continue;
    if (r->count == PARE_MAX_RANK)
      return pare__call_fail(e->call, PARE_ERR_UNSUPPORTED, "its result has too many axes");
    r->label[r->count++] = (uint8_t)letter;
  }
  return PARE_OK;
}

static pare_status check_result(einsum *e) {
  bool seen[LABELS] = {false};
  for (int d = 0; d < e->result.count; d++) {
    const uint8_t label = e->result.label[d];
    if (seen[label] || (e->times[label] == 0 && label < ELLIPSIS))
      return pare__call_fail(e->call, PARE_ERR_FORMAT, "its equation's result repeats '%c', or no term names it",
                             label);
    seen[label] = true;
  }
  return PARE_OK;
}

/* Where is the label among the factor's axes? -1: nowhere. */
static int find(const factor *f, uint8_t label) {
  for (int d = 0; d < f->count; d++)
    if (f->label[d] == label) return d;
  return -1;
}

/* Takes axes out whose label is `other` longer than the factor (it is broadcast there): a view. */
static pare_status drop_ones(einsum *e, factor *f) {
  for (int d = f->count - 1; d >= 0; d--) {
    if (f->tensor->shape.dim[d] != 1 || e->dim[f->label[d]] == 1) continue;
    PARE__TRY(pare__call_at(e->call, f->tensor, d, 0, &f->tensor));
    memmove(f->label + d, f->label + d + 1, (size_t)(f->count - d - 1));
    f->count--;
  }
  return PARE_OK;
}

/* Sums the axes that nothing needs; `other` (NULL: none) is the factor it is about to be multiplied with. */
static pare_status sum_alone(einsum *e, factor *f, const factor *other) {
  int axes[PARE_MAX_RANK], naxes = 0, count = 0;
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < f->count; d++) {
    const uint8_t label = f->label[d];
    if (e->needed[label] == 0 && (!other || find(other, label) < 0)) {
      axes[naxes++] = d;
    } else {
      dim[count] = f->tensor->shape.dim[d];
      f->label[count++] = label;
    }
  }
  if (naxes == 0) return PARE_OK;
  pare_tensor *sum;
  PARE__TRY(pare__call_scratch(e->call, f->tensor->dtype, count, dim, &sum));
  PARE__TRY(pare_reduce(f->tensor, PARE_REDUCTION_SUM, axes, naxes, false, sum));
  f->tensor = sum;
  f->count = count;
  return PARE_OK;
}

/* A view of the factor with its axes in the order of `labels`; those it lacks have length 1. */
static pare_status arranged(einsum *e, const factor *f, const uint8_t *labels, int count, pare_tensor **out) {
  pare_tensor *view;
  PARE__TRY(pare__tensor_handle(f->tensor, &view));
  PARE__TRY(pare__call_keep(e->call, view));
  for (int k = 0; k < count; k++) {
    const int d = find(f, labels[k]);
    view->shape.dim[k] = d < 0 ? 1 : f->tensor->shape.dim[d];
    view->shape.stride[k] = d < 0 ? 0 : f->tensor->shape.stride[d];
  }
  view->shape.rank = count;
  view->read_only = true;
  *out = view;
  return PARE_OK;
}

/* The labels of a product: shared ones that stay, summed ones, those of a alone, those of b alone. */
typedef struct plan {
  uint8_t batch[PARE_MAX_RANK], sum[PARE_MAX_RANK], left[PARE_MAX_RANK], right[PARE_MAX_RANK];
  int nbatch, nsum, nleft, nright;
} plan;

static void plan_product(const einsum *e, const factor *a, const factor *b, plan *p) {
  *p = (plan){.nbatch = 0};
  for (int d = 0; d < a->count; d++) {
    const uint8_t label = a->label[d];
    if (find(b, label) < 0)
      p->left[p->nleft++] = label;
    else if (e->needed[label] > 0)
      p->batch[p->nbatch++] = label;
    else
      p->sum[p->nsum++] = label;
  }
  for (int d = 0; d < b->count; d++)
    if (find(a, b->label[d]) < 0) p->right[p->nright++] = b->label[d];
}

static int64_t product_of(const einsum *e, const uint8_t *labels, int count) {
  int64_t product = 1; /* of axes of one tensor: no overflow */
  for (int i = 0; i < count; i++) product *= e->dim[labels[i]];
  return product;
}

/* The factor as [batch, rows, columns]. */
static pare_status as_matrices(einsum *e, const factor *f, const plan *p, const uint8_t *rows, int nrows,
                               const uint8_t *columns, int ncolumns, pare_tensor **out) {
  uint8_t order[3 * PARE_MAX_RANK];
  memcpy(order, p->batch, (size_t)p->nbatch);
  memcpy(order + p->nbatch, rows, (size_t)nrows);
  memcpy(order + p->nbatch + nrows, columns, (size_t)ncolumns);
  PARE__TRY(arranged(e, f, order, p->nbatch + nrows + ncolumns, out));
  const int64_t dim[3] = {product_of(e, p->batch, p->nbatch), product_of(e, rows, nrows),
                          product_of(e, columns, ncolumns)};
  return pare__call_reshaped(e->call, *out, 3, dim, out);
}

/* The same for integers, which have no matrix product: all products, then their sums, modulo 2^bits. */
static pare_status multiply_integers(einsum *e, const factor *a, const factor *b, const plan *p, const factor *made) {
  uint8_t label[2 * PARE_MAX_RANK];
  int64_t dim[PARE_MAX_RANK];
  int axes[PARE_MAX_RANK];
  const int rank = made->count + p->nsum;
  if (rank > PARE_MAX_RANK)
    return pare__call_fail(e->call, PARE_ERR_UNSUPPORTED, "a product of integers on the way would have rank %d", rank);
  memcpy(label, made->label, (size_t)made->count);
  memcpy(label + made->count, p->sum, (size_t)p->nsum);
  for (int d = 0; d < rank; d++) dim[d] = e->dim[label[d]];
  for (int d = 0; d < p->nsum; d++) axes[d] = made->count + d;
  pare_tensor *x, *y, *all;
  PARE__TRY(arranged(e, a, label, rank, &x));
  PARE__TRY(arranged(e, b, label, rank, &y));
  PARE__TRY(pare__call_scratch(e->call, a->tensor->dtype, rank, dim, &all));
  PARE__TRY(pare_binary(PARE_BINARY_mul, x, y, all));
  return pare_reduce(all, PARE_REDUCTION_SUM, axes, p->nsum, false, made->tensor);
}

/* *a = a b, summed over what nothing needs any more. */
static pare_status multiply(einsum *e, factor *a, const factor *b) {
  plan p;
  plan_product(e, a, b, &p);
  factor made = {.count = p.nbatch + p.nleft + p.nright};
  if (made.count > PARE_MAX_RANK)
    return pare__call_fail(e->call, PARE_ERR_UNSUPPORTED, "a product on the way would have rank %d", made.count);
  memcpy(made.label, p.batch, (size_t)p.nbatch);
  memcpy(made.label + p.nbatch, p.left, (size_t)p.nleft);
  memcpy(made.label + p.nbatch + p.nleft, p.right, (size_t)p.nright);
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < made.count; d++) dim[d] = e->dim[made.label[d]];
  PARE__TRY(pare__call_scratch(e->call, a->tensor->dtype, made.count, dim, &made.tensor));
  pare_tensor *x, *y, *product;
  if (p.nsum == 0) {
    PARE__TRY(arranged(e, a, made.label, made.count, &x));
    PARE__TRY(arranged(e, b, made.label, made.count, &y));
    PARE__TRY(pare_binary(PARE_BINARY_mul, x, y, made.tensor));
  } else if (!pare__dtype_is_float(a->tensor->dtype)) {
    PARE__TRY(multiply_integers(e, a, b, &p, &made));
  } else {
    PARE__TRY(as_matrices(e, a, &p, p.left, p.nleft, p.sum, p.nsum, &x));
    PARE__TRY(as_matrices(e, b, &p, p.sum, p.nsum, p.right, p.nright, &y));
    const int64_t matrices[3] = {x->shape.dim[0], x->shape.dim[1], y->shape.dim[2]};
    PARE__TRY(pare__call_reshaped(e->call, made.tensor, 3, matrices, &product));
    PARE__TRY(pare_gemm(x, y, NULL, NULL, product));
  }
  *a = made;
  return PARE_OK;
}

/* The factor of the next term. */
static pare_status take_factor(einsum *e, unsigned i, factor *f) {
  if (i > 0 && !take(e, ","))
    return pare__call_fail(e->call, PARE_ERR_FORMAT, "its equation has fewer terms than the %u inputs",
                           e->call->ninputs);
  *f = (factor){.count = 0};
  if (!pare__call_has(e->call, i)) return pare__call_fail(e->call, PARE_ERR_FORMAT, "input %u is left out", i);
  PARE__TRY(pare__call_tensor(e->call, i, &f->tensor));
  PARE__TRY(parse_term(e, f->tensor->shape.rank, f->label, &f->count));
  if (f->tensor->dtype != e->call->input[0]->dtype)
    return pare__call_fail(e->call, PARE_ERR_TYPE, "input %u is %s; the first one is %s", i,
                           pare_dtype_name(f->tensor->dtype), pare_dtype_name(e->call->input[0]->dtype));
  PARE__TRY(take_diagonals(e, f));
  return note_dims(e, f);
}

static pare_status take_result(einsum *e) {
  if (take(e, "->"))
    PARE__TRY(parse_term(e, -1, e->result.label, &e->result.count));
  else
    PARE__TRY(implied_result(e));
  skip_spaces(e);
  if (e->left > 0)
    return pare__call_fail(e->call, PARE_ERR_FORMAT, "its equation cannot be read from '%.*s' on", (int)e->left,
                           e->text);
  return check_result(e);
}

static pare_status run_einsum(pare__call *call) {
  enum { MOST = 32 };
  PARE__TRY(pare__call_check(call, 1, MOST));
  const pare__onnx_attribute *equation = pare__node_attribute(call->node, "equation");
  if (!equation) return pare__call_fail(call, PARE_ERR_FORMAT, "it has no equation");
  einsum e = {.call = call, .text = equation->s.data, .left = equation->s.nbytes};
  for (int i = 0; i < LABELS; i++) e.dim[i] = 1;
  factor terms[MOST];
  for (unsigned i = 0; i < call->ninputs; i++) PARE__TRY(take_factor(&e, i, &terms[i]));
  PARE__TRY(take_result(&e));
  for (unsigned i = 0; i < call->ninputs; i++) {
    PARE__TRY(drop_ones(&e, &terms[i]));
    for (int d = 0; d < terms[i].count; d++) e.needed[terms[i].label[d]]++;
  }
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < e.result.count; d++) {
    e.needed[e.result.label[d]]++;
    dim[d] = e.dim[e.result.label[d]];
  }
  pare_tensor *out, *arranged_product;
  for (unsigned i = 0; i < call->ninputs; i++) {
    for (int d = 0; d < terms[i].count; d++) e.needed[terms[i].label[d]]--;
    PARE__TRY(sum_alone(&e, &terms[i], i > 0 ? &terms[0] : NULL));
    if (i == 0) continue;
    PARE__TRY(sum_alone(&e, &terms[0], &terms[i]));
    PARE__TRY(multiply(&e, &terms[0], &terms[i]));
  }
  PARE__TRY(arranged(&e, &terms[0], e.result.label, e.result.count, &arranged_product));
  PARE__TRY(pare__call_output(call, 0, call->input[0]->dtype, e.result.count, dim, &out));
  return pare_cast(arranged_product, out);
}

const pare__operator pare__operators_einsum[] = {
    {"", "Einsum", 12, 0, PARE__ON_DEVICE, run_einsum, NULL, .types = "numbers"},
    {0},
};
