/* Machines: any bytes are read, and simulated, or give a message with a place. SPDX-License-Identifier: Apache-2.0 */
#include <pare/simulate.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  pare_machine *read = NULL;
  char *copy = fuzz_text(data, nbytes);
  const pare_status status = pare_machine_parse(copy, nbytes, "input", &read);
  if (status == PARE_OK) {
    pare_simulation *simulation = NULL;
    pare_workload *work = NULL;
    FUZZ_LAW(pare_workload_random("tasks=20,edges=1,split=0.5,bytes=100", 1, &work) == PARE_OK);
    if (pare_machine_devices(read) <= 64) (void)pare_simulate(read, work, NULL, &simulation);
    pare_simulation_close(simulation);
    pare_workload_close(work);
  } else {
    FUZZ_LAW(read == NULL);
    FUZZ_LAW(status == PARE_ERR_MEMORY || status == PARE_ERR_FORMAT);
    FUZZ_LAW(status == PARE_ERR_MEMORY || strncmp(pare_message(), "input:", 6) == 0);
  }
  pare_machine_close(read);
  free(copy);
  return 0;
}
