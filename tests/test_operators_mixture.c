/* Mixtures of experts, of floats and of integers: against their formula in double precision.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-mixture-XXXXXX";

enum { EXPERTS = 4, SIZE = 16, INNER = 32, BEST = 2, MOST_ROWS = 5 };
enum { MOST_WEIGHTS = EXPERTS * 2 * INNER * SIZE, MOST_OUTPUTS = 2 * INNER };

/* bits 0: MoE; else QMoE. block 0: a scale an output. loose: the weights are inputs of the model; few rows then have
 * those of their experts gathered. */
static const struct {
  const char *activation;
  int fused, rows, bits, block;
  bool third, zeros, normalised, mixing, loose;
} cases[] = {
    {"relu", 0, 5, 0, 0, false, false, false, false, false},
    {"gelu", 0, 1, 0, 0, false, false, true, false, false},
    {"silu", 0, 5, 0, 0, true, false, true, false, false},
    {"identity", 0, 2, 0, 0, false, false, false, false, false},
    {"swiglu", 1, 5, 0, 0, false, false, true, false, false},
    {"swiglu", 2, 1, 0, 0, false, false, false, false, false},
    {"swiglu", 0, 5, 0, 0, true, false, false, false, false},
    {"silu", 0, 5, 4, 0, false, true, false, false, false},
    {"swiglu", 1, 1, 4, 16, false, true, true, true, false},
    {"swiglu", 1, 5, 4, 16, false, false, true, false, false},
    {"relu", 0, 5, 8, 0, false, false, false, true, false},
    {"silu", 0, 2, 2, 16, true, true, false, false, false},
    {"gelu", 0, 5, 8, 16, false, true, true, true, false},
    {"silu", 0, 5, 0, 0, true, false, true, false, true},
    {"gelu", 0, 1, 0, 0, false, false, true, false, true},
    {"swiglu", 1, 5, 0, 0, false, false, true, false, true},
    {"swiglu", 2, 1, 0, 0, false, false, false, false, true},
    {"silu", 0, 5, 4, 0, false, true, false, false, true},
    {"swiglu", 1, 1, 4, 16, false, true, true, true, true},
    {"silu", 0, 2, 2, 16, true, true, false, false, true},
    {"relu", 0, 5, 8, 0, false, false, false, true, true},
};

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double activation(const char *name, double x) {
  if (strcmp(name, "relu") == 0) return fmax(x, 0);
  if (strcmp(name, "silu") == 0) return x * sigmoid(x);
  if (strcmp(name, "gelu") == 0)
    return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  return x;
}

static const double alpha = 1.5, beta = 1, limit = 0.75;
static double swiglu(double gate, double linear) {
  const double g = fmin(gate, limit);
  return g * sigmoid(alpha * g) * (fmin(fmax(linear, -limit), limit) + beta);
}

/* A layer of every expert: what its weights are, and its bias. */
typedef struct layer {
  int outputs, inputs;
  double *weights;
  float *bias;
} layer;

/* y = W x + b of an expert. */
static void apply(const layer *l, int expert, const double *x, double *y) {
  for (int o = 0; o < l->outputs; o++) {
    y[o] = (double)l->bias[expert * l->outputs + o];
    for (int i = 0; i < l->inputs; i++) y[o] += l->weights[(expert * l->outputs + o) * l->inputs + i] * x[i];
  }
}

/* Elements of `bits` in bytes, low bits first; rows begin with a byte. */
static int64_t pack(int bits, int rows, int length, const uint8_t *elements, uint8_t *bytes) {
  const int bytes_a_row = (length * bits + 7) / 8;
  memset(bytes, 0, (size_t)(rows * bytes_a_row));
  for (int i = 0; i < rows * length; i++) {
    const int at = i % length * bits;
    uint8_t *byte = &bytes[i / length * bytes_a_row + at / 8];
    *byte = (uint8_t)(*byte | elements[i] << at % 8);
  }
  return bytes_a_row;
}

/* Names of a layer's inputs: weights, scale, bias, zero points. */
typedef struct names {
  const char *weights, *scale, *bias, *zero;
} names;

/* An input of the model, or a constant. */
static void add_weights(one_node *one, int c, const char *name, int32_t type, const int64_t *dim, const void *data) {
  if (cases[c].loose)
    one_node_input(one, name, type, 3, dim, data);
  else
    model_constant(one->onnx, name, type, 3, dim, data);
}

static void add_floats(one_node *one, const names *name, int c, uint32_t seed, layer *l) {
  const int count = EXPERTS * l->outputs * l->inputs;
  float *weights = random_floats(count, seed);
  for (int i = 0; i < count; i++) l->weights[i] = (double)weights[i];
  add_weights(one, c, name->weights, PARE__ONNX_FLOAT, (const int64_t[]){EXPERTS, l->outputs, l->inputs}, weights);
  free(weights);
}

