/* What the files of a crew share. SPDX-License-Identifier: Apache-2.0
 *
 * One lock guards everything. Functions here are called with it held, unless they say otherwise; those that call the
 * user's functions let go of it meanwhile. */
#ifndef PARE_SCHED_CREW_STATE_H
#define PARE_SCHED_CREW_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "sched/crew.h"

#define PARE__NO_JOB UINT32_MAX
#define PARE__NO_EDGE UINT32_MAX
#define PARE__JOBS_A_CHUNK 1024
#define PARE__LATENCY_BUCKETS 1024

/* Jobs that failed for the same reason share it. */
typedef struct pare__crew_failure {
  size_t references;
  pare_status status;
  char text[];
} pare__crew_failure;

typedef enum pare__crew_phase {
  PARE__JOB_FREE,
  PARE__JOB_WAITS,
  PARE__JOB_READY, /* its pieces are with the policy, in flight, or have run */
  PARE__JOB_ENDS,  /* on its way to be told */
  PARE__JOB_FAILED /* over; nobody was told yet */
} pare__crew_phase;

/* Its policy_task has the same index. */
typedef struct pare__crew_job {
  pare_status (*run)(void *argument, size_t member, int64_t begin, int64_t end);
  pare_status (*settle)(void *argument, size_t member, int64_t begin, int64_t end);
  void (*done)(void *argument, pare_status status);
  size_t (*local)(void *argument, pare__policy_local out[PARE__MOST_LOCAL]);
  void *argument;
  const char *name;
  int64_t left, held; /* steps that have not run; where the part begins that waits for the probes */
  int64_t least;      /* as pare__job says */
  double since;       /* ready */
  pare__crew_failure *failure;
  /* The first failure of a device that gave it back. */
  pare__crew_failure *refusal;
  uint32_t generation;     /* of the slot: the upper half of the id */
  uint32_t missing;        /* needs that are not done */
  uint32_t behind, before; /* edges: who needs it; whom it needed, for the trace */
  uint32_t next, previous; /* in the list that its phase has */
  uint32_t member;         /* that it is for; UINT32_MAX: any */
  uint32_t ran_on;         /* the member of its last piece, and when that was done: for the trace */
  double ran_until;
  uint16_t probes; /* that have not come back */
  bool flowed;     /* the trace has the arrows to it */
  uint8_t phase;
  bool waited; /* somebody waits for it */
  bool tells;
} pare__crew_job;

typedef struct pare__crew_count {
  double busy_seconds, copy_seconds, wait_seconds;
  uint64_t pieces;
} pare__crew_count;

typedef struct pare__crew_kernel {
  uint64_t barred,
      told;     /* devices, by bits: those that cannot run it; of which it was told that they gave back a job */
  double least; /* work that a piece shall have at least, by what was learned; 0: nothing was */
  pare__crew_count *count; /* of each member; a member's own are their sums over kernels */
} pare__crew_kernel;

/* A pooled list: who needs a job. When the need is met and there is a trace, it turns into a note of where from. */
typedef struct pare__crew_edge {
  uint32_t to, next; /* the job; noted: the member */
  double at;         /* noted: when */
} pare__crew_edge;

typedef struct pare__crew_flight {
  pare__policy_piece piece;
  double began, copied;  /* copied: seconds within its time, before its work, that were copies */
  double back;           /* when what it made began to go back; 0: it did not */
  bool pinned, finished; /* finished: its `run` left nothing to wait for */
  bool untimed;          /* its member made programs, kernels or plans meanwhile: its time says nothing */
} pare__crew_flight;

