/* numpy's arrays: a head in Python's notation, then the elements. SPDX-License-Identifier: Apache-2.0 */
#include "format/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/mapping.h"
#include "format/sink.h"

#define MAX_HEAD_BYTES ((size_t)64 << 10) /* ours have a few hundred; numpy's own limit is 10,000 */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "arrays are little-endian, and used in place"
#endif

/* ---- types ---- */

static const struct {
  const char *name;
  int dtype;
  char kind; /* numpy's letter */
  uint8_t nbytes;
  uint8_t swapped_bytes; /* of each number that big-endian files turn round */
} types[] = {
    {"f32", PARE_F32, 'f', 4, 4},
    {"f16", PARE_F16, 'f', 2, 2},
    {"f64", PARE_F64, 'f', 8, 8},
    {"i8", PARE_I8, 'i', 1, 1},
    {"u8", PARE_U8, 'u', 1, 1},
    {"i16", PARE_I16, 'i', 2, 2},
    {"i32", PARE_I32, 'i', 4, 4},
    {"i64", PARE_I64, 'i', 8, 8},
    {"bool", PARE_BOOL, 'b', 1, 1},
    {"u16", PARE_U16, 'u', 2, 2},
    {"u32", PARE_U32, 'u', 4, 4},
    {"u64", PARE_U64, 'u', 8, 8},
    {"c64", PARE__NPY_C64, 'c', 8, 4},
    {"c128", PARE__NPY_C128, 'c', 16, 8},
    {"raw2", PARE__NPY_RAW2, 'V', 2, 2},
    {"bf16", PARE_BF16, 'V', 2, 2}, /* written so; read as raw2, the row before */
    {"u8", PARE_U8, 'V', 1, 1},     /* what numpy makes of the floats of a byte */
    {"u8", PARE_U8, 'f', 1, 1},     /* and of its f8e5m2 */
    /* written as codes, read as u8 */
    {"f8e4m3fn", PARE_F8E4M3FN, 'u', 1, 1},
    {"f8e4m3fnuz", PARE_F8E4M3FNUZ, 'u', 1, 1},
    {"f8e5m2", PARE_F8E5M2, 'u', 1, 1},
    {"f8e5m2fnuz", PARE_F8E5M2FNUZ, 'u', 1, 1},
    {"f8e8m0", PARE_F8E8M0, 'u', 1, 1},
    {"f4e2m1", PARE_F4E2M1, 'u', 1, 1},
};

static int find_type(int dtype) {
  for (size_t i = 0; i < PARE__COUNT(types); i++)
    if (types[i].dtype == dtype) return (int)i;
  return -1;
}

const char *pare__npy_dtype_name(int dtype) {
  int type = find_type(dtype);
  return type < 0 ? "?" : types[type].name;
}

size_t pare__npy_dtype_bytes(int dtype) {
  int type = find_type(dtype);
  return type < 0 ? 0 : types[type].nbytes;
}

/* ---- the head ---- */

struct head {
  const char *name; /* of the file */
  const char *at, *end;
  char descr[32];
  bool fortran_order;
  unsigned keys_seen;
  pare__array *array;
};
enum { KEY_DESCR = 1, KEY_FORTRAN = 2, KEY_SHAPE = 4, KEYS_ALL = 7 };

static pare_status fail_head(const struct head *head, const char *what) {
  return pare__fail(PARE_ERR_FORMAT, "%s: %s: the file is damaged or no .npy file", head->name, what);
}

static void skip_space(struct head *head) {
  while (head->at < head->end && strchr(" \t\n\r", *head->at) && *head->at) head->at++;
}

static bool take(struct head *head, char expected) {
  skip_space(head);
  if (head->at == head->end || *head->at != expected) return false;
  head->at++;
  return true;
}

