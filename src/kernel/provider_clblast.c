/* CLBlast as a provider of matrix products, through its C interface. SPDX-License-Identifier: Apache-2.0
 *
 * CLBlast compiles for itself and keeps programs by context in a cache of the whole process; the cache holds on to
 * contexts, so that it is cleared whenever a device closes that used it. That is safe beside other threads inside
 * CLBlast: what they use is counted, and what they miss is compiled again. */
#include "kernel/provider_clblast.h"

#include <assert.h>

#include "kernel/family_gemm.h"
#include "kernel/state.h"

/* ---- errors ---- */

#define NAMED(code) \
  { CLBlast##code, #code }
static const struct {
  CLBlastStatusCode code;
  const char *name;
} own_codes[] = {
    NAMED(NotImplemented),      NAMED(InvalidMatrixA),       NAMED(InvalidMatrixB),      NAMED(InvalidMatrixC),
    NAMED(InvalidDimension),    NAMED(InvalidLeadDimA),      NAMED(InvalidLeadDimB),     NAMED(InvalidLeadDimC),
    NAMED(InsufficientMemoryA), NAMED(InsufficientMemoryB),  NAMED(InsufficientMemoryC), NAMED(InsufficientMemoryTemp),
    NAMED(InvalidBatchCount),   NAMED(InvalidLocalMemUsage), NAMED(NoDoublePrecision),   NAMED(DatabaseError),
    NAMED(UnknownError),        NAMED(UnexpectedError),
};
#undef NAMED

/* Its status is an OpenCL code where one fits. A kernel that does not compile says nothing about the device. */
static pare_status status_of(const pare__run *run, CLBlastStatusCode code, const char *call) {
  const int64_t *dim = run->piece->dim;
  const char *device = pare__device_info(run->device)->name;
  if (code == CLBlastSuccess) return PARE_OK;
  for (unsigned i = 0; i < PARE__COUNT(own_codes); i++)
    if (own_codes[i].code == code)
      return pare__fail(PARE_ERR_KERNEL, "%s(%lld x %lld x %lld) on %s: CLBlast%s (%d)", call, (long long)dim[GEMM_M],
                        (long long)dim[GEMM_N], (long long)dim[GEMM_K], device, own_codes[i].name, (int)code);
  pare_status status = pare__fail_cl((cl_int)code, "%s(%lld x %lld x %lld) on %s", call, (long long)dim[GEMM_M],
                                     (long long)dim[GEMM_N], (long long)dim[GEMM_K], device);
  return code == CLBlastOpenCLBuildProgramFailure ? PARE_ERR_KERNEL : status;
}

/* ---- what it takes ---- */

typedef struct matrix {
  CLBlastTranspose transpose;
  int64_t pitch; /* from one row, or one column of a transposed matrix, to the next */
} matrix;

/* As BLAS sees a matrix of the problem, row-major; false if it is none. */
static bool as_matrix(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, matrix *out) {
  const bool by_rows = column_stride == 1 && row_stride >= columns;
  *out = (matrix){by_rows ? CLBlastTransposeNo : CLBlastTransposeYes, by_rows ? row_stride : column_stride};
  return by_rows || (row_stride == 1 && column_stride >= rows);
}

static bool operands(const pare__problem *problem, matrix *a, matrix *b, matrix *c) {
  const int64_t *dim = problem->dim, m = dim[GEMM_M], n = dim[GEMM_N], k = dim[GEMM_K];
  return as_matrix(m, k, dim[GEMM_A_ROW], dim[GEMM_A_COL], a) && as_matrix(k, n, dim[GEMM_B_ROW], dim[GEMM_B_COL], b) &&
         as_matrix(m, n, dim[GEMM_C_ROW], dim[GEMM_C_COL], c) && c->transpose == CLBlastTransposeNo;
}

bool pare__clblast_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim, most_elements = INT32_MAX / 2; /* its kernels count in int, with padding */
  matrix a, b, c;
  int64_t elements = 0;
  for (unsigned i = 0; i < GEMM_NBUFFERS; i++) {
    if (i == GEMM_BUFFER_BIAS || i == GEMM_BUFFER_SUMMAND) continue;
    if (whole->dtype[i] != whole->dtype[GEMM_BUFFER_C]) return false;
    pare__buffer_spec spec;
    pare__gemm_buffer(whole, i, &spec);
    if (spec.elements > most_elements) return false;
    elements += spec.elements;
  }
  (void)info;
  return elements <= most_elements && pare__gemm_accepts(whole) && dim[GEMM_K] > 0 && dim[GEMM_PANEL] == 0 &&
         !dim[GEMM_BIAS] && !dim[GEMM_SUMMAND] && dim[GEMM_ACTIVATION] == 0 && operands(whole, &a, &b, &c);
}

