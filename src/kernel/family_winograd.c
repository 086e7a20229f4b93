/* The family of 3x3 convolution by Winograd's F(4x4, 3x3). SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_winograd.h"
#include "kernel/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"

/* Tiles in a strip of the product reach past the last one: V has room for so many. */
enum { STRIP = 8 };

const double pare__winograd_g[6][3] = {{1.0 / 4, 0, 0},
                                       {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                       {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                       {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                       {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                       {0, 0, 1}};

int64_t pare__winograd_tiles(const int64_t *dim) {
  return pare__div_up(dim[WINOGRAD_Y_H], 4) * pare__div_up(dim[WINOGRAD_Y_W], 4);
}

int64_t pare__winograd_pitch(const int64_t *dim) { return (pare__winograd_tiles(dim) + STRIP) | 1; }

/* ---- launches ---- */

static bool is_empty(const int64_t *dim) {
  return dim[WINOGRAD_N] * dim[WINOGRAD_O] * dim[WINOGRAD_Y_H] * dim[WINOGRAD_Y_W] == 0;
}

static bool fits(const pare__problem *p) {
  for (int i = WINOGRAD_N; i <= WINOGRAD_PAD_W; i++)
    if (p->dim[i] > INT32_MAX / 64) return false;
  return p->dtype[WINOGRAD_BUFFER_U] == PARE_F32 && p->dtype[WINOGRAD_BUFFER_Y] != PARE_F64 &&
         (double)p->dim[WINOGRAD_Y_H] * (double)p->dim[WINOGRAD_Y_W] < (double)INT32_MAX / 64;
}

static void push_dims(pare__args *args, const int64_t *dim) {
  const int64_t dims[8] = {dim[WINOGRAD_X_H], dim[WINOGRAD_X_W],   dim[WINOGRAD_Y_H],
                           dim[WINOGRAD_Y_W], dim[WINOGRAD_PAD_H], dim[WINOGRAD_PAD_W]};
  pare__arg_long8(args, dims);
}

static void push_operand(pare__args *args, const pare__run *run, int buffer) {
  const unsigned flags = run->piece->flags;
  const bool absent = (buffer == WINOGRAD_BUFFER_BIAS && !(flags & WINOGRAD_HAS_BIAS)) ||
                      (buffer == WINOGRAD_BUFFER_RESIDUAL && !(flags & WINOGRAD_HAS_RESIDUAL));
  pare__arg_mem(args, absent ? NULL : run->operand[buffer].mem);
  pare__arg_long(args, run->operand[buffer].offset);
}

static void push_steps(pare__args *args, const int64_t *first) {
  const int64_t steps[8] = {first[0], first[1], first[2], first[3]};
  pare__arg_long8(args, steps);
}

static void push_x(pare__args *args, const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  push_operand(args, run, WINOGRAD_BUFFER_X);
  push_dims(args, dim);
  push_steps(args, dim + WINOGRAD_X_BATCH);
  pare__arg_int(args, (int32_t)dim[WINOGRAD_C]);
  pare__arg_int(args, (int32_t)dim[WINOGRAD_X_LENGTH]);
}

static void push_epilogue(pare__args *args, const pare__problem *p) {
  pare__arg_int(args, (int32_t)p->dim[WINOGRAD_O]);
  pare__arg_int(args, (int32_t)p->dim[WINOGRAD_Y_LENGTH]);
  pare__arg_int(args, (int32_t)p->dim[WINOGRAD_ACTIVATION]);
  for (int i = 0; i < 4; i++) pare__arg_float(args, (float)p->real[i]);
  pare__arg_int(args, (int32_t)pare__div_up(p->dim[WINOGRAD_Y_W], 4));
  pare__arg_int(args, (int32_t)pare__winograd_tiles(p->dim));
}

static bool plain_accepts(const pare_device_info *info, const pare__problem *whole) {
  const double steps = (double)whole->dim[WINOGRAD_C] * 90;
  return fits(whole) && (info->can.max_loop_steps == 0 || steps < info->can.max_loop_steps);
}

static pare_status plain_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  if (is_empty(dim)) return PARE_OK;
  pare__args args = {0};
  push_x(&args, run);
  push_operand(&args, run, WINOGRAD_BUFFER_U);
  push_operand(&args, run, WINOGRAD_BUFFER_BIAS);
  push_operand(&args, run, WINOGRAD_BUFFER_RESIDUAL);
  push_operand(&args, run, WINOGRAD_BUFFER_Y);
  push_steps(&args, dim + WINOGRAD_Y_BATCH);
  push_epilogue(&args, run->piece);
  pare__arg_int(&args, (int32_t)dim[WINOGRAD_LANES]);
  const size_t global[] = {(size_t)pare__winograd_tiles(dim), (size_t)dim[WINOGRAD_O], (size_t)dim[WINOGRAD_N]};
  return pare__run_kernel(run, "winograd_plain", "-DPLAIN=1 -DLANES=1", 3, global, NULL, &args);
}

static const pare__param tile_params[] = {
    {"NO", (const int[]){2, 3, 4, 0}}, {"NP", (const int[]){6, 4, 7, 0}}, {NULL, NULL}};

/* Few tiles: strips that they fill. */
static void tile_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  const bool many = !pare__few_registers(info);
  const int64_t tiles = pare__winograd_tiles(whole->dim);
  const bool four = !many && tiles <= 18 && tiles % 6 != 0 && tiles % 4 == 0;
  tuning->value[0] = many ? 4 : four ? 3 : 2;
  tuning->value[1] = four ? 4 : 6;
}

enum { MOST_STRIPS = 3 };

#define LOCAL_BYTES(chunk, no, np, lanes) (36 * ((chunk) + (np)) * (no) * (lanes)*4)

static bool tiles_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t lanes = whole->dim[WINOGRAD_LANES];
  return fits(whole) && lanes == PARE__MIN(info->can.vector_bits, 512) / 32;
}

static pare_status input_launch(const pare__run *run, const char *options) {
  const int64_t *dim = run->piece->dim, units = pare__device_info(run->device)->compute_units;
  const int64_t blocks = pare__div_up(dim[WINOGRAD_C], dim[WINOGRAD_LANES]), tiles = pare__winograd_tiles(dim);
  const int64_t least_tiles = 32; /* of a group: worth its start */
  const int64_t wanted = pare__div_up(tiles, pare__div_up(8 * units, blocks * dim[WINOGRAD_N]));
  const int64_t chunk = PARE__MIN(PARE__MAX(wanted, least_tiles), tiles);
  pare__args args = {0};
  push_x(&args, run);
  push_operand(&args, run, WINOGRAD_BUFFER_V);
  pare__arg_int(&args, (int32_t)pare__div_up(dim[WINOGRAD_Y_W], 4));
  pare__arg_int(&args, (int32_t)tiles);
  pare__arg_int(&args, (int32_t)pare__winograd_pitch(dim));
  pare__arg_int(&args, (int32_t)chunk);
  const size_t global[] = {(size_t)pare__div_up(tiles, chunk), (size_t)blocks, (size_t)dim[WINOGRAD_N]};
  const size_t one[] = {1, 1, 1};
  return pare__run_kernel(run, "winograd_input", options, 3, global, one, &args);
}

static pare_status tiles_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim, no = pare__tuned(run, "NO"), np = pare__tuned(run, "NP");
  if (is_empty(dim)) return PARE_OK;
  const int64_t lanes = dim[WINOGRAD_LANES], tiles = pare__winograd_tiles(dim);
  const int64_t sets = pare__div_up(pare__div_up(dim[WINOGRAD_O], lanes), no);
  const int64_t chunks = pare__div_up(tiles, MOST_STRIPS * np);
  const int64_t chunk = pare__round_up(pare__div_up(tiles, chunks), np);
  const int64_t wanted = 8 * pare__device_info(run->device)->compute_units;
  const int64_t span = pare__div_up(sets, pare__div_up(wanted, chunks * dim[WINOGRAD_N]));
  char options[120];
  snprintf(options, sizeof options, "-DLANES=%d -DX_IS_BLOCKED=%d -DY_IS_BLOCKED=%d", (int)lanes,
           run->whole->dim[WINOGRAD_X_LENGTH] > 1, run->whole->dim[WINOGRAD_Y_LENGTH] > 1);
  if (dim[WINOGRAD_C] > 0) PARE__TRY(input_launch(run, options));
  pare__args args = {0};
  push_operand(&args, run, WINOGRAD_BUFFER_V);
  push_operand(&args, run, WINOGRAD_BUFFER_U);
  push_operand(&args, run, WINOGRAD_BUFFER_BIAS);
  push_operand(&args, run, WINOGRAD_BUFFER_RESIDUAL);
  push_operand(&args, run, WINOGRAD_BUFFER_Y);
  push_dims(&args, dim);
  push_steps(&args, dim + WINOGRAD_Y_BATCH);
  pare__arg_int(&args, (int32_t)dim[WINOGRAD_C]);
  push_epilogue(&args, run->piece);
  pare__arg_int(&args, (int32_t)pare__winograd_pitch(dim));
  pare__arg_int(&args, (int32_t)chunk);
  pare__arg_int(&args, (int32_t)span);
  pare__arg_local(&args, (size_t)LOCAL_BYTES(chunk, no, np, lanes));
  const size_t global[] = {(size_t)pare__div_up(tiles, chunk), (size_t)pare__div_up(sets, span),
                           (size_t)dim[WINOGRAD_N]};
  const size_t one[] = {1, 1, 1};
  return pare__run_kernel(run, "winograd_output", options, 3, global, one, &args);
}