/* A word without quotes, or text in them. */
static bool take_text(struct head *head, char *out, size_t capacity) {
  skip_space(head);
  if (head->at == head->end || (*head->at != '\'' && *head->at != '"')) return false;
  char quote = *head->at++;
  const char *close = memchr(head->at, quote, (size_t)(head->end - head->at));
  size_t nbytes = close ? (size_t)(close - head->at) : 0;
  if (!close || nbytes >= capacity || memchr(head->at, '\\', nbytes) || memchr(head->at, '\0', nbytes)) return false;
  memcpy(out, head->at, nbytes);
  out[nbytes] = '\0';
  head->at = close + 1;
  return true;
}

static bool take_word(struct head *head, const char *word) {
  size_t nbytes = strlen(word);
  skip_space(head);
  if ((size_t)(head->end - head->at) < nbytes || memcmp(head->at, word, nbytes) != 0) return false;
  head->at += nbytes;
  return true;
}

static bool take_number(struct head *head, int64_t *out) {
  skip_space(head);
  const char *begin = head->at;
  *out = 0;
  for (; head->at < head->end && *head->at >= '0' && *head->at <= '9'; head->at++)
    if (!pare__i64_mul(*out, 10, out) || !pare__i64_add(*out, *head->at - '0', out)) return false;
  if (head->at == begin) return false;
  if (head->at < head->end && *head->at == 'L') head->at++; /* Python 2 wrote long numbers so */
  return true;
}

static pare_status take_shape(struct head *head) {
  pare__array *array = head->array;
  if (!take(head, '(')) return fail_head(head, "a shape that is no tuple");
  while (!take(head, ')')) {
    if (array->rank == PARE__NPY_MAX_RANK) return fail_head(head, "a shape of more than 64 dimensions");
    if (!take_number(head, &array->dims[array->rank++])) return fail_head(head, "a dimension that is no size");
    bool comma = take(head, ',');
    if (!comma && (head->at == head->end || *head->at != ')')) return fail_head(head, "a shape without end");
  }
  return PARE_OK;
}

static pare_status take_pair(struct head *head) {
  char key[32];
  unsigned bit = 0;
  if (!take_text(head, key, sizeof key) || !take(head, ':')) return fail_head(head, "a head that is no dictionary");
  if (strcmp(key, "descr") == 0) {
    bit = KEY_DESCR;
    if (!take_text(head, head->descr, sizeof head->descr))
      return pare__fail(PARE_ERR_TYPE, "%s: a structured array: only arrays of plain numbers are read", head->name);
  } else if (strcmp(key, "fortran_order") == 0) {
    bit = KEY_FORTRAN;
    head->fortran_order = take_word(head, "True");
    if (!head->fortran_order && !take_word(head, "False")) return fail_head(head, "a fortran_order that is no bool");
  } else if (strcmp(key, "shape") == 0) {
    bit = KEY_SHAPE;
    head->array->rank = 0;
    PARE__TRY(take_shape(head));
  }
  if (bit == 0 || head->keys_seen & bit) return fail_head(head, "an unknown or repeated key in the head");
  head->keys_seen |= bit;
  return PARE_OK;
}

static pare_status parse_head(struct head *head) {
  if (!take(head, '{')) return fail_head(head, "a head that is no dictionary");
  while (!take(head, '}')) {
    PARE__TRY(take_pair(head));
    if (!take(head, ',') && (head->at == head->end || *head->at != '}')) return fail_head(head, "a head without end");
  }
  skip_space(head);
  if (head->at != head->end) return fail_head(head, "something after the head's dictionary");
  if (head->keys_seen != KEYS_ALL) return fail_head(head, "a head without descr, fortran_order or shape");
  return PARE_OK;
}

/* "<f4" to a row of `types` and whether the bytes are to be turned round. */
static pare_status parse_descr(const struct head *head, int *type, bool *swaps) {
  const char *descr = head->descr;
  *swaps = false;
  *type = find_type(PARE_BF16);
  if (strcmp(descr, "bfloat16") == 0) return PARE_OK;
  bool ordered = descr[0] && strchr("<>|=", descr[0]);
  *swaps = descr[0] == '>';
  char kind = descr[ordered], *end = NULL;
  long nbytes = kind ? strtol(descr + ordered + 1, &end, 10) : 0;
  for (size_t i = 0; end && *end == '\0' && i < PARE__COUNT(types); i++) {
    if (types[i].kind != kind || types[i].nbytes != nbytes) continue;
    *type = (int)i;
    return PARE_OK;
  }
  return pare__fail(PARE_ERR_TYPE,
                    "%s: elements of type '%s': only numbers and bool are read, not objects, text or dates", head->name,
                    descr);
}

