/* com.microsoft's operators of diffusion models: group norm with channels last, sums with a bias.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/normalise.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* out = a + b, which broadcasts to a. */
static pare_status sum_of(pare__call *call, pare_tensor *a, pare_tensor *b, pare_tensor *out) {
  pare_tensor *wide;
  PARE__TRY(pare__call_cast(call, b, a->dtype, &b));
  PARE__TRY(pare__call_broadcast(call, b, a->shape.rank, a->shape.dim, &wide));
  return pare_binary(PARE_BINARY_add, a, wide, out);
}

/* Output 0 = activation(group norm of x), in x's layout. */
static pare_status normalise_groups(pare__call *call, pare_tensor *x, bool channels_last) {
  const int64_t groups = pare__call_get_int(call, "groups", 0), activation = pare__call_get_int(call, "activation", 0);
  const double epsilon = pare__call_get_float(call, "epsilon", 1e-5);
  pare_tensor *scale, *shift, *out, *to;
  if (groups < 1 || (activation != 0 && activation != 1))
    return pare__call_fail(call, PARE_ERR_ARGUMENT,
                           "%lld groups with activation %lld; it must be 1 group or more, and "
                           "0 (none) or 1 (SiLU)",
                           (long long)groups, (long long)activation);
  PARE__TRY(pare__call_tensor(call, 1, &scale));
  PARE__TRY(pare__call_tensor(call, 2, &shift));
  PARE__TRY(pare__call_cast(call, scale, x->dtype, &scale));
  PARE__TRY(pare__call_cast(call, shift, x->dtype, &shift));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  to = out;
  if (channels_last) PARE__TRY(pare__call_channels_first(call, x, &x));
  if (channels_last) PARE__TRY(pare__call_channels_first(call, out, &to));
  PARE__TRY(pare_group_norm(x, groups, scale, shift, epsilon, to));
  return activation ? pare_unary_with(PARE_UNARY_swish, 1, 0, out, out) : PARE_OK;
}

static pare_status group_norm(pare__call *call) {
  pare_tensor *x;
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  return normalise_groups(call, x, pare__call_get_int(call, "channels_last", 1) != 0);
}

/* A vector, or a matrix with a row a sample, beside x's channels: dimensions of 1 in the place of the spatial ones. */
static pare_status beside_channels(pare__call *call, const pare_tensor *x, bool channels_last, pare_tensor *beside,
                                   pare_tensor **out) {
  const int rank = x->shape.rank, have = beside->shape.rank;
  int64_t dim[PARE_MAX_RANK];
  *out = beside;
  if (have > 2) return PARE_OK; /* it has them already */
  for (int d = 0; d < rank; d++) dim[d] = 1;
  if (have == 2) dim[0] = beside->shape.dim[0];
  if (have > 0) dim[channels_last ? rank - 1 : 1] = beside->shape.dim[have - 1];
  return pare__call_reshaped(call, beside, rank, dim, out);
}

/* Group norm of x + skip + bias; output 1 is that sum. */
static pare_status skip_group_norm(pare__call *call) {
  const bool channels_last = pare__call_get_int(call, "channels_last", 1) != 0;
  pare_tensor *x, *skip, *bias, *sum;
  PARE__TRY(pare__call_check(call, 4, 5));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 3, &skip));
  PARE__TRY(pare__call_tensor(call, 4, &bias));
  if (x->shape.rank < 2) return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d", x->shape.rank);
  PARE__TRY(pare__call_output(call, 1, x->dtype, x->shape.rank, x->shape.dim, &sum));
  PARE__TRY(beside_channels(call, x, channels_last, skip, &skip));
  PARE__TRY(sum_of(call, x, skip, sum));
  if (bias) PARE__TRY(beside_channels(call, x, channels_last, bias, &bias));
  if (bias) PARE__TRY(sum_of(call, sum, bias, sum));
  return normalise_groups(call, sum, channels_last);
}

/* x + bias + skip, the bias a vector along the last dimension. */
static pare_status bias_add(pare__call *call) {
  pare_tensor *x, *bias, *skip, *out;
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &bias));
  PARE__TRY(pare__call_tensor(call, 2, &skip));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  PARE__TRY(sum_of(call, x, bias, out));
  return sum_of(call, out, skip, out);
}

#define ROW(op, function) \
  { "com.microsoft", op, 1, 0, PARE__ON_DEVICE, function, .types = "floats" }
const pare__operator pare__operators_diffusion[] = {
    ROW("GroupNorm", group_norm),
    ROW("SkipGroupNorm", skip_group_norm),
    ROW("BiasAdd", bias_add),
    {0},
};
