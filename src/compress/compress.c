/* A compression from file to file. SPDX-License-Identifier: Apache-2.0
 *
 * The new file is written beside the old one under another name, run and compared, and only then renamed: whatever
 * happens, there is the old file or the new one. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compress/calibration.h"
#include "compress/plan.h"
#include "compress/report.h"
#include "compress/rows.h"
#include "compress/sensitivity.h"
#include "compress/speed.h"
#include "compress/verify.h"

/* Of the whole work: the rest is verification. */
#define WRITING 0.8

pare_status pare_compress_plan(const char *in, const pare_recipe *recipe, pare_report **report) {
  pare__checkpoint *checkpoint = NULL;
  pare__treatment *treatments = NULL;
  if (!report) return pare__fail_null("pare_compress_plan", "report");
  *report = NULL;
  if (!in || !recipe) return pare__fail_null("pare_compress_plan", in ? "recipe" : "in");
  PARE__TRY(pare__checkpoint_open(in, &checkpoint));
  pare_status status = pare__plan(recipe, checkpoint, &treatments);
  if (status == PARE_OK) status = pare__report_open(recipe, checkpoint, treatments, NULL, report);
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
  return PARE_OK;
}

static void finish(pare__compression *compression) {
  const pare_recipe *recipe = compression->recipe;
  for (size_t step = 0; compression->state && step < recipe->nmodifiers; step++)
    if (recipe->modifiers[step].method->finish) recipe->modifiers[step].method->finish(compression, step);
  pare__calibration_close(compression->calibration);
}

/* A name beside `out` that nobody has. */
static char *temporary_path(const char *out) {
  static atomic_uint next;
  const char *slash = strrchr(out, '/'), *file = slash ? slash + 1 : out;
  return pare__format("%.*s.%s.%ld-%u", (int)(file - out), out, file, (long)getpid(), atomic_fetch_add(&next, 1));
}

/* Trials are written beside the output, or where temporary files belong. */
static pare_status try_out(pare__compression *compression, const char *out,
                           pare_status (*try)(pare__compression *compression, const char *scratch)) {
  const char *folder = getenv("TMPDIR");
  char *near = pare__format("%s", out ? out : folder && *folder ? folder : "/tmp");
  char *named = near && !out ? pare__format("%s/pare", near) : NULL;
  char *scratch = near ? temporary_path(named ? named : near) : NULL;
  const pare_status status = scratch ? try(compression, scratch) : pare__fail_memory("a path", sizeof ".pare");
  free(scratch);
  free(named);
  free(near);
  return status;
}

static pare_status commit(pare__compression *compression, const char *temporary, const char *out) {
  struct stat found;
  if (rename(temporary, out) != 0)
    return pare__fail(PARE_ERR_IO, "renaming %s to %s: %s", temporary, out, strerror(errno));
  if (stat(out, &found) == 0) compression->report->summary.output_bytes = (uint64_t)found.st_size;
  return PARE_OK;
}

/* What was written becomes compact before it is verified and takes its place. */
static pare_status store_compact(pare__compression *compression, const char *path) {
  pare_conversion conversion;
  if (compression->options.storage != PARE_STORAGE_COMPACT) return PARE_OK;
  PARE__TRY(pare_convert(path, path, PARE_STORAGE_COMPACT, &conversion));
  compression->report->summary.portable_bytes = conversion.input_bytes;
  return PARE_OK;
}

static pare_status export(pare__compression *compression, const char *in, const char *out) {
  char *temporary = temporary_path(out), *companion = NULL;
  struct stat found;
  if (!temporary) return pare__fail_memory("a path", strlen(out) + 32);
  const pare__producer producer = pare__rows_producer(compression);
  const pare__write_request request = {
      .path = temporary, .final_path = out, .recipe = compression->report->summary.recipe, .companion = &companion};
  pare_status status =
      compression->checkpoint->format->write(compression->checkpoint, compression->treatments, &producer, &request);
  if (status == PARE_OK) status = store_compact(compression, temporary);
  if (status == PARE_OK && compression->checkpoint->runs && !compression->options.skip_verify) {
    if (compression->options.progress)
      compression->options.progress(WRITING, "running both models", compression->options.user);
    status =
        pare__verify(compression->context, in, temporary, out, compression->recipe->calibration, compression->report);
  }
  if (status == PARE_OK) status = commit(compression, temporary, out);
  if (status == PARE_OK && companion && stat(companion, &found) == 0)
    compression->report->summary.output_bytes += (uint64_t)found.st_size;
  if (status != PARE_OK) {
    unlink(temporary);
    if (companion) unlink(companion);
  }
  free(companion);
  free(temporary);
  return status;
}

pare_status pare_compress(pare_context *context, const char *in, const char *out, const pare_recipe *recipe,
                          const pare_compress_options *options, pare_report **report) {
  static const pare_compress_options defaults = PARE_COMPRESS_OPTIONS_INIT;
  const double begun = pare__seconds();
  if (report) *report = NULL;
  const bool sensitivity = options && options->sensitivity;
  if (!context || !in || (!out && !sensitivity) || !recipe)
    return pare__fail_null("pare_compress", !context ? "context" : !in ? "in" : !recipe ? "recipe" : "out");
  pare__compression compression = {.context = context, .recipe = recipe, .options = options ? *options : defaults};
  pare_status status = pare__checkpoint_open(in, &compression.checkpoint);
  if (status == PARE_OK && compression.options.storage == PARE_STORAGE_COMPACT && !compression.checkpoint->runs)
    status = pare__fail(PARE_ERR_ARGUMENT,
                        "%s: compact storage is for ONNX models; files of safetensors keep their zeros", in);
  if (status == PARE_OK) status = pare__plan(recipe, compression.checkpoint, &compression.treatments);
  if (status == PARE_OK) status = prepare(&compression);
  if (status == PARE_OK && compression.options.optimize_speed) status = try_out(&compression, out, pare__speed_settle);
  if (status == PARE_OK)
    status = pare__report_open(recipe, compression.checkpoint, compression.treatments, out, &compression.report);
  if (status == PARE_OK && sensitivity) status = try_out(&compression, out, pare__sensitivity);
  if (status == PARE_OK && out) status = export(&compression, in, out);
  finish(&compression);
  if (compression.report) compression.report->summary.seconds = pare__seconds() - begun;
  if (report && status == PARE_OK)
    *report = compression.report;
  else
    pare_report_close(compression.report);
  free(compression.treatments);
  pare__checkpoint_close(compression.checkpoint);
  pare__arena_clear(&compression.arena);
  return status;
}
