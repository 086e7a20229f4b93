/* Shapes: sizes that overflow are refused, broadcasting gives a shape that both fit.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fuzz.h"
#include "tensor/tensor.h"

/* One shape from the input: a rank byte, then a dimension each from one byte, which picks ordinary and extreme values.
 */
static const uint8_t *take_shape(const uint8_t *data, const uint8_t *end, int *rank, int64_t *dim) {
  static const int64_t special[] = {INT64_MAX, INT64_MAX / 2, INT32_MAX, (int64_t)1 << 32, (int64_t)1 << 40,
                                    -1,        INT64_MIN};
  *rank = data < end ? *data++ % (PARE_MAX_RANK + 1) : 0;
  for (int i = 0; i < *rank; i++) {
    uint8_t value = data < end ? *data++ : 1;
    dim[i] = value < 240 ? value : special[value % (sizeof special / sizeof special[0])];
  }
  return data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  const uint8_t *end = data + nbytes;
  int rank[2];
  int64_t dim[2][PARE_MAX_RANK] = {{0}};
  pare__shape shape[2], both;
  for (int i = 0; i < 2; i++) {
    data = take_shape(data, end, &rank[i], dim[i]);
    char text[PARE__SHAPE_TEXT];
    FUZZ_LAW(strlen(pare__shape_text(rank[i], dim[i], text, sizeof text)) < sizeof text);
    if (!pare__shape_set(&shape[i], rank[i], dim[i])) return 0;
    FUZZ_LAW(pare__shape_elements(&shape[i]) >= 0);
    FUZZ_LAW(pare__shape_contiguous(&shape[i]));
  }
  if (pare__shape_broadcast(&shape[0], &shape[1], &both) != PARE_OK) return 0;
  FUZZ_LAW(both.rank == (rank[0] > rank[1] ? rank[0] : rank[1]));
  for (int i = 0; i < 2; i++)
    for (int d = 0; d < rank[i]; d++) {
      int64_t whole = both.dim[both.rank - rank[i] + d];
      FUZZ_LAW(dim[i][d] == whole || dim[i][d] == 1);
    }
  return 0;
}
