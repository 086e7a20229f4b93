/* The context: opens the selected devices and keeps what went wrong until somebody waits.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensor/context.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SELECTED 256
#define FLAG_COUNT 256 /* messages of a bad index; those that come later share the last */

struct pare_context {
  atomic_int references;
  atomic_bool closed, left_open;
  pare_context *left_before; /* in the list of those left open */
  pid_t process;             /* OpenCL does not survive fork: the child must not touch the driver */
  pare_device_list *list;    /* NULL in a member of another context, which has it */
  pare__device *device;      /* of several members: the first one's */
  pare_context **member;     /* NULL if there is one device only */
  double *weight;
  size_t nmembers;
  size_t ngroups, *group_begin; /* 0, NULL: there are none; nmembers at the end */
  unsigned *group_number;       /* in the selector */
  pare_context **group;
  pare_context *whole; /* of a group that has several members, which are that one's */
  size_t which;        /* of its groups */
  pare_schedule_options schedule;
  _Atomic(void *) attached;
  void (*close_attached)(void *state);
  bool (*is_inside)(void *state);
  atomic_int pieces;
  pare__residency residency;
  _Atomic(const pare__waiting *) waiting;
  pthread_mutex_t lock; /* guards what follows */
  pare_status failed;
  char *failure;
  pare_status flagged; /* of members */
  char *flagging;
  pare__buffer *flags;
  unsigned flags_used;
  char *flag_message[FLAG_COUNT];
};

static pare_status memory_limit(const pare_context_options *options, uint64_t *out) {
  const char *text = getenv("PARE_MEMORY");
  *out = options ? options->memory_limit_bytes : 0;
  if (*out == 0 && text && *text) return pare__parse_bytes("PARE_MEMORY", text, out);
  return PARE_OK;
}

static pare_status make(pare_context **out) {
  pare_context *context = calloc(1, sizeof *context);
  *out = context;
  if (!context) return pare__fail_memory("a context", sizeof *context);
  atomic_init(&context->references, 1);
  context->process = getpid();
  pthread_mutex_init(&context->lock, NULL);
  pthread_mutex_init(&context->residency.lock, NULL);
  return PARE_OK;
}

static pare_status copy_text(const char **text) {
  if (!*text) return PARE_OK;
  *text = pare__strdup(*text);
  return *text ? PARE_OK : pare__fail_memory("options of a context", 0);
}

static pare_status keep_schedule(pare_context *context, const pare_schedule_options *given) {
  static const pare_schedule_options defaults = PARE_SCHEDULE_OPTIONS_INIT;
  context->schedule = given ? *given : defaults;
  const char **text[] = {&context->schedule.policy, &context->schedule.objective, &context->schedule.trace,
                         &context->schedule.watts, &context->schedule.prices};
  const char *source[PARE__COUNT(text)];
  for (size_t i = 0; i < PARE__COUNT(text); i++) {
    source[i] = *text[i];
    *text[i] = NULL;
  }
  for (size_t i = 0; i < PARE__COUNT(text); i++) {
    *text[i] = source[i];
    PARE__TRY(copy_text(text[i]));
  }
  return PARE_OK;
}

/* The limit is for a device as a whole: parts of it that are selected have shares of it, by their compute units. An
 * account that they draw from together would let two of them that have begun with half a piece each refuse each other
 * the rest, now and then. */
static uint64_t share_of_limit(const pare_device_choice *choice, size_t count, size_t member, uint64_t limit) {
  uint64_t units = 0;
  for (size_t i = 0; i < count; i++)
    if (choice[i].index == choice[member].index) units += choice[i].compute_units;
  const uint64_t own = choice[member].compute_units;
  if (limit == 0 || units <= own) return limit;
  return PARE__MAX(limit / units * own + limit % units * own / units, UINT64_C(1));
}

