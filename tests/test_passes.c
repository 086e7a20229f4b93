/* Passes: what exporters write becomes few nodes, and every result stays what it was.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/run.h"
#include "onnx_builder.h"
#include "with_passes.h"

static char folder[] = "/tmp/pare-test-passes-XXXXXX";
static char path[128];

static uint32_t random_state;
/* One of `count`. */
static uint32_t pick(uint32_t count) {
  random_state = random_state * 1664525U + 1013904223U;
  return (random_state >> 8) % count;
}

/* ---- attention ---- */

enum { BATCH = 2, HEADS = 3, QUERIES = 5, KEYS = 7, SIZE = 8 };

static void transpose(pare__onnx_model *onnx, const char *from, const char *to, size_t rank, const int64_t *perm) {
  node_ints(onnx, model_node(onnx, "Transpose", from, to), "perm", rank, perm);
}

/* Name of what is `name` scaled, by Mul or Div, or itself. */
static const char *scaled(pare__onnx_model *onnx, const char *name, const char *to, bool divide) {
  char inputs[64];
  snprintf(inputs, sizeof inputs, divide ? "%s root" : pick(2) ? "%s scale" : "scale %s", name);
  model_node(onnx, divide ? "Div" : "Mul", inputs, to);
  return to;
}

static const char *softmax(pare__onnx_model *onnx, const char *from, int64_t rank) {
  char inputs[64];
  if (pick(3) > 0) {
    node_int(onnx, model_node(onnx, "Softmax", from, "weights"), "axis", pick(2) ? -1 : rank - 1);
    return "weights";
  }
  node_ints(onnx, model_node(onnx, "ReduceMax", from, "largest"), "axes", 1, (const int64_t[]){-1});
  snprintf(inputs, sizeof inputs, "%s largest", from);
  model_node(onnx, "Sub", inputs, "shifted");
  model_node(onnx, "Exp", "shifted", "powers");
  model_node(onnx, "ReduceSum", "powers axis", "total");
  model_node(onnx, "Div", "powers total", "weights");
  return "weights";
}

