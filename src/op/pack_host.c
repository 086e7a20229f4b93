/* Packing few weights on the host. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "op/op.h"

/* More than that are packed faster by the device, even where the kernels for it have to be built first. */
#define MOST_BYTES ((int64_t)256 << 10)

typedef struct packing {
  size_t element;
  const int64_t *dim; /* G O C T */
  int64_t o_lanes, c_lanes;
} packing;

static void pack(const packing *p, const char *from, char *to) {
  const int64_t *dim = p->dim, element = (int64_t)p->element;
  const int64_t o_step = dim[2] * dim[3] * element, c_step = dim[3] * element;
  for (int64_t g = 0; g < dim[0]; g++, from += dim[1] * o_step)
    for (int64_t o = 0; o < dim[1]; o += p->o_lanes)
      for (int64_t c = 0; c < dim[2]; c += p->c_lanes)
        for (int64_t t = 0; t < dim[3]; t++)
          for (int64_t i = c; i < c + p->c_lanes; i++)
            for (int64_t k = o; k < o + p->o_lanes; k++, to += element)
              if (i < dim[2] && k < dim[1]) memcpy(to, from + k * o_step + i * c_step + t * element, p->element);
}

pare_status pare__pack_on_host(pare_tensor *w, int64_t o_lanes, int64_t c_lanes, pare_tensor *packed, bool *done) {
  const int64_t element = (int64_t)pare_dtype_bytes(w->dtype), nbytes = pare__shape_elements(&w->shape) * element;
  const int64_t packed_bytes = pare__shape_elements(&packed->shape) * element;
  *done = packed_bytes <= MOST_BYTES && !pare__recording_active();
  if (!*done || packed_bytes == 0) return PARE_OK;
  char *from = malloc((size_t)nbytes + 1), *to = calloc((size_t)packed_bytes, 1);
  pare_status status = from && to ? PARE_OK : pare__fail_memory("packed weights", (size_t)(nbytes + packed_bytes));
  if (status == PARE_OK) status = pare_tensor_read(w, from, (size_t)nbytes);
  if (status == PARE_OK) {
    pack(&(packing){(size_t)element, w->shape.dim, o_lanes, c_lanes}, from, to);
    status = pare_tensor_write(packed, to, (size_t)packed_bytes);
  }
  free(from);
  free(to);
  return status;
}
