/* The crew of a context with several devices: opened when somebody asks, closed with the context.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "ocl/cache.h"
#include "sched/crew.h"
#include "tensor/context.h"

/* A first guess for devices with memory of their own, until copies are learned: 16 lanes of PCI Express 3, what an
 * enqueued copy costs. */
#define SECONDS_PER_BYTE (1 / 12e9)
#define COPY_SECONDS 10e-6

#define MOST_KEPT 8

typedef struct kept {
  void *state;
  void (*close)(void *state);
} kept;

/* Of a context: its crews. Of a group, which is a context, too: the crew of its devices; all else is the whole's. */
typedef struct home {
  pare_context *context;
  struct home *whole;        /* itself, if the context is no group */
  size_t begin;              /* its first device of the whole's */
  pare__crew *crew, *groups; /* NULL: nobody asked for it */
  size_t ndevices;
  pare__crew_member *device; /* with names of their own */
  char **name;
  size_t ngroups, *shown_as; /* the device that a group of one is */
  pare__crew_member *group;
  char **group_name, **group_key;
  pare__trace *trace;   /* of all of its crews */
  pthread_mutex_t lock; /* guards what follows */
  bool *told;           /* that the device is lost: several crews find that out */
  size_t nkept;
  kept kept[MOST_KEPT];
  struct home *left_before;
} home;

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

/* ---- opening ---- */

static unsigned resource_of(pare_device_type type) {
  return type == PARE_DEVICE_CPU ? PARE__ON_CPU : type == PARE_DEVICE_GPU ? PARE__ON_GPU : PARE__ON_ACCELERATOR;
}

static void describe(pare_context *context, size_t index, pare__crew_member *out) {
  pare__device *device = pare__context_device(pare__context_member(context, index));
  const pare_device_info *info = pare__device_info(device);
  const bool copies = !pare__device_in_place(device);
  *out = (pare__crew_member){.name = info->name,
                             .key = pare__device_key(device),
                             .weight = pare__context_weight(context, index),
                             .seen = {.resource = resource_of(info->type),
                                      .memory_bytes = info->memory_bytes,
                                      .seconds_per_byte = copies ? SECONDS_PER_BYTE : 0,
                                      .copy_seconds = copies ? COPY_SECONDS : 0}};
}

/* Parts of one device have its name: they are told apart by number. */
static pare_status name_devices(home *all) {
  pare__crew_member *member = all->device;
  for (size_t i = 0; i < all->ndevices; i++) {
    size_t same = 0, before = 0;
    for (size_t k = 0; k < all->ndevices; k++) {
      if (strcmp(member[k].name, member[i].name) != 0) continue;
      same++;
      before += k < i;
    }
    all->name[i] = same > 1 ? pare__format("%s (%zu of %zu)", member[i].name, before + 1, same)
                            : pare__format("%s", member[i].name);
    if (!all->name[i]) return pare__fail_memory("names of devices", strlen(member[i].name));
  }
  for (size_t i = 0; i < all->ndevices; i++) member[i].name = all->name[i];
  return PARE_OK;
}

/* "A + B", of names or of keys; malloc'ed. */
static char *join(const pare__crew_member *member, size_t begin, size_t end, bool keys) {
  char *text = pare__strdup("");
  for (size_t i = begin; i < end && text; i++) {
    char *longer = pare__format("%s%s%s", text, i > begin ? " + " : "", keys ? member[i].key : member[i].name);
    free(text);
    text = longer;
  }
  return text;
}

/* One device is itself. What several do together depends on the way inside, too. */
static pare_status describe_group(home *all, size_t index) {
  const size_t begin = pare__context_group_begin(all->context, index),
               end = pare__context_group_begin(all->context, index + 1);
  pare__crew_member *group = &all->group[index];
  *group = all->device[begin];
  all->shown_as[index] = begin;
  if (end - begin == 1) return PARE_OK;
  char *names = join(all->device, begin, end, false), *keys = join(all->device, begin, end, true);
  if (names && keys) {
    all->group_name[index] = pare__format("group %u (%s)", pare__context_group_number(all->context, index), names);
    all->group_key[index] =
        pare__format("%s by %s", keys, pare_parallel_name(pare__context_schedule(all->context)->inside));
  }
  free(names);
  free(keys);
  if (!all->group_name[index] || !all->group_key[index]) return pare__fail_memory("names of groups", 0);
  group->is_group = true;
  group->name = all->group_name[index];
  group->key = all->group_key[index];
  group->seen.seconds_per_byte = group->seen.copy_seconds = 0; /* its tensors are the host's, and copied inside */
  for (size_t i = begin + 1; i < end; i++) {
    const pare__crew_member *one = &all->device[i];
    group->weight += one->weight;
    group->seen.resource |= one->seen.resource;
    group->seen.memory_bytes += one->seen.memory_bytes;
    group->seen.busy_watts += one->seen.busy_watts;
    group->seen.idle_watts += one->seen.idle_watts;
    group->seen.price_per_hour += one->seen.price_per_hour;
  }
  return PARE_OK;
}