static void add_integers(one_node *one, const names *name, int c, uint32_t seed, layer *l) {
  const int bits = cases[c].bits, rows = EXPERTS * l->outputs, block = cases[c].block ? cases[c].block : l->inputs,
            blocks = l->inputs / block, count = rows * l->inputs;
  uint8_t *element = malloc((size_t)count), *bytes = malloc((size_t)count), zero[MOST_WEIGHTS];
  float *scale = random_floats(rows * blocks, seed), *order = random_floats(count, seed + 1);
  for (int i = 0; i < rows * blocks; i++) {
    scale[i] = 0.05F * (scale[i] + 1.5F);
    zero[i] = (uint8_t)(cases[c].zeros ? i * 7 % (1 << bits) : 1 << (bits - 1));
  }
  for (int i = 0; i < count; i++) {
    element[i] = (uint8_t)((order[i] + 1) / 2 * (float)(1 << bits));
    l->weights[i] = (element[i] - zero[i / block]) * (double)scale[i / block];
  }
  int64_t row = pack(bits, rows, l->inputs, element, bytes);
  add_weights(one, c, name->weights, PARE__ONNX_UINT8, (const int64_t[]){EXPERTS, l->outputs, row}, bytes);
  model_constant(one->onnx, name->scale, PARE__ONNX_FLOAT, cases[c].block ? 3 : 2,
                 (const int64_t[]){EXPERTS, l->outputs, blocks}, scale);
  if (cases[c].zeros && cases[c].block) {
    row = pack(bits, rows, blocks, zero, bytes);
    model_constant(one->onnx, name->zero, PARE__ONNX_UINT8, 3, (const int64_t[]){EXPERTS, l->outputs, row}, bytes);
  } else if (cases[c].zeros) {
    row = pack(bits, EXPERTS, l->outputs, zero, bytes);
    model_constant(one->onnx, name->zero, PARE__ONNX_UINT8, 2, (const int64_t[]){EXPERTS, row}, bytes);
  }
  free(element);
  free(bytes);
  FREE_ALL(scale, order);
}

/* What the expert makes of x, times a weight, is added to y. */
static void ask(int c, const layer *l, int expert, double weight, const float *x, double *y) {
  double in[SIZE], first[MOST_OUTPUTS], third[INNER] = {0}, inner[INNER], out[SIZE];
  const int fused = cases[c].fused;
  for (int i = 0; i < SIZE; i++) in[i] = (double)x[i];
  apply(&l[0], expert, in, first);
  if (cases[c].third) apply(&l[2], expert, in, third);
  for (int i = 0; i < INNER; i++) {
    const double gate = first[fused == 1 ? 2 * i : i], opened = fused == 1   ? first[2 * i + 1]
                                                                : fused == 2 ? first[INNER + i]
                                                                             : third[i];
    if (strcmp(cases[c].activation, "swiglu") == 0)
      inner[i] = swiglu(gate, opened);
    else
      inner[i] = activation(cases[c].activation, gate) * (cases[c].third ? opened : 1);
  }
  apply(&l[1], expert, inner, out);
  for (int i = 0; i < SIZE; i++) y[i] += weight * out[i];
}

/* The best experts, and their weights: of softmax, or of a tensor of their own. QMoE takes the softmax of the best. */
static void route(int c, const float *scores, const float *mixing, int *best, double *weight) {
  bool taken[EXPERTS] = {false};
  double all = 0, sum = 0;
  for (int e = 0; e < EXPERTS; e++) all += exp((double)scores[e]);
  for (int i = 0; i < BEST; i++) {
    best[i] = -1;
    for (int e = 0; e < EXPERTS; e++)
      if (!taken[e] && (best[i] < 0 || scores[e] > scores[best[i]])) best[i] = e;
    taken[best[i]] = true;
    weight[i] = cases[c].mixing ? (double)mixing[best[i]] : exp((double)scores[best[i]]) / all;
    sum += weight[i];
  }
  if (cases[c].normalised || (cases[c].bits && !cases[c].mixing))
    for (int i = 0; i < BEST; i++) weight[i] /= sum;
}

static void add_attributes(one_node *one, int c) {
  one_node_text(one, "activation_type", cases[c].activation);
  node_int(one->onnx, one->node, "k", BEST);
  node_int(one->onnx, one->node, "normalize_routing_weights", cases[c].normalised);
  if (cases[c].bits) node_int(one->onnx, one->node, "expert_weight_bits", cases[c].bits);
  if (cases[c].block) node_int(one->onnx, one->node, "block_size", cases[c].block);
  if (strcmp(cases[c].activation, "swiglu") != 0) return;
  node_int(one->onnx, one->node, "swiglu_fusion", cases[c].fused);
  node_float(one->onnx, one->node, "activation_alpha", (float)alpha);
  node_float(one->onnx, one->node, "activation_beta", (float)beta);
  node_float(one->onnx, one->node, "swiglu_limit", (float)limit);
}

