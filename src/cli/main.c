/* The command pare. SPDX-License-Identifier: Apache-2.0 */
#include <pare.h>
#include <stdio.h>

int main(void) {
  printf("pare %s (%s)\n", pare_version(), PARE_BUILD_SUMMARY);
  return 0;
}
