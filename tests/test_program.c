/* Programs, the disk cache, buffers and launches, on every device there is. SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/path.h"
#include "ocl/cache.h"
#include "ocl/list.h"
#include "run.h"

#define NITEMS 64
#define NPROCESSES 3

static char folder[] = "/tmp/pare-test-XXXXXX";
static char kernels[100], cache[100];
static pare_device_list *list;
static pare__device *device;

/* ---- the log ---- */

static struct {
  int nbuilt, nwarnings;
  char warning[500];
} logged;

static void keep_line(pare_log_level level, const char *line, void *user) {
  (void)user;
  if (strncmp(line, "built ", 6) == 0) logged.nbuilt++;
  if (level > PARE_LOG_WARN) return;
  logged.nwarnings++;
  snprintf(logged.warning, sizeof logged.warning, "%s", line);
}

/* ---- kernels, devices ---- */

static void write_kernel(const char *name, const char *text) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", kernels, name);
  OK(pare__file_write(path, text, strlen(text)));
}

static void write_kernels(void) {
  write_kernel("add.cl", "#include \"constant.h\"\n"
                         "__kernel __attribute__((reqd_work_group_size(1, 1, 1)))\n"
                         "void add(__global int *x, int v) { x[get_global_id(0)] += v * CONSTANT + MORE; }\n");
  write_kernel("constant.h", "#define CONSTANT 2\n");
}

static void clear_cache(void) {
  uint64_t removed;
  OK(pare__cache_clear(&removed));
}

static void open_device(size_t index, uint64_t limit_bytes) {
  const pare_device_choice whole = {.index = index, .nparts = 1, .compute_units = 1, .weight = 1};
  OK(pare__device_open(list, &whole, limit_bytes, &device));
}

static void close_device(void) {
  uint64_t in_use, peak, limit;
  pare__device_memory(device, &in_use, &peak, &limit);
  ck_assert_uint_eq(in_use, 0);
  pare__device_close(device);
  device = NULL;
}

/* Every test runs on device `i` of the list. */
static void setup(void) {
  write_kernels();
  memset(&logged, 0, sizeof logged);
}

#define EACH_DEVICE(index) for (size_t index = 0; index < pare_device_list_count(list); index++)

/* Adds on the open device; the first element of the result. */
static int run_add(const char *options, int v) {
  cl_int x[NITEMS] = {0};
  size_t items = NITEMS;
  pare__buffer *buffer;
  pare__program *program;
  pare__kernel *kernel;
  pare__args args = {.count = 0};
  OK(pare__buffer_create(device, sizeof x, "x", &buffer));
  OK(pare__buffer_write(buffer, 0, sizeof x, x));
  OK(pare__program_get(device, "add.cl", options, &program));
  OK(pare__kernel_get(program, "add", &kernel));
  pare__arg_mem(&args, pare__buffer_mem(buffer));
  pare__arg_int(&args, v);
  OK(pare__launch(device, kernel, 1, &items, NULL, &args));
  OK(pare__buffer_read(buffer, 0, sizeof x, x));
  for (int i = 1; i < NITEMS; i++) ck_assert_int_eq(x[i], x[0]);
  pare__buffer_release(buffer);
  return x[0];
}

/* Opens, runs, closes; how many programs were built from source. */
static int builds_of(size_t index, const char *options, int expected) {
  int before = logged.nbuilt;
  open_device(index, 0);
  ck_assert_int_eq(run_add(options, 10), expected);
  close_device();
  return logged.nbuilt - before;
}

/* ---- the cache ---- */

START_TEST(a_program_is_built_once_for_all_that_it_depends_on) {
  EACH_DEVICE(i) {
    clear_cache();
    OK(pare__device_probe(list, i, NULL));
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 1);
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 0);
    ck_assert_int_eq(builds_of(i, "-DMORE=2", 22), 1);  /* an option */
    write_kernel("constant.h", "#define CONSTANT 3\n"); /* an include */
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 31), 1);
    write_kernels();
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 0);
  }
}
END_TEST

