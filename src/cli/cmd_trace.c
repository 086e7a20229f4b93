/* pare trace: a trace drawn, and summed up. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/replay.h"

#define MOST_STEP (INT64_C(1) << 53) /* doubles hold them */
#define MOST_WORK 1e18               /* of a step, as in files of tasks */
#define MOST_TIME 1e72 /* microseconds: more than any simulation writes; sums and differences stay finite */

enum { SVG, TITLE, MACHINE, TASKS, JSON };
static const cli_option options[] = {
    [SVG] = {"svg", "OUT", "draw a Gantt chart", 0},
    [TITLE] = {"title", "TEXT", "of the chart (the file's name)", 0},
    [MACHINE] = {"machine", "OUT", "write the devices with the rates that they showed, for pare simulate", 0},
    [TASKS] = {"tasks", "OUT", "write what ran as tasks, for pare simulate", 0},
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct trace_device {
  json_int_t process;
  double busy, copying;
  size_t slices;
} trace_device;

typedef struct trace_run {
  const char *path;
  json_t *file;
  cli_gantt gantt;
  trace_device *device;
  size_t device_capacity, slice_capacity, kind_capacity;
  double *kind_time;
} trace_run;

static cli_exit grow(void *items, size_t *capacity, size_t count, size_t item_bytes) {
  void **array = items;
  if (count < *capacity) return CLI_OK;
  const size_t more = *capacity ? *capacity * 2 : 64;
  void *grown = realloc(*array, more * item_bytes);
  if (!grown) return cli_error(CLI_DEVICE, "out of memory");
  *array = grown;
  *capacity = more;
  return CLI_OK;
}

/* ---- reading ---- */

/* The device of a process; named by its number until a name comes. */
static cli_exit find_device(trace_run *run, json_int_t process, size_t *out) {
  cli_gantt *gantt = &run->gantt;
  for (*out = 0; *out < gantt->ndevices; (*out)++)
    if (run->device[*out].process == process) return CLI_OK;
  size_t capacity = run->device_capacity;
  cli_exit code = grow(&run->device, &capacity, gantt->ndevices, sizeof *run->device);
  if (code == CLI_OK) code = grow(&gantt->device, &run->device_capacity, gantt->ndevices, sizeof *gantt->device);
  if (code != CLI_OK) return code;
  run->device[gantt->ndevices] = (trace_device){.process = process};
  if (asprintf(&gantt->device[gantt->ndevices], "process %lld", (long long)process) < 0)
    return cli_error(CLI_DEVICE, "out of memory");
  gantt->ndevices++;
  return CLI_OK;
}

static cli_exit add_kind(trace_run *run, const char *kind, double time) {
  cli_gantt *gantt = &run->gantt;
  size_t i = 0;
  while (i < gantt->nkinds && strcmp(gantt->kind[i], kind) != 0) i++;
  if (i == gantt->nkinds) {
    size_t capacity = run->kind_capacity;
    cli_exit code = grow(&gantt->kind, &capacity, i, sizeof *gantt->kind);
    if (code == CLI_OK) code = grow(&run->kind_time, &run->kind_capacity, i, sizeof *run->kind_time);
    if (code != CLI_OK) return code;
    gantt->kind[i] = strdup(kind);
    if (!gantt->kind[i]) return cli_error(CLI_DEVICE, "out of memory");
    run->kind_time[i] = 0;
    gantt->nkinds++;
  }
  run->kind_time[i] += time;
  for (; i > 0 && run->kind_time[i] > run->kind_time[i - 1]; i--) { /* the most time first */
    const double moved = run->kind_time[i];
    char *name = gantt->kind[i];
    run->kind_time[i] = run->kind_time[i - 1];
    gantt->kind[i] = gantt->kind[i - 1];
    run->kind_time[i - 1] = moved;
    gantt->kind[i - 1] = name;
  }
  return CLI_OK;
}

/* Work, copies to the device, copies from it: 0, 1, 2 in its thread's number, behind that of its process. */
static int row_of(const json_t *event) {
  const json_int_t process = json_integer_value(json_object_get(event, "pid")),
                   thread = json_integer_value(json_object_get(event, "tid"));
  if (process > 0 && thread >= process && thread - process < 10 && process % 10 == 0) return (int)(thread - process);
  return thread >= 0 && thread < 10 ? (int)thread : 0;
}

static cli_exit add_slice(trace_run *run, size_t index, const json_t *event, size_t device) {
  cli_gantt *gantt = &run->gantt;
  const json_t *from = json_object_get(event, "ts"), *length = json_object_get(event, "dur");
  const char *name = json_string_value(json_object_get(event, "name")),
             *said = json_string_value(json_object_get(event, "cat")), *kind = said && *said ? said : "work";
  const json_t *steps = json_object_get(event, "args");
  const json_int_t first = json_integer_value(json_object_get(steps, "begin")),
                   behind = json_integer_value(json_object_get(steps, "end")),
                   all = json_integer_value(json_object_get(steps, "n")),
                   grain = json_integer_value(json_object_get(steps, "grain"));
  const double begin = json_number_value(from), time = json_number_value(length);
  if (!json_is_number(from) || !json_is_number(length) || !(fabs(begin) <= MOST_TIME) ||
      !(time >= 0 && time <= MOST_TIME))
    return cli_error(CLI_INPUT, "%s: event %zu: a slice needs the numbers 'ts' and 'dur', the latter not negative",
                     run->path, index);
  if (first < 0 || behind < first || behind > MOST_STEP)
    return cli_error(CLI_INPUT, "%s: event %zu: a slice of the steps %lld to %lld", run->path, index, (long long)first,
                     (long long)behind);
  if (all < 0 || all > MOST_STEP || (all > 0 && all < behind) || grain < 0 || grain > MOST_STEP)
    return cli_error(CLI_INPUT, "%s: event %zu: the steps %lld to %lld of %lld, in grains of %lld", run->path, index,
                     (long long)first, (long long)behind, (long long)all, (long long)grain);
  const json_t *ready = json_object_get(steps, "ready"), *work = json_object_get(steps, "work");
  if (json_is_number(work) && !(json_number_value(work) > 0 && json_number_value(work) <= MOST_WORK))
    return cli_error(CLI_INPUT, "%s: event %zu: steps of %g units of work", run->path, index, json_number_value(work));
  if (json_is_number(ready) && !(fabs(json_number_value(ready)) <= MOST_TIME))
    return cli_error(CLI_INPUT, "%s: event %zu: a task that was ready at %g", run->path, index,
                     json_number_value(ready));
  const json_t *launch = json_object_get(steps, "launch");
  if (json_is_number(launch) && !(json_number_value(launch) >= 0 && json_number_value(launch) <= MOST_TIME))
    return cli_error(CLI_INPUT, "%s: event %zu: a launch of %g microseconds", run->path, index,
                     json_number_value(launch));
  const double nbytes = json_number_value(json_object_get(steps, "bytes"));
  if (!(nbytes >= 0 && nbytes <= (double)MOST_STEP))
    return cli_error(CLI_INPUT, "%s: event %zu: a copy of %g bytes", run->path, index, nbytes);
  const int row = row_of(event);
  const bool is_copy = row >= 1 && strcmp(kind, "copy") == 0;
  cli_exit code = grow(&gantt->slice, &run->slice_capacity, gantt->nslices, sizeof *gantt->slice);
  if (code == CLI_OK && !is_copy) code = add_kind(run, kind, time);
  if (code != CLI_OK) return code;
  gantt->slice[gantt->nslices++] = (cli_slice){.name = name ? name : "",
                                               .kind = kind,
                                               .device = device,
                                               .is_copy = is_copy,
                                               .is_back = is_copy && row > 1,
                                               .nbytes = is_copy ? nbytes : 0,
                                               .from = begin,
                                               .until = begin + time,
                                               .begin = first,
                                               .end = behind,
                                               .n = all,
                                               .grain = grain,
                                               .work = json_is_number(work) ? json_number_value(work) : 1,
                                               .ready = json_is_number(ready) ? json_number_value(ready) : begin,
                                               .launch = json_is_number(launch) ? json_number_value(launch) : -1,
                                               .says_ready = json_is_number(ready)};
  gantt->from = gantt->nslices == 1 ? begin : fmin(gantt->from, begin);
  gantt->until = gantt->nslices == 1 ? begin + time : fmax(gantt->until, begin + time);
  run->device[device].slices++;
  *(is_copy ? &run->device[device].copying : &run->device[device].busy) += time;
  return CLI_OK;
}

static cli_exit add_event(trace_run *run, size_t index, const json_t *event) {
  const char *phase = json_string_value(json_object_get(event, "ph")),
             *name = json_string_value(json_object_get(event, "name"));
  const json_int_t process = json_integer_value(json_object_get(event, "pid"));
  size_t device = 0;
  if (!phase) return cli_error(CLI_INPUT, "%s: event %zu has no phase 'ph'", run->path, index);
  const bool names = strcmp(phase, "M") == 0 && name && strcmp(name, "process_name") == 0;
  if (!names && strcmp(phase, "X") != 0) return CLI_OK;
  cli_exit code = find_device(run, process, &device);
  if (code == CLI_OK && !names) return add_slice(run, index, event, device);
  const char *text = json_string_value(json_object_get(json_object_get(event, "args"), "name"));
  char *copy = code == CLI_OK && text ? strdup(text) : NULL;
  if (!copy) return code;
  free(run->gantt.device[device]);
  run->gantt.device[device] = copy;
  return CLI_OK;
}

static int by_device_and_time(const void *a, const void *b) {
  const cli_slice *x = a, *y = b;
  if (x->device != y->device) return (x->device > y->device) - (x->device < y->device);
  return (x->from > y->from) - (x->from < y->from);
}

static cli_exit read_trace(trace_run *run) {
  json_error_t error;
  json_t *event;
  size_t i;
  cli_exit code = CLI_OK;
  struct stat found;
  if (stat(run->path, &found) != 0)
    return cli_error(CLI_INPUT, "cannot read the trace '%s': %s", run->path, strerror(errno));
  if (S_ISDIR(found.st_mode))
    return cli_error(CLI_INPUT, "'%s' is a folder: say which file in it, one that --trace wrote", run->path);
  run->file = json_load_file(run->path, 0, &error);
  if (!run->file && error.line < 1)
    return cli_error(CLI_INPUT, "cannot read the trace '%s': %s", run->path, error.text);
  if (!run->file)
    return cli_error(CLI_INPUT, "%s:%d:%d: %s; a trace is the JSON that --trace FILE writes", run->path, error.line,
                     error.column, error.text);
  /* Both forms of the format: an array of events, or an object that has one. */
  const json_t *events = json_is_array(run->file) ? run->file : json_object_get(run->file, "traceEvents");
  if (!json_is_array(events))
    return cli_error(CLI_INPUT, "%s is no trace: it has no list 'traceEvents'; give a file that --trace wrote",
                     run->path);
  json_array_foreach(events, i, event) {
    code = add_event(run, i, event);
    if (code != CLI_OK) return code;
  }
  if (run->gantt.nslices == 0)
    return cli_error(CLI_INPUT, "%s: there is no slice in it: nothing ran while it was written", run->path);
  /* So long that the axis can be told apart from nothing at these times. */
  const double least = fmax(1e-3, 1e-9 * fmax(fabs(run->gantt.from), fabs(run->gantt.until)));
  if (!(run->gantt.until - run->gantt.from >= least)) run->gantt.until = run->gantt.from + least;
  qsort(run->gantt.slice, run->gantt.nslices, sizeof *run->gantt.slice, by_device_and_time);
  return CLI_OK;
}

/* ---- showing ---- */

static cli_exit print_json(const trace_run *run) {
  json_t *list = json_array();
  for (size_t i = 0; i < run->gantt.ndevices; i++)
    json_array_append_new(list, json_pack("{s:o, s:I, s:f, s:f, s:f}", "device", cli_json_text(run->gantt.device[i]),
                                          "slices", (json_int_t)run->device[i].slices, "busy_seconds",
                                          run->device[i].busy * 1e-6, "copy_seconds", run->device[i].copying * 1e-6,
                                          "span_seconds", (run->gantt.until - run->gantt.from) * 1e-6));
  return cli_json_print(list);
}

static cli_exit print_table(const trace_run *run) {
  const double length = run->gantt.until - run->gantt.from;
  cli_table *table = cli_table_open("device|>slices|>busy|>of the time|>copies");
  char text[CLI_TEXT];
  for (size_t i = 0; i < run->gantt.ndevices; i++) {
    cli_table_cell(table, CLI_PLAIN, "%s", run->gantt.device[i]);
    cli_table_cell(table, CLI_PLAIN, "%zu", run->device[i].slices);
    cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(run->device[i].busy * 1e-6, text));
    cli_table_cell(table, CLI_PLAIN, "%.1f%%", 100 * run->device[i].busy / length);
    cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(run->device[i].copying * 1e-6, text));
  }
  const cli_exit code = cli_table_print(table);
  printf("%zu slices in %s\n", run->gantt.nslices, cli_seconds(length * 1e-6, text));
  return code;
}

