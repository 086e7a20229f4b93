/* Recipes read from YAML, and from JSON, which is YAML here. SPDX-License-Identifier: Apache-2.0
 *
 * libyaml's events are taken one by one. Scalars have no type of their own: the field that a scalar is for decides, so
 * that 2:4 stays text. What makes YAML dangerous or ambiguous is refused: anchors, aliases, tags, repeated keys, more
 * than one document. */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/path.h"
#include "compress/method.h"
#include "compress/pattern.h"

#define MOST_BYTES ((size_t)1 << 20)
#define MOST_KEYS 64 /* of one mapping: more than any has */

struct reader {
  yaml_parser_t parser;
  yaml_event_t event; /* the current one */
  bool held;          /* there is a current one */
  pare_recipe *recipe;
  const char *name;
};

/* ---- events ---- */

static pare__place place_of(const struct reader *reader, yaml_mark_t mark) {
  return (pare__place){reader->name, (unsigned)mark.line + 1, (unsigned)mark.column + 1};
}
static pare__place place_here(const struct reader *reader) { return place_of(reader, reader->event.start_mark); }

static void drop(struct reader *reader) {
  if (reader->held) yaml_event_delete(&reader->event);
  reader->held = false;
}

static pare_status refuse_properties(const struct reader *reader, const yaml_char_t *anchor, const yaml_char_t *tag) {
  const pare__place place = place_here(reader);
  if (anchor) return pare__fail_at(&place, "anchors are not allowed in recipes: write the value out");
  if (tag) return pare__fail_at(&place, "tags are not allowed in recipes: the field knows its type");
  return PARE_OK;
}

/* Goes to the next event, which refuses what recipes may not have. */
static pare_status next(struct reader *reader) {
  drop(reader);
  if (!yaml_parser_parse(&reader->parser, &reader->event)) {
    const yaml_mark_t mark = reader->parser.problem_mark;
    const pare__place place = {reader->name, (unsigned)mark.line + 1, (unsigned)mark.column + 1};
    const char *problem = reader->parser.problem ? reader->parser.problem : "not YAML";
    if (reader->parser.error == YAML_MEMORY_ERROR) return pare__fail_memory("a recipe", MOST_BYTES);
    return pare__fail_at(&place, "%s", problem);
  }
  reader->held = true;
  const pare__place place = place_here(reader);
  switch (reader->event.type) {
  case YAML_ALIAS_EVENT: return pare__fail_at(&place, "aliases are not allowed in recipes: write the value out");
  case YAML_SCALAR_EVENT:
    if (memchr(reader->event.data.scalar.value, '\0', reader->event.data.scalar.length))
      return pare__fail_at(&place, "text that holds a NUL");
    return refuse_properties(reader, reader->event.data.scalar.anchor, reader->event.data.scalar.tag);
  case YAML_SEQUENCE_START_EVENT:
    return refuse_properties(reader, reader->event.data.sequence_start.anchor, reader->event.data.sequence_start.tag);
  case YAML_MAPPING_START_EVENT:
    return refuse_properties(reader, reader->event.data.mapping_start.anchor, reader->event.data.mapping_start.tag);
  default: return PARE_OK;
  }
}

static pare_status expect(struct reader *reader, yaml_event_type_t type, const char *what) {
  const pare__place place = place_here(reader);
  if (reader->event.type == type) return PARE_OK;
  return pare__fail_at(&place, "%s is expected here", what);
}

static const char *scalar(const struct reader *reader) { return (const char *)reader->event.data.scalar.value; }

/* ---- mappings ---- */

typedef pare_status (*take_key)(struct reader *reader, const char *key, const pare__place *place, void *user);

/* Walks a mapping whose start is the current event; `take` finds its value as the current event and leaves with the
 * value's last event current. */
static pare_status walk_mapping(struct reader *reader, const char *what, take_key take, void *user) {
  const char *keys[MOST_KEYS];
  size_t nkeys = 0;
  PARE__TRY(expect(reader, YAML_MAPPING_START_EVENT, what));
  for (;;) {
    PARE__TRY(next(reader));
    if (reader->event.type == YAML_MAPPING_END_EVENT) return PARE_OK;
    PARE__TRY(expect(reader, YAML_SCALAR_EVENT, "a key"));
    const pare__place place = place_here(reader);
    const char *key;
    PARE__TRY(pare__arena_text(&reader->recipe->arena, scalar(reader), strlen(scalar(reader)), &key));
    for (size_t i = 0; i < nkeys; i++)
      if (strcmp(keys[i], key) == 0) return pare__fail_at(&place, "the key '%.100s' is there twice", key);
    if (nkeys == MOST_KEYS) return pare__fail_at(&place, "more than %d keys", MOST_KEYS);
    keys[nkeys++] = key;
    PARE__TRY(next(reader));
    PARE__TRY(take(reader, key, &place, user));
  }
}

