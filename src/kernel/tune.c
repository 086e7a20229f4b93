/* The tuner: for each shape class of the benchmark problems, tries what can run and keeps the fastest.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The search starts at the built-in defaults of every possible variant and then walks one parameter at a time
 * (coordinate descent) around the best so far, until nothing helps or the class's share of the budget is spent. Every
 * candidate passes the self-test first. */
#include <stdlib.h>
#include <string.h>

#include "kernel/state.h"

#define ROUNDS 5
#define CLASS_TEXT 120
#define MAX_CLASSES 64

typedef struct search {
  pare__device *device;
  const pare__family *family;
  bool is_led; /* another class decides for this one */
  pare__choice decided;
  char shape_class[CLASS_TEXT];
  pare__choice best;
  double best_seconds;
  double deadline;
  pare__tune_progress progress;
  void *user;
  double begin, budget; /* of the whole run: for the fraction */
} search;

static void tell(const search *s, const char *variant) {
  if (!s->progress) return;
  double fraction = (pare__seconds() - s->begin) / s->budget;
  s->progress(s->family->name, s->shape_class, variant, PARE__MAX(0.0, PARE__MIN(fraction, 1.0)), s->user);
}

static bool in_class(const search *s, const pare__problem *problem) {
  char text[CLASS_TEXT] = "";
  s->family->shape_class(problem, text, sizeof text);
  return strcmp(text, s->shape_class) == 0;
}

/* Seconds for all problems of the class together; *possible false if a problem cannot be run this way. */
static pare_status measure(const search *s, const pare__choice *choice, double *seconds, bool *possible) {
  const pare_device_info *info = pare__device_info(s->device);
  pare__problem problem;
  *seconds = 0;
  *possible = false;
  for (unsigned i = 0; memset(&problem, 0, sizeof problem), s->family->problem(PARE__CASES_BENCH, info, i, &problem);
       i++) {
    if (!in_class(s, &problem)) continue;
    *possible = false;
    char reason[200];
    if (!pare__variant_possible(info, s->family, choice->variant, &problem, reason, sizeof reason)) return PARE_OK;
    pare__instance instance = {s->family, choice->variant, choice->tuning, problem.mode, {0}};
    memcpy(instance.dtype, problem.dtype, sizeof instance.dtype);
    const pare__trust_record *record;
    PARE__TRY(pare__trust(s->device, &instance, false, &record));
    if (record->verdict != PARE__TRUSTED) return PARE_OK;
    double one;
    PARE__TRY(pare__time(s->device, s->family, choice, &problem, ROUNDS, &one));
    *seconds += one;
    *possible = true;
  }
  return PARE_OK;
}

/* A tenth of a percent is noise: the earlier candidate stays, so that the defaults win ties. */
static pare_status consider(search *s, const pare__choice *candidate, bool *better) {
  double seconds;
  bool possible;
  *better = false;
  tell(s, candidate->variant->name);
  pare_status status = measure(s, candidate, &seconds, &possible);
  if (status == PARE_ERR_KERNEL || status == PARE_ERR_DEVICE || status == PARE_ERR_UNSUPPORTED)
    return PARE_OK; /* this candidate only */
  PARE__TRY(status);
  *better = possible && (!s->best.variant || seconds < s->best_seconds * 0.999);
  if (*better) {
    s->best = *candidate;
    s->best_seconds = seconds;
  }
  return PARE_OK;
}

static pare_status walk_parameters(search *s) {
  bool improved = true;
  while (improved && pare__seconds() < s->deadline) {
    improved = false;
    const pare__param *params = s->best.variant->params;
    for (unsigned p = 0; params && params[p].name; p++) {
      if (s->is_led && !(s->best.variant->neutral >> p & 1U)) continue;
      for (const int *value = params[p].values; *value && pare__seconds() < s->deadline; value++) {
        pare__choice candidate = s->best;
        if (candidate.tuning.value[p] == *value) continue;
        candidate.tuning.value[p] = *value;
        bool better;
        PARE__TRY(consider(s, &candidate, &better));
        improved = improved || better;
      }
    }
  }
  return PARE_OK;
}

