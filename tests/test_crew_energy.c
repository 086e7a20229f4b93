/* Joules: of the processor's counters, in a folder like Linux's, and of watts that somebody gave.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"
#include "sched/crew_state.h"
#include "watch.h"

enum { SECONDS_A_TEST = 60 };

static char folder[24];
static pare__crew *crew;

/* ---- a folder of counters ---- */

static void put(const char *zone, const char *file, const char *text) {
  char path[200];
  (void)snprintf(path, sizeof path, "%s/%s/%s", folder, zone, file);
  FILE *to = fopen(path, "w");
  ck_assert_ptr_nonnull(to);
  ck_assert(fputs(text, to) >= 0 && fclose(to) == 0);
}

/* Microjoules. */
static void count(const char *zone, const char *energy) { put(zone, "energy_uj", energy); }

static void make_zone(const char *zone, const char *name, const char *range, const char *energy) {
  ck_assert_int_eq(mkdir(path_in(folder, zone), 0700), 0);
  if (name) put(zone, "name", name);
  if (range) put(zone, "max_energy_range_uj", range);
  if (energy) count(zone, energy);
}

static void setup(void) {
  (void)snprintf(folder, sizeof folder, "/tmp/pare-power-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  watch_crew(&crew, SECONDS_A_TEST);
}

static void teardown(void) {
  unwatch();
  ck_assert_int_eq(remove_folder(folder, 0), 0);
}

/* ---- counters ---- */

/* Packages are summed, also when a counter begins again; what is a part of one, or the whole machine, is not added. */
START_TEST(joules_are_what_the_packages_counted) {
  make_zone("intel-rapl:0", "package-0\n", "5000000\n", "1000000\n");
  make_zone("intel-rapl:1", "package-1\n", "5000000\n", "4500000\n");
  make_zone("intel-rapl:0:0", "core\n", "5000000\n", "0\n");
  make_zone("intel-rapl:2", "psys\n", "5000000\n", "0\n");
  make_zone("intel-rapl-mmio:0", "package-0\n", "5000000\n", "0\n");
  make_zone("intel-rapl", "package\n", "5000000\n", "0\n");
  pare__crew_energy *energy = pare__crew_energy_open(folder);
  ck_assert_ptr_nonnull(energy);
  ck_assert_double_eq(pare__crew_energy_joules(energy), 0);
  static const char *const others[] = {"intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0", "intel-rapl"};
  for (size_t i = 0; i < PARE__COUNT(others); i++) count(others[i], "3000000\n");
  count("intel-rapl:0", "3500000\n");
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 2.5, 1e-9);
  count("intel-rapl:1", "250000\n"); /* half a joule up to its range, a quarter of one from there */
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 3.25, 1e-9);
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 3.25, 1e-9);
  pare__crew_energy_close(energy);
}
END_TEST

/* A counter that begins again between two looks has counted one range less: a crew that works looks once a minute. */
START_TEST(counters_are_looked_at_once_a_minute) {
  make_zone("intel-rapl:0", "package-0\n", "1000000\n", "0\n");
  pare__crew_energy *energy = pare__crew_energy_open(folder);
  ck_assert_ptr_nonnull(energy);
  count("intel-rapl:0", "900000\n");
  pare__crew_energy_keep_up(energy, 100);
  count("intel-rapl:0", "100000\n");
  pare__crew_energy_keep_up(energy, 160);
  count("intel-rapl:0", "700000\n");
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 1.7, 1e-9);
  /* not due, which costs nothing: it does not see that the counter begins again */
  count("intel-rapl:0", "900000\n");
  pare__crew_energy_keep_up(energy, 219);
  count("intel-rapl:0", "800000\n");
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 1.8, 1e-9);
  pare__crew_energy_keep_up(NULL, 1000);
  pare__crew_energy_close(energy);
}
END_TEST

/* What is there instead of a counter; alone it is as good as none. */
START_TEST(what_cannot_be_read_counts_nothing) {
  static const struct {
    const char *name, *range, *energy;
  } wrong[] = {{"package-0\n", "1000\n", NULL},
               {"package-0\n", NULL, "10\n"},
               {NULL, "1000\n", "10\n"},
               {"package-0\n", "1000\n", ""},
               {"package-0\n", "1000\n", "\n"},
               {"package-0\n", "1000\n", "lots\n"},
               {"package-0\n", "1000\n", "-5\n"},
               {"package-0\n", "1000\n", " 5\n"},
               {"package-0\n", "1000\n", "5 uJ\n"},
               {"package-0\n", "1000\n", "99999999999999999999\n"},
               {"package-0\n", "1000\n", "1001\n"},
               {"package-0\n", "-1\n", "5\n"},
               {"package-0\n", "0x7fffffff\n", "5\n"},
               {"package-0\n", "99999999999999999999\n", "5\n"}};
  ck_assert_ptr_null(pare__crew_energy_open(path_in(folder, "nowhere")));
  ck_assert_ptr_null(pare__crew_energy_open(folder));
  for (size_t i = 0; i < PARE__COUNT(wrong); i++) {
    char zone[40];
    (void)snprintf(zone, sizeof zone, "intel-rapl:%zu", i);
    make_zone(zone, wrong[i].name, wrong[i].range, wrong[i].energy);
  }
  /* neither may be opened for reading and read: as without the right to, which root has for every file */
  make_zone("intel-rapl:80", "package-0\n", "1000\n", NULL);
  ck_assert_int_eq(symlink("energy_uj", path_in(folder, "intel-rapl:80/energy_uj")), 0);
  make_zone("intel-rapl:81", "package-0\n", "1000\n", NULL);
  ck_assert_int_eq(mkdir(path_in(folder, "intel-rapl:81/energy_uj"), 0700), 0);
  make_zone("intel-rapl:82", "package-0\n", "1000\n", "10\n");
  ck_assert_int_eq(chmod(path_in(folder, "intel-rapl:82/energy_uj"), 0), 0);
  if (geteuid() != 0) ck_assert_ptr_null(pare__crew_energy_open(folder));
  ck_assert_int_eq(unlink(path_in(folder, "intel-rapl:82/energy_uj")), 0);
  ck_assert_ptr_null(pare__crew_energy_open(folder));
  make_zone("intel-rapl:90", "package-0\n", "1000000000\n", "7\n");
  pare__crew_energy *energy = pare__crew_energy_open(folder);
  ck_assert_ptr_nonnull(energy);
  count("intel-rapl:90", "2000007\n");
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 2, 1e-9);
  /* for a while it tells nothing that can be: nothing is lost by that */
  count("intel-rapl:90", "nothing\n");
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 2, 1e-9);
  count("intel-rapl:90", "1000000001\n");
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 2, 1e-9);
  count("intel-rapl:90", "5000007");
  ck_assert_double_eq_tol(pare__crew_energy_joules(energy), 5, 1e-9);
  pare__crew_energy_close(energy);
}
END_TEST

