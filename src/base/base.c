/* Checked sizes, arrays, text, the clock. SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

bool pare__size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }

bool pare__size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

bool pare__i64_mul(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }

bool pare__i64_add(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }

int64_t pare__div_up(int64_t a, int64_t b) { return a / b + (a % b != 0); }

int64_t pare__round_up(int64_t a, int64_t b) { return pare__div_up(a, b) * b; }

pare_status pare__array_grow(void **items, size_t *capacity, size_t count, size_t item_bytes) {
  if (count < *capacity) return PARE_OK;
  size_t wanted = 0, nbytes = 0;
  if (!pare__size_mul(PARE__MAX(*capacity, (size_t)4), 2, &wanted) || !pare__size_mul(wanted, item_bytes, &nbytes))
    return pare__fail_memory("a growing array", SIZE_MAX);
  void *grown = realloc(*items, nbytes);
  if (!grown) return pare__fail_memory("a growing array", nbytes);
  *items = grown;
  *capacity = wanted;
  return PARE_OK;
}

char *pare__strdup(const char *text) { return strdup(text); }

char *pare__format(const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = length < 0 ? NULL : malloc((size_t)length + 1);
  if (text) vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}

double pare__seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Suffixes without "i" mean the same: nobody asks for 10^9 bytes of memory to the byte. */
static const struct {
  const char *suffix;
  unsigned shift;
} units[] = {{"", 0},     {"B", 0},  {"K", 10},  {"KB", 10},  {"KiB", 10}, {"M", 20},  {"MB", 20},
             {"MiB", 20}, {"G", 30}, {"GB", 30}, {"GiB", 30}, {"T", 40},   {"TB", 40}, {"TiB", 40}};

pare_status pare__parse_bytes(const char *what, const char *text, uint64_t *out) {
  const char *c = text;
  uint64_t value = 0;
  bool fits = true;
  for (; *c >= '0' && *c <= '9'; c++)
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
      fits = false;
  if (c == text)
    return pare__fail(PARE_ERR_ARGUMENT, "%s is \"%s\": expected a size such as 512MiB, 2G or 1000000", what, text);
  for (size_t i = 0; i < PARE__COUNT(units); i++) {
    if (strcasecmp(c, units[i].suffix) != 0) continue;
    if (!fits || value > UINT64_MAX >> units[i].shift)
      return pare__fail(PARE_ERR_ARGUMENT, "%s is \"%s\": more than 64 bits hold", what, text);
    *out = value << units[i].shift;
    return PARE_OK;
  }
  return pare__fail(PARE_ERR_ARGUMENT, "%s is \"%s\": \"%s\" is no unit; there are B, K, M, G, T, also as KiB or KB",
                    what, text, c);
}

size_t pare__decimal(const char *text, double *out) {
  const char *c = text;
  double value = 0, unit = 1;
  bool some = false;
  for (; *c >= '0' && *c <= '9'; c++, some = true) value = value * 10 + (*c - '0');
  if (*c == '.')
    for (c++; *c >= '0' && *c <= '9'; c++, some = true) value += (*c - '0') * (unit /= 10);
  if (!some) return 0;
  *out = value;
  return (size_t)(c - text);
}

const char *pare__bytes_text(uint64_t nbytes, char *buffer, size_t capacity) {
  static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = (double)nbytes;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < PARE__COUNT(names)) {
    value /= 1024;
    unit++;
  }
  if (unit == 0)
    snprintf(buffer, capacity, "%" PRIu64 " B", nbytes);
  else
    snprintf(buffer, capacity, "%.1f %s", value, names[unit]);
  return buffer;
}
