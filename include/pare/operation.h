/* The elementwise operations and modes of sampling that kernels know. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OPERATION_H
#define PARE_OPERATION_H

#include <pare/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What they mean for tensors is said in <pare/elementwise.h>. */

/* name, p, q: formula; dtypes (numbers = floats and integers) */
#define PARE_UNARY_LIST(X)                                                                                     \
  X(abs, 0, 0)                 /* |a|; numbers */                                                              \
  X(neg, 0, 0)                 /* -a; numbers */                                                               \
  X(sign, 0, 0)                /* -1, 0, 1; NaN stays; numbers */                                              \
  X(square, 0, 0)              /* a a; numbers */                                                              \
  X(affine, 1, 0)              /* p a + q, rounded once; numbers */                                            \
  X(clip, -INFINITY, INFINITY) /* min(max(a, p), q); numbers */                                                \
  X(relu, 0, 0)                /* max(a, 0); numbers */                                                        \
  X(ceil, 0, 0)                /* floats */                                                                    \
  X(floor, 0, 0)               /* floats */                                                                    \
  X(trunc, 0, 0)               /* towards 0; floats */                                                         \
  X(round, 0, 0)               /* to nearest, ties to even; floats */                                          \
  X(sqrt, 0, 0)                /* first group; floats, as all that follow down to isinf */                     \
  X(rsqrt, 0, 0)               /* 1 / sqrt(a); first */                                                        \
  X(reciprocal, 0, 0)          /* 1 / a; first */                                                              \
  X(exp, 0, 0)                 /* first */                                                                     \
  X(expm1, 0, 0)               /* e^a - 1; first */                                                            \
  X(log, 0, 0)                 /* first */                                                                     \
  X(log1p, 0, 0)               /* log(1 + a); first */                                                         \
  X(tanh, 0, 0)                /* first */                                                                     \
  X(erf, 0, 0)                 /* first */                                                                     \
  X(sigmoid, 0, 0)             /* 1 / (1 + e^-a); first */                                                     \
  X(softplus, 0, 0)            /* log(1 + e^a); first */                                                       \
  X(softsign, 0, 0)            /* a / (1 + |a|); second */                                                     \
  X(swish, 1, 0)               /* a sigmoid(p a); SiLU for p = 1; second */                                    \
  X(mish, 0, 0)                /* a tanh(softplus(a)); second */                                               \
  X(gelu, 0, 0)                /* a (1 + erf(a / sqrt 2)) / 2; second, of |a| */                               \
  X(gelu_tanh, 0, 0)           /* a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) / 2; second, of |a| */         \
  X(elu, 1, 0)                 /* a < 0: p (e^a - 1); else a; second */                                        \
  X(selu, 1.67326319217681884765625, 1.05070102214813232421875) /* q elu(a); second */                         \
  X(celu, 1, 0)                                                 /* a < 0: p (e^(a / p) - 1); else a; second */ \
  X(leaky_relu, 0.01, 0)                                        /* a < 0: p a; else a */                       \
  X(thresholded_relu, 1, 0)                                     /* a > p: a; else 0 */                         \
  X(hard_sigmoid, 0.2, 0.5)                                     /* min(max(p a + q, 0), 1) */                  \
  X(hard_swish, 0, 0)                                           /* a min(max(a / 6 + 1/2, 0), 1); first */     \
  X(shrink, 0.5, 0)                                             /* a < -p: a + q; a > p: a - q; else 0 */      \
  X(sin, 0, 0)                                                  /* second, as all down to atanh */             \
  X(cos, 0, 0)                                                                                                 \
  X(tan, 0, 0)                                                                                                 \
  X(asin, 0, 0)                                                                                                \
  X(acos, 0, 0)                                                                                                \
  X(atan, 0, 0)                                                                                                \
  X(sinh, 0, 0)                                                                                                \
  X(cosh, 0, 0)                                                                                                \
  X(asinh, 0, 0)                                                                                               \
  X(acosh, 0, 0)                                                                                               \
  X(atanh, 0, 0)                                                                                               \
  X(isnan, 0, 0)       /* floats to bool */                                                                    \
  X(isinf, 1, 1)       /* floats to bool; p: -infinity counts, q: +infinity counts */                          \
  X(not, 0, 0)         /* bool */                                                                              \
  X(bitwise_not, 0, 0) /* integers */