/* Queries, keys and values [batch, length, heads, size] as views with heads first, as exporters write them. */
static pare__onnx_model *attention(uint32_t seed) {
  random_state = seed * 2654435761U + 3;
  pare__onnx_model *onnx = model_new(13);
  const bool apart = pick(4) > 0; /* else heads are in the batch, and everything has rank 3 */
  const int rank = apart ? 4 : 3;
  const int64_t q4[4] = {BATCH, QUERIES, HEADS, SIZE}, k4[4] = {BATCH, KEYS, HEADS, SIZE};
  const int64_t q3[3] = {BATCH, QUERIES, SIZE}, k3[3] = {BATCH, KEYS, SIZE}, minus_one = -1;
  model_input(onnx, "q", PARE__ONNX_FLOAT, rank, apart ? q4 : q3);
  model_input(onnx, "k", PARE__ONNX_FLOAT, rank, apart ? k4 : k3);
  model_input(onnx, "v", PARE__ONNX_FLOAT, rank, apart ? k4 : k3);
  model_number(onnx, "scale", 0.6F);
  model_number(onnx, "root", 1.7F);
  model_number(onnx, "low", -10000);
  model_constant(onnx, "axis", PARE__ONNX_INT64, 1, (const int64_t[]){1}, &minus_one);
  static const int64_t heads[4] = {0, 2, 1, 3}, keys[4] = {0, 2, 3, 1}, last[4] = {0, 1, 3, 2}, last3[3] = {0, 2, 1};
  const char *query = "q", *key = "k", *value = "v";
  const uint32_t where = pick(5); /* is the scale: query, both, keys after the transpose, scores, nowhere */
  if (where < 2 && pick(2)) query = scaled(onnx, query, "q.scaled", where == 0);
  if (where == 1) key = scaled(onnx, key, "k.scaled", false);
  if (apart) {
    transpose(onnx, query, "q.heads", 4, heads);
    transpose(onnx, value, "v.heads", 4, heads);
    query = "q.heads";
    value = "v.heads";
  }
  if (apart && pick(2)) {
    transpose(onnx, key, "k.heads", 4, heads);
    transpose(onnx, "k.heads", "k.turned", 4, last);
  } else {
    transpose(onnx, key, "k.turned", (size_t)rank, apart ? keys : last3);
  }
  key = where == 2 ? scaled(onnx, "k.turned", "k.turned.scaled", false) : "k.turned";
  char inputs[64];
  snprintf(inputs, sizeof inputs, "%s %s", query, key);
  model_node(onnx, "MatMul", inputs, "scores");
  const char *scores = where == 3 ? scaled(onnx, "scores", "scores.scaled", pick(2)) : "scores";
  const uint32_t kind = pick(4);
  if (kind > 0) {
    const int64_t masks[][4] = {{BATCH, 1, 1, KEYS}, {1, 1, QUERIES, KEYS}, {BATCH, HEADS, QUERIES, KEYS}};
    const int64_t *mask = masks[pick(3)];
    const int64_t mask3[3] = {mask[0], mask[2], mask[3]};
    model_input(onnx, "mask", kind == 1 ? PARE__ONNX_FLOAT : PARE__ONNX_BOOL, rank, apart ? mask : mask3);
    if (kind == 1) snprintf(inputs, sizeof inputs, pick(2) ? "%s mask" : "mask %s", scores);
    if (kind == 2) snprintf(inputs, sizeof inputs, "mask %s low", scores);
    if (kind == 3) snprintf(inputs, sizeof inputs, "mask low %s", scores);
    model_node(onnx, kind == 1 ? "Add" : "Where", inputs, "masked");
    scores = "masked";
  }
  snprintf(inputs, sizeof inputs, "%s %s", softmax(onnx, scores, rank), value);
  model_node(onnx, "MatMul", inputs, apart ? "context" : "y");
  if (apart) transpose(onnx, "context", "y", 4, heads);
  model_output(onnx, "y");
  return onnx;
}

START_TEST(attention_as_it_is_written_out_becomes_one_node) {
  pare_model *model = with_passes(path, attention((uint32_t)_i), (uint32_t)_i);
  ck_assert_msg(nodes_of(model, "Attention") == 1, "seed %d: no attention was found", _i);
  ck_assert_uint_eq(nodes_of(model, "Softmax"), 0);
  ck_assert_uint_eq(nodes_of(model, "Mul"), 0);
  ck_assert_uint_eq(nodes_of(model, "Div"), 0);
  pare_model_close(model);
}
END_TEST

/* ---- norms of sums ---- */

enum { WIDTH = 24 };

/* Blocks that each add to what goes on beside them, with the norm before or after the sum. A sum that others read, too,
 * is the product's. */
static pare__onnx_model *blocks(uint32_t seed, unsigned *sums) {
  random_state = seed * 2654435761U + 11;
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "v0", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, 3, WIDTH});
  float *weights = random_floats(WIDTH * WIDTH, seed);
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, weights);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, weights);
  free(weights);
  char inputs[64], norm[32], sum[32], product[32], last[32] = "v0";
  *sums = 0;
  for (int i = 1; i <= 4; i++) {
    snprintf(product, sizeof product, "p%d", i);
    snprintf(sum, sizeof sum, "s%d", i);
    snprintf(norm, sizeof norm, "v%d", i);
    snprintf(inputs, sizeof inputs, "%s w", last);
    model_node(onnx, "MatMul", inputs, product);
    snprintf(inputs, sizeof inputs, pick(2) ? "%s %s" : "%2$s %1$s", product, last);
    model_node(onnx, "Add", inputs, sum);
    const bool other = pick(3) == 0; /* somebody reads the sum before the norm's place comes */
    if (other) {
      snprintf(inputs, sizeof inputs, "t%d", i);
      model_node(onnx, "Tanh", sum, inputs);
    }
    snprintf(inputs, sizeof inputs, pick(2) ? "%s b b" : "%s b", sum);
    model_node(onnx, "LayerNormalization", inputs, norm);
    if (!other && i != 2) ++*sums;
    if (other) {
      snprintf(inputs, sizeof inputs, "t%d v%d", i, i);
      snprintf(last, sizeof last, "u%d", i);
      model_node(onnx, "Mul", inputs, last);
    } else {
      snprintf(last, sizeof last, "%s", norm);
    }
  }
  model_output(onnx, last);
  model_output(onnx, "s2");
  return onnx;
}

