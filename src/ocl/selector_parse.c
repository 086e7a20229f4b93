/* The parser of device selectors. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ocl/selector.h"

/* Symbols that end a name without quotes. */
#define SYMBOLS ",/=:!\""

typedef struct parser {
  const char *spec, *at;
  bool in_group;
} parser;

/* Columns count characters, not the bytes of UTF-8. */
static size_t column_of(const parser *p, const char *place) {
  size_t column = 1;
  for (const char *c = p->spec; c < place; c++) column += ((unsigned char)*c & 0xc0) != 0x80;
  return column;
}

static pare_status fail_at(const parser *p, const char *place, const char *expected) {
  char found[16] = "the end";
  size_t nbytes = 1;
  while (((unsigned char)place[nbytes - 1] & 0x80) && nbytes < 4 && ((unsigned char)place[nbytes] & 0xc0) == 0x80)
    nbytes++;
  if (*place) {
    found[0] = '"';
    memcpy(found + 1, place, nbytes);
    memcpy(found + 1 + nbytes, "\"", 2);
  }
  return pare__fail(PARE_ERR_SELECTOR, "device selector \"%s\", column %zu: expected %s, found %s", p->spec,
                    column_of(p, place), expected, found);
}

static void skip_spaces(parser *p) { p->at += strspn(p->at, " \t"); }

