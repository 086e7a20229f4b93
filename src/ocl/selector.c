/* Which devices a selector means. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/selector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ocl/list.h"

/* What is being chosen, and from what. */
typedef struct matcher {
  const pare_device_info *info;
  size_t ninfo;
  const char *spec; /* for messages */
  pare_device_choice *choice;
  size_t nchoices, capacity;
} matcher;

const char *pare__device_type_name(pare_device_type type) {
  static const char *const names[] = {
      [PARE_DEVICE_CPU] = "cpu", [PARE_DEVICE_GPU] = "gpu", [PARE_DEVICE_ACCELERATOR] = "accel"};
  return (unsigned)type < PARE__COUNT(names) ? names[type] : "?";
}

/* "there are: 0: NAME (pocl, cpu), …" into text. */
static const char *describe_devices(const matcher *m, char *text, size_t capacity) {
  size_t used = 0;
  snprintf(text, capacity, "there is no OpenCL device; install a driver (for the CPU: PoCL)");
  for (size_t i = 0; i < m->ninfo && used < capacity; i++) {
    const pare_device_info *info = &m->info[i];
    int written =
        snprintf(text + used, capacity - used, "%s%zu: %s (%s, %s%s)", i ? "; " : "there are: ", i, info->name,
                 info->driver, pare__device_type_name(info->type), info->usable ? "" : ", refused");
    used += written > 0 ? (size_t)written : 0;
  }
  return text;
}

/* ---- one term on one device ---- */

static bool contains(const char *where, pare__text text) {
  for (size_t length = strlen(where); length >= text.length; where++, length--)
    if (strncasecmp(where, text.begin, text.length) == 0) return true;
  return false;
}

static bool is_driver(const pare_device_info *info, pare__text text) {
  return strlen(info->driver) == text.length && strncasecmp(info->driver, text.begin, text.length) == 0;
}

/* A driver's short name comes first: "intel" means Intel's driver where there is one, and not also what Intel made. */
static bool matches_text(const matcher *m, pare__text text, const pare_device_info *info) {
  for (size_t i = 0; i < m->ninfo; i++)
    if (is_driver(&m->info[i], text)) return is_driver(info, text);
  return contains(info->name, text) || contains(info->platform, text) || contains(info->vendor, text);
}

static bool matches_pair(const pare__term *term, const pare_device_info *info) {
  const pare__pattern *platform = &term->platform, *device = &term->device;
  if (platform->kind == PARE__MATCH_INDEX && platform->index != info->platform_index) return false;
  if (platform->kind == PARE__MATCH_TEXT && !is_driver(info, platform->text) &&
      !contains(info->platform, platform->text))
    return false;
  if (device->kind == PARE__MATCH_INDEX && device->index != info->device_index) return false;
  return device->kind != PARE__MATCH_TEXT || contains(info->name, device->text);
}

static unsigned index_in_type(const matcher *m, size_t index) {
  unsigned before = 0;
  for (size_t i = 0; i < index; i++) before += m->info[i].type == m->info[index].type;
  return before;
}

static bool matches(const matcher *m, const pare__term *term, size_t index) {
  const pare_device_info *info = &m->info[index];
  switch (term->kind) {
  case PARE__TERM_ALL: return true;
  case PARE__TERM_TYPE: return info->type == term->type;
  case PARE__TERM_TYPE_INDEX: return info->type == term->type && index_in_type(m, index) == term->index;
  case PARE__TERM_INDEX: return index == term->index;
  case PARE__TERM_PAIR: return matches_pair(term, info);
  case PARE__TERM_TEXT: return matches_text(m, term->text, info);
  }
  return false;
}

/* ---- choices ---- */

static pare_status add_choice(matcher *m, pare_device_choice choice) {
  PARE__TRY(pare__array_grow((void **)&m->choice, &m->capacity, m->nchoices, sizeof *m->choice));
  m->choice[m->nchoices++] = choice;
  return PARE_OK;
}

static const pare_device_choice *chosen(const matcher *m, size_t index) {
  for (size_t i = 0; i < m->nchoices; i++)
    if (m->choice[i].index == index) return &m->choice[i];
  return NULL;
}

