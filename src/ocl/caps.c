/* What a device can do. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ocl/list.h"

pare_status pare__device_probe(pare_device_list *list, size_t index) {
  pare__device_entry *entry = &list->entry[index];
  pare_device_info *info = &list->info[index];
  info->can.f64 = strstr(entry->extensions, "cl_khr_fp64") != NULL;
  info->can.f16 = strstr(entry->extensions, "cl_khr_fp16") != NULL;
  info->can.vector_bits = info->type == PARE_DEVICE_GPU ? 32 : 256;
  info->can.vector_extensions = true;
  entry->probed = true;
  return PARE_OK;
}