/* What a class may begin with that another decides for. */
static bool may_begin(const search *s, const pare__choice *candidate) {
  return !s->is_led || pare__choices_agree(candidate, &s->decided);
}

static pare_status search_class(search *s, const pare__problem *example) {
  const pare_device_info *info = pare__device_info(s->device);
  pare__state *state;
  bool better;
  PARE__TRY(pare__state_get(s->device, &state));
  s->best.variant = NULL;
  s->is_led = pare__class_is_led(s->family, example);
  if (s->is_led) {
    PARE__TRY(pare__choose_deciding(s->device, state, s->family, example, &s->decided));
    PARE__TRY(consider(s, &s->decided, &better));
  }
  for (const pare__variant *variant = s->family->variants; variant->name && pare__seconds() < s->deadline; variant++) {
    pare__choice candidate = {variant, {{0}}};
    pare__variant_defaults(info, variant, example, &candidate.tuning);
    if (may_begin(s, &candidate)) PARE__TRY(consider(s, &candidate, &better));
  }
  pare_status status = PARE_OK;
  if (s->best.variant) status = walk_parameters(s);
  if (s->best.variant && status == PARE_OK)
    status = pare__database_store(s->device, state, s->family, s->shape_class, &s->best);
  return status;
}

/* Copies the first problem of each class; returns how many there are. */
static unsigned classes_of(const pare__family *family, const pare_device_info *info, pare__problem *example) {
  unsigned count = 0;
  char text[CLASS_TEXT], other[CLASS_TEXT];
  pare__problem problem;
  if (!family->shape_class) return 0;
  for (unsigned i = 0; memset(&problem, 0, sizeof problem), family->problem(PARE__CASES_BENCH, info, i, &problem);
       i++) {
    family->shape_class(&problem, text, sizeof text);
    unsigned k = 0;
    for (; k < count; k++) {
      family->shape_class(&example[k], other, sizeof other);
      if (strcmp(text, other) == 0) break;
    }
    if (k == count && count < MAX_CLASSES) example[count++] = problem;
  }
  return count;
}

static pare_status tune_family(search *s, double seconds) {
  pare__problem *example = calloc(MAX_CLASSES, sizeof *example);
  if (!example) return pare__fail_memory("problems to tune", MAX_CLASSES * sizeof *example);
  unsigned count = classes_of(s->family, pare__device_info(s->device), example);
  double end = pare__seconds() + seconds;
  pare_status status = PARE_OK;
  /* First the classes that decide for others. */
  unsigned left = count;
  for (unsigned i = 0; status == PARE_OK && i < 2 * count; i++) {
    const pare__problem *at = &example[i % count];
    if (pare__class_is_led(s->family, at) != (i >= count)) continue;
    s->family->shape_class(at, s->shape_class, sizeof s->shape_class);
    double now = pare__seconds();
    s->deadline = now + (end - now) / left--;
    status = search_class(s, at);
  }
  free(example);
  return status;
}

pare_status pare__tune(pare__device *device, const pare__family *family, double budget_seconds,
                       pare__tune_progress progress, void *user) {
  unsigned count = 0;
  for (unsigned i = 0; pare__families[i]; i++) count += !family || pare__families[i] == family;
  search s = {.device = device, .progress = progress, .user = user, .begin = pare__seconds(), .budget = budget_seconds};
  pare__device_lock(device);
  pare_status status = PARE_OK;
  for (unsigned i = 0; status == PARE_OK && pare__families[i]; i++) {
    s.family = pare__families[i];
    if (family && s.family != family) continue;
    double left = s.begin + budget_seconds - pare__seconds();
    if (left > 0) status = tune_family(&s, left / count);
    count--;
  }
  pare__device_unlock(device);
  return status;
}
