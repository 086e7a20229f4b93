/* Windows, Fourier transforms, mel filters. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

#define TWO_PI 6.283185307179586476925
#define MOST_MATRIX (1 << 26) /* elements of a transform's matrix */

/* ---- windows ---- */

/* The type that the attribute output_datatype names; f32 if it is not given. */
static pare_status output_dtype(const pare__call *call, pare_dtype *dtype) {
  const int64_t named = pare__call_get_int(call, "output_datatype", 1);
  if (!pare__onnx_dtype_to_pare((int32_t)named, dtype))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "pare has no type %s", pare__onnx_dtype_name((int32_t)named));
  return pare__call_takes_dtype(call, "its output", *dtype);
}

/* first - second cos(2 pi n / N) + third cos(4 pi n / N); N is the size, less one for a symmetric window. */
static pare_status window(pare__call *call) {
  static const double factors[][3] = {
      {0.5, 0.5, 0},                 /* Hann */
      {25.0 / 46, 1 - 25.0 / 46, 0}, /* Hamming */
      {0.42, 0.5, 0.08},             /* Blackman */
  };
  PARE__TRY(pare__call_check(call, 1, 1));
  const double *factor = factors[call->node->op->detail];
  int64_t size;
  pare_dtype dtype;
  pare_tensor *angle, *first, *second, *out;
  PARE__TRY(pare__call_int(call, 0, &size));
  PARE__TRY(output_dtype(call, &dtype));
  if (size < 0) return pare__call_fail(call, PARE_ERR_ARGUMENT, "its size is %lld", (long long)size);
  const int64_t period = pare__call_get_int(call, "periodic", 1) != 0 ? size : size - 1;
  const pare_dtype wide = dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  const double step = period > 0 ? TWO_PI / (double)period : 0;
  PARE__TRY(pare__call_range(call, wide, size, 1, 0, &angle));
  PARE__TRY(pare__call_scratch(call, wide, 1, &size, &first));
  PARE__TRY(pare__call_scratch(call, wide, 1, &size, &second));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, step, 0, angle, first));
  PARE__TRY(pare_unary(PARE_UNARY_cos, first, first));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, -factor[1], factor[0], first, first));
  if (factor[2] != 0) {
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, 2 * step, 0, angle, second));
    PARE__TRY(pare_unary(PARE_UNARY_cos, second, second));
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, factor[2], 0, second, second));
    PARE__TRY(pare_binary(PARE_BINARY_add, first, second, first));
  }
  PARE__TRY(pare__call_output(call, 0, dtype, 1, &size, &out));
  return pare_cast(first, out);
}

/* ---- MelWeightMatrix ---- */

typedef struct mel {
  int64_t bins, length, rate;
  double low, high;
} mel;

/* The spectrogram's bin at which filter edge i lies. */
static int64_t mel_edge(const mel *m, int64_t i) {
  const double low = 2595 * log10(1 + m->low / 700), high = 2595 * log10(1 + m->high / 700);
  const double at = low + (double)i * (high - low) / (double)(m->bins + 2);
  const double edge = floor((double)(m->length + 1) * 700 * (pow(10, at / 2595) - 1) / (double)m->rate);
  const int64_t last = m->length / 2;
  return edge > 0 ? edge < (double)last ? (int64_t)edge : last : 0;
}

/* Triangles that rise from 0 at edge i to 1 at edge i + 1 and fall to 0 at edge i + 2. */
static void fill_mel(const mel *m, pare__content *out) {
  for (int64_t i = 0; i < m->bins; i++) {
    const int64_t low = mel_edge(m, i), center = mel_edge(m, i + 1), high = mel_edge(m, i + 2);
    if (low == center) pare__store(out->dtype, out->owned, (size_t)(center * m->bins + i), 1);
    for (int64_t k = low; k <= center && low < center; k++)
      pare__store(out->dtype, out->owned, (size_t)(k * m->bins + i), (double)(k - low) / (double)(center - low));
    for (int64_t k = center; k < high; k++)
      pare__store(out->dtype, out->owned, (size_t)(k * m->bins + i), (double)(high - k) / (double)(high - center));
  }
}

