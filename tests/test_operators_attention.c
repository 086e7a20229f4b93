/* GroupQueryAttention against its formula in double precision, and a mask that hides all.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-attention-XXXXXX";

enum { HEADS = 4, KV = 2, SIZE = 8, MOST = 4096, ROWS = 16 };

typedef struct sizes {
  int64_t batch, queries, past, total; /* total: keys, those of the longest element */
  bool packed, rotary, interleaved;
  double softcap;
  int32_t last[2]; /* the last key that counts, of each element */
  int window;      /* keys that a query sees, the last ones; 0: all */
  bool smooth;     /* a sink takes its part of the weights */
} sizes;
static const sizes cases[] = {
    {1, 5, 0, 5, false, false, false, 0, {4}, 0, false},    {1, 3, 0, 3, true, true, false, 0, {2}, 0, false},
    {1, 2, 3, 5, true, true, true, 0, {4}, 0, false},       {2, 1, 6, 4, false, true, false, 5, {3, 2}, 0, false},
    {2, 1, 3, 4, false, false, false, 0, {3, 1}, 0, false}, {2, 4, 0, 4, true, true, false, 0, {3, 1}, 0, false},
    {1, 5, 2, 7, false, false, false, 0, {6}, 3, false},    {1, 4, 0, 4, true, false, false, 0, {3}, 2, true},
};

/* Element (b, length, column) of a packed or single input. */
static double element(const sizes *c, const float *data, int64_t columns, int64_t b, int64_t i, int64_t column) {
  return (double)data[(b * c->queries + i) * columns + column];
}

static void turn(const sizes *c, const float *cosine, const float *sine, int64_t position, double *head) {
  if (!c->rotary) return;
  double before[SIZE];
  memcpy(before, head, sizeof before);
  for (int p = 0; p < SIZE / 2; p++) {
    const int a = c->interleaved ? 2 * p : p, b = c->interleaved ? 2 * p + 1 : p + SIZE / 2;
    const double co = (double)cosine[position * SIZE / 2 + p], si = (double)sine[position * SIZE / 2 + p];
    head[a] = co * before[a] - si * before[b];
    head[b] = si * before[a] + co * before[b];
  }
}

