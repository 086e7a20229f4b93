/* pare-trial: the child process that runs a self-test which its parent may not survive. Started by the library, not by people.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/trial.h"

int main(int argc, char **argv) { return pare__trial_main(argc, argv, pare__families); }
