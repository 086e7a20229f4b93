/* Recipes: what is read, what is refused and where, what the short forms say. SPDX-License-Identifier: Apache-2.0 */
#include <pare/compress.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/pattern.h"
#include "compress/quantize.h"
#include "run.h"

static pare_recipe *parsed(const char *text) {
  pare_recipe *recipe;
  OK(pare_recipe_parse(text, strlen(text), "r.yaml", &recipe));
  return recipe;
}

static char *written(const pare_recipe *recipe) {
  char *text;
  OK(pare_recipe_text(recipe, &text));
  return text;
}

/* Both texts mean the same. */
static void same(const char *a, const char *b) {
  pare_recipe *x = parsed(a), *y = parsed(b);
  char *p = written(x), *q = written(y);
  ck_assert_str_eq(p, q);
  free(p);
  free(q);
  pare_recipe_close(x);
  pare_recipe_close(y);
}

static void refused(const char *text, const char *message) {
  pare_recipe *recipe;
  const pare_status status = pare_recipe_parse(text, strlen(text), "r.yaml", &recipe);
  ck_assert_msg(status == PARE_ERR_FORMAT, "'%s' is read: %s", text, pare_status_name(status));
  ck_assert_ptr_null(recipe);
  ck_assert_msg(strstr(pare_message(), message) != NULL, "'%s' lacks '%s'", pare_message(), message);
}

START_TEST(json_is_read_as_yaml_is) {
  same("pare: 1\nmodifiers:\n- quantize:\n    scheme: W8A16\n    targets: [Linear, 'a.*']\n",
       "{\"pare\": 1, \"modifiers\": [{\"quantize\": {\n\t\"scheme\": \"W8A16\", \"targets\":[\"Linear\",\"a.*\"]}}]}");
  same("pare: 1\nmodifiers:\n- prune: {mask_structure: 2:4, ignore: \"a/b\"}\n",
       "{\"pare\":1,\"modifiers\":[{\"prune\":{\"mask_structure\":\"2:4\",\"ignore\":[\"a\\/b\"]}}]}");
  same("pare: 1\nmodifiers:\n- smoothquant:\n    mappings:\n    - [[a, 're:b'], c]\n    - [d*, e]\n",
       "{\"pare\":1,\"modifiers\":[{\"smoothquant\":{\"mappings\":[[[\"a\",\"re:b\"],\"c\"],[[\"d*\"],\"e\"]]}}]}");
}
END_TEST

START_TEST(what_is_written_out_reads_as_the_same) {
  static const char *const forms[] = {"int8", "int4", "w8a8", "f16"};
  static const char *const prunes[] = {"2:4", "1:16", "magnitude:0.5", "random:0.3", "threshold:0.01"};
  for (size_t i = 0; i < PARE__COUNT(forms); i++) {
    for (size_t k = 0; k < PARE__COUNT(prunes); k++) {
      pare_recipe *recipe;
      OK(pare_recipe_create(&recipe));
      OK(pare_recipe_prune(recipe, prunes[k]));
      OK(pare_recipe_quantize(recipe, forms[i]));
      OK(pare_recipe_ignore(recipe, "re:a.*b$"));
      char *text = written(recipe);
      same(text, text);
      pare_recipe *again = parsed(text);
      char *second = written(again);
      ck_assert_str_eq(text, second);
      free(text);
      free(second);
      pare_recipe_close(again);
      pare_recipe_close(recipe);
    }
  }
}
END_TEST

/* YAML folds some characters as the ends of lines and does not read others as they are. */
START_TEST(names_of_any_characters_read_as_the_same) {
  for (unsigned c = 1; c < 0x11000; c++) {
    char pattern[16];
    if (c >= 0xd800 && c < 0xe000) continue;
    if (c < 0x80)
      snprintf(pattern, sizeof pattern, "a%cb", (int)c);
    else if (c < 0x800)
      snprintf(pattern, sizeof pattern, "a%c%cb", (int)(0xc0 | c >> 6), (int)(0x80 | (c & 0x3f)));
    else if (c < 0x10000)
      snprintf(pattern, sizeof pattern, "a%c%c%cb", (int)(0xe0 | c >> 12), (int)(0x80 | (c >> 6 & 0x3f)),
               (int)(0x80 | (c & 0x3f)));
    else
      snprintf(pattern, sizeof pattern, "a%c%c%c%cb", (int)(0xf0 | c >> 18), (int)(0x80 | (c >> 12 & 0x3f)),
               (int)(0x80 | (c >> 6 & 0x3f)), (int)(0x80 | (c & 0x3f)));
    pare_recipe *recipe;
    OK(pare_recipe_create(&recipe));
    OK(pare_recipe_prune(recipe, "2:4"));
    if (pare_recipe_ignore(recipe, pattern) == PARE_OK) {
      char *text = written(recipe);
      pare_recipe *again = parsed(text);
      char *second = written(again);
      ck_assert_msg(strcmp(text, second) == 0, "U+%04X: %s: %s", c, text, second);
      free(text);
      free(second);
      pare_recipe_close(again);
    }
    pare_recipe_close(recipe);
  }
}
END_TEST

