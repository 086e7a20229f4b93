/* Live OpenCL objects as the fault layer counts them. SPDX-License-Identifier: Apache-2.0 */
#ifndef FAULT_OBJECTS_H
#define FAULT_OBJECTS_H

#include "fault.h"

/* One more reference; the first one numbers the object within its kind. NULL is ignored. */
void objects_add(fault_kind kind, const void *handle);
/* A retain: counted as misuse if the object is not live (root devices excepted). */
void objects_retain(fault_kind kind, const void *handle);
/* A release: likewise. */
void objects_drop(fault_kind kind, const void *handle);
/* The number in order of creation, from 0; 0 if the object is not live. */
unsigned long objects_number(fault_kind kind, const void *handle);
unsigned long objects_live(fault_kind kind);
unsigned long objects_misused(void);
const char *objects_kind_name(fault_kind kind);

#endif
