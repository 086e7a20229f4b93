/* Where compressed files end up: on the disk before they have their name, whole or not at all, and nothing beside them
 * that nobody needs. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <pare/compress.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "fixture.h"
#include "onnx_builder.h"

/* What no process is called: beyond the most that Linux gives. */
#define NO_PROCESS "999999999"

static char folder[] = "/tmp/pare-test-compress-files-XXXXXX";

/* ---- what the system was asked ---- */

int __real_fsync(int file);
int __real_rename(const char *from, const char *to);
int __wrap_fsync(int file);
int __wrap_rename(const char *from, const char *to);

/* f: a file was synced, d: a folder, r: a file got the name that is watched. */
static char asked[64];
static const char *watched;

static void note(char what) {
  const size_t length = strlen(asked);
  if (watched && length + 1 < sizeof asked) asked[length] = what;
}

int __wrap_fsync(int file) {
  struct stat about;
  note(fstat(file, &about) == 0 && S_ISDIR(about.st_mode) ? 'd' : 'f');
  return __real_fsync(file);
}

int __wrap_rename(const char *from, const char *to) {
  if (watched && strcmp(to, watched) == 0) note('r');
  return __real_rename(from, to);
}

/* ---- models ---- */

static const char *path_of(const char *name) { return path_in(folder, name); }

/* y = x w; the weights in a file of their own, unless `data` is NULL. */
static void write_model(const char *path, const char *data) {
  const pare__onnx_write_options outside = {.external_file = data, .external_minimum_bytes = 16};
  float *w = random_floats(32 * 16, 1);
  pare__onnx_model *model = model_new(17), *again;
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, 32});
  model_constant(model, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){32, 16}, w);
  model_node(model, "MatMul", "x w", "y");
  model_output(model, "y");
  model_write(model, path);
  free(w);
  if (!data) return;
  OK(pare__onnx_open(path, &again));
  OK(pare__onnx_write(again, path, &outside));
  pare__onnx_close(again);
}

static void write_empty(const char *path) { OK(pare__file_write(path, "", 0)); }

static pare_status compress(const char *in, const char *out) {
  pare_recipe *recipe;
  OK(pare_recipe_create(&recipe));
  OK(pare_recipe_quantize(recipe, "int8"));
  const pare_status status = pare_compress(context, in, out, recipe, NULL, NULL);
  pare_recipe_close(recipe);
  return status;
}

static void has(const char *name, bool expected) {
  ck_assert_msg(pare__file_exists(path_of(name)) == expected, "%s is %s", name, expected ? "gone" : "still there");
}

/* ---- the laws ---- */

/* A power cut leaves the old file or the new one, not a name without its bytes. */
START_TEST(bytes_are_on_the_disk_before_the_name) {
  write_model(path_of("in.onnx"), NULL);
  memset(asked, 0, sizeof asked);
  watched = path_of("synced.onnx");
  OK(compress(path_of("in.onnx"), watched));
  ck_assert_str_eq(asked, "frd");
  memset(asked, 0, sizeof asked);
  watched = path_of("converted.onnx");
  OK(pare_convert(path_of("in.onnx"), watched, PARE_STORAGE_COMPACT, NULL));
  ck_assert_str_eq(asked, "frd");
  watched = NULL;
}
END_TEST

/* Weights that lay beside the old model, under a name of ours, go with it; what others read, or call theirs, stays. */
START_TEST(weights_beside_a_replaced_model_go_with_it) {
  write_model(path_of("big.onnx"), "big.onnx.data");
  OK(compress(path_of("big.onnx"), path_of("big.onnx")));
  has("big.onnx.data", false);
  write_model(path_of("big.onnx"), "big.onnx.2.data");
  OK(pare_convert(path_of("big.onnx"), path_of("big.onnx"), PARE_STORAGE_COMPACT, NULL));
  has("big.onnx.2.data", false);
  write_model(path_of("big.onnx"), "theirs.data");
  OK(compress(path_of("big.onnx"), path_of("big.onnx")));
  has("theirs.data", true);
  write_model(path_of("read.onnx"), "old.onnx.data");
  write_model(path_of("old.onnx"), "old.onnx.data");
  OK(compress(path_of("read.onnx"), path_of("old.onnx")));
  has("old.onnx.data", true);
  OK(compress(path_of("read.onnx"), path_of("other.onnx"))); /* it runs still */
}
END_TEST

