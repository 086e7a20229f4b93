/* Benchmark server: pare, over its public interface. SPDX-License-Identifier: Apache-2.0
 *
 * A run submits its repeats and waits once, as a program would that uses results when it has all of them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "serve_tensors.h"

static pare_weights *weights;
static long chain_length;

static void close_all(void) {
  close_tensors();
  pare_weights_close(weights);
  weights = NULL;
}

static const char *add_tensors(unsigned count, int rank, const int64_t *shape) {
  const char *problem = NULL;
  for (unsigned i = 0; i < count && problem == NULL; i++) problem = add_tensor(rank, shape);
  return problem;
}

/* ---- products: m n k ---- */

static const char *open_packed(const long *arguments) {
  const char *problem = open_gemm(arguments);
  if (problem != NULL) return problem;
  CHECK(pare_weights_pack(tensors[1], false, &weights));
  return NULL;
}

static const char *run_packed(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_gemm_packed(tensors[0], weights, NULL, NULL, tensors[2]));
  CHECK(pare_context_wait(context));
  return NULL;
}

/* A tensor of bytes of many values. */
static const char *add_bytes(pare_dtype dtype, int rank, const int64_t *shape) {
  size_t count = 1;
  for (int i = 0; i < rank; i++) count *= (size_t)shape[i];
  uint8_t *values = malloc(count);
  if (values == NULL) return "out of memory";
  for (size_t i = 0; i < count; i++) values[i] = (uint8_t)(i * 2654435761u >> 7);
  const pare_status status = pare_tensor_from(context, dtype, rank, shape, values, count, &tensors[ntensors]);
  free(values);
  CHECK(status);
  ntensors++;
  return NULL;
}

static const char *open_int8(const long *arguments) {
  const int64_t n = arguments[1], k = arguments[2];
  const char *problem = open_gemm(arguments);
  if (problem == NULL) problem = add_tensor(1, &n);
  if (problem == NULL) problem = add_bytes(PARE_I8, 2, (const int64_t[]){k, n});
  if (problem != NULL) return problem;
  CHECK(pare_weights_pack_int8(tensors[4], false, tensors[3], &weights));
  return NULL;
}

/* 4 bits in blocks of 32 with zero points, as MatMulNBits has them. */
static const char *open_int4(const long *arguments) {
  const int64_t n = arguments[1], k = arguments[2], block = 32, blocks = k / block;
  const pare_blocks_options options = {.bits = 4, .block = block, .packed = true, .k = k};
  const char *problem = open_gemm(arguments);
  if (problem == NULL) problem = add_tensor(2, (const int64_t[]){n, blocks});
  if (problem == NULL) problem = add_bytes(PARE_U8, 2, (const int64_t[]){n, k / 2});
  if (problem == NULL) problem = add_bytes(PARE_U8, 2, (const int64_t[]){n, blocks});
  if (problem != NULL) return problem;
  CHECK(pare_weights_pack_blocks(tensors[4], tensors[3], tensors[5], &options, &weights));
  return NULL;
}

static const char *run_int8(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_gemm_int8(tensors[0], weights, NULL, NULL, tensors[2]));
  CHECK(pare_context_wait(context));
  return NULL;
}

/* ---- streaming: n ---- */

static const char *open_vectors(const long *arguments) { return add_tensors(3, 1, (const int64_t[]){arguments[0]}); }

static const char *run_relu(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_unary(PARE_UNARY_relu, tensors[0], tensors[1]));
  CHECK(pare_context_wait(context));
  return NULL;
}

static const char *run_add(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_binary(PARE_BINARY_add, tensors[0], tensors[1], tensors[2]));
  CHECK(pare_context_wait(context));
  return NULL;
}

static const char *run_copy(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_copy(tensors[0], tensors[1]));
  CHECK(pare_context_wait(context));
  return NULL;
}

/* ---- permute of the two last axes: planes rows columns ---- */

static const char *open_permute(const long *arguments) {
  const int64_t planes = arguments[0], rows = arguments[1], columns = arguments[2];
  const char *problem = add_tensor(3, (const int64_t[]){planes, rows, columns});
  return problem == NULL ? add_tensor(3, (const int64_t[]){planes, columns, rows}) : problem;
}

static const char *run_permute(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_permute(tensors[0], (const int[]){0, 2, 1}, tensors[1]));
  CHECK(pare_context_wait(context));
  return NULL;
}

/* ---- reductions: n ---- */

static const char *open_reduction(const long *arguments) {
  const char *problem = add_tensor(1, &(const int64_t){arguments[0]});
  if (problem != NULL) return problem;
  return add_tensor(0, NULL);
}

static const char *run_reduction(pare_reduction reduction, unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_reduce(tensors[0], reduction, NULL, 0, false, tensors[1]));
  CHECK(pare_context_wait(context));
  return NULL;
}

static const char *run_sum(unsigned repeats) { return run_reduction(PARE_REDUCTION_SUM, repeats); }
static const char *run_max(unsigned repeats) { return run_reduction(PARE_REDUCTION_MAX, repeats); }

/* ---- rows: rows columns ---- */

static const char *open_rows(const long *arguments) {
  const char *problem = add_tensors(2, 2, (const int64_t[]){arguments[0], arguments[1]});
  return problem == NULL ? add_tensors(2, 1, (const int64_t[]){arguments[1]}) : problem;
}

static const char *run_softmax(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_softmax(tensors[0], 1, tensors[1]));
  CHECK(pare_context_wait(context));
  return NULL;
}

static const char *run_layer_norm(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++)
    CHECK(pare_layer_norm(tensors[0], 1, tensors[2], tensors[3], 1e-5, tensors[1], NULL, NULL));
  CHECK(pare_context_wait(context));
  return NULL;
}

