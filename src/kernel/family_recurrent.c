/* The family of recurrent sequences. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_recurrent.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/dtype.h"

int64_t pare__recurrent_gates(int mode) {
  static const int64_t gates[] = {1, 3, 4};
  return gates[mode & RECURRENT_CELL];
}

/* ---- the variant ---- */

static int64_t padded_units(const pare__problem *p) {
  return pare__round_up(p->dim[RECURRENT_HIDDEN], RECURRENT_UNITS);
}

#define MOST_ROWS 4
#define STATES 4 /* before, after, and two of the cell's own */

static size_t local_bytes(const pare__problem *whole, int64_t rows) {
  return (size_t)(STATES * rows * padded_units(whole)) * sizeof(float);
}

static bool accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim;
  return dim[RECURRENT_HIDDEN] <= INT32_MAX / 64 && dim[RECURRENT_STEPS] <= INT32_MAX &&
         dim[RECURRENT_ROWS] <= INT32_MAX / 2 && local_bytes(whole, MOST_ROWS) <= info->local_bytes;
}

/* Rows share what is read of the weights; few of them are better shared by the cores. */
static void defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  (void)info;
  const int64_t rows = whole->dim[RECURRENT_ROWS];
  tuning->value[0] = rows >= 8 ? 4 : rows >= 4 ? 2 : 1;
}

static pare_status launch(const pare__run *run) {
  const pare__problem *p = run->piece;
  const int64_t *dim = p->dim;
  const int mode = run->whole->mode;
  const pare__operand *operand = run->operand;
  const int64_t rows = pare__tuned(run, "ROWS");
  char options[100];
  snprintf(options, sizeof options, "-DCELL=%d -DRESET_AFTER=%d -DINPUT_FORGET=%d -DRELU=%d", mode & RECURRENT_CELL,
           (mode & RECURRENT_RESET_AFTER) != 0, (mode & RECURRENT_INPUT_FORGET) != 0, (mode & RECURRENT_RELU) != 0);
  pare__args args = {0};
  pare__arg_int(&args, (int32_t)dim[RECURRENT_ROWS]);
  pare__arg_int(&args, (int32_t)dim[RECURRENT_STEPS]);
  pare__arg_int(&args, (int32_t)dim[RECURRENT_HIDDEN]);
  pare__arg_int(&args, (mode & RECURRENT_REVERSE) != 0);
  pare__arg_float(&args, (float)run->whole->real[0]);
  static const int strides[RECURRENT_NBUFFERS] = {[RECURRENT_BUFFER_X] = RECURRENT_X_STEP,
                                                  [RECURRENT_BUFFER_MASK] = RECURRENT_MASK_STEP,
                                                  [RECURRENT_BUFFER_Y] = RECURRENT_Y_STEP};
  for (int i = 0; i < RECURRENT_NBUFFERS; i++) {
    pare__arg_mem(&args, operand[i].mem);
    pare__arg_long(&args, operand[i].offset);
    if (strides[i] == 0) continue;
    pare__arg_long(&args, dim[strides[i]]);
    pare__arg_long(&args, dim[strides[i] + 1]);
  }
  pare__arg_local(&args, local_bytes(run->whole, rows));
  const size_t one = 1, global = (size_t)pare__div_up(dim[RECURRENT_ROWS], rows);
  return pare__run_kernel(run, "recurrent", options, 1, &global, &one, &args);
}

static const pare__param params[] = {{"ROWS", (const int[]){1, 2, 4, 0}}, {NULL, NULL}};

static const pare__variant variants[] = {
    {.name = "sequence",
     .file = "recurrent.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS, /* a device that ends loops early goes step by step */
     .shaped = PARE__FOR_ANY, /* states in a core's cache; GPUs go step by step, each of them a large product */
     .params = params,
     .defaults = defaults,
     .accepts = accepts,
     .launch = launch},
    {.name = NULL},
};

/* ---- buffers ---- */