static pare_status mel_weight_matrix(pare__call *call) {
  PARE__TRY(pare__call_check(call, 5, 5));
  mel m;
  pare_dtype dtype;
  PARE__TRY(output_dtype(call, &dtype));
  PARE__TRY(pare__call_int(call, 0, &m.bins));
  PARE__TRY(pare__call_int(call, 1, &m.length));
  PARE__TRY(pare__call_int(call, 2, &m.rate));
  PARE__TRY(pare__call_number(call, 3, &m.low));
  PARE__TRY(pare__call_number(call, 4, &m.high));
  if (m.bins < 0 || m.bins > INT32_MAX || m.length < 0 || m.length > INT32_MAX || m.rate <= 0 || !(m.low >= 0) ||
      !(m.high >= m.low))
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "%lld filters from %g to %g Hz of %lld points at %lld Hz",
                           (long long)m.bins, m.low, m.high, (long long)m.length, (long long)m.rate);
  pare__content *out;
  PARE__TRY(pare__content_create(dtype, 2, (const int64_t[]){m.length / 2 + 1, m.bins}, NULL, &out));
  fill_mel(&m, out);
  return pare__call_give_content(call, 0, out);
}

/* ---- Fourier transforms, as products with a matrix of cosines and sines ---- */

/* y[k] = scale * sum over n of x[n] e^(sign 2 pi j n k / length), n < inputs, k < outputs. */
typedef struct transform {
  pare_dtype dtype;
  int64_t length, inputs, outputs;
  bool real_input, real_output; /* one number an element, else two */
  bool mirrored;                /* the inputs stand for their conjugates at length - n as well */
  double sign, scale;
} transform;

/* Row (n, part of x), column (k, part of y). */
static void fill_matrix(const transform *t, void *data) {
  const int rows = t->real_input ? 1 : 2, columns = t->real_output ? 1 : 2;
  size_t at = 0;
  for (int64_t n = 0; n < t->inputs; n++) {
    const bool twice = t->mirrored && n > 0 && 2 * n != t->length;
    const double scale = twice ? 2 * t->scale : t->scale;
    for (int row = 0; row < rows; row++)
      for (int64_t k = 0; k < t->outputs; k++) {
        /* exact in integers, so that the angle stays small */
        const double angle = t->sign * TWO_PI * (double)(n * k % t->length) / (double)t->length;
        const double real = scale * cos(angle), imaginary = scale * sin(angle);
        pare__store(t->dtype, data, at++, row == 0 ? real : -imaginary);
        if (columns == 2) pare__store(t->dtype, data, at++, row == 0 ? imaginary : real);
      }
  }
}

/* [inputs * parts, outputs * parts] */
static pare_status transform_matrix(pare__call *call, const transform *t, pare_tensor **out) {
  const int64_t dim[2] = {t->inputs * (t->real_input ? 1 : 2), t->outputs * (t->real_output ? 1 : 2)};
  pare__content *content;
  *out = NULL;
  if (t->length > MOST_MATRIX || dim[0] * dim[1] > MOST_MATRIX)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                           "a transform from %lld to %lld of %lld points needs a matrix of "
                           "more than %d elements",
                           (long long)t->inputs, (long long)t->outputs, (long long)t->length, MOST_MATRIX);
  PARE__TRY(pare__content_create(t->dtype, 2, dim, NULL, &content));
  fill_matrix(t, content->owned);
  const pare_status status = pare__call_constant(call, t->dtype, 2, dim, content->data, out);
  pare__content_release(content);
  return status;
}

/* ---- long transforms: in two factors (Cooley & Tukey 1965) ---- */

/* The largest factor of a length that is no larger than its root; 1 of a prime. */
static int64_t factor_of(int64_t length) {
  int64_t best = 1;
  for (int64_t i = 2; i * i <= length; i++)
    if (length % i == 0) best = i;
  return best;
}

