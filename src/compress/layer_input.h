/* What a layer multiplies its weight with, as values of the graph. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_LAYER_INPUT_H
#define PARE_COMPRESS_LAYER_INPUT_H

#include "compress/onnx_weights.h"

typedef struct pare__layer_input {
  const char *value;                                 /* its name in the main graph */
  bool convolution;                                  /* else each vector along the last axis is one input */
  int64_t kernel[2], stride[2], dilation[2], pad[4]; /* of a convolution over [N, C, H, W] or [N, C, W] */
  const char *reason;                                /* why nothing can be said of it; NULL: the rest is set */
} pare__layer_input;

/* What every weight is multiplied with, by the first node that uses it: out has one for each weight. One pass over the
 * main graph. */
void pare__layer_inputs_find(const pare__onnx_checkpoint *checkpoint, pare__layer_input *out);
/* How many layers whose weight is `changed` lie one after the other before each weight's first use: out has one for
 * each weight, 0 for those without a value. */
pare_status pare__layer_depths(const pare__onnx_checkpoint *checkpoint, const pare__layer_input *inputs,
                               const bool *changed, size_t *out);
bool pare__layer_input_same(const pare__layer_input *a, const pare__layer_input *b);
/* The vectors that the layer multiplies with rows of its canonical weight: [vectors, columns]. A view where that can
 * be. */
pare_status pare__layer_input_vectors(const pare__layer_input *input, pare_tensor *value, pare_tensor **out);

#endif
