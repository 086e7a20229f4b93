/* The crews of a context with several devices: opened when somebody asks, closed with the context.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sched/crew_context.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/path.h"
#include "ocl/cache.h"

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

pare__crew *pare__home_crew(pare__home *all, bool of_groups) {
  pthread_mutex_lock(&opening);
  pare__crew *crew = of_groups ? all->groups : all->crew;
  pthread_mutex_unlock(&opening);
  return crew;
}

/* ---- losses ---- */

static void say(pare_context *context, const char *message) {
  const pare_schedule_options *schedule = pare__context_schedule(context);
  if (schedule->lost)
    schedule->lost(schedule->user, message);
  else
    pare__log(PARE_LOG_WARN, "%s", message);
}

static void lost_device(pare__home *whole, size_t device, const char *message) {
  pthread_mutex_lock(&whole->lock);
  const bool told = whole->told[device];
  whole->told[device] = true;
  pthread_mutex_unlock(&whole->lock);
  if (!told) say(whole->context, message);
}

/* A group without devices takes no more work. */
static void lost(void *user, size_t member, const char *message) {
  pare__home *all = user;
  size_t group, left = 0;
  pare_context *whole = pare__context_whole(all->context, &group);
  lost_device(all->whole, all->begin + member, message);
  if (!whole) return;
  for (size_t i = 0; i < pare__context_members(all->context); i++) left += !pare__crew_is_lost(all->crew, i);
  pare__crew *groups = left == 0 ? pare__home_crew(all->whole, true) : NULL;
  if (groups) pare__crew_lose(groups, group, "none of its devices is left");
}

static void lost_group(void *user, size_t member, const char *message) {
  pare__home *all = user;
  if (all->group[member].is_group)
    say(all->context, message);
  else
    lost_device(all, all->shown_as[member], message);
}

/* ---- crews ---- */

/* *choice: what *out points into. */
static pare_status choose_options(pare__home *all, pare__policy_choice *choice, pare__crew_options *out) {
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
static pare_status open_crew(pare__home *all, bool of_groups, pare__crew **out) {
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

static void release(pare__home *all) {
  pare__home_forget(all);
  pthread_mutex_destroy(&all->lock);
  free(all);
}

/* Of the crew's members, or of the group's: who hangs in a call of its driver. */
static void find_hanging(pare__home *all) {
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
  pare__home *all = state;
  /* who hangs is known by then; what failed was told, or is in the tensors */
  if (all->groups) (void)pare__crew_wait_all(all->groups);
  if (all->crew) (void)pare__crew_wait_all(all->crew);
  find_hanging(all);
  while (all->nkept > 0) {
    const pare__kept *last = &all->kept[--all->nkept];
    last->close(last->state);
  }
  pare__context_close_groups(all->context); /* whose last words go to the crew of groups */
  close_crew(all->groups);
  close_crew(all->crew);
  if (pare__trace_close(all->trace) != PARE_OK) pare__log(PARE_LOG_WARN, "%s", pare_message());
  all->trace = NULL;
  if (pare__context_is_left_open(all->context)) {
    static _Atomic(pare__home *) left; /* what it kept, too, was left to who may come back to it */
    all->left_before = atomic_exchange(&left, all);
    return;
  }
  release(all);
}

/* ---- for all who share it ---- */

static pare__home *home_of(const pare_context *context) { return pare__context_attached(context); }

/* Is this thread in a call of one of the crews, those of groups as well? */
static bool is_inside(void *state) {
  pare__home *all = state;
  const pare__crew *crew = pare__home_crew(all, false), *groups = pare__home_crew(all, true);
  bool inside = (crew && pare__crew_is_inside(crew)) || (groups && pare__crew_is_inside(groups));
  for (size_t i = 0; i < all->ngroups && !inside; i++) {
    pare__home *group = all->group[i].is_group ? pare__home_if_open(pare__context_group(all->context, i)) : NULL;
    inside = group && is_inside(group);
  }
  return inside;
}

/* Made by the first who asks; `opening` is held. A group's devices and trace are the whole's. */
static pare_status make_home(pare_context *context, pare__home **out) {
  size_t group;
  pare_context *whole = pare__context_whole(context, &group);
  *out = home_of(context);
  if (*out) return PARE_OK;
  pare__home *above = NULL;
  if (whole) PARE__TRY(make_home(whole, &above));
  pare__home *all = calloc(1, sizeof *all);
  if (!all) return pare__fail_memory("a crew", sizeof *all);
  pthread_mutex_init(&all->lock, NULL);
  all->context = context;
  all->whole = above ? above : all;
  if (whole) all->begin = pare__context_group_begin(whole, group);
  pare_status status = above ? PARE_OK : pare__home_describe(all);
  if (status == PARE_OK && !above) status = pare__home_trace(all);
  if (status != PARE_OK) {
    release(all);
    return status;
  }
  pare__context_attach(context, all, close_home, is_inside);
  *out = all;
  return PARE_OK;
}

static pare_status find_crew(pare_context *context, bool of_groups, pare__crew **out) {
  *out = NULL;
  if (pare__context_members(context) < 2)
    return pare__fail(PARE_ERR_ARGUMENT, "the context has one device only: there is nothing to schedule");
  pthread_mutex_lock(&opening);
  pare__home *all;
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

pare__home *pare__home_if_open(const pare_context *context) {
  pthread_mutex_lock(&opening);
  pare__home *all = home_of(context);
  pthread_mutex_unlock(&opening);
  return all;
}

pare__crew *pare__crew_of_if_open(const pare_context *context) {
  pare__home *all = pare__home_if_open(context);
  return all ? pare__home_crew(all, false) : NULL;
}

bool pare__crew_of_hangs(const pare_context *context) {
  pare__home *all = pare__home_if_open(context);
  bool hangs = pare__context_is_left_open(context);
  if (!all) return hangs;
  pare__crew *crew = pare__home_crew(all, false), *groups = pare__home_crew(all, true);
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
  pare__home *all = home_of(context);
  pthread_mutex_lock(&all->lock);
  pare_status status = PARE_OK;
  if (all->nkept < PARE__MOST_KEPT)
    all->kept[all->nkept++] = (pare__kept){state, close};
  else
    status = pare__fail(PARE_ERR_LIMIT, "a crew keeps %d objects at most", PARE__MOST_KEPT);
  pthread_mutex_unlock(&all->lock);
  return status;
}

void *pare__crew_kept(const pare_context *context, void (*close)(void *state)) {
  void *found = NULL;
  pare__home *all = pare__home_if_open(context);
  if (!all) return NULL;
  pthread_mutex_lock(&all->lock);
  for (size_t i = 0; i < all->nkept; i++)
    if (all->kept[i].close == close) found = all->kept[i].state;
  pthread_mutex_unlock(&all->lock);
  return found;
}
