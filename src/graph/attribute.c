/* Attributes as an operator asks for them. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "graph/run.h"

static const pare__onnx_attribute *find(const pare__call *call, const char *name) {
  return pare__node_attribute(call->node, name);
}

bool pare__call_attribute(const pare__call *call, const char *name) { return find(call, name) != NULL; }

int64_t pare__call_get_int(const pare__call *call, const char *name, int64_t otherwise) {
  const pare__onnx_attribute *attribute = find(call, name);
  return attribute ? attribute->i : otherwise;
}

double pare__call_get_float(const pare__call *call, const char *name, double otherwise) {
  const pare__onnx_attribute *attribute = find(call, name);
  return attribute ? (double)attribute->f : otherwise;
}

bool pare__call_text_is(const pare__call *call, const char *name, const char *otherwise, const char *value) {
  const pare__onnx_attribute *attribute = find(call, name);
  const char *text = attribute ? attribute->s.data : otherwise;
  const size_t length = attribute ? attribute->s.nbytes : strlen(otherwise);
  return length == strlen(value) && (length == 0 || memcmp(text, value, length) == 0);
}

static pare_status too_many(const pare__call *call, const char *name, size_t count, size_t capacity) {
  return pare__call_fail(call, PARE_ERR_FORMAT, "attribute '%s' has %zu numbers; %zu at most are possible", name, count,
                         capacity);
}

pare_status pare__call_get_ints(const pare__call *call, const char *name, int64_t *out, size_t capacity,
                                size_t *count) {
  *count = 0;
  const pare__onnx_attribute *attribute = find(call, name);
  if (!attribute) return PARE_OK;
  if (attribute->ints.count > capacity) return too_many(call, name, attribute->ints.count, capacity);
  *count = attribute->ints.count;
  for (size_t i = 0; i < *count; i++) out[i] = attribute->ints.items[i];
  return PARE_OK;
}

pare_status pare__call_get_floats(const pare__call *call, const char *name, double *out, size_t capacity,
                                  size_t *count) {
  *count = 0;
  const pare__onnx_attribute *attribute = find(call, name);
  if (!attribute) return PARE_OK;
  if (attribute->floats.count > capacity) return too_many(call, name, attribute->floats.count, capacity);
  *count = attribute->floats.count;
  for (size_t i = 0; i < *count; i++) out[i] = (double)attribute->floats.items[i];
  return PARE_OK;
}

pare_status pare__call_get_content(const pare__call *call, const char *name, pare__content **out) {
  *out = NULL;
  const pare__onnx_attribute *attribute = find(call, name);
  pare__onnx_source *source = call->state->model->network->onnx->source;
  if (!attribute) return PARE_OK;
  if (attribute->t) return pare__content_of_tensor(source, attribute->t, out);
  if (attribute->sparse_tensor) return pare__content_of_sparse(source, attribute->sparse_tensor, out);
  return pare__call_fail(call, PARE_ERR_FORMAT, "attribute '%s' is no tensor", name);
}

pare_status pare__call_axis(const pare__call *call, int64_t axis, int rank, int *out) {
  if (axis < -rank || axis >= rank)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "axis %" PRId64 " is outside a shape of rank %d", axis, rank);
  *out = (int)(axis < 0 ? axis + rank : axis);
  return PARE_OK;
}

pare_status pare__call_axes(pare__call *call, const char *name, unsigned i, int rank, int *axes, int *count) {
  int64_t given[PARE_MAX_RANK];
  size_t ngiven = 0;
  *count = -1;
  if (pare__call_has(call, i))
    PARE__TRY(pare__call_ints(call, i, given, PARE_MAX_RANK, &ngiven));
  else if (pare__call_attribute(call, name))
    PARE__TRY(pare__call_get_ints(call, name, given, PARE_MAX_RANK, &ngiven));
  else
    return PARE_OK;
  *count = (int)ngiven;
  for (int k = 0; k < *count; k++) PARE__TRY(pare__call_axis(call, given[k], rank, &axes[k]));
  return PARE_OK;
}