START_TEST(a_sum_and_its_norm_become_one_node) {
  unsigned sums;
  pare_model *model = with_passes(path, blocks((uint32_t)_i, &sums), (uint32_t)_i);
  ck_assert_uint_eq(nodes_of(model, "SkipLayerNormalization"), sums);
  ck_assert_uint_eq(nodes_of(model, "LayerNormalization"), 4 - sums);
  ck_assert_uint_eq(nodes_of(model, "FusedMatMul"), 4 - sums);
  ck_assert_uint_eq(nodes_of(model, "Add"), 0);
  pare_model_close(model);
}
END_TEST

/* ---- views between ---- */

/* Whisper and BART scale queries before they have heads. */
START_TEST(a_scale_goes_through_views_into_the_product) {
  pare__onnx_model *onnx = model_new(17);
  const int64_t heads[] = {0, 2, 1, 3}, keys[] = {0, 2, 3, 1};
  model_input(onnx, "q", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, QUERIES, HEADS * SIZE});
  model_input(onnx, "k", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, KEYS, HEADS, SIZE});
  model_number(onnx, "scale", 0.3F);
  model_constant(onnx, "shape", PARE__ONNX_INT64, 1, (const int64_t[]){4}, (const int64_t[]){2, QUERIES, HEADS, SIZE});
  model_node(onnx, "Tanh", "q", "t");
  model_node(onnx, "Mul", "t scale", "s");
  model_node(onnx, "Reshape", "s shape", "r");
  transpose(onnx, "r", "u", 4, heads);
  transpose(onnx, "k", "v", 4, keys);
  model_node(onnx, "MatMul", "u v", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 1);
  ck_assert_uint_eq(nodes_of(model, "Mul"), 0);
  pare_model_close(model);
}
END_TEST

/* Llama's norm as torch exports it, in floats: x goes to float, and what is normalised to the type that x has. */
START_TEST(a_cast_to_the_type_that_is_there_goes) {
  pare__onnx_model *onnx = model_new(17);
  float *numbers = random_floats(WIDTH * WIDTH, 3);
  const int64_t last = -1;
  model_input(onnx, "h", PARE__ONNX_FLOAT, 2, (const int64_t[]){5, WIDTH});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, numbers);
  model_constant(onnx, "g", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers);
  free(numbers);
  model_number(onnx, "two", 2);
  model_number(onnx, "epsilon", 1e-5F);
  model_node(onnx, "MatMul", "h w", "m");
  node_int(onnx, model_node(onnx, "Cast", "m", "x"), "to", PARE__ONNX_FLOAT);
  model_node(onnx, "Pow", "x two", "square");
  node_ints(onnx, model_node(onnx, "ReduceMean", "square", "mean"), "axes", 1, &last);
  model_node(onnx, "Add", "mean epsilon", "moment");
  model_node(onnx, "Sqrt", "moment", "root");
  model_node(onnx, "Div", "x root", "n");
  node_int(onnx, model_node(onnx, "Cast", "n", "c"), "to", PARE__ONNX_FLOAT);
  model_node(onnx, "Mul", "g c", "z");
  node_int(onnx, model_node(onnx, "Cast", "z", "i"), "to", PARE__ONNX_INT32); /* of another type */
  node_int(onnx, model_node(onnx, "Cast", "i", "j"), "to", PARE__ONNX_FLOAT);
  model_node(onnx, "Add", "z j", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 1);
  ck_assert_uint_eq(nodes_of(model, "Cast"), 2);
  ck_assert_uint_eq(nodes_of(model, "RMSNormalization"), 1);
  ck_assert_uint_eq(model->network->graph.nnodes, 5);
  pare_model_close(model);
}
END_TEST

