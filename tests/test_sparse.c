/* N:M sparse weights: stored and read bit for bit, hostile indices refused, products against the formula, the law of
 * splitting. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/gemm.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tensor/context.h"

typedef struct sample {
  pare_sparse_layout layout;
  void *dense, *values;
  uint8_t *indices;
  size_t dense_bytes, values_bytes, indices_bytes;
} sample;

static uint32_t next(uint32_t *state) { return (*state = *state * 1664525U + 1013904223U) >> 8; }

/* Any bits, of which some groups keep fewer than they may. */
static void sample_open(pare_sparse_layout layout, sample *out) {
  const size_t size = pare_dtype_bytes(layout.dtype), count = (size_t)(layout.rows * layout.inputs);
  uint32_t state = 7;
  *out = (sample){.layout = layout, .dense_bytes = count * size};
  OK(pare_sparse_sizes(&layout, &out->values_bytes, &out->indices_bytes));
  uint8_t *dense = out->dense = calloc(count + 1, size);
  for (size_t i = 0; i < count; i++) dense[i * size] = (uint8_t)layout.fill;
  for (size_t g = 0; g < count / (size_t)layout.of; g++)
    for (int s = 0; s < layout.keep; s++) {
      const size_t at = g * (size_t)layout.of + next(&state) % (unsigned)layout.of;
      for (size_t b = 0; b < size; b++) dense[at * size + b] = (uint8_t)next(&state);
    }
  out->values = calloc(out->values_bytes + 1, 1);
  out->indices = calloc(out->indices_bytes + 1, 1);
  OK(pare_sparse_encode(&layout, dense, out->values, out->indices));
}

static void sample_close(sample *s) {
  free(s->dense);
  free(s->values);
  free(s->indices);
}

static const pare_sparse_layout layouts[] = {
    {PARE_F32, 2, 4, 5, 36, 0},  {PARE_I8, 2, 4, 33, 128, 0},  {PARE_U8, 2, 4, 7, 4, 128}, {PARE_F16, 1, 2, 3, 18, 0},
    {PARE_BF16, 3, 7, 9, 49, 0}, {PARE_F32, 15, 16, 4, 80, 0}, {PARE_I8, 4, 8, 3, 40, -3}, {PARE_F32, 1, 16, 2, 48, 0},
    {PARE_F32, 2, 4, 0, 8, 0},   {PARE_F32, 2, 4, 3, 0, 0},
};

START_TEST(decoding_gives_the_bits_that_were_encoded) {
  sample s;
  sample_open(layouts[_i], &s);
  void *again = calloc(s.dense_bytes + 1, 1);
  OK(pare_sparse_decode(&s.layout, s.values, s.indices, again));
  ck_assert_mem_eq(again, s.dense, s.dense_bytes);
  free(again);
  sample_close(&s);
}
END_TEST

START_TEST(two_of_four_int8_takes_five_bits) {
  const pare_sparse_layout layout = {PARE_I8, 2, 4, 384, 384, 0};
  size_t values_bytes, indices_bytes;
  OK(pare_sparse_sizes(&layout, &values_bytes, &indices_bytes));
  ck_assert_uint_eq((values_bytes + indices_bytes) * 8, (size_t)(384 * 384 * 5));
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
  size_t a, b;
  const pare_sparse_layout wrong[] = {
      {PARE_F32, 4, 4, 1, 8, 0}, {PARE_F32, 0, 4, 1, 8, 0},  {PARE_F32, 2, 17, 1, 34, 0},
      {PARE_F32, 2, 4, 1, 9, 0}, {PARE_F64, 2, 4, 1, 8, 0},  {PARE_I8, 2, 4, 1, 8, 200},
      {PARE_F32, 2, 4, 1, 8, 1}, {PARE_F32, 2, 4, -1, 8, 0}, {PARE_F32, 2, 4, INT64_MAX / 4, 1 << 20, 0},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    ck_assert_int_ne(pare_sparse_sizes(&wrong[i], &a, &b), PARE_OK);
  const float dense[] = {1, 2, 3, 0};
  float values[2];
  uint8_t indices[1];
  const pare_sparse_layout layout = {PARE_F32, 2, 4, 1, 4, 0};
  ck_assert_int_eq(pare_sparse_encode(&layout, dense, values, indices), PARE_ERR_ARGUMENT);
}
END_TEST

/* Places that repeat, fall, or are none of the group's. */
START_TEST(hostile_indices_are_refused) {
  static const struct {
    int of;
    uint8_t byte;
  } hostile[] = {{4, 0x5}, {4, 0x1}, {3, 0xc}, {4, 0x0}};
  const float values[2] = {1, 2};
  float dense[4];
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
    const pare_sparse_layout layout = {PARE_F32, 2, hostile[i].of, 1, hostile[i].of, 0};
    pare_weights *weights;
    ck_assert_int_eq(pare_sparse_decode(&layout, values, &hostile[i].byte, dense), PARE_ERR_FORMAT);
    ck_assert_int_eq(pare_weights_pack_sparse(context, &layout, values, &hostile[i].byte, NULL, &weights),
                     PARE_ERR_FORMAT);
    ck_assert_ptr_null(weights);
  }
}
END_TEST

