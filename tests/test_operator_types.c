/* The column of types in doc/operators.md: what it claims for an operator is taken, in a node of it alone, and nothing
 * else is.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every operator of the table has a row below, or is listed with those that need inputs of their own. Each type is
 * planned, which is where types are looked at, and one of them is run; all of them with PARE_TEST_ALL. */
#include <pare/inspect.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-operator-types-XXXXXX";

/* ---- nodes ---- */

/* Inputs: TYPE[SHAPE] or TYPE[SHAPE]=VALUES, which is a constant; T is the type that is tried, "-" is left out.
 * Elements that are not given are 1. Attributes: NAME=INTEGERS; T is the type's number, a word is a text. */
static const struct form {
  const char *operators, *inputs, *attributes, *outputs;
} forms[] = {
    {"Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Flatten Floor Gelu HardSigmoid "
     "HardSwish Hardmax Identity IsInf IsNaN LeakyRelu Log LogSoftmax LpNormalization Mish Neg Not BitwiseNot NonZero "
     "Reciprocal Relu Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign Sqrt Swish Tan Tanh "
     "ThresholdedRelu Transpose Trilu Unique ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
     "ReduceMin ReduceProd ReduceSum ReduceSumSquare ArgMax ArgMin com.microsoft.Gelu com.microsoft.QuickGelu "
     "com.microsoft.FastGelu com.microsoft.Trilu",
     "T[2,3]", "", "y"},
    {"Add Sub Mul Div Max Min Sum Mean Pow PRelu Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor BitwiseAnd "
     "BitwiseOr BitwiseXor",
     "T[2,3] T[2,3]", "", "y"},
    {"RandomUniformLike RandomNormalLike Bernoulli Multinomial", "T[2,3]", "", "y"},
    {"RandomUniform RandomNormal", "", "shape=2,3 dtype=T", "y"},
    {"Mod", "T[2,3] T[3]", "fmod=1", "y"},
    {"BitShift", "T[2,3] T[3]", "direction=LEFT", "y"},
    {"Cast", "f32[2,3]", "to=T", "y"},
    {"BitCast", "T[2,3]", "to=T", "y"},
    {"CastLike", "f32[2,3] T[1]", "", "y"},
    {"Concat", "T[2,3] T[2,3]", "axis=0", "y"},
    {"Einsum", "T[2,3] T[3,2]", "equation=ij,jk->ik", "y"},
    {"EyeLike", "T[3,3]", "", "y"},
    {"Range", "T[]=0 T[]=5 T[]=1", "", "y"},
    {"Where", "bool[2,3] T[2,3] T[2,3]", "", "y"},
    {"Expand", "T[1,3] i64[2]=2,3", "", "y"},
    {"Reshape", "T[2,3] i64[1]=6", "", "y"},
    {"Tile", "T[2,3] i64[2]=1,2", "", "y"},
    {"Slice", "T[2,3] i64[1]=0 i64[1]=1", "", "y"},
    {"Split", "T[2,3] i64[2]=1,1", "axis=0", "y z"},
    {"Squeeze", "T[1,3] i64[1]=0", "", "y"},
    {"Unsqueeze", "T[3] i64[1]=0", "", "y"},
    {"Pad", "T[2,3] i64[4]=1,0,0,1", "", "y"},
    {"Gather", "T[2,3] i64[2]=0,1", "", "y"},
    {"GatherElements", "T[2,3] i64[1,3]=0,1,0", "", "y"},
    {"GatherND", "T[2,3] i64[1,1]=1", "", "y"},
    {"Scatter ScatterElements", "T[2,3] i64[1,3]=0,1,0 T[1,3]", "", "y"},
    {"ScatterND", "T[2,3] i64[1,1]=1 T[1,3]", "", "y"},
    {"DepthToSpace", "T[1,4,2,2]", "blocksize=2", "y"},
    {"SpaceToDepth", "T[1,1,2,2]", "blocksize=2", "y"},
    {"OneHot", "i64[2]=0,1 i64[]=3 T[2]", "", "y"},
    {"ReverseSequence", "T[2,3] i64[3]=1,2,1", "", "y"},
    {"TopK", "T[2,3] i64[1]=2", "", "y z"},
    {"CumSum CumProd", "T[2,3] i64[]=0", "", "y"},
    {"CenterCropPad", "T[4,4] i64[2]=2,6", "", "y"},
    {"Compress", "T[2,3] bool[2]", "axis=0", "y"},
    {"Resize", "T[1,1,2,2] - - i64[4]=1,1,4,4", "", "y"},
    {"Upsample", "T[1,1,2,2] f32[4]=1,1,2,2", "", "y"},
    {"MaxUnpool", "T[1,1,2,2] i64[1,1,2,2]=0,2,6,8", "kernel_shape=2,2", "y"},
    {"TensorScatter", "T[1,1,4,2] T[1,1,2,2] i64[1]=0", "", "y"},
    {"MatMul Gemm com.microsoft.FusedMatMul com.microsoft.TransposeMatMul com.microsoft.FusedGemm", "T[2,3] T[3,2]", "",
     "y"},
    {"Conv ConvTranspose com.microsoft.FusedConv", "T[1,2,4,4] T[2,2,3,3]", "", "y"},
    {"Col2Im", "T[1,4,4] i64[2]=3,3 i64[2]=2,2", "", "y"},
    {"AveragePool MaxPool LpPool", "T[1,2,4,4]", "kernel_shape=2,2", "y"},
    {"GlobalAveragePool GlobalMaxPool GlobalLpPool MeanVarianceNormalization", "T[1,2,4,4]", "", "y"},
    {"LRN", "T[1,2,4,4]", "size=3", "y"},
    {"BatchNormalization", "T[1,2,3] T[2] T[2] T[2] T[2]", "", "y"},
    {"InstanceNormalization", "T[1,2,3] T[2] T[2]", "", "y"},
    {"GroupNormalization", "T[1,2,3] T[2] T[2]", "num_groups=1", "y"},
    {"LayerNormalization RMSNormalization SimplifiedLayerNormalization com.microsoft.SimplifiedLayerNormalization",
     "T[2,3] T[3]", "", "y"},
    {"com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization", "T[1,2,3] T[1,2,3] T[3]",
     "", "y"},
    {"com.microsoft.BiasGelu", "T[2,3] T[3]", "", "y"},
    {"com.microsoft.BiasAdd", "T[1,2,3] T[3] T[1,2,3]", "", "y"},
    {"com.microsoft.BiasSplitGelu", "T[1,2,6] T[6]", "", "y"},
    {"AffineGrid", "T[1,2,3] i64[4]=1,1,2,2", "", "y"},
    {"Det", "T[2,2]", "", "y"},
    {"GridSample com.microsoft.GridSample", "T[1,1,3,3] T[1,2,2,2]", "", "y"},
    {"MaxRoiPool", "T[2,1,3,3] T[1,5]", "pooled_shape=1,1", "y"},
    {"RoiAlign", "T[1,1,4,4] T[1,4] i64[1]=0", "", "y"},
    {"NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss", "T[2,3] i64[2]=0,1", "", "y"},
    {"DFT", "T[1,4,1]", "", "y"},
    {"STFT", "T[1,8,1] i64[]=2 T[4]", "", "y"},
    {"HannWindow HammingWindow BlackmanWindow", "i64[]=4", "output_datatype=T", "y"},
    {"MelWeightMatrix", "i64[]=4 i64[]=8 i64[]=100 f32[]=1 f32[]=50", "output_datatype=T", "y"},
    {"RNN", "T[2,1,2] T[1,2,2] T[1,2,2]", "hidden_size=2", "y"},
    {"GRU", "T[2,1,2] T[1,6,2] T[1,6,2]", "hidden_size=2", "y"},
    {"LSTM", "T[2,1,2] T[1,8,2] T[1,8,2]", "hidden_size=2", "y"},
    {"Attention", "T[1,1,2,2] T[1,1,2,2] T[1,1,2,2]", "", "y"},
    {"com.microsoft.Rfft com.microsoft.Unique com.microsoft.BranchwiseRMSNorm com.microsoft.ScaledSiLU "
     "com.microsoft.IsAllFinite",
     "T[4]", "num_branches=1", "y"},
    {"com.microsoft.Irfft", "T[3,2]", "", "y"},
    {"com.microsoft.ComplexMul com.microsoft.ComplexMulConj", "T[3,2] T[3,2]", "", "y"},
    {"com.microsoft.Inverse com.microsoft.DynamicTimeWarping", "T[2,2]", "", "y"},
    {"com.microsoft.MulInteger", "T[2,3] - T[2,3]", "", "y"},
    {"com.microsoft.ReduceSumInteger", "T[2,3]", "", "y"},
    {"com.microsoft.MatMulInteger16 com.microsoft.GemmFastGelu com.microsoft.SparseToDenseMatMul", "T[2,3] T[3,2]", "",
     "y"},
    {"com.microsoft.CropAndResize", "T[1,1,4,4] f32[1,4] i32[1]=0 i32[2]=2,2", "", "y"},
    {"com.microsoft.MaxpoolWithMask", "T[1,1,4,4] i32[1,1,4,4]", "kernel_shape=2,2", "y"},
    {"com.microsoft.ConvTransposeWithDynamicPads", "T[1,2,4,4] T[2,2,3,3] i64[4]=1,1,1,1", "", "y"},
    {"com.microsoft.NhwcFusedConv", "T[1,4,4,2] T[2,2,3,3]", "", "y"},
    {"com.microsoft.GatherND", "T[2,3] i64[1,1]=1", "", "y"},
    {"com.microsoft.TorchEmbedding", "T[2,3] i64[2]=0,1", "", "y"},
    {"com.microsoft.BiasSoftmax", "T[2,3] T[1,3]", "is_inner_broadcast=0", "y"},
    {"com.microsoft.BiasDropout", "T[2,3] T[3]", "", "y"},
    {"com.microsoft.GatedAdd", "T[2,3] T[2,3] T[2,1]", "", "y"},
    {"com.microsoft.GatedRMSNorm", "T[2,3] T[3] T[2,3]", "", "y"},
    {"com.microsoft.LinearAttentionGate", "T[1,2,3] f32[3] f32[3]", "", "y"},
    {"com.microsoft.NGramRepeatBlock", "i64[1,3]=1,2,1 T[1,4]", "ngram_size=2", "y"},
    {"com.microsoft.RemovePadding", "T[1,2,3] i32[1]=1", "", "y"},
    {"com.microsoft.RestorePadding", "T[1,3] i32[1,2]=1,0", "", "y"},
    {"com.microsoft.PackedAttention", "T[1,3] T[3,6] T[6] i32[1,2]=0,1 i32[2]=0,1", "num_heads=1", "y"},
    {"com.microsoft.PackedMultiHeadAttention", "T[1,2] T[1,2] T[1,2] - i32[1,2]=0,1 i32[2]=0,1", "num_heads=1", "y"},
    {"com.microsoft.SparseAttention",
     "T[1,1,2] T[1,1,2] T[1,1,2] T[1,1,4,2] T[1,1,4,2] i32[1,2]=0,1 i32[1,1]=0 i32[1]=1 i32[1]=1",
     "num_heads=1 kv_num_heads=1 sparse_block_size=4", "y k v"},
    {"com.microsoft.RelativePositionBias", "T[8,2] i64[1]=3 i64[1]=3", "max_distance=16", "y"},
    {"com.microsoft.GatedRelativePositionBias", "T[1,2,3] T[3] T[1,1,2,2] T[3,4] T[4] T[1,1,1,1]", "num_heads=1", "y"},
    {"com.microsoft.MRotaryEmbedding", "T[1,2,6] i64[3,1,2] T[4,3] T[4,3]", "mrope_section=1,1,1", "y"},
    {"com.microsoft.GemmaRotaryEmbedding", "T[1,2,4] T[1,1,2,4] T[1,1,2,4] T[1,1,2,4] T[1,1,2,4]", "", "y z"},
};

