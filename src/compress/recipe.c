/* Recipes: making them, setting their fields, writing them out. SPDX-License-Identifier: Apache-2.0 */
#include "compress/recipe.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/method.h"

#define MOST_MODIFIERS 64
#define MOST_TEXTS 10000

pare_status pare__fail_at(const pare__place *place, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (place->line == 0) return pare__fail(PARE_ERR_ARGUMENT, "%s", text);
  return pare__fail(PARE_ERR_FORMAT, "%s:%u:%u: %s", place->file, place->line, place->column, text);
}

pare_status pare_recipe_create(pare_recipe **out) {
  if (!out) return pare__fail_null("pare_recipe_create", "out");
  *out = calloc(1, sizeof **out);
  if (!*out) return pare__fail_memory("a recipe", sizeof **out);
  atomic_init(&(*out)->references, 1);
  (*out)->arena.limit_bytes = (size_t)64 << 20;
  (*out)->name = "";
  return PARE_OK;
}

void pare__recipe_retain(const pare_recipe *recipe) { atomic_fetch_add(&((pare_recipe *)recipe)->references, 1); }

void pare_recipe_close(pare_recipe *recipe) {
  if (!recipe || atomic_fetch_sub(&recipe->references, 1) != 1) return;
  pare__arena_clear(&recipe->arena);
  free(recipe->modifiers);
  free(recipe);
}

pare_status pare__recipe_append(pare_recipe *recipe, const pare__method *method, pare__modifier **out) {
  *out = NULL;
  if (recipe->nmodifiers == MOST_MODIFIERS)
    return pare__fail(PARE_ERR_ARGUMENT, "a recipe has at most %d modifiers", MOST_MODIFIERS);
  PARE__TRY(pare__array_grow((void **)&recipe->modifiers, &recipe->modifiers_capacity, recipe->nmodifiers,
                             sizeof *recipe->modifiers));
  pare__modifier made = {.method = method};
  void *places;
  PARE__TRY(pare__arena_allocate(&recipe->arena, method->options_bytes, &made.options));
  if (method->defaults) memcpy(made.options, method->defaults, method->options_bytes);
  PARE__TRY(pare__arena_allocate(&recipe->arena, method->nfields * sizeof *made.field_places, &places));
  made.field_places = places;
  for (size_t i = 0; i < recipe->ignore.count; i++)
    PARE__TRY(
        pare__recipe_add_text(recipe, &made.ignore, recipe->ignore.items[i].text, &recipe->ignore.items[i].place));
  recipe->modifiers[recipe->nmodifiers] = made;
  *out = &recipe->modifiers[recipe->nmodifiers++];
  return PARE_OK;
}

/* Room for one more item of a list in the recipe's arena. */
static pare_status grow(pare_recipe *recipe, void **items, size_t *capacity, size_t count, size_t size) {
  if (count >= MOST_TEXTS) return pare__fail(PARE_ERR_ARGUMENT, "more than %d items in one list", MOST_TEXTS);
  if (count < *capacity) return PARE_OK;
  const size_t more = *capacity ? 2 * *capacity : 8;
  void *larger;
  PARE__TRY(pare__arena_allocate(&recipe->arena, more * size, &larger));
  if (count > 0) memcpy(larger, *items, count * size);
  *items = larger;
  *capacity = more;
  return PARE_OK;
}

pare_status pare__recipe_add_mapping(pare_recipe *recipe, pare__layer_mappings *mappings, pare__layer_mapping **out) {
  *out = NULL;
  PARE__TRY(grow(recipe, (void **)&mappings->items, &mappings->capacity, mappings->count, sizeof *mappings->items));
  *out = &mappings->items[mappings->count++];
  return PARE_OK;
}

pare_status pare__recipe_add_text(pare_recipe *recipe, pare__texts *texts, const char *text, const pare__place *place) {
  PARE__TRY(grow(recipe, (void **)&texts->items, &texts->capacity, texts->count, sizeof *texts->items));
  const char *copy;
  PARE__TRY(pare__arena_text(&recipe->arena, text, strlen(text), &copy));
  texts->items[texts->count++] = (pare__text){copy, *place};
  return PARE_OK;
}

/* ---- fields ---- */

/* "a, b, c" of all names, for messages. */
static const char *join_fields(const pare__method *method, char *buffer, size_t capacity) {
  size_t used = 0;
  buffer[0] = '\0';
  for (size_t i = 0; i < method->nfields && used < capacity; i++)
    used += (size_t)snprintf(buffer + used, capacity - used, "%s, ", method->fields[i].name);
  if (used < capacity) snprintf(buffer + used, capacity - used, "targets, ignore");
  return buffer;
}