typedef struct pare__crew_worker {
  pare__crew *crew;
  size_t index;
  char *name, *key, *why; /* why it was lost */
  pthread_t thread;
  pthread_cond_t wake;
  atomic_bool asked; /* there may be something for it */
  size_t traced_as;  /* the device's number in the trace */
  bool started, asleep, lost, ended;
  bool is_group;
  bool abandoned; /* its thread hangs in a driver */
  bool in_call, settling;
  bool claimed; /* what its call does must happen once: nobody gives the piece to others until it returns */
  pare__crew_flight flight[PARE__IN_FLIGHT]; /* the oldest first; while in a call to `run` the last is that one's */
  size_t count;
  double call_since, settled_at, learned_at; /* settled_at: when the work of the last piece that ended was done */
  double active, active_until;               /* seconds in which it worked or copied, up to then */
  uint64_t calls, watched;                   /* the last that it made, and that the watchdog saw */
  double stalled;                            /* seconds that the watchdog saw it in that call */
  pare__policy_queue pinned;
  uint64_t copied_bytes;
  double copied_until[2]; /* the last slices in the trace's rows of copies */
} pare__crew_worker;

typedef struct pare__crew_energy pare__crew_energy;

struct pare__crew {
  pthread_mutex_t lock;
  pthread_cond_t progress, tick; /* for those who wait; for the watchdog */
  pare__crew_options options;
  pare__crew_worker *member;
  size_t nmembers, nlost, nthreads; /* nthreads: that may still touch this */
  unsigned resources;               /* classes that there are */
  bool stopping, ticking, plans;
  pthread_t watchdog;
  bool has_watchdog;

  pare__policy *policy;
  pare__performance *performance;
  size_t copies; /* the line of copies in it; work is bytes */
  char *performance_path;
  pare__policy_task *task;
  pare__crew_job **chunk;
  size_t nslots, spare, task_capacity, nchunks, chunk_capacity; /* spare: free slots */
  uint32_t free_job, ended_first, ended_last, failed_first, failed_last;
  pare__crew_edge *edge;
  size_t nedges, edge_capacity, edges_spare;
  uint32_t free_edge;
  size_t pending; /* jobs that are not over */
  size_t waiters;
  uint64_t order;
  uint32_t kernel_seen[64]; /* kernels by the hash of their name, plus 1 */
  pare__crew_kernel *kernel;
  size_t nkernels, kernel_capacity;

  pare__trace *trace;
  double traced_from; /* when that was opened */
  pare__crew_energy *energy;
  double opened, now; /* now: when the lock was taken last */
  uint64_t njobs, preparations;
  uint64_t latency[PARE__LATENCY_BUCKETS];
};

static inline pare__crew_job *pare__crew_job_at(const pare__crew *crew, uint32_t slot) {
  return &crew->chunk[slot / PARE__JOBS_A_CHUNK][slot % PARE__JOBS_A_CHUNK];
}
/* Takes the lock, which somebody else has. */
void pare__crew_lock_later(pare__crew *crew);
static inline void pare__crew_lock(pare__crew *crew) {
  if (pthread_mutex_trylock(&crew->lock) != 0) pare__crew_lock_later(crew);
  crew->now = pare__seconds();
}
static inline void pare__crew_unlock(pare__crew *crew) { pthread_mutex_unlock(&crew->lock); }

static inline pare__crew_count *pare__crew_count_of(const pare__crew *crew, uint32_t slot, size_t member) {
  return &crew->kernel[crew->task[slot].kernel].count[member];
}

/* ---- who is inside of whose functions: waiting there would never end ---- */

typedef struct pare__crew_frame {
  const pare__crew *crew;
  struct pare__crew_frame *outer;
} pare__crew_frame;
void pare__crew_enter(pare__crew_frame *frame, const pare__crew *crew);
void pare__crew_leave(pare__crew_frame *frame);

/* ---- crew_jobs.c ---- */

