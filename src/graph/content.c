/* Elements that the host knows. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

static pare_status content_new(pare_dtype dtype, int rank, const int64_t *dim, pare__content **out) {
  *out = NULL;
  pare__content *content = calloc(1, sizeof *content);
  if (!content) return pare__fail_memory("a constant", sizeof *content);
  atomic_init(&content->references, 1);
  content->dtype = dtype;
  char text[PARE__SHAPE_TEXT];
  if (rank < 0 || rank > PARE_MAX_RANK || !pare__shape_set(&content->shape, rank, dim)) {
    free(content);
    if (rank < 0 || rank > PARE_MAX_RANK)
      return pare__fail(PARE_ERR_SHAPE, "a constant has rank %d; 0 to %d are possible", rank, PARE_MAX_RANK);
    return pare__fail(PARE_ERR_SHAPE, "a constant has the shape %s, which is negative or too large",
                      pare__shape_text(rank, dim, text, sizeof text));
  }
  content->count = (size_t)pare__shape_elements(&content->shape);
  content->nbytes = content->count * pare_dtype_bytes(dtype);
  *out = content;
  return PARE_OK;
}

pare_status pare__content_create(pare_dtype dtype, int rank, const int64_t *dim, const void *data,
                                 pare__content **out) {
  PARE__TRY(content_new(dtype, rank, dim, out));
  void *owned = calloc(PARE__MAX((*out)->nbytes, (size_t)1), 1);
  if (!owned) {
    const size_t nbytes = (*out)->nbytes;
    pare__content_release(*out);
    *out = NULL;
    return pare__fail_memory("a constant", nbytes);
  }
  if (data && (*out)->nbytes > 0) memcpy(owned, data, (*out)->nbytes);
  (*out)->data = (*out)->owned = owned;
  return PARE_OK;
}

unsigned pare__narrow_bits(int32_t onnx_dtype, bool *is_signed) {
  *is_signed = onnx_dtype == PARE__ONNX_INT4 || onnx_dtype == PARE__ONNX_INT2;
  return *is_signed || onnx_dtype == PARE__ONNX_UINT4 || onnx_dtype == PARE__ONNX_UINT2
             ? pare__onnx_dtype_bits(onnx_dtype)
             : 0;
}

bool pare__held_dtype(int32_t onnx_dtype, pare_dtype *out) {
  bool is_signed;
  if (pare__narrow_bits(onnx_dtype, &is_signed) == 0) return pare__onnx_dtype_to_pare(onnx_dtype, out);
  *out = is_signed ? PARE_I8 : PARE_U8;
  return true;
}

/* Elements of less than a byte, the lowest bits first: a byte each. */
static void widen(unsigned bits, bool is_signed, const uint8_t *packed, int64_t count, uint8_t *out) {
  const unsigned a_byte = 8 / bits, mask = (1U << bits) - 1, sign = is_signed ? 1U << (bits - 1) : 0;
  for (int64_t i = 0; i < count; i++) {
    const unsigned element = packed[i / a_byte] >> ((unsigned)(i % a_byte) * bits) & mask;
    out[i] = (uint8_t)((element ^ sign) - sign);
  }
}

pare_status pare__content_of_tensor(pare__onnx_source *source, const pare__onnx_tensor *tensor, pare__content **out) {
  *out = NULL;
  const unsigned bits = pare__onnx_dtype_bits(tensor->data_type);
  bool is_signed;
  (void)pare__narrow_bits(tensor->data_type, &is_signed);
  pare_dtype dtype;
  if (!pare__held_dtype(tensor->data_type, &dtype))
    return pare__fail(PARE_ERR_UNSUPPORTED, "tensor '%s' is of type %s, which pare does not compute with",
                      tensor->name ? tensor->name : "", pare__onnx_dtype_name(tensor->data_type));
  if (tensor->dims.count > PARE_MAX_RANK)
    return pare__fail(PARE_ERR_UNSUPPORTED, "tensor '%s' has %zu dimensions; pare has up to %d",
                      tensor->name ? tensor->name : "", tensor->dims.count, PARE_MAX_RANK);
  pare__onnx_data *file = calloc(1, sizeof *file);
  if (!file) return pare__fail_memory("a constant", sizeof *file);
  pare_status status = pare__onnx_tensor_data(source, tensor, file);
  if (status == PARE_OK && bits < 8) {
    status = pare__content_create(dtype, (int)tensor->dims.count, tensor->dims.items, NULL, out);
    if (status == PARE_OK) widen(bits, is_signed, file->data, file->count, (*out)->owned);
  } else if (status == PARE_OK) {
    status = content_new(dtype, (int)tensor->dims.count, tensor->dims.items, out);
    if (status == PARE_OK) {
      (*out)->data = file->data;
      (*out)->file = file;
      return PARE_OK;
    }
  }
  pare__onnx_data_close(file);
  free(file);
  return status;
}

pare__content *pare__content_retain(pare__content *content) {
  if (content) atomic_fetch_add_explicit(&content->references, 1, memory_order_relaxed);
  return content;
}

void pare__content_release(pare__content *content) {
  if (!content || atomic_fetch_sub_explicit(&content->references, 1, memory_order_acq_rel) != 1) return;
  if (content->file) pare__onnx_data_close(content->file);
  free(content->file);
  free(content->owned);
  free(content);
}

int64_t pare__content_int(const pare__content *content, size_t index) {
  const size_t nbytes = pare_dtype_bytes(content->dtype);
  uint64_t aligned = 0; /* views of a file are not */
  memcpy(&aligned, (const char *)content->data + index * nbytes, nbytes);
  return pare__load_integer(content->dtype, &aligned, 0);
}

double pare__content_number(const pare__content *content, size_t index) {
  const size_t nbytes = pare_dtype_bytes(content->dtype);
  uint64_t aligned = 0; /* views of a file are not */
  memcpy(&aligned, (const char *)content->data + index * nbytes, nbytes);
  return pare__load(content->dtype, &aligned, 0);
}
