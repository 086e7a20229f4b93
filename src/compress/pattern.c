/* Patterns of tensors. SPDX-License-Identifier: Apache-2.0 */
#include "compress/pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/expression.h"

typedef enum kind { OF_ROLE, HEAD, EXPRESSION, GLOB, NAME } kind;

struct pare__pattern {
  kind kind;
  pare__weight_role role;
  char *text;
  pare__expression *expression;
};

const char *pare__role_name(pare__weight_role role) {
  static const char *const names[] = {"", "Linear", "Conv", "Embedding"};
  return names[role];
}

static pare_status compile(pare__pattern *pattern, const char *text, const pare__place *place) {
  char why[400];
  const pare_status status = pare__expression_open(text, &pattern->expression);
  if (status != PARE_ERR_FORMAT) return status;
  snprintf(why, sizeof why, "%s", pare_message());
  return pare__fail_at(place, "%s", why);
}

static pare_status classify(pare__pattern *pattern, const pare__place *place) {
  const char *text = pattern->text;
  for (pare__weight_role role = PARE__WEIGHT_LINEAR; role <= PARE__WEIGHT_EMBEDDING; role++) {
    if (strcmp(pare__role_name(role), text) != 0) continue;
    pattern->role = role;
    return PARE_OK;
  }
  if (strncmp(text, "re:", 3) == 0) {
    pattern->kind = EXPRESSION;
    return compile(pattern, text + 3, place);
  }
  pattern->kind = strpbrk(text, "*?") ? GLOB : NAME;
  if (text[0] != '@') return PARE_OK;
  pattern->kind = HEAD;
  return strcmp(text, "@head") == 0 ? PARE_OK
                                    : pare__fail_at(place, "'%.100s': there is @head, and no other word with @", text);
}

pare_status pare__pattern_open(const char *text, const pare__place *place, pare__pattern **out) {
  pare__pattern *pattern = calloc(1, sizeof *pattern);
  *out = NULL;
  if (!pattern) return pare__fail_memory("a pattern", sizeof *pattern);
  pattern->text = pare__strdup(text);
  const pare_status status =
      pattern->text ? classify(pattern, place) : pare__fail_memory("a pattern", strlen(text) + 1);
  if (status == PARE_OK)
    *out = pattern;
  else
    pare__pattern_close(pattern);
  return status;
}

void pare__pattern_close(pare__pattern *pattern) {
  if (!pattern) return;
  pare__expression_close(pattern->expression);
  free(pattern->text);
  free(pattern);
}

bool pare__pattern_names(const pare__pattern *pattern) { return pattern->kind > HEAD; }

/* * is any text, ? any byte. Only the last star is ever tried again, so the time is the product of the lengths. */
static bool glob_fits(const char *glob, const char *name) {
  const char *star = NULL, *again = NULL;
  while (*name) {
    if (*glob == '*') {
      star = glob++;
      again = name;
    } else if (*glob == '?' || *glob == *name) {
      glob++;
      name++;
    } else if (star) {
      glob = star + 1;
      name = ++again;
    } else {
      return false;
    }
  }
  while (*glob == '*') glob++;
  return *glob == '\0';
}

static pare_status name_fits(pare__pattern *pattern, const char *name, bool *out) {
  *out = false;
  if (!*name) return PARE_OK;
  if (pattern->kind == NAME) *out = strcmp(pattern->text, name) == 0;
  if (pattern->kind == GLOB) *out = glob_fits(pattern->text, name);
  return pattern->kind == EXPRESSION ? pare__expression_fits(pattern->expression, name, out) : PARE_OK;
}

pare_status pare__pattern_fits_name(pare__pattern *pattern, const char *name, bool *out) {
  return name_fits(pattern, name, out);
}

pare_status pare__pattern_fits(pare__pattern *pattern, const pare__weight *weight, bool *out) {
  *out = false;
  if (weight->role == PARE__WEIGHT_OTHER) return PARE_OK;
  if (pattern->kind == OF_ROLE) *out = weight->role == pattern->role;
  if (pattern->kind == HEAD) *out = weight->head;
  if (pattern->kind == OF_ROLE || pattern->kind == HEAD) return PARE_OK;
  PARE__TRY(name_fits(pattern, weight->name, out));
  return *out ? PARE_OK : name_fits(pattern, weight->layer, out);
}