/* Of these the suite of ONNX (tests/conformance) and tests/test_operators_… have nodes; their inputs are of several
 * types at once, or subgraphs, or the element that decides is an attribute. */
static const char elsewhere[] =
    " Constant ConstantOfShape If Loop Scan CausalConvWithState DeformConv LinearAttention RotaryEmbedding SwiGLU "
    "TfIdfVectorizer NonMaxSuppression DynamicQuantizeLinear QuantizeLinear DequantizeLinear ConvInteger MatMulInteger "
    "QLinearConv QLinearMatMul com.microsoft.Attention com.microsoft.CDist com.microsoft.CausalConvWithState "
    "com.microsoft.LinearAttention "
    "com.microsoft.DecoderMaskedMultiHeadAttention com.microsoft.DequantizeLinear com.microsoft.DynamicQuantizeLSTM "
    "com.microsoft.DynamicQuantizeMatMul com.microsoft.EmbedLayerNormalization com.microsoft.ExpandDims "
    "com.microsoft.GatherBlockQuantized com.microsoft.GroupNorm com.microsoft.GroupQueryAttention "
    "com.microsoft.MatMulBnb4 com.microsoft.MatMulIntegerToFloat com.microsoft.MatMulNBits com.microsoft.MoE "
    "com.microsoft.MultiHeadAttention com.microsoft.NhwcConv com.microsoft.NhwcMaxPool com.microsoft.Pad "
    "com.microsoft.QAttention com.microsoft.QEmbedLayerNormalization com.microsoft.QGemm com.microsoft.QLinearAdd "
    "com.microsoft.QLinearAveragePool com.microsoft.QLinearConcat com.microsoft.QLinearConv "
    "com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearLeakyRelu com.microsoft.QLinearMul "
    "com.microsoft.QLinearReduceMean com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax "
    "com.microsoft.QLinearWhere com.microsoft.QMoE com.microsoft.QuantizeLinear com.microsoft.Range "
    "com.microsoft.RotaryEmbedding com.microsoft.SkipGroupNorm com.microsoft.UnfoldTensor pare.DecodeNM ";

