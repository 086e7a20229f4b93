/* Problems, reference and figures of convolution. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_convolve.h"
#include "kernel/reference.h"

static int64_t product3(const int64_t *dim) { return dim[0] * dim[1] * dim[2]; }

/* ---- problems ---- */

enum { PLAIN_LAYOUT = 0, X_BLOCKED = 1, Y_BLOCKED = 2 };

typedef struct instance {
  int64_t n, g, c, o, x[3], k[3], stride[3], dilation[3], pad[3], after[3];
  int layout, flags, activation;
  pare_dtype x_dtype, w_dtype, y_dtype;
} instance;

/* Strides of [n][ceil(channels / length)][area][length]. */
static void set_strides(int64_t *stride, int64_t channels, const int64_t *area, int64_t length) {
  stride[5] = length;
  stride[4] = stride[5] * area[2];
  stride[3] = stride[4] * area[1];
  stride[1] = stride[3] * area[0];
  stride[2] = 1;
  stride[0] = stride[1] * pare__div_up(channels, length);
}

static void make_problem(const pare_device_info *info, const instance *from, pare__problem *out) {
  int64_t *dim = out->dim;
  const int64_t lanes = pare__convolve_lanes(info, from->y_dtype);
  const bool depthwise = from->c == 1 && from->g > 1;
  dim[CONV_N] = from->n;
  dim[CONV_G] = from->g;
  dim[CONV_C] = from->c;
  dim[CONV_O] = from->o;
  for (int d = 0; d < 3; d++) {
    dim[CONV_X + d] = from->x[d];
    dim[CONV_K + d] = from->k[d];
    dim[CONV_STRIDE + d] = from->stride[d];
    dim[CONV_DILATION + d] = from->dilation[d];
    dim[CONV_PAD + d] = from->pad[d];
    const int64_t room = from->x[d] + from->pad[d] + from->after[d] - (from->k[d] - 1) * from->dilation[d] - 1;
    dim[CONV_Y + d] = room < 0 ? 0 : room / from->stride[d] + 1;
  }
  dim[CONV_X_LENGTH] = from->layout & X_BLOCKED ? lanes : 1;
  dim[CONV_Y_LENGTH] = from->layout & Y_BLOCKED ? lanes : 1;
  set_strides(dim + CONV_X_BATCH, from->g * from->c, dim + CONV_X, dim[CONV_X_LENGTH]);
  set_strides(dim + CONV_Y_BATCH, from->g * from->o, dim + CONV_Y, dim[CONV_Y_LENGTH]);
  dim[CONV_W_LANES] = pare__convolve_packs(info) && !depthwise ? lanes : 0;
  dim[CONV_ACTIVATION] = from->activation;
  out->flags = (unsigned)from->flags;
  out->real[CONV_LOW] = -0.5;
  out->real[CONV_HIGH] = 0.75;
  const bool follows = from->activation != 0 && (from->activation + from->layout) % 2 == 0;
  out->real[CONV_SCALE] = follows ? -1.5 : 1;
  out->real[CONV_SHIFT] = follows ? 0.25 : 0;
  out->dtype[CONV_BUFFER_X] = from->x_dtype;
  out->dtype[CONV_BUFFER_W] = from->w_dtype;
  out->dtype[CONV_BUFFER_BIAS] = out->dtype[CONV_BUFFER_RESIDUAL] = out->dtype[CONV_BUFFER_Y] = from->y_dtype;
  out->mode = pare__convolve_mode(out);
}

#define F32 PARE_F32, PARE_F32, PARE_F32
#define INTEGER PARE_I16, PARE_I16, PARE_I32
#define ONES \
  { 1, 1, 1 }
#define NONE \
  { 0, 0, 0 }

