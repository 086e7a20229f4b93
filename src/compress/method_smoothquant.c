/* smoothquant: outliers of activations moved into the weights that multiply them. SPDX-License-Identifier: Apache-2.0
 *
 * Xiao et al. 2022, arXiv 2211.10438: input j is divided by s_j = max|X_j|^a / max|W_j|^(1 - a) and the weights'
 * column j multiplied by it, which changes no product, but makes 8 bits enough for X. Layers that read the same value
 * share their factors. Only layers whose activations are quantised afterwards are smoothed. What makes the value
 * divides it if it can (division.h), else a Mul does. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/calibration.h"
#include "compress/division.h"
#include "compress/layer_input.h"
#include "compress/pattern.h"

typedef struct smoothquant_options {
  double smoothing_strength;     /* a; SEARCHED: the best for each value that layers read */
  pare__layer_mappings mappings; /* which layers, and what divides for them; none: all, and whatever can */
} smoothquant_options;

#define SEARCHED (-1)

static const char *const targets[] = {"Linear", NULL};

static const pare__field fields[] = {
    {"smoothing_strength", PARE__FIELD_NUMBER, offsetof(smoothquant_options, smoothing_strength), 0, 1, NULL},
    {"mappings", PARE__FIELD_MAPPINGS, offsetof(smoothquant_options, mappings), 0, 0, NULL}};

/* Strengths 0, 1 / (STRENGTHS - 1), … 1 are tried, and no smoothing. */
#define STRENGTHS 21

/* Factors beyond would leave weights or activations without digits. */
#define LEAST_FACTOR 1e-4F
#define MOST_FACTOR 1e4F

static pare_status plan(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                        bool *takes) {
  (void)modifier;
  *takes = weight->role == PARE__WEIGHT_LINEAR && weight->nuses == 1 && treatment->storage <= PARE__STORE_VALUES;
  if (weight->role == PARE__WEIGHT_LINEAR && treatment->storage > PARE__STORE_VALUES)
    treatment->reason = "it is quantised before it is smoothed: order the modifiers the other way";
  return PARE_OK;
}

static bool is_smoothed(const pare__treatment *treatments, size_t step, size_t weight) {
  const pare__treatment *treatment = &treatments[weight];
  return pare__treats(treatment, step) && treatment->storage == PARE__STORE_INTEGER &&
         treatment->grid.activations != PARE__ACTIVATIONS_FLOAT;
}

/* ---- mappings ---- */

/* Sets fits[i] of every weight that a pattern fits; *any: some is. */
static pare_status find_fitting(const char *text, const pare__layer_mapping *mapping,
                                const pare__checkpoint *checkpoint, bool *fits, bool *any) {
  pare__pattern *pattern;
  PARE__TRY(pare__pattern_open(text, &mapping->place, &pattern));
  pare_status status = PARE_OK;
  *any = false;
  for (size_t i = 0; i < checkpoint->nweights && status == PARE_OK; i++) {
    bool one;
    status = pare__pattern_fits(pattern, &checkpoint->weights[i], &one);
    fits[i] = fits[i] || one;
    *any = *any || one;
  }
  pare__pattern_close(pattern);
  return status;
}

static pare_status balanced(const pare__layer_mapping *mapping, const pare__checkpoint *checkpoint, bool *fits) {
  for (size_t i = 0; i < mapping->balance.count; i++) {
    bool any;
    PARE__TRY(find_fitting(mapping->balance.items[i].text, mapping, checkpoint, fits, &any));
    if (!any)
      return pare__fail_at(&mapping->place, "the mapping's '%.200s' fits no Linear of %s",
                           mapping->balance.items[i].text, checkpoint->path);
  }
  return PARE_OK;
}

/* With mappings, the layers that they name; without, all. */
static pare_status narrow(const pare__modifier *modifier, const pare__checkpoint *checkpoint, bool *chosen,
                          pare__treatment *treatments) {
  const smoothquant_options *options = modifier->options;
  (void)treatments;
  if (options->mappings.count == 0) return PARE_OK;
  bool *fits = calloc(checkpoint->nweights + 1, sizeof *fits);
  if (!fits) return pare__fail_memory("mappings", checkpoint->nweights);
  pare_status status = PARE_OK;
  for (size_t i = 0; i < options->mappings.count && status == PARE_OK; i++)
    status = balanced(&options->mappings.items[i], checkpoint, fits);
  for (size_t i = 0; i < checkpoint->nweights; i++) chosen[i] = chosen[i] && fits[i];
  free(fits);
  return status;
}

