/* gptq: weights quantised so that the layer's outputs on calibration data change least.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Hessians come from the device, rows are quantised on the host (gptq.h). Every layer sees the inputs that it has in
 * the original model; or, with `sequential`, those behind the layers quantised before, and its weights make up for a
 * part of what those have changed, as in GPTAQ (Li et al. 2025, arXiv 2504.02692). With x the inputs now, y those in
 * the original, least |W* x - W y|^2 + lambda |W* - W|^2 has W* = W + W D H^-1, D = sum of (y - x) x^T, H = sum of x
 * x^T + lambda I; and |Q x - W y|^2 is |(Q - W*) x|^2 and what no Q changes: GPTQ of W* by H finds Q. `correction` is
 * the part of W D H^-1 that is added: all of it fits the calibration data too well (the paper's code takes a quarter).
 *
 * After a pruning step the mask stays, and what it took away is made up for by the elements that are left; with
 * mask_structure N:M is chosen on the way, by what losing an element would cost. */
#include <pare/gemm.h>
#include <pare/move.h>
#include <pare/prune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/calibration.h"
#include "compress/gptq.h"
#include "compress/quantize.h"
#include "compress/sequential.h"

typedef enum gptq_order { IN_ORDER, BY_ACTIVATION } gptq_order; /* and more names of the latter */

typedef struct gptq_options {
  pare__quantize_options quantize; /* the first member */
  double dampening_frac;           /* of the mean of the Hessian's diagonal */
  int64_t block_size;              /* columns whose errors are handed on together */
  int actorder;
  bool sequential;            /* inputs are those behind the layers quantised before */
  double correction;          /* how much of what those have changed the weights make up for */
  const char *mask_structure; /* "2:4"; "unstructured" or NULL: none is chosen here */
  unsigned keep, of;          /* found by check(); 0: none */
} gptq_options;

/* Groups keep their columns whatever the order: "static" of llm-compressor, which it also calls "weight". */
static const char *const order_names[] = {"none", "static", "weight", NULL};
static const char *const targets[] = {"Linear", "Conv", NULL};

