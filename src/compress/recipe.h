/* Recipes as data: modifiers in order, each a method, the tensors it is for, and its fields.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_RECIPE_H
#define PARE_COMPRESS_RECIPE_H

#include <pare/compress.h>
#include <stdatomic.h>

#include "base/arena.h"

/* `line` and `column` count from 1; 0: not from a file. */
typedef struct pare__place {
  const char *file;
  unsigned line, column;
} pare__place;

typedef struct pare__text {
  const char *text;
  pare__place place;
} pare__text;

typedef struct pare__texts {
  size_t count, capacity;
  pare__text *items;
} pare__texts;

/* A field of a method, as recipes name it. Fields are what a method reads, and nothing else is. */
typedef enum pare__field_kind {
  PARE__FIELD_BOOL,    /* bool */
  PARE__FIELD_INT,     /* int64_t, least to most */
  PARE__FIELD_NUMBER,  /* double, least to most */
  PARE__FIELD_ABOVE,   /* double, more than least, at most most */
  PARE__FIELD_TEXT,    /* const char * in the recipe's arena; NULL: not given */
  PARE__FIELD_CHOICE,  /* int: the index of the text in `choices` */
  PARE__FIELD_MAPPINGS /* pare__layer_mappings: a list of pairs */
} pare__field_kind;

typedef struct pare__field {
  const char *name;
  pare__field_kind kind;
  size_t offset; /* in the method's options */
  double least, most;
  const char *const *choices; /* ends with NULL */
} pare__field;

/* Layers that read one value, and what makes that value: patterns, [[balance, …], smooth] in recipes. */
typedef struct pare__layer_mapping {
  pare__texts balance;
  const char *smooth;
  pare__place place;
} pare__layer_mapping;

typedef struct pare__layer_mappings {
  size_t count, capacity;
  pare__layer_mapping *items;
} pare__layer_mappings;

struct pare__method;
typedef struct pare__modifier {
  const struct pare__method *method;
  pare__texts targets, ignore; /* no targets: the method's own */
  void *options;               /* laid out as method->fields say */
  uint64_t given;              /* bit i: fields[i] was given */
  pare__place place;
  pare__place *field_places; /* one a field; of those that were given */
} pare__modifier;

struct pare_recipe {
  atomic_uint references; /* the caller's, and one of each compression */
  pare__arena arena;      /* of all texts and options */
  const char *name;
  const char *calibration; /* a path; NULL: none */
  pare__texts ignore;      /* by every modifier, those to come too */
  size_t nmodifiers, modifiers_capacity;
  pare__modifier *modifiers;
};

/* Until pare_recipe_close is called once more. */
void pare__recipe_retain(const pare_recipe *recipe);
/* One more modifier, with the method's defaults. */
pare_status pare__recipe_append(pare_recipe *recipe, const struct pare__method *method, pare__modifier **out);
pare_status pare__recipe_add_text(pare_recipe *recipe, pare__texts *texts, const char *text, const pare__place *place);
/* One more mapping, empty. */
pare_status pare__recipe_add_mapping(pare_recipe *recipe, pare__layer_mappings *mappings, pare__layer_mapping **out);
/* Sets a field from its text: "4", "true", "group". PARE_ERR_FORMAT at the place. */
pare_status pare__recipe_set(pare_recipe *recipe, pare__modifier *modifier, const char *name, const char *text,
                             const pare__place *place);
/* A field's default (NULL: every field's) is written out with the recipe as if it had been given. */
void pare__recipe_show(pare__modifier *modifier, const char *name);
/* Was the field given, rather than a default? */
bool pare__recipe_gave(const pare__modifier *modifier, const char *name);
/* ": write …", for messages, of a name that other tools' recipes have; "" of others. The buffer is returned. */
const char *pare__recipe_advice(const char *name, char *buffer, size_t capacity);
/* Where a field was given; otherwise where the modifier is. */
const pare__place *pare__recipe_place(const pare__modifier *modifier, const char *name);
/* PARE_ERR_FORMAT: "file:line:column: …"; PARE_ERR_ARGUMENT without a line. */
pare_status pare__fail_at(const pare__place *place, const char *format, ...) PARE__PRINTF(2, 3);

#endif
