/* Operators that pass their input on, and constants. SPDX-License-Identifier: Apache-2.0 */
#include "graph/operator_tables.h"

static pare_status identity(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  return pare__call_pass(call, 0, 0);
}

/* Constant, whose value is one of several attributes. */
static pare_status constant(pare__call *call) {
  PARE__TRY(pare__call_check(call, 0, 0));
  pare__content *content = NULL;
  static const char *const tensors[] = {"value", "sparse_value"};
  for (size_t i = 0; i < PARE__COUNT(tensors); i++) {
    if (!pare__call_attribute(call, tensors[i])) continue;
    PARE__TRY(pare__call_get_content(call, tensors[i], &content));
    return pare__call_give_content(call, 0, content);
  }
  for (size_t i = 0; i < call->node->nattributes; i++) {
    const pare__onnx_attribute *attribute = &call->node->attribute[i];
    const bool one = attribute->type == PARE__ONNX_ATTRIBUTE_INT || attribute->type == PARE__ONNX_ATTRIBUTE_FLOAT;
    const bool integers = attribute->type == PARE__ONNX_ATTRIBUTE_INT || attribute->type == PARE__ONNX_ATTRIBUTE_INTS;
    const bool floats = attribute->type == PARE__ONNX_ATTRIBUTE_FLOAT || attribute->type == PARE__ONNX_ATTRIBUTE_FLOATS;
    if (!integers && !floats) continue;
    const size_t count = one ? 1 : integers ? attribute->ints.count : attribute->floats.count;
    const void *list = integers ? (const void *)attribute->ints.items : (const void *)attribute->floats.items;
    const void *single = integers ? (const void *)&attribute->i : (const void *)&attribute->f;
    PARE__TRY(pare__content_create(integers ? PARE_I64 : PARE_F32, one ? 0 : 1, (const int64_t[]){(int64_t)count},
                                   one ? single : list, &content));
    return pare__call_give_content(call, 0, content);
  }
  return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "it has no value that is numbers");
}

const pare__operator pare__operators_identity[] = {
    {"", "Identity", 1, 0, PARE__IS_VIEW, identity, identity, .types = "any"},
    {"", "Constant", 1, 0, PARE__ON_HOST, constant, NULL, .types = "any"},
    {0},
};
