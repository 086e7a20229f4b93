/* The messages of onnx.proto, field by field (IR 13). SPDX-License-Identifier: Apache-2.0 */
#include "format/onnx_schema.h"

#define OFFSET(member) (uint16_t) offsetof(STRUCT, member)
#define ONE(number, KIND, member) \
  { #member, NULL, OFFSET(member), number, PARE__ONNX_KIND_##KIND, 0, false, false }
#define MANY(number, KIND, member) \
  { #member, NULL, OFFSET(member), number, PARE__ONNX_KIND_##KIND, 0, true, false }
#define CHOICE(number, KIND, member) \
  { #member, NULL, OFFSET(member), number, PARE__ONNX_KIND_##KIND, 0, false, true }
#define CLOSED(number, limit, member) \
  { #member, NULL, OFFSET(member), number, PARE__ONNX_KIND_ENUM, limit, false, false }
#define PACKED(number, KIND, member) \
  { #member, NULL, OFFSET(member), number, PARE__ONNX_KIND_PACKED_##KIND, 0, true, false }
#define MESSAGE(number, layout, member) \
  { #member, &layout##_layout, OFFSET(member), number, PARE__ONNX_KIND_MESSAGE, 0, false, false }
#define MESSAGES(number, layout, member) \
  { #member, &layout##_layout, OFFSET(member), number, PARE__ONNX_KIND_MESSAGE, 0, true, false }
#define CHOICE_MESSAGE(number, layout, member) \
  { #member, &layout##_layout, OFFSET(member), number, PARE__ONNX_KIND_MESSAGE, 0, false, true }
#define LAYOUT(name, fields, which) \
  { name, sizeof(STRUCT), fields, PARE__COUNT(fields), which }
#define CHECK_COUNT(fields) _Static_assert(PARE__COUNT(fields) <= PARE__ONNX_MAX_FIELDS, "raise PARE__ONNX_MAX_FIELDS")

static const pare__onnx_layout graph_layout, type_layout;

#define STRUCT pare__onnx_entry
static const pare__onnx_field entry_fields[] = {ONE(1, TEXT, key), ONE(2, TEXT, value)};
static const pare__onnx_layout entry_layout = LAYOUT("StringStringEntryProto", entry_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_opset
static const pare__onnx_field opset_fields[] = {ONE(1, TEXT, domain), ONE(2, INT64, version)};
static const pare__onnx_layout opset_layout = LAYOUT("OperatorSetIdProto", opset_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_segment
static const pare__onnx_field segment_fields[] = {ONE(1, INT64, begin), ONE(2, INT64, end)};
static const pare__onnx_layout segment_layout = LAYOUT("TensorProto.Segment", segment_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_tensor
static const pare__onnx_field tensor_fields[] = {
    MANY(1, INT64, dims),
    ONE(2, INT32, data_type),
    MESSAGE(3, segment, segment),
    PACKED(4, FIXED32, float_data),
    PACKED(5, VARINT, int32_data),
    MANY(6, BYTES, string_data),
    PACKED(7, VARINT, int64_data),
    ONE(8, TEXT, name),
    ONE(9, BYTES, raw_data),
    PACKED(10, FIXED64, double_data),
    PACKED(11, VARINT, uint64_data),
    ONE(12, TEXT, doc_string),
    MESSAGES(13, entry, external_data),
    CLOSED(14, PARE__ONNX_LOCATION_EXTERNAL, data_location),
    MESSAGES(16, entry, metadata_props),
};
const pare__onnx_layout pare__onnx_tensor_layout = LAYOUT("TensorProto", tensor_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_sparse_tensor
static const pare__onnx_field sparse_tensor_fields[] = {
    MESSAGE(1, pare__onnx_tensor, values),
    MESSAGE(2, pare__onnx_tensor, indices),
    MANY(3, INT64, dims),
};
static const pare__onnx_layout sparse_tensor_layout = LAYOUT("SparseTensorProto", sparse_tensor_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_dimension
static const pare__onnx_field dimension_fields[] = {
    CHOICE(PARE__ONNX_DIM_VALUE, INT64, dim_value),
    CHOICE(PARE__ONNX_DIM_PARAM, TEXT, dim_param),
    ONE(3, TEXT, denotation),
};
static const pare__onnx_layout dimension_layout = LAYOUT("TensorShapeProto.Dimension", dimension_fields, OFFSET(which));
#undef STRUCT

#define STRUCT pare__onnx_shape
static const pare__onnx_field shape_fields[] = {MESSAGES(1, dimension, dim)};
static const pare__onnx_layout shape_layout = LAYOUT("TensorShapeProto", shape_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_tensor_type
static const pare__onnx_field tensor_type_fields[] = {ONE(1, INT32, elem_type), MESSAGE(2, shape, shape)};
static const pare__onnx_layout tensor_type_layout = LAYOUT("TypeProto.Tensor", tensor_type_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_element_type
static const pare__onnx_field element_type_fields[] = {MESSAGE(1, type, elem_type)};
static const pare__onnx_layout element_type_layout = LAYOUT("TypeProto.Sequence", element_type_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_map_type
static const pare__onnx_field map_type_fields[] = {ONE(1, INT32, key_type), MESSAGE(2, type, value_type)};
static const pare__onnx_layout map_type_layout = LAYOUT("TypeProto.Map", map_type_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_opaque_type
static const pare__onnx_field opaque_type_fields[] = {ONE(1, TEXT, domain), ONE(2, TEXT, name)};
static const pare__onnx_layout opaque_type_layout = LAYOUT("TypeProto.Opaque", opaque_type_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_type
static const pare__onnx_field type_fields[] = {
    CHOICE_MESSAGE(PARE__ONNX_TYPE_TENSOR, tensor_type, tensor_type),
    CHOICE_MESSAGE(PARE__ONNX_TYPE_SEQUENCE, element_type, sequence_type),
    CHOICE_MESSAGE(PARE__ONNX_TYPE_MAP, map_type, map_type),
    ONE(6, TEXT, denotation),
    CHOICE_MESSAGE(PARE__ONNX_TYPE_OPAQUE, opaque_type, opaque_type),
    CHOICE_MESSAGE(PARE__ONNX_TYPE_SPARSE_TENSOR, tensor_type, sparse_tensor_type),
    CHOICE_MESSAGE(PARE__ONNX_TYPE_OPTIONAL, element_type, optional_type),
};
static const pare__onnx_layout type_layout = LAYOUT("TypeProto", type_fields, OFFSET(which));
#undef STRUCT

#define STRUCT pare__onnx_value
static const pare__onnx_field value_fields[] = {
    ONE(1, TEXT, name),
    MESSAGE(2, type, type),
    ONE(3, TEXT, doc_string),
    MESSAGES(4, entry, metadata_props),
};
static const pare__onnx_layout value_layout = LAYOUT("ValueInfoProto", value_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_attribute
static const pare__onnx_field attribute_fields[] = {
    ONE(1, TEXT, name),
    ONE(2, FLOAT, f),
    ONE(3, INT64, i),
    ONE(4, BYTES, s),
    MESSAGE(5, pare__onnx_tensor, t),
    MESSAGE(6, graph, g),
    MANY(7, FLOAT, floats),
    MANY(8, INT64, ints),
    MANY(9, BYTES, strings),
    MESSAGES(10, pare__onnx_tensor, tensors),
    MESSAGES(11, graph, graphs),
    ONE(13, TEXT, doc_string),
    MESSAGE(14, type, tp),
    MESSAGES(15, type, type_protos),
    CLOSED(20, PARE__ONNX_ATTRIBUTE_TYPE_PROTOS, type),
    ONE(21, TEXT, ref_attr_name),
    MESSAGE(22, sparse_tensor, sparse_tensor),
    MESSAGES(23, sparse_tensor, sparse_tensors),
};
CHECK_COUNT(attribute_fields);
static const pare__onnx_layout attribute_layout = LAYOUT("AttributeProto", attribute_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_node
static const pare__onnx_field node_fields[] = {
    MANY(1, TEXT, input),
    MANY(2, TEXT, output),
    ONE(3, TEXT, name),
    ONE(4, TEXT, op_type),
    MESSAGES(5, attribute, attribute),
    ONE(6, TEXT, doc_string),
    ONE(7, TEXT, domain),
    ONE(8, TEXT, overload),
    MESSAGES(9, entry, metadata_props),
};
static const pare__onnx_layout node_layout = LAYOUT("NodeProto", node_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_annotation
static const pare__onnx_field annotation_fields[] = {
    ONE(1, TEXT, tensor_name),
    MESSAGES(2, entry, quant_parameter_tensor_names),
};
static const pare__onnx_layout annotation_layout = LAYOUT("TensorAnnotation", annotation_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_graph
static const pare__onnx_field graph_fields[] = {
    MESSAGES(1, node, node),
    ONE(2, TEXT, name),
    MESSAGES(5, pare__onnx_tensor, initializer),
    ONE(10, TEXT, doc_string),
    MESSAGES(11, value, input),
    MESSAGES(12, value, output),
    MESSAGES(13, value, value_info),
    MESSAGES(14, annotation, quantization_annotation),
    MESSAGES(15, sparse_tensor, sparse_initializer),
    MESSAGES(16, entry, metadata_props),
};
static const pare__onnx_layout graph_layout = LAYOUT("GraphProto", graph_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_function
static const pare__onnx_field function_fields[] = {
    ONE(1, TEXT, name),
    MANY(4, TEXT, input),
    MANY(5, TEXT, output),
    MANY(6, TEXT, attribute),
    MESSAGES(7, node, node),
    ONE(8, TEXT, doc_string),
    MESSAGES(9, opset, opset_import),
    ONE(10, TEXT, domain),
    MESSAGES(11, attribute, attribute_proto),
    MESSAGES(12, value, value_info),
    ONE(13, TEXT, overload),
    MESSAGES(14, entry, metadata_props),
};
static const pare__onnx_layout function_layout = LAYOUT("FunctionProto", function_fields, 0);
#undef STRUCT

#define STRUCT pare__onnx_model
static const pare__onnx_field model_fields[] = {
    ONE(1, INT64, ir_version),
    ONE(2, TEXT, producer_name),
    ONE(3, TEXT, producer_version),
    ONE(4, TEXT, domain),
    ONE(5, INT64, model_version),
    ONE(6, TEXT, doc_string),
    MESSAGE(7, graph, graph),
    MESSAGES(8, opset, opset_import),
    MESSAGES(14, entry, metadata_props),
    MESSAGES(25, function, functions),
};
const pare__onnx_layout pare__onnx_model_layout = LAYOUT("ModelProto", model_fields, 0);
#undef STRUCT

static const struct {
  uint8_t wire_type, nbytes;
} kinds[] = {
    [PARE__ONNX_KIND_INT64] = {PARE__WIRE_VARINT, sizeof(int64_t)},
    [PARE__ONNX_KIND_INT32] = {PARE__WIRE_VARINT, sizeof(int32_t)},
    [PARE__ONNX_KIND_ENUM] = {PARE__WIRE_VARINT, sizeof(int32_t)},
    [PARE__ONNX_KIND_FLOAT] = {PARE__WIRE_FIXED32, sizeof(float)},
    [PARE__ONNX_KIND_TEXT] = {PARE__WIRE_BYTES, sizeof(const char *)},
    [PARE__ONNX_KIND_BYTES] = {PARE__WIRE_BYTES, sizeof(pare__onnx_bytes)},
    [PARE__ONNX_KIND_MESSAGE] = {PARE__WIRE_BYTES, sizeof(void *)},
    [PARE__ONNX_KIND_PACKED_VARINT] = {PARE__WIRE_VARINT, sizeof(pare__onnx_packed)},
    [PARE__ONNX_KIND_PACKED_FIXED32] = {PARE__WIRE_FIXED32, sizeof(pare__onnx_packed)},
    [PARE__ONNX_KIND_PACKED_FIXED64] = {PARE__WIRE_FIXED64, sizeof(pare__onnx_packed)},
};

size_t pare__onnx_value_bytes(const pare__onnx_field *field) {
  return field->repeated && field->layout ? field->layout->nbytes : kinds[field->kind].nbytes;
}

unsigned pare__onnx_wire_type(uint8_t kind) { return kinds[kind].wire_type; }
