/* Energy of the machine's processors, from Linux's powercap (RAPL).
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/crew_state.h"

#define LINUX_FOLDER "/sys/class/powercap"
#define MOST_PACKAGES 16
#define READ_EVERY 60 /* seconds: a counter of 262 kJ, which is usual, begins again after that time at 4 kW */

struct pare__crew_energy {
  char *folder;
  size_t npackages;
  struct {
    char *zone;
    uint64_t range, last; /* microjoules; the counter begins again at its range */
  } package[MOST_PACKAGES];
  double joules;
  double read_at;
};

/* The first line of a zone's file, without its end. */
static bool read_line(const char *folder, const char *zone, const char *file, char *out, size_t capacity) {
  char *path = pare__format("%s/%s/%s", folder, zone, file);
  FILE *from = path ? fopen(path, "re") : NULL;
  const bool there = from && fgets(out, (int)capacity, from);
  if (there) out[strcspn(out, "\n")] = '\0';
  if (from) (void)fclose(from);
  free(path);
  return there;
}

/* Digits alone. */
static bool read_number(const char *folder, const char *zone, const char *file, uint64_t *out) {
  char text[32], *end;
  if (!read_line(folder, zone, file, text, sizeof text) || text[0] < '0' || text[0] > '9') return false;
  errno = 0;
  *out = strtoull(text, &end, 10);
  return errno == 0 && *end == '\0';
}

/* A zone is VENDOR-rapl:N, its parts VENDOR-rapl:N:M; one named psys is all that the mains feed, with the packages. */
static bool is_package(const char *folder, const char *zone) {
  char name[32];
  return strstr(zone, "-rapl:") && read_line(folder, zone, "name", name, sizeof name) &&
         strncmp(name, "package", strlen("package")) == 0;
}

/* One more package, if its counter can be read: on many systems that is for root alone. */
static void add_package(pare__crew_energy *energy, const char *zone) {
  uint64_t range, now;
  if (!is_package(energy->folder, zone) || !read_number(energy->folder, zone, "max_energy_range_uj", &range) ||
      !read_number(energy->folder, zone, "energy_uj", &now) || now > range)
    return;
  char *name = pare__strdup(zone);
  if (!name) return;
  energy->package[energy->npackages].zone = name;
  energy->package[energy->npackages].range = range;
  energy->package[energy->npackages++].last = now;
}

pare__crew_energy *pare__crew_energy_open(const char *folder) {
  pare__crew_energy *made = calloc(1, sizeof *made);
  if (made) made->folder = pare__strdup(folder ? folder : LINUX_FOLDER);
  DIR *zones = made && made->folder ? opendir(made->folder) : NULL;
  const struct dirent *entry;
  while (zones && made->npackages < MOST_PACKAGES && (entry = readdir(zones))) add_package(made, entry->d_name);
  if (zones) (void)closedir(zones);
  if (made && made->npackages > 0) return made;
  pare__crew_energy_close(made);
  return NULL;
}

void pare__crew_energy_close(pare__crew_energy *energy) {
  if (!energy) return;
  for (size_t i = 0; i < energy->npackages; i++) free(energy->package[i].zone);
  free(energy->folder);
  free(energy);
}

void pare__crew_energy_keep_up(pare__crew_energy *energy, double now) {
  if (!energy || now - energy->read_at < READ_EVERY) return;
  (void)pare__crew_energy_joules(energy);
  energy->read_at = now;
}

double pare__crew_energy_joules(pare__crew_energy *energy) {
  for (size_t i = 0; i < energy->npackages; i++) {
    const uint64_t last = energy->package[i].last, range = energy->package[i].range;
    uint64_t now;
    if (!read_number(energy->folder, energy->package[i].zone, "energy_uj", &now) || now > range) continue;
    energy->joules += (double)(now >= last ? now - last : now + (range - last)) * 1e-6;
    energy->package[i].last = now;
  }
  return energy->joules;
}
