/* Regular expressions. SPDX-License-Identifier: Apache-2.0 */
#include "base/expression.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* An expression must not take all memory, nor all day. */
#define MOST_EXPRESSION_BYTES 1000
#define MOST_MATCH_STEPS 100000
#define MOST_MATCH_KIBIBYTES 1000

struct pare__expression {
  char *text;
  pcre2_code *code;
  pcre2_match_data *match;
  pcre2_match_context *limits;
};

static pare_status compile(pare__expression *expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  char why[256];
  pcre2_compile_context *context = pcre2_compile_context_create(NULL);
  expression->limits = pcre2_match_context_create(NULL);
  if (context) {
    pcre2_set_max_pattern_length(context, MOST_EXPRESSION_BYTES);
    expression->code = pcre2_compile((PCRE2_SPTR)expression->text, PCRE2_ZERO_TERMINATED,
                                     PCRE2_ANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C,
                                     &error, &offset, context);
    pcre2_compile_context_free(context);
  }
  if (!context || !expression->limits) return pare__fail_memory("an expression", MOST_EXPRESSION_BYTES);
  if (!expression->code) {
    pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
    return pare__fail(PARE_ERR_FORMAT, "'re:%.100s': %s at character %zu", expression->text, why, (size_t)offset + 1);
  }
  pcre2_set_match_limit(expression->limits, MOST_MATCH_STEPS);
  pcre2_set_depth_limit(expression->limits, MOST_MATCH_STEPS);
  pcre2_set_heap_limit(expression->limits, MOST_MATCH_KIBIBYTES);
  expression->match = pcre2_match_data_create_from_pattern(expression->code, NULL);
  return expression->match ? PARE_OK : pare__fail_memory("an expression", MOST_EXPRESSION_BYTES);
}

pare_status pare__expression_open(const char *text, pare__expression **out) {
  *out = NULL;
  pare__expression *expression = calloc(1, sizeof *expression);
  if (!expression) return pare__fail_memory("an expression", sizeof *expression);
  expression->text = pare__strdup(text);
  const pare_status status =
      expression->text ? compile(expression) : pare__fail_memory("an expression", strlen(text) + 1);
  if (status == PARE_OK)
    *out = expression;
  else
    pare__expression_close(expression);
  return status;
}

void pare__expression_close(pare__expression *expression) {
  if (!expression) return;
  pcre2_match_data_free(expression->match);
  pcre2_match_context_free(expression->limits);
  pcre2_code_free(expression->code);
  free(expression->text);
  free(expression);
}

pare_status pare__expression_fits(pare__expression *expression, const char *text, bool *out) {
  const int found =
      pcre2_match(expression->code, (PCRE2_SPTR)text, strlen(text), 0, 0, expression->match, expression->limits);
  *out = found >= 0;
  if (found >= 0 || found == PCRE2_ERROR_NOMATCH) return PARE_OK;
  return pare__fail(PARE_ERR_FORMAT, "'re:%.100s' takes too many steps on '%.100s': write a simpler expression",
                    expression->text, text);
}
