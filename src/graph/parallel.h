/* A model in a context with several devices: a replica on each, and runs divided among them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * data      pieces of the batch run on any replica, under the crew's policy
 * pipeline  each replica runs a stage, consecutive tasks of the plan, of every part of the batch, one after the other
 * task      a run goes whole to one replica, several at once to several; or, of a run whose operations do not all need
 *           each other, each operation goes whole to a device: those of one more copy of the model (together.c)
 * columns   each operation is divided: of that copy, too
 *
 * auto predicts how long each would take (forecast.c), and takes the shortest.
 *
 * In a context with groups of devices the members are the groups: a replica is opened in the context of a group, where
 * it is a team again, or one model whose operations are divided.
 *
 * Pieces have PARE__LEAST_ROWS samples at least, whatever the number of devices, and the last takes the rest: kernels
 * for a few rows add in another order, and results must not tell how a batch was cut. That samples do not depend on
 * each other is not believed but tried: the first run of each shape of samples is made twice for a few of them, the
 * second time with other neighbours, and the bits compared. */
#ifndef PARE_GRAPH_PARALLEL_H
#define PARE_GRAPH_PARALLEL_H

#include "graph/run.h"
#include "sched/crew.h"
#include "sched/timings.h"

#define PARE__LEAST_ROWS 8

typedef struct pare__team pare__team;

/* Opens the file on every member, beside each other. Members on which that fails because of the device are lost, as
 * long as one is left. PARE_ERR_UNSUPPORTED: a way to be parallel that models lack. */
pare_status pare__team_open(pare_context *context, const char *path, const pare_model_options *options,
                            pare__team **out);
void pare__team_close(pare__team *team); /* NULL is allowed */
/* As pare_model_run; the inputs are checked, and all is done on return. */
pare_status pare__team_run(pare__team *team, unsigned ninputs, pare_tensor *const *inputs, unsigned noutputs,
                           const bool *wanted, pare_tensor **outputs);
/* The first replica that is there, of the first group's, for what is asked of one device, and copies of tensors in its
 * context. */
pare_model *pare__team_first(const pare__team *team);
pare_status pare__team_copy(pare_context *to, size_t count, pare_tensor *const *from, pare_tensor **out);
void pare__team_interrupt(pare__team *team, bool interrupted);
/* Of what ran last: the copy whose operations are on all devices, or the first replica; choosing: any of them. */
void pare__team_launches(pare__team *team, pare_model_launches *out);
void pare__team_division(pare__team *team, pare_model_division *out);

/* ---- between the files of it ---- */

/* Elements in host memory, row-major. */
typedef struct pare__host_array {
  pare_dtype dtype;
  pare__shape shape;
  size_t row_bytes; /* of one sample, if it is split */
  void *data;
} pare__host_array;

/* What was found of samples of one shape. */
typedef struct pare__proof {
  char *key;
  bool splits;
  char why[256]; /* if it does not */
} pare__proof;

/* Rows [first, first + rows) on a replica. */
typedef struct pare__part {
  int64_t first, rows;
  pare_tensor **input, **output; /* one allocation */
} pare__part;

/* How runs with samples of one shape are cut in stages. Runs in flight may have older cuts. */
typedef struct pare__stages {
  struct pare__stages *older;
  char *key;
  size_t count, ntasks;
  size_t *cut;          /* where each ends, in tasks; the last: all */
  size_t *member;       /* whose each is */
  double *seconds;      /* of each, for a sample: as measured on one replica, or as predicted of its device */
  double *task_seconds; /* of each task, for a sample, on one replica */
  double *speed;        /* of each member, by which it was cut */
  /* The team's lock guards what follows. */
  unsigned ncuts;       /* how often it was cut again */
  pare__timings *times; /* of the last parts in each, for a sample */
  double longest;       /* of them, as measured; 0: not yet */
  bool judged;          /* against the cut before it */
  unsigned rests;       /* so many more looks change nothing */
} pare__stages;