static pare_status describe_all(home *all) {
  pare_context *context = all->context;
  const size_t count = all->ndevices = pare__context_members(context), ngroups = pare__context_groups(context);
  all->device = calloc(count, sizeof *all->device);
  all->name = calloc(count, sizeof *all->name);
  all->told = calloc(count, sizeof *all->told);
  all->group = calloc(ngroups + 1, sizeof *all->group);
  all->group_name = calloc(ngroups + 1, sizeof *all->group_name);
  all->group_key = calloc(ngroups + 1, sizeof *all->group_key);
  all->shown_as = calloc(ngroups + 1, sizeof *all->shown_as);
  if (!all->device || !all->name || !all->told || !all->group || !all->group_name || !all->group_key || !all->shown_as)
    return pare__fail_memory("a crew", count * sizeof *all->device);
  for (size_t i = 0; i < count; i++) describe(context, i, &all->device[i]);
  PARE__TRY(name_devices(all));
  PARE__TRY(pare__schedule_power(pare__context_schedule(context), all->device, count));
  for (all->ngroups = 0; all->ngroups < ngroups; all->ngroups++) PARE__TRY(describe_group(all, all->ngroups));
  return PARE_OK;
}

/* Its rows are all devices of the context, whichever crew they work for. */
static pare_status open_trace(home *all) {
  const char *path = pare__context_schedule(all->context)->trace;
  if (!path) return PARE_OK;
  PARE__TRY(pare__trace_open(path, &all->trace));
  for (size_t i = 0, group = 0; i < all->ndevices; i++) {
    while (group + 1 < all->ngroups && pare__context_group_begin(all->context, group + 1) <= i) group++;
    const unsigned number = all->ngroups > 0 ? pare__context_group_number(all->context, group) : 0;
    char *text = number > 0 ? pare__format("group %u, %s", number, all->name[i]) : NULL;
    pare__trace_device(all->trace, (unsigned)i, text ? text : all->name[i]);
    free(text);
  }
  return PARE_OK;
}

/* ---- losses ---- */

/* Of its devices, or of its groups. */
static pare__crew *crew_if_open(home *all, bool of_groups) {
  pthread_mutex_lock(&opening);
  pare__crew *crew = of_groups ? all->groups : all->crew;
  pthread_mutex_unlock(&opening);
  return crew;
}

static void say(pare_context *context, const char *message) {
  const pare_schedule_options *schedule = pare__context_schedule(context);
  if (schedule->lost)
    schedule->lost(schedule->user, message);
  else
    pare__log(PARE_LOG_WARN, "%s", message);
}

static void lost_device(home *whole, size_t device, const char *message) {
  pthread_mutex_lock(&whole->lock);
  const bool told = whole->told[device];
  whole->told[device] = true;
  pthread_mutex_unlock(&whole->lock);
  if (!told) say(whole->context, message);
}

/* A group without devices takes no more work. */
static void lost(void *user, size_t member, const char *message) {
  home *all = user;
  size_t group, left = 0;
  pare_context *whole = pare__context_whole(all->context, &group);
  lost_device(all->whole, all->begin + member, message);
  if (!whole) return;
  for (size_t i = 0; i < pare__context_members(all->context); i++) left += !pare__crew_is_lost(all->crew, i);
  pare__crew *groups = left == 0 ? crew_if_open(all->whole, true) : NULL;
  if (groups) pare__crew_lose(groups, group, "none of its devices is left");
}

static void lost_group(void *user, size_t member, const char *message) {
  home *all = user;
  if (all->group[member].is_group)
    say(all->context, message);
  else
    lost_device(all, all->shown_as[member], message);
}

/* ---- crews ---- */