START_TEST(mistakes_are_refused_with_line_and_column) {
  refused("modifiers: []\n", "pare: 1");
  refused("pare: 2\n", "r.yaml:1:7: ");
  refused("pare: 1\nmodifierz: []\n", "r.yaml:2:1: a recipe has no key 'modifierz'");
  refused("pare: 1\npare: 1\n", "r.yaml:2:1: the key 'pare' is there twice");
  refused("pare: 1\nmodifiers:\n- prume: {}\n", "r.yaml:3:3: there is no modifier 'prume'");
  refused("pare: 1\nmodifiers:\n- prune:\n    spasity: 0.5\n", "r.yaml:4:5: prune has no field 'spasity'");
  refused("pare: 1\nmodifiers:\n- prune:\n    sparsity: 1.5\n", "r.yaml:4:15: sparsity is 1.5");
  refused("pare: 1\nmodifiers:\n- prune:\n    sparsity: [1]\n", "takes one value");
  refused("pare: 1\nmodifiers:\n- prune:\n    sparsity: nan\n", "no number");
  refused("pare: 1\nmodifiers:\n- prune: {mask_structure: 4:2}\n",
          "r.yaml:3:27: mask_structure: '4:2' is neither N:M with N < M");
  refused("pare: 1\nmodifiers:\n- gptq:\n    scheme: W4A16\n    mask_structure: 4:2\n",
          "r.yaml:5:21: mask_structure: '4:2'");
  refused("pare: 1\nmodifiers:\n- prune: {mask_structure: 2:4, threshold: 1}\n",
          "r.yaml:3:43: prune: a threshold goes with no");
  refused("pare: 1\nmodifiers:\n- prune: {mask_structure: 2:4, sparsity: 0.3}\n",
          "r.yaml:3:42: prune: 2:4 prunes 0.5 of all");
  refused("pare: 1\nmodifiers:\n- prune: {coverage: 1, sparsity: 0.3}\n", "r.yaml:3:21: prune: coverage goes with");
  refused("pare: 1\nmodifiers:\n- prune: {}\n", "needs");
  refused("pare: 1\nmodifiers:\n- quantize: {scheme: W3A3}\n", "there are W8A16");
  refused("pare: 1\nmodifiers:\n- quantize:\n    targets: Linear\n    scheme: W3A3\n",
          "r.yaml:5:13: scheme: there is no 'W3A3'");
  refused("pare: 1\nmodifiers:\n- quantize: {num_bits: 9}\n", "r.yaml:3:24: quantize: integers have 2 to 8 bits");
  refused("pare: 1\nmodifiers:\n- quantize: {type: float, num_bits: 8}\n",
          "r.yaml:3:37: quantize: floats have 16 bits");
  refused("pare: 1\nmodifiers:\n- quantize: {num_bits: 8, symmetric: yes}\n", "neither true nor false");
  refused("pare: 1\nmodifiers:\n- quantize: {num_bits: 8, targets: 're:('}\n", "r.yaml:3:36: 're:('");
  refused("pare: 1\nmodifiers:\n- quantize: {num_bits: 8, targets: '@tail'}\n", "@head");
  refused("pare: 1\nmodifiers:\n- quantize: {num_bits: 8, observer: percentile, percentile: 50}\n",
          "r.yaml:3:61: percentile is 50; it must be more than 50, and at most 100");
  refused("pare: 1\nmodifiers:\n- quantize: {num_bits: 8, observer: percentile, percentile: 100.5}\n",
          "r.yaml:3:61: percentile is 100.5");
  refused("pare: 1\nmodifiers:\n- smoothquant: {mappings: 1}\n", "r.yaml:3:27: a list of pairs");
  refused("pare: 1\nmodifiers:\n- smoothquant: {mappings: [[a]]}\n", "r.yaml:3:30: a name is expected");
  refused("pare: 1\nmodifiers:\n- smoothquant: {mappings: [[[], b]]}\n", "without layers");
  refused("pare: 1\nmodifiers:\n- smoothquant: {mappings: [[a, b, c]]}\n", "r.yaml:3:35: the end of the pair");
  refused("pare: 1\nmodifiers:\n- smoothquant: {mappings: [[a, [b]]]}\n", "r.yaml:3:32: a name is expected");
  refused("pare: 1\nmodifiers:\n- smoothquant: {mappings: [['re:(', b]]}\n", "r.yaml:3:29: 're:('");
  refused("pare: 1\nmodifiers:\n- quantize: {num_bits: 8, input_activations: {num_bits: 8}}\n",
          "r.yaml:3:46: input_activations takes one value: write none or int8");
  refused("pare: 1\nmodifiers: &x []\n", "anchors");
  refused("pare: 1\nmodifiers: *x\n", "aliases");
  refused("pare: !!int 1\n", "tags");
  refused("pare: 1\n---\npare: 1\n", "the end of the file");
  refused("pare: 1\nmodifiers:\n\t- prune: {}\n", "r.yaml:3:1");
  refused("pare: 1\nmodifiers: [[[[[[\n", "r.yaml:");
  refused("", "r.yaml:");
}
END_TEST

