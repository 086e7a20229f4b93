/* Transposed convolution. SPDX-License-Identifier: Apache-2.0
 *
 * y[o] = sum over i and k with i stride + k dilation - pad = o of x[i] w[k]. For all o with the same residue r of
 * (o + pad) modulo stride the same k take part: those with k dilation = r modulo stride. They follow each other in
 * steps of stride / gcd, so that these o are a plain convolution of x with every such tap, turned around, and written
 * to every stride-th place of y. Nothing is multiplied by zeros. */
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

#include "graph/operator_tables.h"
#include "graph/operators_window.h"

/* Taps of one dimension that share a residue. */
typedef struct phase {
  int64_t residue, first, step, count; /* taps first, first + step, … */
  int64_t dilation;                    /* of the convolution over x */
} phase;

/* The weights of one combination of residues. */
typedef struct part {
  phase phase[PARE_CONVOLUTION_RANK];
  pare_convolution_weights *weights;
} part;

typedef struct parts {
  size_t count;
  bool complete; /* every element of y belongs to a part */
  part *part;
} parts;

static void close_parts(void *prepared) {
  parts *all = prepared;
  if (!all) return;
  for (size_t i = 0; all->part && i < all->count; i++) pare_convolution_weights_close(all->part[i].weights);
  free(all->part);
  free(all);
}

static int64_t gcd(int64_t a, int64_t b) { return b == 0 ? a : gcd(b, a % b); }

/* The residue of tap `first`, if no tap before it has that residue. */
static bool phase_at(const pare__window_plan *plan, int d, int64_t first, phase *out) {
  const int64_t common = gcd(plan->stride[d], plan->dilation[d]), step = plan->stride[d] / common;
  if (first >= step || first >= plan->kernel[d]) return false;
  *out = (phase){first * plan->dilation[d] % plan->stride[d], first, step, (plan->kernel[d] - first - 1) / step + 1,
                 plan->dilation[d] / common};
  return true;
}

static int64_t phases_along(const pare__window_plan *plan, int d) {
  return PARE__MIN(plan->kernel[d], plan->stride[d] / gcd(plan->stride[d], plan->dilation[d]));
}

/* [C, O / g, k…] with the taps of the phases, turned around, as weights [O, C / g, k…] of a convolution. */
static pare_status turn_weights(pare_tensor *w, int64_t groups, int rank, const phase *phases, pare_tensor **out) {
  const int64_t *dim = w->shape.dim;
  int64_t split[] = {groups, dim[0] / groups, dim[1], 1};
  int64_t joined[PARE_MAX_RANK] = {groups * dim[1], dim[0] / groups};
  pare_tensor *view = NULL, *next = NULL, *turned = NULL, *compact = NULL;
  pare_status status = pare__contiguous(w, &view);
  for (int d = 0; status == PARE_OK && d < rank; d++) {
    const phase *p = &phases[d];
    status = pare_tensor_slice(view, 2 + d, p->first + (p->count - 1) * p->step, p->count, -p->step, &next);
    pare_tensor_close(view);
    view = next;
    next = NULL;
    joined[2 + d] = p->count;
    split[3] *= p->count;
  }
  if (status == PARE_OK) status = pare__contiguous(view, &compact);
  if (status == PARE_OK) status = pare_tensor_reshape(compact, 4, split, &next);
  if (status == PARE_OK) status = pare_tensor_permute(next, (const int[]){0, 2, 1, 3}, &turned);
  pare_tensor_close(compact);
  compact = NULL;
  if (status == PARE_OK) status = pare__contiguous(turned, &compact);
  if (status == PARE_OK) status = pare_tensor_reshape(compact, 2 + rank, joined, out);
  pare_tensor_close(compact);
  pare_tensor_close(turned);
  pare_tensor_close(next);
  pare_tensor_close(view);
  return status;
}

static pare_status pack_part(pare_tensor *w, int64_t groups, int rank, part *out) {
  pare_convolution_options options = PARE_CONVOLUTION_OPTIONS_INIT;
  options.groups = groups;
  for (int d = 0; d < rank; d++) options.dilation[d] = out->phase[d].dilation;
  pare_tensor *turned = NULL;
  pare_status status = turn_weights(w, groups, rank, out->phase, &turned);
  if (status == PARE_OK) status = pare_convolution_weights_pack(turned, &options, &out->weights);
  pare_tensor_close(turned);
  return status;
}

