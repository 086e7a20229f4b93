/* The processor of this machine. SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE
#include "ocl/host_cpu.h"

#include <stdio.h>
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

/* Tiles of AMX are so much state that Linux saves them only for a process that has asked (since 5.16; the answer holds
 * for all of its threads): to one that has not, the first use of a tile is an illegal instruction. */
static bool may_use_tiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
  return false;
#endif
}

static bool has_amx_int8(void) {
  const unsigned amx_tile = 1U << 24, amx_int8 = 1U << 25; /* CPUID 7.0, EDX */
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_tile) && (d & amx_int8) && may_use_tiles();
}

void pare__host_cpu_features(pare_device_capabilities *can) {
  __builtin_cpu_init();
  can->avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  can->avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  can->avx512_vnni = can->avx512 && __builtin_cpu_supports("avx512vnni");
  can->avx512_bf16 = can->avx512 && __builtin_cpu_supports("avx512bf16");
  can->amx_int8 = can->avx512_vnni && has_amx_int8();
}

#else

void pare__host_cpu_text(char text[PARE__HOST_CPU_TEXT]) { text[0] = '\0'; }

bool pare__host_cpu_is(const int32_t registers[4]) {
  (void)registers;
  return false;
}

void pare__host_cpu_features(pare_device_capabilities *can) { (void)can; }

#endif
