/* What the families over rows share. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_rows.h"

pare_dtype pare__row_dtype(const pare__problem *problem) { return problem->dtype[0] == PARE_F64 ? PARE_F64 : PARE_F32; }

static const int widths[] = {16, 8, 4, 0}, groups[] = {256, 128, 64, 0};
const pare__param pare__row_item_params[] = {{"WIDTH", widths}, {NULL, NULL}};
const pare__param pare__row_group_params[] = {{"GROUP", groups}, {NULL, NULL}};

void pare__row_item_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  int lanes = (int)(info->can.vector_bits / 8 / pare_dtype_bytes(pare__row_dtype(whole)));
  if (info->can.lane_vectors) lanes = 2;
  tuning->value[0] = PARE__MAX(4, PARE__MIN(2 * lanes, 16)); /* two registers: their chains overlap */
}

void pare__row_args(pare__args *args, const pare__run *run, unsigned noperands, unsigned ndims) {
  for (unsigned i = 0; i < noperands; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
  }
  for (unsigned i = 0; i < ndims; i++) pare__arg_long(args, run->piece->dim[i]);
}

int64_t pare__row_count(const pare__run *run, int64_t rows, int64_t length, int64_t elements) {
  const int64_t most_rows = 512, items_per_unit = 8, row_overhead = 8;
  int64_t most = PARE__MAX(1, PARE__MIN(elements / (length + row_overhead), most_rows));
  int64_t fair = rows / (pare__device_info(run->device)->compute_units * items_per_unit);
  return PARE__MAX(1, PARE__MIN(fair, most));
}

bool pare__row_streams(const pare__run *run, int64_t elements) {
  const double cache_bytes = 4 << 20;
  const unsigned y = 3; /* the result, in both families */
  return (double)elements * (double)pare_dtype_bytes(run->whole->dtype[y]) >= cache_bytes;
}

bool pare__row_case_at(pare__case_set set, const pare_device_info *info, unsigned index, unsigned nshapes,
                       unsigned nmodes, pare__row_case *out) {
  static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16, PARE_F64};
  unsigned ndtypes = set != PARE__CASES_TEST ? 1 : info->can.f64 ? 4 : 3;
  if (index >= nshapes * nmodes * ndtypes) return false;
  *out = (pare__row_case){index % nshapes, index / nshapes % nmodes, dtypes[index / nshapes / nmodes]};
  return true;
}
