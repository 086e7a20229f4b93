/* What a reduction does to one element and to two partial results. SPDX-License-Identifier: Apache-2.0
 *
 * Built with -DACC=f32 (the dtype that partial results are computed in), -DEXTRA=… (that of their second part),
 * -DMAP=plain|magnitude|square|centred (what the first pass does to an element),
 * -DMERGE=sum|product|smallest|largest|arg_smallest|arg_largest|logsumexp, -DTIE_LAST=0|1 and
 * -DLIFT=none|index|one|loaded (an element's second part), -DFINISH=plain|mean|root|logarithm|logsumexp, -DLOWEST=… and
 * -DHIGHEST=… (the ends of the dtype that is reduced).
 *
 * A partial result is a pair. arg-min and arg-max: the value and its index (-1: nothing seen yet). log-sum-exp: the
 * maximum m and sum exp(x - m), merged as Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018.
 * Others: the value alone. NaN: in sums as IEEE 754; min, max, arg-min and arg-max take the first NaN (the last one
 * with TIE_LAST). */
#include "dtype.cl"

#define ACCV(n) VALUEV(ACC, n)
#define EXTRAV(n) VALUEV(EXTRA, n)
#define WIDE_STATE(n) JOIN(reduce_state, n)

/* Hands a number over after it was expanded. */
#define EXPAND(macro, n) macro(n)
#define IS_NAN(v) ((v) != (v))

#define STATE_DEFINE(n) \
  typedef struct {      \
    ACCV(n) value;      \
    EXTRAV(n) extra;    \
  } reduce_state##n;
STATE_DEFINE(1)
#if WIDTH > 1
EXPAND(STATE_DEFINE, WIDTH)
#endif

/* ---- an element becomes a partial result; c is the centre of its row ---- */

#define MAP_plain(n, x, c) (x)
#define MAP_magnitude(n, x, c) ((x) < 0 ? -(x) : (x))
#define MAP_square(n, x, c) ((x) * (x))
#define MAP_centred(n, x, c) (((x) - (c)) * ((x) - (c)))

/* ---- two partial results become one ---- */

#define MERGE_sum(n, a, b) (a).value += (b).value
#define MERGE_product(n, a, b) (a).value *= (b).value
#define MERGE_smallest(n, a, b) (a).value = (((b).value < (a).value) | IS_NAN((b).value)) ? (b).value : (a).value
#define MERGE_largest(n, a, b) (a).value = (((b).value > (a).value) | IS_NAN((b).value)) ? (b).value : (a).value
#define MERGE_arg_smallest(n, a, b) MERGE_arg(n, a, b, <)
#define MERGE_arg_largest(n, a, b) MERGE_arg(n, a, b, >)
#define MERGE_logsumexp(n, a, b) a = JOIN(logsumexp_merge, n)(a, b)

#if TIE_LAST
#define TIE(b, a) ((b) > (a))
#else
#define TIE(b, a) ((b) < (a))
#endif
/* `a` may hold nothing, then b is taken; a `b` that holds nothing is never taken. & and | and no shortcuts: a, b may be
 * vectors. */
#define MERGE_arg(n, a, b, better)                                                                        \
  TAKE_IF(n, a, b,                                                                                        \
          ((b).extra >= 0) &                                                                              \
              (((a).extra < 0) | ((b).value better(a).value) | (IS_NAN((b).value) & !IS_NAN((a).value)) | \
               ((((b).value == (a).value) | (IS_NAN((b).value) & IS_NAN((a).value))) & TIE((b).extra, (a).extra))))
#define TAKE_IF(n, a, b, condition)                            \
  {                                                            \
    EXTRAV(n) new_extra = (condition) ? (b).extra : (a).extra; \
    (a).value = (condition) ? (b).value : (a).value;           \
    (a).extra = new_extra;                                     \
  }

/* ---- the same where b comes later than a, and both hold something: what the inner loops do ---- */

