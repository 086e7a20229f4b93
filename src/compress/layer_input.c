/* Inputs of layers: which value, and which vectors of it. SPDX-License-Identifier: Apache-2.0 */
#include "compress/layer_input.h"

#include <pare/index.h>
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

#include "graph/scope.h"

/* ---- finding ---- */

static bool ints_of(const pare__onnx_node *node, const char *name, size_t count, int64_t *out) {
  const pare__onnx_attribute *found = pare__onnx_attribute_find(node, name);
  if (!found) return true;
  if (found->ints.count != count) return false;
  memcpy(out, found->ints.items, count * sizeof *out);
  return true;
}

static int64_t int_of(const pare__onnx_node *node, const char *name, int64_t otherwise) {
  const pare__onnx_attribute *found = pare__onnx_attribute_find(node, name);
  return found ? found->i : otherwise;
}

static bool pads_itself(const pare__onnx_node *node) {
  const pare__onnx_attribute *found = pare__onnx_attribute_find(node, "auto_pad");
  return found && found->s.nbytes > 4 && memcmp(found->s.data, "SAME_", 5) == 0;
}

/* A convolution along one axis is one over images of height 1. */
static void describe_convolution(const pare__onnx_node *node, const pare__weight *weight, pare__layer_input *out) {
  const size_t axes = (size_t)weight->rank - 2, first = 2 - axes;
  out->reason = "no calibration for convolutions in groups, transposed, padded by themselves or over volumes";
  if (axes < 1 || axes > 2 || strcmp(node->op_type, "Conv") != 0 || int_of(node, "group", 1) != 1 || pads_itself(node))
    return;
  int64_t pads[4] = {0};
  for (size_t i = 0; i < 2; i++) out->kernel[i] = out->stride[i] = out->dilation[i] = 1;
  for (size_t i = 0; i < axes; i++) out->kernel[first + i] = weight->dim[2 + i];
  if (!ints_of(node, "strides", axes, out->stride + first) ||
      !ints_of(node, "dilations", axes, out->dilation + first) || !ints_of(node, "pads", 2 * axes, pads))
    return;
  for (size_t i = 0; i < axes; i++) {
    out->pad[first + i] = pads[i];
    out->pad[2 + first + i] = pads[axes + i];
  }
  out->convolution = true;
  out->reason = NULL;
}

void pare__layer_inputs_find(const pare__onnx_checkpoint *checkpoint, pare__layer_input *out) {
  const pare__onnx_nodes *nodes = &checkpoint->model->graph->node;
  for (size_t i = 0; i < checkpoint->base.nweights; i++)
    out[i] = (pare__layer_input){.reason = "no calibration: no Linear or Conv of the main graph uses it"};
  for (size_t n = 0; n < nodes->count; n++) {
    const pare__onnx_node *node = &nodes->items[n];
    const pare__onnx_use *use = pare__onnx_use_of(checkpoint, node);
    if (!use || node->input.count < 2) continue;
    pare__layer_input *input = &out[use->weight];
    const bool linear = use->kind == PARE__USE_LINEAR && int_of(node, "transA", 0) == 0;
    if (input->value || (!linear && use->kind != PARE__USE_CONV)) continue;
    input->value = node->input.items[0];
    if (linear)
      input->reason = NULL;
    else
      describe_convolution(node, &checkpoint->base.weights[use->weight], input);
  }
}

/* ---- depths ---- */

struct depths {
  const pare__onnx_checkpoint *checkpoint;
  const bool *changed;
  pare__scope names; /* of what nodes make: the number of its depth */
  size_t *depth;     /* of each of these */
  size_t deepest;
};

static size_t depth_of(const struct depths *depths, const char *value) {
  const int32_t found = pare__scope_find(&depths->names, value);
  return found == PARE__NO_VALUE ? 0 : depths->depth[found];
}

