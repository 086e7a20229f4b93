/* N:M sparse weights on the host. SPDX-License-Identifier: Apache-2.0 */
#include "tensor/sparse.h"

#include <string.h>

int pare__sparse_index_bits(int of) { return of <= 2 ? 1 : of <= 4 ? 2 : of <= 8 ? 3 : 4; }

int64_t pare__sparse_index_bytes(const pare_sparse_layout *layout) {
  return pare__div_up(layout->inputs / layout->of * layout->keep * pare__sparse_index_bits(layout->of), 8);
}

static int64_t kept_inputs(const pare_sparse_layout *layout) { return layout->inputs / layout->of * layout->keep; }

pare_status pare_sparse_sizes(const pare_sparse_layout *layout, size_t *values_bytes, size_t *indices_bytes) {
  static const char function[] = "pare_sparse_sizes";
  if (!layout || !values_bytes || !indices_bytes)
    return pare__fail_null(function, !layout ? "layout" : !values_bytes ? "values_bytes" : "indices_bytes");
  const pare_dtype dtype = layout->dtype;
  const bool bytes = dtype == PARE_I8 || dtype == PARE_U8;
  if (!bytes && dtype != PARE_F32 && dtype != PARE_F16 && dtype != PARE_BF16)
    return pare__fail(PARE_ERR_TYPE, "N:M sparse weights are f32, f16, bf16, i8 or u8, not %s", pare_dtype_name(dtype));
  if (layout->keep < 1 || layout->keep >= layout->of || layout->of > PARE__SPARSE_MOST)
    return pare__fail(PARE_ERR_ARGUMENT, "%d of %d weights kept; N:M needs 0 < N < M <= %d", layout->keep, layout->of,
                      PARE__SPARSE_MOST);
  if (layout->fill != 0 &&
      (!bytes || layout->fill < (dtype == PARE_I8 ? -128 : 0) || layout->fill > (dtype == PARE_I8 ? 127 : 255)))
    return pare__fail(PARE_ERR_ARGUMENT, "%d cannot be the value of pruned weights of %s", layout->fill,
                      pare_dtype_name(dtype));
  if (layout->rows < 0 || layout->inputs < 0 || layout->inputs % layout->of != 0)
    return pare__fail(PARE_ERR_SHAPE, "%lld rows of %lld inputs in groups of %d: the inputs must be a multiple of it",
                      (long long)layout->rows, (long long)layout->inputs, layout->of);
  const size_t rows = (size_t)layout->rows;
  if (layout->inputs > INT64_MAX / 64 ||
      !pare__size_mul(rows, (size_t)kept_inputs(layout) * pare_dtype_bytes(dtype), values_bytes) ||
      !pare__size_mul(rows, (size_t)pare__sparse_index_bytes(layout), indices_bytes))
    return pare__fail(PARE_ERR_LIMIT, "%lld rows of %lld inputs are too many", (long long)layout->rows,
                      (long long)layout->inputs);
  return PARE_OK;
}

/* ---- indices ---- */

static unsigned read_bits(const uint8_t *bytes, int64_t at, int bits) {
  unsigned value = bytes[at / 8] >> (at % 8);
  if (at % 8 + bits > 8) value |= (unsigned)bytes[at / 8 + 1] << (8 - at % 8);
  return value & ((1U << bits) - 1);
}

static void write_bits(uint8_t *bytes, int64_t at, unsigned value) {
  const unsigned spread = value << (at % 8);
  bytes[at / 8] |= (uint8_t)spread;
  if (spread > 255) bytes[at / 8 + 1] |= (uint8_t)(spread >> 8);
}

bool pare__sparse_places(const pare_sparse_layout *layout, const uint8_t *indices, int64_t group, uint8_t *places) {
  const int bits = pare__sparse_index_bits(layout->of);
  int before = -1;
  for (int s = 0; s < layout->keep; s++) {
    const int place = (int)read_bits(indices, (group * layout->keep + s) * bits, bits);
    if (place <= before || place >= layout->of) return false;
    places[s] = (uint8_t)place;
    before = place;
  }
  return true;
}

/* ---- elements ---- */

/* Called with a constant size, so that a copy is one instruction. */
static inline void copy_element(void *to, int64_t i, const void *from, int64_t j, size_t size) {
  memcpy((char *)to + (size_t)i * size, (const char *)from + (size_t)j * size, size);
}

static inline bool encode_row(const pare_sparse_layout *layout, const void *dense, int64_t col, const uint8_t *fill,
                              void *values, uint8_t *indices, size_t size) {
  const int keep = layout->keep, of = layout->of, bits = pare__sparse_index_bits(of);
  for (int64_t g = 0; g < layout->inputs / of; g++) {
    unsigned kept = 0;
    int nkept = 0;
    for (int u = 0; u < of; u++)
      if (memcmp((const char *)dense + (size_t)((g * of + u) * col) * size, fill, size) != 0) {
        kept |= 1U << u;
        nkept++;
      }
    if (nkept > keep) return false;
    for (int u = 0; nkept < keep; u++)
      if (!(kept >> u & 1)) {
        kept |= 1U << u;
        nkept++;
      }
    int64_t at = g * keep;
    for (int u = 0; u < of; u++) {
      if (!(kept >> u & 1)) continue;
      copy_element(values, at, dense, (g * of + u) * col, size);
      write_bits(indices, at++ * bits, (unsigned)u);
    }
  }
  return true;
}

