/* Scores of classifiers. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_SCORE_H
#define PARE_CLI_SCORE_H

#include "cli/cli.h"

/* How often class `truth` was taken for class `predicted`. */
typedef struct cli_confusion {
  size_t nclasses;
  uint64_t *count; /* [truth][predicted]; NULL: no classes */
} cli_confusion;

#define CLI_MOST_CLASSES 65536
/* The smallest table that holds a class; grown as classes appear. */
cli_exit cli_confusion_add(cli_confusion *confusion, size_t truth, size_t predicted);
void cli_confusion_free(cli_confusion *confusion);

/* precision = right / predicted, recall = right / true, F1 = 2 precision recall / (precision + recall); 0 / 0 is 0. */
typedef struct cli_class_score {
  uint64_t support; /* true members */
  double precision, recall, f1;
} cli_class_score;
cli_class_score cli_confusion_class(const cli_confusion *confusion, size_t index);

/* Over all classes: accuracy, and the plain means over the classes that the labels hold (macro averages). */
typedef struct cli_total_score {
  uint64_t samples, right;
  double accuracy, precision, recall, f1;
} cli_total_score;
cli_total_score cli_confusion_total(const cli_confusion *confusion);

json_t *cli_confusion_json(const cli_confusion *confusion); /* rows of counts */
json_t *cli_classes_json(const cli_confusion *confusion);   /* an object a class */
/* For people: a row a class, then the table of confusions if it is not too wide. */
cli_exit cli_confusion_print(const cli_confusion *confusion);

#endif
