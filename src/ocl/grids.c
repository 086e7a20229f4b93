/* Kernels whose grids may grow only while nobody else runs them. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/grids.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ocl/device.h"

/* Seconds. A call takes some microseconds, or as long as its kernel where drivers work within it: who is not back by
 * then hangs there, and who waited for him for longer would seem to hang, too. Kernels may take longer. */
#define PATIENCE_WITH_CALLS 1.0
#define PATIENCE 10.0

/* Grids of one group that need no turn: PoCL compares the larger of the first two lengths; the third is kept for
 * versions that mean what they say. */
typedef struct shape {
  size_t local[3]; /* zeros: the driver chooses for each grid, and what it has made code for is not known */
  size_t flat, largest;
} shape;

/* The latest launch of a kernel on a device: those before it have ended when it has. */
typedef struct flight {
  const pare__device *device; /* NULL: nobody's */
  double entered;             /* when the call that is being made began; 0: none is */
  cl_event event;             /* NULL: none is under way */
} flight;

struct pare__grids {
  char *name;
  pthread_mutex_t lock;
  shape *known;
  size_t nknown, known_capacity;
  flight *flight;
  size_t nflights, flights_capacity;
  double growing_until; /* 0: nobody lets it grow; else when who does must be further */
  struct pare__grids *next;
};

/* Of the process: devices that are open, and kernels that any of them launched. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pare__grids *all;
static atomic_uint ndevices;

/* ---- devices ---- */

static bool is_affected(const pare__device *device) {
  return strtol(device->info.driver_version, NULL, 10) < device->quirks->grids_in_turn_below;
}

static void grids_close(pare__grids *grids) {
  pthread_mutex_destroy(&grids->lock);
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
      grids->flight[i] = (flight){.device = NULL};
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
  if (!grids && (grids = grids_open(name))) {
    grids->next = all;
    all = grids;
    name = NULL; /* its own now */
  }
  pthread_mutex_unlock(&all_lock);
  free(name);
  kernel->grids = grids;
  return grids;
}

static shape shape_of(unsigned dims, const size_t *global, const size_t *local) {
  shape made = {.flat = dims > 1 ? PARE__MAX(global[0], global[1]) : global[0]};
  made.largest = dims > 2 ? PARE__MAX(made.flat, global[2]) : made.flat;
  for (unsigned d = 0; d < 3 && local; d++) made.local[d] = d < dims ? local[d] : 1;
  return made;
}

static shape *row_of(const pare__grids *grids, const shape *wanted) {
  for (size_t i = 0; i < grids->nknown; i++)
    if (memcmp(grids->known[i].local, wanted->local, sizeof wanted->local) == 0) return &grids->known[i];
  return NULL;
}

static bool is_known(const pare__grids *grids, const shape *wanted) {
  const shape *row = row_of(grids, wanted);
  return row && wanted->local[0] > 0 && wanted->flat <= row->flat && wanted->largest <= row->largest;
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

/* The lock is held, and let go of for a moment. */
static void pause_without_lock(pare__grids *grids) {
  pthread_mutex_unlock(&grids->lock);
  nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
  pthread_mutex_lock(&grids->lock);
}

/* The lock is held, and let go of meanwhile: until the device's launch has ended, or the time has come. */
static void wait_for_flight(pare__grids *grids, size_t i, double until) {
  while (grids->flight[i].entered > 0 && pare__seconds() < grids->flight[i].entered + PATIENCE_WITH_CALLS)
    pause_without_lock(grids);
  const cl_event event = grids->flight[i].event;
  if (!event || clRetainEvent(event) != CL_SUCCESS) return;
  pthread_mutex_unlock(&grids->lock);
  (void)pare__event_wait(event, CL_COMPLETE, until);
  clReleaseEvent(event);
  pthread_mutex_lock(&grids->lock);
}

static flight *find_flight(const pare__grids *grids, const pare__device *device) {
  for (size_t i = 0; i < grids->nflights; i++)
    if (grids->flight[i].device == device) return &grids->flight[i];
  return NULL;
}

/* NULL: there is no memory. */
static flight *flight_of(pare__grids *grids, const pare__device *device) {
  flight *own = find_flight(grids, device);
  if (own) return own;
  own = find_flight(grids, NULL);
  if (!own) {
    if (pare__array_grow((void **)&grids->flight, &grids->flights_capacity, grids->nflights, sizeof *grids->flight) !=
        PARE_OK)
      return NULL;
    own = &grids->flight[grids->nflights++];
  }
  *own = (flight){.device = device};
  return own;
}

void pare__grids_begin(pare__device *device, pare__kernel *kernel, unsigned dims, const size_t *global,
                       const size_t *local, pare__grid_turn *out) {
  *out = (pare__grid_turn){.device = device};
  if (!device->shares_grids || atomic_load_explicit(&ndevices, memory_order_relaxed) < 2) return;
  pare__grids *grids = out->grids = grids_of(kernel);
  if (!grids) return;
  const shape wanted = shape_of(dims, global, local);
  pthread_mutex_lock(&grids->lock);
  while (grids->growing_until > pare__seconds()) pause_without_lock(grids);
  out->grows = !is_known(grids, &wanted);
  if (out->grows) {
    const double until = grids->growing_until = pare__seconds() + PATIENCE;
    for (size_t i = 0; i < grids->nflights; i++) wait_for_flight(grids, i, until);
    grids->growing_until = pare__seconds() + PATIENCE_WITH_CALLS;
    remember(grids, &wanted);
  }
  flight *own = flight_of(grids, device);
  if (own) own->entered = pare__seconds();
  pthread_mutex_unlock(&grids->lock);
}

static pare_status wait_until_it_runs(const pare__grid_turn *turn, cl_event event) {
  const double until = pare__seconds() + PATIENCE;
  pthread_mutex_lock(&turn->grids->lock);
  turn->grids->growing_until = until;
  pthread_mutex_unlock(&turn->grids->lock);
  PARE__TRY(pare__device_flush(turn->device));
  (void)pare__event_wait(event, CL_RUNNING, until);
  return PARE_OK;
}

pare_status pare__grids_end(pare__grid_turn *turn, cl_event event) {
  pare__grids *grids = turn->grids;
  pare_status status = PARE_OK;
  if (!grids) return status;
  /* the caller's is his */
  const bool kept = event && (event == turn->event || clRetainEvent(event) == CL_SUCCESS);
  if (kept && turn->grows) status = wait_until_it_runs(turn, event);
  pthread_mutex_lock(&grids->lock);
  flight *own = flight_of(grids, turn->device);
  if (own) own->entered = 0;
  if (kept) { /* the launch before has ended, or ends before this one does */
    const cl_event gone = own ? own->event : event;
    if (own) own->event = event;
    if (gone) clReleaseEvent(gone);
  }
  if (turn->grows) grids->growing_until = 0;
  if (turn->grows && !event) grids->nknown = 0; /* it did not begin */
  pthread_mutex_unlock(&grids->lock);
  return status;
}