static inline bool decode_row(const pare_sparse_layout *layout, const void *values, const uint8_t *indices,
                              const uint8_t *fill, void *dense, int64_t col, size_t size, int64_t *failed) {
  const int keep = layout->keep, of = layout->of;
  uint8_t places[PARE__SPARSE_MOST];
  for (int64_t g = 0; g < layout->inputs / of; g++) {
    *failed = g;
    if (!pare__sparse_places(layout, indices, g, places)) return false;
    for (int u = 0; u < of; u++) copy_element(dense, (g * of + u) * col, fill, 0, size);
    for (int s = 0; s < keep; s++) copy_element(dense, (g * of + places[s]) * col, values, g * keep + s, size);
  }
  return true;
}

static void fill_bytes(const pare_sparse_layout *layout, uint8_t fill[4]) {
  memset(fill, 0, 4);
  fill[0] = (uint8_t)layout->fill;
}

/* Where row `row` of a tensor [outer][inputs][inner] begins. */
static int64_t row_start(const pare_sparse_layout *layout, int64_t inner, int64_t row) {
  return row / inner * layout->inputs * inner + row % inner;
}

pare_status pare__sparse_encode_axis(const pare_sparse_layout *layout, int64_t inner, const void *dense, void *values,
                                     uint8_t *indices) {
  const size_t size = pare_dtype_bytes(layout->dtype);
  const int64_t index_bytes = pare__sparse_index_bytes(layout);
  uint8_t fill[4];
  fill_bytes(layout, fill);
  memset(indices, 0, (size_t)(layout->rows * index_bytes));
  for (int64_t row = 0; row < layout->rows; row++) {
    const void *from = (const char *)dense + (size_t)row_start(layout, inner, row) * size;
    void *to = (char *)values + (size_t)(row * kept_inputs(layout)) * size;
    uint8_t *places = indices + row * index_bytes;
    const bool fits = size == 1   ? encode_row(layout, from, inner, fill, to, places, 1)
                      : size == 2 ? encode_row(layout, from, inner, fill, to, places, 2)
                                  : encode_row(layout, from, inner, fill, to, places, 4);
    if (!fits)
      return pare__fail(PARE_ERR_ARGUMENT, "row %lld keeps more than %d of %d neighbours: it is not %d:%d sparse",
                        (long long)row, layout->keep, layout->of, layout->keep, layout->of);
  }
  return PARE_OK;
}

pare_status pare__sparse_decode_axis(const pare_sparse_layout *layout, int64_t inner, const void *values,
                                     const uint8_t *indices, void *dense) {
  const size_t size = pare_dtype_bytes(layout->dtype);
  const int64_t index_bytes = pare__sparse_index_bytes(layout);
  uint8_t fill[4];
  fill_bytes(layout, fill);
  if (layout->inputs == 0) return PARE_OK; /* rows of nothing may be any number */
  for (int64_t row = 0; row < layout->rows; row++) {
    const void *from = (const char *)values + (size_t)(row * kept_inputs(layout)) * size;
    void *to = (char *)dense + (size_t)row_start(layout, inner, row) * size;
    const uint8_t *places = indices + row * index_bytes;
    int64_t failed = 0;
    const bool fine = size == 1   ? decode_row(layout, from, places, fill, to, inner, 1, &failed)
                      : size == 2 ? decode_row(layout, from, places, fill, to, inner, 2, &failed)
                                  : decode_row(layout, from, places, fill, to, inner, 4, &failed);
    if (!fine)
      return pare__fail(PARE_ERR_FORMAT,
                        "N:M sparse weights: the indices of row %lld, group %lld do not ascend below %d",
                        (long long)row, (long long)failed, layout->of);
  }
  return PARE_OK;
}

/* ---- whole matrices ---- */

pare_status pare_sparse_encode(const pare_sparse_layout *layout, const void *dense, void *values, uint8_t *indices) {
  size_t values_bytes, indices_bytes;
  if (!layout) return pare__fail_null("pare_sparse_encode", "layout");
  PARE__TRY(pare_sparse_sizes(layout, &values_bytes, &indices_bytes));
  if (values_bytes == 0) return PARE_OK;
  if (!dense || !values || !indices)
    return pare__fail_null("pare_sparse_encode", !dense ? "dense" : !values ? "values" : "indices");
  return pare__sparse_encode_axis(layout, 1, dense, values, indices);
}

pare_status pare_sparse_decode(const pare_sparse_layout *layout, const void *values, const uint8_t *indices,
                               void *dense) {
  size_t values_bytes, indices_bytes;
  if (!layout) return pare__fail_null("pare_sparse_decode", "layout");
  PARE__TRY(pare_sparse_sizes(layout, &values_bytes, &indices_bytes));
  if (values_bytes == 0) return PARE_OK;
  if (!dense || !values || !indices)
    return pare__fail_null("pare_sparse_decode", !dense ? "dense" : !values ? "values" : "indices");
  return pare__sparse_decode_axis(layout, 1, values, indices, dense);
}
