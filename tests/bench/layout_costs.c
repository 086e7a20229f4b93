/* What layouts of convolutions cost: the constants of src/graph/pass_layout.c. SPDX-License-Identifier: Apache-2.0
 *
 * The unit is half of a conversion between the layouts: moving each element once. What plain layout costs more than
 * blocked: a depthwise 3x3 convolution, and a dense one for the layout that it reads and for the one that it writes. */
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 25
#define RUNS 20 /* a round: the wait at its end does not show */

static void must(pare_status status) {
  if (status == PARE_OK) return;
  fprintf(stderr, "layout_costs: %s\n", pare_message());
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* x and y in both layouts: [blocked]. */
typedef struct layer {
  pare_context *context;
  pare_tensor *x[2], *y[2];
  pare_convolution_weights *weights;
  pare_convolution_options options;
} layer;

typedef void action(layer *l, int x_blocked, int y_blocked);

static void convolve(layer *l, int x_blocked, int y_blocked) {
  l->options.x_blocked = x_blocked;
  l->options.y_blocked = y_blocked;
  must(pare_convolve(l->x[x_blocked], l->weights, NULL, NULL, &l->options, l->y[y_blocked]));
}

static void convert(layer *l, int x_blocked, int y_blocked) {
  must(y_blocked > x_blocked ? pare_channels_block(l->x[0], l->y[1]) : pare_channels_unblock(l->x[1], l->y[0]));
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median microseconds. */
static double timed(layer *l, action *act, int x_blocked, int y_blocked) {
  double taken[ROUNDS];
  for (int round = -2; round < ROUNDS; round++) {
    const double begun = now();
    for (int i = 0; i < RUNS; i++) act(l, x_blocked, y_blocked);
    must(pare_context_wait(l->context));
    if (round >= 0) taken[round] = 1e6 * (now() - begun) / RUNS;
  }
  qsort(taken, ROUNDS, sizeof *taken, compare);
  return taken[ROUNDS / 2];
}

static pare_tensor *zeros(pare_context *context, int rank, const int64_t *dim) {
  size_t count = 1;
  for (int d = 0; d < rank; d++) count *= (size_t)dim[d];
  float *values = calloc(count, sizeof *values);
  pare_tensor *tensor = NULL;
  must(values ? pare_tensor_from(context, PARE_F32, rank, dim, values, count * sizeof *values, &tensor)
              : PARE_ERR_MEMORY);
  free(values);
  return tensor;
}

static void measure(pare_context *context, int64_t channels, int64_t side, int64_t kernel, int64_t groups) {
  const int64_t b = pare_convolution_block(context, PARE_F32);
  const int64_t plain[] = {1, channels, side, side}, blocked[] = {1, channels / b, side, side, b};
  const int64_t w_dim[] = {channels, channels / groups, kernel, kernel};
  layer l = {.context = context, .options = PARE_CONVOLUTION_OPTIONS_INIT};
  l.options.groups = groups;
  for (int d = 0; d < 2; d++) l.options.pad[d] = kernel / 2;
  pare_tensor *w = zeros(context, 4, w_dim);
  must(pare_convolution_weights_pack(w, &l.options, &l.weights));
  pare_tensor_close(w);
  for (int i = 0; i < 2; i++) {
    l.x[i] = zeros(context, i ? 5 : 4, i ? blocked : plain);
    l.y[i] = zeros(context, i ? 5 : 4, i ? blocked : plain);
  }
  const double unit = (timed(&l, convert, 0, 1) + timed(&l, convert, 1, 0)) / 4;
  const double both = timed(&l, convolve, 1, 1);
  printf("%3lldx%-3lld %5lld channels, %lldx%lld %-9s  unit %7.1f us, blocked %8.1f us", (long long)side,
         (long long)side, (long long)channels, (long long)kernel, (long long)kernel, groups > 1 ? "depthwise" : "dense",
         unit, both);
  if (groups > 1)
    printf("; plain costs %.2f more\n", (timed(&l, convolve, 0, 0) - both) / unit);
  else
    printf("; reading plain costs %.2f more, writing plain %.2f\n", (timed(&l, convolve, 0, 1) - both) / unit,
           (timed(&l, convolve, 1, 0) - both) / unit);
  for (int i = 0; i < 2; i++) {
    pare_tensor_close(l.x[i]);
    pare_tensor_close(l.y[i]);
  }
  pare_convolution_weights_close(l.weights);
}

int main(void) {
  pare_context *context;
  must(pare_context_open(NULL, &context));
  for (int64_t side = 56, channels = 64; side >= 7; side /= 2, channels *= 2) {
    measure(context, channels, side, 3, channels);
    measure(context, channels, side, 1, 1);
    measure(context, channels, side, 3, 1);
  }
  pare_context_close(context);
  return 0;
}