START_TEST(the_best_experts_are_added) {
  static const names name[3] = {{"w1", "s1", "b1", "z1"}, {"w2", "s2", "b2", "z2"}, {"w3", "s3", "b3", "z3"}};
  const int rows = cases[_i].rows, layers = cases[_i].third ? 3 : 2;
  const bool integers = cases[_i].bits != 0, third = cases[_i].third;
  char inputs[96];
  snprintf(inputs, sizeof inputs, integers ? "x p w1 s1 b1 w2 s2 b2 %s %s %s %s" : "x p w1 b1 w2 b2 %s %.0s%s",
           third ? "w3" : "-", third ? "s3" : "-", third ? "b3" : "-",
           !cases[_i].zeros ? "- - -"
           : third          ? "z1 z2 z3"
                            : "z1 z2 -");
  if (cases[_i].mixing) strcat(inputs, " m");
  float *x = random_floats(MOST_ROWS * SIZE, 1), *scores = random_floats(MOST_ROWS * EXPERTS, 2),
        *mixing = random_floats(MOST_ROWS * EXPERTS, 3);
  for (int i = 0; i < MOST_ROWS * EXPERTS; i++) mixing[i] = mixing[i] + 1.25F;
  one_node one = one_node_contributed(integers ? "QMoE" : "MoE", inputs, "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, rows, SIZE}, x);
  one_node_input(&one, "p", PARE__ONNX_FLOAT, 2, (const int64_t[]){rows, EXPERTS}, scores);
  if (cases[_i].mixing) one_node_input(&one, "m", PARE__ONNX_FLOAT, 2, (const int64_t[]){rows, EXPERTS}, mixing);
  layer l[3] = {
      {cases[_i].fused ? 2 * INNER : INNER, SIZE, NULL, NULL}, {SIZE, INNER, NULL, NULL}, {INNER, SIZE, NULL, NULL}};
  for (int i = 0; i < layers; i++) {
    l[i].weights = malloc(MOST_WEIGHTS * sizeof *l[i].weights);
    l[i].bias = random_floats(EXPERTS * l[i].outputs, 10 + (uint32_t)i);
    if (integers)
      add_integers(&one, &name[i], _i, 20 + (uint32_t)i, &l[i]);
    else
      add_floats(&one, &name[i], _i, 20 + (uint32_t)i, &l[i]);
    model_constant(one.onnx, name[i].bias, PARE__ONNX_FLOAT, 2, (const int64_t[]){EXPERTS, l[i].outputs}, l[i].bias);
  }
  add_attributes(&one, _i);
  double y[MOST_ROWS * SIZE] = {0};
  for (int r = 0; r < rows; r++) {
    int best[BEST];
    double weight[BEST];
    route(_i, scores + r * EXPERTS, mixing + r * EXPERTS, best, weight);
    for (int i = 0; i < BEST; i++) ask(_i, l, best[i], weight[i], x + r * SIZE, y + r * SIZE);
  }
  one_node_expect(folder, &one, "y", (int64_t)rows * SIZE, y);
  for (int i = 0; i < layers; i++) {
    free(l[i].weights);
    free(l[i].bias);
  }
  FREE_ALL(x, scores, mixing);
}
END_TEST

START_TEST(weights_must_fit_the_experts) {
  static const float zeros[EXPERTS * INNER * SIZE] = {0};
  for (int i = 0; i < 3; i++) { /* another size, more experts than there are, routing that is not possible */
    one_node one = one_node_contributed("MoE", "x p w1 - w2", "y");
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){1, SIZE}, zeros);
    one_node_input(&one, "p", PARE__ONNX_FLOAT, 2, (const int64_t[]){1, EXPERTS}, zeros);
    model_constant(one.onnx, "w1", PARE__ONNX_FLOAT, 3, (const int64_t[]){EXPERTS, INNER, SIZE}, zeros);
    model_constant(one.onnx, "w2", PARE__ONNX_FLOAT, 3, (const int64_t[]){EXPERTS, SIZE, i == 0 ? INNER / 2 : INNER},
                   zeros);
    node_int(one.onnx, one.node, "k", i == 1 ? EXPERTS + 1 : BEST);
    node_int(one.onnx, one.node, "use_sparse_mixer", i == 2);
    one_node_refused(folder, &one, i == 2 ? PARE_ERR_UNSUPPORTED : PARE_ERR_SHAPE,
                     i == 0   ? "[4, 16, 32] is needed"
                     : i == 1 ? "the best 5 of 4 experts"
                              : "use_sparse_mixer");
  }
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("mixtures of experts");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, the_best_experts_are_added, 0, (int)(sizeof cases / sizeof *cases));
  tcase_add_test(tests, weights_must_fit_the_experts);
  return remove_folder(folder, run_tests("mixtures of experts", tests));
}
