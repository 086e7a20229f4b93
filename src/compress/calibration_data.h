/* Calibration data: arrays of samples in the names of a model's inputs. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_CALIBRATION_DATA_H
#define PARE_COMPRESS_CALIBRATION_DATA_H

#include <pare/arrays.h>
#include <pare/model.h>

#include "base/base.h"

typedef struct pare__calibration_data {
  char *path;
  pare_arrays *arrays;
  size_t ninputs;
  const char **name; /* of all arrays: those of inputs that have a default replace it */
  pare_array *input; /* in the order of the model's inputs */
  bool *whole;       /* one for each: it is the same for all samples */
  int64_t nsamples;
  int64_t batch;          /* the model takes so many at a time; 0: any */
  const pare_array *mask; /* which positions count; NULL: all do */
} pare__calibration_data;

/* As pare__calibration_open. Close it in any case. */
pare_status pare__calibration_data_open(const char *model, const char *path, pare__calibration_data *out);
void pare__calibration_data_close(pare__calibration_data *data);
/* The options to open the model with, valid as long as the data. */
pare_model_options pare__calibration_data_options(const pare__calibration_data *data);
/* Samples first … first + count - 1 of every input. */
pare_status pare__calibration_data_batch(const pare__calibration_data *data, pare_context *context, int64_t first,
                                         int64_t count, pare_tensor **inputs);
/* The same of the mask, as f32 [count * positions, 1]; *vectors: how many of them count. */
pare_status pare__calibration_data_mask(const pare__calibration_data *data, pare_context *context, int64_t first,
                                        int64_t count, pare_tensor **out, uint64_t *vectors);

/* What came of running the model on these samples. If that says that values or shapes do not fit, the message names the
 * data and its inputs as well; other failures are not the data's. */
pare_status pare__calibration_data_blame(const pare__calibration_data *data, int64_t first, int64_t count,
                                         pare_status status);

#endif
