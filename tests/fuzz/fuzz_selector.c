/* Device selectors: any text selects devices of the list or is refused with a message.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ocl/list.h"

#define NDEVICES 5
#define CAPACITY 8

static pare_device_info infos[NDEVICES] = {
    {.name = "cpu-haswell",
     .vendor = "AuthenticAMD",
     .platform = "Portable Computing Language",
     .driver = "pocl",
     .driver_version = "3.1",
     .opencl_version = "OpenCL 3.0",
     .type = PARE_DEVICE_CPU,
     .compute_units = 4,
     .usable = true,
     .remark = ""},
    {.name = "llvmpipe",
     .vendor = "Mesa",
     .platform = "rusticl",
     .driver = "rusticl",
     .driver_version = "22",
     .opencl_version = "OpenCL 3.0",
     .type = PARE_DEVICE_CPU,
     .platform_index = 1,
     .compute_units = 1,
     .usable = true,
     .remark = ""},
    {.name = "Big GPU, 80 \"GB\"",
     .vendor = "NVIDIA Corporation",
     .platform = "NVIDIA CUDA",
     .driver = "nvidia",
     .driver_version = "535",
     .opencl_version = "OpenCL 3.0",
     .type = PARE_DEVICE_GPU,
     .platform_index = 2,
     .compute_units = 132,
     .usable = true,
     .remark = ""},
    {.name = "Big GPU, 80 \"GB\"",
     .vendor = "NVIDIA Corporation",
     .platform = "NVIDIA CUDA",
     .driver = "nvidia",
     .driver_version = "535",
     .opencl_version = "OpenCL 3.0",
     .type = PARE_DEVICE_GPU,
     .platform_index = 2,
     .device_index = 1,
     .compute_units = 132,
     .usable = true,
     .remark = ""},
    {.name = "fpga",
     .vendor = "Some",
     .platform = "Accelerators",
     .driver = "unknown",
     .driver_version = "1",
     .opencl_version = "OpenCL 1.2",
     .type = PARE_DEVICE_ACCELERATOR,
     .platform_index = 3,
     .compute_units = 2,
     .usable = false,
     .remark = "no compiler"},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  struct pare_device_list list = {.count = NDEVICES, .info = infos};
  pare_device_choice choices[CAPACITY];
  size_t count = 0;
  char *spec = fuzz_text(data, nbytes);
  pare_status status = pare_device_list_select(&list, spec, CAPACITY, choices, &count);
  if (status == PARE_OK) {
    FUZZ_LAW(count > 0);
    for (size_t i = 0; i < count && i < CAPACITY; i++) {
      FUZZ_LAW(choices[i].index < NDEVICES);
      FUZZ_LAW(choices[i].part < choices[i].nparts);
      FUZZ_LAW(choices[i].compute_units >= 1 && choices[i].compute_units <= infos[choices[i].index].compute_units);
      FUZZ_LAW(choices[i].weight > 0);
      /* groups are counted from 1, and a group's devices follow each other */
      FUZZ_LAW(choices[i].group <= nbytes);
      for (size_t k = 0; k + 1 < i && choices[i].group > 0; k++)
        FUZZ_LAW(choices[k].group != choices[i].group || choices[k + 1].group == choices[i].group);
      for (size_t k = 0; k < i; k++)
        FUZZ_LAW(choices[k].index != choices[i].index || choices[k].group == choices[i].group);
    }
  } else {
    FUZZ_LAW(status == PARE_ERR_SELECTOR || status == PARE_ERR_MEMORY);
    FUZZ_LAW(pare_message()[0] != '\0');
  }
  free(spec);
  return 0;
}
