/* Quantised matrices of safetensors. SPDX-License-Identifier: Apache-2.0 */
#include "format/quantised.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "format/quantization_config.h"

static const char *const parts[] = {"_scale", "_zero_point", "_shape", "_g_idx"};

/* Tensors by name, and the memory of names. */
struct pare__quantised_names {
  const pare__safetensors *file;
  const pare__safetensors_tensor **tensor; /* by name */
  pare__arena arena;
};

/* ---- names ---- */

static int by_name(const void *a, const void *b) {
  return strcmp((*(const pare__safetensors_tensor *const *)a)->name,
                (*(const pare__safetensors_tensor *const *)b)->name);
}

static bool ends_with(const char *text, const char *ending) {
  const size_t length = strlen(text), tail = strlen(ending);
  return length > tail && strcmp(text + length - tail, ending) == 0;
}

/* The tensor NAME`suffix`; NULL: there is none. */
static const pare__safetensors_tensor *find(const struct pare__quantised_names *names, const char *name, size_t length,
                                            const char *suffix) {
  size_t low = 0, high = names->file->ntensors;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const char *text = names->tensor[middle]->name;
    const int first = strncmp(text, name, length), order = first ? first : strcmp(text + length, suffix);
    if (order == 0) return names->tensor[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

static bool is_float(const pare__safetensors_tensor *tensor, pare_dtype *dtype) {
  return pare__safetensors_dtype_to_pare(tensor->dtype, dtype) && pare__dtype_is_real(*dtype);
}

static const char packed_suffix[] = "_packed";

/* The matrix whose codes the tensor is: the length of its name; 0: it is none. */
static size_t name_of(const struct pare__quantised_names *names, const pare__safetensors_tensor *tensor) {
  pare_dtype dtype;
  size_t length = strlen(tensor->name);
  if (ends_with(tensor->name, packed_suffix)) {
    length -= strlen(packed_suffix);
    return find(names, tensor->name, length, "_scale") || find(names, tensor->name, length, "_shape") ? length : 0;
  }
  for (size_t i = 0; i < PARE__COUNT(parts); i++)
    if (ends_with(tensor->name, parts[i])) return 0;
  return !is_float(tensor, &dtype) && find(names, tensor->name, length, "_scale") ? length : 0;
}

/* ---- what fits ---- */

static bool PARE__PRINTF(2, 3) refuse(pare__quantised *matrix, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(matrix->why, sizeof matrix->why, format, arguments);
  va_end(arguments);
  matrix->rows = matrix->columns = 0;
  return false;
}

static int64_t load_i64(const void *data, size_t index) {
  int64_t value;
  memcpy(&value, (const char *)data + index * sizeof value, sizeof value);
  return value;
}

static int32_t load_i32(const void *data, size_t index) {
  int32_t value;
  memcpy(&value, (const char *)data + index * sizeof value, sizeof value);
  return value;
}

static bool find_shape(pare__quantised *matrix, const pare__safetensors_tensor *shape) {
  const pare__safetensors_tensor *codes = matrix->codes;
  if (codes->rank != 2) return refuse(matrix, "its codes are no matrix");
  matrix->rows = codes->dim[0];
  matrix->columns = codes->dim[1];
  if (codes->count == 0) return refuse(matrix, "it has no elements");
  if (!matrix->is_packed) return true;
  if (codes->dtype != PARE__SAFETENSORS_I32)
    return refuse(matrix, "its codes are packed in %s, not in I32", pare__safetensors_dtype_name(codes->dtype));
  if (!shape) return refuse(matrix, "its shape is missing");
  if (shape->dtype != PARE__SAFETENSORS_I64 || shape->count != 2) return refuse(matrix, "its shape is no I64 [2]");
  matrix->columns = load_i64(shape->data, 1);
  /* A word has 32 codes at most: what is larger cannot be in the file. */
  if (load_i64(shape->data, 0) != matrix->rows || matrix->columns < 1 || matrix->columns / 32 > codes->dim[1])
    return refuse(matrix, "its shape does not fit its codes");
  return true;
}

/* What the configuration says, as far as it is needed. */
static bool apply_scheme(pare__quantised *matrix, const pare__quantization_scheme *scheme) {
  matrix->bits = scheme ? scheme->bits : 8;
  if (!scheme && matrix->is_packed)
    return refuse(matrix, "no quantization_config, in the file's metadata or in config.json beside it, tells its bits");
  static const char *const known[] = {"", "pack-quantized", "int-quantized", "naive-quantized", "mixed-precision"};
  bool is_known = !scheme;
  for (size_t i = 0; scheme && i < PARE__COUNT(known); i++) is_known = is_known || !strcmp(scheme->format, known[i]);
  if (!is_known)
    return refuse(matrix, "its format is '%.60s'; pare reads pack-quantized and int-quantized", scheme->format);
  if (scheme && !scheme->integers) return refuse(matrix, "its codes are floats of %u bits", scheme->bits);
  if (!matrix->is_packed && matrix->codes->dtype != PARE__SAFETENSORS_I8)
    return refuse(matrix, "its codes are %s, not I8", pare__safetensors_dtype_name(matrix->codes->dtype));
  matrix->is_asymmetric = matrix->zero && !(scheme && scheme->symmetric);
  if (scheme && !scheme->symmetric && !matrix->zero) return refuse(matrix, "its zero point is missing");
  matrix->group = scheme ? scheme->group : 0;
  return true;
}

static bool find_groups(pare__quantised *matrix) {
  const pare__safetensors_tensor *scale = matrix->scale;
  if (!scale) return refuse(matrix, "its scale is missing");
  if (!is_float(scale, &matrix->scale_dtype))
    return refuse(matrix, "its scale is %s", pare__safetensors_dtype_name(scale->dtype));
  matrix->groups = scale->rank == 2 && scale->count != 1 ? scale->dim[1] : 1;
  const int64_t columns = matrix->columns, groups = matrix->groups;
  const bool one = scale->count == 1;
  if (scale->rank > 2 || (!one && scale->dim[0] != matrix->rows) || groups < 1 || groups > columns)
    return refuse(matrix, "its scales do not fit");
  if (groups == 1) { /* a group of all columns is a channel */
    if (matrix->group > 0 && matrix->group < columns)
      return refuse(matrix, "one scale a row, where groups of %" PRId64 " are told", matrix->group);
    matrix->group = 0;
  }
  if (groups == 1) return true;
  if (matrix->group == 0 && columns % groups == 0) matrix->group = columns / groups;
  if (matrix->group == 0 || pare__div_up(columns, matrix->group) != groups)
    return refuse(matrix, "%" PRId64 " scales a row do not fit %" PRId64 " columns", groups, columns);
  return true;
}

int64_t pare__quantised_words(int64_t codes, unsigned bits) {
  return codes / 32 * bits + pare__div_up(codes % 32 * bits, 32);
}

static int64_t words_of(int64_t codes, unsigned bits, bool has_gaps) {
  return has_gaps ? pare__div_up(codes, 32 / (int64_t)bits) : pare__quantised_words(codes, bits);
}

/* Packed codes and zero points tell by their sizes how they are packed. */
static bool find_packing(pare__quantised *matrix) {
  const pare__safetensors_tensor *zero = matrix->is_asymmetric ? matrix->zero : NULL;
  const bool zero_packed = zero && zero->dtype == PARE__SAFETENSORS_I32;
  const int64_t scale_rows = matrix->scale->count == 1 ? 1 : matrix->rows;
  if (zero && !zero_packed && (zero->dtype != PARE__SAFETENSORS_I8 || zero->count != matrix->scale->count))
    return refuse(matrix, "its zero points do not fit its scales");
  for (unsigned has_gaps = 0; has_gaps < 2; has_gaps++) {
    const bool codes_fit =
        !matrix->is_packed || matrix->codes->dim[1] == words_of(matrix->columns, matrix->bits, has_gaps);
    int64_t zeros = 0;
    const bool zeros_fit =
        !zero_packed ||
        (pare__i64_mul(words_of(scale_rows, matrix->bits, has_gaps), matrix->groups, &zeros) && zero->count == zeros);
    matrix->has_gaps = has_gaps;
    if (codes_fit && zeros_fit) return true;
  }
  return refuse(matrix, "codes and zero points of %u bits do not fit its shape", matrix->bits);
}

static bool check_order(pare__quantised *matrix) {
  const pare__safetensors_tensor *order = matrix->order;
  if (!order) return true;
  if (order->dtype != PARE__SAFETENSORS_I32 || order->count != matrix->columns)
    return refuse(matrix, "its g_idx is no I32 of %" PRId64 " columns", matrix->columns);
  int64_t unset = 0;
  for (int64_t c = 0; c < order->count; c++) {
    const int32_t group = load_i32(order->data, (size_t)c);
    unset += group == -1;
    if (group < -1 || group >= matrix->groups)
      return refuse(matrix, "its g_idx gives column %" PRId64 " the group %" PRId32 " of %" PRId64, c, group,
                    matrix->groups);
  }
  if (unset == order->count) matrix->order = NULL;
  if (unset > 0 && matrix->order) return refuse(matrix, "its g_idx leaves columns without a group");
  return true;
}

static void tell_form(pare__quantised *matrix) {
  char codes[16];
  snprintf(codes, sizeof codes, matrix->is_packed ? "%u bits" : "int%u codes", matrix->bits);
  if (matrix->groups > 1)
    snprintf(matrix->form, sizeof matrix->form, "%s in groups of %" PRId64, codes, matrix->group);
  else
    snprintf(matrix->form, sizeof matrix->form, "%s", codes);
}

static pare_status fill(struct pare__quantised_names *names, const pare__quantization_config *config,
                        pare__quantised *matrix) {
  const pare__quantization_scheme *scheme;
  const char *name = matrix->name;
  const size_t length = strlen(name), tail = ends_with(name, ".weight") ? strlen(".weight") : 0;
  const pare__safetensors_tensor *shape = find(names, name, length, "_shape");
  matrix->scale = find(names, name, length, "_scale");
  matrix->zero = find(names, name, length, "_zero_point");
  matrix->order = find(names, name, length, "_g_idx");
  PARE__TRY(pare__arena_text(&names->arena, name, length - tail, &matrix->layer));
  PARE__TRY(pare__quantization_config_find(config, matrix->layer, &scheme));
  if (apply_scheme(matrix, scheme) && find_shape(matrix, shape) && find_groups(matrix) && find_packing(matrix) &&
      check_order(matrix))
    tell_form(matrix);
  return PARE_OK;
}

/* ---- the file ---- */

static pare_status list(const char *path, struct pare__quantised_names *names, pare__quantised_file *out) {
  const pare__safetensors *file = names->file;
  pare__quantization_config *config = NULL;
  size_t capacity = 0;
  bool is_sparse = false; /* which pare does not read: the configuration tells */
  for (size_t i = 0; i < file->ntensors; i++) {
    is_sparse = is_sparse || ends_with(file->tensor[i].name, ".bitmask");
    const pare__safetensors_tensor *codes = &file->tensor[i];
    const size_t length = name_of(names, codes);
    if (length == 0) continue;
    PARE__TRY(pare__array_grow((void **)&out->matrix, &capacity, out->count, sizeof *out->matrix));
    pare__quantised *matrix = &out->matrix[out->count++];
    *matrix = (pare__quantised){.codes = codes, .is_packed = codes->name[length] != '\0'};
    PARE__TRY(pare__arena_text(&names->arena, codes->name, length, &matrix->name));
  }
  if (out->count > 0 || is_sparse) PARE__TRY(pare__quantization_config_open(path, file, &config));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < out->count && status == PARE_OK; i++) status = fill(names, config, &out->matrix[i]);
  pare__quantization_config_close(config);
  return status;
}

pare_status pare__quantised_open(const char *path, const pare__safetensors *file, pare__quantised_file *out) {
  *out = (pare__quantised_file){.names = calloc(1, sizeof *out->names)};
  if (!out->names) return pare__fail_memory("a list of tensors", sizeof *out->names);
  out->names->file = file;
  out->names->tensor = calloc(file->ntensors + 1, sizeof *out->names->tensor);
  pare_status status = out->names->tensor ? PARE_OK : pare__fail_memory("a list of tensors", file->ntensors);
  for (size_t i = 0; i < file->ntensors && status == PARE_OK; i++) out->names->tensor[i] = &file->tensor[i];
  if (status == PARE_OK) qsort(out->names->tensor, file->ntensors, sizeof *out->names->tensor, by_name);
  if (status == PARE_OK) status = list(path, out->names, out);
  if (status != PARE_OK) pare__quantised_close(out);
  return status;
}

void pare__quantised_close(pare__quantised_file *file) {
  if (file->names) {
    free(file->names->tensor);
    pare__arena_clear(&file->names->arena);
    free(file->names);
  }
  free(file->matrix);
  *file = (pare__quantised_file){0};
}

const pare__quantised *pare__quantised_of_codes(const pare__quantised_file *file,
                                                const pare__safetensors_tensor *tensor) {
  size_t low = 0, high = file->count; /* matrices are in the order of their codes */
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (file->matrix[middle].codes < tensor)
      low = middle + 1;
    else
      high = middle;
  }
  return low < file->count && file->matrix[low].codes == tensor ? &file->matrix[low] : NULL;
}

