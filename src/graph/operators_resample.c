/* Resize, Upsample. SPDX-License-Identifier: Apache-2.0
 *
 * Axis by axis: nearest gathers, the others interpolate with tables that the host makes, one row for each element of
 * the new axis. */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/resample.h>
#include <stdlib.h>
#include <string.h>

#include "graph/operator_tables.h"
#include "graph/resize.h"

/* What a node asks for. */
typedef struct request {
  pare__resize how;
  double outside;
  int rank;
  pare__resize_axis axis[PARE_MAX_RANK];
  bool changed[PARE_MAX_RANK];
} request;

/* ---- attributes ---- */

static pare_status read_mode(const pare__call *call, request *out) {
  static const struct {
    const char *name;
    pare__resize_mode mode;
  } modes[] = {{"nearest", PARE__RESIZE_NEAREST},
               {"linear", PARE__RESIZE_LINEAR},
               {"bilinear", PARE__RESIZE_LINEAR},
               {"trilinear", PARE__RESIZE_LINEAR},
               {"cubic", PARE__RESIZE_CUBIC}};
  for (unsigned i = 0; i < PARE__COUNT(modes); i++)
    if (pare__call_text_is(call, "mode", "nearest", modes[i].name)) {
      out->how.mode = modes[i].mode;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "its mode is none of nearest, linear and cubic");
}

static pare_status read_place(const pare__call *call, request *out) {
  static const char *const names[PARE__NPLACES] = {"half_pixel",          "half_pixel_symmetric", "pytorch_half_pixel",
                                                   "align_corners",       "asymmetric",           "tf_crop_and_resize",
                                                   "tf_half_pixel_for_nn"};
  const char *otherwise = call->node->opset < 11 || call->node->op->detail ? "asymmetric" : "half_pixel";
  for (int i = 0; i < PARE__NPLACES; i++)
    if (pare__call_text_is(call, "coordinate_transformation_mode", otherwise, names[i])) {
      out->how.place = (pare__resize_place)i;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "pare does not know its coordinate_transformation_mode");
}

static pare_status read_rounding(const pare__call *call, request *out) {
  static const char *const names[PARE__NROUNDINGS] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  const char *otherwise = call->node->opset < 11 || call->node->op->detail ? "floor" : "round_prefer_floor";
  for (int i = 0; i < PARE__NROUNDINGS; i++)
    if (pare__call_text_is(call, "nearest_mode", otherwise, names[i])) {
      out->how.rounding = (pare__resize_rounding)i;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "pare does not know its nearest_mode");
}

static pare_status read_attributes(const pare__call *call, const pare__shape *x, request *out) {
  memset(out, 0, sizeof *out);
  PARE__TRY(read_mode(call, out));
  PARE__TRY(read_place(call, out));
  PARE__TRY(read_rounding(call, out));
  out->how.antialias = pare__call_get_int(call, "antialias", 0) != 0;
  out->how.exclude_outside = pare__call_get_int(call, "exclude_outside", 0) != 0;
  out->how.cubic_a = pare__call_get_float(call, "cubic_coeff_a", -0.75);
  out->outside = pare__call_get_float(call, "extrapolation_value", 0);
  out->rank = x->rank;
  for (int d = 0; d < x->rank; d++) out->axis[d] = (pare__resize_axis){x->dim[d], x->dim[d], 1, 0, 1};
  return PARE_OK;
}

/* ---- sizes ---- */

/* The axes that scales, sizes and regions speak of. */
static pare_status read_axes(const pare__call *call, int rank, int *axes, int *count) {
  int64_t given[PARE_MAX_RANK];
  size_t ngiven;
  PARE__TRY(pare__call_get_ints(call, "axes", given, PARE_MAX_RANK, &ngiven));
  *count = ngiven ? (int)ngiven : rank;
  for (int d = 0; d < *count; d++) {
    if (!ngiven)
      axes[d] = d;
    else
      PARE__TRY(pare__call_axis(call, given[d], rank, &axes[d]));
  }
  return PARE_OK;
}

/* The numbers of an optional input that may also be empty. */
static pare_status read_numbers(pare__call *call, unsigned i, int expected, double *out, bool *given) {
  const pare__content *content;
  *given = false;
  if (!pare__call_has(call, i)) return PARE_OK;
  PARE__TRY(pare__call_content(call, i, &content));
  if (content->count == 0) return PARE_OK;
  if (content->count != (size_t)expected)
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u has %zu entries; it needs %d", i, content->count, expected);
  for (int d = 0; d < expected; d++) out[d] = pare__content_number(content, (size_t)d);
  *given = true;
  return PARE_OK;
}

