/* The library's version. SPDX-License-Identifier: Apache-2.0 */
#include <pare/status.h>

const char *pare_version(void) { return PACKAGE_VERSION; }
