/* Exact selection over many tensors, pass by pass. SPDX-License-Identifier: Apache-2.0
 *
 * The steps are those of select.c; figures of the tensors of a pass are added on the device, and the host looks at them
 * once a pass:
 *
 *   sample    every so many elements a run of neighbours; two of the sample enclose the k-th, almost surely
 *   bracket   counts what lies beyond the two and lists the keys between; then the k-th of the lists
 *   digits    three passes over everything, from the top digit: for few elements, or where the sample misled */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/reduce.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "op/prune.h"
#include "op/select.h"

enum { DIGIT_BITS = 11 };
enum { FROM_ALL, FROM_LISTS, KNOWN }; /* where the k-th key is, as cl/select.cl says it */

typedef enum phase { SAMPLING, BRACKETING, DIGITS, DONE } phase;

/* The keys between the bounds in one tensor. */
typedef struct candidates {
  pare_tensor *lists, *tallies;
  struct candidates *next;
} candidates;

struct pare_selection {
  pare_context *context;
  int64_t total, k;
  bool by_magnitude;
  phase phase;
  int64_t fed;                  /* elements of this pass */
  pare_tensor *state, *totals;  /* i64 [5]; i64, of this pass: NULL before the first tensor */
  int64_t places, sampled;      /* runs of the sample, and how many there are */
  pare_tensor *sample, *bounds; /* f32 */
  int64_t open;                 /* see the family */
  candidates *candidates;
  int shift; /* bits below the known digits */
  float threshold;
  int64_t beyond, ties;
  pare_tensor *limit, *left; /* for masks: the threshold, and ties that may still be kept */
  int64_t masked;
};

static int order_of(const pare_selection *s) { return s->by_magnitude ? PARE__SELECT_MAGNITUDE : 0; }

static pare_status scratch(const pare_selection *s, pare_dtype dtype, int rank, const int64_t *dim, pare_tensor **out) {
  return pare__tensor_scratch(s->context, dtype, rank, dim, "figures of a selection", out);
}

static void replace(pare_tensor **held, pare_tensor *by) {
  pare_tensor_close(*held);
  *held = by;
}

static pare_status set_state(pare_selection *s, const int64_t *state) {
  const int64_t size = PARE__SELECT_STATE;
  pare_tensor *fresh = NULL;
  PARE__TRY(pare_tensor_from(s->context, PARE_I64, 1, &size, state, (size_t)size * sizeof *state, &fresh));
  replace(&s->state, fresh);
  return PARE_OK;
}

pare_status pare_selection_open(pare_context *context, int64_t total, int64_t k, bool by_magnitude,
                                pare_selection **out) {
  const char *function = "pare_selection_open";
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!context) return pare__fail_null(function, "context");
  PARE__TRY(pare__context_check(function, context));
  if (total < 0 || k < 0 || k > total)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: k is %lld of %lld elements", function, (long long)k, (long long)total);
  pare_selection *s = calloc(1, sizeof *s);
  if (!s) return pare__fail_memory("a selection", sizeof *s);
  *s = (pare_selection){.context = context, .total = total, .k = k, .by_magnitude = by_magnitude, .shift = 32};
  s->phase = total < PARE__SELECT_WORTH_A_SAMPLE ? DIGITS : SAMPLING;
  s->places = pare__select_sample_size(total) / PARE__SELECT_SAMPLE_RUN;
  const int64_t start[PARE__SELECT_STATE] = {0, k}, size = s->places * PARE__SELECT_SAMPLE_RUN;
  pare_status status = set_state(s, start);
  if (status == PARE_OK && s->phase == SAMPLING) status = scratch(s, PARE_F32, 1, &size, &s->sample);
  if (status != PARE_OK) {
    pare_selection_close(s);
    return status;
  }
  *out = s;
  return PARE_OK;
}

static void drop_candidates(pare_selection *s) {
  while (s->candidates) {
    candidates *first = s->candidates;
    s->candidates = first->next;
    pare_tensor_close(first->lists);
    pare_tensor_close(first->tallies);
    free(first);
  }
}

