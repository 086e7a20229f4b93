/* The configuration of quantised tensors. SPDX-License-Identifier: Apache-2.0 */
#include "format/quantization_config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/expression.h"
#include "base/path.h"

/* Of a config.json. Those of large models have some ten thousand bytes. */
#define MOST_CONFIG_BYTES ((size_t)16 << 20)

typedef struct config_group {
  pare__quantization_scheme scheme;
  const char *key; /* of config_groups */
  size_t ntargets;
  const char **target;
  pare__expression **expression; /* of each target that begins with "re:" */
} config_group;

struct pare__quantization_config {
  char *where; /* the file and the key, for messages */
  json_t *json;
  size_t ngroups;
  config_group *group;
};

/* ---- values ---- */

static pare_status wrong(const pare__quantization_config *config, const char *group, const char *key,
                         const json_t *value, const char *needed) {
  char *found = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
  const pare_status status = pare__fail(PARE_ERR_FORMAT, "%s.%s%.100s%s%s is %.60s; %s is needed", config->where,
                                        group ? "config_groups." : "", group ? group : "", group ? "." : "", key,
                                        !value  ? "missing"
                                        : found ? found
                                                : "not to be shown",
                                        needed);
  free(found);
  return status;
}

static bool is_missing(const json_t *value) { return !value || json_is_null(value); }

static pare_status read_text(const pare__quantization_config *config, const char *group, const char *key,
                             const json_t *value, const char **out) {
  *out = "";
  if (is_missing(value)) return PARE_OK;
  if (!json_is_string(value)) return wrong(config, group, key, value, "a text");
  *out = json_string_value(value);
  return PARE_OK;
}

static pare_status read_weights(const pare__quantization_config *config, const char *key, const json_t *weights,
                                pare__quantization_scheme *out) {
  const char *type;
  const json_t *bits = json_object_get(weights, "num_bits"), *size = json_object_get(weights, "group_size"),
               *symmetric = json_object_get(weights, "symmetric");
  PARE__TRY(read_text(config, key, "weights.type", json_object_get(weights, "type"), &type));
  PARE__TRY(read_text(config, key, "weights.strategy", json_object_get(weights, "strategy"), &out->strategy));
  out->integers = !*type || strcmp(type, "int") == 0;
  if (!out->integers && strcmp(type, "float") != 0)
    return wrong(config, key, "weights.type", json_object_get(weights, "type"), "\"int\" or \"float\"");
  const json_int_t nbits = is_missing(bits) ? 8 : json_integer_value(bits);
  if ((!is_missing(bits) && !json_is_integer(bits)) || nbits < 1 || nbits > (out->integers ? 8 : 64))
    return wrong(config, key, "weights.num_bits", bits, "a whole number from 1 to 8");
  out->bits = (unsigned)nbits;
  /* -1 is another word for none. */
  const json_int_t ngroup = is_missing(size) ? -1 : json_integer_value(size);
  if ((!is_missing(size) && !json_is_integer(size)) || ngroup < -1 || ngroup == 0)
    return wrong(config, key, "weights.group_size", size, "a whole number from 1 on, or null");
  out->group = ngroup > 0 ? ngroup : 0;
  if (!is_missing(symmetric) && !json_is_boolean(symmetric))
    return wrong(config, key, "weights.symmetric", symmetric, "true or false");
  out->symmetric = is_missing(symmetric) || json_is_true(symmetric);
  return PARE_OK;
}

/* ---- groups ---- */

