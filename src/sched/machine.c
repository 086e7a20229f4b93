/* Machines for the simulator, from files (doc/simulate.md). SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "sched/json_stream.h"
#include "sched/simulate.h"

#define MOST_BYTES ((size_t)64 << 20)
#define MOST_DEVICES 65536
#define MOST_NAME 150 /* bytes: device names are shown, and numbers are put behind */
#define MOST 1e18     /* of any number in a file */

double pare__by_kernel_get(const pare__by_kernel *numbers, const char *kernel) {
  if (!numbers) return 0;
  for (size_t i = 0; i < numbers->count; i++)
    if (strcmp(numbers->kernel[i], kernel) == 0) return numbers->value[i];
  return numbers->other;
}

static pare_status copy_text(pare_machine *machine, const char *text, const char **out) {
  return pare__arena_text(&machine->arena, text, strlen(text), out);
}

/* An object of kernels and numbers, none below `least`; `what` they are, for messages. */
static pare_status read_by_kernel(pare_machine *machine, const pare__json_stream *file, json_t *numbers, double least,
                                  const char *what, const pare__by_kernel **out) {
  const char *kernel;
  json_t *value;
  void *memory = NULL;
  PARE__TRY(pare__arena_allocate(&machine->arena, sizeof(pare__by_kernel), &memory));
  pare__by_kernel *made = memory;
  PARE__TRY(pare__arena_allocate(&machine->arena, (json_object_size(numbers) + 1) * sizeof *made->kernel, &memory));
  made->kernel = memory;
  PARE__TRY(pare__arena_allocate(&machine->arena, (json_object_size(numbers) + 1) * sizeof *made->value, &memory));
  made->value = memory;
  json_object_foreach(numbers, kernel, value) {
    const double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || number < least || number > MOST)
      return pare__json_fail(file, kernel, "the %s of '%.40s' must be a %s number", what, kernel,
                             least > 0 ? "positive" : "non-negative");
    if (strcmp(kernel, "*") == 0) {
      made->other = number;
      continue;
    }
    PARE__TRY(copy_text(machine, kernel, &made->kernel[made->count]));
    made->value[made->count++] = number;
  }
  *out = made;
  return PARE_OK;
}

static pare_status read_rates(pare_machine *machine, const pare__json_stream *file, const pare__by_kernel **out) {
  json_t *object = json_object_get(file->object, "rates");
  if (!json_is_object(object) || json_object_size(object) == 0)
    return pare__json_fail(file, "rates", "a device needs 'rates', such as {\"gemm\": 5e9, \"*\": 1e9}");
  return read_by_kernel(machine, file, object, 1e-12, "rate", out);
}

/* One number is that of all kernels. */
static pare_status read_launch(pare_machine *machine, const pare__json_stream *file, const pare__by_kernel **out) {
  json_t *object = json_object_get(file->object, "launch");
  double all = 0;
  if (json_is_object(object)) return read_by_kernel(machine, file, object, 0, "launch", out);
  PARE__TRY(pare__json_number(file, "launch", 0, MOST, &all));
  void *memory = NULL;
  PARE__TRY(pare__arena_allocate(&machine->arena, sizeof(pare__by_kernel), &memory));
  pare__by_kernel *made = memory;
  made->other = all;
  *out = made;
  return PARE_OK;
}

/* Among the first `end` devices. */
static size_t find_device(const pare_machine *machine, const char *name, size_t end) {
  size_t i = 0;
  while (i < end && strcmp(machine->device[i].name, name) != 0) i++;
  return i;
}

/* One device, or `count` of them: NAME.0, NAME.1, … */
static pare_status add_devices(pare_machine *machine, const pare__json_stream *file, const char *name, int64_t count,
                               const pare__simulated_device *device) {
  char text[200];
  const size_t before = machine->ndevices; /* those of this object differ by their numbers */
  if (strlen(name) > MOST_NAME)
    return pare__json_fail(file, "device", "the name of a device is longer than %d bytes", MOST_NAME);
  for (int64_t i = 0; i < count; i++) {
    if (machine->ndevices == MOST_DEVICES) return pare__json_fail(file, "count", "more than %d devices", MOST_DEVICES);
    void *items = machine->device;
    const pare_status status =
        pare__array_grow(&items, &machine->device_capacity, machine->ndevices, sizeof *machine->device);
    machine->device = items;
    if (status != PARE_OK) return status;
    pare__simulated_device *made = &machine->device[machine->ndevices];
    *made = *device;
    if (count == 1)
      snprintf(text, sizeof text, "%s", name);
    else
      snprintf(text, sizeof text, "%s.%lld", name, (long long)i);
    if (find_device(machine, text, before) < before)
      return pare__json_fail(file, "device", "the device '%.40s' is there twice", text);
    PARE__TRY(copy_text(machine, text, &made->name));
    machine->ndevices++;
  }
  return PARE_OK;
}

