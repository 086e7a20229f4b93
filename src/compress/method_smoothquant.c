/* smoothquant: outliers of activations moved into the weights that multiply them. SPDX-License-Identifier: Apache-2.0
 *
 * Xiao et al. 2022, arXiv 2211.10438: input j is divided by s_j = max|X_j|^a / max|W_j|^(1 - a) and the weights'
 * column j multiplied by it, which changes no product, but makes 8 bits enough for X. Layers that read the same value
 * share their factors. Only layers whose activations are quantised afterwards are smoothed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/calibration.h"

typedef struct smoothquant_options {
  double smoothing_strength; /* a */
} smoothquant_options;

static const char *const targets[] = {"Linear", NULL};

static const pare__field fields[] = {
    {"smoothing_strength", PARE__FIELD_NUMBER, offsetof(smoothquant_options, smoothing_strength), 0, 1, NULL}};

/* Factors beyond would leave weights or activations without digits. */
#define LEAST_FACTOR 1e-4F
#define MOST_FACTOR 1e4F

static pare_status check(pare_recipe *recipe, pare__modifier *modifier) {
  (void)recipe;
  pare__recipe_show(modifier, NULL);
  return PARE_OK;
}

static pare_status plan(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                        bool *takes) {
  (void)modifier;
  *takes = weight->role == PARE__WEIGHT_LINEAR && weight->nuses == 1 && treatment->storage == PARE__STORE_AS_IS;
  return PARE_OK;
}

static bool is_smoothed(const pare__compression *compression, size_t step, size_t weight) {
  const pare__treatment *treatment = &compression->treatments[weight];
  return pare__treats(treatment, step) && treatment->storage == PARE__STORE_INTEGER &&
         treatment->grid.activations != PARE__ACTIVATIONS_FLOAT;
}

/* most[j] = max(most[j], |w| of column j). */
static pare_status join_columns(pare__compression *compression, size_t step, size_t index, float *most) {
  const pare__weight *weight = &compression->checkpoint->weights[index];
  const int64_t rows = pare__weight_rows(weight), columns = pare__weight_inputs(weight);
  const int64_t piece = pare__most_rows(compression, index);
  float *values = malloc((size_t)(PARE__MIN(piece, rows) * columns) * sizeof *values + 1);
  pare_status status = values ? PARE_OK : pare__fail_memory("a weight", (size_t)(piece * columns) * sizeof *values);
  for (int64_t first = 0; first < rows && status == PARE_OK; first += piece) {
    const int64_t count = PARE__MIN(piece, rows - first);
    pare_tensor *w;
    status = pare__load_before(compression, index, step, first, count, &w);
    if (status != PARE_OK) break;
    status = pare_tensor_read(w, values, (size_t)(count * columns) * sizeof *values);
    for (int64_t i = 0; i < count * columns && status == PARE_OK; i++)
      most[i % columns] = fmaxf(most[i % columns], fabsf(values[i]));
    pare_tensor_close(w);
  }
  free(values);
  return status;
}

static void find_factors(const pare__statistics *statistics, double strength, const float *weights, float *factor,
                         float *inverse) {
  for (int64_t j = 0; j < statistics->inputs; j++) {
    const double input = fmax(statistics->most[j], -statistics->least[j]);
    const double s = input > 0 && weights[j] > 0 ? pow(input, strength) / pow(weights[j], 1 - strength) : 1;
    factor[j] = (float)fmin(fmax(s, LEAST_FACTOR), MOST_FACTOR);
    inverse[j] = 1 / factor[j];
  }
}

/* All layers that read the same value as layer `first`. */
static pare_status smooth_value(pare__compression *compression, size_t step, size_t first, bool *done) {
  const smoothquant_options *options = compression->recipe->modifiers[step].options;
  const pare__statistics *statistics;
  void *factor, *inverse;
  PARE__TRY(pare__calibration_statistics(compression->calibration, first, PARE__NEEDS_RANGES, &statistics));
  const size_t nbytes = (size_t)statistics->inputs * sizeof(float);
  PARE__TRY(pare__arena_allocate(&compression->arena, nbytes, &factor));
  PARE__TRY(pare__arena_allocate(&compression->arena, nbytes, &inverse));
  float *weights = calloc(nbytes + 1, 1);
  pare_status status = weights ? PARE_OK : pare__fail_memory("factors", nbytes);
  for (size_t i = first; i < compression->checkpoint->nweights && status == PARE_OK; i++) {
    if (!is_smoothed(compression, step, i) || !pare__calibration_shared(compression->calibration, first, i)) continue;
    status = join_columns(compression, step, i, weights);
    done[i] = true;
  }
  if (status == PARE_OK) find_factors(statistics, options->smoothing_strength, weights, factor, inverse);
  for (size_t i = first; i < compression->checkpoint->nweights && status == PARE_OK; i++) {
    if (!is_smoothed(compression, step, i) || !pare__calibration_shared(compression->calibration, first, i)) continue;
    compression->treatments[i].factor = factor;
    compression->treatments[i].smooth = inverse;
  }
  free(weights);
  return status;
}

static pare_status prepare(pare__compression *compression, size_t step) {
  const size_t nweights = compression->checkpoint->nweights;
  if (!compression->calibration)
    return pare__fail(PARE_ERR_ARGUMENT,
                      "smoothquant needs calibration data: an .npz file in the names of the model's inputs");
  bool *done = calloc(nweights + 1, sizeof *done);
  pare_status status = done ? PARE_OK : pare__fail_memory("a list", nweights);
  for (size_t i = 0; i < nweights && status == PARE_OK; i++) {
    const char *reason = NULL;
    done[i] = !is_smoothed(compression, step, i);
    if (done[i]) continue;
    status = pare__calibration_want(compression->calibration, i, PARE__NEEDS_RANGES, &reason);
    if (reason) done[i] = true;
  }
  for (size_t i = 0; i < nweights && status == PARE_OK; i++)
    if (!done[i]) status = smooth_value(compression, step, i, done);
  free(done);
  return status;
}

static pare_status apply(pare__compression *compression, size_t step, pare__work *work) {
  (void)compression;
  (void)step;
  (void)work; /* the factors are in the weights since they were loaded */
  return PARE_OK;
}

static const smoothquant_options defaults = {.smoothing_strength = 0.5};

const pare__method pare__method_smoothquant = {
    .name = "smoothquant",
    .fields = fields,
    .nfields = PARE__COUNT(fields),
    .options_bytes = sizeof(smoothquant_options),
    .defaults = &defaults,
    .default_targets = targets,
    .needs = PARE__NEEDS_RANGES,
    .check = check,
    .plan = plan,
    .prepare = prepare,
    .apply = apply,
};