static const char *join_choices(const pare__field *field, char *buffer, size_t capacity) {
  size_t used = 0;
  buffer[0] = '\0';
  for (size_t i = 0; field->choices[i] && used < capacity; i++)
    used += (size_t)snprintf(buffer + used, capacity - used, "%s%s", i ? ", " : "", field->choices[i]);
  return buffer;
}

/* A number as JSON writes it: strtod would follow the locale, and take "inf" and hexadecimal. */
static bool parse_number(const char *text, double *out) {
  json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
  const bool is_number = json_is_number(json);
  *out = json_number_value(json);
  json_decref(json);
  return is_number;
}

static pare_status set_number(const pare__field *field, void *member, const char *text, const pare__place *place) {
  const bool whole = field->kind == PARE__FIELD_INT;
  double number;
  if (!parse_number(text, &number) || (whole && number != floor(number)))
    return pare__fail_at(place, "%s: '%.100s' is no %s", field->name, text, whole ? "whole number" : "number");
  if (field->kind == PARE__FIELD_ABOVE && !(number > field->least && number <= field->most))
    return pare__fail_at(place, "%s is %.100s; it must be more than %g, and at most %g", field->name, text,
                         field->least, field->most);
  if (!(number >= field->least && number <= field->most))
    return pare__fail_at(place, "%s is %.100s; it must be from %g to %g", field->name, text, field->least, field->most);
  if (whole)
    *(int64_t *)member = (int64_t)number;
  else
    *(double *)member = number;
  return PARE_OK;
}

/* As YAML 1.2 writes them. */
static pare_status set_bool(const pare__field *field, bool *member, const char *text, const pare__place *place) {
  static const char *const texts[2][3] = {{"false", "False", "FALSE"}, {"true", "True", "TRUE"}};
  for (size_t i = 0; i < 6; i++) {
    if (strcmp(texts[i / 3][i % 3], text) != 0) continue;
    *member = i / 3;
    return PARE_OK;
  }
  return pare__fail_at(place, "%s: '%.100s' is neither true nor false", field->name, text);
}

static pare_status set_field(pare_recipe *recipe, const pare__field *field, void *member, const char *text,
                             const pare__place *place) {
  char list[512];
  switch (field->kind) {
  case PARE__FIELD_INT:
  case PARE__FIELD_NUMBER:
  case PARE__FIELD_ABOVE: return set_number(field, member, text, place);
  case PARE__FIELD_TEXT: return pare__arena_text(&recipe->arena, text, strlen(text), member);
  case PARE__FIELD_BOOL: return set_bool(field, member, text, place);
  case PARE__FIELD_MAPPINGS: return pare__fail_at(place, "%s takes a list of pairs", field->name);
  case PARE__FIELD_CHOICE: break;
  }
  for (int i = 0; field->choices[i]; i++) {
    if (strcmp(field->choices[i], text) != 0) continue;
    *(int *)member = i;
    return PARE_OK;
  }
  return pare__fail_at(place, "%s: there is no '%.100s'; there are %s", field->name, text,
                       join_choices(field, list, sizeof list));
}

pare_status pare__recipe_set(pare_recipe *recipe, pare__modifier *modifier, const char *name, const char *text,
                             const pare__place *place) {
  const pare__method *method = modifier->method;
  char list[1024], advice[200];
  for (size_t i = 0; i < method->nfields; i++) {
    const pare__field *field = &method->fields[i];
    if (strcmp(field->name, name) != 0) continue;
    modifier->given |= UINT64_C(1) << i;
    modifier->field_places[i] = *place;
    return set_field(recipe, field, (char *)modifier->options + field->offset, text, place);
  }
  return pare__fail_at(place, "%s has no field '%.100s'; it has %s%s", method->name, name,
                       join_fields(method, list, sizeof list), pare__recipe_advice(name, advice, sizeof advice));
}

void pare__recipe_show(pare__modifier *modifier, const char *name) {
  for (size_t i = 0; i < modifier->method->nfields; i++)
    if (!name || strcmp(modifier->method->fields[i].name, name) == 0) modifier->given |= UINT64_C(1) << i;
}

bool pare__recipe_gave(const pare__modifier *modifier, const char *name) {
  for (size_t i = 0; i < modifier->method->nfields; i++)
    if (strcmp(modifier->method->fields[i].name, name) == 0) return modifier->given >> i & 1;
  return false;
}

