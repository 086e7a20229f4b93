/* Trust: a variant is tested at its first use on a device and driver, and the result is kept.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "kernel/state.h"
#include "kernel/trial.h"

#define SELFTEST_SEED 2
#define REASON 320

const char *pare__verdict_name(pare__verdict verdict) {
  static const char *const names[] = {"untested",  "trusted",    "wrong",    "crashed", "hung",
                                      "not built", "slow build", "slow run", "refused", "cannot"};
  return (unsigned)verdict < PARE__COUNT(names) ? names[verdict] : "?";
}

bool pare__verdict_parse(const char *text, pare__verdict *verdict, const char **reason) {
  for (int i = PARE__TRUSTED; i <= PARE__CANNOT; i++) {
    const char *name = pare__verdict_name((pare__verdict)i);
    size_t length = strlen(name);
    const char *after = text + length;
    if (strncmp(text, name, length) != 0 || (*after != '\0' && strncmp(after, ": ", 2) != 0)) continue;
    *verdict = (pare__verdict)i;
    *reason = *after ? after + 2 : "";
    return true;
  }
  return false;
}

/* ---- the problems of an instance ---- */

static bool same_tuple(const pare__instance *instance, const pare__problem *problem) {
  return problem->mode == instance->mode &&
         memcmp(problem->dtype, instance->dtype, instance->family->nbuffers * sizeof problem->dtype[0]) == 0;
}

/* How closely the self-test's problems can match: the same mode and dtypes; the same mode, with the dtypes put in; any,
 * with both put in. */
typedef enum closeness { SAME_TUPLE, SAME_MODE, ANY_PROBLEM } closeness;

static bool matches(const pare__instance *instance, const pare__problem *problem, closeness how) {
  return how == ANY_PROBLEM || (how == SAME_MODE ? problem->mode == instance->mode : same_tuple(instance, problem));
}

/* A driver that refuses a launch for good is a verdict; one that fails once is not. */
static pare_status check_twice(pare__device *device, const pare__instance *instance, const pare__problem *problem,
                               double *worst, char *reason, size_t capacity) {
  pare_status status = pare__check(device, instance->family, instance->variant, &instance->tuning, problem,
                                   SELFTEST_SEED, worst, reason, capacity);
  if (status == PARE_ERR_DEVICE)
    status = pare__check(device, instance->family, instance->variant, &instance->tuning, problem, SELFTEST_SEED, worst,
                         reason, capacity);
  return status;
}

static pare_status judge(pare__device *device, const pare__instance *instance, const pare__problem *problem,
                         pare__verdict *verdict, char *reason, size_t capacity) {
  double worst = 0;
  char difference[REASON], text[100] = "";
  pare_status status = check_twice(device, instance, problem, &worst, difference, sizeof difference);
  instance->family->describe(problem, text, sizeof text);
  if (status == PARE_ERR_KERNEL || status == PARE_ERR_DEVICE || status == PARE_ERR_UNSUPPORTED) {
    *verdict = status == PARE_ERR_KERNEL ? PARE__NOT_BUILT : status == PARE_ERR_DEVICE ? PARE__REFUSED : PARE__CANNOT;
    snprintf(reason, capacity, "%s", pare_message());
    return PARE_OK;
  }
  PARE__TRY(status);
  *verdict = worst <= 1 ? PARE__TRUSTED : PARE__WRONG;
  snprintf(reason, capacity, "%s%s%s", worst <= 1 ? "" : text, worst <= 1 ? "" : ": ", worst <= 1 ? "" : difference);
  return PARE_OK;
}

/* Self-test problem `index` as the instance meets it; *fits: it does. False past the last. */
static bool problem_for(const pare__instance *instance, const pare_device_info *info, closeness how, unsigned index,
                        pare__problem *problem, bool *fits) {
  memset(problem, 0, sizeof *problem);
  if (!instance->family->problem(PARE__CASES_SELFTEST, info, index, problem)) return false;
  *fits = matches(instance, problem, how);
  problem->mode = instance->mode;
  memcpy(problem->dtype, instance->dtype, sizeof problem->dtype);
  return true;
}

/* Of one instance. */
static bool same_problem(const pare__problem *a, const pare__problem *b) {
  bool same = a->flags == b->flags && memcmp(a->dim, b->dim, sizeof a->dim) == 0;
  for (unsigned i = 0; i < PARE__COUNT(a->real); i++) same = same && a->real[i] == b->real[i];
  return same;
}

