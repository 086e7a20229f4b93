/* The processor of this machine. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/host_cpu.h"

#include <stdio.h>

#if defined(__x86_64__)
#include <cpuid.h>

void pare__host_cpu_text(char text[PARE__HOST_CPU_TEXT]) {
  unsigned a, b, c, d, vendor[3] = {0}, model = 0, features[4] = {0};
  if (__get_cpuid(0, &a, &vendor[0], &vendor[1], &vendor[2]) && __get_cpuid(1, &model, &b, &c, &d)) features[0] = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    features[1] = b;
    features[2] = c;
  }
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) features[3] = a;
  snprintf(text, PARE__HOST_CPU_TEXT, "x86 %08x%08x%08x %08x %08x %08x %08x %08x", vendor[0], vendor[1], vendor[2],
           model, features[0], features[1], features[2], features[3]);
}

bool pare__host_cpu_is(const int32_t registers[4]) {
  unsigned a, b, c, d;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return false;
  if ((unsigned)registers[0] != b || (unsigned)registers[1] != c || (unsigned)registers[2] != d) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (unsigned)registers[3] == b;
}

void pare__host_cpu_features(pare_device_capabilities *can) {
  __builtin_cpu_init();
  can->avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  can->avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  can->avx512_vnni = can->avx512 && __builtin_cpu_supports("avx512vnni");
  can->avx512_bf16 = can->avx512 && __builtin_cpu_supports("avx512bf16");
}

#else

void pare__host_cpu_text(char text[PARE__HOST_CPU_TEXT]) { text[0] = '\0'; }

bool pare__host_cpu_is(const int32_t registers[4]) {
  (void)registers;
  return false;
}

void pare__host_cpu_features(pare_device_capabilities *can) { (void)can; }

#endif
