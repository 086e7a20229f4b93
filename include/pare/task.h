/* Work of your own: a kernel in a .cl file, run as pare's operations are. SPDX-License-Identifier: Apache-2.0
 *
 * A task runs n steps along one dimension. With several devices they are divided into pieces, and each device gets the
 * slices that its piece needs. The results must be the same however it is divided. doc/examples/task.c is a whole
 * program. */
#ifndef PARE_TASK_H
#define PARE_TASK_H

#include <pare/schedule.h>
#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pare_access { PARE_ACCESS_READ, PARE_ACCESS_WRITE, PARE_ACCESS_READ_WRITE } pare_access;
#define PARE_TASK_WHOLE (-1)

/* A tensor of a task. axis: the dimension that is divided with the steps, step i being its elements
 * [i * per_step, (i + 1) * per_step) (per_step 0: 1); or PARE_TASK_WHOLE: every piece sees all of it. What is written
 * must be sliced if n > 1. tensor NULL: absent, a null pointer in the kernel. */
typedef struct pare_task_tensor {
  pare_tensor *tensor;
  pare_access access;
  int axis;
  int64_t per_step;
} pare_task_tensor;

/* A number that the kernel gets; dtype is PARE_I32, PARE_I64, PARE_F32 or PARE_F64. */
typedef struct pare_task_number {
  pare_dtype dtype;
  union {
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
  } value;
} pare_task_number;

/* Classes of devices, as a set. */
enum { PARE_CLASS_CPU = 1, PARE_CLASS_GPU = 2, PARE_CLASS_ACCELERATOR = 4 };

#define PARE_TASK_MOST_TENSORS 8
#define PARE_TASK_MOST_NUMBERS 16
typedef struct pare_task pare_task;

/* The kernel is called with, for each tensor in order,
 *
 *     __global T *x, long x_from, long8 x_strides
 *
 * (element [i][j] of the piece is x[x_from + i * x_strides.s0 + j * x_strides.s1]; all in elements), then the numbers,
 * then `long begin, long end`: the piece's steps of the whole. Indices into a sliced tensor count from the piece's
 * begin; slices may be copies, so strides differ from the tensor's. Work-item get_global_id(0) counts from 0 to
 * (end - begin) * items_per_step, rounded up to groups: those past the end must return. */
typedef struct pare_task_options {
  const char *name;  /* for traces, statistics and errors; NULL: entry */
  const char *file;  /* .cl, as fopen would find it; it may #include pare's dtype.cl and files beside it */
  const char *entry; /* the kernel */
  const char *build; /* options of the compiler; NULL: none */
  const pare_task_tensor *tensor;
  size_t ntensors;
  const pare_task_number *number;
  size_t nnumbers;
  int64_t n, grain;        /* pieces begin at multiples of grain (0: 1); n = 1 is not divided */
  size_t items_per_step;   /* 0: 1 */
  size_t group_items;      /* work-items of a group; 0: the driver's choice, on PoCL pare's, up to 64 */
  int priority;            /* with several devices: higher first */
  unsigned classes;        /* where it may run; 0: anywhere */
  pare_task *const *after; /* tasks that must be done before, besides those that follow from the tensors */
  size_t nafter;
  /* Not 0: all steps take equally long, so that the time of a piece tells what a launch costs, and each device gets a
   * part, in few large pieces where that is much. 0: they may differ, and all devices take from one front, in more
   * pieces, which shrink. */
  int even;
} pare_task_options;
#define PARE_TASK_OPTIONS_INIT \
  { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Submits and returns. It waits for what was submitted before and reads or writes the same memory. A handle exists only
 * of what was submitted earlier, so tasks can never wait for each other in a circle. *out (out may be NULL) is the
 * handle; close it.
 * PARE_ERR_ARGUMENT: a class that none of the context's devices has; tensors of another context; sizes that do not
 * agree with n. PARE_ERR_KERNEL and errors of the devices come back from pare_task_wait, pare_context_wait, and from
 * reading what it should have written. */
PARE_API pare_status pare_task_submit(pare_context *context, const pare_task_options *options, pare_task **out);
/* Waits for it; the failure of what it wrote. */
PARE_API pare_status pare_task_wait(pare_task *task);
/* Forgets the handle, not the work. NULL is allowed. */
PARE_API void pare_task_close(pare_task *task);

#ifdef __cplusplus
}
#endif
#endif
