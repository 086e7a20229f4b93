/* Methods: one short file and one row of the table each. SPDX-License-Identifier: Apache-2.0
 *
 * A method plans (is this tensor its business, what will it be stored as), may prepare (one look at all tensors before
 * the first is changed: a global threshold, factors of SmoothQuant), and applies itself to the rows of one tensor at a
 * time, on the device. What it knows of the layer's inputs comes from calibration (calibration.h). */
#ifndef PARE_COMPRESS_METHOD_H
#define PARE_COMPRESS_METHOD_H

#include "compress/checkpoint.h"

typedef struct pare__compression pare__compression;

/* A weight, or some of its rows, on its way through the methods. */
typedef struct pare__work {
  size_t index; /* of the weight */
  const pare__weight *weight;
  const pare__treatment *treatment;
  int64_t first_row, nrows, columns;
  pare_tensor *w;      /* f32 [nrows, columns], canonical: methods overwrite it */
  pare_tensor *mask;   /* bool, 1: kept; NULL: all. Kept from the last pruning method, for those after it */
  pare__result result; /* what a quantising method made; values are taken from w if there are no codes */
} pare__work;

/* What a method wants to know of a layer's inputs; also a bit set. */
typedef enum pare__needs {
  PARE__NEEDS_NOTHING = 0,
  PARE__NEEDS_RANGES = 1,
  PARE__NEEDS_HESSIAN = 2,
  PARE__NEEDS_DRIFT = 4 /* with the Hessian: what the layers before have changed */
} pare__needs;

typedef struct pare__method {
  const char *name; /* in recipes */
  const pare__field *fields;
  size_t nfields, options_bytes;
  const void *defaults;               /* options_bytes of them */
  const char *const *default_targets; /* ends with NULL */
  pare__needs needs;                  /* of the layers' inputs; plan() is not asked without calibration data */
  /* apply() keeps something of a weight from one of its rows to the next, so that all rows are made on one device. */
  bool in_turn;
  /* After the recipe is read: do the fields go together? NULL: always. */
  pare_status (*check)(pare_recipe *recipe, pare__modifier *modifier);
  /* Before plan(): takes weights out of `chosen`, which the targets fit, and says why in their treatments; for what
   * cannot be told of one weight alone. NULL: all that are chosen are looked at. */
  pare_status (*narrow)(const pare__modifier *modifier, const pare__checkpoint *checkpoint, bool *chosen,
                        pare__treatment *treatments);
  /* A weight that the targets fit: sets storage and grid, or the reason and *takes = false. */
  pare_status (*plan)(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                      bool *takes);
  /* After all is planned and settled: for what depends on the treatments of other weights. NULL: nothing does. */
  pare_status (*settled)(const pare__modifier *modifier, size_t step, pare__checkpoint *checkpoint,
                         pare__treatment *treatments);
  /* Once, before the first tensor; NULL: nothing to prepare. `step` is the modifier's index. */
  pare_status (*prepare)(pare__compression *compression, size_t step);
  /* Once, when all steps are prepared: for what looks at the whole model as it will be. NULL: nothing does. */
  pare_status (*prepared)(pare__compression *compression, size_t step);
  pare_status (*apply)(pare__compression *compression, size_t step, pare__work *work);
  /* Once, at the end, also after failures: lets go of what state[step] holds outside the arena. NULL: nothing. */
  void (*finish)(pare__compression *compression, size_t step);
} pare__method;

/* One file method_NAME.c each; ends with NULL: method.c. */
extern const pare__method *const pare__methods[];
const pare__method *pare__method_find(const char *name); /* NULL: none */
/* "prune, quantize, …" for messages; the buffer is returned. */
const char *pare__method_names(char *buffer, size_t capacity);

/* The field mask_structure: "2:4"; "unstructured", "0:0" and NULL leave *keep and *of as they are, 0. PARE_ERR_FORMAT
 * at the modifier's place. */
pare_status pare__mask_structure_read(const pare__modifier *modifier, const char *text, unsigned *keep, unsigned *of);

/* ---- one compression ---- */

struct pare__calibration;

struct pare__compression {
  pare_context *context; /* one device's */
  pare_context *all;     /* what that is a member of, if there are several devices; else itself */
  const pare_recipe *recipe;
  pare__checkpoint *checkpoint;
  pare__treatment *treatments;           /* one a weight; `prepare` may still set factor, smooth, range and bounds */
  struct pare__calibration *calibration; /* NULL: the recipe has none */
  void **state;                          /* one a modifier, for what prepare() finds */
  pare__arena arena;                     /* of state, factors */
  pare_compress_options options;
  pare_report *report;  /* NULL: nothing is noted */
  uint64_t done, total; /* elements, for progress */
  atomic_uint references;
};

/* A device that hangs keeps the compression it works for, with recipe and checkpoint, until it comes back. */
void pare__compression_retain(pare__compression *compression);
void pare__compression_release(pare__compression *compression); /* NULL is allowed */

/* So many elements more are through. */
void pare__compression_advance(pare__compression *compression, uint64_t elements, const char *what);

/* Is the modifier one of the weight's steps? */
bool pare__treats(const pare__treatment *treatment, size_t step);
/* Rows of a weight as f32 on the device, factors applied, before any method. PARE_ERR_FORMAT: NaN or infinity, with the
 * tensor and the offset. */
pare_status pare__load_rows(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                            pare_tensor **out);
/* How many rows go through the methods at a time: so many elements, 4 MiB of f32, enough for a device to be busy and
 * little beside a model; or one row that has more. */
#define PARE__PIECE_ELEMENTS ((int64_t)1 << 20)
int64_t pare__most_rows(const pare__compression *compression, size_t index);
/* Are they fewer than the weight has? What a method has to know of all of it, it finds in prepare(). */
bool pare__in_pieces(const pare__compression *compression, size_t index);
/* As load_rows, after all steps before `step`: what a method sees in prepare(). */
pare_status pare__load_before(pare__compression *compression, size_t index, size_t step, int64_t first_row,
                              int64_t nrows, pare_tensor **out);

#endif
