/* ONNX element types, and the elements of a tensor wherever they are. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "format/mapping.h"
#include "format/onnx_schema.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ONNX files are little-endian, and their elements are used in place"
#endif

/* ---- element types ---- */

static const struct {
  const char *name;
  unsigned bits;
  int dtype;
} dtypes[] = {
#define DTYPE_ROW(upper, number, name, bits, dtype) [number] = {name, bits, dtype},
    PARE__ONNX_DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

bool pare__onnx_dtype_known(int32_t dtype) {
  return dtype > PARE__ONNX_UNDEFINED && (size_t)dtype < PARE__COUNT(dtypes);
}

const char *pare__onnx_dtype_name(int32_t dtype) {
  return pare__onnx_dtype_known(dtype) ? dtypes[dtype].name : "undefined";
}

unsigned pare__onnx_dtype_bits(int32_t dtype) { return pare__onnx_dtype_known(dtype) ? dtypes[dtype].bits : 0; }

bool pare__onnx_dtype_to_pare(int32_t dtype, pare_dtype *out) {
  if (!pare__onnx_dtype_known(dtype) || dtypes[dtype].dtype < 0) return false;
  *out = (pare_dtype)dtypes[dtype].dtype;
  return true;
}

int32_t pare__onnx_dtype_from_pare(pare_dtype dtype) {
  for (size_t i = 1; i < PARE__COUNT(dtypes); i++)
    if (dtypes[i].dtype == (int)dtype) return (int32_t)i;
  return PARE__ONNX_UNDEFINED;
}

bool pare__onnx_dtype_size(int32_t dtype, int64_t count, size_t *nbytes) {
  unsigned bits = pare__onnx_dtype_bits(dtype);
  *nbytes = 0;
  if (bits == 0 || count < 0) return false;
  if (bits >= 8) return (uint64_t)count <= SIZE_MAX && pare__size_mul((size_t)count, bits / 8, nbytes);
  int64_t a_byte = 8 / bits;
  *nbytes = (size_t)(count / a_byte + (count % a_byte != 0));
  return true;
}

/* ---- elements ---- */

pare_status pare__onnx_tensor_elements(const pare__onnx_tensor *tensor, int64_t *out) {
  char label[160];
  int64_t count = 1;
  bool zero = false, fits = true;
  *out = 0;
  for (size_t i = 0; i < tensor->dims.count; i++) {
    int64_t dim = tensor->dims.items[i];
    if (dim < 0)
      return pare__fail(PARE_ERR_FORMAT, "%s: dimension %zu is %lld: none can be negative",
                        pare__onnx_tensor_label(tensor, label, sizeof label), i, (long long)dim);
    if (dim == 0)
      zero = true;
    else if (fits)
      fits = pare__i64_mul(count, dim, &count);
  }
  if (!fits && !zero)
    return pare__fail(PARE_ERR_FORMAT, "%s: the product of its %zu dimensions overflows 64 bits",
                      pare__onnx_tensor_label(tensor, label, sizeof label), tensor->dims.count);
  *out = zero ? 0 : count;
  return PARE_OK;
}

/* Which typed field holds a dtype, and how many of its numbers make an element. */
static const pare__onnx_packed *typed_field(const pare__onnx_tensor *tensor, size_t *number_bytes) {
  switch (tensor->data_type) {
  case PARE__ONNX_FLOAT:
  case PARE__ONNX_COMPLEX64: *number_bytes = 4; return &tensor->float_data;
  case PARE__ONNX_DOUBLE:
  case PARE__ONNX_COMPLEX128: *number_bytes = 8; return &tensor->double_data;
  case PARE__ONNX_INT64: *number_bytes = 8; return &tensor->int64_data;
  case PARE__ONNX_UINT32: *number_bytes = 4; return &tensor->uint64_data;
  case PARE__ONNX_UINT64: *number_bytes = 8; return &tensor->uint64_data;
  default:
    /* Everything narrower is in int32_data by its bits; types below a byte are packed into bytes first. */
    *number_bytes = PARE__MAX(pare__onnx_dtype_bits(tensor->data_type) / 8, 1);
    return &tensor->int32_data;
  }
}

/* Numbers of 7 bits a byte to little-endian numbers of number_bytes each. The reader has checked their framing. */
static void decode_varints(const pare__onnx_packed *packed, size_t number_bytes, char *out) {
  const uint8_t *at = packed->wire.data;
  for (size_t i = 0; i < packed->count; i++) {
    uint64_t value = 0;
    unsigned shift = 0;
    do {
      if (shift < 64) value |= (uint64_t)(*at & 0x7f) << shift;
      shift += 7;
    } while (*at++ >= 0x80);
    memcpy(out + i * number_bytes, &value, number_bytes);
  }
}

static pare_status typed_data(const pare__onnx_source *source, const pare__onnx_tensor *tensor, pare__onnx_data *out) {
  char label[160];
  size_t number_bytes;
  const pare__onnx_packed *packed = typed_field(tensor, &number_bytes);
  size_t expected = out->nbytes / number_bytes;
  if (packed->count == 0 && expected > 0)
    return pare__fail(
        PARE_ERR_FORMAT, "%s: %s has no elements, neither in the file nor outside; its shape asks for %lld",
        pare__onnx_source_path(source), pare__onnx_tensor_label(tensor, label, sizeof label), (long long)out->count);
  if (packed->count != expected)
    return pare__fail(PARE_ERR_FORMAT, "%s: %s: %zu numbers in its typed field, its shape and type %s ask for %zu",
                      pare__onnx_source_path(source), pare__onnx_tensor_label(tensor, label, sizeof label),
                      packed->count, pare__onnx_dtype_name(tensor->data_type), expected);
  if (out->nbytes == 0) return PARE_OK;
  out->owned = malloc(out->nbytes);
  if (!out->owned) return pare__fail_memory("the elements of a tensor", out->nbytes);
  if (packed == &tensor->float_data || packed == &tensor->double_data)
    memcpy(out->owned, packed->wire.data, out->nbytes);
  else
    decode_varints(packed, number_bytes, out->owned);
  out->data = out->owned;
  return PARE_OK;
}

static pare_status fail_size(const pare__onnx_source *source, const pare__onnx_tensor *tensor, size_t nbytes,
                             size_t expected) {
  char label[160];
  return pare__fail(PARE_ERR_FORMAT, "%s: %s: %zu bytes of data, its shape and type %s ask for %zu",
                    pare__onnx_source_path(source), pare__onnx_tensor_label(tensor, label, sizeof label), nbytes,
                    pare__onnx_dtype_name(tensor->data_type), expected);
}

static bool has_typed(const pare__onnx_tensor *tensor) {
  return tensor->float_data.count || tensor->int32_data.count || tensor->int64_data.count ||
         tensor->double_data.count || tensor->uint64_data.count || tensor->string_data.count;
}

/* A tensor whose elements could be two things, or none that a reader may guess. */
static const char *refuse_tensor(const pare__onnx_tensor *tensor) {
  if (tensor->segment) return "it is a segment of a tensor, which no reader puts together";
  if (tensor->stream) return "its elements are made when it is written";
  if (tensor->raw_data.nbytes > 0 && has_typed(tensor)) return "it has raw data and typed data";
  if (tensor->data_location == PARE__ONNX_LOCATION_EXTERNAL && (tensor->raw_data.nbytes > 0 || has_typed(tensor)))
    return "it has external data and data of its own";
  return NULL;
}

pare_status pare__onnx_tensor_data(pare__onnx_source *source, const pare__onnx_tensor *tensor, pare__onnx_data *out) {
  char label[160];
  *out = (pare__onnx_data){0};
  pare__onnx_tensor_label(tensor, label, sizeof label);
  const char *path = pare__onnx_source_path(source), *why = refuse_tensor(tensor);
  if (why) return pare__fail(PARE_ERR_FORMAT, "%s: %s: %s", path, label, why);
  if (tensor->data_type == PARE__ONNX_STRING)
    return pare__fail(PARE_ERR_TYPE, "%s: %s holds strings, which have no elements of equal size", path, label);
  if (!pare__onnx_dtype_known(tensor->data_type))
    return pare__fail(PARE_ERR_FORMAT, "%s: %s: element type %d is unknown", path, label, (int)tensor->data_type);
  pare__onnx_data found = {0};
  PARE__TRY(pare__onnx_tensor_elements(tensor, &found.count));
  if (!pare__onnx_dtype_size(tensor->data_type, found.count, &found.nbytes))
    return pare__fail(PARE_ERR_FORMAT, "%s: %s: %lld elements of %s overflow the address space", path, label,
                      (long long)found.count, pare__onnx_dtype_name(tensor->data_type));
  pare__onnx_bytes view = tensor->raw_data;
  if (tensor->data_location == PARE__ONNX_LOCATION_EXTERNAL) {
    PARE__TRY(pare__onnx_external_data(source, tensor, found.nbytes, &view));
  } else if (view.nbytes == 0) {
    PARE__TRY(typed_data(source, tensor, &found));
    *out = found;
    return PARE_OK;
  }
  if (view.nbytes != found.nbytes) return fail_size(source, tensor, view.nbytes, found.nbytes);
  found.data = view.data;
  found.mapped = pare__onnx_is_mapped(source, view.data);
  *out = found;
  return PARE_OK;
}

void pare__onnx_data_close(pare__onnx_data *data) {
  if (data->mapped) pare__mapping_release(data->data, data->nbytes);
  free(data->owned);
  *data = (pare__onnx_data){0};
}
