/* What floor 2 remembers of an open device. Private to this floor. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_STATE_H
#define PARE_KERNEL_STATE_H

#include <jansson.h>

#include "kernel/kernel.h"

/* What a program depends on and what is trusted as a whole: a variant with its tuning, for a mode and dtypes. */
typedef struct pare__instance {
  const pare__family *family;
  const pare__variant *variant;
  pare__tuning tuning;
  int mode;
  pare_dtype dtype[PARE__MAX_BUFFERS];
} pare__instance;

typedef struct pare__trust_record {
  pare__instance instance;
  pare__verdict verdict;
  char *reason;
} pare__trust_record;

typedef struct pare__built_kernel {
  const pare__variant *variant; /* NULL: a free slot */
  pare__tuning tuning;
  pare_dtype dtype[PARE__MAX_BUFFERS];
  char *entry, *extra_options;
  pare__kernel *kernel;
} pare__built_kernel;

#define PARE__CHOICE_SLOTS 512
typedef struct pare__kept_choice {
  const pare__family *family; /* NULL: a free slot */
  pare__problem problem;
  pare__choice choice;
} pare__kept_choice;

/* All of it is guarded by the device's lock. */
typedef struct pare__state {
  pare__trust_record *trust;
  size_t ntrust, trust_capacity;
  pare__built_kernel *built; /* open addressing; a power of two */
  size_t nbuilt, built_slots;
  pare__kept_choice *choices;   /* two places for each hash: the newer, and beside it the one before */
  void (*close_provider)(void); /* frees what a library keeps of this device; NULL: none ran here */
  json_t *tuning;               /* family -> shape class -> {"variant", "tuning"}; NULL until loaded */
} pare__state;

/* The state of a device, made at first use. Call with the device locked. */
pare_status pare__state_get(pare__device *device, pare__state **out);

/* Trust: is this instance right on the device? Tests it if nobody has. A driver that fails, or memory that runs out, is
 * an error and no verdict. */
pare_status pare__trust(pare__device *device, const pare__instance *instance, bool again,
                        const pare__trust_record **out);

/* The same without a child process and without what is kept: what the child runs. */
pare_status pare__trust_here(pare__device *device, const pare__instance *instance, pare__verdict *verdict, char *reason,
                             size_t capacity);

/* Reads "NAME" or "NAME: REASON", as it is kept and as the child prints it; *reason points into the text. */
bool pare__verdict_parse(const char *text, pare__verdict *verdict, const char **reason);

/* The tuner's database: what it says of this problem's class, or of the one that decides for it, if that can still be
 * used. */
bool pare__database_find(pare__device *device, pare__state *state, const pare__family *family,
                         const pare__problem *problem, bool deciding, pare__choice *out);
/* Does another class decide what bits depend on? */
bool pare__class_is_led(const pare__family *family, const pare__problem *problem);
/* What that class decided: by the database, else the first variant of the table that can be used. */
pare_status pare__choose_deciding(pare__device *device, pare__state *state, const pare__family *family,
                                  const pare__problem *problem, pare__choice *out);
/* The same variant, and parameters, but for neutral ones. */
bool pare__choices_agree(const pare__choice *a, const pare__choice *b);
pare_status pare__database_store(pare__device *device, pare__state *state, const pare__family *family,
                                 const char *shape_class, const pare__choice *choice);

/* Forgets kept choices: the database or a verdict changed. */
void pare__state_forget_choices(pare__state *state);

#endif
