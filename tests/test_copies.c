/* Laws of copies: they wait for no work that they do not belong to, their time is the device's own, and policies learn
 * it. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ocl/device.h"
#include "sched/crew_state.h"
#include "sched/multi.h"
/* what follows has variables with the names of those functions' arguments */
#include "crews.h"
#include "several.h"

enum { MEMBERS = 2, HALF = 1024, ELEMENTS = MEMBERS * HALF };
#define PATIENCE 10.0 /* seconds until what should have come long ago counts as not coming */

/* ---- two devices with copies of their own ---- */

static void setup(void) {
  pare__multi_apart(open_several("round-robin"), true);
  pare__context_split(several, MEMBERS);
}

static size_t member_of(const pare__piece *piece) {
  size_t m = 0;
  while (pare__context_member(several, m) != piece->context) m++;
  return m;
}

static pare_tensor *vector(int64_t n, const float *values) {
  pare_tensor *tensor;
  if (values)
    OK(pare_tensor_from(several, PARE_F32, 1, &n, values, (size_t)n * sizeof *values, &tensor));
  else
    OK(pare_tensor_create(several, PARE_F32, 1, &n, &tensor));
  return tensor;
}

/* One piece on each member. */
static void submit(const pare__codelet *codelet, pare_tensor *tensor, pare__mode mode) {
  const pare__task task = {
      .codelet = codelet, .context = several, .n = MEMBERS, .naccesses = 1, .access = {{tensor, mode, 0, HALF}}};
  OK(pare__submit(&task));
}

static cl_event held[MEMBERS];
static bool came[MEMBERS];
static float *sent;

/* The first of two pieces is not waited for before the second is there to be enqueued behind it. */
static atomic_bool submitted;
static void await_second(void) {
  while (!atomic_load(&submitted)) usleep(100);
}
static void submit_both(const pare__codelet *first, const pare__codelet *second, pare__mode mode) {
  pare_tensor *one = vector(ELEMENTS, sent), *other = vector(ELEMENTS, sent);
  memset(came, 0, sizeof came);
  atomic_store(&submitted, false);
  submit(first, one, mode);
  submit(second, other, mode);
  atomic_store(&submitted, true);
  OK(pare_context_wait(several));
  ck_assert(came[0] && came[1]);
  pare_tensor_close(one);
  pare_tensor_close(other);
}

static pare_status hold_work(const pare__piece *piece) {
  await_second();
  held[member_of(piece)] = hold_queue(piece->device, pare__device_queue(piece->device));
  return PARE_OK;
}

/* Looks at what this piece reads while the work before it stands still: past its queue, by one of its own. */
static pare_status await_input(const pare__piece *piece) {
  const size_t m = member_of(piece);
  float got[HALF];
  cl_int code;
  const cl_command_queue queue = clCreateCommandQueueWithProperties(pare__device_context(piece->device),
                                                                    pare__device_id(piece->device), NULL, &code);
  const double until = pare__seconds() + PATIENCE;
  while (held[m] && code == CL_SUCCESS && !came[m] && pare__seconds() < until) {
    code = clEnqueueReadBuffer(queue, piece->binding[0].mem, CL_TRUE, (size_t)piece->binding[0].offset * sizeof *got,
                               sizeof got, got, 0, NULL, NULL);
    came[m] = memcmp(got, sent + piece->begin * HALF, sizeof got) == 0;
  }
  if (held[m]) release_queue(held[m]);
  held[m] = NULL;
  clReleaseCommandQueue(queue);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "looking at a copy");
}

START_TEST(copies_overtake_work) {
  static const pare__codelet hold = {"hold", hold_work}, await = {"await", await_input};
  sent = random_floats(ELEMENTS, 1);
  submit_both(&hold, &await, PARE__READ);
  free(sent);
}
END_TEST

static pare_status do_nothing(const pare__piece *piece) {
  (void)piece;
  await_second();
  return PARE_OK;
}

/* Is the work queue empty although what was made before cannot come back? */
static pare_status await_work(const pare__piece *piece) {
  const size_t m = member_of(piece);
  const double until = pare__seconds() + PATIENCE;
  cl_int state = CL_QUEUED;
  cl_event marker;
  cl_int code = clEnqueueMarkerWithWaitList(pare__device_queue(piece->device), 0, NULL, &marker);
  if (code != CL_SUCCESS) return pare__fail_cl(code, "clEnqueueMarkerWithWaitList");
  PARE__TRY(pare__device_flush(piece->device));
  while (held[m] && code == CL_SUCCESS && state != CL_COMPLETE && pare__seconds() < until)
    code = clGetEventInfo(marker, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
  came[m] = held[m] && state == CL_COMPLETE;
  if (held[m]) release_queue(held[m]);
  held[m] = NULL;
  clReleaseEvent(marker);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "looking at work");
}