/* The child process that compiles ahead changes nothing that anybody sees, be it there or not, and ends first. */
START_TEST(a_program_is_built_and_kept_with_a_child_or_without) {
  static const struct { const char *prebuild, *trial; } with[] = {{"1", NULL}, {"1", "/nonexistent"}, {"0", NULL}};
  EACH_DEVICE(i) {
    OK(pare__device_probe(list, i, NULL));
    for (size_t k = 0; k < PARE__COUNT(with); k++) {
      clear_cache();
      ck_assert(setenv("PARE_PREBUILD", with[k].prebuild, 1) == 0);
      if (with[k].trial) ck_assert(setenv("PARE_TRIAL", with[k].trial, 1) == 0);
      ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 1);
      ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 0);
      ck_assert(waitpid(-1, NULL, WNOHANG) == -1);
      ck_assert(unsetenv("PARE_TRIAL") == 0);
    }
  }
}
END_TEST

START_TEST(a_program_is_not_kept_if_nobody_wants_it) {
  EACH_DEVICE(i) {
    OK(pare__device_probe(list, i, NULL));
    clear_cache();
    ck_assert(setenv("PARE_BINARIES", "0", 1) == 0);
    /* Only PoCL has a cache of its own. */
    const int again = strcmp(pare_device_list_get(list, i)->driver, "pocl") == 0;
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 1);
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), again);
    ck_assert(unsetenv("PARE_BINARIES") == 0);
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), again);
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 0);
  }
}
END_TEST

/* Does something to each file of the cache with this suffix. */
static int each_entry(const char *suffix, void (*act)(const char *path)) {
  DIR *open_folder = opendir(cache);
  struct dirent *found;
  int count = 0;
  while (open_folder && (found = readdir(open_folder))) {
    size_t length = strlen(found->d_name), tail = strlen(suffix);
    if (length < tail || strcmp(found->d_name + length - tail, suffix) != 0) continue;
    char path[400];
    snprintf(path, sizeof path, "%s/%s", cache, found->d_name);
    if (act) act(path);
    count++;
  }
  if (open_folder) closedir(open_folder);
  return count;
}

static void flip_a_byte(const char *path) {
  struct stat about;
  int file = open(path, O_RDWR | O_CLOEXEC);
  char byte;
  ck_assert(file >= 0 && fstat(file, &about) == 0);
  ck_assert(pread(file, &byte, 1, about.st_size / 2) == 1);
  byte ^= 0x40;
  ck_assert(pwrite(file, &byte, 1, about.st_size / 2) == 1);
  close(file);
}

static void cut_in_half(const char *path) {
  struct stat about;
  ck_assert(stat(path, &about) == 0 && truncate(path, about.st_size / 2) == 0);
}

static void make_empty(const char *path) { ck_assert(truncate(path, 0) == 0); }

static void make_foreign(const char *path) {
  static const char text[] =
      "this is somebody else's file, long enough to be larger than any header that could be looked "
      "for at its beginning, and then some";
  OK(pare__file_write(path, text, sizeof text));
}

START_TEST(a_damaged_entry_is_built_again_and_said) {
  static void (*const damage[])(const char *) = {flip_a_byte, cut_in_half, make_empty, make_foreign};
  EACH_DEVICE(i) {
    clear_cache();
    builds_of(i, "-DMORE=1", 21);
    for (size_t k = 0; k < PARE__COUNT(damage); k++) {
      ck_assert_int_eq(each_entry(".program", damage[k]), 1);
      int warnings = logged.nwarnings;
      ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 1);
      ck_assert_int_eq(logged.nwarnings, warnings + 1);
      ck_assert(strstr(logged.warning, "corrupt") != NULL);
      ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 0);
    }
  }
}
END_TEST

static char only_entry[33];
static void remember_key(const char *path) { snprintf(only_entry, sizeof only_entry, "%s", strrchr(path, '/') + 1); }

static bool is_driver(size_t index, const char *name) {
  return strcmp(pare_device_list_get(list, index)->driver, name) == 0;
}