/* The mapping that names the first layer that reads the value must name what divides it, too. */
static pare_status hold_against(const pare__layer_mapping *mapping, const pare__checkpoint *checkpoint,
                                const pare__division *division) {
  pare__pattern *pattern;
  bool meets = false;
  PARE__TRY(pare__pattern_open(mapping->smooth, &mapping->place, &pattern));
  const pare_status status = pare__division_meets(division, checkpoint, pattern, &meets);
  pare__pattern_close(pattern);
  PARE__TRY(status);
  if (!division->into)
    return pare__fail_at(&mapping->place, "'%.100s' cannot divide the inputs of '%.100s': %s", mapping->smooth,
                         division->reader, division->reason);
  if (meets) return PARE_OK;
  return pare__fail_at(&mapping->place, "'%.100s' is not what makes the inputs of '%.100s': that is '%.100s'",
                       mapping->smooth, division->reader, division->into);
}

static pare_status check_mapping(const smoothquant_options *options, const pare__checkpoint *checkpoint,
                                 const pare__division *division) {
  bool *fits = calloc(checkpoint->nweights + 1, sizeof *fits);
  if (!fits) return pare__fail_memory("mappings", checkpoint->nweights);
  pare_status status = PARE_OK;
  bool found = false;
  for (size_t i = 0; i < options->mappings.count && status == PARE_OK && !found; i++) {
    status = balanced(&options->mappings.items[i], checkpoint, fits);
    found = fits[division->layers[0]];
    if (status == PARE_OK && found) status = hold_against(&options->mappings.items[i], checkpoint, division);
  }
  free(fits);
  return status;
}

/* ---- who divides ---- */

/* A smoothed layer, the value that it reads, and the first layer that reads it. */
struct reader {
  const char *value;
  size_t layer, first;
};

static int by_layer(size_t a, size_t b) { return (a > b) - (a < b); }

static int by_value(const void *a, const void *b) {
  const struct reader *x = a, *y = b;
  const int order = strcmp(x->value, y->value);
  return order ? order : by_layer(x->layer, y->layer);
}

static int by_first(const void *a, const void *b) {
  const struct reader *x = a, *y = b;
  return x->first != y->first ? by_layer(x->first, y->first) : by_layer(x->layer, y->layer);
}

/* Those that read the same value together, in the order of the file. */
static size_t sort_readers(const pare__checkpoint *checkpoint, const pare__treatment *treatments, size_t step,
                           const pare__layer_input *inputs, struct reader *readers) {
  size_t count = 0;
  for (size_t i = 0; i < checkpoint->nweights; i++)
    if (is_smoothed(treatments, step, i) && !treatments[i].division && !inputs[i].reason)
      readers[count++] = (struct reader){.value = inputs[i].value, .layer = i};
  qsort(readers, count, sizeof *readers, by_value);
  for (size_t i = 0; i < count; i++) {
    const bool same = i > 0 && strcmp(readers[i].value, readers[i - 1].value) == 0;
    readers[i].first = same ? readers[i - 1].first : readers[i].layer;
  }
  qsort(readers, count, sizeof *readers, by_first);
  return count;
}

static pare_status find_division(const smoothquant_options *options, const struct reader *readers, size_t count,
                                 pare__checkpoint *checkpoint, pare__treatment *treatments, size_t *layers) {
  pare__division *division;
  for (size_t i = 0; i < count; i++) layers[i] = readers[i].layer;
  PARE__TRY(pare__division_find(checkpoint, treatments, readers->value, count, layers, options->mappings.count > 0,
                                &division));
  if (options->mappings.count > 0) PARE__TRY(check_mapping(options, checkpoint, division));
  for (size_t i = 0; i < count; i++) treatments[layers[i]].division = division;
  if (division->linear == SIZE_MAX) return PARE_OK;
  pare__treatment *maker = &treatments[division->linear];
  maker->takes = division;
  if (maker->storage == PARE__STORE_AS_IS) maker->storage = PARE__STORE_VALUES;
  return PARE_OK;
}

static pare_status settled(const pare__modifier *modifier, size_t step, pare__checkpoint *checkpoint,
                           pare__treatment *treatments) {
  if (!checkpoint->runs) return PARE_OK;
  size_t *layers = calloc(checkpoint->nweights + 1, sizeof *layers);
  struct reader *readers = calloc(checkpoint->nweights + 1, sizeof *readers);
  pare__layer_input *inputs = calloc(checkpoint->nweights + 1, sizeof *inputs);
  pare_status status = layers && readers && inputs
                           ? PARE_OK
                           : pare__fail_memory("layers", checkpoint->nweights * (sizeof *inputs + sizeof *readers));
  size_t count = 0;
  if (status == PARE_OK) {
    pare__layer_inputs_find((const pare__onnx_checkpoint *)checkpoint, inputs);
    count = sort_readers(checkpoint, treatments, step, inputs, readers);
  }
  for (size_t i = 0, end; i < count && status == PARE_OK; i = end) {
    for (end = i + 1; end < count && readers[end].first == readers[i].first;) end++;
    status = find_division(modifier->options, readers + i, end - i, checkpoint, treatments, layers);
  }
  free(inputs);
  free(readers);
  free(layers);
  return status;
}