/* ---- types ---- */

/* Is the type among those of the column? */
static bool claimed(const char *types, pare_dtype dtype) {
  const bool is_float = dtype == PARE_F32 || dtype == PARE_F16 || dtype == PARE_BF16 || dtype == PARE_F64;
  const bool stored_only = dtype >= PARE_F8E4M3FN;
  char text[128], name[24];
  snprintf(text, sizeof text, ", %s, ", types);
  snprintf(name, sizeof name, ", %s, ", pare_dtype_name(dtype));
  if (strstr(text, name) || strstr(text, ", any, ")) return true;
  if (strstr(text, ", floats, ") && is_float) return true;
  if (strstr(text, ", integers, ") && !is_float && !stored_only && dtype != PARE_BOOL) return true;
  return strstr(text, ", numbers, ") && !stored_only && dtype != PARE_BOOL;
}

/* ---- making a node ---- */

typedef struct node_case {
  pare__onnx_model *onnx;
  pare_tensor *in[8];
  unsigned ninputs;
} node_case;

static pare_dtype dtype_of(const char *name, size_t length, pare_dtype tried) {
  if (length == 1 && *name == 'T') return tried;
  for (int d = 0; d < PARE_NDTYPES; d++)
    if (strlen(pare_dtype_name((pare_dtype)d)) == length && strncmp(pare_dtype_name((pare_dtype)d), name, length) == 0)
      return (pare_dtype)d;
  ck_abort_msg("no type %.*s", (int)length, name);
}

