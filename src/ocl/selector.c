/* Which devices a selector means. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/list.h"

pare_status pare_device_list_select(const pare_device_list *list, const char *spec, size_t capacity,
                                    pare_device_choice *choices, size_t *count) {
  (void)spec;
  if (!list) return pare__fail_null("pare_device_list_select", "list");
  if (list->count == 0) return pare__fail(PARE_ERR_SELECTOR, "there is no OpenCL device");
  if (capacity > 0) *choices = (pare_device_choice){0, 0, 1, list->info[0].compute_units, 1.0};
  *count = 1;
  return PARE_OK;
}
