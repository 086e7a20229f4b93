/* What checking a case's outputs and its layers share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_VERIFY_H
#define PARE_GRAPH_VERIFY_H

#include <pare/verify.h>

#include "graph/run.h"

/* The folder and the model of a case, which is given as either; both to free. PARE_ERR_ARGUMENT if a folder has several
 * models and none is model.onnx. */
pare_status pare__case_find(const char *path, char **folder, char **model);
/* The folder of a case, to free, and its model, to close. */
pare_status pare__case_open(pare_context *context, const char *path, const pare_verify_options *options, char **folder,
                            pare_model **out);
/* The inputs of a data set in its folder, each to close, also after a failure. */
pare_status pare__case_inputs(const pare_model *model, const char *folder, pare_tensor **inputs);
/* This thread's message as the verdict. */
void pare__case_failed(pare_verify_result *out, pare_status failed);
/* The elements of a tensor on the host. */
pare_status pare__content_read(pare_tensor *tensor, pare__content **out);
/* Gives the verdict `fail` if they differ; `what` is a text such as "output 'y'". */
void pare__case_compare(const char *what, const pare__content *found, const pare__content *expected,
                        const pare_verify_options *options, pare_verify_result *out);

#endif
