/* The one table of drivers: nothing else in pare looks at a name. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ocl/quirks.h"

#include <stddef.h>
#include <string.h>

/* Rows are tried in order. "Known" are the drivers that the tests run on and the big vendors' own. */
static const pare__quirks table[] = {
    {.driver = "pocl",
     .platform = "Portable Computing Language",
     .known = true,
     .late_binary = true,
     .in_place = true,
     .grids_in_turn_below = 6,
     .group_compiler = true,
     .late_release = true},
    {.driver = "rusticl",
     .platform = "rusticl",
     .device = "llvmpipe",
     .known = true,
     .soft_fma = true,
     .lane_vectors = true},
    {.driver = "rusticl", .platform = "rusticl", .known = true},
    {.driver = "oclgrind", .platform = "Oclgrind", .known = true, .every_type = true, .simulator = true},
    {.driver = "clover", .platform = "Clover"},
    {.driver = "intel-fpga", .platform = "Intel(R) FPGA"},
    {.driver = "intel", .platform = "Intel", .known = true},
    {.driver = "nvidia", .platform = "NVIDIA", .known = true},
    {.driver = "amd", .platform = "AMD", .known = true},
    {.driver = "apple", .platform = "Apple"},
    {.driver = "arm", .platform = "ARM"},
    {.driver = "qualcomm", .platform = "QUALCOMM"},
    {.driver = "unknown", .platform = ""},
};

const pare__quirks *pare__quirks_find(const char *platform, const char *device) {
  const pare__quirks *row = table;
  while (!strcasestr(platform, row->platform) || (row->device && !strcasestr(device, row->device))) row++;
  return row;
}
