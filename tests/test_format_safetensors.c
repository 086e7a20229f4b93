/* safetensors: what is read, refused, written. SPDX-License-Identifier: Apache-2.0
 *
 *   test_format_safetensors            the tests
 *   test_format_safetensors copy A B   reads A and writes B: for tests that the safetensors package judges */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "format/safetensors.h"
#include "run.h"

static char folder[] = "/tmp/pare-test-XXXXXX";

static const char *below(const char *name) {
  static char paths[4][200];
  static unsigned next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

/* A file in memory: that header, that many zero bytes. */
static size_t make_file(char *file, size_t capacity, const char *header, size_t nbytes) {
  const uint64_t length = strlen(header);
  ck_assert_uint_le(8 + length + nbytes, capacity);
  for (unsigned i = 0; i < 8; i++) file[i] = (char)(length >> 8 * i);
  memcpy(file + 8, header, length);
  memset(file + 8 + length, 0, nbytes);
  return 8 + length + nbytes;
}

static pare_status parse(const char *header, size_t nbytes, pare__safetensors *out) {
  static char file[1 << 14];
  return pare__safetensors_open_memory(file, make_file(file, sizeof file, header, nbytes), "x.safetensors", out);
}

START_TEST(a_file_is_read) {
  pare__safetensors file;
  OK(parse("{\"__metadata__\":{\"format\":\"pt\",\"b\":\"\"},"
           "\"second\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
           "\"first\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
           "\"none\":{\"dtype\":\"I64\",\"shape\":[0,9],\"data_offsets\":[4,4]},"
           "\"half\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[16,18]}}   ",
           18, &file));
  ck_assert_uint_eq(file.ntensors, 4);
  ck_assert_uint_eq(file.ntexts, 2);
  ck_assert_str_eq(file.text[0].key, "format");
  ck_assert_str_eq(file.text[0].value, "pt");
  ck_assert_str_eq(file.tensor[0].name, "second");
  ck_assert_int_eq(file.tensor[0].dtype, PARE__SAFETENSORS_F16);
  ck_assert_uint_eq(file.tensor[0].rank, 2);
  ck_assert_int_eq(file.tensor[0].dim[1], 3);
  ck_assert_int_eq(file.tensor[0].count, 6);
  ck_assert_uint_eq(file.tensor[0].nbytes, 12);
  const pare__safetensors_tensor *first = pare__safetensors_find(&file, "first");
  ck_assert_ptr_eq((const char *)first->data + 4, file.tensor[0].data);
  ck_assert_int_eq(pare__safetensors_find(&file, "none")->count, 0);
  ck_assert_uint_eq(pare__safetensors_find(&file, "half")->nbytes, 2);
  ck_assert_ptr_null(pare__safetensors_find(&file, "third"));
  pare__safetensors_close(&file);
}
END_TEST

#define ENTRY(name, dtype, shape, begin, end) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct {
  const char *header;
  size_t nbytes;
  const char *message; /* a part of it */
} refused[] = {
    {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("b", "F32", "[1]", "2", "6") "}", 6, "overlap"},
    {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("b", "F32", "[1]", "8", "12") "}", 12, "hole"},
    {"{" ENTRY("a", "F32", "[1]", "4", "8") "}", 8, "hole"},
    {"{" ENTRY("a", "F32", "[1]", "0", "4") "}", 8, "end at offset 4"},
    {"{" ENTRY("a", "F32", "[1]", "0", "4") "}", 3, "a part is missing"},
    {"{" ENTRY("a", "F32", "[2]", "0", "4") "}", 4, "need 8"},
    {"{" ENTRY("a", "F32", "[1]", "4", "0") "}", 4, "bytes 4 to 0"},
    {"{" ENTRY("a", "F32", "[1]", "-4", "0") "}", 4, "bytes -4"},
    {"{" ENTRY("a", "F32", "[-1]", "0", "4") "}", 4, "dimension 0 is -1"},
    {"{" ENTRY("a", "F32", "[1.0]", "0", "4") "}", 4, "no integer"},
    {"{" ENTRY("a", "F32", "4", "0", "4") "}", 4, "no list"},
    {"{" ENTRY("a", "F33", "[1]", "0", "4") "}", 4, "'F33'"},
    {"{" ENTRY("a", "F4", "[3]", "0", "2") "}", 2, "no whole bytes"},
    {"{" ENTRY("a", "F32", "[4294967296,4294967296]", "0", "4") "}", 4, "over 2^63"},
    {"{" ENTRY("a", "F32", "[4611686018427387904]", "0", "4") "}", 4, "too many"},
    {"{" ENTRY("a", "F32", "[99999999999999999999]", "0", "4") "}", 4, "integer"},
    {"{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("a", "U8", "[1]", "1", "2") "}", 2, "duplicate"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "'data_offsets'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "two integers"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, "beside"},
    {"{\"a\":3}", 0, "'dtype'"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "no text"},
    {"{\"__metadata__\":[]}", 0, "no object"},
    {"{\"a\\u0000b\":1}", 0, "NUL"},
    {"{", 0, "the header"},
    {" {}", 0, "begin with"},
    {"[]", 0, "begin with"},
    {"", 0, "begin with"},
    {"{} {}", 0, "the header"},
};

