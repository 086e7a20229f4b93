/* What the families gather and scatter share: problems, inputs, arguments. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_index.h"

pare_dtype pare__bits_dtype(pare_dtype dtype) {
  switch (pare_dtype_bytes(dtype)) {
  case 1: return PARE_U8;
  case 2: return PARE_I16;
  case 4: return PARE_I32;
  default: return PARE_I64;
  }
}

void pare__index_problem(const pare__index_shape *s, pare_dtype data, pare_dtype index, pare__problem *out) {
  out->dtype[0] = out->dtype[2] = data;
  out->dtype[1] = index;
  out->dtype[3] = PARE_I32;
  const int64_t each = s->each ? 1 : 0, tuples = s->each ? s->inner : s->tuple;
  const int64_t dims[] = {s->outer,
                          s->rows,
                          s->inner,
                          s->tuple,
                          s->length * s->inner,
                          s->inner,
                          1,
                          s->rows * tuples,
                          tuples,
                          each,
                          s->rows * s->inner,
                          s->inner,
                          1,
                          0,
                          s->length};
  memcpy(out->dim, dims, sizeof dims);
  int64_t *length = out->dim + PARE__INDEX_AXIS_LENGTH, *step = out->dim + PARE__INDEX_AXIS_STEP, rest = s->length;
  for (int k = 0; k < s->tuple; k++) {
    bool last = k == s->tuple - 1;
    length[k] = last ? rest : k + 2;
    rest /= length[k] ? length[k] : 1;
    step[k] = rest;
  }
  if (s->tuple > 0) step[s->tuple - 1] = 1;
}

void pare__index_buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = p->dim;
  bool each = dim[PARE__INDEX_INDEX + 2] != 0;
  int64_t tuples = dim[PARE__INDEX_OUTER] * dim[PARE__INDEX_ROWS];
  const int64_t elements[] = {dim[PARE__INDEX_OUTER] * dim[PARE__INDEX_LENGTH] * dim[PARE__INDEX_INNER],
                              tuples * (each ? dim[PARE__INDEX_INNER] : dim[PARE__INDEX_TUPLE]),
                              tuples * dim[PARE__INDEX_INNER], 1};
  const pare__role role[] = {PARE__IN, PARE__IN, PARE__OUT, PARE__INOUT};
  out->elements = elements[i];
  out->role = role[i];
}

static uint64_t hash(uint64_t seed, uint64_t i) {
  uint64_t z = (seed + i + 1) * 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 32)) * 0xBF58476D1CE4E5B9U;
  return z ^ (z >> 29);
}

/* One in 50 is out of range where the axis is long enough to have unlucky neighbours. */
static int64_t random_index(uint64_t bits, int64_t length) {
  if (length == 0) return (int64_t)(bits % 3);
  if (length > 8 && bits % 50 == 0) return bits & 64 ? length : -length - 1;
  return (int64_t)((bits >> 8) % (uint64_t)(2 * length)) - length;
}

void pare__index_generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  pare__index_buffer(p, i, &spec);
  int64_t tuple = p->dim[PARE__INDEX_TUPLE];
  for (int64_t e = 0; e < spec.elements; e++) {
    uint64_t bits = hash(seed * 8 + i, (uint64_t)e);
    if (i == 3)
      ((int32_t *)data)[e] = 0;
    else if (i == 1)
      pare__store(p->dtype[1], data, (size_t)e,
                  (double)random_index(bits, p->dim[PARE__INDEX_AXIS_LENGTH + e % tuple]));
    else if (pare__dtype_is_float(p->dtype[i]))
      pare__store(p->dtype[i], data, (size_t)e, (double)(bits >> 11) * 0x1p-52 - 1.0);
    else
      pare__store(p->dtype[i], data, (size_t)e,
                  p->dtype[i] == PARE_BOOL ? (double)(bits >> 20 & 1) : (double)(bits >> 20 & 255) - 100);
  }
}

int64_t pare__index_row(const pare__problem *p, const void *index, int64_t o, int64_t i, int64_t s) {
  const int64_t *stride = p->dim + PARE__INDEX_INDEX;
  int64_t row = 0;
  for (int64_t k = 0; k < p->dim[PARE__INDEX_TUPLE]; k++) {
    int64_t length = p->dim[PARE__INDEX_AXIS_LENGTH + k];
    int64_t at = (int64_t)pare__load(p->dtype[1], index, (size_t)(o * stride[0] + i * stride[1] + s * stride[2] + k));
    if (at < 0) at += length;
    if (at < 0 || at >= length) return -1;
    row += at * p->dim[PARE__INDEX_AXIS_STEP + k];
  }
  return row;
}

void pare__index_describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%lldx%lldx%lld, %lld %s of %lld %s, %s", (long long)p->dim[PARE__INDEX_OUTER],
           (long long)p->dim[PARE__INDEX_LENGTH], (long long)p->dim[PARE__INDEX_INNER],
           (long long)p->dim[PARE__INDEX_ROWS], p->dim[PARE__INDEX_INDEX + 2] ? "rows of indices" : "tuples",
           (long long)p->dim[PARE__INDEX_TUPLE], pare_dtype_name(p->dtype[1]), pare_dtype_name(p->dtype[0]));
}

void pare__index_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", pare_dtype_name(p->dtype[0]),
           p->dim[PARE__INDEX_INDEX + 2]    ? "elements"
           : p->dim[PARE__INDEX_INNER] < 16 ? "short"
                                            : "slices");
}

void pare__index_arguments(const pare__run *run, pare__args *args) {
  const int64_t *dim = run->piece->dim;
  for (unsigned i = 0; i < 4; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
  }
  for (int i = PARE__INDEX_OUTER; i <= PARE__INDEX_INNER; i++) pare__arg_long(args, dim[i]);
  pare__arg_int(args, (int32_t)dim[PARE__INDEX_TUPLE]);
  pare__arg_long8(args, dim + PARE__INDEX_AXIS_LENGTH);
  pare__arg_long8(args, dim + PARE__INDEX_AXIS_STEP);
  for (int i = PARE__INDEX_DATA; i < PARE__INDEX_POSITION; i++) pare__arg_long(args, dim[i]);
}