static void release(pare_selection *s) {
  drop_candidates(s);
  pare_tensor *const held[] = {s->state, s->totals, s->sample, s->bounds, s->limit, s->left};
  for (size_t i = 0; i < PARE__COUNT(held); i++) pare_tensor_close(held[i]);
}

void pare_selection_close(pare_selection *selection) {
  if (!selection) return;
  release(selection);
  free(selection);
}

/* ---- one tensor of a pass; x is contiguous, of one dimension, not empty ---- */

/* The runs of the sample that begin in x: run p begins at element p * (total / places) of all. */
static pare_status feed_sample(pare_selection *s, pare_tensor *x) {
  const int64_t stride = s->total / s->places, length = x->shape.dim[0];
  const int64_t first = pare__div_up(s->fed, stride), skipped = first * stride - s->fed;
  if (length - skipped < PARE__SELECT_SAMPLE_RUN) return PARE_OK;
  const int64_t fit = (length - skipped - PARE__SELECT_SAMPLE_RUN) / stride + 1,
                runs = PARE__MIN(fit, s->places - first);
  if (runs <= 0) return PARE_OK;
  const int64_t dim[] = {runs, PARE__SELECT_SAMPLE_RUN};
  pare_tensor from = *x, *part = NULL, *to = NULL;
  pare__shape_set(&from.shape, 2, dim);
  from.shape.stride[0] = stride;
  from.offset += skipped;
  pare_status status = pare_tensor_slice(s->sample, 0, s->sampled, runs * PARE__SELECT_SAMPLE_RUN, 1, &part);
  if (status == PARE_OK) status = pare_tensor_reshape(part, 2, dim, &to);
  if (status == PARE_OK) status = pare_cast(&from, to);
  if (status == PARE_OK) s->sampled += runs * PARE__SELECT_SAMPLE_RUN;
  pare_tensor_close(part);
  pare_tensor_close(to);
  return status;
}

static pare__problem problem_of(const pare_selection *s, int mode, int64_t length, int64_t block) {
  pare__problem problem = {.mode = mode, .dtype[3] = PARE_F32};
  problem.dim[PARE__SELECT_LENGTH] = length;
  problem.dim[PARE__SELECT_BLOCK] = block;
  problem.dim[PARE__SELECT_BITS] = PARE__MIN(s->shift, DIGIT_BITS);
  problem.dim[PARE__SELECT_SHIFT] = s->shift - PARE__MIN(s->shift, DIGIT_BITS);
  problem.dim[PARE__SELECT_OPEN] = s->open;
  return problem;
}

/* Adds to the totals of the pass, which sums may become: they are not the caller's any more. */
static pare_status add_totals(pare_selection *s, pare_tensor *sums) {
  if (!s->totals) {
    s->totals = sums;
    return PARE_OK;
  }
  const pare_status status = pare_binary(PARE_BINARY_add, s->totals, sums, s->totals);
  pare_tensor_close(sums);
  return status;
}

/* Adds the figures of this tensor's blocks to those of the pass. */
static pare_status add_figures(pare_selection *s, pare_tensor *figures, int64_t blocks, int64_t columns) {
  pare_tensor *sums = NULL;
  pare_status status = scratch(s, PARE_I64, 1, &columns, &sums);
  if (status == PARE_OK) status = pare__select_add_blocks(figures, blocks, columns, sums);
  if (status == PARE_OK) return add_totals(s, sums);
  pare_tensor_close(sums);
  return status;
}

/* Room for the lists of one tensor. */
static pare_status add_candidates(pare_selection *s, int64_t blocks, int64_t room, candidates **out) {
  const int64_t lists[] = {blocks, room}, tallies[] = {blocks, PARE__SELECT_TALLIES};
  candidates *fresh = *out = calloc(1, sizeof *fresh);
  if (!fresh) return pare__fail_memory("candidates of a selection", sizeof *fresh);
  fresh->next = s->candidates;
  s->candidates = fresh;
  PARE__TRY(scratch(s, PARE_I32, 2, lists, &fresh->lists));
  return scratch(s, PARE_I32, 2, tallies, &fresh->tallies);
}

