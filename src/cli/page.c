/* What a compression did, as one page of HTML. SPDX-License-Identifier: Apache-2.0
 *
 * Bars are rectangles of SVG whose width is a percentage, and all text is HTML: so the page is as readable on a phone
 * and on paper as it is on a screen. There is no script. */
#include "cli/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"

#define MOST_BARS 24 /* layers in the picture; the table has all */

static const char style[] =
    ":root{--ink:#1c2430;--dim:#5d6b7c;--paper:#fff;--line:#d9dfe7;--a:#2f6f9f;--b:#c2642d;--rest:#c6ced8}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--dim:#9aa7b7;--paper:#151a21;--line:#323b47;--a:#6db0e0;"
    "--b:#e89a63;--rest:#45505e}}"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:68rem;padding:1rem;background:var(--paper);color:var(--ink);"
    "font:1rem/1.5 system-ui,sans-serif}h1{font-size:1.5rem;margin:.2rem 0;overflow-wrap:anywhere}"
    "h2{font-size:1.15rem;margin:2rem 0 .6rem}p{margin:.3rem 0}.dim{color:var(--dim);font-size:.9rem}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;margin:1.2rem 0}"
    ".tile{border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}.tile b{display:block;font-size:1.5rem}"
    ".bars{display:grid;grid-template-columns:minmax(5rem,30%) 1fr 4.6rem;gap:.25rem .6rem;align-items:center}"
    ".bars "
    "span{font-size:.85rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;direction:rtl;text-align:left}"
    ".bars i{font-style:normal;font-size:.85rem;text-align:right;font-variant-numeric:tabular-nums}"
    "svg{width:100%;height:1.1rem;display:block;print-color-adjust:exact;-webkit-print-color-adjust:exact}"
    ".a{fill:var(--a)}.b{fill:var(--b)}.rest{fill:var(--rest)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.85rem}"
    "th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}"
    "th{white-space:nowrap}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"
    ".wide td:first-child,.what{min-width:11rem;overflow-wrap:anywhere}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.8rem}"
    "@media print{body{max-width:none;padding:0}h2{break-after:avoid}tr,.tile{break-inside:avoid}}";

/* ---- text ---- */

static void escaped(FILE *to, const char *text) {
  for (; *text; text++) {
    switch (*text) {
    case '<': fputs("&lt;", to); break;
    case '>': fputs("&gt;", to); break;
    case '&': fputs("&amp;", to); break;
    case '"': fputs("&quot;", to); break;
    default: fputc((unsigned char)*text < ' ' && *text != '\n' ? ' ' : *text, to);
    }
  }
}

static void cell(FILE *to, const char *text) {
  fputs("<td>", to);
  escaped(to, text);
}

/* A cell with a number: `decimals` of them, or three digits if that is below 0. */
static void figure(FILE *to, double value, int decimals, const char *unit) {
  fputs("<td class=n>", to);
  if (!isfinite(value))
    fputs(isnan(value) ? "–" : "exact", to);
  else if (decimals < 0)
    fprintf(to, "%.3g%s", value, unit);
  else
    fprintf(to, "%.*f%s", decimals, value, unit);
}

/* |b - a| / |a| of vectors, from the signal's distance to the noise. */
static double relative_error(const pare_distance *distance) { return pow(10, -distance->sqnr_db / 20); }

static void file_name(FILE *to, const char *path) {
  const char *slash = strrchr(path, '/');
  escaped(to, slash ? slash + 1 : path);
}

/* ---- sections ---- */

static void tile(FILE *to, const char *title, const char *value, const char *more) {
  fprintf(to, "<div class=tile><span class=dim>%s</span><b>%s</b><span class=dim>", title, value);
  escaped(to, more);
  fputs("</span></div>\n", to);
}

static bool is_timed(const cli_page_latency *latency) { return latency && latency->before > 0 && latency->after > 0; }

