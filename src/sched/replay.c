/* Replays: from plain launches to ticketed ones. SPDX-License-Identifier: Apache-2.0 */
#include "sched/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "kernel/family_ticketed.h"
#include "ocl/child.h"
#include "sched/multi.h"

/* After so many runs the seconds of a build are well spent. */
#define RUNS_BEFORE_BUILD 16
/* Of results, read at a time to be compared. */
#define PIECE_BYTES ((size_t)4 << 20)
#define REASON 320

typedef enum stage {
  FRESH,    /* not watched yet */
  WATCHED,  /* the steps are known, how long they take as launches is not */
  WANTED,   /* their program is not there */
  BUILDING, /* a child process makes it */
  BUILT,    /* not compared with plain launches yet */
  PROVEN,   /* not timed beside them yet */
  READY,
  PLAIN /* for good */
} stage;

/* A deferred storage, and what it was bound to when the tasks were watched. */
typedef struct bound {
  pare_tensor *tensor;
  int64_t start;
  size_t moving; /* number of its buffer */
  bool written;
} bound;

struct pare__replay {
  const pare__recording *recording;
  pare_context *context;
  pare__device *device;
  pare_executor executor;
  pare__replay_gate gate;
  stage stage;
  size_t runs, launches;
  pare__stretches stretches;
  pare__ticketed_parts *parts;
  pare__ticketed *ticketed;
  int64_t child;            /* 0: none runs */
  pare__timings timings[2]; /* of runs as launches, and of those with tickets, that built nothing */
  char why[PARE__REASON];   /* the executor was chosen, for people */
  size_t nbound, nmoving;
  bound *bound;
  cl_mem moving[PARE__MOST_MOVING];
};

pare_status pare__replay_open(pare_context *context, const pare__recording *recording, pare_executor executor,
                              pare__replay_gate gate, pare__replay **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) return pare__fail_memory("a plan", sizeof **out);
  pare__device *device = pare__context_device(context);
  const bool several = pare__context_members(context) > 1;
  const bool cpu = pare__device_info(device)->type == PARE_DEVICE_CPU && !several;
  const char *why = executor != PARE_EXECUTOR_AUTO ? "asked for" : cpu ? "" : "tickets are for one CPU device";
  **out = (pare__replay){.recording = recording,
                         .context = context,
                         .device = device,
                         .executor = executor,
                         .gate = gate,
                         .stage = executor == PARE_EXECUTOR_LAUNCHES || !cpu ? PLAIN : FRESH};
  snprintf((*out)->why, sizeof(*out)->why, "%s", why);
  if (cpu || executor != PARE_EXECUTOR_TICKETED) return PARE_OK;
  free(*out);
  *out = NULL;
  if (several)
    return pare__fail(PARE_ERR_UNSUPPORTED, "the ticketed executor is for one device; this context has more");
  return pare__fail(PARE_ERR_UNSUPPORTED, "the ticketed executor is for CPU devices; %s is none",
                    pare__device_info(device)->name);
}

/* What only building and proving need. */
static void forget_steps(pare__replay *replay) {
  pare__child_stop(replay->child);
  replay->child = 0;
  pare__ticketed_parts_close(replay->parts);
  replay->parts = NULL;
}

static void forget_tickets(pare__replay *replay) {
  forget_steps(replay);
  pare__ticketed_close(replay->ticketed);
  replay->ticketed = NULL;
  pare__stretches_close(&replay->stretches);
}

/* For good; why: NULL if that is told already. */
static void go_plain(pare__replay *replay, const char *why) {
  if (why) snprintf(replay->why, sizeof replay->why, "%s", why);
  forget_tickets(replay);
  replay->stage = PLAIN;
  pare__log(PARE_LOG_INFO, "a plan stays with plain launches: %s", replay->why);
}

void pare__replay_close(pare__replay *replay) {
  if (!replay) return;
  forget_tickets(replay);
  free(replay->bound);
  free(replay);
}

