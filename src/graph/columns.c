/* A model whose operations are divided, beside its replicas. SPDX-License-Identifier: Apache-2.0 */
#include "graph/parallel.h"

/* It has a copy of the weights, and builds kernels: it is tried when it was found to be much shorter so often in turn.
 */
enum { OFTEN = 3 };
static const double much_shorter = 0.7;

bool pare__columns_tried_or_worth_it(const pare__divided *divided, double seconds, double usual) {
  pare__team *team = divided->team;
  pare__spread *spread = divided->spread;
  if (!spread || divided->split || atomic_load(&team->no_columns)) return false;
  pthread_mutex_lock(&team->lock);
  if (spread->ncolumns == 0) spread->favoured = seconds < much_shorter * usual ? spread->favoured + 1 : 0;
  const bool may = spread->ncolumns > 0 || spread->favoured >= OFTEN;
  pthread_mutex_unlock(&team->lock);
  return may;
}

/* Opened when the first run asks for it: it has a copy of the weights. */
static pare_status open_columns(pare__team *team, pare_model **out) {
  pthread_mutex_lock(&team->columns_lock);
  pare_status status = PARE_OK;
  if (!team->columns) {
    status = pare__model_open_edited(team->context, team->path, &team->options, NULL, &team->columns);
    team->no_columns = status != PARE_OK;
  }
  *out = team->columns;
  pthread_mutex_unlock(&team->columns_lock);
  return status;
}

/* The first run builds what it needs, and tells nothing. */
static void note_seconds(pare__team *team, pare__spread *spread, double seconds) {
  pthread_mutex_lock(&team->lock);
  if (spread->ncolumns > 0)
    spread->columns_seconds = spread->ncolumns > 1 ? (spread->columns_seconds + seconds) / 2 : seconds;
  spread->ncolumns++;
  pthread_mutex_unlock(&team->lock);
}

pare_status pare__columns_run(const pare__divided *divided, pare_tensor *const *inputs, pare_tensor **outputs) {
  pare__team *team = divided->team;
  pare_model *model;
  PARE__TRY(open_columns(team, &model));
  const double began = pare__seconds();
  PARE__TRY(pare_model_run(model, inputs, divided->wanted, outputs));
  for (unsigned i = 0; i < divided->noutputs; i++)
    if (outputs[i]) PARE__TRY(pare__tensor_settle(outputs[i], false));
  if (divided->spread) note_seconds(team, divided->spread, (pare__seconds() - began) / (double)divided->spread_units);
  return PARE_OK;
}
