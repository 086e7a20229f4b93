/* doc/operators.md is the table of operators; with --update it is written anew. SPDX-License-Identifier: Apache-2.0 */
#include <pare/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* Rows of one operator that follow each other without a gap and differ in nothing else. */
static bool goes_on(const pare_operator_info *row, const pare_operator_info *next) {
  return strcmp(row->domain, next->domain) == 0 && strcmp(row->name, next->name) == 0 &&
         strcmp(row->placement, next->placement) == 0 && strcmp(row->types, next->types) == 0 && row->until > 0 &&
         row->until + 1 >= next->since;
}

static void print_row(FILE *to, const pare_operator_info *row) {
  fprintf(to, "| %s | ", row->name);
  if (row->until == 0)
    fprintf(to, "%d and later", row->since);
  else if (row->until == row->since)
    fprintf(to, "%d", row->since);
  else
    fprintf(to, "%d to %d", row->since, row->until);
  fprintf(to, " | %s | %s |\n", row->placement, row->types);
}

static void print_page(FILE *to) {
  fputs("# Operators\n\n"
        "What pare runs of ONNX. This page is made of the library's own table by `make update-operators`;\n"
        "`pare inspect --show support` prints it, and `pare inspect MODEL --show support` what a model needs of it.\n\n"
        "An operator runs on the device; on the host, where it computes shapes or steps of control, or decides about\n"
        "one box after another (NonMaxSuppression); as a view, where no element moves; or as control, where it runs\n"
        "other nodes. What computes shapes too, such as Add, does so on the host where all of its inputs are known\n"
        "beforehand and small. Opsets are those of the operator's domain.\n\n"
        "Types are those of the operator's data; indices, shapes and conditions have types of their own. Floats are "
        "f32,\n"
        "f16, bf16 and f64; integers have 8 to 64 bits, signed or not; numbers are both; any is also bool and what is\n"
        "only stored and cast, ONNX's float8 and float4.\n",
        to);
  const char *domain = NULL;
  pare_operator_info row, next;
  for (size_t i = 0; pare_operator_get(i, &row); i++) {
    if (!domain || strcmp(row.domain, domain) != 0)
      fprintf(to, "\n## %s\n\n| operator | opsets | runs on | types |\n|---|---|---|---|\n",
              *row.domain ? row.domain : "ai.onnx");
    domain = row.domain;
    while (pare_operator_get(i + 1, &next) && goes_on(&row, &next)) {
      row.until = next.until;
      i++;
    }
    print_row(to, &row);
  }
}

static const char *page_path(void) {
  static char path[4096];
  const char *folder = getenv("srcdir");
  snprintf(path, sizeof path, "%s/doc/operators.md", folder ? folder : ".");
  return path;
}

START_TEST(page_holds_every_operator_of_the_table) {
  const char *path = page_path();
  char *expected = NULL;
  size_t nbytes = 0;
  FILE *to = open_memstream(&expected, &nbytes);
  ck_assert_ptr_nonnull(to);
  print_page(to);
  ck_assert_int_eq(fclose(to), 0);
  char *found = calloc(nbytes + 2, 1);
  FILE *from = fopen(path, "r");
  ck_assert_msg(found && from, "cannot read %s", path);
  const size_t nread = fread(found, 1, nbytes + 1, from);
  fclose(from);
  ck_assert_msg(nread == nbytes && memcmp(found, expected, nbytes) == 0,
                "%s is not what the table says: run make update-operators", path);
  free(found);
  free(expected);
}
END_TEST

START_TEST(rows_come_in_order_and_do_not_overlap) {
  pare_operator_info row, next;
  for (size_t i = 0; pare_operator_get(i, &row) && pare_operator_get(i + 1, &next); i++) {
    ck_assert_msg(row.since >= 1 && (row.until == 0 || row.until >= row.since), "%s: opsets %d to %d", row.name,
                  row.since, row.until);
    if (strcmp(row.domain, next.domain) != 0 || strcmp(row.name, next.name) != 0) continue;
    ck_assert_msg(row.until > 0 && row.until < next.since, "two rows of %s are right for opset %d", row.name,
                  next.since);
  }
}
END_TEST

static int update(void) {
  const char *path = page_path();
  FILE *to = fopen(path, "w");
  if (to) print_page(to);
  const bool failed = !to || fclose(to) != 0;
  if (failed) perror(path);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--update") == 0) return update();
  TCase *tests = tcase_create("operators");
  tcase_add_test(tests, page_holds_every_operator_of_the_table);
  tcase_add_test(tests, rows_come_in_order_and_do_not_overlap);
  return run_tests("operators", tests);
}
