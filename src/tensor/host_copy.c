/* Strided views of host memory, moved to and from contiguous memory. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tensor/tensor.h"

typedef struct walk {
  const pare__shape *shape;
  size_t element;
  char *contiguous; /* the next element there */
  bool gather;
} walk;

static void move(const walk *w, char *strided, char *contiguous, size_t nbytes) {
  if (w->gather)
    memcpy(contiguous, strided, nbytes);
  else
    memcpy(strided, contiguous, nbytes);
}

static void walk_axis(walk *w, int axis, char *strided) {
  const pare__shape *shape = w->shape;
  if (axis == shape->rank) {
    move(w, strided, w->contiguous, w->element);
    w->contiguous += w->element;
    return;
  }
  int64_t step = shape->stride[axis] * (int64_t)w->element;
  if (axis == shape->rank - 1 && shape->stride[axis] == 1) { /* a run */
    size_t nbytes = (size_t)shape->dim[axis] * w->element;
    move(w, strided, w->contiguous, nbytes);
    w->contiguous += nbytes;
    return;
  }
  for (int64_t i = 0; i < shape->dim[axis]; i++) walk_axis(w, axis + 1, strided + i * step);
}

void pare__host_gather(const pare__shape *shape, int64_t offset, size_t element_bytes, const void *strided,
                       void *contiguous) {
  walk w = {shape, element_bytes, contiguous, true};
  if (pare__shape_elements(shape) > 0) walk_axis(&w, 0, (char *)strided + offset * (int64_t)element_bytes);
}

void pare__host_scatter(const pare__shape *shape, int64_t offset, size_t element_bytes, const void *contiguous,
                        void *strided) {
  walk w = {shape, element_bytes, (char *)contiguous, false};
  if (pare__shape_elements(shape) > 0) walk_axis(&w, 0, (char *)strided + offset * (int64_t)element_bytes);
}