/* ---- the product ---- */

typedef struct product {
  const pare__run *run;
  bool f64;
  matrix a, b, c;
  size_t m, n, k, batches;
  cl_mem mem[GEMM_NBUFFERS];
  size_t offset[GEMM_NBUFFERS], stride[GEMM_NBUFFERS];
  pare__buffer *temporary; /* of the device's accounted memory; shared by the batches, which run in order */
} product;

#define SIZES CLBlastLayoutRowMajor, p->a.transpose, p->b.transpose, p->m, p->n, p->k
#define MATRIX(name, i) p->mem[i], p->offset[i], (size_t)p->name.pitch
#define A MATRIX(a, GEMM_BUFFER_A)
#define B MATRIX(b, GEMM_BUFFER_B)
#define C MATRIX(c, GEMM_BUFFER_C)
#define ALPHA p->run->whole->real[GEMM_ALPHA]
#define BETA p->run->whole->real[GEMM_BETA]

/* What the padded copies of matrices that begin at these offsets need. */
static pare_status temporary_bytes(const product *p, const size_t *offset, size_t *out) {
  cl_command_queue queue = pare__device_queue(p->run->device);
  CLBlastStatusCode (*ask)(CLBlastLayout, CLBlastTranspose, CLBlastTranspose, size_t, size_t, size_t, size_t, size_t,
                           size_t, size_t, size_t, size_t, cl_command_queue *, size_t *) =
      p->f64 ? CLBlastDGemmTempBufferSize : CLBlastSGemmTempBufferSize;
  *out = 0;
  return status_of(p->run,
                   ask(SIZES, offset[GEMM_BUFFER_A], (size_t)p->a.pitch, offset[GEMM_BUFFER_B], (size_t)p->b.pitch,
                       offset[GEMM_BUFFER_C], (size_t)p->c.pitch, &queue, out),
                   "CLBlastGemmTempBufferSize");
}

static pare_status multiply_one(product *p) {
  cl_command_queue queue = pare__device_queue(p->run->device);
  size_t nbytes;
  PARE__TRY(temporary_bytes(p, p->offset, &nbytes));
  if (nbytes == 0)
    return status_of(p->run,
                     p->f64 ? CLBlastDgemm(SIZES, ALPHA, A, B, BETA, C, &queue, NULL)
                            : CLBlastSgemm(SIZES, (float)ALPHA, A, B, (float)BETA, C, &queue, NULL),
                     "CLBlastGemm");
  if (!p->temporary || pare__buffer_bytes(p->temporary) < nbytes) {
    pare__buffer_release(p->temporary);
    PARE__TRY(pare__buffer_create(p->run->device, nbytes, "CLBlast's padded matrices", &p->temporary));
  }
  cl_mem padded = pare__buffer_mem(p->temporary);
  return status_of(p->run,
                   p->f64 ? CLBlastDgemmWithTempBuffer(SIZES, ALPHA, A, B, BETA, C, &queue, NULL, padded)
                          : CLBlastSgemmWithTempBuffer(SIZES, (float)ALPHA, A, B, (float)BETA, C, &queue, NULL, padded),
                   "CLBlastGemmWithTempBuffer");
}

static pare_status multiply_batch(product *p) {
  cl_command_queue queue = pare__device_queue(p->run->device);
  const size_t a = p->stride[GEMM_BUFFER_A], b = p->stride[GEMM_BUFFER_B], c = p->stride[GEMM_BUFFER_C];
  return status_of(
      p->run,
      p->f64 ? CLBlastDgemmStridedBatched(SIZES, ALPHA, A, a, B, b, BETA, C, c, p->batches, &queue, NULL)
             : CLBlastSgemmStridedBatched(SIZES, (float)ALPHA, A, a, B, b, (float)BETA, C, c, p->batches, &queue, NULL),
      "CLBlastGemmStridedBatched");
}

