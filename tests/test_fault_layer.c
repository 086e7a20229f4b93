/* The fault layer itself: what it counts, fails, delays and slows. SPDX-License-Identifier: Apache-2.0 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fault/fault.h"
#include "fault/processor.h"
#include "run.h"

static const fault_control *fault;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;

static double now_seconds(void) { return processor_clock(CLOCK_MONOTONIC); }

static bool find_device(void) {
  cl_platform_id platforms[16];
  cl_uint nplatforms = 0;
  clGetPlatformIDs(16, platforms, &nplatforms);
  for (cl_uint i = 0; i < nplatforms && i < 16; i++)
    if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL) == CL_SUCCESS) return true;
  return false;
}

static void open_queue(void) {
  cl_int code;
  fault->reset();
  context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
  ck_assert_int_eq(code, CL_SUCCESS);
  queue = clCreateCommandQueueWithProperties(context, device, NULL, &code);
  ck_assert_int_eq(code, CL_SUCCESS);
  fault->reset();
}

static void close_queue(void) {
  fault->reset();
  clReleaseCommandQueue(queue);
  clReleaseContext(context);
  for (int kind = 0; kind < FAULT_NKINDS; kind++)
    ck_assert_msg(fault->live((fault_kind)kind) == 0, "%s still live", fault->kind_name((fault_kind)kind));
  ck_assert_uint_eq(fault->misused(), 0);
}

static cl_int create_and_release(void) {
  cl_int code;
  cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &code);
  if (buffer != NULL) clReleaseMemObject(buffer);
  return code;
}

START_TEST(fails_exactly_the_calls_meant) {
  const char *name;
  fault->inject("clCreateBuffer", 2, 2, 0);
  const cl_int expected[] = {CL_SUCCESS, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_MEM_OBJECT_ALLOCATION_FAILURE,
                             CL_SUCCESS};
  for (unsigned i = 0; i < 4; i++) ck_assert_int_eq(create_and_release(), expected[i]);
  ck_assert_uint_eq(fault->failed(&name), 2);
  ck_assert_str_eq(name, "clCreateBuffer");
  ck_assert_uint_eq(fault->calls("clCreateBuffer"), 4);
}
END_TEST

START_TEST(counts_all_calls_together) {
  fault->inject(NULL, 3, 0, CL_OUT_OF_RESOURCES);
  ck_assert_int_eq(create_and_release(), CL_SUCCESS);
  ck_assert_int_eq(create_and_release(), CL_OUT_OF_RESOURCES);
  ck_assert_int_eq(clFinish(queue), CL_OUT_OF_RESOURCES);
  ck_assert_uint_eq(fault->calls(NULL), 4);
}
END_TEST

START_TEST(a_release_that_fails_still_releases) {
  cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, NULL);
  ck_assert_uint_eq(fault->live(FAULT_BUFFER), 1);
  fault->inject("clReleaseMemObject", 1, 1, 0);
  ck_assert_int_eq(clReleaseMemObject(buffer), CL_OUT_OF_HOST_MEMORY);
  ck_assert_uint_eq(fault->live(FAULT_BUFFER), 0);
}
END_TEST

START_TEST(counts_events_and_retains) {
  cl_event event;
  cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, NULL);
  ck_assert_int_eq(clEnqueueFillBuffer(queue, buffer, "\7", 1, 0, 64, 0, NULL, &event), CL_SUCCESS);
  clRetainEvent(event);
  ck_assert_uint_eq(fault->live(FAULT_EVENT), 2);
  clReleaseEvent(event);
  clReleaseEvent(event);
  ck_assert_uint_eq(fault->live(FAULT_EVENT), 0);
  clFinish(queue);
  clReleaseMemObject(buffer);
}
END_TEST

START_TEST(delays_calls) {
  fault->delay("clFlush", 30000);
  double start = now_seconds();
  clFlush(queue);
  ck_assert_double_ge(now_seconds() - start, 0.03);
}
END_TEST

static void *flush(void *argument) {
  clFlush(argument);
  return NULL;
}

START_TEST(hangs_in_one_call_of_a_queue_until_it_is_let_go) {
  pthread_t thread;
  fault->hang("clFlush", 2, 1000000); /* there is no such queue */
  for (int i = 0; i < 3; i++) clFlush(queue);
  fault->hang("clFlush", 2, -1);
  clFlush(queue);
  ck_assert_int_eq(pthread_create(&thread, NULL, flush, queue), 0);
  while (fault->hanging() == 0) sched_yield();
  clFlush(queue); /* the third goes on */
  fault->let_go();
  ck_assert_uint_eq(fault->hanging(), 0);
  pthread_join(thread, NULL);
}
END_TEST

START_TEST(logs_calls_with_their_status) {
  char text[256] = "";
  FILE *log = tmpfile();
  ck_assert_ptr_nonnull(log);
  fault->inject("clCreateBuffer", 1, 1, 0);
  fault->log(fileno(log));
  create_and_release();
  clFinish(queue);
  fault->log(-1);
  rewind(log);
  ck_assert_uint_gt(fread(text, 1, sizeof text - 1, log), 0);
  fclose(log);
  ck_assert_str_eq(text, "1 clCreateBuffer -4 injected\n2 clFinish 0\n");
}
END_TEST

