/* ONNX files: what is read, refused, written. SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "format/onnx_schema.h"

static char folder[] = "/tmp/pare-test-XXXXXX";

/* A path below the test's folder; valid until the fourth next call. */
static const char *below(const char *name) {
  static char paths[4][200];
  static unsigned next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static void write_file(const char *path, const void *data, size_t nbytes) {
  ck_assert_int_eq(pare__file_write(path, data, nbytes), PARE_OK);
}

#define SUCCEEDS(call) ck_assert_msg((call) == PARE_OK, "%s: %s", #call, pare_message())
#define FAILS(status, part, call)                                                                \
  do {                                                                                           \
    ck_assert_int_eq((call), (status));                                                          \
    ck_assert_msg(strstr(pare_message(), (part)), "'%s' is not in: %s", (part), pare_message()); \
  } while (0)

/* ---- a model of everything ---- */

#define NEW(model, list)                                          \
  ({                                                              \
    void *item_;                                                  \
    SUCCEEDS(PARE__ONNX_APPEND((model)->source, (list), &item_)); \
    (__typeof__((list)->items))item_;                             \
  })
#define TEXT(model, list, text)                 \
  do {                                          \
    const char **item_text_ = NEW(model, list); \
    *item_text_ = (text);                       \
  } while (0)

static const float weights[6] = {1, -2, 3.5f, 0, 5, 6};

static pare__onnx_model *build_model(void) {
  pare__onnx_model *model;
  SUCCEEDS(pare__onnx_create(&model));
  model->ir_version = 8;
  NEW(model, &model->opset_import)->version = 17;
  pare__onnx_opset *opset = NEW(model, &model->opset_import);
  opset->domain = "com.microsoft";
  opset->version = 1;
  pare__onnx_graph *graph = model->graph;
  graph->name = "graph";
  pare__onnx_tensor *tensor = NEW(model, &graph->initializer);
  tensor->name = "weights";
  tensor->data_type = PARE__ONNX_FLOAT;
  *NEW(model, &tensor->dims) = 2;
  *NEW(model, &tensor->dims) = 3;
  tensor->raw_data = (pare__onnx_bytes){weights, sizeof weights};
  for (int i = 0; i < 9; i++) {
    pare__onnx_node *node = NEW(model, &graph->node);
    node->op_type = "Gemm";
    TEXT(model, &node->input, "x");
    TEXT(model, &node->input, "");
    TEXT(model, &node->output, "y");
    pare__onnx_attribute *attribute = NEW(model, &node->attribute);
    attribute->name = "alpha";
    attribute->type = PARE__ONNX_ATTRIBUTE_FLOAT;
    attribute->f = (float)i;
    attribute->message.has = UINT64_C(1) << 2;
  }
  return model;
}

START_TEST(what_is_built_is_read_back) {
  pare__onnx_model *built = build_model(), *model;
  void *bytes;
  size_t nbytes;
  SUCCEEDS(pare__onnx_serialise(built, &bytes, &nbytes));
  SUCCEEDS(pare__onnx_open_memory(bytes, nbytes, "built", &model));
  ck_assert_int_eq(model->ir_version, 8);
  ck_assert_int_eq(pare__onnx_opset_version(&model->opset_import, "ai.onnx"), 17);
  ck_assert_int_eq(pare__onnx_opset_version(&model->opset_import, "com.microsoft"), 1);
  ck_assert_int_eq(pare__onnx_opset_version(&model->opset_import, "elsewhere"), 0);
  ck_assert_uint_eq(model->graph->node.count, 9);
  for (size_t i = 0; i < 9; i++) {
    const pare__onnx_node *node = &model->graph->node.items[i];
    ck_assert_str_eq(node->op_type, "Gemm");
    ck_assert_ptr_null(node->name);
    ck_assert_uint_eq(node->input.count, 2);
    ck_assert_str_eq(node->input.items[1], "");
    const pare__onnx_attribute *alpha = pare__onnx_attribute_find(node, "alpha");
    ck_assert_ptr_nonnull(alpha);
    ck_assert(PARE__ONNX_HAS(alpha, 2) && alpha->f == (float)i);
    ck_assert_ptr_null(pare__onnx_attribute_find(node, "beta"));
  }
  pare__onnx_data data;
  SUCCEEDS(pare__onnx_tensor_data(model->source, &model->graph->initializer.items[0], &data));
  ck_assert_int_eq(data.count, 6);
  ck_assert_mem_eq(data.data, weights, sizeof weights);
  ck_assert_ptr_null(data.owned);
  pare__onnx_data_close(&data);
  pare__onnx_close(model);
  pare__onnx_close(built);
  free(bytes);
}
END_TEST

START_TEST(a_file_can_replace_the_one_that_was_read) {
  pare__onnx_model *model = build_model();
  SUCCEEDS(pare__onnx_write(model, below("replaced.onnx"), NULL));
  pare__onnx_close(model);
  SUCCEEDS(pare__onnx_open(below("replaced.onnx"), &model));
  model->graph->node.items[3].op_type = "MatMul";
  SUCCEEDS(pare__onnx_write(model, below("replaced.onnx"), NULL));
  pare__onnx_close(model);
  SUCCEEDS(pare__onnx_open(below("replaced.onnx"), &model));
  ck_assert_str_eq(model->graph->node.items[3].op_type, "MatMul");
  ck_assert_str_eq(model->graph->node.items[4].op_type, "Gemm");
  pare__onnx_close(model);
  FAILS(PARE_ERR_IO, "nowhere", pare__onnx_open(below("nowhere/m.onnx"), &model));
  ck_assert_ptr_null(model);
}
END_TEST

/* ---- the wire ---- */

static pare_status open_bytes(const void *bytes, size_t nbytes, pare__onnx_model **out) {
  return pare__onnx_open_memory(bytes, nbytes, "bytes.onnx", out);
}
#define OPEN(text, out) open_bytes((text), sizeof(text) - 1, (out))

START_TEST(malformed_bytes_are_refused_with_their_place) {
  pare__onnx_model *model;
  FAILS(PARE_ERR_FORMAT, "empty", OPEN("", &model));
  FAILS(PARE_ERR_FORMAT, "no graph", OPEN("\x08\x07", &model));
  FAILS(PARE_ERR_FORMAT, "bytes.onnx: byte 0: ", OPEN("\x08", &model));
  FAILS(PARE_ERR_FORMAT, "byte 6 (graph.node[1])", OPEN("\x3a\x07\x0a\x00\x0a\x03\x22\x05x", &model));
  FAILS(PARE_ERR_FORMAT, "longer than what is left", OPEN("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", &model));
  FAILS(PARE_ERR_FORMAT, "a number without end", OPEN("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &model));
  FAILS(PARE_ERR_FORMAT, "no field begins", OPEN("\x00\x01", &model));
  FAILS(PARE_ERR_FORMAT, "unknown wire type", OPEN("\x0f", &model));
  FAILS(PARE_ERR_FORMAT, "the end of no group", OPEN("\x0c", &model));
  FAILS(PARE_ERR_FORMAT, "a group without end", OPEN("\xfb\x01\x08\x01", &model));
  FAILS(PARE_ERR_FORMAT, "(graph): text that holds a NUL",
        OPEN("\x3a\x05\x12\x03"
             "a\0b",
             &model));
  FAILS(PARE_ERR_FORMAT, "cut off", OPEN("\x3a\x06\x2a\x04\x22\x02\x00\x00", &model));
}
END_TEST

/* graph.node.attribute.g.node… : each level wraps what is there. */
static size_t nest(uint8_t *bytes, size_t capacity, unsigned depth) {
  static const uint8_t tags[3] = {0x32, 0x2a, 0x0a}; /* attribute.g, node.attribute, graph.node */
  size_t begin = capacity;
  for (unsigned i = 0; i <= depth; i++) {
    size_t nbytes = capacity - begin;
    begin -= 6;
    bytes[begin] = i == depth ? 0x3a : tags[(depth - i - 1) % 3 == 0 ? 2 : (depth - i - 1) % 3 == 1 ? 1 : 0];
    for (unsigned k = 0; k < 5; k++) bytes[begin + 1 + k] = (uint8_t)((nbytes >> (7 * k) & 0x7f) | (k < 4 ? 0x80 : 0));
  }
  return begin;
}

START_TEST(nesting_has_a_limit) {
  static uint8_t bytes[200000];
  pare__onnx_model *model;
  size_t begin = nest(bytes, sizeof bytes, 90);
  SUCCEEDS(open_bytes(bytes + begin, sizeof bytes - begin, &model));
  pare__onnx_close(model);
  begin = nest(bytes, sizeof bytes, 20000);
  FAILS(PARE_ERR_FORMAT, "nested too deeply", open_bytes(bytes + begin, sizeof bytes - begin, &model));
  memset(bytes, 0x1b, sizeof bytes); /* groups in groups of an unknown field */
  FAILS(PARE_ERR_FORMAT, "nested too deeply", open_bytes(bytes, sizeof bytes, &model));
}
END_TEST

START_TEST(memory_does_not_grow_without_bounds) {
  size_t nbytes = (size_t)4 << 20;
  uint8_t *bytes = malloc(nbytes + 5);
  memcpy(bytes, "\x3a\x80\x80\x80\x02", 5); /* a graph of 4 MiB of initializers of two bytes each */
  for (size_t i = 0; i < nbytes; i += 2) memcpy(bytes + 5 + i, "\x2a", 2);
  pare__onnx_model *model;
  FAILS(PARE_ERR_MEMORY, "limit", open_bytes(bytes, nbytes + 5, &model));
  free(bytes);
}
END_TEST

START_TEST(unknown_fields_are_kept) {
  /* ir_version, field 1000 = 5, graph { name "g", field 99 "zz" }, training_info { }, a group */
  static const char text[] = "\x08\x07\xc0\x3e\x05\x3a\x08\x12\x01g\x9a\x06\x02zz\xa2\x01\x00\xfb\x01\x08\x01\xfc\x01";
  pare__onnx_model *model, *again;
  void *bytes;
  size_t nbytes;
  SUCCEEDS(OPEN(text, &model));
  ck_assert_uint_eq(model->message.unknown.nbytes, 3 + 3 + 6);
  ck_assert_mem_eq(model->graph->message.unknown.data, "\x9a\x06\x02zz", 5);
  SUCCEEDS(pare__onnx_serialise(model, &bytes, &nbytes));
  ck_assert_uint_eq(nbytes, sizeof text - 1);
  SUCCEEDS(open_bytes(bytes, nbytes, &again));
  ck_assert_uint_eq(again->message.unknown.nbytes, model->message.unknown.nbytes);
  ck_assert_mem_eq(again->message.unknown.data, model->message.unknown.data, model->message.unknown.nbytes);
  pare__onnx_close(again);
  pare__onnx_close(model);
  free(bytes);
}
END_TEST

START_TEST(typed_numbers_may_come_in_pieces) {
  /* int64 [3]: 1 unpacked, an empty pack, -1 and 300 packed; then as one pack. */
  static const char pieces[] =
      "\x08\x03\x10\x07\x38\x01\x3a\x00\x3a\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xac\x02";
  pare__onnx_source *source;
  pare__onnx_tensor *tensor;
  pare__onnx_data data;
  SUCCEEDS(pare__onnx_tensor_open_memory(pieces, sizeof pieces - 1, "pieces.pb", &source, &tensor));
  ck_assert_uint_eq(tensor->int64_data.count, 3);
  SUCCEEDS(pare__onnx_tensor_data(source, tensor, &data));
  static const int64_t expected[3] = {1, -1, 300};
  ck_assert_mem_eq(data.data, expected, sizeof expected);
  pare__onnx_data_close(&data);
  SUCCEEDS(pare__onnx_tensor_write(source, tensor, below("pieces.pb")));
  pare__onnx_source_close(source);
  SUCCEEDS(pare__onnx_tensor_open(below("pieces.pb"), &source, &tensor));
  SUCCEEDS(pare__onnx_tensor_data(source, tensor, &data));
  ck_assert_mem_eq(data.data, expected, sizeof expected);
  pare__onnx_data_close(&data);
  pare__onnx_source_close(source);
}
END_TEST

/* ---- elements ---- */

/* data_type and dims are the test's; the typed field is int32_data with the numbers 1, 2, 3. */
static pare_status elements_of(int32_t dtype, const int64_t *dims, size_t ndims, pare__onnx_data *data) {
  static const uint8_t wire[] = {1, 2, 3};
  pare__onnx_model *model;
  SUCCEEDS(pare__onnx_create(&model));
  pare__onnx_tensor tensor = {.name = "t", .data_type = dtype, .int32_data = {3, {wire, 3}}};
  tensor.dims.items = (int64_t *)(uintptr_t)dims;
  tensor.dims.count = ndims;
  pare_status status = pare__onnx_tensor_data(model->source, &tensor, data);
  pare__onnx_close(model);
  return status;
}

START_TEST(elements_have_the_size_of_their_type) {
  pare__onnx_data data;
  SUCCEEDS(elements_of(PARE__ONNX_INT32, (int64_t[]){3}, 1, &data));
  ck_assert_mem_eq(data.data, ((int32_t[]){1, 2, 3}), 12);
  pare__onnx_data_close(&data);
  SUCCEEDS(elements_of(PARE__ONNX_BFLOAT16, (int64_t[]){1, 3}, 2, &data));
  ck_assert_mem_eq(data.data, ((uint16_t[]){1, 2, 3}), 6);
  pare__onnx_data_close(&data);
  SUCCEEDS(elements_of(PARE__ONNX_INT4, (int64_t[]){5}, 1, &data));
  ck_assert_uint_eq(data.nbytes, 3);
  ck_assert_mem_eq(data.data, ((uint8_t[]){1, 2, 3}), 3);
  pare__onnx_data_close(&data);
  FAILS(PARE_ERR_FORMAT, "'t': 3 numbers", elements_of(PARE__ONNX_INT4, (int64_t[]){7}, 1, &data));
  FAILS(PARE_ERR_FORMAT, "ask for 4", elements_of(PARE__ONNX_UINT8, (int64_t[]){2, 2}, 2, &data));
  FAILS(PARE_ERR_FORMAT, "ask for 1", elements_of(PARE__ONNX_BOOL, NULL, 0, &data));
  FAILS(PARE_ERR_FORMAT, "dimension 1 is -3", elements_of(PARE__ONNX_INT8, (int64_t[]){1, -3}, 2, &data));
  FAILS(PARE_ERR_FORMAT, "overflow", elements_of(PARE__ONNX_INT8, (int64_t[]){INT64_MAX, 3}, 2, &data));
  FAILS(PARE_ERR_FORMAT, "overflow", elements_of(PARE__ONNX_DOUBLE, (int64_t[]){INT64_MAX / 2}, 1, &data));
  FAILS(PARE_ERR_FORMAT, "type 77", elements_of(77, (int64_t[]){3}, 1, &data));
  FAILS(PARE_ERR_TYPE, "strings", elements_of(PARE__ONNX_STRING, (int64_t[]){3}, 1, &data));
}
END_TEST

START_TEST(dtypes_map_to_those_of_tensors_and_back) {
  for (int dtype = 0; dtype < PARE_NDTYPES; dtype++) {
    pare_dtype again;
    int32_t onnx = pare__onnx_dtype_from_pare((pare_dtype)dtype);
    ck_assert(pare__onnx_dtype_to_pare(onnx, &again));
    ck_assert_int_eq(again, dtype);
    ck_assert_uint_eq(pare__onnx_dtype_bits(onnx), again == PARE_F4E2M1 ? 4 : 8 * pare_dtype_bytes(again));
  }
  ck_assert_str_eq(pare__onnx_dtype_name(PARE__ONNX_FLOAT8E5M2FNUZ), "float8e5m2fnuz");
  ck_assert_str_eq(pare__onnx_dtype_name(-1), "undefined");
}
END_TEST

/* ---- external data ---- */

/* The weights from an external file of a model in the test's folder. */
static pare_status read_external(const char *location, const char *offset, const char *length) {
  pare__onnx_model *model = build_model();
  SUCCEEDS(pare__onnx_write(model, below("model.onnx"), NULL));
  pare__onnx_close(model);
  SUCCEEDS(pare__onnx_open(below("model.onnx"), &model));
  pare__onnx_tensor *tensor = &model->graph->initializer.items[0];
  tensor->raw_data = (pare__onnx_bytes){NULL, 0};
  tensor->data_location = PARE__ONNX_LOCATION_EXTERNAL;
  *NEW(model, &tensor->external_data) = (pare__onnx_entry){.key = "location", .value = location};
  if (offset) *NEW(model, &tensor->external_data) = (pare__onnx_entry){.key = "offset", .value = offset};
  if (length) *NEW(model, &tensor->external_data) = (pare__onnx_entry){.key = "length", .value = length};
  pare__onnx_data data;
  pare_status status = pare__onnx_tensor_data(model->source, tensor, &data);
  if (status == PARE_OK) {
    ck_assert(data.mapped && !data.owned);
    ck_assert_mem_eq(data.data, weights, sizeof weights);
  }
  pare__onnx_data_close(&data);
  pare__onnx_close(model);
  return status;
}

START_TEST(external_data_stays_in_the_folder) {
  char padded[64 + sizeof weights] = "";
  memcpy(padded + 64, weights, sizeof weights);
  write_file(below("weights.bin"), padded, sizeof padded);
  mkdir(below("deeper"), 0700);
  write_file(below("deeper/weights.bin"), weights, sizeof weights);
  ck_assert_int_eq(symlink("weights.bin", below("link.bin")), 0);
  ck_assert_int_eq(symlink("deeper", below("link")), 0);
  ck_assert_int_eq(mkfifo(below("fifo"), 0600), 0);
  SUCCEEDS(read_external("weights.bin", "64", "24"));
  SUCCEEDS(read_external("./weights.bin", "64", NULL));
  SUCCEEDS(read_external("deeper/weights.bin", NULL, NULL));
  FAILS(PARE_ERR_FORMAT, "a part is missing", read_external("weights.bin", "65", NULL));
  FAILS(PARE_ERR_FORMAT, "a part is missing", read_external("weights.bin", "9223372036854775807", NULL));
  FAILS(PARE_ERR_FORMAT, "ask for 24", read_external("weights.bin", "64", "23"));
  FAILS(PARE_ERR_FORMAT, "no sizes", read_external("weights.bin", "-1", NULL));
  FAILS(PARE_ERR_FORMAT, "no sizes", read_external("weights.bin", "99999999999999999999", NULL));
  FAILS(PARE_ERR_FORMAT, "no sizes", read_external("weights.bin", "64", "0x18"));
  FAILS(PARE_ERR_FORMAT, "absolute", read_external(below("weights.bin"), "64", NULL));
  FAILS(PARE_ERR_FORMAT, "'..'", read_external("deeper/../weights.bin", "64", NULL));
  FAILS(PARE_ERR_FORMAT, "'..'", read_external("..", "64", NULL));
  FAILS(PARE_ERR_FORMAT, "no location", read_external("", "64", NULL));
  FAILS(PARE_ERR_FORMAT, "symbolic link", read_external("link.bin", "64", NULL));
  FAILS(PARE_ERR_FORMAT, "symbolic link", read_external("link/weights.bin", NULL, NULL));
  FAILS(PARE_ERR_IO, "absent.bin", read_external("absent.bin", NULL, NULL));
  FAILS(PARE_ERR_IO, "regular file", read_external("fifo", NULL, NULL));
  FAILS(PARE_ERR_IO, "regular file", read_external("deeper", NULL, NULL));
}
END_TEST

START_TEST(old_kernels_open_no_links_either) {
  int top = open(folder, O_PATH | O_DIRECTORY);
  static const char *const good[] = {"weights.bin", "./weights.bin", "deeper//weights.bin"};
  static const char *const bad[] = {"link.bin", "link/weights.bin", "absent.bin", "weights.bin/x"};
  for (size_t i = 0; i < PARE__COUNT(good); i++) {
    int file = pare__onnx_open_parts(top, good[i]);
    ck_assert_msg(file >= 0, "%s: %s", good[i], strerror(errno));
    close(file);
  }
  for (size_t i = 0; i < PARE__COUNT(bad); i++) ck_assert_int_lt(pare__onnx_open_parts(top, bad[i]), 0);
  close(top);
}
END_TEST

/* The last bytes first. */
static pare_status produce_weights(void *user, pare__stream_put put, void *sink) {
  const size_t *nbytes = user;
  for (size_t left = *nbytes; left >= 8; left -= 8) PARE__TRY(put(sink, left - 8, (const char *)weights + left - 8, 8));
  return PARE_OK;
}

START_TEST(elements_move_to_an_external_file_and_back) {
  pare__onnx_model *model = build_model();
  size_t nbytes = sizeof weights;
  pare__stream stream = {sizeof weights, produce_weights, &nbytes};
  pare__onnx_tensor *tensor = NEW(model, &model->graph->initializer);
  *tensor = model->graph->initializer.items[0];
  tensor->name = "streamed";
  tensor->raw_data = (pare__onnx_bytes){NULL, 0};
  tensor->stream = &stream;
  pare__onnx_write_options options = {"out.data", 24};
  SUCCEEDS(pare__onnx_write(model, below("out.onnx"), &options));
  SUCCEEDS(pare__onnx_write(model, below("inside.onnx"), NULL));
  void *memory;
  size_t size;
  SUCCEEDS(pare__onnx_serialise(model, &memory, &size));
  write_file(below("memory.onnx"), memory, size);
  free(memory);
  nbytes = 32;
  FAILS(PARE_ERR_ARGUMENT, "8 bytes at 24 of 24", pare__onnx_write(model, below("short.onnx"), NULL));
  nbytes = 16;
  FAILS(PARE_ERR_ARGUMENT, "16 bytes instead of 24", pare__onnx_write(model, below("short.onnx"), NULL));
  ck_assert(!pare__file_exists(below("short.onnx")));
  options.external_file = "../out.data";
  FAILS(PARE_ERR_ARGUMENT, "another file", pare__onnx_write(model, below("out.onnx"), &options));
  options.external_file = "out.onnx";
  FAILS(PARE_ERR_ARGUMENT, "another file", pare__onnx_write(model, below("out.onnx"), &options));
  pare__onnx_close(model);

  SUCCEEDS(pare__onnx_open(below("out.onnx"), &model));
  ck_assert_int_eq(model->graph->initializer.items[1].data_location, PARE__ONNX_LOCATION_EXTERNAL);
  SUCCEEDS(pare__onnx_write(model, below("back.onnx"), NULL));
  pare__onnx_close(model);
  static const char *const names[] = {"out.onnx", "inside.onnx", "back.onnx", "memory.onnx"};
  for (size_t file = 0; file < PARE__COUNT(names); file++) {
    SUCCEEDS(pare__onnx_open(below(names[file]), &model));
    ck_assert_uint_eq(model->graph->initializer.count, 2);
    for (size_t i = 0; i < 2; i++) {
      pare__onnx_data data;
      SUCCEEDS(pare__onnx_tensor_data(model->source, &model->graph->initializer.items[i], &data));
      ck_assert_mem_eq(data.data, weights, sizeof weights);
      pare__onnx_data_close(&data);
    }
    pare__onnx_close(model);
  }
}
END_TEST

/* Resident kilobytes of files that this process has mapped; what a sanitizer keeps beside them does not count. */
static long resident_kb(void) {
  char line[256];
  long found = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file)) sscanf(line, "RssFile: %ld", &found);
  if (file) fclose(file);
  return found;
}

START_TEST(a_large_model_opens_without_its_weights) {
  size_t nbytes = (size_t)1 << 30;
  write_file(below("large.data"), "", 0);
  ck_assert_int_eq(truncate(below("large.data"), (off_t)nbytes), 0); /* a hole: no disk is used */
  pare__onnx_model *model = build_model(), *opened;
  SUCCEEDS(pare__onnx_write(model, below("large.onnx"), NULL));
  pare__onnx_tensor *tensor = &model->graph->initializer.items[0];
  tensor->raw_data = (pare__onnx_bytes){NULL, 0};
  tensor->data_location = PARE__ONNX_LOCATION_EXTERNAL;
  tensor->dims.items[0] = (int64_t)(nbytes / 8);
  tensor->dims.items[1] = 2;
  *NEW(model, &tensor->external_data) = (pare__onnx_entry){.key = "location", .value = "large.data"};
  SUCCEEDS(pare__onnx_open(below("large.onnx"), &opened));
  long before = resident_kb();
  pare__onnx_data data;
  SUCCEEDS(pare__onnx_tensor_data(opened->source, tensor, &data));
  ck_assert_uint_eq(data.nbytes, nbytes);
  long sum = 0;
  for (size_t i = 0; i < (size_t)64 << 20; i += 4096) sum += ((const char *)data.data)[i];
  ck_assert_int_eq(sum, 0);
  long used = resident_kb();
  pare__onnx_data_close(&data);
  ck_assert_int_lt(used - before, 96 << 10); /* 64 MiB were read */
  ck_assert_int_lt(resident_kb() - before, 8 << 10);
  pare__onnx_close(opened);
  pare__onnx_close(model);
}
END_TEST

/* ---- */

static void make_folder(void) { ck_assert_ptr_nonnull(mkdtemp(folder)); }

static void remove_folder(void) {
  char command[200];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  ck_assert_int_eq(system(command), 0);
}

int main(void) {
  Suite *suite = suite_create("format_onnx");
  TCase *cases = tcase_create("all");
  tcase_add_unchecked_fixture(cases, make_folder, remove_folder);
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, what_is_built_is_read_back);
  tcase_add_test(cases, a_file_can_replace_the_one_that_was_read);
  tcase_add_test(cases, malformed_bytes_are_refused_with_their_place);
  tcase_add_test(cases, nesting_has_a_limit);
  tcase_add_test(cases, memory_does_not_grow_without_bounds);
  tcase_add_test(cases, unknown_fields_are_kept);
  tcase_add_test(cases, typed_numbers_may_come_in_pieces);
  tcase_add_test(cases, elements_have_the_size_of_their_type);
  tcase_add_test(cases, dtypes_map_to_those_of_tensors_and_back);
  tcase_add_test(cases, external_data_stays_in_the_folder);
  tcase_add_test(cases, old_kernels_open_no_links_either);
  tcase_add_test(cases, elements_move_to_an_external_file_and_back);
  tcase_add_test(cases, a_large_model_opens_without_its_weights);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int nfailed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return nfailed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
