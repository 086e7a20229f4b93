/* Programs: found, built, kept. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ocl/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "ocl/cache.h"
#include "ocl/prebuild.h"

/* Lines and bytes of a build log that an error shows. */
#define LOG_LINES 12
#define LOG_BYTES 2000

static _Thread_local uint64_t preparations;

uint64_t pare__preparations(void) { return preparations; }
void pare__prepared(void) { preparations++; }

static void kernel_close(pare__kernel *kernel) {
  if (kernel->cl) clReleaseKernel(kernel->cl);
  free(kernel->entry);
  free(kernel);
}

void pare__program_close(pare__program *program) {
  if (!program) return;
  while (program->kernels) {
    pare__kernel *kernel = program->kernels;
    program->kernels = kernel->next;
    kernel_close(kernel);
  }
  if (program->cl) clReleaseProgram(program->cl);
  free(program->file);
  free(program->options);
  free(program);
}

/* ---- building ---- */

/* The build log, malloc'ed; NULL if there is none. */
static char *build_log(const pare__program *program) {
  size_t nbytes = 0;
  if (clGetProgramBuildInfo(program->cl, program->device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &nbytes) != CL_SUCCESS)
    return NULL;
  char *log = calloc(nbytes + 1, 1);
  if (log && nbytes > 0)
    clGetProgramBuildInfo(program->cl, program->device->id, CL_PROGRAM_BUILD_LOG, nbytes, log, NULL);
  return log;
}

/* Where the first error begins: a line with "error" in it, else the first line. */
static const char *first_error(const char *log) {
  const char *error = strcasestr(log, "error:");
  if (!error) return log;
  while (error > log && error[-1] != '\n') error--;
  return error;
}

/* How much of it an error shows. */
static size_t head_bytes(const char *text) {
  size_t nbytes = 0;
  for (unsigned lines = 0; lines < LOG_LINES && nbytes < LOG_BYTES && text[nbytes]; nbytes++)
    lines += text[nbytes] == '\n';
  while (nbytes > 0 && text[nbytes - 1] == '\n') nbytes--;
  return nbytes;
}

pare_status pare__program_fail_build(const pare__program *program, cl_int code) {
  /* says nothing about the kernel: it must not be distrusted for good */
  if (code == CL_OUT_OF_RESOURCES || code == CL_OUT_OF_HOST_MEMORY)
    return pare__fail_cl(code, "clBuildProgram(%s)", program->file);
  char *log = build_log(program);
  const char *head = log && *log ? first_error(log) : "(the driver gives no build log)";
  pare_status status =
      pare__fail(PARE_ERR_KERNEL, "building %s with \"%s\" on %s: %s (%d)\n%.*s", program->file, program->options,
                 program->device->info.name, pare__cl_name(code), code, (int)head_bytes(head), head);
  free(log);
  return status;
}

static pare_status build_from_source(pare__program *program, const pare__source *source) {
  cl_int code = CL_SUCCESS;
  const char *text = source->text;
  program->cl = clCreateProgramWithSource(program->device->context, 1, &text, NULL, &code);
  if (!program->cl) return pare__fail_cl(code, "clCreateProgramWithSource(%s)", program->file);
  /* -w: some drivers write the number of warnings to the caller's terminal. */
  char *options = pare__format("%s -w", program->options);
  if (!options) return pare__fail_memory("build options", strlen(program->options));
  code = clBuildProgram(program->cl, 1, &program->device->id, options, NULL, NULL);
  free(options);
  return code == CL_SUCCESS ? PARE_OK : pare__program_fail_build(program, code);
}

/* ---- the binary on disk ---- */

/* Everything that the binary depends on; the device key stands for device, driver and platform. */
static pare_status program_key(pare__program *program, const pare__source *source) {
  pare__hash *hash = pare__hash_open();
  if (!hash) return pare__fail_memory("a hash", 0);
  pare__hash_text(hash, program->device->key);
  pare__hash_text(hash, source->hash);
  pare__hash_text(hash, program->options);
  pare__hash_close(hash, program->key);
  return PARE_OK;
}

