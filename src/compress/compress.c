/* A compression from file to file. SPDX-License-Identifier: Apache-2.0
 *
 * The new file is written beside the old one under another name, run and compared, and only then renamed: whatever
 * happens, there is the old file or the new one. */
#include <pare/elementwise.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compress/calibration.h"
#include "compress/convert.h"
#include "compress/output.h"
#include "compress/plan.h"
#include "compress/report.h"
#include "compress/rows.h"
#include "compress/sensitivity.h"
#include "compress/speed.h"
#include "compress/verify.h"
#include "sched/crew.h"
#include "tensor/context.h"

/* Of the whole work: the rest is verification. */
#define WRITING 0.8

static pare_status check_storage(const pare__checkpoint *checkpoint, pare_storage storage) {
  if (storage != PARE_STORAGE_COMPACT || checkpoint->runs) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s: compact storage is for ONNX models; files of safetensors keep their zeros",
                    checkpoint->path);
}

pare_status pare_compress_plan(const char *in, const pare_recipe *recipe, const pare_compress_options *options,
                               pare_report **report) {
  const pare_storage storage = options ? options->storage : PARE_STORAGE_PORTABLE;
  pare__checkpoint *checkpoint = NULL;
  pare__treatment *treatments = NULL;
  if (!report) return pare__fail_null("pare_compress_plan", "report");
  *report = NULL;
  if (!in || !recipe) return pare__fail_null("pare_compress_plan", in ? "recipe" : "in");
  PARE__TRY(pare__checkpoint_open(in, &checkpoint));
  pare_status status = check_storage(checkpoint, storage);
  if (status == PARE_OK) status = pare__plan(recipe, checkpoint, &treatments);
  if (status == PARE_OK) status = pare__report_open(recipe, checkpoint, treatments, storage, NULL, report);
  free(treatments);
  pare__checkpoint_close(checkpoint);
  return status;
}

void pare__compression_advance(pare__compression *compression, uint64_t elements, const char *what) {
  compression->done += elements;
  if (!compression->options.progress) return;
  const double total = compression->total > 0 ? (double)compression->total : 1;
  compression->options.progress(WRITING * (double)compression->done / total, what, compression->options.user);
}

static pare_status open_calibration(pare__compression *compression) {
  const pare_recipe *recipe = compression->recipe;
  if (!recipe->calibration || !compression->checkpoint->runs) return PARE_OK;
  return pare__calibration_open(compression, recipe->calibration, &compression->calibration);
}

static pare_status prepare(pare__compression *compression) {
  const pare_recipe *recipe = compression->recipe;
  void *memory;
  PARE__TRY(pare__arena_allocate(&compression->arena, (recipe->nmodifiers + 1) * sizeof(void *), &memory));
  compression->state = memory;
  for (size_t i = 0; i < compression->checkpoint->nweights; i++)
    if (compression->treatments[i].storage != PARE__STORE_AS_IS)
      compression->total += (uint64_t)compression->checkpoint->weights[i].elements;
  compression->total *= 1 + compression->options.sensitivity + compression->options.optimize_speed; /* trials */
  PARE__TRY(open_calibration(compression));
  for (size_t step = 0; step < recipe->nmodifiers; step++)
    if (recipe->modifiers[step].method->prepare) PARE__TRY(recipe->modifiers[step].method->prepare(compression, step));
  for (size_t step = 0; step < recipe->nmodifiers; step++)
    if (recipe->modifiers[step].method->prepared)
      PARE__TRY(recipe->modifiers[step].method->prepared(compression, step));
  return PARE_OK;
}

/* ---- its life ---- */

static pare_status open_compression(pare_context *all, size_t first, const pare_recipe *recipe,
                                    const pare_compress_options *options, pare__compression **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) return pare__fail_memory("a compression", sizeof **out);
  atomic_init(&(*out)->references, 1);
  pare__recipe_retain(recipe);
  (*out)->context = pare__context_member(all, first);
  (*out)->all = all;
  (*out)->recipe = recipe;
  (*out)->options = *options;
  return PARE_OK;
}

void pare__compression_retain(pare__compression *compression) { atomic_fetch_add(&compression->references, 1); }