/* x [rows, inputs, parts] as complex numbers [rows, length, 2]: zeros after them, or their conjugates from the end. */
static pare_status spelt_out(pare__call *call, const transform *t, pare_tensor *x, pare_tensor **out) {
  const int64_t parts = x->shape.dim[2], mirror = PARE__MIN(t->inputs - 1, (t->length - 1) / 2);
  pare_tensor *zero, *from, *to;
  PARE__TRY(pare__call_scratch(call, t->dtype, 3, (const int64_t[]){x->shape.dim[0], t->length, 2}, out));
  PARE__TRY(pare__call_scalar(call, t->dtype, 0, &zero));
  PARE__TRY(pare_copy(zero, *out));
  PARE__TRY(pare__call_slice(call, *out, 1, 0, t->inputs, 1, &to));
  PARE__TRY(pare__call_slice(call, to, 2, 0, parts, 1, &to));
  PARE__TRY(pare_copy(x, to));
  if (!t->mirrored || mirror < 1) return PARE_OK;
  for (int64_t part = 0; part < parts; part++) {
    PARE__TRY(pare__call_slice(call, x, 1, 1, mirror, 1, &from));
    PARE__TRY(pare__call_slice(call, from, 2, part, 1, 1, &from));
    PARE__TRY(pare__call_slice(call, *out, 1, t->length - 1, mirror, -1, &to));
    PARE__TRY(pare__call_slice(call, to, 2, part, 1, 1, &to));
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, part == 0 ? 1 : -1, 0, from, to));
  }
  return PARE_OK;
}

/* *x [rows, second, first, 2] times e^(sign 2 pi j a b / length) for element [a][b]. */
static pare_status twiddle(pare__call *call, const transform *t, pare_tensor **x) {
  const int64_t *dim = (*x)->shape.dim, angles[4] = {1, dim[1], dim[2], 1}, half[4] = {dim[0], dim[1], dim[2], 1};
  pare_tensor *factor[2], *in[2], *to[2], *left, *right, *out;
  for (int part = 0; part < 2; part++) {
    pare__content *content;
    PARE__TRY(pare__content_create(t->dtype, 4, angles, NULL, &content));
    for (int64_t i = 0; i < t->length; i++) {
      const int64_t a = i / dim[2], b = i % dim[2];
      const double angle = t->sign * TWO_PI * (double)(a * b) / (double)t->length;
      pare__store(t->dtype, content->owned, (size_t)i, part == 0 ? cos(angle) : sin(angle));
    }
    const pare_status status = pare__call_constant(call, t->dtype, 4, angles, content->data, &factor[part]);
    pare__content_release(content);
    PARE__TRY(status);
  }
  PARE__TRY(pare__call_scratch(call, t->dtype, 4, dim, &out));
  PARE__TRY(pare__call_scratch(call, t->dtype, 4, half, &left));
  PARE__TRY(pare__call_scratch(call, t->dtype, 4, half, &right));
  for (int part = 0; part < 2; part++) {
    PARE__TRY(pare__call_slice(call, *x, 3, part, 1, 1, &in[part]));
    PARE__TRY(pare__call_slice(call, out, 3, part, 1, 1, &to[part]));
  }
  for (int part = 0; part < 2; part++) {
    PARE__TRY(pare_binary(PARE_BINARY_mul, factor[part], in[0], left));
    PARE__TRY(pare_binary(PARE_BINARY_mul, factor[!part], in[1], right));
    PARE__TRY(pare_binary(part == 0 ? PARE_BINARY_sub : PARE_BINARY_add, left, right, to[part]));
  }
  *x = out;
  return PARE_OK;
}

