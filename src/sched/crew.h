/* Devices that work at the same time: jobs in pieces, under a policy. SPDX-License-Identifier: Apache-2.0
 *
 * A crew has one host thread a member (a device). Jobs are submitted with the jobs that they need; when these are done
 * the policy says which member runs which pieces. The crew knows no tensors and calls no OpenCL: what a piece is, is
 * the job's two functions. Above it are operations on tensors (floor 4's executor), whole models that split their
 * batches (floor 6) and compression by tensors (floor 7); tests use jobs that do nothing.
 *
 * Every piece runs exactly once, unless its member is lost under it: then it runs again elsewhere. `run` must give the
 * same bits however the range is cut and wherever it runs, and running twice must not harm. */
#ifndef PARE_SCHED_CREW_H
#define PARE_SCHED_CREW_H

#include <pare/schedule.h>

#include "sched/policy.h"
#include "sched/trace.h"

typedef struct pare__crew pare__crew;
/* Names a job for as long as the crew lives, also when the job is done and forgotten; 0 names none. */
typedef uint64_t pare__job_id;

typedef struct pare__crew_member {
  const char *name; /* copied; what traces and tables show */
  const char *key;  /* copied; device and driver: names its lines in the file of performance models */
  pare__policy_device seen;
  double weight; /* first guess of its relative speed */
  /* A group of devices: its jobs' pieces are divided by a crew of its own, which shows them in the trace and gives up
   * devices that hang. */
  bool is_group;
} pare__crew_member;

typedef struct pare__job {
  /* Enqueues or does the work of [begin, end) on the member, on the member's own thread, no lock held. PARE_ERR_DEVICE
   * loses the member and the piece runs elsewhere. Other failures that may be the device's (pare__of_device) give the
   * piece to another device, and this one gets no more of the job, nor after PARE_ERR_KERNEL of others with its
   * `kernel`; when all have failed, the job fails as the first did. Any other failure fails the job. */
  pare_status (*run)(void *argument, size_t member, int64_t begin, int64_t end);
  /* Waits until what `run` enqueued is done; called once for each `run` that succeeded, in their order, after the next
   * piece was enqueued if there is one: so a device never idles between pieces. NULL: `run` waits itself. Failures as
   * above. */
  pare_status (*settle)(void *argument, size_t member, int64_t begin, int64_t end);
  /* Once, when all is done or it failed, or a job that it needs failed (then with that job's status and message, and
   * `run` was not called); on some member's thread, or within submit; no lock held. It may submit jobs, and must not
   * wait for any. NULL: nothing to do. */
  void (*done)(void *argument, pare_status status);
  void *argument;
  const char *name;   /* for traces; lives until `done`; NULL: the kernel's */
  const char *kernel; /* of the performance models; copied */
  int64_t n, grain;   /* pieces begin at multiples of grain; n = 1 or grain >= n: it is not split */
  /* A piece has so many steps at least while nothing is known of the kernel; then as many as are worth a launch by what
   * was learned of it. 0: a grain is enough. */
  int64_t least;
  double per_step; /* work in one of n steps, in the kernel's own unit (floating-point operations, bytes); 0: 1 */
  double nbytes, read_bytes; /* as pare__policy_task says */
  size_t member;             /* the only member that shall run it, while it is there; PARE__NO_DEVICE: any */
  int16_t priority;          /* higher first */
  uint8_t resources;         /* where it may run; 0: PARE__ON_ANY */
  bool uneven;               /* its steps may take unlike times */
  bool tells;                /* `done` makes a failure known: who needs the job, or waits for it, is told nothing */
  /* As options.local, for this job; NULL: that one. */
  size_t (*local)(void *argument, pare__policy_local out[PARE__MOST_LOCAL]);
} pare__job;