static void run_kernel(cl_kernel kernel) {
  ck_assert_int_eq(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, (size_t[]){64}, NULL, 0, NULL, NULL), CL_SUCCESS);
  ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
}

/* Ten times the processor's in quiet; launching and waiting take some of that, too. Other work on the machine makes it
 * longer. */
START_TEST(a_tenth_of_duty_takes_much_longer) {
  const char *text = "kernel void work(global uint *out) { uint x = get_global_id(0); for (int i = 0; i < 30000; i++) "
                     "x = x * 1664525u + 1013904223u;"
                     " out[get_global_id(0)] = x; }";
  cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, NULL);
  ck_assert_int_eq(clBuildProgram(program, 1, &device, "", NULL, NULL), CL_SUCCESS);
  cl_kernel kernel = clCreateKernel(program, "work", NULL);
  cl_mem out = clCreateBuffer(context, CL_MEM_READ_WRITE, 64 * sizeof(cl_uint), NULL, NULL);
  clSetKernelArg(kernel, 0, sizeof out, &out);
  run_kernel(kernel);
  fault->duty((const double[]){0.1}, 1);
  const double start = now_seconds(), used = processor_clock(CLOCK_PROCESS_CPUTIME_ID);
  for (int i = 0; i < 10; i++) run_kernel(kernel);
  const double took = now_seconds() - start, worked = processor_clock(CLOCK_PROCESS_CPUTIME_ID) - used;
  ck_assert_msg(took > 3 * worked, "%g s, %g s of processors", took, worked);
  clReleaseMemObject(out);
  clReleaseKernel(kernel);
  clReleaseProgram(program);
}
END_TEST

/* A driver's thread: it works, and then has no core for a while. */
typedef struct kernel_of_thread {
  pthread_barrier_t begin, end;
  double work, wait, worked; /* seconds */
  bool last;
} kernel_of_thread;

static double thread_seconds(void) { return processor_clock(CLOCK_THREAD_CPUTIME_ID); }

static void *run_kernels(void *argument) {
  kernel_of_thread *kernel = argument;
  for (;;) {
    pthread_barrier_wait(&kernel->begin);
    if (kernel->last) return NULL;
    const double start = thread_seconds();
    while (thread_seconds() - start < kernel->work) continue;
    usleep((useconds_t)(1e6 * kernel->wait));
    kernel->worked = thread_seconds() - start;
    pthread_barrier_wait(&kernel->end);
  }
}

static double watch_kernel(kernel_of_thread *kernel, double *elapsed) {
  processor_watch watch = {0};
  processor_begin(0, &watch);
  pthread_barrier_wait(&kernel->begin);
  pthread_barrier_wait(&kernel->end);
  return processor_end(0, &watch, elapsed);
}

/* Of the thread's own clock a millisecond may be missing: that of coming and going. */
START_TEST(what_a_kernel_waits_for_a_core_is_not_its_work) {
  kernel_of_thread kernel = {.work = 2e-3};
  double elapsed;
  pthread_t thread;
  pthread_barrier_init(&kernel.begin, NULL, 2);
  pthread_barrier_init(&kernel.end, NULL, 2);
  ck_assert_int_eq(pthread_create(&thread, NULL, run_kernels, &kernel), 0);
  for (int i = 0; i < 50; i++) watch_kernel(&kernel, &elapsed); /* by then it is known whose kernels these are */
  for (int i = 0; i < 5; i++) {
    kernel.wait = 4e-3 * i;
    const double worked = watch_kernel(&kernel, &elapsed);
    ck_assert_msg(worked > kernel.worked - 1e-3 && worked < kernel.worked + 1e-3, "%g of %g s, %g by its own clock",
                  worked, elapsed, kernel.worked);
    ck_assert_msg(elapsed >= worked + kernel.wait - 1e-3, "%g of %g s, %g of them waiting", worked, elapsed,
                  kernel.wait);
  }
  kernel.last = true;
  pthread_barrier_wait(&kernel.begin);
  pthread_join(thread, NULL);
  pthread_barrier_destroy(&kernel.begin);
  pthread_barrier_destroy(&kernel.end);
}
END_TEST

int main(void) {
  const char *why;
  fault = fault_layer_load(&why);
  if (fault == NULL || !find_device()) {
    fprintf(stderr, "test_fault_layer: %s\n", fault == NULL ? why : "no OpenCL device");
    return EXIT_FAILURE;
  }
  TCase *cases = tcase_create("calls");
  tcase_add_checked_fixture(cases, open_queue, close_queue);
  tcase_add_test(cases, fails_exactly_the_calls_meant);
  tcase_add_test(cases, counts_all_calls_together);
  tcase_add_test(cases, a_release_that_fails_still_releases);
  tcase_add_test(cases, counts_events_and_retains);
  tcase_add_test(cases, delays_calls);
  tcase_add_test(cases, hangs_in_one_call_of_a_queue_until_it_is_let_go);
  tcase_add_test(cases, logs_calls_with_their_status);
  tcase_add_test(cases, a_tenth_of_duty_takes_much_longer);
  tcase_add_test(cases, what_a_kernel_waits_for_a_core_is_not_its_work);
  return run_tests("fault layer", cases);
}
