/* LinearAttention, DeformConv and MaxRoiPool against their formulas in double precision; recurrent cells in pieces.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"
#include "tensor/context.h"

static char folder[] = "/tmp/pare-test-recurrence-XXXXXX";

static pare_tensor *input_of(pare__onnx_model *onnx, const char *name, int rank, const int64_t *dim,
                             const float *data) {
  model_input(onnx, name, PARE__ONNX_FLOAT, rank, dim);
  return tensor_of(PARE_F32, rank, dim, data);
}

/* Runs and closes the model and its inputs. */
static float *run_and_close(pare__onnx_model *onnx, pare_tensor **in, size_t nin) {
  pare_tensor *out = model_run(folder, onnx, in);
  float *found = floats_of(out);
  pare_tensor_close(out);
  for (size_t i = 0; i < nin; i++) pare_tensor_close(in[i]);
  return found;
}

/* ---- LinearAttention ---- */

enum { BATCH = 2, TOKENS = 3, HEADS = 4, KV = 2, SIZE = 3, WIDTH = 5 };

static const struct {
  const char *rule;
  bool gated, delta;
} rules[] = {{"linear", false, false}, {"gated", true, false}, {"delta", false, true}, {"gated_delta", true, true}};

/* Element d of head h of token t. */
static double part(const float *data, int heads, int size, int b, int t, int h, int d) {
  return (double)data[((b * TOKENS + t) * heads + h) * size + d];
}

START_TEST(linear_attention_follows_its_recurrence) {
  const int64_t q_dim[3] = {BATCH, TOKENS, HEADS * SIZE}, k_dim[3] = {BATCH, TOKENS, KV * SIZE},
                v_dim[3] = {BATCH, TOKENS, KV * WIDTH}, past_dim[4] = {BATCH, KV, SIZE, WIDTH},
                beta_dim[3] = {BATCH, TOKENS, KV};
  float *q = random_floats(128, 1), *k = random_floats(128, 2), *v = random_floats(128, 3),
        *past = random_floats(128, 4), *decay = random_floats(128, 5), *beta = random_floats(128, 6);
  pare__onnx_model *onnx = model_new(27);
  pare_tensor *in[6] = {input_of(onnx, "q", 3, q_dim, q),         input_of(onnx, "k", 3, k_dim, k),
                        input_of(onnx, "v", 3, v_dim, v),         input_of(onnx, "past", 4, past_dim, past),
                        input_of(onnx, "decay", 3, k_dim, decay), input_of(onnx, "beta", 3, beta_dim, beta)};
  pare__onnx_node *node = model_node(onnx, "LinearAttention", "q k v past decay beta", "y");
  node_int(onnx, node, "q_num_heads", HEADS);
  node_int(onnx, node, "kv_num_heads", KV);
  node_attribute(onnx, node, "update_rule", PARE__ONNX_ATTRIBUTE_STRING)->s =
      (pare__onnx_bytes){rules[_i].rule, strlen(rules[_i].rule)};
  float *found = run_and_close(onnx, in, 6);
  for (int b = 0; b < BATCH; b++)
    for (int h = 0; h < HEADS; h++) {
      const int g = h / (HEADS / KV);
      double state[SIZE][WIDTH];
      for (int i = 0; i < SIZE * WIDTH; i++)
        state[i / WIDTH][i % WIDTH] = (double)past[(b * KV + g) * SIZE * WIDTH + i];
      for (int t = 0; t < TOKENS; t++) {
        double update[WIDTH];
        for (int j = 0; j < WIDTH; j++) {
          double read = 0;
          for (int i = 0; i < SIZE; i++) {
            if (rules[_i].gated) state[i][j] *= exp(part(decay, KV, SIZE, b, t, g, i));
            read += part(k, KV, SIZE, b, t, g, i) * state[i][j];
          }
          update[j] = part(v, KV, WIDTH, b, t, g, j);
          if (rules[_i].delta) update[j] = (update[j] - read) * part(beta, KV, 1, b, t, g, 0);
        }
        for (int j = 0; j < WIDTH; j++) {
          double y = 0;
          for (int i = 0; i < SIZE; i++) {
            state[i][j] += part(k, KV, SIZE, b, t, g, i) * update[j];
            y += part(q, HEADS, SIZE, b, t, h, i) * state[i][j] / sqrt(SIZE);
          }
          ck_assert_msg(fabs(part(found, HEADS, WIDTH, b, t, h, j) - y) < 1e-5, "%s: token %d, head %d: expected %g",
                        rules[_i].rule, t, h, y);
        }
      }
    }
  float *const data[] = {q, k, v, past, decay, beta, found};
  for (size_t i = 0; i < PARE__COUNT(data); i++) free(data[i]);
}
END_TEST