/* Transforms *x [rows, a, b, 2] along a, and swaps it with b: [rows, b, a, 2]. */
static pare_status transform_part(pare__call *call, const transform *t, double scale, pare_tensor **x) {
  const int64_t rows = (*x)->shape.dim[0], a = (*x)->shape.dim[1], b = (*x)->shape.dim[2];
  const transform part = {.dtype = t->dtype, .length = a, .inputs = a, .outputs = a, .sign = t->sign, .scale = scale};
  pare_tensor *matrix, *flat, *product;
  PARE__TRY(transform_matrix(call, &part, &matrix));
  PARE__TRY(pare__call_permuted(call, *x, (const int[]){0, 2, 1, 3}, x));
  PARE__TRY(pare__call_reshaped(call, *x, 2, (const int64_t[]){rows * b, 2 * a}, &flat));
  PARE__TRY(pare__call_scratch(call, t->dtype, 2, (const int64_t[]){rows * b, 2 * a}, &product));
  PARE__TRY(pare_gemm(flat, matrix, NULL, NULL, product));
  return pare__call_reshaped(call, product, 4, (const int64_t[]){rows, b, a, 2}, x);
}

/* Element n = second * n1 + n2 of the input, k = first * k2 + k1 of the output: along n1, times a power of the root of
 * unity, along n2. */
static pare_status transform_long(pare__call *call, const transform *t, int64_t first, pare_tensor *x,
                                  pare_tensor **out) {
  const int64_t rows = x->shape.dim[0], second = t->length / first;
  PARE__TRY(spelt_out(call, t, x, &x));
  PARE__TRY(pare__call_reshaped(call, x, 4, (const int64_t[]){rows, first, second, 2}, &x));
  PARE__TRY(transform_part(call, t, 1, &x));
  PARE__TRY(twiddle(call, t, &x));
  PARE__TRY(transform_part(call, t, t->scale, &x));
  PARE__TRY(pare__call_permuted(call, x, (const int[]){0, 2, 1, 3}, &x));
  PARE__TRY(pare__call_reshaped(call, x, 3, (const int64_t[]){rows, t->length, 2}, &x));
  PARE__TRY(pare__call_slice(call, x, 1, 0, t->outputs, 1, &x));
  return pare__call_slice(call, x, 2, 0, t->real_output ? 1 : 2, 1, out);
}

/* x [rows, inputs, parts] to [rows, outputs, parts]. */
static pare_status transform_rows(pare__call *call, const transform *t, pare_tensor *x, pare_tensor **out) {
  enum { LONG = 1024, SMALL_FACTOR = 8 };
  const int64_t rows = x->shape.dim[0], parts = t->real_output ? 1 : 2;
  const int64_t first = t->length > LONG ? factor_of(t->length) : 1;
  if (first >= SMALL_FACTOR) return transform_long(call, t, first, x, out);
  pare_tensor *matrix, *product;
  PARE__TRY(transform_matrix(call, t, &matrix));
  PARE__TRY(pare__call_reshaped(call, x, 2, (const int64_t[]){rows, t->inputs * x->shape.dim[2]}, &x));
  PARE__TRY(pare__call_scratch(call, t->dtype, 2, (const int64_t[]){rows, t->outputs * parts}, &product));
  PARE__TRY(pare_gemm(x, matrix, NULL, NULL, product));
  return pare__call_reshaped(call, product, 3, (const int64_t[]){rows, t->outputs, parts}, out);
}

/* ---- DFT ---- */

/* Transforms x [..., parts] along an axis into out [..., parts]. */
static pare_status transform_axis(pare__call *call, const transform *t, pare_tensor *x, int axis, pare_tensor *out) {
  const int rank = x->shape.rank;
  int order[PARE_MAX_RANK]; /* the axis next to the parts */
  for (int d = 0, k = 0; d < rank; d++)
    if (d != axis) order[d == rank - 1 ? rank - 1 : k++] = d;
  order[rank - 2] = axis;
  int64_t rows[3] = {1, t->inputs, x->shape.dim[rank - 1]};
  for (int d = 0; d < rank - 1; d++) rows[0] *= d == axis ? 1 : x->shape.dim[d];
  pare_tensor *product;
  PARE__TRY(pare__call_cast(call, x, t->dtype, &x));
  PARE__TRY(pare__call_slice(call, x, axis, 0, t->inputs, 1, &x));
  PARE__TRY(pare__call_permuted(call, x, order, &x));
  PARE__TRY(pare__call_reshaped(call, x, 3, rows, &x));
  PARE__TRY(transform_rows(call, t, x, &product));
  PARE__TRY(pare__call_permuted(call, out, order, &out));
  PARE__TRY(pare__call_reshaped(call, product, rank, out->shape.dim, &product));
  return pare_cast(product, out);
}

