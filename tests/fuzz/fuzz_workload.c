/* Work to simulate: any bytes are read, and simulated, or give a message with a place.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/simulate.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  pare_workload *read = NULL;
  char *copy = fuzz_text(data, nbytes);
  const pare_status status = pare_workload_parse(copy, nbytes, "input", &read);
  if (status == PARE_OK) {
    static const char machine_text[] = "{\"device\": \"d\", \"count\": 2, \"rates\": {\"*\": 1}, \"memory\": 1000}";
    pare_simulation *simulation = NULL;
    pare_machine *machine = NULL;
    FUZZ_LAW(pare_machine_parse(machine_text, sizeof machine_text - 1, "machine", &machine) == PARE_OK);
    if (pare_workload_tasks(read) <= 64) (void)pare_simulate(machine, read, NULL, &simulation);
    pare_simulation_close(simulation);
    pare_machine_close(machine);
  } else {
    FUZZ_LAW(read == NULL);
    FUZZ_LAW(status == PARE_ERR_MEMORY || status == PARE_ERR_FORMAT);
    FUZZ_LAW(status == PARE_ERR_MEMORY || strncmp(pare_message(), "input:", 6) == 0);
  }
  pare_workload_close(read);
  free(copy);
  return 0;
}
