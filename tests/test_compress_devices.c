/* Selection among all weights by several devices: each counts, and the file is one device's, also when one is lost
 * while it counts. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <pare/compress.h>
#include <pare/schedule.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault/fault.h"
#include "onnx_builder.h"
#include "several.h"

enum { SECONDS_A_TEST = 300, NOT_AVAILABLE = -2 };

static const fault_control *faults;
static char folder[] = "/tmp/pare-test-compress-devices-XXXXXX";

static const char *path_of(const char *name) { return path_in(folder, name); }

/* Weights of two layers and more; a few steps apart, so that many are equal to whatever the threshold is. */
static void write_model(const char *path, const int64_t (*dim)[2], size_t nlayers) {
  static const int64_t taken[] = {-1, -1};
  pare__onnx_model *model = model_new(17);
  for (size_t i = 0; i < nlayers; i++) {
    const int64_t count = dim[i][0] * dim[i][1];
    char w[8], x[8], y[8], inputs[20];
    float *values = random_floats(count, 7 + (uint32_t)i);
    for (int64_t k = 0; k < count; k++) values[k] = roundf(values[k] * 100) / 64;
    (void)snprintf(w, sizeof w, "w%zu", i);
    (void)snprintf(x, sizeof x, "x%zu", i);
    (void)snprintf(y, sizeof y, "y%zu", i);
    (void)snprintf(inputs, sizeof inputs, "%s %s", x, w);
    model_input(model, x, PARE__ONNX_FLOAT, 2, taken);
    model_constant(model, w, PARE__ONNX_FLOAT, 2, dim[i], values);
    model_node(model, "MatMul", inputs, y);
    model_output(model, y);
    free(values);
  }
  model_write(model, path);
}

static void expect_same_file(const char *first, const char *second, const char *when) {
  FILE *file[2] = {fopen(first, "rb"), fopen(second, "rb")};
  static char data[2][1 << 16];
  size_t nbytes[2] = {0}, all = 0;
  ck_assert(file[0] && file[1]);
  do {
    for (int i = 0; i < 2; i++) nbytes[i] = fread(data[i], 1, sizeof data[i], file[i]);
    ck_assert_msg(nbytes[0] == nbytes[1] && memcmp(data[0], data[1], nbytes[0]) == 0, "%s: another file", when);
    all += nbytes[0];
  } while (nbytes[0] > 0);
  ck_assert_uint_gt(all, 0);
  for (int i = 0; i < 2; i++) fclose(file[i]);
}

static unsigned nlost;
static void count_lost(void *user, const char *message) {
  (void)user;
  ck_assert_ptr_nonnull(message);
  nlost++;
}

/* policy NULL: the default. */
static pare_context *open_under(const char *policy, bool both) {
  const char *given = getenv("PARE_DEVICE");
  pare_context *opened;
  pare_schedule_options schedule = PARE_SCHEDULE_OPTIONS_INIT;
  pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
  schedule.lost = count_lost;
  schedule.policy = policy;
  options.device = both ? halves() : given ? given : "cpu";
  options.schedule = &schedule;
  OK(pare_context_open(&options, &opened));
  return opened;
}

static pare_context *open_devices(bool both) { return open_under(NULL, both); }

static void compress(pare_context *in, const char *model, const char *out, const char *recipe_text) {
  pare_recipe *recipe;
  pare_compress_options options = PARE_COMPRESS_OPTIONS_INIT;
  options.skip_verify = true;
  OK(pare_recipe_parse(recipe_text, strlen(recipe_text), "test", &recipe));
  OK(pare_compress(in, model, out, recipe, &options, NULL));
  pare_recipe_close(recipe);
}

/* Inputs of `nlayers` layers, all [rows, columns]. */
static void write_data(const char *path, size_t nlayers, int64_t rows, int64_t columns) {
  enum { MOST = 4 };
  static const char *const names[MOST] = {"x0", "x1", "x2", "x3"};
  float *x = random_floats(rows * columns, 5);
  pare_array arrays[MOST];
  ck_assert_uint_le(nlayers, MOST);
  for (size_t i = 0; i < nlayers; i++)
    arrays[i] = (pare_array){.name = names[i],
                             .dtype = PARE_F32,
                             .rank = 2,
                             .dim = {rows, columns},
                             .data = x,
                             .nbytes = (size_t)(rows * columns) * sizeof *x};
  OK(pare_arrays_write(path, nlayers, arrays, false));
  free(x);
}

/* How many pieces each device had of kernels whose name begins so. */
static void expect_pieces_everywhere(pare_context *in, const char *prefix) {
  pare_schedule_stats stats;
  uint64_t pieces[2] = {0};
  OK(pare_context_stats(in, &stats));
  ck_assert_uint_eq(stats.ndevices, 2);
  for (size_t i = 0; i < stats.nkernels; i++)
    if (strncmp(stats.kernel[i].kernel, prefix, strlen(prefix)) == 0)
      pieces[stats.kernel[i].device] += stats.kernel[i].pieces;
  pare_schedule_stats_close(&stats);
  ck_assert_msg(pieces[0] > 0 && pieces[1] > 0, "'%s': %d and %d pieces", prefix, (int)pieces[0], (int)pieces[1]);
}

/* Few elements, of which every digit is counted; many, of which a sample is taken first: whole tensors and rows. */
static const int64_t few[][2] = {{200, 300}, {64, 48}, {300, 10}, {100, 100}},
                     many[][2] = {{1024, 2100}, {64, 48}, {200, 500}, {300, 10}};
