/* Arrays in files and models looked at, through the public interface. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <pare/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dtype.h"
#include "onnx_builder.h"
#include "run.h"

static char folder[] = "/tmp/pare-test-XXXXXX";

/* A path below the test's folder; valid until the next call. */
static const char *below(const char *name) {
  static char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

#define FAILS(status, part, call)                                                                \
  do {                                                                                           \
    ck_assert_int_eq((call), (status));                                                          \
    ck_assert_msg(strstr(pare_message(), (part)), "'%s' is not in: %s", (part), pare_message()); \
  } while (0)

static void write_file(const char *name, const void *data, size_t nbytes) {
  FILE *file = fopen(below(name), "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(data, 1, nbytes, file), nbytes);
  ck_assert_int_eq(fclose(file), 0);
}

/* ---- arrays ---- */

START_TEST(every_dtype_comes_back_from_an_archive) {
  static const uint8_t bytes[6 * 8] = {1, 0, 1, 1, 0, 1, 0x80, 0x3f};
  pare_array given[PARE_NDTYPES];
  for (int i = 0; i < PARE_NDTYPES; i++)
    given[i] = (pare_array){.name = pare_dtype_name((pare_dtype)i),
                            .dtype = (pare_dtype)i,
                            .rank = 2,
                            .dim = {2, 3},
                            .data = bytes,
                            .nbytes = 6 * pare_dtype_bytes((pare_dtype)i)};
  for (int deflates = 0; deflates < 2; deflates++) {
    pare_arrays *arrays;
    OK(pare_arrays_write(below("all.npz"), PARE_NDTYPES, given, deflates));
    OK(pare_arrays_open(below("all.npz"), &arrays));
    ck_assert_uint_eq(pare_arrays_count(arrays), PARE_NDTYPES);
    for (int i = 0; i < PARE_NDTYPES; i++) {
      size_t index;
      pare_array found;
      ck_assert(pare_arrays_find(arrays, given[i].name, &index));
      OK(pare_arrays_get(arrays, index, &found));
      ck_assert_str_eq(found.name, given[i].name);
      const pare_dtype dtype = pare__dtype_is_tiny(given[i].dtype) ? PARE_U8 : given[i].dtype; /* codes */
      ck_assert_int_eq(found.dtype, dtype);
      ck_assert_str_eq(found.dtype_name, pare_dtype_name(dtype));
      ck_assert(found.rank == 2 && found.dim[0] == 2 && found.dim[1] == 3);
      ck_assert_uint_eq(found.nbytes, given[i].nbytes);
      ck_assert_mem_eq(found.data, bytes, found.nbytes);
    }
    pare_arrays_close(arrays);
  }
}
END_TEST

START_TEST(an_archive_says_what_it_lacks) {
  static const float x[] = {1, 2};
  const pare_array given = {.name = "x", .dtype = PARE_F32, .rank = 1, .dim = {2}, .data = x, .nbytes = sizeof x};
  pare_arrays *arrays;
  pare_array found;
  size_t index;
  OK(pare_arrays_write(below("one.npz"), 1, &given, false));
  OK(pare_arrays_open(below("one.npz"), &arrays));
  ck_assert(!pare_arrays_find(arrays, "y", &index));
  ck_assert_ptr_null(pare_arrays_name(arrays, 1));
  FAILS(PARE_ERR_ARGUMENT, "the file has 1", pare_arrays_get(arrays, 1, &found));
  pare_arrays_close(arrays);
}
END_TEST

START_TEST(elements_are_numbers_whatever_their_dtype) {
  static const float floats[] = {-1.5F, 3};
  static const uint16_t half[] = {0x3fc0}; /* bf16: 1.5 */
  const pare_array f32 = {.dtype = PARE_F32, .data = floats, .nbytes = sizeof floats};
  const pare_array bf16 = {.dtype = PARE_BF16, .data = half, .nbytes = sizeof half};
  ck_assert_double_eq(pare_array_number(&f32, 0), -1.5);
  ck_assert_double_eq(pare_array_number(&f32, 1), 3);
  ck_assert(isnan(pare_array_number(&f32, 2)));
  ck_assert_double_eq(pare_array_number(&bf16, 0), 1.5);
  ck_assert(isnan(pare_array_number(NULL, 0)));
}
END_TEST

/* TensorProto: dims (1), data_type (2), name (8), raw_data (9). */
START_TEST(a_tensor_of_onnx_is_an_array) {
  static const uint8_t floats[] = {8, 2, 16, 1, 66, 1, 'x', 74, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40};
  static const uint8_t nibbles[] = {8, 3, 16, 22, 74, 2, 0xf1, 0x02}; /* int4: 1, -1, 2 */
  static const uint8_t strings[] = {8, 1, 16, 8, 50, 2, 'h', 'i'};
  pare_arrays *arrays;
  pare_array found;
  write_file("f.pb", floats, sizeof floats);
  OK(pare_arrays_open(below("f.pb"), &arrays));
  ck_assert_str_eq(pare_arrays_name(arrays, 0), "x");
  OK(pare_arrays_get(arrays, 0, &found));
  ck_assert(found.dtype == PARE_F32 && found.rank == 1 && found.dim[0] == 2);
  ck_assert_double_eq(pare_array_number(&found, 1), 2);
  pare_arrays_close(arrays);
  write_file("n.pb", nibbles, sizeof nibbles);
  OK(pare_arrays_open(below("n.pb"), &arrays));
  OK(pare_arrays_get(arrays, 0, &found));
  ck_assert(found.dtype == PARE_I8 && found.nbytes == 3);
  ck_assert_double_eq(pare_array_number(&found, 1), -1);
  pare_arrays_close(arrays);
  write_file("s.pb", strings, sizeof strings);
  OK(pare_arrays_open(below("s.pb"), &arrays));
  OK(pare_arrays_get(arrays, 0, &found));
  ck_assert_int_eq(found.dtype, PARE_NDTYPES);
  ck_assert_str_eq(found.dtype_name, "string");
  ck_assert_ptr_null(found.data);
  pare_arrays_close(arrays);
}
END_TEST

START_TEST(files_that_are_none_are_named) {
  pare_arrays *arrays;
  FAILS(PARE_ERR_IO, "missing.npz", pare_arrays_open(below("missing.npz"), &arrays));
  ck_assert_ptr_null(arrays);
  FAILS(PARE_ERR_IO, "missing", pare_arrays_open(below("missing"), &arrays));
  write_file("text", "hello", 5);
  FAILS(PARE_ERR_FORMAT, ".npy, .npz or .pb", pare_arrays_open(below("text"), &arrays));
  write_file("short.npy", "\x93NUMPY\x01", 7);
  FAILS(PARE_ERR_FORMAT, "short.npy", pare_arrays_open(below("short.npy"), &arrays));
  write_file("cut.npz", "PK\x03\x04 and then nothing", 20);
  FAILS(PARE_ERR_FORMAT, "cut.npz", pare_arrays_open(below("cut.npz"), &arrays));
  write_file("cut.pb", "\x08\x02\x4a\x7f", 4);
  FAILS(PARE_ERR_FORMAT, "cut.pb", pare_arrays_open(below("cut.pb"), &arrays));
}
END_TEST

START_TEST(arrays_that_do_not_fit_are_not_written) {
  static const float x[2];
  pare_array given[] = {{.name = "x", .dtype = PARE_F32, .rank = 1, .dim = {2}, .data = x, .nbytes = sizeof x},
                        {.name = "x", .dtype = PARE_F32, .rank = 1, .dim = {2}, .data = x, .nbytes = sizeof x}};
  FAILS(PARE_ERR_ARGUMENT, "x", pare_arrays_write(below("twice.npz"), 2, given, false));
  given[0].nbytes = 4;
  FAILS(PARE_ERR_ARGUMENT, "need 8", pare_arrays_write(below("bad.npz"), 1, given, false));
  given[0].dtype = PARE_NDTYPES;
  FAILS(PARE_ERR_ARGUMENT, "'x'", pare_arrays_write(below("bad.npz"), 1, given, false));
  given[0].name = NULL;
  FAILS(PARE_ERR_ARGUMENT, "no name", pare_arrays_write(below("bad.npz"), 1, given, false));
}
END_TEST

/* ---- inspections ---- */

static pare_inspection *open_digits(void) {
  char path[1000];
  const char *sources = getenv("srcdir");
  pare_inspection *inspection;
  snprintf(path, sizeof path, "%s/tests/data/digits/digits.onnx", sources ? sources : ".");
  OK(pare_inspect_open(path, &inspection));
  return inspection;
}

START_TEST(an_inspection_tells_what_the_file_holds) {
  pare_inspection *inspection = open_digits();
  pare_model_info info;
  pare_model_value value;
  pare_node_info node;
  pare_tensor_info tensor;
  const char *domain;
  int64_t version;
  OK(pare_inspect_model(inspection, &info));
  ck_assert(info.nnodes == 9 && info.ntensors == 8 && info.ninputs == 1 && info.noutputs == 1);
  ck_assert(info.parameters == 38282 && info.tensor_bytes == 4 * 38282 && info.nunsupported == 0);
  OK(pare_inspect_opset(inspection, 0, &domain, &version));
  ck_assert(*domain == '\0' && version == 17);
  OK(pare_inspect_input(inspection, 0, &value));
  ck_assert_str_eq(value.name, "image");
  ck_assert(value.dtype == PARE_F32 && value.rank == 4 && value.dim[0] == -1 && value.dim[3] == 8);
  ck_assert_str_eq(value.symbol[0], "batch");
  ck_assert(pare_inspect_value(inspection, "logits", &value) && value.rank == 2);
  ck_assert(!pare_inspect_value(inspection, "nothing", &value));
  OK(pare_inspect_node(inspection, 4, &node));
  ck_assert_str_eq(node.op_type, "MaxPool");
  ck_assert_str_eq(node.attributes, "kernel_shape=[2, 2] strides=[2, 2]");
  ck_assert(node.supported && node.ninputs == 1 && node.opset == 17 && node.depth == 0);
  OK(pare_inspect_tensor(inspection, 0, &tensor));
  ck_assert_str_eq(tensor.name, "conv1.weight");
  ck_assert(tensor.rank == 4 && tensor.elements == 144 && tensor.nbytes == 576 && *tensor.file == '\0');
  pare_inspect_close(inspection);
}
END_TEST

START_TEST(an_inspection_has_no_more_than_it_says) {
  pare_inspection *inspection = open_digits();
  pare_model_value value;
  pare_node_info node;
  pare_tensor_info tensor;
  const char *key, *text;
  FAILS(PARE_ERR_ARGUMENT, "has 1", pare_inspect_input(inspection, 1, &value));
  FAILS(PARE_ERR_ARGUMENT, "has 1", pare_inspect_output(inspection, 1, &value));
  FAILS(PARE_ERR_ARGUMENT, "has 9", pare_inspect_node(inspection, 9, &node));
  FAILS(PARE_ERR_ARGUMENT, "has 8", pare_inspect_tensor(inspection, 8, &tensor));
  FAILS(PARE_ERR_ARGUMENT, "has 0", pare_inspect_metadata(inspection, 0, &key, &text));
  pare_inspect_close(inspection);
  FAILS(PARE_ERR_IO, "missing.onnx", pare_inspect_open(below("missing.onnx"), &inspection));
  ck_assert_ptr_null(inspection);
}
END_TEST

/* ---- sizes ---- */

static size_t size_of(const char *path) {
  struct stat found;
  ck_assert_int_eq(stat(path, &found), 0);
  return (size_t)found.st_size;
}

START_TEST(the_size_of_a_model_counts_each_external_file_once) {
  enum { COUNT = 500 };
  static const float values[COUNT] = {1};
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){COUNT});
  for (int i = 0; i < 3; i++)
    model_constant(onnx, (const char *[]){"a", "b", "c"}[i], PARE__ONNX_FLOAT, 1, (const int64_t[]){COUNT}, values);
  model_node(onnx, "Sum", "x a b c", "y");
  model_output(onnx, "y");
  const pare__onnx_write_options options = {.external_file = "weights.data", .external_minimum_bytes = 64};
  OK(pare__onnx_write(onnx, below("external.onnx"), &options));
  pare__onnx_close(onnx);
  pare_inspection *inspection;
  pare_model_info info;
  OK(pare_inspect_open(below("external.onnx"), &inspection));
  OK(pare_inspect_model(inspection, &info));
  const size_t weights = size_of(below("weights.data"));
  ck_assert_uint_ge(weights, 3 * sizeof values);
  ck_assert_uint_eq(info.nexternal, 1);
  ck_assert_uint_eq(info.file_bytes, size_of(below("external.onnx")) + weights);
  pare_inspect_close(inspection);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("arrays");
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  tcase_add_test(tests, every_dtype_comes_back_from_an_archive);
  tcase_add_test(tests, an_archive_says_what_it_lacks);
  tcase_add_test(tests, elements_are_numbers_whatever_their_dtype);
  tcase_add_test(tests, a_tensor_of_onnx_is_an_array);
  tcase_add_test(tests, files_that_are_none_are_named);
  tcase_add_test(tests, arrays_that_do_not_fit_are_not_written);
  tcase_add_test(tests, an_inspection_tells_what_the_file_holds);
  tcase_add_test(tests, an_inspection_has_no_more_than_it_says);
  tcase_add_test(tests, the_size_of_a_model_counts_each_external_file_once);
  return remove_folder(folder, run_tests("arrays", tests));
}