START_TEST(grouped_attention_follows_its_formula) {
  const sizes *c = &cases[_i];
  const int64_t most = c->past > c->total ? c->past : c->total, all = HEADS + 2 * KV;
  const int64_t q_columns = c->packed ? all * SIZE : HEADS * SIZE, kv_columns = c->packed ? q_columns : KV * SIZE;
  const int64_t q_dim[3] = {c->batch, c->queries, q_columns}, kv_dim[3] = {c->batch, c->queries, kv_columns};
  const int64_t past_dim[4] = {c->batch, KV, c->past, SIZE}, cache_dim[2] = {ROWS, SIZE / 2};
  float *q = random_floats(MOST, 1), *k = random_floats(MOST, 2), *v = random_floats(MOST, 3);
  float *past[2] = {random_floats(MOST, 4), random_floats(MOST, 5)}, *cosine = random_floats(MOST, 6),
        *sine = random_floats(MOST, 7);
  pare__onnx_model *onnx = model_new(17);
  pare_tensor *in[5] = {tensor_of(PARE_F32, 3, q_dim, q)};
  size_t nin = 1;
  model_input(onnx, "q", PARE__ONNX_FLOAT, 3, q_dim);
  if (!c->packed) {
    model_input(onnx, "k", PARE__ONNX_FLOAT, 3, kv_dim);
    model_input(onnx, "v", PARE__ONNX_FLOAT, 3, kv_dim);
    in[nin++] = tensor_of(PARE_F32, 3, kv_dim, k);
    in[nin++] = tensor_of(PARE_F32, 3, kv_dim, v);
  }
  if (c->past > 0) {
    model_input(onnx, "pk", PARE__ONNX_FLOAT, 4, past_dim);
    model_input(onnx, "pv", PARE__ONNX_FLOAT, 4, past_dim);
    for (int i = 0; i < 2; i++) in[nin++] = tensor_of(PARE_F32, 4, past_dim, past[i]);
  }
  const int32_t total = (int32_t)c->total;
  model_constant(onnx, "last", PARE__ONNX_INT32, 1, &c->batch, c->last);
  model_constant(onnx, "total", PARE__ONNX_INT32, 0, NULL, &total);
  model_constant(onnx, "cos", PARE__ONNX_FLOAT, 2, cache_dim, cosine);
  model_constant(onnx, "sin", PARE__ONNX_FLOAT, 2, cache_dim, sine);
  char names[64];
  snprintf(names, sizeof names, "q %s %s last total %s", c->packed ? "- -" : "k v", c->past > 0 ? "pk pv" : "- -",
           c->rotary ? "cos sin" : "- -");
  pare__onnx_node *node = model_node(onnx, "GroupQueryAttention", names, "y present.key present.value");
  node->domain = "com.microsoft";
  node_int(onnx, node, "num_heads", HEADS);
  node_int(onnx, node, "kv_num_heads", KV);
  node_int(onnx, node, "do_rotary", c->rotary);
  node_int(onnx, node, "rotary_interleaved", c->interleaved);
  node_float(onnx, node, "softcap", (float)c->softcap);
  if (c->window > 0) node_int(onnx, node, "local_window_size", c->window);
  node_int(onnx, node, "smooth_softmax", c->smooth);
  pare__onnx_opset *opset;
  OK(PARE__ONNX_APPEND(onnx->source, &onnx->opset_import, &opset));
  *opset = (pare__onnx_opset){.domain = "com.microsoft", .version = 1};
  model_output(onnx, "y");
  model_output(onnx, "present.key");
  model_output(onnx, "present.value");
  char path[64];
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  model_write(onnx, path);
  pare_model *model;
  pare_tensor *out[3];
  OK(pare_model_open(context, path, NULL, &model));
  OK(pare_model_run(model, in, NULL, out));
  float *found[3];
  for (int i = 0; i < 3; i++) found[i] = floats_of(out[i]);
  ck_assert_int_eq(pare_tensor_shape(out[1])[2], most);

  static double keys[ROWS][SIZE], values[ROWS][SIZE];
  for (int64_t b = 0; b < c->batch; b++) {
    const int64_t first = c->last[b] + 1 > c->queries ? c->last[b] + 1 - c->queries : 0;
    for (int64_t h = 0; h < HEADS; h++) {
      const int64_t g = h / (HEADS / KV), k_from = c->packed ? (HEADS + g) * SIZE : g * SIZE;
      const int64_t v_from = c->packed ? (HEADS + KV + g) * SIZE : g * SIZE;
      for (int64_t j = 0; j < first + c->queries; j++) {
        for (int d = 0; d < SIZE; d++) {
          const size_t at = (size_t)(((b * KV + g) * c->past + j) * SIZE + d);
          keys[j][d] =
              j < first ? (double)past[0][at] : element(c, c->packed ? q : k, kv_columns, b, j - first, k_from + d);
          values[j][d] =
              j < first ? (double)past[1][at] : element(c, c->packed ? q : v, kv_columns, b, j - first, v_from + d);
        }
        if (j >= first) turn(c, cosine, sine, j, keys[j]);
        for (int d = 0; d < SIZE; d++) {
          const size_t at = (size_t)(((b * KV + g) * most + j) * SIZE + d);
          ck_assert_double_le(fabs((double)found[1][at] - keys[j][d]), 1e-5);
          ck_assert_double_le(fabs((double)found[2][at] - values[j][d]), 1e-5);
        }
      }
      for (int64_t i = 0; i < c->queries; i++) {
        double query[SIZE], score[ROWS], sum = c->smooth ? 1 : 0, expected[SIZE] = {0};
        const int64_t start = c->window > 0 && first + i >= c->window ? first + i + 1 - c->window : 0;
        for (int d = 0; d < SIZE; d++) query[d] = element(c, q, q_columns, b, i, h * SIZE + d);
        turn(c, cosine, sine, first + i, query);
        for (int64_t j = start; j <= first + i; j++) {
          score[j] = 0;
          for (int d = 0; d < SIZE; d++) score[j] += query[d] * keys[j][d] / sqrt(SIZE);
          if (c->softcap > 0) score[j] = c->softcap * tanh(score[j] / c->softcap);
          sum += exp(score[j]);
        }
        for (int64_t j = start; j <= first + i; j++)
          for (int d = 0; d < SIZE; d++) expected[d] += exp(score[j]) / sum * values[j][d];
        for (int d = 0; d < SIZE; d++) {
          const double y = (double)found[0][((b * c->queries + i) * HEADS + h) * SIZE + d];
          ck_assert_msg(fabs(y - expected[d]) <= 1e-5, "batch %d, query %d, head %d: %g, expected %g", (int)b, (int)i,
                        (int)h, y, expected[d]);
        }
      }
    }
  }
  for (int i = 0; i < 3; i++) {
    free(found[i]);
    pare_tensor_close(out[i]);
  }
  for (size_t i = 0; i < nin; i++) pare_tensor_close(in[i]);
  pare_model_close(model);
  float *const data[] = {q, k, v, past[0], past[1], cosine, sine};
  for (size_t i = 0; i < PARE__COUNT(data); i++) free(data[i]);
}
END_TEST