static pare_status feed_bracket(pare_selection *s, pare_tensor *x) {
  const int64_t block = pare__select_block(x->shape.dim[0]), blocks = pare__div_up(x->shape.dim[0], block);
  const int64_t room = pare__select_room(block, s->sampled);
  candidates *fresh;
  PARE__TRY(add_candidates(s, blocks, room, &fresh));
  pare__problem problem = problem_of(s, PARE__SELECT_BRACKET | order_of(s), x->shape.dim[0], block);
  problem.dim[PARE__SELECT_ROOM] = room;
  pare_tensor *const counted[] = {x, s->bounds, fresh->lists, fresh->tallies};
  PARE__TRY(pare__select_submit(&problem, counted, 4, 3U << 2, blocks));
  return add_figures(s, fresh->tallies, blocks, PARE__SELECT_TALLIES);
}

/* The histogram of one digit: of x, or of listed keys, which are x's rows then. */
static pare_status feed_digit(pare_selection *s, pare_tensor *x, const candidates *listed) {
  const int64_t block = listed ? listed->lists->shape.dim[1] : pare__select_block(x->shape.dim[0]);
  const int64_t blocks = pare__div_up(x->shape.dim[0], block), dim[] = {blocks, PARE__SELECT_BINS};
  pare_tensor *histogram = NULL;
  PARE__TRY(scratch(s, PARE_I32, 2, dim, &histogram));
  pare__problem problem = problem_of(s, listed ? PARE__SELECT_LISTED : order_of(s), x->shape.dim[0], block);
  problem.dim[PARE__SELECT_ROOM] = listed ? block : 0;
  pare_tensor *const looked_at[] = {x, s->state, histogram, listed ? listed->lists : NULL,
                                    listed ? listed->tallies : NULL};
  pare_status status = pare__select_submit(&problem, looked_at, listed ? 5 : 3, 1U << 2, blocks);
  if (status == PARE_OK) status = add_figures(s, histogram, blocks, PARE__SELECT_BINS);
  pare_tensor_close(histogram);
  return status;
}

static pare_status feed(pare_selection *s, pare_tensor *scores) {
  pare_tensor *input = NULL;
  PARE__TRY(pare__contiguous(scores, &input));
  pare_tensor x = pare__flat(input);
  const pare_status status = s->phase == SAMPLING     ? feed_sample(s, &x)
                             : s->phase == BRACKETING ? feed_bracket(s, &x)
                                                      : feed_digit(s, &x, NULL);
  pare_tensor_close(input);
  return status;
}

static pare_status check_scores(const char *function, const pare_selection *s, pare_tensor *scores, int64_t done) {
  PARE__TRY(pare__context_check(function, scores->context));
  if (scores->context != s->context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: scores belong to another context than the selection", function);
  PARE__TRY(pare__check_dtype(function, "scores", scores, PARE__SMALL_FLOATS));
  const int64_t elements = pare__shape_elements(&scores->shape);
  if (elements <= s->total - done) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s: %lld elements after %lld; the selection is one of %lld", function,
                    (long long)elements, (long long)done, (long long)s->total);
}

pare_status pare_selection_feed(pare_selection *selection, pare_tensor *scores) {
  const char *function = "pare_selection_feed";
  if (!selection) return pare__fail_null(function, "selection");
  if (!scores) return pare__fail_null(function, "scores");
  if (selection->phase == DONE) return pare__fail(PARE_ERR_ARGUMENT, "%s: the selection is done", function);
  PARE__TRY(check_scores(function, selection, scores, selection->fed));
  const int64_t elements = pare__shape_elements(&scores->shape);
  if (elements == 0) return PARE_OK;
  const pare_status status = feed(selection, scores);
  if (status == PARE_OK) selection->fed += elements;
  return status;
}

/* ---- the end of a pass ---- */

