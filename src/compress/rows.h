/* Rows of weights on their way through a compression's methods. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_ROWS_H
#define PARE_COMPRESS_ROWS_H

#include "compress/method.h"

/* What formats ask while they write: rows of a weight after all of its steps, noted in the report. */
pare__producer pare__rows_producer(pare__compression *compression);

#endif
