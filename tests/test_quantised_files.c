/* Quantised matrices in files of safetensors that other tools wrote. SPDX-License-Identifier: Apache-2.0 */
#include <pare/diff.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dtype.h"
#include "base/path.h"
#include "format/quantised.h"
#include "run.h"

static char folder[] = "/tmp/pare-test-quantised-files-XXXXXX";

static const char *path_of(const char *name) { return path_in(folder, name); }

static const char *golden(const char *name) {
  static char paths[2][300];
  static unsigned next;
  const char *top = getenv("srcdir") ? getenv("srcdir") : ".";
  char *path = paths[next++ % 2];
  snprintf(path, sizeof paths[0], "%s/tests/data/quantised/%s", top, name);
  return path;
}

static void write_text(const char *name, const char *text) { OK(pare__file_write(path_of(name), text, strlen(text))); }

/* ---- small files ---- */

typedef struct builder {
  size_t ntensors;
  pare__safetensors_tensor tensor[8];
  int64_t dim[8][2];
} builder;

static void add(builder *b, const char *name, pare__safetensors_dtype dtype, size_t rank, int64_t rows, int64_t columns,
                const void *data) {
  ck_assert_uint_lt(b->ntensors, PARE__COUNT(b->tensor));
  int64_t *dim = b->dim[b->ntensors];
  dim[0] = rows;
  dim[1] = columns;
  pare__safetensors_tensor *tensor = &b->tensor[b->ntensors++];
  *tensor = (pare__safetensors_tensor){.name = name, .dtype = dtype, .rank = rank, .dim = dim, .data = data};
  OK(pare__safetensors_measure(tensor));
}

/* 3 x 64 codes of `bits` bits, c - 2^(bits-1) with c = 7 r + 5 i modulo 2^bits, in words with gaps or without: so many
 * columns tell by the number of words which. */
enum { ROWS = 3, COLUMNS = 64, GROUP = 24, MOST_WORDS = 16 };

static int code_at(int row, int column, unsigned bits) { return (7 * row + 5 * column) % (1 << bits); }

static size_t pack(unsigned bits, bool has_gaps, uint32_t words[ROWS][MOST_WORDS]) {
  const unsigned a_word = 32 / bits;
  memset(words, 0, sizeof(uint32_t) * ROWS * MOST_WORDS);
  for (int r = 0; r < ROWS; r++)
    for (unsigned i = 0; i < COLUMNS; i++)
      for (unsigned b = 0; b < bits; b++) {
        const unsigned bit = b + (has_gaps ? i / a_word * 32 + i % a_word * bits : i * bits);
        words[r][bit / 32] |= (uint32_t)(code_at(r, (int)i, bits) >> b & 1) << bit % 32;
      }
  return has_gaps ? (COLUMNS + a_word - 1) / a_word : (COLUMNS * bits + 31) / 32;
}

static const float scales[ROWS * 3] = {1, 2, 4, 0.5F, 0.25F, 8, 16, 32, 64};
static const int64_t shape_of_all[] = {ROWS, COLUMNS};

/* A file of one matrix in groups of 24, and what stands in config.json beside it; NULL: there is none. */
static void write_matrix(unsigned bits, bool has_gaps, const int32_t *order, const char *config) {
  static uint32_t words[ROWS][MOST_WORDS], tight[ROWS * MOST_WORDS];
  builder b = {0};
  const size_t nwords = pack(bits, has_gaps, words);
  for (size_t r = 0; r < ROWS; r++) memcpy(tight + r * nwords, words[r], nwords * sizeof **words);
  add(&b, "m.weight_packed", PARE__SAFETENSORS_I32, 2, ROWS, (int64_t)nwords, tight);
  add(&b, "m.weight_scale", PARE__SAFETENSORS_F32, 2, ROWS, 3, scales);
  add(&b, "m.weight_shape", PARE__SAFETENSORS_I64, 1, 2, 0, shape_of_all);
  if (order) add(&b, "m.weight_g_idx", PARE__SAFETENSORS_I32, 1, COLUMNS, 0, order);
  OK(pare__safetensors_write(path_of("m.safetensors"), b.tensor, b.ntensors, NULL, 0));
  unlink(path_of("config.json"));
  if (config) write_text("config.json", config);
}

static void config_of(unsigned bits, const char *targets, char text[400]) {
  snprintf(
      text, 400,
      "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"g\": {\"targets\":"
      " [%s], \"weights\": {\"num_bits\": %u, \"group_size\": 24, \"strategy\": \"group\"}}}}}",
      targets, bits);
}

/* The matrix m.weight as it is read. */
typedef struct reading {
  pare__safetensors file;
  pare__quantised_file all;
  const pare__quantised *matrix;
} reading;

