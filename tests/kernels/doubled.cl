/* y = 2 x, in as many ways as a kernel can go wrong. SPDX-License-Identifier: Apache-2.0 */
#include "dtype.cl"

__kernel void doubled(long n, __global const STORE(T0) *x, long x_offset, __global STORE(T1) *y, long y_offset) {
  long i = get_global_id(0);
  if (i >= n) return;
#if defined HANG
  volatile __global STORE(T1) *wait = y + y_offset;
  while (*(volatile __global uint *)wait != 12345u) {}
#elif defined CRASH
  *(volatile __global int *)(ulong)16 = 1;
#elif defined NO_BUILD
  this is no program;
#endif
#ifdef WRONG
  SAVE(T1, y, y_offset + i, LOAD(T0, x, x_offset + i) * 2 + (i == n - 1));
#else
  SAVE(T1, y, y_offset + i, LOAD(T0, x, x_offset + i) * 2);
#endif
}
