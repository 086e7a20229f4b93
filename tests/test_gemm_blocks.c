/* Weights quantised in blocks through the public API: each way that they can lie, against the formula; rounded
 * activations; the law of splitting; errors. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/gemm.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tensor/context.h"

typedef struct layout {
  int bits;
  int64_t m, n, k, block;
  bool transposed, packed, is_signed;
  int zeros; /* 0: none, 1: bytes, 2: floats */
  int zero;  /* where there are none */
} layout;

static const layout layouts[] = {
    {4, 1, 50, 96, 32, true, true, false, 1, 0},   {4, 37, 50, 75, 16, true, true, false, 0, 8},
    {2, 9, 33, 70, 16, true, true, false, 0, 2},   {8, 3, 21, 60, 32, true, true, false, 1, 0},
    {4, 41, 35, 64, 16, false, false, true, 0, 0}, {4, 5, 35, 60, 12, false, false, false, 2, 0},
    {8, 6, 40, 77, 0, false, false, true, 0, 0},   {8, 4, 40, 77, 0, true, false, false, 1, 0},
    {4, 2, 16, 20, 256, true, true, false, 1, 0},  {8, 33, 18, 130, 64, true, false, true, 0, 0},
};

/* The weights as numbers [K N], and as tensors. */
typedef struct quantised {
  float *weights;
  pare_tensor *b, *scale, *zero;
} quantised;

static int value_at(const layout *l, int64_t k, int64_t n) {
  const int range = 1 << l->bits;
  return (int)((k * 37 + n * 101 + k * n) % range) - (l->is_signed ? range / 2 : 0);
}

static void quantised_open(const layout *l, quantised *out) {
  const int64_t block = l->block ? l->block : l->k, blocks = (l->k + block - 1) / block, most = 1 << 16;
  const int64_t stored = blocks * block * l->bits / 8; /* bytes of a packed column */
  uint8_t *bytes = calloc((size_t)most, 1), *zeros = calloc((size_t)most, 1);
  float *scale = random_floats(blocks * l->n, 5), *zero = calloc((size_t)(blocks * l->n), sizeof *zero);
  out->weights = calloc((size_t)(l->k * l->n), sizeof(float));
  const bool turned = l->transposed;
  for (int64_t n = 0; n < l->n; n++)
    for (int64_t k = 0; k < l->k; k++) {
      const int64_t g = k / block, at = turned ? n * blocks + g : g * l->n + n;
      const int value = value_at(l, k, n);
      zeros[at] = (uint8_t)((g * 5 + n) % (1 << l->bits));
      zero[at] = (float)zeros[at] + 0.25F;
      if (l->packed) {
        const int64_t in_row = k * l->bits;
        bytes[n * stored + in_row / 8] |= (uint8_t)(value << (in_row % 8));
      } else {
        bytes[turned ? n * l->k + k : k * l->n + n] = (uint8_t)value;
      }
      const float middle = l->zeros == 0 ? (float)l->zero : l->zeros == 1 ? (float)zeros[at] : zero[at];
      out->weights[k * l->n + n] = ((float)value - middle) * scale[at];
    }
  const int64_t plain[] = {turned ? l->n : l->k, turned ? l->k : l->n}, packed[] = {l->n, blocks, stored / blocks};
  const int64_t parameters[] = {turned ? l->n : blocks, turned ? blocks : l->n};
  out->b =
      l->packed ? tensor_of(PARE_U8, 3, packed, bytes) : tensor_of(l->is_signed ? PARE_I8 : PARE_U8, 2, plain, bytes);
  out->scale = tensor_of(PARE_F32, 2, parameters, scale);
  out->zero = l->zeros == 0   ? NULL
              : l->zeros == 1 ? tensor_of(PARE_U8, 2, parameters, zeros)
                              : tensor_of(PARE_F32, 2, parameters, zero);
  free(bytes);
  free(zeros);
  free(scale);
  free(zero);
}

static void quantised_close(quantised *q) {
  pare_tensor_close(q->b);
  pare_tensor_close(q->scale);
  pare_tensor_close(q->zero);
  free(q->weights);
}

/* A row of A in blocks of integers: what the product sees where it may round. */
static void round_row(const layout *l, const float *from, float *to) {
  const int64_t block = l->block ? l->block : l->k;
  for (int64_t begin = 0; begin < l->k; begin += block) {
    float most = 0;
    const int64_t end = begin + block < l->k ? begin + block : l->k;
    for (int64_t k = begin; k < end; k++) most = fmaxf(most, fabsf(from[k]));
    for (int64_t k = begin; k < end; k++) to[k] = most > 0 ? rintf(from[k] * (127 / most)) * most / 127 : 0;
  }
}

