/* The disk cache: one file an entry, written whole and renamed, so that any number of processes may use it at once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "ocl/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/path.h"

#define DEFAULT_LIMIT_BYTES ((uint64_t)512 << 20)
#define LARGEST_ENTRY_BYTES ((size_t)256 << 20)
#define KEY_DIGITS 32
/* A temporary file older than this belongs to a process that died. */
#define ABANDONED_SECONDS 3600

/* At the head of every file. The checksum is over the bytes that follow. */
typedef struct header {
  char magic[8];
  uint32_t version, kind;
  char key[KEY_DIGITS];
  uint64_t nbytes;
  char checksum[KEY_DIGITS];
} header;
static const char magic[8] = "parecach";
#define FORMAT_VERSION 1

static const char *const suffixes[] = {[PARE__CACHE_PROGRAM] = ".program", [PARE__CACHE_NOTE] = ".note"};

/* The path of an entry, malloc'ed; NULL if there is no cache. */
static char *entry_path(pare__cache_kind kind, const char *key) {
  char *folder = pare__cache_folder();
  char *path = folder ? pare__format("%s/%s%s", folder, key, suffixes[kind]) : NULL;
  free(folder);
  return path;
}

static bool checksum(const void *data, size_t nbytes, char hex[33]) {
  pare__hash *hash = pare__hash_open();
  if (!hash) return false;
  pare__hash_bytes(hash, data, nbytes);
  pare__hash_close(hash, hex);
  return true;
}

static bool header_set(header *head, pare__cache_kind kind, const char *key, const void *data, size_t nbytes) {
  char sum[33];
  if (!checksum(data, nbytes, sum)) return false;
  memset(head, 0, sizeof *head);
  memcpy(head->magic, magic, sizeof magic);
  head->version = FORMAT_VERSION;
  head->kind = kind;
  memcpy(head->key, key, KEY_DIGITS);
  head->nbytes = nbytes;
  memcpy(head->checksum, sum, KEY_DIGITS);
  return true;
}

/* ---- reading ---- */

bool pare__cache_read(pare__cache_kind kind, const char *key, char **out, size_t *nbytes) {
  *out = NULL;
  *nbytes = 0;
  char *path = entry_path(kind, key), *data = NULL;
  size_t total = 0;
  if (!path || !pare__file_exists(path)) goto out;
  if (pare__file_read(path, LARGEST_ENTRY_BYTES + sizeof(header), &data, &total) != PARE_OK) {
    pare__log(PARE_LOG_WARN, "cache: %s", pare_message());
    goto out;
  }
  header expected;
  if (total < sizeof expected || !header_set(&expected, kind, key, data + sizeof expected, total - sizeof expected) ||
      memcmp(data, &expected, sizeof expected) != 0) {
    pare__log(PARE_LOG_WARN, "cache: %s is corrupt or not ours; it is made again", path);
    goto out;
  }
  *nbytes = total - sizeof expected;
  memmove(data, data + sizeof expected, *nbytes + 1);
  *out = data;
  data = NULL;
  utimensat(AT_FDCWD, path, NULL, 0); /* the time of last use, for the limit; a read-only cache has none */
out:
  free(data);
  free(path);
  return *out != NULL;
}

/* ---- the files ---- */

typedef struct file_row {
  char *path;
  uint64_t nbytes;
  struct timespec used;
  bool note, temporary;
} file_row;

typedef struct file_table {
  file_row *row;
  size_t count, capacity;
  uint64_t nbytes;
} file_table;

static void table_close(file_table *table) {
  for (size_t i = 0; i < table->count; i++) free(table->row[i].path);
  free(table->row);
}

/* Does it end here, or as files do that are written beside their place? */
static bool is_end(const char *tail, bool *temporary) {
  const size_t rest = strlen(tail);
  *temporary = rest > 0;
  return rest == 0 || (rest == strlen(".XXXXXX.tmp") && strcmp(tail + rest - 4, ".tmp") == 0);
}