static pare_status end_sample(pare_selection *s) {
  const int64_t two = 2;
  const pare__select_ranks ranks = pare__select_ranks_of(s->k, s->total, s->sampled);
  pare_tensor *taken = NULL;
  s->open = ranks.open;
  s->phase = BRACKETING;
  pare_status status = scratch(s, PARE_F32, 1, &two, &s->bounds);
  if (status == PARE_OK) status = pare_tensor_slice(s->sample, 0, 0, s->sampled, 1, &taken);
  if (status == PARE_OK) status = pare__select_bound(taken, ranks.high, order_of(s), s->bounds, 0);
  if (status == PARE_OK) status = pare__select_bound(taken, ranks.low, order_of(s), s->bounds, 1);
  pare_tensor_close(taken);
  replace(&s->sample, NULL);
  return status;
}

/* The value of a key: cl/select_key.cl the other way round. */
static float value_of(uint32_t key, bool by_magnitude) {
  const uint32_t sign = UINT32_C(1) << 31, bits = by_magnitude ? key : key & sign ? key & ~sign : ~key;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* What masks compare with: of no elements none is kept, not even NaN, the largest. */
static float limit_of(const pare_selection *s) { return s->k == 0 ? NAN : s->threshold; }

static pare_status finish(pare_selection *s, uint32_t key, int64_t beyond, int64_t ties) {
  s->threshold = s->k == 0 ? INFINITY : value_of(key, s->by_magnitude);
  s->beyond = beyond;
  s->ties = ties;
  s->phase = DONE;
  drop_candidates(s);
  replace(&s->bounds, NULL);
  const float limit = limit_of(s);
  PARE__TRY(pare_tensor_from(s->context, PARE_F32, 0, NULL, &limit, sizeof limit, &s->limit));
  return pare_tensor_from(s->context, PARE_I64, 0, NULL, &ties, sizeof ties, &s->left);
}

/* Goes down one digit by the totals of the pass, on the device; then the state is what the next digit begins with. */
static pare_status narrow(pare_selection *s) {
  const int64_t size = PARE__SELECT_STATE;
  pare_tensor *next = NULL;
  pare__problem problem = problem_of(s, PARE__SELECT_NARROW, 0, 1);
  PARE__TRY(scratch(s, PARE_I64, 1, &size, &next));
  pare_tensor *const narrowed[] = {s->totals, s->state, next};
  pare_status status = pare__select_submit(&problem, narrowed, 3, 1U << 2, 1);
  replace(&s->state, next);
  replace(&s->totals, NULL);
  s->shift -= PARE__MIN(s->shift, DIGIT_BITS);
  return status;
}

static pare_status end_digits(pare_selection *s) {
  int64_t state[PARE__SELECT_STATE];
  PARE__TRY(narrow(s));
  if (s->shift > 0) return PARE_OK;
  PARE__TRY(pare_tensor_read(s->state, state, sizeof state));
  return finish(s, (uint32_t)state[0], state[2], state[1]);
}

/* All digits of the listed keys. */
static pare_status select_listed(pare_selection *s) {
  while (s->shift > 0) {
    for (const candidates *c = s->candidates; c; c = c->next) {
      pare_tensor keys = pare__flat(c->lists);
      PARE__TRY(feed_digit(s, &keys, c));
    }
    PARE__TRY(narrow(s));
  }
  return PARE_OK;
}

static pare_status end_bracket(pare_selection *s) {
  const int64_t size = PARE__SELECT_STATE, start[PARE__SELECT_STATE] = {0, s->k};
  int64_t state[PARE__SELECT_STATE];
  pare_tensor *next = NULL;
  pare__problem problem = problem_of(s, PARE__SELECT_DECIDE | order_of(s), 0, 1);
  PARE__TRY(scratch(s, PARE_I64, 1, &size, &next));
  pare_tensor *const decided[] = {s->totals, s->state, next, s->bounds};
  pare_status status = pare__select_submit(&problem, decided, 4, 1U << 2, 1);
  replace(&s->state, next);
  replace(&s->totals, NULL);
  PARE__TRY(status);
  PARE__TRY(pare_tensor_read(s->state, state, sizeof state));
  if (state[3] == KNOWN) return finish(s, (uint32_t)state[4], state[2], state[1]);
  if (state[3] == FROM_LISTS) {
    PARE__TRY(select_listed(s));
    PARE__TRY(pare_tensor_read(s->state, state, sizeof state));
    return finish(s, (uint32_t)state[0], state[2], state[1]);
  }
  drop_candidates(s);
  s->phase = DIGITS;
  return set_state(s, start);
}

pare_status pare_selection_step(pare_selection *selection, bool *done) {
  const char *function = "pare_selection_step";
  if (!selection) return pare__fail_null(function, "selection");
  if (!done) return pare__fail_null(function, "done");
  *done = selection->phase == DONE;
  if (*done) return PARE_OK;
  if (selection->fed != selection->total)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the pass got %lld elements; the selection is one of %lld", function,
                      (long long)selection->fed, (long long)selection->total);
  selection->fed = 0;
  pare_status status = selection->k == 0                ? finish(selection, 0, 0, 0)
                       : selection->phase == SAMPLING   ? end_sample(selection)
                       : selection->phase == BRACKETING ? end_bracket(selection)
                                                        : end_digits(selection);
  *done = status == PARE_OK && selection->phase == DONE;
  return status;
}

