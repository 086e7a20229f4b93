/* Benchmark server: CLBlast on the first CPU device that OpenCL has (or the first device).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <clblast_c.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

static cl_context context;
static cl_command_queue queue;
static cl_mem a, b, c;
static size_t m, n, k;

static const char *open_queue(cl_device_type type) {
  cl_platform_id platforms[16];
  cl_uint nplatforms = 0;
  cl_device_id device = NULL;
  cl_int code = clGetPlatformIDs(16, platforms, &nplatforms);
  for (cl_uint i = 0; code == CL_SUCCESS && i < nplatforms && i < 16 && device == NULL; i++)
    if (clGetDeviceIDs(platforms[i], type, 1, &device, NULL) != CL_SUCCESS) device = NULL;
  if (device == NULL) return "no OpenCL device of this type";
  context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
  if (context == NULL) return "clCreateContext failed";
  queue = clCreateCommandQueue(context, device, 0, &code);
  return queue == NULL ? "clCreateCommandQueue failed" : NULL;
}

static cl_mem matrix(size_t count) {
  float *values = bench_floats(count);
  cl_int code;
  if (values == NULL) return NULL;
  cl_mem buffer =
      clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, count * sizeof(float), values, &code);
  free(values);
  return buffer;
}

static const char *open_gemm(const long *arguments) {
  m = (size_t)arguments[0];
  n = (size_t)arguments[1];
  k = (size_t)arguments[2];
  a = matrix(m * k);
  b = matrix(k * n);
  c = matrix(m * n);
  return a == NULL || b == NULL || c == NULL ? "clCreateBuffer failed" : NULL;
}

static const char *run_gemm(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++)
    if (CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, m, n, k, 1.0f, a, 0, k, b, 0, n,
                     0.0f, c, 0, n, &queue, NULL) != CLBlastSuccess)
      return "CLBlastSgemm failed";
  return clFinish(queue) == CL_SUCCESS ? NULL : "clFinish failed";
}

static void close_gemm(void) {
  cl_mem buffers[] = {a, b, c};
  for (unsigned i = 0; i < 3; i++)
    if (buffers[i] != NULL) clReleaseMemObject(buffers[i]);
  a = b = c = NULL;
}

/* Usage: serve_clblast [gpu] */
int main(int argc, char **argv) {
  (void)argv;
  static const bench_work works[] = {{"gemm", 3, open_gemm, run_gemm, close_gemm}, {NULL, 0, NULL, NULL, NULL}};
  const char *problem = open_queue(argc > 1 ? CL_DEVICE_TYPE_GPU : CL_DEVICE_TYPE_CPU);
  if (problem != NULL) {
    fprintf(stderr, "serve_clblast: %s\n", problem);
    return 4;
  }
  int status = bench_serve(works, false);
  clReleaseCommandQueue(queue);
  clReleaseContext(context);
  return status;
}
