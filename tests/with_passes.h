/* A model with passes and without. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WITH_PASSES_H
#define TESTS_WITH_PASSES_H

#include <pare/model.h>

#include "format/onnx.h"

/* Writes the model to `path`, closes it, and opens it with passes; run on random inputs, its outputs are those that it
 * has without, in shape and within rounding. */
pare_model *with_passes(const char *path, pare__onnx_model *onnx, uint32_t seed);
/* The same within that part of one more than a value, for models that compute in halves. */
pare_model *with_passes_within(const char *path, pare__onnx_model *onnx, uint32_t seed, float tolerance);
/* How many nodes of an operator the model has after its passes. */
size_t nodes_of(const pare_model *model, const char *op_type);
/* A constant scalar. */
void model_number(pare__onnx_model *onnx, const char *name, float value);

#endif
