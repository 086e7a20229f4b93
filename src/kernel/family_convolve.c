/* Convolution: variants and launches. The problem is in family_convolve.h. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_convolve.h"

#include <stdio.h>
#include <string.h>

int pare__convolve_mode(const pare__problem *problem) {
  const int64_t *dim = problem->dim;
  return (dim[CONV_W_LANES] > 0 ? CONV_W_BLOCKED : 0) | (dim[CONV_X_LENGTH] > 1 ? CONV_X_BLOCKED : 0) |
         (dim[CONV_Y_LENGTH] > 1 ? CONV_Y_BLOCKED : 0) |
         (dim[CONV_C] == 1 && dim[CONV_G] > 1 && dim[CONV_W_LANES] == 0 ? CONV_DEPTHWISE : 0);
}

int64_t pare__convolve_lanes(const pare_device_info *info, pare_dtype dtype) {
  const int64_t bits = info->can.vector_bits, bytes = dtype == PARE_F64 ? 8 : 4;
  return PARE__MAX(2, PARE__MIN(bits, 512) / 8 / bytes);
}

bool pare__convolve_packs(const pare_device_info *info) {
  return info->type == PARE_DEVICE_CPU && info->can.max_loop_steps == 0;
}

/* ---- what all launches share ---- */

static bool is_f64(const pare__problem *p) { return p->dtype[CONV_BUFFER_Y] == PARE_F64; }

static void push_arguments(pare__args *args, const pare__run *run) {
  const pare__problem *p = run->piece;
  const int64_t *dim = p->dim;
  int64_t offsets[8] = {0};
  for (int i = 0; i < CONV_NBUFFERS; i++) {
    const bool absent = (i == CONV_BUFFER_BIAS && !(p->flags & CONV_HAS_BIAS)) ||
                        (i == CONV_BUFFER_RESIDUAL && !(p->flags & CONV_HAS_RESIDUAL));
    pare__arg_mem(args, absent ? NULL : run->operand[i].mem);
    offsets[i] = run->operand[i].offset;
  }
  pare__arg_long8(args, offsets);
  for (int i = CONV_N; i <= CONV_O; i++) pare__arg_int(args, (int32_t)dim[i]);
  for (int i = CONV_X; i <= CONV_PAD; i += 6) {
    int64_t triples[8] = {0};
    memcpy(triples, dim + i, 6 * sizeof *triples);
    pare__arg_long8(args, triples);
  }
  int64_t steps[2][8] = {{0}};
  for (int i = 0; i < 6; i++) {
    steps[0][i] = dim[CONV_X_BATCH + i];
    steps[1][i] = dim[CONV_Y_BATCH + i];
  }
  pare__arg_long8(args, steps[0]);
  pare__arg_long8(args, steps[1]);
  for (int i = CONV_X_LENGTH; i <= CONV_ACTIVATION; i++) pare__arg_int(args, (int32_t)dim[i]);
  for (int i = CONV_LOW; i <= CONV_SHIFT; i++)
    if (is_f64(p))
      pare__arg_double(args, p->real[i]);
    else
      pare__arg_float(args, (float)p->real[i]);
}

static void options_of(const pare__problem *whole, int64_t lanes, char *text, size_t capacity) {
  const pare_dtype dtype = whole->dtype[CONV_BUFFER_Y];
  snprintf(text, capacity, "-DSUM_IS_INT=%d -DSUM_IS_DOUBLE=%d -DLANES=%d -DY_IS_BLOCKED=%d", dtype == PARE_I32,
           dtype == PARE_F64, (int)lanes, whole->dim[CONV_Y_LENGTH] > 1);
}

static int64_t product3(const int64_t *dim) { return dim[0] * dim[1] * dim[2]; }

static bool is_empty(const pare__problem *p) {
  return p->dim[CONV_N] * p->dim[CONV_G] * p->dim[CONV_O] * product3(p->dim + CONV_Y) == 0;
}