/* A node with a body may read any value in it. */
static size_t depth_after(const struct depths *depths, const pare__onnx_node *node) {
  const pare__onnx_use *use = pare__onnx_use_of(depths->checkpoint, node);
  size_t depth = 0;
  for (size_t i = 0; i < node->input.count; i++) depth = PARE__MAX(depth, depth_of(depths, node->input.items[i]));
  for (size_t i = 0; i < node->attribute.count; i++)
    if (node->attribute.items[i].g || node->attribute.items[i].graphs.count > 0) depth = depths->deepest;
  return depth + (use && depths->changed[use->weight]);
}

/* One pass over the nodes; false: nothing is deeper than it was known to be. */
static bool deepen(struct depths *depths) {
  const pare__onnx_nodes *nodes = &depths->checkpoint->model->graph->node;
  bool more = false;
  for (size_t n = 0; n < nodes->count; n++) {
    const size_t depth = depth_after(depths, &nodes->items[n]);
    for (size_t i = 0; i < nodes->items[n].output.count; i++) {
      const int32_t found = pare__scope_find(&depths->names, nodes->items[n].output.items[i]);
      if (found == PARE__NO_VALUE || depths->depth[found] >= depth) continue;
      depths->depth[found] = depth;
      depths->deepest = PARE__MAX(depths->deepest, depth);
      more = true;
    }
  }
  return more;
}

pare_status pare__layer_depths(const pare__onnx_checkpoint *checkpoint, const pare__layer_input *inputs,
                               const bool *changed, size_t *out) {
  const pare__onnx_nodes *nodes = &checkpoint->model->graph->node;
  struct depths depths = {.checkpoint = checkpoint, .changed = changed};
  pare_status status = PARE_OK;
  int32_t count = 0;
  for (size_t n = 0; n < nodes->count; n++)
    for (size_t i = 0; i < nodes->items[n].output.count && status == PARE_OK; i++)
      if (nodes->items[n].output.items[i][0])
        status = pare__scope_define(&depths.names, nodes->items[n].output.items[i], count++);
  depths.depth = calloc((size_t)count + 1, sizeof *depths.depth);
  if (status == PARE_OK && !depths.depth)
    status = pare__fail_memory("depths of values", (size_t)count * sizeof(size_t));
  /* Nodes come in order as a rule: one pass finds all, and one more that it did. */
  for (size_t n = 0; n <= nodes->count && status == PARE_OK; n++)
    if (!deepen(&depths)) break;
  for (size_t i = 0; i < checkpoint->base.nweights && status == PARE_OK; i++)
    out[i] = inputs[i].value ? depth_of(&depths, inputs[i].value) : 0;
  free(depths.depth);
  pare__scope_clear(&depths.names);
  return status;
}

bool pare__layer_input_same(const pare__layer_input *a, const pare__layer_input *b) {
  return strcmp(a->value, b->value) == 0 && a->convolution == b->convolution &&
         memcmp(a->kernel, b->kernel, sizeof a->kernel) == 0 && memcmp(a->stride, b->stride, sizeof a->stride) == 0 &&
         memcmp(a->dilation, b->dilation, sizeof a->dilation) == 0 && memcmp(a->pad, b->pad, sizeof a->pad) == 0;
}

/* ---- vectors ---- */

/* A copy of [N, C, H, W] with its borders of zeros. */
static pare_status padded(const pare__layer_input *input, pare_tensor *image, pare_tensor **out) {
  const int64_t *dim = pare_tensor_shape(image), *pad = input->pad;
  const int64_t before[4] = {0, 0, pad[0], pad[1]}, after[4] = {0, 0, pad[2], pad[3]};
  const int64_t whole[4] = {dim[0], dim[1], dim[2] + pad[0] + pad[2], dim[3] + pad[1] + pad[3]};
  PARE__TRY(pare_tensor_create(pare_tensor_context(image), pare_tensor_dtype(image), 4, whole, out));
  return pare_pad(image, before, after, PARE_PAD_CONSTANT, NULL, *out);
}

