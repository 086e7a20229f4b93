/* Compression while the device is lost or calls fail: an error that names the call, the old
 * file whole, nothing beside it. SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <pare/compress.h>
#include <pare/context.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "fault/fault.h"
#include "onnx_builder.h"
#include "run.h"

enum { CL_RESOURCES = -5, MOST_CALLS = 12 };

static const fault_control *fault;
static char folder[] = "/tmp/pare-test-compress-faults-XXXXXX";
static char cache_folder[64], model_path[64];
static char *original;
static size_t original_bytes;

static void read_file(const char *path, char **data, size_t *nbytes) {
  FILE *file = fopen(path, "rb");
  ck_assert_ptr_nonnull(file);
  *data = malloc(1 << 20);
  *nbytes = fread(*data, 1, 1 << 20, file);
  fclose(file);
}

static void make_model(void) {
  const int64_t dim[] = {64, 48}, taken[] = {-1, 64};
  static float values[64 * 48];
  for (size_t i = 0; i < 64 * 48; i++) values[i] = (float)((i * 37) % 101) / 50 - 1;
  pare__onnx_model *model = model_new(17);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, taken);
  model_constant(model, "w", PARE__ONNX_FLOAT, 2, dim, values);
  model_node(model, "MatMul", "x w", "y");
  model_output(model, "y");
  model_write(model, model_path);
  read_file(model_path, &original, &original_bytes);
}

/* The cache and the model: nothing else. */
static void expect_nothing_written(const char *when) {
  char *data;
  size_t nbytes, nfiles = 0;
  read_file(model_path, &data, &nbytes);
  ck_assert_msg(nbytes == original_bytes && memcmp(data, original, nbytes) == 0, "%s: the old file is another", when);
  free(data);
  DIR *listing = opendir(folder);
  ck_assert_ptr_nonnull(listing);
  for (const struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
    nfiles += entry->d_name[0] != '.';
  closedir(listing);
  ck_assert_msg(nfiles == 2, "%s: %zu files instead of 2", when, nfiles);
}

static pare_status compress(pare_context *context, const char *out) {
  pare_recipe *recipe;
  OK(pare_recipe_create(&recipe));
  OK(pare_recipe_prune(recipe, "2:4"));
  OK(pare_recipe_quantize(recipe, "int8"));
  const pare_status status = pare_compress(context, model_path, out, recipe, NULL, NULL);
  pare_recipe_close(recipe);
  return status;
}

/* From the nth call on (of a name, or of all) everything fails; or that call alone. */
static void lose(const char *call, unsigned long nth, unsigned long ncalls) {
  pare_context *context;
  const char *failed_call;
  char when[120];
  snprintf(when, sizeof when, "call %lu of %s%s", nth, call ? call : "all", ncalls == 0 ? " and all after it" : "");
  fault->reset();
  OK(pare_context_open(NULL, &context));
  fault->reset();
  fault->inject(call, nth, ncalls, CL_RESOURCES);
  const pare_status status = compress(context, model_path);
  const unsigned long failed = fault->failed(&failed_call);
  ck_assert_msg(status != PARE_OK || ncalls > 0, "%s: no error", when);
  if (status != PARE_OK) {
    ck_assert_msg(failed > 0, "%s: %s", when, pare_message());
    /* Where everything fails, so do the releases afterwards. */
    ck_assert_msg(!call || strstr(pare_message(), failed_call) != NULL, "%s: '%s' does not name %s", when,
                  pare_message(), failed_call);
    expect_nothing_written(when);
  }
  pare_context_close(context);
  fault->reset();
  for (int kind = 0; kind < FAULT_NKINDS; kind++)
    ck_assert_msg(fault->live((fault_kind)kind) == 0, "%s: a %s is left", when, fault->kind_name((fault_kind)kind));
  if (status == PARE_OK) OK(pare__file_write(model_path, original, original_bytes));
}

/* How many calls of a name a compression makes. */
static unsigned long count_calls(const char *call) {
  pare_context *context;
  OK(pare_context_open(NULL, &context));
  fault->reset();
  OK(compress(context, model_path));
  const unsigned long ncalls = fault->calls(call);
  pare_context_close(context);
  OK(pare__file_write(model_path, original, original_bytes));
  return ncalls;
}

START_TEST(a_lost_device_is_an_error_and_the_old_file_stays) {
  static const char *const calls[] = {"clEnqueueNDRangeKernel", "clCreateBuffer", "clEnqueueWriteBuffer", NULL};
  make_model();
  count_calls(NULL); /* kernels are built and chosen */
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
    const unsigned long ncalls = count_calls(calls[c]);
    if (ncalls == 0) continue;
    const unsigned long step = ncalls / MOST_CALLS + 1;
    for (unsigned long nth = 1; nth <= ncalls; nth += step) lose(calls[c], nth, 0);
    lose(calls[c], 1, 1);
    lose(calls[c], ncalls / 2 + 1, 1);
  }
  free(original);
}
END_TEST

int main(void) {
  const char *why;
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  snprintf(cache_folder, sizeof cache_folder, "%s/cache", folder);
  snprintf(model_path, sizeof model_path, "%s/model.onnx", folder);
  if (mkdir(cache_folder, 0700) != 0 || setenv("PARE_CACHE", cache_folder, 1) != 0) return EXIT_FAILURE;
  setenv("PARE_DEVICE", "cpu", 0);
  fault = fault_layer_load(&why);
  if (!fault) {
    fprintf(stderr, "test_compress_faults: %s\n", why);
    return EXIT_FAILURE;
  }
  TCase *cases = tcase_create("faults");
  tcase_add_test(cases, a_lost_device_is_an_error_and_the_old_file_stays);
  return remove_folder(folder, run_tests("compress_faults", cases));
}
