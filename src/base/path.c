/* Files and folders. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/path.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool pare__file_exists(const char *path) { return access(path, F_OK) == 0; }

/* Reads to the end or to limit_bytes + 1, whichever is first. */
static pare_status read_all(int file, const char *path, size_t limit_bytes, char **out, size_t *nbytes) {
  char *data = NULL;
  size_t capacity = 0, count = 0;
  for (;;) {
    pare_status status = pare__array_grow((void **)&data, &capacity, count + 1, 1);
    if (status != PARE_OK) {
      free(data);
      return status;
    }
    ssize_t got = read(file, data + count, capacity - 1 - count);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || count + (size_t)got > limit_bytes) {
      free(data);
      return got < 0 ? pare__fail(PARE_ERR_IO, "reading %s: %s", path, strerror(errno))
                     : pare__fail(PARE_ERR_IO, "reading %s: larger than %zu bytes", path, limit_bytes);
    }
    if (got == 0) break;
    count += (size_t)got;
  }
  data[count] = '\0';
  *out = data;
  *nbytes = count;
  return PARE_OK;
}

pare_status pare__file_target(const char *path, char **out) {
  struct stat found;
  const char *why = *path ? NULL : "that names no file";
  const bool is_link = lstat(path, &found) == 0 && S_ISLNK(found.st_mode);
  *out = NULL;
  if (stat(path, &found) != 0)
    why = is_link ? "it is a link to what is not there" : why;
  else if (S_ISDIR(found.st_mode))
    why = "it is a folder; name a file";
  else if (!S_ISREG(found.st_mode))
    why = "it is no regular file, and what is written would take its place; name a file";
  else if (access(path, W_OK) != 0)
    why = strerror(errno);
  if (why) return pare__fail(PARE_ERR_IO, "writing '%s': %s", path, why);
  *out = is_link ? realpath(path, NULL) : pare__strdup(path);
  return *out ? PARE_OK : pare__fail_memory("a path", strlen(path));
}

void pare__file_keep_mode(const char *path, const char *temporary) {
  struct stat found;
  if (stat(path, &found) == 0) (void)chmod(temporary, found.st_mode & 0777);
}

pare_status pare__file_read(const char *path, size_t limit_bytes, char **out, size_t *nbytes) {
  *out = NULL;
  *nbytes = 0;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return pare__fail(PARE_ERR_IO, "opening %s: %s", path, strerror(errno));
  struct stat about;
  pare_status status = PARE_OK;
  if (fstat(file, &about) != 0)
    status = pare__fail(PARE_ERR_IO, "opening %s: %s", path, strerror(errno));
  else if (!S_ISREG(about.st_mode))
    status = pare__fail(PARE_ERR_IO, "opening %s: not a regular file", path);
  else
    status = read_all(file, path, limit_bytes, out, nbytes);
  close(file);
  return status;
}

static bool write_all(int file, const char *data, size_t nbytes) {
  while (nbytes > 0) {
    ssize_t put = write(file, data, nbytes);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    data += put;
    nbytes -= (size_t)put;
  }
  return true;
}

pare_status pare__file_write(const char *path, const void *data, size_t nbytes) {
  char *temporary = pare__format("%s.XXXXXX.tmp", path);
  if (!temporary) return pare__fail_memory("a path", strlen(path));
  pare_status status = PARE_OK;
  int file = mkostemps(temporary, 4, O_CLOEXEC);
  if (file < 0) {
    status = pare__fail(PARE_ERR_IO, "writing %s: %s", path, strerror(errno));
    goto out;
  }
  bool written = write_all(file, data, nbytes);
  int write_error = errno;
  if (close(file) != 0 && written) {
    written = false;
    write_error = errno;
  }
  if (written && rename(temporary, path) == 0) goto out;
  if (written) write_error = errno;
  unlink(temporary);
  status = pare__fail(PARE_ERR_IO, "writing %s (%zu bytes): %s", path, nbytes, strerror(write_error));
out:
  free(temporary);
  return status;
}

