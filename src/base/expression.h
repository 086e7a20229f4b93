/* Regular expressions of PCRE2 from files that anyone may have written: bounded in time and memory.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_BASE_EXPRESSION_H
#define PARE_BASE_EXPRESSION_H

#include "base/base.h"

typedef struct pare__expression pare__expression;

/* PARE_ERR_FORMAT: 're:…' is no expression, why and at which character. */
pare_status pare__expression_open(const char *text, pare__expression **out);
void pare__expression_close(pare__expression *expression); /* NULL is allowed */
/* Does it fit the text from its beginning on? PARE_ERR_FORMAT: that takes too many steps. */
pare_status pare__expression_fits(pare__expression *expression, const char *text, bool *out);

#endif