typedef struct pare__crew_options {
  const pare__policy_class *policy;    /* NULL: the default */
  const pare__policy_weights *weights; /* copied; NULL: the usual ones for the makespan */
  const char *performance; /* file of performance models, read at the start, written at the end; NULL: none */
  /* A piece that makes no progress for so long has lost its member; 0: never. */
  double stall_seconds;
  const char *trace; /* written when the crew closes; NULL: none */
  /* Another's, which several crews write: members are devices shared_first, … of it, or if `shared_as` is not NULL
   * those that it says, and it is closed after the crew. NULL: none. */
  pare__trace *shared;
  size_t shared_first;
  const size_t *shared_as; /* lives as long as the crew */
  const char *powercap;    /* where the processor's counters of energy are; NULL: where Linux has them */
  unsigned group;          /* whose the members are all, for messages; 0: they are all there are */
  /* A member was lost: once each, no lock held. NULL: it is logged as a warning. */
  void (*lost)(void *user, size_t member, const char *message);
  /* How many bytes of a job's inputs are already where; NULL: all is at the host. Called under the crew's lock: it
   * must be quick and must not call the crew. */
  size_t (*local)(void *user, void *argument, pare__policy_local out[PARE__MOST_LOCAL]);
  void *user;
} pare__crew_options;

/* May it be the device's fault, so that another can do what failed there? */
bool pare__of_device(pare_status status);

/* Sets the watts and prices of members from the options, or from PARE_WATTS and PARE_PRICES. PARE_ERR_ARGUMENT. */
pare_status pare__schedule_power(const pare_schedule_options *options, pare__crew_member *member, size_t nmembers);

/* member: copied. Starts the threads. PARE_ERR_MEMORY, PARE_ERR_ARGUMENT, PARE_ERR_IO (trace). */
pare_status pare__crew_open(const pare__crew_member *member, size_t nmembers, const pare__crew_options *options,
                            pare__crew **out);
/* Lets what was submitted end, then ends the threads and writes trace and models; the trace's failure comes back. A
 * thread that hangs in its driver is left behind, with what it may still touch. NULL is allowed. */
pare_status pare__crew_close(pare__crew *crew);

/* The job runs when all of `after` are done (ids of jobs that are done already, and 0, count as done). Any thread, also
 * from `done`. PARE_ERR_ARGUMENT: a job of nobody's resource class (names it and says what there is), an id that was
 * never given. *out may be NULL. n = 0: done at once. */
pare_status pare__crew_submit(pare__crew *crew, const pare__job *job, const pare__job_id *after, size_t nafter,
                              pare__job_id *out);
/* Many at once: after[begin[i]] … after[begin[i + 1] - 1] index jobs of this call; policies that plan see them whole.
 * PARE_ERR_ARGUMENT names a cycle; then nothing was submitted. */
pare_status pare__crew_submit_graph(pare__crew *crew, const pare__job *job, size_t njobs, const size_t *begin,
                                    const uint32_t *after, pare__job_id *out);
/* Waits; the job's failure comes back with its message if it is the first to ask. Waiting from `run` or `done` is
 * PARE_ERR_ARGUMENT: it would never end. */
pare_status pare__crew_wait(pare__crew *crew, pare__job_id id);
/* Waits for all that was submitted; the first failure since the last call that nobody was told. */
pare_status pare__crew_wait_all(pare__crew *crew);

size_t pare__crew_members(const pare__crew *crew);
/* Is this thread in one of its jobs' functions, or in a callback of the crew's? */
bool pare__crew_is_inside(const pare__crew *crew);
/* Does its policy plan graphs that it sees whole? */
bool pare__crew_plans(const pare__crew *crew);
bool pare__crew_is_lost(pare__crew *crew, size_t member);
/* Members may be given up while they are in a call, which may return later (options.stall_seconds). */
bool pare__crew_gives_up(const pare__crew *crew);
/* Its thread is in a call that may never return, and may touch what that call was given. */
bool pare__crew_hangs(pare__crew *crew, size_t member);
/* The member takes no more work: it ends what it has begun, all else runs elsewhere. `why` goes to options.lost. */
void pare__crew_lose(pare__crew *crew, size_t member, const char *why);
/* As pare_schedule_stats says; counters since the crew was opened. */
pare_status pare__crew_stats(pare__crew *crew, pare_schedule_stats *out);
/* The joules of devices that were busy so long: what watts that somebody gave say of them, else their shares of what
 * the processor's counters say; negative: those cannot be read. */
