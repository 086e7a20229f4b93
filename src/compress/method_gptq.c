/* gptq: weights quantised so that the layer's outputs on calibration data change least.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Hessians come from the device, rows are quantised on the host (gptq.h). Every layer sees the inputs that it has in
 * the original model: measured on a sentence encoder, inputs from layers quantised before gained 0.0003 of cosine and
 * cost one pass over the data a layer. After a pruning step the mask stays, and what it took away is made up for by the
 * elements that are left; with mask_structure N:M is chosen on the way, by what losing an element would cost. */
#include <pare/prune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/calibration.h"
#include "compress/gptq.h"
#include "compress/quantize.h"

typedef enum gptq_order { IN_ORDER, BY_ACTIVATION } gptq_order; /* and more names of the latter */

typedef struct gptq_options {
  pare__quantize_options quantize; /* the first member */
  double dampening_frac;           /* of the mean of the Hessian's diagonal */
  int64_t block_size;              /* columns whose errors are handed on together */
  int actorder;
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

struct gptq_state {
  bool *calibrated; /* one a weight */
  size_t weight;    /* that `gptq` is of; SIZE_MAX: none */
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
  if (!compression->calibration)
    return pare__fail(PARE_ERR_ARGUMENT,
                      "gptq needs calibration data: an .npz file in the names of the model's inputs");
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

static void finish(pare__compression *compression, size_t step) {
  struct gptq_state *state = compression->state[step];
  if (state) pare__gptq_close(&state->gptq);
}

/* x / s has the Hessian H_ij / (s_i s_j): what SmoothQuant multiplied columns by, it divided inputs by. */
static void unsmooth(const pare__work *work, int64_t columns, float *hessian) {
  const float *factor = work->treatment->factor;
  const int64_t inputs = pare__weight_inputs(work->weight);
  for (int64_t i = 0; factor && i < columns; i++)
    for (int64_t j = 0; j < columns; j++) hessian[i * columns + j] /= factor[i % inputs] * factor[j % inputs];
}

static pare_status open_factor(pare__compression *compression, size_t step, const pare__work *work) {
  struct gptq_state *state = compression->state[step];
  const gptq_options *options = compression->recipe->modifiers[step].options;
  const pare__statistics *statistics;
  if (state->weight == work->index) return PARE_OK;
  pare__gptq_close(&state->gptq);
  state->weight = SIZE_MAX;
  PARE__TRY(pare__calibration_statistics(compression->calibration, work->index, PARE__NEEDS_HESSIAN, &statistics));
  const size_t nbytes = (size_t)(work->columns * work->columns) * sizeof(float);
  float *hessian = malloc(nbytes + 1);
  if (!hessian) return pare__fail_memory("a Hessian", nbytes);
  pare_status status = pare_tensor_read(statistics->hessian, hessian, nbytes);
  if (status == PARE_OK) {
    unsmooth(work, work->columns, hessian);
    const bool chooses = chooses_mask(options, work->weight);
    const pare__gptq_options wanted = {.dampening = options->dampening_frac,
                                       .by_activation = options->actorder != IN_ORDER,
                                       .block = options->block_size,
                                       .keep = chooses ? options->keep : 0,
                                       .of = chooses ? options->of : 0};
    status = pare__gptq_open(work->columns, hessian, &wanted, &state->gptq);
    if (status == PARE_ERR_ARGUMENT) {
      char why[200];
      snprintf(why, sizeof why, "%s", pare_message());
      status = pare__fail(status, "tensor '%.100s': %s", work->weight->name, why);
    }
  }
  free(hessian);
  if (status == PARE_OK) state->weight = work->index;
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
static pare_status read_rows(pare__compression *compression, const pare__work *work, bool chooses,
                             struct host_rows *out) {
  const size_t count = (size_t)(work->nrows * work->columns);
  pare_tensor *original = NULL;
  pare_status status = PARE_OK;
  if (work->mask) status = pare__load_rows(compression, work->index, work->first_row, work->nrows, &original);
  if (status == PARE_OK) status = read_tensor(original ? original : work->w, &out->w);
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
  pare_tensor_close(original);
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

static pare_status apply(pare__compression *compression, size_t step, pare__work *work) {
  const struct gptq_state *state = compression->state[step];
  const gptq_options *options = compression->recipe->modifiers[step].options;
  const pare__grid *grid = &work->treatment->grid;
  if (work->treatment->storage != PARE__STORE_INTEGER || !state->calibrated[work->index])
    return apply_nearest(options, work);
  struct host_rows rows = {0};
  PARE__TRY(open_factor(compression, step, work));
  PARE__TRY(pare__result_create(work, &work->result));
  pare_status status = pare__quantize_fit(work);
  if (status == PARE_OK) status = read_rows(compression, work, chooses_mask(options, work->weight), &rows);
  if (status == PARE_OK) {
    const int half = 1 << (grid->bits - 1);
    const bool whole = grid->strategy == PARE__PER_TENSOR;
    const pare__gptq_grid codes = {.lowest = grid->symmetric ? 1 - half : 0,
                                   .highest = grid->symmetric ? half - 1 : 2 * half - 1,
                                   .group = grid->strategy == PARE__PER_GROUP ? grid->group : work->columns,
                                   .one_scale = whole,
                                   .scale = rows.scale,
                                   .zero = rows.zero};
    status = pare__gptq_rows(&state->gptq, &codes, work->nrows, rows.w, rows.mask, rows.codes);
  }
  const size_t count = (size_t)(work->nrows * work->columns);
  if (status == PARE_OK) status = pare_tensor_write(work->w, rows.w, count * sizeof(float));
  if (status == PARE_OK) status = pare_tensor_write(work->result.codes, rows.codes, count);
  if (status == PARE_OK && chooses_mask(options, work->weight)) status = keep_mask(work, rows.mask);
  close_rows(&rows);
  return status;
}

static const gptq_options defaults = {
    .quantize = PARE__QUANTIZE_DEFAULTS, .dampening_frac = 0.01, .block_size = 128, .actorder = BY_ACTIVATION};

const pare__method pare__method_gptq = {
    .name = "gptq",
    .fields = fields,
    .nfields = PARE__COUNT(fields),
    .options_bytes = sizeof(gptq_options),
    .defaults = &defaults,
    .default_targets = targets,
    .needs = PARE__NEEDS_HESSIAN,
    .check = check,
    .plan = plan,
    .prepare = prepare,
    .apply = apply,
    .finish = finish,
};