static const char *const
    global = "pare: 1\nmodifiers:\n- prune: {sparsity: 0.7, scope: global}\n",
    *const row = "pare: 1\nmodifiers:\n- prune: {sparsity: 0.7, scope: row}\n",
    *const percentile =
        "pare: 1\nmodifiers:\n- quantize: {num_bits: 8, strategy: tensor, observer: percentile, percentile: 99}\n";

START_TEST(each_device_counts_and_the_file_is_the_same) {
  pare_context *one = open_devices(false);
  for (int i = 0; i < 3; i++) {
    const char *recipe = i == 2 ? percentile : global;
    write_model(path_of("model.onnx"), i == 0 ? few : many, 4);
    pare_context *two = open_devices(true);
    compress(one, path_of("model.onnx"), path_of("one.onnx"), recipe);
    compress(two, path_of("model.onnx"), path_of("two.onnx"), recipe);
    expect_same_file(path_of("one.onnx"), path_of("two.onnx"), recipe);
    expect_pieces_everywhere(two, "compress count");
    if (i < 2) expect_pieces_everywhere(two, "compress mark");
    pare_context_close(two);
  }
  pare_context_close(one);
}
END_TEST

/* The data runs through the model on both, and what that finds and makes is what one device finds and makes. */
START_TEST(calibration_runs_on_each_device_and_the_file_is_the_same) {
  static const char *const recipes[] = {
      "pare: 1\ncalibration: \"%s\"\nmodifiers:\n- gptq: {num_bits: 4, group_size: 32}\n",
      "pare: 1\ncalibration: \"%s\"\nmodifiers:\n- gptq: {num_bits: 4, group_size: 32, sequential: true}\n",
      ("pare: 1\ncalibration: \"%s\"\nmodifiers:\n- smoothquant: {}\n"
       "- quantize: {num_bits: 8, input_activations: int8, dynamic: false}\n")};
  static const int64_t dim[][2] = {{192, 256}, {192, 128}, {192, 64}, {192, 256}};
  pare_context *one = open_devices(false);
  write_model(path_of("model.onnx"), dim, PARE__COUNT(dim));
  write_data(path_of("data.npz"), PARE__COUNT(dim), 640, 192);
  for (size_t i = 0; i < PARE__COUNT(recipes); i++) {
    char recipe[300];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(recipe, sizeof recipe, recipes[i], path_of("data.npz"));
#pragma GCC diagnostic pop
    pare_context *two = open_under("round-robin", true); /* who is late on a busy machine may get nothing else */
    compress(one, path_of("model.onnx"), path_of("one.onnx"), recipe);
    compress(two, path_of("model.onnx"), path_of("two.onnx"), recipe);
    expect_same_file(path_of("one.onnx"), path_of("two.onnx"), recipe);
    expect_pieces_everywhere(two, "");
    if (i == 2) expect_pieces_everywhere(two, "compress smoothquant quantize");
    pare_context_close(two);
  }
  pare_context_close(one);
}
END_TEST

/* Once kernels are built and trusted. */
static unsigned long launches_of(pare_context *in, const char *recipe) {
  compress(in, path_of("model.onnx"), path_of("two.onnx"), recipe);
  faults->reset();
  compress(in, path_of("model.onnx"), path_of("two.onnx"), recipe);
  return faults->calls("clEnqueueNDRangeKernel");
}

/* What a launch fails is a device's share of a pass, which is counted elsewhere, and once. */
START_TEST(a_device_lost_while_it_counts_changes_no_byte) {
  enum { TIMES = 3 };
  write_model(path_of("model.onnx"), many, 4);
  pare_context *one = open_devices(false);
  compress(one, path_of("model.onnx"), path_of("one.onnx"), global);
  pare_context_close(one);
  one = open_devices(true);
  const unsigned long all = launches_of(one, global), making = launches_of(one, row);
  pare_context_close(one);
  ck_assert_uint_gt(all, making);
  for (unsigned long i = 0; i < TIMES; i++) {
    pare_context *two = open_devices(true);
    nlost = 0;
    faults->reset();
    faults->inject("clEnqueueNDRangeKernel", 1 + i * (all - making) / TIMES, 1, NOT_AVAILABLE);
    compress(two, path_of("model.onnx"), path_of("two.onnx"), global);
    faults->reset();
    expect_same_file(path_of("one.onnx"), path_of("two.onnx"), "a device was lost");
    ck_assert_uint_eq(nlost, 1);
    pare_context_close(two);
  }
}
END_TEST

static void setup(void) { alarm(SECONDS_A_TEST); }
static void teardown(void) { alarm(0); }

int main(void) {
  const char *why;
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  faults = fault_layer_load(&why);
  if (!faults) {
    fprintf(stderr, "test_compress_devices: %s\n", why);
    return EXIT_FAILURE;
  }
  TCase *cases = tcase_create("devices");
  tcase_set_timeout(cases, 0);
  tcase_add_checked_fixture(cases, setup, teardown);
  tcase_add_test(cases, each_device_counts_and_the_file_is_the_same);
  tcase_add_test(cases, calibration_runs_on_each_device_and_the_file_is_the_same);
  tcase_add_test(cases, a_device_lost_while_it_counts_changes_no_byte);
  return remove_folder(folder, run_tests("compress_devices", cases));
}