/* A whole entry whose content the driver does not take. */
START_TEST(a_binary_that_the_driver_refuses_is_built_again) {
  static const char rubbish[] = "no binary of any driver";
  EACH_DEVICE(i) {
    if (is_driver(i, "rusticl")) continue; /* panics */
    clear_cache();
    builds_of(i, "-DMORE=1", 21);
    ck_assert_int_eq(each_entry(".program", remember_key), 1);
    open_device(i, 0);
    ck_assert(pare__cache_write(device, PARE__CACHE_PROGRAM, only_entry, rubbish, sizeof rubbish));
    close_device();
    int warnings = logged.nwarnings;
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 1);
    ck_assert_int_eq(logged.nwarnings, warnings + 1);
    ck_assert_int_eq(builds_of(i, "-DMORE=1", 21), 0);
  }
}
END_TEST

START_TEST(a_cache_that_cannot_be_written_is_one_warning) {
  EACH_DEVICE(i) {
    setenv("PARE_CACHE", "/dev/null/no-folder", 1);
    open_device(i, 0);
    int warnings = logged.nwarnings;
    ck_assert_int_eq(run_add("-DMORE=1", 10), 21);
    ck_assert_int_eq(run_add("-DMORE=2", 10), 22);
    ck_assert_int_eq(pare__note_write(device, "note", "text"), PARE_ERR_IO);
    close_device();
    ck_assert_int_eq(logged.nwarnings, warnings + 1);
    ck_assert(strstr(logged.warning, "/dev/null") != NULL);
    setenv("PARE_CACHE", cache, 1);
  }
}
END_TEST

START_TEST(the_cache_stays_below_its_limit_and_lets_the_oldest_go) {
  char *data = calloc(1, 100000), *text;
  size_t nbytes;
  char key[33];
  clear_cache();
  setenv("PARE_CACHE_LIMIT", "450K", 1);
  open_device(0, 0);
  OK(pare__note_write(device, "dear", "kept"));
  for (int i = 0; i < 8; i++) {
    snprintf(key, sizeof key, "%032d", i);
    ck_assert(pare__cache_write(device, PARE__CACHE_PROGRAM, key, data, 100000));
    snprintf(key, sizeof key, "%032d", 0); /* used all the time */
    ck_assert(pare__cache_read(PARE__CACHE_PROGRAM, key, &text, &nbytes));
    ck_assert_uint_eq(nbytes, 100000);
    free(text);
    usleep(20000); /* file systems tell times in steps of some milliseconds */
  }
  pare_cache_info info;
  OK(pare__cache_describe(&info));
  ck_assert_str_eq(info.folder, cache);
  ck_assert_uint_eq(info.limit_bytes, 450 << 10);
  ck_assert_uint_le(info.bytes, info.limit_bytes);
  ck_assert_uint_ge(info.files, 4);
  snprintf(key, sizeof key, "%032d", 1);
  ck_assert(!pare__cache_read(PARE__CACHE_PROGRAM, key, &text, &nbytes));
  OK(pare__note_read(device, "dear", &text));
  ck_assert_str_eq(text, "kept");
  free(text);
  setenv("PARE_CACHE_LIMIT", "a lot", 1);
  ck_assert_int_eq(pare__cache_describe(&info), PARE_ERR_ARGUMENT);
  unsetenv("PARE_CACHE_LIMIT");
  close_device();
  free(data);
}
END_TEST

START_TEST(clearing_removes_what_is_ours_and_nothing_else) {
  static const char *const foreign[] = {"letter.txt", "0123456789abcdef0123456789abcdef", "cafe.program",
                                        "0123456789abcdef0123456789abcdef.program.bak"};
  char path[200];
  uint64_t removed;
  clear_cache();
  open_device(0, 0);
  OK(pare__note_write(device, "note", "text"));
  close_device();
  int nours = each_entry("", NULL) - 2; /* . and .. */
  for (size_t i = 0; i < PARE__COUNT(foreign); i++) {
    snprintf(path, sizeof path, "%s/%s", cache, foreign[i]);
    OK(pare__file_write(path, "x", 1));
  }
  OK(pare__cache_clear(&removed));
  ck_assert_uint_eq(removed, nours);
  ck_assert_int_eq(each_entry("", NULL), 2 + (int)PARE__COUNT(foreign));
  for (size_t i = 0; i < PARE__COUNT(foreign); i++) {
    snprintf(path, sizeof path, "%s/%s", cache, foreign[i]);
    unlink(path);
  }
}
END_TEST

