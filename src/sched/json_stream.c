/* Files of JSON objects, read one at a time. SPDX-License-Identifier: Apache-2.0 */
#include "sched/json_stream.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/policy.h"

/* Line and column of a byte, from 1 on. */
static void place_of(const pare__json_stream *stream, size_t at, unsigned *line, unsigned *column) {
  *line = *column = 1;
  for (size_t i = 0; i < at && i < stream->nbytes; i++) {
    (*column)++;
    if (stream->text[i] != '\n') continue;
    (*line)++;
    *column = 1;
  }
}

/* Where the current object has the key: its first `"key"` with a colon behind it. */
static size_t find_key(const pare__json_stream *stream, const char *key) {
  const size_t length = strlen(key);
  for (size_t i = stream->begin; key[0] && i + length + 2 < stream->offset; i++) {
    if (stream->text[i] != '"' || stream->text[i + length + 1] != '"') continue;
    if (memcmp(stream->text + i + 1, key, length) != 0) continue;
    size_t after = i + length + 2;
    while (after < stream->offset && strchr(" \t\r\n", stream->text[after])) after++;
    if (after < stream->offset && stream->text[after] == ':') return i;
  }
  return stream->begin;
}

pare_status(pare__json_fail)(const pare__json_stream *stream, const char *key, const char *format, ...) {
  char message[400];
  unsigned line, column;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  place_of(stream, find_key(stream, key), &line, &column);
  return pare__fail(PARE_ERR_FORMAT, "%s:%u:%u: %s", stream->name, line, column, message);
}

void pare__json_end(pare__json_stream *stream) {
  json_decref(stream->object);
  stream->object = NULL;
}

pare_status pare__json_next(pare__json_stream *stream, json_t **out) {
  json_error_t error;
  pare__json_end(stream);
  *out = NULL;
  stream->begin = stream->offset;
  while (stream->begin < stream->nbytes && strchr(" \t\r\n", stream->text[stream->begin]) &&
         stream->text[stream->begin])
    stream->begin++;
  stream->offset = stream->begin;
  if (stream->begin == stream->nbytes) return PARE_OK;
  stream->object = json_loadb(stream->text + stream->begin, stream->nbytes - stream->begin,
                              JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
  if (!stream->object) {
    unsigned line, column;
    const size_t at = error.position > 0 ? stream->begin + (size_t)error.position - 1 : stream->begin;
    place_of(stream, at, &line, &column);
    return pare__fail(PARE_ERR_FORMAT, "%s:%u:%u: %s", stream->name, line, column, error.text);
  }
  stream->offset = stream->begin + (size_t)error.position;
  if (!json_is_object(stream->object)) return pare__json_fail(stream, "", "an object in braces is expected here");
  *out = stream->object;
  return PARE_OK;
}

pare_status pare__json_keys(const pare__json_stream *stream, const char *const *keys) {
  const char *key;
  json_t *value;
  json_object_foreach(stream->object, key, value) {
    size_t i = 0;
    while (keys[i] && strcmp(keys[i], key) != 0) i++;
    if (keys[i]) continue;
    char known[300] = "";
    size_t used = 0;
    for (i = 0; keys[i] && used + 40 < sizeof known; i++)
      used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", keys[i]);
    return pare__json_fail(stream, key, "there is no key '%.40s' here; there are %s", key, known);
  }
  return PARE_OK;
}

pare_status pare__json_number(const pare__json_stream *stream, const char *key, double low, double high, double *out) {
  const json_t *value = json_object_get(stream->object, key);
  if (!value) return PARE_OK;
  const double number = json_number_value(value);
  if (!json_is_number(value) || !isfinite(number) || number < low || number > high)
    return pare__json_fail(stream, key, "'%s' must be a number from %g to %g", key, low, high);
  *out = number;
  return PARE_OK;
}

pare_status pare__json_integer(const pare__json_stream *stream, const char *key, int64_t low, int64_t high,
                               int64_t *out) {
  double number = (double)*out;
  const json_t *value = json_object_get(stream->object, key);
  if (!value) return PARE_OK;
  PARE__TRY(pare__json_number(stream, key, (double)low, (double)high, &number));
  if (number != floor(number)) return pare__json_fail(stream, key, "'%s' must be a whole number", key);
  *out = json_is_integer(value) ? (int64_t)json_integer_value(value) : (int64_t)number;
  return PARE_OK;
}

pare_status pare__json_bool(const pare__json_stream *stream, const char *key, bool *out) {
  const json_t *value = json_object_get(stream->object, key);
  if (value && !json_is_boolean(value)) return pare__json_fail(stream, key, "'%s' must be true or false", key);
  if (value) *out = json_is_true(value);
  return PARE_OK;
}

pare_status pare__json_text(const pare__json_stream *stream, const char *key, const char **out) {
  const json_t *value = json_object_get(stream->object, key);
  if (!value) return PARE_OK;
  if (json_string_length(value) == 0) return pare__json_fail(stream, key, "'%s' must be text, and not empty", key);
  *out = json_string_value(value);
  return PARE_OK;
}

pare_status pare__json_resource(const pare__json_stream *stream, bool any, unsigned *out) {
  static const struct {
    const char *name;
    unsigned set;
  } classes[] = {
      {"cpu", PARE__ON_CPU}, {"gpu", PARE__ON_GPU}, {"accelerator", PARE__ON_ACCELERATOR}, {"any", PARE__ON_ANY}};
  const char *name = NULL;
  PARE__TRY(pare__json_text(stream, "class", &name));
  if (!name) return PARE_OK;
  for (size_t i = 0; i < PARE__COUNT(classes) - !any; i++) {
    if (strcmp(classes[i].name, name) != 0) continue;
    *out = classes[i].set;
    return PARE_OK;
  }
  return pare__json_fail(stream, "class", "there is no class '%.40s'; there are cpu, gpu, accelerator%s", name,
                         any ? ", any" : "");
}
