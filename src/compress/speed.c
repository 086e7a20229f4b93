/* What is slower compressed is told, and stays dense with --optimize speed. SPDX-License-Identifier: Apache-2.0 */
#include "compress/speed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compress/plan.h"
#include "compress/report.h"
#include "compress/trial.h"
#include "compress/verify.h"

/* A layer counts as slower from this ratio on: less is noise. */
#define SLOWER 1.05
/* It is told from these on, as nothing is done about it. */
#define CLEARLY_SLOWER 1.2
#define CLEARLY_SECONDS 20e-6

/* The least time of so many turns counts. */
#define JUDGING_TURNS 7
#define TELLING_TURNS 3

struct judging {
  pare__compression *compression;
  size_t nchanged;
  pare_status status;
};

static bool has_node(const pare_model_step *steps, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(steps[i].node, name) == 0) return true;
  return false;
}

/* What a layer became: nodes that are called as it was, or so and an ending, as long as the original has no node of
 * that name. */
struct layer_steps {
  double seconds;
  size_t count;
  const char *op_type; /* of the last */
};

static struct layer_steps find_layer(const char *layer, const pare_model_step *steps, size_t count,
                                     const pare_model_step *original, size_t noriginal) {
  const size_t length = strlen(layer);
  struct layer_steps found = {0};
  for (size_t i = 0; i < count; i++) {
    const char *name = steps[i].node;
    if (strncmp(name, layer, length) != 0 || (name[length] && name[length] != '_')) continue;
    if (name[length] && has_node(original, noriginal, name)) continue;
    found.seconds += steps[i].seconds;
    found.op_type = steps[i].op_type;
    found.count++;
  }
  return found;
}

/* One node of the same kind before and after computes alike, and differs by noise. */
static bool comparable(struct layer_steps before, struct layer_steps after) {
  if (before.count == 0 || after.count == 0) return false;
  return before.count != 1 || after.count != 1 || strcmp(before.op_type, after.op_type) != 0;
}

static bool is_slower(struct layer_steps before, struct layer_steps after) {
  return comparable(before, after) && after.seconds > SLOWER * before.seconds;
}

static void judge(void *user, const pare_model_step *before, size_t nbefore, const pare_model_step *after,
                  size_t nafter) {
  struct judging *judging = user;
  pare__compression *compression = judging->compression;
  for (size_t i = 0; i < compression->checkpoint->nweights; i++) {
    const pare__weight *weight = &compression->checkpoint->weights[i];
    pare__treatment *treatment = &compression->treatments[i];
    if (treatment->storage <= PARE__STORE_VALUES || !*weight->layer) continue;
    if (!is_slower(find_layer(weight->layer, before, nbefore, before, nbefore),
                   find_layer(weight->layer, after, nafter, before, nbefore)))
      continue;
    pare__treatment_leave_dense(treatment, treatment->pruned ? "slower compressed, so it is stored dense, and pruned"
                                                             : "slower compressed, so it stays dense");
    judging->nchanged++;
  }
}

static void tell(void *user, const pare_model_step *before, size_t nbefore, const pare_model_step *after,
                 size_t nafter) {
  struct judging *judging = user;
  pare__compression *compression = judging->compression;
  for (size_t i = 0; i < compression->checkpoint->nweights && judging->status == PARE_OK; i++) {
    const pare__weight *weight = &compression->checkpoint->weights[i];
    char text[96];
    if (compression->treatments[i].storage <= PARE__STORE_VALUES || !*weight->layer) continue;
    const struct layer_steps dense = find_layer(weight->layer, before, nbefore, before, nbefore),
                             small = find_layer(weight->layer, after, nafter, before, nbefore);
    if (!comparable(dense, small) || small.seconds < CLEARLY_SLOWER * dense.seconds ||
        small.seconds < dense.seconds + CLEARLY_SECONDS)
      continue;
    const bool long_ones = small.seconds >= 1e-3;
    snprintf(text, sizeof text, "slower compressed: %.3g %s instead of %.3g (--optimize speed leaves it dense)",
             (long_ones ? 1e3 : 1e6) * small.seconds, long_ones ? "ms" : "us", (long_ones ? 1e3 : 1e6) * dense.seconds);
    judging->status = pare__report_remark(compression->report, i, text);
  }
}

pare_status pare__speed_tell(pare__compression *compression, const char *path) {
  struct judging judging = {.compression = compression};
  PARE__TRY(pare__compare_speed(compression->context, compression->checkpoint->path, path,
                                compression->recipe->calibration, TELLING_TURNS, tell, &judging));
  return judging.status;
}

pare_status pare__speed_settle(pare__compression *compression, const char *scratch) {
  pare__checkpoint *checkpoint = compression->checkpoint;
  struct judging judging = {.compression = compression};
  char *companion = NULL;
  if (!checkpoint->runs)
    return pare__fail(PARE_ERR_ARGUMENT, "%s has no graph, so nothing is fast or slow in it; take an ONNX model",
                      checkpoint->path);
  pare_status status = pare__trial_write(compression, compression->treatments, scratch, &companion);
  if (status == PARE_OK)
    status = pare__compare_speed(compression->context, checkpoint->path, scratch, compression->recipe->calibration,
                                 JUDGING_TURNS, judge, &judging);
  unlink(scratch);
  if (companion) unlink(companion);
  free(companion);
  if (status == PARE_OK && judging.nchanged > 0)
    status = checkpoint->format->settle(checkpoint, compression->treatments);
  return status;
}
