/* What decoders of com.microsoft carry from token to token: keys in buffers that have room for more, states; masks of
 * ends and beginnings: against formulas in double precision. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-decoder-XXXXXX";

enum { BATCH = 2, HEADS = 3, SIZE = 4, WIDE = HEADS * SIZE, BEFORE = 3, ROOM = 6, KEYS = BEFORE + 1 };

/* y [BATCH, 1, WIDE] = softmax(q k / root(SIZE) + added[b][key]) v; keys and values [BATCH, HEADS, length, SIZE]. */
static void attend(const float *q, const float *k, const float *v, int length, int keys, const double *added,
                   double *y) {
  for (int row = 0; row < BATCH * HEADS; row++) {
    double weight[ROOM], sum = 0;
    for (int i = 0; i < keys; i++) {
      weight[i] = added ? added[row / HEADS * keys + i] : 0;
      for (int e = 0; e < SIZE; e++)
        weight[i] += (double)q[row * SIZE + e] * (double)k[(row * length + i) * SIZE + e] / sqrt(SIZE);
      sum += weight[i] = exp(weight[i]);
    }
    for (int e = 0; e < SIZE; e++) {
      y[row * SIZE + e] = 0;
      for (int i = 0; i < keys; i++) y[row * SIZE + e] += weight[i] / sum * (double)v[(row * length + i) * SIZE + e];
    }
  }
}

/* The new token's query, key and value, plus a bias, and a past whose buffer has room: the present is the past with the
 * new one in its place. _i: bit 0 all three in one input; bit 1 a mask and a bias of the scores; 4: MultiHeadAttention;
 * 5: the present is looked at. */
START_TEST(new_keys_are_written_behind_those_that_count) {
  const bool plain = _i == 4, packed = _i < 4 && _i % 2, masked = _i < 4 && _i / 2, looks = _i == 5;
  const int64_t dim[3] = {BATCH, 1, packed ? 3 * WIDE : WIDE}, past_dim[4] = {BATCH, HEADS, ROOM, SIZE};
  const int32_t before = BEFORE, mask[BATCH * KEYS] = {1, 0, 1, 1, 1, 1, 1, 1};
  float *all = random_floats(BATCH * 3 * WIDE, 1), *bias = random_floats(3 * WIDE, 2),
        *past[2] = {random_floats(BATCH * HEADS * ROOM * SIZE, 3), random_floats(BATCH * HEADS * ROOM * SIZE, 4)},
        *scores = random_floats(KEYS, 5), part[3][BATCH * WIDE];
  for (int p = 0; p < 3; p++)
    for (int i = 0; i < BATCH * WIDE; i++) part[p][i] = all[(i / WIDE * 3 + p) * WIDE + i % WIDE];
  one_node one = one_node_contributed(plain ? "MultiHeadAttention" : "DecoderMaskedMultiHeadAttention",
                                      plain    ? "q k v b - - K V n"
                                      : packed ? masked ? "q - - m a K V n - - b" : "q - - - - K V n - - b"
                                      : masked ? "q k v m a K V n - - b"
                                               : "q k v - - K V n - - b",
                                      "y k2 v2");
  one_node_input(&one, "q", PARE__ONNX_FLOAT, 3, dim, packed ? all : part[0]);
  if (!packed) one_node_input(&one, "k", PARE__ONNX_FLOAT, 3, dim, part[1]);
  if (!packed) one_node_input(&one, "v", PARE__ONNX_FLOAT, 3, dim, part[2]);
  one_node_input(&one, "K", PARE__ONNX_FLOAT, 4, past_dim, past[0]);
  one_node_input(&one, "V", PARE__ONNX_FLOAT, 4, past_dim, past[1]);
  if (!plain) node_int(one.onnx, one.node, "past_present_share_buffer", 1);
  if (packed)
    one_node_input(&one, "n", PARE__ONNX_INT32, 1, (const int64_t[]){1}, &before);
  else
    model_constant(one.onnx, "n", PARE__ONNX_INT32, 1, (const int64_t[]){1}, &before);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){3 * WIDE}, bias);
  if (masked) {
    model_constant(one.onnx, "m", PARE__ONNX_INT32, 2, (const int64_t[]){BATCH, KEYS}, mask);
    model_constant(one.onnx, "a", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, 1, 1, KEYS}, scores);
  }
  node_int(one.onnx, one.node, "num_heads", HEADS);
  double added[BATCH * KEYS], y[BATCH * WIDE], present[BATCH * HEADS * ROOM * SIZE];
  for (int i = 0; i < BATCH * KEYS; i++) added[i] = (double)scores[i % KEYS] + (mask[i] ? 0 : -10000);
  for (int p = 0; p < 3; p++)
    for (int i = 0; i < BATCH * WIDE; i++) {
      part[p][i] += bias[p * WIDE + i % WIDE];
      if (p > 0) past[p - 1][(i / SIZE * ROOM + BEFORE) * SIZE + i % SIZE] = part[p][i];
    }
  for (int i = 0; i < BATCH * HEADS * ROOM * SIZE; i++) present[i] = (double)past[0][i];
  attend(part[0], past[0], past[1], ROOM, KEYS, masked ? added : NULL, y);
  one_node_expect(folder, &one, looks ? "k2" : "y", looks ? BATCH * HEADS * ROOM * SIZE : BATCH * WIDE,
                  looks ? present : y);
  FREE_ALL(all, bias, past[0], past[1], scores);
}
END_TEST

