/* What every quantising method's fields are, and the schemes that fill them. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_QUANTIZE_H
#define PARE_COMPRESS_QUANTIZE_H

#include <pare/grid.h>

#include "compress/method.h"

typedef enum pare__number_type { PARE__TYPE_INT, PARE__TYPE_FLOAT, PARE__TYPE_BFLOAT } pare__number_type;

/* First member of a quantising method's options. */
typedef struct pare__quantize_options {
  const char *scheme; /* NULL: none; fills what is not given */
  int type;           /* pare__number_type */
  int64_t num_bits;
  int strategy; /* pare__strategy */
  int64_t group_size;
  bool symmetric;
  int observer; /* pare__observer */
  double percentile;
  int input_activations; /* 0: none, 1: int8 */
  bool dynamic;          /* their scales are made at run time; else by calibration */
} pare__quantize_options;

#define PARE__QUANTIZE_DEFAULTS                                                                             \
  {                                                                                                         \
    .num_bits = 8, .strategy = PARE__PER_CHANNEL, .group_size = 32, .symmetric = true, .percentile = 99.99, \
    .dynamic = true                                                                                         \
  }

/* Rows of a method's table of fields; `options` begins with a pare__quantize_options. */
#define PARE__QUANTIZE_FIELD(name, kind, ...) \
  { #name, kind, offsetof(pare__quantize_options, name), __VA_ARGS__ }
#define PARE__QUANTIZE_FIELDS                                                                     \
  PARE__QUANTIZE_FIELD(scheme, PARE__FIELD_TEXT, 0, 0, NULL),                                     \
      PARE__QUANTIZE_FIELD(type, PARE__FIELD_CHOICE, 0, 0, pare__number_type_names),              \
      PARE__QUANTIZE_FIELD(num_bits, PARE__FIELD_INT, 2, 16, NULL),                               \
      PARE__QUANTIZE_FIELD(strategy, PARE__FIELD_CHOICE, 0, 0, pare__strategy_names),             \
      PARE__QUANTIZE_FIELD(group_size, PARE__FIELD_INT, 2, 65536, NULL),                          \
      PARE__QUANTIZE_FIELD(symmetric, PARE__FIELD_BOOL, 0, 0, NULL),                              \
      PARE__QUANTIZE_FIELD(observer, PARE__FIELD_CHOICE, 0, 0, pare__observer_names),             \
      PARE__QUANTIZE_FIELD(percentile, PARE__FIELD_ABOVE, 50, 100, NULL),                         \
      PARE__QUANTIZE_FIELD(input_activations, PARE__FIELD_CHOICE, 0, 0, pare__activations_names), \
      PARE__QUANTIZE_FIELD(dynamic, PARE__FIELD_BOOL, 0, 0, NULL)
extern const char *const pare__number_type_names[],
    *const pare__strategy_names[], *const pare__observer_names[], *const pare__activations_names[],
                                                                      *const pare__quantize_targets[];

/* For a quantising method's `check` and `plan`. */
pare_status pare__quantize_check(pare_recipe *recipe, pare__modifier *modifier);
pare_status pare__quantize_plan(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                                bool *takes);

/* The same grid for operations on canonical rows [rows, columns]. */
pare_grid pare__grid_of(const pare__grid *grid);
pare_fit_options pare__fit_of(const pare__grid *grid);
/* Tensors for codes, scales and zero points of the work's rows. */
pare_status pare__result_create(const pare__work *work, pare__result *out);
/* Scales and zero points of the work's rows, into its result. */
pare_status pare__quantize_fit(pare__work *work);
/* Every weight to the nearest code of its grid. */
pare_status pare__quantize_nearest(pare__work *work);

/* For a quantising method's `prepare`: bounds of weights in pieces that share one scale, ranges of static activations.
 */
pare_status pare__quantize_prepare(pare__compression *compression, size_t step);

#endif
