/* The list of operator tables, and finding a row. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

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