/* A context for each device, under this one. */
static pare_status open_members(pare_context *context, const pare_device_choice *choice, size_t count, uint64_t limit) {
  context->member = calloc(count, sizeof *context->member);
  context->weight = calloc(count, sizeof *context->weight);
  if (!context->member || !context->weight) return pare__fail_memory("a context", count * sizeof *context->member);
  for (; context->nmembers < count; context->nmembers++) {
    pare_context *member;
    PARE__TRY(make(&member));
    context->member[context->nmembers] = member;
    context->weight[context->nmembers] = choice[context->nmembers].weight;
    pare_status status = keep_schedule(member, NULL);
    if (status == PARE_OK)
      status = pare__device_open(context->list, &choice[context->nmembers],
                                 share_of_limit(choice, count, context->nmembers, limit), &member->device);
    if (status != PARE_OK) {
      pare__context_release(member);
      return status;
    }
    if (context->nmembers == 0)
      context->device = member->device;
    else
      pare__device_lead(member->device, context->device);
  }
  return PARE_OK;
}

/* ---- groups ---- */

static bool begins_group(const pare_device_choice *choice, size_t i) {
  return i == 0 || choice[i].group == 0 || choice[i].group != choice[i - 1].group;
}

/* More than one, and one that has several devices: else there are members, and nothing inside of them. */
static bool has_groups(const pare_device_choice *choice, size_t count) {
  size_t ngroups = 0;
  for (size_t i = 0; i < count; i++) ngroups += begins_group(choice, i);
  return ngroups > 1 && ngroups < count;
}

static pare_status check_ways(pare_context *context, bool grouped) {
  pare_schedule_options *schedule = &context->schedule;
  const pare_parallel outer = schedule->parallel, inside = schedule->inside;
  if (inside == PARE_PARALLEL_OFF)
    return pare__fail(PARE_ERR_ARGUMENT,
                      "groups whose devices do nothing: inside of groups any way is allowed but off");
  if (inside != PARE_PARALLEL_AUTO && (outer == PARE_PARALLEL_COLUMNS || outer == PARE_PARALLEL_OFF))
    return pare__fail(PARE_ERR_ARGUMENT, "%s is for all devices, not for groups of them: there is no way inside of it",
                      outer == PARE_PARALLEL_OFF ? "off" : "columns");
  if (inside != PARE_PARALLEL_AUTO && !grouped)
    return pare__fail(
        PARE_ERR_ARGUMENT,
        "a way inside of groups of devices is asked for, and two groups or more, of which one has several "
        "devices, are not selected; write them in parentheses, such as (gpu:0,gpu:1),cpu");
  if (outer != PARE_PARALLEL_PIPELINE) return PARE_OK;
  if (inside != PARE_PARALLEL_AUTO && inside != PARE_PARALLEL_COLUMNS)
    return pare__fail(PARE_ERR_ARGUMENT, "a stage of a pipeline of groups is divided by columns, and by nothing else");
  if (grouped) schedule->inside = PARE_PARALLEL_COLUMNS;
  return PARE_OK;
}

/* A context over members [begin, end). */
static pare_status open_group(pare_context *whole, size_t begin, size_t end, pare_context **out) {
  pare_context *group;
  PARE__TRY(make(&group));
  *out = group;
  group->whole = whole;
  group->which = whole->ngroups;
  pare_schedule_options schedule = whole->schedule;
  schedule.parallel = whole->schedule.inside;
  schedule.inside = PARE_PARALLEL_AUTO;
  schedule.trace = NULL; /* the whole context's has all devices */
  PARE__TRY(keep_schedule(group, &schedule));
  group->member = calloc(end - begin, sizeof *group->member);
  group->weight = calloc(end - begin, sizeof *group->weight);
  if (!group->member || !group->weight) return pare__fail_memory("a group", (end - begin) * sizeof *group->member);
  group->device = whole->member[begin]->device;
  for (size_t i = begin; i < end; i++) {
    group->weight[group->nmembers] = whole->weight[i];
    group->member[group->nmembers++] = whole->member[i];
    pare__context_retain(whole->member[i]);
  }
  return PARE_OK;
}

static pare_status open_groups(pare_context *context, const pare_device_choice *choice) {
  const size_t count = context->nmembers;
  context->group = calloc(count, sizeof *context->group);
  context->group_begin = calloc(count + 1, sizeof *context->group_begin);
  context->group_number = calloc(count, sizeof *context->group_number);
  if (!context->group || !context->group_begin || !context->group_number)
    return pare__fail_memory("groups", count * sizeof *context->group);
  for (size_t begin = 0, end; begin < count; begin = end) {
    pare_status status = PARE_OK;
    pare_context *group = context->member[begin];
    for (end = begin + 1; end < count && !begins_group(choice, end);) end++;
    if (end - begin > 1) {
      group = NULL;
      status = open_group(context, begin, end, &group);
    }
    context->group[context->ngroups] = group;
    context->group_number[context->ngroups] = choice[begin].group;
    context->group_begin[context->ngroups++] = begin;
    PARE__TRY(status);
  }
  context->group_begin[context->ngroups] = count;
  return PARE_OK;
}

