/* Work for the simulator, from files (doc/simulate.md). SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/path.h"
#include "sched/json_stream.h"
#include "sched/simulate.h"

#define MOST_BYTES ((size_t)2 << 30)
#define MOST_TASKS ((size_t)1 << 27)
#define MOST_STEPS ((int64_t)1 << 53)
#define MOST_KERNELS 4096
#define MOST 1e18
#define NONE UINT32_MAX

/* A name that some line says; a task as soon as one declares it. */
struct symbol {
  const char *name;
  uint32_t task;
  size_t said_at; /* where in the file it is needed first */
};

struct loader {
  pare_workload *workload;
  pare__json_stream file;
  struct symbol *symbols;
  size_t nsymbols, symbol_capacity;
  uint32_t *table; /* of symbols by their names' hash; NONE: empty */
  size_t table_size;
  size_t need_count, need_capacity;
  size_t begin_capacity, at_capacity, host_capacity, name_capacity;
  bool comes_later, has_host; /* some task does, has */
};

#define GROW(array, capacity, count)                                                           \
  do {                                                                                         \
    void *items_ = (void *)(array);                                                            \
    const pare_status grown_ = pare__array_grow(&items_, &(capacity), count, sizeof *(array)); \
    (array) = items_;                                                                          \
    if (grown_ != PARE_OK) return grown_;                                                      \
  } while (0)

pare_status pare__workload_kernel(pare_workload *workload, const char *name, uint32_t *out) {
  for (*out = 0; *out < workload->nkernels; (*out)++)
    if (strcmp(workload->kernel[*out], name) == 0) return PARE_OK;
  GROW(workload->kernel, workload->kernel_capacity, workload->nkernels);
  PARE__TRY(pare__arena_text(&workload->arena, name, strlen(name), &workload->kernel[workload->nkernels]));
  workload->nkernels++;
  return PARE_OK;
}

/* ---- names ---- */

static pare_status grow_table(struct loader *loader) {
  const size_t size = loader->table_size ? loader->table_size * 2 : 1024;
  uint32_t *table = malloc(size * sizeof *table);
  if (!table) return pare__fail_memory("names of tasks", size * sizeof *table);
  for (size_t i = 0; i < size; i++) table[i] = NONE;
  for (size_t i = 0; i < loader->nsymbols; i++) {
    const char *name = loader->symbols[i].name;
    size_t at = pare__hash64(name, strlen(name)) & (size - 1);
    while (table[at] != NONE) at = (at + 1) & (size - 1);
    table[at] = (uint32_t)i;
  }
  free(loader->table);
  loader->table = table;
  loader->table_size = size;
  return PARE_OK;
}

static pare_status find_symbol(struct loader *loader, const char *name, uint32_t *out) {
  if (2 * loader->nsymbols >= loader->table_size) PARE__TRY(grow_table(loader));
  size_t at = pare__hash64(name, strlen(name)) & (loader->table_size - 1);
  for (; loader->table[at] != NONE; at = (at + 1) & (loader->table_size - 1)) {
    *out = loader->table[at];
    if (strcmp(loader->symbols[*out].name, name) == 0) return PARE_OK;
  }
  GROW(loader->symbols, loader->symbol_capacity, loader->nsymbols);
  struct symbol *made = &loader->symbols[loader->nsymbols];
  *made = (struct symbol){.task = NONE, .said_at = loader->file.begin};
  PARE__TRY(pare__arena_text(&loader->workload->arena, name, strlen(name), &made->name));
  *out = loader->table[at] = (uint32_t)loader->nsymbols++;
  return PARE_OK;
}

/* ---- lines ---- */

/* Until all names are known, `from` is the number of a symbol. nbytes below 0: what the maker writes. */
static pare_status add_need(struct loader *loader, const char *name, double nbytes) {
  uint32_t from;
  PARE__TRY(find_symbol(loader, name, &from));
  GROW(loader->workload->need, loader->need_capacity, loader->need_count);
  loader->workload->need[loader->need_count++] = (struct pare__policy_need){from, nbytes};
  return PARE_OK;
}

