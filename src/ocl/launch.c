/* Arguments and launches. SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "ocl/capture.h"
#include "ocl/device.h"
#include "ocl/grids.h"
#include "ocl/program.h"

/* One push function a type: a wrong type at a call site is then a compiler's warning, not a wrong result. */
#define PUSH(function, type, member, kind_of_type)  \
  void function(pare__args *args, type value) {     \
    assert(args->count < PARE__MAX_ARGS);           \
    args->item[args->count].nbytes = sizeof(type);  \
    args->item[args->count].kind = kind_of_type;    \
    args->item[args->count++].value.member = value; \
  }
PUSH(pare__arg_int, int32_t, i, PARE__ARG_INT)
PUSH(pare__arg_uint, uint32_t, u, PARE__ARG_UINT)
PUSH(pare__arg_long, int64_t, l, PARE__ARG_LONG)
PUSH(pare__arg_ulong, uint64_t, ul, PARE__ARG_ULONG)
PUSH(pare__arg_float, float, f, PARE__ARG_FLOAT)
PUSH(pare__arg_double, double, d, PARE__ARG_DOUBLE)
PUSH(pare__arg_mem, cl_mem, m, PARE__ARG_MEM)
#undef PUSH

void pare__arg_local(pare__args *args, size_t nbytes) {
  assert(args->count < PARE__MAX_ARGS);
  args->item[args->count].nbytes = nbytes;
  args->item[args->count++].kind = PARE__ARG_LOCAL;
}

void pare__arg_long8(pare__args *args, const int64_t value[8]) {
  assert(args->count < PARE__MAX_ARGS);
  args->item[args->count].nbytes = sizeof args->item[0].value.l8;
  args->item[args->count].kind = PARE__ARG_LONG8;
  memcpy(args->item[args->count++].value.l8, value, sizeof args->item[0].value.l8);
}

static pare_status set_arguments(const pare__kernel *kernel, const pare__args *args) {
  for (unsigned i = 0; i < args->count; i++) {
    const void *value = args->item[i].kind == PARE__ARG_LOCAL ? NULL : &args->item[i].value;
    cl_int code = clSetKernelArg(kernel->cl, i, args->item[i].nbytes, value);
    if (code != CL_SUCCESS)
      return pare__fail_cl(code, "clSetKernelArg(%s of %s, argument %u, %zu bytes)", kernel->entry,
                           kernel->program->file, i, args->item[i].nbytes);
  }
  return PARE_OK;
}

static pare_status check_group(const pare__device *device, const pare__kernel *kernel, unsigned dims,
                               const size_t *global, const size_t *local) {
  size_t items = 1;
  for (unsigned d = 0; d < dims; d++) {
    if (local[d] == 0 || global[d] % local[d] != 0)
      return pare__fail(PARE_ERR_DEVICE, "launching %s of %s: %zu work-items are no multiple of groups of %zu",
                        kernel->entry, kernel->program->file, global[d], local[d]);
    items *= local[d];
  }
  /* A kernel that names its group was built for it; rusticl still tells 32 as the limit of such a kernel, and runs it.
   */
  bool required = kernel->required_group[0] > 0;
  for (unsigned d = 0; d < dims; d++) required = required && local[d] == kernel->required_group[d];
  if (required || items <= kernel->max_group) return PARE_OK;
  return pare__fail(PARE_ERR_UNSUPPORTED, "launching %s of %s in groups of %zu: %s takes up to %zu", kernel->entry,
                    kernel->program->file, items, device->info.name, kernel->max_group);
}

/* A power of two up to 64 that divides the items; where that is little, any number that does. */
static size_t choose_group(size_t items, size_t max_group) {
  enum { MOST = 64, ENOUGH = 8 };
  const size_t most = PARE__MIN(max_group, (size_t)MOST);
  size_t group = items & (~items + 1);
  while (group > most) group /= 2;
  if (group >= ENOUGH) return group;
  for (group = most; items % group != 0;) group--;
  return group;
}

pare_status pare__launch(pare__device *device, pare__kernel *kernel, unsigned dims, const size_t *global,
                         const size_t *local, const pare__args *args) {
  for (unsigned d = 0; d < dims; d++)
    if (global[d] == 0) return PARE_OK;
  size_t chosen;
  if (!local && kernel->required_group[0] > 0) local = kernel->required_group;
  if (!local && dims == 1 && device->quirks->group_compiler) {
    chosen = choose_group(global[0], kernel->max_group);
    local = &chosen;
  }
  if (local) PARE__TRY(check_group(device, kernel, dims, global, local));
  pthread_mutex_lock(&device->launch_lock);
  pare_status status = set_arguments(kernel, args);
  if (status == PARE_OK) {
    pare__grid_turn turn;
    pare__grids_begin(device, kernel, dims, global, local, &turn);
    cl_event *event = pare__capture_event(device);
    if (!event && turn.grids) event = &turn.event;
    cl_int code = clEnqueueNDRangeKernel(device->queue, kernel->cl, dims, NULL, global, local, 0, NULL, event);
    status = pare__grids_end(&turn, code == CL_SUCCESS && event ? *event : NULL);
    if (code == CL_SUCCESS)
      pare__capture_launch(device, kernel, dims, global, local, args);
    else
      status = pare__fail_cl(code, "clEnqueueNDRangeKernel(%s of %s, %zu x %zu x %zu work-items) on %s", kernel->entry,
                             kernel->program->file, global[0], dims > 1 ? global[1] : 1, dims > 2 ? global[2] : 1,
                             device->info.name);
  }
  pthread_mutex_unlock(&device->launch_lock);
  return status;
}