/* Tiny, and together through every path for each mode: edges of tiles on both sides, several blocks of channels. */
static const instance selftests[] = {
    {2, 1, 19, 37, {1, 5, 17}, {1, 3, 3}, {1, 1, 1}, ONES, {0, 1, 1}, {0, 1, 1}, 0, 3, 1, F32},
    {1, 2, 5, 11, {3, 6, 15}, {2, 3, 2}, {1, 2, 2}, {1, 1, 2}, {1, 0, 2}, {1, 1, 0}, 0, 1, 4, F32},
    {1, 1, 9, 17, {1, 2, 5}, {1, 1, 1}, ONES, ONES, NONE, NONE, 0, 2, 8, F32},
    {1, 1, 19, 37, {1, 5, 17}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, X_BLOCKED, 3, 1, F32},
    {1, 1, 9, 33, {1, 4, 7}, {1, 1, 1}, ONES, ONES, NONE, NONE, Y_BLOCKED, 3, 2, F32},
    {2, 1, 19, 37, {1, 5, 17}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, X_BLOCKED | Y_BLOCKED, 3, 1, F32},
    {2, 7, 1, 1, {1, 9, 21}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 0, 3, 1, F32},
    {1, 3, 1, 2, {1, 9, 22}, {1, 5, 3}, {1, 2, 2}, {1, 1, 2}, {0, 2, 1}, {0, 2, 1}, 0, 1, 0, F32},
    {2, 35, 1, 1, {1, 9, 21}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, X_BLOCKED | Y_BLOCKED, 3, 1, F32},
    {1, 19, 1, 1, {1, 9, 5}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, X_BLOCKED | Y_BLOCKED, 1, 5, F32},
    {2, 1, 11, 19, {1, 1, 61}, {1, 1, 1}, ONES, ONES, NONE, NONE, 0, 3, 1, F32},
    {1, 2, 3, 5, {1, 1, 48}, {1, 1, 1}, ONES, ONES, NONE, NONE, 0, 1, 0, F32},
    {2, 1, 16, 21, {1, 1, 15}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED | Y_BLOCKED, 3, 2, F32},
    {1, 1, 272, 3, {1, 1, 7}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED | Y_BLOCKED, 1, 1, F32},
    {2, 1, 16, 37, {1, 1, 15}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED, 1, 1, F32},
    {2, 1, 16, 21, {1, 1, 16}, {1, 1, 1}, ONES, ONES, NONE, NONE, Y_BLOCKED, 3, 1, F32},
};

