/* Checks that every operation makes. SPDX-License-Identifier: Apache-2.0 */
#include "op/op.h"

#include <stdio.h>

static pare_status check_one(const char *function, const char *name, const pare_tensor *tensor) {
  if (!tensor) return pare__fail_null(function, name);
  return pare__context_check(function, tensor->context);
}

pare_status pare__check_output(const char *function, const char *name, pare_tensor *out, const pare_tensor *other) {
  PARE__TRY(check_one(function, name, out));
  if (out->read_only)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: %s is a broadcast view and cannot be written", function, name);
  if (other && other->context != out->context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: %s belongs to another context than the other tensors", function, name);
  return PARE_OK;
}

pare_status pare__check_tensors(const char *function, pare_tensor *out, const pare__named *inputs, size_t ninputs) {
  PARE__TRY(pare__check_output(function, "out", out, NULL));
  for (size_t i = 0; i < ninputs; i++) {
    const pare__named *input = &inputs[i];
    if (!input->tensor && input->optional) continue;
    PARE__TRY(check_one(function, input->name, input->tensor));
    if (input->tensor->context != out->context)
      return pare__fail(PARE_ERR_ARGUMENT, "%s: %s belongs to another context than out", function, input->name);
  }
  return PARE_OK;
}

pare_status pare__check_dtype(const char *function, const char *name, const pare_tensor *tensor, uint32_t allowed) {
  if (!(allowed >> tensor->dtype & 1U)) {
    char list[PARE_NDTYPES * 16] = "";
    size_t used = 0;
    for (int dtype = 0; dtype < PARE_NDTYPES && used < sizeof list; dtype++)
      if (allowed >> dtype & 1U)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                                 pare_dtype_name((pare_dtype)dtype));
    return pare__fail(PARE_ERR_TYPE, "%s: %s is %s; it can be %s", function, name, pare_dtype_name(tensor->dtype),
                      list);
  }
  if (tensor->dtype == PARE_F64 && !pare_context_device(tensor->context)->can.f64)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s: %s is f64, and %s computes none; cast it to f32", function, name,
                      pare_context_device(tensor->context)->name);
  return PARE_OK;
}

pare_status pare__check_same_dtype(const char *function, const char *a_name, const pare_tensor *a, const char *b_name,
                                   const pare_tensor *b) {
  if (a->dtype == b->dtype) return PARE_OK;
  return pare__fail(PARE_ERR_TYPE, "%s: %s is %s and %s is %s; they must be the same", function, a_name,
                    pare_dtype_name(a->dtype), b_name, pare_dtype_name(b->dtype));
}

pare_status pare__check_shape(const char *function, const char *name, const pare_tensor *tensor, int rank,
                              const int64_t *dim) {
  bool same = tensor->shape.rank == rank;
  for (int i = 0; same && i < rank; i++) same = tensor->shape.dim[i] == dim[i];
  if (same) return PARE_OK;
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE, "%s: %s has shape %s; it must be %s", function, name,
                    pare__shape_text(tensor->shape.rank, tensor->shape.dim, have, sizeof have),
                    pare__shape_text(rank, dim, want, sizeof want));
}

pare_status pare__check_rank(const char *function, const char *name, const pare_tensor *tensor, int least, int most) {
  if (tensor->shape.rank >= least && tensor->shape.rank <= most) return PARE_OK;
  char have[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE, "%s: %s has shape %s, of rank %d; it must have rank %d to %d", function, name,
                    pare__shape_text(tensor->shape.rank, tensor->shape.dim, have, sizeof have), tensor->shape.rank,
                    least, most);
}

/* ---- results ---- */

pare_status pare__result_begin(pare_tensor *out, pare_tensor **result) {
  *result = NULL;
  if (pare__shape_contiguous(&out->shape)) return pare_tensor_reshape(out, out->shape.rank, out->shape.dim, result);
  return pare__tensor_scratch(out->context, out->dtype, out->shape.rank, out->shape.dim,
                              "a result for a strided output", result);
}

pare_status pare__result_end(pare_status status, pare_tensor *out, pare_tensor *result) {
  if (status == PARE_OK && result->storage != out->storage) status = pare__copy(result, out);
  pare_tensor_close(result);
  return status;
}

/* The elements [*low, *high] of its storage that a view can touch; false if none. */
static bool reach(const pare_tensor *tensor, int64_t *low, int64_t *high) {
  *low = *high = tensor->offset;
  for (int i = 0; i < tensor->shape.rank; i++) {
    if (tensor->shape.dim[i] == 0) return false;
    int64_t far = (tensor->shape.dim[i] - 1) * tensor->shape.stride[i];
    *low += PARE__MIN(far, 0);
    *high += PARE__MAX(far, 0);
  }
  return true;
}

bool pare__overlap_shuffled(const pare_tensor *a, const pare_tensor *b) {
  if (a->storage != b->storage) return false;
  int64_t a_low, a_high, b_low, b_high;
  if (!reach(a, &a_low, &a_high) || !reach(b, &b_low, &b_high) || a_high < b_low || b_high < a_low) return false;
  bool same = a->offset == b->offset && a->dtype == b->dtype && pare__shape_equal(&a->shape, &b->shape);
  for (int i = 0; same && i < a->shape.rank; i++)
    same = a->shape.dim[i] == 1 || a->shape.stride[i] == b->shape.stride[i];
  return !same;
}