static int64_t elements_of(const pare__problem *p, unsigned i) {
  const int64_t *dim = p->dim, gates = pare__recurrent_gates(p->mode), hidden = dim[RECURRENT_HIDDEN];
  const int64_t all = dim[RECURRENT_STEPS] * dim[RECURRENT_ROWS];
  /* By the strides: a self-test may put another cell into the problem of this one. */
  const int64_t x = all == 0 ? 0
                             : (dim[RECURRENT_STEPS] - 1) * dim[RECURRENT_X_STEP] +
                                   (dim[RECURRENT_ROWS] - 1) * dim[RECURRENT_X_ROW] + gates * hidden;
  const int64_t elements[] = {x,           padded_units(p) * hidden * gates, 3 * hidden,
                              all,         dim[RECURRENT_ROWS] * hidden,     dim[RECURRENT_ROWS] * hidden,
                              all * hidden};
  return elements[i];
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  static const pare__role roles[] = {PARE__IN, PARE__IN, PARE__IN, PARE__IN, PARE__INOUT, PARE__INOUT, PARE__OUT};
  const bool absent = (i == RECURRENT_BUFFER_EXTRA && !p->dim[RECURRENT_HAS_EXTRA]) ||
                      (i == RECURRENT_BUFFER_MASK && !p->dim[RECURRENT_HAS_MASK]) ||
                      (i == RECURRENT_BUFFER_C && (p->mode & RECURRENT_CELL) != RECURRENT_LSTM);
  *out = (pare__buffer_spec){absent ? PARE__ABSENT : roles[i], absent ? 0 : elements_of(p, i)};
}

/* Weights so small that what one step rounds does not grow in the next. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  const double scale = i == RECURRENT_BUFFER_W ? 1 / sqrt((double)p->dim[RECURRENT_HIDDEN] + 1) : 1;
  uint64_t state = seed * 977 + i;
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  for (int64_t k = 0; k < spec.elements; k++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const uint32_t bits = (uint32_t)(state >> 33);
    const double value = i == RECURRENT_BUFFER_MASK ? (double)(bits % 4 != 0) : ((double)bits * 0x1p-30 - 1) * scale;
    pare__store(p->dtype[i], data, (size_t)k, value);
  }
}

/* ---- the reference ---- */

typedef struct sequence {
  const pare__problem *p;
  void *const *data;
  int64_t hidden, gates;
  double *h, *c, *next, *reset; /* states of one row */
} sequence;

static double at(const sequence *s, unsigned i, int64_t k) { return pare__load(s->p->dtype[i], s->data[i], (size_t)k); }

static double extra(const sequence *s, int64_t gate, int64_t unit) {
  return s->p->dim[RECURRENT_HAS_EXTRA] ? at(s, RECURRENT_BUFFER_EXTRA, gate * s->hidden + unit) : 0;
}

/* The state times a gate's weights. */
static double product(const sequence *s, const double *state, int64_t gate, int64_t unit) {
  double sum = 0;
  for (int64_t k = 0; k < s->hidden; k++)
    sum += state[k] *
           at(s, RECURRENT_BUFFER_W,
              ((unit / RECURRENT_UNITS * s->hidden + k) * s->gates + gate) * RECURRENT_UNITS + unit % RECURRENT_UNITS);
  return sum;
}

static double limited(const sequence *s, double value) {
  const double clip = s->p->real[0];
  return clip > 0 ? fmin(fmax(value, -clip), clip) : value;
}

static double sigmoid(const sequence *s, double value) { return 1 / (1 + exp(-limited(s, value))); }

/* The new h of a unit; *c is replaced. x: the gates of this step and row. */
static double unit_after(const sequence *s, int64_t x, int64_t unit, double *c) {
  double sum[4] = {0};
  const int mode = s->p->mode, cell = mode & RECURRENT_CELL;
  for (int64_t g = 0; g < s->gates; g++) {
    const bool resets = cell == RECURRENT_GRU && g == 2 && !(mode & RECURRENT_RESET_AFTER);
    sum[g] = product(s, resets ? s->reset : s->h, g, unit);
  }
#define X_OF(g) at(s, RECURRENT_BUFFER_X, x + (g)*s->hidden + unit)
  if (cell == RECURRENT_RNN) {
    const double value = limited(s, X_OF(0) + sum[0]);
    return mode & RECURRENT_RELU ? fmax(value, 0) : tanh(value);
  }
  if (cell == RECURRENT_GRU) {
    const double z = sigmoid(s, X_OF(0) + sum[0] + extra(s, 0, unit));
    const double r = mode & RECURRENT_RESET_AFTER ? sigmoid(s, X_OF(1) + sum[1] + extra(s, 1, unit)) : 1;
    const double candidate = tanh(limited(s, X_OF(2) + r * (sum[2] + extra(s, 2, unit))));
    return (1 - z) * candidate + z * s->h[unit];
  }
  const double i = sigmoid(s, X_OF(0) + sum[0] + extra(s, 0, unit) * *c);
  const double f = mode & RECURRENT_INPUT_FORGET ? 1 - i : sigmoid(s, X_OF(2) + sum[2] + extra(s, 2, unit) * *c);
  *c = f * *c + i * tanh(limited(s, X_OF(3) + sum[3]));
  return sigmoid(s, X_OF(1) + sum[1] + extra(s, 1, unit) * *c) * tanh(*c);
#undef X_OF
}