static pare_status set_made(const pare__call *call, request *r, int d, double made) {
  if (!(made >= 0 && made < (double)INT32_MAX))
    return pare__call_fail(call, PARE_ERR_SHAPE, "axis %d would be %g long", d, made);
  r->axis[d].made = (int64_t)made;
  if (r->axis[d].length == 0 && made > 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "axis %d has no elements to resize", d);
  return PARE_OK;
}

static pare_status apply_scales(const pare__call *call, const double *scale, const int *axes, int count, request *r) {
  for (int i = 0; i < count; i++) {
    pare__resize_axis *axis = &r->axis[axes[i]];
    if (!(scale[i] > 0) || !isfinite(scale[i]))
      return pare__call_fail(call, PARE_ERR_ARGUMENT, "its scale of axis %d is %g; it must be positive", axes[i],
                             scale[i]);
    axis->scale = (float)scale[i];
    PARE__TRY(set_made(call, r, axes[i], floor((double)(axis->scale * (float)axis->length))));
    r->changed[axes[i]] = r->changed[axes[i]] || axis->scale != 1;
  }
  return PARE_OK;
}

static pare_status apply_sizes(const pare__call *call, const double *size, const int *axes, int count, request *r) {
  const bool larger = pare__call_text_is(call, "keep_aspect_ratio_policy", "stretch", "not_smaller");
  const bool smaller = pare__call_text_is(call, "keep_aspect_ratio_policy", "stretch", "not_larger");
  double common = smaller ? INFINITY : 0;
  for (int i = 0; i < count; i++) {
    const double ratio = size[i] / (double)PARE__MAX(r->axis[axes[i]].length, 1);
    common = smaller ? PARE__MIN(common, ratio) : PARE__MAX(common, ratio);
  }
  for (int i = 0; i < count; i++) {
    pare__resize_axis *axis = &r->axis[axes[i]];
    const bool kept = larger || smaller;
    PARE__TRY(set_made(call, r, axes[i], kept ? floor(common * (double)axis->length + 0.5) : size[i]));
    axis->scale = (float)(kept ? common : size[i] / (double)PARE__MAX(axis->length, 1));
    r->changed[axes[i]] = r->changed[axes[i]] || axis->made != axis->length;
  }
  return PARE_OK;
}

static pare_status read_sizes(pare__call *call, request *r) {
  const int opset = (int)call->node->opset;
  const bool upsample = call->node->op->detail, regions = !upsample && opset >= 11;
  double numbers[2 * PARE_MAX_RANK];
  int axes[PARE_MAX_RANK], count;
  size_t nscales = 0;
  bool given = false;
  PARE__TRY(read_axes(call, r->rank, axes, &count));
  if (regions && r->how.place == PARE__PLACE_CROP_AND_RESIZE) {
    PARE__TRY(read_numbers(call, 1, 2 * count, numbers, &given));
    for (int i = 0; given && i < count; i++) {
      r->axis[axes[i]].start = numbers[i];
      r->axis[axes[i]].end = numbers[count + i];
      r->changed[axes[i]] = numbers[i] != 0 || numbers[count + i] != 1;
    }
  }
  if (upsample && opset < 9) {
    PARE__TRY(pare__call_get_floats(call, "scales", numbers, PARE_MAX_RANK, &nscales));
    given = nscales == (size_t)count;
  } else {
    PARE__TRY(read_numbers(call, regions ? 2 : 1, count, numbers, &given));
  }
  if (given) return apply_scales(call, numbers, axes, count, r);
  if (regions) PARE__TRY(read_numbers(call, 3, count, numbers, &given));
  if (given) return apply_sizes(call, numbers, axes, count, r);
  return pare__call_fail(call, PARE_ERR_FORMAT, "it has neither scales nor sizes, or not %d of them", count);
}

/* ---- one axis after the other ---- */

typedef struct tables {
  pare_tensor *indices, *weights; /* of the call */
} tables;

