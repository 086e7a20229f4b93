/* The OpenCL devices of this machine and how selectors name them. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_DEVICE_H
#define PARE_DEVICE_H

#include <pare/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pare_device_type { PARE_DEVICE_CPU, PARE_DEVICE_GPU, PARE_DEVICE_ACCELERATOR } pare_device_type;

/* What a device can do. Found by asking the device: where a query may lie, by a trial compile and a tiny run. */
typedef struct pare_device_capabilities {
  bool f16;               /* arithmetic in half */
  bool f64;               /* arithmetic in double */
  bool subgroups;         /* cl_khr_subgroups or OpenCL 3 subgroups that work */
  bool integer_dot;       /* cl_khr_integer_dot_product that computes right */
  bool vector_extensions; /* clang vectors and builtins in kernels (__attribute__((vector_size))) */
  bool nontemporal_store; /* __builtin_nontemporal_store compiles and stores */
  bool inline_assembly;   /* x86 inline assembly compiles and runs */
  bool avx2;              /* CPUID of the host, only for a CPU device of this machine */
  bool avx512;            /* AVX-512 F, BW, VL */
  bool avx512_vnni;
  bool avx512_bf16;
  bool amx_int8;           /* AMX tiles of int8, which Linux lets this process use; what is past a tile needs VNNI */
  bool lane_vectors;       /* the driver takes vectors apart: short ones are as good, and compile sooner */
  bool unified_memory;     /* device and host share memory: wrapping needs no copy */
  unsigned vector_bits;    /* width of the widest vector unit worth using: 128, 256, 512; 32 on scalar-lane GPUs */
  uint32_t max_loop_steps; /* 0 = no limit; else loops of one work-item silently stop after this many steps */
} pare_device_capabilities;

/* One device. Strings belong to the list. */
typedef struct pare_device_info {
  const char *name, *vendor, *platform;
  const char *driver; /* short name: "pocl", "intel", "rusticl", "oclgrind", "nvidia", "amd", …, else "unknown" */
  const char *driver_version;
  const char *opencl_version;
  pare_device_type type;
  unsigned platform_index, device_index; /* the index of the device in its platform */
  unsigned compute_units, clock_mhz;
  uint64_t memory_bytes, max_buffer_bytes, local_bytes;
  uint64_t driver_bytes; /* host memory that the driver itself took to open the device; 0 if not measured */
  pare_device_capabilities can;
  bool usable;        /* false: pare refuses it */
  const char *remark; /* why it is refused, or what pare avoids on it; "" if nothing */
} pare_device_info;

typedef struct pare_device_list pare_device_list;

/* One device, or one part of a divided device, that a selector chose, in order of priority. */
typedef struct pare_device_choice {
  size_t index;           /* in the list */
  unsigned part, nparts;  /* 0 of 1 for a whole device */
  unsigned compute_units; /* of this part */
  unsigned first_unit;    /* its first compute unit */
  double weight;          /* first guess of relative speed; 1 unless the selector says otherwise */
  unsigned group;         /* which of the selector's parentheses it stands in, from 1; 0: in none */
} pare_device_choice;

/* Lists every device of every platform, in the order of enumeration. A platform without devices is harmless.
 * `probe` true also fills the capabilities (builds a tiny program per device; kept in the cache).
 * PARE_ERR_DEVICE if the loader fails; an empty list is not an error. PARE_ERR_ARGUMENT in a fork of a process that
 * used OpenCL through pare: drivers do not survive that. */
PARE_API pare_status pare_device_list_open(bool probe, pare_device_list **out);
PARE_API void pare_device_list_close(pare_device_list *list);
PARE_API size_t pare_device_list_count(const pare_device_list *list);
/* NULL if index is out of range. */
PARE_API const pare_device_info *pare_device_list_get(const pare_device_list *list, size_t index);

/* Which devices `spec` selects; NULL takes the environment's PARE_DEVICE, and without it all GPUs, else the first CPU.
 * The grammar is in pare(1). Fills at most `capacity` choices; *count is how many there are.
 * PARE_ERR_SELECTOR (term, column, and what there is) if the text is malformed or a term or the result matches nothing.
 */
PARE_API pare_status pare_device_list_select(const pare_device_list *list, const char *spec, size_t capacity,
                                             pare_device_choice *choices, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
