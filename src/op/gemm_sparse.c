/* N:M sparse weights: packing. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "kernel/family_gemm_nm.h"
#include "op/gemm.h"
#include "tensor/context.h"
#include "tensor/sparse.h"

/* Both arrays as the kernels read them: values [panels][values of a column][panel], places [panels][words][panel]. */
typedef struct packed {
  const pare_sparse_layout *layout;
  pare__nm_units units;
  int64_t panel, npanels, nvalues, nwords; /* values and words of a column */
  char *values;
  uint32_t *places;
} packed;

static bool pack_column(packed *p, int64_t column, const char *values, const uint8_t *indices) {
  const pare_sparse_layout *layout = p->layout;
  const size_t size = pare_dtype_bytes(layout->dtype);
  const int64_t keep = layout->keep, panel = column / p->panel, lane = column % p->panel;
  char *to = p->values + (size_t)(panel * p->nvalues * p->panel + lane) * size;
  uint32_t *words = p->places + panel * p->nwords * p->panel + lane;
  uint8_t place[PARE__SPARSE_MOST];
  for (int64_t g = 0; g < layout->inputs / layout->of; g++) {
    if (!pare__sparse_places(layout, indices, g, place)) return false;
    for (int64_t s = 0; s < keep; s++) {
      const int64_t in_unit = g % p->units.groups * keep + s;
      memcpy(to + (size_t)((g * keep + s) * p->panel) * size, values + (size_t)(g * keep + s) * size, size);
      words[(g / p->units.groups * p->units.words + in_unit / p->units.word) * p->panel] |=
          (uint32_t)place[s] << (in_unit % p->units.word * p->units.bits);
    }
  }
  return true;
}

static pare_status pack_columns(packed *p, const char *values, const uint8_t *indices) {
  const pare_sparse_layout *layout = p->layout;
  const size_t row = (size_t)(layout->inputs / layout->of * layout->keep) * pare_dtype_bytes(layout->dtype);
  for (int64_t column = 0; column < layout->rows; column++)
    if (!pack_column(p, column, values + (size_t)column * row, indices + column * pare__sparse_index_bytes(layout)))
      return pare__fail(PARE_ERR_FORMAT,
                        "N:M sparse weights: the indices of a group of row %lld do not ascend below %d",
                        (long long)column, layout->of);
  return PARE_OK;
}

static pare_status upload(pare_context *context, pare_dtype dtype, const int64_t dim[3], const void *data,
                          pare_tensor **out) {
  PARE__TRY(pare__tensor_scratch(context, dtype, 3, dim, "sparse weights", out));
  const size_t nbytes = (size_t)pare__shape_elements(&(*out)->shape) * pare_dtype_bytes(dtype);
  return nbytes > 0 ? pare_tensor_write(*out, data, nbytes) : PARE_OK;
}

static pare_status pack(const pare_sparse_layout *layout, const void *values, const uint8_t *indices,
                        pare_weights *weights) {
  packed p = {.layout = layout,
              .units = pare__nm_units_of(layout->inputs, layout->keep, layout->of),
              .panel = weights->panel,
              .npanels = pare__div_up(layout->rows, weights->panel)};
  p.nvalues = p.units.count * p.units.groups * layout->keep;
  p.nwords = p.units.count * p.units.words;
  const uint64_t most = pare__device_info(pare__context_device(weights->context))->max_buffer_bytes;
  const size_t columns = (size_t)(p.npanels * p.panel), size = pare_dtype_bytes(layout->dtype);
  size_t values_bytes, places_bytes;
  if (!pare__size_mul(columns, (size_t)p.nvalues * size, &values_bytes) || values_bytes > most ||
      !pare__size_mul(columns, (size_t)p.nwords * sizeof(uint32_t), &places_bytes) || places_bytes > most)
    return pare__fail(PARE_ERR_LIMIT, "sparse weights of %lld x %lld are larger than a buffer of the device may be",
                      (long long)layout->rows, (long long)layout->inputs);
  p.values = calloc(values_bytes + 1, 1);
  p.places = calloc(places_bytes + 1, 1);
  pare_status status =
      p.values && p.places ? PARE_OK : pare__fail_memory("sparse weights", values_bytes + places_bytes);
  if (status == PARE_OK && p.nvalues > 0) status = pack_columns(&p, values, indices);
  const int64_t values_dim[3] = {p.npanels, p.nvalues, p.panel}, places_dim[3] = {p.npanels, p.nwords, p.panel};
  if (status == PARE_OK)
    status = upload(weights->context, layout->dtype, values_dim, p.values, &weights->block[0].panels);
  if (status == PARE_OK) status = upload(weights->context, PARE_I32, places_dim, p.places, &weights->blocks.zero);
  free(p.values);
  free(p.places);
  return status;
}

pare_status pare_weights_pack_sparse(pare_context *context, const pare_sparse_layout *layout, const void *values,
                                     const uint8_t *indices, pare_tensor *scale, pare_weights **out) {
  static const char function[] = "pare_weights_pack_sparse";
  const int64_t limit = INT32_MAX - 4096;
  size_t values_bytes, indices_bytes;
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!layout) return pare__fail_null(function, "layout");
  PARE__TRY(pare__context_check(function, context));
  PARE__TRY(pare_sparse_sizes(layout, &values_bytes, &indices_bytes));
  if (values_bytes > 0 && (!values || !indices)) return pare__fail_null(function, values ? "indices" : "values");
  if (layout->dtype == PARE_U8 || layout->fill != 0)
    return pare__fail(PARE_ERR_TYPE, "%s: values are %s filled up with %d; f32, f16, bf16 and i8 with 0 are possible",
                      function, pare_dtype_name(layout->dtype), layout->fill);
  if (scale) PARE__TRY(pare__check_dtype(function, "scale", scale, PARE__SMALL_FLOATS));
  if (scale && scale->context != context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: scale belongs to another context", function);
  if (layout->inputs > limit || layout->rows > limit)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s: %lld rows of %lld inputs; up to %lld are possible", function,
                      (long long)layout->rows, (long long)layout->inputs, (long long)limit);
  pare_weights *weights;
  PARE__TRY(pare__weights_create(context, PARE__WEIGHTS_SPARSE, layout->inputs, layout->rows, &weights));
  weights->dtype = layout->dtype;
  weights->blocks = (pare__blocks){.keep = layout->keep, .of = layout->of};
  if (scale) weights->blocks.size = PARE__MAX(layout->inputs, 1);
  pare_status status = PARE_OK;
  if (scale) status = pare__weights_parameters(function, "scale", scale, false, weights, &weights->blocks.scale);
  if (status == PARE_OK) status = pack(layout, values, indices, weights);
  if (status != PARE_OK) {
    pare_weights_close(weights);
    return status;
  }
  *out = weights;
  return PARE_OK;
}
