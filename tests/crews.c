/* Fixtures: a crew of members that do nothing of themselves. SPDX-License-Identifier: Apache-2.0 */
#include "crews.h"

#include <stdatomic.h>
#include <unistd.h>

#include "run.h"
#include "watch.h"

enum { SECONDS_OPEN = 120 };

pare__crew *crew;
static atomic_bool is_open, at_gate;

void make_members(pare__crew_member *out, size_t nmembers, uint64_t memory_bytes) {
  static const char *const name[MOST_MEMBERS] = {"first", "second", "third", "fourth"};
  for (size_t i = 0; i < nmembers; i++)
    out[i] = (pare__crew_member){
        .name = name[i], .key = name[i], .seen = {.resource = PARE__ON_CPU, .memory_bytes = memory_bytes}, .weight = 1};
}

void open_members(const pare__crew_member *member, size_t nmembers, const pare__crew_options *options) {
  atomic_store(&is_open, false);
  atomic_store(&at_gate, false);
  watch_crew(&crew, SECONDS_OPEN);
  OK(pare__crew_open(member, nmembers, options, &crew));
}

void close_crew(void) {
  OK(pare__crew_close(crew));
  crew = NULL;
  unwatch();
}

static void await(const atomic_bool *what) {
  while (!atomic_load(what)) usleep(100);
}

void await_at_gate(void) { await(&at_gate); }
void await_open_gate(void) { await(&is_open); }
void open_gate(void) { atomic_store(&is_open, true); }

pare_status wait_at_gate(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  atomic_store(&at_gate, true);
  await_open_gate();
  return PARE_OK;
}
