/* Planning: every modifier looks at every tensor that its targets fit. SPDX-License-Identifier: Apache-2.0 */
#include "compress/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/division.h"
#include "compress/pattern.h"

/* ---- which tensors ---- */

/* Sets chosen[i] of every weight that the pattern fits. A name that fits nothing is a mistake. */
static pare_status choose(const pare__text *text, const char *what, const pare__checkpoint *checkpoint, bool *chosen,
                          bool value) {
  pare__pattern *pattern;
  bool any = false;
  PARE__TRY(pare__pattern_open(text->text, &text->place, &pattern));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < checkpoint->nweights && status == PARE_OK; i++) {
    bool fits;
    status = pare__pattern_fits(pattern, &checkpoint->weights[i], &fits);
    if (!fits || status != PARE_OK) continue;
    chosen[i] = value;
    any = true;
  }
  if (status == PARE_OK && !any && pare__pattern_names(pattern))
    status = pare__fail_at(
        &text->place, "%s '%.200s' fits no Linear, Conv or Embedding of %s (pare inspect --show tensors lists names)",
        what, text->text, checkpoint->path);
  pare__pattern_close(pattern);
  return status;
}

static pare_status choose_all(const pare__modifier *modifier, const pare__checkpoint *checkpoint, bool *chosen) {
  memset(chosen, 0, checkpoint->nweights * sizeof *chosen);
  for (size_t i = 0; i < modifier->targets.count; i++)
    PARE__TRY(choose(&modifier->targets.items[i], "the target", checkpoint, chosen, true));
  for (size_t i = 0; modifier->targets.count == 0 && modifier->method->default_targets[i]; i++)
    PARE__TRY(
        choose(&(pare__text){.text = modifier->method->default_targets[i]}, "the target", checkpoint, chosen, true));
  for (size_t i = 0; i < modifier->ignore.count; i++)
    PARE__TRY(choose(&modifier->ignore.items[i], "what is ignored,", checkpoint, chosen, false));
  return PARE_OK;
}

/* ---- what happens to them ---- */

/* What only inputs can tell is missed before the work begins. `needer` needs it. */
static pare_status check_calibration(const pare_recipe *recipe, const pare__modifier *modifier,
                                     const pare__checkpoint *checkpoint, const char *needer) {
  if (!checkpoint->runs)
    return pare__fail_at(&modifier->place,
                         "%s needs the inputs of layers, and %s has no graph to run: it is for ONNX models, or leave "
                         "calibration out",
                         needer, checkpoint->path);
  if (recipe->calibration) return PARE_OK;
  return pare__fail_at(&modifier->place,
                       "%s needs calibration data: an .npz file in the names of the model's inputs (calibration: FILE "
                       "in the recipe, or --calibrate FILE)",
                       needer);
}

/* Scales of static activations, too. */
static pare_status check_static(const pare_recipe *recipe, const pare__checkpoint *checkpoint,
                                const pare__treatment *treatments) {
  for (size_t i = 0; i < checkpoint->nweights; i++) {
    const pare__treatment *treatment = &treatments[i];
    char needer[160];
    if (treatment->storage != PARE__STORE_INTEGER || treatment->grid.activations != PARE__ACTIVATIONS_STATIC) continue;
    snprintf(needer, sizeof needer, "dynamic: false, as for '%.100s',", checkpoint->weights[i].name);
    const size_t last = treatment->step[treatment->nsteps - 1];
    PARE__TRY(check_calibration(recipe, &recipe->modifiers[last], checkpoint, needer));
  }
  return PARE_OK;
}

static pare_status plan_modifier(const pare_recipe *recipe, size_t step, const pare__checkpoint *checkpoint,
                                 bool *chosen, pare__treatment *treatments) {
  const pare__modifier *modifier = &recipe->modifiers[step];
  if (modifier->method->needs) PARE__TRY(check_calibration(recipe, modifier, checkpoint, modifier->method->name));
  if (modifier->method->narrow) PARE__TRY(modifier->method->narrow(modifier, checkpoint, chosen, treatments));
  for (size_t i = 0; i < checkpoint->nweights; i++) {
    const pare__weight *weight = &checkpoint->weights[i];
    pare__treatment *treatment = &treatments[i];
    bool takes = false;
    if (!chosen[i]) continue;
    if (weight->refusal) {
      treatment->reason = weight->refusal;
      continue;
    }
    PARE__TRY(modifier->method->plan(modifier, weight, treatment, &takes));
    if (!takes) continue;
    if (treatment->nsteps == PARE__MAX_STEPS)
      return pare__fail(PARE_ERR_ARGUMENT, "more than %d modifiers for '%.100s'", PARE__MAX_STEPS, weight->name);
    treatment->step[treatment->nsteps++] = step;
  }
  return PARE_OK;
}