static pare_status read_needs(struct loader *loader) {
  const pare__json_stream *file = &loader->file;
  json_t *needs = json_object_get(file->object, "needs"), *value;
  const char *name;
  size_t i;
  if (needs && !json_is_array(needs) && !json_is_object(needs))
    return pare__json_fail(file, "needs", "'needs' must be a list of names, or an object of names and bytes");
  json_array_foreach(needs, i, value) {
    if (json_string_length(value) == 0)
      return pare__json_fail(file, "needs", "'needs' must be a list of names, or an object of names and bytes");
    PARE__TRY(add_need(loader, json_string_value(value), -1));
  }
  json_object_foreach(needs, name, value) {
    const double nbytes = json_number_value(value);
    if (!json_is_number(value) || !(nbytes >= 0 && nbytes <= MOST))
      return pare__json_fail(file, "needs", "the bytes of '%.40s' must be a number, not negative", name);
    PARE__TRY(add_need(loader, name, nbytes));
  }
  return PARE_OK;
}

static pare_status read_steps(struct loader *loader, pare__policy_task *task) {
  const pare__json_stream *file = &loader->file;
  bool split = false;
  int64_t priority = 0;
  unsigned resources = PARE__ON_ANY;
  task->n = 1;
  task->per_step = 1;
  task->grain = 1;
  PARE__TRY(pare__json_integer(file, "n", 1, MOST_STEPS, &task->n));
  PARE__TRY(pare__json_number(file, "work", 1e-12, MOST, &task->per_step));
  PARE__TRY(pare__json_bool(file, "split", &split));
  PARE__TRY(pare__json_integer(file, "grain", 1, MOST_STEPS, &task->grain));
  PARE__TRY(pare__json_integer(file, "priority", -1000, 1000, &priority));
  PARE__TRY(pare__json_resource(file, true, &resources));
  if (!split) task->grain = task->n;
  task->priority = (int16_t)priority;
  task->resources = (uint8_t)resources;
  return PARE_OK;
}

static pare_status read_task(struct loader *loader) {
  static const char *const keys[] = {"task",     "kernel", "n",     "work",   "split", "grain", "class",
                                     "priority", "needs",  "reads", "writes", "at",    "host",  NULL};
  const pare__json_stream *file = &loader->file;
  pare_workload *workload = loader->workload;
  const char *name = NULL, *kernel = "work";
  double at = 0, host = 0, reads = 0, writes = 0;
  uint32_t number;
  if (workload->ntasks == MOST_TASKS) return pare__json_fail(file, "", "more than %zu tasks", MOST_TASKS);
  GROW(workload->task, workload->task_capacity, workload->ntasks);
  GROW(workload->begin, loader->begin_capacity, workload->ntasks + 1);
  GROW(workload->at, loader->at_capacity, workload->ntasks);
  GROW(workload->host, loader->host_capacity, workload->ntasks);
  GROW(workload->name, loader->name_capacity, workload->ntasks);
  pare__policy_task *task = &workload->task[workload->ntasks];
  *task = (pare__policy_task){0};
  PARE__TRY(pare__json_keys(file, keys));
  PARE__TRY(pare__json_text(file, "task", &name));
  PARE__TRY(pare__json_text(file, "kernel", &kernel));
  PARE__TRY(pare__json_number(file, "at", 0, MOST, &at));
  PARE__TRY(pare__json_number(file, "host", 0, MOST, &host));
  PARE__TRY(pare__json_number(file, "reads", 0, MOST, &reads));
  PARE__TRY(pare__json_number(file, "writes", 0, MOST, &writes));
  PARE__TRY(read_steps(loader, task));
  if (!name) return pare__json_fail(file, "", "a task needs a name: \"task\": \"...\"");
  PARE__TRY(pare__workload_kernel(workload, kernel, &task->kernel));
  if (workload->nkernels > MOST_KERNELS) return pare__json_fail(file, "kernel", "more than %d kernels", MOST_KERNELS);
  PARE__TRY(find_symbol(loader, name, &number));
  struct symbol *symbol = &loader->symbols[number];
  if (symbol->task != NONE) return pare__json_fail(file, "task", "the task '%.40s' is there twice", name);
  symbol->task = (uint32_t)workload->ntasks;
  workload->name[workload->ntasks] = symbol->name;
  workload->at[workload->ntasks] = at;
  workload->host[workload->ntasks] = host;
  if (at > 0) loader->comes_later = true;
  if (host > 0) loader->has_host = true;
  task->read_bytes = reads;
  task->nbytes = writes; /* and the rest when all needs are known */
  workload->begin[workload->ntasks++] = loader->need_count;
  return read_needs(loader);
}