/* ---- tensors that lie on several devices ---- */

pare_status pare__selection_terms_of(const pare_selection *s, pare__selection_terms *out) {
  *out = (pare__selection_terms){.phase = s->phase,
                                 .by_magnitude = s->by_magnitude,
                                 .total = s->total,
                                 .k = s->k,
                                 .places = s->places,
                                 .sampled = s->sampled,
                                 .open = s->open,
                                 .shift = s->shift,
                                 .limit = limit_of(s)};
  if (s->phase == DIGITS) return pare_tensor_read(s->state, out->state, sizeof out->state);
  return s->phase == BRACKETING ? pare_tensor_read(s->bounds, out->bounds, sizeof out->bounds) : PARE_OK;
}

/* As much of a selection as feeding one tensor asks for, in the context of that tensor. */
static pare_status open_part(const pare__selection_terms *terms, pare_context *context, int64_t first, int64_t elements,
                             pare_selection *out) {
  const int64_t two = 2;
  *out = (pare_selection){.context = context,
                          .total = terms->total,
                          .k = terms->k,
                          .by_magnitude = terms->by_magnitude,
                          .phase = (phase)terms->phase,
                          .fed = first,
                          .places = terms->places,
                          .open = terms->open,
                          .shift = terms->shift};
  if (out->phase == DIGITS) return set_state(out, terms->state);
  if (out->phase == SAMPLING) {
    const int64_t size = (elements / (terms->total / terms->places) + 1) * PARE__SELECT_SAMPLE_RUN;
    return scratch(out, PARE_F32, 1, &size, &out->sample);
  }
  out->sampled = terms->sampled;
  return pare_tensor_from(context, PARE_F32, 1, &two, terms->bounds, sizeof terms->bounds, &out->bounds);
}

static pare_status read_all(pare_tensor *tensor, int64_t count, size_t element_bytes, void *out) {
  const size_t nbytes = (size_t)count * element_bytes;
  void *data = *(void **)out = malloc(nbytes + 1);
  if (!data) return pare__fail_memory("figures of a selection", nbytes);
  return pare_tensor_read(tensor, data, nbytes);
}

static pare_status read_sample(const pare_selection *part, pare__selection_found *out) {
  pare_tensor *taken;
  if (part->sampled == 0) return PARE_OK;
  PARE__TRY(pare_tensor_slice(part->sample, 0, 0, part->sampled, 1, &taken));
  const pare_status status = read_all(taken, part->sampled, sizeof *out->sample, &out->sample);
  if (status == PARE_OK) out->sampled = part->sampled;
  pare_tensor_close(taken);
  return status;
}