static cli_exit run(const cli_arguments *arguments) {
  trace_run run = {0};
  const char *svg = cli_value(arguments, &options[SVG]), *title = cli_value(arguments, &options[TITLE]),
             *machine = cli_value(arguments, &options[MACHINE]), *tasks = cli_value(arguments, &options[TASKS]);
  if (arguments->noperands < 1) return cli_error(CLI_USAGE, "say which trace: pare trace FILE --svg OUT");
  run.path = arguments->operands[0];
  cli_exit code = read_trace(&run);
  if (code == CLI_OK && machine) code = cli_replay_machine(&run.gantt, machine);
  if (code == CLI_OK && tasks) code = cli_replay_tasks(&run.gantt, tasks);
  if (code == CLI_OK && svg) code = cli_gantt_write(&run.gantt, title ? title : run.path, svg);
  if (code == CLI_OK && cli_value(arguments, &options[JSON]))
    code = print_json(&run);
  else if (code == CLI_OK)
    code = print_table(&run);
  for (size_t i = 0; i < run.gantt.ndevices; i++) free(run.gantt.device[i]);
  for (size_t i = 0; i < run.gantt.nkinds; i++) free(run.gantt.kind[i]);
  free(run.gantt.device);
  free(run.gantt.kind);
  free(run.gantt.slice);
  free(run.kind_time);
  free(run.device);
  json_decref(run.file);
  return code;
}

const cli_command cli_cmd_trace = {
    .name = "trace",
    .summary = "draw who did what when: a trace as a Gantt chart",
    .usage = "FILE [--svg OUT] [--title TEXT] [--machine OUT] [--tasks OUT] [--json]",
    .about = "Reads a trace in Chrome's format, as --trace of run, eval, bench, compress and simulate writes it, shows "
             "how busy each device was, and "
             "draws it as SVG. The file also opens in Perfetto (ui.perfetto.dev).",
    .options = options,
    .max_operands = 1,
    .run = run,
};