static void write_tiles(FILE *to, const pare_report_summary *summary, const pare_report *report,
                        const cli_page_latency *latency) {
  char before[CLI_TEXT], after[CLI_TEXT], value[3 * CLI_TEXT], more[4 * CLI_TEXT];
  const double factor = (double)summary->input_bytes / (double)(summary->output_bytes ? summary->output_bytes : 1);
  fputs("<div class=tiles>\n", to);
  cli_bytes(summary->input_bytes, before);
  cli_bytes(summary->output_bytes, after);
  snprintf(value, sizeof value, "%.3g times smaller", factor);
  snprintf(more, sizeof more, "%s, now %s", before, after);
  tile(to, "File", value, more);
  if (is_timed(latency)) {
    const double speed = latency->before / latency->after;
    cli_seconds(latency->before, before);
    cli_seconds(latency->after, after);
    snprintf(value, sizeof value, speed >= 1 ? "%.3g times faster" : "%.3g of the speed", speed);
    snprintf(more, sizeof more, "%s, now %s; %s", before, after, latency->shapes);
    tile(to, "A run", value, more);
  }
  double worst = 1;
  const char *name = "";
  pare_report_output output;
  for (size_t i = 0; i < summary->noutputs; i++) {
    if (pare_report_output_get(report, i, &output) != PARE_OK) continue;
    if (i == 0 || output.distance.cosine < worst) {
      worst = output.distance.cosine;
      name = output.name;
    }
  }
  if (summary->noutputs > 0) {
    snprintf(value, sizeof value, "cosine %.5f", worst);
    snprintf(more, sizeof more, "%s, on %s inputs", name, summary->calibrated_inputs ? "calibration" : "random");
    tile(to, "Outputs", value, more);
  }
  fputs("</div>\n", to);
}

static void bar(FILE *to, const char *name, double fraction, const char *class, const char *figure_text) {
  fputs("<span title=\"", to);
  escaped(to, name);
  fputs("\">&lrm;", to);
  escaped(to, name);
  fprintf(to, "</span><svg aria-hidden=true><rect class=%s width=\"%.2f%%\" height=100%% /></svg><i>%s</i>\n", class,
          100 * fraction, figure_text);
}

/* Bytes before and after, by what becomes of them. */
static void write_sizes(FILE *to, const pare_report_summary *summary, const pare_report *report) {
  uint64_t changed_before = 0, changed_after = 0;
  pare_report_tensor tensor;
  char text[CLI_TEXT];
  for (size_t i = 0; i < summary->ntensors; i++) {
    if (pare_report_tensor_get(report, i, &tensor) != PARE_OK || !*tensor.treatment) continue;
    changed_before += tensor.bytes_before;
    changed_after += tensor.bytes_after;
  }
  const uint64_t rest = summary->weight_bytes_before - changed_before;
  const double all = summary->weight_bytes_before > 0 ? (double)summary->weight_bytes_before : 1;
  fputs("<h2>Size of the weights</h2><div class=bars>\n", to);
  bar(to, "before", (double)changed_before / all, "a", cli_bytes(changed_before, text));
  bar(to, "after", (double)changed_after / all, "b", cli_bytes(changed_after, text));
  bar(to, "not changed", (double)rest / all, "rest", cli_bytes(rest, text));
  fputs("</div>\n", to);
}

static void write_times(FILE *to, const cli_page_latency *latency) {
  const double longest = fmax(latency->before, latency->after);
  char text[CLI_TEXT];
  fputs("<h2>Time of a run</h2><p class=dim>", to);
  escaped(to, latency->shapes);
  fputs("</p><div class=bars>\n", to);
  cli_seconds(latency->before, text);
  bar(to, "before", latency->before / longest, "a", text);
  cli_seconds(latency->after, text);
  bar(to, "after", latency->after / longest, "b", text);
  fputs("</div>\n", to);
}

static int worst_first(const void *left, const void *right) {
  const pare_report_tensor *a = left, *b = right;
  return (a->distance.sqnr_db > b->distance.sqnr_db) - (a->distance.sqnr_db < b->distance.sqnr_db);
}

