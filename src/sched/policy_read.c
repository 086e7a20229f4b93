/* Policies and objectives as users name them, with what a decision weighs. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sched/policy.h"

/* Seconds weigh a little under every objective: among equals the earliest. */
static const struct {
  const char *name;
  pare__policy_weights weights;
} objectives[PARE__OBJECTIVES] = {
    [PARE__MAKESPAN] = {"makespan", {.finish = 1}},
    [PARE__UTILISATION] = {"utilisation", {.start = 1, .finish = 1e-6}},
    [PARE__ENERGY] = {"energy", {.joule = 1, .finish = 1e-6}},
    [PARE__COST] = {"cost", {.price = 1, .finish = 1e-9}},
};

const pare__policy_class *const pare__policies[] = {&pare__policy_dmda,
                                                    &pare__policy_hguided,
                                                    &pare__policy_heft,
                                                    &pare__policy_static,
                                                    &pare__policy_priority,
                                                    &pare__policy_round_robin,
                                                    NULL};

static pare_status find_policy(const char *name, size_t length, const pare__policy_class **out) {
  char names[160] = "";
  for (size_t i = 0, used = 0; pare__policies[i]; i++) {
    *out = pare__policies[i];
    if (strlen((*out)->name) == length && strncmp((*out)->name, name, length) == 0) return PARE_OK;
    used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", (*out)->name);
  }
  return pare__fail(PARE_ERR_ARGUMENT, "there is no policy '%.*s'; there are %s", (int)PARE__MIN(length, 60), name,
                    names);
}

static pare_status find_objective(const char *name, pare__objective *out) {
  char names[160] = "";
  for (size_t i = 0, used = 0; i < PARE__OBJECTIVES; i++) {
    *out = (pare__objective)i;
    if (strcmp(name, objectives[i].name) == 0) return PARE_OK;
    used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", objectives[i].name);
  }
  return pare__fail(PARE_ERR_ARGUMENT, "there is no objective '%.60s'; there are %s", name, names);
}

/* "transfer=2,joule=0.1" */
static pare_status read_weights(const char *text, const char *policy, pare__policy_weights *weights) {
  const struct {
    const char *name;
    double *weight;
  } terms[] = {{"finish=", &weights->finish},
               {"start=", &weights->start},
               {"transfer=", &weights->transfer},
               {"joule=", &weights->joule},
               {"price=", &weights->price}};
  for (const char *at = text;; at++) {
    const char *const begin = at;
    size_t i = 0, digits = 0;
    double value = 0;
    while (i < PARE__COUNT(terms) && strncmp(at, terms[i].name, strlen(terms[i].name)) != 0) i++;
    if (i < PARE__COUNT(terms)) digits = pare__decimal(at += strlen(terms[i].name), &value);
    at += digits;
    if (digits == 0 || !isfinite(value) || (*at && *at != ','))
      return pare__fail(
          PARE_ERR_ARGUMENT,
          "policy '%.100s': '%.40s' is no weight; behind the colon stand finish, start, transfer, joule or "
          "price with numbers of at least 0, such as dmda:transfer=2,joule=0.1",
          policy, begin);
    *terms[i].weight = value;
    if (!*at) return PARE_OK;
  }
}

const char *pare__objective_name(pare__objective objective) { return objectives[objective].name; }

pare__policy_weights pare__policy_usual_weights(const pare__policy_class *isa, pare__objective objective) {
  pare__policy_weights weights = objectives[objective].weights;
  weights.transfer = isa->transfer * weights.finish;
  return weights;
}

pare_status pare__policy_read(const char *policy, const char *objective, pare__policy_choice *out) {
  *out = (pare__policy_choice){.isa = pare__policies[0]};
  if (objective) PARE__TRY(find_objective(objective, &out->objective));
  const char *colon = policy ? strchr(policy, ':') : NULL;
  if (policy) PARE__TRY(find_policy(policy, colon ? (size_t)(colon - policy) : strlen(policy), &out->isa));
  out->weights = pare__policy_usual_weights(out->isa, out->objective);
  if (!colon) return PARE_OK;
  PARE__TRY(read_weights(colon + 1, policy, &out->weights));
  if (!out->isa->weighs_nothing) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "policy '%.100s': %s weighs nothing, so that it takes no weights; %s does",
                    policy, out->isa->name, pare__policies[0]->name);
}