static pare_status check_complex(const pare__call *call) {
  const pare__shape *shape = &call->input[0]->shape;
  const int64_t parts = shape->rank > 0 ? shape->dim[shape->rank - 1] : 0;
  char have[PARE__SHAPE_TEXT];
  if (shape->rank < 2 || (parts != 1 && parts != 2))
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "its input is %s; rank 2 and a last dimension of 1 (real) or 2 (complex) are needed",
                           pare__shape_text(shape->rank, shape->dim, have, sizeof have));
  return pare__call_takes(call, 0);
}

/* What a DFT is to do along an axis of length `have`. */
static pare_status dft_transform(pare__call *call, int64_t have, bool real, transform *t) {
  const bool onesided = pare__call_get_int(call, "onesided", 0) != 0;
  const bool inverse = pare__call_get_int(call, "inverse", 0) != 0;
  const bool to_real = onesided && inverse;
  *t = (transform){.dtype = call->input[0]->dtype == PARE_F64 ? PARE_F64 : PARE_F32, .real_input = real};
  t->length = to_real ? 2 * (have - 1) : have;
  if (pare__call_has(call, 1)) PARE__TRY(pare__call_int(call, 1, &t->length));
  if (t->length < 1 || t->length > INT32_MAX)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "its length is %lld", (long long)t->length);
  if (onesided && !inverse && !real)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "a one-sided transform of complex numbers is not possible");
  const int64_t half = t->length / 2 + 1;
  t->inputs = PARE__MIN(have, to_real ? half : t->length); /* what is longer is cut off, what is shorter is zero */
  t->outputs = onesided && !inverse ? half : t->length;
  t->mirrored = t->real_output = to_real;
  t->sign = inverse ? 1 : -1;
  t->scale = inverse ? 1 / (double)t->length : 1;
  return PARE_OK;
}

static pare_status dft(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, call->node->opset < 20 ? 2 : 3));
  PARE__TRY(check_complex(call));
  pare_tensor *x, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  const int rank = x->shape.rank;
  int64_t given = call->node->opset < 20 ? pare__call_get_int(call, "axis", 1) : -2;
  if (call->node->opset >= 20 && pare__call_has(call, 2)) PARE__TRY(pare__call_int(call, 2, &given));
  int axis;
  PARE__TRY(pare__call_axis(call, given, rank, &axis));
  if (axis == rank - 1) return pare__call_fail(call, PARE_ERR_ARGUMENT, "its axis is the one of the complex parts");
  transform t;
  PARE__TRY(dft_transform(call, x->shape.dim[axis], x->shape.dim[rank - 1] == 1, &t));
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  dim[axis] = t.outputs;
  dim[rank - 1] = t.real_output ? 1 : 2;
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank, dim, &out));
  return transform_axis(call, &t, x, axis, out);
}

/* ---- STFT ---- */

typedef struct stft_call {
  int64_t signal[3]; /* batch, length, parts */
  int64_t step, length, frames;
  transform transform;
} stft_call;

/* A signal of rank 2 is real: torch's exporter leaves the dimension of 1 out. */
static pare_status read_signal(const pare__call *call, int64_t *signal) {
  const pare__shape *shape = &call->input[0]->shape;
  char have[PARE__SHAPE_TEXT];
  if (shape->rank < 2 || shape->rank > 3 || (shape->rank == 3 && shape->dim[2] != 1 && shape->dim[2] != 2))
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "its signal is %s; [batch, length], and then 1 (real) or 2 (complex), are needed",
                           pare__shape_text(shape->rank, shape->dim, have, sizeof have));
  PARE__TRY(pare__call_takes(call, 0));
  for (int d = 0; d < 3; d++) signal[d] = d < shape->rank ? shape->dim[d] : 1;
  return PARE_OK;
}