static size_t numbers_of(const char *text, const char *end, int64_t *out) {
  size_t count = 0;
  while (text < end) {
    char *next;
    out[count++] = strtoll(text, &next, 10);
    text = next + 1;
  }
  return count;
}

static void add_input(node_case *one, const char *text, const char *name, pare_dtype tried) {
  const char *open = strchr(text, '['), *shut = strchr(text, ']');
  const pare_dtype dtype = dtype_of(text, (size_t)(open - text), tried);
  int64_t dim[8], value[16];
  const int rank = (int)numbers_of(open + 1, shut, dim);
  const size_t given = shut[1] == '=' ? numbers_of(shut + 2, text + strlen(text), value) : 0;
  const int64_t count = count_of(rank, dim);
  void *data = calloc((size_t)count + 1, pare_dtype_bytes(dtype));
  for (int64_t i = 0; i < count; i++) {
    ck_assert(given == 0 || given == (size_t)count);
    pare__store(dtype, data, (size_t)i, given ? (double)value[i] : 1);
  }
  const int32_t type = pare__onnx_dtype_from_pare(dtype);
  if (given) {
    model_constant(one->onnx, name, type, rank, dim, data);
  } else {
    model_input(one->onnx, name, type, rank, dim);
    one->in[one->ninputs++] = tensor_of(dtype, rank, dim, data);
  }
  free(data);
}

static void add_attribute(pare__onnx_model *onnx, pare__onnx_node *node, const char *text, pare_dtype tried) {
  char name[32];
  const char *value = strchr(text, '=') + 1;
  int64_t numbers[8];
  snprintf(name, sizeof name, "%.*s", (int)(value - 1 - text), text);
  if (strcmp(value, "T") == 0) {
    node_int(onnx, node, name, pare__onnx_dtype_from_pare(tried));
  } else if (strchr("-0123456789", *value)) {
    const size_t count = numbers_of(value, value + strlen(value), numbers);
    if (strstr(name, "shape") || count > 1)
      node_ints(onnx, node, name, count, numbers);
    else
      node_int(onnx, node, name, *numbers);
  } else {
    pare__onnx_attribute *attribute = node_attribute(onnx, node, name, PARE__ONNX_ATTRIBUTE_STRING);
    const char *copy;
    OK(pare__onnx_text(onnx->source, value, &copy));
    attribute->s = (pare__onnx_bytes){copy, strlen(copy)};
    attribute->message.has |= (uint64_t)1 << 4;
  }
}