const pare__place *pare__recipe_place(const pare__modifier *modifier, const char *name) {
  for (size_t i = 0; i < modifier->method->nfields; i++)
    if (strcmp(modifier->method->fields[i].name, name) == 0 && modifier->field_places[i].line > 0)
      return &modifier->field_places[i];
  return &modifier->place;
}

/* ---- written out ---- */

static json_t *texts_json(const pare__texts *texts) {
  json_t *json = json_array();
  for (size_t i = 0; i < texts->count; i++) json_array_append_new(json, json_string(texts->items[i].text));
  return json;
}

static json_t *mappings_json(const pare__layer_mappings *mappings) {
  json_t *json = json_array();
  for (size_t i = 0; i < mappings->count; i++)
    json_array_append_new(json,
                          json_pack("[o, s]", texts_json(&mappings->items[i].balance), mappings->items[i].smooth));
  return json;
}

static json_t *field_json(const pare__field *field, const void *member) {
  switch (field->kind) {
  case PARE__FIELD_BOOL: return json_boolean(*(const bool *)member);
  case PARE__FIELD_INT: return json_integer(*(const int64_t *)member);
  case PARE__FIELD_NUMBER:
  case PARE__FIELD_ABOVE: return json_real(*(const double *)member);
  case PARE__FIELD_CHOICE: return json_string(field->choices[*(const int *)member]);
  case PARE__FIELD_MAPPINGS: return mappings_json(member);
  case PARE__FIELD_TEXT: break;
  }
  const char *text = *(const char *const *)member;
  return text ? json_string(text) : NULL;
}

static json_t *modifier_json(const pare__modifier *modifier) {
  const pare__method *method = modifier->method;
  json_t *fields = json_object();
  if (modifier->targets.count > 0) json_object_set_new(fields, "targets", texts_json(&modifier->targets));
  if (modifier->ignore.count > 0) json_object_set_new(fields, "ignore", texts_json(&modifier->ignore));
  for (size_t i = 0; i < method->nfields; i++) {
    const pare__field *field = &method->fields[i];
    if (!(modifier->given >> i & 1)) continue;
    json_t *value = field_json(field, (const char *)modifier->options + field->offset);
    if (value) json_object_set_new(fields, field->name, value);
  }
  return json_pack("{s:o}", method->name, fields);
}

/* A character of two or three bytes that YAML folds as a line's end or allows as an escape only: its number; otherwise
 * 0. JSON allows all of these as they are. */
static unsigned only_escaped(const unsigned char *text) {
  unsigned number = 0;
  if (text[0] == 0x7f) return text[0];
  if (text[0] == 0xc2) number = text[1];
  if ((text[0] & 0xf0) == 0xe0) number = (text[0] & 0x0fu) << 12 | (text[1] & 0x3fu) << 6 | (text[2] & 0x3fu);
  const bool odd = (number >= 0x80 && number < 0xa0) || number == 0x2028 || number == 0x2029 || number == 0xfeff ||
                   number == 0xfffe || number == 0xffff;
  return odd ? number : 0;
}

/* JSON's text as one that YAML reads to the same; takes the text over. NULL: there is no memory. */
static char *as_yaml(char *text) {
  size_t nbytes = 1, at = 0;
  for (const char *c = text; *c; c++) nbytes += only_escaped((const unsigned char *)c) ? 6 : 1;
  char *out = malloc(nbytes);
  for (const char *c = text; out && *c;) {
    const unsigned escaped = only_escaped((const unsigned char *)c);
    if (!escaped) {
      out[at++] = *c++;
      continue;
    }
    at += (size_t)snprintf(out + at, 7, "\\u%04x", escaped);
    c += escaped < 0x80 ? 1 : escaped < 0x800 ? 2 : 3;
  }
  if (out) out[at] = '\0';
  free(text);
  return out;
}

pare_status pare_recipe_text(const pare_recipe *recipe, char **out) {
  if (!out) return pare__fail_null("pare_recipe_text", "out");
  *out = NULL;
  if (!recipe) return pare__fail_null("pare_recipe_text", "recipe");
  json_t *modifiers = json_array(), *json = json_pack("{s:i}", "pare", 1);
  if (recipe->calibration) json_object_set_new(json, "calibration", json_string(recipe->calibration));
  for (size_t i = 0; i < recipe->nmodifiers; i++)
    json_array_append_new(modifiers, modifier_json(&recipe->modifiers[i]));
  json_object_set_new(json, "modifiers", modifiers);
  char *text = json_dumps(json, JSON_PRESERVE_ORDER | JSON_COMPACT);
  json_decref(json);
  *out = text ? as_yaml(text) : NULL;
  return *out ? PARE_OK : pare__fail_memory("a recipe's text", 1024);
}
