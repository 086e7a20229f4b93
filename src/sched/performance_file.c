/* Performance models on disk. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "sched/performance.h"

#define MOST_BYTES ((size_t)64 << 20)
#define FORMAT_KEY "pare-performance"
#define FORMAT_VERSION 1

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
  if (all && json_integer_value(json_object_get(all, FORMAT_KEY)) == FORMAT_VERSION &&
      json_is_object(json_object_get(all, "devices")))
    return all;
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

/* Puts what is known of a device into the file's object. */
static bool put_device(const pare__performance *performance, size_t device, json_t *devices, const char *key) {
  json_t *kernels = json_object_get(devices, key);
  if (!json_is_object(kernels)) {
    kernels = json_object();
    if (json_object_set_new(devices, key, kernels) != 0) return false;
  }
  for (size_t kernel = 0; kernel < performance->nkernels; kernel++) {
    const size_t at = pare__performance_at(performance, kernel, device);
    if (!performance->samples[at]) continue;
    json_t *line = json_pack("{s:f, s:f}", "a", performance->a[at], "b", performance->b[at]);
    if (!line || json_object_set_new(kernels, performance->kernel[kernel], line) != 0) return false;
  }
  return true;
}

pare_status pare__performance_write(const pare__performance *performance, const char *path, const char *const *key) {
  json_t *all = load(path);
  if (!all) all = json_pack("{s:i, s:{}}", FORMAT_KEY, FORMAT_VERSION, "devices");
  json_t *devices = json_object_get(all, "devices");
  bool complete = devices != NULL;
  for (size_t device = 0; complete && device < performance->ndevices; device++)
    complete = put_device(performance, device, devices, key[device]);
  char *text = complete ? json_dumps(all, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
  json_decref(all);
  if (!text) return pare__fail_memory("performance models", 0);
  const pare_status status = pare__file_write(path, text, strlen(text));
  free(text);
  return status;
}
