/* Operators of com.microsoft around decoders: n-grams that must not repeat, times of words.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/move.h>
#include <stdlib.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* ---- NGramRepeatBlock ---- */

/* matches [batch, windows]: the window's first n - 1 tokens are the last n - 1. */
static pare_status find_repeats(pare__call *call, pare_tensor *ids, int64_t n, pare_tensor **matches) {
  const int64_t length = ids->shape.dim[1], dim[2] = {ids->shape.dim[0], length - n + 1};
  pare_tensor *window, *token, *match, *truth;
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, matches));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, &match));
  PARE__TRY(pare__call_scalar(call, PARE_BOOL, 1, &truth));
  PARE__TRY(pare_copy(truth, *matches));
  for (int64_t k = 0; k < n - 1; k++) {
    PARE__TRY(pare__call_slice(call, ids, 1, k, dim[1], 1, &window));
    PARE__TRY(pare__call_slice(call, ids, 1, length - n + 1 + k, 1, 1, &token));
    PARE__TRY(pare_binary(PARE_BINARY_equal, window, token, match));
    PARE__TRY(pare_binary(PARE_BINARY_and, *matches, match, *matches));
  }
  return PARE_OK;
}

/* Scores [batch, vocabulary] of tokens that would repeat an n-gram of ids [batch, length] become minus infinity. */
static pare_status ngram_repeat_block(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_takes(call, 1));
  pare_tensor *ids, *scores, *matches, *tokens, *nothing, *no, *blocked, *least, *out;
  PARE__TRY(pare__call_tensor(call, 0, &ids));
  PARE__TRY(pare__call_tensor(call, 1, &scores));
  const int64_t n = pare__call_get_int(call, "ngram_size", 0);
  if (n < 1 || ids->shape.rank != 2 || scores->shape.rank != 2 || ids->shape.dim[0] != scores->shape.dim[0])
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "ngram_size %lld, ranks %d and %d: 1 at least, and matrices of as many rows, are needed",
                           (long long)n, ids->shape.rank, scores->shape.rank);
  if (ids->shape.dim[1] < n || pare__shape_elements(&scores->shape) == 0) return pare__call_pass(call, 0, 1);
  PARE__TRY(pare__call_cast(call, ids, PARE_I64, &ids));
  PARE__TRY(find_repeats(call, ids, n, &matches));
  PARE__TRY(pare__call_slice(call, ids, 1, n - 1, matches->shape.dim[1], 1, &tokens));
  PARE__TRY(pare__call_scalar(call, PARE_BOOL, 0, &no));
  PARE__TRY(pare__call_broadcast(call, no, 2, scores->shape.dim, &nothing));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, scores->shape.dim, &blocked));
  PARE__TRY(pare_scatter_elements(nothing, tokens, matches, 1, PARE_SCATTER_MAX, blocked));
  PARE__TRY(pare__call_scalar(call, scores->dtype, (double)-INFINITY, &least));
  PARE__TRY(pare__call_output(call, 0, scores->dtype, 2, scores->shape.dim, &out));
  return pare_ternary(PARE_TERNARY_where, blocked, least, scores, out);
}

/* ---- DynamicTimeWarping, on the host: the path is found step after step ---- */

enum { DIAGONAL, DOWN, ACROSS }; /* how the path came to an element */

/* The cheapest path to every element; of equal ones that across, as Whisper's has it. In f32, its order of sums. */
static void find_paths(const pare__content *costs, size_t rows, size_t columns, float *sum, uint8_t *step) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j++) {
      const size_t at = i * columns + j;
      const float before_first = i || j ? INFINITY : 0;
      const float diagonal = i && j ? sum[at - columns - 1] : before_first;
      const float down = i ? sum[at - columns] : INFINITY, across = j ? sum[at - 1] : INFINITY;
      const bool by_diagonal = diagonal < down && diagonal < across, by_row = down < diagonal && down < across;
      step[at] = by_diagonal ? DIAGONAL : by_row ? DOWN : ACROSS;
      sum[at] = (float)pare__content_number(costs, at) + (by_diagonal ? diagonal : by_row ? down : across);
    }
}

/* Output 0 (i32 [2, n]): rows and columns of the path from the first element to the last. */
static pare_status give_path(pare__call *call, size_t rows, size_t columns, const uint8_t *step, int32_t *path) {
  const size_t most = rows + columns;
  size_t count = 0, i = rows - 1, j = columns - 1;
  for (;;) { /* from the end: filled from behind */
    count++;
    path[most - count] = (int32_t)i;
    path[2 * most - count] = (int32_t)j;
    if (i == 0 && j == 0) break;
    const bool up = j == 0 || (i > 0 && step[i * columns + j] != ACROSS);
    const bool left = i == 0 || (j > 0 && step[i * columns + j] != DOWN);
    i -= up;
    j -= left;
  }
  pare__content *out;
  PARE__TRY(pare__content_create(PARE_I32, 2, (const int64_t[]){2, (int64_t)count}, NULL, &out));
  int32_t *to = out->owned;
  for (size_t k = 0; k < count; k++) {
    to[k] = path[most - count + k];
    to[count + k] = path[2 * most - count + k];
  }
  return pare__call_give_content(call, 0, out);
}

static pare_status dynamic_time_warping(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_takes(call, 0));
  const pare__shape *shape = &call->input[0]->shape;
  const int rank = shape->rank;
  const pare__content *costs;
  pare_tensor *bound;
  char have[PARE__SHAPE_TEXT];
  if (rank < 2 || rank > 3 || (rank == 3 && shape->dim[0] != 1) || shape->dim[rank - 1] < 1 ||
      shape->dim[rank - 2] < 1 || shape->dim[rank - 1] > INT32_MAX / 2 || shape->dim[rank - 2] > INT32_MAX / 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its costs are %s; [rows, columns] or [1, rows, columns] are possible",
                           pare__shape_text(rank, shape->dim, have, sizeof have));
  const size_t rows = (size_t)shape->dim[rank - 2], columns = (size_t)shape->dim[rank - 1], most = rows + columns;
  if (!call->input[0]->content && pare__call_bounding(call))
    return pare__call_output(call, 0, PARE_I32, 2, (const int64_t[]){2, (int64_t)most - 1}, &bound);
  PARE__TRY(pare__call_content(call, 0, &costs));
  float *sum = calloc(rows * columns, sizeof *sum); /* in range, as the costs exist */
  uint8_t *step = calloc(rows * columns, sizeof *step);
  int32_t *path = calloc(2 * most, sizeof *path);
  pare_status status = sum && step && path ? PARE_OK : pare__fail_memory("a path", rows * columns * sizeof *sum);
  if (status == PARE_OK) {
    find_paths(costs, rows, columns, sum, step);
    status = give_path(call, rows, columns, step, path);
  }
  free(path);
  free(step);
  free(sum);
  return status;
}

const pare__operator pare__operators_decoding[] = {
    {"com.microsoft", "NGramRepeatBlock", 1, 0, PARE__ON_DEVICE, ngram_repeat_block, NULL, .types = "floats"},
    {"com.microsoft", "DynamicTimeWarping", 1, 0, PARE__ON_HOST, dynamic_time_warping, NULL, .types = "f32"},
    {0},
};