/* ---- whose they are ---- */

enum { DEVICES = 3 };

static pare_device_stats told[DEVICES];

static void share(const pare__policy_device *seen, size_t ndevices, double counted) {
  static const double busy[DEVICES] = {3, 1, 5};
  for (size_t i = 0; i < DEVICES; i++) told[i] = (pare_device_stats){.busy_seconds = busy[i]};
  pare__share_joules(seen, ndevices, 10, counted, told);
}

START_TEST(joules_are_measured_where_they_can_be_and_else_estimates) {
  pare__policy_device seen[DEVICES] = {
      {.resource = PARE__ON_CPU}, {.resource = PARE__ON_CPU}, {.resource = PARE__ON_GPU}};
  /* one processor alone: its counters are its own */
  share(seen, 1, 80);
  ck_assert(told[0].joules == 80 && !told[0].joules_estimated);
  /* parts of it: by busy time; of a GPU they say nothing */
  share(seen, DEVICES, 80);
  ck_assert_double_eq_tol(told[0].joules, 60, 1e-9);
  ck_assert_double_eq_tol(told[1].joules, 20, 1e-9);
  ck_assert(told[0].joules_estimated && told[1].joules_estimated && told[2].joules < 0);
  /* nothing ran: evenly */
  memset(told, 0, sizeof told);
  pare__share_joules(seen, 2, 10, 80, told);
  ck_assert(told[0].joules == 40 && told[1].joules == 40);
  /* without counters nothing is known */
  share(seen, DEVICES, -1);
  for (size_t i = 0; i < DEVICES; i++) ck_assert(told[i].joules < 0 && !told[i].joules_estimated);
  /* who gives watts wants these: 3 s at 100 W and 7 s at 10 */
  seen[0].busy_watts = 100;
  seen[0].idle_watts = 10;
  seen[2].busy_watts = 200;
  for (int counters = 0; counters <= 1; counters++) {
    share(seen, DEVICES, counters ? 80 : -1);
    ck_assert_double_eq_tol(told[0].joules, 370, 1e-9);
    ck_assert_double_eq_tol(told[2].joules, 1000, 1e-9);
    ck_assert(told[0].joules_estimated && told[2].joules_estimated);
    ck_assert(counters ? told[1].joules >= 0 : told[1].joules < 0);
  }
}
END_TEST

/* ---- in a crew ---- */

static pare_status spend(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  count("intel-rapl:0", "2250000\n");
  return PARE_OK;
}

/* One device: what was counted while it was there. Two: each its share of that. */
START_TEST(a_crew_tells_what_was_counted_since_it_was_opened) {
  const pare__crew_member member[] = {{.name = "first", .key = "first", .seen = {.resource = PARE__ON_CPU}},
                                      {.name = "second", .key = "second", .seen = {.resource = PARE__ON_CPU}}};
  const pare__crew_options options = {.powercap = folder};
  const pare__job job = {.run = spend, .n = 1, .member = 0};
  make_zone("intel-rapl:0", "package-0\n", "5000000\n", NULL);
  for (size_t nmembers = 1; nmembers <= PARE__COUNT(member); nmembers++) {
    pare_schedule_stats stats;
    count("intel-rapl:0", "4000000\n");
    OK(pare__crew_open(member, nmembers, &options, &crew));
    OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
    OK(pare__crew_wait_all(crew));
    OK(pare__crew_stats(crew, &stats));
    ck_assert_double_eq_tol(stats.device[0].joules, 3.25, 1e-9);
    ck_assert_int_eq(stats.device[0].joules_estimated, nmembers > 1);
    if (nmembers > 1) ck_assert_double_eq(stats.device[1].joules, 0);
    ck_assert_double_eq_tol(pare__crew_joules(crew), 3.25, 1e-9);
    pare_schedule_stats_close(&stats);
    OK(pare__crew_close(crew));
    crew = NULL;
  }
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("energy");
  tcase_add_checked_fixture(laws, setup, teardown);
  tcase_add_test(laws, joules_are_what_the_packages_counted);
  tcase_add_test(laws, counters_are_looked_at_once_a_minute);
  tcase_add_test(laws, what_cannot_be_read_counts_nothing);
  tcase_add_test(laws, joules_are_measured_where_they_can_be_and_else_estimates);
  tcase_add_test(laws, a_crew_tells_what_was_counted_since_it_was_opened);
  return run_tests("crew_energy", laws);
}