static pare_status read_device(pare_machine *machine, const pare__json_stream *file) {
  static const char *const keys[] = {"device",  "count", "class",      "rates", "launch", "memory", "bandwidth",
                                     "latency", "watts", "idle_watts", "price", "weight", NULL};
  const char *name = NULL;
  int64_t count = 1, memory = 0;
  double bandwidth = 0;
  pare__simulated_device device = {.weight = 1, .seen.resource = PARE__ON_GPU};
  pare__policy_device *seen = &device.seen;
  PARE__TRY(pare__json_keys(file, keys));
  PARE__TRY(pare__json_text(file, "device", &name));
  PARE__TRY(pare__json_integer(file, "count", 1, MOST_DEVICES, &count));
  PARE__TRY(pare__json_resource(file, false, &seen->resource));
  PARE__TRY(read_launch(machine, file, &device.launch));
  PARE__TRY(pare__json_integer(file, "memory", 1, (int64_t)1 << 60, &memory));
  PARE__TRY(pare__json_number(file, "bandwidth", 1e-12, MOST, &bandwidth));
  PARE__TRY(pare__json_number(file, "latency", 0, MOST, &seen->copy_seconds));
  PARE__TRY(pare__json_number(file, "watts", 0, MOST, &seen->busy_watts));
  PARE__TRY(pare__json_number(file, "idle_watts", 0, seen->busy_watts, &seen->idle_watts));
  PARE__TRY(pare__json_number(file, "price", 0, MOST, &seen->price_per_hour));
  PARE__TRY(pare__json_number(file, "weight", 1e-12, MOST, &device.weight));
  PARE__TRY(read_rates(machine, file, &device.rates));
  if (seen->copy_seconds > 0 && !(bandwidth > 0))
    return pare__json_fail(file, "latency", "'latency' is of a link to the host: say its 'bandwidth', too");
  seen->memory_bytes = (uint64_t)memory;
  seen->seconds_per_byte = bandwidth > 0 ? 1 / bandwidth : 0;
  return add_devices(machine, file, name, count, &device);
}

static pare_status read_event(pare_machine *machine, const pare__json_stream *file) {
  static const char *const keys[] = {"event", "device", "at", "speed", NULL};
  const char *kind = NULL, *name = NULL;
  pare__machine_event event = {.at = -1};
  PARE__TRY(pare__json_keys(file, keys));
  PARE__TRY(pare__json_text(file, "event", &kind));
  PARE__TRY(pare__json_text(file, "device", &name));
  PARE__TRY(pare__json_number(file, "at", 0, MOST, &event.at));
  PARE__TRY(pare__json_number(file, "speed", 1e-6, 1, &event.speed));
  const bool slows = strcmp(kind, "speed") == 0;
  if (!slows && strcmp(kind, "lost") != 0)
    return pare__json_fail(file, "event", "there is no event '%.40s'; there are lost and speed", kind);
  if (!name || event.at < 0) return pare__json_fail(file, "event", "an event needs 'device' and 'at'");
  if (slows && !(event.speed > 0))
    return pare__json_fail(file, "event", "the event speed needs 'speed', a share of the device's own");
  if (!slows && event.speed > 0)
    return pare__json_fail(file, "speed", "'speed' belongs to the event speed, and to no other");
  event.device = find_device(machine, name, machine->ndevices);
  if (event.device == machine->ndevices)
    return pare__json_fail(file, "device", "there is no device '%.40s' above this line", name);
  void *items = machine->event;
  const pare_status status =
      pare__array_grow(&items, &machine->event_capacity, machine->nevents, sizeof *machine->event);
  machine->event = items;
  if (status != PARE_OK) return status;
  event.order = machine->nevents;
  machine->event[machine->nevents++] = event;
  return PARE_OK;
}

static pare_status read_whole(pare_machine *machine, const pare__json_stream *file) {
  static const char *const keys[] = {"machine", "noise", "contention", NULL};
  const char *name;
  PARE__TRY(pare__json_keys(file, keys));
  PARE__TRY(pare__json_text(file, "machine", &name));
  PARE__TRY(pare__json_number(file, "noise", 0, 10, &machine->noise));
  return pare__json_bool(file, "contention", &machine->contention);
}

static int by_time_and_order(const void *a, const void *b) {
  const pare__machine_event *x = a, *y = b;
  return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (x->order > y->order) - (x->order < y->order);
}

static pare_status read_machine(pare_machine *machine, pare__json_stream *file) {
  json_t *object;
  for (;;) {
    PARE__TRY(pare__json_next(file, &object));
    if (!object) break;
    if (json_object_get(object, "event"))
      PARE__TRY(read_event(machine, file));
    else if (json_object_get(object, "device"))
      PARE__TRY(read_device(machine, file));
    else if (json_object_get(object, "machine"))
      PARE__TRY(read_whole(machine, file));
    else
      return pare__json_fail(file, "", "an object with 'device', 'event' or 'machine' is expected here");
  }
  if (machine->nevents > 0) qsort(machine->event, machine->nevents, sizeof *machine->event, by_time_and_order);
  return machine->ndevices > 0 ? PARE_OK : pare__json_fail(file, "", "a machine needs a device at least");
}

pare_status pare_machine_parse(const char *text, size_t nbytes, const char *name, pare_machine **out) {
  if (!out) return pare__fail_null("pare_machine_parse", "out");
  *out = NULL;
  if (!text) return pare__fail_null("pare_machine_parse", "text");
  pare_machine *made = calloc(1, sizeof *made);
  if (!made) return pare__fail_memory("a machine", sizeof *made);
  made->contention = true;
  pare__json_stream file = {.name = name ? name : "machine", .text = text, .nbytes = nbytes};
  const pare_status status = read_machine(made, &file);
  pare__json_end(&file);
  if (status == PARE_OK)
    *out = made;
  else
    pare_machine_close(made);
  return status;
}

pare_status pare_machine_open(const char *path, pare_machine **out) {
  char *text = NULL;
  size_t nbytes = 0;
  if (!out) return pare__fail_null("pare_machine_open", "out");
  *out = NULL;
  if (!path) return pare__fail_null("pare_machine_open", "path");
  PARE__TRY(pare__file_read(path, MOST_BYTES, &text, &nbytes));
  const pare_status status = pare_machine_parse(text, nbytes, path, out);
  free(text);
  return status;
}

size_t pare_machine_devices(const pare_machine *machine) { return machine ? machine->ndevices : 0; }

void pare_machine_close(pare_machine *machine) {
  if (!machine) return;
  free(machine->device);
  free(machine->event);
  pare__arena_clear(&machine->arena);
  free(machine);
}
