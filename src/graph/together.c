/* A model whose operations all devices work on, beside its replicas: each divided, or each whole and those that do not
 * need each other beside each other. SPDX-License-Identifier: Apache-2.0 */
#include "graph/parallel.h"

/* It has a copy of the weights, and builds kernels: unless it was asked for, it is tried when it was found to be much
 * shorter so often in turn. */
enum { OFTEN = 3 };
/* One that was found to be longer is measured again after so many runs, twice as many the next time, and so on: what
 * made it long may have been something else. */
enum { FEWEST_RESTS = 64, MOST_RESTS = 4096 };
static const double much_shorter = 0.7;
/* The models of its operations learn from its runs. As long as five of them take less than so much of the five before,
 * it is tried further. */
static const double still_learning = 0.9;

static void rest(pare__tried *tried, bool longer) {
  if (!tried->settled || !longer) return;
  if (tried->rests == 0) tried->rests = FEWEST_RESTS;
  if (++tried->passed < tried->rests) return;
  const size_t rests = PARE__MIN(2 * tried->rests, (size_t)MOST_RESTS);
  *tried = (pare__tried){.any = true, .rests = rests};
}

bool pare__together_tried_or_worth_it(const pare__divided *divided, pare__tried *tried, double seconds, double usual) {
  pare__team *team = divided->team;
  if (divided->split || atomic_load(&team->no_together)) return false;
  pthread_mutex_lock(&team->lock);
  rest(tried, !(seconds < usual));
  if (!tried->any) tried->favoured = seconds < much_shorter * usual ? tried->favoured + 1 : 0;
  const bool may = tried->any || tried->favoured >= OFTEN || team->parallel == PARE_PARALLEL_TASK;
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

void pare__tried_add(pare__tried *tried, double seconds) {
  pare__timings_add(&tried->timings, seconds);
  if (tried->settled || tried->timings.count % PARE__TIMINGS != 0) return;
  const double median = pare__timings_median(&tried->timings);
  tried->settled = tried->before > 0 && median > still_learning * tried->before;
  tried->before = median;
}

static void note_run(pare__team *team, pare__tried *tried, double seconds, bool built) {
  pthread_mutex_lock(&team->lock);
  tried->any = true;
  if (!built) pare__tried_add(tried, seconds);
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