/* ---- softmax ---- */

START_TEST(softmax_as_it_is_written_out_becomes_one_node) {
  static const struct {
    const char *result;
    bool shifted, reciprocal, logarithm;
  } forms[] = {{"Softmax", true, false, false},
               {"Softmax", false, false, false},
               {"Softmax", true, true, false},
               {"LogSoftmax", true, false, true},
               {"LogSoftmax", false, false, true}};
  const int64_t axis = _i % 2 ? 1 : -1;
  for (size_t i = 0; i < PARE__COUNT(forms); i++) {
    pare__onnx_model *onnx = model_new(13);
    model_input(onnx, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){3, 5, 4});
    model_constant(onnx, "axis", PARE__ONNX_INT64, 1, (const int64_t[]){1}, &axis);
    node_ints(onnx, model_node(onnx, "ReduceMax", "x", "largest"), "axes", 1, &axis);
    model_node(onnx, "Sub", "x largest", "shifted");
    model_node(onnx, "Exp", forms[i].shifted ? "shifted" : "x", "powers");
    model_node(onnx, "ReduceSum", "powers axis", "total");
    model_node(onnx, "Reciprocal", "total", "inverse");
    model_node(onnx, "Log", "total", "logarithm");
    if (forms[i].logarithm)
      model_node(onnx, "Sub", forms[i].shifted ? "shifted logarithm" : "x logarithm", "y");
    else
      model_node(onnx, forms[i].reciprocal ? "Mul" : "Div", forms[i].reciprocal ? "inverse powers" : "powers total",
                 "y");
    model_output(onnx, "y");
    pare_model *model = with_passes(path, onnx, (uint32_t)i);
    ck_assert_uint_eq(model->network->graph.nnodes, 1);
    ck_assert_uint_eq(nodes_of(model, forms[i].result), 1);
    pare_model_close(model);
  }
}
END_TEST

/* ---- transposes and duplicates ---- */

/* A constant of one element and a higher rank than x makes a result of that rank, which no fused node does. */
START_TEST(a_constant_of_higher_rank_gives_the_result_its_rank) {
  static const int64_t ones[] = {1, 1, 1}, length = 4;
  static const char *const op_type[] = {"Gelu", "HardSwish", "HardSigmoid", "Swish"};
  const int kind = _i / 2, rank = _i % 2 ? 3 : 1; /* of the constant; x has rank 1 */
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, &length);
  const float values[] = {0.70710678F, 1, 0.5F, 3, 1.0F / 6, 1.5F};
  static const char *const names[] = {"root", "one", "half", "three", "sixth", "alpha"};
  for (size_t i = 0; i < PARE__COUNT(names); i++)
    model_constant(onnx, names[i], PARE__ONNX_FLOAT, i % 2 ? rank : 0, ones, &values[i]);
  model_number(onnx, "zero", 0);
  model_number(onnx, "six", 6);
  if (kind == 0) {
    model_node(onnx, "Mul", "x root", "a");
    model_node(onnx, "Erf", "a", "b");
    model_node(onnx, "Add", "b one", "c");
    model_node(onnx, "Mul", "x c", "d");
    model_node(onnx, "Mul", "d half", "y");
  } else if (kind == 3) {
    model_node(onnx, "Mul", "x alpha", "a");
    model_node(onnx, "Sigmoid", "a", "b");
    model_node(onnx, "Mul", "x b", "y");
  } else {
    model_node(onnx, "Add", "x three", "a");
    model_node(onnx, "Clip", "a zero six", "b");
    if (kind == 1) model_node(onnx, "Mul", "x b", "c");
    model_node(onnx, "Mul", kind == 1 ? "c sixth" : "b sixth", "y");
  }
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, (uint32_t)_i);
  ck_assert_uint_eq(nodes_of(model, op_type[kind]), rank == 1);
  pare_model_close(model);
}
END_TEST