static pare_status read_targets(const pare__quantization_config *config, const json_t *targets, config_group *out) {
  const size_t count = json_array_size(targets);
  if (!json_is_array(targets)) return wrong(config, out->key, "targets", targets, "a list of texts");
  out->target = calloc(count + 1, sizeof *out->target);
  out->expression = calloc(count + 1, sizeof *out->expression);
  if (!out->target || !out->expression) return pare__fail_memory("targets", count * sizeof *out->target);
  for (size_t i = 0; i < count; i++) {
    const json_t *target = json_array_get(targets, i);
    if (!json_is_string(target)) return wrong(config, out->key, "targets", target, "a list of texts");
    const char *text = out->target[out->ntargets++] = json_string_value(target);
    if (strncmp(text, "re:", 3) != 0) continue;
    char why[300];
    const pare_status status = pare__expression_open(text + 3, &out->expression[i]);
    if (status == PARE_OK) continue;
    snprintf(why, sizeof why, "%s", pare_message());
    return pare__fail(status, "%s.config_groups.%.100s.targets: %s", config->where, out->key, why);
  }
  return PARE_OK;
}

static pare_status read_group(pare__quantization_config *config, const char *key, const json_t *entry) {
  if (!json_is_object(entry)) return wrong(config, NULL, "config_groups", entry, "an object of objects");
  const json_t *weights = json_object_get(entry, "weights");
  if (is_missing(weights)) return PARE_OK; /* only activations are quantised */
  if (!json_is_object(weights)) return wrong(config, key, "weights", weights, "an object");
  config_group *added = &config->group[config->ngroups++];
  *added = (config_group){.key = key};
  PARE__TRY(read_text(config, key, "format", json_object_get(entry, "format"), &added->scheme.format));
  PARE__TRY(read_weights(config, key, weights, &added->scheme));
  return read_targets(config, json_object_get(entry, "targets"), added);
}

/* What the whole file is said to be. Groups may say more. */
static pare_status check_method(const pare__quantization_config *config, const char **format) {
  const json_t *sparsity = json_object_get(config->json, "sparsity_config");
  const char *method, *sparse;
  PARE__TRY(read_text(config, NULL, "quant_method", json_object_get(config->json, "quant_method"), &method));
  PARE__TRY(read_text(config, NULL, "format", json_object_get(config->json, "format"), format));
  PARE__TRY(read_text(config, NULL, "sparsity_config.format", json_object_get(sparsity, "format"), &sparse));
  if (*method && strcmp(method, "compressed-tensors") != 0)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s.quant_method is '%.60s'; pare reads 'compressed-tensors'",
                      config->where, method);
  if (*sparse && strcmp(sparse, "dense") != 0)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s.sparsity_config.format is '%.60s'; pare reads 'dense'", config->where,
                      sparse);
  return PARE_OK;
}

static pare_status read_config(pare__quantization_config *config) {
  const char *key, *format;
  json_t *entry;
  if (!json_is_object(config->json)) return pare__fail(PARE_ERR_FORMAT, "%s is no object", config->where);
  PARE__TRY(check_method(config, &format));
  json_t *groups = json_object_get(config->json, "config_groups");
  if (!is_missing(groups) && !json_is_object(groups))
    return wrong(config, NULL, "config_groups", groups, "an object of objects");
  config->group = calloc(json_object_size(groups) + 1, sizeof *config->group);
  if (!config->group) return pare__fail_memory("a configuration", json_object_size(groups) * sizeof *config->group);
  json_object_foreach(groups, key, entry) PARE__TRY(read_group(config, key, entry));
  for (size_t i = 0; i < config->ngroups; i++)
    if (!*config->group[i].scheme.format) config->group[i].scheme.format = format;
  return PARE_OK;
}

/* ---- where it lies ---- */

static pare_status parse(const char *path, const char *text, size_t nbytes, json_t **out) {
  json_error_t error;
  *out = json_loadb(text, nbytes, JSON_REJECT_DUPLICATES, &error);
  return *out ? PARE_OK
              : pare__fail(PARE_ERR_FORMAT, "%s: line %d, column %d: %s", path, error.line, error.column, error.text);
}

static pare_status from_metadata(const char *path, const pare__safetensors *file, pare__quantization_config *config) {
  static const char key[] = "quantization_config";
  for (size_t i = 0; i < file->ntexts; i++) {
    if (strcmp(file->text[i].key, key) != 0) continue;
    config->where = pare__format("%s: __metadata__.%s", path, key);
    if (!config->where) return pare__fail_memory("a path", strlen(path));
    return parse(config->where, file->text[i].value, strlen(file->text[i].value), &config->json);
  }
  return PARE_OK;
}