size_t pare__program_binary_bytes(const pare__program *program) {
  size_t nbytes = 0;
  cl_int code = clGetProgramInfo(program->cl, CL_PROGRAM_BINARY_SIZES, sizeof nbytes, &nbytes, NULL);
  return code == CL_SUCCESS ? nbytes : 0;
}

void pare__program_save(pare__program *program) {
  const size_t nbytes = pare__program_binary_bytes(program);
  if (nbytes == 0) return;
  unsigned char *binary = malloc(nbytes);
  if (!binary) return;
  cl_int code = clGetProgramInfo(program->cl, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL);
  if (code == CL_SUCCESS) pare__cache_write(program->device, PARE__CACHE_PROGRAM, program->key, binary, nbytes);
  free(binary);
}

bool pare__program_load(pare__program *program) {
  char *binary = NULL;
  size_t nbytes = 0;
  if (!pare__cache_read(PARE__CACHE_PROGRAM, program->key, &binary, &nbytes)) return false;
  const pare__device *device = program->device;
  const unsigned char *bytes = (const unsigned char *)binary;
  cl_int code = CL_SUCCESS, status = CL_SUCCESS;
  program->cl = clCreateProgramWithBinary(device->context, 1, &device->id, &nbytes, &bytes, &status, &code);
  if (code == CL_SUCCESS) code = status;
  if (code == CL_SUCCESS) code = clBuildProgram(program->cl, 1, &device->id, program->options, NULL, NULL);
  free(binary);
  if (code == CL_SUCCESS) return true;
  pare__log(PARE_LOG_WARN, "cache: %s does not take its binary of %s (%s); it is built again", device->info.name,
            program->file, pare__cl_name(code));
  if (program->cl) clReleaseProgram(program->cl);
  program->cl = NULL;
  pare__cache_remove(PARE__CACHE_PROGRAM, program->key);
  return false;
}

/* Not if there is no use for it; nor, if whoever builds many programs once wants no time spent on it, what the driver
 * has in a cache of its own. */
bool pare__program_worth_keeping(const pare__device *device) {
  const char *text = getenv("PARE_BINARIES");
  return !device->uncached && !(device->quirks->late_binary && text && strcmp(text, "0") == 0);
}

void pare__program_tell(const pare__device *device, bool begins) {
  if (device->watch_builds) device->watch_builds(begins);
}

static pare_status program_make(pare__program *program, const pare__source *source) {
  if (!program->device->uncached && pare__program_load(program)) return PARE_OK;
  double begin = pare__seconds();
  PARE__TRY(build_from_source(program, source));
  pare__log(PARE_LOG_INFO, "built %s with \"%s\" on %s in %.0f ms", program->file, program->options,
            program->device->info.name, 1e3 * (pare__seconds() - begin));
  if (!pare__program_worth_keeping(program->device)) return PARE_OK;
  if (program->device->quirks->late_binary) {
    program->unsaved = true;
    pare__prebuild_ask(program->device, program);
  } else {
    pare__program_save(program);
  }
  return PARE_OK;
}

static pare_status program_build(pare__program *program, const pare__source *source) {
  PARE__TRY(program_key(program, source));
  pare__program_tell(program->device, true);
  pare_status status = program_make(program, source);
  pare__program_tell(program->device, false);
  return status;
}

pare_status pare__program_new(pare__device *device, const char *file, const char *options, pare__program **out) {
  *out = NULL;
  pare__program *program = calloc(1, sizeof *program);
  if (!program) return pare__fail_memory("a program", sizeof *program);
  program->device = device;
  program->file = pare__strdup(file);
  program->options = pare__strdup(options);
  if (!program->file || !program->options) {
    pare__program_close(program);
    return pare__fail_memory("a program's name", strlen(file) + strlen(options));
  }
  *out = program;
  return PARE_OK;
}