void pare__replay_count(const pare__replay *replay, pare_model_launches *out) {
  *out = (pare_model_launches){
      .launches = replay->launches, .without_tickets = replay->launches, .choosing = replay->stage < READY};
  snprintf(out->why, sizeof out->why, "%s", replay->why);
  if (replay->stage == PLAIN) out->executor = PARE_EXECUTOR_LAUNCHES;
  if (replay->stage != READY) return;
  out->executor = PARE_EXECUTOR_TICKETED;
  out->ticketed = replay->stretches.count;
  out->launches -= replay->stretches.nsteps - replay->stretches.count;
}

static void go_ticketed(pare__replay *replay) {
  replay->stage = READY;
  pare_model_launches counts;
  pare__replay_count(replay, &counts);
  pare__log(PARE_LOG_INFO, "a plan of %zu launches runs as %zu, %zu of them ticketed: %s", counts.without_tickets,
            counts.launches, counts.ticketed, replay->why);
}

/* ---- submitting ---- */

static pare_status go_on(const pare__replay *replay) { return replay->gate.go_on(replay->gate.user); }

static pare_status submit_tasks(const pare__replay *replay, size_t begin, size_t end) {
  for (size_t i = begin; i < end; i++) {
    PARE__TRY(go_on(replay));
    PARE__TRY(pare__submit(pare__recording_task(replay->recording, i)));
  }
  return PARE_OK;
}

static pare_status submit_plain(const pare__replay *replay) {
  if (pare__multi_plans(replay->context)) {
    PARE__TRY(go_on(replay));
    return pare__multi_submit_all(replay->recording, false);
  }
  return submit_tasks(replay, 0, pare__recording_tasks(replay->recording));
}

static pare_status submit_undivided(const pare__replay *replay) {
  PARE__TRY(go_on(replay));
  if (pare__multi_plans(replay->context)) return pare__multi_submit_all(replay->recording, true);
  for (size_t i = 0; i < pare__recording_tasks(replay->recording); i++) {
    pare__task task = *pare__recording_task(replay->recording, i);
    task.whole = true;
    PARE__TRY(go_on(replay));
    PARE__TRY(pare__submit(&task));
  }
  return PARE_OK;
}

/* Are the deferred storages bound as they were, each to the start of the same buffer or of another in its place? */
static bool bind_again(pare__replay *replay) {
  bool seen[PARE__MOST_MOVING] = {false};
  for (size_t i = 0; i < replay->nbound; i++) {
    const bound *b = &replay->bound[i];
    const cl_mem mem = pare__buffer_mem(pare__tensor_buffer(b->tensor));
    if (pare__tensor_start(b->tensor) != b->start || (seen[b->moving] && replay->moving[b->moving] != mem))
      return false;
    seen[b->moving] = true;
    replay->moving[b->moving] = mem;
  }
  return true;
}

static bool as_watched(pare__replay *replay) {
  return pare__context_pieces(replay->context) <= 1 && bind_again(replay);
}

static bool any_poisoned(const pare__stretch *stretch) {
  for (size_t i = 0; i < stretch->nreads; i++)
    if (pare__tensor_poisoned(stretch->reads[i]) != PARE_OK) return true;
  return false;
}

static pare_status submit_stretch(pare__replay *replay, const pare__stretch *stretch) {
  if (any_poisoned(stretch)) return submit_tasks(replay, stretch->begin, stretch->end);
  PARE__TRY(go_on(replay));
  const pare_status status =
      pare__ticketed_run(replay->ticketed, stretch->first_step, stretch->end_step, replay->moving);
  if (status == PARE_OK) return PARE_OK;
  pare__context_record(replay->context, status);
  for (size_t i = stretch->begin; i < stretch->end; i++) {
    const pare__task *task = pare__recording_task(replay->recording, i);
    for (unsigned k = 0; k < task->naccesses; k++)
      if (task->access[k].tensor && task->access[k].mode != PARE__READ)
        pare__tensor_poison(task->access[k].tensor, status);
  }
  return PARE_OK;
}