/* One position of the kernel over all of an image: patches[:, position, :] = [N, OH, OW, C]. */
static pare_status take_position(const pare__layer_input *input, pare_tensor *image, int64_t y, int64_t x,
                                 const int64_t out_size[2], pare_tensor *patches) {
  static const int axes[4] = {0, 2, 3, 1};
  const int64_t *dim = pare_tensor_shape(image);
  const int64_t shape[5] = {dim[0], out_size[0], out_size[1], 1, dim[1]};
  const int64_t all[5] = {dim[0], out_size[0], out_size[1], input->kernel[0] * input->kernel[1], dim[1]};
  pare_tensor *rows = NULL, *part = NULL, *turned = NULL, *from = NULL, *spread = NULL, *to = NULL;
  pare_status status = pare_tensor_slice(image, 2, y * input->dilation[0], out_size[0], input->stride[0], &rows);
  if (status == PARE_OK)
    status = pare_tensor_slice(rows, 3, x * input->dilation[1], out_size[1], input->stride[1], &part);
  if (status == PARE_OK) status = pare_tensor_permute(part, axes, &turned);
  if (status == PARE_OK) status = pare_tensor_reshape(patches, 5, all, &spread);
  if (status == PARE_OK) status = pare_tensor_slice(spread, 3, y * input->kernel[1] + x, 1, 1, &to);
  if (status == PARE_OK)
    status = pare_tensor_reshape(to, 4, (const int64_t[]){shape[0], shape[1], shape[2], shape[4]}, &from);
  if (status == PARE_OK) status = pare_copy(turned, from);
  pare_tensor_close(to);
  pare_tensor_close(spread);
  pare_tensor_close(from);
  pare_tensor_close(turned);
  pare_tensor_close(part);
  pare_tensor_close(rows);
  return status;
}

static pare_status patches_of(const pare__layer_input *input, pare_tensor *image, pare_tensor **out) {
  int64_t out_size[2];
  for (int d = 0; d < 2; d++) {
    const int64_t span = input->dilation[d] * (input->kernel[d] - 1) + 1;
    const int64_t room = pare_tensor_shape(image)[2 + d] - span;
    if (room < 0) return pare__fail(PARE_ERR_SHAPE, "value '%s' is smaller than the kernel over it", input->value);
    out_size[d] = room / input->stride[d] + 1;
  }
  const int64_t *dim = pare_tensor_shape(image);
  const int64_t shape[2] = {dim[0] * out_size[0] * out_size[1], input->kernel[0] * input->kernel[1] * dim[1]};
  PARE__TRY(pare_tensor_create(pare_tensor_context(image), pare_tensor_dtype(image), 2, shape, out));
  for (int64_t y = 0; y < input->kernel[0]; y++)
    for (int64_t x = 0; x < input->kernel[1]; x++) PARE__TRY(take_position(input, image, y, x, out_size, *out));
  return PARE_OK;
}

pare_status pare__layer_input_vectors(const pare__layer_input *input, pare_tensor *value, pare_tensor **out) {
  const int rank = pare_tensor_rank(value);
  const int64_t *dim = pare_tensor_shape(value);
  *out = NULL;
  if (rank < 1 || (input->convolution && rank != 3 && rank != 4))
    return pare__fail(PARE_ERR_SHAPE, "value '%s' has rank %d, which no layer takes", input->value, rank);
  if (!input->convolution) {
    const int64_t inputs = dim[rank - 1];
    const int64_t shape[2] = {inputs > 0 ? pare_tensor_elements(value) / inputs : 0, inputs};
    return pare_tensor_reshape(value, 2, shape, out);
  }
  const int64_t image_dim[4] = {dim[0], dim[1], rank == 4 ? dim[2] : 1, dim[rank - 1]};
  pare_tensor *image = NULL, *bordered = NULL;
  pare_status status = pare_tensor_reshape(value, 4, image_dim, &image);
  if (status == PARE_OK) status = padded(input, image, &bordered);
  if (status == PARE_OK) status = patches_of(input, bordered, out);
  pare_tensor_close(bordered);
  pare_tensor_close(image);
  if (status != PARE_OK) {
    pare_tensor_close(*out);
    *out = NULL;
  }
  return status;
}