/* Takes the symbol if it is next. */
static bool take(parser *p, char symbol) {
  skip_spaces(p);
  if (*p->at != symbol) return false;
  p->at++;
  skip_spaces(p);
  return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The whole text as a number; false if it is none, or larger than any index. */
static bool text_number(pare__text text, unsigned *out) {
  unsigned value = 0;
  for (size_t i = 0; i < text.length; i++) {
    if (!is_digit(text.begin[i]) || value > 99999999) return false;
    value = value * 10 + (unsigned)(text.begin[i] - '0');
  }
  *out = value;
  return text.length > 0;
}

static bool text_is(pare__text text, const char *word) {
  return strlen(word) == text.length && strncasecmp(text.begin, word, text.length) == 0;
}

/* Up to the next symbol; a parenthesis that was not opened before is one. */
static size_t name_length(const char *text) {
  size_t length = 0, open = 0;
  for (; text[length] && !strchr(SYMBOLS, text[length]); length++) {
    if (text[length] == '(') open++;
    if (text[length] != ')') continue;
    if (open == 0) break;
    open--;
  }
  return length;
}

/* A name, without spaces at its end; empty if there is none. */
static pare__text take_name(parser *p) {
  skip_spaces(p);
  pare__text name = {p->at, name_length(p->at)};
  p->at += name.length;
  while (name.length > 0 && strchr(" \t", name.begin[name.length - 1])) name.length--;
  return name;
}

static pare_status take_count(parser *p, const char *expected, unsigned *out) {
  skip_spaces(p);
  const char *begin = p->at;
  pare__text digits = {begin, strspn(begin, "0123456789")};
  p->at += digits.length;
  if (!text_number(digits, out) || *out == 0) return fail_at(p, begin, expected);
  return PARE_OK;
}

static pare_status take_weight(parser *p, double *out) {
  skip_spaces(p);
  const size_t length = pare__decimal(p->at, out);
  if (length == 0 || !(*out > 0) || !isfinite(*out)) return fail_at(p, p->at, "a weight above 0, such as 3 or 0.5");
  p->at += length;
  return PARE_OK;
}

static pare_status take_parts(parser *p, pare__term *term) {
  const char *expected = "a number of parts, or compute units such as 3+1";
  unsigned count = 0;
  PARE__TRY(take_count(p, expected, &count));
  skip_spaces(p);
  if (*p->at != '+') {
    term->equal_parts = count;
    return PARE_OK;
  }
  for (;;) {
    PARE__TRY(pare__array_grow((void **)&term->units, &term->units_capacity, term->nunits, sizeof *term->units));
    term->units[term->nunits++] = count;
    if (!take(p, '+')) return PARE_OK;
    PARE__TRY(take_count(p, expected, &count));
  }
}

static void pattern_set(pare__pattern *pattern, pare__text name) {
  pattern->text = name;
  pattern->kind = PARE__MATCH_TEXT;
  if (text_is(name, "*")) pattern->kind = PARE__MATCH_ANY;
  if (text_number(name, &pattern->index)) pattern->kind = PARE__MATCH_INDEX;
}

static bool type_of(pare__text name, pare_device_type *type) {
  static const pare_device_type types[] = {PARE_DEVICE_CPU, PARE_DEVICE_GPU, PARE_DEVICE_ACCELERATOR};
  for (size_t i = 0; i < PARE__COUNT(types); i++) {
    if (!text_is(name, pare__device_type_name(types[i]))) continue;
    *type = types[i];
    return true;
  }
  return false;
}

/* `type:n` or `plat:dev`, after the colon. */
static pare_status take_pair(parser *p, pare__text first, pare__term *term) {
  const char *begin = p->at;
  pare__text second = take_name(p);
  if (second.length == 0) return fail_at(p, begin, "an index, a part of a name, or *");
  if (type_of(first, &term->type) && text_number(second, &term->index)) {
    term->kind = PARE__TERM_TYPE_INDEX;
    return PARE_OK;
  }
  term->kind = PARE__TERM_PAIR;
  pattern_set(&term->platform, first);
  pattern_set(&term->device, second);
  return PARE_OK;
}

static pare_status take_quoted(parser *p, pare__term *term) {
  const char *quote = p->at - 1;
  term->kind = PARE__TERM_TEXT;
  term->text = (pare__text){quote + 1, strcspn(quote + 1, "\"")};
  p->at = term->text.begin + term->text.length;
  if (*p->at != '"') return fail_at(p, p->at, "a closing quote");
  p->at++;
  return term->text.length > 0 ? PARE_OK : fail_at(p, quote + 1, "a part of a name");
}

static pare_status take_selection(parser *p, pare__term *term) {
  skip_spaces(p);
  const char *begin = p->at;
  if (*begin == '"') {
    p->at++;
    return take_quoted(p, term);
  }
  if (*begin == '(')
    return fail_at(p, begin, p->in_group ? "a device: groups have no groups in them" : "a device to exclude, no group");
  pare__text name = take_name(p);
  if (name.length == 0) return fail_at(p, begin, "a device (all, gpu, cpu, accel, an index, or a part of a name)");
  if (take(p, ':')) return take_pair(p, name, term);
  term->text = name;
  if (text_is(name, "all"))
    term->kind = PARE__TERM_ALL;
  else if (type_of(name, &term->type))
    term->kind = PARE__TERM_TYPE;
  else if (text_number(name, &term->index))
    term->kind = PARE__TERM_INDEX;
  else
    term->kind = PARE__TERM_TEXT;
  return PARE_OK;
}

static bool at_end_of_term(const parser *p) { return !*p->at || *p->at == ',' || (p->in_group && *p->at == ')'); }

static pare_status take_term(parser *p, pare__term *term) {
  skip_spaces(p);
  const char *begin = p->at;
  term->column = column_of(p, begin);
  term->weight = 1;
  term->exclude = take(p, '!');
  PARE__TRY(take_selection(p, term));
  skip_spaces(p);
  if (term->exclude && !at_end_of_term(p)) return fail_at(p, p->at, "a comma after an exclusion");
  if (take(p, '/')) PARE__TRY(take_parts(p, term));
  if (take(p, '=')) PARE__TRY(take_weight(p, &term->weight));
  skip_spaces(p);
  term->all = (pare__text){begin, (size_t)(p->at - begin)};
  while (term->all.length > 0 && strchr(" \t", begin[term->all.length - 1])) term->all.length--;
  if (at_end_of_term(p)) return PARE_OK;
  return fail_at(p, p->at, p->in_group ? "a comma or a closing parenthesis" : "a comma or the end");
}

/* "(" and ")" of a group around terms. */
static void open_group(parser *p, pare__selector *selector) {
  if (p->in_group || !take(p, '(')) return;
  p->in_group = true;
  selector->ngroups++;
}

static pare_status close_group(parser *p) {
  if (!p->in_group || *p->at == ',') return PARE_OK;
  if (!take(p, ')')) return fail_at(p, p->at, "a comma or a closing parenthesis");
  p->in_group = false;
  return *p->at && *p->at != ',' ? fail_at(p, p->at, "a comma or the end") : PARE_OK;
}

pare_status pare__selector_parse(const char *spec, pare__selector *out) {
  parser p = {spec, spec, false};
  *out = (pare__selector){.spec = spec};
  pare_status status;
  do {
    status = pare__array_grow((void **)&out->term, &out->capacity, out->nterms, sizeof *out->term);
    if (status != PARE_OK) break;
    pare__term *term = &out->term[out->nterms++];
    memset(term, 0, sizeof *term);
    open_group(&p, out);
    term->group = p.in_group ? out->ngroups : 0;
    status = take_term(&p, term);
    if (status == PARE_OK) status = close_group(&p);
  } while (status == PARE_OK && take(&p, ','));
  if (status != PARE_OK) pare__selector_close(out);
  return status;
}

void pare__selector_close(pare__selector *selector) {
  for (size_t i = 0; i < selector->nterms; i++) free(selector->term[i].units);
  free(selector->term);
  *selector = (pare__selector){.spec = NULL};
}