pare_status pare__plan(const pare_recipe *recipe, pare__checkpoint *checkpoint, pare__treatment **out) {
  const size_t count = checkpoint->nweights;
  const pare__place begin = {recipe->name, *recipe->name ? 1 : 0, 1};
  if (recipe->nmodifiers == 0) return pare__fail_at(&begin, "the recipe has no modifiers: there is nothing to do");
  pare__treatment *treatments = calloc(count + 1, sizeof *treatments);
  bool *chosen = calloc(count + 1, sizeof *chosen);
  pare_status status = treatments && chosen ? PARE_OK : pare__fail_memory("a plan", count * sizeof *treatments);
  *out = NULL;
  for (size_t step = 0; step < recipe->nmodifiers && status == PARE_OK; step++) {
    status = choose_all(&recipe->modifiers[step], checkpoint, chosen);
    if (status == PARE_OK) status = plan_modifier(recipe, step, checkpoint, chosen, treatments);
  }
  if (status == PARE_OK) status = checkpoint->format->settle(checkpoint, treatments);
  if (status == PARE_OK) status = check_static(recipe, checkpoint, treatments);
  for (size_t step = 0; step < recipe->nmodifiers && status == PARE_OK; step++) {
    const pare__modifier *modifier = &recipe->modifiers[step];
    if (modifier->method->settled) status = modifier->method->settled(modifier, step, checkpoint, treatments);
  }
  free(chosen);
  if (status != PARE_OK) {
    free(treatments);
    return status;
  }
  *out = treatments;
  return PARE_OK;
}

void pare__treatment_leave_dense(pare__treatment *treatment, const char *reason) {
  const pare__treatment was = *treatment;
  *treatment = (pare__treatment){.reason = reason};
  treatment->takes = was.takes;
  if (was.pruned || was.takes) treatment->storage = PARE__STORE_VALUES;
  if (!was.pruned) return;
  treatment->pruned = true;
  treatment->keep = was.keep;
  treatment->of = was.of;
  treatment->nsteps = was.nsteps;
  memcpy(treatment->step, was.step, sizeof was.step);
}

/* ---- in words ---- */

static size_t grid_text(const pare__grid *grid, char *buffer, size_t capacity) {
  static const char *const activations[] = {"", ", dynamic int8 inputs", ", static int8 inputs"};
  int used;
  if (grid->strategy == PARE__PER_GROUP)
    used = snprintf(buffer, capacity, "int%u in groups of %lld%s", grid->bits, (long long)grid->group,
                    grid->symmetric ? "" : ", asymmetric");
  else
    used = snprintf(buffer, capacity, "int%u per %s%s%s", grid->bits,
                    grid->strategy == PARE__PER_CHANNEL ? "channel" : "tensor", grid->symmetric ? "" : ", asymmetric",
                    activations[grid->activations]);
  return (size_t)used;
}

const char *pare__treatment_text(const pare__treatment *treatment, char *buffer, size_t capacity) {
  size_t used = 0;
  buffer[0] = '\0';
  if (treatment->of > 0)
    used = (size_t)snprintf(buffer, capacity, "%u:%u", treatment->keep, treatment->of);
  else if (treatment->pruned)
    used = (size_t)snprintf(buffer, capacity, "pruned");
  if (used > 0 && treatment->storage > PARE__STORE_VALUES && used < capacity)
    used += (size_t)snprintf(buffer + used, capacity - used, ", ");
  if (used >= capacity) return buffer;
  if (treatment->storage == PARE__STORE_F16) snprintf(buffer + used, capacity - used, "f16");
  if (treatment->storage == PARE__STORE_BF16) snprintf(buffer + used, capacity - used, "bf16");
  if (treatment->storage == PARE__STORE_INTEGER) used += grid_text(&treatment->grid, buffer + used, capacity - used);
  if (treatment->division && treatment->division->into && used < capacity)
    snprintf(buffer + used, capacity - used, ", smoothed in %.80s", treatment->division->into);
  if (treatment->takes && !*buffer) snprintf(buffer, capacity, "rows divided for %.80s", treatment->takes->reader);
  return buffer;
}