pare_status pare__folder_make(const char *path) {
  char *partial = pare__strdup(path);
  if (!partial) return pare__fail_memory("a path", strlen(path));
  pare_status status = PARE_OK;
  for (char *slash = partial + 1; status == PARE_OK; slash++) {
    if (*slash != '/' && *slash != '\0') continue;
    char kept = *slash;
    *slash = '\0';
    if (mkdir(partial, 0700) != 0 && errno != EEXIST && !pare__file_exists(partial))
      status = pare__fail(PARE_ERR_IO, "making the folder %s: %s", partial, strerror(errno));
    *slash = kept;
    if (kept == '\0') break;
  }
  struct stat about;
  if (status == PARE_OK && (stat(path, &about) != 0 || !S_ISDIR(about.st_mode)))
    status = pare__fail(PARE_ERR_IO, "making the folder %s: something else is there", path);
  free(partial);
  return status;
}

char *pare__cache_folder(void) {
  static atomic_flag told = ATOMIC_FLAG_INIT;
  static const struct {
    const char *variable, *below;
  } places[] = {{"PARE_CACHE", ""}, {"XDG_CACHE_HOME", "/pare"}, {"HOME", "/.cache/pare"}};
  for (size_t i = 0; i < PARE__COUNT(places); i++) {
    const char *value = getenv(places[i].variable);
    /* The XDG specification says to ignore relative paths; a cache that follows the current directory helps nobody. */
    if (value && value[0] == '/') return pare__format("%s%s", value, places[i].below);
    if (value && *value && i == 0 && !atomic_flag_test_and_set(&told))
      pare__log(PARE_LOG_WARN, "cache: PARE_CACHE is \"%s\", which is no absolute path: it does not count", value);
  }
  return NULL;
}

/* Does the file at `path` (symbolic links followed) lie below `folder`? */
static bool lies_below(const char *path, const char *folder) {
  char *real = realpath(path, NULL), *top = realpath(folder, NULL);
  size_t length = top ? strlen(top) : 0;
  bool below = real && top && strncmp(real, top, length) == 0 && real[length] == '/';
  free(real);
  free(top);
  return below;
}

bool pare__in_build_tree(void) {
  Dl_info library;
  if (lies_below("/proc/self/exe", PARE_BUILD_FOLDER)) return true;
  return dladdr((void *)(uintptr_t)pare_version, &library) && library.dli_fname &&
         lies_below(library.dli_fname, PARE_BUILD_FOLDER);
}

/* Looks for `file` in one folder and appends where it looked to *looked. */
static char *look(const char *folder, size_t length, const char *file, char **looked) {
  char *path = pare__format("%.*s/%s", (int)length, folder, file);
  if (path && pare__file_exists(path)) return path;
  free(path);
  char *longer = pare__format("%s%s%.*s", *looked ? *looked : "", *looked ? ", " : "", (int)length, folder);
  if (longer) {
    free(*looked);
    *looked = longer;
  }
  return NULL;
}

pare_status pare__kernel_path(const char *file, char **out) {
  char *found = NULL, *looked = NULL;
  if (file[0] == '/') { /* a user's own */
    *out = pare__strdup(file);
    return *out ? PARE_OK : pare__fail_memory("a path", strlen(file));
  }
  const char *list = getenv("PARE_KERNEL_PATH");
  if (list && *list) {
    /* Relative entries would mean the current directory, which is never searched. */
    for (const char *entry = list; entry && !found;) {
      size_t length = strcspn(entry, ":");
      if (entry[0] == '/') found = look(entry, length, file, &looked);
      entry = entry[length] ? entry + length + 1 : NULL;
    }
  } else {
    const char *folder = pare__in_build_tree() ? PARE_SOURCE_FOLDER "/cl" : PARE_PKGDATADIR "/cl";
    found = look(folder, strlen(folder), file, &looked);
  }
  pare_status status = PARE_OK;
  if (!found)
    status = pare__fail(PARE_ERR_KERNEL, "kernel file %s not found; looked in: %s; PARE_KERNEL_PATH %s", file,
                        looked ? looked : "nowhere (relative entries do not count)",
                        list && *list ? "names these folders" : "may name other folders");
  free(looked);
  *out = found;
  return status;
}