/* Sizes that fit an int, where kernels compute in them. */
static bool fits(const pare__problem *p) {
  const int64_t *dim = p->dim;
  for (int i = CONV_N; i < CONV_X_BATCH; i++)
    if (dim[i] > INT32_MAX / 4 || dim[i] < -INT32_MAX / 4) return false;
  for (int d = 0; d < 3; d++) {
    const int64_t reach = dim[CONV_Y + d] * dim[CONV_STRIDE + d] + dim[CONV_K + d] * dim[CONV_DILATION + d];
    if (reach > INT32_MAX / 4) return false;
  }
  return dim[CONV_G] * dim[CONV_C] <= INT32_MAX && dim[CONV_G] * dim[CONV_O] <= INT32_MAX &&
         (double)dim[CONV_Y] * (double)dim[CONV_Y + 1] * (double)dim[CONV_Y + 2] < (double)INT32_MAX &&
         (double)dim[CONV_C] * (double)product3(dim + CONV_K) < (double)INT32_MAX;
}

/* ---- plain ---- */

static bool plain_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t steps = whole->dim[CONV_C] * (product3(whole->dim + CONV_K) + 1);
  return fits(whole) && (info->can.max_loop_steps == 0 || steps < info->can.max_loop_steps);
}

static pare_status plain_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  if (is_empty(run->piece)) return PARE_OK;
  char options[160];
  options_of(run->whole, 1, options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  const size_t global[] = {(size_t)product3(dim + CONV_Y), (size_t)(dim[CONV_G] * dim[CONV_O]), (size_t)dim[CONV_N]};
  return pare__run_kernel(run, "convolve_plain", options, 3, global, NULL, &args);
}

/* ---- tile ---- */

static const pare__param tile_params[] = {{"TILE_M", (const int[]){64, 32, 0}},
                                          {"TILE_N", (const int[]){64, 32, 128, 0}},
                                          {"TILE_K", (const int[]){16, 8, 0}},
                                          {NULL, NULL}};

enum { TILE_LOCAL_BYTES = 16384 }; /* f64: twice as many */

static bool tile_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t depth = whole->dim[CONV_C] * product3(whole->dim + CONV_K);
  const int64_t few = 8;         /* channels or steps of a group: most of a tile would be empty */
  const int64_t steps_per_k = 4; /* of all loops of an item, if the driver unrolls none that is not marked */
  const uint32_t most = info->can.max_loop_steps;
  return fits(whole) && whole->dim[CONV_O] >= few && depth >= few &&
         info->local_bytes >= (is_f64(whole) ? 2 : 1) * TILE_LOCAL_BYTES && (most == 0 || depth < most / steps_per_k);
}

static pare_status tile_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  if (is_empty(run->piece)) return PARE_OK;
  const int tile_m = pare__tuned(run, "TILE_M"), tile_n = pare__tuned(run, "TILE_N"), work = 4;
  char options[160];
  options_of(run->whole, 1, options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  const size_t local[] = {(size_t)(tile_n / work), (size_t)(tile_m / work), 1};
  const size_t global[] = {(size_t)pare__div_up(product3(dim + CONV_Y), tile_n) * local[0],
                           (size_t)pare__div_up(dim[CONV_O], tile_m) * local[1], (size_t)(dim[CONV_N] * dim[CONV_G])};
  return pare__run_kernel(run, "convolve_tile", options, 3, global, local, &args);
}

/* ---- direct ---- */

static const pare__param direct_params[] = {
    {"NO", (const int[]){2, 3, 4, 0}}, {"NP", (const int[]){6, 4, 7, 0}}, {NULL, NULL}};

