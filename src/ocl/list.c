/* Platforms and devices. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/list.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "ocl/host_cpu.h"

/* Part of every key: raise it when programs, notes or capabilities are kept differently. */
#define KEY_VERSION "1"

/* clGetPlatformInfo and clGetDeviceInfo have one shape. */
typedef cl_int (*info_query)(void *object, cl_uint what, size_t capacity, void *value, size_t *nbytes);

static cl_int query_platform(void *object, cl_uint what, size_t capacity, void *value, size_t *nbytes) {
  return clGetPlatformInfo((cl_platform_id)object, what, capacity, value, nbytes);
}

static cl_int query_device(void *object, cl_uint what, size_t capacity, void *value, size_t *nbytes) {
  return clGetDeviceInfo((cl_device_id)object, what, capacity, value, nbytes);
}

/* Spaces at both ends go: some vendors pad their names. */
static void trim(char *text) {
  size_t begin = strspn(text, " \t"), length = strlen(text + begin);
  while (length > 0 && strchr(" \t", text[begin + length - 1])) length--;
  memmove(text, text + begin, length);
  text[length] = '\0';
}

static pare_status fail_query(info_query query, cl_int code, const char *name) {
  return pare__fail_cl(code, "%s(%s)", query == query_device ? "clGetDeviceInfo" : "clGetPlatformInfo", name);
}

static pare_status get_text(info_query query, void *object, cl_uint what, const char *name, char **out) {
  size_t nbytes = 0;
  cl_int code = query(object, what, 0, NULL, &nbytes);
  if (code != CL_SUCCESS) return fail_query(query, code, name);
  char *text = calloc(nbytes + 1, 1);
  if (!text) return pare__fail_memory(name, nbytes + 1);
  if (nbytes > 0 && (code = query(object, what, nbytes, text, NULL)) != CL_SUCCESS) {
    free(text);
    return fail_query(query, code, name);
  }
  trim(text);
  *out = text;
  return PARE_OK;
}

static void entry_close(pare__device_entry *entry) {
  free(entry->name);
  free(entry->vendor);
  free(entry->platform_name);
  free(entry->platform_version);
  free(entry->driver_version);
  free(entry->opencl_version);
  free(entry->extensions);
  free(entry->remark);
}

static pare_status entry_texts(pare__device_entry *entry) {
  const struct {
    info_query query;
    void *object;
    cl_uint what;
    const char *name;
    char **out;
  } texts[] = {
      {query_device, entry->id, CL_DEVICE_NAME, "CL_DEVICE_NAME", &entry->name},
      {query_device, entry->id, CL_DEVICE_VENDOR, "CL_DEVICE_VENDOR", &entry->vendor},
      {query_device, entry->id, CL_DRIVER_VERSION, "CL_DRIVER_VERSION", &entry->driver_version},
      {query_device, entry->id, CL_DEVICE_VERSION, "CL_DEVICE_VERSION", &entry->opencl_version},
      {query_device, entry->id, CL_DEVICE_EXTENSIONS, "CL_DEVICE_EXTENSIONS", &entry->extensions},
      {query_platform, entry->platform, CL_PLATFORM_NAME, "CL_PLATFORM_NAME", &entry->platform_name},
      {query_platform, entry->platform, CL_PLATFORM_VERSION, "CL_PLATFORM_VERSION", &entry->platform_version},
  };
  for (size_t i = 0; i < PARE__COUNT(texts); i++)
    PARE__TRY(get_text(texts[i].query, texts[i].object, texts[i].what, texts[i].name, texts[i].out));
  return PARE_OK;
}

/* A CPU device's binaries hold this processor's instructions, and one name may
 * stand for several processors. */
static pare_status entry_key(pare__device_entry *entry, pare_device_type type) {
  char processor[PARE__HOST_CPU_TEXT] = "";
  if (type == PARE_DEVICE_CPU) pare__host_cpu_text(processor);
  pare__hash *hash = pare__hash_open();
  if (!hash) return pare__fail_memory("a hash", 0);
  const char *const parts[] = {KEY_VERSION,           entry->name,           entry->vendor,
                               entry->platform_name,  entry->driver_version, entry->platform_version,
                               entry->opencl_version, entry->extensions,     processor};
  for (size_t i = 0; i < PARE__COUNT(parts); i++) pare__hash_text(hash, parts[i]);
  pare__hash_close(hash, entry->key);
  return PARE_OK;
}

static pare_device_type device_type(cl_device_type type, const pare__quirks *quirks) {
  if (quirks->every_type || type & CL_DEVICE_TYPE_CPU) return PARE_DEVICE_CPU;
  return type & CL_DEVICE_TYPE_GPU ? PARE_DEVICE_GPU : PARE_DEVICE_ACCELERATOR;
}