static pare_status fail_parts(const matcher *m, const pare__term *term, size_t index, uint64_t asked) {
  return pare__fail(PARE_ERR_SELECTOR,
                    "device selector \"%s\", column %zu: \"%.*s\" asks for %llu compute units; %s has %u", m->spec,
                    term->column, (int)term->all.length, term->all.begin, (unsigned long long)asked,
                    m->info[index].name, m->info[index].compute_units);
}

/* The device, or its parts, in order. */
static pare_status add_device(matcher *m, const pare__term *term, size_t index) {
  unsigned units = m->info[index].compute_units;
  unsigned nparts = term->nunits ? (unsigned)term->nunits : PARE__MAX(term->equal_parts, 1u);
  uint64_t asked = term->nunits ? 0 : term->equal_parts;
  for (size_t i = 0; i < term->nunits; i++) asked += term->units[i];
  if (asked > units) return fail_parts(m, term, index, asked);
  for (unsigned part = 0, first = 0; part < nparts; part++) {
    unsigned part_units = term->nunits ? term->units[part] : units / nparts;
    PARE__TRY(add_choice(m, (pare_device_choice){index, part, nparts, part_units, first, term->weight, term->group}));
    first += part_units;
  }
  return PARE_OK;
}

static pare_status fail_unmatched(const matcher *m, const pare__term *term, const char *refused) {
  char there[3000];
  return pare__fail(PARE_ERR_SELECTOR, "device selector \"%s\", column %zu: \"%.*s\" matches %s%s; %s", m->spec,
                    term->column, (int)term->all.length, term->all.begin,
                    refused ? "only what pare refuses: " : "no device", refused ? refused : "",
                    describe_devices(m, there, sizeof there));
}

static pare_status fail_twice(const matcher *m, const pare__term *term, const pare_device_choice *before) {
  char where[60] = "is selected outside of groups";
  if (before->group > 0) snprintf(where, sizeof where, "is in group %u", before->group);
  return pare__fail(
      PARE_ERR_SELECTOR, "device selector \"%s\", column %zu: \"%.*s\" puts %s into group %u, but it %s already",
      m->spec, term->column, (int)term->all.length, term->all.begin, m->info[before->index].name, term->group, where);
}

static pare_status include(matcher *m, const pare__term *term) {
  bool any = false;
  const char *refused = NULL;
  for (size_t i = 0; i < m->ninfo; i++) {
    if (!matches(m, term, i)) continue;
    if (!m->info[i].usable) {
      refused = m->info[i].remark;
      continue;
    }
    any = true;
    const pare_device_choice *before = chosen(m, i);
    if (!before)
      PARE__TRY(add_device(m, term, i));
    else if (term->group > 0 && before->group != term->group)
      return fail_twice(m, term, before);
  }
  return any ? PARE_OK : fail_unmatched(m, term, refused);
}

/* From its group; outside of groups, from all that is selected. */
static pare_status exclude(matcher *m, const pare__term *term) {
  bool any = false;
  for (size_t i = 0; i < m->ninfo; i++) any |= matches(m, term, i);
  if (!any) return fail_unmatched(m, term, NULL);
  size_t kept = 0;
  for (size_t i = 0; i < m->nchoices; i++)
    if ((term->group > 0 && m->choice[i].group != term->group) || !matches(m, term, m->choice[i].index))
      m->choice[kept++] = m->choice[i];
  m->nchoices = kept;
  return PARE_OK;
}

static pare_status fail_empty(const matcher *m, const char *why) {
  char there[3000];
  return pare__fail(PARE_ERR_SELECTOR, "%s; %s", why, describe_devices(m, there, sizeof there));
}

static pare_status choose_default(matcher *m) {
  static const pare__term whole = {.weight = 1};
  for (size_t i = 0; i < m->ninfo; i++)
    if (m->info[i].type == PARE_DEVICE_GPU && m->info[i].usable) PARE__TRY(add_device(m, &whole, i));
  for (size_t i = 0; i < m->ninfo && m->nchoices == 0; i++)
    if (m->info[i].type == PARE_DEVICE_CPU && m->info[i].usable) PARE__TRY(add_device(m, &whole, i));
  return m->nchoices ? PARE_OK : fail_empty(m, "no GPU and no CPU to choose by default; select a device");
}

