/* The fault layer's control: what a test tells the OpenCL layer to do. SPDX-License-Identifier: Apache-2.0
 *
 * The layer sits between a program and the OpenCL loader (OPENCL_LAYERS). It counts, logs, delays, hangs and fails
 * calls, slows queues to a set duty, and counts live objects. README.md describes the same by environment variables. */
#ifndef FAULT_FAULT_H
#define FAULT_FAULT_H

typedef enum fault_kind {
  FAULT_DEVICE, /* sub-devices only: others have no references */
  FAULT_CONTEXT,
  FAULT_QUEUE,
  FAULT_BUFFER,
  FAULT_PROGRAM,
  FAULT_KERNEL,
  FAULT_EVENT,
  FAULT_NKINDS
} fault_kind;

/* Everywhere `call` is a name such as "clCreateBuffer", or NULL for all calls that the layer sees. */
typedef struct fault_control {
  /* Counters of calls to 0; no faults, delays, duty or log. Live objects stay counted. */
  void (*reset)(void);
  /* Calls number nth … nth + ncalls - 1 since the last reset fail; nth counts from 1, 0 means none; ncalls 0 means all
   * from nth on. code 0: the one that suits the call. Calls that release or wait do their work before they fail, so
   * that a fault itself leaks nothing. */
  void (*inject)(const char *call, unsigned long nth, unsigned long ncalls, int code);
  /* Sleeps before each such call. */
  void (*delay)(const char *call, unsigned delay_us);
  /* The nth such call since the last reset, counted from 1, sleeps before it does its work, until `let_go`; 0: none.
   * With a queue's number (from 0, in the order of creation) only calls that name that queue are meant, and counted;
   * below 0 all are. */
  void (*hang)(const char *call, unsigned long nth, long queue);
  /* Lets it go on, and returns when it has; without one that hangs, at once. */
  void (*let_go)(void);
  /* Calls that hang now. */
  unsigned (*hanging)(void);
  /* The queue created as number i (from 0) works duty[i % nqueues] of the time: a kernel that worked for t takes t /
   * duty, the rest of it asleep. What it waited for a core is not work where that is known (processor.h), but a part of
   * the rest; what sleeps took too long is taken off the next. */
  void (*duty)(const double *duty, unsigned nqueues);
  /* One line a call, "NUMBER NAME STATUS[ injected]", to this descriptor; -1: none. */
  void (*log)(int fd);
  unsigned long (*calls)(const char *call);
  /* How many calls were made to fail since the last reset, and the last one's name ("" if none). */
  unsigned long (*failed)(const char **call);
  /* References that the program holds. */
  unsigned long (*live)(fault_kind kind);
  /* Retains and releases of objects that were not live. */
  unsigned long (*misused)(void);
  const char *(*kind_name)(fault_kind kind);
  /* The names of the calls that the layer sees, in the order of its table; NULL past the last. */
  const char *(*call_name)(unsigned index);
} fault_control;

/* Loads the layer of this build into this process, before its first OpenCL call, and proves by a call that it is in the
 * chain: a wrong path is silently ignored by the loader. NULL, and *why (static text), if it is not. */
const fault_control *fault_layer_load(const char **why);

/* Exported by the layer itself. */
const fault_control *fault_layer_control(void);

#endif