static pare_status from_neighbour(const char *path, pare__quantization_config *config) {
  static const char *const keys[] = {"quantization_config", "compression_config"};
  const char *slash = strrchr(path, '/');
  char *beside = pare__format("%.*sconfig.json", slash ? (int)(slash + 1 - path) : 0, path), *text = NULL;
  size_t nbytes;
  json_t *all = NULL, *found = NULL;
  if (!beside) return pare__fail_memory("a path", strlen(path));
  pare_status status = PARE_OK;
  if (pare__file_exists(beside)) {
    status = pare__file_read(beside, MOST_CONFIG_BYTES, &text, &nbytes);
    if (status == PARE_OK) status = parse(beside, text, nbytes, &all);
  }
  for (size_t i = 0; i < PARE__COUNT(keys) && !found; i++) {
    found = json_object_get(all, keys[i]);
    if (is_missing(found)) continue;
    config->json = json_incref(found);
    config->where = pare__format("%s: %s", beside, keys[i]);
    if (!config->where) status = pare__fail_memory("a path", strlen(beside));
  }
  json_decref(all);
  free(text);
  free(beside);
  return status;
}

pare_status pare__quantization_config_open(const char *path, const pare__safetensors *file,
                                           pare__quantization_config **out) {
  *out = NULL;
  pare__quantization_config *config = calloc(1, sizeof *config);
  if (!config) return pare__fail_memory("a configuration", sizeof *config);
  pare_status status = from_metadata(path, file, config);
  if (status == PARE_OK && !config->json) status = from_neighbour(path, config);
  if (status == PARE_OK && config->json) status = read_config(config);
  if (status == PARE_OK && config->json)
    *out = config;
  else
    pare__quantization_config_close(config);
  return status;
}

void pare__quantization_config_close(pare__quantization_config *config) {
  if (!config) return;
  for (size_t g = 0; g < config->ngroups; g++) {
    for (size_t i = 0; i < config->group[g].ntargets; i++) pare__expression_close(config->group[g].expression[i]);
    free(config->group[g].expression);
    free(config->group[g].target);
  }
  free(config->group);
  json_decref(config->json);
  free(config->where);
  free(config);
}

/* ---- layers ---- */

static const pare__quantization_scheme *find_target(const pare__quantization_config *config, const char *name) {
  for (size_t g = 0; g < config->ngroups; g++)
    for (size_t i = 0; i < config->group[g].ntargets; i++)
      if (strcmp(config->group[g].target[i], name) == 0) return &config->group[g].scheme;
  return NULL;
}

static pare_status find_expression(const pare__quantization_config *config, const char *layer,
                                   const pare__quantization_scheme **out) {
  for (size_t g = 0; g < config->ngroups; g++)
    for (size_t i = 0; i < config->group[g].ntargets; i++) {
      bool fits = false;
      if (config->group[g].expression[i])
        PARE__TRY(pare__expression_fits(config->group[g].expression[i], layer, &fits));
      if (!fits) continue;
      *out = &config->group[g].scheme;
      return PARE_OK;
    }
  return PARE_OK;
}

pare_status pare__quantization_config_find(const pare__quantization_config *config, const char *layer,
                                           const pare__quantization_scheme **out) {
  *out = NULL;
  if (!config) return PARE_OK;
  *out = find_target(config, layer);
  if (!*out) PARE__TRY(find_expression(config, layer, out));
  /* The file does not tell the class of a layer; what models quantise are Linear and, now and then, Embedding. */
  const bool is_table = strstr(layer, "embed") != NULL;
  if (!*out && is_table) *out = find_target(config, "Embedding");
  if (!*out) *out = find_target(config, "Linear");
  if (!*out && !is_table) *out = find_target(config, "Embedding");
  if (!*out && config->ngroups == 1) *out = &config->group[0].scheme;
  return PARE_OK;
}