#define FIELD(name, kind, least, most, choices) \
  { #name, kind, offsetof(gptq_options, name), least, most, choices }
static const pare__field fields[] = {
    PARE__QUANTIZE_FIELDS,
    FIELD(dampening_frac, PARE__FIELD_NUMBER, 1e-6, 10, NULL),
    FIELD(block_size, PARE__FIELD_INT, 1, 65536, NULL),
    FIELD(actorder, PARE__FIELD_CHOICE, 0, 0, order_names),
    FIELD(sequential, PARE__FIELD_BOOL, 0, 0, NULL),
    FIELD(correction, PARE__FIELD_NUMBER, 0, 1, NULL),
    FIELD(mask_structure, PARE__FIELD_TEXT, 0, 0, NULL),
};

/* ---- the recipe ---- */

static pare_status check(pare_recipe *recipe, pare__modifier *modifier) {
  gptq_options *options = modifier->options;
  PARE__TRY(pare__mask_structure_read(modifier, options->mask_structure, &options->keep, &options->of));
  return pare__quantize_check(recipe, modifier);
}

/* Is the mask of this weight chosen here? */
static bool chooses_mask(const gptq_options *options, const pare__weight *weight) {
  return options->of > 0 && pare__weight_inputs(weight) % options->of == 0;
}

static pare_status plan(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                        bool *takes) {
  const gptq_options *options = modifier->options;
  PARE__TRY(pare__quantize_plan(modifier, weight, treatment, takes));
  if (!*takes || options->of == 0 || treatment->storage != PARE__STORE_INTEGER) return PARE_OK;
  if (!chooses_mask(options, weight)) {
    treatment->reason = "its inputs are no multiple of M: it stays dense";
    return PARE_OK;
  }
  treatment->pruned = true;
  treatment->keep = options->keep;
  treatment->of = options->of;
  return PARE_OK;
}

/* ---- calibration ---- */

/* A weight that was quantised before the file is written. */
struct kept {
  uint8_t *codes, *zero, *mask; /* mask NULL: none was chosen here */
  float *scale;
  int64_t made; /* rows */
};

struct gptq_state {
  struct kept *kept; /* one a weight: sequential */
  bool *calibrated;  /* one a weight */
  size_t weight;     /* that `gptq` is of; SIZE_MAX: none */
  pare__gptq gptq;
};

static pare_status explain(pare__compression *compression, const char *why, const char **out) {
  char text[200];
  const int length = snprintf(text, sizeof text, "quantised to nearest: %s", why);
  return pare__arena_text(&compression->arena, text, (size_t)length, out);
}

static pare_status prepare(pare__compression *compression, size_t step) {
  const size_t nweights = compression->checkpoint->nweights;
  void *memory;
  PARE__TRY(pare__arena_allocate(&compression->arena, sizeof(struct gptq_state), &memory));
  struct gptq_state *state = memory;
  compression->state[step] = state;
  state->weight = SIZE_MAX;
  PARE__TRY(pare__arena_allocate(&compression->arena, nweights * sizeof(bool), &memory));
  state->calibrated = memory;
  for (size_t i = 0; i < nweights; i++) {
    pare__treatment *treatment = &compression->treatments[i];
    const char *reason = NULL;
    if (!pare__treats(treatment, step) || treatment->storage != PARE__STORE_INTEGER) continue;
    PARE__TRY(pare__calibration_want(compression->calibration, i, PARE__NEEDS_HESSIAN, &reason));
    state->calibrated[i] = !reason;
    if (reason) PARE__TRY(explain(compression, reason, &treatment->reason));
  }
  return pare__quantize_prepare(compression, step);
}

static pare_status prepared(pare__compression *compression, size_t step) {
  struct gptq_state *state = compression->state[step];
  const gptq_options *options = compression->recipe->modifiers[step].options;
  void *memory;
  if (!options->sequential) return PARE_OK;
  PARE__TRY(
      pare__arena_allocate(&compression->arena, compression->checkpoint->nweights * sizeof *state->kept, &memory));
  state->kept = memory;
  return pare__sequential_run(compression, state->calibrated, options->correction > 0);
}

static void finish(pare__compression *compression, size_t step) {
  struct gptq_state *state = compression->state[step];
  if (!state) return;
  pare__gptq_close(&state->gptq);
  for (size_t i = 0; i < compression->checkpoint->nweights && state->kept; i++) {
    free(state->kept[i].codes);
    free(state->kept[i].zero);
    free(state->kept[i].mask);
    free(state->kept[i].scale);
  }
}

/* x / s has the Hessian H_ij / (s_i s_j): what SmoothQuant multiplied columns by, it divided inputs by. */
static void unsmooth(const pare__work *work, int64_t columns, float *hessian) {
  const float *factor = work->treatment->factor;
  const int64_t inputs = pare__weight_inputs(work->weight);
  for (int64_t i = 0; factor && i < columns; i++)
    for (int64_t j = 0; j < columns; j++) hessian[i * columns + j] /= factor[i % inputs] * factor[j % inputs];
}

/* A matrix of the statistics on the host, as the weight sees it now; NULL for NULL. */
static pare_status read_sums(const pare__work *work, pare_tensor *sums, float **out) {
  const size_t nbytes = (size_t)(work->columns * work->columns) * sizeof(float);
  *out = NULL;
  if (!sums) return PARE_OK;
  *out = malloc(nbytes + 1);
  if (!*out) return pare__fail_memory("a Hessian", nbytes);
  PARE__TRY(pare_tensor_read(sums, *out, nbytes));
  unsmooth(work, work->columns, *out);
  return PARE_OK;
}

static pare_status open_factor(pare__compression *compression, size_t step, const pare__work *work) {
  struct gptq_state *state = compression->state[step];
  const gptq_options *options = compression->recipe->modifiers[step].options;
  const pare__statistics *statistics;
  if (state->weight == work->index) return PARE_OK;
  pare__gptq_close(&state->gptq);
  state->weight = SIZE_MAX;
  PARE__TRY(pare__calibration_statistics(compression->calibration, work->index, PARE__NEEDS_HESSIAN, &statistics));
  float *hessian = NULL, *drift = NULL;
  pare_status status = read_sums(work, statistics->hessian, &hessian);
  if (status == PARE_OK && options->correction > 0) status = read_sums(work, statistics->drift, &drift);
  if (status == PARE_OK) {
    const bool chooses = chooses_mask(options, work->weight);
    const pare__gptq_options wanted = {.dampening = options->dampening_frac,
                                       .by_activation = options->actorder != IN_ORDER,
                                       .block = options->block_size,
                                       .drift = drift,
                                       .keep = chooses ? options->keep : 0,
                                       .of = chooses ? options->of : 0};
    status = pare__gptq_open(work->columns, hessian, &wanted, &state->gptq);
    if (status == PARE_ERR_ARGUMENT) {
      char why[200];
      snprintf(why, sizeof why, "%s", pare_message());
      status = pare__fail(status, "tensor '%.100s': %s", work->weight->name, why);
    }
  }
  free(drift);
  free(hessian);
  if (status == PARE_OK) state->weight = work->index;
  return status;
}

/* The weights as they were before they were pruned (*original NULL: the work's), with the correction. What the grid is
 * fitted to, the work's, is masked again. */
static pare_status correct(pare__compression *compression, size_t step, pare__work *work, pare_tensor **original) {
  const struct gptq_state *state = compression->state[step];
  const gptq_options *options = compression->recipe->modifiers[step].options;
  const pare_gemm_options add = {.alpha = options->correction, .beta = 1};
  const int64_t n = work->columns;
  pare_tensor *pull = NULL, *corrected = NULL;
  *original = NULL;
  if (work->mask) PARE__TRY(pare__load_rows(compression, work->index, work->first_row, work->nrows, original));
  if (!state->gptq.pull) return PARE_OK;
  pare_tensor *from = *original ? *original : work->w;
  pare_status status = pare_tensor_from(pare_tensor_context(from), PARE_F32, 2, (const int64_t[]){n, n},
                                        state->gptq.pull, (size_t)(n * n) * sizeof(float), &pull);
  if (status == PARE_OK)
    status = pare_tensor_create(pare_tensor_context(from), PARE_F32, 2, pare_tensor_shape(from), &corrected);
  if (status == PARE_OK) status = pare_copy(from, corrected);
  if (status == PARE_OK) status = pare_gemm(from, pull, NULL, &add, corrected);
  if (status == PARE_OK) status = pare_copy(corrected, from);
  if (status == PARE_OK && work->mask) status = pare_mask_apply(from, work->mask, work->w);
  pare_tensor_close(corrected);
  pare_tensor_close(pull);
  return status;
}

/* ---- rows ---- */

/* What the host has of a work's rows. */
struct host_rows {
  float *w, *scale;
  uint8_t *mask, *zero, *codes;
};

static void close_rows(struct host_rows *rows) {
  free(rows->w);
  free(rows->scale);
  free(rows->mask);
  free(rows->zero);
  free(rows->codes);
}

/* All elements of a tensor; NULL for NULL. */
static pare_status read_tensor(pare_tensor *tensor, void *out) {
  void **data = out;
  *data = NULL;
  if (!tensor) return PARE_OK;
  const size_t nbytes = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(pare_tensor_dtype(tensor));
  *data = malloc(nbytes + 1);
  if (!*data) return pare__fail_memory("rows of a weight", nbytes);
  return pare_tensor_read(tensor, *data, nbytes);
}

/* The weights as they were before they were pruned, the mask, and the grid of those that are left. */
static pare_status read_rows(const pare__work *work, pare_tensor *original, bool chooses, struct host_rows *out) {
  const size_t count = (size_t)(work->nrows * work->columns);
  pare_status status = read_tensor(original ? original : work->w, &out->w);
  if (status == PARE_OK) status = read_tensor(work->mask, &out->mask);
  if (status == PARE_OK) status = read_tensor(work->result.scales, &out->scale);
  if (status == PARE_OK) status = read_tensor(work->result.zeros, &out->zero);
  out->codes = malloc(count + 1);
  if (status == PARE_OK && !out->codes) status = pare__fail_memory("codes", count);
  if (status == PARE_OK && chooses && !out->mask) {
    out->mask = malloc(count + 1);
    if (out->mask) memset(out->mask, 1, count);
    if (!out->mask) status = pare__fail_memory("a mask", count);
  }
  return status;
}

/* Without calibration, and without codes, the largest stay. */
static pare_status apply_nearest(const gptq_options *options, pare__work *work) {
  const pare__stored_as storage = work->treatment->storage;
  pare_tensor *mask;
  if ((storage != PARE__STORE_INTEGER && storage != PARE__STORE_VALUES) || !chooses_mask(options, work->weight))
    return pare__quantize_nearest(work);
  PARE__TRY(pare_tensor_create(pare_tensor_context(work->w), PARE_BOOL, 2, pare_tensor_shape(work->w), &mask));
  pare_status status = pare_mask_n_of_m(work->w, true, 1, (int)options->keep, (int)options->of, mask);
  if (status == PARE_OK) status = pare_mask_apply(work->w, mask, work->w);
  if (status != PARE_OK) {
    pare_tensor_close(mask);
    return status;
  }
  pare_tensor_close(work->mask);
  work->mask = mask;
  return pare__quantize_nearest(work);
}

/* What was chosen is the work's mask from now on. */
static pare_status keep_mask(pare__work *work, const uint8_t *mask) {
  if (!work->mask)
    PARE__TRY(pare_tensor_create(pare_tensor_context(work->w), PARE_BOOL, 2, pare_tensor_shape(work->w), &work->mask));
  return pare_tensor_write(work->mask, mask, (size_t)(work->nrows * work->columns));
}

/* ---- rows that were made before ---- */

/* Where a weight has its scales: one for all, or so many a row. */
static int64_t scales_of(const pare__work *work) {
  const pare__grid *grid = &work->treatment->grid;
  if (grid->strategy == PARE__PER_TENSOR) return 0;
  return grid->strategy == PARE__PER_GROUP ? (work->columns + grid->group - 1) / grid->group : 1;
}

static bool is_kept(const struct gptq_state *state, const pare__work *work) {
  return state->kept && state->kept[work->index].made >= work->first_row + work->nrows;
}

static pare_status open_kept(const pare__work *work, bool chooses, struct kept *kept) {
  const size_t rows = (size_t)pare__weight_rows(work->weight), count = rows * (size_t)work->columns;
  const size_t scales = PARE__MAX(rows * (size_t)scales_of(work), (size_t)1);
  kept->codes = malloc(count + 1);
  kept->scale = malloc(scales * sizeof(float));
  kept->zero = work->result.zeros ? malloc(scales) : NULL;
  kept->mask = chooses ? malloc(count + 1) : NULL;
  return kept->codes && kept->scale && (kept->zero || !work->result.zeros) && (kept->mask || !chooses)
             ? PARE_OK
             : pare__fail_memory("codes", count);
}

static pare_status keep(struct kept *kept, bool chooses, const pare__work *work, const struct host_rows *rows) {
  const size_t count = (size_t)(work->nrows * work->columns), at = (size_t)(work->first_row * work->columns);
  const size_t first = (size_t)(work->first_row * scales_of(work));
  const size_t scales = PARE__MAX((size_t)(work->nrows * scales_of(work)), (size_t)1);
  if (!kept->codes) PARE__TRY(open_kept(work, chooses, kept));
  memcpy(kept->codes + at, rows->codes, count);
  memcpy(kept->scale + first, rows->scale, scales * sizeof(float));
  if (kept->zero) memcpy(kept->zero + first, rows->zero, scales);
  if (kept->mask) memcpy(kept->mask + at, rows->mask, count);
  kept->made = work->first_row + work->nrows;
  return PARE_OK;
}

static pare_status take_kept(const struct kept *kept, bool chooses, pare__work *work) {
  const pare_grid grid = pare__grid_of(&work->treatment->grid);
  const size_t count = (size_t)(work->nrows * work->columns), at = (size_t)(work->first_row * work->columns);
  const size_t first = (size_t)(work->first_row * scales_of(work));
  const size_t scales = PARE__MAX((size_t)(work->nrows * scales_of(work)), (size_t)1);
  pare__result *result = &work->result;
  PARE__TRY(pare_tensor_write(result->codes, kept->codes + at, count));
  PARE__TRY(pare_tensor_write(result->scales, kept->scale + first, scales * sizeof(float)));
  if (kept->zero) PARE__TRY(pare_tensor_write(result->zeros, kept->zero + first, scales));
  if (chooses) PARE__TRY(keep_mask(work, kept->mask + at));
  return pare_grid_dequantize(&grid, result->codes, result->scales, result->zeros, work->w);
}

static pare_status quantise_rows(const pare__gptq *gptq, const pare__work *work, const struct host_rows *rows) {
  const pare__grid *grid = &work->treatment->grid;
  const int half = 1 << (grid->bits - 1);
  const pare__gptq_grid codes = {.lowest = grid->symmetric ? 1 - half : 0,
                                 .highest = grid->symmetric ? half - 1 : 2 * half - 1,
                                 .group = grid->strategy == PARE__PER_GROUP ? grid->group : work->columns,
                                 .one_scale = grid->strategy == PARE__PER_TENSOR,
                                 .scale = rows->scale,
                                 .zero = rows->zero};
  return pare__gptq_rows(gptq, &codes, work->nrows, rows->w, rows->mask, rows->codes);
}

static pare_status apply(pare__compression *compression, size_t step, pare__work *work) {
  struct gptq_state *state = compression->state[step];
  const gptq_options *options = compression->recipe->modifiers[step].options;
  if (work->treatment->storage != PARE__STORE_INTEGER || !state->calibrated[work->index])
    return apply_nearest(options, work);
  const bool chooses = chooses_mask(options, work->weight);
  struct host_rows rows = {0};
  pare_tensor *original = NULL;
  PARE__TRY(pare__result_create(work, &work->result));
  if (is_kept(state, work)) return take_kept(&state->kept[work->index], chooses, work);
  pare_status status = open_factor(compression, step, work);
  if (status == PARE_OK) status = correct(compression, step, work, &original);
  if (status == PARE_OK) status = pare__quantize_fit(work);
  if (status == PARE_OK) status = read_rows(work, original, chooses, &rows);
  if (status == PARE_OK) status = quantise_rows(&state->gptq, work, &rows);
  const size_t count = (size_t)(work->nrows * work->columns);
  if (status == PARE_OK) status = pare_tensor_write(work->w, rows.w, count * sizeof(float));
  if (status == PARE_OK) status = pare_tensor_write(work->result.codes, rows.codes, count);
  if (status == PARE_OK && chooses) status = keep_mask(work, rows.mask);
  if (status == PARE_OK && state->kept) status = keep(&state->kept[work->index], chooses, work, &rows);
  close_rows(&rows);
  pare_tensor_close(original);
  return status;
}

static const gptq_options defaults = {.quantize = PARE__QUANTIZE_DEFAULTS,
                                      .dampening_frac = 0.01,
                                      .block_size = 128,
                                      .actorder = BY_ACTIVATION,
                                      .correction = 0.25};

const pare__method pare__method_gptq = {
    .name = "gptq",
    .fields = fields,
    .nfields = PARE__COUNT(fields),
    .options_bytes = sizeof(gptq_options),
    .defaults = &defaults,
    .default_targets = targets,
    .needs = PARE__NEEDS_HESSIAN,
    .in_turn = true,
    .check = check,
    .plan = plan,
    .prepare = prepare,
    .prepared = prepared,
    .apply = apply,
    .finish = finish,
};
