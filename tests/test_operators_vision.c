/* Windows and resampling of the vision operators where the backend suite has no case: sizes and pads, axes of Resize by
 * tables, nodes that cannot be. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "graph/operators_window.h"
#include "graph/resize.h"
#include "run.h"

/* ---- Resize ---- */

enum { MOST = 64 };

static const pare__resize_axis axes[] = {{7, 14, 2.0F, 0, 1},         {10, 4, 0.4F, 0, 1},      {5, 5, 1.0F, 0, 1},
                                         {9, 13, 13.0F / 9, 0, 1},    {31, 3, 3.0F / 31, 0, 1}, {1, 6, 6.0F, 0, 1},
                                         {16, 1, 1.0F / 16, 0.2, 0.9}};

static void each_table(void (*check)(const pare__resize *, const pare__resize_axis *, int64_t, const int32_t *,
                                     const float *)) {
  for (int which = 0; which < 3 * PARE__NPLACES * 4; which++) {
    const pare__resize resize = {.mode = (pare__resize_mode)(which % 3),
                                 .place = (pare__resize_place)(which / 3 % PARE__NPLACES),
                                 .rounding = (pare__resize_rounding)(which % PARE__NROUNDINGS),
                                 .antialias = which / 3 / PARE__NPLACES % 2,
                                 .exclude_outside = which / 6 / PARE__NPLACES,
                                 .cubic_a = -0.75};
    for (size_t i = 0; i < PARE__COUNT(axes); i++) {
      int64_t taps;
      ck_assert_int_eq(pare__resize_taps(&resize, &axes[i], &taps), PARE_OK);
      int32_t *indices = malloc((size_t)(axes[i].made * taps) * sizeof *indices);
      float *weights = malloc((size_t)(axes[i].made * taps) * sizeof *weights);
      pare__resize_tables(&resize, &axes[i], taps, indices, weights);
      check(&resize, &axes[i], taps, indices, weights);
      free(indices);
      free(weights);
    }
  }
}

static void weights_add_up_to_one(const pare__resize *resize, const pare__resize_axis *axis, int64_t taps,
                                  const int32_t *indices, const float *weights) {
  for (int64_t i = 0; i < axis->made; i++) {
    double sum = 0;
    for (int64_t t = 0; t < taps; t++) {
      const int32_t index = indices[i * taps + t];
      const bool crops = resize->place == PARE__PLACE_CROP_AND_RESIZE;
      ck_assert_msg((index >= 0 || (crops && index == -1)) && index < axis->length, "index %d of %lld", index,
                    (long long)axis->length);
      sum += (double)weights[i * taps + t];
    }
    ck_assert_msg(fabs(sum - 1) < 1e-5, "the weights of element %lld add up to %g", (long long)i, sum);
  }
}

START_TEST(every_element_is_a_mean_of_elements_inside) { each_table(weights_add_up_to_one); }
END_TEST

/* Linear functions of the place stay what they are, away from the borders. */
START_TEST(linear_interpolation_keeps_straight_lines) {
  const pare__resize resize = {.mode = PARE__RESIZE_LINEAR, .place = PARE__PLACE_HALF_PIXEL};
  const pare__resize_axis axis = {20, 50, 2.5F, 0, 1};
  int64_t taps;
  int32_t indices[2 * MOST];
  float weights[2 * MOST];
  ck_assert_int_eq(pare__resize_taps(&resize, &axis, &taps), PARE_OK);
  ck_assert_int_eq(taps, 2);
  pare__resize_tables(&resize, &axis, taps, indices, weights);
  for (int i = 0; i < 50; i++) {
    const double place = (i + 0.5) / 2.5 - 0.5,
                 value = (double)weights[2 * i] * indices[2 * i] + (double)weights[2 * i + 1] * indices[2 * i + 1];
    ck_assert_msg(fabs(value - fmin(fmax(place, 0), 19)) < 1e-5, "element %d is %g", i, value);
  }
}
END_TEST

START_TEST(impossible_scales_are_refused) {
  const pare__resize resize = {.mode = PARE__RESIZE_CUBIC, .antialias = true, .cubic_a = -0.75};
  const float scales[] = {0, -1, NAN, INFINITY, 1e-9F};
  for (size_t i = 0; i < PARE__COUNT(scales); i++) {
    const pare__resize_axis axis = {7, 7, scales[i], 0, 1};
    int64_t taps;
    ck_assert_int_eq(pare__resize_taps(&resize, &axis, &taps), PARE_ERR_ARGUMENT);
  }
}
END_TEST

/* ---- windows ---- */

static pare__window_plan plan_of(int64_t kernel, int64_t stride, int64_t dilation, int64_t before, int64_t after) {
  return (pare__window_plan){
      .rank = 1, .kernel = {kernel}, .stride = {stride}, .dilation = {dilation}, .before = {before}, .after = {after}};
}

static int64_t windows(pare__window_plan plan, int64_t length, bool ceil) {
  const pare__node node = {.op_type = "MaxPool", .domain = ""};
  const pare__call call = {.node = &node};
  int64_t y = -1;
  return pare__call_window_sizes(&call, &plan, &length, ceil, &y) == PARE_OK ? y : -1;
}

/* As many as begin where the formula of ONNX says, counted one by one. */
START_TEST(windows_are_those_that_fit) {
  for (int64_t length = 1; length < 12; length++)
    for (int64_t kernel = 1; kernel < 5; kernel++)
      for (int64_t stride = 1; stride < 4; stride++)
        for (int64_t pad = 0; pad < kernel; pad++) {
          int64_t inside = 0, begun = 0;
          for (int64_t at = -pad; at + kernel <= length + pad; at += stride) inside++;
          for (int64_t at = -pad; at < length && (at == -pad || at + kernel - stride < length + pad); at += stride)
            begun++;
          const int64_t plain = windows(plan_of(kernel, stride, 1, pad, pad), length, false);
          const int64_t ceil = windows(plan_of(kernel, stride, 1, pad, pad), length, true);
          ck_assert_int_eq(plain, inside == 0 ? -1 : inside);
          if (inside > 0) ck_assert_int_eq(ceil, begun);
        }
}
END_TEST

START_TEST(auto_pad_covers_every_element) {
  for (int64_t length = 1; length < 20; length++)
    for (int64_t stride = 1; stride < 4; stride++) {
      pare__window_plan plan = plan_of(3, stride, 2, 0, 0);
      plan.auto_pad = PARE__PAD_SAME_LOWER;
      ck_assert_int_eq(windows(plan, length, false), (length + stride - 1) / stride);
    }
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
  ck_assert_int_eq(windows(plan_of(5, 1, 1, 0, 0), 4, false), -1);
  ck_assert_int_eq(windows(plan_of(3, 1, 100, 0, 0), 4, false), -1);
  ck_assert_int_eq(windows(plan_of(3, 1, 1, 0, 0), INT64_MAX, false), -1);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  tcase_add_test(laws, every_element_is_a_mean_of_elements_inside);
  tcase_add_test(laws, linear_interpolation_keeps_straight_lines);
  tcase_add_test(laws, impossible_scales_are_refused);
  tcase_add_test(laws, windows_are_those_that_fit);
  tcase_add_test(laws, auto_pad_covers_every_element);
  tcase_add_test(laws, what_does_not_fit_is_refused);
  return run_tests("operators_vision", laws);
}