/* Problems of different dtypes may be the same once the instance's dtypes are put in. */
static bool met_before(const pare__instance *instance, const pare_device_info *info, closeness how, unsigned index,
                       const pare__problem *problem) {
  pare__problem earlier;
  bool fits;
  for (unsigned i = 0; i < index && problem_for(instance, info, how, i, &earlier, &fits); i++)
    if (fits && same_problem(&earlier, problem)) return true;
  return false;
}

pare_status pare__trust_here(pare__device *device, const pare__instance *instance, pare__verdict *verdict, char *reason,
                             size_t capacity) {
  const pare_device_info *info = pare__device_info(device);
  *verdict = PARE__UNTESTED;
  for (closeness how = SAME_TUPLE; *verdict == PARE__UNTESTED && how <= ANY_PROBLEM; how++) {
    pare__problem problem;
    bool fits;
    for (unsigned i = 0; problem_for(instance, info, how, i, &problem, &fits); i++) {
      if (!fits || met_before(instance, info, how, i, &problem)) continue;
      char ignored[REASON];
      if (!pare__variant_possible(info, instance->family, instance->variant, &problem, ignored, sizeof ignored))
        continue;
      PARE__TRY(judge(device, instance, &problem, verdict, reason, capacity));
      if (*verdict != PARE__TRUSTED) return PARE_OK;
    }
  }
  if (*verdict == PARE__UNTESTED) {
    *verdict = PARE__CANNOT;
    snprintf(reason, capacity, "the self-test has no problem that it takes");
  }
  return PARE_OK;
}

/* ---- what is kept on disk ---- */

/* The key of the note: all that the result depends on, but for the device, which the note's place stands for. */
static pare_status note_key(pare__device *device, const pare__instance *instance, char key[33]) {
  char source[33] = "";
  if (instance->variant->file) PARE__TRY(pare__source_hash(device, instance->variant->file, source));
  pare__hash *hash = pare__hash_open();
  if (!hash) return pare__fail_memory("a hash", 0);
  pare__hash_text(hash, "self-test 1");
  pare__hash_text(hash, pare_version());
  pare__hash_text(hash, instance->family->name);
  pare__hash_text(hash, instance->variant->name);
  pare__hash_text(hash, instance->variant->provider ? instance->variant->provider : source);
  pare__hash_bytes(hash, &instance->tuning, sizeof instance->tuning);
  pare__hash_bytes(hash, &instance->mode, sizeof instance->mode);
  pare__hash_bytes(hash, instance->dtype, sizeof instance->dtype);
  pare__hash_close(hash, key);
  return PARE_OK;
}

static bool recall(pare__device *device, const char *key, pare__verdict *verdict, char *reason, size_t capacity) {
  char *text = NULL;
  const char *tail;
  bool found = pare__note_read(device, key, &text) == PARE_OK && text && pare__verdict_parse(text, verdict, &tail);
  if (found) snprintf(reason, capacity, "%s", tail);
  free(text);
  return found;
}

static void keep(pare__device *device, const char *key, pare__verdict verdict, const char *reason) {
  char text[REASON + 40];
  /* what the driver refused may work tomorrow: another process may hold the device, or the machine be busy */
  if (verdict < PARE__TRUSTED || verdict > PARE__NOT_BUILT) return;
  snprintf(text, sizeof text, "%s: %s", pare__verdict_name(verdict), reason);
  (void)pare__note_write(device, key, text); /* without a cache it is tested again: slower, not wrong */
}

/* ---- the verdict ---- */

static bool same_instance(const pare__instance *a, const pare__instance *b) {
  return a->variant == b->variant && a->mode == b->mode && memcmp(&a->tuning, &b->tuning, sizeof a->tuning) == 0 &&
         memcmp(a->dtype, b->dtype, sizeof a->dtype) == 0;
}

static pare_status test(pare__device *device, const pare__instance *instance, bool again, pare__verdict *verdict,
                        char *reason, size_t capacity) {
  char key[33];
  pare_status status = note_key(device, instance, key);
  if (status == PARE_ERR_KERNEL) { /* no such file: nothing to test */
    *verdict = PARE__NOT_BUILT;
    snprintf(reason, capacity, "%s", pare_message());
    return PARE_OK;
  }
  PARE__TRY(status);
  if (!again && recall(device, key, verdict, reason, capacity)) return PARE_OK;
  const bool apart = pare__trial_needed(device, instance);
  const double begin = pare__seconds();
  PARE__TRY((apart ? pare__trial_run : pare__trust_here)(device, instance, verdict, reason, capacity));
  pare__log(PARE_LOG_DEBUG, "self-test of %s/%s, mode %d, %s, on %s: %s in %.1f ms%s", instance->family->name,
            instance->variant->name, instance->mode, pare_dtype_name(instance->dtype[0]),
            pare__device_info(device)->name, pare__verdict_name(*verdict), 1e3 * (pare__seconds() - begin),
            apart ? ", in a process of its own" : "");
  keep(device, key, *verdict, reason);
  return PARE_OK;
}