START_TEST(work_overtakes_copies_back) {
  static const pare__codelet make = {"make", do_nothing}, await = {"await", await_work};
  pare_tensor *before = vector(ELEMENTS, NULL);
  atomic_store(&submitted, true);
  submit(&make, before, PARE__WRITE); /* opens the queues for copies */
  OK(pare_context_wait(several));
  pare_tensor_close(before);
  sent = random_floats(ELEMENTS, 1);
  for (size_t m = 0; m < MEMBERS; m++) {
    const pare__device *at = pare__context_device(pare__context_member(several, m));
    ck_assert_ptr_nonnull(at->copies[PARE__TO_HOST]);
    held[m] = hold_queue(at, at->copies[PARE__TO_HOST]);
  }
  submit_both(&make, &await, PARE__WRITE);
  free(sent);
}
END_TEST

/* Both ways, each byte once, and no faster than any memory is: the host's time to enqueue a copy is no time of it. */
START_TEST(copies_are_counted_and_timed_by_the_device) {
  enum { LARGE = 4 << 20 };
  float *values = random_floats(LARGE, 2);
  pare_tensor *x = vector(LARGE, values), *y = vector(LARGE, NULL);
  pare_schedule_stats stats;
  double seconds = 0, bytes = 0;
  for (int i = 0; i < 2; i++) OK(pare_unary(PARE_UNARY_neg, x, y));
  OK(pare_context_wait(several));
  OK(pare_context_stats(several, &stats));
  for (size_t m = 0; m < stats.ndevices; m++) {
    const pare_device_stats *at = &stats.device[m];
    seconds += at->copy_seconds;
    bytes += (double)at->copied_bytes;
    ck_assert(at->busy_seconds + at->idle_seconds <= stats.elapsed_seconds * 1.001);
    ck_assert(at->busy_seconds + at->copy_seconds + at->idle_seconds >= stats.elapsed_seconds * 0.999);
  }
  /* x goes there once, y comes back twice; a half that the second round gives to the other member goes there, too */
  const double each = LARGE * sizeof *values;
  ck_assert_double_ge(bytes, 3 * each);
  ck_assert_double_le(bytes, 4 * each);
  ck_assert_double_ge(seconds, bytes / 200e9);
  ck_assert_double_le(seconds, stats.elapsed_seconds * MEMBERS * 2);
  pare_schedule_stats_close(&stats);
  pare_tensor_close(x);
  pare_tensor_close(y);
  free(values);
}
END_TEST

/* ---- which copies there are ---- */

enum { NBYTES = 4096 };

static pare__memory *memory_in(pare_context *in) {
  pare__memory *made;
  OK(pare__memory_create(in, NBYTES, NULL, "a tensor", &made));
  memset(made->home, 0, NBYTES);
  return made;
}

static void use(pare__memory *memory) {
  pare__buffer *buffer;
  OK(pare__memory_pin(memory, 0, &buffer));
  pare__memory_unpin(memory, 0);
}

START_TEST(what_was_not_used_for_the_longest_time_goes_first) {
  enum { COUNT = 4 };
  pare__memory *memory[COUNT];
  pare__buffer *pinned;
  for (int i = 0; i < COUNT; i++) memory[i] = memory_in(several);
  for (int i = 0; i < COUNT; i++) use(memory[i]);
  use(memory[1]);
  OK(pare__memory_pin(memory[0], 0, &pinned)); /* in use: it stays */
  static const int order[] = {2, 3, 1};
  for (size_t i = 0; i < PARE__COUNT(order); i++) {
    ck_assert_ptr_nonnull(memory[order[i]]->copy[0].buffer);
    ck_assert(pare__memory_evict(several, 0));
    ck_assert_ptr_null(memory[order[i]]->copy[0].buffer);
  }
  ck_assert(!pare__memory_evict(several, 0));
  ck_assert_ptr_eq(memory[0]->copy[0].buffer, pinned);
  pare__memory_unpin(memory[0], 0);
  ck_assert(pare__memory_evict(several, 0));
  for (int i = 0; i < COUNT; i++) pare__memory_release(memory[i]);
}
END_TEST

/* Bytes that a fetch of [0, NBYTES) copies to the first member. */
static size_t fetched(pare__memory *memory) {
  pare__device *at = pare__context_device(pare__context_member(several, 0));
  pare__transfers list = {0};
  size_t nbytes = 0;
  OK(pare__memory_fetch(memory, 0, (pare__range){0, NBYTES}, &list));
  for (size_t i = 0; i < list.count; i++) nbytes += list.item[i].nbytes;
  OK(pare__transfers_flush(at));
  OK(pare__transfers_wait(at, &list));
  pare__transfers_close(&list);
  return nbytes;
}

