/* What the nodes of a model do, in operations and bytes, from the shapes of a plan. SPDX-License-Identifier: Apache-2.0
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "graph/inspect.h"
#include "graph/run.h"

/* Where a rule is more than a function of its own shapes: the later one wins where a node holds several. */
enum kernel { NO_KERNEL, MEMORY, CONV, GEMM, NKERNELS };
static const char *const kernel_names[NKERNELS] = {"", "memory", "conv", "gemm"};

/* A node whose outputs are shaped. */
typedef struct shaped {
  const pare__run_state *state;
  const pare__node *node;
} shaped;

static const pare__slot *slot_of(const shaped *at, unsigned count, const int32_t *id, unsigned i) {
  const pare__slot *slot = i < count && id[i] >= 0 ? &at->state->slot[id[i]] : NULL;
  return slot && (slot->tensor || slot->content) ? slot : NULL;
}
static const pare__slot *input_of(const shaped *at, unsigned i) {
  return slot_of(at, at->node->ninputs, at->node->input, i);
}
static const pare__slot *output_of(const shaped *at, unsigned i) {
  return slot_of(at, at->node->noutputs, at->node->output, i);
}

/* 0 of what was left out. */
static double elements(const pare__slot *slot) {
  double count = slot ? 1 : 0;
  for (int d = 0; slot && d < slot->shape.rank; d++) count *= (double)slot->shape.dim[d];
  return count;
}
static double bytes(const pare__slot *slot) {
  return slot ? elements(slot) * (double)pare_dtype_bytes(slot->dtype) : 0;
}

/* Dimension d, from the end if negative; `otherwise` if there is none. */
static double dimension(const pare__slot *slot, int d, double otherwise) {
  const int at = slot && d < 0 ? d + slot->shape.rank : d;
  return slot && at >= 0 && at < slot->shape.rank ? (double)slot->shape.dim[at] : otherwise;
}

static int64_t whole_attribute(const pare__node *node, const char *name) {
  const pare__onnx_attribute *found = pare__node_attribute(node, name);
  return found ? found->i : 0;
}

/* ---- operations ---- */

static double one_an_element(const shaped *at, int detail) {
  (void)detail;
  return elements(output_of(at, 0));
}

static double one_an_input(const shaped *at, int detail) {
  (void)detail;
  return elements(input_of(at, 0));
}

static double none(const shaped *at, int detail) {
  (void)at;
  (void)detail;
  return 0;
}

/* Rows of input 0 by something. */
static double product(const shaped *at, int detail) {
  (void)detail;
  const bool turned = whole_attribute(at->node, "transA") != 0;
  return 2 * elements(output_of(at, 0)) * dimension(input_of(at, 0), turned ? -2 : -1, 1);
}

/* Weights are input `detail`: of each output channel so many. */
static double convolution(const shaped *at, int detail) {
  const pare__slot *weights = input_of(at, (unsigned)detail);
  const double channels = dimension(weights, 0, 1);
  return channels > 0 ? 2 * elements(output_of(at, 0)) * elements(weights) / channels : 0;
}

/* Of each input channel so many. */
static double transposed_convolution(const shaped *at, int detail) {
  (void)detail;
  const double channels = dimension(input_of(at, 1), 0, 1);
  return channels > 0 ? 2 * elements(input_of(at, 0)) * elements(input_of(at, 1)) / channels : 0;
}

static double pool(const shaped *at, int detail) {
  (void)detail;
  const pare__onnx_attribute *window = pare__node_attribute(at->node, "kernel_shape");
  double count = elements(output_of(at, 0));
  for (size_t i = 0; window && i < window->ints.count; i++) count *= (double)window->ints.items[i];
  return count;
}

/* Queries by keys, and weights by values: each query meets all keys, those of the past (input `detail`) too. */
static double attention(const shaped *at, int detail) {
  const pare__slot *query = input_of(at, 0), *key = input_of(at, 1), *out = output_of(at, 0);
  const pare__slot *keys = key ? key : query, *present = output_of(at, 1);
  double length = dimension(keys, keys && keys->shape.rank == 4 ? 2 : 1, 1);
  if (present && present->shape.rank == 4)
    length = dimension(present, 2, 1);
  else
    length += dimension(input_of(at, (unsigned)detail), 2, 0);
  return 2 * (elements(key ? query : out) + elements(out)) * length;
}