START_TEST(notes_belong_to_their_device) {
  clear_cache();
  EACH_DEVICE(i) {
    char *text = NULL;
    open_device(i, 0);
    OK(pare__note_read(device, "mine", &text));
    ck_assert_ptr_null(text);
    OK(pare__note_write(device, "mine", pare__device_key(device)));
    OK(pare__note_read(device, "mine", &text));
    ck_assert_str_eq(text, pare__device_key(device));
    free(text);
    close_device();
  }
}
END_TEST

/* What each of the processes does: all build the same three programs. */
START_TEST(one_of_many_processes) {
  for (int more = 1; more <= 3; more++) {
    char options[32];
    snprintf(options, sizeof options, "-DMORE=%d", more);
    builds_of(0, options, 20 + more);
  }
  ck_assert_int_eq(logged.nwarnings, 0);
}
END_TEST

START_TEST(many_processes_share_the_cache) {
  pid_t process[NPROCESSES];
  char *argv[] = {(char *)"test_program", folder, NULL};
  clear_cache();
  for (int i = 0; i < NPROCESSES; i++)
    ck_assert_int_eq(posix_spawn(&process[i], "/proc/self/exe", NULL, NULL, argv, environ), 0);
  for (int i = 0; i < NPROCESSES; i++) {
    int status;
    ck_assert_int_eq(waitpid(process[i], &status, 0), process[i]);
    ck_assert_int_eq(status, 0);
  }
  ck_assert_int_eq(each_entry(".tmp", NULL), 0);
  ck_assert_int_eq(builds_of(0, "-DMORE=2", 22), 0);
  ck_assert_int_eq(logged.nwarnings, 0);
}
END_TEST

/* ---- sources ---- */

START_TEST(a_kernel_file_that_is_wrong_is_told) {
  static const struct {
    const char *file, *text, *says[2];
  } cases[] = {
      {"syntax.cl", "__kernel void f(__global int *x) {\n  x[0] = y;\n}\n", {"syntax.cl:2", "'y'"}},
      {"include.cl",
       "\n#include \"broken.h\"\n__kernel void f(__global int *x) { x[0] = 0; }\n",
       {"broken.h:3", "whoops"}},
      {"missing.cl", "#include \"nowhere.h\"\n", {"nowhere.h", "looked in"}},
      {"loop.cl", "#include \"loop.cl\"\n", {"loop.cl", "nested"}},
      {"none.cl", NULL, {"none.cl", "looked in"}},
  };
  write_kernel("broken.h", "int one;\n/* two */\nwhoops three;\n");
  EACH_DEVICE(i) {
    open_device(i, 0);
    for (size_t k = 0; k < PARE__COUNT(cases); k++) {
      pare__program *program = (pare__program *)&program;
      if (cases[k].text) write_kernel(cases[k].file, cases[k].text);
      ck_assert_int_eq(pare__program_get(device, cases[k].file, "", &program), PARE_ERR_KERNEL);
      ck_assert_ptr_null(program);
      bool located = strstr(pare_message(), cases[k].says[0]) || is_driver(i, "oclgrind"); /* ignores #line */
      ck_assert_msg(located && strstr(pare_message(), cases[k].says[1]), "%s: %s", cases[k].file, pare_message());
    }
    pare__program *program;
    pare__kernel *kernel;
    ck_assert_int_eq(run_add("-DMORE=1", 10), 21); /* and still works */
    OK(pare__program_get(device, "add.cl", "-DMORE=1", &program));
    ck_assert_int_eq(pare__kernel_get(program, "subtract", &kernel), PARE_ERR_KERNEL);
    ck_assert(strstr(pare_message(), "subtract") && strstr(pare_message(), "add.cl"));
    close_device();
  }
}
END_TEST