size_t pare__context_groups(const pare_context *context) { return context->ngroups; }
pare_context *pare__context_group(pare_context *context, size_t group) { return context->group[group]; }
size_t pare__context_group_begin(const pare_context *context, size_t group) { return context->group_begin[group]; }

unsigned pare__context_group_number(const pare_context *context, size_t group) { return context->group_number[group]; }

pare_context *pare__context_whole(const pare_context *context, size_t *group) {
  *group = context->which;
  return context->whole;
}

void pare__context_close_groups(pare_context *context) {
  const size_t count = context->ngroups;
  context->ngroups = 0;
  for (size_t i = 0; i < count; i++)
    if (context->group[i] && context->group[i]->whole) pare_context_close(context->group[i]);
}

pare_status pare_context_open(const pare_context_options *options, pare_context **out) {
  if (!out) return pare__fail_null("pare_context_open", "out");
  *out = NULL;
  uint64_t limit = 0;
  PARE__TRY(memory_limit(options, &limit));
  pare_context *context;
  PARE__TRY(make(&context));

  pare_device_choice choice[MAX_SELECTED];
  size_t count = 0;
  pare_status status = keep_schedule(context, options ? options->schedule : NULL);
  if (status == PARE_OK) status = pare_device_list_open(false, &context->list);
  if (status == PARE_OK)
    status = pare_device_list_select(context->list, options ? options->device : NULL, MAX_SELECTED, choice, &count);
  if (status == PARE_OK && count > MAX_SELECTED && context->schedule.parallel != PARE_PARALLEL_OFF)
    status = pare__fail(PARE_ERR_SELECTOR, "%zu devices and parts are selected; a context takes %d at most", count,
                        MAX_SELECTED);
  if (status == PARE_OK) {
    const bool several = count > 1 && context->schedule.parallel != PARE_PARALLEL_OFF;
    const bool grouped = several && has_groups(choice, count);
    status = check_ways(context, grouped);
    if (status == PARE_OK)
      status = several ? open_members(context, choice, count, limit)
                       : pare__device_open(context->list, &choice[0], limit, &context->device);
    if (status == PARE_OK && grouped) status = open_groups(context, choice);
  }
  if (status != PARE_OK) {
    pare__context_release(context);
    return status;
  }
  *out = context;
  return PARE_OK;
}

size_t pare__context_members(const pare_context *context) { return PARE__MAX(context->nmembers, 1); }

pare_context *pare__context_member(pare_context *context, size_t member) {
  return context->member ? context->member[member] : context;
}

double pare__context_weight(const pare_context *context, size_t member) {
  return context->weight ? context->weight[member] : 1;
}

const pare_schedule_options *pare__context_schedule(const pare_context *context) { return &context->schedule; }

void pare__context_attach(pare_context *context, void *state, void (*close)(void *state),
                          bool (*is_inside)(void *state)) {
  context->close_attached = close;
  context->is_inside = is_inside;
  atomic_store(&context->attached, state);
}

void *pare__context_attached(const pare_context *context) { return atomic_load(&((pare_context *)context)->attached); }

pare_status pare__context_may_wait(const char *function, const pare_context *context) {
  void *attached = pare__context_attached(context);
  if (!attached || !context->is_inside(attached)) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT,
                    "%s from inside of a job or callback would never end; call it where nothing of the context runs",
                    function);
}

void pare__context_leave_open(pare_context *context) {
  static _Atomic(pare_context *) left; /* all of them: what a call may come back to is not lost */
  atomic_store(&context->left_open, true);
  pare__context_retain(context);
  context->left_before = atomic_exchange(&left, context);
}

bool pare__context_is_left_open(const pare_context *context) { return atomic_load(&context->left_open); }

void pare__context_retain(pare_context *context) {
  atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
}

