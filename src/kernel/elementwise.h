/* The elementwise operations as floor 2 knows them: one numbering, references, the problem.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_ELEMENTWISE_H
#define PARE_KERNEL_ELEMENTWISE_H

#include <pare/operation.h>

#include "kernel/kernel.h"

/* A problem's mode: the operations of the public lists one after the other, then cast. */
enum {
  PARE__UNARY = 0,
  PARE__BINARY = PARE__UNARY + PARE_NUNARY,
  PARE__TERNARY = PARE__BINARY + PARE_NBINARY,
  PARE__CAST = PARE__TERNARY + PARE_NTERNARY,
  PARE__NELEMENTWISE
};

/* Where a problem's dim[] holds what: the output's shape, right-aligned, outermost first, and the strides of the inputs
 * 0 to 2 and of the output (tensor 3) along it. real[0] and real[1] are the operation's p and q. Buffers: inputs 0 to
 * 2, output 3. */
enum { PARE__ELEMENTWISE_OUT = 3 };
static inline int64_t *pare__elementwise_strides(pare__problem *problem, int tensor) {
  return problem->dim + PARE_MAX_RANK * (1 + tensor);
}

typedef enum pare__result_kind { PARE__SAME, PARE__TO_BOOL, PARE__OTHER } pare__result_kind;

typedef struct pare__elementwise {
  const char *name, *options; /* the -D of elementwise.cl */
  int arity;
  uint32_t dtypes;          /* of the first input; of the second for `where` */
  pare__result_kind result; /* PARE__OTHER: cast */
  double ulps;              /* allowed error in units of the last place of f32 or f64; 0: exact */
  bool of_input;            /* … of |a| where that is larger than the result */
  bool heavy;               /* costs more than moving its data */
  double (*real)(double a, double b, double c, const double *p);
  int64_t (*integer)(int64_t a, int64_t b, int64_t c, const double *p, int bits);
} pare__elementwise;

/* The default parameters p and q of a unary operation. */
const double *pare__elementwise_defaults(int mode);

/* The reference for u64 where it is not that for i64 modulo 2^64; NULL: it is. */
typedef uint64_t (*pare__elementwise_natural)(uint64_t a, uint64_t b, uint64_t c, const double *p);
pare__elementwise_natural pare__elementwise_natural_get(int mode);

/* NULL if mode is none. */
const pare__elementwise *pare__elementwise_get(int mode);

extern const pare__family pare__family_elementwise;

#endif
