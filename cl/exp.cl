/* exp(x) for x <= 0, NaN or -infinity, in float and double vectors. SPDX-License-Identifier: Apache-2.0
 *
 * EXP(T, n, x) with a dtype name T. In float: x = i ln 2 + r, the polynomial of Cephes' expf in r, and 2^i put into the
 * exponent by integers; no call, so that a CPU driver keeps it in vector registers. Within 2 units of the last place;
 * results below 2^-126 become 0. */
#ifndef PARE_EXP_CL
#define PARE_EXP_CL
#include "dtype.cl"

#define EXP_DEFINE(n)                                                                                        \
  static float##n exp_nonpositive##n(float##n x) {                                                           \
    float##n shifted =                                                                                       \
        mad(x, (float##n)(1.44269504f), (float##n)(12582912.0f)); /* rounds to an integer in the low bits */ \
    float##n whole = shifted - 12582912.0f;                                                                  \
    float##n r = mad(whole, (float##n)(-0.693359375f), x);                                                   \
    r = mad(whole, (float##n)(2.12194440e-4f), r);                                                           \
    float##n p = mad((float##n)(1.9875691500e-4f), r, (float##n)(1.3981999507e-3f));                         \
    p = mad(p, r, (float##n)(8.3334519073e-3f));                                                             \
    p = mad(p, r, (float##n)(4.1665795894e-2f));                                                             \
    p = mad(p, r, (float##n)(1.6666665459e-1f));                                                             \
    p = mad(p, r, (float##n)(5.0000001201e-1f));                                                             \
    p = mad(p, r * r, r) + 1.0f;                                                                             \
    float##n scale = as_float##n((as_int##n(shifted) - (0x4B400000 - 127)) << 23);                           \
    return x < -87.3f ? (float##n)(0.0f) : p * scale;                                                        \
  }
DTYPE_WIDTHS(EXP_DEFINE)

#define EXP(T, n, x) NAME_KIND(EXP, T)(n, x)
#define EXP_f(n, x) JOIN(exp_nonpositive, n)(x)
#define EXP_d(n, x) exp(x)
/* Sums of integers never ask; the names must exist. */
#define EXP_i(n, x) (x)
#define EXP_l(n, x) (x)

#endif
