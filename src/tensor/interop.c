/* The OpenCL objects behind contexts and tensors. SPDX-License-Identifier: Apache-2.0 */
#include <pare/opencl.h>

#include "tensor/context.h"
#include "tensor/tensor.h"

pare_status pare_context_opencl(pare_context *context, cl_platform_id *platform, cl_device_id *device,
                                cl_context *cl_context_out, cl_command_queue *queue) {
  PARE__TRY(pare__context_check("pare_context_opencl", context));
  const pare__device *open = pare__context_device(context);
  if (platform) *platform = pare__device_platform(open);
  if (device) *device = pare__device_id(open);
  if (cl_context_out) *cl_context_out = pare__device_context(open);
  if (queue) *queue = pare__device_queue(open);
  return PARE_OK;
}

pare_status pare_tensor_opencl(pare_tensor *tensor, cl_mem *buffer, size_t *offset_bytes) {
  if (!tensor) return pare__fail_null("pare_tensor_opencl", "tensor");
  if (!buffer) return pare__fail_null("pare_tensor_opencl", "buffer");
  PARE__TRY(pare__context_check("pare_tensor_opencl", tensor->context));
  PARE__TRY(pare__tensor_poisoned(tensor));
  if (pare__context_members(tensor->context) > 1)
    return pare__fail(PARE_ERR_UNSUPPORTED,
                      "pare_tensor_opencl: in a context with several devices a tensor has no buffer of its own; open a "
                      "context with one device");
  if (!pare__tensor_on_device(tensor))
    return pare__fail(
        PARE_ERR_UNSUPPORTED,
        "pare_tensor_opencl: this tensor is larger than the device's largest buffer and lives on the host");
  *buffer = pare__buffer_mem(pare__tensor_buffer(tensor));
  if (offset_bytes) *offset_bytes = (size_t)pare__tensor_start(tensor) * pare_dtype_bytes(tensor->dtype);
  return PARE_OK;
}
