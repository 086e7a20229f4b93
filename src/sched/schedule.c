/* Options and counters of several devices, as the public header has them. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/schedule.h>
#include <stdlib.h>
#include <string.h>

#include "sched/crew.h"

static const char *const names[] = {
    [PARE_PARALLEL_AUTO] = "auto",         [PARE_PARALLEL_DATA] = "data", [PARE_PARALLEL_COLUMNS] = "columns",
    [PARE_PARALLEL_PIPELINE] = "pipeline", [PARE_PARALLEL_TASK] = "task", [PARE_PARALLEL_OFF] = "off"};

const char *pare_parallel_name(pare_parallel parallel) {
  return (unsigned)parallel < PARE__COUNT(names) ? names[parallel] : NULL;
}

pare_status pare_parallel_parse(const char *text, pare_parallel *out) {
  if (!text) return pare__fail_null("pare_parallel_parse", "text");
  if (!out) return pare__fail_null("pare_parallel_parse", "out");
  for (unsigned i = 0; i < PARE__COUNT(names); i++) {
    *out = (pare_parallel)i;
    if (strcmp(text, names[i]) == 0) return PARE_OK;
  }
  *out = PARE_PARALLEL_AUTO;
  return pare__fail(PARE_ERR_ARGUMENT,
                    "there is no way to be parallel '%.40s'; there are auto, data, columns, pipeline, task and off",
                    text);
}

void pare_schedule_stats_close(pare_schedule_stats *stats) {
  if (!stats) return;
  free(stats->device);
  free(stats->kernel);
  *stats = (pare_schedule_stats){0};
}

/* ---- what devices draw and cost ---- */

/* A number that is not negative, at *text, which moves behind it. */
static bool read_number(const char **text, double *out) {
  const size_t length = pare__decimal(*text, out);
  *text += length;
  return length > 0 && isfinite(*out);
}

/* One entry for each member: the first number to first[i], with ":" a second to second[i]. */
static pare_status read_list(const char *what, const char *text, size_t nmembers, double *first, double *second) {
  const char *at = text;
  for (size_t i = 0; i < nmembers; i++) {
    bool good = (i == 0 || *at++ == ',') && read_number(&at, &first[i]);
    if (good && second && *at == ':') {
      at++;
      good = read_number(&at, &second[i]);
    }
    if (!good || (*at != ',' && *at != '\0') || (*at == '\0' && i + 1 < nmembers))
      return pare__fail(PARE_ERR_ARGUMENT, "%s '%.80s': entry %zu is not %s; it needs one for each of %zu devices",
                        what, text, i + 1, second ? "BUSY or BUSY:IDLE" : "a price", nmembers);
  }
  if (*at == '\0') return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s '%.80s' is for more than the %zu devices that are selected", what, text,
                    nmembers);
}

static const char *given(const char *option, const char *variable) {
  const char *text = option ? option : getenv(variable);
  return text && *text ? text : NULL;
}

pare_status pare__schedule_power(const pare_schedule_options *options, pare__crew_member *member, size_t nmembers) {
  const char *watts = given(options->watts, "PARE_WATTS"), *prices = given(options->prices, "PARE_PRICES");
  double *value = calloc(3 * nmembers, sizeof *value);
  if (!value) return pare__fail_memory("watts of devices", 3 * nmembers * sizeof *value);
  pare_status status = watts ? read_list("watts", watts, nmembers, value, value + nmembers) : PARE_OK;
  if (status == PARE_OK && prices) status = read_list("prices", prices, nmembers, value + 2 * nmembers, NULL);
  for (size_t i = 0; i < nmembers && status == PARE_OK; i++) {
    member[i].seen.busy_watts = value[i];
    member[i].seen.idle_watts = value[nmembers + i];
    member[i].seen.price_per_hour = value[2 * nmembers + i];
  }
  free(value);
  return status;
}