static void open_reading(const char *path, reading *out) {
  OK(pare__safetensors_open(path, &out->file));
  OK(pare__quantised_open(path, &out->file, &out->all));
  out->matrix = pare__quantised_named(&out->all, "m.weight");
}

static void close_reading(reading *found) {
  pare__quantised_close(&found->all);
  pare__safetensors_close(&found->file);
}

static void numbers_are(unsigned bits, const int32_t *order) {
  reading found;
  open_reading(path_of("m.safetensors"), &found);
  ck_assert_ptr_nonnull(found.matrix);
  ck_assert_str_eq(found.matrix->why, "");
  for (int r = 0; r < ROWS; r++) {
    float row[COLUMNS];
    pare__quantised_row(found.matrix, r, row);
    for (int c = 0; c < COLUMNS; c++) {
      const int group = order ? order[c] : c / GROUP;
      ck_assert_double_eq(row[c], (double)scales[3 * r + group] * (code_at(r, c, bits) - (1 << (bits - 1))));
    }
  }
  close_reading(&found);
}

/* ---- tests ---- */

START_TEST(numbers_are_those_of_the_package_that_wrote_them) {
  const char *path = golden("model.safetensors");
  pare__safetensors expected;
  reading found;
  size_t nread = 0;
  open_reading(path, &found);
  OK(pare__safetensors_open(golden("expected.safetensors"), &expected));
  for (size_t i = 0; i < found.all.count; i++) {
    const pare__quantised *matrix = &found.all.matrix[i];
    const pare__safetensors_tensor *tensor = pare__safetensors_find(&expected, matrix->name);
    ck_assert_ptr_nonnull(tensor);
    if (strcmp(matrix->layer, "layer.fp8") == 0) {
      ck_assert_msg(strstr(matrix->why, "float-quantized") != NULL, "%s", matrix->why);
      continue;
    }
    ck_assert_msg(!*matrix->why && matrix->rows == tensor->dim[0] && matrix->columns == tensor->dim[1], "%s: %s",
                  matrix->name, matrix->why);
    pare_dtype dtype;
    ck_assert(pare__safetensors_dtype_to_pare(tensor->dtype, &dtype));
    float row[64];
    for (int64_t r = 0; r < matrix->rows; r++) {
      pare__quantised_row(matrix, r, row);
      for (int64_t c = 0; c < matrix->columns; c++)
        ck_assert_double_eq(row[c], pare__load_unaligned(dtype, tensor->data, (size_t)(r * matrix->columns + c)));
    }
    nread++;
  }
  ck_assert_uint_eq(nread, 9);
  pare__safetensors_close(&expected);
  close_reading(&found);
}
END_TEST

START_TEST(what_differs_is_nothing_whichever_file_is_first) {
  for (unsigned turned = 0; turned < 2; turned++) {
    pare_diff *diff;
    unsigned nequal = 0;
    OK(pare_diff_open(golden(turned ? "expected.safetensors" : "model.safetensors"),
                      golden(turned ? "model.safetensors" : "expected.safetensors"), &diff));
    ck_assert_uint_eq(pare_diff_count(diff), 12); /* eleven weights and a bias: no scales, no shapes */
    for (size_t i = 0; i < pare_diff_count(diff); i++) {
      pare_diff_row row;
      OK(pare_diff_get(diff, i, &row));
      if (strcmp(row.layer, "layer.fp8") == 0) {
        ck_assert_msg(row.missing && strstr(row.missing, "float-quantized"), "%s", row.missing);
        continue;
      }
      ck_assert_msg(!row.missing && row.distance.max_error == 0, "%s: %s", row.name, row.missing ? row.missing : "");
      nequal++;
    }
    ck_assert_uint_eq(nequal, 11);
    pare_diff_close(diff);
  }
}
END_TEST

START_TEST(words_with_gaps_and_without_are_told_apart) {
  char config[400];
  for (unsigned bits = 2; bits <= 8; bits++)
    for (unsigned has_gaps = 0; has_gaps < 2; has_gaps++) {
      config_of(bits, "\"m\"", config);
      write_matrix(bits, has_gaps, NULL, config);
      numbers_are(bits, NULL);
    }
}
END_TEST

START_TEST(columns_belong_to_the_groups_that_they_name) {
  int32_t order[COLUMNS], none[COLUMNS];
  char config[400];
  for (int c = 0; c < COLUMNS; c++) order[c] = (5 * c + c / 7) % 3;
  config_of(4, "\"Linear\"", config);
  write_matrix(4, false, order, config);
  numbers_are(4, order);
  for (int c = 0; c < COLUMNS; c++) none[c] = -1;
  write_matrix(4, false, none, config);
  numbers_are(4, NULL);
}
END_TEST