#define STEP_sum(n, a, b) MERGE_sum(n, a, b)
#define STEP_product(n, a, b) MERGE_product(n, a, b)
#define STEP_smallest(n, a, b) MERGE_smallest(n, a, b)
#define STEP_largest(n, a, b) MERGE_largest(n, a, b)
#define STEP_logsumexp(n, a, b) MERGE_logsumexp(n, a, b)
#define STEP_arg_smallest(n, a, b) STEP_arg(n, a, b, <, >=)
#define STEP_arg_largest(n, a, b) STEP_arg(n, a, b, >, <=)
#if TIE_LAST
#define STEP_arg(n, a, b, better, not_better) \
  TAKE_IF(n, a, b, !((a).value better(b).value) & (!IS_NAN((a).value) | IS_NAN((b).value)))
#else
#define STEP_arg(n, a, b, better, not_better) TAKE_IF(n, a, b, !((b).value not_better(a).value) & !IS_NAN((a).value))
#endif
#define IS_LOGSUMEXP_logsumexp 1
#if JOIN(IS_LOGSUMEXP_, MERGE)
#include "exp.cl"
#define LSE_DEFINE(n)                                                                         \
  static reduce_state##n logsumexp_merge##n(reduce_state##n a, reduce_state##n b) {           \
    reduce_state##n result;                                                                   \
    ACCV(n) zero = 0, distance = a.value == b.value ? zero : b.value - a.value;               \
    ACCV(n) scale = EXP(ACC, n, -fabs(distance));                                             \
    result.extra = b.value > a.value ? a.extra * scale + b.extra : a.extra + b.extra * scale; \
    result.value = b.value > a.value ? b.value : a.value;                                     \
    return result;                                                                            \
  }

LSE_DEFINE(1)
#if WIDTH > 1
EXPAND(LSE_DEFINE, WIDTH)
#endif
#endif

/* ---- identities ---- */

#define IDENTITY_sum 0
#define IDENTITY_product 1
#define IDENTITY_smallest HIGHEST
#define IDENTITY_largest LOWEST
#define IDENTITY_arg_smallest HIGHEST
#define IDENTITY_arg_largest LOWEST
#define IDENTITY_logsumexp LOWEST
#define EMPTY_sum 0
#define EMPTY_product 0
#define EMPTY_smallest 0
#define EMPTY_largest 0
#define EMPTY_arg_smallest -1
#define EMPTY_arg_largest -1
#define EMPTY_logsumexp 0

/* ---- the second part of what one element becomes ---- */

#define LIFT_none(n, index, loaded) (EXTRAV(n))(0)
#define LIFT_index(n, index, loaded) (index)
#define LIFT_one(n, index, loaded) (EXTRAV(n))(1)
#define LIFT_loaded(n, index, loaded) (loaded)

/* ---- the last pass: a partial result becomes the value of the output ---- */

#define FINISH_plain(s, count) ((s).value)
#define FINISH_mean(s, count) ((s).value / (VALUE(ACC))(count))
#define FINISH_root(s, count) NAME_KIND(square_root, ACC)((s).value)
#define FINISH_logarithm(s, count) log((s).value)
#define FINISH_logsumexp(s, count) ((s).value + log((s).extra))

#define square_root_f(v) sqrt(v)
#define square_root_d(v) sqrt(v)
#define square_root_i(v) (v)
#define square_root_u(v) (v)
/* Rounded down. The float is within 2^-23: two steps of Newton's method leave an error of one at most. */
static long square_root_l(long v) {
  if (v <= 0) return 0;
  long root = max((long)sqrt((float)v), (long)1);
  root = (root + v / root) / 2;
  root = (root + v / root) / 2;
  if (root > v / root) root--;
  return root;
}
static ulong square_root_m(ulong v) {
  ulong root = max((ulong)sqrt((float)v), (ulong)1);
  root = (root + v / root) / 2;
  root = max((root + v / root) / 2, (ulong)1);
  return root > v / root ? root - 1 : root;
}