void pare__compression_release(pare__compression *compression) {
  if (!compression || atomic_fetch_sub(&compression->references, 1) != 1) return;
  const pare_recipe *recipe = compression->recipe;
  for (size_t step = 0; compression->state && step < recipe->nmodifiers; step++)
    if (recipe->modifiers[step].method->finish) recipe->modifiers[step].method->finish(compression, step);
  pare__calibration_close(compression->calibration);
  free(compression->treatments);
  pare__checkpoint_close(compression->checkpoint);
  pare__arena_clear(&compression->arena);
  pare_recipe_close((pare_recipe *)recipe);
  free(compression);
}

/* ---- files ---- */

/* Trials are written beside the output, or where temporary files belong. */
static pare_status try_out(pare__compression *compression, const char *out,
                           pare_status (*try)(pare__compression *compression, const char *scratch)) {
  const char *folder = getenv("TMPDIR");
  char *near = pare__format("%s", out ? out : folder && *folder ? folder : "/tmp");
  char *named = near && !out ? pare__format("%s/pare", near) : NULL;
  char *scratch = near ? pare__output_temporary(named ? named : near) : NULL;
  const pare_status status = scratch ? try(compression, scratch) : pare__fail_memory("a path", sizeof ".pare");
  free(scratch);
  free(named);
  free(near);
  return status;
}

static uint64_t size_of(const char *path) {
  struct stat found;
  return path && stat(path, &found) == 0 ? (uint64_t)found.st_size : 0;
}

/* What was written becomes compact before it is verified and takes its place. */
static pare_status store_compact(pare__compression *compression, const char *path, const char *out, char **companion) {
  pare_conversion conversion;
  char *other;
  if (compression->options.storage != PARE_STORAGE_COMPACT) return PARE_OK;
  PARE__TRY(pare__convert_file(path, path, out, PARE_STORAGE_COMPACT, &conversion, &other));
  if (*companion) unlink(*companion);
  free(*companion);
  *companion = other;
  compression->report->summary.portable_bytes = conversion.input_bytes;
  return PARE_OK;
}

static pare_status export(pare__compression *compression, const char *in, const char *out) {
  char *temporary = pare__output_temporary(out), *companion = NULL;
  if (!temporary) return pare__fail_memory("a path", strlen(out) + 32);
  pare__output_sweep(out);
  pare__ahead *ahead = NULL;
  pare_status status = pare__ahead_open(compression, &ahead);
  const pare__producer producer = ahead ? pare__ahead_producer(ahead) : pare__rows_producer(compression);
  /* The weights of what becomes compact do not stay: those that do have the name. */
  const bool compact = compression->options.storage == PARE_STORAGE_COMPACT;
  const pare__write_request request = {.path = temporary,
                                       .final_path = compact ? temporary : out,
                                       .recipe = compression->report->summary.recipe,
                                       .companion = &companion};
  if (status == PARE_OK)
    status =
        compression->checkpoint->format->write(compression->checkpoint, compression->treatments, &producer, &request);
  pare__ahead_close(ahead);
  if (status == PARE_OK) status = store_compact(compression, temporary, out, &companion);
  if (status == PARE_OK && compression->checkpoint->runs && !compression->options.skip_verify) {
    if (compression->options.progress)
      compression->options.progress(WRITING, "running both models", compression->options.user);
    status =
        pare__verify(compression->context, in, temporary, out, compression->recipe->calibration, compression->report);
    if (status == PARE_OK && !compression->options.optimize_speed) status = pare__speed_tell(compression, temporary);
  }
  if (status == PARE_OK) status = pare__output_commit(temporary, companion, in, out);
  if (status == PARE_OK) compression->report->summary.output_bytes = size_of(out) + size_of(companion);
  if (status != PARE_OK) {
    unlink(temporary);
    if (companion) unlink(companion);
  }
  free(companion);
  free(temporary);
  return status;
}

/* Files keep their format: a name that says another is a mistake. */
static pare_status open_out(const pare__checkpoint *checkpoint, const char *out, char **target) {
  const char *dot = strrchr(out, '.');
  for (size_t i = 0; dot && pare__checkpoint_formats[i]; i++) {
    const pare__checkpoint_format *other = pare__checkpoint_formats[i];
    if (other != checkpoint->format && strcmp(dot + 1, other->name) == 0)
      return pare__fail(PARE_ERR_ARGUMENT, "%s is a file of %s, and so is what is made of it: name it so, not '%s'",
                        checkpoint->path, checkpoint->format->name, out);
  }
  return pare__output_open(out, target);
}