/* Killed at any moment: the next one who writes there clears up. */
START_TEST(what_killed_processes_left_is_removed) {
  char mine[64];
  snprintf(mine, sizeof mine, ".out.onnx.%ld-4294967295", (long)getpid());
  write_model(path_of("in.onnx"), NULL);
  write_empty(path_of(".out.onnx." NO_PROCESS "-0"));
  write_empty(path_of(".out.onnx." NO_PROCESS "-0." NO_PROCESS "-1.tmp"));
  write_empty(path_of("out.onnx.3.data." NO_PROCESS "-2.tmp"));
  write_model(path_of(".out.onnx." NO_PROCESS "-3"), "out.onnx.data"); /* whole, and without its name */
  write_empty(path_of(mine));
  write_empty(path_of(".other.onnx." NO_PROCESS "-0"));
  write_empty(path_of("out.onnx.data.bak"));
  OK(compress(path_of("in.onnx"), path_of("out.onnx")));
  has(".out.onnx." NO_PROCESS "-0", false);
  has(".out.onnx." NO_PROCESS "-0." NO_PROCESS "-1.tmp", false);
  has("out.onnx.3.data." NO_PROCESS "-2.tmp", false);
  has(".out.onnx." NO_PROCESS "-3", false);
  has("out.onnx.data", false);
  has(mine, true);
  has(".other.onnx." NO_PROCESS "-0", true);
  has("out.onnx.data.bak", true);
}
END_TEST