static pare_status entry_numbers(const pare__device_entry *entry, pare_device_info *info) {
  cl_device_type type = 0;
  cl_uint units = 0, clock = 0;
  cl_ulong memory = 0, largest = 0, local = 0;
  cl_bool unified = CL_FALSE, compiler = CL_FALSE, available = CL_FALSE;
  const struct {
    cl_device_info what;
    const char *name;
    size_t nbytes;
    void *value;
  } numbers[] = {
      {CL_DEVICE_TYPE, "CL_DEVICE_TYPE", sizeof type, &type},
      {CL_DEVICE_MAX_COMPUTE_UNITS, "CL_DEVICE_MAX_COMPUTE_UNITS", sizeof units, &units},
      {CL_DEVICE_MAX_CLOCK_FREQUENCY, "CL_DEVICE_MAX_CLOCK_FREQUENCY", sizeof clock, &clock},
      {CL_DEVICE_GLOBAL_MEM_SIZE, "CL_DEVICE_GLOBAL_MEM_SIZE", sizeof memory, &memory},
      {CL_DEVICE_MAX_MEM_ALLOC_SIZE, "CL_DEVICE_MAX_MEM_ALLOC_SIZE", sizeof largest, &largest},
      {CL_DEVICE_LOCAL_MEM_SIZE, "CL_DEVICE_LOCAL_MEM_SIZE", sizeof local, &local},
      {CL_DEVICE_HOST_UNIFIED_MEMORY, "CL_DEVICE_HOST_UNIFIED_MEMORY", sizeof unified, &unified},
      {CL_DEVICE_COMPILER_AVAILABLE, "CL_DEVICE_COMPILER_AVAILABLE", sizeof compiler, &compiler},
      {CL_DEVICE_AVAILABLE, "CL_DEVICE_AVAILABLE", sizeof available, &available},
  };
  for (size_t i = 0; i < PARE__COUNT(numbers); i++) {
    cl_int code = clGetDeviceInfo(entry->id, numbers[i].what, numbers[i].nbytes, numbers[i].value, NULL);
    if (code != CL_SUCCESS) return pare__fail_cl(code, "clGetDeviceInfo(%s) of %s", numbers[i].name, entry->name);
  }
  info->type = device_type(type, entry->quirks);
  info->compute_units = units;
  info->clock_mhz = clock;
  info->memory_bytes = memory;
  info->max_buffer_bytes = largest;
  info->local_bytes = local;
  info->can.unified_memory = unified;
  info->can.lane_vectors = entry->quirks->lane_vectors;
  info->usable = compiler && available;
  if (!info->usable) info->remark = compiler ? "not available" : "no compiler";
  return PARE_OK;
}

static pare_status entry_open(cl_platform_id platform, cl_device_id id, pare__device_entry *entry,
                              pare_device_info *info) {
  memset(entry, 0, sizeof *entry);
  memset(info, 0, sizeof *info);
  entry->platform = platform;
  entry->id = id;
  PARE__TRY(entry_texts(entry));
  entry->quirks = pare__quirks_find(entry->platform_name, entry->name);
  info->name = entry->name;
  info->vendor = entry->vendor;
  info->platform = entry->platform_name;
  info->driver = entry->quirks->driver;
  info->driver_version = entry->driver_version;
  info->opencl_version = entry->opencl_version;
  info->remark = "";
  PARE__TRY(entry_numbers(entry, info));
  return entry_key(entry, info->type);
}

static pare_status list_add(pare_device_list *list, cl_platform_id platform, unsigned platform_index, cl_device_id id,
                            unsigned device_index) {
  PARE__TRY(pare__array_grow((void **)&list->info, &list->info_capacity, list->count, sizeof *list->info));
  PARE__TRY(pare__array_grow((void **)&list->entry, &list->entry_capacity, list->count, sizeof *list->entry));
  pare_device_info *info = &list->info[list->count];
  pare__device_entry *entry = &list->entry[list->count];
  pare_status status = entry_open(platform, id, entry, info);
  if (status != PARE_OK) {
    entry_close(entry);
    return status;
  }
  info->platform_index = platform_index;
  info->device_index = device_index;
  list->count++;
  return PARE_OK;
}

/* What fails must not hide the others. Memory that runs out says nothing about it. */
static pare_status leave_out(pare_device_list *list, const char *what, pare_status status) {
  if (status == PARE_OK || status == PARE_ERR_MEMORY) return status;
  pare__log(PARE_LOG_WARN, "%s is left out: %s", what, pare_message());
  if (!list->left_out) list->left_out = pare__strdup(pare_message());
  return list->left_out ? PARE_OK : pare__fail_memory("what is left out of the list", 0);
}

