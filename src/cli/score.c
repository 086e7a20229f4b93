/* Scores of classifiers. SPDX-License-Identifier: Apache-2.0 */
#include "cli/score.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SHOWN 15 /* classes in a table of confusions for people */

cli_exit cli_confusion_add(cli_confusion *confusion, size_t truth, size_t predicted) {
  const size_t needed = (truth > predicted ? truth : predicted) + 1, had = confusion->nclasses;
  if (needed > had) {
    uint64_t *count = calloc(needed * needed, sizeof *count);
    if (!count) return cli_error(CLI_DEVICE, "out of memory for the confusions of %zu classes", needed);
    for (size_t i = 0; i < had; i++) memcpy(count + i * needed, confusion->count + i * had, had * sizeof *count);
    free(confusion->count);
    *confusion = (cli_confusion){needed, count};
  }
  confusion->count[truth * confusion->nclasses + predicted]++;
  return CLI_OK;
}

void cli_confusion_free(cli_confusion *confusion) {
  free(confusion->count);
  *confusion = (cli_confusion){0};
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

cli_class_score cli_confusion_class(const cli_confusion *confusion, size_t index) {
  const size_t n = confusion->nclasses;
  uint64_t predicted = 0;
  cli_class_score score = {0};
  for (size_t i = 0; i < n; i++) {
    score.support += confusion->count[index * n + i];
    predicted += confusion->count[i * n + index];
  }
  const double right = (double)confusion->count[index * n + index];
  score.precision = ratio(right, (double)predicted);
  score.recall = ratio(right, (double)score.support);
  score.f1 = ratio(2 * score.precision * score.recall, score.precision + score.recall);
  return score;
}

cli_total_score cli_confusion_total(const cli_confusion *confusion) {
  cli_total_score total = {0};
  size_t held = 0;
  for (size_t i = 0; i < confusion->nclasses; i++) {
    const cli_class_score score = cli_confusion_class(confusion, i);
    total.samples += score.support;
    total.right += confusion->count[i * confusion->nclasses + i];
    if (score.support == 0) continue;
    held++;
    total.precision += score.precision;
    total.recall += score.recall;
    total.f1 += score.f1;
  }
  total.accuracy = ratio((double)total.right, (double)total.samples);
  total.precision = ratio(total.precision, (double)held);
  total.recall = ratio(total.recall, (double)held);
  total.f1 = ratio(total.f1, (double)held);
  return total;
}

json_t *cli_confusion_json(const cli_confusion *confusion) {
  json_t *rows = json_array();
  for (size_t i = 0; i < confusion->nclasses; i++) {
    json_t *row = json_array();
    for (size_t j = 0; j < confusion->nclasses; j++)
      json_array_append_new(row, json_integer((json_int_t)confusion->count[i * confusion->nclasses + j]));
    json_array_append_new(rows, row);
  }
  return rows;
}

json_t *cli_classes_json(const cli_confusion *confusion) {
  json_t *list = json_array();
  for (size_t i = 0; i < confusion->nclasses; i++) {
    const cli_class_score score = cli_confusion_class(confusion, i);
    json_array_append_new(list, json_pack("{s:I, s:I, s:f, s:f, s:f}", "class", (json_int_t)i, "samples",
                                          (json_int_t)score.support, "precision", score.precision, "recall",
                                          score.recall, "f1", score.f1));
  }
  return list;
}

static cli_exit print_counts(const cli_confusion *confusion) {
  char columns[16 * (MOST_SHOWN + 1)] = ">true";
  size_t used = strlen(columns);
  for (size_t i = 0; i < confusion->nclasses; i++)
    used += (size_t)snprintf(columns + used, sizeof columns - used, "|>as %zu", i);
  cli_table *table = cli_table_open(columns);
  for (size_t i = 0; i < confusion->nclasses; i++) {
    cli_table_cell(table, CLI_PLAIN, "%zu", i);
    for (size_t j = 0; j < confusion->nclasses; j++) {
      const uint64_t count = confusion->count[i * confusion->nclasses + j];
      cli_table_cell(table, count == 0 ? CLI_DIM : i == j ? CLI_GOOD : CLI_BAD, "%" PRIu64, count);
    }
  }
  return cli_table_print(table);
}

cli_exit cli_confusion_print(const cli_confusion *confusion) {
  cli_table *table = cli_table_open(">class|>samples|>precision|>recall|>F1");
  for (size_t i = 0; i < confusion->nclasses; i++) {
    const cli_class_score score = cli_confusion_class(confusion, i);
    cli_table_cell(table, CLI_PLAIN, "%zu", i);
    cli_table_cell(table, CLI_PLAIN, "%" PRIu64, score.support);
    cli_table_cell(table, CLI_PLAIN, "%.4f", score.precision);
    cli_table_cell(table, CLI_PLAIN, "%.4f", score.recall);
    cli_table_cell(table, CLI_PLAIN, "%.4f", score.f1);
  }
  const cli_exit code = cli_table_print(table);
  if (code != CLI_OK || confusion->nclasses > MOST_SHOWN) return code;
  putchar('\n');
  return print_counts(confusion);
}