typedef enum pare_unary_operation {
#define PARE_UNARY_ENUM(name, p, q) PARE_UNARY_##name,
  PARE_UNARY_LIST(PARE_UNARY_ENUM)
#undef PARE_UNARY_ENUM
      PARE_NUNARY
} pare_unary_operation;

#define PARE_BINARY_LIST(X)                                                            \
  X(add)         /* numbers */                                                         \
  X(sub)         /* numbers */                                                         \
  X(mul)         /* numbers */                                                         \
  X(div)         /* numbers; integers truncate towards 0 */                            \
  X(mod)         /* remainder with the sign of b (ONNX Mod, Python %); numbers */      \
  X(fmod)        /* remainder with the sign of a (ONNX Mod with fmod=1, C); numbers */ \
  X(pow)         /* a^b; third group; numbers */                                       \
  X(min)         /* numbers */                                                         \
  X(max)         /* numbers */                                                         \
  X(prelu)       /* a < 0: a b; else a; numbers */                                     \
  X(atan2)       /* second group; floats */                                            \
  X(and)         /* bool */                                                            \
  X(or)          /* bool */                                                            \
  X(xor)         /* bool */                                                            \
  X(bitwise_and) /* integers */                                                        \
  X(bitwise_or)  /* integers */                                                        \
  X(bitwise_xor) /* integers */                                                        \
  X(shift_left)  /* a 2^b; 0 if b < 0 or b >= bits; integers */                        \
  X(shift_right) /* floor(a / 2^b); 0 if b < 0 or b >= bits; integers */               \
  X(equal)       /* any dtype to bool */                                               \
  X(not_equal)   /* any dtype to bool */                                               \
  X(less)        /* numbers to bool, as the rest */                                    \
  X(less_equal)                                                                        \
  X(greater)                                                                           \
  X(greater_equal)
typedef enum pare_binary_operation {
#define PARE_BINARY_ENUM(name) PARE_BINARY_##name,
  PARE_BINARY_LIST(PARE_BINARY_ENUM)
#undef PARE_BINARY_ENUM
      PARE_NBINARY
} pare_binary_operation;

#define PARE_TERNARY_LIST(X)                                      \
  X(where) /* a ? b : c; a is bool, b, c and out any one dtype */ \
  X(fma)   /* a b + c, rounded once; numbers */                   \
  X(clamp) /* min(max(a, b), c); numbers */
typedef enum pare_ternary_operation {
#define PARE_TERNARY_ENUM(name) PARE_TERNARY_##name,
  PARE_TERNARY_LIST(PARE_TERNARY_ENUM)
#undef PARE_TERNARY_ENUM
      PARE_NTERNARY
} pare_ternary_operation;

/* "gelu_tanh"; NULL if the number is none. */
PARE_API const char *pare_unary_name(pare_unary_operation operation);
PARE_API const char *pare_binary_name(pare_binary_operation operation);
PARE_API const char *pare_ternary_name(pare_ternary_operation operation);

/* ---- <pare/resample.h> ---- */

typedef enum pare_sampling { PARE_SAMPLING_LINEAR, PARE_SAMPLING_NEAREST, PARE_SAMPLING_CUBIC } pare_sampling;
/* What lies outside x. */
typedef enum pare_sampling_padding {
  PARE_SAMPLING_ZEROS,
  PARE_SAMPLING_BORDER,    /* the nearest element inside */
  PARE_SAMPLING_REFLECTION /* at the borders, as often as needed */
} pare_sampling_padding;

#ifdef __cplusplus
}
#endif
#endif