static pare_status submit_ticketed(pare__replay *replay) {
  if (!as_watched(replay)) return submit_plain(replay);
  size_t next = 0;
  for (size_t i = 0; i < replay->stretches.count; i++) {
    const pare__stretch *stretch = &replay->stretches.stretch[i];
    PARE__TRY(submit_tasks(replay, next, stretch->begin));
    PARE__TRY(submit_stretch(replay, stretch));
    next = stretch->end;
  }
  return submit_tasks(replay, next, pare__recording_tasks(replay->recording));
}

/* Notes how long the run takes that has the device to itself, unless something is built meanwhile. */
static pare_status submit_timed(pare__replay *replay, bool tickets) {
  const uint64_t preparations = pare__preparations();
  const bool idle = pare__device_finish(replay->device) == PARE_OK;
  const double begun = replay->gate.seconds();
  PARE__TRY(tickets ? submit_ticketed(replay) : submit_plain(replay));
  const bool done = pare__device_finish(replay->device) == PARE_OK;
  const double seconds = replay->gate.seconds() - begun;
  if (idle && done && pare__preparations() == preparations) pare__timings_add(&replay->timings[tickets], seconds);
  return PARE_OK; /* what a device fails at comes back at read or wait */
}

/* ---- watching ---- */

static pare_status add_bound(pare__replay *replay, size_t *capacity, pare_tensor *tensor, bool written) {
  for (size_t i = 0; i < replay->nbound; i++)
    if (replay->bound[i].tensor->storage == tensor->storage) {
      replay->bound[i].written = replay->bound[i].written || written;
      return PARE_OK;
    }
  const cl_mem mem = pare__buffer_mem(pare__tensor_buffer(tensor));
  size_t at = 0;
  while (at < replay->nmoving && replay->moving[at] != mem) at++;
  if (at == PARE__MOST_MOVING)
    return pare__fail(PARE_ERR_LIMIT, "a plan of more than %d buffers of inputs and outputs", PARE__MOST_MOVING);
  if (at == replay->nmoving) replay->moving[replay->nmoving++] = mem;
  PARE__TRY(pare__array_grow((void **)&replay->bound, capacity, replay->nbound, sizeof *replay->bound));
  replay->bound[replay->nbound++] =
      (bound){.tensor = tensor, .start = pare__tensor_start(tensor), .moving = at, .written = written};
  return PARE_OK;
}

static pare_status find_bound(pare__replay *replay) {
  size_t capacity = 0;
  for (size_t i = 0; i < pare__recording_tasks(replay->recording); i++) {
    const pare__task *task = pare__recording_task(replay->recording, i);
    for (unsigned k = 0; k < task->naccesses; k++) {
      pare_tensor *tensor = task->access[k].tensor;
      if (tensor && pare__storage_deferred(tensor->storage))
        PARE__TRY(add_bound(replay, &capacity, tensor, task->access[k].mode != PARE__READ));
    }
  }
  return PARE_OK;
}

static pare_status examine(pare__replay *replay, pare__capture *capture) {
  PARE__TRY(pare__stretches_find(replay->recording, capture, replay->device, &replay->stretches));
  PARE__TRY(find_bound(replay));
  if (replay->stretches.count == 0) {
    go_plain(replay, "no two launches in a row can be tickets");
    return PARE_OK;
  }
  PARE__TRY(
      pare__ticketed_parts_open(replay->device, replay->stretches.step, replay->stretches.nsteps, &replay->parts));
  replay->stage = replay->executor == PARE_EXECUTOR_TICKETED ? WANTED : WATCHED;
  return PARE_OK;
}

/* Launches as ever, and looks. What goes wrong with looking is no error of the work. */
static pare_status submit_watched(pare__replay *replay) {
  pare__capture capture;
  pare_status status = PARE_OK;
  pare__capture_begin(&capture, replay->device);
  for (size_t i = 0; i < pare__recording_tasks(replay->recording) && status == PARE_OK; i++) {
    capture.mark = i;
    status = go_on(replay);
    if (status == PARE_OK) status = pare__submit(pare__recording_task(replay->recording, i));
  }
  pare__capture_end(&capture);
  replay->launches = capture.count;
  if (status == PARE_OK && examine(replay, &capture) != PARE_OK) go_plain(replay, pare_message());
  pare__capture_free(&capture);
  return status;
}