static pare_status read_stft(pare__call *call, stft_call *s) {
  PARE__TRY(pare__call_check(call, 2, 4));
  PARE__TRY(read_signal(call, s->signal));
  PARE__TRY(pare__call_int(call, 1, &s->step));
  s->length = s->signal[1];
  if (pare__call_has(call, 2)) s->length = pare__shape_elements(&call->input[2]->shape);
  if (pare__call_has(call, 3)) PARE__TRY(pare__call_int(call, 3, &s->length));
  if (s->step < 1 || s->length < 1 || s->length > s->signal[1])
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "frames of %lld in steps of %lld do not fit a signal of %lld",
                           (long long)s->length, (long long)s->step, (long long)s->signal[1]);
  if (pare__call_has(call, 2) && pare__shape_elements(&call->input[2]->shape) != s->length)
    return pare__call_fail(call, PARE_ERR_SHAPE, "a window of %lld elements does not fit frames of %lld",
                           (long long)pare__shape_elements(&call->input[2]->shape), (long long)s->length);
  s->frames = (s->signal[1] - s->length) / s->step + 1;
  const bool real = s->signal[2] == 1, onesided = pare__call_get_int(call, "onesided", 1) != 0;
  if (onesided && !real)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "a one-sided transform of complex numbers is not possible");
  s->transform = (transform){.dtype = call->input[0]->dtype == PARE_F64 ? PARE_F64 : PARE_F32,
                             .length = s->length,
                             .inputs = s->length,
                             .outputs = onesided ? s->length / 2 + 1 : s->length,
                             .real_input = real,
                             .sign = -1,
                             .scale = 1};
  return PARE_OK;
}

/* The signal as frames that overlap: a view [batch, frames, length, parts]. */
static pare_status frames_of(pare__call *call, const stft_call *s, pare_tensor *signal, pare_tensor **out) {
  pare_tensor *view;
  PARE__TRY(pare__tensor_handle(signal, &view));
  PARE__TRY(pare__call_keep(call, view));
  const pare__shape from = signal->shape;
  const int64_t step = PARE__MIN(s->step, from.dim[1]); /* one frame has no next one */
  view->shape = (pare__shape){.rank = 4,
                              .dim = {from.dim[0], s->frames, s->length, from.dim[2]},
                              .stride = {from.stride[0], from.stride[1] * step, from.stride[1], from.stride[2]}};
  view->read_only = true;
  *out = view;
  return PARE_OK;
}

static pare_status stft(pare__call *call) {
  stft_call s;
  PARE__TRY(read_stft(call, &s));
  const transform *t = &s.transform;
  pare_tensor *signal, *window, *matrix, *product, *out;
  PARE__TRY(pare__call_tensor(call, 0, &signal));
  PARE__TRY(pare__call_tensor(call, 2, &window));
  PARE__TRY(transform_matrix(call, t, &matrix));
  PARE__TRY(pare__call_reshaped(call, signal, 3, s.signal, &signal));
  const int64_t parts = s.signal[2], dim[4] = {s.signal[0], s.frames, t->outputs, 2};
  if (window) { /* the rows of the matrix are scaled, not the frames */
    pare_tensor *rows, *weighted;
    const int64_t split[3] = {s.length, parts, matrix->shape.dim[1]};
    PARE__TRY(pare__call_cast(call, window, t->dtype, &window));
    PARE__TRY(pare__call_reshaped(call, window, 3, (const int64_t[]){s.length, 1, 1}, &window));
    PARE__TRY(pare__call_reshaped(call, matrix, 3, split, &rows));
    PARE__TRY(pare__call_scratch(call, t->dtype, 3, split, &weighted));
    PARE__TRY(pare_binary(PARE_BINARY_mul, rows, window, weighted));
    PARE__TRY(pare__call_reshaped(call, weighted, 2, matrix->shape.dim, &matrix));
  }
  PARE__TRY(pare__call_cast(call, signal, t->dtype, &signal));
  PARE__TRY(frames_of(call, &s, signal, &signal));
  if (parts == 1)
    PARE__TRY(pare__call_at(call, signal, 3, 0, &signal));
  else
    PARE__TRY(pare__call_reshaped(call, signal, 3, (const int64_t[]){dim[0], s.frames, 2 * s.length}, &signal));
  PARE__TRY(pare__call_output(call, 0, call->input[0]->dtype, 4, dim, &out));
  const int64_t flat[3] = {dim[0], s.frames, 2 * t->outputs};
  PARE__TRY(pare__call_scratch(call, t->dtype, 3, flat, &product));
  PARE__TRY(pare_gemm(signal, matrix, NULL, NULL, product));
  PARE__TRY(pare__call_reshaped(call, product, 4, dim, &product));
  return pare_cast(product, out);
}

