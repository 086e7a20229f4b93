/* Arithmetic on the host: the references of the elementwise family. SPDX-License-Identifier: Apache-2.0 */
#include "graph/host.h"

pare_status pare__host_broadcast(const pare__content *const *inputs, int ninputs, pare__shape *out) {
  *out = inputs[0]->shape;
  for (int i = 1; i < ninputs; i++) {
    pare__shape both;
    PARE__TRY(pare__shape_broadcast(out, &inputs[i]->shape, &both));
    *out = both;
  }
  return PARE_OK;
}

size_t pare__host_index(const pare__content *content, const pare__shape *shape, size_t index) {
  size_t at = 0, step = 1, rest = index;
  const int missing = shape->rank - content->shape.rank;
  for (int d = shape->rank - 1; d >= missing; d--) {
    const size_t length = (size_t)shape->dim[d], own = (size_t)content->shape.dim[d - missing];
    if (own != 1) at += rest % length * step;
    step *= own;
    rest /= length;
  }
  return at;
}

/* Does the operation take these dtypes? */
static pare_status check_dtypes(const pare__elementwise *operation, int mode, const pare__content *const *inputs) {
  const int first = mode == PARE__TERNARY + PARE_TERNARY_where ? 1 : 0;
  bool fits = operation->dtypes >> inputs[first]->dtype & 1U;
  for (int t = first + 1; t < operation->arity; t++) fits = fits && inputs[t]->dtype == inputs[first]->dtype;
  if (first == 1) fits = fits && inputs[0]->dtype == PARE_BOOL;
  if (fits) return PARE_OK;
  return pare__fail(PARE_ERR_TYPE, "%s does not take %s%s%s%s%s", operation->name, pare_dtype_name(inputs[0]->dtype),
                    operation->arity > 1 ? ", " : "", operation->arity > 1 ? pare_dtype_name(inputs[1]->dtype) : "",
                    operation->arity > 2 ? ", " : "", operation->arity > 2 ? pare_dtype_name(inputs[2]->dtype) : "");
}

static void cast_element(const pare__content *from, size_t at, pare_dtype to, void *data, size_t index) {
  if (pare__dtype_is_float(from->dtype)) {
    pare__store(to, data, index, pare__content_number(from, at));
  } else if (pare__dtype_is_float(to)) {
    const int64_t value = pare__content_int(from, at);
    const bool natural = from->dtype == PARE_U64;
    if (to == PARE_F32)
      ((float *)data)[index] = natural ? (float)(uint64_t)value : (float)value;
    else
      pare__store(to, data, index, natural ? (double)(uint64_t)value : (double)value);
  } else {
    pare__store_integer(to, data, index, pare__content_int(from, at));
  }
}

static void integer_element(const pare__elementwise *operation, int mode, const double *p,
                            const pare__content *const *inputs, const size_t *at, pare__content *out, size_t index) {
  int64_t v[3] = {0};
  for (int t = 0; t < operation->arity; t++) v[t] = pare__content_int(inputs[t], at[t]);
  const pare_dtype dtype = inputs[operation->arity - 1]->dtype;
  const pare__elementwise_natural natural = dtype == PARE_U64 ? pare__elementwise_natural_get(mode) : NULL;
  const int64_t result = natural ? (int64_t)natural((uint64_t)v[0], (uint64_t)v[1], (uint64_t)v[2], p)
                                 : operation->integer(v[0], v[1], v[2], p, (int)pare_dtype_bytes(dtype) * 8);
  pare__store_integer(out->dtype, out->owned, index, result);
}

pare_status pare__host_elementwise(int mode, const double *p, const pare__content *const *inputs, pare_dtype to,
                                   pare__content **out) {
  const pare__elementwise *operation = pare__elementwise_get(mode);
  const int arity = operation->arity;
  *out = NULL;
  PARE__TRY(check_dtypes(operation, mode, inputs));
  pare__shape shape;
  PARE__TRY(pare__host_broadcast(inputs, arity, &shape));
  const pare_dtype computed = inputs[arity - 1]->dtype;
  const pare_dtype dtype = operation->result == PARE__SAME      ? computed
                           : operation->result == PARE__TO_BOOL ? PARE_BOOL
                                                                : to;
  PARE__TRY(pare__content_create(dtype, shape.rank, shape.dim, NULL, out));
  for (size_t i = 0; i < (*out)->count; i++) {
    size_t at[3] = {0};
    for (int t = 0; t < arity; t++) at[t] = pare__host_index(inputs[t], &shape, i);
    if (operation->result == PARE__OTHER) {
      cast_element(inputs[0], at[0], dtype, (*out)->owned, i);
    } else if (!pare__dtype_is_float(computed)) {
      integer_element(operation, mode, p, inputs, at, *out, i);
    } else {
      double v[3] = {0};
      for (int t = 0; t < arity; t++) v[t] = pare__content_number(inputs[t], at[t]);
      pare__store(dtype, (*out)->owned, i, operation->real(v[0], v[1], v[2], p));
    }
  }
  return PARE_OK;
}