pare_status pare__trust(pare__device *device, const pare__instance *instance, bool again,
                        const pare__trust_record **out) {
  pare__state *state;
  PARE__TRY(pare__state_get(device, &state));
  size_t i = 0;
  while (i < state->ntrust && !same_instance(&state->trust[i].instance, instance)) i++;
  if (i == state->ntrust || again) {
    pare__verdict verdict;
    char reason[REASON] = "";
    pare__prepared();
    PARE__TRY(test(device, instance, again, &verdict, reason, sizeof reason));
    char *kept_reason = pare__strdup(reason);
    if (!kept_reason) return pare__fail_memory("a verdict", strlen(reason));
    /* the test may itself have asked for trust in others: look at the array again */
    for (i = 0; i < state->ntrust && !same_instance(&state->trust[i].instance, instance);) i++;
    if (i == state->ntrust) {
      pare_status status =
          pare__array_grow((void **)&state->trust, &state->trust_capacity, state->ntrust, sizeof *state->trust);
      if (status != PARE_OK) {
        free(kept_reason);
        return status;
      }
      state->trust[state->ntrust++].reason = NULL;
    }
    free(state->trust[i].reason);
    state->trust[i] = (pare__trust_record){*instance, verdict, kept_reason};
    if (verdict != PARE__TRUSTED)
      pare__log(PARE_LOG_WARN, "%s/%s is not used on %s: %s%s%s", instance->family->name, instance->variant->name,
                pare__device_info(device)->name, pare__verdict_name(verdict), *reason ? ": " : "", reason);
    if (again) pare__state_forget_choices(state);
  }
  *out = &state->trust[i];
  return PARE_OK;
}

/* ---- everything a variant can be asked for ---- */

static bool seen_before(const pare__family *family, const pare_device_info *info, const pare__instance *instance,
                        unsigned index) {
  pare__problem problem;
  for (unsigned i = 0; i < index; i++) {
    char ignored[REASON];
    pare__tuning tuning;
    memset(&problem, 0, sizeof problem);
    if (!family->problem(PARE__CASES_SELFTEST, info, i, &problem) || !same_tuple(instance, &problem) ||
        !pare__variant_possible(info, family, instance->variant, &problem, ignored, sizeof ignored))
      continue;
    pare__variant_defaults(info, instance->variant, &problem, &tuning);
    if (memcmp(&tuning, &instance->tuning, sizeof tuning) == 0) return true;
  }
  return false;
}

static pare_status selftest_locked(pare__device *device, const pare__family *family, const pare__variant *variant,
                                   bool again, pare__verdict *verdict, char *reason, size_t capacity) {
  const pare_device_info *info = pare__device_info(device);
  pare__problem problem;
  *verdict = PARE__UNTESTED;
  for (unsigned i = 0; memset(&problem, 0, sizeof problem), family->problem(PARE__CASES_SELFTEST, info, i, &problem);
       i++) {
    char why[REASON];
    if (!pare__variant_possible(info, family, variant, &problem, why, sizeof why)) {
      if (*verdict == PARE__UNTESTED) snprintf(reason, capacity, "%s", why);
      continue;
    }
    pare__instance instance = {family, variant, {{0}}, problem.mode, {0}};
    pare__variant_defaults(info, variant, &problem, &instance.tuning);
    memcpy(instance.dtype, problem.dtype, sizeof instance.dtype);
    if (seen_before(family, info, &instance, i)) continue;
    const pare__trust_record *record;
    PARE__TRY(pare__trust(device, &instance, again, &record));
    *verdict = record->verdict;
    snprintf(reason, capacity, "%s", record->reason);
    if (*verdict != PARE__TRUSTED) return PARE_OK;
  }
  if (*verdict == PARE__UNTESTED) *verdict = PARE__CANNOT;
  return PARE_OK;
}

pare_status pare__selftest(pare__device *device, const pare__family *family, const pare__variant *variant, bool again,
                           pare__verdict *verdict, char *reason, size_t capacity) {
  if (capacity > 0) reason[0] = '\0';
  pare__device_lock(device);
  pare_status status = selftest_locked(device, family, variant, again, verdict, reason, capacity);
  pare__device_unlock(device);
  return status;
}
