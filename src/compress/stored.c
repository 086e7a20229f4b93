/* The numbers that stored tensors stand for. SPDX-License-Identifier: Apache-2.0 */
#include "compress/stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "compress/stored_file.h"

struct pare__stored_parts {
  pare__elements codes, scale, zero; /* codes: of a dense tensor its numbers */
  bool dense, has_zero;
  const pare__quantised *quantised; /* of safetensors; NULL: what is below */
  unsigned bits;                    /* of codes, packed in bytes without gaps */
  int64_t row_bytes;                /* packed: bytes a row */
  int64_t group, groups;            /* columns of a scale, scales a row; group 0: one scale a row or a tensor */
  bool zeros_packed;
  int64_t middle;               /* subtracted from codes that have no zero points */
  int64_t row_step, *column_at; /* codes one an element: the index of [r, c] is r row_step + column_at[c] */
};

static int64_t packed(const pare__elements *elements, int64_t first_byte, int64_t index, unsigned bits) {
  const int64_t bit = index * bits;
  const unsigned char *at = (const unsigned char *)elements->data + first_byte + bit / 8;
  const unsigned shift = (unsigned)(bit % 8);
  const unsigned two = shift + bits > 8 ? at[0] | (unsigned)at[1] << 8 : at[0];
  return two >> shift & ((1U << bits) - 1);
}

/* ---- which form ---- */

static bool same_shape(const pare__elements *elements, const pare__weight *weight) {
  return elements->rank == weight->rank &&
         memcmp(elements->dim, weight->dim, (size_t)weight->rank * sizeof *weight->dim) == 0;
}

static pare_status transposed_columns(pare__stored *out) {
  out->parts->row_step = 1;
  out->parts->column_at = malloc((size_t)(out->columns + 1) * sizeof *out->parts->column_at);
  if (!out->parts->column_at) return pare__fail_memory("the columns of a weight", (size_t)out->columns);
  for (int64_t c = 0; c < out->columns; c++) out->parts->column_at[c] = c * out->rows;
  return PARE_OK;
}

/* Bits and block of com.microsoft's operators on blocks, from the node that reads the codes. */
static bool block_attributes(const pare__onnx_model *model, const char *codes, unsigned *bits, int64_t *block) {
  for (size_t i = 0; i < model->graph->node.count; i++) {
    const pare__onnx_node *node = &model->graph->node.items[i];
    bool reads = false;
    for (size_t k = 0; k < node->input.count; k++)
      reads = reads || (node->input.items[k] && strcmp(node->input.items[k], codes) == 0);
    if (!reads || strcmp(pare__onnx_domain(node->domain), "com.microsoft") != 0) continue;
    const pare__onnx_attribute *b = pare__onnx_attribute_find(node, "bits"),
                               *size = pare__onnx_attribute_find(node, "block_size");
    *bits = b ? (unsigned)b->i : 4;
    *block = size ? size->i : 0;
    return *bits >= 2 && *bits <= 8 && *block > 0;
  }
  return false;
}

/* Are there as many scales and zero points as the groups need? */
static bool grid_fits(const pare__stored *stored) {
  const struct pare__stored_parts *parts = stored->parts;
  const int64_t scales = parts->scale.count, groups = parts->groups;
  if (!pare__dtype_is_real(parts->scale.dtype)) return false;
  if (parts->group > 0 && groups != pare__div_up(stored->columns, parts->group)) return false;
  if (parts->group > 0 && scales != stored->rows * groups) return false;
  if (parts->group == 0 && scales != 1 && scales != stored->rows) return false;
  if (!parts->has_zero) return true;
  const int64_t scale_rows = scales == 1 ? 1 : stored->rows;
  if (parts->zeros_packed) return parts->zero.count == scale_rows * pare__div_up(groups * parts->bits, 8);
  return parts->zero.count == scales;
}

static bool codes_fit(const pare__stored *stored) {
  const struct pare__stored_parts *parts = stored->parts;
  if (parts->column_at) return parts->codes.count == stored->rows * stored->columns;
  const int64_t needed = pare__div_up(stored->columns * parts->bits, 8);
  return parts->row_bytes >= needed && parts->codes.count == stored->rows * parts->row_bytes;
}

static pare_status open_dense(const pare__weight *weight, pare__stored *out) {
  struct pare__stored_parts *parts = out->parts;
  parts->dense = true;
  if (!same_shape(&parts->codes, weight)) {
    out->missing = "the shapes differ";
    return PARE_OK;
  }
  snprintf(out->form, sizeof out->form, "%s", parts->codes.dtype_name);
  return weight->role == PARE__WEIGHT_OTHER
             ? PARE_OK
             : pare__weight_columns(weight, out->columns, &parts->row_step, &parts->column_at);
}

/* One code an element, of the weight's own shape or transposed for an integer product. */
static pare_status open_integers(const pare__stored_file *file, const char *codes, const pare__weight *weight,
                                 pare__stored *out) {
  struct pare__stored_parts *parts = out->parts;
  unsigned bits;
  int64_t block;
  snprintf(out->form, sizeof out->form, "%s codes", parts->codes.dtype == PARE_I8 ? "int8" : "uint8");
  parts->groups = 1;
  parts->bits = 8;
  if (file->onnx && block_attributes(file->onnx, codes, &bits, &block)) {
    snprintf(out->form, sizeof out->form, "%u bits in blocks of %" PRId64, bits, block);
    parts->bits = bits;
    parts->group = block;
    parts->groups = pare__div_up(out->columns, block);
    parts->row_bytes = out->rows > 0 ? parts->codes.count / out->rows : 0;
    parts->zeros_packed = true;
    parts->middle = (int64_t)1 << (bits - 1);
    return PARE_OK;
  }
  return same_shape(&parts->codes, weight)
             ? pare__weight_columns(weight, out->columns, &parts->row_step, &parts->column_at)
             : transposed_columns(out);
}

