/* Runs a fuzzer over files: those named, else the committed inputs of the fuzzer whose name the program has.
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    return -1;
  }
  static uint8_t data[1 << 20];
  size_t nbytes = fread(data, 1, sizeof data, file);
  fclose(file);
  /* A copy of its exact size, so that sanitizers see a read past the end. */
  uint8_t *exact = malloc(nbytes ? nbytes : 1);
  if (!exact) return -1;
  memcpy(exact, data, nbytes);
  LLVMFuzzerTestOneInput(exact, nbytes);
  free(exact);
  return 0;
}

static int replay_corpus(const char *program) {
  const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;
  if (strncmp(name, "lt-", 3) == 0) name += 3;
  if (strncmp(name, "fuzz_", 5) == 0) name += 5;
  const char *srcdir = getenv("srcdir");
  char folder[4096], path[8192];
  snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name);
  DIR *entries = opendir(folder);
  if (!entries) {
    perror(folder);
    return -1;
  }
  int nfiles = 0;
  for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (replay_file(path) != 0) return -1;
    nfiles++;
  }
  closedir(entries);
  printf("100%%: Checks: %d, Failures: 0, Errors: 0\n", nfiles);
  return nfiles > 0 ? 0 : -1;
}

int main(int argc, char **argv) {
  if (argc < 2) return replay_corpus(argv[0]) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  for (int i = 1; i < argc; i++)
    if (replay_file(argv[i]) != 0) return EXIT_FAILURE;
  return EXIT_SUCCESS;
}
