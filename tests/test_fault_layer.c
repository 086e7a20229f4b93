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
#include "run.h"

static const fault_control *fault;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;

static double now_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

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

static double run_kernel(cl_kernel kernel) {
  double start = now_seconds();
  ck_assert_int_eq(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, (size_t[]){64}, NULL, 0, NULL, NULL), CL_SUCCESS);
  ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
  return now_seconds() - start;
}

/* Ten times in quiet; other work on the machine changes what the kernel itself takes, so a third of it is asked for. */
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
  double full = 1e9, tenth = 1e9;
  for (int i = 0; i < 5; i++) {
    double seconds = run_kernel(kernel);
    full = seconds < full ? seconds : full;
  }
  fault->duty((const double[]){0.1}, 1);
  for (int i = 0; i < 5; i++) {
    double seconds = run_kernel(kernel);
    tenth = seconds < tenth ? seconds : tenth;
  }
  ck_assert_msg(tenth > 3 * full, "%g s at full speed, %g s at a tenth", full, tenth);
  clReleaseMemObject(out);
  clReleaseKernel(kernel);
  clReleaseProgram(program);
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
  return run_tests("fault layer", cases);
}
