/* The tuner's database: the best variant and tuning per device and shape class, as a note in the disk cache.
 * SPDX-License-Identifier: Apache-2.0
 *
 * {"gemm": {"f32 small-m": {"variant": "wide", "tuning": {"MR": 6}}}} */
#include <stdlib.h>
#include <string.h>

#include "kernel/state.h"

#define NOTE_KEY "tuning"
#define CLASS_TEXT 120

static const pare__variant *find_variant(const pare__family *family, const char *name) {
  for (const pare__variant *variant = family->variants; variant->name; variant++)
    if (strcmp(variant->name, name) == 0) return variant;
  return NULL;
}

static void load(pare__device *device, pare__state *state) {
  char *text = NULL;
  if (pare__note_read(device, NOTE_KEY, &text) == PARE_OK && text) {
    state->tuning = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(state->tuning)) {
      pare__log(PARE_LOG_WARN, "the tuner's database is malformed and is ignored; run pare tune again");
      json_decref(state->tuning);
      state->tuning = NULL;
    }
  }
  free(text);
  if (!state->tuning) state->tuning = json_object();
}

static bool allowed(const pare__param *param, json_int_t value) {
  for (const int *v = param->values; *v; v++)
    if (*v == value) return true;
  return false;
}

bool pare__database_find(pare__device *device, pare__state *state, const pare__family *family,
                         const pare__problem *problem, bool deciding, pare__choice *out) {
  if (!state->tuning) load(device, state);
  const json_t *classes = json_object_get(state->tuning, family->name);
  if (!classes || !family->shape_class) return false;
  char shape_class[CLASS_TEXT] = "";
  (deciding && family->deciding_class ? family->deciding_class : family->shape_class)(problem, shape_class,
                                                                                      sizeof shape_class);
  const json_t *entry = json_object_get(classes, shape_class);
  const char *name = json_string_value(json_object_get(entry, "variant"));
  out->variant = name ? find_variant(family, name) : NULL;
  if (!out->variant) return false;
  memset(&out->tuning, 0, sizeof out->tuning);
  const pare__param *params = out->variant->params;
  for (unsigned i = 0; params && params[i].name; i++) {
    json_int_t value = json_integer_value(json_object_get(json_object_get(entry, "tuning"), params[i].name));
    if (!allowed(&params[i], value)) return false; /* of another version */
    out->tuning.value[i] = (int)value;
  }
  return true;
}

bool pare__class_is_led(const pare__family *family, const pare__problem *problem) {
  char own[CLASS_TEXT] = "", deciding[CLASS_TEXT] = "";
  if (!family->deciding_class) return false;
  family->shape_class(problem, own, sizeof own);
  family->deciding_class(problem, deciding, sizeof deciding);
  return strcmp(own, deciding) != 0;
}

static pare_status store(pare__device *device, pare__state *state, const pare__family *family, const char *shape_class,
                         const pare__choice *choice) {
  json_t *tuning = json_object(), *entry = json_object(), *classes = json_object_get(state->tuning, family->name);
  if (!classes) {
    json_object_set_new(state->tuning, family->name, json_object());
    classes = json_object_get(state->tuning, family->name);
  }
  const pare__param *params = choice->variant->params;
  for (unsigned i = 0; params && params[i].name; i++)
    json_object_set_new(tuning, params[i].name, json_integer(choice->tuning.value[i]));
  json_object_set_new(entry, "variant", json_string(choice->variant->name));
  json_object_set_new(entry, "tuning", tuning);
  char *text = NULL;
  if (json_object_set_new(classes, shape_class, entry) == 0)
    text = json_dumps(state->tuning, JSON_INDENT(1) | JSON_SORT_KEYS);
  if (!text) return pare__fail_memory("the tuner's database", 0);
  pare_status status = pare__note_write(device, NOTE_KEY, text);
  free(text);
  pare__state_forget_choices(state);
  return status;
}

pare_status pare__database_store(pare__device *device, pare__state *state, const pare__family *family,
                                 const char *shape_class, const pare__choice *choice) {
  const int lock = pare__notes_lock();
  json_decref(state->tuning);
  state->tuning = NULL;
  load(device, state); /* another process may have tuned something meanwhile */
  pare_status status = store(device, state, family, shape_class, choice);
  pare__notes_unlock(lock);
  return status;
}
