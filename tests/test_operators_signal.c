/* Fourier transforms: against their formula in double precision. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-signal-XXXXXX";

/* ---- DFT ---- */

static const struct {
  int64_t have, length; /* length 0: not given */
  bool complex_input, inverse, onesided;
} transforms[] = {
    {8, 0, false, false, false},   {7, 0, true, false, false},       {6, 9, false, false, true},
    {9, 5, true, true, false},     {5, 0, true, true, true},         {4, 7, true, true, true},
    {1, 0, false, false, true},    {1100, 1200, true, false, false}, {1500, 1200, true, true, false},
    {600, 1200, true, true, true}, {1030, 1030, false, false, true},
};

START_TEST(transforms_follow_their_formula) {
  enum { OUTER = 1, INNER = 2 };
  const int64_t have = transforms[_i].have;
  const bool inverse = transforms[_i].inverse, onesided = transforms[_i].onesided, to_real = inverse && onesided;
  const int parts = transforms[_i].complex_input ? 2 : 1, results = to_real ? 1 : 2;
  const int64_t length = transforms[_i].length ? transforms[_i].length : to_real ? 2 * (have - 1) : have;
  const int64_t outputs = onesided && !inverse ? length / 2 + 1 : length;
  const int64_t dim[4] = {OUTER, have, INNER, parts}, axis = 1;
  float *x = random_floats(OUTER * have * INNER * parts, 1);
  one_node one = one_node_begin(20, "DFT", transforms[_i].length ? "x n a" : "x - a", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, dim, x);
  if (transforms[_i].length) model_constant(one.onnx, "n", PARE__ONNX_INT64, 0, NULL, &length);
  model_constant(one.onnx, "a", PARE__ONNX_INT64, 0, NULL, &axis);
  node_int(one.onnx, one.node, "inverse", inverse);
  node_int(one.onnx, one.node, "onesided", onesided);
  double *y = malloc((size_t)(OUTER * outputs * INNER * results) * sizeof *y);
  ck_assert_ptr_nonnull(y);
  for (int64_t o = 0; o < OUTER; o++)
    for (int64_t i = 0; i < INNER; i++)
      for (int64_t k = 0; k < outputs; k++) {
        double sum[2] = {0, 0};
        for (int64_t n = 0; n < length; n++) {
          const bool mirrored = to_real && n > length / 2;
          const int64_t from = mirrored ? length - n : n;
          if (from >= have) continue;
          const float *at = x + ((o * have + from) * INNER + i) * parts;
          const double re = (double)at[0], im = parts == 2 ? (double)at[1] * (mirrored ? -1 : 1) : 0;
          const double angle = (inverse ? 2 : -2) * 3.14159265358979323846 * (double)(n * k) / (double)length;
          sum[0] += re * cos(angle) - im * sin(angle);
          sum[1] += re * sin(angle) + im * cos(angle);
        }
        for (int part = 0; part < results; part++)
          y[((o * outputs + k) * INNER + i) * results + part] = sum[part] / (inverse ? (double)length : 1);
      }
  one_node_expect(folder, &one, "y", OUTER * outputs * INNER * results, y);
  free(x);
  free(y);
}
END_TEST

/* ---- STFT ---- */

/* Frames of a real signal, which may lack the dimension of 1 for its one part; _i: bit 0 that it does, bit 1 that both
 * sides of the spectrum are wanted. */
START_TEST(frames_are_weighted_and_transformed) {
  enum { BATCH = 2, LENGTH = 21, FRAME = 8, STEP = 3, FRAMES = (LENGTH - FRAME) / STEP + 1 };
  const bool flat = _i % 2, both = _i / 2;
  const int bins = both ? FRAME : FRAME / 2 + 1;
  const int64_t step = STEP, frame = FRAME;
  float *x = random_floats(BATCH * LENGTH, 1), *window = random_floats(FRAME, 2);
  one_node one = one_node_begin(17, "STFT", "x s w n", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, flat ? 2 : 3, (const int64_t[]){BATCH, LENGTH, 1}, x);
  model_constant(one.onnx, "s", PARE__ONNX_INT64, 0, NULL, &step);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 1, (const int64_t[]){FRAME}, window);
  model_constant(one.onnx, "n", PARE__ONNX_INT64, 0, NULL, &frame);
  node_int(one.onnx, one.node, "onesided", !both);
  double y[BATCH * FRAMES * FRAME * 2];
  for (int row = 0; row < BATCH * FRAMES; row++)
    for (int k = 0; k < bins; k++) {
      double *to = &y[(row * bins + k) * 2];
      to[0] = to[1] = 0;
      for (int n = 0; n < FRAME; n++) {
        const double angle = -2 * 3.14159265358979323846 * k * n / FRAME,
                     value = (double)window[n] * (double)x[row / FRAMES * LENGTH + row % FRAMES * STEP + n];
        to[0] += value * cos(angle);
        to[1] += value * sin(angle);
      }
    }
  one_node_expect(folder, &one, "y", (int64_t)BATCH * FRAMES * bins * 2, y);
  FREE_ALL(x, window);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("Fourier transforms");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, transforms_follow_their_formula, 0, (int)(sizeof transforms / sizeof *transforms));
  tcase_add_loop_test(tests, frames_are_weighted_and_transformed, 0, 4);
  return remove_folder(folder, run_tests("Fourier transforms", tests));
}