/* A platform without devices (Mesa's Clover) is harmless. */
static pare_status list_platform(pare_device_list *list, cl_platform_id platform, unsigned platform_index,
                                 uint64_t loader_bytes) {
  cl_uint count = 0;
  uint64_t before = pare__resident_bytes();
  cl_int code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
  if (code == CL_DEVICE_NOT_FOUND || (code == CL_SUCCESS && count == 0)) return PARE_OK;
  if (code != CL_SUCCESS) return pare__fail_cl(code, "clGetDeviceIDs of platform %u", platform_index);
  cl_device_id *ids = calloc(count, sizeof(cl_device_id));
  if (!ids) return pare__fail_memory("device handles", count * sizeof(cl_device_id));
  pare_status status = PARE_OK;
  code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, ids, NULL);
  if (code != CL_SUCCESS) status = pare__fail_cl(code, "clGetDeviceIDs of platform %u", platform_index);
  uint64_t after = pare__resident_bytes(), driver_bytes = loader_bytes + (after > before ? after - before : 0);
  for (cl_uint i = 0; i < count && status == PARE_OK; i++) {
    const size_t before_it = list->count;
    status = leave_out(list, "a device", list_add(list, platform, platform_index, ids[i], i));
    if (list->count > before_it) list->entry[before_it].driver_bytes = driver_bytes / count;
  }
  free(ids);
  return status;
}

/* The process that loaded the drivers; 0: none has. */
static atomic_long loaded_by;

bool pare__forked(void) {
  const long process = atomic_load_explicit(&loaded_by, memory_order_relaxed);
  return process != 0 && process != (long)getpid();
}

static pare_status claim_drivers(void) {
  long none = 0;
  if (atomic_compare_exchange_strong(&loaded_by, &none, (long)getpid()) || none == (long)getpid()) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT,
                    "pare_device_list_open: process %ld used OpenCL and this one, %ld, is its fork: drivers do not "
                    "survive that; start the process with exec, or fork before the first use of pare",
                    none, (long)getpid());
}

static pare_status list_fill(pare_device_list *list) {
  PARE__TRY(claim_drivers());
  cl_uint count = 0;
  uint64_t before = pare__resident_bytes();
  cl_int code = clGetPlatformIDs(0, NULL, &count); /* loads all drivers at once */
  uint64_t after = pare__resident_bytes();
  if (code == -1001 || (code == CL_SUCCESS && count == 0)) return PARE_OK;
  if (code != CL_SUCCESS) return pare__fail_cl(code, "clGetPlatformIDs");
  cl_platform_id *platforms = calloc(count, sizeof(cl_platform_id));
  if (!platforms) return pare__fail_memory("platform handles", count * sizeof(cl_platform_id));
  pare_status status = PARE_OK;
  code = clGetPlatformIDs(count, platforms, NULL);
  if (code != CL_SUCCESS) status = pare__fail_cl(code, "clGetPlatformIDs");
  for (cl_uint i = 0; i < count && status == PARE_OK; i++)
    status = leave_out(list, "a platform",
                       list_platform(list, platforms[i], i, after > before ? (after - before) / count : 0));
  free(platforms);
  return status;
}

pare_status pare_device_list_open(bool probe, pare_device_list **out) {
  if (!out) return pare__fail_null("pare_device_list_open", "out");
  *out = NULL;
  pare_device_list *list = calloc(1, sizeof *list);
  if (!list) return pare__fail_memory("a list of devices", sizeof *list);
  pthread_mutex_init(&list->lock, NULL);
  pare_status status = list_fill(list);
  for (size_t i = 0; probe && i < list->count && status == PARE_OK; i++) status = pare__device_probe_or_remark(list, i);
  if (status != PARE_OK) {
    pare_device_list_close(list);
    return status;
  }
  *out = list;
  return PARE_OK;
}

void pare_device_list_close(pare_device_list *list) {
  if (!list) return;
  for (size_t i = 0; i < list->count; i++) entry_close(&list->entry[i]);
  free(list->entry);
  free(list->info);
  free(list->left_out);
  pthread_mutex_destroy(&list->lock);
  free(list);
}

size_t pare_device_list_count(const pare_device_list *list) { return list ? list->count : 0; }

const pare_device_info *pare_device_list_get(const pare_device_list *list, size_t index) {
  return list && index < list->count ? &list->info[index] : NULL;
}

uint64_t pare__resident_bytes(void) {
  char line[128] = "", *end = line;
  FILE *file = fopen("/proc/self/statm", "re");
  if (!file) return 0;
  bool known = fgets(line, sizeof line, file) != NULL;
  fclose(file);
  strtoull(line, &end, 10); /* the whole address space; what is resident follows */
  return known ? strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
