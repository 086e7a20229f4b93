/* Cases in the layout of the ONNX backend tests. SPDX-License-Identifier: Apache-2.0
 *
 * A case is a folder: model.onnx, and test_data_set_0, test_data_set_1, … each with input_0.pb, input_1.pb, … and
 * output_0.pb, … (one TensorProto a file, in the order of the graph's inputs and outputs). Collections of models have
 * the same layout with other names: without a model.onnx, the one file that ends in .onnx is the model. `path` is the
 * folder or a model in it, which must be said where there are several. */
#ifndef PARE_VERIFY_H
#define PARE_VERIFY_H

#include <pare/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pare_case_status {
  PARE_CASE_PASS,
  PARE_CASE_FAIL,        /* an output differs */
  PARE_CASE_UNSUPPORTED, /* an operator or a type that pare lacks */
  PARE_CASE_ERROR        /* anything else: a malformed file, a failing device */
} pare_case_status;
PARE_API const char *pare_case_status_name(pare_case_status status); /* "pass"; "?" if none */

typedef struct pare_verify_options {
  double relative, absolute; /* floats: |a - r| <= absolute + relative |r|, relative at least the spacing of the dtype;
                                integers and bool must be equal */
  pare_model_options model;
} pare_verify_options;
#define PARE_VERIFY_OPTIONS_INIT \
  { 1e-3, 1e-5, PARE_MODEL_OPTIONS_INIT }

typedef struct pare_verify_result {
  pare_case_status status;
  char reason[512]; /* "" for a pass; else what differs, where, by how much; or the message */
  unsigned nsets;   /* data sets that were run */
  size_t nlayers;   /* values between nodes that were compared */
} pare_verify_result;

/* Runs all data sets of the case, up to the first that does not pass. NaN must meet NaN, an infinity the
 * same one; shapes and dtypes must be equal. The status of the case is in *out; what the function returns is PARE_OK
 * unless its arguments are wrong (PARE_ERR_ARGUMENT). options NULL: the defaults. */
PARE_API pare_status pare_verify_case(pare_context *context, const char *path, const pare_verify_options *options,
                                      pare_verify_result *out);
/* ---- layer by layer ---- */

/* Values that nodes make, by name. Of a value that a loop makes several times there is the first. */
typedef struct pare_layers pare_layers;
/* Runs data set 0 of a case node after node and keeps all values on the host. */
PARE_API pare_status pare_layers_record(pare_context *context, const char *path, const pare_verify_options *options,
                                        pare_layers **out);
/* Those of a file of arrays (pare/arrays.h), e.g. what another runtime gave. Values that a pass takes away are not
 * there in a run: options.model.without "all" keeps the model's own nodes. */
PARE_API pare_status pare_layers_open(const char *path, pare_layers **out);
PARE_API size_t pare_layers_count(const pare_layers *layers);
PARE_API void pare_layers_close(pare_layers *layers); /* NULL is allowed */
/* Runs data set 0 of the case node after node, and compares what each one makes with the reference, where that has a
 * value of the name. The first that differs is in out->reason: node, operator, value, how many elements; out->nlayers
 * are the values that were compared. Returned as by pare_verify_case. */
PARE_API pare_status pare_verify_layers(pare_context *context, const char *path, const pare_layers *reference,
                                        const pare_verify_options *options, pare_verify_result *out);

/* Is the folder a case? It has a model.onnx, or a test_data_set_0 beside another .onnx file. */
PARE_API bool pare_verify_is_case(const char *folder);

#ifdef __cplusplus
}
#endif
#endif