/* The tile that wastes least: rows are cut into whole tiles, channels into whole blocks. */
static void direct_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  static const int few[][2] = {{2, 6}, {3, 4}}, many[][2] = {{4, 6}, {4, 7}, {3, 7}}; /* 16 registers, 32 */
  const bool wide = !pare__few_registers(info);
  /* three blocks leave no register of 16 for the addresses of pixels, 4 x 7 sums none of 32: measured */
  const double crowded = wide ? 1.2 : 1.4;
  const int64_t lanes = PARE__MAX(whole->dim[CONV_W_LANES], 1), blocks = pare__div_up(whole->dim[CONV_O], lanes);
  double best = 0;
  for (unsigned i = 0; i < (wide ? PARE__COUNT(many) : PARE__COUNT(few)); i++) {
    const int *shape = wide ? many[i] : few[i];
    const double cost = (double)(pare__div_up(blocks, shape[0]) * pare__div_up(whole->dim[CONV_Y + 2], shape[1])) *
                        (shape[0] * shape[1] + 1) * ((wide ? shape[0] * shape[1] > 24 : shape[0] > 2) ? crowded : 1);
    if (i > 0 && cost >= best) continue;
    best = cost;
    tuning->value[0] = shape[0];
    tuning->value[1] = shape[1];
  }
}

static bool direct_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim, lanes = dim[CONV_W_LANES];
  const bool aligned = dim[CONV_G] == 1 || (lanes > 0 && dim[CONV_C] % lanes == 0 && dim[CONV_O] % lanes == 0);
  return fits(whole) && lanes == pare__convolve_lanes(info, whole->dtype[CONV_BUFFER_Y]) &&
         (dim[CONV_X_LENGTH] == 1 || (dim[CONV_X_LENGTH] == lanes && aligned)) &&
         (dim[CONV_Y_LENGTH] == 1 || (dim[CONV_Y_LENGTH] == lanes && aligned));
}

/* Tiles of a group, whose part of x stays in the second level cache, and sets of channels. */
static void direct_groups(const pare__run *run, int64_t sets, int64_t tiles, int64_t *chunk, int64_t *span) {
  const double least_flops = 1e6; /* of a group: worth its start */
  const int64_t cache_bytes = 131072;
  const int64_t *dim = run->piece->dim, no = pare__tuned(run, "NO"), np = pare__tuned(run, "NP");
  const int64_t wanted = pare__div_up(8 * pare__device_info(run->device)->compute_units, dim[CONV_N]);
  const double tile_flops = 2.0 * (double)(no * np * dim[CONV_W_LANES] * dim[CONV_C] * product3(dim + CONV_K));
  const int64_t tile_bytes = np * product3(dim + CONV_STRIDE) * PARE__MAX(dim[CONV_C], 1) * 4;
  const int64_t fewest = PARE__MIN(tiles, 4);
  /* Weights that leave the cache are read once a chunk: then rather few chunks, and groups of sets. */
  const double weight_bytes = tile_flops / (double)np * 2 * (double)sets;
  const bool few_chunks = weight_bytes > 4 * (double)cache_bytes;
  *chunk = PARE__MIN(cache_bytes / tile_bytes, few_chunks ? tiles : pare__div_up(tiles, wanted));
  *chunk = PARE__MAX(*chunk, (int64_t)PARE__MIN(least_flops / (tile_flops * (double)sets), (double)tiles));
  *chunk = PARE__MAX(PARE__MAX(*chunk, fewest), 1);
  const int64_t ranges = pare__div_up(wanted, pare__div_up(tiles, *chunk));
  *span = PARE__MAX(pare__div_up(sets, ranges), 1);
}

static pare_status direct_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim, no = pare__tuned(run, "NO"), np = pare__tuned(run, "NP");
  if (is_empty(run->piece)) return PARE_OK;
  const int64_t blocks = pare__div_up(dim[CONV_O], dim[CONV_W_LANES]), sets = pare__div_up(blocks, no) * dim[CONV_G];
  const int64_t tiles = pare__div_up(dim[CONV_Y + 2], np) * dim[CONV_Y] * dim[CONV_Y + 1];
  int64_t chunk, span;
  direct_groups(run, sets, tiles, &chunk, &span);
  char options[160];
  options_of(run->whole, dim[CONV_W_LANES], options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_int(&args, (int32_t)chunk);
  pare__arg_int(&args, (int32_t)span);
  const size_t global[] = {(size_t)pare__div_up(tiles, chunk), (size_t)pare__div_up(sets, span), (size_t)dim[CONV_N]};
  const size_t one[] = {1, 1, 1};
  return pare__run_kernel(run, "convolve_direct", options, 3, global, one, &args);
}

