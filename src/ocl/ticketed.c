/* The tables of a ticketed launch, and the launch. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ocl/ticketed.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "ocl/program.h"
#include "ocl/ticketed_parts.h"

/* As in cl/ticketed.cl. */
enum { FIRST_TICKET, STARTS, GROUPS_X, GROUPS_Y, GROUPS_Z, PART, ARGUMENTS, AFTER, AFTER_END, STEP_LONGS };
#define LINE 16

/* A ticket takes this part of what is left of its step, a worker: neighbouring groups share what they read, so the
 * first tickets are large, and the last small, so that nobody waits long for them. Down to this part of the step. */
#define PART_OF_REST 4
#define PART_OF_STEP 64
#define LOCAL_ALIGNMENT 128

struct pare__ticketed {
  pare__program *program;
  size_t nsteps, nmoving;
  size_t workers;      /* groups of a launch */
  size_t *tickets;     /* of each step */
  size_t *local_bytes; /* of each step */
  pare__buffer *table, *addresses, *counts;
};

static size_t local_of(const pare__args *args) {
  size_t nbytes = 0;
  for (unsigned i = 0; i < args->count; i++)
    if (args->item[i].kind == PARE__ARG_LOCAL)
      nbytes += (size_t)pare__round_up((int64_t)args->item[i].nbytes, LOCAL_ALIGNMENT);
  return nbytes;
}

bool pare__ticketed_takes(pare__device *device, const pare__captured *launch) {
  const pare_device_info *info = pare__device_info(device);
  if (info->type != PARE_DEVICE_CPU || !launch->kernel || launch->items != 1) return false;
  for (unsigned d = 0; d < 3; d++)
    if (launch->kernel->required_group[d] != 1) return false;
  return local_of(&launch->args) <= info->local_bytes;
}

/* As many groups as can run at once: one that waits for a core keeps others waiting for its tickets. */
static size_t count_workers(const pare__device *device) {
  cpu_set_t cores;
  const size_t units = device->info.compute_units;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return units;
  return PARE__MAX(PARE__MIN(units, (size_t)CPU_COUNT(&cores)), (size_t)1);
}

/* ---- the table ---- */

typedef struct table {
  int64_t *data;
  size_t count, capacity;
  cl_mem *fixed; /* buffers that are known by their addresses */
  size_t nfixed, fixed_capacity;
  const cl_mem *moving;
  size_t nmoving;
} table;

static pare_status put(table *to, int64_t value) {
  PARE__TRY(pare__array_grow((void **)&to->data, &to->capacity, to->count, sizeof *to->data));
  to->data[to->count++] = value;
  return PARE_OK;
}

/* Odd numbers are arguments, even ones addresses; -1: no buffer. */
static pare_status number_of(table *to, cl_mem mem, int64_t *number) {
  *number = -1;
  if (!mem) return PARE_OK;
  for (size_t i = 0; i < to->nmoving; i++)
    if (to->moving[i] == mem) {
      *number = (int64_t)i * 2 + 1;
      return PARE_OK;
    }
  size_t i = 0;
  while (i < to->nfixed && to->fixed[i] != mem) i++;
  if (i == to->nfixed) {
    PARE__TRY(pare__array_grow((void **)&to->fixed, &to->fixed_capacity, to->nfixed, sizeof *to->fixed));
    to->fixed[to->nfixed++] = mem;
  }
  *number = (int64_t)i * 2;
  return PARE_OK;
}

static pare_status put_arguments(table *to, const pare__args *args) {
  int64_t pool = 0;
  for (unsigned i = 0; i < args->count; i++) {
    int64_t value = 0;
    const char kind = args->item[i].kind;
    switch (kind) {
    case PARE__ARG_INT:
    case PARE__ARG_UINT:
    case PARE__ARG_FLOAT: value = args->item[i].value.i; break;
    case PARE__ARG_MEM: PARE__TRY(number_of(to, args->item[i].value.m, &value)); break;
    case PARE__ARG_LOCAL:
      value = pool;
      pool += pare__round_up((int64_t)args->item[i].nbytes, LOCAL_ALIGNMENT);
      break;
    case PARE__ARG_LONG8:
      for (unsigned k = 0; k < 8; k++) PARE__TRY(put(to, args->item[i].value.l8[k]));
      continue;
    default: value = args->item[i].value.l;
    }
    PARE__TRY(put(to, value));
  }
  return PARE_OK;
}