/* ---- DeformConv ---- */

enum { CHANNELS = 4, OUTPUTS = 6, GROUPS = 2, APART = 2, HEIGHT = 7, LENGTH = 6, ROWS = 3, COLUMNS = 2 };
enum { STRIDE = 2, DILATION = 2, PAD = 1, Y = 3, X = 6, PLACES = ROWS * COLUMNS };

static double pixel(const float *plane, int row, int column) {
  return row < 0 || row >= HEIGHT || column < 0 || column >= LENGTH ? 0 : (double)plane[row * LENGTH + column];
}

static double between(const float *plane, double row, double column) {
  const int r = (int)floor(row), c = (int)floor(column);
  const double v = row - r, u = column - c;
  return (1 - v) * ((1 - u) * pixel(plane, r, c) + u * pixel(plane, r, c + 1)) +
         v * ((1 - u) * pixel(plane, r + 1, c) + u * pixel(plane, r + 1, c + 1));
}

START_TEST(deformed_convolution_follows_its_offsets) {
  const int64_t x_dim[4] = {BATCH, CHANNELS, HEIGHT, LENGTH}, w_dim[4] = {OUTPUTS, CHANNELS / GROUPS, ROWS, COLUMNS},
                offset_dim[4] = {BATCH, 2 * APART * PLACES, Y, X}, bias_dim[1] = {OUTPUTS},
                mask_dim[4] = {BATCH, APART * PLACES, Y, X};
  float *x = random_floats(count_of(4, x_dim), 1), *w = random_floats(count_of(4, w_dim), 2),
        *offset = random_floats(count_of(4, offset_dim), 3), *bias = random_floats(OUTPUTS, 4),
        *mask = random_floats(count_of(4, mask_dim), 5);
  for (int64_t i = 0; i < count_of(4, offset_dim); i++) offset[i] *= 3;
  pare__onnx_model *onnx = model_new(22);
  pare_tensor *in[5] = {input_of(onnx, "x", 4, x_dim, x), input_of(onnx, "w", 4, w_dim, w),
                        input_of(onnx, "offset", 4, offset_dim, offset), input_of(onnx, "bias", 1, bias_dim, bias),
                        input_of(onnx, "mask", 4, mask_dim, mask)};
  pare__onnx_node *node = model_node(onnx, "DeformConv", "x w offset bias mask", "y");
  node_int(onnx, node, "group", GROUPS);
  node_int(onnx, node, "offset_group", APART);
  node_ints(onnx, node, "strides", 2, (const int64_t[]){STRIDE, 1});
  node_ints(onnx, node, "dilations", 2, (const int64_t[]){DILATION, 1});
  node_ints(onnx, node, "pads", 4, (const int64_t[]){PAD, 0, PAD, 1});
  float *found = run_and_close(onnx, in, 5);
  for (int e = 0; e < BATCH * OUTPUTS * Y * X; e++) {
    const int at_x = e % X, at_y = e / X % Y, o = e / X / Y % OUTPUTS, n = e / X / Y / OUTPUTS;
    double sum = (double)bias[o];
    for (int i = 0; i < CHANNELS / GROUPS * PLACES; i++) {
      const int place = i % PLACES, within = i / PLACES;
      const int c = o / (OUTPUTS / GROUPS) * (CHANNELS / GROUPS) + within, apart = c / (CHANNELS / APART);
      const int which = (n * APART + apart) * PLACES + place, pixel_at = at_y * X + at_x;
      const double row = at_y * STRIDE - PAD + place / COLUMNS * DILATION +
                         (double)offset[(2 * which) * Y * X + pixel_at],
                   column = at_x + place % COLUMNS + (double)offset[(2 * which + 1) * Y * X + pixel_at];
      sum += (double)w[(o * (CHANNELS / GROUPS) + within) * PLACES + place] * (double)mask[which * Y * X + pixel_at] *
             between(x + (n * CHANNELS + c) * HEIGHT * LENGTH, row, column);
    }
    ck_assert_msg(fabs((double)found[e] - sum) < 1e-4, "element %d: %g, expected %g", e, (double)found[e], sum);
  }
  float *const data[] = {x, w, offset, bias, mask, found};
  for (size_t i = 0; i < PARE__COUNT(data); i++) free(data[i]);
}
END_TEST

/* ---- MaxRoiPool ---- */

