/* Machines and work of simulations, as texts. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SIMULATIONS_H
#define TESTS_SIMULATIONS_H

#include <pare/simulate.h>

/* Of texts that are right. */
pare_machine *machine_of(const char *text);
pare_workload *work_of(const char *text);

#endif