/* A disk that is full while tensors are put at their places. */
START_TEST(a_full_disk_leaves_the_old_tensors) {
  const char *top = getenv("srcdir") ? getenv("srcdir") : ".", *path = path_of("two.safetensors");
  char from[300], *before, *after;
  size_t nbefore, nafter;
  struct rlimit old, small;
  snprintf(from, sizeof from, "%s/tests/fuzz/corpus/safetensors/two.safetensors", top);
  OK(pare__file_read(from, (size_t)1 << 20, &before, &nbefore));
  OK(pare__file_write(path, before, nbefore));
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
  for (rlim_t limit = 1; limit < 1000; limit = 3 * limit + 5) {
    small = (struct rlimit){limit, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    const pare_status status = compress(path, path);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    ck_assert_msg(status == PARE_ERR_IO && strstr(pare_message(), "writing") != NULL, "%lu bytes: %s",
                  (unsigned long)limit, pare_message());
    OK(pare__file_read(path, (size_t)1 << 20, &after, &nafter));
    ck_assert(nbefore == nafter && memcmp(before, after, nbefore) == 0);
    free(after);
  }
  free(before);
}
END_TEST

static mode_t mode_of(const char *path) {
  struct stat found;
  ck_assert_int_eq(lstat(path, &found), 0);
  return found.st_mode;
}

/* A link is followed, also to itself; of two names of one file only the one that is written changes. */
START_TEST(links_stay_links) {
  size_t nold, nleft;
  char *old, *left;
  ck_assert_int_eq(mkdir(path_of("target"), 0777), 0);
  write_model(path_of("target/model.onnx"), NULL);
  OK(pare__file_read(path_of("target/model.onnx"), (size_t)1 << 20, &old, &nold));
  ck_assert_int_eq(link(path_of("target/model.onnx"), path_of("hard.onnx")), 0);
  ck_assert_int_eq(symlink("target/model.onnx", path_of("link.onnx")), 0);
  ck_assert_int_eq(symlink("target/nothing.onnx", path_of("dangling.onnx")), 0);
  OK(compress(path_of("link.onnx"), path_of("link.onnx")));
  ck_assert(S_ISLNK(mode_of(path_of("link.onnx"))));
  OK(pare__file_read(path_of("hard.onnx"), (size_t)1 << 20, &left, &nleft));
  ck_assert(nold == nleft && memcmp(old, left, nold) == 0);
  free(left);
  OK(pare__file_read(path_of("target/model.onnx"), (size_t)1 << 20, &left, &nleft));
  ck_assert_msg(nold != nleft || memcmp(old, left, nold) != 0, "what the link leads to is the old file");
  free(left);
  free(old);
  OK(pare_convert(path_of("hard.onnx"), path_of("link.onnx"), PARE_STORAGE_COMPACT, NULL));
  ck_assert(S_ISLNK(mode_of(path_of("link.onnx"))));
  ck_assert_int_eq(compress(path_of("hard.onnx"), path_of("dangling.onnx")), PARE_ERR_IO);
  ck_assert_ptr_nonnull(strstr(pare_message(), "a link to what is not there"));
}
END_TEST

/* What takes a place has the permissions of what was there. */
START_TEST(permissions_stay) {
  write_model(path_of("private.onnx"), NULL);
  ck_assert_int_eq(chmod(path_of("private.onnx"), 0640), 0);
  OK(compress(path_of("private.onnx"), path_of("private.onnx")));
  ck_assert_uint_eq(mode_of(path_of("private.onnx")) & 07777, 0640);
  OK(pare_convert(path_of("private.onnx"), path_of("private.onnx"), PARE_STORAGE_COMPACT, NULL));
  ck_assert_uint_eq(mode_of(path_of("private.onnx")) & 07777, 0640);
  ck_assert_int_eq(chmod(path_of("private.onnx"), 0400), 0);
  if (geteuid() == 0) return; /* root may write to anything */
  ck_assert_int_eq(compress(path_of("private.onnx"), path_of("private.onnx")), PARE_ERR_IO);
  ck_assert_ptr_nonnull(strstr(pare_message(), "Permission denied"));
}
END_TEST

/* A pipe, or a device, is not replaced by a file. */
START_TEST(what_is_no_file_stays) {
  const float one = 1;
  const pare_array array = {
      .name = "a", .dtype = PARE_F32, .dtype_name = "f32", .rank = 1, .dim = {1}, .data = &one, .nbytes = sizeof one};
  write_model(path_of("in.onnx"), NULL);
  ck_assert_int_eq(mkfifo(path_of("pipe"), 0600), 0);
  ck_assert_int_eq(compress(path_of("in.onnx"), path_of("pipe")), PARE_ERR_IO);
  ck_assert_ptr_nonnull(strstr(pare_message(), "no regular file"));
  ck_assert_int_eq(pare_convert(path_of("in.onnx"), path_of("pipe"), PARE_STORAGE_COMPACT, NULL), PARE_ERR_IO);
  ck_assert_int_eq(pare_arrays_write(path_of("pipe"), 1, &array, false), PARE_ERR_IO);
  ck_assert_ptr_nonnull(strstr(pare_message(), "no regular file"));
  ck_assert(S_ISFIFO(mode_of(path_of("pipe"))));
}
END_TEST

/* Rows of a [K, N] weight lie across the file: more of them than are put together at once come to their places. */
START_TEST(rows_across_the_file_come_to_their_places) {
  enum { K = 1100, N = 5003 };
  float *w = random_floats((size_t)K * N, 5);
  pare__onnx_model *model = model_new(17);
  pare__onnx_data data;
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, K});
  model_constant(model, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){K, N}, w);
  model_node(model, "MatMul", "x w", "y");
  model_output(model, "y");
  model_write(model, path_of("wide.onnx"));
  pare_recipe *recipe;
  const pare_compress_options options = {.skip_verify = true};
  OK(pare_recipe_create(&recipe));
  OK(pare_recipe_prune(recipe, "threshold:0.5"));
  OK(pare_compress(context, path_of("wide.onnx"), path_of("wide.onnx"), recipe, &options, NULL));
  pare_recipe_close(recipe);
  OK(pare__onnx_open(path_of("wide.onnx"), &model));
  OK(pare__onnx_tensor_data(model->source, &model->graph->initializer.items[0], &data));
  ck_assert_uint_eq(data.nbytes, sizeof(float) * K * N);
  for (size_t i = 0; i < (size_t)K * N; i++) {
    float found;
    memcpy(&found, (const char *)data.data + i * sizeof found, sizeof found);
    ck_assert_msg(found == (fabsf(w[i]) >= 0.5F ? w[i] : 0), "[%zu, %zu] is %g, and was %g", i / N, i % N, found, w[i]);
  }
  pare__onnx_data_close(&data);
  pare__onnx_close(model);
  free(w);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("compress_files");
  signal(SIGXFSZ, SIG_IGN);
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, bytes_are_on_the_disk_before_the_name);
  tcase_add_test(tests, weights_beside_a_replaced_model_go_with_it);
  tcase_add_test(tests, what_killed_processes_left_is_removed);
  tcase_add_test(tests, a_full_disk_leaves_the_old_tensors);
  tcase_add_test(tests, links_stay_links);
  tcase_add_test(tests, permissions_stay);
  tcase_add_test(tests, what_is_no_file_stays);
  tcase_add_test(tests, rows_across_the_file_come_to_their_places);
  return remove_folder(folder, run_tests("compress_files", tests));
}
