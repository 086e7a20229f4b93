/* Floor 2: families of kernels, their variants, trust and tuning. Knows nothing of tensors.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A family is an operation on flat buffers: one double-precision reference, one generator of inputs and of problems.
 * A variant is one way to run it: a table row and a .cl file. Tests, self-test, tuner and benchmark iterate over the
 * rows and need no more code. doc/add-a-kernel.md shows how. */
#ifndef PARE_KERNEL_KERNEL_H
#define PARE_KERNEL_KERNEL_H

#include <pare/dtype.h>

#include "ocl/ocl.h"

#define PARE__MAX_DIMS 40
#define PARE__MAX_BUFFERS 8
#define PARE__MAX_PARAMS 8

typedef struct pare__family pare__family;
typedef struct pare__variant pare__variant;

/* Bits of a problem's flags. */
enum { PARE__IN_PIECES = 1 /* must be run in pieces, whatever the choice */ };

/* One instance of a family. What dim, real and mode mean is written at the family. dtype[i] is that of buffer i. */
typedef struct pare__problem {
  int64_t dim[PARE__MAX_DIMS];
  double real[4];
  int mode; /* e.g. which reduction, which unary operation */
  unsigned flags;
  pare_dtype dtype[PARE__MAX_BUFFERS];
} pare__problem;

/* A buffer and the element where the operation starts in it. mem NULL: an optional buffer that is absent. */
typedef struct pare__operand {
  cl_mem mem;
  int64_t offset;
} pare__operand;

typedef struct pare__tuning {
  int value[PARE__MAX_PARAMS];
} pare__tuning;

/* What a launch function sees: run the piece so that its bits are those of the same elements in the whole. */
typedef struct pare__run {
  pare__device *device;
  const pare__variant *variant;
  pare__tuning tuning;
  const pare__problem *whole; /* decides everything that can change bits */
  const pare__problem *piece; /* what to compute now; equals whole if the operation is not split */
  const pare__operand *operand;
} pare__run;

/* A tuning parameter. Passed as -DNAME=value. `values` ends with 0. */
typedef struct pare__param {
  const char *name;
  const int *values;
} pare__param;

/* What a variant needs of the device: bits for `needs`. A device that has this, and the width of vectors and the local
 * memory of the row, can run the variant: tests then want a problem of it. So `accepts` looks at the device only for
 * what depends on the problem, too. */
enum {
  PARE__NEEDS_INTEGER_DOT = 1,
  PARE__NEEDS_VECTOR_EXTENSIONS = 2,
  PARE__NEEDS_INLINE_ASSEMBLY = 4,
  PARE__NEEDS_AVX2 = 8,
  PARE__NEEDS_AVX512 = 16,
  PARE__NEEDS_AVX512_VNNI = 32,
  PARE__NEEDS_AMX_INT8 = 64,
  PARE__NEEDS_CPU = 128,       /* device type, where a shape cannot even run elsewhere */
  PARE__NEEDS_LONG_LOOPS = 256 /* of any number of steps: a device that ends loops early takes none of its problems */
};
/* Which devices it is shaped for: those try it first, others only when nothing better is left. */
typedef enum pare__shaped { PARE__FOR_CPU, PARE__FOR_GPU, PARE__FOR_ANY } pare__shaped;

struct pare__variant {
  const char *name;     /* unique in the family */
  const char *file;     /* in cl/; NULL: a library brings the kernel */
  const char *provider; /* that library with its version: a part of what was trusted */
  unsigned needs;
  unsigned vector_bits;      /* of the vectors that it is written for; 0: any */
  uint32_t local_bytes;      /* local memory that no problem does without, */
  uint32_t lane_local_bytes; /* and so much more for each 32 bits of the device's vectors */
  pare__shaped shaped;
  bool risky;                /* inline assembly or extensions: first tested in a child process */
  bool whole_only;           /* its bits depend on the shape of a piece: the choice of it forbids to split */
  uint32_t dtypes;           /* bit (1u << dtype[0]) set: takes it; 0: all of the family's */
  const pare__param *params; /* ends with {NULL, NULL}; NULL: none */
  unsigned neutral;          /* bit p: no bit of a result depends on params[p] */
  /* Built-in tuning for this device and problem; NULL: the first value of each parameter. */
  void (*defaults)(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning);
  /* Can it compute this problem here? NULL: yes. Must not depend on anything but its arguments. */
  bool (*accepts)(const pare_device_info *info, const pare__problem *whole);
  pare_status (*launch)(const pare__run *run); /* NULL: the family's */
};

typedef enum pare__role { PARE__IN, PARE__OUT, PARE__INOUT, PARE__ABSENT } pare__role;
typedef struct pare__buffer_spec {
  pare__role role;
  int64_t elements;
} pare__buffer_spec;

typedef enum pare__case_set {
  PARE__CASES_SELFTEST, /* a handful of tiny problems, under 50 ms in all once built; together they must reach every
                           path */
  PARE__CASES_TEST,     /* odd, prime, zero-size, large; every dtype, mode and flag */
  PARE__CASES_BENCH     /* what tuner and benchmark time */
} pare__case_set;

