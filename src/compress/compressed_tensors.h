/* Quantised tensors as the compressed-tensors library keeps them in safetensors. SPDX-License-Identifier: Apache-2.0
 *
 * A matrix NAME [rows, columns] becomes, for 8 bits per tensor or channel ("int-quantized"):
 *   NAME             I8 [rows, columns]: codes, less 128 if there are zero points
 *   NAME_scale       F32 [rows, 1], or [1] per tensor
 *   NAME_zero_point  I8 likewise; none if symmetric
 * and for everything else ("pack-quantized"), low bits first and without gaps:
 *   NAME_packed      I32 [rows, ceil(columns * bits / 32)]: code + 2^(bits-1) of signed codes
 *   NAME_scale       F32 [rows, groups], or [1]
 *   NAME_zero_point  I32 [ceil(rows * bits / 32), groups]: packed along the rows; I8 [1], not packed, per tensor; none
 * if symmetric NAME_shape       I64 [2] All groups are whole ones: the library knows no others. format/quantised.h
 * reads all of this. Its configuration, which the library looks for in config.json, is the metadata
 * "quantization_config". */
#ifndef PARE_COMPRESS_COMPRESSED_TENSORS_H
#define PARE_COMPRESS_COMPRESSED_TENSORS_H

#include "compress/checkpoint.h"
#include "format/safetensors.h"

/* Is the grid stored one code a byte? */
bool pare__compressed_is_plain(const pare__grid *grid);
/* Scales of a matrix on this grid. */
int64_t pare__compressed_scales(const pare__weight *weight, const pare__grid *grid);
/* Bytes that it takes, scales, zero points and shape included. */
uint64_t pare__compressed_bytes(const pare__weight *weight, const pare__grid *grid);

/* Writes `file`, the file of `checkpoint`, with its tensors treated. */
pare_status pare__compressed_tensors_write(const pare__checkpoint *checkpoint, const pare__safetensors *file,
                                           const pare__treatment *treatments, const pare__producer *producer,
                                           const char *recipe, const char *path);

#endif
