/* LAPACK, loaded when it is first needed. SPDX-License-Identifier: Apache-2.0 */
#include "compress/lapack.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define LIBRARY "liblapacke.so.3"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pare__lapack lapack;
static char problem[256]; /* empty: it is there */

static void load(void) {
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  const struct {
    const char *name;
    void **out;
  } wanted[] = {{"LAPACKE_dpotrf_work", (void **)&lapack.dpotrf},
                {"LAPACKE_dpotrs_work", (void **)&lapack.dpotrs},
                {"LAPACKE_dtrtri_work", (void **)&lapack.dtrtri}};
  bool found = library != NULL;
  for (size_t i = 0; i < PARE__COUNT(wanted) && found; i++) {
    *wanted[i].out = dlsym(library, wanted[i].name);
    found = *wanted[i].out != NULL;
  }
  if (found) return;
  const char *why = dlerror();
  snprintf(problem, sizeof problem, "%s", why ? why : LIBRARY);
  if (library) dlclose(library);
}

pare_status pare__lapack_get(const pare__lapack **out) {
  pthread_once(&once, load);
  *out = &lapack;
  if (problem[0] == '\0') return PARE_OK;
  return pare__fail(PARE_ERR_UNSUPPORTED, "GPTQ needs LAPACK (on Debian: apt-get install liblapacke): %s", problem);
}
