/* Patterns of tensors. SPDX-License-Identifier: Apache-2.0 */
#include "compress/pattern.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Recipes may come from anywhere: an expression must not take all memory, nor all day. */
#define MOST_EXPRESSION_BYTES 1000
#define MOST_MATCH_STEPS 100000
#define MOST_MATCH_KIBIBYTES 1000

typedef enum kind { OF_ROLE, HEAD, EXPRESSION, GLOB, NAME } kind;

struct pare__pattern {
  kind kind;
  pare__weight_role role;
  char *text;
  pcre2_code *code;
  pcre2_match_data *match;
  pcre2_match_context *limits;
};

const char *pare__role_name(pare__weight_role role) {
  static const char *const names[] = {"", "Linear", "Conv", "Embedding"};
  return names[role];
}

static pare_status compile(pare__pattern *pattern, const char *expression, const pare__place *place) {
  int error;
  PCRE2_SIZE offset;
  char why[256];
  pcre2_compile_context *context = pcre2_compile_context_create(NULL);
  pattern->limits = pcre2_match_context_create(NULL);
  if (context) {
    pcre2_set_max_pattern_length(context, MOST_EXPRESSION_BYTES);
    pattern->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
                                  PCRE2_ANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C, &error,
                                  &offset, context);
    pcre2_compile_context_free(context);
  }
  if (!context || !pattern->limits) return pare__fail_memory("an expression", MOST_EXPRESSION_BYTES);
  if (!pattern->code) {
    pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
    return pare__fail_at(place, "'re:%.100s': %s at character %zu", expression, why, (size_t)offset + 1);
  }
  pcre2_set_match_limit(pattern->limits, MOST_MATCH_STEPS);
  pcre2_set_depth_limit(pattern->limits, MOST_MATCH_STEPS);
  pcre2_set_heap_limit(pattern->limits, MOST_MATCH_KIBIBYTES);
  pattern->match = pcre2_match_data_create_from_pattern(pattern->code, NULL);
  return pattern->match ? PARE_OK : pare__fail_memory("an expression", MOST_EXPRESSION_BYTES);
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
  pcre2_match_data_free(pattern->match);
  pcre2_match_context_free(pattern->limits);
  pcre2_code_free(pattern->code);
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
  if (pattern->kind != EXPRESSION) return PARE_OK;
  const int found = pcre2_match(pattern->code, (PCRE2_SPTR)name, strlen(name), 0, 0, pattern->match, pattern->limits);
  if (found < 0 && found != PCRE2_ERROR_NOMATCH)
    return pare__fail(PARE_ERR_FORMAT, "'%.100s' takes too many steps on '%.100s': write a simpler expression",
                      pattern->text, name);
  *out = found >= 0;
  return PARE_OK;
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