static void step_of_row(const sequence *s, int64_t t, int64_t row, double *y) {
  const int64_t *dim = s->p->dim, x = t * dim[RECURRENT_X_STEP] + row * dim[RECURRENT_X_ROW];
  const bool lives = !dim[RECURRENT_HAS_MASK] ||
                     at(s, RECURRENT_BUFFER_MASK, t * dim[RECURRENT_MASK_STEP] + row * dim[RECURRENT_MASK_ROW]) != 0;
  if ((s->p->mode & (RECURRENT_CELL | RECURRENT_RESET_AFTER)) == RECURRENT_GRU)
    for (int64_t unit = 0; unit < s->hidden; unit++)
      s->reset[unit] =
          s->h[unit] * sigmoid(s, at(s, RECURRENT_BUFFER_X, x + s->hidden + unit) + product(s, s->h, 1, unit));
  for (int64_t unit = 0; unit < s->hidden; unit++) {
    double c = s->c[unit];
    const double h = unit_after(s, x, unit, &c);
    s->next[unit] = lives ? h : s->h[unit];
    s->c[unit] = lives ? c : s->c[unit];
    y[t * dim[RECURRENT_Y_STEP] + row * dim[RECURRENT_Y_ROW] + unit] = lives ? h : 0;
  }
  for (int64_t unit = 0; unit < s->hidden; unit++) s->h[unit] = s->next[unit];
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t hidden = p->dim[RECURRENT_HIDDEN], steps = p->dim[RECURRENT_STEPS];
  const bool has_c = (p->mode & RECURRENT_CELL) == RECURRENT_LSTM;
  double *state = calloc((size_t)(4 * hidden + 1), sizeof *state);
  if (!state) return false;
  const sequence s = {
      p, data, hidden, pare__recurrent_gates(p->mode), state, state + hidden, state + 2 * hidden, state + 3 * hidden};
  for (int64_t row = 0; row < p->dim[RECURRENT_ROWS]; row++) {
    for (int64_t k = 0; k < hidden; k++) {
      s.h[k] = at(&s, RECURRENT_BUFFER_H, row * hidden + k);
      s.c[k] = has_c ? at(&s, RECURRENT_BUFFER_C, row * hidden + k) : 0;
    }
    for (int64_t i = 0; i < steps; i++)
      step_of_row(&s, p->mode & RECURRENT_REVERSE ? steps - 1 - i : i, row, expected[RECURRENT_BUFFER_Y]);
    for (int64_t k = 0; k < hidden; k++) {
      expected[RECURRENT_BUFFER_H][row * hidden + k] = s.h[k];
      if (has_c) expected[RECURRENT_BUFFER_C][row * hidden + k] = s.c[k];
    }
  }
  free(state);
  /* values are within 1 or a few; a step adds some roundings of the sums, and the steps before matter ever less */
  for (unsigned i = RECURRENT_BUFFER_H; i < RECURRENT_NBUFFERS; i++) {
    pare__buffer_spec spec;
    buffer(p, i, &spec);
    for (int64_t k = 0; k < spec.elements; k++)
      tolerance[i][k] = pare__dtype_epsilon(PARE_F32) * (64 + (double)hidden) * (1 + fabs(expected[i][k]));
  }
  return true;
}

/* ---- figures, names, problems ---- */

static void work(const pare__problem *p, double *flops, double *bytes) {
  const int64_t *dim = p->dim;
  const double runs = (double)dim[RECURRENT_STEPS] * (double)dim[RECURRENT_ROWS],
               hidden = (double)dim[RECURRENT_HIDDEN];
  const double gates = (double)pare__recurrent_gates(p->mode);
  *flops = runs * hidden * gates * (2 * hidden + 20);
  *bytes = 4 * (runs * hidden * (gates + 1) + hidden * hidden * gates);
}

static const char *const cells[] = {"rnn", "gru", "lstm"};

