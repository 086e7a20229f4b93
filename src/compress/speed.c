/* --optimize speed: what is slower compressed stays dense. SPDX-License-Identifier: Apache-2.0 */
#include "compress/speed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compress/trial.h"
#include "compress/verify.h"

/* A layer counts as slower from this ratio on: less is noise. */
#define SLOWER 1.05

struct judging {
  pare__compression *compression;
  size_t nchanged;
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
static bool is_slower(struct layer_steps before, struct layer_steps after) {
  if (before.count == 0 || after.count == 0) return false;
  if (before.count == 1 && after.count == 1 && strcmp(before.op_type, after.op_type) == 0) return false;
  return after.seconds > SLOWER * before.seconds;
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
    *treatment = (pare__treatment){.reason = "slower compressed, so it stays dense"};
    judging->nchanged++;
  }
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
                                 judge, &judging);
  unlink(scratch);
  if (companion) unlink(companion);
  free(companion);
  if (status == PARE_OK && judging.nchanged > 0)
    status = checkpoint->format->settle(checkpoint, compression->treatments);
  return status;
}