/* Terms [begin, end) are a group. */
static pare_status choose_group(matcher *m, const pare__selector *selector, size_t begin, size_t end) {
  const pare__term *first = &selector->term[begin];
  const pare__term all = {
      .kind = PARE__TERM_ALL, .all = {"all", 3}, .weight = 1, .column = first->column, .group = first->group};
  bool only_exclusions = true;
  for (size_t i = begin; i < end; i++) only_exclusions &= selector->term[i].exclude;
  if (only_exclusions) PARE__TRY(include(m, &all));
  for (size_t i = begin; i < end; i++)
    if (!selector->term[i].exclude) PARE__TRY(include(m, &selector->term[i]));
  for (size_t i = begin; i < end; i++)
    if (selector->term[i].exclude) PARE__TRY(exclude(m, &selector->term[i]));
  return PARE_OK;
}

/* A group is never less than what was asked for: none of them is left without devices. */
static pare_status check_groups(const matcher *m, const pare__selector *selector) {
  for (size_t i = 0; i < selector->nterms; i++) {
    const pare__term *term = &selector->term[i];
    bool any = term->group == 0;
    for (size_t k = 0; k < m->nchoices && !any; k++) any = m->choice[k].group == term->group;
    if (!any)
      return pare__fail(PARE_ERR_SELECTOR, "device selector \"%s\", column %zu: exclusions leave no device in group %u",
                        m->spec, term->column, term->group);
  }
  return PARE_OK;
}

static pare_status choose(matcher *m, const pare__selector *selector) {
  static const pare__term all = {.kind = PARE__TERM_ALL, .all = {"all", 3}, .weight = 1};
  bool only_exclusions = true;
  for (size_t i = 0; i < selector->nterms; i++)
    only_exclusions &= selector->term[i].exclude && selector->term[i].group == 0;
  if (only_exclusions) PARE__TRY(include(m, &all));
  for (size_t i = 0, end; i < selector->nterms; i = end) {
    const pare__term *term = &selector->term[i];
    end = i + 1;
    while (term->group > 0 && end < selector->nterms && selector->term[end].group == term->group) end++;
    if (term->group > 0)
      PARE__TRY(choose_group(m, selector, i, end));
    else if (!term->exclude)
      PARE__TRY(include(m, term));
  }
  for (size_t i = 0; i < selector->nterms; i++)
    if (selector->term[i].exclude && selector->term[i].group == 0) PARE__TRY(exclude(m, &selector->term[i]));
  if (m->nchoices > 0) return check_groups(m, selector);
  char why[300];
  snprintf(why, sizeof why, "device selector \"%.200s\" excludes every device", m->spec);
  return fail_empty(m, why);
}

pare_status pare__selector_match(const pare_device_info *info, size_t ninfo, const char *spec, size_t capacity,
                                 pare_device_choice *choices, size_t *count) {
  matcher m = {.info = info, .ninfo = ninfo, .spec = spec};
  *count = 0;
  pare_status status;
  if (spec) {
    pare__selector selector;
    PARE__TRY(pare__selector_parse(spec, &selector));
    status = choose(&m, &selector);
    pare__selector_close(&selector);
  } else {
    status = choose_default(&m);
  }
  if (status == PARE_OK) {
    *count = m.nchoices;
    for (size_t i = 0; i < m.nchoices && i < capacity; i++) choices[i] = m.choice[i];
  }
  free(m.choice);
  return status;
}

/* What was asked for may lie on a platform that failed: the message so far, and why. */
static pare_status fail_left_out(const char *left_out) {
  char *so_far = pare__strdup(pare_message());
  pare_status status =
      pare__fail(PARE_ERR_SELECTOR, "%s; a platform is left out: %s", so_far ? so_far : "no such device", left_out);
  free(so_far);
  return status;
}

pare_status pare_device_list_select(const pare_device_list *list, const char *spec, size_t capacity,
                                    pare_device_choice *choices, size_t *count) {
  if (count) *count = 0;
  if (!list) return pare__fail_null("pare_device_list_select", "list");
  if (!count) return pare__fail_null("pare_device_list_select", "count");
  if (!choices && capacity > 0) return pare__fail_null("pare_device_list_select", "choices");
  if (!spec) {
    spec = getenv("PARE_DEVICE");
    if (spec && !*spec) spec = NULL; /* an empty variable is one that is not set, as everywhere in the shell */
  }
  pare_status status = pare__selector_match(list->info, list->count, spec, capacity, choices, count);
  return status == PARE_ERR_SELECTOR && list->left_out ? fail_left_out(list->left_out) : status;
}