START_TEST(the_hash_of_a_source_is_that_of_its_content) {
  char first[33], again[33], changed[33];
  open_device(0, 0);
  OK(pare__source_hash(device, "add.cl", first));
  OK(pare__source_hash(device, "add.cl", again));
  ck_assert_str_eq(first, again);
  close_device();
  write_kernel("constant.h", "#define CONSTANT 4\n");
  open_device(0, 0);
  OK(pare__source_hash(device, "add.cl", changed));
  ck_assert_str_ne(first, changed);
  close_device();
}
END_TEST

/* ---- buffers and launches ---- */

START_TEST(memory_is_counted_and_the_limit_is_told) {
  EACH_DEVICE(i) {
    pare__buffer *weights, *activations, *more = NULL;
    uint64_t in_use, peak, limit;
    open_device(i, 1000);
    OK(pare__buffer_create(device, 600, "weights", &weights));
    OK(pare__buffer_create(device, 300, "activations", &activations));
    ck_assert_int_eq(pare__buffer_create(device, 101, "scratch", &more), PARE_ERR_LIMIT);
    ck_assert_ptr_null(more);
    ck_assert(strstr(pare_message(), "scratch asks for 101 B") &&
              strstr(pare_message(), "900 B of the limit of 1000 B") &&
              strstr(pare_message(), "weights 600 B, activations 300 B"));
    ck_assert_int_eq(pare__buffer_create(device, SIZE_MAX, "all", &more), PARE_ERR_LIMIT);
    pare__buffer_release(activations);
    OK(pare__buffer_create(device, 400, "scratch", &more));
    pare__device_memory(device, &in_use, &peak, &limit);
    ck_assert(in_use == 1000 && peak == 1000 && limit == 1000);
    pare__buffer_release(more);
    pare__buffer_retain(weights);
    pare__buffer_release(weights);
    ck_assert_int_eq(pare__buffer_write(weights, 599, 2, "ab"), PARE_ERR_ARGUMENT);
    ck_assert_int_eq(pare__buffer_read(weights, SIZE_MAX, 2, &in_use), PARE_ERR_ARGUMENT);
    OK(pare__buffer_write(weights, 600, 0, ""));
    pare__buffer_release(weights);
    OK(pare__buffer_create(device, 0, "nothing", &more));
    pare__buffer_release(more);
    pare__buffer_release(NULL);
    close_device();
  }
}
END_TEST

START_TEST(a_buffer_may_outlive_its_device) {
  EACH_DEVICE(i) {
    pare__buffer *buffer;
    char byte;
    open_device(i, 0);
    OK(pare__buffer_create(device, 100, "late", &buffer));
    pare__device_close(device);
    ck_assert_int_eq(pare__buffer_read(buffer, 0, 1, &byte), PARE_ERR_ARGUMENT);
    pare__buffer_release(buffer);
  }
}
END_TEST

START_TEST(wrapped_memory_is_read_and_written) {
  EACH_DEVICE(i) {
    cl_int *host = aligned_alloc(4096, 4096);
    for (int k = 0; k < NITEMS; k++) host[k] = k;
    open_device(i, 0);
    pare__buffer *buffer;
    pare__program *program;
    pare__kernel *kernel;
    pare__args args = {.count = 0};
    size_t items = NITEMS;
    OK(pare__buffer_wrap(device, host, 4096, "wrapped", &buffer));
    OK(pare__program_get(device, "add.cl", "-DMORE=1", &program));
    OK(pare__kernel_get(program, "add", &kernel));
    pare__arg_mem(&args, pare__buffer_mem(buffer));
    pare__arg_int(&args, 10);
    OK(pare__launch(device, kernel, 1, &items, NULL, &args));
    OK(pare__buffer_sync(buffer));
    for (int k = 0; k < NITEMS; k++) ck_assert_int_eq(host[k], k + 21);
    pare__buffer_release(buffer);
    close_device();
    free(host);
  }
}
END_TEST

static cl_command_type last_of(pare__device *on) {
  cl_event event;
  cl_command_type type = 0;
  OK(pare__events_last(on, &event));
  ck_assert_int_eq(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL), CL_SUCCESS);
  ck_assert_int_eq(clWaitForEvents(1, &event), CL_SUCCESS);
  ck_assert_int_eq(clReleaseEvent(event), CL_SUCCESS);
  return type;
}

