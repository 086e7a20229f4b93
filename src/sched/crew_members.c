/* A context's devices and groups as members of its crews: how they are described, shown and counted.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/crew_context.h"

/* A first guess for devices with memory of their own, until copies are learned: 16 lanes of PCI Express 3, what an
 * enqueued copy costs. */
#define SECONDS_PER_BYTE (1 / 12e9)
#define COPY_SECONDS 10e-6

/* ---- how they are described ---- */

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
static pare_status name_devices(pare__home *all) {
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
static pare_status describe_group(pare__home *all, size_t index) {
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

pare_status pare__home_describe(pare__home *all) {
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

void pare__home_forget(pare__home *all) {
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
}

pare_status pare__home_trace(pare__home *all) {
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

/* ---- what was seen ---- */

/* What a crew saw is added to what others did: its member i is device first + i, or of groups, if that is one device,
 * shown_as[i]. asked: its jobs are what somebody asked for, and not what groups make of that inside. */
static pare_status add_stats(const pare__home *all, pare__crew *crew, size_t first, bool of_groups, bool asked,
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

static pare_status stats_of_groups(pare__home *all, pare__crew *groups, pare_schedule_stats *out) {
  out->device = calloc(all->ndevices, sizeof *out->device);
  if (!out->device) return pare__fail_memory("counters of devices", all->ndevices * sizeof *out->device);
  out->ndevices = all->ndevices;
  for (size_t g = 0; g < all->ngroups; g++)
    for (size_t i = all->shown_as[g]; i < pare__context_group_begin(all->context, g + 1); i++)
      out->device[i] = (pare_device_stats){.name = all->name[i], .group = pare__context_group_number(all->context, g)};
  PARE__TRY(add_stats(all, groups, 0, true, true, out));
  pare__crew *crew = pare__home_crew(all, false);
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
    const pare_status status = stats_of_groups(pare__home_if_open(context), crew, out);
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