/* Recipes of llm-compressor: every one of these names is told what to write instead. */
START_TEST(names_of_other_tools_are_told_what_to_write) {
  static const char *const modifiers[][2] = {{"QuantizationModifier", ": write quantize"},
                                             {"GPTQModifier", ": write gptq"},
                                             {"SmoothQuantModifier", ": write smoothquant"},
                                             {"SparseGPTModifier", ": write gptq with a scheme and mask_structure"},
                                             {"AWQModifier", ": write gptq"}};
  static const char *const fields[][2] = {{"config_groups", ": write a modifier for each group"},
                                          {"weights", ": write its fields in the modifier"},
                                          {"kv_cache_scheme", ": leave it out"}};
  char text[200];
  refused(
      "quant_stage:\n  quant_modifiers:\n    GPTQModifier: {scheme: W4A16}\n",
      "r.yaml:1:1: a recipe has no key 'quant_stage'; it has pare, calibration, modifiers: there are no stages: write");
  for (size_t i = 0; i < PARE__COUNT(modifiers); i++) {
    snprintf(text, sizeof text, "pare: 1\nmodifiers:\n- %s:\n    targets: Linear\n", modifiers[i][0]);
    refused(text, modifiers[i][1]);
    refused(text, "r.yaml:3:3: ");
  }
  for (size_t i = 0; i < PARE__COUNT(fields); i++) {
    snprintf(text, sizeof text, "pare: 1\nmodifiers:\n- quantize:\n    %s: {a: {b: c}}\n", fields[i][0]);
    refused(text, fields[i][1]);
    refused(text, "r.yaml:4:5: ");
  }
}
END_TEST

START_TEST(booleans_and_marks_are_those_of_yaml) {
  same("pare: 1\nmodifiers:\n- quantize: {num_bits: 8, symmetric: True, dynamic: FALSE}\n",
       "pare: 1\nmodifiers:\n- quantize: {num_bits: 8, symmetric: true, dynamic: false}\n");
  same("\xef\xbb\xbfpare: 1\r\nmodifiers:\r\n- quantize: {scheme: W8A16}\r\n",
       "pare: 1\nmodifiers:\n- quantize: {scheme: W8A16}\n");
  refused("\xef\xbb", "r.yaml:");
}
END_TEST

START_TEST(short_forms_are_refused_by_what_there_is) {
  static const char *const prunes[] = {"",      "2",           ":",           "4:2",    "2:17",  "0:4",
                                       "2:4:8", "magnitude:2", "magnitude:x", "random", "size:1"};
  pare_recipe *recipe;
  OK(pare_recipe_create(&recipe));
  for (size_t i = 0; i < PARE__COUNT(prunes); i++)
    ck_assert_msg(pare_recipe_prune(recipe, prunes[i]) == PARE_ERR_ARGUMENT, "'%s'", prunes[i]);
  ck_assert_int_eq(pare_recipe_quantize(recipe, "int5"), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "int8, int4, w8a8, f16"));
  ck_assert_int_eq(pare_recipe_ignore(recipe, "re:["), PARE_ERR_ARGUMENT);
  pare_recipe_close(recipe);
}
END_TEST

