/* Projection: the closest tensor of a sparse set, a grid, or both. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/project.h>
#include <pare/random.h>
#include <string.h>

#include "op/grid.h"
#include "op/op.h"

/* What a projection holds while it is computed: f32, w's shape, but for mask and codes. */
typedef struct projection {
  const pare_set *set;
  pare_tensor *w, *scale, *zero; /* the caller's; w as f32 */
  pare_tensor *importance;       /* broadcast to w, or NULL */
  pare_tensor *mask, *codes, *kept, *nearest, *scores, *two;
} projection;

static pare_status scratch(const pare_tensor *like, pare_dtype dtype, pare_tensor **out) {
  return pare__tensor_scratch(like->context, dtype, like->shape.rank, like->shape.dim, "a projection", out);
}

static pare_status select_mask(const pare_set *set, pare_tensor *scores, bool by_magnitude, pare_tensor *mask) {
  switch (set->sparsity) {
  case PARE_SPARSITY_K: return pare_mask_largest(scores, by_magnitude, set->k, mask);
  case PARE_SPARSITY_K_ROW: return pare_mask_largest_rows(scores, by_magnitude, set->axis, set->k, mask);
  case PARE_SPARSITY_N_OF_M: return pare_mask_n_of_m(scores, by_magnitude, set->axis, set->n, set->m, mask);
  default: return pare_random_bernoulli(0, 0, 1, mask); /* all */
  }
}

/* The mask of w without a grid: what costs most to leave out, importance w^2. */
static pare_status mask_of_values(projection *p) {
  if (!p->importance) return select_mask(p->set, p->w, true, p->mask);
  PARE__TRY(pare_binary(PARE_BINARY_mul, p->w, p->w, p->scores));
  PARE__TRY(pare_binary(PARE_BINARY_mul, p->scores, p->importance, p->scores));
  return select_mask(p->set, p->scores, false, p->mask);
}

static pare_status round_to_grid(projection *p) {
  PARE__TRY(pare_grid_quantize(p->set->grid, p->w, p->scale, p->zero, p->codes));
  return pare_grid_dequantize(p->set->grid, p->codes, p->scale, p->zero, p->nearest);
}

/* The mask on the grid: what gains most, importance (w^2 - (w - nearest)^2) = importance nearest (2 w - nearest). */
static pare_status mask_of_gains(projection *p) {
  if (p->set->sparsity == PARE_SPARSITY_NONE) return select_mask(p->set, p->w, true, p->mask);
  PARE__TRY(pare_binary(PARE_BINARY_mul, p->w, p->two, p->scores));
  PARE__TRY(pare_binary(PARE_BINARY_sub, p->scores, p->nearest, p->scores));
  PARE__TRY(pare_binary(PARE_BINARY_mul, p->scores, p->nearest, p->scores));
  if (p->importance) PARE__TRY(pare_binary(PARE_BINARY_mul, p->scores, p->importance, p->scores));
  return select_mask(p->set, p->scores, false, p->mask);
}

static pare_status fit_and_round(projection *p) {
  const int rounds = p->set->sparsity == PARE_SPARSITY_NONE ? 1 : 3;
  if (rounds > 1) PARE__TRY(mask_of_values(p));
  for (int round = 0; round < rounds; round++) {
    if (rounds > 1) PARE__TRY(pare_mask_apply(p->w, p->mask, p->kept));
    PARE__TRY(pare_grid_fit(p->set->grid, p->set->fit, rounds > 1 ? p->kept : p->w, p->importance, p->scale, p->zero));
    PARE__TRY(round_to_grid(p));
    PARE__TRY(mask_of_gains(p));
  }
  return PARE_OK;
}

/* result = the closest element, f32. */
static pare_status project(projection *p, pare_tensor *result) {
  if (!p->set->grid) {
    PARE__TRY(mask_of_values(p));
    return pare_mask_apply(p->w, p->mask, result);
  }
  if (p->set->fit) {
    PARE__TRY(fit_and_round(p));
  } else {
    PARE__TRY(round_to_grid(p));
    PARE__TRY(mask_of_gains(p));
  }
  return pare_mask_apply(p->nearest, p->mask, result);
}