/* Runs of the copy whose operations are on all devices, in one of its two ways. */
typedef struct pare__tried {
  bool any;
  size_t favoured;       /* how often in turn it was predicted to be much shorter, untried */
  pare__timings timings; /* of a unit, in runs that built nothing */
  double before;         /* their median when there were as few as fit into them once less */
  bool settled;          /* it gets no shorter: what is known of the operations' kernels is enough */
  size_t passed, rests;  /* so many runs took another way since, and after how many it is tried again */
} pare__tried;

/* How a run of one shape is spread over its tasks. */
typedef struct pare__spread {
  char *key;
  size_t ntasks;
  double *part;                  /* of each task, of the whole; they add up to 1 */
  bool *divides;                 /* could columns divide it? */
  pare__order *order;            /* of the tasks; NULL: there are too many */
  pare__tried columns, branches; /* the team's lock guards these */
} pare__spread;

struct pare__team {
  pare__team *left_before; /* of those that stayed open because a device hangs */
  pare_context *context;
  bool of_groups;
  pare__crew *crew;
  char *path, *without;
  const char *name; /* of the file, without folders */
  pare_model_options options;
  pare_parallel parallel;
  size_t nmembers;
  pare_model **replica; /* of each member; NULL: it is lost */
  atomic_int running;   /* calls of pare__team_run */
  pthread_mutex_t together_lock;
  pare_model *together;     /* the copy whose operations are on all devices; NULL: nobody asked for it yet */
  atomic_bool no_together;  /* there was no memory for it, or the like */
  atomic_bool ran_together; /* the last run was one of it */
  pthread_mutex_t lock;     /* guards what follows */
  size_t nspreads, spreads_capacity;
  pare__spread **spread; /* kept as long as the model */
  size_t nproofs, proofs_capacity;
  pare__proof **proof;
  size_t nstages, stages_capacity;
  pare__stages **stages;        /* the newest of each shape; kept as long as the model */
  pare_model_division division; /* of the last run */
};

/* Seconds that a run, and those that are in flight with it, would take each way; NaN: not known, or it cannot be. */
typedef struct pare__forecast {
  bool known;                            /* anything at all */
  double seconds[PARE_PARALLEL_OFF + 1]; /* by task: whole runs */
  double branches;                       /* by task: operations that do not need each other, beside each other */
} pare__forecast;

/* One run, while it is divided. */
typedef struct pare__flight pare__flight;
typedef struct pare__divided {
  atomic_int references; /* a thread that hangs in its driver may still use it */
  pare__team *team;
  bool split;
  int64_t batch, units; /* samples; pieces of PARE__LEAST_ROWS */
  unsigned ninputs, noutputs;
  pare__host_array *input, *output;
  bool *wanted;
  char *key;            /* dtypes and shapes of one sample */
  pthread_mutex_t lock; /* guards what follows, and the outputs until all is done */
  pare__flight *flights;
  bool *ran;            /* pieces, on each member; not those of a pipeline */
  bool together;        /* all devices work on its operations */
  bool by_branches;     /* then: each goes whole to one; else each is divided */
  pare__spread *spread; /* by which it was predicted; NULL: it was not */
  int64_t spread_units; /* and for so many units */
  pare__stages *stages; /* of a pipeline; NULL: there is none */
  size_t nmicrobatches;
  struct pare__microbatch *microbatch, *timed; /* timed: the run by which stages were found; NULL: there was none */
  bool equal;                                  /* of a proof */
  char why[256];
} pare__divided;

/* divide.c: the pieces of a run, and the proof that there may be any. */
pare_status pare__divided_run(void *argument, size_t member, int64_t begin, int64_t end);
pare_status pare__divided_settle(void *argument, size_t member, int64_t begin, int64_t end);
pare_status pare__divided_prove(void *argument, size_t member, int64_t begin, int64_t end);
void pare__divided_release(pare__divided *divided);
int64_t pare__divided_row(const pare__divided *divided, int64_t unit);
pare_status pare__divided_replica(const pare__divided *divided, size_t member, pare_model **out);
/* Its inputs, over the caller's memory. Close it in any case. */
pare_status pare__part_open(const pare__divided *divided, size_t member, pare__part *one);
void pare__part_close(const pare__divided *divided, pare__part *one);
/* Its outputs to where all are put together. done: its work is known to be. */
pare_status pare__part_read(pare__divided *divided, const pare__part *one, bool done);