static void close_members(pare_context *context) {
  pare__context_close_groups(context);
  for (size_t i = 0; i < context->nmembers; i++)
    (context->whole ? pare__context_release : pare_context_close)(context->member[i]);
  free(context->group);
  free(context->group_begin);
  free(context->group_number);
  free(context->member);
  free(context->weight);
}

void pare__context_release(pare_context *context) {
  if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1) return;
  if (context->process == getpid()) {
    pare__buffer_release(context->flags);
    if (context->member)
      close_members(context);
    else
      pare__device_close(context->device);
    pare_device_list_close(context->list);
  }
  for (unsigned i = 0; i < context->flags_used; i++) free(context->flag_message[i]);
  pthread_mutex_destroy(&context->lock);
  pthread_mutex_destroy(&context->residency.lock);
  free((char *)context->schedule.policy);
  free((char *)context->schedule.objective);
  free((char *)context->schedule.trace);
  free((char *)context->schedule.watts);
  free((char *)context->schedule.prices);
  free(context->failure);
  free(context->flagging);
  free(context);
}

void pare_context_close(pare_context *context) {
  if (context && context->attached && context->process == getpid() && context->is_inside(context->attached)) {
    pare__log(PARE_LOG_ERROR, "pare_context_close from inside of a job or callback would never end: the context stays "
                              "open; close it where nothing of it runs");
    return;
  }
  if (!context || atomic_exchange(&context->closed, true)) return;
  if (context->process == getpid()) {
    if (context->attached) context->close_attached(context->attached);
    context->attached = NULL;
    pare__context_close_groups(context);
    if (!context->whole && !pare__context_is_left_open(context)) (void)pare__device_finish(context->device);
  }
  pare__context_release(context);
}

pare_status pare__context_check(const char *function, const pare_context *context) {
  if (!context) return pare__fail_null(function, "context");
  if (atomic_load(&((pare_context *)context)->closed))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the context is closed", function);
  if (context->process != getpid())
    return pare__fail(
        PARE_ERR_ARGUMENT,
        "%s: the context was opened in process %ld and cannot be used after fork in process %ld; open a new "
        "one in a process started with exec",
        function, (long)context->process, (long)getpid());
  return PARE_OK;
}

pare__device *pare__context_device(pare_context *context) { return context->device; }

const pare_device_info *pare_context_device(const pare_context *context) {
  return context ? pare__device_info(context->device) : NULL;
}

pare_status pare_context_memory(const pare_context *context, pare_memory_usage *out) {
  if (!out) return pare__fail_null("pare_context_memory", "out");
  memset(out, 0, sizeof *out);
  PARE__TRY(pare__context_check("pare_context_memory", context));
  for (size_t i = 0; i < pare__context_members(context); i++) {
    pare_memory_usage one = {0};
    const pare__device *device = context->member ? context->member[i]->device : context->device;
    pare__device_memory(device, &one.in_use_bytes, &one.peak_bytes, &one.limit_bytes);
    out->in_use_bytes += one.in_use_bytes;
    out->peak_bytes += one.peak_bytes;
    out->limit_bytes += one.limit_bytes;
  }
  return PARE_OK;
}

void pare__context_record(pare_context *context, pare_status status) {
  pthread_mutex_lock(&context->lock);
  if (context->failed == PARE_OK) {
    context->failed = status;
    context->failure = pare__strdup(pare_message());
  }
  pthread_mutex_unlock(&context->lock);
}

static _Thread_local const pare__origin *thread_origin;

const pare__origin *pare__origin_set(const pare__origin *origin) {
  const pare__origin *before = thread_origin;
  thread_origin = origin;
  return before;
}

void pare__index_message(const char *operation, char text[PARE__INDEX_MESSAGE]) {
  char message[128];
  snprintf(message, sizeof message, "%s: an index is out of range; that element was not moved", operation);
  if (thread_origin)
    thread_origin->describe(thread_origin, message, text, PARE__INDEX_MESSAGE);
  else
    snprintf(text, PARE__INDEX_MESSAGE, "%s", message);
}

