/* prune: by threshold, at random, by magnitude, N:M along the inputs. SPDX-License-Identifier: Apache-2.0
 *
 * The mask of a global selection is known when all weights have been looked at; until they are written it is kept on
 * the host, a bit an element. */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/prune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/method.h"
#include "compress/select_weights.h"

typedef enum prune_score { BY_MAGNITUDE, BY_CHANCE } prune_score;
typedef enum prune_scope { OVER_TENSOR, OVER_ROW, OVER_ALL } prune_scope;

typedef struct prune_options {
  const char *mask_structure; /* "2:4"; "unstructured" or NULL: none */
  double sparsity;            /* fraction pruned */
  double threshold;           /* |w| below it are pruned */
  double coverage;            /* of N:M: the fraction of all weights that lies in pruned tensors, at least */
  int score, scope;
  int64_t seed;
  /* found by check(): */
  unsigned keep, of; /* 0: unstructured */
  bool by_threshold;
} prune_options;

static const char *const score_names[] = {"magnitude", "random", NULL};
static const char *const scope_names[] = {"tensor", "row", "global", NULL};
static const char *const targets[] = {"Linear", "Conv", NULL};

#define FIELD(name, kind, least, most, choices) \
  { #name, kind, offsetof(prune_options, name), least, most, choices }
static const pare__field fields[] = {
    FIELD(mask_structure, PARE__FIELD_TEXT, 0, 0, NULL),       FIELD(sparsity, PARE__FIELD_NUMBER, 0, 1, NULL),
    FIELD(threshold, PARE__FIELD_NUMBER, 0, 3e38, NULL),       FIELD(coverage, PARE__FIELD_NUMBER, 0, 1, NULL),
    FIELD(score, PARE__FIELD_CHOICE, 0, 0, score_names),       FIELD(scope, PARE__FIELD_CHOICE, 0, 0, scope_names),
    FIELD(seed, PARE__FIELD_INT, 0, 9007199254740992.0, NULL),
};

/* ---- the recipe ---- */

/* "2:4", and "0:0" as other tools say unstructured. */
static bool parse_structure(const char *text, unsigned *keep, unsigned *of) {
  char *end;
  if (strcmp(text, "unstructured") == 0) return true;
  if (strlen(text) > 5 || strspn(text, "0123456789:") != strlen(text)) return false;
  *keep = (unsigned)strtoul(text, &end, 10);
  if (end == text || *end != ':' || end[1] == '\0') return false;
  *of = (unsigned)strtoul(end + 1, &end, 10);
  if (*end) return false;
  return (*keep == 0 && *of == 0) || (*keep > 0 && *keep < *of && *of <= 16);
}

pare_status pare__mask_structure_read(const pare__modifier *modifier, const char *text, unsigned *keep, unsigned *of) {
  if (!text || parse_structure(text, keep, of)) return PARE_OK;
  return pare__fail_at(pare__recipe_place(modifier, "mask_structure"),
                       "mask_structure: '%.50s' is neither N:M with N < M <= 16 nor unstructured", text);
}

static pare_status check(pare_recipe *recipe, pare__modifier *modifier) {
  (void)recipe;
  prune_options *options = modifier->options;
  const bool sparsity = pare__recipe_gave(modifier, "sparsity");
  options->by_threshold = pare__recipe_gave(modifier, "threshold");
  PARE__TRY(pare__mask_structure_read(modifier, options->mask_structure, &options->keep, &options->of));
  if (options->by_threshold && (sparsity || options->of > 0 || options->score == BY_CHANCE))
    return pare__fail_at(pare__recipe_place(modifier, "threshold"),
                         "prune: a threshold goes with no sparsity, N:M or random score");
  /* The sparsity of N:M may be said as well, as long as it is the same. */
  if (options->of > 0 && sparsity && fabs(options->sparsity - 1 + (double)options->keep / options->of) > 1e-9)
    return pare__fail_at(pare__recipe_place(modifier, "sparsity"), "prune: %u:%u prunes %g of all, not %g",
                         options->keep, options->of, 1 - (double)options->keep / options->of, options->sparsity);
  if (!options->by_threshold && options->of == 0 && !sparsity)
    return pare__fail_at(&modifier->place, "prune needs mask_structure: N:M, a sparsity, or a threshold");
  if (options->of == 0 && pare__recipe_gave(modifier, "coverage"))
    return pare__fail_at(pare__recipe_place(modifier, "coverage"), "prune: coverage goes with mask_structure: N:M");
  if (options->of > 0) pare__recipe_show(modifier, "coverage");
  pare__recipe_show(modifier, "score");
  pare__recipe_show(modifier, "scope");
  pare__recipe_show(modifier, "seed");
  return PARE_OK;
}

static bool fits_structure(const prune_options *options, const pare__weight *weight) {
  return !weight->refusal && pare__weight_inputs(weight) % options->of == 0;
}

static int by_size(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

/* With a coverage, N:M takes the largest tensors, and all of one size or none: small ones bring little and often cost
 * most, as the first convolutions and the head do (Mishra et al. 2021, arXiv 2104.08378, leave those dense, too). */
static pare_status narrow(const pare__modifier *modifier, const pare__checkpoint *checkpoint, bool *chosen,
                          pare__treatment *treatments) {
  const prune_options *options = modifier->options;
  if (options->of == 0 || options->coverage >= 1) return PARE_OK;
  int64_t *sizes = calloc(checkpoint->nweights + 1, sizeof *sizes), least = INT64_MAX; /* of coverage 0: none */
  if (!sizes) return pare__fail_memory("the sizes of tensors", checkpoint->nweights * sizeof *sizes);
  size_t count = 0;
  double total = 0, covered = 0;
  for (size_t i = 0; i < checkpoint->nweights; i++) {
    if (!chosen[i]) continue;
    total += (double)checkpoint->weights[i].elements;
    if (fits_structure(options, &checkpoint->weights[i])) sizes[count++] = checkpoint->weights[i].elements;
  }
  qsort(sizes, count, sizeof *sizes, by_size);
  for (size_t i = 0; i < count && covered < options->coverage * total; i++) {
    least = sizes[i];
    covered += (double)least;
  }
  free(sizes);
  for (size_t i = 0; i < checkpoint->nweights; i++) {
    const pare__weight *weight = &checkpoint->weights[i];
    if (!chosen[i] || !fits_structure(options, weight) || weight->elements >= least) continue;
    chosen[i] = false;
    treatments[i].reason = "small, so it stays dense: larger tensors make up the coverage asked for";
  }
  return PARE_OK;
}

static pare_status plan(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                        bool *takes) {
  const prune_options *options = modifier->options;
  *takes = treatment->storage <= PARE__STORE_VALUES;
  if (!*takes) {
    treatment->reason = "it is quantised before it is pruned: order the modifiers the other way";
    return PARE_OK;
  }
  if (options->of > 0 && pare__weight_inputs(weight) % options->of != 0) {
    *takes = false;
    treatment->reason = "its inputs are no multiple of M: it stays dense";
    return PARE_OK;
  }
  if (treatment->storage == PARE__STORE_AS_IS) treatment->storage = PARE__STORE_VALUES;
  treatment->pruned = true;
  if (options->of > 0) {
    treatment->keep = options->keep;
    treatment->of = options->of;
  }
  return PARE_OK;
}

/* Are exactly k kept of more than what lies in a row? */
static bool counts(const prune_options *options) {
  return options->of == 0 && !options->by_threshold && options->score == BY_MAGNITUDE && options->scope != OVER_ROW;
}

/* ---- over all weights, or one in pieces ---- */

/* One bit an element of each weight, in canonical order. */
struct masks {
  uint8_t **bits; /* one a weight; NULL: not pruned, or in one piece, whose mask is made when it comes */
};

/* The masks of weights begin … end - 1: exactly k are kept of them together. */
static pare_status select_masks(pare__compression *compression, size_t step, size_t begin, size_t end,
                                struct masks *masks) {
  const prune_options *options = compression->recipe->modifiers[step].options;
  pare_selection *selection;
  int64_t total = 0;
  for (size_t i = begin; i < end; i++)
    if (pare__treats(&compression->treatments[i], step)) total += compression->checkpoint->weights[i].elements;
  const int64_t k = llround((1 - options->sparsity) * (double)total);
  PARE__TRY(pare_selection_open(compression->context, total, k, true, &selection));
  pare_status status = pare__select_weights(compression, step, begin, end, selection);
  if (status == PARE_OK) status = pare__select_masks(compression, step, begin, end, selection, masks->bits);
  pare_selection_close(selection);
  return status;
}

static pare_status prepare(pare__compression *compression, size_t step) {
  const prune_options *options = compression->recipe->modifiers[step].options;
  const size_t nweights = compression->checkpoint->nweights;
  void *memory;
  if (!counts(options)) return PARE_OK;
  PARE__TRY(pare__arena_allocate(&compression->arena, sizeof(struct masks), &memory));
  struct masks *masks = memory;
  PARE__TRY(pare__arena_allocate(&compression->arena, nweights * sizeof(uint8_t *), &memory));
  masks->bits = memory;
  compression->state[step] = masks;
  if (options->scope == OVER_ALL) return select_masks(compression, step, 0, nweights, masks);
  for (size_t i = 0; i < nweights; i++)
    if (pare__treats(&compression->treatments[i], step) && pare__in_pieces(compression, i))
      PARE__TRY(select_masks(compression, step, i, i + 1, masks));
  return PARE_OK;
}

static pare_status kept_mask(const struct masks *masks, const pare__work *work, pare_tensor *mask) {
  const int64_t first = work->first_row * work->columns, count = work->nrows * work->columns;
  const uint8_t *bits = masks->bits[work->index];
  uint8_t *bytes = malloc((size_t)count + 1);
  if (!bytes) return pare__fail_memory("a mask", (size_t)count);
  for (int64_t i = 0; i < count; i++) bytes[i] = bits[(first + i) / 8] >> ((first + i) % 8) & 1;
  const pare_status status = pare_tensor_write(mask, bytes, (size_t)count);
  free(bytes);
  return status;
}

/* ---- one weight ---- */

static pare_status random_mask(const prune_options *options, const pare__work *work, pare_tensor *mask) {
  const int64_t begin = work->first_row * work->columns;
  if (options->of == 0)
    return pare_mask_random((uint64_t)options->seed, work->index, begin, 1 - options->sparsity, mask);
  pare_tensor *scores;
  PARE__TRY(pare_tensor_create(pare_tensor_context(mask), PARE_F32, 2, pare_tensor_shape(mask), &scores));
  pare_status status = pare_random_scores((uint64_t)options->seed, work->index, begin, scores);
  if (status == PARE_OK) status = pare_mask_n_of_m(scores, false, 1, (int)options->keep, (int)options->of, mask);
  pare_tensor_close(scores);
  return status;
}

static pare_status make_mask(pare__compression *compression, size_t step, const pare__work *work, pare_tensor *mask) {
  const prune_options *options = compression->recipe->modifiers[step].options;
  if (options->score == BY_CHANCE) return random_mask(options, work, mask);
  if (options->of > 0) return pare_mask_n_of_m(work->w, true, 1, (int)options->keep, (int)options->of, mask);
  if (options->by_threshold) return pare_mask_threshold(work->w, true, options->threshold, mask);
  if (options->scope == OVER_ROW)
    return pare_mask_largest_rows(work->w, true, 1, llround((1 - options->sparsity) * (double)work->columns), mask);
  const struct masks *masks = compression->state[step];
  if (masks->bits[work->index]) return kept_mask(masks, work, mask);
  return pare_mask_largest(work->w, true, llround((1 - options->sparsity) * (double)(work->nrows * work->columns)),
                           mask);
}

static pare_status apply(pare__compression *compression, size_t step, pare__work *work) {
  pare_tensor *mask;
  PARE__TRY(pare_tensor_create(compression->context, PARE_BOOL, 2, pare_tensor_shape(work->w), &mask));
  pare_status status = make_mask(compression, step, work, mask);
  if (status == PARE_OK) status = pare_mask_apply(work->w, mask, work->w);
  if (status == PARE_OK && work->mask) status = pare_binary(PARE_BINARY_and, mask, work->mask, mask);
  if (status != PARE_OK) {
    pare_tensor_close(mask);
    return status;
  }
  pare_tensor_close(work->mask);
  work->mask = mask;
  return PARE_OK;
}

static const prune_options defaults = {.coverage = 1, .scope = OVER_TENSOR};

const pare__method pare__method_prune = {
    .name = "prune",
    .fields = fields,
    .nfields = PARE__COUNT(fields),
    .options_bytes = sizeof(prune_options),
    .defaults = &defaults,
    .default_targets = targets,
    .check = check,
    .narrow = narrow,
    .plan = plan,
    .prepare = prepare,
    .apply = apply,
};