static pare_status predict(pare__replay *replay) {
  pare__timings *timings = &replay->timings[false];
  PARE__TRY(submit_timed(replay, false));
  if (!pare__timings_full(timings)) return PARE_OK;
  if (!pare__tickets_predicted(&replay->stretches, pare__timings_median(timings), replay->why, sizeof replay->why)) {
    go_plain(replay, NULL);
    return PARE_OK;
  }
  *timings = (pare__timings){0};
  replay->stage = WANTED;
  return PARE_OK;
}

/* ---- the program ---- */

/* Opens the tables if the program is there and the device's self-test passed. */
static pare_status take_program(pare__replay *replay, pare__program *program) {
  char reason[REASON] = "";
  bool trusted;
  PARE__TRY(pare__ticketed_trusted(replay->device, &trusted, reason, sizeof reason));
  if (!trusted)
    return pare__fail(PARE_ERR_UNSUPPORTED, "ticketed launches are not trusted on %s: %s",
                      pare__device_info(replay->device)->name, reason);
  PARE__TRY(pare__ticketed_open(replay->parts, program, replay->stretches.step, replay->stretches.nsteps,
                                replay->moving, replay->nmoving, &replay->ticketed));
  replay->stage = BUILT;
  return PARE_OK;
}

static pare_status look_for_program(pare__replay *replay) {
  pare__program *program = NULL;
  if (replay->stage == BUILDING) {
    if (!pare__child_ended(replay->child)) return PARE_OK;
    replay->child = 0;
  }
  PARE__TRY(pare__ticketed_find(replay->parts, &program));
  if (!program && replay->executor == PARE_EXECUTOR_TICKETED) PARE__TRY(pare__ticketed_build(replay->parts, &program));
  if (program) return take_program(replay, program);
  if (replay->stage == BUILDING)
    return pare__fail(PARE_ERR_KERNEL, "the ticketed program could not be built in a child process");
  if (replay->runs < RUNS_BEFORE_BUILD) return PARE_OK;
  PARE__TRY(pare__ticketed_build_start(replay->parts, &replay->child));
  if (!replay->child)
    return pare__fail(PARE_ERR_UNSUPPORTED, "no program is built beside the runs: it is a part of a device, or no "
                                            "binaries are kept (PARE_BINARIES)");
  replay->stage = BUILDING;
  return PARE_OK;
}

/* ---- the proof ---- */

/* The hash of all that the plan wrote, read in pieces. */
static pare_status hash_buffer(pare__buffer *buffer, char *piece, pare__hash *hash) {
  const size_t nbytes = pare__buffer_bytes(buffer);
  for (size_t at = 0; at < nbytes; at += PIECE_BYTES) {
    const size_t here = PARE__MIN(PIECE_BYTES, nbytes - at);
    PARE__TRY(pare__buffer_read(buffer, at, here, piece));
    pare__hash_bytes(hash, piece, here);
  }
  return PARE_OK;
}

static pare_status hash_results(const pare__replay *replay, char key[33]) {
  bool taken[PARE__MOST_MOVING] = {false};
  char *piece = malloc(PIECE_BYTES);
  pare__hash *hash = pare__hash_open();
  pare_status status = piece && hash ? PARE_OK : pare__fail_memory("a comparison", PIECE_BYTES);
  for (size_t i = 0; i < replay->nbound && status == PARE_OK; i++) {
    const bound *b = &replay->bound[i];
    if (!b->written || taken[b->moving]) continue;
    taken[b->moving] = true;
    status = hash_buffer(pare__tensor_buffer(b->tensor), piece, hash);
  }
  if (hash) pare__hash_close(hash, key);
  free(piece);
  return status;
}