/* A batch in one call only where CLBlast takes its single kernel: the other way allocates what pare cannot account for,
 * and (1.5.3) forgets offsets and strides of matrices that need no padding. It is the other way that needs memory for a
 * matrix which does not begin at 0. */
static pare_status multiply(product *p) {
  static const size_t not_at_0[GEMM_NBUFFERS] = {1, 1, 1, 1};
  size_t nbytes;
  PARE__TRY(temporary_bytes(p, not_at_0, &nbytes));
  if (p->batches > 1 && nbytes == 0) return multiply_batch(p);
  for (size_t batch = 0; batch < p->batches; batch++) {
    PARE__TRY(multiply_one(p));
    for (int i = 0; i < GEMM_NBUFFERS; i++) p->offset[i] += p->stride[i];
  }
  return PARE_OK;
}

/* Its kernels count elements in int, from the start of the buffer: what lies further is reached through a part of it.
 */
static pare_status open_part(const pare__run *run, product *p, int i, cl_mem *part) {
  const size_t most_elements = INT32_MAX / 2, element = pare_dtype_bytes(run->whole->dtype[i]);
  if (p->offset[i] <= most_elements) return PARE_OK;
  cl_uint align_bits = 0;
  size_t total = 0;
  cl_int code = clGetDeviceInfo(pare__device_id(run->device), CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align_bits,
                                &align_bits, NULL);
  if (code == CL_SUCCESS) code = clGetMemObjectInfo(p->mem[i], CL_MEM_SIZE, sizeof total, &total, NULL);
  const size_t align = PARE__MAX(align_bits / 8, element), start = p->offset[i] * element / align * align;
  const cl_buffer_region region = {start, total - start};
  if (code == CL_SUCCESS)
    *part = clCreateSubBuffer(p->mem[i], CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
  if (code != CL_SUCCESS) return pare__fail_cl(code, "clCreateSubBuffer(%zu bytes from %zu)", region.size, start);
  p->mem[i] = *part;
  p->offset[i] -= start / element;
  return PARE_OK;
}

static pare_status launch_batch(const pare__run *run, int64_t batch0) {
  static const int batch_strides[GEMM_NBUFFERS] = {
      [GEMM_BUFFER_A] = GEMM_A_BATCH0, [GEMM_BUFFER_B] = GEMM_B_BATCH0, [GEMM_BUFFER_C] = GEMM_C_BATCH0};
  const int64_t *dim = run->piece->dim;
  product p = {.run = run, .f64 = run->whole->dtype[GEMM_BUFFER_C] == PARE_F64};
  p.m = (size_t)dim[GEMM_M];
  p.n = (size_t)dim[GEMM_N];
  p.k = (size_t)dim[GEMM_K];
  p.batches = (size_t)dim[GEMM_BATCH2];
  const bool taken = operands(run->piece, &p.a, &p.b, &p.c);
  assert(taken);
  (void)taken;
  pare_status status = PARE_OK;
  for (int64_t batch1 = 0; status == PARE_OK && batch1 < dim[GEMM_BATCH1]; batch1++) {
    cl_mem part[GEMM_NBUFFERS] = {NULL};
    for (int i = 0; status == PARE_OK && i < GEMM_NBUFFERS; i++) {
      const int64_t *stride = dim + batch_strides[i];
      if (i == GEMM_BUFFER_BIAS || i == GEMM_BUFFER_SUMMAND) continue;
      p.mem[i] = run->operand[i].mem;
      p.offset[i] = (size_t)(run->operand[i].offset + batch0 * stride[0] + batch1 * stride[1]);
      p.stride[i] = (size_t)stride[2];
      status = open_part(run, &p, i, &part[i]);
    }
    if (status == PARE_OK) status = multiply(&p);
    for (int i = 0; i < GEMM_NBUFFERS; i++)
      if (part[i]) clReleaseMemObject(part[i]);
  }
  pare__buffer_release(p.temporary); /* the driver keeps it until what is enqueued has run */
  return status;
}

static void forget_programs(void) { (void)CLBlastClearCache(); }

pare_status pare__clblast_launch(const pare__run *run) {
  pare__state *state;
  pare__device_lock(run->device);
  pare_status status = pare__state_get(run->device, &state);
  if (status == PARE_OK) {
    state->close_provider = forget_programs;
    status = pare__gemm_each_batch(run, launch_batch);
  }
  pare__device_unlock(run->device);
  return status;
}