static const pare__variant variants[] = {
    {.name = "tiles",
     .file = "winograd.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .lane_local_bytes = LOCAL_BYTES((MOST_STRIPS + 1) * 7, 4, 7, 1),
     .shaped = PARE__FOR_CPU,
     .params = tile_params,
     .defaults = tile_defaults,
     .accepts = tiles_accepts,
     .launch = tiles_launch},
    {.name = "plain", .file = "winograd.cl", .shaped = PARE__FOR_ANY, .accepts = plain_accepts, .launch = plain_launch},
    {.name = NULL},
};

/* ---- reference ---- */

static int64_t reach(const int64_t *dim, const int64_t *stride, int64_t channels, int64_t length, int64_t height,
                     int64_t width) {
  const int64_t blocks = pare__div_up(channels, length);
  if (dim[WINOGRAD_N] * blocks * height * width == 0) return 0;
  return (dim[WINOGRAD_N] - 1) * stride[0] + (blocks - 1) * stride[1] + (height - 1) * stride[2] +
         (width - 1) * stride[3] + length;
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = p->dim, lanes = dim[WINOGRAD_LANES], parts = pare__div_up(dim[WINOGRAD_C], lanes);
  out->role = PARE__IN;
  switch (i) {
  case WINOGRAD_BUFFER_X:
    out->elements = reach(dim, dim + WINOGRAD_X_BATCH, dim[WINOGRAD_C], dim[WINOGRAD_X_LENGTH], dim[WINOGRAD_X_H],
                          dim[WINOGRAD_X_W]);
    break;
  case WINOGRAD_BUFFER_U: out->elements = pare__div_up(dim[WINOGRAD_O], lanes) * 36 * parts * lanes * lanes; break;
  case WINOGRAD_BUFFER_BIAS:
    if (!(p->flags & WINOGRAD_HAS_BIAS)) out->role = PARE__ABSENT;
    out->elements = dim[WINOGRAD_O];
    break;
  case WINOGRAD_BUFFER_V:
    out->role = PARE__OUT;
    out->elements = dim[WINOGRAD_N] * 36 * parts * pare__winograd_pitch(dim) * lanes;
    break;
  default:
    if (i == WINOGRAD_BUFFER_Y)
      out->role = PARE__OUT;
    else if (!(p->flags & WINOGRAD_HAS_RESIDUAL))
      out->role = PARE__ABSENT;
    out->elements = reach(dim, dim + WINOGRAD_Y_BATCH, dim[WINOGRAD_O], dim[WINOGRAD_Y_LENGTH], dim[WINOGRAD_Y_H],
                          dim[WINOGRAD_Y_W]);
  }
}

