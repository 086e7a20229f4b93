/* Performance models learned from samples, by medians. SPDX-License-Identifier: Apache-2.0 */
#include "sched/performance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 16       /* samples of a line */
#define LATEST 5      /* of them judge the line */
#define WRONG 1.25    /* the median of their ratios that it may have, or its inverse */
#define DOUBTFUL 2.0  /* the newest ratio, or its inverse: one more sample should be seen */
#define EARLY 3       /* samples after each of which the line is fitted */
#define RIGHT 1.01    /* a line that fits so well is not fitted again */
#define REFIT_EVERY 8 /* samples, once there are KEPT */
#define APART 0.1     /* of the largest n: two samples nearer than that tell nothing about the slope */
#define LEAST_B 1e-18 /* seconds a unit: nothing is for nothing */
#define LAUNCHES 10   /* a launch shall cost a tenth of what it does */
#define LEAST_LAUNCH 10e-6
#define MOST_LAUNCH 100e-6
#define NPAIRS (KEPT * (KEPT - 1) / 2)

struct pare__samples {
  double n[KEPT], seconds[KEPT], ratio[LATEST];
  size_t count; /* since the line was learned, or learned again; the newest is at (count - 1) % KEPT */
  bool set;     /* the line was given, and no sample made it yet */
};

pare_status pare__performance_open(size_t ndevices, const double *weight, pare__performance **out) {
  *out = NULL;
  pare__performance *made = calloc(1, sizeof *made);
  if (!made) return pare__fail_memory("a performance model", sizeof *made);
  made->ndevices = ndevices;
  made->weight = malloc((ndevices + 1) * sizeof *made->weight);
  if (!made->weight) {
    free(made);
    return pare__fail_memory("weights of devices", ndevices * sizeof *made->weight);
  }
  for (size_t i = 0; i < ndevices; i++) made->weight[i] = weight ? weight[i] : 1;
  *out = made;
  return PARE_OK;
}

void pare__performance_close(pare__performance *performance) {
  if (!performance) return;
  for (size_t i = 0; i < performance->nkernels * performance->ndevices; i++) free(performance->samples[i]);
  for (size_t i = 0; i < performance->nkernels; i++) free(performance->kernel[i]);
  free(performance->samples);
  free(performance->kernel);
  free(performance->a);
  free(performance->b);
  free(performance->weight);
  free(performance);
}

static pare_status grow(void *array, size_t count, size_t item_bytes) {
  size_t nbytes;
  void **items = array, *more = NULL;
  if (pare__size_mul(count, item_bytes, &nbytes)) more = realloc(*items, nbytes + 1);
  if (!more) return pare__fail_memory("performance models", count * item_bytes);
  *items = more;
  return PARE_OK;
}

pare_status pare__performance_kernel(pare__performance *performance, const char *name, size_t *out) {
  for (*out = 0; *out < performance->nkernels; (*out)++)
    if (strcmp(performance->kernel[*out], name) == 0) return PARE_OK;
  if (performance->nkernels == performance->capacity) {
    const size_t capacity = performance->capacity ? performance->capacity * 2 : 8,
                 lines = capacity * performance->ndevices;
    PARE__TRY(grow(&performance->kernel, capacity, sizeof *performance->kernel));
    PARE__TRY(grow(&performance->a, lines, sizeof *performance->a));
    PARE__TRY(grow(&performance->b, lines, sizeof *performance->b));
    PARE__TRY(grow(&performance->samples, lines, sizeof *performance->samples));
    performance->capacity = capacity;
  }
  char *copy = pare__strdup(name);
  if (!copy) return pare__fail_memory("the name of a kernel", strlen(name));
  performance->kernel[performance->nkernels] = copy;
  for (size_t device = 0; device < performance->ndevices; device++) {
    const size_t at = pare__performance_at(performance, *out, device);
    performance->a[at] = 0;
    performance->b[at] = 1 / performance->weight[device];
    performance->samples[at] = NULL;
  }
  performance->nkernels++;
  return PARE_OK;
}

void pare__performance_guess(pare__performance *performance, size_t kernel, size_t known) {
  const double unit = performance->b[pare__performance_at(performance, kernel, known)] * performance->weight[known];
  for (size_t device = 0; device < performance->ndevices; device++) {
    const size_t at = pare__performance_at(performance, kernel, device);
    if (!performance->samples[at]) performance->b[at] = unit / performance->weight[device];
  }
}

static pare__samples *samples_at(pare__performance *performance, size_t at) {
  if (!performance->samples[at]) performance->samples[at] = calloc(1, sizeof(pare__samples));
  return performance->samples[at];
}

void pare__performance_set(pare__performance *performance, size_t kernel, size_t device, double a, double b) {
  const size_t at = pare__performance_at(performance, kernel, device);
  pare__samples *samples = samples_at(performance, at); /* without memory the line counts as a guess: no harm */
  performance->a[at] = a;
  performance->b[at] = b;
  if (!samples) return;
  samples->count = 0;
  samples->set = true;
}

double pare__performance_launch(const pare__performance *performance, size_t kernel, size_t device, bool uneven) {
  return uneven ? MOST_LAUNCH : fmax(performance->a[pare__performance_at(performance, kernel, device)], LEAST_LAUNCH);
}

