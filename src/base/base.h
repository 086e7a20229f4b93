/* Floor 0: status and message, log, checked arithmetic, arrays. Knows nothing of OpenCL.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_BASE_BASE_H
#define PARE_BASE_BASE_H

#include <pare/status.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARE__PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#define PARE__COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PARE__MIN(a, b) ((a) < (b) ? (a) : (b))
#define PARE__MAX(a, b) ((a) > (b) ? (a) : (b))

/* Propagates a failure: the message was set where it happened and is not overwritten. */
#define PARE__TRY(call)                             \
  do {                                              \
    pare_status try_status_ = (call);               \
    if (try_status_ != PARE_OK) return try_status_; \
  } while (0)

/* Sets this thread's message and returns `status`: `return pare__fail(PARE_ERR_SHAPE, "...", ...);` */
pare_status pare__fail(pare_status status, const char *format, ...) PARE__PRINTF(2, 3);
/* Sets the message as it is, without formatting: to raise on this thread what another thread recorded. */
pare_status pare__fail_text(pare_status status, const char *text);
/* PARE_ERR_MEMORY: "out of memory: <what> (<nbytes> bytes)". */
pare_status pare__fail_memory(const char *what, size_t nbytes);
/* PARE_ERR_ARGUMENT: "<function>: <name> is NULL". */
pare_status pare__fail_null(const char *function, const char *name);
/* Compilers and analysers see one file at a time: these tell them that a failure never returns PARE_OK. */
static inline pare_status pare__known(pare_status status, pare_status returned) {
  (void)returned;
  return status;
}
#define pare__fail(status, ...) pare__known((status), pare__fail((status), __VA_ARGS__))
#define pare__fail_memory(what, nbytes) pare__known(PARE_ERR_MEMORY, pare__fail_memory((what), (nbytes)))
#define pare__fail_null(function, name) pare__known(PARE_ERR_ARGUMENT, pare__fail_null((function), (name)))

void pare__log(pare_log_level level, const char *format, ...) PARE__PRINTF(2, 3);
bool pare__log_wanted(pare_log_level level);

/* *out = product or sum; false on overflow. */
bool pare__size_mul(size_t a, size_t b, size_t *out);
bool pare__size_add(size_t a, size_t b, size_t *out);
bool pare__i64_mul(int64_t a, int64_t b, int64_t *out);
/* value, or the nearest end of [low, high]. */
static inline int64_t pare__i64_clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}
bool pare__i64_add(int64_t a, int64_t b, int64_t *out);
int64_t pare__div_up(int64_t a, int64_t b); /* a >= 0, b > 0 */
int64_t pare__round_up(int64_t a, int64_t b);

/* A growing array: `capacity` and `count` are the caller's; grows geometrically so that one more element fits. */
pare_status pare__array_grow(void **items, size_t *capacity, size_t count, size_t item_bytes);

char *pare__strdup(const char *text); /* NULL if out of memory */
/* A newly allocated formatted string; NULL if out of memory. */
char *pare__format(const char *format, ...) PARE__PRINTF(1, 2);

/* Monotonic clock. Only for measuring, time limits and progress: never decides which kernel runs in a user's run. */
double pare__seconds(void);

/* Asks that this thread runs as soon as it has something to do, also while others keep all cores busy: in short turns
 * (Linux from 6.12 on; elsewhere nothing happens). For threads that wait for devices, and do little. */
void pare__thread_be_prompt(void);

/* Parses "512MiB", "2G", "1000000" into bytes. PARE_ERR_ARGUMENT naming `what` on anything else. */
pare_status pare__parse_bytes(const char *what, const char *text, uint64_t *out);

/* Digits, with a point among them or without, as a number; returns how many characters those are, 0: none. strtod would
 * follow the locale, and take "inf" and hexadecimal. */
size_t pare__decimal(const char *text, double *out);

/* "12.3 MiB" into buffer, which is returned. */
const char *pare__bytes_text(uint64_t nbytes, char *buffer, size_t capacity);

#endif