START_TEST(transposes_that_undo_each_other_go) {
  pare__onnx_model *onnx = model_new(13);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 3, 4, 5});
  transpose(onnx, "x", "a", 4, (const int64_t[]){0, 2, 3, 1});
  model_node(onnx, "Relu", "a", "b");
  transpose(onnx, "b", "c", 4, (const int64_t[]){0, 3, 1, 2});
  model_node(onnx, "Tanh", "c", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 1);
  ck_assert_uint_eq(nodes_of(model, "Transpose"), 0);
  ck_assert_uint_eq(model->network->graph.nnodes, 2);
  pare_model_close(model);
}
END_TEST

/* Random transposes, elementwise nodes and sums of what has the same shape, everything written twice at times. */
static pare__onnx_model *turns(uint32_t seed) {
  random_state = seed * 2654435761U + 29;
  pare__onnx_model *onnx = model_new(13);
  enum { STEPS = 16 };
  int64_t dim[STEPS + 1][3] = {{3, 4, 5}};
  static const int64_t perms[][3] = {{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}, {0, 1, 2}};
  static const char *const unary[] = {"Relu", "Tanh", "Sigmoid", "Exp"};
  model_input(onnx, "v0", PARE__ONNX_FLOAT, 3, dim[0]);
  for (uint32_t i = 1; i <= STEPS; i++) {
    char from[32], to[16];
    const uint32_t a = pick(3) ? i - 1 : pick(i), kind = pick(4);
    snprintf(from, sizeof from, "v%u", a);
    snprintf(to, sizeof to, "v%u", i);
    memcpy(dim[i], dim[a], sizeof dim[i]);
    if (kind < 2) {
      const int64_t *perm = perms[pick(PARE__COUNT(perms))];
      for (int d = 0; d < 3; d++) dim[i][d] = dim[a][perm[d]];
      transpose(onnx, from, to, 3, perm);
    } else if (kind == 2) {
      model_node(onnx, unary[pick(PARE__COUNT(unary))], from, to);
    } else {
      uint32_t b = pick(i);
      if (memcmp(dim[a], dim[b], sizeof dim[a]) != 0) b = a;
      snprintf(from, sizeof from, "v%u v%u", a, b);
      model_node(onnx, pick(2) ? "Sub" : "Mul", from, to);
    }
  }
  model_output(onnx, "v16");
  model_output(onnx, "v9");
  return onnx;
}

START_TEST(random_turns_keep_their_results) { pare_model_close(with_passes(path, turns((uint32_t)_i), (uint32_t)_i)); }
END_TEST

START_TEST(what_is_computed_twice_is_computed_once) {
  pare__onnx_model *onnx = model_new(13);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){3, 4});
  model_number(onnx, "half", 0.5F);
  model_number(onnx, "again", 0.5F);
  model_number(onnx, "other", 0.25F);
  model_node(onnx, "Mul", "x half", "a");
  model_node(onnx, "Mul", "x again", "b");
  model_node(onnx, "Mul", "x other", "c");
  node_int(onnx, model_node(onnx, "Softmax", "a", "d"), "axis", 1);
  node_int(onnx, model_node(onnx, "Softmax", "b", "e"), "axis", 1);
  node_int(onnx, model_node(onnx, "Softmax", "a", "f"), "axis", 0);
  model_node(onnx, "Sub", "d f", "g");
  model_node(onnx, "Sub", "e c", "h");
  model_node(onnx, "Mul", "g h", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 5);
  ck_assert_uint_eq(nodes_of(model, "Softmax"), 2);
  ck_assert_uint_eq(nodes_of(model, "Mul"), 3);
  pare_model_close(model);
}
END_TEST

