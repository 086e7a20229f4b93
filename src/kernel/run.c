/* Running a variant: its program with the tuning built in, its kernel found again quickly.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "kernel/state.h"

int pare__tuned(const pare__run *run, const char *param) {
  const pare__param *params = run->variant->params;
  for (unsigned i = 0; params && params[i].name; i++)
    if (strcmp(params[i].name, param) == 0) return run->tuning.value[i];
  assert(!"a launch function asks for a parameter that its variant has");
  return 0;
}

/* Appends to a bounded text; false if it did not fit. */
PARE__PRINTF(4, 5) static bool append(char *text, size_t capacity, size_t *used, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = vsnprintf(text + *used, capacity - *used, format, list);
  va_end(list);
  if (n < 0 || (size_t)n >= capacity - *used) return false;
  *used += (size_t)n;
  return true;
}

static pare_status build_options(const pare__run *run, const char *extra, char *text, size_t capacity) {
  const pare_device_capabilities *can = &pare__device_info(run->device)->can;
  const struct {
    bool have;
    const char *name;
  } flags[] = {{can->nontemporal_store, "PARE_NONTEMPORAL"}, {can->vector_extensions, "PARE_VECTOR_EXTENSIONS"}};
  size_t used = 0;
  bool fits = true;
  /* Their functions are there from OpenCL C 3.0 on, or by asking for it. */
  if (run->variant->needs & PARE__NEEDS_INTEGER_DOT) fits = append(text, capacity, &used, "-cl-std=CL3.0 ");
  for (unsigned i = 0; i < PARE__COUNT(flags); i++)
    if (flags[i].have) fits = fits && append(text, capacity, &used, "-D%s=1 ", flags[i].name);
  if (pare__device_soft_fma(run->device)) fits = fits && append(text, capacity, &used, "-DPARE_SOFT_FMA=1 -Dfma=mad ");
  for (unsigned i = 0; i < PARE__MAX_BUFFERS; i++)
    fits = fits && append(text, capacity, &used, "-DT%u=%s ", i, pare_dtype_name(run->whole->dtype[i]));
  const pare__param *params = run->variant->params;
  for (unsigned i = 0; params && params[i].name; i++)
    fits = fits && append(text, capacity, &used, "-D%s=%d ", params[i].name, run->tuning.value[i]);
  if (extra) fits = fits && append(text, capacity, &used, "%s", extra);
  if (!fits) return pare__fail(PARE_ERR_KERNEL, "%s: build options over %zu characters", run->variant->file, capacity);
  return PARE_OK;
}

static bool same_kernel(const pare__built_kernel *built, const pare__run *run, const char *entry, const char *extra) {
  return built->variant == run->variant && memcmp(&built->tuning, &run->tuning, sizeof run->tuning) == 0 &&
         memcmp(built->dtype, run->whole->dtype, sizeof built->dtype) == 0 && strcmp(built->entry, entry) == 0 &&
         strcmp(built->extra_options, extra) == 0;
}

static size_t kernel_hash(const pare__variant *variant, const pare__tuning *tuning, const pare_dtype *dtype,
                          const char *entry, const char *extra) {
  struct {
    const pare__variant *variant;
    pare__tuning tuning;
    pare_dtype dtype[PARE__MAX_BUFFERS];
  } key = {variant, *tuning, {0}};
  memcpy(key.dtype, dtype, sizeof key.dtype);
  XXH64_hash_t hash = XXH3_64bits(&key, sizeof key);
  hash = XXH3_64bits_withSeed(entry, strlen(entry), hash);
  return (size_t)XXH3_64bits_withSeed(extra, strlen(extra), hash);
}

/* Doubles the table when it is half full, so that a free slot always ends a search. */
static pare_status reserve(pare__state *state) {
  if (state->nbuilt * 2 < state->built_slots) return PARE_OK;
  size_t slots = state->built_slots ? state->built_slots * 2 : 64;
  pare__built_kernel *table = calloc(slots, sizeof *table);
  if (!table) return pare__fail_memory("the table of kernels", slots * sizeof *table);
  for (size_t i = 0; i < state->built_slots; i++) {
    const pare__built_kernel *built = &state->built[i];
    if (!built->variant) continue;
    size_t slot = kernel_hash(built->variant, &built->tuning, built->dtype, built->entry, built->extra_options);
    while (table[slot & (slots - 1)].variant) slot++;
    table[slot & (slots - 1)] = *built;
  }
  free(state->built);
  state->built = table;
  state->built_slots = slots;
  return PARE_OK;
}

static pare_status build(const pare__run *run, const char *entry, const char *extra, pare__built_kernel *built) {
  char options[2048];
  PARE__TRY(build_options(run, extra, options, sizeof options));
  pare__program *program;
  pare__kernel *kernel;
  PARE__TRY(pare__program_get(run->device, run->variant->file, options, &program));
  PARE__TRY(pare__kernel_get(program, entry, &kernel));
  char *entry_copy = pare__strdup(entry), *extra_copy = pare__strdup(extra);
  if (!entry_copy || !extra_copy) {
    free(entry_copy);
    free(extra_copy);
    return pare__fail_memory("a kernel's name", strlen(entry) + strlen(extra));
  }
  *built = (pare__built_kernel){.variant = run->variant,
                                .tuning = run->tuning,
                                .entry = entry_copy,
                                .extra_options = extra_copy,
                                .kernel = kernel};
  memcpy(built->dtype, run->whole->dtype, sizeof built->dtype);
  return PARE_OK;
}

static pare_status find_kernel(const pare__run *run, const char *entry, const char *extra, pare__kernel **out) {
  pare__state *state;
  PARE__TRY(pare__state_get(run->device, &state));
  PARE__TRY(reserve(state));
  size_t mask = state->built_slots - 1;
  size_t slot = kernel_hash(run->variant, &run->tuning, run->whole->dtype, entry, extra) & mask;
  while (state->built[slot].variant && !same_kernel(&state->built[slot], run, entry, extra)) slot = (slot + 1) & mask;
  if (!state->built[slot].variant) {
    PARE__TRY(build(run, entry, extra, &state->built[slot]));
    state->nbuilt++;
  }
  *out = state->built[slot].kernel;
  return PARE_OK;
}

pare_status pare__run_kernel(const pare__run *run, const char *entry, const char *extra_options, unsigned dims,
                             const size_t *global, const size_t *local, const pare__args *args) {
  pare__kernel *kernel;
  pare__device_lock(run->device);
  pare_status status = find_kernel(run, entry, extra_options ? extra_options : "", &kernel);
  pare__device_unlock(run->device);
  /* a driver that hangs in it shall not keep those who ask what this device chose */
  return status == PARE_OK ? pare__launch(run->device, kernel, dims, global, local, args) : status;
}

pare_status pare__run_choice(pare__device *device, const pare__family *family, const pare__choice *choice,
                             const pare__problem *whole, const pare__problem *piece, const pare__operand *operand) {
  assert(!choice->variant->whole_only || memcmp(whole->dim, piece->dim, sizeof whole->dim) == 0);
  pare__run run = {device, choice->variant, choice->tuning, whole, piece, operand};
  return (choice->variant->launch ? choice->variant->launch : family->launch)(&run);
}

pare_status pare__run_family(pare__device *device, const pare__family *family, const pare__problem *problem,
                             const pare__operand *operand) {
  pare__choice choice;
  PARE__TRY(pare__choose(device, family, problem, &choice));
  return pare__run_choice(device, family, &choice, problem, problem, operand);
}
