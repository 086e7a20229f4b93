/* Machines and work of simulations. SPDX-License-Identifier: Apache-2.0 */
#include "simulations.h"

#include <string.h>

#include "run.h"

pare_machine *machine_of(const char *text) {
  pare_machine *machine;
  OK(pare_machine_parse(text, strlen(text), "machine", &machine));
  return machine;
}

pare_workload *work_of(const char *text) {
  pare_workload *workload;
  OK(pare_workload_parse(text, strlen(text), "tasks", &workload));
  return workload;
}