static pare_status read_part(const pare_selection *part, pare__selection_found *out) {
  if (part->phase == SAMPLING) return read_sample(part, out);
  out->ntotals = part->totals->shape.dim[0];
  PARE__TRY(read_all(part->totals, out->ntotals, sizeof *out->totals, &out->totals));
  const candidates *listed = part->candidates;
  if (!listed) return PARE_OK;
  out->blocks = listed->lists->shape.dim[0];
  out->room = listed->lists->shape.dim[1];
  PARE__TRY(read_all(listed->lists, out->blocks * out->room, sizeof *out->lists, &out->lists));
  return read_all(listed->tallies, out->blocks * PARE__SELECT_TALLIES, sizeof *out->tallies, &out->tallies);
}

pare_status pare__selection_look(const pare__selection_terms *terms, pare_tensor *scores, int64_t first,
                                 pare__selection_found *out) {
  pare_selection part;
  *out = (pare__selection_found){.elements = pare__shape_elements(&scores->shape)};
  if (out->elements == 0) return PARE_OK;
  pare_status status = open_part(terms, scores->context, first, out->elements, &part);
  if (status == PARE_OK) status = feed(&part, scores);
  if (status == PARE_OK) status = read_part(&part, out);
  release(&part);
  if (status != PARE_OK) pare__selection_found_release(out);
  return status;
}

void pare__selection_found_release(pare__selection_found *found) {
  free(found->sample);
  free(found->totals);
  free(found->lists);
  free(found->tallies);
  *found = (pare__selection_found){0};
}

static pare_status add_sample(pare_selection *s, const pare__selection_found *found) {
  pare_tensor *part = NULL;
  if (found->sampled == 0) return PARE_OK;
  PARE__TRY(pare_tensor_slice(s->sample, 0, s->sampled, found->sampled, 1, &part));
  const pare_status status = pare_tensor_write(part, found->sample, (size_t)found->sampled * sizeof *found->sample);
  if (status == PARE_OK) s->sampled += found->sampled;
  pare_tensor_close(part);
  return status;
}

static pare_status add_lists(pare_selection *s, const pare__selection_found *found) {
  candidates *fresh;
  const size_t blocks = (size_t)found->blocks;
  PARE__TRY(add_candidates(s, found->blocks, found->room, &fresh));
  PARE__TRY(pare_tensor_write(fresh->lists, found->lists, blocks * (size_t)found->room * sizeof *found->lists));
  return pare_tensor_write(fresh->tallies, found->tallies, blocks * PARE__SELECT_TALLIES * sizeof *found->tallies);
}

pare_status pare__selection_add(pare_selection *s, const pare__selection_found *found) {
  pare_tensor *sums = NULL;
  if (found->elements == 0) return PARE_OK;
  if (s->phase == SAMPLING) PARE__TRY(add_sample(s, found));
  if (found->lists) PARE__TRY(add_lists(s, found));
  if (found->totals) {
    const size_t nbytes = (size_t)found->ntotals * sizeof *found->totals;
    PARE__TRY(pare_tensor_from(s->context, PARE_I64, 1, &found->ntotals, found->totals, nbytes, &sums));
    PARE__TRY(add_totals(s, sums));
  }
  s->fed += found->elements;
  return PARE_OK;
}

/* The mask of those beyond the limit and the first `quota` that equal it; *ties: how many of the quota that took. */
static pare_status read_mask(const pare__selection_terms *terms, pare_tensor *x, pare_tensor *limit, int64_t quota,
                             int64_t *ties, uint8_t *out) {
  pare_tensor *given = NULL, *left = NULL, *mask = NULL;
  const int64_t elements = pare__shape_elements(&x->shape);
  pare_status status = pare_tensor_from(x->context, PARE_I64, 0, NULL, &quota, sizeof quota, &given);
  if (status == PARE_OK) status = pare_tensor_create(x->context, PARE_I64, 0, NULL, &left);
  if (status == PARE_OK) status = pare_tensor_create(x->context, PARE_BOOL, 1, &elements, &mask);
  if (status == PARE_OK) status = pare__mask_keep(x, terms->by_magnitude, limit, given, left, mask);
  if (status == PARE_OK) status = pare_tensor_read(left, ties, sizeof *ties);
  if (status == PARE_OK) status = pare_tensor_read(mask, out, (size_t)elements);
  *ties = quota - *ties;
  pare_tensor_close(given);
  pare_tensor_close(left);
  pare_tensor_close(mask);
  return status;
}