/* ---- pointwise, as a product: channels in blocks on either side ---- */

static const pare__param packed_params[] = {{"NO", (const int[]){2, 3, 4, 0}},
                                            {"NP", (const int[]){6, 4, 7, 0}},
                                            {"KC", (const int[]){256, 128, 512, 0}},
                                            {NULL, NULL}};

static void packed_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  direct_defaults(info, whole, tuning);
  tuning->value[2] = 256;
}

/* Local memory of a tile: what it sees of x, and its sums. */
static int64_t packed_tile_bytes(const pare__problem *whole, int64_t no, int64_t np) {
  return np * (whole->dim[CONV_C] + no * whole->dim[CONV_W_LANES]) * (is_f64(whole) ? 8 : 4);
}

static int64_t packed_room(const pare_device_info *info) {
  return (int64_t)PARE__MIN(info->local_bytes, (uint64_t)262144); /* half a second level cache, or less */
}

static bool is_pointwise(const int64_t *dim) {
  for (int d = 0; d < 3; d++)
    if (dim[CONV_K + d] != 1 || dim[CONV_STRIDE + d] != 1 || dim[CONV_PAD + d] != 0 ||
        dim[CONV_X + d] != dim[CONV_Y + d])
      return false;
  return dim[CONV_X] * dim[CONV_X + 1] == 1;
}

static bool packed_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim, lanes = dim[CONV_W_LANES], most_pixels = 7, most_blocks = 4;
  return fits(whole) && is_pointwise(dim) && dim[CONV_G] == 1 && lanes > 1 &&
         lanes == pare__convolve_lanes(info, whole->dtype[CONV_BUFFER_Y]) && dim[CONV_C] % lanes == 0 &&
         (dim[CONV_X_LENGTH] == 1 || dim[CONV_X_LENGTH] == lanes) && dim[CONV_X_STRIDE + 2] == dim[CONV_X_LENGTH] &&
         (dim[CONV_Y_LENGTH] == 1 || dim[CONV_Y_LENGTH] == lanes) && dim[CONV_Y_STRIDE + 2] == dim[CONV_Y_LENGTH] &&
         dim[CONV_Y + 2] >= most_pixels && packed_tile_bytes(whole, most_blocks, most_pixels) <= packed_room(info);
}

static pare_status packed_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim, lanes = dim[CONV_W_LANES];
  const int64_t no = pare__tuned(run, "NO"), np = pare__tuned(run, "NP");
  if (is_empty(run->piece)) return PARE_OK;
  const int64_t sets = pare__div_up(pare__div_up(dim[CONV_O], lanes), no), tiles = pare__div_up(dim[CONV_Y + 2], np);
  const int64_t tile_bytes = packed_tile_bytes(run->whole, no, np);
  int64_t chunk, span;
  direct_groups(run, sets, tiles, &chunk, &span);
  chunk = PARE__MIN(chunk, packed_room(pare__device_info(run->device)) / tile_bytes);
  char options[160];
  options_of(run->whole, lanes, options, sizeof options);
  const size_t length = strlen(options);
  snprintf(options + length, sizeof options - length, " -DX_IS_BLOCKED=%d", dim[CONV_X_LENGTH] > 1);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_int(&args, (int32_t)chunk);
  pare__arg_int(&args, (int32_t)span);
  pare__arg_local(&args, (size_t)(chunk * tile_bytes));
  const size_t global[] = {(size_t)pare__div_up(tiles, chunk), (size_t)pare__div_up(sets, span), (size_t)dim[CONV_N]};
  const size_t one[] = {1, 1, 1};
  return pare__run_kernel(run, "convolve_packed", options, 3, global, one, &args);
}

/* ---- pointwise, channels not in blocks ---- */

static const pare__param point_params[] = {
    {"MO", (const int[]){4, 2, 8, 0}}, {"NV", (const int[]){3, 2, 0}}, {NULL, NULL}};