static const pare__quantised *named(const pare__quantised_file *file, const char *name, size_t length) {
  if (file->count == 0) return NULL;
  const pare__safetensors_tensor *plain = find(file->names, name, length, ""),
                                 *packed = find(file->names, name, length, packed_suffix);
  const pare__quantised *matrix = plain ? pare__quantised_of_codes(file, plain) : NULL;
  return matrix || !packed ? matrix : pare__quantised_of_codes(file, packed);
}

const pare__quantised *pare__quantised_named(const pare__quantised_file *file, const char *name) {
  return named(file, name, strlen(name));
}

bool pare__quantised_has_part(const pare__quantised_file *file, const pare__safetensors_tensor *tensor) {
  for (size_t i = 0; i < PARE__COUNT(parts); i++)
    if (ends_with(tensor->name, parts[i]) && named(file, tensor->name, strlen(tensor->name) - strlen(parts[i])))
      return true;
  return false;
}

/* ---- numbers ---- */

/* Code `index` of a line of packed words that lie `stride` words apart. */
static int64_t unpack(const pare__quantised *matrix, const void *words, int64_t first, int64_t stride, int64_t index) {
  const int64_t bits = matrix->bits, a_word = 32 / bits;
  const int64_t bit = matrix->has_gaps ? index / a_word * 32 + index % a_word * bits : index * bits;
  const size_t at = (size_t)(first + bit / 32 * stride);
  uint64_t value = (uint32_t)load_i32(words, at);
  if (bit % 32 + bits > 32) value |= (uint64_t)(uint32_t)load_i32(words, at + (size_t)stride) << 32;
  return (int64_t)(value >> bit % 32 & ((1U << bits) - 1)) - ((int64_t)1 << (bits - 1));
}