/* The weights for queries, keys and values are inputs as well. */
static double projected_attention(const shaped *at, int detail) {
  (void)detail;
  const pare__slot *input = input_of(at, 0), *out = output_of(at, 0), *past = input_of(at, 4);
  const double rows = dimension(input, 0, 1) * dimension(input, 1, 1);
  const double length = dimension(input, 1, 1) + dimension(past, 3, 0);
  return 2 * rows * elements(input_of(at, 1)) + 4 * elements(out) * length;
}

/* Every step of every sequence meets all weights once. */
static double recurrent(const shaped *at, int detail) {
  (void)detail;
  const pare__slot *input = input_of(at, 0);
  const double steps = dimension(input, 0, 1) * dimension(input, 1, 1);
  return 2 * steps * (elements(input_of(at, 1)) + elements(input_of(at, 2)));
}

/* Sizes of the letters in a term such as "bij"; an ellipsis is said by those that stand beside it. */
static void read_term(const char **at, const pare__slot *slot, double size[128]) {
  int d = 0;
  for (; **at && **at != ',' && **at != '-'; (*at)++) {
    if (**at == '.') { /* what follows is counted from the end */
      int behind = 0;
      while (**at == '.') (*at)++;
      for (const char *rest = *at; isalpha((unsigned char)*rest) || *rest == ' '; rest++) behind += *rest != ' ';
      for (; slot && d < slot->shape.rank - behind && d < 31; d++)
        size[slot->shape.rank - behind - d] = PARE__MAX(size[slot->shape.rank - behind - d], dimension(slot, d, 1));
      (*at)--;
    } else if (isalpha((unsigned char)**at)) {
      const int letter = (unsigned char)**at & 127;
      size[letter] = PARE__MAX(size[letter], dimension(slot, d, 1));
      d++;
    }
  }
}

/* Every combination of all letters, once. */
static double einsum(const shaped *at, int detail) {
  (void)detail;
  const pare__onnx_attribute *equation = pare__node_attribute(at->node, "equation");
  double size[128] = {0}, count = 1;
  char copy[256] = "";
  const char *text = copy;
  if (equation && equation->s.data) memcpy(copy, equation->s.data, PARE__MIN(equation->s.nbytes, sizeof copy - 1));
  for (unsigned i = 0; i < at->node->ninputs; i++) {
    read_term(&text, input_of(at, i), size);
    if (*text == ',') text++;
  }
  for (size_t i = 0; i < PARE__COUNT(size); i++) count *= size[i] > 0 ? size[i] : 1;
  return at->node->ninputs > 1 ? 2 * count : count;
}

/* ---- which operator does what ---- */

typedef struct rule {
  const char *name, *domain; /* domain NULL: any */
  enum kernel kernel;
  double (*operations)(const shaped *at, int detail);
  int detail;
  bool takes_part; /* of input 0 it reads what it writes: a table */
} rule;

#define MICROSOFT "com.microsoft"

