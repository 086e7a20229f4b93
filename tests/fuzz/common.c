/* Helpers of the fuzzers. SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *fuzz_text(const uint8_t *data, size_t nbytes) {
  char *text = malloc(nbytes + 1);
  FUZZ_LAW(text != NULL);
  if (nbytes > 0) memcpy(text, data, nbytes);
  text[nbytes] = '\0';
  return text;
}

void fuzz_broken(const char *file, int line, const char *law) {
  fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, law);
  abort();
}

static char folder[64];

static void remove_folder(void) {
  char command[96];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", folder);
}

const char *fuzz_folder(void) {
  if (folder[0]) return folder;
  strcpy(folder, "/tmp/pare-fuzz.XXXXXX");
  FUZZ_LAW(mkdtemp(folder) != NULL);
  setenv("PARE_CACHE", folder, 1);
  setenv("PARE_KERNEL_PATH", folder, 1);
  atexit(remove_folder);
  return folder;
}