/* Slots and edges for so many jobs: then taking them does not fail. PARE_ERR_MEMORY. */
pare_status pare__crew_reserve(pare__crew *crew, size_t njobs, size_t nedges);
/* Nothing is there: slots are given in their order from 0. */
void pare__crew_order_slots(pare__crew *crew);
uint32_t pare__crew_take_slot(pare__crew *crew);
void pare__crew_free_slot(pare__crew *crew, uint32_t slot);
void pare__crew_add_edge(pare__crew *crew, uint32_t from, uint32_t to);
void pare__crew_failure_release(pare__crew_failure *failure);
/* The first failure of a job is the one that counts. */
void pare__crew_fail(pare__crew *crew, uint32_t slot, pare_status status, const char *text);
void pare__crew_fail_after(pare__crew *crew, uint32_t slot, pare__crew_failure *failure);
/* The member could not, with this thread's message: it gets no more of the job. false: nobody else shall try. */
bool pare__crew_refuse(pare__crew *crew, size_t member, uint32_t slot, pare_status status);
/* No device may run it any more. */
void pare__crew_strand(pare__crew *crew, uint32_t slot);
/* Sets this thread's message. */
pare_status pare__crew_raise(const pare__crew_failure *failure);
const char *pare__crew_job_name(const pare__crew *crew, uint32_t slot);
/* The least piece, in steps: what is worth its launch where the kernel is fastest, as far as that is known, or what the
 * job guesses. A task that does not have two of them stays whole, unless a device's memory does not hold it. */
int64_t pare__crew_choose_grain(pare__crew *crew, uint32_t slot);
/* All that it needs is there. */
void pare__crew_ready(pare__crew *crew, uint32_t slot);
/* Gives [begin, end) to the policy; what cannot be placed fails the job. */
void pare__crew_place(pare__crew *crew, uint32_t slot, int64_t begin, int64_t end);
/* So many steps ran, or will not run, each once. */
void pare__crew_ran(pare__crew *crew, uint32_t slot, int64_t steps);
/* A probe's time says nothing: the member gets one more. false: too little is left of the job. */
bool pare__crew_probe_again(pare__crew *crew, size_t member, const pare__policy_piece *piece);
/* A probe came back, or will not. */
void pare__crew_probed(pare__crew *crew, uint32_t slot);
/* Tells all that ended, and makes ready what needed it. Lets go of the lock around `done`. */
void pare__crew_tell_ended(pare__crew *crew);
/* The failure, which is then forgotten; raised on this thread after the lock is gone. */
pare__crew_failure *pare__crew_take_failure(pare__crew *crew, uint32_t slot);

/* ---- crew_run.c ---- */

/* What threads begin with: of a worker; of the crew's watchdog. */
void *pare__crew_work(void *argument);
void *pare__crew_watch(void *argument);
/* One device, or PARE__EVERY_DEVICE, or PARE__NO_DEVICE. */
void pare__crew_ask(pare__crew *crew, size_t member);
/* Puts a piece before all of the policy's. */
pare_status pare__crew_pin(pare__crew *crew, size_t member, const pare__policy_piece *piece);
/* Lets go of the lock while it tells. failed: its device, or the call that it is in hangs, so that what it has in
 * flight runs elsewhere; otherwise its thread still ends that. */
void pare__crew_retire(pare__crew *crew, size_t member, const char *why, bool failed);

/* ---- crew_stats.c ---- */

void pare__crew_note_latency(pare__crew *crew, double seconds);
void pare__crew_trace_piece(pare__crew *crew, const pare__crew_worker *worker, const pare__crew_flight *flight,
                            double from, double until);
/* The member worked or copied then; what is told twice counts once. */
void pare__crew_note_active(pare__crew_worker *worker, double from, double until);
/* Policies shall reckon with what was learned of the copies of a member. */
void pare__crew_use_copies(pare__crew *crew, size_t member);

/* ---- crew.c ---- */

/* The last that leaves frees it; called without the lock. */
void pare__crew_let_go(pare__crew *crew);

/* ---- crew_energy.c ---- */

/* Counters of the machine's processors, as Linux shows them in a folder (NULL: its own, /sys/class/powercap); NULL if
 * there are none that may be read. */
pare__crew_energy *pare__crew_energy_open(const char *folder);
void pare__crew_energy_close(pare__crew_energy *energy); /* NULL is allowed */
/* Reads them if that is due: they begin again some minutes later. NULL is allowed. */
void pare__crew_energy_keep_up(pare__crew_energy *energy, double now);
/* Joules since it was opened. */
double pare__crew_energy_joules(pare__crew_energy *energy);

#endif
