/* The family of packed codes. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_grid.h"
#include "kernel/reference.h"

static bool in_words(const pare__problem *p) { return p->dtype[CODES_BUFFER_PACKED] == PARE_I32; }
/* Codes of a unit, and its bytes or words. */
static int64_t unit_codes(const pare__problem *p) { return in_words(p) ? 32 / p->dim[CODES_BITS] : 8; }
static int64_t unit_pieces(const pare__problem *p) { return in_words(p) ? 1 : p->dim[CODES_BITS]; }

static pare_status launch(const pare__run *run) {
  const pare__problem *p = run->piece;
  const bool back = run->whole->mode == CODES_BACK, gpu = run->variant->shaped == PARE__FOR_GPU;
  const int64_t row_units = back ? pare__div_up(p->dim[CODES_LENGTH], unit_codes(p))
                                 : pare__div_up(p->dim[CODES_PACKED_LENGTH], unit_pieces(p));
  const int64_t units = p->dim[CODES_ROWS] * row_units, group = pare__tuned(run, "GROUP"), count = gpu ? 1 : 1024;
  if (units == 0) return PARE_OK;
  char options[60];
  snprintf(options, sizeof options, "-DBITS=%d -DWORDS=%d", (int)p->dim[CODES_BITS], in_words(p));
  pare__args args = {0};
  pare__arg_long(&args, units);
  pare__arg_int(&args, (int32_t)row_units);
  pare__arg_int(&args, (int32_t)p->dim[CODES_LENGTH]);
  pare__arg_int(&args, (int32_t)p->dim[CODES_PACKED_LENGTH]);
  for (int i = 0; i < CODES_NBUFFERS; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  pare__arg_int(&args, (int32_t)count);
  const size_t local = (size_t)group, global = (size_t)pare__round_up(pare__div_up(units, count), group);
  return pare__run_kernel(run, back ? "codes_unpack" : "codes_pack", options, 1, &global, &local, &args);
}

static const pare__param item_params[] = {{"GROUP", (const int[]){1, 0}}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", (const int[]){64, 128, 256, 0}}, {NULL, NULL}};
static const pare__variant variants[] = {
    {.name = "item", .file = "codes_pack.cl", .shaped = PARE__FOR_CPU, .params = item_params},
    {.name = "group", .file = "codes_pack.cl", .shaped = PARE__FOR_GPU, .params = group_params},
    {.name = NULL},
};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  static const int64_t shapes[][2] = {{3, 37}, {0, 5}, {5, 64}};
  static const pare_dtype packed[] = {PARE_U8, PARE_I32}, codes[] = {PARE_U8, PARE_I8};
  const unsigned nshapes = set == PARE__CASES_TEST ? PARE__COUNT(shapes) : 1;
  const unsigned mode = index % 2, words = index / 2 % 2, is_signed = index / 4 % 2, shape = index / 8 % nshapes;
  const unsigned bits = 2 + index / 8 / nshapes;
  if (bits > 8 || (set == PARE__CASES_SELFTEST && bits > 4)) return false;
  if (set == PARE__CASES_BENCH && index > 1) return false;
  out->mode = (int)mode;
  out->dim[CODES_ROWS] = set == PARE__CASES_BENCH ? 4096 : shapes[shape][0];
  out->dim[CODES_LENGTH] = set == PARE__CASES_BENCH ? 4096 : shapes[shape][1];
  out->dim[CODES_BITS] = set == PARE__CASES_BENCH ? 4 : bits;
  out->dtype[CODES_BUFFER_CODES] = codes[is_signed];
  out->dtype[CODES_BUFFER_PACKED] = packed[words];
  out->dim[CODES_PACKED_LENGTH] = words ? pare__div_up(out->dim[CODES_LENGTH], 32 / out->dim[CODES_BITS]) + shape
                                        : pare__div_up(out->dim[CODES_LENGTH] * out->dim[CODES_BITS], 8) + 2 * shape;
  return true;
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const bool written = (i == CODES_BUFFER_PACKED) == (p->mode == CODES_FORTH);
  out->role = written ? PARE__OUT : PARE__IN;
  out->elements = p->dim[CODES_ROWS] * p->dim[i == CODES_BUFFER_CODES ? CODES_LENGTH : CODES_PACKED_LENGTH];
}

static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed;
  const int64_t codes = INT64_C(1) << p->dim[CODES_BITS], least = p->dtype[i] == PARE_I8 ? -codes / 2 : 0;
  for (int64_t e = 0; e < spec.elements; e++) {
    const int64_t bits = (int64_t)(pare__reference_random(&state) >> 1);
    pare__store_integer(p->dtype[i], data, (size_t)e, i == CODES_BUFFER_CODES ? least + bits % codes : bits);
  }
}

/* Where code i of a row begins: its byte or word, and its bit there. */
static int64_t bit_of(const pare__problem *p, int64_t i) {
  return in_words(p) ? i / unit_codes(p) * 32 + i % unit_codes(p) * p->dim[CODES_BITS] : i * p->dim[CODES_BITS];
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  (void)tolerance; /* all exact */
  const int64_t length = p->dim[CODES_LENGTH], packed_length = p->dim[CODES_PACKED_LENGTH], bits = p->dim[CODES_BITS];
  const int piece = in_words(p) ? 32 : 8;
  const int64_t half = p->dtype[CODES_BUFFER_CODES] == PARE_I8 ? INT64_C(1) << (bits - 1) : 0;
  for (int64_t row = 0; row < p->dim[CODES_ROWS]; row++) {
    for (int64_t i = 0; i < length; i++) {
      int64_t code = 0;
      if (p->mode == CODES_FORTH)
        code = pare__load_integer(p->dtype[CODES_BUFFER_CODES], data[CODES_BUFFER_CODES], (size_t)(row * length + i)) +
               half;
      for (int64_t b = 0; b < bits; b++) {
        const int64_t bit = bit_of(p, i) + b, at = row * packed_length + bit / piece;
        if (p->mode == CODES_FORTH)
          expected[CODES_BUFFER_PACKED][at] += (double)((code >> b & 1) << bit % piece);
        else
          code |=
              (pare__load_integer(p->dtype[CODES_BUFFER_PACKED], data[CODES_BUFFER_PACKED], (size_t)at) >> bit % piece &
               1)
              << b;
      }
      if (p->mode == CODES_BACK) expected[CODES_BUFFER_CODES][row * length + i] = (double)(code - half);
    }
    for (int64_t i = 0; p->mode == CODES_FORTH && in_words(p) && i < packed_length; i++) {
      double *word = &expected[CODES_BUFFER_PACKED][row * packed_length + i];
      if (*word >= 0x1p31) *word -= 0x1p32;
    }
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)(p->dim[CODES_ROWS] * p->dim[CODES_LENGTH]) * (1 + (double)p->dim[CODES_BITS] / 8);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %lld bits %lldx%lld %s in %s", p->mode == CODES_BACK ? "unpack" : "pack",
           (long long)p->dim[CODES_BITS], (long long)p->dim[CODES_ROWS], (long long)p->dim[CODES_LENGTH],
           pare_dtype_name(p->dtype[0]), pare_dtype_name(p->dtype[1]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", p->mode == CODES_BACK ? "unpack" : "pack");
}

const pare__family pare__family_codes_pack = {
    .name = "codes_pack",
    .what = "codes of 2 to 8 bits to packed form and back",
    .nbuffers = CODES_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
    .launch = launch,
};