/* What is given stands, and the scheme fills the rest. */
START_TEST(schemes_fill_what_is_not_given) {
  pare_recipe *recipe =
      parsed("pare: 1\nmodifiers:\n- quantize: {scheme: W4A16, group_size: 32}\n"
             "- quantize: {scheme: W8A8, dynamic: false}\n- quantize: {num_bits: 8, group_size: 64}\n");
  const pare__quantize_options *o = recipe->modifiers[0].options;
  ck_assert(o->num_bits == 4 && o->group_size == 32 && o->symmetric && o->strategy == PARE__PER_GROUP);
  o = recipe->modifiers[1].options;
  ck_assert(o->num_bits == 8 && o->strategy == PARE__PER_CHANNEL && o->input_activations == 1 && !o->dynamic);
  o = recipe->modifiers[2].options;
  ck_assert(o->strategy == PARE__PER_GROUP && o->group_size == 64);
  pare_recipe_close(recipe);
}
END_TEST

static bool fits(const char *text, const pare__weight *weight) {
  static const pare__place nowhere;
  pare__pattern *pattern;
  bool found;
  OK(pare__pattern_open(text, &nowhere, &pattern));
  OK(pare__pattern_fits(pattern, weight, &found));
  pare__pattern_close(pattern);
  return found;
}

START_TEST(patterns_fit_roles_names_globs_and_expressions) {
  const pare__weight weight = {
      .name = "m.layer.0.dense.weight", .layer = "/m/dense/MatMul", .role = PARE__WEIGHT_LINEAR, .head = true};
  const pare__weight other = {.name = "m.norm.weight", .layer = "", .role = PARE__WEIGHT_OTHER};
  static const char *const yes[] = {"Linear",     "@head",  "m.layer.0.dense.weight", "/m/dense/MatMul",
                                    "m.*.weight", "*",      "m.layer.?.dense.weight", "re:m\\.layer\\.\\d",
                                    "re:.*dense", "*dense*"};
  static const char *const no[] = {"Conv", "Embedding", "m.layer", "m.*.bias", "re:dense", "?", "re:$"};
  for (size_t i = 0; i < PARE__COUNT(yes); i++) ck_assert_msg(fits(yes[i], &weight), "%s", yes[i]);
  for (size_t i = 0; i < PARE__COUNT(no); i++) ck_assert_msg(!fits(no[i], &weight), "%s", no[i]);
  for (size_t i = 0; i < PARE__COUNT(yes); i++) ck_assert_msg(!fits(yes[i], &other), "%s", yes[i]);
}
END_TEST

/* An expression that takes exponential time is given up. */
START_TEST(expressions_without_end_are_errors) {
  static const pare__place nowhere;
  pare__weight weight = {
      .name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", .layer = "", .role = PARE__WEIGHT_CONV};
  pare__pattern *pattern;
  bool found;
  OK(pare__pattern_open("re:(a+)+(a+)+(a+)+$", &nowhere, &pattern));
  ck_assert_int_eq(pare__pattern_fits(pattern, &weight, &found), PARE_ERR_FORMAT);
  pare__pattern_close(pattern);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("recipe");
  tcase_add_test(tests, json_is_read_as_yaml_is);
  tcase_add_test(tests, what_is_written_out_reads_as_the_same);
  tcase_add_test(tests, names_of_any_characters_read_as_the_same);
  tcase_add_test(tests, mistakes_are_refused_with_line_and_column);
  tcase_add_test(tests, names_of_other_tools_are_told_what_to_write);
  tcase_add_test(tests, booleans_and_marks_are_those_of_yaml);
  tcase_add_test(tests, short_forms_are_refused_by_what_there_is);
  tcase_add_test(tests, schemes_fill_what_is_not_given);
  tcase_add_test(tests, patterns_fit_roles_names_globs_and_expressions);
  tcase_add_test(tests, expressions_without_end_are_errors);
  return run_tests("recipe", tests);
}