/* *choice: what *out points into. */
static pare_status choose_options(home *all, pare__policy_choice *choice, pare__crew_options *out) {
  const pare_schedule_options *schedule = pare__context_schedule(all->context);
  const char *environment = getenv("PARE_POLICY");
  const char *policy = schedule->policy ? schedule->policy : environment && *environment ? environment : NULL;
  size_t group;
  pare_context *whole = pare__context_whole(all->context, &group);
  PARE__TRY(pare__policy_read(policy, schedule->objective, choice));
  *out = (pare__crew_options){.policy = choice->isa,
                              .weights = &choice->weights,
                              .shared = all->whole->trace,
                              .shared_first = all->begin,
                              .group = whole ? pare__context_group_number(whole, group) : 0,
                              .stall_seconds = schedule->stall_seconds,
                              .lost = lost,
                              .user = all};
  return PARE_OK;
}

/* of_groups: else of devices. */
static pare_status open_crew(home *all, bool of_groups, pare__crew **out) {
  const size_t count = of_groups ? all->ngroups : pare__context_members(all->context);
  const pare__crew_member *member = of_groups ? all->group : all->whole->device + all->begin;
  pare__crew_options options;
  pare__policy_choice choice;
  PARE__TRY(choose_options(all, &choice, &options));
  if (of_groups) {
    options.shared_as = all->shown_as;
    options.lost = lost_group;
  }
  char *folder = pare__cache_folder(), *path = NULL;
  if (folder && pare__folder_make(folder) == PARE_OK) path = pare__format("%s/" PARE__CACHE_PERFORMANCE, folder);
  options.performance = path; /* without a folder nothing is kept */
  const pare_status status = pare__crew_open(member, count, &options, out);
  free(folder);
  free(path);
  return status;
}

/* ---- closing ---- */

static void release(home *all) {
  for (size_t i = 0; i < all->ndevices && all->name; i++) free(all->name[i]);
  for (size_t i = 0; i <= all->ngroups && all->group_name && all->group_key; i++) {
    free(all->group_name[i]);
    free(all->group_key[i]);
  }
  free(all->name);
  free(all->device);
  free(all->told);
  free(all->group);
  free(all->group_name);
  free(all->group_key);
  free(all->shown_as);
  pthread_mutex_destroy(&all->lock);
  free(all);
}

/* Of the crew's members, or of the group's: who hangs in a call of its driver. */
static void find_hanging(home *all) {
  bool hangs = false;
  for (size_t i = 0; all->crew && i < pare__context_members(all->context); i++) {
    if (!pare__crew_hangs(all->crew, i)) continue;
    pare__log(PARE_LOG_WARN, "the context stays open: %s hangs in a call of its driver",
              pare__device_info(pare__context_device(pare__context_member(all->context, i)))->name);
    hangs = true;
  }
  for (size_t i = 0; i < all->ngroups; i++) {
    const bool one = all->groups && pare__crew_hangs(all->groups, i);
    if (one) pare__log(PARE_LOG_WARN, "the context stays open: %s hangs in a call of its driver", all->group[i].name);
    hangs = hangs || one || (all->group[i].is_group && pare__crew_of_hangs(pare__context_group(all->context, i)));
  }
  if (hangs && !pare__context_is_left_open(all->context)) pare__context_leave_open(all->context);
}

static void close_crew(pare__crew *crew) {
  if (pare__crew_close(crew) != PARE_OK) pare__log(PARE_LOG_WARN, "%s", pare_message());
}

static void close_home(void *state) {
  home *all = state;
  /* who hangs is known by then; what failed was told, or is in the tensors */
  if (all->groups) (void)pare__crew_wait_all(all->groups);
  if (all->crew) (void)pare__crew_wait_all(all->crew);
  find_hanging(all);
  while (all->nkept > 0) {
    const kept *last = &all->kept[--all->nkept];
    last->close(last->state);
  }
  pare__context_close_groups(all->context); /* whose last words go to the crew of groups */
  close_crew(all->groups);
  close_crew(all->crew);
  if (pare__trace_close(all->trace) != PARE_OK) pare__log(PARE_LOG_WARN, "%s", pare_message());
  all->trace = NULL;
  if (pare__context_is_left_open(all->context)) {
    static _Atomic(home *) left; /* what it kept, too, was left to who may come back to it */
    all->left_before = atomic_exchange(&left, all);
    return;
  }
  release(all);
}

/* ---- for all who share it ---- */

static home *home_of(const pare_context *context) { return pare__context_attached(context); }