/* Runs both ways and compares; the results are those of neither unless that succeeds and they are the same. */
static pare_status compare(pare__replay *replay, bool *same) {
  char plain[33], ticketed[33];
  *same = false;
  PARE__TRY(submit_plain(replay));
  PARE__TRY(hash_results(replay, plain));
  PARE__TRY(submit_ticketed(replay));
  PARE__TRY(hash_results(replay, ticketed));
  *same = strcmp(plain, ticketed) == 0;
  return PARE_OK;
}

static bool note_key(const pare__replay *replay, char key[33]) {
  pare__hash *hash = pare__hash_open();
  if (!hash) return false;
  pare__hash_text(hash, "proof of a ticketed program, all of its results");
  pare__hash_text(hash, pare__ticketed_parts_key(replay->parts));
  pare__hash_close(hash, key);
  return true;
}

/* Was this program found to compute the same, or not, before? */
static bool proof_known(const pare__replay *replay, bool *same) {
  char key[33], *note = NULL;
  const bool known = note_key(replay, key) && pare__note_read(replay->device, key, &note) == PARE_OK && note;
  *same = known && strcmp(note, "same") == 0;
  free(note);
  return known;
}

/* The program is right. */
static void accept(pare__replay *replay) {
  forget_steps(replay);
  replay->stage = PROVEN;
  if (replay->executor == PARE_EXECUTOR_TICKETED) go_ticketed(replay);
}

static void reject(pare__replay *replay, const char *why) {
  pare__log(PARE_LOG_WARN, "a ticketed program is not used on %s: %s", pare__device_info(replay->device)->name, why);
  go_plain(replay, why);
}

static const char differs[] = "its results differ from those of plain launches";

static pare_status prove(pare__replay *replay) {
  bool same;
  char key[33];
  const pare_status status = compare(replay, &same);
  if (status != PARE_OK) PARE__TRY(go_on(replay)); /* what was stopped says nothing about the program */
  if (status == PARE_OK && note_key(replay, key)) (void)pare__note_write(replay->device, key, same ? "same" : "not");
  if (status == PARE_OK && same) {
    accept(replay);
    return PARE_OK;
  }
  char why[PARE__REASON];
  snprintf(why, sizeof why, "its results could not be compared: %.200s", pare_message());
  reject(replay, status == PARE_OK ? differs : why);
  return submit_plain(replay);
}

/* ---- the choice ---- */

static pare_status time_next(pare__replay *replay) {
  const pare__timings *launches = &replay->timings[false], *tickets = &replay->timings[true];
  if (!as_watched(replay)) return submit_plain(replay);
  PARE__TRY(submit_timed(replay, tickets->count < launches->count));
  if (!pare__timings_full(tickets)) return PARE_OK;
  if (pare__tickets_shorter(launches, tickets, replay->why, sizeof replay->why))
    go_ticketed(replay);
  else
    go_plain(replay, NULL);
  return PARE_OK;
}

/* ---- a submission ---- */

/* What is not possible is an error only where it was asked for. */
static pare_status advance(pare__replay *replay) {
  bool same;
  if (replay->stage != WANTED && replay->stage != BUILDING) return PARE_OK;
  const pare_status status = look_for_program(replay);
  if (status != PARE_OK) {
    go_plain(replay, pare_message());
    return replay->executor == PARE_EXECUTOR_TICKETED ? status : PARE_OK;
  }
  if (replay->stage != BUILT || !proof_known(replay, &same)) return PARE_OK;
  if (same)
    accept(replay);
  else
    reject(replay, differs);
  return PARE_OK;
}

pare_status pare__replay_submit(pare__replay *replay, bool undivided) {
  replay->runs++;
  if (undivided) return submit_undivided(replay);
  if (replay->stage == FRESH && replay->runs >= 2) {
    PARE__TRY(submit_watched(replay));
    return advance(replay);
  }
  PARE__TRY(advance(replay));
  switch (replay->stage) {
  case WATCHED: return predict(replay);
  case BUILT: return prove(replay);
  case PROVEN: return time_next(replay);
  case READY: return submit_ticketed(replay);
  default: return submit_plain(replay);
  }
}