static int most_sensitive_first(const void *left, const void *right) {
  const pare_report_tensor *a = left, *b = right;
  return (a->outputs_alone.sqnr_db > b->outputs_alone.sqnr_db) - (a->outputs_alone.sqnr_db < b->outputs_alone.sqnr_db);
}

/* Relative errors, the largest first: of the weights, or of outputs with only this tensor compressed. */
static void write_errors(FILE *to, const pare_report_tensor *tensors, size_t count, bool alone, const char *title,
                         const char *meaning) {
  char text[CLI_TEXT];
  double worst = 0;
  if (count == 0) return;
  fprintf(to, "<h2>%s, worst first</h2><p class=dim>%s</p><div class=bars>\n", title, meaning);
  for (size_t i = 0; i < count && i < MOST_BARS; i++) {
    const double error = relative_error(alone ? &tensors[i].outputs_alone : &tensors[i].distance);
    if (i == 0) worst = error;
    snprintf(text, sizeof text, "%.3g %%", 100 * error);
    bar(to, tensors[i].name, worst > 0 ? error / worst : 0, alone ? "a" : "b", text);
  }
  fputs("</div>\n", to);
  if (count > MOST_BARS) fprintf(to, "<p class=dim>and %zu more</p>\n", count - MOST_BARS);
}

/* Both pictures of errors. */
static cli_exit write_all_errors(FILE *to, const pare_report *report, const pare_report_summary *summary) {
  size_t nchanged = 0, nalone = 0;
  pare_report_tensor *changed = calloc(2 * summary->ntensors + 1, sizeof *changed), tensor;
  if (!changed) return cli_error(CLI_DEVICE, "out of memory");
  pare_report_tensor *alone = changed + summary->ntensors;
  for (size_t i = 0; i < summary->ntensors; i++) {
    if (pare_report_tensor_get(report, i, &tensor) != PARE_OK) continue;
    if (tensor.changed) changed[nchanged++] = tensor;
    if (tensor.tried_alone) alone[nalone++] = tensor;
  }
  qsort(changed, nchanged, sizeof *changed, worst_first);
  qsort(alone, nalone, sizeof *alone, most_sensitive_first);
  write_errors(to, changed, nchanged, false, "Error of the weights", "Length of the change over length of the tensor.");
  write_errors(to, alone, nalone, true, "Sensitivity",
               "How far the outputs are from the original's, relative to them, if only this tensor is compressed.");
  free(changed);
  return CLI_OK;
}

static void write_outputs(FILE *to, const pare_report_summary *summary, const pare_report *report) {
  pare_report_output output;
  if (summary->noutputs == 0) return;
  fputs("<h2>Outputs, against the model before</h2><div class=wide><table><tr><th>output<th class=n>cosine"
        "<th class=n>SQNR, dB<th class=n>mean squared error<th class=n>largest error\n",
        to);
  for (size_t i = 0; i < summary->noutputs; i++) {
    if (pare_report_output_get(report, i, &output) != PARE_OK) continue;
    fputs("<tr>", to);
    cell(to, output.name);
    figure(to, output.distance.cosine, 6, "");
    figure(to, output.distance.sqnr_db, 1, "");
    figure(to, output.distance.mse, -1, "");
    figure(to, output.distance.max_error, -1, "");
    fputc('\n', to);
  }
  fputs("</table></div>\n", to);
}

static void write_shape(FILE *to, const pare_report_tensor *tensor) {
  fputs("<td class=n>", to);
  for (int d = 0; d < tensor->rank; d++) fprintf(to, "%s%" PRId64, d ? " × " : "", tensor->dim[d]);
}

static void write_tensor(FILE *to, const pare_report_tensor *tensor) {
  char text[CLI_TEXT];
  fputs("<tr>", to);
  cell(to, tensor->name);
  cell(to, tensor->role);
  write_shape(to, tensor);
  fputs("<td class=what>", to);
  escaped(to, tensor->treatment);
  if (*tensor->reason) {
    fputs("<div class=dim>", to);
    escaped(to, tensor->reason);
    fputs("</div>", to);
  }
  figure(to, tensor->bits, -1, "");
  fprintf(to, "<td class=n>%s", cli_bytes(tensor->bytes_before, text));
  fprintf(to, "<td class=n>%s", cli_bytes(tensor->bytes_after, text));
  figure(to, tensor->changed ? 100 * tensor->kept : NAN, 1, " %");
  figure(to, tensor->changed ? tensor->distance.sqnr_db : NAN, 1, "");
  fputc('\n', to);
}