/* Made by the first who asks; `opening` is held. A group's devices and trace are the whole's. */
static pare_status make_home(pare_context *context, home **out) {
  size_t group;
  pare_context *whole = pare__context_whole(context, &group);
  *out = home_of(context);
  if (*out) return PARE_OK;
  home *above = NULL;
  if (whole) PARE__TRY(make_home(whole, &above));
  home *all = calloc(1, sizeof *all);
  if (!all) return pare__fail_memory("a crew", sizeof *all);
  pthread_mutex_init(&all->lock, NULL);
  all->context = context;
  all->whole = above ? above : all;
  if (whole) all->begin = pare__context_group_begin(whole, group);
  pare_status status = above ? PARE_OK : describe_all(all);
  if (status == PARE_OK && !above) status = open_trace(all);
  if (status != PARE_OK) {
    release(all);
    return status;
  }
  pare__context_attach(context, all, close_home);
  *out = all;
  return PARE_OK;
}

static pare_status find_crew(pare_context *context, bool of_groups, pare__crew **out) {
  *out = NULL;
  if (pare__context_members(context) < 2)
    return pare__fail(PARE_ERR_ARGUMENT, "the context has one device only: there is nothing to schedule");
  pthread_mutex_lock(&opening);
  home *all;
  pare_status status = make_home(context, &all);
  if (status == PARE_OK) {
    pare__crew **crew = of_groups ? &all->groups : &all->crew;
    if (!*crew) status = open_crew(all, of_groups, crew);
    *out = *crew;
  }
  pthread_mutex_unlock(&opening);
  return status;
}

pare_status pare__crew_of(pare_context *context, pare__crew **out) { return find_crew(context, false, out); }

pare_status pare__crew_of_groups(pare_context *context, pare__crew **out) {
  return find_crew(context, pare__context_groups(context) > 0, out);
}

static home *home_if_open(const pare_context *context) {
  pthread_mutex_lock(&opening);
  home *all = home_of(context);
  pthread_mutex_unlock(&opening);
  return all;
}

pare__crew *pare__crew_of_if_open(const pare_context *context) {
  home *all = home_if_open(context);
  return all ? crew_if_open(all, false) : NULL;
}

bool pare__crew_of_hangs(const pare_context *context) {
  home *all = home_if_open(context);
  bool hangs = pare__context_is_left_open(context);
  if (!all) return hangs;
  pare__crew *crew = crew_if_open(all, false), *groups = crew_if_open(all, true);
  for (size_t i = 0; crew && i < pare__context_members(context); i++) hangs = hangs || pare__crew_hangs(crew, i);
  for (size_t i = 0; i < all->ngroups; i++) {
    hangs = hangs || (groups && pare__crew_hangs(groups, i));
    if (all->group[i].is_group) hangs = hangs || pare__crew_of_hangs(pare__context_group(all->context, i));
  }
  return hangs;
}

pare_status pare__crew_keep(pare_context *context, void *state, void (*close)(void *state)) {
  pare__crew *crew;
  PARE__TRY(pare__crew_of(context, &crew));
  home *all = home_of(context);
  pthread_mutex_lock(&all->lock);
  pare_status status = PARE_OK;
  if (all->nkept < MOST_KEPT)
    all->kept[all->nkept++] = (kept){state, close};
  else
    status = pare__fail(PARE_ERR_LIMIT, "a crew keeps %d objects at most", MOST_KEPT);
  pthread_mutex_unlock(&all->lock);
  return status;
}

void *pare__crew_kept(const pare_context *context, void (*close)(void *state)) {
  void *found = NULL;
  home *all = home_if_open(context);
  if (!all) return NULL;
  pthread_mutex_lock(&all->lock);
  for (size_t i = 0; i < all->nkept; i++)
    if (all->kept[i].close == close) found = all->kept[i].state;
  pthread_mutex_unlock(&all->lock);
  return found;
}

/* ---- what was seen ---- */

/* What a crew saw is added to what others did: its member i is device first + i, or of groups, if that is one device,
 * shown_as[i]. asked: its jobs are what somebody asked for, and not what groups make of that inside. */