static void check_product(const layout *l, const quantised *q, const float *a, const float *c, const char *what) {
  for (int64_t t = 0; t < l->m * l->n; t++) {
    double want = 0, magnitude = 0;
    for (int64_t k = 0; k < l->k; k++) {
      const double product = (double)a[t / l->n * l->k + k] * (double)q->weights[k * l->n + t % l->n];
      want += product;
      magnitude += fabs(product);
    }
    /* a value in the middle of two integers may go either way, and a zero point is taken off at the end of a block */
    const double tolerance = 1e-5 * magnitude * (1 << l->bits) + 1e-5;
    ck_assert_msg(fabs((double)c[t] - want) <= tolerance, "%s, element %lld: got %.9g, expected %.9g", what,
                  (long long)t, (double)c[t], want);
  }
}

START_TEST(every_layout_gives_the_products_of_its_formula) {
  const layout *l = &layouts[_i];
  const int64_t a_shape[] = {l->m, l->k}, c_shape[] = {l->m, l->n};
  float *a = random_floats(l->m * l->k, 1), *rounded = calloc((size_t)(l->m * l->k), sizeof *rounded);
  const size_t nbytes = (size_t)(l->m * l->n) * sizeof(float);
  float *whole = malloc(nbytes), *pieces = malloc(nbytes);
  quantised q;
  quantised_open(l, &q);
  pare_tensor *ta = tensor_of(PARE_F32, 2, a_shape, a), *tc;
  OK(pare_tensor_create(context, PARE_F32, 2, c_shape, &tc));
  const pare_blocks_options options = {l->bits, l->block, l->transposed, l->packed, l->packed ? l->k : 0, l->zero};
  pare_weights *weights = NULL;
  for (int64_t i = 0; i < l->m; i++) round_row(l, a + i * l->k, rounded + i * l->k);
  for (int round = 0; round < 2; round++)
    for (int count = 1; count <= 3; count++) {
      pare__context_split(context, count);
      pare_weights_close(weights); /* packed in pieces, too */
      OK(pare_weights_pack_blocks(q.b, q.scale, q.zero, &options, &weights));
      OK(round ? pare_gemm_int8(ta, weights, NULL, NULL, tc) : pare_gemm_packed(ta, weights, NULL, NULL, tc));
      OK(pare_tensor_read(tc, count == 1 ? whole : pieces, nbytes));
      if (count > 1)
        ck_assert_mem_eq(whole, pieces, nbytes);
      else
        check_product(l, &q, round && l->bits <= 4 ? rounded : a, whole, round ? "rounded" : "as it is");
    }
  pare__context_split(context, 1);
  /* four bits and a scale of 32 for each block at most, in whole panels */
  const int64_t block = l->block ? l->block : l->k, blocks = (l->k + block - 1) / block,
                columns = (l->n + 63) / 64 * 64;
  const uint64_t stored = (uint64_t)(columns * blocks * ((block + 7) / 8 * 8) * (l->bits <= 4 ? 4 : 8) / 8);
  ck_assert_uint_le(pare_weights_bytes(weights), stored + (uint64_t)(columns * blocks) * (l->zeros == 2 ? 8 : 5));
  pare_weights_close(weights);
  quantised_close(&q);
  pare_tensor_close(ta);
  pare_tensor_close(tc);
  free(a);
  free(rounded);
  free(whole);
  free(pieces);
}
END_TEST

START_TEST(wrong_weights_are_refused) {
  static const int64_t b_shape[] = {8, 6}, scale_shape[] = {3, 6};
  pare_tensor *b, *scale, *floats;
  pare_weights *weights = NULL;
  OK(pare_tensor_create(context, PARE_U8, 2, b_shape, &b));
  OK(pare_tensor_create(context, PARE_F32, 2, scale_shape, &scale));
  OK(pare_tensor_create(context, PARE_F32, 2, b_shape, &floats));
  pare_blocks_options options = PARE_BLOCKS_OPTIONS_INIT;
  options.block = 4; /* two blocks: three rows of scales do not fit */
  ck_assert_int_eq(pare_weights_pack_blocks(b, scale, NULL, &options, &weights), PARE_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(pare_message(), "2 x 6"));
  ck_assert_int_eq(pare_weights_pack_blocks(floats, scale, NULL, &options, &weights), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_weights_pack_blocks(b, b, NULL, &options, &weights), PARE_ERR_TYPE);
  options.bits = 5;
  ck_assert_int_eq(pare_weights_pack_blocks(b, scale, NULL, &options, &weights), PARE_ERR_ARGUMENT);
  options = (pare_blocks_options){.bits = 4, .block = 16, .packed = true, .k = 30};
  ck_assert_int_eq(pare_weights_pack_blocks(b, scale, NULL, &options, &weights), PARE_ERR_SHAPE);
  ck_assert_ptr_null(weights);
  pare_tensor_close(b);
  pare_tensor_close(scale);
  pare_tensor_close(floats);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  tcase_add_unchecked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, every_layout_gives_the_products_of_its_formula, 0, sizeof layouts / sizeof *layouts);
  tcase_add_test(laws, wrong_weights_are_refused);
  return run_tests("gemm_blocks", laws);
}