/* Nothing is divided: no smoothing is best. */
static void leave(pare__treatment *treatments, pare__division *division) {
  for (size_t i = 0; i < division->nlayers; i++) treatments[division->layers[i]].division = NULL;
  if (division->linear == SIZE_MAX) return;
  pare__treatment *maker = &treatments[division->linear];
  maker->takes = NULL;
  if (maker->nsteps == 0 && maker->storage == PARE__STORE_VALUES) maker->storage = PARE__STORE_AS_IS;
}

/* ---- one value ---- */

/* A value that layers read, while its factors are looked for. */
struct search {
  pare__compression *compression;
  size_t step, first; /* the first of the layers */
  const pare__statistics *statistics;
  float *weights;                                     /* [inputs]: max |W_j| */
  float *factor;                                      /* [STRENGTHS + 1][inputs] */
  double square[STRENGTHS + 1], steps[STRENGTHS + 1]; /* of the weights: sum of w'^2, sum of squared steps of rows */
};

static bool reads_it(const struct search *search, size_t weight) {
  return is_smoothed(search->compression->treatments, search->step, weight) &&
         pare__calibration_shared(search->compression->calibration, search->first, weight);
}

/* Calls `visit` with rows of every layer. */
static pare_status visit_rows(struct search *search,
                              void (*visit)(struct search *search, const float *w, int64_t rows)) {
  pare__compression *compression = search->compression;
  for (size_t i = search->first; i < compression->checkpoint->nweights; i++) {
    if (!reads_it(search, i)) continue;
    const int64_t rows = pare__weight_rows(&compression->checkpoint->weights[i]);
    const int64_t most = PARE__MIN(pare__most_rows(compression, i), rows), columns = search->statistics->inputs;
    float *values = malloc((size_t)(most * columns) * sizeof *values + 1);
    pare_status status = values ? PARE_OK : pare__fail_memory("a weight", (size_t)(most * columns) * sizeof *values);
    for (int64_t first = 0; first < rows && status == PARE_OK; first += most) {
      const int64_t count = PARE__MIN(most, rows - first);
      pare_tensor *w = NULL;
      status = pare__load_before(compression, i, search->step, first, count, &w);
      if (status == PARE_OK) status = pare_tensor_read(w, values, (size_t)(count * columns) * sizeof *values);
      if (status == PARE_OK) visit(search, values, count);
      pare_tensor_close(w);
    }
    free(values);
    PARE__TRY(status);
  }
  return PARE_OK;
}

static void join_columns(struct search *search, const float *w, int64_t rows) {
  const int64_t columns = search->statistics->inputs;
  for (int64_t i = 0; i < rows * columns; i++)
    search->weights[i % columns] = fmaxf(search->weights[i % columns], fabsf(w[i]));
}

static void add_errors(struct search *search, const float *w, int64_t rows) {
  const int64_t columns = search->statistics->inputs;
  for (int s = 0; s <= STRENGTHS; s++) {
    const float *factor = search->factor + s * columns;
    for (int64_t r = 0; r < rows; r++) {
      float largest = 0;
      for (int64_t j = 0; j < columns; j++) {
        const float scaled = w[r * columns + j] * factor[j];
        search->square[s] += scaled * scaled;
        largest = fmaxf(largest, fabsf(scaled));
      }
      search->steps[s] += largest / 127.0 * (largest / 127.0);
    }
  }
}

static void find_factors(struct search *search, double strength, float *factor) {
  const pare__statistics *statistics = search->statistics;
  for (int64_t j = 0; j < statistics->inputs; j++) {
    const double input = (double)fmaxf(statistics->most[j], -statistics->least[j]), weight = search->weights[j];
    const double s = input > 0 && weight > 0 ? pow(input, strength) / pow(weight, 1 - strength) : 1;
    factor[j] = (float)fmin(fmax(s, LEAST_FACTOR), MOST_FACTOR);
  }
}

/* The mean squared error of the layers' outputs, up to a factor, if rounding errors of 8 bits are uniform and
 * independent: (step of x)^2 sum w^2 + sum over rows (step of the row)^2 * sum over inputs mean x^2. */
static double expected_error(const struct search *search, int strength) {
  const pare__statistics *statistics = search->statistics;
  const float *factor = search->factor + strength * statistics->inputs;
  double least = 0, most = 0, power = 0;
  for (int64_t j = 0; j < statistics->inputs; j++) {
    least = fmin(least, (double)statistics->least[j] / factor[j]);
    most = fmax(most, (double)statistics->most[j] / factor[j]);
    power += statistics->squares[j] / ((double)factor[j] * factor[j]) / (double)PARE__MAX(statistics->nrows, 1U);
  }
  const double step = (most - least) / 255;
  return step * step * search->square[strength] + search->steps[strength] * power;
}