/* ---- norms, gates and folded scales as they are written out ---- */

/* y = layer norm of x, as exporters before opset 17 write it, or with the square as a product. */
static void written_layer_norm(pare__onnx_model *onnx, bool by_product, const char *output) {
  const int64_t last = -1;
  node_ints(onnx, model_node(onnx, "ReduceMean", "x", "mean"), "axes", 1, &last);
  model_node(onnx, "Sub", "x mean", "difference");
  model_node(onnx, by_product ? "Mul" : "Pow", by_product ? "difference difference" : "difference two", "square");
  node_ints(onnx, model_node(onnx, "ReduceMean", "square", "variance"), "axes", 1, &last);
  model_node(onnx, "Add", by_product ? "epsilon variance" : "variance epsilon", "sum");
  model_node(onnx, "Sqrt", "sum", "deviation");
  model_node(onnx, "Div", "difference deviation", "normal");
  model_node(onnx, "Mul", by_product ? "scale normal" : "normal scale", "scaled");
  model_node(onnx, "Add", by_product ? "shift scaled" : "scaled shift", output);
}

/* A last dimension of 1 becomes as long as scale and shift are: valid, and no LayerNormalization of the standard's. */
START_TEST(layer_norm_as_it_is_written_out_becomes_one_node) {
  for (int kind = 0; kind < 4; kind++) {
    pare__onnx_model *onnx = model_new(13);
    float *numbers = random_floats(2 * WIDTH, 7);
    model_input(onnx, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, 3, kind < 2 ? WIDTH : 1});
    model_constant(onnx, "scale", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers);
    model_constant(onnx, "shift", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers + WIDTH);
    model_number(onnx, "two", 2);
    model_number(onnx, "epsilon", 1e-5F);
    written_layer_norm(onnx, kind % 2, "y");
    model_output(onnx, "y");
    free(numbers);
    pare_model *model = with_passes(path, onnx, (uint32_t)kind);
    ck_assert_uint_eq(model->network->graph.nnodes, 1);
    ck_assert_uint_eq(nodes_of(model, "LayerNormalization"), 1);
    pare_model_close(model);
  }
}
END_TEST

START_TEST(gates_as_they_are_written_out_become_one_node) {
  static const char *const results[] = {"HardSwish", "HardSwish", "HardSigmoid", "Swish", "Gelu", "Gelu"};
  for (size_t i = 0; i < PARE__COUNT(results); i++) {
    pare__onnx_model *onnx = model_new(13);
    model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){5, WIDTH});
    model_number(onnx, "none", 0);
    model_number(onnx, "one", 1);
    model_number(onnx, "half", 0.5F);
    model_number(onnx, "three", 3);
    model_number(onnx, "six", 6);
    model_number(onnx, "cubic", 0.044715F);
    model_number(onnx, "tanh", 0.79788456F);
    if (i < 3) {
      model_node(onnx, "Add", i ? "three x" : "x three", "sum");
      model_node(onnx, "Clip", "sum none six", "gate");
      if (i == 0) model_node(onnx, "Mul", "x gate", "product");
      if (i == 1) model_node(onnx, "Div", "gate six", "product");
      model_node(onnx, i == 1 ? "Mul" : "Div", i == 0 ? "product six" : i == 1 ? "x product" : "gate six", "y");
    } else if (i == 3) {
      model_node(onnx, "Sigmoid", "x", "gate");
      model_node(onnx, "Mul", "x gate", "y");
    } else { /* with tanh: the cube as a power, or as products */
      model_node(onnx, i == 4 ? "Pow" : "Mul", i == 4 ? "x three" : "x x", "square");
      model_node(onnx, i == 4 ? "Identity" : "Mul", i == 4 ? "square" : "square x", "cube");
      model_node(onnx, "Mul", "cubic cube", "bent");
      model_node(onnx, "Add", "x bent", "inner");
      model_node(onnx, "Mul", "inner tanh", "scaled");
      model_node(onnx, "Tanh", "scaled", "bounded");
      model_node(onnx, "Add", "one bounded", "gate");
      model_node(onnx, "Mul", "half x", "halved");
      model_node(onnx, "Mul", "halved gate", "y");
    }
    model_output(onnx, "y");
    pare_model *model = with_passes(path, onnx, (uint32_t)i);
    ck_assert_msg(nodes_of(model, results[i]) == 1, "form %zu has no %s", i, results[i]);
    ck_assert_uint_eq(model->network->graph.nnodes, 1);
    pare_model_close(model);
  }
}
END_TEST