static node_case make_case(const pare_operator_info *row, const struct form *form, pare_dtype tried) {
  static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
  const int64_t newest = *row->domain ? 1 : 24;
  node_case one = {.onnx = model_new(*row->domain ? 17 : row->until ? row->until : PARE__MAX(newest, row->since))};
  one.onnx->ir_version = 10;
  if (*row->domain) {
    pare__onnx_opset *import;
    OK(PARE__ONNX_APPEND(one.onnx->source, &one.onnx->opset_import, &import));
    *import = (pare__onnx_opset){.domain = row->domain, .version = newest};
  }
  char text[160], inputs[64] = "";
  snprintf(text, sizeof text, "%s", form->inputs);
  size_t used = 0, n = 0;
  for (char *rest = NULL, *part = strtok_r(text, " ", &rest); part; part = strtok_r(NULL, " ", &rest), n++) {
    used += (size_t)snprintf(inputs + used, sizeof inputs - used, "%s%s", n ? " " : "", *part == '-' ? "-" : names[n]);
    if (*part != '-') add_input(&one, part, names[n], tried);
  }
  pare__onnx_node *node = model_node(one.onnx, row->name, inputs, form->outputs);
  node->domain = row->domain;
  snprintf(text, sizeof text, "%s", form->attributes);
  for (char *rest = NULL, *part = strtok_r(text, " ", &rest); part; part = strtok_r(NULL, " ", &rest))
    add_attribute(one.onnx, node, part, tried);
  model_output(one.onnx, "y");
  return one;
}

/* Opens, plans and perhaps runs it. */
static pare_status try_case(node_case *one, bool runs) {
  const char *path = path_in(folder, "model.onnx");
  pare_model *model = NULL;
  pare_tensor *out = NULL;
  pare_model_memory memory;
  model_write(one->onnx, path);
  pare_status status = pare_model_open(context, path, NULL, &model);
  if (status == PARE_OK) status = pare_model_plan(model, one->in, &memory);
  if (status == PARE_OK && runs) status = pare_model_run(model, one->in, NULL, &out);
  if (status == PARE_OK && runs) status = pare_context_wait(context);
  pare_tensor_close(out);
  pare_model_close(model);
  for (unsigned i = 0; i < one->ninputs; i++) pare_tensor_close(one->in[i]);
  return status;
}

/* ---- the table ---- */

static bool is_listed(const char *list, const char *name) {
  const size_t length = strlen(name);
  for (const char *at = strstr(list, name); at; at = strstr(at + 1, name))
    if ((at == list || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
  return false;
}

static const char *full_name(const pare_operator_info *row, char name[96]) {
  snprintf(name, 96, "%s%s%s", row->domain, *row->domain ? "." : "", row->name);
  return name;
}

static const struct form *form_of(const pare_operator_info *row) {
  char name[96];
  full_name(row, name);
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (is_listed(forms[i].operators, name)) return &forms[i];
  return NULL;
}

START_TEST(every_operator_takes_the_types_that_the_table_claims_and_no_others) {
  pare_operator_info row;
  size_t wrong = 0;
  for (size_t i = 0; pare_operator_get(i, &row); i++) {
    const struct form *form = form_of(&row);
    if (!form) {
      char name[96];
      ck_assert_msg(is_listed(elsewhere, full_name(&row, name)),
                    "%s has no row here, and is not listed among those that have nodes elsewhere", name);
      continue;
    }
    bool has_run = false;
    for (int d = 0; d < PARE_NDTYPES; d++) {
      const pare_dtype dtype = (pare_dtype)((i + (size_t)d) % PARE_NDTYPES); /* another one is run for each operator */
      const bool takes = claimed(row.types, dtype);
      node_case one = make_case(&row, form, dtype);
      const pare_status status = try_case(&one, takes && (!has_run || every_combination()));
      has_run = has_run || takes;
      if (status == (takes ? PARE_OK : PARE_ERR_TYPE)) continue;
      fprintf(stderr, "%s %s '%s': of %s status %d, where %d is claimed: %s\n", row.domain, row.name, row.types,
              pare_dtype_name(dtype), (int)status, takes ? PARE_OK : PARE_ERR_TYPE,
              status == PARE_OK ? "" : pare_message());
      wrong++;
    }
    ck_assert_msg(has_run, "%s: no type in '%s' is known", row.name, row.types);
  }
  ck_assert_uint_eq(wrong, 0);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("operator types");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, every_operator_takes_the_types_that_the_table_claims_and_no_others);
  return remove_folder(folder, run_tests("operator_types", tests));
}
