/* Performance models: how long a kernel takes on a device, learned. SPDX-License-Identifier: Apache-2.0
 *
 * seconds = a + b n for each (kernel, device): a is what a launch costs, b what a unit of work costs. A line is fitted
 * to the latest samples by medians (Theil 1950, Sen 1968), so that a sample that was disturbed moves nothing. When the
 * median of the last five is off by a quarter, what was learned before them is forgotten. Where equal numbers of units
 * may take unlike times a is 0: a slope would tell where pieces lay, not how long they are. Reads no clock: callers
 * bring seconds, measured or simulated. Not thread-safe. */
#ifndef PARE_SCHED_PERFORMANCE_H
#define PARE_SCHED_PERFORMANCE_H

#include "base/base.h"

typedef struct pare__samples pare__samples;

typedef struct pare__performance {
  size_t ndevices, nkernels, capacity;
  double *a, *b;           /* [kernel][device] */
  pare__samples **samples; /* [kernel][device]; NULL: a guess, nothing was seen yet */
  double *weight;          /* [device]: relative speed, the first guess */
  char **kernel;           /* names */
  size_t relearned;        /* how often a line turned out wrong */
} pare__performance;

/* weight NULL: all 1; else each positive. */
pare_status pare__performance_open(size_t ndevices, const double *weight, pare__performance **out);
void pare__performance_close(pare__performance *performance); /* NULL is allowed */

/* The number of a kernel, added if it is new. A new one is guessed from the weights. */
pare_status pare__performance_kernel(pare__performance *performance, const char *name, size_t *out);

static inline size_t pare__performance_at(const pare__performance *performance, size_t kernel, size_t device) {
  return kernel * performance->ndevices + device;
}
static inline double pare__performance_seconds(const pare__performance *performance, size_t kernel, size_t device,
                                               double n) {
  const size_t at = pare__performance_at(performance, kernel, device);
  return performance->a[at] + performance->b[at] * n;
}
/* What somebody knows for sure: a calibration, a simulated machine. */
void pare__performance_set(pare__performance *performance, size_t kernel, size_t device, double a, double b);
/* What is only guessed of a kernel follows what is known of `known`, in the proportion of the weights. */
void pare__performance_guess(pare__performance *performance, size_t kernel, size_t known);

typedef enum pare__learned {
  PARE__LEARNED_NOTHING,
  PARE__LEARNED_MORE,  /* the line was fitted again */
  PARE__LEARNED_WRONG, /* it was wrong: what is planned by it should be looked at again */
} pare__learned;
/* n units took `seconds`; uneven: as many others may take another time. *out says what follows. PARE_ERR_MEMORY. */
pare_status pare__performance_observe(pare__performance *performance, size_t kernel, size_t device, double n,
                                      double seconds, bool uneven, pare__learned *out);

/* What one more launch costs, in seconds: a, but ten microseconds at least. Of uneven work no line says that: a
 * hundred.
 */
double pare__performance_launch(const pare__performance *performance, size_t kernel, size_t device, bool uneven);

/* The least work that is worth a launch: ten take as long, of a hundred microseconds at most, since more may be work
 * that each piece repeats. 0: nothing is known. */
double pare__performance_worth(const pare__performance *performance, size_t kernel, size_t device);

/* Is the line a guess, or made of so few samples that one that was disturbed moved it, or is it off by half or more
 * from the latest? What somebody set is not, until a sample says so. */
bool pare__performance_doubtful(const pare__performance *performance, size_t kernel, size_t device);

/* Did any sample of the kernel come in? */
bool pare__performance_observed(const pare__performance *performance, size_t kernel, size_t device);

/* ---- on disk (performance_file.c) ----
 *
 * {"pare-performance": 2, "writes": 7, "devices": {"NAME, DRIVER": {"KERNEL": {"a": 1e-5, "b": 2e-9, "used": 7}}}}
 *
 * "used" is which of the file's writes the line was last observed before; a file of version 1 has neither. Over a
 * device's PARE__MOST_KEPT_LINES and the PARE__MOST_KEPT_DEVICES, what was used longest ago goes. */
#define PARE__MOST_KEPT_LINES 1024
#define PARE__MOST_KEPT_DEVICES 32

/* Takes the lines of the devices that are in the file, and the rest stays as it is. key: of each device, its name and
 * driver. A file that is not there is no error; a malformed one is ignored with a line in the log, and written anew. */
pare_status pare__performance_read(pare__performance *performance, const char *path, const char *const *key);
/* Writes what was learned or set; devices and kernels of the file that are not here stay in it. Whole or not at all. */
pare_status pare__performance_write(const pare__performance *performance, const char *path, const char *const *key);

#endif