/* Odd and prime sizes, nothing at all, pads beyond the data and negative ones, other dtypes. */
static const instance tests[] = {
    {1, 1, 3, 64, {1, 31, 29}, {1, 7, 7}, {1, 2, 2}, ONES, {0, 3, 3}, {0, 3, 3}, 0, 1, 1, F32},
    {3, 1, 65, 67, {1, 13, 13}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 0, 3, 3, F32},
    {1, 4, 16, 32, {1, 7, 11}, {1, 3, 3}, ONES, {1, 2, 3}, {0, 2, 3}, {0, 2, 3}, 0, 1, 6, F32},
    {2, 3, 4, 5, {4, 5, 6}, {3, 3, 3}, {2, 1, 2}, ONES, ONES, ONES, 0, 1, 5, F32},
    {1, 1, 33, 31, {1, 1, 149}, {1, 1, 1}, ONES, ONES, NONE, NONE, 0, 3, 4, PARE_BF16, PARE_F32, PARE_BF16},
    {2, 1, 9, 6, {1, 1, 53}, {1, 1, 1}, ONES, ONES, NONE, NONE, 0, 1, 6, PARE_F64, PARE_F64, PARE_F64},
    {1, 1, 257, 31, {1, 1, 49}, {1, 1, 1}, ONES, ONES, NONE, NONE, 0, 0, 9, F32},
    {1, 1, 2, 3, {1, 1, 3}, {1, 1, 2}, ONES, ONES, {0, 0, 5}, {0, 0, 4}, 0, 1, 0, F32},
    {1, 1, 2, 3, {1, 6, 9}, {1, 2, 2}, ONES, ONES, {0, -1, -2}, {0, -1, 2}, 0, 1, 0, F32},
    {1, 1, 0, 3, {1, 2, 2}, ONES, ONES, ONES, NONE, NONE, 0, 1, 1, F32},
    {0, 1, 2, 3, {1, 2, 2}, ONES, ONES, ONES, NONE, NONE, 0, 0, 0, F32},
    {1, 1, 2, 3, {1, 2, 2}, {1, 3, 3}, ONES, ONES, NONE, NONE, 0, 0, 0, F32},
    {2, 1, 48, 40, {1, 9, 14}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, X_BLOCKED | Y_BLOCKED, 3, 1, F32},
    {1, 1, 24, 50, {1, 7, 7}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED, 3, 1, F32},
    {1, 1, 544, 67, {1, 1, 149}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED | Y_BLOCKED, 2, 0, F32},
    {2, 1, 544, 67, {1, 1, 149}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED, 1, 4, F32},
    {1, 1, 64, 67, {1, 1, 49}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED, 3, 1, F32},
    {1, 1, 544, 35, {1, 1, 150}, {1, 1, 1}, ONES, ONES, NONE, NONE, 0, 1, 1, F32},
    {2, 1, 48, 67, {1, 1, 97}, {1, 1, 1}, ONES, ONES, NONE, NONE, Y_BLOCKED, 1, 0, PARE_BF16, PARE_F32, PARE_BF16},
    {1, 1, 32, 11, {1, 1, 31}, {1, 1, 1}, ONES, ONES, NONE, NONE, X_BLOCKED, 0, 0, PARE_F64, PARE_F64, PARE_F64},
    {2,
     1,
     32,
     11,
     {1, 1, 31},
     {1, 1, 1},
     ONES,
     ONES,
     NONE,
     NONE,
     X_BLOCKED | Y_BLOCKED,
     3,
     4,
     PARE_F64,
     PARE_F64,
     PARE_F64},
    {1, 1, 3, 50, {1, 23, 21}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, Y_BLOCKED, 1, 1, F32},
    {1, 37, 1, 1, {1, 1, 300}, {1, 1, 5}, {1, 1, 3}, {1, 1, 4}, {0, 0, 7}, {0, 0, 9}, 0, 1, 7, F32},
    {1, 5, 1, 1, {1, 70, 1}, {1, 7, 1}, {1, 2, 1}, ONES, {0, 3, 0}, {0, 3, 0}, 0, 3, 0, F32},
    {1, 5, 1, 3, {3, 7, 9}, {3, 3, 3}, ONES, ONES, ONES, ONES, 0, 3, 0, F32},
    {1, 21, 1, 1, {1, 12, 13}, {1, 5, 5}, ONES, {1, 2, 1}, {0, 4, 2}, {0, 4, 2}, X_BLOCKED | Y_BLOCKED, 1, 4, F32},
    {1, 1, 19, 23, {1, 5, 17}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 0, 3, 1, PARE_F16, PARE_F16, PARE_F16},
    {1,
     9,
     1,
     1,
     {1, 5, 17},
     {1, 3, 3},
     {1, 1, 2},
     ONES,
     {0, 1, 1},
     {0, 1, 1},
     0,
     3,
     1,
     PARE_BF16,
     PARE_BF16,
     PARE_BF16},
    {1,
     1,
     19,
     23,
     {1, 5, 9},
     {1, 3, 3},
     ONES,
     ONES,
     {0, 1, 1},
     {0, 1, 1},
     Y_BLOCKED,
     3,
     2,
     PARE_BF16,
     PARE_F32,
     PARE_BF16},
    {1, 1, 19, 23, {1, 5, 9}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 0, 3, 4, PARE_F64, PARE_F64, PARE_F64},
    {1, 9, 1, 1, {1, 5, 17}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 0, 3, 1, PARE_F64, PARE_F64, PARE_F64},
    {1, 1, 40, 23, {1, 5, 9}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 0, 1, 0, INTEGER},
    {1, 9, 1, 2, {1, 5, 17}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 0, 0, 0, INTEGER},
};

#define RESNET(c, o, side, k, s, layout)                                                                              \
  {                                                                                                                   \
    1, 1, c, o, {1, side, side}, {1, k, k}, {1, s, s}, ONES, {0, (k) / 2, (k) / 2}, {0, (k) / 2, (k) / 2}, layout, 1, \
        1, F32                                                                                                        \
  }
#define MOBILE(c, side, k, s, layout)                                                                                 \
  {                                                                                                                   \
    1, c, 1, 1, {1, side, side}, {1, k, k}, {1, s, s}, ONES, {0, (k) / 2, (k) / 2}, {0, (k) / 2, (k) / 2}, layout, 1, \
        1, F32                                                                                                        \
  }