/* ---- com.microsoft Rfft, Irfft; detail: it is the inverse ---- */

/* Over the last signal_ndim dimensions of real numbers. Of the last one, which is transformed first and back last, the
 * complex side has half and one more: the rest are their conjugates. */
typedef struct real_fourier {
  pare__call *call;
  bool inverse;
  pare_dtype dtype; /* of the arithmetic */
  int rank;         /* with the parts */
  int64_t naxes;
} real_fourier;

static pare_status read_real_fourier(real_fourier *f) {
  pare__call *call = f->call;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_takes(call, 0));
  const pare__shape *shape = &call->input[0]->shape;
  char have[PARE__SHAPE_TEXT];
  f->inverse = call->node->op->detail != 0;
  f->rank = shape->rank + (f->inverse ? 0 : 1);
  f->naxes = pare__call_get_int(call, "signal_ndim", 1);
  f->dtype = call->input[0]->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  if (pare__call_get_int(call, "onesided", 1) != 1 || pare__call_get_int(call, "normalized", 0) != 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "only onesided 1 and normalized 0 are possible");
  if (f->rank < 2 || f->rank > PARE_MAX_RANK || f->naxes < 1 || f->naxes > f->rank - 1 ||
      (f->inverse && shape->dim[shape->rank - 1] != 2))
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld dimensions of a signal do not fit its input %s",
                           (long long)f->naxes, pare__shape_text(shape->rank, shape->dim, have, sizeof have));
  return PARE_OK;
}

/* All of an axis of that length to as many complex numbers. */
static transform whole_transform(const real_fourier *f, int64_t length) {
  return (transform){.dtype = f->dtype,
                     .length = length,
                     .inputs = length,
                     .outputs = length,
                     .sign = f->inverse ? 1 : -1,
                     .scale = f->inverse ? 1 / (double)length : 1};
}

/* *x = the dimensions of the signal before the last one transformed. */
static pare_status transform_others(const real_fourier *f, pare_tensor **x) {
  for (int64_t k = 1; k < f->naxes; k++) {
    const int axis = f->rank - 2 - (int)k;
    const transform t = whole_transform(f, (*x)->shape.dim[axis]);
    pare_tensor *out;
    PARE__TRY(pare__call_scratch(f->call, f->dtype, f->rank, (*x)->shape.dim, &out));
    PARE__TRY(transform_axis(f->call, &t, *x, axis, out));
    *x = out;
  }
  return PARE_OK;
}

static pare_status real_transform(pare__call *call) {
  real_fourier f = {.call = call};
  pare_tensor *x, *out, *result, *all;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(read_real_fourier(&f));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  const int last = f.rank - 2;
  memcpy(dim, x->shape.dim, sizeof dim);
  const int64_t have = dim[last], length = f.inverse ? 2 * (have - 1) : have;
  for (int d = 0; d <= last; d++)
    if (length < 1 || dim[d] < 1)
      return pare__call_fail(call, PARE_ERR_SHAPE, "dimension %d of %lld has no transform", d, (long long)dim[d]);
  transform t = whole_transform(&f, length);
  t.real_input = !f.inverse;
  t.real_output = t.mirrored = f.inverse;
  t.inputs = have;
  t.outputs = f.inverse ? length : length / 2 + 1;
  dim[last] = t.outputs;
  dim[last + 1] = f.inverse ? 1 : 2;
  PARE__TRY(pare__call_output(call, 0, x->dtype, f.inverse ? f.rank - 1 : f.rank, dim, &out));
  PARE__TRY(pare__call_scratch(call, f.dtype, f.rank, dim, &all));
  if (f.inverse) {
    PARE__TRY(transform_others(&f, &x));
    PARE__TRY(transform_axis(call, &t, x, last, all));
    PARE__TRY(pare__call_reshaped(call, all, f.rank - 1, dim, &result));
    return pare_cast(result, out);
  }
  dim[last] = have;
  dim[last + 1] = 1;
  PARE__TRY(pare__call_reshaped(call, x, f.rank, dim, &x));
  PARE__TRY(transform_axis(call, &t, x, last, all));
  PARE__TRY(transform_others(&f, &all));
  return pare_cast(all, out);
}

