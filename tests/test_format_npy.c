/* numpy's files: what is read, refused, written. SPDX-License-Identifier: Apache-2.0
 *
 *   test_format_npy                 the tests
 *   test_format_npy convert A B     reads A and writes B, each .npy or .npz: for tests that numpy judges */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "base/path.h"
#include "format/npz.h"

static char folder[] = "/tmp/pare-test-XXXXXX";

/* A path below the test's folder; valid until the fourth next call. */
static const char *below(const char *name) {
  static char paths[4][200];
  static unsigned next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

#define SUCCEEDS(call) ck_assert_msg((call) == PARE_OK, "%s: %s", #call, pare_message())
#define FAILS(status, part, call)                                                                \
  do {                                                                                           \
    ck_assert_int_eq((call), (status));                                                          \
    ck_assert_msg(strstr(pare_message(), (part)), "'%s' is not in: %s", (part), pare_message()); \
  } while (0)

/* A file of version 1.0 with the head and nbytes of elements. */
static size_t make_npy(char *file, const char *head, const void *data, size_t nbytes) {
  size_t length = strlen(head);
  memcpy(file, "\x93NUMPY\x01", 8);
  memcpy(file + 8, &length, 2);
  memcpy(file + 10, head, length);
  if (nbytes > 0) memcpy(file + 10 + length, data, nbytes);
  return 10 + length + nbytes;
}

static pare_status parse_npy(const char *head, const void *data, size_t nbytes, pare__array *out) {
  static char file[1 << 16];
  return pare__npy_parse(file, make_npy(file, head, data, nbytes), "x.npy", out);
}

/* What a file says of a type that numpy does not have. */
static int type_in_file(int dtype) {
  if (dtype == PARE__NPY_RAW2 || dtype == PARE_BF16) return PARE__NPY_RAW2;
  return pare__dtype_is_tiny((pare_dtype)dtype) ? (int)PARE_U8 : dtype;
}

START_TEST(every_type_is_written_and_read_back) {
  static const uint8_t bytes[6 * 16] = {1, 0, 1, 1};
  for (int dtype = 0; dtype <= PARE__NPY_RAW2; dtype++) {
    pare__array array = {.dtype = dtype, .rank = 2, .dims = {2, 3}, .count = 6, .data = bytes}, again;
    array.nbytes = 6 * pare__npy_dtype_bytes(dtype);
    SUCCEEDS(pare__npy_write(below("a.npy"), &array));
    SUCCEEDS(pare__npy_open(below("a.npy"), &again));
    ck_assert_int_eq(again.dtype, type_in_file(dtype));
    ck_assert_int_eq(again.rank, 2);
    ck_assert_int_eq(again.dims[1], 3);
    ck_assert_int_eq(again.count, 6);
    ck_assert_uint_eq(again.nbytes, array.nbytes);
    ck_assert_mem_eq(again.data, bytes, array.nbytes);
    pare__array_close(&again);
    pare__array_close(&array);
  }
}
END_TEST

START_TEST(other_orders_are_turned_round) {
  static const uint16_t big[6] = {0x0100, 0x0200, 0x0300, 0x0400, 0x0500, 0x0600};
  pare__array array;
  SUCCEEDS(parse_npy("{'descr': '>u2', 'fortran_order': False, 'shape': (6,), }\n", big, 12, &array));
  for (int i = 0; i < 6; i++) ck_assert_uint_eq(((const uint16_t *)array.data)[i], (unsigned)i + 1);
  pare__array_close(&array);
  /* Columns of two: 1 2, 3 4, 5 6 */
  SUCCEEDS(parse_npy("{'shape':(2,3L),'fortran_order':True,'descr':\">i2\"}", big, 12, &array));
  static const int16_t rows[6] = {1, 3, 5, 2, 4, 6};
  ck_assert_mem_eq(array.data, rows, sizeof rows);
  pare__array_close(&array);
  SUCCEEDS(parse_npy("{'descr': '<u1', 'fortran_order': True, 'shape': (0, 9223372036854775807, 5)}", NULL, 0, &array));
  ck_assert_int_eq(array.count, 0);
  pare__array_close(&array);
  SUCCEEDS(parse_npy("{'descr': '|b1', 'fortran_order': False, 'shape': ()}", big, 1, &array));
  ck_assert_int_eq(array.rank, 0);
  ck_assert_int_eq(array.count, 1);
  pare__array_close(&array);
}
END_TEST

START_TEST(malformed_arrays_are_refused) {
  pare__array a;
#define HEAD(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"
  FAILS(PARE_ERR_FORMAT, "begin", pare__npy_parse("nothing at all", 14, "x", &a));
  FAILS(PARE_ERR_FORMAT, "version 9.0", pare__npy_parse("\x93NUMPY\x09\x00\x00\x00\x00\x00", 12, "x", &a));
  FAILS(PARE_ERR_FORMAT, "cut off", pare__npy_parse("\x93NUMPY\x01\x00\xff\xff{}", 12, "x", &a));
  FAILS(PARE_ERR_FORMAT, "dictionary", parse_npy("", "", 0, &a));
  FAILS(PARE_ERR_FORMAT, "without descr", parse_npy("{}", "", 0, &a));
  FAILS(PARE_ERR_FORMAT, "repeated key", parse_npy("{'shape': (), 'shape': ()}", "", 0, &a));
  FAILS(PARE_ERR_FORMAT, "without end", parse_npy("{'shape': ()", "", 0, &a));
  FAILS(PARE_ERR_FORMAT, "after the head", parse_npy(HEAD("'<f4'", "False", "()") "x", "1234", 4, &a));
  FAILS(PARE_ERR_FORMAT, "no tuple", parse_npy(HEAD("'<f4'", "False", "3"), "1234", 4, &a));
  FAILS(PARE_ERR_FORMAT, "no size", parse_npy(HEAD("'<f4'", "False", "(-1,)"), "1234", 4, &a));
  FAILS(PARE_ERR_FORMAT, "no size", parse_npy(HEAD("'<f4'", "False", "(9223372036854775808,)"), "1234", 4, &a));
  FAILS(PARE_ERR_FORMAT, "overflows", parse_npy(HEAD("'<f4'", "False", "(4294967296, 4294967296)"), "1234", 4, &a));
  FAILS(PARE_ERR_FORMAT, "overflows", parse_npy(HEAD("'<f8'", "False", "(9223372036854775807,)"), "1234", 4, &a));
  FAILS(PARE_ERR_FORMAT, "no bool", parse_npy(HEAD("'<f4'", "0", "()"), "1234", 4, &a));
  FAILS(PARE_ERR_FORMAT, "ask for 24", parse_npy(HEAD("'<f4'", "False", "(2, 3)"), "12345678", 8, &a));
  FAILS(PARE_ERR_TYPE, "'|O'", parse_npy(HEAD("'|O'", "False", "()"), "12345678", 8, &a));
  FAILS(PARE_ERR_TYPE, "'<U3'", parse_npy(HEAD("'<U3'", "False", "()"), "12345678", 8, &a));
  FAILS(PARE_ERR_TYPE, "'<f3'", parse_npy(HEAD("'<f3'", "False", "()"), "12345678", 8, &a));
  FAILS(PARE_ERR_TYPE, "structured", parse_npy(HEAD("[('a', '<f4')]", "False", "()"), "12345678", 8, &a));
  FAILS(PARE_ERR_IO, "absent.npy", pare__npy_open(below("absent.npy"), &a));
  FAILS(PARE_ERR_IO, "regular", pare__npy_open(folder, &a));
}
END_TEST

/* ---- archives ---- */

static void write_archive(const char *path, bool deflates) {
  static const float numbers[300] = {1, 2, 3};
  static const int64_t scalar = -7;
  pare__array first = {.dtype = PARE_F32, .rank = 2, .dims = {100, 3}, .count = 300, .data = numbers, .nbytes = 1200};
  pare__array second = {.dtype = PARE_I64, .count = 1, .data = &scalar, .nbytes = 8};
  pare__array nothing = {.dtype = PARE_U8, .rank = 1};
  pare__npz_entry entries[] = {{"x", &first}, {"a longer name", &second}, {"nothing", &nothing}};
  SUCCEEDS(pare__npz_write(path, 3, entries, deflates));
  entries[1].name = "x";
  FAILS(PARE_ERR_ARGUMENT, "'x'", pare__npz_write(below("twice.npz"), 3, entries, deflates));
  entries[1].name = "../x";
  FAILS(PARE_ERR_ARGUMENT, "'../x'", pare__npz_write(below("up.npz"), 3, entries, deflates));
  FAILS(PARE_ERR_ARGUMENT, "no arrays", pare__npz_write(below("none.npz"), 0, entries, deflates));
  FAILS(PARE_ERR_IO, "nowhere", pare__npz_write(below("nowhere/x.npz"), 1, entries, deflates));
  ck_assert(!pare__file_exists(below("twice.npz")));
}

START_TEST(archives_are_written_and_read_back) {
  for (int deflates = 0; deflates < 2; deflates++) {
    pare__npz *npz;
    pare__array array;
    size_t index;
    write_archive(below("a.npz"), deflates);
    SUCCEEDS(pare__npz_open(below("a.npz"), &npz));
    ck_assert_uint_eq(pare__npz_count(npz), 3);
    ck_assert_str_eq(pare__npz_name(npz, 1), "a longer name");
    ck_assert(!pare__npz_find(npz, "y", &index));
    ck_assert(pare__npz_find(npz, "x", &index));
    SUCCEEDS(pare__npz_read(npz, index, &array));
    ck_assert_uint_eq(array.nbytes, 1200);
    ck_assert(((const float *)array.data)[2] == 3);
    pare__array_close(&array);
    SUCCEEDS(pare__npz_read(npz, 1, &array));
    pare__npz_close(npz);
    ck_assert_int_eq(*(const int64_t *)array.data, -7);
    pare__array_close(&array);
  }
}
END_TEST

START_TEST(damage_in_an_archive_is_noticed) {
  char *data;
  size_t nbytes, nfound = 0;
  write_archive(below("damaged.npz"), true);
  SUCCEEDS(pare__file_read(below("damaged.npz"), 1 << 20, &data, &nbytes));
  pare__npz *npz;
  pare__array array;
  for (size_t at = 0; at < nbytes; at++) {
    data[at] ^= 0x10;
    if (pare__npz_open_memory(data, nbytes, "damaged.npz", &npz) != PARE_OK) {
      nfound++;
    } else {
      for (size_t i = 0; i < pare__npz_count(npz); i++) {
        nfound += pare__npz_read(npz, i, &array) != PARE_OK;
        pare__array_close(&array);
      }
      pare__npz_close(npz);
    }
    data[at] ^= 0x10;
  }
  ck_assert_uint_gt(nfound, nbytes / 3);
  for (size_t cut = 0; cut < nbytes; cut += 7)
    ck_assert_int_ne(pare__npz_open_memory(data, cut, "cut.npz", &npz), PARE_OK);
  free(data);
}
END_TEST

/* ---- */

static pare_status convert(const char *from, const char *to) {
  pare__array arrays[64] = {0};
  pare__npz_entry entries[64];
  pare__npz *npz = NULL;
  size_t count = 1, length = strlen(from);
  pare_status status;
  if (strcmp(from + length - 4, ".npz") == 0) {
    PARE__TRY(pare__npz_open(from, &npz));
    count = pare__npz_count(npz);
    status = count <= 64 ? PARE_OK : PARE_ERR_ARGUMENT;
    for (size_t i = 0; status == PARE_OK && i < count; i++) {
      entries[i] = (pare__npz_entry){pare__npz_name(npz, i), &arrays[i]};
      status = pare__npz_read(npz, i, &arrays[i]);
    }
  } else {
    entries[0] = (pare__npz_entry){"array", &arrays[0]};
    status = pare__npy_open(from, &arrays[0]);
  }
  bool many = strcmp(to + strlen(to) - 4, ".npz") == 0;
  if (status == PARE_OK)
    status = many ? pare__npz_write(to, count, entries, true) : pare__npy_write(to, entries[0].array);
  for (size_t i = 0; i < 64; i++) pare__array_close(&arrays[i]);
  pare__npz_close(npz);
  return status;
}

static void make_folder(void) { ck_assert_ptr_nonnull(mkdtemp(folder)); }

static void remove_folder(void) {
  char command[200];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  ck_assert_int_eq(system(command), 0);
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "convert") == 0) {
    if (convert(argv[2], argv[3]) == PARE_OK) return EXIT_SUCCESS;
    puts(pare_message());
    return EXIT_FAILURE;
  }
  Suite *suite = suite_create("format_npy");
  TCase *cases = tcase_create("all");
  tcase_add_unchecked_fixture(cases, make_folder, remove_folder);
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, every_type_is_written_and_read_back);
  tcase_add_test(cases, other_orders_are_turned_round);
  tcase_add_test(cases, malformed_arrays_are_refused);
  tcase_add_test(cases, archives_are_written_and_read_back);
  tcase_add_test(cases, damage_in_an_archive_is_noticed);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int nfailed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return nfailed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
