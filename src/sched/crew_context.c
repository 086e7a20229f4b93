/* The crew of a context with several devices: opened when somebody asks, closed with the context.
 * SPDX-License-Identifier: Apache-2.0 */
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

typedef struct home {
  pare_context *context;
  pare__crew *crew;
  pthread_mutex_t lock; /* guards what follows */
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
static pare_status name_members(pare__crew_member *member, size_t count, char **name) {
  for (size_t i = 0; i < count; i++) {
    size_t same = 0, before = 0;
    for (size_t k = 0; k < count; k++) {
      if (strcmp(member[k].name, member[i].name) != 0) continue;
      same++;
      before += k < i;
    }
    name[i] = same > 1 ? pare__format("%s (%zu of %zu)", member[i].name, before + 1, same)
                       : pare__format("%s", member[i].name);
    if (!name[i]) return pare__fail_memory("names of devices", strlen(member[i].name));
  }
  for (size_t i = 0; i < count; i++) member[i].name = name[i];
  return PARE_OK;
}

static void lost(void *user, size_t member, const char *message) {
  (void)member;
  const pare_schedule_options *schedule = pare__context_schedule(user);
  if (schedule->lost)
    schedule->lost(schedule->user, message);
  else
    pare__log(PARE_LOG_WARN, "%s", message);
}

/* *choice: what *out points into. */
static pare_status choose_options(pare_context *context, pare__policy_choice *choice, pare__crew_options *out) {
  const pare_schedule_options *schedule = pare__context_schedule(context);
  const char *environment = getenv("PARE_POLICY");
  const char *policy = schedule->policy ? schedule->policy : environment && *environment ? environment : NULL;
  PARE__TRY(pare__policy_read(policy, schedule->objective, choice));
  *out = (pare__crew_options){.policy = choice->isa,
                              .weights = &choice->weights,
                              .trace = schedule->trace,
                              .stall_seconds = schedule->stall_seconds,
                              .lost = lost,
                              .user = context};
  return PARE_OK;
}

static pare_status open_crew(home *all) {
  const size_t count = pare__context_members(all->context);
  pare__crew_member *member = calloc(count, sizeof *member);
  char **name = calloc(count, sizeof *name), *folder = pare__cache_folder(), *path = NULL;
  pare__crew_options options;
  pare__policy_choice choice;
  pare_status status = member && name ? PARE_OK : pare__fail_memory("a crew", count * sizeof *member);
  for (size_t i = 0; i < count && status == PARE_OK; i++) describe(all->context, i, &member[i]);
  if (status == PARE_OK) status = name_members(member, count, name);
  if (status == PARE_OK) status = pare__schedule_power(pare__context_schedule(all->context), member, count);
  if (status == PARE_OK) status = choose_options(all->context, &choice, &options);
  if (status == PARE_OK && folder && pare__folder_make(folder) == PARE_OK)
    path = pare__format("%s/" PARE__CACHE_PERFORMANCE, folder);
  if (status == PARE_OK) {
    options.performance = path; /* without a folder nothing is kept */
    status = pare__crew_open(member, count, &options, &all->crew);
  }
  for (size_t i = 0; i < count && name; i++) free(name[i]);
  free(name);
  free(member);
  free(folder);
  free(path);
  return status;
}

/* ---- closing ---- */

static void close_home(void *state) {
  home *all = state;
  (void)pare__crew_wait_all(all->crew); /* who hangs is known by then; what failed was told, or is in the tensors */
  for (size_t i = 0; i < pare__context_members(all->context); i++) {
    if (!pare__crew_hangs(all->crew, i)) continue;
    pare__log(PARE_LOG_WARN, "the context stays open: %s hangs in a call of its driver",
              pare__device_info(pare__context_device(pare__context_member(all->context, i)))->name);
    if (!pare__context_is_left_open(all->context)) pare__context_leave_open(all->context);
  }
  while (all->nkept > 0) {
    const kept *last = &all->kept[--all->nkept];
    last->close(last->state);
  }
  if (pare__crew_close(all->crew) != PARE_OK) pare__log(PARE_LOG_WARN, "%s", pare_message());
  pthread_mutex_destroy(&all->lock);
  if (pare__context_is_left_open(all->context)) {
    static _Atomic(home *) left; /* what it kept, too, was left to who may come back to it */
    all->left_before = atomic_exchange(&left, all);
    return;
  }
  free(all);
}

/* ---- for all who share it ---- */

static home *home_of(const pare_context *context) { return pare__context_attached(context); }

pare_status pare__crew_of(pare_context *context, pare__crew **out) {
  *out = NULL;
  if (pare__context_members(context) < 2)
    return pare__fail(PARE_ERR_ARGUMENT, "the context has one device only: there is nothing to schedule");
  pthread_mutex_lock(&opening);
  home *all = home_of(context);
  pare_status status = PARE_OK;
  if (!all) {
    all = calloc(1, sizeof *all);
    if (all) {
      all->context = context;
      status = open_crew(all);
    } else {
      status = pare__fail_memory("a crew", sizeof *all);
    }
    if (status == PARE_OK) {
      pthread_mutex_init(&all->lock, NULL);
      pare__context_attach(context, all, close_home);
    } else {
      free(all);
    }
  }
  if (status == PARE_OK) *out = all->crew;
  pthread_mutex_unlock(&opening);
  return status;
}

pare__crew *pare__crew_of_if_open(const pare_context *context) {
  pthread_mutex_lock(&opening);
  const home *all = home_of(context);
  pare__crew *crew = all ? all->crew : NULL;
  pthread_mutex_unlock(&opening);
  return crew;
}

bool pare__crew_of_hangs(const pare_context *context) {
  pare__crew *crew = pare__crew_of_if_open(context);
  bool hangs = pare__context_is_left_open(context);
  for (size_t i = 0; crew && i < pare__context_members(context); i++) hangs = hangs || pare__crew_hangs(crew, i);
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
  pthread_mutex_lock(&opening);
  home *all = home_of(context);
  pthread_mutex_unlock(&opening);
  if (!all) return NULL;
  pthread_mutex_lock(&all->lock);
  for (size_t i = 0; i < all->nkept; i++)
    if (all->kept[i].close == close) found = all->kept[i].state;
  pthread_mutex_unlock(&all->lock);
  return found;
}

/* ---- what was seen ---- */

pare_status pare_context_stats(pare_context *context, pare_schedule_stats *out) {
  if (!out) return pare__fail_null("pare_context_stats", "out");
  memset(out, 0, sizeof *out);
  PARE__TRY(pare__context_check("pare_context_stats", context));
  pare__crew *crew = NULL;
  if (pare__context_members(context) > 1) {
    PARE__TRY(pare__crew_of(context, &crew));
    return pare__crew_stats(crew, out);
  }
  out->device = calloc(1, sizeof *out->device);
  if (!out->device) return pare__fail_memory("counters", sizeof *out->device);
  out->ndevices = 1;
  out->device->name = pare_context_device(context)->name;
  out->device->joules = -1;
  return PARE_OK;
}
