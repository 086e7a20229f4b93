/* The log: lines handed to the caller's function, never printed. SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/base.h"

#define LINE_BYTES 4096

/* The lock keeps lines whole and callback and user together; `wanted_level` is read without it, -1 while there is no
 * callback. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pare_log_callback current_callback;
static void *current_user;
static atomic_int wanted_level = -1;

void pare_log_set(pare_log_callback callback, void *user, pare_log_level level) {
  pthread_mutex_lock(&lock);
  current_callback = callback;
  current_user = user;
  atomic_store(&wanted_level, callback ? (int)level : -1);
  pthread_mutex_unlock(&lock);
}

bool pare__log_wanted(pare_log_level level) { return (int)level <= atomic_load(&wanted_level); }

void pare__log(pare_log_level level, const char *format, ...) {
  if (!pare__log_wanted(level)) return;
  char line[LINE_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  for (char *c = line; *c; c++)
    if (*c == '\n') *c = ' ';
  pthread_mutex_lock(&lock);
  if (current_callback) current_callback(level, line, current_user);
  pthread_mutex_unlock(&lock);
}