/* ---- compression: n, or rows columns ---- */

static const char *open_kth(const long *arguments) {
  const char *problem = open_reduction(arguments);
  if (problem != NULL) return problem;
  CHECK(pare_tensor_create(context, PARE_I64, 1, (const int64_t[]){2}, &tensors[ntensors]));
  ntensors++;
  return NULL;
}

static const char *run_kth(unsigned repeats) {
  const pare_select_options options = {true, false};
  for (unsigned i = 0; i < repeats; i++)
    CHECK(pare_select_kth(tensors[0], pare_tensor_elements(tensors[0]) / 2, &options, tensors[1], tensors[2]));
  CHECK(pare_context_wait(context));
  return NULL;
}

/* The tensor as ten. */
static const char *select_once(pare_selection *selection) {
  const int64_t part = pare_tensor_elements(tensors[0]) / 10;
  for (bool done = false; !done;) {
    for (int64_t i = 0; i < 10; i++) {
      pare_tensor *range;
      CHECK(pare_tensor_slice(tensors[0], 0, i * part, part, 1, &range));
      pare_status status = pare_selection_feed(selection, range);
      pare_tensor_close(range);
      CHECK(status);
    }
    CHECK(pare_selection_step(selection, &done));
  }
  return NULL;
}

static const char *run_selection(unsigned repeats) {
  const int64_t total = pare_tensor_elements(tensors[0]) / 10 * 10;
  for (unsigned i = 0; i < repeats; i++) {
    pare_selection *selection;
    CHECK(pare_selection_open(context, total, total / 2, true, &selection));
    const char *problem = select_once(selection);
    pare_selection_close(selection);
    if (problem != NULL) return problem;
  }
  return NULL;
}

static const char *open_columns(const long *arguments) {
  return add_tensors(2, 2, (const int64_t[]){arguments[0], arguments[1]});
}

static const char *run_prune(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_prune_n_of_m(tensors[0], 0, 2, 4, tensors[1]));
  CHECK(pare_context_wait(context));
  return NULL;
}

static const char *open_quantise(long n, int bits) {
  const int64_t shape[] = {n / 4096, 4096}, groups[] = {n / 4096, 128}, bytes[] = {n / 4096, 512 * bits};
  const char *problem = add_tensor(2, shape);
  if (problem == NULL) problem = add_tensor(2, groups);
  if (problem != NULL) return problem;
  CHECK(pare_tensor_create(context, bits == 8 ? PARE_I8 : PARE_U8, 2, bytes, &tensors[ntensors]));
  ntensors++;
  return NULL;
}

static const char *run_quantise(unsigned repeats, int bits) {
  const pare_grid grid = {bits, true, false, PARE_PER_GROUP, 1, 32};
  for (unsigned i = 0; i < repeats; i++)
    CHECK(pare_grid_encode(&grid, NULL, tensors[0], NULL, tensors[1], NULL, tensors[2]));
  CHECK(pare_context_wait(context));
  return NULL;
}

static const char *open_quantise_q8(const long *arguments) { return open_quantise(arguments[0], 8); }
static const char *open_quantise_q4(const long *arguments) { return open_quantise(arguments[0], 4); }
static const char *run_quantise_q8(unsigned repeats) { return run_quantise(repeats, 8); }
static const char *run_quantise_q4(unsigned repeats) { return run_quantise(repeats, 4); }

/* ---- a chain: length n ---- */

static const char *open_chain(const long *arguments) {
  chain_length = arguments[0];
  return add_tensors(2, 1, &(const int64_t){arguments[1]});
}

static const char *run_chain(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++)
    for (long j = 0; j < chain_length; j++) CHECK(pare_unary(PARE_UNARY_neg, tensors[j % 2], tensors[(j + 1) % 2]));
  CHECK(pare_context_wait(context));
  return NULL;
}

int main(void) {
  static const bench_work works[] = {
      {"gemm", 3, open_gemm, run_gemm, close_all},
      {"gemm_packed", 3, open_packed, run_packed, close_all},
      {"gemm_int8", 3, open_int8, run_int8, close_all},
      {"gemm_int4", 3, open_int4, run_packed, close_all},
      {"gemm_int4_int8", 3, open_int4, run_int8, close_all},
      {"copy", 1, open_vectors, run_copy, close_all},
      {"permute", 3, open_permute, run_permute, close_all},
      {"relu", 1, open_vectors, run_relu, close_all},
      {"add", 1, open_vectors, run_add, close_all},
      {"sum", 1, open_reduction, run_sum, close_all},
      {"max", 1, open_reduction, run_max, close_all},
      {"softmax", 2, open_rows, run_softmax, close_all},
      {"layer_norm", 2, open_rows, run_layer_norm, close_all},
      {"kth", 1, open_kth, run_kth, close_all},
      {"selection", 1, open_kth, run_selection, close_all},
      {"prune_2_4", 1, open_vectors, run_prune, close_all},
      {"prune_columns", 2, open_columns, run_prune, close_all},
      {"quantise_q8", 1, open_quantise_q8, run_quantise_q8, close_all},
      {"quantise_q4", 1, open_quantise_q4, run_quantise_q4, close_all},
      {"chain", 2, open_chain, run_chain, close_all},
      {NULL, 0, NULL, NULL, NULL},
  };
  if (pare_context_open(NULL, &context) != PARE_OK) {
    fprintf(stderr, "serve_pare: %s\n", pare_message());
    return 4;
  }
  int status = bench_serve(works, false);
  pare_context_close(context);
  return status;
}