struct pare__family {
  const char *name, *what; /* what: one line for tables */
  unsigned nbuffers;
  const pare__variant *variants; /* ends with a row whose name is NULL */
  /* Problem number `index` of the set for this device; false past the last. */
  bool (*problem)(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out);
  /* Role and size of buffer i (0 … nbuffers-1). */
  void (*buffer)(const pare__problem *problem, unsigned i, pare__buffer_spec *out);
  /* Fills input i; deterministic in seed. NULL: uniform in [-1, 1] for floats, the full range for integers. */
  void (*generate)(const pare__problem *problem, unsigned i, uint64_t seed, void *data);
  /* Double-precision reference. data[i]: the inputs in their dtypes (as generated). For each output i fills expected[i]
   * and tolerance[i] (one an element, absolute; 0 = exact, NaN must meet NaN, infinity the same infinity; a negative
   * tolerance: any value will do). Returns false if out of memory. */
  bool (*reference)(const pare__problem *problem, void *const *data, double *const *expected, double *const *tolerance);
  /* Floating-point operations and the fewest bytes moved, for figures. */
  void (*work)(const pare__problem *problem, double *flops, double *bytes);
  /* Text such as "512x512x512 f32" for tables. */
  void (*describe)(const pare__problem *problem, char *text, size_t capacity);
  /* Shape class that tuning is kept by, e.g. "f32 small-m". */
  void (*shape_class)(const pare__problem *problem, char *text, size_t capacity);
  /* The class that decides the variant, and the parameters that are not neutral, for all problems that differ in the
   * number of samples only: a batch in pieces has the bits of the whole. NULL: classes don't tell samples apart. */
  void (*deciding_class)(const pare__problem *problem, char *text, size_t capacity);
  pare_status (*launch)(const pare__run *run); /* the common launch; a variant may have its own */
};

/* All families; ends with NULL. */
extern const pare__family *const pare__families[];
const pare__family *pare__family_find(const char *name);

/* A chosen variant with its tuning. */
typedef struct pare__choice {
  const pare__variant *variant;
  pare__tuning tuning;
} pare__choice;

/* The variant for this problem: the tuner's database (what bits depend on is the deciding class's there), else the
 * built-in order (rows as listed; those shaped for the device first), skipping what the device cannot do, what does not
 * accept the problem, and what failed its self-test (run at first use). PARE_ERR_TYPE / PARE_ERR_UNSUPPORTED /
 * PARE_ERR_KERNEL if none is left, with the reason of each. Deterministic. */
pare_status pare__choose(pare__device *device, const pare__family *family, const pare__problem *whole,
                         pare__choice *out);

/* Runs a piece with the choice. Asynchronous. */
pare_status pare__run_choice(pare__device *device, const pare__family *family, const pare__choice *choice,
                             const pare__problem *whole, const pare__problem *piece, const pare__operand *operand);

/* choose + run of the whole problem. */
pare_status pare__run_family(pare__device *device, const pare__family *family, const pare__problem *problem,
                             const pare__operand *operand);

/* For launch functions: builds the variant's file with the tuning as -D, a -D for each dtype ("-DT0=f32 -DT1=bf16 …":
 * see cl/dtype.cl), the capability flags (PARE_NONTEMPORAL, PARE_VECTOR_EXTENSIONS, …) and `extra_options` (NULL
 * allowed), and launches `entry`. */
pare_status pare__run_kernel(const pare__run *run, const char *entry, const char *extra_options, unsigned dims,
                             const size_t *global, const size_t *local, const pare__args *args);
/* The value of a tuning parameter by name; asserts that it exists. */
int pare__tuned(const pare__run *run, const char *param);

/* ---- trust ---- */

typedef enum pare__verdict {
  PARE__UNTESTED,
  PARE__TRUSTED,
  PARE__WRONG,
  PARE__CRASHED,
  PARE__HUNG,
  PARE__NOT_BUILT,
  PARE__SLOW_BUILD, /* no end of building was in sight: another time it may be built */
  PARE__SLOW_RUN,   /* the machine was too busy to run it: another time it may not be */
  PARE__REFUSED,    /* the driver failed, twice: another time it may not */
  PARE__CANNOT      /* the device lacks something: the one verdict, beside trusted, that is no failure */
} pare__verdict;
const char *pare__verdict_name(pare__verdict verdict);
/* Runs the self-test problems of one variant (all dtypes it takes) on the device; reason gets the first difference.
 * In a child process if the variant is risky or the driver unknown. Kept beside the binaries; `again` ignores what is
 * kept. */
pare_status pare__selftest(pare__device *device, const pare__family *family, const pare__variant *variant, bool again,
                           pare__verdict *verdict, char *reason, size_t capacity);

/* Runs one problem with one variant and compares with the reference; worst = largest error / tolerance (<= 1 is right).
 * seconds (NULL allowed) gets the device time of one run. */
pare_status pare__check(pare__device *device, const pare__family *family, const pare__variant *variant,
                        const pare__tuning *tuning, const pare__problem *problem, uint64_t seed, double *worst,
                        char *reason, size_t capacity);
/* Median seconds of one run over at least `rounds` runs after warming up. */
pare_status pare__time(pare__device *device, const pare__family *family, const pare__choice *choice,
                       const pare__problem *problem, unsigned rounds, double *seconds);
/* Can the variant compute this problem on the device? problem NULL: can the device run the variant at all? If not,
 * reason says why. */
bool pare__variant_possible(const pare_device_info *info, const pare__family *family, const pare__variant *variant,
                            const pare__problem *problem, char *reason, size_t capacity);
/* Has the CPU 16 vector registers, not 32? For sizes of tiles. */
bool pare__few_registers(const pare_device_info *info);
void pare__variant_defaults(const pare_device_info *info, const pare__variant *variant, const pare__problem *problem,
                            pare__tuning *tuning);

/* ---- tuning ---- */

typedef void (*pare__tune_progress)(const char *family, const char *shape_class, const char *variant, double fraction,
                                    void *user);
/* Searches all variants and parameters for the benchmark problems of `family` (NULL: all) within budget_seconds and
 * keeps the best per device and shape class on disk. */
pare_status pare__tune(pare__device *device, const pare__family *family, double budget_seconds,
                       pare__tune_progress progress, void *user);

#endif