static pare_status add_stats(const home *all, pare__crew *crew, size_t first, bool of_groups, bool asked,
                             pare_schedule_stats *out) {
  pare_schedule_stats one;
  PARE__TRY(pare__crew_stats(crew, &one));
  pare_status status = PARE_OK;
  pare_kernel_stats *kernel = realloc(out->kernel, (out->nkernels + one.nkernels + 1) * sizeof *kernel);
  if (kernel)
    out->kernel = kernel;
  else
    status = pare__fail_memory("counters of kernels", one.nkernels * sizeof *kernel);
  for (size_t i = 0; i < one.ndevices; i++) {
    if (of_groups && all->group[i].is_group) continue;
    const pare_device_stats *from = &one.device[i];
    pare_device_stats *to = &out->device[of_groups ? all->shown_as[i] : first + i];
    to->lost = to->lost || from->lost;
    to->busy_seconds += from->busy_seconds;
    to->copy_seconds += from->copy_seconds;
    to->wait_seconds += from->wait_seconds;
    to->idle_seconds -= one.elapsed_seconds - from->idle_seconds; /* it was active for so long */
    to->price += from->price;
    to->pieces += from->pieces;
    to->copied_bytes += from->copied_bytes;
    out->pieces += from->pieces;
  }
  for (size_t i = 0; i < one.nkernels && status == PARE_OK; i++) {
    const size_t member = one.kernel[i].device;
    if (of_groups && all->group[member].is_group) continue;
    out->kernel[out->nkernels] = one.kernel[i];
    out->kernel[out->nkernels++].device = of_groups ? all->shown_as[member] : first + member;
  }
  out->moved += one.moved;
  out->relearned += one.relearned;
  if (asked) out->jobs += one.jobs;
  if (of_groups) {
    out->elapsed_seconds = one.elapsed_seconds;
    out->latency_p50 = one.latency_p50;
    out->latency_p95 = one.latency_p95;
    out->latency_p99 = one.latency_p99;
  }
  pare_schedule_stats_close(&one);
  return status;
}

static int by_busy_time(const void *a, const void *b) {
  const pare_kernel_stats *x = a, *y = b;
  return (x->busy_seconds < y->busy_seconds) - (x->busy_seconds > y->busy_seconds);
}

static pare_status stats_of_groups(home *all, pare__crew *groups, pare_schedule_stats *out) {
  out->device = calloc(all->ndevices, sizeof *out->device);
  if (!out->device) return pare__fail_memory("counters of devices", all->ndevices * sizeof *out->device);
  out->ndevices = all->ndevices;
  for (size_t g = 0; g < all->ngroups; g++)
    for (size_t i = all->shown_as[g]; i < pare__context_group_begin(all->context, g + 1); i++)
      out->device[i] = (pare_device_stats){.name = all->name[i], .group = pare__context_group_number(all->context, g)};
  PARE__TRY(add_stats(all, groups, 0, true, true, out));
  pare__crew *crew = crew_if_open(all, false);
  if (crew) PARE__TRY(add_stats(all, crew, 0, false, true, out));
  for (size_t g = 0; g < all->ngroups; g++) {
    crew = all->group[g].is_group ? pare__crew_of_if_open(pare__context_group(all->context, g)) : NULL;
    if (crew) PARE__TRY(add_stats(all, crew, all->shown_as[g], false, false, out));
  }
  const double joules = pare__crew_joules(groups);
  pare__policy_device *seen = calloc(all->ndevices, sizeof *seen);
  if (!seen) return pare__fail_memory("counters of devices", all->ndevices * sizeof *seen);
  for (size_t i = 0; i < all->ndevices; i++) {
    seen[i] = all->device[i].seen;
    out->device[i].idle_seconds = fmax(out->elapsed_seconds + out->device[i].idle_seconds, 0);
  }
  pare__share_joules(seen, all->ndevices, out->elapsed_seconds, joules, out->device);
  free(seen);
  if (out->nkernels > 0) qsort(out->kernel, out->nkernels, sizeof *out->kernel, by_busy_time);
  return PARE_OK;
}

pare_status pare_context_stats(pare_context *context, pare_schedule_stats *out) {
  if (!out) return pare__fail_null("pare_context_stats", "out");
  memset(out, 0, sizeof *out);
  PARE__TRY(pare__context_check("pare_context_stats", context));
  pare__crew *crew = NULL;
  if (pare__context_members(context) > 1) {
    PARE__TRY(pare__crew_of_groups(context, &crew));
    if (pare__context_groups(context) == 0) return pare__crew_stats(crew, out);
    const pare_status status = stats_of_groups(home_if_open(context), crew, out);
    if (status != PARE_OK) pare_schedule_stats_close(out);
    return status;
  }
  out->device = calloc(1, sizeof *out->device);
  if (!out->device) return pare__fail_memory("counters", sizeof *out->device);
  out->ndevices = 1;
  out->device->name = pare_context_device(context)->name;
  out->device->joules = -1;
  return PARE_OK;
}