START_TEST(buffers_without_room_and_beams_are_refused) {
  static const float zeros[BATCH * HEADS * ROOM * SIZE] = {0};
  const int64_t dim[3] = {BATCH, 1, WIDE}, past_dim[4] = {BATCH, HEADS, ROOM, SIZE};
  const int32_t before[2] = {ROOM, BEFORE}, beams[BATCH * ROOM] = {0};
  for (int i = 0; i < 2; i++) {
    one_node one = one_node_contributed("MultiHeadAttention", i ? "q k v - - - K V n c" : "q k v - - - K V n", "y");
    for (int p = 0; p < 3; p++)
      one_node_input(&one, p == 0 ? "q" : p == 1 ? "k" : "v", PARE__ONNX_FLOAT, 3, dim, zeros);
    one_node_input(&one, "K", PARE__ONNX_FLOAT, 4, past_dim, zeros);
    one_node_input(&one, "V", PARE__ONNX_FLOAT, 4, past_dim, zeros);
    model_constant(one.onnx, "n", PARE__ONNX_INT32, 1, (const int64_t[]){1}, &before[i]);
    if (i) model_constant(one.onnx, "c", PARE__ONNX_INT32, 3, (const int64_t[]){BATCH, 1, ROOM}, beams);
    node_int(one.onnx, one.node, "num_heads", HEADS);
    one_node_refused(folder, &one, i ? PARE_ERR_UNSUPPORTED : PARE_ERR_SHAPE,
                     i ? "cache_indirection" : "no room for 1 keys after 6");
  }
}
END_TEST

/* A mask [2 batch]: where the keys of each sequence end, then where they begin. */
START_TEST(masks_of_ends_and_beginnings) {
  enum { LENGTH = 4, IN = WIDE };
  float *x = random_floats(BATCH * LENGTH * IN, 1), *w = random_floats(IN * 3 * WIDE, 2);
  const int32_t mask[2 * BATCH] = {4, 3, 1, 0};
  one_node one = one_node_contributed("Attention", "x w - m", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, LENGTH, IN}, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){IN, 3 * WIDE}, w);
  one_node_input(&one, "m", PARE__ONNX_INT32, 1, (const int64_t[]){2 * BATCH}, mask);
  node_int(one.onnx, one.node, "num_heads", HEADS);
  double expected[BATCH * LENGTH * WIDE], added[BATCH * LENGTH], y[BATCH * WIDE];
  float part[3][BATCH * HEADS * LENGTH * SIZE], query[BATCH * WIDE];
  for (int p = 0; p < 3; p++)
    for (int i = 0; i < BATCH * HEADS * LENGTH * SIZE; i++) {
      const int e = i % SIZE, at = i / SIZE % LENGTH, head = i / SIZE / LENGTH % HEADS, b = i / SIZE / LENGTH / HEADS;
      double sum = 0;
      for (int k = 0; k < IN; k++)
        sum += (double)x[(b * LENGTH + at) * IN + k] * (double)w[k * 3 * WIDE + p * WIDE + head * SIZE + e];
      part[p][i] = (float)sum;
    }
  for (int i = 0; i < BATCH * LENGTH; i++)
    added[i] = i % LENGTH < mask[i / LENGTH] && i % LENGTH >= mask[BATCH + i / LENGTH] ? 0 : -10000;
  for (int at = 0; at < LENGTH; at++) {
    for (int i = 0; i < BATCH * WIDE; i++) query[i] = part[0][(i / SIZE * LENGTH + at) * SIZE + i % SIZE];
    attend(query, part[1], part[2], LENGTH, LENGTH, added, y);
    for (int i = 0; i < BATCH * WIDE; i++) expected[(i / WIDE * LENGTH + at) * WIDE + i % WIDE] = y[i];
  }
  one_node_expect(folder, &one, "y", BATCH * LENGTH * WIDE, expected);
  FREE_ALL(x, w);
}
END_TEST