static pare_status put_starts(table *to, const pare__captured *launch, int64_t workers) {
  const int64_t groups = (int64_t)(launch->groups[0] * launch->groups[1] * launch->groups[2]);
  const int64_t least = PARE__MAX(groups / (workers * PART_OF_STEP), 1);
  for (int64_t at = 0; at < groups; at += PARE__MAX((groups - at) / (workers * PART_OF_REST), least))
    PARE__TRY(put(to, at));
  return put(to, groups);
}

static pare_status fill_table(pare__ticketed *t, const pare__ticketed_parts *parts, const pare__ticket_step *steps,
                              table *to) {
  int64_t ticket = 0;
  for (size_t i = 0; i < (t->nsteps + 1) * STEP_LONGS; i++) PARE__TRY(put(to, 0));
  for (size_t i = 0; i < t->nsteps; i++) {
    const pare__captured *launch = steps[i].launch;
    int64_t row[STEP_LONGS] = {[FIRST_TICKET] = ticket,
                               [STARTS] = (int64_t)to->count,
                               [GROUPS_X] = (int64_t)launch->groups[0],
                               [GROUPS_Y] = (int64_t)launch->groups[1],
                               [GROUPS_Z] = (int64_t)launch->groups[2],
                               [PART] = (int64_t)pare__ticketed_part_index(parts, launch)};
    PARE__TRY(put_starts(to, launch, (int64_t)t->workers));
    t->tickets[i] = to->count - 1 - (size_t)row[STARTS];
    row[ARGUMENTS] = (int64_t)to->count;
    PARE__TRY(put_arguments(to, &launch->args));
    row[AFTER] = (int64_t)to->count;
    for (size_t k = 0; k < steps[i].nafter; k++) PARE__TRY(put(to, steps[i].after[k]));
    row[AFTER_END] = (int64_t)to->count;
    memcpy(to->data + i * STEP_LONGS, row, sizeof row);
    t->local_bytes[i] = local_of(&launch->args);
    ticket += (int64_t)t->tickets[i];
  }
  to->data[t->nsteps * STEP_LONGS + FIRST_TICKET] = ticket;
  return ticket < INT32_MAX / 2 ? PARE_OK : pare__fail(PARE_ERR_LIMIT, "%lld tickets are too many", (long long)ticket);
}

static pare_status upload(pare__device *device, const void *data, size_t nbytes, pare__buffer **out) {
  PARE__TRY(pare__buffer_create(device, nbytes, "a ticketed launch", out));
  return data ? pare__buffer_write(*out, 0, nbytes, data) : PARE_OK;
}

static pare_status find_addresses(pare__ticketed *t, const table *from) {
  pare__device *device = t->program->device;
  pare__kernel *kernel;
  const size_t one = 1;
  PARE__TRY(upload(device, NULL, (from->nfixed + 1) * sizeof(cl_ulong), &t->addresses));
  PARE__TRY(pare__kernel_get(t->program, "ticketed_address", &kernel));
  for (size_t i = 0; i < from->nfixed; i++) {
    pare__args args = {0};
    pare__arg_mem(&args, from->fixed[i]);
    pare__arg_mem(&args, pare__buffer_mem(t->addresses));
    pare__arg_int(&args, (int32_t)i);
    PARE__TRY(pare__launch(device, kernel, 1, &one, NULL, &args));
  }
  return pare__device_finish(device);
}

