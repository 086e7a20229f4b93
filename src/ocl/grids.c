/* Kernels whose grids may grow only while nobody else runs them. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/grids.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ocl/device.h"

/* Seconds. Who has not come back from the driver by then hangs there: a call takes some microseconds. */
#define PATIENCE 1.0
#define PATIENCE_OF_CALLS 0.1

/* Grids of one group that need no turn: PoCL compares the larger of the first two lengths; the third is kept for
 * versions that mean what they say. No group: the driver chooses one for each grid, and only the same one is known. */
typedef struct shape {
  bool chosen; /* by the driver */
  size_t local[3], global[3], flat, largest;
} shape;

/* The latest launch of a kernel on a device: those before it have ended when it has. */
typedef struct flight {
  const pare__device *device;
  cl_event event; /* NULL: none is under way */
} flight;

struct pare__grids {
  char *name;
  pthread_mutex_t lock;
  pthread_cond_t moved;
  shape *known;
  size_t nknown, known_capacity;
  flight *flight;
  size_t nflights, flights_capacity;
  unsigned entering; /* launches that are being made */
  bool growing;
  struct pare__grids *next;
};

/* Of the process: devices that are open, and kernels that any of them launched. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pare__grids *all;
static atomic_uint ndevices;

/* ---- devices ---- */

static bool is_affected(const pare__device *device) {
  return device->quirks->grids_in_turn_below > 0 &&
         atoi(device->info.driver_version) < device->quirks->grids_in_turn_below;
}

static void grids_close(pare__grids *grids) {
  pthread_mutex_destroy(&grids->lock);
  pthread_cond_destroy(&grids->moved);
  free(grids->flight);
  free(grids->known);
  free(grids->name);
  free(grids);
}

void pare__grids_join(pare__device *device) {
  device->shares_grids = is_affected(device);
  if (device->shares_grids) atomic_fetch_add(&ndevices, 1);
}

void pare__grids_part(pare__device *device) {
  if (!device->shares_grids) return;
  device->shares_grids = false;
  pthread_mutex_lock(&all_lock);
  for (pare__grids *grids = all; grids; grids = grids->next) {
    pthread_mutex_lock(&grids->lock);
    for (size_t i = 0; i < grids->nflights; i++) {
      if (grids->flight[i].device != device) continue;
      if (grids->flight[i].event) clReleaseEvent(grids->flight[i].event);
      grids->flight[i] = grids->flight[--grids->nflights];
      break;
    }
    pthread_mutex_unlock(&grids->lock);
  }
  if (atomic_fetch_sub(&ndevices, 1) == 1) {
    while (all) {
      pare__grids *grids = all;
      all = grids->next;
      grids_close(grids);
    }
  }
  pthread_mutex_unlock(&all_lock);
}

/* ---- kernels ---- */

static pare__grids *grids_open(char *name) {
  pare__grids *grids = calloc(1, sizeof *grids);
  if (!grids) return NULL;
  grids->name = name;
  pthread_mutex_init(&grids->lock, NULL);
  pthread_cond_init(&grids->moved, NULL);
  return grids;
}

/* What the driver takes for one kernel: source, options and name, whatever the device. Looked for once. NULL: there is
 * no memory, and no turn. */
static pare__grids *grids_of(pare__kernel *kernel) {
  if (kernel->grids) return kernel->grids;
  const pare__program *program = kernel->program;
  char *name = pare__format("%s %s %s %s", program->key, program->file, program->options, kernel->entry);
  if (!name) return NULL;
  pthread_mutex_lock(&all_lock);
  pare__grids *grids = all;
  while (grids && strcmp(grids->name, name) != 0) grids = grids->next;
  if (grids) {
    free(name);
  } else if ((grids = grids_open(name))) {
    grids->next = all;
    all = grids;
  } else {
    free(name);
  }
  pthread_mutex_unlock(&all_lock);
  kernel->grids = grids;
  return grids;
}

static shape shape_of(unsigned dims, const size_t *global, const size_t *local) {
  shape made = {.chosen = !local};
  for (unsigned d = 0; d < 3; d++) {
    made.local[d] = local && d < dims ? local[d] : 1;
    made.global[d] = d < dims ? global[d] : 1;
  }
  made.flat = PARE__MAX(made.global[0], made.global[1]);
  made.largest = PARE__MAX(made.flat, made.global[2]);
  return made;
}

static bool is_same_row(const shape *one, const shape *other) {
  return one->chosen == other->chosen && memcmp(one->chosen ? one->global : one->local,
                                                one->chosen ? other->global : other->local, sizeof one->local) == 0;
}

