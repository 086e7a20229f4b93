/* What a device can do, tried: each PROBE_… adds one try to the kernel, which leaves four ints for it.
 * src/ocl/probe.c knows what they must be. SPDX-License-Identifier: Apache-2.0
 *
 * in holds 1, 2, … 16, so that nothing can be computed while compiling. One work-group of GROUP items. */
#ifndef GROUP
#define GROUP 1
#endif
#define RESULT(probe, i) out[4 * (probe) + (i)]

#ifdef PROBE_F16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
#ifdef PROBE_F64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#if defined(PROBE_SUBGROUPS) && __OPENCL_C_VERSION__ < 300
#pragma OPENCL EXTENSION cl_khr_subgroups : enable
#endif

#ifdef PROBE_VECTOR_EXTENSIONS
typedef int vector8 __attribute__((vector_size(32)));
typedef int extended8 __attribute__((ext_vector_type(8)));
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void probe(__global int *out, __global const int *in,
                                                                       long steps) {
#ifdef PROBE_F16
  RESULT(PROBE_F16, 0) = (int)((half)in[2] / (half)in[1] * (half)in[9]);
  RESULT(PROBE_F16, 1) = (int)((half)2048 + (half)in[0]); /* between 2048 and 2050: to the even one */
#endif
#ifdef PROBE_F64
  RESULT(PROBE_F64, 0) = (int)(((double)in[0] + in[1] * 0x1p-50 - in[0]) * 0x1p50);
#endif
#ifdef PROBE_VECTOR_EXTENSIONS
  vector8 v;
  for (int i = 0; i < 8; i++) v[i] = in[i];
  extended8 e = __builtin_astype(v * v + 1, extended8);
  e = __builtin_shufflevector(e, e, 7, 6, 5, 4, 3, 2, 1, 0);
  RESULT(PROBE_VECTOR_EXTENSIONS, 0) = e[0];
  RESULT(PROBE_VECTOR_EXTENSIONS, 1) = e[7];
#endif
#ifdef PROBE_NONTEMPORAL_STORE
  __builtin_nontemporal_store((int4)(in[3], in[4], in[5], in[6]), (__global int4 *)&RESULT(PROBE_NONTEMPORAL_STORE, 0));
#endif
#ifdef PROBE_INLINE_ASSEMBLY
  /* the processor's name and features, to be compared with the host's */
  uint a = 0, b, c = 0, d;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  RESULT(PROBE_INLINE_ASSEMBLY, 0) = (int)b;
  RESULT(PROBE_INLINE_ASSEMBLY, 1) = (int)c;
  RESULT(PROBE_INLINE_ASSEMBLY, 2) = (int)d;
  a = 7;
  c = 0;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  RESULT(PROBE_INLINE_ASSEMBLY, 3) = (int)b;
#endif
#ifdef PROBE_SUBGROUPS
  uint size = get_sub_group_size();
  atomic_add(&RESULT(PROBE_SUBGROUPS, 0), (uint)sub_group_reduce_add(in[0]) == size);
  atomic_add(&RESULT(PROBE_SUBGROUPS, 1), sub_group_broadcast(get_sub_group_local_id() + 5, 0) == 5);
#endif
#ifdef PROBE_INTEGER_DOT
  char4 s = (char4)(-128, 127, (char)in[0], (char)in[1]), t = (char4)(127, -128, (char)in[2], (char)in[3]);
  RESULT(PROBE_INTEGER_DOT, 0) = dot(s, t);
  RESULT(PROBE_INTEGER_DOT, 1) = (int)dot(as_uchar4(s), as_uchar4(t));
#endif
#ifdef PROBE_LOOP
  int count = 0;
  for (long i = 0; i < steps; i++) count += in[i & 7] > 0;
  RESULT(PROBE_LOOP, 0) = count;
#endif
}