/* A matrix as compressed-tensors keeps it. */
static void open_matrix(const pare__quantised *matrix, const pare__weight *weight, pare__stored *out) {
  snprintf(out->form, sizeof out->form, "%s", matrix->form);
  out->parts->quantised = matrix;
  if (*matrix->why)
    out->missing = matrix->why;
  else if (weight->role == PARE__WEIGHT_OTHER)
    out->missing = "it is no weight in the other file";
  else if (matrix->rows != out->rows || matrix->columns != out->columns)
    out->missing = "the shapes differ";
}

static pare_status open_quantised(pare__stored_file *file, const pare__named_tensor *codes, const char *name,
                                  const pare__weight *weight, pare__stored *out) {
  struct pare__stored_parts *parts = out->parts;
  const pare__named_tensor *scale = pare__stored_named(file, name, "_scale"),
                           *zero = pare__stored_named(file, name, "_zero_point");
  if (!scale || weight->role == PARE__WEIGHT_OTHER) {
    out->missing = scale ? "it is no weight in the other file" : "its scale is missing";
    return PARE_OK;
  }
  PARE__TRY(pare__elements_get(file, scale, &parts->scale, &out->missing));
  parts->has_zero = zero != NULL;
  if (zero) PARE__TRY(pare__elements_get(file, zero, &parts->zero, &out->missing));
  if (out->missing) return PARE_OK;
  PARE__TRY(open_integers(file, codes->name, weight, out));
  if (!out->missing && (!codes_fit(out) || !grid_fits(out))) out->missing = "codes, scales and zero points do not fit";
  return PARE_OK;
}

static pare_status find_form(pare__stored_file *file, const pare__weight *weight, pare__stored *out) {
  struct pare__stored_parts *parts = out->parts;
  const char *name = weight->name;
  const pare__quantised *matrix = pare__quantised_named(&file->quantised, name);
  if (matrix) {
    open_matrix(matrix, weight, out);
    return PARE_OK;
  }
  const pare__named_tensor *same = pare__stored_named(file, name, ""), *half = pare__stored_named(file, name, "_half"),
                           *quantised = pare__stored_named(file, name, "_quantized");
  const pare__named_tensor *codes = same ? same : half ? half : quantised;
  if (!codes) {
    out->missing = "the other file does not have it";
    return PARE_OK;
  }
  PARE__TRY(pare__elements_get(file, codes, &parts->codes, &out->missing));
  if (out->missing) return PARE_OK;
  const bool as_it_was =
      codes == half || (codes == same && (parts->codes.dtype != PARE_I8 || weight->dtype == PARE_I8));
  if (as_it_was) return open_dense(weight, out);
  return open_quantised(file, codes, name, weight, out);
}

pare_status pare__stored_find(pare__stored_file *file, const pare__weight *weight, pare__stored *out) {
  *out = (pare__stored){.rows = 1, .columns = weight->elements};
  if (weight->role != PARE__WEIGHT_OTHER && weight->elements > 0) {
    out->rows = pare__weight_rows(weight);
    out->columns = weight->elements / out->rows;
  }
  out->parts = calloc(1, sizeof *out->parts);
  if (!out->parts) return pare__fail_memory("a tensor", sizeof *out->parts);
  const pare_status status = find_form(file, weight, out);
  if (status != PARE_OK) pare__stored_release(out);
  return status;
}

/* ---- numbers ---- */

static double zero_point(const struct pare__stored_parts *parts, int64_t scale_row, int64_t group) {
  if (!parts->has_zero) return (double)parts->middle;
  if (parts->zeros_packed)
    return (double)packed(&parts->zero, scale_row * pare__div_up(parts->groups * parts->bits, 8), group, parts->bits);
  return pare__elements_number(&parts->zero, scale_row);
}

void pare__stored_row(const pare__stored *stored, int64_t row, float *out) {
  const struct pare__stored_parts *parts = stored->parts;
  const int64_t columns = stored->columns;
  if (parts->quantised) {
    pare__quantised_row(parts->quantised, row, out);
    return;
  }
  if (parts->dense) {
    for (int64_t c = 0; c < columns; c++)
      out[c] = (float)pare__elements_number(&parts->codes,
                                            parts->column_at ? row * parts->row_step + parts->column_at[c] : c);
    return;
  }
  const int64_t group = parts->group > 0 ? parts->group : PARE__MAX(columns, 1);
  const int64_t scale_row = parts->scale.count == 1 ? 0 : row;
  for (int64_t g = 0; g * group < columns; g++) {
    const double scale = pare__elements_number(&parts->scale, scale_row * parts->groups + g),
                 zero = zero_point(parts, scale_row, g);
    for (int64_t c = g * group; c < PARE__MIN(columns, (g + 1) * group); c++) {
      const double code = parts->column_at
                              ? pare__elements_number(&parts->codes, row * parts->row_step + parts->column_at[c])
                              : (double)packed(&parts->codes, row * parts->row_bytes, c, parts->bits);
      out[c] = (float)scale * (float)(code - zero);
    }
  }
}

void pare__stored_release(pare__stored *stored) {
  if (!stored->parts) return;
  pare__elements_let_go(&stored->parts->codes);
  pare__elements_let_go(&stored->parts->scale);
  pare__elements_let_go(&stored->parts->zero);
  free(stored->parts->column_at);
  free(stored->parts);
  stored->parts = NULL;
}