/* Tries all strengths; STRENGTHS stands for no smoothing. */
static pare_status choose(struct search *search, int *best) {
  const int64_t columns = search->statistics->inputs;
  for (int s = 0; s < STRENGTHS; s++) find_factors(search, (double)s / (STRENGTHS - 1), search->factor + s * columns);
  for (int64_t j = 0; j < columns; j++) search->factor[STRENGTHS * columns + j] = 1;
  PARE__TRY(visit_rows(search, add_errors));
  *best = STRENGTHS;
  for (int s = 0; s < STRENGTHS; s++)
    if (expected_error(search, s) < expected_error(search, *best)) *best = s;
  return PARE_OK;
}

static pare_status set_factors(struct search *search, const float *factor) {
  pare__compression *compression = search->compression;
  const int64_t columns = search->statistics->inputs;
  void *memory;
  PARE__TRY(pare__arena_allocate(&compression->arena, 2 * (size_t)columns * sizeof(float), &memory));
  float *kept = memory, *inverse = kept + columns;
  for (int64_t j = 0; j < columns; j++) {
    kept[j] = factor[j];
    inverse[j] = 1 / factor[j];
  }
  for (size_t i = search->first; i < compression->checkpoint->nweights; i++) {
    if (!reads_it(search, i)) continue;
    compression->treatments[i].factor = kept;
    compression->treatments[i].smooth = inverse;
  }
  if (compression->treatments[search->first].division)
    compression->treatments[search->first].division->inverse = inverse;
  return PARE_OK;
}

/* All layers that read the same value as layer `first`. */
static pare_status smooth_value(pare__compression *compression, size_t step, size_t first) {
  const smoothquant_options *options = compression->recipe->modifiers[step].options;
  struct search search = {.compression = compression, .step = step, .first = first};
  PARE__TRY(pare__calibration_statistics(compression->calibration, first, PARE__NEEDS_RANGES, &search.statistics));
  const size_t columns = (size_t)search.statistics->inputs;
  float *weights = calloc((STRENGTHS + 2) * columns + 1, sizeof(float));
  if (!weights) return pare__fail_memory("factors", (STRENGTHS + 2) * columns * sizeof(float));
  search.weights = weights;
  search.factor = weights + columns;
  int best = 0;
  pare_status status = visit_rows(&search, join_columns);
  if (status == PARE_OK && options->smoothing_strength < 0) status = choose(&search, &best);
  if (status == PARE_OK && options->smoothing_strength >= 0)
    find_factors(&search, options->smoothing_strength, search.factor);
  if (status == PARE_OK && best < STRENGTHS) status = set_factors(&search, search.factor + (size_t)best * columns);
  pare__division *division = compression->treatments[first].division;
  if (status == PARE_OK && best == STRENGTHS && division) leave(compression->treatments, division);
  free(weights);
  return status;
}

/* ---- all ---- */

static pare_status prepare(pare__compression *compression, size_t step) {
  const size_t nweights = compression->checkpoint->nweights;
  for (size_t i = 0; i < nweights; i++) {
    const char *reason = NULL;
    if (!is_smoothed(compression->treatments, step, i)) continue;
    PARE__TRY(pare__calibration_want(compression->calibration, i, PARE__NEEDS_RANGES, &reason));
    if (reason && !compression->treatments[i].reason) compression->treatments[i].reason = reason;
  }
  for (size_t i = 0; i < nweights; i++) {
    size_t first = 0; /* of those that read the same value */
    while (first < i && !(is_smoothed(compression->treatments, step, first) &&
                          pare__calibration_shared(compression->calibration, first, i)))
      first++;
    if (first == i && is_smoothed(compression->treatments, step, i) &&
        pare__calibration_shared(compression->calibration, i, i))
      PARE__TRY(smooth_value(compression, step, i));
  }
  return PARE_OK;
}

static pare_status apply(pare__compression *compression, size_t step, pare__work *work) {
  (void)compression;
  (void)step;
  (void)work; /* the factors are in the weights since they were loaded */
  return PARE_OK;
}

static const smoothquant_options defaults = {.smoothing_strength = SEARCHED};

const pare__method pare__method_smoothquant = {
    .name = "smoothquant",
    .fields = fields,
    .nfields = PARE__COUNT(fields),
    .options_bytes = sizeof(smoothquant_options),
    .defaults = &defaults,
    .default_targets = targets,
    .needs = PARE__NEEDS_RANGES,
    .narrow = narrow,
    .plan = plan,
    .settled = settled,
    .prepare = prepare,
    .apply = apply,
};