static pare_status make_parts(pare_tensor *w, const pare__window_plan *plan, int64_t groups, parts **out) {
  int64_t along[PARE_CONVOLUTION_RANK], total = 1;
  parts *all = calloc(1, sizeof *all);
  if (!all) return pare__fail_memory("the phases of a transposed convolution", sizeof *all);
  all->complete = true;
  for (int d = 0; d < plan->rank; d++) {
    along[d] = phases_along(plan, d);
    all->complete = all->complete && along[d] == plan->stride[d];
    total *= along[d]; /* at most as many as weights */
  }
  all->part = calloc((size_t)total + 1, sizeof *all->part);
  all->count = all->part ? (size_t)total : 0;
  pare_status status = all->part ? PARE_OK : pare__fail_memory("the phases of a transposed convolution", (size_t)total);
  for (size_t i = 0; status == PARE_OK && i < all->count; i++) {
    size_t rest = i;
    for (int d = 0; d < plan->rank; d++) {
      phase_at(plan, d, (int64_t)(rest % (size_t)along[d]), &all->part[i].phase[d]);
      rest /= (size_t)along[d];
    }
    status = pack_part(w, groups, plan->rank, &all->part[i]);
  }
  if (status != PARE_OK) {
    close_parts(all);
    return status;
  }
  *out = all;
  return PARE_OK;
}

static pare_status read_plan(const pare__call *call, const pare_tensor *w, pare__window_plan *plan, int64_t *groups) {
  char text[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_window(call, w->shape.rank, w->shape.dim + 2, plan));
  *groups = pare__call_get_int(call, "group", 1);
  if (*groups >= 1 && *groups <= INT32_MAX && w->shape.dim[0] % *groups == 0) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "%lld groups do not divide weights of shape %s", (long long)*groups,
                         pare__shape_text(w->shape.rank, w->shape.dim, text, sizeof text));
}

static pare_status prepare_transposed(pare__call *call, pare__node *node) {
  pare__window_plan plan;
  int64_t groups;
  pare_tensor *w;
  parts *all;
  if (!pare__call_has(call, 1)) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, 1, &w));
  PARE__TRY(read_plan(call, w, &plan, &groups));
  PARE__TRY(make_parts(w, &plan, groups, &all));
  node->prepared = all;
  node->prepared_close = close_parts;
  return PARE_OK;
}

/* The shape of y, and the pads where output_shape or auto_pad decide them. */
static pare_status size_result(const pare__call *call, const pare_tensor *x, pare__window_plan *plan, int64_t *y) {
  int64_t extra[PARE_CONVOLUTION_RANK], wanted[2 + PARE_CONVOLUTION_RANK];
  size_t nwanted;
  PARE__TRY(pare__call_per_dimension(call, "output_padding", plan->rank, 0, extra));
  PARE__TRY(pare__call_get_ints(call, "output_shape", wanted, PARE__COUNT(wanted), &nwanted));
  if (nwanted != 0 && nwanted != (size_t)plan->rank && nwanted != (size_t)plan->rank + 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "output_shape has %zu entries; it needs %d", nwanted, plan->rank);
  const int64_t *lengths = wanted + (nwanted > (size_t)plan->rank ? 2 : 0);
  const bool same = plan->auto_pad == PARE__PAD_SAME_UPPER || plan->auto_pad == PARE__PAD_SAME_LOWER;
  for (int d = 0; d < plan->rank; d++) {
    const int64_t reach = (plan->kernel[d] - 1) * plan->dilation[d] + 1;
    int64_t full;
    if (extra[d] < 0 || extra[d] > INT32_MAX || !pare__i64_mul(x->shape.dim[2 + d] - 1, plan->stride[d], &full) ||
        full > INT32_MAX)
      return pare__call_fail(call, PARE_ERR_SHAPE, "dimension %d of %lld, stride %lld, output padding %lld: too long",
                             d, (long long)x->shape.dim[2 + d], (long long)plan->stride[d], (long long)extra[d]);
    full += reach + extra[d];
    if (nwanted == 0 && !same) {
      y[d] = full - plan->before[d] - plan->after[d];
    } else {
      y[d] = nwanted ? lengths[d] : x->shape.dim[2 + d] * plan->stride[d];
      const int64_t total = PARE__MAX(full - y[d], 0);
      plan->before[d] = plan->auto_pad == PARE__PAD_SAME_UPPER ? total / 2 : total - total / 2;
    }
    if (y[d] < 0 || y[d] > INT32_MAX)
      return pare__call_fail(call, PARE_ERR_SHAPE, "dimension %d of its result would be %lld long", d, (long long)y[d]);
  }
  return PARE_OK;
}

static int64_t modulo(int64_t a, int64_t b) { return (a % b + b) % b; }

