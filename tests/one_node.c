/* Models of one node, whose inputs are made as they are needed. SPDX-License-Identifier: Apache-2.0 */
#include "one_node.h"

#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

void free_all(size_t count, float *const *arrays) {
  while (count-- > 0) free(arrays[count]);
}

one_node one_node_begin(int64_t opset, const char *op_type, const char *inputs, const char *outputs) {
  one_node one = {.onnx = model_new(opset)};
  one.node = model_node(one.onnx, op_type, inputs, outputs);
  return one;
}

one_node one_node_contributed(const char *op_type, const char *inputs, const char *outputs) {
  one_node one = one_node_begin(17, op_type, inputs, outputs);
  pare__onnx_opset *import;
  OK(PARE__ONNX_APPEND(one.onnx->source, &one.onnx->opset_import, &import));
  *import = (pare__onnx_opset){.domain = "com.microsoft", .version = 1};
  one.node->domain = "com.microsoft";
  return one;
}

void one_node_input(one_node *one, const char *name, int32_t type, int rank, const int64_t *dim, const void *data) {
  pare_dtype dtype;
  ck_assert(pare__onnx_dtype_to_pare(type, &dtype));
  ck_assert_uint_lt(one->count, MOST_INPUTS);
  model_input(one->onnx, name, type, rank, dim);
  one->in[one->count++] = tensor_of(dtype, rank, dim, data);
}

void one_node_text(one_node *one, const char *name, const char *text) {
  pare__onnx_attribute *attribute = node_attribute(one->onnx, one->node, name, PARE__ONNX_ATTRIBUTE_STRING);
  attribute->s = (pare__onnx_bytes){text, strlen(text)};
  attribute->message.has |= (uint64_t)1 << 4;
}

void one_node_floats(one_node *one, const char *name, size_t count, const float *values) {
  pare__onnx_attribute *attribute = node_attribute(one->onnx, one->node, name, PARE__ONNX_ATTRIBUTE_FLOATS);
  for (size_t i = 0; i < count; i++) {
    float *item;
    OK(PARE__ONNX_APPEND(one->onnx->source, &attribute->floats, &item));
    *item = values[i];
  }
}

pare_status one_node_run(const char *folder, one_node *one, const char *output, bool at_once, pare_tensor **out) {
  char path[128];
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  model_output(one->onnx, output);
  model_write(one->onnx, path);
  const pare_model_options options = {.no_plan = at_once};
  pare_model *model = NULL;
  *out = NULL;
  pare_status status = pare_model_open(context, path, &options, &model);
  if (status == PARE_OK) status = pare_model_run(model, one->in, NULL, out);
  pare_model_close(model);
  for (unsigned i = 0; i < one->count; i++) pare_tensor_close(one->in[i]);
  return status;
}

void one_node_expect(const char *folder, one_node *one, const char *output, int64_t count, const double *expected) {
  pare_tensor *out;
  OK(one_node_run(folder, one, output, false, &out));
  ck_assert_int_eq(pare_tensor_elements(out), count);
  float *found = floats_of(out);
  double largest = 1;
  for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(expected[i]));
  for (int64_t i = 0; i < count; i++)
    ck_assert_msg(fabs((double)found[i] - expected[i]) <= 2e-5 * largest, "element %lld: %g, expected %g", (long long)i,
                  (double)found[i], expected[i]);
  free(found);
  pare_tensor_close(out);
}

void one_node_expect_bytes(const char *folder, one_node *one, bool is_signed, int64_t count, const double *expected) {
  const double low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
  pare_tensor *out;
  OK(one_node_run(folder, one, "y", false, &out));
  ck_assert_int_eq(pare_tensor_elements(out), count);
  ck_assert_int_eq(pare_tensor_dtype(out), is_signed ? PARE_I8 : PARE_U8);
  uint8_t *bytes = malloc((size_t)count + 1);
  OK(pare_tensor_read(out, bytes, (size_t)count));
  for (int64_t i = 0; i < count; i++) {
    const double found = is_signed ? (double)(int8_t)bytes[i] : (double)bytes[i];
    const double wanted = fmin(fmax(expected[i], low), high);
    ck_assert_msg(fabs(found - wanted) <= 0.5 + 1e-3, "element %lld: %g, expected %g", (long long)i, found, wanted);
  }
  free(bytes);
  pare_tensor_close(out);
}

void one_node_expect_integers(const char *folder, one_node *one, const char *output, int64_t count,
                              const int64_t *expected) {
  pare_tensor *out;
  OK(one_node_run(folder, one, output, false, &out));
  ck_assert_int_eq(pare_tensor_elements(out), count);
  const bool wide = pare_tensor_dtype(out) == PARE_I64;
  ck_assert(wide || pare_tensor_dtype(out) == PARE_I32);
  int64_t *found = calloc((size_t)count + 1, sizeof *found);
  ck_assert_ptr_nonnull(found);
  OK(pare_tensor_read(out, found, (size_t)count * (wide ? 8 : 4)));
  for (int64_t i = 0; i < count; i++) {
    int32_t narrow;
    memcpy(&narrow, (const char *)found + 4 * i, sizeof narrow);
    ck_assert_msg((wide ? found[i] : narrow) == expected[i], "element %lld: %lld, expected %lld", (long long)i,
                  (long long)(wide ? found[i] : narrow), (long long)expected[i]);
  }
  free(found);
  pare_tensor_close(out);
}

void one_node_refused(const char *folder, one_node *one, pare_status status, const char *text) {
  pare_tensor *out;
  ck_assert_int_eq(one_node_run(folder, one, "y", false, &out), status);
  ck_assert_ptr_null(out);
  ck_assert_msg(strstr(pare_message(), text) != NULL, "'%s' lacks '%s'", pare_message(), text);
}
