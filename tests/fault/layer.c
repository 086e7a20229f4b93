/* An OpenCL layer: counts, logs, delays, hangs, fails calls, slows queues. SPDX-License-Identifier: Apache-2.0 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <CL/cl_layer.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "fault.h"
#include "objects.h"
#include "processor.h"

#define EXPORTED __attribute__((visibility("default")))
#define MAX_DUTIES 16
#define MAX_QUEUES 64 /* whose sleeps are kept apart; later ones share them */

enum call {
#define NAME_OF_STATUS(name, code, params, args) CALL_##name,
#define NAME_OF_REFERENCE(name, kind, type) CALL_##name,
#define NAME_OF_CREATOR(name, kind, type, code, params, args) CALL_##name,
#define NAME_OF_SPECIAL(name, code) CALL_##name,
  FAULT_CALLS(NAME_OF_STATUS, NAME_OF_STATUS, NAME_OF_STATUS, NAME_OF_REFERENCE, NAME_OF_REFERENCE, NAME_OF_CREATOR,
              NAME_OF_SPECIAL) NCALLS
};

static const struct {
  const char *name;
  cl_int code; /* that it fails with unless told otherwise */
} calls[NCALLS] = {
#define ROW_OF_STATUS(name, code, params, args) {#name, code},
#define ROW_OF_REFERENCE(name, kind, type) {#name, CL_OUT_OF_HOST_MEMORY},
#define ROW_OF_CREATOR(name, kind, type, code, params, args) {#name, code},
#define ROW_OF_SPECIAL(name, code) {#name, code},
    FAULT_CALLS(ROW_OF_STATUS, ROW_OF_STATUS, ROW_OF_STATUS, ROW_OF_REFERENCE, ROW_OF_REFERENCE, ROW_OF_CREATOR,
                ROW_OF_SPECIAL)};

static const cl_icd_dispatch *next; /* the loader, or the next layer */

/* What to do; read and written under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  unsigned long total, made[NCALLS], failed;
  const char *last_failed;
  bool any_call, delay_any_call;
  enum call fail_call, delay_call, hang_call; /* NCALLS: a name that no call has */
  unsigned long fail_nth, fail_ncalls;
  cl_int fail_code;
  unsigned delay_us;
  unsigned long hang_nth, may_hang; /* may_hang: calls that were meant */
  long hang_queue;
  double duty[MAX_DUTIES];
  unsigned nduties;
  double owed[MAX_QUEUES]; /* seconds that a queue shall sleep yet, or slept too long */
  int log_fd;
} plan = {.last_failed = "", .log_fd = -1};

static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static unsigned hanging; /* calls; guarded by the lock, as is this */
static bool letting_go;

static enum call call_named(const char *name) {
  unsigned i = 0;
  while (i < NCALLS && strcmp(calls[i].name, name) != 0) i++;
  return (enum call)i;
}

static void sleep_seconds(double seconds) {
  if (seconds <= 0) return;
  struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&time, NULL);
}

static long number_of_queue(cl_command_queue queue) { return queue ? (long)objects_number(FAULT_QUEUE, queue) : -1; }

static cl_command_queue queue_of_events(const cl_event *events) {
  cl_command_queue queue = NULL;
  const bool wanted = plan.hang_nth != 0 && plan.hang_queue >= 0;
  if (wanted && events) next->clGetEventInfo(events[0], CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL);
  return queue;
}

/* The lock is held. */
static void hang_if_meant(enum call call, long queue) {
  if (plan.hang_nth == 0 || plan.hang_call != call || (plan.hang_queue >= 0 && plan.hang_queue != queue)) return;
  if (++plan.may_hang != plan.hang_nth) return;
  hanging++;
  letting_go = false;
  while (!letting_go) pthread_cond_wait(&moved, &lock);
  hanging--;
  pthread_cond_broadcast(&moved);
}

/* Counts the call, hangs or sleeps if told to, and says which code to fail with: CL_SUCCESS if it shall not fail. */
static cl_int begin_call_on(enum call call, cl_command_queue on) {
  const long queue = number_of_queue(on);
  pthread_mutex_lock(&lock);
  hang_if_meant(call, queue);
  unsigned long total = ++plan.total, made = ++plan.made[call];
  unsigned long nth = plan.any_call ? total : made;
  bool meant = plan.fail_nth != 0 && (plan.any_call || plan.fail_call == call) && nth >= plan.fail_nth &&
               (plan.fail_ncalls == 0 || nth - plan.fail_nth < plan.fail_ncalls);
  cl_int code = CL_SUCCESS;
  if (meant) {
    code = plan.fail_code != CL_SUCCESS ? plan.fail_code : calls[call].code;
    plan.failed++;
    plan.last_failed = calls[call].name;
  }
  unsigned delay_us = plan.delay_any_call || plan.delay_call == call ? plan.delay_us : 0;
  pthread_mutex_unlock(&lock);
  sleep_seconds(1e-6 * delay_us);
  return code;
}

