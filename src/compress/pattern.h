/* Which tensors a modifier is for: roles, names, globs, expressions. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_PATTERN_H
#define PARE_COMPRESS_PATTERN_H

#include "compress/checkpoint.h"

/* "Linear", "Conv", "Embedding": every tensor of that role. "@head": the last Linear before an output. "re:EXPRESSION":
 * names that PCRE2's expression matches from their beginning on. With * or ?: names that the glob fits whole. Else the
 * name itself. Names are those of tensors, and of the layers that use them. */
typedef struct pare__pattern pare__pattern;

/* PARE_ERR_FORMAT at the place (PARE_ERR_ARGUMENT without one): an expression that is none, a word after @ that is
 * none. */
pare_status pare__pattern_open(const char *text, const pare__place *place, pare__pattern **out);
void pare__pattern_close(pare__pattern *pattern); /* NULL is allowed */
/* PARE_ERR_FORMAT: an expression that takes too many steps. */
pare_status pare__pattern_fits(pare__pattern *pattern, const pare__weight *weight, bool *out);
/* A name alone; what names a kind of tensors fits none. */
pare_status pare__pattern_fits_name(pare__pattern *pattern, const char *name, bool *out);
/* Does it name tensors, rather than a kind of them? One that names must fit something. */
bool pare__pattern_names(const pare__pattern *pattern);

#endif