static pare_status check_set(const char *function, const pare_set *set, pare_tensor *w, pare_tensor *scale,
                             pare_tensor *zero) {
  int axis;
  if ((unsigned)set->sparsity > PARE_SPARSITY_N_OF_M)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: sparsity %d is none", function, (int)set->sparsity);
  if (!set->grid) {
    if (!set->fit && !scale && !zero) return PARE_OK;
    return pare__fail(PARE_ERR_ARGUMENT, "%s: fit, scale and zero are about a grid, and the set has none", function);
  }
  PARE__TRY(pare__grid_check(function, set->grid, w, &axis));
  if (!scale) return pare__fail_null(function, "scale");
  return pare__grid_check_parameters(function, set->grid, w, scale, zero, PARE_NDTYPES);
}

static pare_status begin(projection *p, pare_tensor *w, pare_tensor *mask) {
  static const float two = 2;
  const pare_dtype codes = p->zero ? p->zero->dtype : PARE_I8;
  if (w->dtype == PARE_F32) {
    PARE__TRY(pare__tensor_handle(w, &p->w));
  } else {
    PARE__TRY(scratch(w, PARE_F32, &p->w));
    PARE__TRY(pare_cast(w, p->w));
  }
  if (mask)
    PARE__TRY(pare__tensor_handle(mask, &p->mask));
  else
    PARE__TRY(scratch(w, PARE_BOOL, &p->mask));
  PARE__TRY(scratch(w, PARE_F32, &p->scores));
  if (!p->set->grid) return PARE_OK;
  PARE__TRY(scratch(w, codes, &p->codes));
  PARE__TRY(scratch(w, PARE_F32, &p->nearest));
  if (p->set->fit) PARE__TRY(scratch(w, PARE_F32, &p->kept));
  return pare_tensor_from(w->context, PARE_F32, 0, NULL, &two, sizeof two, &p->two);
}

pare_status pare_project(const pare_set *set, pare_tensor *w, pare_tensor *importance, pare_tensor *out,
                         pare_tensor *mask, pare_tensor *scale, pare_tensor *zero) {
  const char *function = "pare_project";
  if (!set) return pare__fail_null(function, "set");
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(w), PARE__OPTIONAL(importance), PARE__OPTIONAL(scale),
                             PARE__OPTIONAL(zero)));
  if (mask) PARE__TRY(pare__check_output(function, "mask", mask, w));
  PARE__TRY(pare__check_dtype(function, "w", w, PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_same_dtype(function, "w", w, "out", out));
  PARE__TRY(pare__check_shape(function, "out", out, w->shape.rank, w->shape.dim));
  if (mask) PARE__TRY(pare__check_dtype(function, "mask", mask, PARE__DTYPE(PARE_BOOL)));
  if (mask) PARE__TRY(pare__check_shape(function, "mask", mask, w->shape.rank, w->shape.dim));
  PARE__TRY(check_set(function, set, w, scale, zero));
  projection p = {.set = set, .scale = scale, .zero = zero};
  pare_tensor *result = NULL;
  pare_status status = pare__grid_check_importance(function, importance, w, &p.importance);
  if (status == PARE_OK) status = begin(&p, w, mask);
  if (status == PARE_OK)
    status = out->dtype == PARE_F32 ? pare__tensor_handle(out, &result) : scratch(out, PARE_F32, &result);
  if (status == PARE_OK) status = project(&p, result);
  if (status == PARE_OK && out->dtype != PARE_F32) status = pare_cast(result, out);
  pare_tensor *const held[] = {p.importance, p.w, p.mask, p.codes, p.kept, p.nearest, p.scores, p.two, result};
  for (size_t i = 0; i < PARE__COUNT(held); i++) pare_tensor_close(held[i]);
  return status;
}
