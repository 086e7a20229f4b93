/* Kernel sources with their includes in place. SPDX-License-Identifier: Apache-2.0
 *
 * Includes are resolved here and not by -I: drivers disagree about paths with spaces and about what they cache, and the
 * hash of the expanded text names everything that the compiler will see. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/path.h"
#include "ocl/device.h"

#define SOURCE_LIMIT_BYTES ((size_t)16 << 20)
#define INCLUDE_DEPTH 16

typedef struct text {
  char *data;
  size_t count, capacity;
} text;

static pare_status text_add(text *to, const char *data, size_t nbytes) {
  if (to->count + nbytes > SOURCE_LIMIT_BYTES)
    return pare__fail(PARE_ERR_KERNEL, "a kernel with its includes is larger than %zu bytes", SOURCE_LIMIT_BYTES);
  while (to->capacity < to->count + nbytes + 1)
    PARE__TRY(pare__array_grow((void **)&to->data, &to->capacity, to->capacity, 1));
  memcpy(to->data + to->count, data, nbytes);
  to->count += nbytes;
  to->data[to->count] = '\0';
  return PARE_OK;
}

static pare_status text_add_line_mark(text *to, unsigned line, const char *file) {
  char mark[512];
  int nbytes = snprintf(mark, sizeof mark, "#line %u \"%s\"\n", line, file);
  if (nbytes < 0 || (size_t)nbytes >= sizeof mark)
    return pare__fail(PARE_ERR_KERNEL, "the file name %s is too long", file);
  return text_add(to, mark, (size_t)nbytes);
}

/* The name in `#include "name"` if the line is one; 0 bytes if not. */
static size_t included_name(const char *line, const char **name) {
  line += strspn(line, " \t");
  if (*line++ != '#') return 0;
  line += strspn(line, " \t");
  if (strncmp(line, "include", 7) != 0) return 0;
  line += 7;
  line += strspn(line, " \t");
  if (*line++ != '"') return 0;
  size_t nbytes = strcspn(line, "\"\n");
  *name = line;
  return line[nbytes] == '"' ? nbytes : 0;
}

static pare_status expand(text *to, const char *file, const char *path, unsigned depth);

/* An include lies beside the file that names it, or wherever kernels are. */
static pare_status expand_include(text *to, const char *path, const char *name, size_t nbytes, unsigned depth) {
  const char *slash = strrchr(path, '/');
  char *file = pare__format("%.*s", (int)nbytes, name);
  char *found = pare__format("%.*s%.*s", slash ? (int)(slash - path + 1) : 0, path, (int)nbytes, name);
  pare_status status = file && found ? PARE_OK : pare__fail_memory("a path", strlen(path) + nbytes);
  if (status == PARE_OK && !pare__file_exists(found)) {
    free(found);
    status = pare__kernel_path(file, &found);
  }
  if (status == PARE_OK) status = expand(to, file, found, depth + 1);
  free(found);
  free(file);
  return status;
}

static pare_status expand(text *to, const char *file, const char *path, unsigned depth) {
  if (depth > INCLUDE_DEPTH)
    return pare__fail(PARE_ERR_KERNEL, "%s: includes are nested deeper than %d", file, INCLUDE_DEPTH);
  char *data = NULL;
  size_t nbytes = 0;
  PARE__TRY(pare__file_read(path, SOURCE_LIMIT_BYTES, &data, &nbytes));
  pare_status status = PARE_OK;
  if (strlen(data) != nbytes) status = pare__fail(PARE_ERR_KERNEL, "%s is no text: it holds a zero byte", path);
  if (status == PARE_OK) status = text_add_line_mark(to, 1, file);
  unsigned number = 1;
  for (const char *line = data, *name = NULL; *line && status == PARE_OK; number++) {
    size_t length = strcspn(line, "\n");
    size_t name_bytes = included_name(line, &name);
    if (name_bytes > 0) {
      status = expand_include(to, path, name, name_bytes, depth);
      if (status == PARE_OK) status = text_add_line_mark(to, number + 1, file);
    } else {
      status = text_add(to, line, length);
      if (status == PARE_OK) status = text_add(to, "\n", 1);
    }
    line += length + (line[length] == '\n');
  }
  free(data);
  return status;
}

void pare__source_close(pare__source *source) {
  free(source->file);
  free(source->text);
  free(source);
}

static pare_status source_open(const char *file, pare__source **out) {
  char *path = NULL;
  text expanded = {NULL, 0, 0};
  pare__source *source = calloc(1, sizeof *source);
  if (!source) return pare__fail_memory("a source", sizeof *source);
  pare_status status = pare__kernel_path(file, &path);
  if (status == PARE_OK) status = expand(&expanded, file, path, 0);
  pare__hash *hash = status == PARE_OK ? pare__hash_open() : NULL;
  source->file = pare__strdup(file);
  source->text = expanded.data;
  if (status == PARE_OK && (!hash || !source->file)) status = pare__fail_memory("a source", strlen(file));
  if (hash) {
    pare__hash_bytes(hash, expanded.data, expanded.count);
    pare__hash_close(hash, source->hash);
  }
  free(path);
  if (status == PARE_OK) {
    *out = source;
    return PARE_OK;
  }
  pare__source_close(source);
  return status;
}

pare_status pare__source_get(pare__device *device, const char *file, pare__source **out) {
  *out = NULL;
  pare__source *source = device->sources;
  while (source && strcmp(source->file, file) != 0) source = source->next;
  if (!source) {
    pare_status status = source_open(file, &source);
    if (!source) return status;
    source->next = device->sources;
    device->sources = source;
  }
  *out = source;
  return PARE_OK;
}

pare_status pare__source_hash_unopened(const char *file, char hex[33]) {
  pare__source *source = NULL;
  PARE__TRY(source_open(file, &source));
  memcpy(hex, source->hash, sizeof source->hash);
  pare__source_close(source);
  return PARE_OK;
}

pare_status pare__source_hash(pare__device *device, const char *file, char hex[33]) {
  pare__source *source = NULL;
  pare__device_lock(device);
  pare_status status = pare__source_get(device, file, &source);
  if (source) memcpy(hex, source->hash, sizeof source->hash);
  pare__device_unlock(device);
  return status;
}