/* ---- elements ---- */

static void release_copy(pare__array *array) { free(array->owner); }

static void release_mapping(pare__array *array) {
  pare__mapping mapping = {array->owner, array->owner_bytes, true};
  pare__mapping_close(&mapping);
}

static void swap_bytes(uint8_t *data, size_t nbytes, size_t width) {
  for (size_t at = 0; at + width <= nbytes; at += width)
    for (size_t i = 0; i < width / 2; i++) {
      uint8_t kept = data[at + i];
      data[at + i] = data[at + width - 1 - i];
      data[at + width - 1 - i] = kept;
    }
}

/* Column-major to row-major: walks the result in order and the source by its strides. */
static void transpose(const uint8_t *from, uint8_t *to, const pare__array *array, size_t item_bytes) {
  int64_t stride[PARE__NPY_MAX_RANK], index[PARE__NPY_MAX_RANK] = {0}, step = 1, at = 0;
  for (int d = 0; d < array->rank; step *= array->dims[d++]) stride[d] = step;
  for (int64_t i = 0; i < array->count; i++) {
    memcpy(to + (size_t)i * item_bytes, from + (size_t)at * item_bytes, item_bytes);
    for (int d = array->rank - 1; d >= 0; d--) {
      at += stride[d];
      if (++index[d] < array->dims[d]) break;
      at -= stride[d] * array->dims[d];
      index[d] = 0;
    }
  }
}

/* The elements in order, as a view or a copy. */
static pare_status take_elements(const struct head *head, const uint8_t *data, int type, bool swaps) {
  pare__array *array = head->array;
  size_t width = types[type].swapped_bytes;
  bool transposes = head->fortran_order && array->rank > 1 && array->count > 0;
  array->data = data;
  if (!transposes && (!swaps || width == 1)) return PARE_OK;
  uint8_t *copy = malloc(array->nbytes ? array->nbytes : 1);
  if (!copy) return pare__fail_memory("an array", array->nbytes);
  if (transposes)
    transpose(data, copy, array, types[type].nbytes);
  else
    memcpy(copy, data, array->nbytes);
  if (swaps) swap_bytes(copy, array->nbytes, width);
  array->data = array->owner = copy;
  array->release = release_copy;
  return PARE_OK;
}

/* Elements and bytes of the shape. */
static pare_status measure(const struct head *head, size_t item_bytes) {
  pare__array *array = head->array;
  bool fits = true, zero = false;
  array->count = 1;
  for (int d = 0; d < array->rank; d++) {
    if (array->dims[d] == 0)
      zero = true;
    else if (fits)
      fits = pare__i64_mul(array->count, array->dims[d], &array->count);
  }
  if (zero) array->count = 0;
  if ((!fits && !zero) || (uint64_t)array->count > SIZE_MAX ||
      !pare__size_mul((size_t)array->count, item_bytes, &array->nbytes))
    return fail_head(head, "a shape whose size overflows");
  return PARE_OK;
}

