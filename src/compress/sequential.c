/* Layers quantised one depth after the other. SPDX-License-Identifier: Apache-2.0 */
#include "compress/sequential.h"

#include <stdlib.h>

#include "compress/calibration.h"
#include "compress/division.h"
#include "compress/rows.h"

/* In the original model nothing divides activations: what smoothing does to weights is undone. */
static void undo_factors(const pare__compression *compression, size_t index, float *w) {
  const pare__treatment *treatment = &compression->treatments[index];
  const pare__weight *weight = &compression->checkpoint->weights[index];
  const int64_t rows = pare__weight_rows(weight), columns = pare__weight_row_elements(weight);
  const int64_t inputs = pare__weight_inputs(weight);
  const bool takes = pare__division_holds(treatment->takes, compression->treatments);
  for (int64_t r = 0; r < rows && (treatment->factor || takes); r++)
    for (int64_t c = 0; c < columns; c++)
      w[r * columns + c] /=
          (treatment->factor ? treatment->factor[c % inputs] : 1) * (takes ? treatment->takes->inverse[r] : 1);
}

static pare_status make(pare__compression *compression, size_t index, float *w) {
  const pare__weight *weight = &compression->checkpoint->weights[index];
  const int64_t rows = pare__weight_rows(weight), columns = pare__weight_row_elements(weight);
  const int64_t most = pare__most_rows(compression, index);
  for (int64_t row = 0; row < rows; row += most) {
    const int64_t count = PARE__MIN(most, rows - row);
    pare_tensor *values;
    PARE__TRY(pare__make_values(compression, index, row, count, &values));
    const pare_status status = pare_tensor_read(values, w + row * columns, (size_t)(count * columns) * sizeof(float));
    pare_tensor_close(values);
    PARE__TRY(status);
  }
  return PARE_OK;
}

/* From now on the data runs through the weight as it will be. */
static pare_status exchange(pare__compression *compression, size_t index) {
  const size_t nbytes = (size_t)compression->checkpoint->weights[index].elements * sizeof(float);
  float *w = calloc(1, nbytes + 1);
  if (!w) return pare__fail_memory("a weight", nbytes);
  pare_status status = make(compression, index, w);
  if (status == PARE_OK) {
    undo_factors(compression, index, w);
    status = pare__calibration_exchange(compression->calibration, index, w);
  }
  free(w);
  return status;
}

static pare_status run(pare__compression *compression, const bool *mine, const size_t *depth) {
  const size_t nweights = compression->checkpoint->nweights;
  size_t left = 0;
  for (size_t i = 0; i < nweights; i++) {
    left += mine[i];
    if (!mine[i] && compression->treatments[i].storage != PARE__STORE_AS_IS) PARE__TRY(exchange(compression, i));
  }
  for (size_t now = 0; left > 0; now++)
    for (size_t i = 0; i < nweights; i++) {
      if (!mine[i] || depth[i] != now) continue;
      PARE__TRY(exchange(compression, i));
      left--;
    }
  return PARE_OK;
}

pare_status pare__sequential_run(pare__compression *compression, const bool *mine, bool drift) {
  const size_t *depth;
  pare_status status = pare__calibration_sequence_begin(compression->calibration, mine, drift, &depth);
  if (status == PARE_OK) status = run(compression, mine, depth);
  pare__calibration_sequence_end(compression->calibration);
  return status;
}