/* ---- states ---- */

/* y[t] = silu(bias + sum over j of w[j] x[t - (k - 1 - j) dilation]), where the past goes before x; _i: the present,
 * its last elements, is looked at. */
START_TEST(causal_convolutions_reach_back_into_their_past) {
  enum { CHANNELS = 3, LENGTH = 5, TAPS = 3, DILATION = 2, PAST = (TAPS - 1) * DILATION, ALL = PAST + LENGTH };
  enum { ROWS = BATCH * CHANNELS };
  float *x = random_floats(ROWS * LENGTH, 1), *w = random_floats(CHANNELS * TAPS, 2),
        *bias = random_floats(CHANNELS, 3), *past = random_floats(ROWS * PAST, 4);
  one_node one = one_node_contributed("CausalConvWithState", "x w b p", "y n");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, CHANNELS, LENGTH}, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 3, (const int64_t[]){CHANNELS, 1, TAPS}, w);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){CHANNELS}, bias);
  one_node_input(&one, "p", PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, CHANNELS, PAST}, past);
  one_node_text(&one, "activation", "silu");
  node_int(one.onnx, one.node, "dilation", DILATION);
  double y[ROWS * LENGTH], present[ROWS * PAST];
  for (int row = 0; row < ROWS; row++) {
    double all[ALL];
    for (int i = 0; i < ALL; i++) all[i] = (double)(i < PAST ? past[row * PAST + i] : x[row * LENGTH + i - PAST]);
    for (int i = 0; i < PAST; i++) present[row * PAST + i] = all[LENGTH + i];
    for (int t = 0; t < LENGTH; t++) {
      double sum = (double)bias[row % CHANNELS];
      for (int j = 0; j < TAPS; j++) sum += (double)w[row % CHANNELS * TAPS + j] * all[t + j * DILATION];
      y[row * LENGTH + t] = sum / (1 + exp(-sum));
    }
  }
  one_node_expect(folder, &one, _i ? "n" : "y", _i ? ROWS * PAST : ROWS * LENGTH, _i ? present : y);
  FREE_ALL(x, w, bias, past);
}
END_TEST

static void add_linear(one_node *one, const float *const *part, int64_t window) {
  static const char *const name[4] = {"q", "k", "v", "g"};
  for (int i = 0; i < 4; i++)
    one_node_input(one, name[i], PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, KEYS, WIDE}, part[i]);
  one_node_text(one, "update_rule", "gated");
  node_int(one->onnx, one->node, "q_num_heads", HEADS);
  node_int(one->onnx, one->node, "kv_num_heads", HEADS);
  if (window) node_int(one->onnx, one->node, "state_window", window);
}

/* Of com.microsoft and of ai.onnx; a window of states is refused. */
START_TEST(linear_attention_has_a_namesake) {
  float *part[4];
  for (uint32_t i = 0; i < 4; i++) part[i] = random_floats(BATCH * KEYS * WIDE, 1 + i);
  one_node plain = one_node_begin(27, "LinearAttention", "q k v - g", "y");
  add_linear(&plain, (const float *const *)part, 0);
  pare_tensor *out;
  OK(one_node_run(folder, &plain, "y", false, &out));
  float *values = floats_of(out);
  double expected[BATCH * KEYS * WIDE];
  for (int i = 0; i < BATCH * KEYS * WIDE; i++) expected[i] = (double)values[i];
  pare_tensor_close(out);
  one_node one = one_node_contributed("LinearAttention", "q k v - g", "y");
  add_linear(&one, (const float *const *)part, 0);
  one_node_expect(folder, &one, "y", BATCH * KEYS * WIDE, expected);
  one = one_node_contributed("LinearAttention", "q k v - g", "y");
  add_linear(&one, (const float *const *)part, 2);
  one_node_refused(folder, &one, PARE_ERR_UNSUPPORTED, "state_window is 2");
  FREE_ALL(values, part[0], part[1], part[2], part[3]);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("attention of decoders");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, new_keys_are_written_behind_those_that_count, 0, 6);
  tcase_add_test(tests, buffers_without_room_and_beams_are_refused);
  tcase_add_test(tests, masks_of_ends_and_beginnings);
  tcase_add_loop_test(tests, causal_convolutions_reach_back_into_their_past, 0, 2);
  tcase_add_test(tests, linear_attention_has_a_namesake);
  return remove_folder(folder, run_tests("attention of decoders", tests));
}