/* ---- com.microsoft ComplexMul, ComplexMulConj; detail: b is conjugated ---- */

/* Products of complex numbers [..., 2]. */
static pare_status complex_product(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_takes(call, 0));
  const bool conjugated = call->node->op->detail != 0;
  pare_tensor *side[2], *part[2][2], *out, *to, *left, *right;
  pare__shape shape, half;
  for (unsigned i = 0; i < 2; i++) {
    PARE__TRY(pare__call_tensor(call, i, &side[i]));
    const int last = side[i]->shape.rank - 1;
    if (last < 0 || side[i]->shape.dim[last] != 2)
      return pare__call_fail(call, PARE_ERR_SHAPE, "the last dimension of input %u is not 2", i);
    for (int k = 0; k < 2; k++) PARE__TRY(pare__call_slice(call, side[i], last, k, 1, 1, &part[i][k]));
  }
  PARE__TRY(pare__shape_broadcast(&side[0]->shape, &side[1]->shape, &shape));
  PARE__TRY(pare__shape_broadcast(&part[0][0]->shape, &part[1][0]->shape, &half));
  PARE__TRY(pare__call_output(call, 0, side[0]->dtype, shape.rank, shape.dim, &out));
  PARE__TRY(pare__call_scratch(call, side[0]->dtype, half.rank, half.dim, &left));
  PARE__TRY(pare__call_scratch(call, side[0]->dtype, half.rank, half.dim, &right));
  for (int k = 0; k < 2; k++) { /* ac - bd, bc + ad; conjugated ac + bd, bc - ad */
    PARE__TRY(pare_binary(PARE_BINARY_mul, part[0][k], part[1][0], left));
    PARE__TRY(pare_binary(PARE_BINARY_mul, part[0][!k], part[1][1], right));
    PARE__TRY(pare__call_slice(call, out, shape.rank - 1, k, 1, 1, &to));
    PARE__TRY(pare_binary((k == 0) == conjugated ? PARE_BINARY_add : PARE_BINARY_sub, left, right, to));
  }
  return PARE_OK;
}

#define MICROSOFT(op, function, which) \
  { "com.microsoft", op, 1, 0, PARE__ON_DEVICE, function, NULL, .detail = which, .types = "floats" }
#define WINDOW(op, which) \
  { "", op, 17, 0, PARE__ON_DEVICE, window, NULL, .detail = which, .types = "numbers" }
const pare__operator pare__operators_signal[] = {
    WINDOW("HannWindow", 0),
    WINDOW("HammingWindow", 1),
    WINDOW("BlackmanWindow", 2),
    {"", "MelWeightMatrix", 17, 0, PARE__ON_HOST, mel_weight_matrix, NULL, .types = "numbers"},
    {"", "DFT", 17, 0, PARE__ON_DEVICE, dft, NULL, .types = "floats"},
    {"", "STFT", 17, 0, PARE__ON_DEVICE, stft, NULL, .types = "floats"},
    MICROSOFT("Rfft", real_transform, 0),
    MICROSOFT("Irfft", real_transform, 1),
    MICROSOFT("ComplexMul", complex_product, 0),
    MICROSOFT("ComplexMulConj", complex_product, 1),
    {0},
};