START_TEST(batch_norm_goes_into_the_convolution) {
  enum { CHANNELS = 4 };
  pare__onnx_model *onnx = model_new(15);
  float *numbers = random_floats(CHANNELS * 27 + 4 * CHANNELS, 3), variance[CHANNELS] = {0.5F, 1, 2, 3};
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 3, 6, 5});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 4, (const int64_t[]){CHANNELS, 3, 3, 3}, numbers);
  const char *const names[] = {"scale", "shift", "mean"};
  for (size_t i = 0; i < PARE__COUNT(names); i++)
    model_constant(onnx, names[i], PARE__ONNX_FLOAT, 1, (const int64_t[]){CHANNELS},
                   numbers + (size_t)CHANNELS * (27 + i));
  model_constant(onnx, "variance", PARE__ONNX_FLOAT, 1, (const int64_t[]){CHANNELS}, variance);
  free(numbers);
  model_node(onnx, "Conv", "x w", "c");
  model_node(onnx, "BatchNormalization", "c scale shift mean variance", "n");
  model_node(onnx, "Relu", "n", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 2);
  ck_assert_uint_eq(nodes_of(model, "BatchNormalization"), 0);
  ck_assert_uint_eq(nodes_of(model, "Relu"), 0);
  pare_model_close(model);
}
END_TEST

/* What looks like a pattern and is none. */
START_TEST(quotients_of_integers_are_no_gates) {
  static const int32_t numbers[] = {0, 3, 6}, data[] = {-5, -3, -1, 0, 2, 3, 9};
  pare__onnx_model *onnx = model_new(13);
  model_input(onnx, "x", PARE__ONNX_INT32, 1, (const int64_t[]){7});
  model_constant(onnx, "none", PARE__ONNX_INT32, 0, NULL, &numbers[0]);
  model_constant(onnx, "three", PARE__ONNX_INT32, 0, NULL, &numbers[1]);
  model_constant(onnx, "six", PARE__ONNX_INT32, 0, NULL, &numbers[2]);
  model_node(onnx, "Add", "x three", "sum");
  model_node(onnx, "Clip", "sum none six", "gate");
  model_node(onnx, "Div", "gate six", "y");
  model_output(onnx, "y");
  model_write(onnx, path);
  pare_model *model;
  pare_tensor *x = tensor_of(PARE_I32, 1, (const int64_t[]){7}, data), *out;
  OK(pare_model_open(context, path, NULL, &model));
  OK(pare_model_run(model, &x, NULL, &out));
  int32_t found[7];
  OK(pare_tensor_read(out, found, sizeof found));
  for (int i = 0; i < 7; i++) ck_assert_int_eq(found[i], data[i] >= 3);
  pare_tensor_close(out);
  pare_tensor_close(x);
  pare_model_close(model);
}
END_TEST

