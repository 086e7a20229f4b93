/* What layers get as inputs when calibration data runs through the model. SPDX-License-Identifier: Apache-2.0
 *
 * The inputs of layers are outputs of an edited model. They are reduced on the device batch by batch and never kept:
 * of one layer, or of as many as fit a share of the memory limit, in one pass over the data. All of them are those of
 * the original model, so that layers do not depend on each other; or, in sequence, those of a model in which the layers
 * before are compressed. */
#ifndef PARE_COMPRESS_CALIBRATION_H
#define PARE_COMPRESS_CALIBRATION_H

#include "compress/method.h"

typedef struct pare__calibration pare__calibration;

typedef struct pare__statistics {
  int64_t inputs;       /* columns of the canonical weight */
  uint64_t nrows;       /* vectors seen */
  float *least, *most;  /* [inputs] of each input; 0 lies between */
  float *squares;       /* [inputs]: sum of x^2 */
  pare_tensor *hessian; /* f32 [inputs, inputs]: sum of x x^T; NULL unless asked for */
  pare_tensor *drift;   /* f32 [inputs, inputs]: sum of (y - x) x^T, y being x in the original model; NULL as above */
} pare__statistics;

/* Reads the archive and holds it against the model's inputs. An integer input "attention_mask" [samples, positions]
 * also says which positions count: sums leave out the vectors of others. PARE_ERR_ARGUMENT, PARE_ERR_SHAPE,
 * PARE_ERR_TYPE, PARE_ERR_FORMAT name the input that is missing, empty, of a wrong shape or type, or holds NaN. */
pare_status pare__calibration_open(pare__compression *compression, const char *path, pare__calibration **out);
void pare__calibration_close(pare__calibration *calibration); /* NULL is allowed */
/* Says beforehand what statistics() will be asked, before the file is rewritten. *reason: why that cannot be; else
 * NULL. */
pare_status pare__calibration_want(pare__calibration *calibration, size_t weight, pare__needs needs,
                                   const char **reason);
/* Do two weights that statistics are wanted of read the same value? */
bool pare__calibration_shared(const pare__calibration *calibration, size_t a, size_t b);
/* The range of the inputs of every weight whose activations are quantised statically by this step, into its treatment:
 * what `prepare` of quantising methods does. */
pare_status pare__calibration_ranges(pare__compression *compression, size_t step);
/* From here to the end data runs through a model whose weights are exchanged for what they will be: sums are of the
 * inputs in that one, of layers at one depth at a time; with `drift` those have it. `changed` has one for each weight:
 * those that depths are counted by; *depth (one a weight) lives until the end. */
pare_status pare__calibration_sequence_begin(pare__calibration *calibration, const bool *changed, bool drift,
                                             const size_t **depth);
/* The weight has these elements, f32 in canonical order, in that model; they may be freed. One that is no constant of
 * the main graph stays as it is. */
pare_status pare__calibration_exchange(pare__calibration *calibration, size_t index, const float *canonical);
/* All data runs through the original again. */
void pare__calibration_sequence_end(pare__calibration *calibration);
/* Runs the data through the model, unless that was done already. *out lives until the next call. */
pare_status pare__calibration_statistics(pare__calibration *calibration, size_t weight, pare__needs needs,
                                         const pare__statistics **out);

#endif
