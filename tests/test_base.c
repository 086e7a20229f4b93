/* Floor 0: sizes, number formats, text, files. SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/path.h"
#include "run.h"

static char folder[] = "/tmp/pare-test-XXXXXX";

/* A path below the test's folder; valid until the fourth next call. */
static const char *below(const char *name) {
  static char paths[4][200];
  static unsigned next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

/* ---- arenas ---- */

START_TEST(an_arena_gives_zeroed_aligned_memory_up_to_its_limit) {
  pare__arena arena = {.limit_bytes = 1 << 20};
  void *memory;
  const char *text;
  for (size_t nbytes = 0; nbytes < 3000; nbytes += 7) {
    ck_assert_int_eq(pare__arena_allocate(&arena, nbytes, &memory), PARE_OK);
    ck_assert_uint_eq((uintptr_t)memory % _Alignof(max_align_t), 0);
    for (size_t i = 0; i < nbytes; i++) ck_assert_int_eq(((char *)memory)[i], 0);
    memset(memory, 0xff, nbytes);
  }
  ck_assert_int_eq(pare__arena_text(&arena, "abcd", 3, &text), PARE_OK);
  ck_assert_str_eq(text, "abc");
  ck_assert_int_eq(pare__arena_allocate(&arena, 1 << 20, &memory), PARE_ERR_MEMORY);
  ck_assert_int_eq(pare__arena_allocate(&arena, SIZE_MAX, &memory), PARE_ERR_MEMORY);
  ck_assert_ptr_null(memory);
  pare__arena_clear(&arena);
  ck_assert_int_eq(pare__arena_allocate(&arena, 1 << 19, &memory), PARE_OK);
  pare__arena_clear(&arena);
}
END_TEST

/* ---- status, message, log ---- */

START_TEST(every_status_has_its_name_and_meaning) {
#define CHECK_STATUS(name, number, meaning)                       \
  ck_assert_int_eq(PARE_##name, number);                          \
  ck_assert_str_eq(pare_status_name(PARE_##name), "PARE_" #name); \
  ck_assert_str_eq(pare_status_meaning(PARE_##name), meaning);
  PARE_STATUS_LIST(CHECK_STATUS)
#undef CHECK_STATUS
  ck_assert_str_eq(pare_status_name((pare_status)999), "unknown status");
  ck_assert_str_eq(pare_status_meaning((pare_status)-1), "unknown status");
}
END_TEST

static void *fail_elsewhere(void *unused) {
  (void)unused;
  ck_assert_str_eq(pare_message(), "");
  pare__fail(PARE_ERR_SHAPE, "elsewhere");
  return NULL;
}

START_TEST(a_message_belongs_to_its_thread_and_may_quote_itself) {
  ck_assert_int_eq(pare__fail(PARE_ERR_SHAPE, "%s %d", "axis", 3), PARE_ERR_SHAPE);
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
  pthread_join(thread, NULL);
  ck_assert_str_eq(pare_message(), "axis 3");
  pare__fail(PARE_ERR_SHAPE, "[%s]", pare_message());
  ck_assert_str_eq(pare_message(), "[axis 3]");
  char *longer = malloc(100001);
  memset(longer, 'x', 100000);
  longer[100000] = '\0';
  pare__fail(PARE_ERR_SHAPE, "%s", longer);
  ck_assert_uint_lt(strlen(pare_message()), 100000);
  free(longer);
}
END_TEST

typedef struct lines {
  int count;
  char last[200];
} lines;

static void keep_line(pare_log_level level, const char *line, void *user) {
  lines *kept = user;
  (void)level;
  kept->count++;
  snprintf(kept->last, sizeof kept->last, "%s", line);
}

START_TEST(the_log_hands_out_whole_lines_of_the_wanted_levels) {
  lines kept = {0, ""};
  pare__log(PARE_LOG_ERROR, "nobody listens");
  pare_log_set(keep_line, &kept, PARE_LOG_WARN);
  ck_assert(pare__log_wanted(PARE_LOG_ERROR) && !pare__log_wanted(PARE_LOG_INFO));
  pare__log(PARE_LOG_INFO, "too chatty");
  pare__log(PARE_LOG_WARN, "two\nlines of %d", 1);
  ck_assert_int_eq(kept.count, 1);
  ck_assert_str_eq(kept.last, "two lines of 1");
  pare_log_set(NULL, NULL, PARE_LOG_DEBUG);
  pare__log(PARE_LOG_ERROR, "nobody again");
  ck_assert_int_eq(kept.count, 1);
}
END_TEST

/* ---- sizes and text ---- */

START_TEST(sizes_overflow_visibly) {
  size_t size = 0;
  int64_t i = 0;
  ck_assert(pare__size_mul(3, 5, &size) && size == 15);
  ck_assert(!pare__size_mul(SIZE_MAX / 2, 3, &size));
  ck_assert(pare__size_add(SIZE_MAX - 1, 1, &size) && !pare__size_add(SIZE_MAX, 1, &size));
  ck_assert(!pare__i64_mul(INT64_MIN, -1, &i) && pare__i64_mul(-4, 5, &i) && i == -20);
  ck_assert(!pare__i64_add(INT64_MAX, 1, &i) && pare__i64_add(INT64_MAX, -1, &i));
  ck_assert_int_eq(pare__div_up(INT64_MAX, 2), INT64_MAX / 2 + 1);
  ck_assert_int_eq(pare__div_up(0, 7), 0);
  ck_assert_int_eq(pare__round_up(13, 8), 16);
}
END_TEST

START_TEST(arrays_grow_and_keep_what_they_hold) {
  int *items = NULL;
  size_t capacity = 0;
  for (size_t count = 0; count < 1000; count++) {
    ck_assert_int_eq(pare__array_grow((void **)&items, &capacity, count, sizeof *items), PARE_OK);
    ck_assert_uint_gt(capacity, count);
    items[count] = (int)count;
  }
  for (int i = 0; i < 1000; i++) ck_assert_int_eq(items[i], i);
  size_t full = SIZE_MAX / 2;
  ck_assert_int_eq(pare__array_grow((void **)&items, &full, full, sizeof *items), PARE_ERR_MEMORY);
  ck_assert_int_eq(items[999], 999);
  free(items);
}
END_TEST

START_TEST(byte_counts_are_read_as_people_write_them) {
  static const struct {
    const char *text;
    uint64_t nbytes;
  } good[] = {{"0", 0},
              {"1000000", 1000000},
              {"512MiB", 512ull << 20},
              {"2G", 2ull << 30},
              {"1kb", 1024},
              {"16TiB", 16ull << 40},
              {"18446744073709551615", UINT64_MAX}};
  static const char *const bad[] = {
      "", " 1", "-1", "1.5G", "G", "1 G", "1GiBs", "0x10", "18446744073709551616", "1e9", "99999999999T", "inf"};
  for (size_t i = 0; i < PARE__COUNT(good); i++) {
    uint64_t nbytes = 1;
    ck_assert_msg(pare__parse_bytes("X", good[i].text, &nbytes) == PARE_OK, "%s", good[i].text);
    ck_assert_uint_eq(nbytes, good[i].nbytes);
  }
  for (size_t i = 0; i < PARE__COUNT(bad); i++) {
    uint64_t nbytes;
    ck_assert_msg(pare__parse_bytes("PARE_X", bad[i], &nbytes) == PARE_ERR_ARGUMENT, "%s", bad[i]);
    ck_assert(strstr(pare_message(), "PARE_X") != NULL);
  }
  char text[32];
  ck_assert_str_eq(pare__bytes_text(1023, text, sizeof text), "1023 B");
  ck_assert_str_eq(pare__bytes_text(1536, text, sizeof text), "1.5 KiB");
  ck_assert_str_eq(pare__bytes_text((1ull << 30) - 1, text, sizeof text), "1.0 GiB");
  ck_assert_str_eq(pare__bytes_text(UINT64_MAX, text, sizeof text), "16.0 EiB");
}
END_TEST

START_TEST(decimals_have_a_point_whatever_the_locale) {
  static const struct {
    const char *text;
    size_t length;
    double value;
  } some[] = {{"3", 1, 3},    {"0.5,1", 3, 0.5}, {".25", 3, 0.25}, {"7.", 2, 7},  {"12:3", 2, 12},
              {"", 0, -1},    {".", 0, -1},      {"-1", 0, -1},    {"+1", 0, -1}, {"nan", 0, -1},
              {"inf", 0, -1}, {" 1", 0, -1},     {"0x10", 1, 0}};
  for (size_t i = 0; i < PARE__COUNT(some); i++) {
    double value = -1;
    ck_assert_uint_eq(pare__decimal(some[i].text, &value), some[i].length);
    ck_assert_double_eq(value, some[i].value);
  }
}
END_TEST

START_TEST(hashes_tell_the_parts_apart) {
  static const char *const pairs[][2] = {{"ab", ""}, {"a", "b"}, {"", "ab"}};
  char hex[3][33];
  for (int i = 0; i < 3; i++) {
    pare__hash *hash = pare__hash_open();
    pare__hash_text(hash, pairs[i][0]);
    pare__hash_text(hash, pairs[i][1]);
    pare__hash_close(hash, hex[i]);
    ck_assert_uint_eq(strspn(hex[i], "0123456789abcdef"), 32);
  }
  ck_assert_str_ne(hex[0], hex[1]);
  ck_assert_str_ne(hex[1], hex[2]);
  ck_assert_str_ne(hex[0], hex[2]);
}
END_TEST

/* ---- number formats ---- */

START_TEST(every_half_survives_the_way_to_float_and_back) {
  for (unsigned bits = 0; bits < 65536; bits++) {
    float f16 = pare__f16_to_f32((uint16_t)bits), bf16 = pare__bf16_to_f32((uint16_t)bits);
    if (isnan(f16))
      ck_assert(isnan(pare__f16_to_f32(pare__f32_to_f16(f16))));
    else
      ck_assert_uint_eq(pare__f32_to_f16(f16), bits);
    if (isnan(bf16))
      ck_assert(isnan(pare__bf16_to_f32(pare__f32_to_bf16(bf16))));
    else
      ck_assert_uint_eq(pare__f32_to_bf16(bf16), bits);
  }
}
END_TEST

/* The value of a 16-bit format: f16 with 5 exponent bits, bf16 with 8. */
static double value_of(pare_dtype dtype, uint16_t bits) { return pare__load(dtype, &bits, 0); }

/* Is `bits` the nearest to `value`, with ties to even? Its neighbours are further away, or as far and odd. */
static bool is_nearest(pare_dtype dtype, uint16_t bits, double value) {
  double largest = dtype == PARE_F16 ? 65504.0 : 0x1.fep127, step = dtype == PARE_F16 ? 32.0 : 0x1p120;
  double got = value_of(dtype, bits);
  if (signbit(got) != signbit(value)) return false;
  if (isinf(got)) return fabs(value) >= largest + step / 2;
  double error = fabs(got - value);
  for (int side = -1; side <= 1; side += 2) {
    uint16_t other = (uint16_t)(bits + side);
    if ((bits & 0x7fff) == 0 && side < 0) continue;
    double neighbour = value_of(dtype, other);
    if (isinf(neighbour)) neighbour = copysign(largest + step, got);
    double other_error = fabs(neighbour - value);
    if (other_error < error || (other_error == error && (bits & 1))) return false;
  }
  return true;
}

START_TEST(doubles_round_once_to_sixteen_bits) {
  static const pare_dtype dtypes[] = {PARE_F16, PARE_BF16};
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++) {
    pare_dtype dtype = dtypes[d];
    uint64_t state = 1;
    for (int i = 0; i < 300000; i++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      /* around a value of the format, exact halves and a hair beside them */
      uint16_t bits = (uint16_t)(state >> 40);
      double low = value_of(dtype, bits), high = value_of(dtype, (uint16_t)(bits + 1));
      if (isnan(low) || isnan(high) || isinf(low) || isinf(high)) continue;
      static const double hairs[] = {0, 0x1p-40, -0x1p-40, 0x1p-26};
      double value = (low + high) / 2 * (1 + hairs[state >> 33 & 3]);
      uint16_t got;
      pare__store(dtype, &got, 0, value);
      ck_assert_msg(is_nearest(dtype, got, value), "%s of %a gave %04x", pare_dtype_name(dtype), value, got);
    }
    uint16_t got;
    pare__store(dtype, &got, 0, 1e300);
    ck_assert(isinf(value_of(dtype, got)));
    pare__store(dtype, &got, 0, -0.0);
    ck_assert(value_of(dtype, got) == 0 && signbit(value_of(dtype, got)));
    pare__store(dtype, &got, 0, NAN);
    ck_assert(isnan(value_of(dtype, got)));
  }
}
END_TEST

START_TEST(floats_of_a_byte_have_their_formats_numbers) {
  static const struct {
    pare_dtype dtype;
    unsigned code;
    double value;
  } known[] = {{PARE_F8E4M3FN, 0x7e, 448},       {PARE_F8E4M3FN, 0x01, 0x1p-9}, {PARE_F8E4M3FN, 0xb8, -1},
               {PARE_F8E4M3FN, 0xff, NAN},       {PARE_F8E4M3FNUZ, 0x7f, 240},  {PARE_F8E4M3FNUZ, 0x80, NAN},
               {PARE_F8E4M3FNUZ, 0x01, 0x1p-10}, {PARE_F8E5M2, 0x7b, 57344},    {PARE_F8E5M2, 0xfc, -INFINITY},
               {PARE_F8E5M2, 0x7d, NAN},         {PARE_F8E5M2, 0x01, 0x1p-16},  {PARE_F8E5M2FNUZ, 0x7f, 57344},
               {PARE_F8E5M2FNUZ, 0x80, NAN},     {PARE_F8E8M0, 0x00, 0x1p-127}, {PARE_F8E8M0, 0xfe, 0x1p127},
               {PARE_F8E8M0, 0xff, NAN},         {PARE_F4E2M1, 0x01, 0.5},      {PARE_F4E2M1, 0x0f, -6}};
  for (size_t i = 0; i < PARE__COUNT(known); i++) {
    const uint8_t code = (uint8_t)known[i].code;
    const double value = pare__load(known[i].dtype, &code, 0);
    ck_assert_msg(value == known[i].value || (isnan(value) && isnan(known[i].value)), "%s %02x is %g",
                  pare_dtype_name(known[i].dtype), code, value);
  }
}
END_TEST

START_TEST(floats_of_a_byte_come_back_and_round_to_the_nearest) {
  const pare_dtype dtype = (pare_dtype)(PARE__FIRST_TINY + _i);
  const unsigned ncodes = dtype == PARE_F4E2M1 ? 16 : 256;
  for (unsigned c = 0; c < ncodes; c++) {
    const uint8_t code = (uint8_t)c, next = (uint8_t)(c + 1);
    const double value = pare__load(dtype, &code, 0), beside = pare__load(dtype, &next, 0);
    uint8_t got;
    pare__store(dtype, &got, 0, value);
    ck_assert_msg(isnan(value) ? isnan(pare__load(dtype, &got, 0)) : got == code, "%02x came back as %02x", code, got);
    if (isnan(value) || isinf(value) || isnan(beside) || isinf(beside) || fabs(beside) <= fabs(value)) continue;
    const double middle = (value + beside) / 2;
    const uint8_t even = dtype == PARE_F8E8M0 || code % 2 == 1 ? next : code;
    pare__store(dtype, &got, 0, middle);
    ck_assert_msg(got == even, "the middle after %02x became %02x", code, got);
    pare__store(dtype, &got, 0, middle * (1 - 0x1p-40));
    ck_assert_uint_eq(got, code);
    pare__store(dtype, &got, 0, middle * (1 + 0x1p-40));
    ck_assert_uint_eq(got, next);
  }
  uint8_t got;
  pare__store(dtype, &got, 0, pare__tiny_largest(dtype));
  ck_assert(pare__load(dtype, &got, 0) == pare__tiny_largest(dtype));
  pare__store(dtype, &got, 0, 1e300);
  const double over = pare__load(dtype, &got, 0);
  ck_assert(dtype == PARE_F4E2M1 ? over == 6 : dtype == PARE_F8E5M2 ? isinf(over) : isnan(over));
}
END_TEST

START_TEST(integers_truncate_and_saturate) {
  static const struct {
    pare_dtype dtype;
    double value, expected;
  } cases[] = {{PARE_I8, 127.9, 127},
               {PARE_I8, -1e9, -128},
               {PARE_U8, -0.5, 0},
               {PARE_U8, 256, 255},
               {PARE_I16, -32769, -32768},
               {PARE_I32, 1e300, INT32_MAX},
               {PARE_I32, -2.7, -2},
               {PARE_I64, 0x1p62, 0x1p62},
               {PARE_I64, -INFINITY, -0x1p63},
               {PARE_I64, NAN, 0},
               {PARE_BOOL, -0.0, 0},
               {PARE_BOOL, NAN, 1},
               {PARE_F32, 0x1p-149, 0x1p-149},
               {PARE_F64, 0.1, 0.1},
               {PARE_I8, NAN, 0},
               {PARE_U16, 65536, 65535},
               {PARE_U16, -1, 0},
               {PARE_U32, 0x1p32, 0x1p32 - 1},
               {PARE_U32, 3e9, 3e9},
               {PARE_U64, 0x1p63, 0x1p63},
               {PARE_U64, -0.5, 0},
               {PARE_U64, NAN, 0},
               {PARE_U64, INFINITY, 0x1p64}};
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    int64_t data[2] = {0, 0};
    pare__store(cases[i].dtype, data, 1, cases[i].value);
    ck_assert_msg(pare__load(cases[i].dtype, data, 1) == cases[i].expected, "%s of %g", pare_dtype_name(cases[i].dtype),
                  cases[i].value);
  }
  int64_t largest;
  pare__store(PARE_I64, &largest, 0, 0x1p63);
  ck_assert(largest == INT64_MAX);
  uint64_t natural;
  pare__store(PARE_U64, &natural, 0, 0x1p64);
  ck_assert(natural == UINT64_MAX);
  uint16_t low[2] = {7, 7};
  pare__store_integer(PARE_U16, low, 1, -2);
  ck_assert(low[0] == 7 && low[1] == 65534 && pare__load_integer(PARE_U16, low, 1) == 65534);
  ck_assert_str_eq(pare_dtype_name((pare_dtype)77), "?");
  ck_assert_uint_eq(pare_dtype_bytes(PARE_NDTYPES), 0);
  ck_assert_uint_eq(pare_dtype_bytes(PARE_BF16), 2);
  for (int d = 0; d < PARE_NDTYPES; d++)
    ck_assert_int_eq(pare__dtype_is_float((pare_dtype)d), pare__dtype_epsilon((pare_dtype)d) > 0);
}
END_TEST

/* ---- files ---- */

START_TEST(files_are_written_whole_and_read_back) {
  static const char data[] = "a\0b";
  char *text;
  size_t nbytes;
  ck_assert_int_eq(pare__folder_make(below("x/y/z")), PARE_OK);
  ck_assert_int_eq(pare__folder_make(below("x/y/z")), PARE_OK);
  ck_assert_int_eq(pare__file_write(below("x/file"), data, sizeof data), PARE_OK);
  ck_assert_int_eq(pare__file_read(below("x/file"), sizeof data, &text, &nbytes), PARE_OK);
  ck_assert_uint_eq(nbytes, sizeof data);
  ck_assert(memcmp(text, data, sizeof data) == 0 && text[nbytes] == '\0');
  free(text);
  ck_assert_int_eq(pare__file_read(below("x/file"), 3, &text, &nbytes), PARE_ERR_IO);
  ck_assert_ptr_null(text);
  ck_assert_int_eq(pare__file_read(below("x"), 100, &text, &nbytes), PARE_ERR_IO);
  ck_assert_int_eq(pare__file_read(below("none"), 100, &text, &nbytes), PARE_ERR_IO);
  ck_assert(strstr(pare_message(), "none") != NULL);
  ck_assert_int_eq(pare__file_write(below("none/file"), data, 1), PARE_ERR_IO);
  ck_assert_int_eq(pare__file_write(below("x/y"), data, 1),
                   PARE_ERR_IO); /* a folder is there, and nothing is left beside it */
  ck_assert_int_eq(pare__folder_make(below("x/file")), PARE_ERR_IO);
  ck_assert_int_eq(pare__folder_make(below("x/file/y")), PARE_ERR_IO);
  char command[300];
  snprintf(command, sizeof command, "test $(ls %s | wc -l) = 2", below("x"));
  ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(the_cache_folder_is_never_relative) {
  setenv("PARE_CACHE", "relative", 1);
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  char *found = pare__cache_folder();
  ck_assert_str_eq(found, "/xdg/pare");
  free(found);
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", "/home/someone", 1);
  found = pare__cache_folder();
  ck_assert_str_eq(found, "/home/someone/.cache/pare");
  free(found);
  setenv("PARE_CACHE", "/elsewhere", 1);
  found = pare__cache_folder();
  ck_assert_str_eq(found, "/elsewhere");
  free(found);
  unsetenv("PARE_CACHE");
  unsetenv("HOME");
  ck_assert_ptr_null(pare__cache_folder());
}
END_TEST

START_TEST(kernels_are_found_where_it_is_said_and_never_in_the_current_directory) {
  char *path = NULL, *list = pare__format("/nowhere:cl::%s", below("second"));
  ck_assert_int_eq(pare__folder_make(below("second")), PARE_OK);
  ck_assert_int_eq(pare__folder_make(below("cl")), PARE_OK);
  ck_assert_int_eq(pare__file_write(below("second/k.cl"), "x", 1), PARE_OK);
  ck_assert_int_eq(pare__file_write(below("cl/here.cl"), "x", 1), PARE_OK);
  ck_assert_int_eq(pare__file_write(below("here.cl"), "x", 1), PARE_OK);
  ck_assert_int_eq(chdir(folder), 0);
  setenv("PARE_KERNEL_PATH", list, 1);
  ck_assert_int_eq(pare__kernel_path("k.cl", &path), PARE_OK);
  ck_assert_str_eq(path, below("second/k.cl"));
  free(path);
  ck_assert_int_eq(pare__kernel_path("here.cl", &path), PARE_ERR_KERNEL);
  ck_assert_ptr_null(path);
  ck_assert(strstr(pare_message(), "/nowhere") && strstr(pare_message(), "PARE_KERNEL_PATH"));
  unsetenv("PARE_KERNEL_PATH");
  ck_assert(pare__in_build_tree());
  ck_assert_int_eq(pare__kernel_path("dtype.cl", &path), PARE_OK);
  ck_assert_str_eq(path, PARE_SOURCE_FOLDER "/cl/dtype.cl");
  free(path);
  ck_assert_int_eq(chdir("/"), 0);
  free(list);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *cases = tcase_create("base");
  tcase_add_test(cases, an_arena_gives_zeroed_aligned_memory_up_to_its_limit);
  tcase_add_test(cases, every_status_has_its_name_and_meaning);
  tcase_add_test(cases, a_message_belongs_to_its_thread_and_may_quote_itself);
  tcase_add_test(cases, the_log_hands_out_whole_lines_of_the_wanted_levels);
  tcase_add_test(cases, sizes_overflow_visibly);
  tcase_add_test(cases, decimals_have_a_point_whatever_the_locale);
  tcase_add_test(cases, arrays_grow_and_keep_what_they_hold);
  tcase_add_test(cases, byte_counts_are_read_as_people_write_them);
  tcase_add_test(cases, hashes_tell_the_parts_apart);
  tcase_add_test(cases, every_half_survives_the_way_to_float_and_back);
  tcase_add_test(cases, doubles_round_once_to_sixteen_bits);
  tcase_add_test(cases, integers_truncate_and_saturate);
  tcase_add_test(cases, floats_of_a_byte_have_their_formats_numbers);
  tcase_add_loop_test(cases, floats_of_a_byte_come_back_and_round_to_the_nearest, 0, PARE_NDTYPES - PARE__FIRST_TINY);
  tcase_add_test(cases, files_are_written_whole_and_read_back);
  tcase_add_test(cases, the_cache_folder_is_never_relative);
  tcase_add_test(cases, kernels_are_found_where_it_is_said_and_never_in_the_current_directory);
  return remove_folder(folder, run_tests("base", cases));
}