START_TEST(what_constants_make_is_computed_in_the_run_if_folding_is_left_out) {
  pare__onnx_model *onnx = model_new(13);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){3});
  model_number(onnx, "half", 0.5F);
  model_node(onnx, "Add", "half half", "one");
  model_node(onnx, "Mul", "x one", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 1);
  ck_assert_uint_eq(model->network->graph.nnodes, 1);
  pare_model_close(model);
  OK(pare_model_open(context, path, &(pare_model_options){.without = "fold"}, &model));
  ck_assert_uint_eq(model->network->graph.nnodes, 2);
  pare_model_close(model);
}
END_TEST

/* ---- files ---- */

static pare__onnx_model *one_input(int64_t opset) {
  pare__onnx_model *onnx = model_new(opset);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){1});
  return onnx;
}

static void refused(pare__onnx_model *onnx, pare_status status, const char *text) {
  pare_model *model;
  model_write(onnx, path);
  ck_assert_int_eq(pare_model_open(context, path, NULL, &model), status);
  ck_assert_msg(strstr(pare_message(), text) != NULL, "'%s' lacks '%s'", pare_message(), text);
}

/* What passes make is for them alone, and what they tell kernels. */
START_TEST(files_have_no_operators_and_attributes_of_passes) {
  pare__onnx_model *onnx = one_input(17);
  model_node(onnx, "ChannelsBlock", "x", "y")->domain = "pare";
  model_output(onnx, "y");
  refused(onnx, PARE_ERR_UNSUPPORTED, "ChannelsBlock");

  onnx = one_input(17);
  node_int(onnx, model_node(onnx, "Relu", "x", "y"), "blocked", 1);
  model_output(onnx, "y");
  refused(onnx, PARE_ERR_FORMAT, "'blocked'");
}
END_TEST

static void keep_line(pare_log_level level, const char *line, void *user) {
  (void)level;
  snprintf(user, 200, "%s", line);
}

START_TEST(a_version_that_is_newer_than_the_operators_is_said) {
  char said[200] = "";
  pare__onnx_model *onnx = one_input(999);
  model_node(onnx, "Relu", "x", "y");
  model_output(onnx, "y");
  pare_log_set(keep_line, said, PARE_LOG_WARN);
  pare_model *model;
  model_write(onnx, path);
  OK(pare_model_open(context, path, NULL, &model));
  pare_model_close(model);
  pare_log_set(NULL, NULL, PARE_LOG_WARN);
  ck_assert_msg(strstr(said, "opset 999") != NULL, "'%s'", said);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  TCase *tests = tcase_create("passes");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, attention_as_it_is_written_out_becomes_one_node, 0, 48);
  tcase_add_loop_test(tests, a_sum_and_its_norm_become_one_node, 0, 12);
  tcase_add_test(tests, a_scale_goes_through_views_into_the_product);
  tcase_add_test(tests, a_cast_to_the_type_that_is_there_goes);
  tcase_add_loop_test(tests, softmax_as_it_is_written_out_becomes_one_node, 0, 2);
  tcase_add_loop_test(tests, a_constant_of_higher_rank_gives_the_result_its_rank, 0, 8);
  tcase_add_test(tests, transposes_that_undo_each_other_go);
  tcase_add_loop_test(tests, random_turns_keep_their_results, 0, 30);
  tcase_add_test(tests, what_is_computed_twice_is_computed_once);
  tcase_add_test(tests, layer_norm_as_it_is_written_out_becomes_one_node);
  tcase_add_test(tests, gates_as_they_are_written_out_become_one_node);
  tcase_add_test(tests, batch_norm_goes_into_the_convolution);
  tcase_add_test(tests, quotients_of_integers_are_no_gates);
  tcase_add_test(tests, what_constants_make_is_computed_in_the_run_if_folding_is_left_out);
  tcase_add_test(tests, files_have_no_operators_and_attributes_of_passes);
  tcase_add_test(tests, a_version_that_is_newer_than_the_operators_is_said);
  return remove_folder(folder, run_tests("passes", tests));
}
