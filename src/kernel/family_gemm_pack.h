/* Packing B of a matrix product into panels, as a problem. SPDX-License-Identifier: Apache-2.0
 *
 * panels[batch][j / panel][l][j % panel] = B[batch][l][j], zero past column n. Buffers: B (any strides), panels
 * (contiguous). */
#ifndef PARE_KERNEL_FAMILY_GEMM_PACK_H
#define PARE_KERNEL_FAMILY_GEMM_PACK_H

#include "kernel/kernel.h"

enum { PACK_K, PACK_N, PACK_BATCH, PACK_PANEL, PACK_B_BATCH, PACK_B_ROW, PACK_B_COL };
enum { PACK_BUFFER_B, PACK_BUFFER_PANELS, PACK_NBUFFERS };

extern const pare__family pare__family_gemm_pack;

#endif