/* Writes the elements of y that belong to one part. */
static pare_status run_part(const pare__window_plan *plan, int64_t groups, const part *p, pare_tensor *x,
                            pare_tensor *bias, pare_tensor *y) {
  pare_convolution_options options = PARE_CONVOLUTION_OPTIONS_INIT;
  options.groups = groups;
  pare_tensor *view = NULL, *next = NULL;
  pare_status status = pare_tensor_reshape(y, y->shape.rank, y->shape.dim, &view);
  for (int d = 0; status == PARE_OK && d < plan->rank; d++) {
    const phase *along = &p->phase[d];
    const int64_t stride = plan->stride[d], first = modulo(along->residue - plan->before[d], stride);
    const int64_t length = y->shape.dim[2 + d], count = first < length ? (length - first - 1) / stride + 1 : 0;
    const int64_t base = (first + plan->before[d] - along->first * plan->dilation[d]) / stride;
    options.dilation[d] = along->dilation;
    options.pad[d] = (along->count - 1) * along->dilation - base;
    status = pare_tensor_slice(view, 2 + d, count ? first : 0, count, stride, &next);
    pare_tensor_close(view);
    view = next;
    next = NULL;
  }
  if (status == PARE_OK) status = pare_convolve(x, p->weights, bias, NULL, &options, view);
  pare_tensor_close(view);
  return status;
}

/* Elements of y that no tap reaches are the bias, or zero. */
static pare_status fill(pare__call *call, pare_tensor *bias, pare_tensor *y) {
  static const double zero;
  pare_tensor *value;
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < y->shape.rank; d++) dim[d] = d == 1 && bias ? y->shape.dim[1] : 1;
  if (bias)
    PARE__TRY(pare__call_reshaped(call, bias, y->shape.rank, dim, &value));
  else
    PARE__TRY(pare__call_constant(call, y->dtype, y->shape.rank, dim, &zero, &value));
  return pare_copy(value, y);
}

/* com.microsoft ConvTransposeWithDynamicPads: pads are input 2, those before each dimension, then those after. */
static pare_status read_pads(pare__call *call, pare__window_plan *plan) {
  int64_t pads[2 * PARE_CONVOLUTION_RANK];
  size_t count;
  if (!pare__call_has(call, 2)) return PARE_OK;
  PARE__TRY(pare__call_ints(call, 2, pads, PARE__COUNT(pads), &count));
  bool fits = count == 2 * (size_t)plan->rank;
  for (size_t i = 0; i < count && fits; i++) fits = pads[i] >= 0 && pads[i] <= INT32_MAX;
  if (!fits)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its pads are %zu numbers; %d that are not negative are needed", count,
                           2 * plan->rank);
  for (int d = 0; d < plan->rank; d++) {
    plan->before[d] = pads[d];
    plan->after[d] = pads[plan->rank + d];
  }
  return PARE_OK;
}

/* detail: pads are input 2, and the bias is input 3. */
static pare_status conv_transpose(pare__call *call) {
  const bool has_pads = call->node->op->detail != 0;
  pare_tensor *x, *w, *bias, *y;
  pare__window_plan plan;
  int64_t groups, dim[PARE_MAX_RANK];
  char x_text[PARE__SHAPE_TEXT], w_text[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_check(call, 2, has_pads ? 4 : 3));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &w));
  PARE__TRY(pare__call_tensor(call, has_pads ? 3 : 2, &bias));
  PARE__TRY(read_plan(call, w, &plan, &groups));
  if (has_pads) PARE__TRY(read_pads(call, &plan));
  if (x->shape.rank != w->shape.rank || x->shape.dim[1] != w->shape.dim[0])
    return pare__call_fail(call, PARE_ERR_SHAPE, "x has shape %s, the weights %s: the channels differ",
                           pare__shape_text(x->shape.rank, x->shape.dim, x_text, sizeof x_text),
                           pare__shape_text(w->shape.rank, w->shape.dim, w_text, sizeof w_text));
  dim[0] = x->shape.dim[0];
  dim[1] = w->shape.dim[1] * groups;
  PARE__TRY(size_result(call, x, &plan, dim + 2));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &y));
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  parts *all = call->node->prepared, *made = NULL;
  if (!all) {
    PARE__TRY(make_parts(w, &plan, groups, &made));
    all = made;
  }
  pare_status status = all->complete ? PARE_OK : fill(call, bias, y);
  for (size_t i = 0; status == PARE_OK && i < all->count; i++)
    status = run_part(&plan, groups, &all->part[i], x, bias, y);
  close_parts(made);
  return status;
}

const pare__operator pare__operators_transposed[] = {
    {"", "ConvTranspose", 1, 0, PARE__ON_DEVICE, conv_transpose, NULL, prepare_transposed, 0, "floats"},
    {"com.microsoft", "ConvTransposeWithDynamicPads", 1, 0, PARE__ON_DEVICE, conv_transpose, NULL, prepare_transposed,
     1, "floats"},
    {0},
};
