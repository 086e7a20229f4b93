/* All families. A family is one line here and one file beside it. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernel/elementwise.h"
#include "kernel/family_convolve.h"
#include "kernel/family_gemm.h"
#include "kernel/family_gemm_blocks.h"
#include "kernel/family_gemm_int8.h"
#include "kernel/family_gemm_nm.h"
#include "kernel/family_gemm_pack.h"
#include "kernel/family_grid.h"
#include "kernel/family_index.h"
#include "kernel/family_normalise.h"
#include "kernel/family_pad.h"
#include "kernel/family_pool.h"
#include "kernel/family_prune.h"
#include "kernel/family_quantise.h"
#include "kernel/family_random.h"
#include "kernel/family_recurrent.h"
#include "kernel/family_reduce.h"
#include "kernel/family_resample.h"
#include "kernel/family_select.h"
#include "kernel/family_softmax.h"
#include "kernel/family_ticketed.h"
#include "kernel/family_transpose.h"
#include "kernel/family_winograd.h"
#include "kernel/kernel.h"

const pare__family *const pare__families[] = {
    &pare__family_gemm,
    &pare__family_gemm_pack,
    &pare__family_reduce,
    &pare__family_gemv,
    &pare__family_gemm_int8,
    &pare__family_gemm_int8_pack,
    &pare__family_range,
    &pare__family_affine,
    &pare__family_quantise,
    &pare__family_elementwise,
    &pare__family_transpose,
    &pare__family_random,
    &pare__family_normalise,
    &pare__family_softmax,
    &pare__family_select,
    &pare__family_topk,
    &pare__family_gather,
    &pare__family_scatter,
    &pare__family_pad,
    &pare__family_convolve,
    &pare__family_winograd,
    &pare__family_pool,
    &pare__family_interpolate,
    &pare__family_grid_sample,
    &pare__family_roi_align,
    &pare__family_gemm_blocks,
    &pare__family_gemm_blocks_pack,
    &pare__family_gemm_nm,
    &pare__family_n_of_m,
    &pare__family_mask,
    &pare__family_row_select,
    &pare__family_grid,
    &pare__family_grid_fit,
    &pare__family_codes_pack,
    &pare__family_recurrent,
    &pare__family_ticketed,
    NULL,
};

const pare__family *pare__family_find(const char *name) {
  for (size_t i = 0; pare__families[i]; i++)
    if (strcmp(pare__families[i]->name, name) == 0) return pare__families[i];
  return NULL;
}
