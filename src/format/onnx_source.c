/* What a model's memory belongs to: arena, mapped file, external files. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "format/mapping.h"
#include "format/onnx_schema.h"

/* What structs may take: a hostile file of small messages grows a hundredfold in memory. */
#define ARENA_BASE_BYTES ((size_t)64 << 20)
#define ARENA_BYTES_A_BYTE 16
#define ARENA_MAX_BYTES ((size_t)4 << 30)

struct external {
  struct external *next;
  const char *location;
  pare__mapping mapping;
};

struct pare__onnx_source {
  pare__arena arena;
  char *path;
  pare__mapping file;
  int folder; /* where external files are looked for; -1: nowhere */
  pthread_mutex_t lock;
  pare__arena external_arena; /* under the lock, unlike the other, which belongs to who edits */
  struct external *externals;
};

/* ---- opening ---- */

static pare_status open_folder(pare__onnx_source *source) {
  const char *slash = strrchr(source->path, '/');
  char *folder =
      slash ? pare__format("%.*s", (int)(slash == source->path ? 1 : slash - source->path), source->path) : NULL;
  if (slash && !folder) return pare__fail_memory("a path", strlen(source->path));
  source->folder = open(folder ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  free(folder);
  if (source->folder < 0) return pare__fail(PARE_ERR_IO, "opening the folder of %s: %s", source->path, strerror(errno));
  return PARE_OK;
}

pare_status pare__onnx_source_open(const char *path, const pare__mapping *memory, const char *name,
                                   pare__onnx_source **out) {
  *out = NULL;
  pare__onnx_source *source = calloc(1, sizeof *source);
  if (!source) return pare__fail_memory("a model", sizeof *source);
  pthread_mutex_init(&source->lock, NULL);
  source->folder = -1;
  pare_status status = PARE_OK;
  source->path = pare__strdup(path ? path : name);
  if (!source->path) status = pare__fail_memory("a path", 1);
  if (status == PARE_OK && path) status = pare__mapping_open(path, &source->file);
  if (status == PARE_OK && path) status = open_folder(source);
  if (status != PARE_OK) {
    pare__onnx_source_close(source);
    return status;
  }
  if (memory) source->file = *memory;
  size_t nbytes = source->file.nbytes;
  source->arena.limit_bytes = nbytes > (ARENA_MAX_BYTES - ARENA_BASE_BYTES) / ARENA_BYTES_A_BYTE
                                  ? ARENA_MAX_BYTES
                                  : ARENA_BASE_BYTES + nbytes * ARENA_BYTES_A_BYTE;
  *out = source;
  return PARE_OK;
}

void pare__onnx_source_close(pare__onnx_source *source) {
  if (!source) return;
  for (struct external *external = source->externals; external; external = external->next)
    pare__mapping_close(&external->mapping);
  pare__arena_clear(&source->external_arena);
  pare__arena_clear(&source->arena);
  pare__mapping_close(&source->file);
  if (source->folder >= 0) close(source->folder);
  pthread_mutex_destroy(&source->lock);
  free(source->path);
  free(source);
}

pare__arena *pare__onnx_source_arena(pare__onnx_source *source) { return &source->arena; }
const pare__mapping *pare__onnx_source_file(const pare__onnx_source *source) { return &source->file; }
const char *pare__onnx_source_path(const pare__onnx_source *source) { return source->path; }

/* ---- external files ---- */

static pare_status fail_location(const pare__onnx_source *source, const char *location, const char *why) {
  return pare__fail(PARE_ERR_FORMAT, "%s: external data in '%.300s': %s; it has to be a file in the model's folder",
                    source->path, location, why);
}

const char *pare__onnx_refuse_location(const char *location) {
  if (!location || !*location) return "no location";
  if (location[0] == '/') return "an absolute path";
  for (const char *part = location; part;) {
    size_t length = strcspn(part, "/");
    if (length == 2 && part[0] == '.' && part[1] == '.') return "a path with '..'";
    part = part[length] ? part + length + 1 : NULL;
  }
  return NULL;
}

#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)

int pare__onnx_open_parts(int folder, const char *location) {
  int at = folder;
  for (const char *part = location;;) {
    char name[256];
    size_t length = strcspn(part, "/");
    bool last = part[length] == '\0';
    if (length >= sizeof name) errno = ENAMETOOLONG;
    int next = -1;
    if (length < sizeof name) {
      memcpy(name, length ? part : ".", length ? length : 1);
      name[length ? length : 1] = '\0';
      next = openat(at, name, last ? OPEN_FLAGS : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    int error = errno;
    if (at != folder) close(at);
    errno = error;
    if (next < 0 || last) return next;
    at = next;
    part += length + 1;
  }
}

static int open_beneath(int folder, const char *location) {
  struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
  long file = syscall(SYS_openat2, folder, location, &how, sizeof how);
  /* Kernels before 5.6 do not know it, and sandboxes forbid what they do not know. */
  if (file < 0 && (errno == ENOSYS || errno == EPERM)) return pare__onnx_open_parts(folder, location);
  return (int)file;
}

static pare_status add_external(pare__onnx_source *source, const char *location, const pare__mapping **out) {
  const char *why = pare__onnx_refuse_location(location);
  if (why) return fail_location(source, location ? location : "", why);
  if (source->folder < 0) return fail_location(source, location, "the model was not read from a folder");
  int file = open_beneath(source->folder, location);
  if (file < 0) {
    if (errno == ELOOP || errno == EXDEV || errno == ENOTDIR) return fail_location(source, location, "a symbolic link");
    return pare__fail(PARE_ERR_IO, "opening the external data '%.300s' of %s: %s", location, source->path,
                      strerror(errno));
  }
  void *memory;
  pare__mapping mapping = {0};
  pare_status status = pare__mapping_open_file(file, location, &mapping);
  close(file);
  PARE__TRY(status);
  struct external *external;
  status = pare__arena_allocate(&source->external_arena, sizeof *external, &memory);
  external = memory;
  if (status == PARE_OK)
    status = pare__arena_text(&source->external_arena, location, strlen(location), &external->location);
  if (status != PARE_OK) {
    pare__mapping_close(&mapping);
    return status;
  }
  external->mapping = mapping;
  external->next = source->externals;
  source->externals = external;
  *out = &external->mapping;
  return PARE_OK;
}

/* Maps are kept until the source is closed, so that a file is opened once. */
static pare_status find_external(pare__onnx_source *source, const char *location, const pare__mapping **out) {
  pare_status status = PARE_OK;
  *out = NULL;
  pthread_mutex_lock(&source->lock);
  for (struct external *external = source->externals; external && !*out; external = external->next)
    if (strcmp(external->location, location) == 0) *out = &external->mapping;
  if (!*out) status = add_external(source, location, out);
  pthread_mutex_unlock(&source->lock);
  return status;
}

static bool lies_in(const pare__mapping *mapping, const void *data) {
  const uint8_t *at = data;
  return mapping->mapped && at >= mapping->data && at < mapping->data + mapping->nbytes;
}

bool pare__onnx_is_mapped(pare__onnx_source *source, const void *data) {
  if (lies_in(&source->file, data)) return true;
  bool found = false;
  pthread_mutex_lock(&source->lock);
  for (struct external *external = source->externals; external && !found; external = external->next)
    found = lies_in(&external->mapping, data);
  pthread_mutex_unlock(&source->lock);
  return found;
}

/* A plain decimal number that fits size_t. */
static bool parse_size(const char *text, size_t *out) {
  char *end;
  if (!text || text[0] < '0' || text[0] > '9') return false;
  errno = 0;
  uintmax_t value = strtoumax(text, &end, 10);
  *out = (size_t)value;
  return errno == 0 && *end == '\0' && value <= PTRDIFF_MAX;
}

pare_status pare__onnx_external_data(pare__onnx_source *source, const pare__onnx_tensor *tensor, size_t expected,
                                     pare__onnx_bytes *out) {
  enum { LOCATION, OFFSET, LENGTH, NKEYS };
  static const char *const keys[NKEYS] = {"location", "offset", "length"};
  const char *values[NKEYS] = {NULL};
  char label[160];
  for (size_t i = 0; i < tensor->external_data.count; i++) {
    const pare__onnx_entry *entry = &tensor->external_data.items[i];
    for (unsigned k = 0; k < NKEYS; k++)
      if (entry->key && strcmp(entry->key, keys[k]) == 0) values[k] = entry->value ? entry->value : "";
  }
  pare__onnx_tensor_label(tensor, label, sizeof label);
  size_t offset = 0, nbytes = expected;
  if ((values[OFFSET] && !parse_size(values[OFFSET], &offset)) ||
      (values[LENGTH] && !parse_size(values[LENGTH], &nbytes)))
    return pare__fail(PARE_ERR_FORMAT, "%s: %s: external data with offset '%.40s' and length '%.40s': no sizes",
                      source->path, label, values[OFFSET] ? values[OFFSET] : "", values[LENGTH] ? values[LENGTH] : "");
  const pare__mapping *file;
  PARE__TRY(find_external(source, values[LOCATION] ? values[LOCATION] : "", &file));
  if (offset > file->nbytes || nbytes > file->nbytes - offset)
    return pare__fail(PARE_ERR_FORMAT, "%s: %s: %zu bytes at %zu of '%s', which has %zu bytes: a part is missing",
                      source->path, label, nbytes, offset, values[LOCATION], file->nbytes);
  *out = (pare__onnx_bytes){file->data ? file->data + offset : NULL, nbytes};
  return PARE_OK;
}
