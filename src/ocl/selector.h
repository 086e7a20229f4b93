/* Device selectors: the grammar of PARE_DEVICE, free of OpenCL. SPDX-License-Identifier: Apache-2.0
 *
 *   spec := item {"," item}        item := term | "(" term {"," term} ")"
 *   term := ["!"] sel ["/" parts] ["=" weight]
 *   sel  := all|gpu|cpu|accel | type ":" n | n | plat ":" dev | text | '"' text '"'
 *   plat, dev := index | substring | "*"            parts := n | n"+"n…
 *
 * Spaces around every symbol are skipped; nothing depends on upper and lower case. Parentheses inside of a name belong
 * to it, as in Intel(R). */
#ifndef PARE_OCL_SELECTOR_H
#define PARE_OCL_SELECTOR_H

#include <pare/device.h>

#include "base/base.h"

/* A piece of the spec's text. */
typedef struct pare__text {
  const char *begin;
  size_t length;
} pare__text;

/* A platform or a device of `plat:dev`. */
typedef struct pare__pattern {
  enum { PARE__MATCH_ANY, PARE__MATCH_INDEX, PARE__MATCH_TEXT } kind;
  unsigned index;
  pare__text text;
} pare__pattern;

typedef struct pare__term {
  pare__text all; /* the term as it is written */
  size_t column;  /* of its first character, from 1 */
  bool exclude;
  unsigned group; /* which parentheses it stands in, from 1; 0: none */
  enum {
    PARE__TERM_ALL,
    PARE__TERM_TYPE,       /* gpu */
    PARE__TERM_TYPE_INDEX, /* gpu:1 */
    PARE__TERM_INDEX,      /* 2 */
    PARE__TERM_PAIR,       /* nvidia:0 */
    PARE__TERM_TEXT        /* intel */
  } kind;
  pare_device_type type;
  unsigned index;
  pare__pattern platform, device;
  pare__text text;
  unsigned equal_parts; /* "/4"; 0 if not written */
  unsigned *units;      /* "/3+1": compute units of each part */
  size_t nunits, units_capacity;
  double weight; /* 1 if not written */
} pare__term;

typedef struct pare__selector {
  const char *spec;
  pare__term *term;
  size_t nterms, capacity;
  unsigned ngroups;
} pare__selector;

/* The selector points into `spec`. PARE_ERR_SELECTOR with the column of what is wrong. */
pare_status pare__selector_parse(const char *spec, pare__selector *out);
void pare__selector_close(pare__selector *selector);

/* What `spec` (NULL: the default, all GPUs, else the first CPU) chooses of these devices, as pare_device_list_select
 * does. */
pare_status pare__selector_match(const pare_device_info *info, size_t ninfo, const char *spec, size_t capacity,
                                 pare_device_choice *choices, size_t *count);

/* "gpu", "cpu", "accel". */
const char *pare__device_type_name(pare_device_type type);

#endif
