/* Compiling ahead in a child process. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ocl/prebuild.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ocl/child.h"

/* A request: the name of the file and the options, each with its terminator. */
#define REQUEST_BYTES ((size_t)8 << 10)
/* Nobody may be left to end it. */
#define LIMIT_SECONDS 300

/* ---- the process that asks ---- */

static bool is_wanted(const pare__device *device) {
  const char *text = getenv("PARE_PREBUILD");
  return device->quirks->late_binary && !device->part && device->info.compute_units > 1 &&
         !(text && strcmp(text, "0") == 0);
}

static void start(pare__device *device) {
  pare__prebuild *prebuild = &device->prebuild;
  int end[2];
  prebuild->refused = true;
  if (!is_wanted(device) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) != 0) return;
  char where[40];
  snprintf(where, sizeof where, "%u:%u", device->info.platform_index, device->info.device_index);
  const char *const arguments[] = {"prebuild", where, NULL};
  prebuild->refused = pare__child_start_reading(arguments, end[1], &prebuild->child) != PARE_OK || !prebuild->child;
  prebuild->to = end[0];
  close(end[1]);
  if (prebuild->refused) close(end[0]);
}

void pare__prebuild_ask(pare__device *device, const pare__program *program) {
  pare__prebuild *prebuild = &device->prebuild;
  char request[REQUEST_BYTES];
  const size_t file_bytes = strlen(program->file) + 1, options_bytes = strlen(program->options) + 1;
  if (file_bytes + options_bytes > sizeof request) return;
  if (!prebuild->refused && !prebuild->child) start(device);
  if (prebuild->refused) return;
  memcpy(request, program->file, file_bytes);
  memcpy(request + file_bytes, program->options, options_bytes);
  /* one that is far behind is asked for no more; one that has ended is no news */
  (void)send(prebuild->to, request, file_bytes + options_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void pare__prebuild_close(pare__device *device) {
  pare__prebuild *prebuild = &device->prebuild;
  if (!prebuild->child) return;
  close(prebuild->to);
  pare__child_stop(prebuild->child); /* what it has not done was done here meanwhile */
  *prebuild = (pare__prebuild){0};
}

/* ---- the child ---- */

/* The next request; false: whoever asked has gone, whatever else was asked for. */
static bool next_request(char *request, size_t capacity) {
  struct pollfd wait = {STDIN_FILENO, POLLIN, 0};
  if (poll(&wait, 1, -1) <= 0 || (wait.revents & POLLHUP)) return false;
  const ssize_t got = recv(STDIN_FILENO, request, capacity - 2, 0);
  if (got <= 0) return false;
  request[got] = request[got + 1] = '\0';
  return true;
}

int pare__prebuild_main(int argc, char **argv) {
  enum { ARG_DEVICE = 2 };
  if (argc <= ARG_DEVICE) return 2;
  pare_device_list *list = NULL;
  pare_device_choice choice;
  pare__device *device = NULL;
  size_t count = 0;
  char request[REQUEST_BYTES + 2];
  (void)alarm(LIMIT_SECONDS);
  pare_status status = pare_device_list_open(false, &list);
  if (status == PARE_OK) status = pare_device_list_select(list, argv[ARG_DEVICE], 1, &choice, &count);
  if (status == PARE_OK) status = pare__device_open(list, &choice, 0, &device);
  if (status != PARE_OK) return 1;
  device->uncached = true; /* the binary is for whoever has launched kernels to keep */
  while (next_request(request, sizeof request)) {
    pare__program *program;
    if (pare__program_get(device, request, request + strlen(request) + 1, &program) == PARE_OK)
      (void)pare__program_binary_bytes(program);
  }
  pare__device_close(device);
  pare_device_list_close(list);
  return 0;
}
