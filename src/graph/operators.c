/* The list of operator tables, and finding a row. SPDX-License-Identifier: Apache-2.0 */
#include <pare/inspect.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "graph/operator.h"
#include "graph/operator_tables.h"

#define TABLE_ENTRY(family) pare__operators_##family,
const pare__operator *const pare__operator_tables[] = {PARE__OPERATOR_TABLES(TABLE_ENTRY) NULL};

const pare__operator *pare__operator_find(const char *domain, const char *name, int64_t opset) {
  for (const pare__operator *const *table = pare__operator_tables; *table; table++)
    for (const pare__operator *row = *table; row->name; row++)
      if (strcmp(row->name, name) == 0 && strcmp(row->domain, domain) == 0 && opset >= row->since &&
          (row->until == 0 || opset <= row->until))
        return row;
  return NULL;
}

int pare__operator_newest(const char *domain) {
  int newest = 0;
  for (const pare__operator *const *table = pare__operator_tables; *table; table++)
    for (const pare__operator *row = *table; row->name; row++)
      if (strcmp(row->domain, domain) == 0) newest = PARE__MAX(newest, row->since);
  return newest;
}

/* Is the word an item of the list, whose items follow commas? */
static bool lists(const char *list, const char *word) {
  const size_t length = strlen(word);
  for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
    if ((at == list || at[-1] == ' ') && (at[length] == ',' || !at[length])) return true;
  return false;
}

bool pare__operator_takes(const pare__operator *row, pare_dtype dtype) {
  const bool is_float = pare__dtype_is_real(dtype);
  const bool is_number =
      dtype != PARE_BOOL && dtype < PARE__FIRST_TINY; /* those from there on are only stored and cast */
  if (!row->types) return true;
  if (lists(row->types, "any") || lists(row->types, pare_dtype_name(dtype))) return true;
  if (is_number && lists(row->types, "numbers")) return true;
  return lists(row->types, is_float ? "floats" : "integers") && is_number;
}

/* ---- the table for people ---- */

#define MOST_ROWS 2048

static int by_name(const void *a, const void *b) {
  const pare__operator *x = *(const pare__operator *const *)a, *y = *(const pare__operator *const *)b;
  const int domains = strcmp(x->domain, y->domain), names = strcmp(x->name, y->name);
  return domains ? domains : names ? names : (x->since > y->since) - (x->since < y->since);
}

bool pare__operator_in_files(const pare__operator *row) {
  return strcmp(row->domain, "pare") != 0 || strcmp(row->name, "DecodeNM") == 0;
}

static size_t sorted_rows(const pare__operator **rows) {
  size_t count = 0;
  for (const pare__operator *const *table = pare__operator_tables; *table; table++)
    for (const pare__operator *row = *table; row->name && count < MOST_ROWS; row++)
      if (pare__operator_in_files(row)) rows[count++] = row;
  qsort(rows, count, sizeof(const pare__operator *), by_name);
  return count;
}

const char *pare__placement_name(pare__placement placement) {
  static const char *const name[] = {"device", "host", "view", "control"};
  return name[placement];
}

bool pare_operator_get(size_t index, pare_operator_info *out) {
  const pare__operator *rows[MOST_ROWS] = {0};
  const size_t count = sorted_rows(rows);
  if (!out || index >= count) return false;
  const pare__operator *row = rows[index];
  *out = (pare_operator_info){.domain = row->domain,
                              .name = row->name,
                              .since = row->since,
                              .until = row->until,
                              .placement = pare__placement_name(row->placement),
                              .types = row->types ? row->types : ""};
  return true;
}