START_TEST(nothing_is_copied_that_is_there) {
  pare__memory *memory = memory_in(several);
  pare__buffer *buffer;
  OK(pare__memory_pin(memory, 0, &buffer));
  ck_assert_uint_eq(fetched(memory), NBYTES);
  ck_assert_uint_eq(fetched(memory), 0);
  pare__memory_written(memory, 0, (pare__range){0, 512}); /* by the member itself */
  ck_assert_uint_eq(fetched(memory), 0);
  pare__memory_written(memory, 1, (pare__range){256, 768});
  ck_assert_uint_eq(fetched(memory), 512);
  pare__memory_written(memory, PARE__NO_MEMBER, (pare__range){4000, NBYTES});
  ck_assert_uint_eq(fetched(memory), NBYTES - 4000);
  pare__memory_unpin(memory, 0);
  ck_assert(pare__memory_evict(several, 0));
  OK(pare__memory_pin(memory, 0, &buffer));
  ck_assert_uint_eq(fetched(memory), NBYTES);
  pare__memory_unpin(memory, 0);
  pare__memory_release(memory);
}
END_TEST

/* ---- crews of members that do nothing, and copies that are only told ---- */

static void open_crew(const char *performance) {
  const pare__crew_member member = {
      .name = "far",
      .key = "far, driver",
      .seen = {.resource = PARE__ON_GPU, .seconds_per_byte = 1 / 12e9, .copy_seconds = 10e-6},
      .weight = 1};
  const pare__crew_options options = {.performance = performance};
  open_members(&member, 1, &options);
}

/* All are there before the first begins, in a crew that the caller closes. */
static void run_together(const pare__job *job, size_t njobs) {
  const pare__job blocker = {.run = wait_at_gate, .kernel = "gate", .n = 1, .member = PARE__NO_DEVICE};
  open_crew(NULL);
  OK(pare__crew_submit(crew, &blocker, NULL, 0, NULL));
  for (size_t i = 0; i < njobs; i++) OK(pare__crew_submit(crew, &job[i], NULL, 0, NULL));
  open_gate();
  OK(pare__crew_wait_all(crew));
}

#define COPY_A 3e-5
#define COPY_B 4e-9 /* a slow link: 0.25 GB/s */

/* Copies as such a link would make them. */
static pare_status copy_by_line(void *argument, size_t member, int64_t begin, int64_t end) {
  const size_t nbytes = *(const size_t *)argument;
  const double now = pare__crew_now();
  (void)begin, (void)end;
  pare__crew_copied(crew, member, nbytes % 2 ? PARE__COPIED_BACK : PARE__COPIED_IN, nbytes, now,
                    now + COPY_A + COPY_B * (double)nbytes);
  return PARE_OK;
}

static void expect_line(void) {
  ck_assert_double_eq_tol(crew->policy->device[0].copy_seconds, COPY_A, COPY_A * 1e-2);
  ck_assert_double_eq_tol(crew->policy->device[0].seconds_per_byte, COPY_B, COPY_B * 1e-2);
}

START_TEST(policies_learn_what_copies_cost_and_keep_it) {
  enum { JOBS = 100 };
  static size_t nbytes[JOBS];
  char path[] = "/tmp/test_copies.XXXXXX";
  const int file = mkstemp(path);
  ck_assert(file >= 0 && close(file) == 0 && unlink(path) == 0);
  open_crew(path);
  for (size_t i = 0; i < JOBS; i++) {
    nbytes[i] = 1000 + i * 7919 % 40000;
    const pare__job job = {.run = copy_by_line, .argument = &nbytes[i], .n = 1, .member = PARE__NO_DEVICE};
    OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  }
  OK(pare__crew_wait_all(crew));
  expect_line();
  close_crew();
  open_crew(path);
  expect_line();
  close_crew();
  unlink(path);
}
END_TEST

/* A piece that works for a while when it is settled, and whose result then goes back, which is known afterwards. */
static struct timed { double run, back, settled; } timed[2];

static pare_status begin_timed(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)member, (void)begin, (void)end;
  ((struct timed *)argument)->run = pare__crew_now();
  return PARE_OK;
}
static pare_status settle_timed(void *argument, size_t member, int64_t begin, int64_t end) {
  struct timed *own = argument;
  (void)begin, (void)end;
  usleep(2000);
  own->back = pare__crew_now();
  usleep(2000);
  pare__crew_copied(crew, member, PARE__COPIED_BACK, 1, own->back, pare__crew_now());
  own->settled = pare__crew_now();
  return PARE_OK;
}