/* dtype of the indices: i64 without weights for a gather, else i32. */
static pare_status make_tables(pare__call *call, const request *r, int d, bool gather, pare_dtype dtype, tables *out) {
  const pare__resize_axis *axis = &r->axis[d];
  int64_t taps, count;
  PARE__TRY(pare__resize_taps(&r->how, axis, &taps));
  if (!pare__i64_mul(taps, axis->made, &count) || count > INT32_MAX)
    return pare__call_fail(call, PARE_ERR_LIMIT, "axis %d of %lld elements from %lld each", d, (long long)axis->made,
                           (long long)taps);
  int32_t *indices = malloc((size_t)(count + 1) * sizeof *indices);
  float *weights = malloc((size_t)(count + 1) * sizeof *weights);
  const int64_t dim[] = {axis->made, taps};
  pare_status status = indices && weights ? PARE_OK : pare__fail_memory("tables of an axis", (size_t)count);
  if (status == PARE_OK) pare__resize_tables(&r->how, axis, taps, indices, weights);
  if (status == PARE_OK) status = pare__call_constant(call, PARE_I32, gather ? 1 : 2, dim, indices, &out->indices);
  if (status == PARE_OK && !gather) status = pare__call_constant(call, PARE_F32, 2, dim, weights, &out->weights);
  if (status == PARE_OK && !gather) status = pare__call_cast(call, out->weights, dtype, &out->weights);
  free(indices);
  free(weights);
  return status;
}

/* The axes to be changed, those that shrink most first: the rest is then less work. */
static int order_axes(const request *r, int *order) {
  int count = 0;
  for (int d = 0; d < r->rank; d++)
    if (r->changed[d]) order[count++] = d;
  for (int i = 1; i < count; i++)
    for (int k = i; k > 0; k--) {
      const pare__resize_axis *a = &r->axis[order[k - 1]], *b = &r->axis[order[k]];
      if ((double)a->made * (double)b->length <= (double)b->made * (double)a->length) break;
      const int moved = order[k];
      order[k] = order[k - 1];
      order[k - 1] = moved;
    }
  return count;
}

static pare_status resize_axes(pare__call *call, const request *r, pare_tensor *x, bool gather, pare_tensor *y) {
  int order[PARE_MAX_RANK];
  int64_t dim[PARE_MAX_RANK];
  const int count = order_axes(r, order);
  const pare_dtype sums = y->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  memcpy(dim, x->shape.dim, sizeof dim);
  for (int i = 0; i < count; i++) {
    tables t = {0};
    pare_tensor *next = y;
    dim[order[i]] = r->axis[order[i]].made;
    PARE__TRY(make_tables(call, r, order[i], gather, sums, &t));
    if (i + 1 < count) PARE__TRY(pare__call_scratch(call, gather ? x->dtype : sums, r->rank, dim, &next));
    if (gather)
      PARE__TRY(pare_gather(x, t.indices, order[i], next));
    else
      PARE__TRY(pare_interpolate(x, order[i], t.indices, t.weights, r->outside, next));
    x = next;
  }
  return PARE_OK;
}

static pare_status resize(pare__call *call) {
  pare_tensor *x, *y, *work;
  request r;
  int64_t dim[PARE_MAX_RANK];
  bool any = false;
  PARE__TRY(pare__call_check(call, 1, 4));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(read_attributes(call, &x->shape, &r));
  PARE__TRY(read_sizes(call, &r));
  for (int d = 0; d < r.rank; d++) {
    dim[d] = r.axis[d].made;
    any = any || r.changed[d];
  }
  if (!any) return pare__call_pass(call, 0, 0);
  const bool gather = r.how.mode == PARE__RESIZE_NEAREST && r.how.place != PARE__PLACE_CROP_AND_RESIZE;
  const bool is_float = pare__dtype_is_float(x->dtype);
  PARE__TRY(pare__call_output(call, 0, x->dtype, r.rank, dim, &y));
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  if (gather || is_float) return resize_axes(call, &r, x, gather, y);
  /* Integers are interpolated as floats and truncated. */
  PARE__TRY(pare__call_cast(call, x, PARE_F32, &x));
  PARE__TRY(pare__call_scratch(call, PARE_F32, r.rank, dim, &work));
  PARE__TRY(resize_axes(call, &r, x, false, work));
  return pare_cast(work, y);
}

const pare__operator pare__operators_resample[] = {
    {"", "Resize", 10, 0, PARE__ON_DEVICE, resize, NULL, NULL, 0, "any"},
    {"", "Upsample", 7, 9, PARE__ON_DEVICE, resize, NULL, NULL, 1, "any"},
    {0},
};