/* The last launch's own event, unless something else came behind it, or nothing came at all, or nobody asked. */
START_TEST(the_last_event_is_behind_all) {
  open_device(0, 0);
  cl_int x[NITEMS] = {0};
  const size_t items = NITEMS;
  pare__buffer *buffer;
  pare__program *program;
  pare__kernel *kernel;
  pare__args args = {.count = 0};
  OK(pare__buffer_create(device, sizeof x, "x", &buffer));
  OK(pare__program_get(device, "add.cl", "-DMORE=1", &program));
  OK(pare__kernel_get(program, "add", &kernel));
  pare__arg_mem(&args, pare__buffer_mem(buffer));
  pare__arg_int(&args, 1);
  pare__events_keep(device);
  ck_assert_uint_eq(last_of(device), CL_COMMAND_MARKER);
  pare__events_keep(device);
  for (int i = 0; i < 2; i++) OK(pare__launch(device, kernel, 1, &items, NULL, &args));
  ck_assert_uint_eq(last_of(device), CL_COMMAND_NDRANGE_KERNEL);
  pare__events_keep(device);
  OK(pare__launch(device, kernel, 1, &items, NULL, &args));
  OK(pare__buffer_write(buffer, 0, sizeof x, x));
  ck_assert_uint_eq(last_of(device), CL_COMMAND_MARKER);
  OK(pare__launch(device, kernel, 1, &items, NULL, &args));
  ck_assert_uint_eq(last_of(device), CL_COMMAND_MARKER);
  pare__events_keep(device);
  OK(pare__launch(device, kernel, 1, &items, NULL, &args));
  OK(pare__events_last(device, NULL));
  pare__buffer_release(buffer);
  close_device();
}
END_TEST

START_TEST(every_type_of_argument_arrives) {
  write_kernel("types.cl",
               "__kernel void types(__global long *out, int a, uint b, long c, ulong d, float e, __local int *f,\n"
               "                    long8 g, __global int *nothing) {\n"
               "  f[get_local_id(0)] = a;\n"
               "  barrier(CLK_LOCAL_MEM_FENCE);\n"
               "  if (get_global_id(0) == 0) {\n"
               "    out[0] = f[1]; out[1] = b; out[2] = c; out[3] = (long)d; out[4] = (long)(e * 4);\n"
               "    out[5] = g.s0; out[6] = g.s7; out[7] = nothing == 0;\n"
               "  }\n"
               "}\n");
  static const int64_t g[8] = {-70, 1, 2, 3, 4, 5, 6, 77}, expected[8] = {-5, 4000000000, INT64_MIN, -1, 5, -70, 77, 1};
  EACH_DEVICE(i) {
    int64_t out[8] = {0};
    size_t items = 4, none[2] = {4, 0}, three = 3;
    open_device(i, 0);
    pare__buffer *buffer;
    pare__program *program;
    pare__kernel *kernel;
    pare__args args = {.count = 0};
    OK(pare__buffer_create(device, sizeof out, "out", &buffer));
    OK(pare__buffer_write(buffer, 0, sizeof out, out));
    OK(pare__program_get(device, "types.cl", NULL, &program));
    OK(pare__kernel_get(program, "types", &kernel));
    pare__arg_mem(&args, pare__buffer_mem(buffer));
    pare__arg_int(&args, -5);
    pare__arg_uint(&args, 4000000000u);
    pare__arg_long(&args, INT64_MIN);
    pare__arg_ulong(&args, UINT64_MAX);
    pare__arg_float(&args, 1.25f);
    pare__arg_local(&args, items * sizeof(cl_int));
    pare__arg_long8(&args, g);
    pare__arg_mem(&args, NULL);
    OK(pare__launch(device, kernel, 2, none, NULL, &args));
    OK(pare__buffer_read(buffer, 0, sizeof out, out));
    ck_assert_int_eq(out[0], 0);
    ck_assert_int_eq(pare__launch(device, kernel, 1, &items, &three, &args), PARE_ERR_DEVICE);
    OK(pare__launch(device, kernel, 1, &items, &items, &args));
    OK(pare__buffer_read(buffer, 0, sizeof out, out));
    for (int k = 0; k < 8; k++) ck_assert_int_eq(out[k], expected[k]);
    pare__buffer_release(buffer);
    close_device();
  }
}
END_TEST