START_TEST(a_query_that_attends_to_nothing_gets_zeros) {
  enum { QUERIES = 2, KEYS = 3, WIDTH = 2 };
  const int64_t q_dim[4] = {1, 1, QUERIES, WIDTH}, kv_dim[4] = {1, 1, KEYS, WIDTH}, mask_dim[2] = {QUERIES, KEYS};
  const bool mask[QUERIES * KEYS] = {false, false, false, false, true, false};
  float *q = random_floats(QUERIES * WIDTH, 1), *k = random_floats(KEYS * WIDTH, 2),
        *v = random_floats(KEYS * WIDTH, 3);
  pare__onnx_model *onnx = model_new(23);
  model_input(onnx, "q", PARE__ONNX_FLOAT, 4, q_dim);
  model_input(onnx, "k", PARE__ONNX_FLOAT, 4, kv_dim);
  model_input(onnx, "v", PARE__ONNX_FLOAT, 4, kv_dim);
  model_input(onnx, "m", PARE__ONNX_BOOL, 2, mask_dim);
  model_node(onnx, "Attention", "q k v m", "y");
  pare_tensor *in[4] = {tensor_of(PARE_F32, 4, q_dim, q), tensor_of(PARE_F32, 4, kv_dim, k),
                        tensor_of(PARE_F32, 4, kv_dim, v), tensor_of(PARE_BOOL, 2, mask_dim, mask)};
  pare_tensor *y = model_run(folder, onnx, in);
  float *found = floats_of(y);
  for (int s = 0; s < WIDTH; s++) {
    ck_assert(found[s] == 0);
    ck_assert(fabs((double)found[WIDTH + s] - (double)v[WIDTH + s]) < 1e-5);
  }
  pare_tensor_close(y);
  for (size_t i = 0; i < PARE__COUNT(in); i++) pare_tensor_close(in[i]);
  float *const data[] = {q, k, v, found};
  for (size_t i = 0; i < PARE__COUNT(data); i++) free(data[i]);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("attention");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, grouped_attention_follows_its_formula, 0, (int)PARE__COUNT(cases));
  tcase_add_test(tests, a_query_that_attends_to_nothing_gets_zeros);
  return remove_folder(folder, run_tests("attention", tests));
}
