/* Quantised matrices in files of safetensors, as compressed-tensors keeps them. SPDX-License-Identifier: Apache-2.0
 *
 * A matrix NAME [rows, columns] stands for scale * (code - zero point), computed in the type of the scales:
 *   NAME             I8 [rows, columns]: codes, one a byte; or
 *   NAME_packed      I32 [rows, words]: code + 2^(bits-1), low bits first, without gaps; or, as earlier versions wrote
 *                    them, floor(32 / bits) codes a word, which is the same for 2, 4 and 8 bits; then also
 *   NAME_shape       I64 [2]: rows and columns
 *   NAME_scale       F16, BF16, F32 or F64 [rows, groups]; [rows]; or one
 *   NAME_zero_point  I8 as the scales, or I32, packed as the codes are, but along the rows; none if symmetric
 *   NAME_g_idx       I32 [columns]: the group of each column; none, or all -1: neighbours
 * quantization_config.h says what the tensors alone do not: bits, and columns a group. */
#ifndef PARE_FORMAT_QUANTISED_H
#define PARE_FORMAT_QUANTISED_H

#include "format/safetensors.h"

typedef struct pare__quantised {
  const char *name, *layer; /* NAME, and without ".weight" */
  char form[48];            /* "4 bits in groups of 128" */
  char why[160];            /* why its numbers cannot be read; "": they can */
  int64_t rows, columns;    /* 0 if they cannot be */
  const pare__safetensors_tensor *codes;
  /* the rest is for pare__quantised_row */
  const pare__safetensors_tensor *scale, *zero, *order;
  pare_dtype scale_dtype;
  bool is_packed, has_gaps, is_asymmetric;
  unsigned bits;
  int64_t groups, group; /* scales a row, columns of one */
} pare__quantised;

typedef struct pare__quantised_file {
  size_t count;
  pare__quantised *matrix; /* in the file's order */
  struct pare__quantised_names *names;
} pare__quantised_file;

/* Finds all of `file`, which was read from `path` and must outlive it. The configuration is looked for only if there is
 * one. Errors as pare__quantization_config_open. */
pare_status pare__quantised_open(const char *path, const pare__safetensors *file, pare__quantised_file *out);
void pare__quantised_close(pare__quantised_file *file); /* all zero is allowed */
/* NULL: there is none of that name; none whose codes are that tensor. */
const pare__quantised *pare__quantised_named(const pare__quantised_file *file, const char *name);
const pare__quantised *pare__quantised_of_codes(const pare__quantised_file *file,
                                                const pare__safetensors_tensor *tensor);
/* Is the tensor the scale, zero point, shape or order of one? */
bool pare__quantised_has_part(const pare__quantised_file *file, const pare__safetensors_tensor *tensor);
/* Words of 32 bits that so many codes take, without gaps. */
int64_t pare__quantised_words(int64_t codes, unsigned bits);
/* The numbers of a row; `why` must be "". */
void pare__quantised_row(const pare__quantised *matrix, int64_t row, float *out);

#endif