static shape *row_of(const pare__grids *grids, const shape *wanted) {
  for (size_t i = 0; i < grids->nknown; i++)
    if (is_same_row(&grids->known[i], wanted)) return &grids->known[i];
  return NULL;
}

static bool is_known(const pare__grids *grids, const shape *wanted) {
  const shape *row = row_of(grids, wanted);
  return row && wanted->flat <= row->flat && wanted->largest <= row->largest;
}

/* Without memory it stays new, and has its turn each time. */
static void remember(pare__grids *grids, const shape *grown) {
  shape *row = row_of(grids, grown);
  if (row) {
    row->flat = PARE__MAX(row->flat, grown->flat);
    row->largest = PARE__MAX(row->largest, grown->largest);
  } else if (pare__array_grow((void **)&grids->known, &grids->known_capacity, grids->nknown, sizeof *grids->known) ==
             PARE_OK) {
    grids->known[grids->nknown++] = *grown;
  }
}

/* ---- turns ---- */

static cl_int state_of(cl_event event) {
  cl_int state = CL_COMPLETE;
  const cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
  return code == CL_SUCCESS ? state : CL_COMPLETE;
}

/* Until the event is that far, or the time has come. */
static void wait_for(cl_event event, cl_int state, double until) {
  while (state_of(event) > state && pare__seconds() < until) nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

/* The lock is held, and let go of meanwhile: until no launch of the kernel is under way, or the time has come. */
static void wait_for_flights(pare__grids *grids) {
  const double begin = pare__seconds(), until = begin + PATIENCE;
  while (grids->entering > 0 && pare__seconds() < begin + PATIENCE_OF_CALLS) {
    pthread_mutex_unlock(&grids->lock);
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    pthread_mutex_lock(&grids->lock);
  }
  for (size_t i = 0; i < grids->nflights; i++) {
    const cl_event event = grids->flight[i].event;
    if (!event || clRetainEvent(event) != CL_SUCCESS) continue;
    pthread_mutex_unlock(&grids->lock);
    wait_for(event, CL_COMPLETE, until);
    clReleaseEvent(event);
    pthread_mutex_lock(&grids->lock);
  }
}

void pare__grids_begin(pare__device *device, pare__kernel *kernel, unsigned dims, const size_t *global,
                       const size_t *local, pare__grid_turn *out) {
  *out = (pare__grid_turn){.device = device};
  if (!device->shares_grids || atomic_load_explicit(&ndevices, memory_order_relaxed) < 2) return;
  pare__grids *grids = out->grids = grids_of(kernel);
  if (!grids) return;
  const shape wanted = shape_of(dims, global, local);
  pthread_mutex_lock(&grids->lock);
  while (grids->growing) pthread_cond_wait(&grids->moved, &grids->lock);
  out->grows = !is_known(grids, &wanted);
  if (out->grows) {
    grids->growing = true;
    wait_for_flights(grids);
    remember(grids, &wanted);
  }
  grids->entering++;
  pthread_mutex_unlock(&grids->lock);
}

/* The flight that was there has ended, or ends before this one does. */
static void take_off(pare__grids *grids, const pare__device *device, cl_event event) {
  size_t i = 0;
  while (i < grids->nflights && grids->flight[i].device != device) i++;
  if (i == grids->nflights) {
    if (pare__array_grow((void **)&grids->flight, &grids->flights_capacity, grids->nflights, sizeof *grids->flight) !=
        PARE_OK) {
      clReleaseEvent(event);
      return;
    }
    grids->flight[grids->nflights++] = (flight){.device = device};
  }
  if (grids->flight[i].event) clReleaseEvent(grids->flight[i].event);
  grids->flight[i].event = event;
}

pare_status pare__grids_end(pare__grid_turn *turn, cl_event event) {
  pare__grids *grids = turn->grids;
  pare_status status = PARE_OK;
  if (!grids) return status;
  /* the caller's is his */
  const bool kept = event && (event == turn->event || clRetainEvent(event) == CL_SUCCESS);
  if (kept && turn->grows) status = pare__device_flush(turn->device);
  if (kept && turn->grows && status == PARE_OK) wait_for(event, CL_RUNNING, pare__seconds() + PATIENCE);
  pthread_mutex_lock(&grids->lock);
  grids->entering--;
  if (kept) take_off(grids, turn->device, event);
  if (turn->grows) {
    grids->growing = false;
    pthread_cond_broadcast(&grids->moved);
  }
  pthread_mutex_unlock(&grids->lock);
  return status;
}