/* The message's flag. The last one is for all that come when the others are taken: the error is not lost. */
static pare_status find_flag(pare_context *context, const char *message, unsigned *slot) {
  *slot = 0;
  while (*slot < context->flags_used && strcmp(context->flag_message[*slot], message) != 0) ++*slot;
  *slot = PARE__MIN(*slot, FLAG_COUNT - 1U);
  if (*slot < context->flags_used) return PARE_OK;
  if (*slot == FLAG_COUNT - 1U) message = "an index is out of range; that element was not moved";
  context->flag_message[*slot] = pare__strdup(message);
  if (!context->flag_message[*slot]) return pare__fail_memory("a message", strlen(message));
  context->flags_used++;
  return PARE_OK;
}

pare_status pare__context_flag(pare_context *context, const char *message, cl_mem *mem, int64_t *offset) {
  pthread_mutex_lock(&context->lock);
  pare_status status = PARE_OK;
  unsigned slot = 0;
  if (!context->flags) {
    static const int32_t zero[FLAG_COUNT];
    status = pare__buffer_create_from(context->device, zero, sizeof zero, "error flags", &context->flags);
  }
  if (status == PARE_OK) status = find_flag(context, message, &slot);
  if (status == PARE_OK) {
    *mem = pare__buffer_mem(context->flags);
    *offset = slot;
  }
  pthread_mutex_unlock(&context->lock);
  return status;
}

static pare_status check_flags(pare_context *context, bool done) {
  pthread_mutex_lock(&context->lock);
  pare_status status = context->flagged;
  if (status != PARE_OK) {
    status = pare__fail_text(status, context->flagging ? context->flagging : pare_status_meaning(status));
    context->flagged = PARE_OK;
    free(context->flagging);
    context->flagging = NULL;
  }
  unsigned used = context->flags_used;
  if (used > 0) {
    int32_t flag[FLAG_COUNT];
    static const int32_t zero[FLAG_COUNT];
    const char *message = NULL;
    const size_t nbytes = used * sizeof flag[0];
    status = done ? pare__buffer_read_done(context->flags, 0, nbytes, flag)
                  : pare__buffer_read(context->flags, 0, nbytes, flag);
    for (unsigned i = 0; status == PARE_OK && i < used && !message; i++)
      if (flag[i] != 0) message = context->flag_message[i];
    if (message) {
      status = pare__buffer_write(context->flags, 0, nbytes, zero);
      if (status == PARE_OK) status = pare__fail_text(PARE_ERR_ARGUMENT, message);
    }
  }
  pthread_mutex_unlock(&context->lock);
  return status;
}

pare_status pare__context_flags_check(pare_context *context) { return check_flags(context, false); }

pare_status pare__context_flags_check_done(pare_context *context) { return check_flags(context, true); }

pare_status pare_context_wait(pare_context *context) {
  PARE__TRY(pare__context_check("pare_context_wait", context));
  PARE__TRY(pare__context_may_wait("pare_context_wait", context));
  const pare__waiting *waiting = pare__context_waiting(context);
  pare_status finished = context->member ? PARE_OK : pare__device_finish(context->device);
  if (waiting) finished = waiting->all(context);
  if (finished == PARE_OK) finished = pare__context_flags_check(context);
  pthread_mutex_lock(&context->lock);
  pare_status status = context->failed;
  if (status != PARE_OK)
    status = pare__fail_text(status, context->failure ? context->failure : pare_status_meaning(status));
  context->failed = PARE_OK;
  free(context->failure);
  context->failure = NULL;
  pthread_mutex_unlock(&context->lock);
  return status != PARE_OK ? status : finished;
}

pare__residency *pare__context_residency(pare_context *context) { return &context->residency; }

void pare__context_set_waiting(pare_context *context, const pare__waiting *waiting) {
  atomic_store(&context->waiting, waiting);
}

const pare__waiting *pare__context_waiting(const pare_context *context) {
  return atomic_load(&((pare_context *)context)->waiting);
}

void pare__context_raise_flag(pare_context *context, pare_status status) {
  pthread_mutex_lock(&context->lock);
  if (context->flagged == PARE_OK) {
    context->flagged = status;
    context->flagging = pare__strdup(pare_message());
  }
  pthread_mutex_unlock(&context->lock);
}

void pare__context_split(pare_context *context, int pieces) { atomic_store(&context->pieces, pieces); }
int pare__context_pieces(const pare_context *context) { return atomic_load(&((pare_context *)context)->pieces); }
