/* Outputs. SPDX-License-Identifier: Apache-2.0 */
#include "compress/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "format/onnx.h"

/* ---- names ---- */

static const char *name_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* The file `name` in the folder of `path`; free it. */
static char *beside(const char *path, const char *name) {
  return pare__format("%.*s%s", (int)(name_of(path) - path), path, name);
}

/* "." if it has none; free it. */
static char *folder_of(const char *path) {
  const char *name = name_of(path);
  return name == path ? pare__strdup(".") : pare__format("%.*s", (int)(name - path), path);
}

pare_status pare__output_open(const char *out, char **target) {
  PARE__TRY(pare__file_target(out, target));
  char *folder = folder_of(*target);
  pare_status status = folder ? PARE_OK : pare__fail_memory("a path", strlen(out));
  if (folder && access(folder, W_OK | X_OK) != 0)
    status = pare__fail(PARE_ERR_IO, "writing %s: its folder %s: %s", out, folder, strerror(errno));
  free(folder);
  if (status == PARE_OK) return PARE_OK;
  free(*target);
  *target = NULL;
  return status;
}

char *pare__output_temporary(const char *out) {
  static atomic_uint next;
  const char *file = name_of(out);
  return pare__format("%.*s.%s.%ld-%u", (int)(file - out), out, file, (long)getpid(), atomic_fetch_add(&next, 1));
}

pare_status pare__output_companion(const char *out, char **path) {
  *path = pare__format("%s.data", out);
  for (unsigned i = 2; *path && pare__file_exists(*path); i++) {
    free(*path);
    *path = pare__format("%s.%u.data", out, i);
  }
  return *path ? PARE_OK : pare__fail_memory("a path", strlen(out) + 16);
}

/* What follows a number, if one is there; else NULL. */
static const char *after_number(const char *text) {
  const size_t digits = strspn(text, "0123456789");
  return digits > 0 ? text + digits : NULL;
}

/* What follows "NAME.data" or "NAME.2.data", if it begins so; else NULL. */
static const char *after_companion(const char *text, const char *name) {
  const size_t length = strlen(name);
  if (strncmp(text, name, length) != 0 || text[length] != '.') return NULL;
  const char *rest = text + length + 1, *number = after_number(rest);
  if (number && *number == '.') rest = number + 1;
  return strncmp(rest, "data", 4) == 0 ? rest + 4 : NULL;
}

/* What follows ".PID-N", if it begins so and that process is no more; else NULL. */
static const char *after_dead_process(const char *text) {
  const char *end = *text == '.' ? after_number(text + 1) : NULL;
  if (!end || *end != '-' || !after_number(end + 1)) return NULL;
  const long pid = strtol(text + 1, NULL, 10);
  if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) return NULL;
  return after_number(end + 1);
}

/* ---- files of weights ---- */

/* The path of the file that the model at `path` has its weights in, if it is one that is named after `out`; free it.
 * NULL: none. */
static char *companion_of(const char *path, const char *out) {
  pare__onnx_model *model;
  char *found = NULL;
  if (!pare__file_exists(path) || pare__onnx_open(path, &model) != PARE_OK) return NULL;
  for (size_t i = 0; i < model->graph->initializer.count && !found; i++) {
    const pare__onnx_tensor *tensor = &model->graph->initializer.items[i];
    if (tensor->data_location != PARE__ONNX_LOCATION_EXTERNAL) continue;
    for (size_t k = 0; k < tensor->external_data.count && !found; k++) {
      const pare__onnx_entry *entry = &tensor->external_data.items[k];
      if (!entry->key || !entry->value || strcmp(entry->key, "location") != 0) continue;
      const char *rest = after_companion(entry->value, name_of(out));
      if (rest && *rest == '\0') found = beside(path, entry->value);
    }
  }
  pare__onnx_close(model);
  return found;
}

static bool same_file(const char *a, const char *b) {
  struct stat x, y;
  return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* ---- what was left behind ---- */

/* A model that was whole, and not yet in its place, takes its weights with it. */
static void remove_left(const char *path, const char *out) {
  char *weights = companion_of(path, out), *used = weights ? companion_of(out, out) : NULL;
  if (weights && !same_file(weights, used)) unlink(weights);
  unlink(path);
  free(used);
  free(weights);
}

void pare__output_sweep(const char *out) {
  const char *name = name_of(out);
  const size_t length = strlen(name);
  char *folder = folder_of(out);
  DIR *listing = folder ? opendir(folder) : NULL;
  for (const struct dirent *entry; listing && (entry = readdir(listing)) != NULL;) {
    const char *text = entry->d_name, *rest = after_companion(text, name);
    if (!rest && text[0] == '.' && strncmp(text + 1, name, length) == 0) rest = text + 1 + length;
    if (!rest || !after_dead_process(rest)) continue;
    char *path = beside(out, text);
    if (path) remove_left(path, out);
    free(path);
  }
  if (listing) closedir(listing);
  free(folder);
}

/* ---- into its place ---- */

/* What is written, or renamed in a folder, is on the disk; some file systems have no way to tell. */
static pare_status sync_path(const char *path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return pare__fail(PARE_ERR_IO, "opening %s: %s", path, strerror(errno));
  pare_status status = PARE_OK;
  if (fsync(file) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
    status = pare__fail(PARE_ERR_IO, "writing %s: %s", path, strerror(errno));
  close(file);
  return status;
}

/* A folder that may be written to need not be readable: no failure. */
static void sync_folder(const char *path) {
  char *folder = folder_of(path);
  if (folder) (void)sync_path(folder);
  free(folder);
}

pare_status pare__output_commit(const char *temporary, const char *companion, const char *in, const char *out) {
  char *old = companion_of(out, out), *read = old && !same_file(in, out) ? companion_of(in, out) : NULL;
  pare_status status = sync_path(temporary);
  if (status == PARE_OK && companion) {
    status = sync_path(companion);
    sync_folder(companion);
  }
  pare__file_keep_mode(out, temporary);
  if (companion) pare__file_keep_mode(out, companion);
  if (status == PARE_OK && rename(temporary, out) != 0)
    status = pare__fail(PARE_ERR_IO, "renaming %s to %s: %s", temporary, out, strerror(errno));
  if (status == PARE_OK) {
    sync_folder(out);
    if (old && !same_file(old, companion) && !same_file(old, read)) unlink(old);
  }
  free(read);
  free(old);
  return status;
}