/* Is it a name that pare gives? The folder may be the user's own, with other things in it. */
static bool is_ours(const char *name, bool *note, bool *temporary) {
  const size_t learned = strlen(PARE__CACHE_PERFORMANCE);
  *note = true;
  if (strncmp(name, PARE__CACHE_PERFORMANCE, learned) == 0) return is_end(name + learned, temporary);
  if (strspn(name, "0123456789abcdef") != KEY_DIGITS) return false;
  const char *tail = name + KEY_DIGITS;
  for (size_t kind = 0; kind < PARE__COUNT(suffixes); kind++) {
    size_t length = strlen(suffixes[kind]);
    if (strncmp(tail, suffixes[kind], length) != 0) continue;
    *note = kind == PARE__CACHE_NOTE;
    return is_end(tail + length, temporary);
  }
  return false;
}

static pare_status table_fill(const char *folder, file_table *table) {
  DIR *open_folder = opendir(folder);
  if (!open_folder)
    return errno == ENOENT ? PARE_OK : pare__fail(PARE_ERR_IO, "reading the folder %s: %s", folder, strerror(errno));
  pare_status status = PARE_OK;
  struct dirent *found;
  while (status == PARE_OK && (found = readdir(open_folder))) {
    file_row row = {.note = false};
    struct stat about;
    if (!is_ours(found->d_name, &row.note, &row.temporary)) continue;
    if (fstatat(dirfd(open_folder), found->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) continue;
    status = pare__array_grow((void **)&table->row, &table->capacity, table->count, sizeof *table->row);
    if (status != PARE_OK) break;
    row.path = pare__format("%s/%s", folder, found->d_name);
    if (!row.path) {
      status = pare__fail_memory("a path", strlen(folder));
      break;
    }
    row.nbytes = (uint64_t)about.st_size;
    row.used = about.st_mtim;
    table->nbytes += row.nbytes;
    table->row[table->count++] = row;
  }
  closedir(open_folder);
  return status;
}

/* What goes first: temporary files, programs, then notes, which are small and dear; of each the least recently used. */
static int compare_rows(const void *left, const void *right) {
  const file_row *a = left, *b = right;
  if (a->temporary != b->temporary) return a->temporary ? -1 : 1;
  if (a->note != b->note) return a->note ? 1 : -1;
  if (a->used.tv_sec != b->used.tv_sec) return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
  return (a->used.tv_nsec > b->used.tv_nsec) - (a->used.tv_nsec < b->used.tv_nsec);
}

static pare_status limit_bytes(uint64_t *out) {
  const char *text = getenv("PARE_CACHE_LIMIT");
  *out = DEFAULT_LIMIT_BYTES;
  return text && *text ? pare__parse_bytes("PARE_CACHE_LIMIT", text, out) : PARE_OK;
}

/* Removes the least recently used entries until nine tenths of the limit are left. `kept` is the entry just written. */
static void trim(const char *folder, const char *kept) {
  uint64_t limit;
  file_table table = {0};
  if (limit_bytes(&limit) != PARE_OK) pare__log(PARE_LOG_WARN, "cache: %s; the limit is 512 MiB", pare_message());
  if (table_fill(folder, &table) == PARE_OK) {
    bool over = table.nbytes > limit;
    time_t now = time(NULL);
    qsort(table.row, table.count, sizeof *table.row, compare_rows);
    for (size_t i = 0; i < table.count; i++) {
      const file_row *row = &table.row[i];
      bool abandoned = row->temporary && now - row->used.tv_sec > ABANDONED_SECONDS;
      bool too_many = !row->temporary && over && table.nbytes > limit / 10 * 9 && strcmp(row->path, kept) != 0;
      if ((abandoned || too_many) && unlink(row->path) == 0) table.nbytes -= row->nbytes;
    }
  }
  table_close(&table);
}

/* ---- writing ---- */

static pare_status write_entry(pare__cache_kind kind, const char *key, const void *data, size_t nbytes) {
  char *folder = pare__cache_folder(), *path = NULL, *image = NULL;
  pare_status status = PARE_OK;
  if (!folder) {
    status =
        pare__fail(PARE_ERR_IO, "there is no cache folder: none of PARE_CACHE, XDG_CACHE_HOME and HOME is an absolute "
                                "path");
    goto out;
  }
  if (nbytes > LARGEST_ENTRY_BYTES) {
    status = pare__fail(PARE_ERR_IO, "an entry of %zu bytes is too large for the cache", nbytes);
    goto out;
  }
  path = pare__format("%s/%s%s", folder, key, suffixes[kind]);
  image = malloc(sizeof(header) + nbytes);
  header head;
  if (!path || !image || !header_set(&head, kind, key, data, nbytes)) {
    status = pare__fail_memory("an entry of the cache", sizeof(header) + nbytes);
    goto out;
  }
  memcpy(image, &head, sizeof head);
  memcpy(image + sizeof head, data, nbytes);
  status = pare__folder_make(folder);
  if (status == PARE_OK) status = pare__file_write(path, image, sizeof head + nbytes);
  if (status == PARE_OK && kind == PARE__CACHE_PROGRAM) trim(folder, path);
out:
  free(image);
  free(path);
  free(folder);
  return status;
}

bool pare__cache_write(pare__device *device, pare__cache_kind kind, const char *key, const void *data, size_t nbytes) {
  char *message = pare__strdup(pare_message());
  pare_status status = write_entry(kind, key, data, nbytes);
  if (status != PARE_OK && !device->cache_refused) {
    pare__log(PARE_LOG_WARN, "cache: nothing is kept for the next run: %s", pare_message());
    device->cache_refused = true;
  }
  if (message) pare__fail_text(PARE_OK, message);
  free(message);
  return status == PARE_OK;
}

void pare__cache_remove(pare__cache_kind kind, const char *key) {
  char *path = entry_path(kind, key);
  if (path) unlink(path);
  free(path);
}

/* ---- notes ---- */

/* Notes of different devices and drivers must not meet. */
static bool note_name(const pare__device *device, const char *key, char hex[33]) {
  pare__hash *hash = pare__hash_open();
  if (!hash) return false;
  pare__hash_text(hash, device->key);
  pare__hash_text(hash, key);
  pare__hash_close(hash, hex);
  return true;
}

pare_status pare__note_write(pare__device *device, const char *key, const char *text) {
  char name[33];
  if (!note_name(device, key, name)) return pare__fail_memory("a hash", 0);
  if (pare__cache_write(device, PARE__CACHE_NOTE, name, text, strlen(text))) return PARE_OK;
  return pare__fail(PARE_ERR_IO, "the note is not kept: the cache folder cannot be written");
}

pare_status pare__note_read(pare__device *device, const char *key, char **out) {
  char name[33];
  size_t nbytes;
  *out = NULL;
  if (!note_name(device, key, name)) return pare__fail_memory("a hash", 0);
  pare__cache_read(PARE__CACHE_NOTE, name, out, &nbytes);
  return PARE_OK;
}

int pare__notes_lock(void) {
  char *folder = pare__cache_folder();
  int lock = folder && pare__folder_make(folder) == PARE_OK ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  free(folder);
  while (lock >= 0 && flock(lock, LOCK_EX) != 0)
    if (errno != EINTR) {
      close(lock); /* some network file systems have no locks */
      lock = -1;
    }
  return lock;
}

void pare__notes_unlock(int lock) {
  if (lock >= 0) close(lock);
}

/* ---- for people ---- */

pare_status pare__cache_describe(pare_cache_info *out) {
  memset(out, 0, sizeof *out);
  PARE__TRY(limit_bytes(&out->limit_bytes));
  char *folder = pare__cache_folder();
  if (!folder) return PARE_OK;
  file_table table = {0};
  pare_status status = table_fill(folder, &table);
  if ((size_t)snprintf(out->folder, sizeof out->folder, "%s", folder) >= sizeof out->folder)
    status = pare__fail(PARE_ERR_IO, "the path of the cache folder is too long");
  out->bytes = table.nbytes;
  out->files = table.count;
  table_close(&table);
  free(folder);
  return status;
}

pare_status pare__cache_clear(uint64_t *nremoved) {
  uint64_t removed = 0;
  char *folder = pare__cache_folder();
  file_table table = {0};
  pare_status status = folder ? table_fill(folder, &table) : PARE_OK;
  for (size_t i = 0; i < table.count && status == PARE_OK; i++) {
    if (unlink(table.row[i].path) == 0)
      removed++;
    else if (errno != ENOENT)
      status = pare__fail(PARE_ERR_IO, "removing %s: %s", table.row[i].path, strerror(errno));
  }
  table_close(&table);
  free(folder);
  if (nremoved) *nremoved = removed;
  return status;
}