START_TEST(what_is_wrong_is_said) {
  for (size_t i = 0; i < PARE__COUNT(refused); i++) {
    pare__safetensors file;
    ck_assert_msg(parse(refused[i].header, refused[i].nbytes, &file) == PARE_ERR_FORMAT, "%s", refused[i].header);
    ck_assert_msg(strstr(pare_message(), refused[i].message) && strstr(pare_message(), "x.safetensors"), "%s: %s",
                  refused[i].header, pare_message());
    ck_assert_ptr_null(file.file);
  }
}
END_TEST

START_TEST(lengths_of_headers_are_not_trusted) {
  pare__safetensors file;
  const uint64_t lengths[] = {UINT64_MAX, (uint64_t)PARE__SAFETENSORS_MAX_HEADER + 1, 100, 3};
  for (size_t i = 0; i < PARE__COUNT(lengths); i++) {
    char bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    for (unsigned k = 0; k < 8; k++) bytes[k] = (char)(lengths[i] >> 8 * k);
    ck_assert_int_eq(pare__safetensors_open_memory(bytes, sizeof bytes, "x", &file), PARE_ERR_FORMAT);
  }
  for (size_t n = 0; n < 8; n++)
    ck_assert_int_eq(pare__safetensors_open_memory("\2\0\0\0\0\0\0", n, "x", &file), PARE_ERR_FORMAT);
  ck_assert_int_eq(pare__safetensors_open("/nowhere/x.safetensors", &file), PARE_ERR_IO);
}
END_TEST

START_TEST(what_is_written_is_read_back) {
  static const char bytes[96] =
      "elements of many types, one after the other, and none of them is the same as its neighbour";
  static const int64_t dim[] = {3, 2};
  pare__safetensors_tensor tensor[PARE__SAFETENSORS_NDTYPES];
  size_t count = 0;
  for (unsigned dtype = 0; dtype < PARE__SAFETENSORS_NDTYPES; dtype++) {
    if (dtype == PARE__SAFETENSORS_F6_E2M3 || dtype == PARE__SAFETENSORS_F6_E3M2) continue; /* 36 bits */
    tensor[count++] = (pare__safetensors_tensor){
        pare__safetensors_dtype_name(dtype), (pare__safetensors_dtype)dtype, 2, dim, 0, 0, bytes + dtype, false};
  }
  const pare__safetensors_text text[] = {{"z \"é\"", "last"}, {"a", "first\n"}};
  OK(pare__safetensors_write(below("a.safetensors"), tensor, count, text, 2));
  pare__safetensors file;
  OK(pare__safetensors_open(below("a.safetensors"), &file));
  ck_assert_uint_eq(file.ntensors, count);
  ck_assert_str_eq(file.text[0].key, "z \"é\"");
  ck_assert_str_eq(file.text[1].value, "first\n");
  for (size_t i = 0; i < count; i++) {
    ck_assert_str_eq(file.tensor[i].name, tensor[i].name);
    ck_assert_int_eq(file.tensor[i].dtype, tensor[i].dtype);
    ck_assert_mem_eq(file.tensor[i].data, tensor[i].data, file.tensor[i].nbytes);
    pare_dtype dtype;
    if (pare__safetensors_dtype_to_pare(file.tensor[i].dtype, &dtype))
      ck_assert_uint_eq((uintptr_t)file.tensor[i].data % pare_dtype_bytes(dtype), 0);
  }
  OK(pare__safetensors_write(below("a.safetensors"), file.tensor, file.ntensors, file.text,
                             file.ntexts)); /* over itself */
  pare__safetensors_close(&file);
}
END_TEST