void pare__share_joules(const pare__policy_device *seen, size_t ndevices, double elapsed, double counted,
                        pare_device_stats *device);
/* Of the processor's counters, since the crew was opened; negative: they cannot be read. */
double pare__crew_joules(pare__crew *crew);
/* What the models say of a kernel on a member: n units take a + b n seconds. */
typedef struct pare__crew_line {
  double a, b;
  bool known; /* false: a guess, by the weights of devices, or nothing at all */
  bool lost;
} pare__crew_line;
/* How often members made programs, kernels or plans: what took place beside that says nothing of speed. */
uint64_t pare__crew_preparations(pare__crew *crew);
/* line: one a member. */
void pare__crew_lines(pare__crew *crew, const char *kernel, pare__crew_line *line);
/* What the crew is doing, for a person who wonders why it hangs: members, pieces in flight, queues, jobs that wait and
 * for what. malloc'ed. */
pare_status pare__crew_state(pare__crew *crew, char **out);
/* For `run` and `settle` on their member, before what must happen once, such as writing results over what they were
 * computed from. false: the member hung, and was given up; nothing may be touched then. true: until the call returns,
 * or gives it up again, the watchdog leaves the member alone; so nothing may follow that could hang. */
bool pare__crew_claim(pare__crew *crew, size_t member);
void pare__crew_unclaim(pare__crew *crew, size_t member);
/* Told inside of `run`: what it enqueued is done already. Drivers that work within the enqueueing call leave nothing to
 * wait for; the piece is settled before the next one runs then, whose time would be taken for its own otherwise. */
void pare__crew_finished(pare__crew *crew, size_t member);
/* Told inside of `settle`: the piece's work is done, and what follows is reading it. */
void pare__crew_worked(pare__crew *crew, size_t member);
/* Copies of a piece are told here, inside its `run` or `settle` and only there, so that counters and traces tell them
 * from work, and policies learn what they cost: before its work; behind it; or both, by the host itself, after the
 * device's work, which teaches nothing. They may overlap with the work of other pieces. from = until: nobody knows. */
typedef enum pare__crew_copy { PARE__COPIED_IN, PARE__COPIED_BACK, PARE__COPIED_AT_HOST } pare__crew_copy;
void pare__crew_copied(pare__crew *crew, size_t member, pare__crew_copy kind, size_t nbytes, double from, double until);
/* Seconds, monotonic: the clock of the calls above. */
double pare__crew_now(void);

/* ---- the crew of a context (crew_context.c) ---- */

/* The crew whose members are those of the context, opened as its schedule says by the first who asks, closed with it:
 * operations on tensors and whole models share it. PARE_ERR_ARGUMENT: the context has one device only. */
pare_status pare__crew_of(pare_context *context, pare__crew **out);
/* The crew whose members are the context's groups, likewise; without groups, its devices. */
pare_status pare__crew_of_groups(pare_context *context, pare__crew **out);
/* NULL: nobody asked yet. */
pare__crew *pare__crew_of_if_open(const pare_context *context);
/* Does any of the context's members hang? Also when its crew is closed: as it was then. */
bool pare__crew_of_hangs(const pare_context *context);
/* One more object that lives as long as the context's crew; `close` runs while the crew still works, the last kept
 * first. Replaces nothing: whoever keeps something asks for it by its `close`, NULL if it is not there yet. */
pare_status pare__crew_keep(pare_context *context, void *state, void (*close)(void *state));
void *pare__crew_kept(const pare_context *context, void (*close)(void *state));

#endif
