/* Names of values while a model is read: a hash table with open addressing. SPDX-License-Identifier: Apache-2.0 */
#include "graph/scope.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* The entry that has the name, or the free one where it belongs. */
static pare__scope_entry *place(const pare__scope *scope, const char *name) {
  size_t at = (size_t)pare__hash64(name, strlen(name)) & (scope->capacity - 1);
  while (scope->entry[at].name && strcmp(scope->entry[at].name, name) != 0) at = (at + 1) & (scope->capacity - 1);
  return &scope->entry[at];
}

static pare_status grow(pare__scope *scope) {
  pare__scope larger = {.parent = scope->parent, .count = scope->count, .capacity = scope->capacity * 2};
  if (larger.capacity == 0) larger.capacity = 64;
  larger.entry = calloc(larger.capacity, sizeof *larger.entry);
  if (!larger.entry) return pare__fail_memory("the names of a graph", larger.capacity * sizeof *larger.entry);
  for (size_t i = 0; i < scope->capacity; i++)
    if (scope->entry[i].name) *place(&larger, scope->entry[i].name) = scope->entry[i];
  free(scope->entry);
  *scope = larger;
  return PARE_OK;
}

pare_status pare__scope_define(pare__scope *scope, const char *name, int32_t value) {
  if (2 * (scope->count + 1) > scope->capacity) PARE__TRY(grow(scope));
  pare__scope_entry *entry = place(scope, name);
  if (entry->name) return pare__fail(PARE_ERR_FORMAT, "the name '%s' is given to two values of one graph", name);
  *entry = (pare__scope_entry){name, value};
  scope->count++;
  return PARE_OK;
}

int32_t pare__scope_find(const pare__scope *scope, const char *name) {
  for (; scope; scope = scope->parent) {
    if (scope->capacity == 0) continue;
    const pare__scope_entry *entry = place(scope, name);
    if (entry->name) return entry->value;
  }
  return PARE__NO_VALUE;
}

void pare__scope_clear(pare__scope *scope) {
  free(scope->entry);
  *scope = (pare__scope){0};
}
