/* Runs a kernel of one's own on pare's tensors. SPDX-License-Identifier: Apache-2.0
 *
 *   cc opencl.c $(pkg-config --cflags --libs pare OpenCL) -o opencl && ./opencl */
#include <pare/opencl.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 1000 };

static const char source[] =
    "__kernel void reversed(__global const float *a, long from, __global float *b, long to) {\n"
    "  size_t i = get_global_id(0), n = get_global_size(0);\n"
    "  b[to + i] = a[from + n - 1 - i];\n"
    "}\n";

/* Enqueues the kernel on the context's own queue: what was submitted before is done before, what comes after sees it.
 */
static cl_int run(cl_context cl, cl_device_id device, cl_command_queue queue, cl_mem a, size_t a_offset, cl_mem b,
                  size_t b_offset) {
  const char *text = source;
  const cl_long from = (cl_long)(a_offset / sizeof(float)), to = (cl_long)(b_offset / sizeof(float));
  const size_t global = COUNT;
  cl_int code;
  cl_kernel kernel = NULL;
  cl_program program = clCreateProgramWithSource(cl, 1, &text, NULL, &code);
  if (code == CL_SUCCESS) code = clBuildProgram(program, 1, &device, "", NULL, NULL);
  if (code == CL_SUCCESS) kernel = clCreateKernel(program, "reversed", &code);
  if (code == CL_SUCCESS) code = clSetKernelArg(kernel, 0, sizeof a, &a);
  if (code == CL_SUCCESS) code = clSetKernelArg(kernel, 1, sizeof from, &from);
  if (code == CL_SUCCESS) code = clSetKernelArg(kernel, 2, sizeof b, &b);
  if (code == CL_SUCCESS) code = clSetKernelArg(kernel, 3, sizeof to, &to);
  if (code == CL_SUCCESS) code = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, NULL);
  if (kernel) clReleaseKernel(kernel);
  if (program) clReleaseProgram(program);
  return code;
}

int main(void) {
  const int64_t shape[] = {COUNT};
  float values[COUNT], back[COUNT];
  pare_context *context = NULL;
  pare_tensor *a = NULL, *b = NULL;
  cl_context cl;
  cl_device_id device;
  cl_command_queue queue;
  cl_mem a_mem, b_mem;
  size_t a_offset, b_offset;
  int result = EXIT_FAILURE;
  for (int i = 0; i < COUNT; i++) values[i] = (float)i;

  if (pare_context_open(NULL, &context) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 1, shape, values, sizeof values, &a) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_F32, 1, shape, &b) != PARE_OK) goto out;
  if (pare_context_opencl(context, NULL, &device, &cl, &queue) != PARE_OK) goto out;
  if (pare_tensor_opencl(a, &a_mem, &a_offset) != PARE_OK) goto out;
  if (pare_tensor_opencl(b, &b_mem, &b_offset) != PARE_OK) goto out;

  cl_int code = run(cl, device, queue, a_mem, a_offset, b_mem, b_offset);
  if (code != CL_SUCCESS) fprintf(stderr, "opencl: OpenCL error %d\n", code);
  if (code != CL_SUCCESS || pare_tensor_read(b, back, sizeof back) != PARE_OK) goto out;

  result = EXIT_SUCCESS;
  for (int i = 0; i < COUNT; i++)
    if (back[i] != values[COUNT - 1 - i]) result = EXIT_FAILURE;
  printf("reversed: %g %g ... %g\n", (double)back[0], (double)back[1], (double)back[COUNT - 1]);
out:
  if (result != EXIT_SUCCESS) fprintf(stderr, "opencl: %s\n", pare_message());
  pare_tensor_close(a);
  pare_tensor_close(b);
  pare_context_close(context);
  return result;
}
