/* What a context with several devices has for its crews. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_SCHED_CREW_CONTEXT_H
#define PARE_SCHED_CREW_CONTEXT_H

#include <pthread.h>

#include "sched/crew.h"
#include "tensor/context.h"

#define PARE__MOST_KEPT 8

typedef struct pare__kept {
  void *state;
  void (*close)(void *state);
} pare__kept;

/* Of a context: its crews. Of a group, which is a context, too: the crew of its devices; all else is the whole's. */
typedef struct pare__home {
  pare_context *context;
  struct pare__home *whole;  /* itself, if the context is no group */
  size_t begin;              /* its first device of the whole's */
  pare__crew *crew, *groups; /* NULL: nobody asked for it */
  size_t ndevices;
  pare__crew_member *device; /* with names of their own */
  char **name;
  size_t ngroups, *shown_as; /* the device that a group of one is */
  pare__crew_member *group;
  char **group_name, **group_key;
  pare__trace *trace;   /* of all of its crews */
  pthread_mutex_t lock; /* guards what follows */
  bool *told;           /* that the device is lost: several crews find that out */
  size_t nkept;
  pare__kept kept[PARE__MOST_KEPT];
  struct pare__home *left_before;
} pare__home;

/* ---- crew_context.c ---- */

/* NULL: nobody asked for a crew yet. */
pare__home *pare__home_if_open(const pare_context *context);
/* The crew of its devices, or of its groups; NULL likewise. */
pare__crew *pare__home_crew(pare__home *all, bool of_groups);

/* ---- crew_members.c ---- */

/* Names, keys and properties of all devices and groups. What it made before it failed is given back as well. */
pare_status pare__home_describe(pare__home *all);
void pare__home_forget(pare__home *all);
/* A trace whose rows are all devices of the context, whichever crew they work for, if its schedule asks for one. */
pare_status pare__home_trace(pare__home *all);

#endif