/* All others do one operation for each element that they write. */
static const rule rules[] = {
    {"MatMul", NULL, GEMM, product, 0, false},
    {"Gemm", NULL, GEMM, product, 0, false},
    {"MatMulInteger", NULL, GEMM, product, 0, false},
    {"QLinearMatMul", NULL, GEMM, product, 0, false},
    {"FusedMatMul", NULL, GEMM, product, 0, false},
    {"FusedGemm", NULL, GEMM, product, 0, false},
    {"QGemm", NULL, GEMM, product, 0, false},
    {"MatMulNBits", NULL, GEMM, product, 0, false},
    {"MatMulIntegerToFloat", NULL, GEMM, product, 0, false},
    {"DynamicQuantizeMatMul", NULL, GEMM, product, 0, false},
    {"QuantisedMatMul", NULL, GEMM, product, 0, false},
    {"SparseMatMul", NULL, GEMM, product, 0, false},
    {"Einsum", NULL, GEMM, einsum, 0, false},
    {"Attention", MICROSOFT, GEMM, projected_attention, 0, false},
    {"QAttention", MICROSOFT, GEMM, projected_attention, 0, false},
    {"Attention", NULL, GEMM, attention, 4, false},
    {"MultiHeadAttention", NULL, GEMM, attention, 6, false},
    {"GroupQueryAttention", NULL, GEMM, attention, 3, false},
    {"LSTM", NULL, GEMM, recurrent, 0, false},
    {"GRU", NULL, GEMM, recurrent, 0, false},
    {"RNN", NULL, GEMM, recurrent, 0, false},
    {"Conv", NULL, CONV, convolution, 1, false},
    {"FusedConv", NULL, CONV, convolution, 1, false},
    {"ConvInteger", NULL, CONV, convolution, 1, false},
    {"DeformConv", NULL, CONV, convolution, 1, false},
    {"QLinearConv", NULL, CONV, convolution, 3, false},
    {"ConvTranspose", NULL, CONV, transposed_convolution, 0, false},
    {"MaxPool", NULL, MEMORY, pool, 0, false},
    {"AveragePool", NULL, MEMORY, pool, 0, false},
    {"LpPool", NULL, MEMORY, pool, 0, false},
    {"GlobalMaxPool", NULL, MEMORY, one_an_input, 0, false},
    {"GlobalAveragePool", NULL, MEMORY, one_an_input, 0, false},
    {"GlobalLpPool", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceSum", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceMean", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceMax", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceMin", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceProd", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceL1", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceL2", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceLogSum", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceLogSumExp", NULL, MEMORY, one_an_input, 0, false},
    {"ReduceSumSquare", NULL, MEMORY, one_an_input, 0, false},
    {"ArgMax", NULL, MEMORY, one_an_input, 0, false},
    {"ArgMin", NULL, MEMORY, one_an_input, 0, false},
    {"TopK", NULL, MEMORY, one_an_input, 0, false},
    {"NonZero", NULL, MEMORY, one_an_input, 0, false},
    {"Gather", NULL, MEMORY, none, 0, true},
    {"GatherND", NULL, MEMORY, none, 0, true},
    {"GatherElements", NULL, MEMORY, none, 0, true},
    {"Slice", NULL, MEMORY, none, 0, true},
    {"Transpose", NULL, MEMORY, none, 0, false},
    {"Concat", NULL, MEMORY, none, 0, false},
    {"Split", NULL, MEMORY, none, 0, false},
    {"Expand", NULL, MEMORY, none, 0, false},
    {"Tile", NULL, MEMORY, none, 0, false},
    {"Pad", NULL, MEMORY, none, 0, false},
    {"ConstantOfShape", NULL, MEMORY, none, 0, false},
    {"DepthToSpace", NULL, MEMORY, none, 0, false},
    {"SpaceToDepth", NULL, MEMORY, none, 0, false},
    {"ReverseSequence", NULL, MEMORY, none, 0, false},
    {"ScatterElements", NULL, MEMORY, none, 0, false},
    {"ScatterND", NULL, MEMORY, none, 0, false},
};

static const rule *rule_of(const pare__node *node) {
  static const rule otherwise = {"", NULL, MEMORY, one_an_element, 0, false};
  for (size_t i = 0; i < PARE__COUNT(rules); i++)
    if (strcmp(rules[i].name, node->op_type) == 0 && (!rules[i].domain || strcmp(rules[i].domain, node->domain) == 0))
      return &rules[i];
  return &otherwise;
}

/* ---- a node ---- */

typedef struct amount {
  enum kernel kernel;
  double operations, read_bytes, written_bytes;
} amount;

static void add(amount *to, const amount *more) {
  to->kernel = PARE__MAX(to->kernel, more->kernel);
  to->operations += more->operations;
  to->read_bytes += more->read_bytes;
  to->written_bytes += more->written_bytes;
}

static amount amount_of(const shaped *at) {
  const pare__node *node = at->node;
  const rule *how = rule_of(node);
  amount found = {NO_KERNEL, 0, 0, 0};
  bool on_device = false;
  for (unsigned i = 0; i < node->noutputs; i++) on_device = on_device || (output_of(at, i) && output_of(at, i)->tensor);
  if (node->op->placement != PARE__ON_DEVICE || !on_device) return found;
  for (unsigned i = 0; i < node->noutputs; i++) found.written_bytes += bytes(output_of(at, i));
  for (unsigned i = 0; i < node->ninputs; i++) {
    bool again = false;
    for (unsigned k = 0; k < i; k++) again = again || node->input[k] == node->input[i];
    if (!again) found.read_bytes += i == 0 && how->takes_part ? found.written_bytes : bytes(input_of(at, i));
  }
  found.kernel = how->kernel;
  found.operations = how->operations(at, how->detail);
  return found;
}

/* ---- all nodes ---- */

typedef struct made_by {
  const char *name; /* of a value */
  size_t node;
} made_by;

typedef struct survey {
  pare_inspection *inspection;
  made_by *maker; /* by name, of the values of the model's own graph */
  size_t nmakers;
  amount inside; /* of subgraphs and functions, until the node around them is there */
} survey;

static int by_name(const void *a, const void *b) {
  return strcmp(((const made_by *)a)->name, ((const made_by *)b)->name);
}

static pare_status list_makers(survey *all) {
  const pare_inspection *inspection = all->inspection;
  size_t count = 0;
  for (size_t i = 0; i < inspection->info.nnodes; i++)
    if (inspection->node[i].depth == 0) count += inspection->node[i].noutputs;
  all->maker = calloc(count + 1, sizeof *all->maker);
  if (!all->maker) return pare__fail_memory("names of values", count * sizeof *all->maker);
  for (size_t i = 0; i < inspection->info.nnodes; i++)
    for (size_t k = 0; inspection->node[i].depth == 0 && k < inspection->node[i].noutputs; k++)
      if (*inspection->node[i].output[k]) all->maker[all->nmakers++] = (made_by){inspection->node[i].output[k], i};
  qsort(all->maker, all->nmakers, sizeof *all->maker, by_name);
  return PARE_OK;
}

static pare_status observe_work(void *user, pare__run_state *state, const pare__node *node, unsigned depth,
                                double begun) {
  (void)begun;
  survey *all = user;
  const amount own = amount_of(&(shaped){state, node});
  add(&all->inside, &own);
  for (unsigned i = 0; i < node->noutputs && depth == 0; i++) {
    if (node->output[i] < 0) continue;
    const made_by key = {state->model->network->value[node->output[i]].name, 0};
    const made_by *found = bsearch(&key, all->maker, all->nmakers, sizeof key, by_name);
    if (!found) continue;
    const amount whole = all->inside;
    all->inspection->work[found->node] =
        (pare_node_work){true, kernel_names[whole.kernel], whole.operations, whole.read_bytes, whole.written_bytes};
    all->inside = (amount){NO_KERNEL, 0, 0, 0};
    break;
  }
  return PARE_OK;
}

static pare_status read_shapes(const pare_model *model, const pare_model_value *inputs, size_t ninputs,
                               pare__shape *shapes) {
  if (ninputs != model->network->graph.ninputs)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_inspect_work: %zu inputs are given, and the model has %u", ninputs,
                      model->network->graph.ninputs);
  for (size_t i = 0; i < ninputs; i++) {
    const pare__value *declared = &model->network->value[model->network->graph.input[i]];
    bool known = inputs[i].rank >= 0 && inputs[i].rank <= PARE_MAX_RANK &&
                 pare__shape_set(&shapes[i], inputs[i].rank, inputs[i].dim);
    for (int d = 0; known && declared->rank >= 0 && d < inputs[i].rank; d++)
      known = inputs[i].rank == declared->rank && (declared->dim[d] < 0 || declared->dim[d] == inputs[i].dim[d]);
    if (!known)
      return pare__fail(PARE_ERR_SHAPE, "input '%.200s': give a size of each dimension, as the model declares them",
                        declared->name);
  }
  return PARE_OK;
}