static int64_t zero_of(const pare__quantised *matrix, int64_t scale_row, int64_t group) {
  if (!matrix->is_asymmetric) return 0;
  if (matrix->zero->dtype == PARE__SAFETENSORS_I32)
    return unpack(matrix, matrix->zero->data, group, matrix->groups, scale_row);
  return ((const int8_t *)matrix->zero->data)[scale_row * matrix->groups + group];
}

/* Rounded as the library does that computes in the type of the scales; codes less zero points are exact there. */
static float number(const pare__quantised *matrix, double scale, int64_t code) {
  const float product = (float)(scale * (double)code);
  if (matrix->scale_dtype == PARE_F16) return pare__f16_to_f32(pare__f32_to_f16(product));
  if (matrix->scale_dtype == PARE_BF16) return pare__bf16_to_f32(pare__f32_to_bf16(product));
  return product;
}

void pare__quantised_row(const pare__quantised *matrix, int64_t row, float *out) {
  const int64_t scale_row = matrix->scale->count == 1 ? 0 : row, columns = matrix->columns;
  int64_t group = -1, zero = 0;
  double scale = 0;
  for (int64_t c = 0; c < columns; c++) {
    const int64_t now = matrix->order       ? load_i32(matrix->order->data, (size_t)c)
                        : matrix->group > 0 ? c / matrix->group
                                            : 0;
    if (now != group) {
      group = now;
      scale =
          pare__load_unaligned(matrix->scale_dtype, matrix->scale->data, (size_t)(scale_row * matrix->groups + group));
      zero = zero_of(matrix, scale_row, group);
    }
    const int64_t code = matrix->is_packed ? unpack(matrix, matrix->codes->data, row * matrix->codes->dim[1], 1, c)
                                           : ((const int8_t *)matrix->codes->data)[row * columns + c];
    out[c] = number(matrix, scale, code - zero);
  }
}