#define BOTH (X_BLOCKED | Y_BLOCKED)
static const instance benches[] = {
    RESNET(3, 64, 224, 7, 2, 0),      RESNET(64, 64, 56, 3, 1, 0),       RESNET(64, 64, 56, 3, 1, BOTH),
    RESNET(128, 128, 28, 3, 1, 0),    RESNET(128, 128, 28, 3, 1, BOTH),  RESNET(256, 256, 14, 3, 1, 0),
    RESNET(256, 256, 14, 3, 1, BOTH), RESNET(512, 512, 7, 3, 1, BOTH),   RESNET(64, 256, 56, 1, 1, 0),
    RESNET(64, 256, 56, 1, 1, BOTH),  RESNET(1024, 256, 14, 1, 1, BOTH), RESNET(128, 128, 56, 3, 2, BOTH),
    MOBILE(64, 112, 3, 1, 0),         MOBILE(64, 112, 3, 1, BOTH),       MOBILE(240, 28, 5, 1, 0),
    MOBILE(240, 28, 5, 1, BOTH),
};

bool pare__convolve_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  const struct {
    const instance *instance;
    unsigned count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftests, PARE__COUNT(selftests)},
              [PARE__CASES_TEST] = {tests, PARE__COUNT(tests)},
              [PARE__CASES_BENCH] = {benches, PARE__COUNT(benches)}};
  if (index >= sets[set].count) return false;
  make_problem(info, &sets[set].instance[index], out);
  return true;
}

static int64_t weight_elements(const int64_t *dim) {
  const int64_t taps = product3(dim + CONV_K), lanes = dim[CONV_W_LANES];
  if (lanes == 0) return dim[CONV_G] * dim[CONV_O] * dim[CONV_C] * taps;
  return dim[CONV_G] * pare__div_up(dim[CONV_O], lanes) * pare__div_up(dim[CONV_C], lanes) * taps * lanes * lanes;
}

/* One element past the last that a tensor of the problem has. */
static int64_t reach(const int64_t *dim, const int64_t *stride, int64_t channels, int64_t length, const int64_t *area) {
  const int64_t blocks = pare__div_up(channels, length);
  if (dim[CONV_N] * blocks * product3(area) == 0) return 0;
  int64_t last = (dim[CONV_N] - 1) * stride[0] + (blocks - 1) * stride[1] + (length - 1) * stride[2];
  for (int d = 0; d < 3; d++) last += (area[d] - 1) * stride[3 + d];
  return last + 1;
}

void pare__convolve_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim;
  out->role = PARE__IN;
  switch (i) {
  case CONV_BUFFER_X:
    out->elements = reach(dim, dim + CONV_X_BATCH, dim[CONV_G] * dim[CONV_C], dim[CONV_X_LENGTH], dim + CONV_X);
    break;
  case CONV_BUFFER_W: out->elements = weight_elements(dim); break;
  case CONV_BUFFER_BIAS:
    if (!(problem->flags & CONV_HAS_BIAS)) out->role = PARE__ABSENT;
    out->elements = dim[CONV_G] * dim[CONV_O];
    break;
  default:
    if (i == CONV_BUFFER_Y)
      out->role = PARE__OUT;
    else if (!(problem->flags & CONV_HAS_RESIDUAL))
      out->role = PARE__ABSENT;
    out->elements = reach(dim, dim + CONV_Y_BATCH, dim[CONV_G] * dim[CONV_O], dim[CONV_Y_LENGTH], dim + CONV_Y);
  }
}

/* ---- the reference ---- */

static int64_t weight_at(const int64_t *dim, int64_t g, int64_t o, int64_t c, int64_t k) {
  const int64_t taps = product3(dim + CONV_K), lanes = dim[CONV_W_LANES];
  if (lanes == 0) return ((g * dim[CONV_O] + o) * dim[CONV_C] + c) * taps + k;
  const int64_t block = g * pare__div_up(dim[CONV_O], lanes) + o / lanes;
  return (((block * pare__div_up(dim[CONV_C], lanes) + c / lanes) * taps + k) * lanes + c % lanes) * lanes + o % lanes;
}

static int64_t element_at(const int64_t *stride, int64_t length, int64_t n, int64_t channel, const int64_t *p) {
  return n * stride[0] + channel / length * stride[1] + channel % length * stride[2] + p[0] * stride[3] +
         p[1] * stride[4] + p[2] * stride[5];
}

