/* Windows that slide over the spatial dimensions. SPDX-License-Identifier: Apache-2.0 */
#include "graph/operators_window.h"

#include <string.h>

pare_status pare__call_per_dimension(const pare__call *call, const char *name, int count, int64_t otherwise,
                                     int64_t *out) {
  size_t given;
  PARE__TRY(pare__call_get_ints(call, name, out, (size_t)count, &given));
  if (given != 0 && given != (size_t)count)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%s has %zu entries; it needs %d", name, given, count);
  for (int d = 0; given == 0 && d < count; d++) out[d] = otherwise;
  return PARE_OK;
}

static pare_status read_auto_pad(const pare__call *call, pare__window_plan *out) {
  static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
  for (unsigned i = 0; i < PARE__COUNT(names); i++)
    if (pare__call_text_is(call, "auto_pad", "NOTSET", names[i])) {
      out->auto_pad = i;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "auto_pad is none of NOTSET, SAME_UPPER, SAME_LOWER and VALID");
}

/* Small enough that no sum or product of two of them overflows. */
static bool is_sane(int64_t value, int64_t least) { return value >= least && value <= INT32_MAX / 16; }

pare_status pare__call_window(const pare__call *call, int rank, const int64_t *kernel, pare__window_plan *out) {
  int64_t pads[2 * PARE_CONVOLUTION_RANK];
  memset(out, 0, sizeof *out);
  if (rank < 3 || rank > 2 + PARE_CONVOLUTION_RANK)
    return pare__call_fail(call, rank < 3 ? PARE_ERR_SHAPE : PARE_ERR_UNSUPPORTED,
                           "its input has rank %d; batch, channels and 1 to %d spatial dimensions are possible", rank,
                           PARE_CONVOLUTION_RANK);
  out->rank = rank - 2;
  if (!kernel && !pare__call_attribute(call, "kernel_shape"))
    return pare__call_fail(call, PARE_ERR_FORMAT, "it has no kernel_shape");
  PARE__TRY(pare__call_per_dimension(call, "kernel_shape", out->rank, 0, out->kernel));
  PARE__TRY(pare__call_per_dimension(call, "strides", out->rank, 1, out->stride));
  PARE__TRY(pare__call_per_dimension(call, "dilations", out->rank, 1, out->dilation));
  PARE__TRY(pare__call_per_dimension(call, "pads", 2 * out->rank, 0, pads));
  PARE__TRY(read_auto_pad(call, out));
  for (int d = 0; d < out->rank; d++) {
    if (kernel && pare__call_attribute(call, "kernel_shape") && out->kernel[d] != kernel[d])
      return pare__call_fail(call, PARE_ERR_SHAPE, "kernel_shape[%d] is %lld; its weights have %lld", d,
                             (long long)out->kernel[d], (long long)kernel[d]);
    if (kernel) out->kernel[d] = kernel[d];
    out->before[d] = out->auto_pad == PARE__PAD_EXPLICIT ? pads[d] : 0;
    out->after[d] = out->auto_pad == PARE__PAD_EXPLICIT ? pads[out->rank + d] : 0;
    if (!is_sane(out->kernel[d], kernel ? 0 : 1) || !is_sane(out->stride[d], 1) || !is_sane(out->dilation[d], 1) ||
        !is_sane(out->before[d], -(INT32_MAX / 16)) || !is_sane(out->after[d], -(INT32_MAX / 16)))
      return pare__call_fail(
          call, PARE_ERR_ARGUMENT,
          "kernel %lld, stride %lld, dilation %lld, pads %lld and %lld of dimension %d are impossible",
          (long long)out->kernel[d], (long long)out->stride[d], (long long)out->dilation[d], (long long)out->before[d],
          (long long)out->after[d], d);
  }
  return PARE_OK;
}

static int64_t windows_in(const pare__window_plan *plan, int d, int64_t length, bool ceil) {
  const int64_t room = length + plan->before[d] + plan->after[d] - (plan->kernel[d] - 1) * plan->dilation[d] - 1;
  if (room < 0) return 0;
  int64_t count = (ceil ? pare__div_up(room, plan->stride[d]) : room / plan->stride[d]) + 1;
  /* a window begins in x or in the padding before it */
  if (ceil && (count - 1) * plan->stride[d] >= length + plan->before[d]) count--;
  return count;
}

pare_status pare__call_window_sizes(const pare__call *call, pare__window_plan *plan, const int64_t *x, bool ceil,
                                    int64_t *y) {
  for (int d = 0; d < plan->rank; d++) {
    if (!is_sane(x[d], 0))
      return pare__call_fail(call, PARE_ERR_SHAPE, "dimension %d is %lld long", d, (long long)x[d]);
    if (plan->auto_pad == PARE__PAD_SAME_UPPER || plan->auto_pad == PARE__PAD_SAME_LOWER) {
      y[d] = pare__div_up(x[d], plan->stride[d]);
      const int64_t reach = (y[d] - 1) * plan->stride[d] + (plan->kernel[d] - 1) * plan->dilation[d] + 1;
      const int64_t total = PARE__MAX(reach - x[d], 0);
      plan->before[d] = plan->auto_pad == PARE__PAD_SAME_UPPER ? total / 2 : total - total / 2;
      plan->after[d] = total - plan->before[d];
    } else {
      y[d] = windows_in(plan, d, x[d], ceil);
    }
    if (y[d] <= 0 && x[d] > 0)
      return pare__call_fail(
          call, PARE_ERR_SHAPE,
          "dimension %d is %lld long with pads %lld and %lld; a window of %lld with dilation %lld does "
          "not fit",
          d, (long long)x[d], (long long)plan->before[d], (long long)plan->after[d], (long long)plan->kernel[d],
          (long long)plan->dilation[d]);
    y[d] = PARE__MAX(y[d], 0);
  }
  return PARE_OK;
}