START_TEST(layers_are_found_by_name_then_expression_then_class) {
  static const char text[] = "{\"compression_config\": {\"config_groups\": {"
                             "\"a\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 8, \"group_size\": 24}},"
                             "\"b\": {\"targets\": [\"re:.*\"], \"weights\": {\"num_bits\": %s, \"group_size\": 24}},"
                             "\"c\": {\"targets\": [\"%s\"], \"weights\": {\"num_bits\": %s, \"group_size\": 24}}}}}";
  char config[600];
  snprintf(config, sizeof config, text, "8", "m", "4");
  write_matrix(4, false, NULL, config);
  numbers_are(4, NULL);
  snprintf(config, sizeof config, text, "4", "n", "8");
  write_matrix(4, false, NULL, config);
  numbers_are(4, NULL);
}
END_TEST

/* What a configuration can have wrong, with the status, and what the message must hold beside the file's name. */
START_TEST(a_wrong_configuration_is_told_with_its_key) {
  static const struct {
    const char *config;
    pare_status status;
    const char *says;
  } cases[] = {
      {"{", PARE_ERR_FORMAT, "line 1"},
      {"{\"quantization_config\": 3}", PARE_ERR_FORMAT, "quantization_config is no object"},
      {"{\"quantization_config\": {\"quant_method\": \"gptq\"}}", PARE_ERR_UNSUPPORTED, "quant_method is 'gptq'"},
      {"{\"quantization_config\": {\"sparsity_config\": {\"format\": \"sparse-24-bitmask\"}}}", PARE_ERR_UNSUPPORTED,
       "sparsity_config.format is 'sparse-24-bitmask'"},
      {"{\"quantization_config\": {\"config_groups\": []}}", PARE_ERR_FORMAT, "config_groups is []"},
      {"{\"quantization_config\": {\"config_groups\": {\"W4A16\": [\"Linear\"]}}}", PARE_ERR_FORMAT,
       "config_groups is [\"Linear\"]"},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"weights\": 1}}}}", PARE_ERR_FORMAT,
       "config_groups.g.weights is 1"},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"weights\": {}}}}}", PARE_ERR_FORMAT,
       "config_groups.g.targets is missing"},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"targets\": [\"re:(\"], \"weights\": {}}}}}",
       PARE_ERR_FORMAT, "config_groups.g.targets: 're:('"},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"weights\": {\"num_bits\": 9}}}}}", PARE_ERR_FORMAT,
       "config_groups.g.weights.num_bits is 9"},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"weights\": {\"num_bits\": \"4\"}}}}}", PARE_ERR_FORMAT,
       "config_groups.g.weights.num_bits is \"4\""},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"weights\": {\"group_size\": 0}}}}}", PARE_ERR_FORMAT,
       "config_groups.g.weights.group_size is 0"},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"weights\": {\"symmetric\": 1}}}}}", PARE_ERR_FORMAT,
       "config_groups.g.weights.symmetric is 1"},
      {"{\"quantization_config\": {\"config_groups\": {\"g\": {\"weights\": {\"type\": \"uint\"}}}}}", PARE_ERR_FORMAT,
       "config_groups.g.weights.type is \"uint\""},
      {"{\"quantization_config\": {}, \"quantization_config\": {}}", PARE_ERR_FORMAT, "duplicate"},
  };
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    pare__safetensors file;
    pare__quantised_file all;
    write_matrix(4, false, NULL, cases[i].config);
    OK(pare__safetensors_open(path_of("m.safetensors"), &file));
    const pare_status status = pare__quantised_open(path_of("m.safetensors"), &file, &all);
    ck_assert_msg(status == cases[i].status && strstr(pare_message(), cases[i].says) &&
                      strstr(pare_message(), path_of("config.json")),
                  "%s: %s", cases[i].config, pare_message());
    ck_assert_ptr_null(all.matrix);
    pare__safetensors_close(&file);
  }
}
END_TEST

START_TEST(a_configuration_is_needed_only_where_something_is_packed) {
  static const float values[4] = {1, 2, 3, 4};
  static const int8_t codes[4] = {1, -2, 3, -4};
  builder dense = {0}, plain = {0};
  reading found;
  add(&dense, "m.weight", PARE__SAFETENSORS_F32, 2, 2, 2, values);
  add(&plain, "m.weight", PARE__SAFETENSORS_I8, 2, 2, 2, codes);
  add(&plain, "m.weight_scale", PARE__SAFETENSORS_F32, 2, 2, 2, values);
  write_text("config.json", "not JSON");
  OK(pare__safetensors_write(path_of("dense.safetensors"), dense.tensor, dense.ntensors, NULL, 0));
  open_reading(path_of("dense.safetensors"), &found);
  ck_assert_uint_eq(found.all.count, 0);
  close_reading(&found);
  unlink(path_of("config.json"));
  OK(pare__safetensors_write(path_of("plain.safetensors"), plain.tensor, plain.ntensors, NULL, 0));
  open_reading(path_of("plain.safetensors"), &found);
  float row[2];
  pare__quantised_row(found.matrix, 1, row);
  ck_assert(row[0] == 9 && row[1] == -16);
  close_reading(&found);
  write_matrix(4, false, NULL, NULL);
  open_reading(path_of("m.safetensors"), &found);
  ck_assert_msg(strstr(found.matrix->why, "config.json") != NULL, "%s", found.matrix->why);
  close_reading(&found);
}
END_TEST