/* Names become numbers, and bytes are summed. */
static pare_status resolve(struct loader *loader) {
  pare_workload *workload = loader->workload;
  for (size_t i = 0; i < loader->need_count; i++) {
    struct pare__policy_need *need = &workload->need[i];
    const struct symbol *maker = &loader->symbols[need->from];
    if (maker->task == NONE) {
      loader->file.begin = loader->file.offset = maker->said_at;
      return pare__json_fail(&loader->file, "", "there is no task '%.40s', which this one needs", maker->name);
    }
    need->from = maker->task;
    if (need->nbytes < 0) need->nbytes = workload->task[need->from].nbytes;
  }
  for (size_t i = 0; i < workload->ntasks; i++)
    for (size_t k = workload->begin[i]; k < workload->begin[i + 1]; k++)
      workload->task[i].read_bytes += workload->need[k].nbytes;
  for (size_t i = 0; i < workload->ntasks; i++) workload->task[i].nbytes += workload->task[i].read_bytes;
  if (!loader->comes_later) {
    free(workload->at);
    workload->at = NULL;
  }
  if (!loader->has_host) {
    free(workload->host);
    workload->host = NULL;
  }
  return PARE_OK;
}

static pare_status read_workload(struct loader *loader) {
  json_t *object;
  for (;;) {
    PARE__TRY(pare__json_next(&loader->file, &object));
    if (!object) break;
    PARE__TRY(read_task(loader));
  }
  if (loader->workload->ntasks == 0) return pare__json_fail(&loader->file, "", "there is no task in it");
  loader->workload->begin[loader->workload->ntasks] = loader->need_count;
  PARE__TRY(resolve(loader));
  return pare__workload_check(loader->workload, loader->file.name);
}

pare_status pare_workload_parse(const char *text, size_t nbytes, const char *name, pare_workload **out) {
  if (!out) return pare__fail_null("pare_workload_parse", "out");
  *out = NULL;
  if (!text) return pare__fail_null("pare_workload_parse", "text");
  pare_workload *made = calloc(1, sizeof *made);
  if (!made) return pare__fail_memory("work to simulate", sizeof *made);
  struct loader loader = {.workload = made, .file = {.name = name ? name : "tasks", .text = text, .nbytes = nbytes}};
  const pare_status status = read_workload(&loader);
  pare__json_end(&loader.file);
  free(loader.symbols);
  free(loader.table);
  if (status == PARE_OK)
    *out = made;
  else
    pare_workload_close(made);
  return status;
}

pare_status pare_workload_open(const char *path, pare_workload **out) {
  char *text = NULL;
  size_t nbytes = 0;
  if (!out) return pare__fail_null("pare_workload_open", "out");
  *out = NULL;
  if (!path) return pare__fail_null("pare_workload_open", "path");
  PARE__TRY(pare__file_read(path, MOST_BYTES, &text, &nbytes));
  const pare_status status = pare_workload_parse(text, nbytes, path, out);
  free(text);
  return status;
}

size_t pare_workload_tasks(const pare_workload *workload) { return workload ? workload->ntasks : 0; }

void pare_workload_close(pare_workload *workload) {
  if (!workload) return;
  free((void *)workload->kernel);
  free(workload->task);
  free(workload->at);
  free(workload->host);
  free((void *)workload->name);
  free(workload->begin);
  free(workload->need);
  pare__arena_clear(&workload->arena);
  free(workload);
}