/* Weights past O and C are zero; the rest is random. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  const int64_t lanes = p->dim[WINOGRAD_LANES], parts = pare__round_up(p->dim[WINOGRAD_C], lanes);
  uint64_t state = seed * 977 + i;
  for (int64_t k = 0; k < spec.elements; k++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    double value = (double)(state >> 40) * 0x1p-23 - 1;
    if (i == WINOGRAD_BUFFER_U) {
      const int64_t o = k / (36 * parts * lanes) * lanes + k % lanes, c = k / lanes % parts;
      if (o >= p->dim[WINOGRAD_O] || c >= p->dim[WINOGRAD_C]) value = 0;
    }
    pare__store(p->dtype[i], data, (size_t)k, value);
  }
}

static const double input_matrix[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                          {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
static const double output_matrix[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};

/* m d m', and the same of the magnitudes. */
static void transform(const double (*m)[6], int rows, const double *d, const double *magnitude, double *out,
                      double *out_magnitude) {
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < rows; j++) {
      double sum = 0, size = 0;
      for (int k = 0; k < 36; k++) {
        const double factor = m[i][k / 6] * m[j][k % 6];
        sum += factor * d[k];
        size += fabs(factor) * magnitude[k];
      }
      out[i * rows + j] = sum;
      out_magnitude[i * rows + j] = size;
    }
}