/* Sizes that do not fit each other: the reason holds the word, and no number is read. */
START_TEST(parts_that_do_not_fit_are_refused) {
  static const int32_t words[256] = {0}, orders[COLUMNS] = {0, 0, 0, 0, 3};
  static const int64_t huge[] = {ROWS, INT64_MAX}, negative[] = {ROWS, -COLUMNS}, turned[] = {COLUMNS, ROWS};
  static const struct {
    pare__safetensors_dtype codes, scale, zero;
    int64_t words, scale_columns, zero_rows; /* 0: no zero points */
    const int64_t *shape;
    const int32_t *order;
    const char *symmetric, *says;
  } cases[] = {
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 0, huge, NULL, "true", "shape"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 0, negative, NULL, "true", "shape"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 0, turned, NULL, "true", "shape"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 0, NULL, NULL, "true",
       "shape is missing"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 9, 3, 0, shape_of_all, NULL, "true",
       "4 bits"},
      {PARE__SAFETENSORS_F32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 0, shape_of_all, NULL, "true", "F32"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_I32, PARE__SAFETENSORS_I32, 8, 3, 0, shape_of_all, NULL, "true",
       "scale"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 4, 0, shape_of_all, NULL, "true",
       "4 scales a row"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 1, 0, shape_of_all, NULL, "true",
       "one scale a row"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 65, 0, shape_of_all, NULL, "true",
       "scales"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 0, shape_of_all, NULL, "false",
       "zero point is missing"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 2, shape_of_all, NULL, "false",
       "zero points"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_F32, 8, 3, 1, shape_of_all, NULL, "false",
       "zero points"},
      {PARE__SAFETENSORS_I32, PARE__SAFETENSORS_F32, PARE__SAFETENSORS_I32, 8, 3, 0, shape_of_all, orders, "true",
       "column 4 the group 3 of 3"},
  };
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    builder b = {0};
    char config[400];
    reading found;
    add(&b, "m.weight_packed", cases[i].codes, 2, ROWS, cases[i].words, words);
    add(&b, "m.weight_scale", cases[i].scale, 2, ROWS, cases[i].scale_columns, words);
    if (cases[i].zero_rows) add(&b, "m.weight_zero_point", cases[i].zero, 2, cases[i].zero_rows, 3, words);
    if (cases[i].shape) add(&b, "m.weight_shape", PARE__SAFETENSORS_I64, 1, 2, 0, cases[i].shape);
    if (cases[i].order) add(&b, "m.weight_g_idx", PARE__SAFETENSORS_I32, 1, COLUMNS, 0, cases[i].order);
    OK(pare__safetensors_write(path_of("bad.safetensors"), b.tensor, b.ntensors, NULL, 0));
    snprintf(config, sizeof config,
             "{\"quantization_config\": {\"config_groups\": {\"g\": {\"targets\": [\"Linear\"], \"weights\": "
             "{\"num_bits\": 4, \"group_size\": 24, \"symmetric\": %s}}}}}",
             cases[i].symmetric);
    write_text("config.json", config);
    open_reading(path_of("bad.safetensors"), &found);
    ck_assert_msg(strstr(found.matrix->why, cases[i].says) && found.matrix->rows == 0, "%zu: '%s', not '%s'", i,
                  found.matrix->why, cases[i].says);
    close_reading(&found);
  }
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("quantised_files");
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  tcase_add_test(tests, numbers_are_those_of_the_package_that_wrote_them);
  tcase_add_test(tests, what_differs_is_nothing_whichever_file_is_first);
  tcase_add_test(tests, words_with_gaps_and_without_are_told_apart);
  tcase_add_test(tests, columns_belong_to_the_groups_that_they_name);
  tcase_add_test(tests, layers_are_found_by_name_then_expression_then_class);
  tcase_add_test(tests, a_wrong_configuration_is_told_with_its_key);
  tcase_add_test(tests, a_configuration_is_needed_only_where_something_is_packed);
  tcase_add_test(tests, parts_that_do_not_fit_are_refused);
  return remove_folder(folder, run_tests("quantised_files", tests));
}
