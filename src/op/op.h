/* Floor 5, shared: what every operation checks and does around its kernel. SPDX-License-Identifier: Apache-2.0
 *
 * An operation looks like this:
 *
 *   pare_status pare_negate_rows(pare_tensor *a, pare_tensor *out) {
 *     PARE__TRY(pare__check_call("pare_negate_rows", out, PARE__NAMED(a)));
 *     PARE__TRY(pare__check_dtype("pare_negate_rows", "a", a, PARE__FLOATS));
 *     PARE__TRY(pare__check_shape("pare_negate_rows", "out", out, a->shape.rank, a->shape.dim));
 *     pare_tensor *input = NULL, *result = NULL;
 *     pare_status status = pare__contiguous(a, &input);
 *     if (status == PARE_OK) status = pare__result_begin(out, &result);
 *     if (status == PARE_OK) status = submit(input, result);
 *     status = pare__result_end(status, out, result);
 *     pare_tensor_close(input);
 *     return status;
 *   } */
#ifndef PARE_OP_OP_H
#define PARE_OP_OP_H

#include "sched/sched.h"

/* ---- checks; each message names the function, the argument, what was found and what was expected ---- */

typedef struct pare__named {
  const char *name;
  pare_tensor *tensor;
  bool optional; /* NULL is allowed */
} pare__named;
#define PARE__NAMED(tensor) ((pare__named){#tensor, tensor, false})
#define PARE__OPTIONAL(tensor) ((pare__named){#tensor, tensor, true})

/* The inputs and `out` are not NULL, belong to one context that may be used, and out may be written. */
#define pare__check_call(function, out, ...)                             \
  pare__check_tensors(function, out, (const pare__named[]){__VA_ARGS__}, \
                      sizeof((const pare__named[]){__VA_ARGS__}) / sizeof(pare__named))
pare_status pare__check_tensors(const char *function, pare_tensor *out, const pare__named *inputs, size_t ninputs);
/* One more output, checked against the context of the first. */
pare_status pare__check_output(const char *function, const char *name, pare_tensor *out, const pare_tensor *other);

/* Sets of dtypes: bit (1u << dtype). */
#define PARE__DTYPE(dtype) (1u << (dtype))
#define PARE__SMALL_FLOATS (PARE__DTYPE(PARE_F32) | PARE__DTYPE(PARE_F16) | PARE__DTYPE(PARE_BF16))
#define PARE__FLOATS (PARE__SMALL_FLOATS | PARE__DTYPE(PARE_F64))
#define PARE__UNSIGNED (PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_U16) | PARE__DTYPE(PARE_U32) | PARE__DTYPE(PARE_U64))
#define PARE__INTEGERS \
  (PARE__DTYPE(PARE_I8) | PARE__DTYPE(PARE_I16) | PARE__DTYPE(PARE_I32) | PARE__DTYPE(PARE_I64) | PARE__UNSIGNED)
#define PARE__NUMBERS (PARE__FLOATS | PARE__INTEGERS)
#define PARE__ANY_DTYPE (PARE__NUMBERS | PARE__DTYPE(PARE_BOOL))
#define PARE__TINY_FLOATS \
  (PARE__DTYPE(PARE_NDTYPES) - PARE__DTYPE(PARE_F8E4M3FN)) /* stored, moved and cast, not computed with */

/* PARE_ERR_TYPE unless the tensor's dtype is in `allowed`; the message lists those. PARE_ERR_UNSUPPORTED for f64 where
 * the device has none. */
pare_status pare__check_dtype(const char *function, const char *name, const pare_tensor *tensor, uint32_t allowed);
pare_status pare__check_same_dtype(const char *function, const char *a_name, const pare_tensor *a, const char *b_name,
                                   const pare_tensor *b);
/* PARE_ERR_SHAPE naming both shapes. */
pare_status pare__check_shape(const char *function, const char *name, const pare_tensor *tensor, int rank,
                              const int64_t *dim);
pare_status pare__check_rank(const char *function, const char *name, const pare_tensor *tensor, int least, int most);

/* ---- layout ---- */

/* *out = a handle to close: the tensor itself if its elements are contiguous and row-major, else a compact copy in
 * scratch memory. */
pare_status pare__contiguous(pare_tensor *tensor, pare_tensor **out);
/* Copies elements between tensors of the same shape and dtype, any strides. Overlapping views of one storage are right
 * only if equal. */
pare_status pare__copy(pare_tensor *from, pare_tensor *to);

/* Few weights [G][O][C][T], of any strides, into [G][blocks of O][blocks of C][T][c_lanes][o_lanes], what fills the
 * last blocks being zeros, on the host: building kernels for it would take longer than all the rest. Blocking. *done
 * false: they are many, or work is only being planned. */
pare_status pare__pack_on_host(pare_tensor *w, int64_t o_lanes, int64_t c_lanes, pare_tensor *packed, bool *done);

/* For kernels that write contiguous data: *result is out itself (another handle) or scratch of its shape; end copies
 * scratch to out if `status` is PARE_OK, closes result (NULL allowed), and returns the first failure. */
pare_status pare__result_begin(pare_tensor *out, pare_tensor **result);
pare_status pare__result_end(pare_status status, pare_tensor *out, pare_tensor *result);

/* Do the elements of two views overlap in memory in another order than element by element? Then an operation goes
 * through scratch. */
bool pare__overlap_shuffled(const pare_tensor *a, const pare_tensor *b);

#endif
