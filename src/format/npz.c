/* numpy's archives, through libzip. SPDX-License-Identifier: Apache-2.0 */
#include "format/npz.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/path.h"
#include "format/mapping.h"

/* What deflate can make of a byte at most; an entry that claims more is a bomb or a lie. */
#define MAX_INFLATION 1032

struct pare__npz {
  pare__mapping file;
  char *path;
  zip_t *zip;
  size_t count;
  struct array_entry {
    char *name; /* without ".npy" */
    zip_uint64_t index;
  } * entries;
};

static pare_status fail_zip(const char *path, const char *what, zip_error_t *error) {
  int code = zip_error_code_zip(error);
  pare_status status = code == ZIP_ER_MEMORY                        ? PARE_ERR_MEMORY
                       : zip_error_system_type(error) == ZIP_ET_SYS ? PARE_ERR_IO
                                                                    : PARE_ERR_FORMAT;
  return pare__fail(status, "%s: %s: %s", path, what, zip_error_strerror(error));
}

/* ---- the directory ---- */

static pare_status list_entries(pare__npz *npz) {
  size_t capacity = 0;
  zip_int64_t total = zip_get_num_entries(npz->zip, 0);
  for (zip_int64_t i = 0; i < total; i++) {
    zip_uint64_t index = (zip_uint64_t)i;
    const char *name = zip_get_name(npz->zip, index, 0);
    if (!name) return fail_zip(npz->path, "the name of an entry", zip_get_error(npz->zip));
    size_t length = strlen(name);
    if (length <= 4 || strcmp(name + length - 4, ".npy") != 0) continue;
    if (zip_name_locate(npz->zip, name, 0) != i)
      return pare__fail(PARE_ERR_FORMAT, "%s: two arrays are called '%.200s'", npz->path, name);
    PARE__TRY(pare__array_grow((void **)&npz->entries, &capacity, npz->count, sizeof *npz->entries));
    char *plain = pare__format("%.*s", (int)PARE__MIN(length - 4, (size_t)65535), name);
    if (!plain) return pare__fail_memory("a name", length);
    npz->entries[npz->count++] = (struct array_entry){plain, index};
  }
  return PARE_OK;
}

static pare_status open_zip(pare__npz *npz) {
  zip_error_t error;
  zip_error_init(&error);
  pare_status status = PARE_OK;
  zip_source_t *source = zip_source_buffer_create(npz->file.data, npz->file.nbytes, 0, &error);
  if (source) npz->zip = zip_open_from_source(source, ZIP_RDONLY, &error);
  if (!npz->zip) status = fail_zip(npz->path, "no .npz file", &error);
  if (!npz->zip && source) zip_source_free(source);
  zip_error_fini(&error);
  if (status == PARE_OK) status = list_entries(npz);
  return status;
}

/* Takes over the mapping. */
static pare_status open_mapping(pare__mapping file, const char *name, pare__npz **out) {
  pare_status status;
  *out = NULL;
  pare__npz *npz = calloc(1, sizeof *npz);
  if (!npz) {
    pare__mapping_close(&file);
    return pare__fail_memory("an archive", sizeof *npz);
  }
  npz->file = file;
  npz->path = pare__strdup(name);
  if (!npz->path)
    status = pare__fail_memory("a path", strlen(name));
  else if (file.nbytes == 0) /* libzip would take it for a new archive */
    status = pare__fail(PARE_ERR_FORMAT, "%s is empty: no .npz file", name);
  else
    status = open_zip(npz);
  if (status != PARE_OK) {
    pare__npz_close(npz);
    return status;
  }
  *out = npz;
  return PARE_OK;
}

pare_status pare__npz_open(const char *path, pare__npz **out) {
  pare__mapping file;
  *out = NULL;
  PARE__TRY(pare__mapping_open(path, &file));
  return open_mapping(file, path, out);
}

pare_status pare__npz_open_memory(const void *data, size_t nbytes, const char *name, pare__npz **out) {
  return open_mapping((pare__mapping){data, nbytes, false}, name, out);
}

void pare__npz_close(pare__npz *npz) {
  if (!npz) return;
  if (npz->zip) zip_discard(npz->zip);
  for (size_t i = 0; i < npz->count; i++) free(npz->entries[i].name);
  free(npz->entries);
  pare__mapping_close(&npz->file);
  free(npz->path);
  free(npz);
}

size_t pare__npz_count(const pare__npz *npz) { return npz->count; }

const char *pare__npz_name(const pare__npz *npz, size_t index) { return npz->entries[index].name; }

bool pare__npz_find(const pare__npz *npz, const char *name, size_t *index) {
  for (*index = 0; *index < npz->count; ++*index)
    if (strcmp(npz->entries[*index].name, name) == 0) return true;
  return false;
}

/* ---- reading ---- */

/* The size that the directory claims, if it can be true. */
static pare_status check_entry(const pare__npz *npz, const struct array_entry *entry, size_t *nbytes) {
  zip_stat_t about;
  if (zip_stat_index(npz->zip, entry->index, 0, &about) != 0)
    return fail_zip(npz->path, entry->name, zip_get_error(npz->zip));
  zip_uint64_t wanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if ((about.valid & wanted) != wanted || (about.comp_method != ZIP_CM_STORE && about.comp_method != ZIP_CM_DEFLATE))
    return pare__fail(PARE_ERR_FORMAT, "%s: '%.200s' is neither stored nor deflated, as numpy writes arrays", npz->path,
                      entry->name);
  zip_uint64_t factor = about.comp_method == ZIP_CM_STORE ? 1 : MAX_INFLATION;
  if (about.comp_size > npz->file.nbytes || about.size / factor > about.comp_size || about.size > PTRDIFF_MAX)
    return pare__fail(PARE_ERR_FORMAT, "%s: '%.200s' claims %llu bytes out of %llu: the archive is damaged", npz->path,
                      entry->name, (unsigned long long)about.size, (unsigned long long)about.comp_size);
  *nbytes = (size_t)about.size;
  return PARE_OK;
}