static pare_status set_up(pare__ticketed *t, const pare__ticketed_parts *parts, const pare__ticket_step *steps,
                          table *to) {
  PARE__TRY(fill_table(t, parts, steps, to));
  pare__device *device = t->program->device;
  PARE__TRY(upload(device, to->data, to->count * sizeof *to->data, &t->table));
  PARE__TRY(find_addresses(t, to));
  const size_t count = (2 + t->nsteps) * LINE;
  cl_int *zero = calloc(count, sizeof *zero);
  if (!zero) return pare__fail_memory("a ticketed launch", count * sizeof *zero);
  pare_status status = upload(device, zero, count * sizeof *zero, &t->counts);
  free(zero);
  return status;
}

pare_status pare__ticketed_open(const pare__ticketed_parts *parts, pare__program *program,
                                const pare__ticket_step *steps, size_t nsteps, const cl_mem *moving, size_t nmoving,
                                pare__ticketed **out) {
  *out = NULL;
  pare__ticketed *t = calloc(1, sizeof *t);
  if (!t) return pare__fail_memory("a ticketed launch", sizeof *t);
  table to = {.moving = moving, .nmoving = nmoving};
  t->program = program;
  t->nsteps = nsteps;
  t->nmoving = nmoving;
  t->workers = count_workers(program->device);
  t->tickets = calloc(nsteps + 1, sizeof *t->tickets);
  t->local_bytes = calloc(nsteps + 1, sizeof *t->local_bytes);
  pare_status status = PARE_OK;
  if (!t->tickets || !t->local_bytes) status = pare__fail_memory("a ticketed launch", nsteps * sizeof *t->tickets);
  if (nmoving > PARE__MOST_MOVING)
    status = pare__fail(PARE_ERR_LIMIT, "a ticketed launch of %zu buffers; it takes %d", nmoving, PARE__MOST_MOVING);
  if (status == PARE_OK) status = set_up(t, parts, steps, &to);
  free(to.data);
  free(to.fixed);
  if (status != PARE_OK) {
    pare__ticketed_close(t);
    return status;
  }
  *out = t;
  return PARE_OK;
}

void pare__ticketed_close(pare__ticketed *t) {
  if (!t) return;
  pare__buffer_release(t->table);
  pare__buffer_release(t->addresses);
  pare__buffer_release(t->counts);
  free(t->tickets);
  free(t->local_bytes);
  free(t);
}

pare_status pare__ticketed_run(pare__ticketed *t, size_t begin, size_t end, const cl_mem *moving) {
  pare__device *device = t->program->device;
  size_t tickets = 0, local_bytes = 1;
  for (size_t i = begin; i < end; i++) {
    tickets += t->tickets[i];
    local_bytes = PARE__MAX(local_bytes, t->local_bytes[i]);
  }
  const size_t groups = PARE__MAX(PARE__MIN(tickets, t->workers), (size_t)1);
  pare__kernel *kernel;
  PARE__TRY(pare__kernel_get(t->program, "ticketed", &kernel));
  pare__args args = {0};
  pare__arg_mem(&args, pare__buffer_mem(t->table));
  pare__arg_mem(&args, pare__buffer_mem(t->addresses));
  pare__arg_mem(&args, pare__buffer_mem(t->counts));
  pare__arg_int(&args, (int32_t)begin);
  pare__arg_int(&args, (int32_t)end);
  pare__arg_local(&args, local_bytes);
  for (size_t i = 0; i < PARE__MOST_MOVING; i++) pare__arg_mem(&args, moving && i < t->nmoving ? moving[i] : NULL);
  return pare__launch(device, kernel, 1, &groups, NULL, &args);
}

pare_status pare__ticketed_warm(const pare__ticketed_parts *parts, pare__program *program) {
  pare__ticketed *none;
  PARE__TRY(pare__ticketed_open(parts, program, NULL, 0, NULL, 0, &none));
  pare_status status = pare__ticketed_run(none, 0, 0, NULL);
  if (status == PARE_OK) status = pare__device_finish(program->device);
  pare__ticketed_close(none);
  return status;
}