static pare_status read_text(struct reader *reader, const char *what, const char **out) {
  const pare__place place = place_here(reader);
  PARE__TRY(expect(reader, YAML_SCALAR_EVENT, what));
  if (!*scalar(reader)) return pare__fail_at(&place, "%s is expected here, not nothing", what);
  return pare__arena_text(&reader->recipe->arena, scalar(reader), strlen(scalar(reader)), out);
}

static pare_status read_pattern(struct reader *reader, pare__texts *out) {
  const pare__place place = place_here(reader);
  const char *text = "";
  pare__pattern *checked;
  PARE__TRY(read_text(reader, "a name", &text));
  PARE__TRY(pare__pattern_open(text, &place, &checked));
  pare__pattern_close(checked);
  return pare__recipe_add_text(reader->recipe, out, text, &place);
}

/* One pattern or a list of them. */
static pare_status read_patterns(struct reader *reader, pare__texts *out) {
  if (reader->event.type == YAML_SCALAR_EVENT) return read_pattern(reader, out);
  PARE__TRY(expect(reader, YAML_SEQUENCE_START_EVENT, "a name or a list of names"));
  for (;;) {
    PARE__TRY(next(reader));
    if (reader->event.type == YAML_SEQUENCE_END_EVENT) return PARE_OK;
    PARE__TRY(read_pattern(reader, out));
  }
}

/* [[layers that read a value], what makes it], as llm-compressor has them. */
static pare_status read_mapping(struct reader *reader, pare__layer_mapping *out) {
  static const char form[] = "a pair: [[layers that read a value], the layer that makes it]";
  pare__texts smooth = {0};
  out->place = place_here(reader);
  PARE__TRY(expect(reader, YAML_SEQUENCE_START_EVENT, form));
  PARE__TRY(next(reader));
  PARE__TRY(read_patterns(reader, &out->balance));
  const pare__place empty = place_here(reader);
  if (out->balance.count == 0) return pare__fail_at(&empty, "a mapping without layers that read the value");
  PARE__TRY(next(reader));
  PARE__TRY(read_pattern(reader, &smooth));
  out->smooth = smooth.items[0].text;
  PARE__TRY(next(reader));
  return expect(reader, YAML_SEQUENCE_END_EVENT, "the end of the pair");
}

static pare_status read_mappings(struct reader *reader, pare__layer_mappings *out) {
  PARE__TRY(expect(reader, YAML_SEQUENCE_START_EVENT, "a list of pairs"));
  for (;;) {
    pare__layer_mapping *mapping;
    PARE__TRY(next(reader));
    if (reader->event.type == YAML_SEQUENCE_END_EVENT) return PARE_OK;
    PARE__TRY(pare__recipe_add_mapping(reader->recipe, out, &mapping));
    PARE__TRY(read_mapping(reader, mapping));
  }
}

/* ---- the schema ---- */

static pare_status take_field(struct reader *reader, const char *key, const pare__place *place, void *user) {
  pare__modifier *modifier = user;
  if (strcmp(key, "targets") == 0) return read_patterns(reader, &modifier->targets);
  if (strcmp(key, "ignore") == 0) return read_patterns(reader, &modifier->ignore);
  /* The name first: an unknown field is the better message than a value of the wrong shape. */
  const pare__place value = place_here(reader);
  const bool is_scalar = reader->event.type == YAML_SCALAR_EVENT;
  for (size_t i = 0; i < modifier->method->nfields; i++) {
    const pare__field *field = &modifier->method->fields[i];
    if (strcmp(field->name, key) != 0) continue;
    if (field->kind == PARE__FIELD_MAPPINGS) {
      modifier->given |= UINT64_C(1) << i;
      return read_mappings(reader, (pare__layer_mappings *)((char *)modifier->options + field->offset));
    }
    if (!is_scalar) {
      char advice[200];
      return pare__fail_at(&value, "%s takes one value%s", key, pare__recipe_advice(key, advice, sizeof advice));
    }
    return pare__recipe_set(reader->recipe, modifier, key, scalar(reader), &value);
  }
  return pare__recipe_set(reader->recipe, modifier, key, "", place);
}

static pare_status take_modifier(struct reader *reader, const char *key, const pare__place *place, void *user) {
  (void)user;
  const pare__method *method = pare__method_find(key);
  pare__modifier *modifier;
  if (!method) {
    char list[512], advice[200];
    return pare__fail_at(place, "there is no modifier '%.100s'; there are %s%s", key,
                         pare__method_names(list, sizeof list), pare__recipe_advice(key, advice, sizeof advice));
  }
  PARE__TRY(pare__recipe_append(reader->recipe, method, &modifier));
  modifier->place = *place;
  PARE__TRY(walk_mapping(reader, "a mapping of the modifier's fields", take_field, modifier));
  return method->check ? method->check(reader->recipe, modifier) : PARE_OK;
}

