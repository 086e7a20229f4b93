/* Every OpenCL call that the fault layer sees, as rows of a table. SPDX-License-Identifier: Apache-2.0
 *
 * QUERY    (name, code to fail with, parameters, arguments): returns a status and makes nothing; a fault skips it.
 * WAITER   likewise, but a fault comes after the call: what is waited for must not outlive its memory.
 * ENQUEUE  likewise skipped by a fault; its last parameter is an optional event that it makes.
 * RETAIN   (name, kind, type)
 * RELEASE  (name, kind, type): a fault comes after the release.
 * CREATOR  (name, kind, type, code, parameters, arguments): returns a handle; its last parameter is `cl_int *error`.
 * SPECIAL  (name, code): wrapped by hand in layer.c. */

#define WAIT_LIST cl_uint nwaits, const cl_event *waits, cl_event *event
#define WAIT_ARGS nwaits, waits, event
#define INFO_PARAMS(type) type object, cl_uint name, size_t nbytes, void *value, size_t *needed
#define INFO_ARGS object, name, nbytes, value, needed

#define FAULT_CALLS(QUERY, WAITER, ENQUEUE, RETAIN, RELEASE, CREATOR, SPECIAL)                                         \
  QUERY(clGetPlatformIDs, CL_OUT_OF_HOST_MEMORY, (cl_uint nentries, cl_platform_id * platforms, cl_uint * found),      \
        (nentries, platforms, found))                                                                                  \
  QUERY(clGetPlatformInfo, CL_OUT_OF_HOST_MEMORY, (INFO_PARAMS(cl_platform_id)), (INFO_ARGS))                          \
  QUERY(clGetDeviceIDs, CL_OUT_OF_RESOURCES,                                                                           \
        (cl_platform_id platform, cl_device_type type, cl_uint nentries, cl_device_id * devices, cl_uint * found),     \
        (platform, type, nentries, devices, found))                                                                    \
  QUERY(clGetDeviceInfo, CL_OUT_OF_RESOURCES, (INFO_PARAMS(cl_device_id)), (INFO_ARGS))                                \
  QUERY(clGetContextInfo, CL_OUT_OF_RESOURCES, (INFO_PARAMS(cl_context)), (INFO_ARGS))                                 \
  QUERY(clGetCommandQueueInfo, CL_OUT_OF_RESOURCES, (INFO_PARAMS(cl_command_queue)), (INFO_ARGS))                      \
  QUERY(clGetMemObjectInfo, CL_OUT_OF_RESOURCES, (INFO_PARAMS(cl_mem)), (INFO_ARGS))                                   \
  QUERY(clGetProgramInfo, CL_OUT_OF_RESOURCES, (INFO_PARAMS(cl_program)), (INFO_ARGS))                                 \
  QUERY(clGetKernelInfo, CL_OUT_OF_RESOURCES, (INFO_PARAMS(cl_kernel)), (INFO_ARGS))                                   \
  QUERY(clGetEventInfo, CL_OUT_OF_RESOURCES, (INFO_PARAMS(cl_event)), (INFO_ARGS))                                     \
  QUERY(clGetEventProfilingInfo, CL_PROFILING_INFO_NOT_AVAILABLE, (INFO_PARAMS(cl_event)), (INFO_ARGS))                \
  QUERY(clGetProgramBuildInfo, CL_OUT_OF_RESOURCES,                                                                    \
        (cl_program program, cl_device_id device, cl_uint name, size_t nbytes, void *value, size_t *needed),           \
        (program, device, name, nbytes, value, needed))                                                                \
  QUERY(clGetKernelWorkGroupInfo, CL_OUT_OF_RESOURCES,                                                                 \
        (cl_kernel kernel, cl_device_id device, cl_uint name, size_t nbytes, void *value, size_t *needed),             \
        (kernel, device, name, nbytes, value, needed))                                                                 \
  QUERY(clBuildProgram, CL_BUILD_PROGRAM_FAILURE,                                                                      \
        (cl_program program, cl_uint ndevices, const cl_device_id *devices, const char *options,                       \
         void(CL_CALLBACK * notify)(cl_program, void *), void *user),                                                  \
        (program, ndevices, devices, options, notify, user))                                                           \
  QUERY(clCompileProgram, CL_COMPILE_PROGRAM_FAILURE,                                                                  \
        (cl_program program, cl_uint ndevices, const cl_device_id *devices, const char *options, cl_uint nheaders,     \
         const cl_program *headers, const char **names, void(CL_CALLBACK * notify)(cl_program, void *), void *user),   \
        (program, ndevices, devices, options, nheaders, headers, names, notify, user))                                 \
  QUERY(clSetKernelArg, CL_OUT_OF_RESOURCES, (cl_kernel kernel, cl_uint index, size_t nbytes, const void *value),      \
        (kernel, index, nbytes, value))                                                                                \
  QUERY(clSetEventCallback, CL_OUT_OF_RESOURCES,                                                                       \
        (cl_event event, cl_int when, void(CL_CALLBACK * notify)(cl_event, cl_int, void *), void *user),               \
        (event, when, notify, user))                                                                                   \
  QUERY(clSetUserEventStatus, CL_OUT_OF_RESOURCES, (cl_event event, cl_int status), (event, status))                   \
  QUERY(clFlush, CL_OUT_OF_RESOURCES, (cl_command_queue queue), (queue))                                               \
  WAITER(clFinish, CL_OUT_OF_RESOURCES, (cl_command_queue queue), (queue))                                             \
  WAITER(clWaitForEvents, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, (cl_uint nevents, const cl_event *events),     \
         (nevents, events))                                                                                            \
  ENQUEUE(                                                                                                             \
      clEnqueueReadBuffer, CL_OUT_OF_RESOURCES,                                                                        \
      (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t nbytes, void *data, WAIT_LIST),  \
      (queue, buffer, blocking, offset, nbytes, data, WAIT_ARGS))                                                      \
  ENQUEUE(clEnqueueWriteBuffer, CL_OUT_OF_RESOURCES,                                                                   \
          (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t nbytes, const void *data,    \
           WAIT_LIST),                                                                                                 \
          (queue, buffer, blocking, offset, nbytes, data, WAIT_ARGS))                                                  \
  ENQUEUE(clEnqueueReadBufferRect, CL_OUT_OF_RESOURCES,                                                                \
          (cl_command_queue queue, cl_mem buffer, cl_bool blocking, const size_t *from, const size_t *to,              \
           const size_t *region, size_t row, size_t slice, size_t host_row, size_t host_slice, void *data, WAIT_LIST), \
          (queue, buffer, blocking, from, to, region, row, slice, host_row, host_slice, data, WAIT_ARGS))              \
  ENQUEUE(clEnqueueWriteBufferRect, CL_OUT_OF_RESOURCES,                                                               \
          (cl_command_queue queue, cl_mem buffer, cl_bool blocking, const size_t *to, const size_t *from,              \
           const size_t *region, size_t row, size_t slice, size_t host_row, size_t host_slice, const void *data,       \
           WAIT_LIST),                                                                                                 \
          (queue, buffer, blocking, to, from, region, row, slice, host_row, host_slice, data, WAIT_ARGS))              \
  ENQUEUE(clEnqueueCopyBuffer, CL_OUT_OF_RESOURCES,                                                                    \
          (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t nbytes,        \
           WAIT_LIST),                                                                                                 \
          (queue, from, to, from_offset, to_offset, nbytes, WAIT_ARGS))                                                \
  ENQUEUE(clEnqueueCopyBufferRect, CL_OUT_OF_RESOURCES,                                                                \
          (cl_command_queue queue, cl_mem from, cl_mem to, const size_t *from_origin, const size_t *to_origin,         \
           const size_t *region, size_t from_row, size_t from_slice, size_t to_row, size_t to_slice, WAIT_LIST),       \
          (queue, from, to, from_origin, to_origin, region, from_row, from_slice, to_row, to_slice, WAIT_ARGS))        \
  ENQUEUE(clEnqueueFillBuffer, CL_OUT_OF_RESOURCES,                                                                    \
          (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_bytes, size_t offset,            \
           size_t nbytes, WAIT_LIST),                                                                                  \
          (queue, buffer, pattern, pattern_bytes, offset, nbytes, WAIT_ARGS))                                          \
  ENQUEUE(clEnqueueUnmapMemObject, CL_OUT_OF_RESOURCES,                                                                \
          (cl_command_queue queue, cl_mem buffer, void *mapped, WAIT_LIST), (queue, buffer, mapped, WAIT_ARGS))        \
  ENQUEUE(clEnqueueMigrateMemObjects, CL_OUT_OF_RESOURCES,                                                             \
          (cl_command_queue queue, cl_uint nbuffers, const cl_mem *buffers, cl_mem_migration_flags flags, WAIT_LIST),  \
          (queue, nbuffers, buffers, flags, WAIT_ARGS))                                                                \
  ENQUEUE(clEnqueueMarkerWithWaitList, CL_OUT_OF_RESOURCES, (cl_command_queue queue, WAIT_LIST), (queue, WAIT_ARGS))   \
  ENQUEUE(clEnqueueBarrierWithWaitList, CL_OUT_OF_RESOURCES, (cl_command_queue queue, WAIT_LIST), (queue, WAIT_ARGS))  \
  RETAIN(clRetainDevice, FAULT_DEVICE, cl_device_id)                                                                   \
  RETAIN(clRetainContext, FAULT_CONTEXT, cl_context)                                                                   \
  RETAIN(clRetainCommandQueue, FAULT_QUEUE, cl_command_queue)                                                          \
  RETAIN(clRetainMemObject, FAULT_BUFFER, cl_mem)                                                                      \
  RETAIN(clRetainProgram, FAULT_PROGRAM, cl_program)                                                                   \
  RETAIN(clRetainKernel, FAULT_KERNEL, cl_kernel)                                                                      \
  RETAIN(clRetainEvent, FAULT_EVENT, cl_event)                                                                         \
  RELEASE(clReleaseDevice, FAULT_DEVICE, cl_device_id)                                                                 \
  RELEASE(clReleaseContext, FAULT_CONTEXT, cl_context)                                                                 \
  RELEASE(clReleaseCommandQueue, FAULT_QUEUE, cl_command_queue)                                                        \
  RELEASE(clReleaseMemObject, FAULT_BUFFER, cl_mem)                                                                    \
  RELEASE(clReleaseProgram, FAULT_PROGRAM, cl_program)                                                                 \
  RELEASE(clReleaseKernel, FAULT_KERNEL, cl_kernel)                                                                    \
  RELEASE(clReleaseEvent, FAULT_EVENT, cl_event)                                                                       \
  CREATOR(clCreateContext, FAULT_CONTEXT, cl_context, CL_OUT_OF_RESOURCES,                                             \
          (const cl_context_properties *properties, cl_uint ndevices, const cl_device_id *devices,                     \
           void(CL_CALLBACK * notify)(const char *, const void *, size_t, void *), void *user, cl_int *error),         \
          (properties, ndevices, devices, notify, user, error))                                                        \
  CREATOR(clCreateCommandQueue, FAULT_QUEUE, cl_command_queue, CL_OUT_OF_RESOURCES,                                    \
          (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int * error),           \
          (context, device, properties, error))                                                                        \
  CREATOR(clCreateCommandQueueWithProperties, FAULT_QUEUE, cl_command_queue, CL_OUT_OF_RESOURCES,                      \
          (cl_context context, cl_device_id device, const cl_queue_properties *properties, cl_int *error),             \
          (context, device, properties, error))                                                                        \
  CREATOR(clCreateBuffer, FAULT_BUFFER, cl_mem, CL_MEM_OBJECT_ALLOCATION_FAILURE,                                      \
          (cl_context context, cl_mem_flags flags, size_t nbytes, void *host, cl_int *error),                          \
          (context, flags, nbytes, host, error))                                                                       \
  CREATOR(clCreateSubBuffer, FAULT_BUFFER, cl_mem, CL_MEM_OBJECT_ALLOCATION_FAILURE,                                   \
          (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *region, cl_int *error),          \
          (buffer, flags, type, region, error))                                                                        \
  CREATOR(clCreateProgramWithSource, FAULT_PROGRAM, cl_program, CL_OUT_OF_HOST_MEMORY,                                 \
          (cl_context context, cl_uint ntexts, const char **texts, const size_t *lengths, cl_int *error),              \
          (context, ntexts, texts, lengths, error))                                                                    \
  CREATOR(clCreateProgramWithBinary, FAULT_PROGRAM, cl_program, CL_INVALID_BINARY,                                     \
          (cl_context context, cl_uint ndevices, const cl_device_id *devices, const size_t *lengths,                   \
           const unsigned char **binaries, cl_int *statuses, cl_int *error),                                           \
          (context, ndevices, devices, lengths, binaries, statuses, error))                                            \
  CREATOR(clLinkProgram, FAULT_PROGRAM, cl_program, CL_LINK_PROGRAM_FAILURE,                                           \
          (cl_context context, cl_uint ndevices, const cl_device_id *devices, const char *options, cl_uint ninputs,    \
           const cl_program *inputs, void(CL_CALLBACK * notify)(cl_program, void *), void *user, cl_int *error),       \
          (context, ndevices, devices, options, ninputs, inputs, notify, user, error))                                 \
  CREATOR(clCreateKernel, FAULT_KERNEL, cl_kernel, CL_OUT_OF_RESOURCES,                                                \
          (cl_program program, const char *name, cl_int *error), (program, name, error))                               \
  CREATOR(clCreateUserEvent, FAULT_EVENT, cl_event, CL_OUT_OF_RESOURCES, (cl_context context, cl_int * error),         \
          (context, error))                                                                                            \
  SPECIAL(clCreateSubDevices, CL_DEVICE_PARTITION_FAILED)                                                              \
  SPECIAL(clEnqueueMapBuffer, CL_MAP_FAILURE)                                                                          \
  SPECIAL(clEnqueueNDRangeKernel, CL_OUT_OF_RESOURCES)