pare_status pare__selection_mark(const pare__selection_terms *terms, pare_tensor *scores, uint8_t *marks) {
  const int64_t elements = pare__shape_elements(&scores->shape);
  int64_t ties = 0;
  pare_tensor *input = NULL, *limit = NULL;
  if (elements == 0) return PARE_OK;
  uint8_t *beyond = malloc((size_t)elements);
  pare_status status = beyond ? PARE_OK : pare__fail_memory("a mask", (size_t)elements);
  if (status == PARE_OK) status = pare__contiguous(scores, &input);
  if (status == PARE_OK)
    status = pare_tensor_from(scores->context, PARE_F32, 0, NULL, &terms->limit, sizeof terms->limit, &limit);
  if (status == PARE_OK) status = read_mask(terms, input, limit, elements, &ties, marks);
  if (status == PARE_OK && ties > 0)
    status = read_mask(terms, input, limit, 0, &ties, beyond);
  else if (status == PARE_OK)
    memcpy(beyond, marks, (size_t)elements);
  for (int64_t i = 0; i < elements && status == PARE_OK; i++) marks[i] = (uint8_t)(marks[i] + beyond[i]);
  pare_tensor_close(input);
  pare_tensor_close(limit);
  free(beyond);
  return status;
}

static pare_status check_done(const char *function, const pare_selection *s) {
  if (s->phase == DONE) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s: the selection is not done: feed and step until it is", function);
}

pare_status pare_selection_threshold(const pare_selection *selection, double *threshold, int64_t *beyond,
                                     int64_t *ties) {
  const char *function = "pare_selection_threshold";
  if (!selection) return pare__fail_null(function, "selection");
  PARE__TRY(check_done(function, selection));
  if (threshold) *threshold = selection->threshold;
  if (beyond) *beyond = selection->beyond;
  if (ties) *ties = selection->ties;
  return PARE_OK;
}

pare_status pare_selection_mask(pare_selection *selection, pare_tensor *scores, pare_tensor *mask) {
  const char *function = "pare_selection_mask";
  if (!selection) return pare__fail_null(function, "selection");
  PARE__TRY(pare__check_call(function, mask, PARE__NAMED(scores)));
  PARE__TRY(check_done(function, selection));
  PARE__TRY(check_scores(function, selection, scores, selection->masked));
  PARE__TRY(pare__check_dtype(function, "mask", mask, PARE__DTYPE(PARE_BOOL)));
  PARE__TRY(pare__check_shape(function, "mask", mask, scores->shape.rank, scores->shape.dim));
  pare_tensor *input = NULL, *result = NULL, *left = NULL;
  pare_status status = pare__contiguous(scores, &input);
  if (status == PARE_OK) status = pare__result_begin(mask, &result);
  if (status == PARE_OK) status = scratch(selection, PARE_I64, 0, NULL, &left);
  if (status == PARE_OK)
    status = pare__mask_keep(input, selection->by_magnitude, selection->limit, selection->left, left, result);
  status = pare__result_end(status, mask, result);
  pare_tensor_close(input);
  if (status == PARE_OK) {
    replace(&selection->left, left);
    selection->masked += pare__shape_elements(&scores->shape);
    if (selection->masked == selection->total) { /* from the first again */
      selection->masked = 0;
      status = pare_tensor_write(selection->left, &selection->ties, sizeof selection->ties);
    }
    return status;
  }
  pare_tensor_close(left);
  return status;
}