static pare_status program_open(pare__device *device, const char *file, const char *options, pare__program **out) {
  pare__source *source = NULL;
  pare__program *program;
  PARE__TRY(pare__source_get(device, file, &source));
  PARE__TRY(pare__program_new(device, file, options, &program));
  pare_status status = program_build(program, source);
  if (status != PARE_OK) {
    pare__program_close(program);
    return status;
  }
  *out = program;
  return PARE_OK;
}

pare__program *pare__program_find(const pare__device *device, const char *file, const char *options) {
  pare__program *program = device->programs;
  while (program && (strcmp(program->file, file) != 0 || strcmp(program->options, options) != 0))
    program = program->next;
  return program;
}

void pare__program_add(pare__program *program) {
  pare__prepared();
  program->next = program->device->programs;
  program->device->programs = program;
}

pare_status pare__program_get(pare__device *device, const char *file, const char *options, pare__program **out) {
  *out = NULL;
  if (!options) options = "";
  pare__device_lock(device);
  pare_status status = PARE_OK;
  pare__program *program = pare__program_find(device, file, options);
  if (!program) {
    status = program_open(device, file, options, &program);
    if (program) pare__program_add(program);
  }
  *out = program;
  pare__device_unlock(device);
  return status;
}

/* The newest first: the prebuilding child began with the oldest. */
void pare__programs_close(pare__device *device) {
  while (device->programs) {
    pare__program *program = device->programs;
    device->programs = program->next;
    if (program->unsaved) pare__program_save(program);
    pare__program_close(program);
  }
  pare__prebuild_close(device);
  while (device->sources) {
    pare__source *source = device->sources;
    device->sources = source->next;
    pare__source_close(source);
  }
}

/* ---- kernels ---- */

static pare_status kernel_groups(pare__kernel *kernel) {
  cl_device_id id = kernel->program->device->id;
  cl_int code = clGetKernelWorkGroupInfo(kernel->cl, id, CL_KERNEL_WORK_GROUP_SIZE, sizeof kernel->max_group,
                                         &kernel->max_group, NULL);
  if (code == CL_SUCCESS)
    code = clGetKernelWorkGroupInfo(kernel->cl, id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof kernel->required_group,
                                    kernel->required_group, NULL);
  if (code == CL_SUCCESS) return PARE_OK;
  return pare__fail_cl(code, "clGetKernelWorkGroupInfo(%s of %s)", kernel->entry, kernel->program->file);
}

static pare_status kernel_open(pare__program *program, const char *entry, pare__kernel **out) {
  pare__kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel) return pare__fail_memory("a kernel", sizeof *kernel);
  kernel->program = program;
  kernel->entry = pare__strdup(entry);
  pare_status status = kernel->entry ? PARE_OK : pare__fail_memory("a kernel's name", strlen(entry));
  cl_int code = CL_SUCCESS;
  if (status == PARE_OK) kernel->cl = clCreateKernel(program->cl, entry, &code);
  if (code == CL_INVALID_KERNEL_NAME)
    status = pare__fail(PARE_ERR_KERNEL, "there is no kernel %s in %s", entry, program->file);
  else if (code != CL_SUCCESS)
    status = pare__fail_cl(code, "clCreateKernel(%s of %s)", entry, program->file);
  if (status == PARE_OK) status = kernel_groups(kernel);
  if (status != PARE_OK) {
    kernel_close(kernel);
    return status;
  }
  *out = kernel;
  return PARE_OK;
}

pare_status pare__kernel_get(pare__program *program, const char *entry, pare__kernel **out) {
  *out = NULL;
  pare__device_lock(program->device);
  pare_status status = PARE_OK;
  pare__kernel *kernel = program->kernels;
  while (kernel && strcmp(kernel->entry, entry) != 0) kernel = kernel->next;
  if (!kernel) {
    pare__prepared();
    status = kernel_open(program, entry, &kernel);
    if (kernel) {
      kernel->next = program->kernels;
      program->kernels = kernel;
    }
  }
  *out = kernel;
  pare__device_unlock(program->device);
  return status;
}

size_t pare__kernel_max_group(const pare__kernel *kernel) { return kernel->max_group; }