START_TEST(pooled_regions_hold_their_largest_elements) {
  const int64_t x_dim[4] = {1, 1, 6, 6}, roi_dim[2] = {3, 5};
  /* all of x in four quarters; one element; a region outside */
  static const float rois[15] = {0, 0, 0, 5, 5, 0, 2, 3, 2, 3, 0, 9, 9, 12, 12};
  static const float expected[12] = {14, 17, 32, 35, 20, 20, 20, 20, 0, 0, 0, 0};
  float x[36];
  for (int i = 0; i < 36; i++) x[i] = (float)i;
  pare__onnx_model *onnx = model_new(7);
  pare_tensor *in[2] = {input_of(onnx, "x", 4, x_dim, x), input_of(onnx, "rois", 2, roi_dim, rois)};
  node_ints(onnx, model_node(onnx, "MaxRoiPool", "x rois", "y"), "pooled_shape", 2, (const int64_t[]){2, 2});
  float *found = run_and_close(onnx, in, 2);
  for (int i = 0; i < 12; i++)
    ck_assert_msg(found[i] == expected[i], "element %d: %g, expected %g", i, (double)found[i], (double)expected[i]);
  free(found);
}
END_TEST

/* ---- recurrent cells ---- */

/* Constant weights: all steps as one operation; else step by step. */
static const struct {
  const char *op_type;
  int gates;
  bool constant;
} sequences[] = {{"RNN", 1, true},  {"GRU", 3, true},  {"LSTM", 4, true},
                 {"RNN", 1, false}, {"GRU", 3, false}, {"LSTM", 4, false}};

START_TEST(sequences_in_pieces_have_the_same_bits) {
  enum { STEPS = 5, LINES = 7, INPUTS = 9, HIDDEN = 21, MOST_GATES = 4, PIECES = 3 };
  const int64_t gates = sequences[_i].gates * HIDDEN, x_dim[] = {STEPS, LINES, INPUTS}, w_dim[] = {1, gates, INPUTS},
                r_dim[] = {1, gates, HIDDEN}, b_dim[] = {1, 2 * gates}, lines = LINES, state_dim[] = {1, LINES, HIDDEN},
                p_dim[] = {1, 3 * HIDDEN};
  static const int32_t lengths[LINES] = {5, 1, 4, 0, 3, 5, 2};
  const bool lstm = sequences[_i].gates == 4;
  float *values = random_floats(MOST_GATES * HIDDEN * (HIDDEN + INPUTS), 1), *found[PIECES];
  for (int pieces = 1; pieces <= PIECES; pieces++) {
    one_node one = one_node_begin(17, sequences[_i].op_type, lstm ? "x w r b l h c p" : "x w r b l h", "y");
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, x_dim, values);
    if (sequences[_i].constant) {
      model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 3, w_dim, values + 1);
      model_constant(one.onnx, "r", PARE__ONNX_FLOAT, 3, r_dim, values + 2);
    } else {
      one_node_input(&one, "w", PARE__ONNX_FLOAT, 3, w_dim, values + 1);
      one_node_input(&one, "r", PARE__ONNX_FLOAT, 3, r_dim, values + 2);
    }
    one_node_input(&one, "b", PARE__ONNX_FLOAT, 2, b_dim, values + 3);
    one_node_input(&one, "l", PARE__ONNX_INT32, 1, &lines, lengths);
    one_node_input(&one, "h", PARE__ONNX_FLOAT, 3, state_dim, values + 4);
    if (lstm) {
      one_node_input(&one, "c", PARE__ONNX_FLOAT, 3, state_dim, values + 5);
      one_node_input(&one, "p", PARE__ONNX_FLOAT, 2, p_dim, values + 6);
    }
    node_int(one.onnx, one.node, "hidden_size", HIDDEN);
    pare_tensor *out;
    pare__context_split(context, pieces);
    OK(one_node_run(folder, &one, "y", true, &out));
    pare__context_split(context, 0);
    ck_assert_int_eq(pare_tensor_elements(out), STEPS * LINES * HIDDEN);
    found[pieces - 1] = floats_of(out);
    pare_tensor_close(out);
    ck_assert_mem_eq(found[pieces - 1], found[0], STEPS * LINES * HIDDEN * sizeof(float));
  }
  free(values);
  free_all(PIECES, found);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  tcase_add_unchecked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, linear_attention_follows_its_recurrence, 0, PARE__COUNT(rules));
  tcase_add_test(laws, deformed_convolution_follows_its_offsets);
  tcase_add_test(laws, pooled_regions_hold_their_largest_elements);
  tcase_add_loop_test(laws, sequences_in_pieces_have_the_same_bits, 0, (int)(sizeof sequences / sizeof *sequences));
  return remove_folder(folder, run_tests("operators_recurrence", laws));
}