static void *work(void *result) {
  int sum = 0;
  for (int i = 0; i < 20; i++) sum += run_add("-DMORE=1", i);
  *(int *)result = sum;
  return NULL;
}

START_TEST(two_threads_may_use_one_device) {
  EACH_DEVICE(i) {
    pthread_t thread;
    int here = 0, there = 0;
    if (is_driver(i, "oclgrind")) continue; /* its queue takes one thread */
    open_device(i, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, work, &there), 0);
    work(&here);
    pthread_join(thread, NULL);
    ck_assert_int_eq(here, 20 * 19 + 20);
    ck_assert_int_eq(there, here);
    close_device();
  }
}
END_TEST

/* Makes this process's folders, or takes those of the process that started it. */
static bool make_folders(const char *from_parent) {
  if (from_parent && strlen(from_parent) == strlen(folder)) memcpy(folder, from_parent, sizeof folder);
  if (!from_parent && !mkdtemp(folder)) return false;
  snprintf(kernels, sizeof kernels, "%s/kernels", folder);
  snprintf(cache, sizeof cache, "%s/cache", folder);
  setenv("PARE_CACHE", cache, 1);
  return pare__folder_make(kernels) == PARE_OK && pare__folder_make(cache) == PARE_OK;
}

static void add_tests(TCase *cases) {
  tcase_add_test(cases, the_last_event_is_behind_all);
  tcase_add_test(cases, a_program_is_built_once_for_all_that_it_depends_on);
  tcase_add_test(cases, a_program_is_built_and_kept_with_a_child_or_without);
  tcase_add_test(cases, a_program_is_not_kept_if_nobody_wants_it);
  tcase_add_test(cases, a_damaged_entry_is_built_again_and_said);
  tcase_add_test(cases, a_binary_that_the_driver_refuses_is_built_again);
  tcase_add_test(cases, a_cache_that_cannot_be_written_is_one_warning);
  tcase_add_test(cases, the_cache_stays_below_its_limit_and_lets_the_oldest_go);
  tcase_add_test(cases, clearing_removes_what_is_ours_and_nothing_else);
  tcase_add_test(cases, notes_belong_to_their_device);
  tcase_add_test(cases, many_processes_share_the_cache);
  tcase_add_test(cases, a_kernel_file_that_is_wrong_is_told);
  tcase_add_test(cases, the_hash_of_a_source_is_that_of_its_content);
  tcase_add_test(cases, memory_is_counted_and_the_limit_is_told);
  tcase_add_test(cases, a_buffer_may_outlive_its_device);
  tcase_add_test(cases, wrapped_memory_is_read_and_written);
  tcase_add_test(cases, every_type_of_argument_arrives);
  tcase_add_test(cases, two_threads_may_use_one_device);
}

/* Without arguments all tests; with a folder, one process of many_processes_share_the_cache. */
int main(int argc, char **argv) {
  bool child = argc > 1;
  if (!make_folders(child ? argv[1] : NULL)) return 99;
  unsetenv("PARE_BINARIES");
  unsetenv("PARE_KERNEL_PATH"); /* the probes have their kernel elsewhere */
  if (pare_device_list_open(true, &list) != PARE_OK || pare_device_list_count(list) == 0) return 99;
  setenv("PARE_KERNEL_PATH", kernels, 1);
  pare_log_set(keep_line, NULL, PARE_LOG_INFO);
  TCase *cases = tcase_create("program");
  tcase_add_checked_fixture(cases, child ? NULL : setup, NULL);
  if (child) {
    setenv("CK_VERBOSITY", "silent", 1);
    tcase_add_test(cases, one_of_many_processes);
  } else {
    add_tests(cases);
  }
  int status = run_tests("program", cases);
  pare_device_list_close(list);
  return child ? status : remove_folder(folder, status);
}