static void input_tile(const pare__problem *p, const void *x, int64_t n, int64_t c, int64_t y0, int64_t x0, double *d,
                       double *magnitude) {
  const int64_t *dim = p->dim, length = dim[WINOGRAD_X_LENGTH];
  for (int e = 0; e < 36; e++) {
    const int64_t iy = y0 + e / 6 - dim[WINOGRAD_PAD_H], ix = x0 + e % 6 - dim[WINOGRAD_PAD_W];
    const bool inside = iy >= 0 && iy < dim[WINOGRAD_X_H] && ix >= 0 && ix < dim[WINOGRAD_X_W];
    const int64_t at = n * dim[WINOGRAD_X_BATCH] + c / length * dim[WINOGRAD_X_BLOCK] + c % length +
                       iy * dim[WINOGRAD_X_ROW] + ix * dim[WINOGRAD_X_PIXEL];
    d[e] = inside ? pare__load(p->dtype[WINOGRAD_BUFFER_X], x, (size_t)at) : 0;
    magnitude[e] = fabs(d[e]);
  }
}

static void finish_pixel(const pare__problem *p, void *const *data, int64_t n, int64_t o, int64_t py, int64_t px,
                         double sum, double magnitude, double *expected, double *tolerance) {
  const int64_t *dim = p->dim, length = dim[WINOGRAD_Y_LENGTH];
  const int64_t to = n * dim[WINOGRAD_Y_BATCH] + o / length * dim[WINOGRAD_Y_BLOCK] + o % length +
                     py * dim[WINOGRAD_Y_ROW] + px * dim[WINOGRAD_Y_PIXEL];
  const pare_dtype dtype = p->dtype[WINOGRAD_BUFFER_Y];
  const double epsilon = pare__dtype_epsilon(PARE_F32);
  if (o >= dim[WINOGRAD_O]) { /* fills the last block */
    tolerance[to] = -1;
    return;
  }
  if (p->flags & WINOGRAD_HAS_BIAS)
    sum += pare__load(p->dtype[WINOGRAD_BUFFER_BIAS], data[WINOGRAD_BUFFER_BIAS], (size_t)o);
  if (p->flags & WINOGRAD_HAS_RESIDUAL)
    sum += pare__load(p->dtype[WINOGRAD_BUFFER_RESIDUAL], data[WINOGRAD_BUFFER_RESIDUAL], (size_t)to);
  const double active = pare__reference_activation(dim[WINOGRAD_ACTIVATION], sum, p->real[0], p->real[1]);
  expected[to] = p->real[2] * active + p->real[3];
  const double error = fmax(1, fabs(p->real[2])) * (double)(dim[WINOGRAD_C] + 30) * epsilon * (magnitude + 2);
  tolerance[to] = 1.2 * error + pare__dtype_epsilon(dtype) * fabs(expected[to]) + (dtype == PARE_F16 ? 0x1p-25 : 0);
}

/* The pixels of channel o that tile t makes; v holds the tile's transformed inputs, 36 a channel and their magnitudes.
 */