static pare_status parse(const uint8_t *data, size_t nbytes, const char *name, pare__array *out) {
  struct head head = {.name = name, .array = out};
  if (nbytes < 10 || memcmp(data, "\x93NUMPY", 6) != 0)
    return fail_head(&head, "it does not begin as a .npy file does");
  if (data[6] < 1 || data[6] > 3 || data[7] != 0)
    return pare__fail(PARE_ERR_FORMAT, "%s: version %u.%u of the .npy format: 1.0, 2.0 and 3.0 are read", name, data[6],
                      data[7]);
  size_t length_bytes = data[6] == 1 ? 2 : 4, begin = 8 + length_bytes, head_bytes = 0;
  if (nbytes < begin) return fail_head(&head, "its head is cut off");
  memcpy(&head_bytes, data + 8, length_bytes);
  if (head_bytes > nbytes - begin || head_bytes > MAX_HEAD_BYTES) return fail_head(&head, "its head is cut off");
  head.at = (const char *)data + begin;
  head.end = head.at + head_bytes;
  PARE__TRY(parse_head(&head));
  int type;
  bool swaps;
  PARE__TRY(parse_descr(&head, &type, &swaps));
  PARE__TRY(measure(&head, types[type].nbytes));
  size_t left = nbytes - begin - head_bytes;
  if (left != out->nbytes)
    return pare__fail(PARE_ERR_FORMAT, "%s: %zu bytes of elements, its shape and type '%s' ask for %zu", name, left,
                      head.descr, out->nbytes);
  out->dtype = types[type].dtype;
  return take_elements(&head, data + begin + head_bytes, type, swaps);
}

pare_status pare__npy_parse(const void *data, size_t nbytes, const char *name, pare__array *out) {
  *out = (pare__array){0};
  pare_status status = parse(data, nbytes, name, out);
  if (status != PARE_OK) *out = (pare__array){0};
  return status;
}

pare_status pare__npy_open(const char *path, pare__array *out) {
  pare__mapping file;
  *out = (pare__array){0};
  PARE__TRY(pare__mapping_open(path, &file));
  pare_status status = pare__npy_parse(file.data, file.nbytes, path, out);
  if (status != PARE_OK || out->release) {
    pare__mapping_close(&file);
    return status;
  }
  out->owner = (void *)(uintptr_t)file.data;
  out->owner_bytes = file.nbytes;
  out->release = release_mapping;
  return PARE_OK;
}

void pare__array_close(pare__array *array) {
  if (array->release) array->release(array);
  *array = (pare__array){0};
}

/* ---- writing ---- */

pare_status pare__npy_head(const pare__array *array, char **out, size_t *nbytes) {
  char text[PARE__NPY_MAX_RANK * 22 + 128];
  *out = NULL;
  int type = find_type(array->dtype), used = 0;
  if (type < 0 || array->rank < 0 || array->rank > PARE__NPY_MAX_RANK)
    return pare__fail(PARE_ERR_ARGUMENT, "an array of dtype %d and rank %d cannot be written as .npy", array->dtype,
                      array->rank);
  used = snprintf(text, sizeof text, "{'descr': '%c%c%u', 'fortran_order': False, 'shape': (",
                  types[type].nbytes == 1 ? '|' : '<', types[type].kind, types[type].nbytes);
  for (int d = 0; d < array->rank; d++)
    used += snprintf(text + used, sizeof text - (size_t)used, "%s%" PRId64 "%s", d ? " " : "", array->dims[d],
                     d + 1 < array->rank || array->rank == 1 ? "," : "");
  used += snprintf(text + used, sizeof text - (size_t)used, "), }");
  size_t total = ((size_t)used + 10 + 1 + 63) / 64 * 64, length = total - 10;
  char *head = malloc(total);
  if (!head) return pare__fail_memory("the head of an array", total);
  memset(head, ' ', total);
  memcpy(head, "\x93NUMPY\x01", 8);
  memcpy(head + 8, &length, 2);
  memcpy(head + 10, text, (size_t)used);
  head[total - 1] = '\n';
  *out = head;
  *nbytes = total;
  return PARE_OK;
}

pare_status pare__npy_write(const char *path, const pare__array *array) {
  pare__sink *sink = NULL;
  char *head;
  size_t head_bytes;
  PARE__TRY(pare__npy_head(array, &head, &head_bytes));
  pare_status status = pare__sink_open(path, &sink);
  if (status == PARE_OK) status = pare__sink_write(sink, head, head_bytes);
  if (status == PARE_OK) status = pare__sink_write(sink, array->data, array->nbytes);
  if (status == PARE_OK) status = pare__sink_commit(sink);
  pare__sink_close(sink);
  free(head);
  return status;
}
