/* The processor of this machine. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_HOST_CPU_H
#define PARE_OCL_HOST_CPU_H

#include <pare/device.h>

/* What CPUID says, in a form that differs between processors whose instructions differ; "" on other architectures. */
#define PARE__HOST_CPU_TEXT 128
void pare__host_cpu_text(char text[PARE__HOST_CPU_TEXT]);

/* Are these the vendor (ebx, ecx, edx of leaf 0) and features (ebx of leaf 7) of this processor? Then the device that
 * read them runs on it, and what CPUID tells the host holds for its kernels. */
bool pare__host_cpu_is(const int32_t registers[4]);

/* The instruction sets that processor and operating system offer. */
void pare__host_cpu_features(pare_device_capabilities *can);

#endif
