/* ONNX files: any bytes are refused with a message, or read; what is read is written and read again the same.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "format/onnx.h"
#include "fuzz.h"

static void check_refusal(pare_status status) {
  FUZZ_LAW(status == PARE_ERR_FORMAT || status == PARE_ERR_MEMORY || status == PARE_ERR_TYPE);
  FUZZ_LAW(pare_message()[0] != '\0');
}

static void use_tensor(pare__onnx_source *source, const pare__onnx_tensor *tensor) {
  pare__onnx_data data;
  pare_status status = pare__onnx_tensor_data(source, tensor, &data);
  if (status != PARE_OK) {
    check_refusal(status);
    return;
  }
  unsigned sum = 0;
  for (size_t i = 0; i < data.nbytes; i++) sum += ((const uint8_t *)data.data)[i];
  FUZZ_LAW(sum <= 255 * data.nbytes);
  pare__onnx_data_close(&data);
}

static void use_graph(pare__onnx_source *source, const pare__onnx_graph *graph) {
  for (size_t i = 0; i < graph->initializer.count; i++) use_tensor(source, &graph->initializer.items[i]);
  for (size_t i = 0; i < graph->node.count; i++) {
    const pare__onnx_node *node = &graph->node.items[i];
    for (size_t k = 0; k < node->attribute.count; k++) {
      const pare__onnx_attribute *attribute = &node->attribute.items[k];
      if (attribute->t) use_tensor(source, attribute->t);
      if (attribute->g) use_graph(source, attribute->g);
    }
  }
}

/* External tensors are fetched by the writer, and there is nothing to fetch here. */
static void check_rewrite(const pare__onnx_model *model) {
  void *first, *second;
  size_t first_bytes, second_bytes;
  pare__onnx_model *again;
  pare_status status = pare__onnx_serialise(model, &first, &first_bytes);
  if (status != PARE_OK) {
    check_refusal(status);
    return;
  }
  FUZZ_LAW(pare__onnx_open_memory(first, first_bytes, "rewritten", &again) == PARE_OK);
  FUZZ_LAW(pare__onnx_serialise(again, &second, &second_bytes) == PARE_OK);
  FUZZ_LAW(first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0);
  pare__onnx_close(again);
  free(first);
  free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  pare__onnx_model *model;
  pare__onnx_source *source;
  pare__onnx_tensor *tensor;
  pare_status status = pare__onnx_open_memory(data, nbytes, "fuzz.onnx", &model);
  if (status == PARE_OK) {
    use_graph(model->source, model->graph);
    check_rewrite(model);
    pare__onnx_close(model);
  } else {
    check_refusal(status);
  }
  status = pare__onnx_tensor_open_memory(data, nbytes, "fuzz.pb", &source, &tensor);
  if (status == PARE_OK)
    use_tensor(source, tensor);
  else
    check_refusal(status);
  pare__onnx_source_close(source);
  return 0;
}