static void reference_tile(const pare__problem *p, void *const *data, int64_t n, int64_t o, int64_t t, const double *v,
                           double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim, lanes = dim[WINOGRAD_LANES], parts = pare__round_up(dim[WINOGRAD_C], lanes);
  const int64_t across = pare__div_up(dim[WINOGRAD_Y_W], 4);
  double sum[36] = {0}, size[36] = {0}, out[16], out_size[16];
  for (int64_t c = 0; o < dim[WINOGRAD_O] && c < dim[WINOGRAD_C]; c++)
    for (int e = 0; e < 36; e++) {
      const int64_t at = ((o / lanes * 36 + e) * parts + c) * lanes + o % lanes;
      const double u = pare__load(PARE_F32, data[WINOGRAD_BUFFER_U], (size_t)at);
      sum[e] += u * v[72 * c + e];
      size[e] += fabs(u) * v[72 * c + 36 + e];
    }
  transform(output_matrix, 4, sum, size, out, out_size);
  for (int i = 0; i < 16; i++) {
    const int64_t py = t / across * 4 + i / 4, px = t % across * 4 + i % 4;
    if (py < dim[WINOGRAD_Y_H] && px < dim[WINOGRAD_Y_W])
      finish_pixel(p, data, n, o, py, px, out[i], out_size[i], expected[WINOGRAD_BUFFER_Y],
                   tolerance[WINOGRAD_BUFFER_Y]);
  }
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim, across = pare__div_up(dim[WINOGRAD_Y_W], 4), tiles = pare__winograd_tiles(dim);
  const int64_t channels = pare__round_up(dim[WINOGRAD_O], dim[WINOGRAD_Y_LENGTH]);
  pare__buffer_spec scratch;
  buffer(p, WINOGRAD_BUFFER_V, &scratch);
  for (int64_t k = 0; k < scratch.elements; k++) tolerance[WINOGRAD_BUFFER_V][k] = -1;
  double *v = calloc((size_t)(2 * 36 * dim[WINOGRAD_C] + 1), sizeof *v); /* of one tile, with their magnitudes */
  for (int64_t k = 0; v && !is_empty(dim) && k < dim[WINOGRAD_N] * tiles; k++) {
    const int64_t t = k % tiles, n = k / tiles;
    for (int64_t c = 0; c < dim[WINOGRAD_C]; c++) {
      double d[36], magnitude[36];
      input_tile(p, data[WINOGRAD_BUFFER_X], n, c, t / across * 4, t % across * 4, d, magnitude);
      transform(input_matrix, 6, d, magnitude, v + 72 * c, v + 72 * c + 36);
    }
    for (int64_t o = 0; o < channels; o++) reference_tile(p, data, n, o, t, v, expected, tolerance);
  }
  const bool ok = v != NULL;
  free(v);
  return ok;
}

/* ---- figures and problems ---- */

static void work(const pare__problem *p, double *flops, double *bytes) {
  const int64_t *dim = p->dim;
  *flops = 18.0 * (double)(dim[WINOGRAD_N] * dim[WINOGRAD_O] * dim[WINOGRAD_C]) *
           (double)(dim[WINOGRAD_Y_H] * dim[WINOGRAD_Y_W]);
  *bytes = 0;
  for (unsigned i = 0; i < WINOGRAD_NBUFFERS; i++) {
    pare__buffer_spec spec;
    buffer(p, i, &spec);
    if (spec.role != PARE__ABSENT && i != WINOGRAD_BUFFER_V)
      *bytes += (double)spec.elements * (double)pare_dtype_bytes(p->dtype[i]);
  }
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  static const char *const layouts[] = {"", " blocked in", " blocked out", " blocked"};
  const int64_t *dim = p->dim;
  snprintf(text, capacity, "%lldx[%lld->%lld] %lldx%lld %s%s", (long long)dim[WINOGRAD_N], (long long)dim[WINOGRAD_C],
           (long long)dim[WINOGRAD_O], (long long)dim[WINOGRAD_Y_H], (long long)dim[WINOGRAD_Y_W],
           pare_dtype_name(p->dtype[WINOGRAD_BUFFER_Y]), layouts[p->mode & 3]);
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", pare_dtype_name(p->dtype[WINOGRAD_BUFFER_Y]),
           pare__winograd_tiles(p->dim) <= 18 ? "few tiles" : "tiles");
}

typedef struct instance {
  int64_t n, c, o, height, width, pad;
  int mode;
  unsigned flags;
  int64_t activation;
  pare_dtype dtype;
} instance;

static const instance selftests[] = {{2, 11, 19, 9, 30, 1, 0, 3, 1, PARE_F32},
                                     {1, 16, 40, 16, 16, 1, 1, 1, 0, PARE_F32},
                                     {1, 9, 33, 7, 5, 0, 2, 3, 7, PARE_F32},
                                     {2, 19, 17, 13, 22, 1, 3, 3, 5, PARE_F32}};
