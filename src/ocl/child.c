/* A child process with a time limit. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ocl/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/path.h"
#include "ocl/child_time.h"

#define OUTPUT_LIMIT ((size_t)64 << 10)
#define LOOK_MS 50 /* how often the parent looks whether a child is over its time */

/* Lines by which a child tells what it does. */
static const char *const tells[] = {"(runs)\n", "(builds)\n"};

static const char *helper_path(void) {
  const char *named = getenv("PARE_TRIAL");
  if (named && named[0] == '/') return named;
  return pare__in_build_tree() ? PARE_BUILD_FOLDER "/pare-trial" : PARE_PKGLIBEXECDIR "/pare-trial";
}

/* A child that is watched, and since when it builds or runs. */
typedef struct watched {
  pid_t process;
  const pare__child_limits *limits;
  bool building;
  double since, used; /* by the clock; processor time until then */
} watched;

static void begin(watched *child, bool building) {
  child->building = building;
  child->since = pare__seconds();
  child->used = pare__child_used(child->process);
}

/* Is the child over its time? */
static bool is_over(const watched *child, pare__child_end *end) {
  const double limit = child->limits->run_ms / 1000.0;
  end->seconds = pare__seconds() - child->since;
  end->used = pare__child_used(child->process) - child->used;
  if (child->building) return end->seconds >= child->limits->build_ms / 1000.0;
  if (end->seconds < limit) return false;
  if (end->used >= limit) return true;
  if (end->seconds < PARE__CHILD_SLEEPS * limit) return false;
  const double waited = pare__child_waited(child->process); /* in all its life: rather too much */
  if (waited >= 0 && end->used + waited < limit) return true;
  end->starved = end->seconds >= PARE__CHILD_STARVES * limit;
  return end->starved;
}

/* Takes the lines of pare__child_tell out of the text; the last one holds. */
static void take_tells(watched *child, char *text, size_t *count) {
  for (size_t at = 0; at < *count;) {
    size_t length = 0;
    for (int building = 0; building < 2; building++)
      if (strncmp(text + at, tells[building], strlen(tells[building])) == 0) {
        length = strlen(tells[building]);
        begin(child, building);
      }
    memmove(text + at, text + at + length, *count - at - length + 1);
    *count -= length;
    const char *end = length ? text + at - 1 : memchr(text + at, '\n', *count - at);
    if (!end) return;
    at = (size_t)(end + 1 - text);
  }
}

/* Reads until the end of file; false when the child is over its time. What is over the limit is read and dropped, so
 * that the child does not block. */
static bool collect(int from, watched *child, char *output, size_t *count, pare__child_end *end) {
  char overflow[4096] = {0};
  for (;;) {
    if (is_over(child, end)) return false;
    struct pollfd wait = {from, POLLIN, 0};
    int ready = poll(&wait, 1, LOOK_MS);
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;
    bool full = *count == OUTPUT_LIMIT;
    ssize_t got = read(from, full ? overflow : output + *count, full ? sizeof overflow : OUTPUT_LIMIT - *count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    if (full) continue;
    *count += (size_t)got;
    output[*count] = '\0';
    take_tells(child, output, count);
  }
}

/* Waits for the child, which has closed its output or is to be killed. */
static void reap(const watched *child, pare__child_end *end) {
  int status = 0;
  pid_t got;
  while ((got = waitpid(child->process, &status, WNOHANG)) == 0 && !end->timed_out) {
    end->timed_out = is_over(child, end);
    usleep(1000);
  }
  if (got == 0) {
    kill(child->process, SIGKILL);
    while ((got = waitpid(child->process, &status, 0)) < 0 && errno == EINTR) {}
  }
  if (got < 0) return; /* the program ignores SIGCHLD: its end is not told to anybody */
  if (WIFSIGNALED(status)) end->signal = WTERMSIG(status);
  if (WIFEXITED(status)) end->code = WEXITSTATUS(status);
}

/* from, to: its standard input and output; -1: none. */
static pare_status spawn(const char *const *arguments, int from, int to, pid_t *child, bool *started) {
  size_t count = 0;
  while (arguments[count]) count++;
  posix_spawn_file_actions_t actions;
  char **argv = calloc(count + 2, sizeof *argv);
  if (!argv || posix_spawn_file_actions_init(&actions) != 0) {
    free(argv);
    return pare__fail_memory("a child process", count * sizeof *argv);
  }
  argv[0] = (char *)helper_path();
  memcpy(argv + 1, arguments, count * sizeof *argv);
  int error = from >= 0 ? posix_spawn_file_actions_adddup2(&actions, from, STDIN_FILENO)
                        : posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (error == 0)
    error = to >= 0 ? posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO)
                    : posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  /* a crashing compiler writes pages to the standard error that help nobody */
  if (error == 0) error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  if (error == 0) error = posix_spawn(child, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  *started = error == 0;
  if (error != 0) pare__log(PARE_LOG_WARN, "starting %s: %s", argv[0], strerror(error));
  free(argv);
  return PARE_OK;
}

pare_status pare__child_start(const char *const *arguments, int64_t *child) {
  return pare__child_start_reading(arguments, -1, child);
}

pare_status pare__child_start_reading(const char *const *arguments, int from, int64_t *child) {
  pid_t process = 0;
  bool started = false;
  *child = 0;
  PARE__TRY(spawn(arguments, from, -1, &process, &started));
  if (started) *child = process;
  return PARE_OK;
}

bool pare__child_ended(int64_t child) { return child == 0 || waitpid((pid_t)child, NULL, WNOHANG) != 0; }

void pare__child_stop(int64_t child) {
  if (child == 0) return;
  kill((pid_t)child, SIGKILL);
  while (waitpid((pid_t)child, NULL, 0) < 0 && errno == EINTR) {}
}

pare_status pare__child_run(const char *const *arguments, const pare__child_limits *limits, char **output,
                            pare__child_end *end) {
  *output = NULL;
  *end = (pare__child_end){0};
  int pipe_end[2];
  if (pipe2(pipe_end, O_CLOEXEC) != 0) return pare__fail(PARE_ERR_IO, "a pipe to a child process: %s", strerror(errno));
  char *text = malloc(OUTPUT_LIMIT + 1);
  pid_t child = 0;
  pare_status status = text ? spawn(arguments, -1, pipe_end[1], &child, &end->started)
                            : pare__fail_memory("the output of a child process", OUTPUT_LIMIT);
  close(pipe_end[1]);
  if (text && status == PARE_OK && end->started) {
    watched watch = {.process = child, .limits = limits};
    size_t count = 0;
    begin(&watch, true);
    end->timed_out = !collect(pipe_end[0], &watch, text, &count, end);
    reap(&watch, end);
    end->building = end->timed_out && watch.building;
    text[count] = '\0';
    *output = text;
    text = NULL;
  }
  free(text);
  close(pipe_end[0]);
  return status;
}

void pare__child_tell(bool builds) {
  /* a parent that is gone needs no word */
  if (write(STDOUT_FILENO, tells[builds], strlen(tells[builds])) < 0) return;
}

static void *wait_for_reader(void *nothing) {
  struct pollfd reader = {STDOUT_FILENO, 0, 0};
  while (poll(&reader, 1, -1) <= 0) {}
  _exit(EXIT_FAILURE);
  return nothing;
}

void pare__child_end_with_parent(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, wait_for_reader, NULL) == 0) pthread_detach(thread);
}
