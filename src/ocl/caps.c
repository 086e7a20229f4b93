/* The capabilities of a device: kept on disk, or found out by probing. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "ocl/cache.h"
#include "ocl/host_cpu.h"
#include "ocl/probe.h"

/* What is kept of a device. */
typedef struct findings {
  pare__probe_result probes;
  uint64_t driver_bytes;
} findings;

/* ---- the note on disk ---- */

/* Of another driver version, another pare or other probes, nothing is believed. */
static bool note_name(const pare__device_entry *entry, char hex[33]) {
  char source[33];
  if (pare__source_hash_unopened(PARE__PROBE_FILE, source) != PARE_OK) source[0] = '\0'; /* probing will say so */
  pare__hash *hash = pare__hash_open();
  if (!hash) return false;
  pare__hash_text(hash, "capabilities 1");
  pare__hash_text(hash, pare_version());
  pare__hash_text(hash, entry->key);
  pare__hash_text(hash, source);
  pare__hash_close(hash, hex);
  return true;
}

/* Reads `word` and a number after it, and moves on. */
static bool take_number(const char **text, const char *word, uint64_t *out) {
  size_t length = strlen(word);
  char *end = NULL;
  if (strncmp(*text, word, length) != 0) return false;
  *out = strtoull(*text + length, &end, 10);
  bool any = end > *text + length;
  *text = end;
  return any;
}

static bool note_read(const char *name, findings *out) {
  char *note = NULL;
  size_t nbytes = 0;
  uint64_t passed = 0, steps = 0;
  if (!pare__cache_read(PARE__CACHE_NOTE, name, &note, &nbytes)) return false;
  const char *text = note;
  bool found = take_number(&text, "passed ", &passed) && take_number(&text, " steps ", &steps) &&
               take_number(&text, " driver ", &out->driver_bytes);
  out->probes.passed = (unsigned)passed;
  out->probes.loop_steps = (long)steps;
  free(note);
  return found;
}

static void note_write(pare__device *device, const char *name, const findings *found) {
  char text[128];
  int nbytes = snprintf(text, sizeof text, "passed %u steps %ld driver %" PRIu64 "\n", found->probes.passed,
                        found->probes.loop_steps, found->driver_bytes);
  pare__cache_write(device, PARE__CACHE_NOTE, name, text, (size_t)nbytes);
}

/* ---- from findings to capabilities ---- */

/* A driver may prefer less than its processor has (PoCL 3.1: 256 bits on AVX-512), so on the host's own the processor
 * decides. */
static unsigned vector_bits(cl_device_id id, const pare_device_info *info) {
  const pare_device_capabilities *can = &info->can;
  cl_uint floats = 0;
  if (info->type == PARE_DEVICE_GPU) return 32;
  if (can->avx512) return 512;
  if (can->avx2) return 256;
  if (clGetDeviceInfo(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof floats, &floats, NULL) != CL_SUCCESS) return 128;
  return floats >= 16 ? 512 : floats >= 8 ? 256 : 128;
}

static bool passed(const findings *found, pare__probe probe) { return found->probes.passed & 1u << probe; }

/* The device is refused, or what pare avoids on it. */
static pare_status set_remark(pare__device_entry *entry, pare_device_info *info, const findings *found) {
  long steps = found->probes.loop_steps;
  if (steps == PARE__PROBE_STEPS) return PARE_OK;
  if (!passed(found, PARE__PROBE_LOOP)) {
    info->usable = false;
    entry->remark = pare__strdup("refused: a simple kernel does not build or computes wrong values on it");
  } else {
    info->can.max_loop_steps = (uint32_t)PARE__MIN(steps, 65535L);
    entry->remark = pare__format("the loops of a work-item silently stop after %ld steps; pare stays below", steps);
  }
  if (!entry->remark) return pare__fail_memory("a remark", 0);
  info->remark = entry->remark;
  return PARE_OK;
}

static pare_status apply(pare__device_entry *entry, pare_device_info *info, const findings *found) {
  pare_device_capabilities *can = &info->can;
  can->f16 = passed(found, PARE__PROBE_F16);
  can->f64 = passed(found, PARE__PROBE_F64);
  can->subgroups = passed(found, PARE__PROBE_SUBGROUPS);
  can->integer_dot = passed(found, PARE__PROBE_INTEGER_DOT);
  can->vector_extensions = passed(found, PARE__PROBE_VECTOR_EXTENSIONS);
  can->nontemporal_store = passed(found, PARE__PROBE_NONTEMPORAL_STORE);
  can->inline_assembly = passed(found, PARE__PROBE_INLINE_ASSEMBLY);
  if (can->inline_assembly) pare__host_cpu_features(can);
  can->vector_bits = vector_bits(entry->id, info);
  info->driver_bytes = found->driver_bytes;
  return set_remark(entry, info, found);
}

/* ---- probing ---- */

static pare_status probe(const pare__device_entry *entry, pare__device *device, const char *name, findings *found) {
  uint64_t limit_bytes = device->limit_bytes;
  device->limit_bytes = 0; /* the user's is for what he does */
  device->uncached = true; /* the programs are of no use afterwards */
  found->driver_bytes = device->info.driver_bytes;
  pare_status status = pare__probe_device(device, entry->extensions, !entry->quirks->known, &found->probes);
  device->uncached = false;
  device->limit_bytes = limit_bytes;
  device->peak_bytes = 0;
  if (status == PARE_OK && found->probes.complete) note_write(device, name, found);
  return status;
}

static pare_status probe_bare(const pare_device_list *list, size_t index, const char *name, findings *found) {
  pare__device *device = NULL;
  PARE__TRY(pare__device_open_bare(list, index, &device));
  pare_status status = probe(&list->entry[index], device, name, found);
  pare__device_close(device);
  return status;
}

pare_status pare__device_probe(pare_device_list *list, size_t index, pare__device *device) {
  pare__device_entry *entry = &list->entry[index];
  pare_device_info *info = &list->info[index];
  findings found = {.driver_bytes = 0};
  char name[33];
  pare_status status = PARE_OK;
  pthread_mutex_lock(&list->lock);
  if (entry->probed || !info->usable) goto out;
  if (!note_name(entry, name)) {
    status = pare__fail_memory("a hash", 0);
    goto out;
  }
  if (!note_read(name, &found))
    status = device ? probe(entry, device, name, &found) : probe_bare(list, index, name, &found);
  if (status == PARE_OK) status = apply(entry, info, &found);
  entry->probed = status == PARE_OK;
out:
  pthread_mutex_unlock(&list->lock);
  return status;
}

pare_status pare__device_probe_or_remark(pare_device_list *list, size_t index) {
  char *before = pare__strdup(pare_message());
  pare_status status = pare__device_probe(list, index, NULL);
  if (status != PARE_OK && status != PARE_ERR_MEMORY) {
    pare__device_entry *entry = &list->entry[index];
    free(entry->remark);
    entry->remark = pare__format("not tried: %s", pare_message());
    list->info[index].remark = entry->remark ? entry->remark : "not tried";
    status = before ? pare__fail_text(PARE_OK, before) : PARE_OK;
  }
  free(before);
  return status;
}