static void describe(const pare__problem *p, char *text, size_t capacity) {
  const int64_t *dim = p->dim;
  snprintf(text, capacity, "%s%s%s%s%s %lldx%lld hidden %lld%s%s%s", cells[p->mode & RECURRENT_CELL],
           p->mode & RECURRENT_RESET_AFTER ? " reset after" : "",
           p->mode & RECURRENT_INPUT_FORGET ? " input forget" : "", p->mode & RECURRENT_RELU ? " relu" : "",
           p->mode & RECURRENT_REVERSE ? " reverse" : "", (long long)dim[RECURRENT_STEPS],
           (long long)dim[RECURRENT_ROWS], (long long)dim[RECURRENT_HIDDEN], dim[RECURRENT_HAS_EXTRA] ? " extra" : "",
           dim[RECURRENT_HAS_MASK] ? " mask" : "", p->real[0] > 0 ? " clip" : "");
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", cells[p->mode & RECURRENT_CELL], p->dim[RECURRENT_ROWS] < 4 ? "few" : "many");
}

typedef struct instance {
  int mode;
  int64_t steps, rows, hidden;
  bool extra, mask;
  double clip;
} instance;
static const instance selftests[] = {
    {RECURRENT_LSTM, 3, 2, 11, true, true, 0}, {RECURRENT_LSTM | RECURRENT_REVERSE, 3, 9, 8, false, false, 0.5},
    {RECURRENT_GRU, 3, 2, 11, false, true, 0}, {RECURRENT_GRU | RECURRENT_RESET_AFTER, 3, 2, 11, true, false, 0},
    {RECURRENT_RNN, 3, 2, 11, false, true, 0}, {RECURRENT_RNN | RECURRENT_RELU, 3, 2, 11, false, false, 0}};
static const instance tests[] = {{RECURRENT_LSTM, 0, 3, 5, false, false, 0},
                                 {RECURRENT_LSTM, 4, 0, 5, false, false, 0},
                                 {RECURRENT_LSTM | RECURRENT_INPUT_FORGET | RECURRENT_REVERSE, 7, 5, 37, true, true, 0},
                                 {RECURRENT_GRU | RECURRENT_REVERSE, 5, 9, 29, false, true, 0.7},
                                 {RECURRENT_GRU | RECURRENT_RESET_AFTER, 6, 3, 16, false, false, 0},
                                 {RECURRENT_RNN | RECURRENT_RELU | RECURRENT_REVERSE, 4, 3, 7, false, false, 0},
                                 {RECURRENT_RNN, 3, 1, 1, false, false, 0.4}};
static const instance benches[] = {{RECURRENT_LSTM, 64, 1, 128, false, false, 0},
                                   {RECURRENT_GRU | RECURRENT_RESET_AFTER, 64, 16, 128, true, false, 0}};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  const struct {
    const instance *instance;
    unsigned count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftests, PARE__COUNT(selftests)},
              [PARE__CASES_TEST] = {tests, PARE__COUNT(tests)},
              [PARE__CASES_BENCH] = {benches, PARE__COUNT(benches)}};
  if (index >= sets[set].count) return false;
  const instance *chosen = &sets[set].instance[index];
  int64_t *dim = out->dim;
  out->mode = chosen->mode;
  dim[RECURRENT_STEPS] = chosen->steps;
  dim[RECURRENT_ROWS] = chosen->rows;
  dim[RECURRENT_HIDDEN] = chosen->hidden;
  dim[RECURRENT_X_ROW] = pare__recurrent_gates(chosen->mode) * chosen->hidden;
  dim[RECURRENT_X_STEP] = chosen->rows * dim[RECURRENT_X_ROW];
  dim[RECURRENT_MASK_ROW] = 1;
  dim[RECURRENT_MASK_STEP] = chosen->rows;
  dim[RECURRENT_Y_STEP] = chosen->hidden; /* sequences one after the other */
  dim[RECURRENT_Y_ROW] = chosen->steps * chosen->hidden;
  dim[RECURRENT_HAS_EXTRA] = chosen->extra;
  dim[RECURRENT_HAS_MASK] = chosen->mask;
  out->real[0] = chosen->clip;
  for (unsigned i = 0; i < RECURRENT_NBUFFERS; i++) out->dtype[i] = i == RECURRENT_BUFFER_MASK ? PARE_BOOL : PARE_F32;
  return true;
}

const pare__family pare__family_recurrent = {
    .name = "recurrent",
    .what = "all steps of an RNN, a GRU or an LSTM",
    .nbuffers = RECURRENT_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