/* What is not made ahead is made on the context's device `first`. */
static pare_status compress_on(pare_context *context, size_t first, const char *in, const char *out,
                               const pare_recipe *recipe, const pare_compress_options *options, pare_report **report) {
  const double begun = pare__seconds();
  pare__compression *compression;
  char *target = NULL;
  PARE__TRY(open_compression(context, first, recipe, options, &compression));
  const pare_storage storage = compression->options.storage;
  pare_status status = pare__checkpoint_open(in, &compression->checkpoint);
  if (status == PARE_OK && out) status = open_out(compression->checkpoint, out, &target);
  if (status == PARE_OK) status = check_storage(compression->checkpoint, storage);
  if (status == PARE_OK) status = pare__plan(recipe, compression->checkpoint, &compression->treatments);
  if (status == PARE_OK) status = prepare(compression);
  if (status == PARE_OK && compression->options.optimize_speed)
    status = try_out(compression, target, pare__speed_settle);
  if (status == PARE_OK)
    status =
        pare__report_open(recipe, compression->checkpoint, compression->treatments, storage, out, &compression->report);
  if (status == PARE_OK && options->sensitivity) status = try_out(compression, target, pare__sensitivity);
  if (status == PARE_OK && target) status = export(compression, in, target);
  if (compression->report) compression->report->summary.seconds = pare__seconds() - begun;
  if (report && status == PARE_OK)
    *report = compression->report;
  else
    pare_report_close(compression->report);
  pare__compression_release(compression);
  free(target);
  return status;
}

/* ---- devices that fail ---- */

static bool works(pare_context *member) {
  static const int64_t length = 1;
  float value = 1;
  pare_tensor *tensor;
  pare_status status = pare_tensor_from(member, PARE_F32, 1, &length, &value, sizeof value, &tensor);
  if (status == PARE_OK) status = pare_binary(PARE_BINARY_add, tensor, tensor, tensor);
  if (status == PARE_OK) status = pare_tensor_read(tensor, &value, sizeof value);
  pare_tensor_close(tensor);
  return status == PARE_OK && value == 2;
}

/* The crew mends what fails in its jobs. Where a result is read to be written, or in what only the device `first` did,
 * it is a device that does nothing any more, or else the first. */
static void lose_one(pare_context *context, pare__crew *crew, size_t first) {
  char *why = pare__strdup(pare_message());
  size_t lost = first;
  for (size_t i = pare__context_members(context); i-- > 0;)
    if (!pare__crew_is_lost(crew, i) && !works(pare__context_member(context, i))) lost = i;
  pare__crew_lose(crew, lost, why);
  free(why);
}

/* A device that is not lost, from `first` on; false: there is none. */
static bool find_device(pare_context *context, pare__crew *crew, size_t *first) {
  while (*first < pare__context_members(context) && pare__crew_is_lost(crew, *first)) ++*first;
  return *first < pare__context_members(context);
}

pare_status pare_compress(pare_context *context, const char *in, const char *out, const pare_recipe *recipe,
                          const pare_compress_options *options, pare_report **report) {
  static const pare_compress_options defaults = PARE_COMPRESS_OPTIONS_INIT;
  if (report) *report = NULL;
  const bool sensitivity = options && options->sensitivity;
  if (!context || !in || (!out && !sensitivity) || !recipe)
    return pare__fail_null("pare_compress", !context ? "context" : !in ? "in" : !recipe ? "recipe" : "out");
  PARE__TRY(pare__context_may_wait("pare_compress", context));
  const size_t count = pare__context_members(context);
  pare__crew *crew = NULL;
  if (count > 1) PARE__TRY(pare__crew_of(context, &crew));
  pare_status status = PARE_ERR_DEVICE;
  size_t first = 0;
  /* The file appears whole or not at all, and is the same whoever makes it: so all of it is made again. */
  for (size_t trial = 0; trial < count && status == PARE_ERR_DEVICE; trial++) {
    if (crew && !find_device(context, crew, &first))
      return pare__fail(PARE_ERR_DEVICE, "all devices of the context are lost");
    status = compress_on(context, first, in, out, recipe, options ? options : &defaults, report);
    if (status == PARE_ERR_DEVICE && crew && trial + 1 < count) lose_one(context, crew, first);
  }
  return status;
}