static pare_status read_modifiers(struct reader *reader) {
  PARE__TRY(expect(reader, YAML_SEQUENCE_START_EVENT, "a list of modifiers"));
  for (;;) {
    PARE__TRY(next(reader));
    if (reader->event.type == YAML_SEQUENCE_END_EVENT) return PARE_OK;
    const pare__place place = place_here(reader);
    const size_t before = reader->recipe->nmodifiers;
    PARE__TRY(walk_mapping(reader, "a modifier: its name, and a mapping of its fields", take_modifier, NULL));
    if (reader->recipe->nmodifiers != before + 1)
      return pare__fail_at(&place, "one modifier is expected here: begin each with its own '-'");
  }
}

/* A path is relative to the recipe's folder. */
static pare_status read_calibration(struct reader *reader) {
  const char *path = "", *slash = strrchr(reader->name, '/');
  PARE__TRY(read_text(reader, "the path of an .npz file", &path));
  reader->recipe->calibration = path;
  if (path[0] == '/' || !slash) return PARE_OK;
  char *whole = pare__format("%.*s/%s", (int)(slash - reader->name), reader->name, path);
  if (!whole) return pare__fail_memory("a path", strlen(path));
  const pare_status status =
      pare__arena_text(&reader->recipe->arena, whole, strlen(whole), &reader->recipe->calibration);
  free(whole);
  return status;
}

static pare_status take_top(struct reader *reader, const char *key, const pare__place *place, void *user) {
  bool *has_version = user;
  if (strcmp(key, "modifiers") == 0) return read_modifiers(reader);
  if (strcmp(key, "calibration") == 0) return read_calibration(reader);
  if (strcmp(key, "pare") != 0) {
    char advice[200];
    return pare__fail_at(place, "a recipe has no key '%.100s'; it has pare, calibration, modifiers%s", key,
                         pare__recipe_advice(key, advice, sizeof advice));
  }
  const pare__place value = place_here(reader);
  if (reader->event.type != YAML_SCALAR_EVENT || strcmp(scalar(reader), "1") != 0)
    return pare__fail_at(&value, "this pare reads recipes of version 1: pare: 1");
  *has_version = true;
  return PARE_OK;
}

static pare_status read_stream(struct reader *reader) {
  bool has_version = false;
  PARE__TRY(next(reader));
  PARE__TRY(next(reader));
  if (reader->event.type == YAML_DOCUMENT_START_EVENT) PARE__TRY(next(reader));
  const pare__place begin = place_here(reader);
  PARE__TRY(walk_mapping(reader, "a mapping with the keys pare and modifiers", take_top, &has_version));
  if (!has_version) return pare__fail_at(&begin, "a recipe says which version it is of: pare: 1");
  PARE__TRY(next(reader)); /* the document's end */
  PARE__TRY(next(reader));
  return expect(reader, YAML_STREAM_END_EVENT, "the end of the file");
}

pare_status pare_recipe_parse(const char *text, size_t nbytes, const char *name, pare_recipe **out) {
  if (!out) return pare__fail_null("pare_recipe_parse", "out");
  *out = NULL;
  if (!text || !name) return pare__fail_null("pare_recipe_parse", text ? "name" : "text");
  if (nbytes > MOST_BYTES)
    return pare__fail(PARE_ERR_FORMAT, "%s: %zu bytes; a recipe has at most %zu", name, nbytes, MOST_BYTES);
  PARE__TRY(pare_recipe_create(out));
  struct reader reader = {.recipe = *out};
  pare_status status = pare__arena_text(&reader.recipe->arena, name, strlen(name), &reader.name);
  reader.recipe->name = reader.name;
  if (status == PARE_OK && !yaml_parser_initialize(&reader.parser)) status = pare__fail_memory("a parser", 4096);
  if (status == PARE_OK) {
    const bool marked = nbytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0; /* as some editors begin UTF-8 */
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text + (marked ? 3 : 0),
                                 nbytes - (marked ? 3 : 0));
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    status = read_stream(&reader);
    drop(&reader);
    yaml_parser_delete(&reader.parser);
  }
  if (status == PARE_OK) return PARE_OK;
  pare_recipe_close(*out);
  *out = NULL;
  return status;
}

pare_status pare_recipe_open(const char *path, pare_recipe **out) {
  char *text;
  size_t nbytes;
  if (!out) return pare__fail_null("pare_recipe_open", "out");
  *out = NULL;
  if (!path) return pare__fail_null("pare_recipe_open", "path");
  PARE__TRY(pare__file_read(path, MOST_BYTES, &text, &nbytes));
  const pare_status status = pare_recipe_parse(text, nbytes, path, out);
  free(text);
  return status;
}
