/* Performance models on disk. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "sched/performance.h"

#define MOST_BYTES ((size_t)64 << 20)
#define FORMAT_KEY "pare-performance"
#define FORMAT_VERSION 2
#define WRITES_KEY "writes"
#define USED_KEY "used"

/* The whole file; NULL if there is none, or none that can be used. */
static json_t *load(const char *path) {
  char *text = NULL;
  size_t nbytes = 0;
  json_error_t error;
  if (!pare__file_exists(path)) return NULL;
  if (pare__file_read(path, MOST_BYTES, &text, &nbytes) != PARE_OK) {
    pare__log(PARE_LOG_WARN, "performance models are learned anew: %s", pare_message());
    return NULL;
  }
  json_t *all = json_loadb(text, nbytes, JSON_REJECT_DUPLICATES, &error);
  free(text);
  const json_int_t version = json_integer_value(json_object_get(all, FORMAT_KEY));
  if (version >= 1 && version <= FORMAT_VERSION && json_is_object(json_object_get(all, "devices"))) return all;
  pare__log(PARE_LOG_WARN, "%s is malformed: performance models are learned anew", path);
  json_decref(all);
  return NULL;
}

/* A line that can be: finite, not negative, and not for nothing. */
static bool read_line(const json_t *entry, double *a, double *b) {
  const json_t *first = json_object_get(entry, "a"), *second = json_object_get(entry, "b");
  if (!json_is_number(first) || !json_is_number(second)) return false;
  *a = json_number_value(first);
  *b = json_number_value(second);
  return isfinite(*a) && isfinite(*b) && *a >= 0 && *b > 0;
}

pare_status pare__performance_read(pare__performance *performance, const char *path, const char *const *key) {
  json_t *all = load(path);
  pare_status status = PARE_OK;
  for (size_t device = 0; all && status == PARE_OK && device < performance->ndevices; device++) {
    json_t *kernels = json_object_get(json_object_get(all, "devices"), key[device]), *entry;
    const char *name;
    json_object_foreach(kernels, name, entry) {
      double a, b;
      size_t kernel;
      if (!read_line(entry, &a, &b)) {
        pare__log(PARE_LOG_WARN, "%s: the line of %s on %s is malformed and is learned anew", path, name, key[device]);
        continue;
      }
      status = pare__performance_kernel(performance, name, &kernel);
      if (status != PARE_OK) break;
      pare__performance_set(performance, kernel, device, a, b);
      pare__performance_guess(performance, kernel, device);
    }
  }
  json_decref(all);
  return status;
}

/* ---- bounds ---- */

static json_int_t used_of(const json_t *line) { return json_integer_value(json_object_get(line, USED_KEY)); }

/* When any of its lines was used last. */
static json_int_t device_used(const json_t *kernels) {
  json_int_t last = 0;
  const char *name;
  json_t *line;
  json_object_foreach((json_t *)kernels, name, line) last = PARE__MAX(last, used_of(line));
  return last;
}

static int by_value(const void *a, const void *b) {
  const json_int_t x = *(const json_int_t *)a, y = *(const json_int_t *)b;
  return (x > y) - (x < y);
}

/* Only the `most` that were used last stay. false: out of memory. */
static bool keep_latest(json_t *object, size_t most, json_int_t (*used)(const json_t *item)) {
  const size_t count = json_object_size(object);
  if (count <= most) return true;
  json_int_t *at = malloc(count * sizeof *at);
  const char *name;
  json_t *item;
  void *next;
  size_t i = 0;
  if (!at) return false;
  json_object_foreach(object, name, item) at[i++] = used(item);
  qsort(at, count, sizeof *at, by_value);
  const json_int_t least = at[count - most];
  size_t gone = count - most, older = 0;
  while (older < count && at[older] < least) older++;
  size_t ties = gone - older; /* of those that were used at the same time as the oldest that stays */
  json_object_foreach_safe(object, next, name, item) {
    const json_int_t when = used(item);
    if (when > least || (when == least && ties == 0)) continue;
    ties -= when == least;
    (void)json_object_del(object, name);
  }
  free(at);
  return true;
}

/* ---- writing ---- */

/* Puts what is known of a device into the file's object; a line that was only read stays as it is there. */
static bool put_device(const pare__performance *performance, size_t device, json_t *devices, const char *key,
                       json_int_t now) {
  json_t *kernels = json_object_get(devices, key);
  if (!json_is_object(kernels)) {
    kernels = json_object();
    if (json_object_set_new(devices, key, kernels) != 0) return false;
  }
  for (size_t kernel = 0; kernel < performance->nkernels; kernel++) {
    const size_t at = pare__performance_at(performance, kernel, device);
    if (!performance->samples[at] || (!pare__performance_observed(performance, kernel, device) &&
                                      json_object_get(kernels, performance->kernel[kernel])))
      continue;
    json_t *line = json_pack("{s:f, s:f, s:I}", "a", performance->a[at], "b", performance->b[at], USED_KEY, now);
    if (!line || json_object_set_new(kernels, performance->kernel[kernel], line) != 0) return false;
  }
  return keep_latest(kernels, PARE__MOST_KEPT_LINES, used_of);
}

pare_status pare__performance_write(const pare__performance *performance, const char *path, const char *const *key) {
  json_t *all = load(path);
  if (!all) all = json_pack("{s:i, s:{}}", FORMAT_KEY, FORMAT_VERSION, "devices");
  json_t *devices = json_object_get(all, "devices");
  const json_int_t before = json_integer_value(json_object_get(all, WRITES_KEY)),
                   now = before >= 0 && before < INT64_MAX ? before + 1 : 1;
  bool complete = devices && json_object_set_new(all, FORMAT_KEY, json_integer(FORMAT_VERSION)) == 0 &&
                  json_object_set_new(all, WRITES_KEY, json_integer(now)) == 0;
  for (size_t device = 0; complete && device < performance->ndevices; device++)
    complete = put_device(performance, device, devices, key[device], now);
  complete = complete && keep_latest(devices, PARE__MOST_KEPT_DEVICES, device_used);
  char *text = complete ? json_dumps(all, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
  json_decref(all);
  if (!text) return pare__fail_memory("performance models", 0);
  const pare_status status = pare__file_write(path, text, strlen(text));
  free(text);
  return status;
}
