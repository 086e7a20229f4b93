/* Energy of the machine's processors, from Linux's powercap (RAPL).
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/crew_state.h"

#define FOLDER "/sys/class/powercap"
#define MOST_PACKAGES 16
#define READ_EVERY 60 /* seconds: a counter of 262 kJ, which is usual, begins again after that time at 4 kW */

struct pare__crew_energy {
  size_t npackages;
  struct {
    char zone[40];
    uint64_t range, last; /* microjoules; the counter begins again at its range */
  } package[MOST_PACKAGES];
  double joules;
  double read_at;
};

static bool read_counter(const char *zone, const char *file, uint64_t *out) {
  char path[120];
  (void)snprintf(path, sizeof path, FOLDER "/%s/%s", zone, file);
  FILE *from = fopen(path, "re");
  if (!from) return false;
  char text[32], *end = text;
  if (fgets(text, sizeof text, from)) *out = strtoull(text, &end, 10);
  const bool there = end > text;
  (void)fclose(from);
  return there;
}

/* A package is VENDOR-rapl:N; VENDOR-rapl:N:M is a part of it. */
static bool is_package(const char *name) {
  const char *zone = strstr(name, "-rapl:");
  return zone && !strchr(zone + strlen("-rapl:"), ':');
}

pare__crew_energy *pare__crew_energy_open(void) {
  pare__crew_energy *made = calloc(1, sizeof *made);
  DIR *folder = made ? opendir(FOLDER) : NULL;
  const struct dirent *entry;
  while (folder && made->npackages < MOST_PACKAGES && (entry = readdir(folder))) {
    uint64_t range, now;
    const size_t nbytes = strlen(entry->d_name) + 1;
    if (!is_package(entry->d_name) || nbytes > sizeof made->package->zone ||
        !read_counter(entry->d_name, "max_energy_range_uj", &range) || !read_counter(entry->d_name, "energy_uj", &now))
      continue;
    memcpy(made->package[made->npackages].zone, entry->d_name, nbytes);
    made->package[made->npackages].range = range;
    made->package[made->npackages++].last = now;
  }
  if (folder) (void)closedir(folder);
  if (made && made->npackages > 0) return made;
  free(made);
  return NULL;
}

void pare__crew_energy_close(pare__crew_energy *energy) { free(energy); }

void pare__crew_energy_keep_up(pare__crew_energy *energy, double now) {
  if (!energy || now - energy->read_at < READ_EVERY) return;
  (void)pare__crew_energy_joules(energy);
  energy->read_at = now;
}

double pare__crew_energy_joules(pare__crew_energy *energy) {
  for (size_t i = 0; i < energy->npackages; i++) {
    uint64_t now;
    if (!read_counter(energy->package[i].zone, "energy_uj", &now)) continue;
    const uint64_t last = energy->package[i].last;
    energy->joules += (double)(now >= last ? now - last : now + energy->package[i].range - last) * 1e-6;
    energy->package[i].last = now;
  }
  return energy->joules;
}
