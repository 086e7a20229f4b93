/* Channels in blocks and back. SPDX-License-Identifier: Apache-2.0 */
#include <pare/move.h>

#include "kernel/family_convolve.h"
#include "op/convolve.h"

int64_t pare_convolution_block(pare_context *context, pare_dtype dtype) {
  if (!context) return 1;
  return pare__convolve_lanes(pare__device_info(pare__context_device(context)), dtype);
}

int64_t pare__convolution_prefers_blocks(pare_context *context) {
  const pare_device_info *info = pare__device_info(pare__context_device(context));
  return pare__convolve_packs(info) ? pare__convolve_lanes(info, PARE_F32) : 0;
}

/* `count` channels from `first` on, both tensors as [N, blocks, lanes, area], the plain one cut out of [N, C, area]. */
static pare_status copy_blocks(pare_tensor *plain, pare_tensor *blocked, bool block, int64_t first, int64_t blocks,
                               int64_t lanes) {
  const int64_t *dim = plain->shape.dim, length = blocked->shape.dim[3];
  pare_tensor *view[5] = {NULL};
  const int64_t to[] = {dim[0], blocks, lanes, dim[2]};
  pare_status status = pare_tensor_slice(plain, 1, first, blocks * lanes, 1, &view[0]);
  if (status == PARE_OK) status = pare_tensor_reshape(view[0], 4, to, &view[1]);
  if (status == PARE_OK) status = pare_tensor_slice(blocked, 1, first / length, blocks, 1, &view[2]);
  if (status == PARE_OK) status = pare_tensor_slice(view[2], 3, 0, lanes, 1, &view[3]);
  if (status == PARE_OK) status = pare_tensor_permute(view[3], (const int[]){0, 1, 3, 2}, &view[4]);
  if (status == PARE_OK) status = block ? pare_copy(view[1], view[4]) : pare_copy(view[4], view[1]);
  for (unsigned i = 0; i < PARE__COUNT(view); i++) pare_tensor_close(view[i]);
  return status;
}

static pare_status check_blocks(const char *function, const pare_tensor *plain, const pare_tensor *blocked) {
  const int64_t length = pare_convolution_block(plain->context, plain->dtype);
  int64_t dim[PARE_MAX_RANK] = {0};
  PARE__TRY(pare__check_rank(function, "the tensor without blocks", plain, 2, PARE_MAX_RANK - 1));
  for (int d = 0; d < plain->shape.rank; d++) dim[d] = plain->shape.dim[d];
  dim[1] = pare__div_up(dim[1], length);
  dim[plain->shape.rank] = length;
  return pare__check_shape(function, "the blocked tensor", blocked, plain->shape.rank + 1, dim);
}

/* Both are contiguous. */
static pare_status move(pare_tensor *plain, pare_tensor *blocked, bool block) {
  const int64_t *dim = plain->shape.dim, length = blocked->shape.dim[blocked->shape.rank - 1];
  int64_t area = 1;
  for (int d = 2; d < plain->shape.rank; d++) area *= dim[d];
  const int64_t whole = dim[1] / length, rest = dim[1] % length;
  pare_tensor *from = NULL, *to = NULL;
  pare_status status = pare_tensor_reshape(plain, 3, (const int64_t[]){dim[0], dim[1], area}, &from);
  if (status == PARE_OK)
    status =
        pare_tensor_reshape(blocked, 4, (const int64_t[]){dim[0], pare__div_up(dim[1], length), area, length}, &to);
  if (status == PARE_OK && whole > 0) status = copy_blocks(from, to, block, 0, whole, length);
  if (status == PARE_OK && rest > 0) status = copy_blocks(from, to, block, whole * length, 1, rest);
  pare_tensor_close(from);
  pare_tensor_close(to);
  return status;
}

static pare_status move_into(const char *function, pare_tensor *x, bool block, pare_tensor *out) {
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x)));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "out", out));
  PARE__TRY(check_blocks(function, block ? x : out, block ? out : x));
  pare_tensor *input = NULL, *result = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__result_begin(out, &result);
  if (status == PARE_OK) status = move(block ? input : result, block ? result : input, block);
  status = pare__result_end(status, out, result);
  pare_tensor_close(input);
  return status;
}

pare_status pare_channels_block(pare_tensor *x, pare_tensor *out) {
  return move_into("pare_channels_block", x, true, out);
}

pare_status pare_channels_unblock(pare_tensor *x, pare_tensor *out) {
  return move_into("pare_channels_unblock", x, false, out);
}
