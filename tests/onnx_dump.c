/* Prints what the reader found in ONNX files, a line a value, for comparison with another parser.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   onnx_dump [-r] FILE…      -r: also writes FILE.rewritten, parsed and written again
 *
 * A file called *.pb is a TensorProto. Numbers are decimal, floats their bits, text and bytes hexadecimal; what is
 * longer than 64 bytes is its length and CRC-32. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/onnx_schema.h"

static char path[16384];

static uint32_t checksum(const uint8_t *data, size_t nbytes) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < nbytes; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

static void print_bytes(const void *data, size_t nbytes) {
  const uint8_t *bytes = data;
  if (nbytes > 64) {
    printf("%s=#%zu:%08x\n", path, nbytes, checksum(bytes, nbytes));
    return;
  }
  printf("%s=", path);
  for (size_t i = 0; i < nbytes; i++) printf("%02x", bytes[i]);
  putchar('\n');
}

static uint64_t next_varint(const uint8_t **at) {
  uint64_t value = 0;
  unsigned shift = 0;
  do {
    if (shift < 64) value |= (uint64_t)(**at & 0x7f) << shift;
    shift += 7;
  } while (*(*at)++ >= 0x80);
  return value;
}

/* Eight bytes a number, whatever the wire's width. */
static void print_packed(const pare__onnx_field *field, const pare__onnx_packed *packed) {
  const uint8_t *at = packed->wire.data;
  size_t width = pare__onnx_wire_type(field->kind) == PARE__WIRE_FIXED32 ? 4 : 8;
  uint64_t *numbers = calloc(packed->count, sizeof *numbers);
  for (size_t i = 0; i < packed->count; i++) {
    if (field->kind == PARE__ONNX_KIND_PACKED_VARINT) {
      numbers[i] = next_varint(&at);
      if (strcmp(field->name, "int32_data") == 0) numbers[i] = (uint64_t)(int64_t)(int32_t)(uint32_t)numbers[i];
    } else {
      memcpy(&numbers[i], at + i * width, width);
    }
  }
  print_bytes(numbers, packed->count * sizeof *numbers);
  free(numbers);
}

static void print_message(const pare__onnx_layout *layout, const void *object);

static void print_value(const pare__onnx_field *field, const void *value) {
  int64_t number64;
  int32_t number32;
  uint32_t bits;
  const char *text;
  const pare__onnx_bytes *bytes = value;
  switch ((pare__onnx_kind)field->kind) {
  case PARE__ONNX_KIND_INT64:
    memcpy(&number64, value, sizeof number64);
    printf("%s=%lld\n", path, (long long)number64);
    break;
  case PARE__ONNX_KIND_INT32:
  case PARE__ONNX_KIND_ENUM:
    memcpy(&number32, value, sizeof number32);
    printf("%s=%d\n", path, (int)number32);
    break;
  case PARE__ONNX_KIND_FLOAT:
    memcpy(&bits, value, sizeof bits);
    printf("%s=%08x\n", path, (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits);
    break;
  case PARE__ONNX_KIND_TEXT:
    memcpy(&text, value, sizeof text);
    print_bytes(text, strlen(text));
    break;
  case PARE__ONNX_KIND_BYTES: print_bytes(bytes->data, bytes->nbytes); break;
  default: printf("%s\n", path); print_message(field->layout, value);
  }
}

static void print_field(const pare__onnx_field *field, const void *object) {
  const void *member = pare__onnx_member(object, field);
  if (pare__onnx_kind_is_packed(field->kind)) {
    if (((const pare__onnx_packed *)member)->count > 0) print_packed(field, member);
  } else if (field->repeated) {
    const pare__onnx_list *list = member;
    size_t length = strlen(path), item_bytes = pare__onnx_value_bytes(field);
    for (size_t i = 0; i < list->count; i++) {
      snprintf(path + length, sizeof path - length, "[%zu]", i);
      print_value(field, (const char *)list->items + i * item_bytes);
    }
  } else if (((const pare__onnx_message *)object)->has >> field->number & 1) {
    const void *child;
    memcpy(&child, member, sizeof child);
    print_value(field, field->layout ? child : member);
  }
}

static void print_message(const pare__onnx_layout *layout, const void *object) {
  size_t length = strlen(path);
  for (unsigned i = 0; i < layout->nfields; i++) {
    snprintf(path + length, sizeof path - length, "%s%s", length ? "." : "", layout->fields[i].name);
    print_field(&layout->fields[i], object);
    path[length] = '\0';
  }
}

static pare_status rewrite_model(const char *file, const pare__onnx_model *model, pare__onnx_source *source,
                                 const pare__onnx_tensor *tensor) {
  static char name[4096];
  void *data = NULL;
  size_t nbytes;
  snprintf(name, sizeof name, "%s.rewritten", file);
  if (tensor) return pare__onnx_tensor_write(source, tensor, name);
  /* As the tests of single files have it: external data stays where it is, and nothing of it is there. */
  pare_status status = pare__onnx_serialise(model, &data, &nbytes);
  FILE *out = status == PARE_OK ? fopen(name, "wb") : NULL;
  if (out) {
    fwrite(data, 1, nbytes, out);
    fclose(out);
  }
  free(data);
  return status;
}

static void dump(const char *file, bool rewrites) {
  size_t length = strlen(file);
  bool is_tensor = length > 3 && strcmp(file + length - 3, ".pb") == 0;
  pare__onnx_model *model = NULL;
  pare__onnx_tensor *tensor = NULL;
  pare__onnx_source *source = NULL;
  printf("file %s\n", file);
  pare_status status = is_tensor ? pare__onnx_tensor_open(file, &source, &tensor) : pare__onnx_open(file, &model);
  if (status != PARE_OK) {
    printf("refused %s: %s\n", pare_status_name(status), pare_message());
  } else {
    print_message(is_tensor ? &pare__onnx_tensor_layout : &pare__onnx_model_layout,
                  is_tensor ? (void *)tensor : (void *)model);
    if (rewrites && rewrite_model(file, model, source, tensor) != PARE_OK) printf("not rewritten %s\n", pare_message());
  }
  pare__onnx_close(model);
  pare__onnx_source_close(source);
}

int main(int argc, char **argv) {
  bool rewrites = argc > 1 && strcmp(argv[1], "-r") == 0;
  for (int i = 1 + rewrites; i < argc; i++) dump(argv[i], rewrites);
  return 0;
}