static void point_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  const bool few = pare__few_registers(info);
  const bool narrow = whole->dim[CONV_W_LANES] < 8;
  tuning->value[0] = narrow ? 2 : few ? 4 : 8;
  tuning->value[1] = 3;
}

static bool point_accepts(const pare_device_info *info, const pare__problem *whole) {
  /* more channels: what a tile sees of x, on cache lines far apart, leaves the first level cache before it is used
   * again */
  const int64_t most_channels = 512;
  const int64_t *dim = whole->dim, lanes = dim[CONV_W_LANES], most_vectors = 3;
  return dim[CONV_C] <= most_channels && fits(whole) && lanes >= 4 &&
         lanes == pare__convolve_lanes(info, whole->dtype[CONV_BUFFER_Y]) && dim[CONV_X_LENGTH] == 1 &&
         dim[CONV_Y_LENGTH] == 1 && dim[CONV_X_STRIDE + 2] == 1 && dim[CONV_Y_STRIDE + 2] == 1 && is_pointwise(dim) &&
         dim[CONV_Y + 2] >= most_vectors * lanes;
}

static pare_status point_launch(const pare__run *run) {
  const double least_flops = 1e6; /* of a group: worth its start */
  const int64_t *dim = run->piece->dim, mo = pare__tuned(run, "MO"),
                pixels = pare__tuned(run, "NV") * dim[CONV_W_LANES];
  if (is_empty(run->piece)) return PARE_OK;
  const int64_t sets = pare__div_up(dim[CONV_O], mo) * dim[CONV_G], tiles = pare__div_up(dim[CONV_Y + 2], pixels);
  const int64_t wanted = pare__div_up(8 * pare__device_info(run->device)->compute_units, dim[CONV_N]);
  const double tile_flops = 2.0 * (double)(mo * pixels * dim[CONV_C]) * (double)sets;
  int64_t chunk = PARE__MAX(tiles / wanted, (int64_t)PARE__MIN(least_flops / (tile_flops + 1), (double)tiles));
  chunk = PARE__MAX(chunk, 1);
  const int64_t span =
      PARE__MAX(pare__div_up(sets, pare__div_up(wanted, pare__div_up(tiles, chunk))), PARE__MIN(sets, 4));
  char options[160];
  options_of(run->whole, dim[CONV_W_LANES], options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_int(&args, (int32_t)chunk);
  pare__arg_int(&args, (int32_t)span);
  const size_t global[] = {(size_t)pare__div_up(tiles, chunk), (size_t)pare__div_up(sets, span), (size_t)dim[CONV_N]};
  const size_t one[] = {1, 1, 1};
  return pare__run_kernel(run, "convolve_point", options, 3, global, one, &args);
}

/* ---- depthwise ---- */

enum { MOST_TAPS = 49, BAND_BYTES = 24576 };

static const pare__param depthwise_params[] = {{"NR", (const int[]){4, 6, 8, 0}}, {NULL, NULL}};

static bool flat(const int64_t *dim) {
  return dim[CONV_X] == 1 && dim[CONV_Y] == 1 && dim[CONV_K] == 1 && dim[CONV_PAD] == 0;
}

/* Elements of one phase of a row of x that the vectors of a row of y read. */
static int64_t phase_width(const pare__problem *p, int64_t lanes) {
  const int64_t *dim = p->dim;
  return pare__round_up(dim[CONV_Y + 2], lanes) +
         (dim[CONV_K + 2] - 1) * dim[CONV_DILATION + 2] / dim[CONV_STRIDE + 2] + 1;
}

/* Rows of x that `band` rows of y see. */
static int64_t rows_seen(const int64_t *dim, int64_t band) {
  return (band - 1) * dim[CONV_STRIDE + 1] + (dim[CONV_K + 1] - 1) * dim[CONV_DILATION + 1] + 1;
}

static size_t line_bytes(const pare__problem *p, int64_t lanes) {
  return (size_t)(phase_width(p, lanes) * p->dim[CONV_STRIDE + 2]) * (is_f64(p) ? 8 : 4);
}

static bool depthwise_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim;
  if (!fits(whole) || dim[CONV_C] != 1 || dim[CONV_W_LANES] != 0 || !flat(dim)) return false;
  const int64_t lanes = pare__convolve_lanes(info, whole->dtype[CONV_BUFFER_Y]);
  if (dim[CONV_X_LENGTH] > 1 || dim[CONV_Y_LENGTH] > 1)
    return dim[CONV_X_LENGTH] == lanes && dim[CONV_Y_LENGTH] == lanes && dim[CONV_O] == 1 &&
           product3(dim + CONV_K) <= MOST_TAPS;
  return dim[CONV_X_STRIDE + 2] == 1 && dim[CONV_Y_STRIDE + 2] == 1 &&
         (double)rows_seen(dim, 1) * (double)line_bytes(whole, lanes) <= (double)info->local_bytes / 2;
}

