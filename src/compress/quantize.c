/* Schemes by their names, and what a quantising modifier makes of a tensor. SPDX-License-Identifier: Apache-2.0 */
#include "compress/quantize.h"

#include <stdio.h>
#include <string.h>

const char *const pare__number_type_names[] = {"int", "float", "bfloat", NULL};
const char *const pare__strategy_names[] = {"tensor", "channel", "group", NULL};
const char *const pare__observer_names[] = {"minmax", "percentile", "mse", NULL};
const char *const pare__activations_names[] = {"none", "int8", NULL};
const char *const pare__quantize_targets[] = {"Linear", "Conv", "Embedding", NULL};

/* The names of compressed-tensors and llm-compressor, and those of the two halves. W: bits of weights, A: of
 * activations. */
static const struct scheme {
  const char *name;
  pare__number_type type;
  int bits;
  pare__strategy strategy;
  int group;
  bool symmetric;
  int activations; /* 1: int8 */
} schemes[] = {
    {"W8A16", PARE__TYPE_INT, 8, PARE__PER_CHANNEL, 0, true, 0},
    {"W4A16", PARE__TYPE_INT, 4, PARE__PER_GROUP, 128, true, 0},
    {"W4A16_ASYM", PARE__TYPE_INT, 4, PARE__PER_GROUP, 128, false, 0},
    {"W8A8", PARE__TYPE_INT, 8, PARE__PER_CHANNEL, 0, true, 1},
    {"INT8", PARE__TYPE_INT, 8, PARE__PER_CHANNEL, 0, true, 1},
    {"W4A8", PARE__TYPE_INT, 4, PARE__PER_GROUP, 128, true, 1},
    {"F16", PARE__TYPE_FLOAT, 16, PARE__PER_TENSOR, 0, true, 0},
    {"BF16", PARE__TYPE_BFLOAT, 16, PARE__PER_TENSOR, 0, true, 0},
};

static const struct scheme *find_scheme(const char *name) {
  for (size_t i = 0; i < PARE__COUNT(schemes); i++)
    if (strcmp(schemes[i].name, name) == 0) return &schemes[i];
  return NULL;
}

static const char *scheme_names(char *buffer, size_t capacity) {
  size_t used = 0;
  for (size_t i = 0; i < PARE__COUNT(schemes) && used < capacity; i++)
    used += (size_t)snprintf(buffer + used, capacity - used, "%s%s", i ? ", " : "", schemes[i].name);
  return buffer;
}

/* What was given stands; the scheme fills the rest. */
static void fill(const pare__modifier *modifier, const struct scheme *scheme) {
  pare__quantize_options *options = modifier->options;
  if (!pare__recipe_gave(modifier, "type")) options->type = scheme->type;
  if (!pare__recipe_gave(modifier, "num_bits")) options->num_bits = scheme->bits;
  if (!pare__recipe_gave(modifier, "symmetric")) options->symmetric = scheme->symmetric;
  if (!pare__recipe_gave(modifier, "strategy")) options->strategy = (int)scheme->strategy;
  if (!pare__recipe_gave(modifier, "group_size") && scheme->group) options->group_size = scheme->group;
  if (!pare__recipe_gave(modifier, "input_activations")) options->input_activations = scheme->activations;
}

pare_status pare__quantize_check(pare_recipe *recipe, pare__modifier *modifier) {
  (void)recipe;
  pare__quantize_options *options = modifier->options;
  char list[256];
  if (options->scheme) {
    const struct scheme *scheme = find_scheme(options->scheme);
    if (!scheme)
      return pare__fail_at(pare__recipe_place(modifier, "scheme"), "scheme: there is no '%.100s'; there are %s",
                           options->scheme, scheme_names(list, sizeof list));
    fill(modifier, scheme);
  } else if (!pare__recipe_gave(modifier, "num_bits")) {
    return pare__fail_at(&modifier->place, "%s needs a scheme or num_bits", modifier->method->name);
  }
  if (pare__recipe_gave(modifier, "group_size") && !pare__recipe_gave(modifier, "strategy"))
    options->strategy = PARE__PER_GROUP;
  if (options->type == PARE__TYPE_INT && options->num_bits > 8)
    return pare__fail_at(pare__recipe_place(modifier, "num_bits"), "%s: integers have 2 to 8 bits, not %lld",
                         modifier->method->name, (long long)options->num_bits);
  if (options->type != PARE__TYPE_INT && options->num_bits != 16)
    return pare__fail_at(pare__recipe_place(modifier, "num_bits"), "%s: floats have 16 bits, not %lld",
                         modifier->method->name, (long long)options->num_bits);
  pare__recipe_show(modifier, NULL);
  return PARE_OK;
}

pare_status pare__quantize_plan(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                                bool *takes) {
  const pare__quantize_options *options = modifier->options;
  /* The first modifier whose targets fit has the tensor. */
  *takes = treatment->storage <= PARE__STORE_VALUES;
  if (!*takes) return PARE_OK;
  if (options->type != PARE__TYPE_INT) {
    *takes = weight->dtype == PARE_F32 || weight->dtype == PARE_F64;
    if (*takes)
      treatment->storage = options->type == PARE__TYPE_FLOAT ? PARE__STORE_F16 : PARE__STORE_BF16;
    else
      treatment->reason = "it has 16 bits already";
    return PARE_OK;
  }
  treatment->storage = PARE__STORE_INTEGER;
  treatment->grid = (pare__grid){.bits = (unsigned)options->num_bits,
                                 .strategy = (pare__strategy)options->strategy,
                                 .group = options->strategy == PARE__PER_GROUP ? options->group_size : 0,
                                 .symmetric = options->symmetric,
                                 .observer = (pare__observer)options->observer,
                                 .percentile = options->percentile};
  /* A table that is looked up has no activations. */
  if (options->input_activations && weight->role != PARE__WEIGHT_EMBEDDING)
    treatment->grid.activations = options->dynamic ? PARE__ACTIVATIONS_DYNAMIC : PARE__ACTIVATIONS_STATIC;
  return PARE_OK;
}
