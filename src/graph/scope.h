/* Names of values while a model is read. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_SCOPE_H
#define PARE_GRAPH_SCOPE_H

#include "graph/graph.h"

typedef struct pare__scope_entry {
  const char *name;
  int32_t value;
} pare__scope_entry;

/* All zero, with a parent or without, is an empty scope. */
typedef struct pare__scope {
  const struct pare__scope *parent; /* names that it lacks are looked up there */
  size_t count, capacity;           /* a power of two */
  pare__scope_entry *entry;
} pare__scope;

/* PARE_ERR_FORMAT if the scope itself (not its parents) has the name already. The name must outlive it. */
pare_status pare__scope_define(pare__scope *scope, const char *name, int32_t value);
/* PARE__NO_VALUE if neither it nor a parent has it. */
int32_t pare__scope_find(const pare__scope *scope, const char *name);
void pare__scope_clear(pare__scope *scope);

#endif
