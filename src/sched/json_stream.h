/* Files of JSON objects, one after the other, read one at a time, with places for messages.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_SCHED_JSON_STREAM_H
#define PARE_SCHED_JSON_STREAM_H

#include <jansson.h>

#include "base/base.h"

typedef struct pare__json_stream {
  const char *name, *text; /* the caller's */
  size_t nbytes;
  size_t begin, offset; /* of the object, and behind it */
  json_t *object;       /* the current one */
} pare__json_stream;

/* The next object; *out = NULL at the end. Borrowed until the next call. PARE_ERR_FORMAT with the place. */
pare_status pare__json_next(pare__json_stream *stream, json_t **out);
void pare__json_end(pare__json_stream *stream);

/* PARE_ERR_FORMAT: "NAME:LINE:COLUMN: ...", where the object has `key`, else where it begins. */
pare_status pare__json_fail(const pare__json_stream *stream, const char *key, const char *format, ...)
    PARE__PRINTF(3, 4);
#define pare__json_fail(stream, key, ...) pare__known(PARE_ERR_FORMAT, pare__json_fail((stream), (key), __VA_ARGS__))

/* Only these keys are allowed; ends with NULL. */
pare_status pare__json_keys(const pare__json_stream *stream, const char *const *keys);
/* A finite number in [low, high]; *out stays if the key is not there. */
pare_status pare__json_number(const pare__json_stream *stream, const char *key, double low, double high, double *out);
/* The same for whole numbers. */
pare_status pare__json_integer(const pare__json_stream *stream, const char *key, int64_t low, int64_t high,
                               int64_t *out);
pare_status pare__json_bool(const pare__json_stream *stream, const char *key, bool *out);
/* Text that is not empty; *out stays if the key is not there. Borrowed from the object. */
pare_status pare__json_text(const pare__json_stream *stream, const char *key, const char **out);
/* Some of the classes that a resource may be; *out stays if the key is not there. */
pare_status pare__json_resource(const pare__json_stream *stream, bool any, unsigned *out);

#endif