/* pipeline.c: stages. How this run is cut, found by a timed run if samples of such a shape are new; `why` for people.
 * PARE_ERR_UNSUPPORTED: it cannot be. */
pare_status pare__pipeline_decide(pare__divided *divided, const char *key, char why[320]);
pare_status pare__pipeline_run(pare__divided *divided);
void pare__microbatches_close(pare__divided *divided);
/* Rows of each part but the last, which takes the rest: as many times PARE__LEAST_ROWS, and few shapes. */
int64_t pare__pipeline_rows(const pare__divided *divided, size_t nstages);

/* stages.c. task_seconds: of each task for a sample; speed: of each member, in proportion. Close *out also if it fails.
 * PARE_ERR_UNSUPPORTED: there are no tasks. */
pare_status pare__stages_open(const pare__team *team, const char *key, const double *task_seconds, size_t ntasks,
                              const double *speed, pare__stages **out);
void pare__stages_close(pare__stages *stages); /* and all older ones; NULL is allowed */
/* Cuts where the time so far, as a part of all, comes closest to the weights so far, as a part of all of them. */
void pare__stages_cut(pare__stages *stages, const double *seconds, size_t ntasks, const double *weight);
/* Samples a second, by the crew's models if these are known, else the member's weight. */
double pare__stages_speed(const pare__team *team, size_t member, const pare__crew_line *line);
/* A part took so long in the stage, for each sample. */
void pare__stages_note(pare__stages *stages, size_t stage, double seconds);
/* The same, or another cut to take from now on: of those that are there if a member is lost; such that the longest
 * stage is much shorter, by what the stages took; or the cut before, if that was better after all. */
pare__stages *pare__stages_improve(const pare__team *team, pare__stages *stages);

/* parallel.c. Of a member: the context of its device, or of a group's; its weight. */
pare_context *pare__team_context(const pare__team *team, size_t member);
double pare__team_weight(const pare__team *team, size_t member);
/* What devices of a group built since `before`, their threads did: the crew that times the group's pieces is told on
 * this thread. */
uint64_t pare__team_preparations(const pare__team *team, size_t member);
void pare__team_prepared(const pare__team *team, size_t member, uint64_t before);
/* As the crew's models know runs, or samples, of the shape; malloc'ed. */
char *pare__divided_kernel(const pare__divided *divided, const char *key);
/* "f32[*,3,224,224] i64[*,8]": dtypes and shapes of one sample; whole: of all. Of samples, or of the whole run, as it
 * is divided. malloc'ed. */
char *pare__divided_key(const pare__divided *divided, bool whole);
char *pare__divided_run_key(const pare__divided *divided);
/* The run's, or what it asks of a member for itself. */
pare__job pare__divided_job(pare__divided *divided, const char *kernel, int64_t units, size_t member);

/* decide.c. PARE_ERR_UNSUPPORTED: it cannot take the way that was asked for. */
pare_status pare__divided_decide(pare__divided *divided);

/* forecast.c. kernel: as the crew knows runs, or samples, of this shape; nruns are in flight. PARE_ERR_MEMORY. */
pare_status pare__forecast_make(const pare__divided *divided, const char *kernel, int nruns, pare__forecast *out);
/* "; predicted ms: data 4.1, task 8" */
void pare__forecast_say(const pare__forecast *forecast, char *text, size_t capacity);
/* NULL: nothing is known yet. */
pare__spread *pare__spread_of(pare__team *team, const char *key);
void pare__spread_close(pare__spread *spread); /* NULL is allowed */

/* together.c. May a way of the copy be taken if it is shorter? For runs that cannot be split: others need no copy of
 * the weights besides. tried: of the run's spread. */
void pare__tried_add(pare__tried *tried, double seconds); /* one more run, that built nothing */
bool pare__together_tried_or_worth_it(const pare__divided *divided, pare__tried *tried, double seconds, double usual);
pare_status pare__together_run(const pare__divided *divided, pare_tensor *const *inputs, pare_tensor **outputs);

#endif
