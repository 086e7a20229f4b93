/* Choosing a variant: the tuner's database, else the order of the table. No stopwatch.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "kernel/state.h"

static const struct {
  unsigned bit;
  const char *name;
  size_t offset; /* of the bool in the capabilities */
} needs[] = {
#define NEED(bit, field) \
  { PARE__NEEDS_##bit, #field, offsetof(pare_device_capabilities, field) }
    NEED(INTEGER_DOT, integer_dot),
    NEED(VECTOR_EXTENSIONS, vector_extensions),
    NEED(INLINE_ASSEMBLY, inline_assembly),
    NEED(AVX2, avx2),
    NEED(AVX512, avx512),
    NEED(AVX512_VNNI, avx512_vnni),
    NEED(AMX_INT8, amx_int8),
#undef NEED
};

static uint64_t least_local_bytes(const pare_device_info *info, const pare__variant *variant) {
  return variant->local_bytes + (uint64_t)variant->lane_local_bytes * (PARE__MIN(info->can.vector_bits, 512U) / 32);
}

static bool device_can_run(const pare_device_info *info, const pare__variant *variant, char *reason, size_t capacity) {
  for (unsigned i = 0; i < PARE__COUNT(needs); i++)
    if ((variant->needs & needs[i].bit) && !*(const bool *)((const char *)&info->can + needs[i].offset)) {
      snprintf(reason, capacity, "the device lacks %s", needs[i].name);
      return false;
    }
  if ((variant->needs & PARE__NEEDS_CPU) && info->type != PARE_DEVICE_CPU) {
    snprintf(reason, capacity, "not for this type of device");
    return false;
  }
  if ((variant->needs & PARE__NEEDS_LONG_LOOPS) && info->can.max_loop_steps != 0) {
    snprintf(reason, capacity, "the device ends loops after %u steps", (unsigned)info->can.max_loop_steps);
    return false;
  }
  if (variant->vector_bits && variant->vector_bits != info->can.vector_bits) {
    snprintf(reason, capacity, "for vectors of %u bits; the device's have %u", variant->vector_bits,
             info->can.vector_bits);
    return false;
  }
  if (info->local_bytes < least_local_bytes(info, variant)) {
    snprintf(reason, capacity, "takes %llu bytes of local memory; the device has %llu",
             (unsigned long long)least_local_bytes(info, variant), (unsigned long long)info->local_bytes);
    return false;
  }
  return true;
}

bool pare__variant_possible(const pare_device_info *info, const pare__family *family, const pare__variant *variant,
                            const pare__problem *problem, char *reason, size_t capacity) {
  if (!device_can_run(info, variant, reason, capacity)) return false;
  if (!problem) return true;
  if (variant->whole_only && (problem->flags & PARE__IN_PIECES)) {
    snprintf(reason, capacity, "cannot run in pieces");
    return false;
  }
  for (unsigned i = 0; i < family->nbuffers; i++)
    if (problem->dtype[i] == PARE_F64 && !info->can.f64) {
      snprintf(reason, capacity, "the device lacks f64");
      return false;
    }
  if (variant->dtypes && !(variant->dtypes >> problem->dtype[0] & 1U)) {
    snprintf(reason, capacity, "does not take %s", pare_dtype_name(problem->dtype[0]));
    return false;
  }
  if (variant->accepts && !variant->accepts(info, problem)) {
    snprintf(reason, capacity, "does not take this shape, or not on this device");
    return false;
  }
  return true;
}

/* x86 has 32 with AVX-512 only; elsewhere (ARM) vectors of 128 bits have 32 registers. */
bool pare__few_registers(const pare_device_info *info) {
#if defined(__x86_64__) || defined(__i386__)
  return info->can.vector_bits < 512;
#else
  return info->can.vector_bits == 256;
#endif
}

void pare__variant_defaults(const pare_device_info *info, const pare__variant *variant, const pare__problem *problem,
                            pare__tuning *tuning) {
  memset(tuning, 0, sizeof *tuning);
  for (unsigned i = 0; variant->params && variant->params[i].name; i++) tuning->value[i] = variant->params[i].values[0];
  if (variant->defaults) variant->defaults(info, problem, tuning);
}

static bool shaped_for(const pare__variant *variant, const pare_device_info *info) {
  return variant->shaped == PARE__FOR_ANY || (variant->shaped == PARE__FOR_CPU) == (info->type == PARE_DEVICE_CPU);
}

/* Sets *usable; a status only for errors that say nothing about the variant. */
static pare_status try_variant(pare__device *device, const pare__family *family, const pare__choice *choice,
                               const pare__problem *whole, bool *usable, char *reason, size_t capacity) {
  *usable = false;
  if (!pare__variant_possible(pare__device_info(device), family, choice->variant, whole, reason, capacity))
    return PARE_OK;
  pare__instance instance = {family, choice->variant, choice->tuning, whole->mode, {0}};
  memcpy(instance.dtype, whole->dtype, sizeof instance.dtype);
  const pare__trust_record *record;
  PARE__TRY(pare__trust(device, &instance, false, &record));
  *usable = record->verdict == PARE__TRUSTED;
  if (!*usable) snprintf(reason, capacity, "%s: %s", pare__verdict_name(record->verdict), record->reason);
  return PARE_OK;
}

static pare_status choose_in_order(pare__device *device, const pare__family *family, const pare__problem *whole,
                                   pare__choice *out) {
  const pare_device_info *info = pare__device_info(device);
  char reasons[1024] = "", reason[320], text[160] = "";
  size_t used = 0;
  bool any_possible = false;
  for (int round = 0; round < 2; round++)
    for (const pare__variant *variant = family->variants; variant->name; variant++) {
      if (shaped_for(variant, info) != (round == 0)) continue;
      pare__choice choice = {variant, {{0}}};
      pare__variant_defaults(info, variant, whole, &choice.tuning);
      bool usable;
      PARE__TRY(try_variant(device, family, &choice, whole, &usable, reason, sizeof reason));
      if (usable) {
        *out = choice;
        return PARE_OK;
      }
      any_possible = any_possible || pare__variant_possible(info, family, variant, whole, text, sizeof text);
      int n = snprintf(reasons + used, sizeof reasons - used, "%s%s: %s", used ? "; " : "", variant->name, reason);
      if (n > 0) used = PARE__MIN(used + (size_t)n, sizeof reasons - 1);
    }
  family->describe(whole, text, sizeof text);
  return pare__fail(any_possible ? PARE_ERR_KERNEL : PARE_ERR_UNSUPPORTED, "%s %s: no variant can run on %s (%s)",
                    family->name, text, info->name, reasons);
}

bool pare__choices_agree(const pare__choice *a, const pare__choice *b) {
  if (a->variant != b->variant) return false;
  for (unsigned p = 0; p < PARE__MAX_PARAMS; p++)
    if (!(a->variant->neutral >> p & 1U) && a->tuning.value[p] != b->tuning.value[p]) return false;
  return true;
}

static pare_status choose_tuned(pare__device *device, pare__state *state, const pare__family *family,
                                const pare__problem *whole, bool deciding, pare__choice *out) {
  if (pare__database_find(device, state, family, whole, deciding, out)) {
    bool usable;
    char reason[320];
    PARE__TRY(try_variant(device, family, out, whole, &usable, reason, sizeof reason));
    if (usable) return PARE_OK;
    pare__log(PARE_LOG_INFO, "tuned variant %s/%s is not used: %s", family->name, out->variant->name, reason);
  }
  return choose_in_order(device, family, whole, out);
}

pare_status pare__choose_deciding(pare__device *device, pare__state *state, const pare__family *family,
                                  const pare__problem *problem, pare__choice *out) {
  return choose_tuned(device, state, family, problem, true, out);
}

/* Of a class that another decides for, only what no bit depends on is its own. */
static pare_status choose_anew(pare__device *device, pare__state *state, const pare__family *family,
                               const pare__problem *whole, pare__choice *out) {
  if (!pare__class_is_led(family, whole)) return choose_tuned(device, state, family, whole, false, out);
  pare__choice own;
  PARE__TRY(pare__choose_deciding(device, state, family, whole, out));
  if (!pare__database_find(device, state, family, whole, false, &own) || !pare__choices_agree(&own, out))
    return PARE_OK;
  const pare__choice decided = *out;
  bool usable;
  char reason[320];
  *out = own;
  PARE__TRY(try_variant(device, family, out, whole, &usable, reason, sizeof reason));
  if (!usable) *out = decided;
  return PARE_OK;
}

/* What the leader chose, if it is shaped for this device, too, and trusted on it: so the bits are the same on both. */
static pare_status choose_as_leader(pare__device *device, const pare__family *family, const pare__problem *whole,
                                    pare__choice *out, bool *led) {
  char reason[320];
  if (pare__choose(pare__device_leader(device), family, whole, out) != PARE_OK ||
      !shaped_for(out->variant, pare__device_info(device)))
    return PARE_OK;
  return try_variant(device, family, out, whole, led, reason, sizeof reason);
}

static bool is_choice_of(const pare__kept_choice *kept, const pare__family *family, const pare__problem *whole) {
  /* Bits in the padding can only make a kept choice be missed. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
  return kept->family && kept->family == family && memcmp(&kept->problem, whole, sizeof *whole) == 0;
}

static pare_status choose_locked(pare__device *device, const pare__family *family, const pare__problem *whole,
                                 pare__choice *out) {
  pare__state *state;
  PARE__TRY(pare__state_get(device, &state));
  if (!state->choices) {
    state->choices = calloc(PARE__CHOICE_SLOTS, sizeof *state->choices);
    if (!state->choices) return pare__fail_memory("kept choices", PARE__CHOICE_SLOTS * sizeof *state->choices);
  }
  const size_t slot = XXH3_64bits_withSeed(whole, sizeof *whole, (uintptr_t)family) % PARE__CHOICE_SLOTS;
  pare__kept_choice *first = &state->choices[slot];
  const pare__kept_choice *second = &state->choices[slot ^ 1];
  const pare__kept_choice *kept = is_choice_of(first, family, whole)    ? first
                                  : is_choice_of(second, family, whole) ? second
                                                                        : NULL;
  if (kept) {
    *out = kept->choice;
    return PARE_OK;
  }
  if (!first->family) pare__prepared(); /* it may wait for those who build and test */
  bool led = false;
  if (pare__device_leader(device)) PARE__TRY(choose_as_leader(device, family, whole, out, &led));
  if (!led) PARE__TRY(choose_anew(device, state, family, whole, out));
  if (!state->choices) return PARE_OK; /* a self-test along the way may have dropped the table */
  first = &state->choices[slot];
  if (first->family) state->choices[slot ^ 1] = *first;
  *first = (pare__kept_choice){.family = family, .choice = *out};
  memcpy(&first->problem, whole, sizeof *whole); /* its padding, too, which is compared */
  return PARE_OK;
}

pare_status pare__choose(pare__device *device, const pare__family *family, const pare__problem *whole,
                         pare__choice *out) {
  pare__device_lock(device);
  pare_status status = choose_locked(device, family, whole, out);
  pare__device_unlock(device);
  return status;
}
