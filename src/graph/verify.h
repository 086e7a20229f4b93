/* What checking a case's outputs and its layers share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_VERIFY_H
#define PARE_GRAPH_VERIFY_H

#include <pare/verify.h>

#include "graph/run.h"

/* The model of a case, to close. */
pare_status pare__case_open(pare_context *context, const char *folder, const pare_verify_options *options,
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
