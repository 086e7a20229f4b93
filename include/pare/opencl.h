/* Interoperation with OpenCL: the only public header that mentions it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OPENCL_H
#define PARE_OPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The objects of the device that operations run on; they belong to the context. The queue is in order. */
PARE_API pare_status pare_context_opencl(pare_context *context, cl_platform_id *platform, cl_device_id *device,
                                         cl_context *cl_context_out, cl_command_queue *queue);

/* The buffer behind a tensor and the byte offset of its first element; work enqueued on the context's queue sees
 * current values. PARE_ERR_UNSUPPORTED if the tensor is larger than the device's largest buffer (it then lives on the
 * host). */
PARE_API pare_status pare_tensor_opencl(pare_tensor *tensor, cl_mem *buffer, size_t *offset_bytes);

#ifdef __cplusplus
}
#endif
#endif