/* Where the channels of x and the weights of an input channel lie, found once: divisions take most of the time. */
typedef struct offsets {
  int64_t *x, *w; /* of a channel of all groups; of a channel of one */
} offsets;

static bool offsets_open(const int64_t *dim, offsets *out) {
  const int64_t origin[3] = {0, 0, 0}, channels = dim[CONV_G] * dim[CONV_C];
  out->x = calloc((size_t)(channels + dim[CONV_C] + 1), sizeof *out->x);
  if (!out->x) return false;
  out->w = out->x + channels;
  for (int64_t c = 0; c < channels; c++) out->x[c] = element_at(dim + CONV_X_BATCH, dim[CONV_X_LENGTH], 0, c, origin);
  for (int64_t c = 0; c < dim[CONV_C]; c++) out->w[c] = weight_at(dim, 0, 0, c, 0);
  return true;
}

/* The sum for channel o of group g at pixel p of batch n; *magnitude: of its terms. */
static double convolve_at(const int64_t *dim, const offsets *at, const double *x, const double *w, int64_t n, int64_t g,
                          int64_t o, const int64_t *p, double *magnitude) {
  const int64_t w_step = dim[CONV_W_LANES] ? dim[CONV_W_LANES] * dim[CONV_W_LANES] : 1;
  double sum = 0;
  *magnitude = 0;
  for (int64_t k = 0; k < product3(dim + CONV_K); k++) {
    const int64_t tap[3] = {k / dim[CONV_K + 2] / dim[CONV_K + 1], k / dim[CONV_K + 2] % dim[CONV_K + 1],
                            k % dim[CONV_K + 2]};
    int64_t pixel[3];
    bool inside = true;
    for (int d = 0; d < 3; d++) {
      pixel[d] = p[d] * dim[CONV_STRIDE + d] - dim[CONV_PAD + d] + tap[d] * dim[CONV_DILATION + d];
      inside = inside && pixel[d] >= 0 && pixel[d] < dim[CONV_X + d];
    }
    if (!inside) continue;
    const int64_t x_from = element_at(dim + CONV_X_BATCH, dim[CONV_X_LENGTH], n, 0, pixel);
    const int64_t w_from = weight_at(dim, g, o, 0, 0) + k * w_step;
    for (int64_t c = 0; c < dim[CONV_C]; c++) {
      const double term = x[x_from + at->x[g * dim[CONV_C] + c]] * w[w_from + at->w[c]];
      sum += term;
      *magnitude += fabs(term);
    }
  }
  return sum;
}

static void reference_element(const pare__problem *p, const offsets *at, double *const *value, int64_t n,
                              int64_t channel, const int64_t *pixel, double *expected, double *tolerance) {
  const int64_t *dim = p->dim;
  const pare_dtype dtype = p->dtype[CONV_BUFFER_Y];
  const int64_t to = element_at(dim + CONV_Y_BATCH, dim[CONV_Y_LENGTH], n, channel, pixel);
  if (channel >= dim[CONV_G] * dim[CONV_O]) { /* fills the last block */
    tolerance[to] = -1;
    return;
  }
  double magnitude;
  double sum = convolve_at(dim, at, value[CONV_BUFFER_X], value[CONV_BUFFER_W], n, channel / dim[CONV_O],
                           channel % dim[CONV_O], pixel, &magnitude);
  if (p->flags & CONV_HAS_BIAS)
    sum += value[CONV_BUFFER_BIAS][channel], magnitude += fabs(value[CONV_BUFFER_BIAS][channel]);
  if (p->flags & CONV_HAS_RESIDUAL)
    sum += value[CONV_BUFFER_RESIDUAL][to], magnitude += fabs(value[CONV_BUFFER_RESIDUAL][to]);
  if (dtype == PARE_I32) { /* modulo 2^32 */
    expected[to] = (double)(int32_t)(uint32_t)(uint64_t)(int64_t)sum;
    return;
  }
  const bool f64 = dtype == PARE_F64;
  const double epsilon = pare__dtype_epsilon(f64 ? PARE_F64 : PARE_F32);
  const double terms = (double)(dim[CONV_C] * product3(dim + CONV_K) + 4);
  double error = terms * epsilon * magnitude;
  const double scale = p->real[CONV_SCALE];
  const double active = pare__reference_activation(dim[CONV_ACTIVATION], sum, p->real[CONV_LOW], p->real[CONV_HIGH]);
  expected[to] = scale * active + p->real[CONV_SHIFT];
  if (dim[CONV_ACTIVATION] != 0) error = (1.2 * error + (f64 ? 1e-14 : 1e-6) * (1 + fabs(sum))) * fmax(1, fabs(scale));
  tolerance[to] = error + pare__dtype_epsilon(dtype) * fabs(expected[to]) + (dtype == PARE_F16 ? 0x1p-25 : 0);
}

