/* Loads the fault layer into a test and proves that it is there. SPDX-License-Identifier: Apache-2.0 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdlib.h>

#include "fault.h"

const fault_control *fault_layer_load(const char **why) {
  static const char path[] = PARE_BUILD_FOLDER "/tests/.libs/fault_layer.so";
  *why = "the layer cannot be opened: build it with make check";
  void *layer = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (layer == NULL) return NULL;
  *why = "the layer exports no control";
  const fault_control *(*control)(void) = (const fault_control *(*)(void))dlsym(layer, "fault_layer_control");
  if (control == NULL) return NULL;
  *why = "the loader did not put the layer into the chain: it lacks OPENCL_LAYERS, or OpenCL was called before";
  cl_uint nplatforms = 0;
  if (setenv("OPENCL_LAYERS", path, 1) != 0) return NULL;
  clGetPlatformIDs(0, NULL, &nplatforms);
  if (control()->calls("clGetPlatformIDs") == 0) return NULL;
  *why = NULL;
  return control();
}