/* All of an entry; libzip compares its checksum when it reads the end. */
static pare_status unpack(const pare__npz *npz, const struct array_entry *entry, char *data, size_t nbytes) {
  zip_file_t *file = zip_fopen_index(npz->zip, entry->index, 0);
  if (!file) return fail_zip(npz->path, entry->name, zip_get_error(npz->zip));
  pare_status status = PARE_OK;
  size_t done = 0;
  for (;;) {
    char beyond;
    zip_int64_t got =
        done < nbytes ? zip_fread(file, data + done, nbytes - done) : zip_fread(file, &beyond, sizeof beyond);
    if (got < 0) status = fail_zip(npz->path, entry->name, zip_file_get_error(file));
    if (got <= 0) break;
    done += (size_t)got;
    if (done > nbytes) break;
  }
  zip_fclose(file);
  if (status == PARE_OK && done != nbytes)
    status = pare__fail(PARE_ERR_FORMAT, "%s: '%.200s' has another size than its entry says", npz->path, entry->name);
  return status;
}

static void release_owner(pare__array *array) { free(array->owner); }

pare_status pare__npz_read(pare__npz *npz, size_t index, pare__array *out) {
  *out = (pare__array){0};
  if (index >= npz->count) return pare__fail(PARE_ERR_ARGUMENT, "%s: array %zu of %zu", npz->path, index, npz->count);
  const struct array_entry *entry = &npz->entries[index];
  size_t nbytes;
  PARE__TRY(check_entry(npz, entry, &nbytes));
  char *data = malloc(nbytes ? nbytes : 1), *name = pare__format("%s: '%s'", npz->path, entry->name);
  pare_status status = PARE_OK;
  if (!data || !name) status = pare__fail_memory("an array", nbytes);
  if (status == PARE_OK) status = unpack(npz, entry, data, nbytes);
  if (status == PARE_OK) status = pare__npy_parse(data, nbytes, name, out);
  free(name);
  if (status != PARE_OK || out->release) { /* refused, or copied */
    free(data);
    return status;
  }
  out->owner = data;
  out->release = release_owner;
  return PARE_OK;
}

/* ---- writing ---- */

/* Is ".." one of the parts between slashes? */
static bool leads_up(const char *name) {
  for (const char *part = name; part; part = strchr(part, '/')) {
    part += *part == '/';
    if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) return true;
  }
  return false;
}

/* *head has to live as long as `zip`: libzip reads it and the elements when it closes. */
static pare_status add_array(zip_t *zip, const char *path, const pare__npz_entry *entry, bool deflates, char **head) {
  const pare__array *array = entry->array;
  size_t head_bytes;
  /* names of tensors hold slashes; whoever unpacks the archive must not be led out of his folder */
  if (!entry->name[0] || leads_up(entry->name))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: '%s' cannot be the name of an array in an archive", path, entry->name);
  PARE__TRY(pare__npy_head(array, head, &head_bytes));
  char *name = pare__format("%s.npy", entry->name);
  if (!name) return pare__fail_memory("a name", strlen(entry->name));
  zip_buffer_fragment_t parts[] = {{(zip_uint8_t *)*head, head_bytes},
                                   {(zip_uint8_t *)(uintptr_t)array->data, array->nbytes}};
  zip_source_t *source = zip_source_buffer_fragment(zip, parts, array->nbytes ? 2 : 1, 0);
  zip_int64_t index = source ? zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) : -1;
  free(name);
  /* The date is 1980's, as numpy's: the same arrays give the same file. */
  if (index >= 0 &&
      zip_set_file_compression(zip, (zip_uint64_t)index, deflates ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0) == 0 &&
      zip_file_set_dostime(zip, (zip_uint64_t)index, 0, 0x21, 0) == 0)
    return PARE_OK;
  if (source && index < 0) zip_source_free(source);
  return pare__fail(PARE_ERR_ARGUMENT, "writing %s: '%s': %s", path, entry->name, zip_strerror(zip));
}

static pare_status open_new(const char *path, zip_t **out) {
  int code = 0;
  *out = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
  if (*out) return PARE_OK;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  pare_status status = pare__fail(PARE_ERR_IO, "writing %s: %s", path, zip_error_strerror(&error));
  zip_error_fini(&error);
  return status;
}

pare_status pare__npz_write(const char *path, size_t count, const pare__npz_entry *entries, bool deflates) {
  zip_t *zip = NULL;
  /* libzip removes an archive without entries. */
  if (count == 0) return pare__fail(PARE_ERR_ARGUMENT, "writing %s: an archive of no arrays", path);
  char *target;
  PARE__TRY(pare__file_target(path, &target));
  char **heads = calloc(count, sizeof *heads);
  pare_status status = heads ? open_new(target, &zip) : pare__fail_memory("an archive", count * sizeof *heads);
  for (size_t i = 0; status == PARE_OK && i < count; i++)
    status = add_array(zip, path, &entries[i], deflates, &heads[i]);
  /* libzip writes beside the file and renames. */
  if (status == PARE_OK && zip_close(zip) == 0) zip = NULL;
  if (status == PARE_OK && zip) status = pare__fail(PARE_ERR_IO, "writing %s: %s", path, zip_strerror(zip));
  if (zip) zip_discard(zip);
  for (size_t i = 0; heads && i < count; i++) free(heads[i]);
  free(heads);
  free(target);
  return status;
}
