/* A model whose operations all devices work on, beside its replicas: each divided, or each whole and those that do not
 * need each other beside each other. SPDX-License-Identifier: Apache-2.0 */
#include "graph/parallel.h"

/* It has a copy of the weights, and builds kernels: unless it was asked for, it is tried when it was found to be much
 * shorter so often in turn. */
enum { OFTEN = 3 };
static const double much_shorter = 0.7;

bool pare__together_tried_or_worth_it(const pare__divided *divided, pare__tried *tried, double seconds, double usual) {
  pare__team *team = divided->team;
  if (divided->split || atomic_load(&team->no_together)) return false;
  if (team->parallel == PARE_PARALLEL_TASK) return true;
  pthread_mutex_lock(&team->lock);
  if (!tried->any) tried->favoured = seconds < much_shorter * usual ? tried->favoured + 1 : 0;
  const bool may = tried->any || tried->favoured >= OFTEN;
  pthread_mutex_unlock(&team->lock);
  return may;
}

/* Opened when the first run asks for it: it has a copy of the weights. */
static pare_status open_together(pare__team *team, pare_model **out) {
  pthread_mutex_lock(&team->together_lock);
  pare_status status = PARE_OK;
  if (!team->together) {
    status = pare__model_open_edited(team->context, team->path, &team->options, NULL, &team->together);
    team->no_together = status != PARE_OK;
  }
  *out = team->together;
  pthread_mutex_unlock(&team->together_lock);
  return status;
}

/* Here and on the devices' threads. */
static uint64_t preparations(const pare__team *team) {
  return pare__preparations() + pare__crew_preparations(team->crew);
}

static void note_run(pare__team *team, pare__tried *tried, double seconds, bool built) {
  pthread_mutex_lock(&team->lock);
  tried->any = true;
  if (!built) pare__timings_add(&tried->timings, seconds);
  pthread_mutex_unlock(&team->lock);
}

pare_status pare__together_run(const pare__divided *divided, pare_tensor *const *inputs, pare_tensor **outputs) {
  pare__team *team = divided->team;
  pare__spread *spread = divided->spread;
  pare_model *model;
  PARE__TRY(open_together(team, &model));
  const uint64_t before = preparations(team);
  const double began = pare__seconds();
  PARE__TRY(divided->by_branches ? pare__model_run_undivided(model, inputs, divided->wanted, outputs)
                                 : pare_model_run(model, inputs, divided->wanted, outputs));
  for (unsigned i = 0; i < divided->noutputs; i++)
    if (outputs[i]) PARE__TRY(pare__tensor_settle(outputs[i], false));
  if (spread)
    note_run(team, divided->by_branches ? &spread->branches : &spread->columns,
             (pare__seconds() - began) / (double)divided->spread_units, preparations(team) != before);
  return PARE_OK;
}
