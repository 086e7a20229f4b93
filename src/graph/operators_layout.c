/* Channels in blocks and back: what the pass `layout` puts at the borders of chains.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Where every channel is one pixel both layouts are the same elements in the same order: a view. */
#include <pare/convolve.h>
#include <string.h>

#include "graph/operator_tables.h"

static int64_t area_of(const pare_tensor *plain_or_blocked, int spatial) {
  int64_t area = 1;
  for (int d = 0; d < spatial; d++) area *= plain_or_blocked->shape.dim[2 + d];
  return area;
}

/* [N, C, X…] to [N, ceil(C / b), X…, b] */
static pare_status block(pare__call *call) {
  pare_tensor *x, *y;
  int64_t dim[PARE_MAX_RANK] = {0};
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  const int rank = x->shape.rank;
  const int64_t channels = pare__call_get_int(call, "channels", 0), b = pare_convolution_block(call->context, x->dtype);
  if (rank < 3 || rank >= PARE_MAX_RANK || x->shape.dim[1] != channels)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d and %lld channels; expected %lld", rank,
                           rank > 1 ? (long long)x->shape.dim[1] : 0, (long long)channels);
  for (int d = 0; d < rank; d++) dim[d] = x->shape.dim[d];
  dim[1] = pare__div_up(channels, b);
  dim[rank] = b;
  if (area_of(x, rank - 2) == 1 && channels % b == 0) {
    PARE__TRY(pare__call_reshaped(call, x, rank + 1, dim, &y));
    PARE__TRY(pare__tensor_handle(y, &y));
    return pare__call_give(call, 0, y);
  }
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank + 1, dim, &y));
  return pare_channels_block(x, y);
}

static pare_status unblock(pare__call *call) {
  pare_tensor *x, *y;
  int64_t dim[PARE_MAX_RANK] = {0};
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  const int rank = x->shape.rank - 1;
  const int64_t channels = pare__call_get_int(call, "channels", 0), b = pare_convolution_block(call->context, x->dtype);
  if (rank < 3 || x->shape.dim[rank] != b || x->shape.dim[1] != pare__div_up(channels, b))
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d; expected %lld channels in blocks of %lld",
                           rank, (long long)channels, (long long)b);
  for (int d = 0; d < rank; d++) dim[d] = x->shape.dim[d];
  dim[1] *= b;
  if (area_of(x, rank - 2) == 1) {
    PARE__TRY(pare__call_reshaped(call, x, rank, dim, &y));
    PARE__TRY(pare_tensor_slice(y, 1, 0, channels, 1, &y));
    return pare__call_give(call, 0, y);
  }
  dim[1] = channels;
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank, dim, &y));
  return pare_channels_unblock(x, y);
}

const pare__operator pare__operators_layout[] = {
    {"pare", "ChannelsBlock", 1, 0, PARE__ON_DEVICE, block, .types = "floats"},
    {"pare", "ChannelsUnblock", 1, 0, PARE__ON_DEVICE, unblock, .types = "floats"},
    {0},
};