static const instance tests[] = {{1, 1, 1, 1, 1, 1, 0, 0, 0, PARE_F32},     {3, 37, 41, 17, 19, 1, 3, 3, 1, PARE_F32},
                                 {1, 64, 64, 14, 14, 1, 3, 1, 1, PARE_F32}, {0, 3, 4, 5, 5, 1, 0, 0, 0, PARE_F32},
                                 {1, 8, 8, 3, 40, 2, 0, 1, 1, PARE_F32},    {1, 24, 17, 6, 9, 1, 3, 3, 1, PARE_BF16}};
static const instance benches[] = {{1, 64, 64, 56, 56, 1, 3, 1, 1, PARE_F32},
                                   {1, 64, 64, 56, 56, 1, 0, 1, 1, PARE_F32},
                                   {1, 128, 128, 28, 28, 1, 3, 1, 1, PARE_F32},
                                   {1, 256, 256, 14, 14, 1, 3, 1, 1, PARE_F32}};

static void make_problem(const pare_device_info *info, const instance *from, pare__problem *out) {
  int64_t *dim = out->dim;
  const int64_t lanes = PARE__MAX(2, PARE__MIN(info->can.vector_bits, 512) / 32);
  dim[WINOGRAD_N] = from->n;
  dim[WINOGRAD_C] = from->c;
  dim[WINOGRAD_O] = from->o;
  dim[WINOGRAD_X_H] = from->height;
  dim[WINOGRAD_X_W] = from->width;
  dim[WINOGRAD_Y_H] = from->height + 2 * from->pad - 2;
  dim[WINOGRAD_Y_W] = from->width + 2 * from->pad - 2;
  dim[WINOGRAD_PAD_H] = dim[WINOGRAD_PAD_W] = from->pad;
  dim[WINOGRAD_X_LENGTH] = dim[WINOGRAD_X_PIXEL] = from->mode & WINOGRAD_X_BLOCKED ? lanes : 1;
  dim[WINOGRAD_Y_LENGTH] = dim[WINOGRAD_Y_PIXEL] = from->mode & WINOGRAD_Y_BLOCKED ? lanes : 1;
  dim[WINOGRAD_X_ROW] = dim[WINOGRAD_X_PIXEL] * dim[WINOGRAD_X_W];
  dim[WINOGRAD_X_BLOCK] = dim[WINOGRAD_X_ROW] * dim[WINOGRAD_X_H];
  dim[WINOGRAD_X_BATCH] = dim[WINOGRAD_X_BLOCK] * pare__div_up(from->c, dim[WINOGRAD_X_LENGTH]);
  dim[WINOGRAD_Y_ROW] = dim[WINOGRAD_Y_PIXEL] * dim[WINOGRAD_Y_W];
  dim[WINOGRAD_Y_BLOCK] = dim[WINOGRAD_Y_ROW] * dim[WINOGRAD_Y_H];
  dim[WINOGRAD_Y_BATCH] = dim[WINOGRAD_Y_BLOCK] * pare__div_up(from->o, dim[WINOGRAD_Y_LENGTH]);
  dim[WINOGRAD_LANES] = lanes;
  dim[WINOGRAD_ACTIVATION] = from->activation;
  out->mode = from->mode;
  out->flags = from->flags;
  out->real[0] = -0.5;
  out->real[1] = 0.75;
  out->real[2] = from->activation == 5 ? -1.5 : 1;
  out->real[3] = from->activation == 5 ? 0.25 : 0;
  for (int i = 0; i < WINOGRAD_NBUFFERS; i++) out->dtype[i] = from->dtype;
  out->dtype[WINOGRAD_BUFFER_U] = out->dtype[WINOGRAD_BUFFER_V] = PARE_F32;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  const struct {
    const instance *instance;
    unsigned count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftests, PARE__COUNT(selftests)},
              [PARE__CASES_TEST] = {tests, PARE__COUNT(tests)},
              [PARE__CASES_BENCH] = {benches, PARE__COUNT(benches)}};
  if (index >= sets[set].count) return false;
  make_problem(info, &sets[set].instance[index], out);
  return true;
}

const pare__family pare__family_winograd = {
    .name = "winograd",
    .what = "3x3 convolution by Winograd's F(4x4, 3x3)",
    .nbuffers = WINOGRAD_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
