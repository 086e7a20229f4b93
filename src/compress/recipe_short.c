/* The short forms of the command line. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "compress/method.h"
#include "compress/pattern.h"

static const pare__place nowhere;

/* A modifier with these fields: names and texts in turn, ends with NULL. */
static pare_status add(pare_recipe *recipe, const char *method_name, const char *target, const char *const *fields) {
  const pare__method *method = pare__method_find(method_name);
  pare__modifier *modifier;
  PARE__TRY(pare__recipe_append(recipe, method, &modifier));
  for (const char *word = target; word && *word;) {
    char name[64];
    const size_t length = strcspn(word, " ");
    memcpy(name, word, PARE__MIN(length, sizeof name - 1));
    name[PARE__MIN(length, sizeof name - 1)] = '\0';
    PARE__TRY(pare__recipe_add_text(recipe, &modifier->targets, name, &nowhere));
    word += length + (word[length] == ' ');
  }
  for (size_t i = 0; fields[i]; i += 2)
    PARE__TRY(pare__recipe_set(recipe, modifier, fields[i], fields[i + 1], &nowhere));
  return method->check ? method->check(recipe, modifier) : PARE_OK;
}

pare_status pare_recipe_calibrate(pare_recipe *recipe, const char *path) {
  if (!recipe || !path) return pare__fail_null("pare_recipe_calibrate", recipe ? "path" : "recipe");
  return pare__arena_text(&recipe->arena, path, strlen(path), &recipe->calibration);
}

/* ---- prune ---- */

static pare_status fail_prune(const char *form) {
  return pare__fail(PARE_ERR_ARGUMENT,
                    "pruning: '%.100s' is none of N:M (2:4), magnitude:SPARSITY, random:SPARSITY, threshold:VALUE",
                    form);
}

pare_status pare_recipe_prune(pare_recipe *recipe, const char *form) {
  if (!recipe || !form) return pare__fail_null("pare_recipe_prune", recipe ? "form" : "recipe");
  const char *colon = strchr(form, ':');
  if (!colon || !colon[1]) return fail_prune(form);
  const char *value = colon + 1;
  const size_t length = (size_t)(colon - form);
  if (form[0] >= '0' && form[0] <= '9') {
    const pare_status status =
        add(recipe, "prune", NULL, (const char *const[]){"mask_structure", form, "coverage", "0.8", NULL});
    return status == PARE_ERR_ARGUMENT ? fail_prune(form) : status;
  }
  if (length == 9 && memcmp(form, "magnitude", length) == 0)
    return add(recipe, "prune", NULL, (const char *const[]){"sparsity", value, "scope", "global", NULL});
  if (length == 6 && memcmp(form, "random", length) == 0)
    return add(recipe, "prune", NULL, (const char *const[]){"sparsity", value, "score", "random", NULL});
  if (length == 9 && memcmp(form, "threshold", length) == 0)
    return add(recipe, "prune", NULL, (const char *const[]){"threshold", value, NULL});
  return fail_prune(form);
}

/* ---- quantize ---- */

/* What rounding and pruning cost, GPTQ lets the other weights of a row make up for. */
static pare_status quantize_int8(pare_recipe *recipe) {
  static const char *const fields[] = {"scheme", "W8A16", NULL};
  if (recipe->calibration) {
    PARE__TRY(add(recipe, "gptq", "Linear Conv", fields));
    return add(recipe, "quantize", "Embedding", fields);
  }
  return add(recipe, "quantize", NULL, fields);
}

/* MatMulNBits and its like know no convolutions: those get 8 bits. */
static pare_status quantize_int4(pare_recipe *recipe) {
  static const char *const groups[] = {"scheme", "W4A16_ASYM", "group_size", "32", NULL};
  static const char *const fitted[] = {"scheme", "W4A16_ASYM",        "group_size", "32", "observer",
                                       "mse",    "input_activations", "int8",       NULL};
  PARE__TRY(add(recipe, recipe->calibration ? "gptq" : "quantize", "Linear", fitted));
  PARE__TRY(add(recipe, "quantize", "Embedding", groups)); /* a search for better ranges gains nothing in tables */
  return add(recipe, "quantize", "Conv", (const char *const[]){"scheme", "W8A16", NULL});
}

static pare_status quantize_w8a8(pare_recipe *recipe) {
  if (recipe->calibration) PARE__TRY(add(recipe, "smoothquant", NULL, (const char *const[]){NULL}));
  return add(recipe, "quantize", NULL, (const char *const[]){"scheme", "W8A8", NULL});
}

static pare_status quantize_f16(pare_recipe *recipe) {
  return add(recipe, "quantize", NULL, (const char *const[]){"scheme", "F16", NULL});
}

pare_status pare_recipe_quantize(pare_recipe *recipe, const char *form) {
  static const struct form {
    const char *name;
    pare_status (*add)(pare_recipe *recipe);
  } forms[] = {{"int8", quantize_int8}, {"int4", quantize_int4}, {"w8a8", quantize_w8a8}, {"f16", quantize_f16}};
  if (!recipe || !form) return pare__fail_null("pare_recipe_quantize", recipe ? "form" : "recipe");
  for (size_t i = 0; i < PARE__COUNT(forms); i++)
    if (strcmp(forms[i].name, form) == 0) return forms[i].add(recipe);
  return pare__fail(PARE_ERR_ARGUMENT, "quantisation: '%.100s' is none of int8, int4, w8a8, f16", form);
}

pare_status pare_recipe_ignore(pare_recipe *recipe, const char *pattern) {
  if (!recipe || !pattern) return pare__fail_null("pare_recipe_ignore", recipe ? "pattern" : "recipe");
  pare__pattern *checked;
  PARE__TRY(pare__pattern_open(pattern, &nowhere, &checked));
  pare__pattern_close(checked);
  for (size_t i = 0; i < recipe->nmodifiers; i++)
    PARE__TRY(pare__recipe_add_text(recipe, &recipe->modifiers[i].ignore, pattern, &nowhere));
  return pare__recipe_add_text(recipe, &recipe->ignore, pattern, &nowhere);
}
