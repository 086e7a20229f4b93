/* Status codes and the message of the last failure, one a thread. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"

/* Long enough for the head of a build log. */
#define MESSAGE_BYTES 4096

static _Thread_local char last_message[MESSAGE_BYTES];

const char *pare_status_name(pare_status status) {
  switch (status) {
#define NAME_CASE(name, number, meaning) \
  case PARE_##name: return "PARE_" #name;
    PARE_STATUS_LIST(NAME_CASE)
#undef NAME_CASE
  }
  return "unknown status";
}

const char *pare_status_meaning(pare_status status) {
  switch (status) {
#define MEANING_CASE(name, number, meaning) \
  case PARE_##name: return meaning;
    PARE_STATUS_LIST(MEANING_CASE)
#undef MEANING_CASE
  }
  return "unknown status";
}

const char *pare_message(void) { return last_message; }

pare_status(pare__fail)(pare_status status, const char *format, ...) {
  char text[MESSAGE_BYTES]; /* the arguments may point into the last message */
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return pare__fail_text(status, text);
}

pare_status pare__fail_text(pare_status status, const char *text) {
  size_t nbytes = strnlen(text, MESSAGE_BYTES - 1);
  memmove(last_message, text, nbytes);
  last_message[nbytes] = '\0';
  return status;
}

pare_status(pare__fail_memory)(const char *what, size_t nbytes) {
  return pare__fail(PARE_ERR_MEMORY, "out of memory: %s (%zu bytes)", what, nbytes);
}

pare_status(pare__fail_null)(const char *function, const char *name) {
  return pare__fail(PARE_ERR_ARGUMENT, "%s: %s is NULL", function, name);
}