/* ---- products ---- */

static const struct {
  int64_t m, n, k;
  int keep, of;
  bool bytes;
} products[] = {
    {1, 50, 96, 2, 4, false}, {3, 33, 140, 2, 4, true}, {70, 37, 1100, 2, 4, false},
    {41, 35, 64, 2, 4, true}, {2, 20, 63, 3, 7, false}, {9, 20, 96, 9, 16, false},
};

START_TEST(products_are_those_of_the_dense_weights) {
  const int64_t m = products[_i].m, n = products[_i].n, k = products[_i].k;
  const bool bytes = products[_i].bytes;
  const pare_sparse_layout layout = {bytes ? PARE_I8 : PARE_F32, products[_i].keep, products[_i].of, n, k, 0};
  float *a = random_floats(m * k, 1), *scales = random_floats(n, 2), *w = random_floats(n * k, 3);
  int8_t *codes = calloc((size_t)(n * k), 1);
  for (int64_t j = 0; j < n; j++)
    for (int64_t l = 0; l < k; l++) {
      float *x = &w[j * k + l];
      if ((l + 3 * j) % layout.of >= layout.keep) *x = 0;
      codes[j * k + l] = (int8_t)(127 * *x);
      if (bytes) *x = (float)codes[j * k + l] * scales[j];
    }
  size_t values_bytes, indices_bytes;
  OK(pare_sparse_sizes(&layout, &values_bytes, &indices_bytes));
  void *values = malloc(values_bytes);
  uint8_t *indices = malloc(indices_bytes);
  OK(pare_sparse_encode(&layout, bytes ? (void *)codes : (void *)w, values, indices));
  pare_tensor *ta = tensor_of(PARE_F32, 2, (const int64_t[]){m, k}, a), *tc,
              *scale = tensor_of(PARE_F32, 1, (const int64_t[]){n}, scales);
  OK(pare_tensor_create(context, PARE_F32, 2, (const int64_t[]){m, n}, &tc));
  pare_weights *weights;
  OK(pare_weights_pack_sparse(context, &layout, values, indices, bytes ? scale : NULL, &weights));
  const size_t nbytes = (size_t)(m * n) * sizeof(float);
  float *whole = malloc(nbytes), *pieces = malloc(nbytes);
  for (int count = 1; count <= 3; count++) {
    pare__context_split(context, count);
    OK(pare_gemm_packed(ta, weights, NULL, NULL, tc));
    OK(pare_tensor_read(tc, count == 1 ? whole : pieces, nbytes));
    if (count > 1) ck_assert_mem_eq(whole, pieces, nbytes);
  }
  pare__context_split(context, 1);
  for (int64_t t = 0; t < m * n; t++) {
    double want = 0, magnitude = 0;
    for (int64_t l = 0; l < k; l++) {
      const double product = (double)a[t / n * k + l] * (double)w[t % n * k + l];
      want += product;
      magnitude += fabs(product);
    }
    ck_assert_msg(fabs((double)whole[t] - want) <= 1e-5 * (magnitude + 1), "element %lld: got %.9g, expected %.9g",
                  (long long)t, (double)whole[t], want);
  }
  pare_weights_close(weights);
  pare_tensor_close(ta);
  pare_tensor_close(tc);
  pare_tensor_close(scale);
  free(a);
  free(scales);
  free(w);
  free(codes);
  free(values);
  free(indices);
  free(whole);
  free(pieces);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  tcase_add_unchecked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, decoding_gives_the_bits_that_were_encoded, 0, sizeof layouts / sizeof *layouts);
  tcase_add_test(laws, two_of_four_int8_takes_five_bits);
  tcase_add_test(laws, what_does_not_fit_is_refused);
  tcase_add_test(laws, hostile_indices_are_refused);
  tcase_add_loop_test(laws, products_are_those_of_the_dense_weights, 0, sizeof products / sizeof *products);
  return run_tests("sparse", laws);
}