START_TEST(what_cannot_be_written_leaves_the_old_file) {
  static const int64_t dim[] = {4}, large[] = {INT64_MAX};
  const pare__safetensors_tensor fine = {"a", PARE__SAFETENSORS_U8, 1, dim, 0, 0, "1234", false};
  const struct {
    pare__safetensors_tensor second;
    pare_status status;
  } cases[] = {{fine, PARE_ERR_ARGUMENT},
               {{"__metadata__", PARE__SAFETENSORS_U8, 1, dim, 0, 0, "1234", false}, PARE_ERR_ARGUMENT},
               {{"\xff", PARE__SAFETENSORS_U8, 1, dim, 0, 0, "1234", false}, PARE_ERR_ARGUMENT},
               {{"b", PARE__SAFETENSORS_F32, 1, large, 0, 0, "", false}, PARE_ERR_SHAPE}};
  OK(pare__safetensors_write(below("old.safetensors"), &fine, 1, NULL, 0));
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    const pare__safetensors_tensor both[] = {fine, cases[i].second};
    ck_assert_int_eq(pare__safetensors_write(below("old.safetensors"), both, 2, NULL, 0), cases[i].status);
    pare__safetensors file;
    OK(pare__safetensors_open(below("old.safetensors"), &file));
    ck_assert_uint_eq(file.ntensors, 1);
    pare__safetensors_close(&file);
  }
  ck_assert_int_eq(pare__safetensors_write("/nowhere/a.safetensors", &fine, 1, NULL, 0), PARE_ERR_IO);
}
END_TEST

START_TEST(bytes_come_in_any_order) {
  static const int64_t dim[] = {4};
  const pare__safetensors_tensor tensor[] = {{"a", PARE__SAFETENSORS_U8, 1, dim, 0, 0, NULL, false},
                                             {"b", PARE__SAFETENSORS_U16, 1, dim, 0, 0, NULL, false}};
  pare__safetensors_writer *writer;
  pare__safetensors file;
  OK(pare__safetensors_begin(below("any.safetensors"), tensor, 2, NULL, 0, &writer));
  OK(pare__safetensors_put(writer, 1, 2, "cdefgh", 6));
  OK(pare__safetensors_put(writer, 0, 0, "1234", 4));
  ck_assert_int_eq(pare__safetensors_commit(writer), PARE_ERR_ARGUMENT); /* two bytes of b are missing */
  ck_assert_int_eq(pare__safetensors_put(writer, 1, 7, "xy", 2), PARE_ERR_ARGUMENT);
  ck_assert_int_ne(access(below("any.safetensors"), F_OK), 0);
  OK(pare__safetensors_put(writer, 1, 0, "ab", 2));
  OK(pare__safetensors_commit(writer));
  pare__safetensors_abandon(writer);
  OK(pare__safetensors_open(below("any.safetensors"), &file));
  ck_assert_mem_eq(file.tensor[0].data, "1234", 4);
  ck_assert_mem_eq(file.tensor[1].data, "abcdefgh", 8);
  pare__safetensors_close(&file);
}
END_TEST

static int copy(const char *from, const char *to) {
  pare__safetensors file;
  pare_status status = pare__safetensors_open(from, &file);
  if (status == PARE_OK) status = pare__safetensors_write(to, file.tensor, file.ntensors, file.text, file.ntexts);
  pare__safetensors_close(&file);
  if (status != PARE_OK) fprintf(stderr, "%s\n", pare_message());
  return status == PARE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "copy") == 0) return copy(argv[2], argv[3]);
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("all");
  tcase_add_test(tests, a_file_is_read);
  tcase_add_test(tests, what_is_wrong_is_said);
  tcase_add_test(tests, lengths_of_headers_are_not_trusted);
  tcase_add_test(tests, what_is_written_is_read_back);
  tcase_add_test(tests, what_cannot_be_written_leaves_the_old_file);
  tcase_add_test(tests, bytes_come_in_any_order);
  return remove_folder(folder, run_tests("format_safetensors", tests));
}
