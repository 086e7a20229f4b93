/* What layers get as inputs when calibration data runs through the model. SPDX-License-Identifier: Apache-2.0
 *
 * Statistics stream: the inputs of a layer are reduced on the device as they come, batch by batch, and never kept. */
#ifndef PARE_COMPRESS_CALIBRATION_H
#define PARE_COMPRESS_CALIBRATION_H

#include "compress/method.h"

typedef struct pare__calibration pare__calibration;

typedef struct pare__statistics {
  int64_t inputs;       /* of the layer */
  uint64_t nrows;       /* vectors seen */
  float range[2];       /* least and largest of all elements */
  float *input_absmax;  /* [inputs] */
  pare_tensor *hessian; /* f32 [inputs, inputs]: 2 / nrows * sum x x^T; NULL unless asked for */
} pare__statistics;

/* Reads the archive and holds it against the model's inputs. PARE_ERR_ARGUMENT, PARE_ERR_FORMAT name the input that is
 * missing, empty, of a wrong shape or type, or holds NaN. */
pare_status pare__calibration_open(pare_context *context, const pare__checkpoint *checkpoint, const char *path,
                                   pare__calibration **out);
void pare__calibration_close(pare__calibration *calibration); /* NULL is allowed */
/* Runs the data through the model as far as the layer of that weight. */
pare_status pare__calibration_collect(pare__calibration *calibration, size_t weight, pare__needs needs,
                                      pare__statistics *out);
void pare__statistics_close(pare__statistics *statistics); /* all zero is allowed */

#endif