static cl_int begin_call(enum call call) { return begin_call_on(call, NULL); }

/* Logs and returns what the program sees. */
static cl_int end_call(enum call call, cl_int injected, cl_int status) {
  cl_int seen = injected != CL_SUCCESS ? injected : status;
  pthread_mutex_lock(&lock);
  if (plan.log_fd >= 0)
    dprintf(plan.log_fd, "%lu %s %d%s\n", plan.total, calls[call].name, seen,
            injected != CL_SUCCESS ? " injected" : "");
  pthread_mutex_unlock(&lock);
  return seen;
}

static void note_event(const cl_event *event) {
  if (event != NULL) objects_add(FAULT_EVENT, *event);
}

static void set_error(cl_int *error, cl_int code) {
  if (error != NULL) *error = code;
}

/* ---- the wrappers ---- */

#define WRAP_QUERY(name, code, params, args)                                                     \
  static cl_int CL_API_CALL wrap_##name params {                                                 \
    cl_int injected = begin_call(CALL_##name);                                                   \
    return end_call(CALL_##name, injected, injected == CL_SUCCESS ? next->name args : injected); \
  }
#define QUEUE_OF_clFinish queue
#define QUEUE_OF_clWaitForEvents queue_of_events(events)
#define WRAP_WAITER(name, code, params, args)                      \
  static cl_int CL_API_CALL wrap_##name params {                   \
    cl_int injected = begin_call_on(CALL_##name, QUEUE_OF_##name); \
    return end_call(CALL_##name, injected, next->name args);       \
  }
#define WRAP_ENQUEUE(name, code, params, args)                           \
  static cl_int CL_API_CALL wrap_##name params {                         \
    cl_int injected = begin_call_on(CALL_##name, queue);                 \
    cl_int status = injected == CL_SUCCESS ? next->name args : injected; \
    if (status == CL_SUCCESS) note_event(event);                         \
    return end_call(CALL_##name, injected, status);                      \
  }
#define WRAP_RETAIN(name, kind, type)                                                               \
  static cl_int CL_API_CALL wrap_##name(type object) {                                              \
    cl_int injected = begin_call(CALL_##name);                                                      \
    if (injected == CL_SUCCESS) objects_retain(kind, object);                                       \
    return end_call(CALL_##name, injected, injected == CL_SUCCESS ? next->name(object) : injected); \
  }
#define WRAP_RELEASE(name, kind, type)                          \
  static cl_int CL_API_CALL wrap_##name(type object) {          \
    cl_int injected = begin_call(CALL_##name);                  \
    objects_drop(kind, object);                                 \
    return end_call(CALL_##name, injected, next->name(object)); \
  }
#define WRAP_CREATOR(name, kind, type, code, params, args)                                 \
  static type CL_API_CALL wrap_##name params {                                             \
    cl_int status = CL_SUCCESS, injected = begin_call(CALL_##name), *caller_error = error; \
    type made = NULL;                                                                      \
    error = &status;                                                                       \
    if (injected == CL_SUCCESS) made = next->name args;                                    \
    objects_add(kind, made);                                                               \
    set_error(caller_error, end_call(CALL_##name, injected, status));                      \
    return made;                                                                           \
  }
#define WRAP_SPECIAL(name, code)

FAULT_CALLS(WRAP_QUERY, WRAP_WAITER, WRAP_ENQUEUE, WRAP_RETAIN, WRAP_RELEASE, WRAP_CREATOR, WRAP_SPECIAL)

static cl_int CL_API_CALL wrap_clCreateSubDevices(cl_device_id device, const cl_device_partition_property *properties,
                                                  cl_uint nentries, cl_device_id *devices, cl_uint *found) {
  cl_int injected = begin_call(CALL_clCreateSubDevices);
  if (injected != CL_SUCCESS) return end_call(CALL_clCreateSubDevices, injected, injected);
  cl_uint made = 0;
  cl_int status = next->clCreateSubDevices(device, properties, nentries, devices, &made);
  for (cl_uint i = 0; status == CL_SUCCESS && devices != NULL && i < made; i++) objects_add(FAULT_DEVICE, devices[i]);
  if (status == CL_SUCCESS && found != NULL) *found = made;
  return end_call(CALL_clCreateSubDevices, injected, status);
}

static void *CL_API_CALL wrap_clEnqueueMapBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
                                                 cl_map_flags flags, size_t offset, size_t nbytes, WAIT_LIST,
                                                 cl_int *error) {
  cl_int status = CL_SUCCESS, injected = begin_call(CALL_clEnqueueMapBuffer);
  void *mapped = NULL;
  if (injected == CL_SUCCESS)
    mapped = next->clEnqueueMapBuffer(queue, buffer, blocking, flags, offset, nbytes, WAIT_ARGS, &status);
  if (mapped != NULL) note_event(event);
  set_error(error, end_call(CALL_clEnqueueMapBuffer, injected, status));
  return mapped;
}

static double queue_duty(unsigned long number) {
  pthread_mutex_lock(&lock);
  double duty = plan.nduties == 0 ? 1.0 : plan.duty[number % plan.nduties];
  pthread_mutex_unlock(&lock);
  return duty;
}

/* A sleep takes longer than was asked for, by a timer's slack and until a core is there again: with many short kernels
 * a queue would work less than its share. What was too much is taken off the next sleeps; so is what a kernel waited
 * for a core beyond its share. */
static void sleep_for(unsigned long number, double seconds) {
  double *owed = &plan.owed[number % MAX_QUEUES];
  const double start = processor_clock(CLOCK_MONOTONIC);
  pthread_mutex_lock(&lock);
  *owed += seconds;
  const double pause = *owed;
  pthread_mutex_unlock(&lock);
  sleep_seconds(pause);
  if (pause <= 0) return;
  pthread_mutex_lock(&lock);
  *owed -= processor_clock(CLOCK_MONOTONIC) - start;
  pthread_mutex_unlock(&lock);
}

/* A slowed kernel is waited for here: one host thread a device then sees each device work its share of the time. */
static cl_int CL_API_CALL wrap_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                                                      const size_t *offset, const size_t *global, const size_t *local,
                                                      WAIT_LIST) {
  cl_int injected = begin_call_on(CALL_clEnqueueNDRangeKernel, queue);
  if (injected != CL_SUCCESS) return end_call(CALL_clEnqueueNDRangeKernel, injected, injected);
  const unsigned long number = objects_number(FAULT_QUEUE, queue);
  const double duty = queue_duty(number);
  processor_watch watch = {0};
  if (duty < 1.0) processor_begin(number, &watch);
  cl_int status = next->clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, WAIT_ARGS);
  if (status == CL_SUCCESS) note_event(event);
  if (duty < 1.0) {
    double elapsed;
    const bool launched = status == CL_SUCCESS;
    if (launched) status = next->clFinish(queue);
    const double worked = processor_end(number, &watch, &elapsed);
    if (launched) sleep_for(number, worked / duty - elapsed);
  }
  return end_call(CALL_clEnqueueNDRangeKernel, injected, status);
}

/* ---- control ---- */

static void control_reset(void) {
  pthread_mutex_lock(&lock);
  memset(&plan, 0, sizeof plan);
  plan.last_failed = "";
  plan.log_fd = -1;
  pthread_mutex_unlock(&lock);
}

static void control_inject(const char *call, unsigned long nth, unsigned long ncalls, int code) {
  pthread_mutex_lock(&lock);
  plan.any_call = call == NULL;
  plan.fail_call = call != NULL ? call_named(call) : NCALLS;
  plan.fail_nth = nth;
  plan.fail_ncalls = ncalls;
  plan.fail_code = code;
  pthread_mutex_unlock(&lock);
}

static void control_let_go(void) {
  pthread_mutex_lock(&lock);
  letting_go = true;
  pthread_cond_broadcast(&moved);
  while (hanging > 0) pthread_cond_wait(&moved, &lock);
  pthread_mutex_unlock(&lock);
}

static void control_hang(const char *call, unsigned long nth, long queue) {
  pthread_mutex_lock(&lock);
  plan.hang_call = call_named(call);
  plan.hang_nth = nth;
  plan.hang_queue = queue;
  plan.may_hang = 0;
  pthread_mutex_unlock(&lock);
}

static unsigned control_hanging(void) {
  pthread_mutex_lock(&lock);
  const unsigned now = hanging;
  pthread_mutex_unlock(&lock);
  return now;
}

static void control_delay(const char *call, unsigned delay_us) {
  pthread_mutex_lock(&lock);
  plan.delay_any_call = call == NULL;
  plan.delay_call = call != NULL ? call_named(call) : NCALLS;
  plan.delay_us = delay_us;
  pthread_mutex_unlock(&lock);
}

static void control_duty(const double *duty, unsigned nqueues) {
  pthread_mutex_lock(&lock);
  plan.nduties = nqueues < MAX_DUTIES ? nqueues : MAX_DUTIES;
  for (unsigned i = 0; i < plan.nduties; i++) plan.duty[i] = duty[i] > 0 && duty[i] < 1 ? duty[i] : 1;
  pthread_mutex_unlock(&lock);
}

static void control_log(int fd) {
  pthread_mutex_lock(&lock);
  plan.log_fd = fd;
  pthread_mutex_unlock(&lock);
}

static unsigned long control_calls(const char *call) {
  pthread_mutex_lock(&lock);
  enum call which = call != NULL ? call_named(call) : NCALLS;
  unsigned long made = call == NULL ? plan.total : which < NCALLS ? plan.made[which] : 0;
  pthread_mutex_unlock(&lock);
  return made;
}

static unsigned long control_failed(const char **call) {
  pthread_mutex_lock(&lock);
  unsigned long failed = plan.failed;
  if (call != NULL) *call = plan.last_failed;
  pthread_mutex_unlock(&lock);
  return failed;
}

static const char *control_call_name(unsigned index) { return index < NCALLS ? calls[index].name : NULL; }

EXPORTED const fault_control *fault_layer_control(void) {
  static const fault_control control = {.reset = control_reset,
                                        .inject = control_inject,
                                        .delay = control_delay,
                                        .hang = control_hang,
                                        .let_go = control_let_go,
                                        .hanging = control_hanging,
                                        .duty = control_duty,
                                        .log = control_log,
                                        .calls = control_calls,
                                        .failed = control_failed,
                                        .live = objects_live,
                                        .misused = objects_misused,
                                        .kind_name = objects_kind_name,
                                        .call_name = control_call_name};
  return &control;
}

/* ---- environment and the loader's interface ---- */

static unsigned long environment_number(const char *name, unsigned long otherwise) {
  const char *text = getenv(name);
  return text != NULL && *text != 0 ? strtoul(text, NULL, 10) : otherwise;
}

static void read_environment(void) {
  const char *code = getenv("PARE_FAULT_CODE"), *duty = getenv("PARE_FAULT_DUTY"), *log = getenv("PARE_FAULT_LOG");
  unsigned long nth = environment_number("PARE_FAULT_NTH", 0);
  if (nth != 0)
    control_inject(getenv("PARE_FAULT_CALL"), nth, environment_number("PARE_FAULT_COUNT", 1),
                   code != NULL ? atoi(code) : 0);
  const char *hang = getenv("PARE_FAULT_HANG_CALL"), *queue = getenv("PARE_FAULT_HANG_QUEUE");
  if (hang != NULL) control_hang(hang, environment_number("PARE_FAULT_HANG_NTH", 1), queue ? atol(queue) : -1);
  control_delay(getenv("PARE_FAULT_DELAY_CALL"), (unsigned)environment_number("PARE_FAULT_DELAY_US", 0));
  if (duty != NULL) {
    double values[MAX_DUTIES];
    unsigned nvalues = 0;
    for (char *end; nvalues < MAX_DUTIES && *duty != 0; duty = *end == ',' ? end + 1 : end) {
      values[nvalues] = strtod(duty, &end);
      if (end == duty) break;
      nvalues++;
    }
    control_duty(values, nvalues);
  }
  if (log != NULL) control_log(open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
}

EXPORTED CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t nbytes, void *value,
                                                        size_t *needed) {
  static const char layer_name[] = "pare fault layer";
  static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
  const void *answer = name == CL_LAYER_API_VERSION ? (const void *)&version : layer_name;
  size_t answer_bytes = name == CL_LAYER_API_VERSION ? sizeof version : sizeof layer_name;
  if (name != CL_LAYER_API_VERSION && name != CL_LAYER_NAME) return CL_INVALID_VALUE;
  if (value != NULL && nbytes < answer_bytes) return CL_INVALID_VALUE;
  if (value != NULL) memcpy(value, answer, answer_bytes);
  if (needed != NULL) *needed = answer_bytes;
  return CL_SUCCESS;
}

EXPORTED CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint nentries, const cl_icd_dispatch *target, cl_uint *made,
                                                     const cl_icd_dispatch **layer) {
  static cl_icd_dispatch table;
  if (target == NULL || made == NULL || layer == NULL || nentries < sizeof table / sizeof table.clGetPlatformIDs)
    return CL_INVALID_VALUE;
  next = target;
  table = *target;
#define SET_STATUS(name, code, params, args) table.name = wrap_##name;
#define SET_REFERENCE(name, kind, type) table.name = wrap_##name;
#define SET_CREATOR(name, kind, type, code, params, args) table.name = wrap_##name;
#define SET_SPECIAL(name, code) table.name = wrap_##name;
  FAULT_CALLS(SET_STATUS, SET_STATUS, SET_STATUS, SET_REFERENCE, SET_REFERENCE, SET_CREATOR, SET_SPECIAL)
  read_environment();
  *layer = &table;
  *made = sizeof table / sizeof table.clGetPlatformIDs;
  return CL_SUCCESS;
}
