/* Values in a run. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/operator.h"

void pare__slot_clear(pare__slot *slot) {
  pare_tensor_close(slot->tensor);
  pare__content_release(slot->content);
  slot->tensor = NULL;
  slot->content = NULL;
}

pare_status pare__slot_copy(const pare__slot *from, pare__slot *to) {
  if (from == to) return PARE_OK;
  pare__slot copy = *from;
  copy.tensor = NULL;
  if (from->tensor) PARE__TRY(pare__tensor_handle(from->tensor, &copy.tensor));
  copy.content = pare__content_retain(from->content);
  pare__slot_clear(to);
  *to = copy;
  return PARE_OK;
}