static pare_status depthwise_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim, rows = dim[CONV_Y + 1], nr = pare__tuned(run, "NR");
  if (is_empty(run->piece)) return PARE_OK;
  const int64_t lanes = pare__convolve_lanes(pare__device_info(run->device), run->whole->dtype[CONV_BUFFER_Y]);
  const bool blocked = dim[CONV_X_LENGTH] > 1;
  const size_t line = blocked ? 4 : line_bytes(run->piece, lanes);
  const int64_t channels = blocked ? pare__div_up(dim[CONV_G], lanes) : dim[CONV_G] * dim[CONV_O];
  const int64_t units = pare__device_info(run->device)->compute_units;
  int64_t band = pare__div_up(rows, pare__div_up(8 * units, channels * dim[CONV_N]));
  band = PARE__MIN(rows, pare__round_up(band, nr));
  while (!blocked && band > 1 && rows_seen(dim, band) * (int64_t)line > BAND_BYTES) band = (band + 1) / 2;
  char options[160];
  options_of(run->whole, lanes, options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_int(&args, (int32_t)band);
  pare__arg_int(&args, blocked ? 0 : (int32_t)phase_width(run->piece, lanes));
  pare__arg_local(&args, blocked ? 8 : (size_t)rows_seen(dim, band) * line);
  const size_t global[] = {(size_t)pare__div_up(rows, band), (size_t)channels, (size_t)dim[CONV_N]}, one[] = {1, 1, 1};
  return pare__run_kernel(run, blocked ? "convolve_depthwise_blocked" : "convolve_depthwise", options, 3, global, one,
                          &args);
}

/* ---- the table ---- */

static const pare__variant variants[] = {
    {.name = "point",
     .file = "convolve_point.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = point_params,
     .defaults = point_defaults,
     .accepts = point_accepts,
     .launch = point_launch},
    {.name = "packed",
     .file = "convolve_packed.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = packed_params,
     .defaults = packed_defaults,
     .accepts = packed_accepts,
     .launch = packed_launch},
    {.name = "direct",
     .file = "convolve_direct.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = direct_params,
     .defaults = direct_defaults,
     .accepts = direct_accepts,
     .launch = direct_launch},
    {.name = "depthwise",
     .file = "convolve_depthwise.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = depthwise_params,
     .accepts = depthwise_accepts,
     .launch = depthwise_launch},
    {.name = "tile",
     .file = "convolve_tile.cl",
     .local_bytes = TILE_LOCAL_BYTES,
     .shaped = PARE__FOR_GPU,
     .params = tile_params,
     .accepts = tile_accepts,
     .launch = tile_launch},
    {.name = "plain",
     .file = "convolve_plain.cl",
     .shaped = PARE__FOR_ANY,
     .accepts = plain_accepts,
     .launch = plain_launch},
    {.name = NULL},
};

const pare__family pare__family_convolve = {
    .name = "convolve",
    .what = "convolution in up to three dimensions, with bias, residual and activation",
    .nbuffers = CONV_NBUFFERS,
    .variants = variants,
    .problem = pare__convolve_cases,
    .buffer = pare__convolve_buffer,
    .reference = pare__convolve_reference,
    .work = pare__convolve_work,
    .describe = pare__convolve_describe,
    .shape_class = pare__convolve_shape_class,
};