/* The same for a result that is read while it is settled. */
static pare_status settle_and_read(void *argument, size_t member, int64_t begin, int64_t end) {
  struct timed *own = argument;
  (void)begin, (void)end;
  usleep(2000);
  own->back = pare__crew_now();
  pare__crew_worked(crew, member);
  usleep(4000);
  own->settled = pare__crew_now();
  return PARE_OK;
}

/* Two such pieces, one behind the other; the caller closes the crew. */
static void run_timed(pare_status (*settle)(void *argument, size_t member, int64_t begin, int64_t end),
                      pare_schedule_stats *stats) {
  pare__job job[2];
  for (size_t i = 0; i < PARE__COUNT(job); i++)
    job[i] = (pare__job){.run = begin_timed,
                         .settle = settle,
                         .argument = &timed[i],
                         .kernel = "timed",
                         .n = 1,
                         .member = PARE__NO_DEVICE};
  run_together(job, PARE__COUNT(job));
  OK(pare__crew_stats(crew, stats));
}

START_TEST(reading_a_result_is_no_work) {
  pare_schedule_stats stats;
  run_timed(settle_and_read, &stats);
  const pare_kernel_stats *of = &stats.kernel[strcmp(stats.kernel[0].kernel, "timed") != 0];
  ck_assert_double_ge(of->busy_seconds, timed[0].back - timed[0].run);
  ck_assert_double_le(of->busy_seconds, stats.elapsed_seconds - (timed[1].settled - timed[1].back));
  pare_schedule_stats_close(&stats);
  close_crew();
}
END_TEST

/* What was called, in order: a letter each. */
enum { CALLED = 5 };
static char calls[2 * CALLED + 1];
static atomic_size_t ncalls;

static pare_status run_within(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)begin, (void)end;
  calls[atomic_fetch_add(&ncalls, 1)] = 'r';
  pare__crew_finished(crew, member);
  return PARE_OK;
}
static pare_status run_behind(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  calls[atomic_fetch_add(&ncalls, 1)] = 'r';
  return PARE_OK;
}
static pare_status settle_any(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  calls[atomic_fetch_add(&ncalls, 1)] = 's';
  return PARE_OK;
}

/* Two are in flight, but for a driver that works within the enqueueing call: its piece's time would be the next one's,
 * too. */
START_TEST(what_ran_within_its_call_is_settled_before_the_next) {
  static const char *const expected[] = {"rsrsrsrsrs", "rrsrsrsrss"};
  for (size_t late = 0; late < 2; late++) {
    pare__job job[CALLED];
    for (size_t i = 0; i < CALLED; i++)
      job[i] = (pare__job){.run = late ? run_behind : run_within,
                           .settle = settle_any,
                           .kernel = "any",
                           .n = 1,
                           .member = PARE__NO_DEVICE};
    atomic_store(&ncalls, 0);
    run_together(job, CALLED);
    ck_assert_str_eq(calls, expected[late]);
    close_crew();
  }
}
END_TEST

/* The second works from when the first one's result begins to go back, so all the time up to its own is work. */
START_TEST(copies_back_take_no_time_of_the_next_piece) {
  pare_schedule_stats stats;
  run_timed(settle_timed, &stats);
  const pare_kernel_stats *of = &stats.kernel[strcmp(stats.kernel[0].kernel, "timed") != 0];
  ck_assert_double_ge(of->busy_seconds, timed[1].back - timed[0].run);
  ck_assert_double_le(of->busy_seconds, stats.elapsed_seconds - (timed[1].settled - timed[1].back));
  ck_assert_double_eq_tol(of->copy_seconds, timed[0].settled - timed[0].back + timed[1].settled - timed[1].back, 1e-3);
  pare_schedule_stats_close(&stats);
  close_crew();
}
END_TEST

int main(void) {
  if (!can_be_halved()) return 77;
  TCase *tests = tcase_create("copies");
  tcase_add_checked_fixture(tests, setup, close_several);
  tcase_add_test(tests, copies_overtake_work);
  tcase_add_test(tests, work_overtakes_copies_back);
  tcase_add_test(tests, copies_are_counted_and_timed_by_the_device);
  tcase_add_test(tests, what_was_not_used_for_the_longest_time_goes_first);
  tcase_add_test(tests, nothing_is_copied_that_is_there);
  tcase_add_test(tests, policies_learn_what_copies_cost_and_keep_it);
  tcase_add_test(tests, copies_back_take_no_time_of_the_next_piece);
  tcase_add_test(tests, reading_a_result_is_no_work);
  tcase_add_test(tests, what_ran_within_its_call_is_settled_before_the_next);
  return run_tests("copies", tests);
}