/* Those that methods look at, or all others. */
static void write_rows(FILE *to, const pare_report_summary *summary, const pare_report *report, bool others) {
  pare_report_tensor tensor;
  fputs("<div class=wide><table><tr><th>tensor<th>role<th class=n>shape<th>what was done"
        "<th class=n>bits<th class=n>before<th class=n>after<th class=n>not zero<th class=n>SQNR, dB\n",
        to);
  for (size_t i = 0; i < summary->ntensors; i++)
    if (pare_report_tensor_get(report, i, &tensor) == PARE_OK && !*tensor.role == others) write_tensor(to, &tensor);
  fputs("</table></div>\n", to);
}

/* Biases and their like are many, and stay: they are there when one opens them. */
static void write_tensors(FILE *to, const pare_report_summary *summary, const pare_report *report) {
  pare_report_tensor tensor;
  char text[CLI_TEXT];
  size_t nothers = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < summary->ntensors; i++) {
    if (pare_report_tensor_get(report, i, &tensor) != PARE_OK || *tensor.role) continue;
    nothers++;
    bytes += tensor.bytes_after;
  }
  fputs("<h2>Tensors</h2>", to);
  write_rows(to, summary, report, false);
  if (nothers == 0) return;
  fprintf(to, "<details><summary class=dim>%zu other tensors stay, %s</summary>", nothers, cli_bytes(bytes, text));
  write_rows(to, summary, report, true);
  fputs("</details>\n", to);
}

static void write_recipe(FILE *to, const char *recipe) {
  json_t *json = json_loads(recipe, 0, NULL);
  char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  fputs("<h2>Recipe</h2><details open><summary class=dim>as pare compress --recipe takes it</summary><pre>", to);
  escaped(to, text ? text : recipe);
  fputs("</pre></details>\n", to);
  free(text);
  json_decref(json);
}

/* ---- the page ---- */

static cli_exit write_page(FILE *to, const pare_report *report, const cli_page_latency *latency) {
  pare_report_summary summary;
  if (pare_report_get(report, &summary) != PARE_OK) return cli_fail(PARE_ERR_ARGUMENT);
  const char *subject = *summary.output ? summary.output : summary.input;
  fputs(
      "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\n<title>",
      to);
  file_name(to, subject);
  fprintf(to, " - pare</title>\n<style>%s</style>\n<h1>", style);
  file_name(to, subject);
  fprintf(to, "</h1>\n<p class=dim>%s", *summary.output ? "made from " : "a plan for ");
  file_name(to, summary.input);
  fprintf(to, " by pare %s%s", pare_version(), latency && latency->device ? " on " : "");
  if (latency && latency->device) escaped(to, latency->device);
  fputs("</p>\n", to);
  write_tiles(to, &summary, report, latency);
  write_sizes(to, &summary, report);
  if (is_timed(latency)) write_times(to, latency);
  const cli_exit code = write_all_errors(to, report, &summary);
  write_outputs(to, &summary, report);
  write_tensors(to, &summary, report);
  write_recipe(to, summary.recipe);
  return code;
}

cli_exit cli_page_write(const char *path, const pare_report *report, const cli_page_latency *latency) {
  char *text = NULL;
  size_t nbytes = 0;
  FILE *to = open_memstream(&text, &nbytes);
  if (!to) return cli_error(CLI_DEVICE, "out of memory");
  cli_exit code = write_page(to, report, latency);
  if (fclose(to) != 0 && code == CLI_OK) code = cli_error(CLI_DEVICE, "out of memory");
  if (code == CLI_OK) code = cli_file_write(path, text, nbytes);
  free(text);
  return code;
}
