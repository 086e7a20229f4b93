/* e^x of values of a dtype, for x <= 0 or NaN: EXP(T, n, x), where n is 1 or WIDTH. SPDX-License-Identifier: Apache-2.0
 */
#ifndef PARE_EXP_CL
#define PARE_EXP_CL

#define MATH_WIDTH 1
#include "math.cl"
#if WIDTH > 1
#undef MATH_WIDTH
#define MATH_WIDTH WIDTH
#include "math.cl"
#endif

#define EXP(T, n, x) NAME_KIND(EXP, T)(n, x)
#define EXP_f(n, x) JOIN(math_exp_nonpositive, n)(x)
#define EXP_d(n, x) exp(x)

#endif