double pare__performance_worth(const pare__performance *performance, size_t kernel, size_t device) {
  const size_t at = pare__performance_at(performance, kernel, device);
  if (!performance->samples[at]) return 0;
  return LAUNCHES * fmin(fmax(performance->a[at], LEAST_LAUNCH), MOST_LAUNCH) / performance->b[at];
}

bool pare__performance_observed(const pare__performance *performance, size_t kernel, size_t device) {
  const pare__samples *samples = performance->samples[pare__performance_at(performance, kernel, device)];
  return samples && samples->count > 0;
}

bool pare__performance_doubtful(const pare__performance *performance, size_t kernel, size_t device) {
  const pare__samples *samples = performance->samples[pare__performance_at(performance, kernel, device)];
  if (!samples) return true;
  if (samples->count == 0) return false;
  const double ratio = samples->ratio[(samples->count - 1) % LATEST];
  return (!samples->set && samples->count < EARLY) || ratio > DOUBTFUL || ratio < 1 / DOUBTFUL;
}

/* ---- fitting ---- */

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *value, size_t count) {
  qsort(value, count, sizeof *value, by_value);
  return count % 2 ? value[count / 2] : (value[count / 2 - 1] + value[count / 2]) / 2;
}

/* The line through samples: b the median slope of all pairs that lie apart, a the median of what is left. */
static void fit(const pare__samples *samples, bool uneven, double *a, double *b) {
  double slope[NPAIRS], rest[KEPT] = {0}, most = 0;
  const size_t count = PARE__MIN(samples->count, KEPT);
  size_t nslopes = 0;
  if (uneven) *a = 0;
  for (size_t i = 0; i < count; i++) most = fmax(most, samples->n[i]);
  for (size_t i = 0; i < count && !uneven; i++)
    for (size_t j = i + 1; j < count; j++)
      if (fabs(samples->n[i] - samples->n[j]) > APART * most)
        slope[nslopes++] = (samples->seconds[i] - samples->seconds[j]) / (samples->n[i] - samples->n[j]);
  if (nslopes >= 3) *b = median(slope, nslopes);
  if (nslopes < 3 || !(*b >= LEAST_B)) { /* what a launch costs is not seen: keep it, as far as it fits */
    for (size_t i = 0; i < count; i++) rest[i] = samples->seconds[i];
    if (*a > median(rest, count) / 2) *a = 0;
    for (size_t i = 0; i < count; i++) rest[i] = fmax(samples->seconds[i] - *a, 0) / fmax(samples->n[i], 1e-30);
    *b = fmax(median(rest, count), LEAST_B);
    return;
  }
  for (size_t i = 0; i < count; i++) rest[i] = samples->seconds[i] - *b * samples->n[i];
  *a = fmax(median(rest, count), 0);
}

/* Only the latest samples stay. */
static void forget(pare__samples *samples) {
  double n[LATEST], seconds[LATEST];
  for (size_t i = 0; i < LATEST; i++) {
    const size_t from = (samples->count - LATEST + i) % KEPT;
    n[i] = samples->n[from];
    seconds[i] = samples->seconds[from];
  }
  memcpy(samples->n, n, sizeof n);
  memcpy(samples->seconds, seconds, sizeof seconds);
  samples->count = LATEST;
}

/* Is the median of the latest ratios off by more than that factor? */
static bool is_off(const pare__samples *samples, double factor) {
  double ratio[LATEST];
  if (samples->count < LATEST) return false;
  memcpy(ratio, samples->ratio, sizeof ratio);
  const double middle = median(ratio, LATEST);
  return middle > factor || middle < 1 / factor;
}

pare_status pare__performance_observe(pare__performance *performance, size_t kernel, size_t device, double n,
                                      double seconds, bool uneven, pare__learned *out) {
  *out = PARE__LEARNED_NOTHING;
  if (!(n > 0) || !(seconds > 0) || !isfinite(n) || !isfinite(seconds)) return PARE_OK;
  const size_t at = pare__performance_at(performance, kernel, device);
  pare__samples *samples = samples_at(performance, at);
  if (!samples) return pare__fail_memory("samples of a performance model", sizeof *samples);
  const double expected = fmax(performance->a[at] + performance->b[at] * n, 1e-30);
  samples->n[samples->count % KEPT] = n;
  samples->seconds[samples->count % KEPT] = seconds;
  samples->ratio[samples->count % LATEST] = seconds / expected;
  samples->count++;
  const bool early = !samples->set && (samples->count <= EARLY || samples->count == KEPT / 2);
  const bool due = samples->count % REFIT_EVERY == 0 && is_off(samples, RIGHT),
             wrong = !early && is_off(samples, WRONG);
  if (wrong) {
    forget(samples);
    performance->a[at] *= PARE__MIN(seconds / expected, 1.0);
    performance->relearned++;
  }
  if (!early && !wrong && !due) return PARE_OK;
  fit(samples, uneven, &performance->a[at], &performance->b[at]);
  samples->set = false;
  if (early) pare__performance_guess(performance, kernel, device);
  for (size_t i = 0; wrong && i < LATEST; i++) samples->ratio[i] = 1;
  *out = wrong ? PARE__LEARNED_WRONG : PARE__LEARNED_MORE;
  return PARE_OK;
}