bool pare__convolve_reference(const pare__problem *problem, void *const *data, double *const *expected,
                              double *const *tolerance) {
  const int64_t *dim = problem->dim, *area = dim + CONV_Y;
  double *value[CONV_NBUFFERS] = {0};
  offsets at = {0};
  bool fine = offsets_open(dim, &at);
  for (unsigned i = 0; i < CONV_BUFFER_Y; i++) {
    pare__buffer_spec spec;
    pare__convolve_buffer(problem, i, &spec);
    if (spec.role == PARE__ABSENT) continue;
    value[i] = pare__reference_doubles(problem->dtype[i], data[i], data[i] ? spec.elements : 0);
    fine = fine && value[i];
  }
  const int64_t channels = pare__round_up(dim[CONV_G] * dim[CONV_O], dim[CONV_Y_LENGTH]);
  for (int64_t i = 0; fine && i < dim[CONV_N] * channels * product3(area); i++) {
    const int64_t pixel[3] = {i / area[2] / area[1] % area[0], i / area[2] % area[1], i % area[2]};
    const int64_t line = i / product3(area);
    reference_element(problem, &at, value, line / channels, line % channels, pixel, expected[CONV_BUFFER_Y],
                      tolerance[CONV_BUFFER_Y]);
  }
  for (unsigned i = 0; i < CONV_NBUFFERS; i++) free(value[i]);
  free(at.x);
  return fine;
}

/* ---- figures ---- */

void pare__convolve_work(const pare__problem *problem, double *flops, double *bytes) {
  const int64_t *dim = problem->dim;
  *flops = 2.0 * (double)(dim[CONV_N] * dim[CONV_G] * dim[CONV_O] * product3(dim + CONV_Y)) *
           (double)(dim[CONV_C] * product3(dim + CONV_K));
  *bytes = 0;
  for (unsigned i = 0; i < CONV_NBUFFERS; i++) {
    pare__buffer_spec spec;
    pare__convolve_buffer(problem, i, &spec);
    if (spec.role != PARE__ABSENT) *bytes += (double)spec.elements * (double)pare_dtype_bytes(problem->dtype[i]);
  }
}

static const char *layout_text(const pare__problem *problem) {
  static const char *const text[] = {"", " blocked in", " blocked out", " blocked"};
  return text[(problem->dim[CONV_X_LENGTH] > 1) + 2 * (problem->dim[CONV_Y_LENGTH] > 1)];
}

void pare__convolve_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lldx[%lld->%lld] %lldx%lldx%lld k%lldx%lldx%lld s%lldx%lldx%lld %s%s",
           (long long)dim[CONV_N], (long long)dim[CONV_G], (long long)dim[CONV_C], (long long)dim[CONV_O],
           (long long)dim[CONV_X], (long long)dim[CONV_X + 1], (long long)dim[CONV_X + 2], (long long)dim[CONV_K],
           (long long)dim[CONV_K + 1], (long long)dim[CONV_K + 2], (long long)dim[CONV_STRIDE],
           (long long)dim[CONV_STRIDE + 1], (long long)dim[CONV_STRIDE + 2],
           pare_dtype_name(problem->dtype[CONV_BUFFER_Y]), layout_text(problem));
}

void pare__convolve_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%s %s%s", pare_dtype_name(problem->dtype[CONV_BUFFER_Y]),
           dim[CONV_C] == 1 && dim[CONV_G] > 1 ? "depthwise"
           : product3(dim + CONV_K) == 1       ? "pointwise"
           : product3(dim + CONV_STRIDE) == 1  ? "stride 1"
                                               : "strided",
           layout_text(problem));
}