pare_status pare_inspect_work(pare_inspection *inspection, pare_context *context, const pare_model_value *inputs,
                              size_t ninputs) {
  if (!inspection) return pare__fail_null("pare_inspect_work", "inspection");
  if (ninputs > 0 && !inputs) return pare__fail_null("pare_inspect_work", "inputs");
  PARE__TRY(pare__context_check("pare_inspect_work", context));
  if (!inspection->onnx) return PARE_OK;
  survey all = {.inspection = inspection};
  pare_model *model = NULL;
  bool values_needed;
  free(inspection->work);
  inspection->work = calloc(inspection->info.nnodes + 1, sizeof *inspection->work);
  pare__shape *shapes = calloc(ninputs + 1, sizeof *shapes);
  pare_status status = inspection->work && shapes ? PARE_OK : pare__fail_memory("the work of nodes", ninputs);
  if (status == PARE_OK) status = list_makers(&all);
  if (status == PARE_OK)
    status = pare__model_open_bare(pare__context_member(context, 0), pare__onnx_source_path(inspection->onnx->source),
                                   &model);
  if (status == PARE_OK) status = read_shapes(model, inputs, ninputs, shapes);
  if (status == PARE_OK) status = pare__model_shapes(model, shapes, observe_work, &all, &values_needed);
  pare_model_close(model);
  free(shapes);
  free(all.maker);
  return status;
}

pare_status pare_inspect_node_work(const pare_inspection *inspection, size_t index, pare_node_work *out) {
  if (!out) return pare__fail_null("pare_inspect_node_work", "out");
  *out = (pare_node_work){.kernel = ""};
  if (!inspection) return pare__fail_null("pare_inspect_node_work", "inspection");
  if (index >= inspection->info.nnodes)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_inspect_node_work: there is no number %zu; the model has %zu nodes",
                      index, inspection->info.nnodes);
  if (inspection->work && inspection->work[index].known) *out = inspection->work[index];
  return PARE_OK;
}
