/* A trace drawn as a Gantt chart in SVG. SPDX-License-Identifier: Apache-2.0
 *
 * A row a device: its work as bars, its copies as thin ones below. Kernels have colours and hatches, so that they can
 * be told apart in grey and on paper. Neighbours too narrow to be seen become one bar. */
#include "cli/gantt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"

enum {
  WIDTH = 1000,
  LEFT = 130,
  RIGHT = 70, /* the share that a device is busy */
  TOP = 46,   /* above the bars, but for the legend */
  LEGEND = 34,
  LEGEND_LINE = 18,
  ROW = 34,
  BAR = 20,
  COPY = 4,
  MOST_DEVICES = 64,
  MOST_KINDS = 8,   /* the others are "other" */
  MOST_LETTERS = 32 /* of one in the legend */
};
#define NARROW 1.0 /* pixels: narrower bars of a kind join */
#define LETTER 6.4 /* pixels of one at the size of labels */

static void print_colours(FILE *to, const char *ink, const char *dim, const char *paper, const char *line) {
  fprintf(to, "svg{background:%s}.paper{fill:%s}text{fill:%s}.dim{fill:%s}.axis{stroke:%s}.b{stroke:%s}", paper, paper,
          ink, dim, line, paper);
}

/* No custom properties: what draws pictures outside of browsers knows no var(), and then draws black on black. Such
 * programs also pass over @media, and get the light colours. */
static void print_style(FILE *to) {
  fputs("<style>text{font-family:system-ui,sans-serif;font-size:11px}.title{font-size:14px;font-weight:600}"
        ".in{fill:#fff;font-size:10.5px}.c{fill:#8a97a6}.b{stroke-width:.5}"
        "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}",
        to);
  print_colours(to, "#1c2430", "#5d6b7c", "#fff", "#d9dfe7");
  fputs("@media(prefers-color-scheme:dark){", to);
  print_colours(to, "#e4e9f0", "#9aa7b7", "#151a21", "#323b47");
  fputs("}@media print{", to);
  print_colours(to, "#000", "#333", "#fff", "#bbb");
  fputs("}</style>\n", to);
}

/* Dark enough for white letters, of unlike lightness. */
static const char *const colours[MOST_KINDS + 1] = {"#2f6f9f", "#b0561f", "#3d7a3a", "#7d4d9e", "#a33a4b",
                                                    "#0f7470", "#86681a", "#4a5568", "#6b7280"};

static double x_of(const cli_gantt *gantt, double at) {
  return LEFT + (at - gantt->from) / (gantt->until - gantt->from) * (WIDTH - LEFT - RIGHT);
}

static void escaped(FILE *to, const char *text, size_t most) {
  size_t count = strnlen(text, most);
  while (count > 0 && ((unsigned char)text[count] & 0xc0) == 0x80) count--; /* whole characters */
  for (size_t i = 0; i < count; i++) {
    switch (text[i]) {
    case '<': fputs("&lt;", to); break;
    case '>': fputs("&gt;", to); break;
    case '&': fputs("&amp;", to); break;
    case '"': fputs("&quot;", to); break;
    default: fputc((unsigned char)text[i] < ' ' ? ' ' : text[i], to);
    }
  }
}

/* At most so many bytes; of a longer text the head and the tail, which tells parts of one device apart. */
static void shortened(FILE *to, const char *text, size_t most) {
  const size_t length = strlen(text), tail = 8;
  if (length <= most) {
    escaped(to, text, most);
    return;
  }
  const char *end = text + length - tail;
  while (((unsigned char)*end & 0xc0) == 0x80) end++; /* whole characters */
  escaped(to, text, most - tail - 1);
  fputs("\xe2\x80\xa6", to);
  escaped(to, end, tail);
}

static size_t kind_of(const cli_gantt *gantt, const char *kind) {
  size_t i = 0;
  while (i < gantt->nkinds && i < MOST_KINDS && strcmp(gantt->kind[i], kind) != 0) i++;
  return i < gantt->nkinds && i < MOST_KINDS ? i : MOST_KINDS;
}

/* ---- parts ---- */

static void print_patterns(FILE *to) {
  fputs("<defs>\n", to);
  for (size_t i = 0; i <= MOST_KINDS; i++) {
    static const char *const marks[] = {"", "M-1 1l2-2M0 8l8-8M7 9l2-2", "M0 4h8", "M4 0v8", "M0 0l8 8"};
    fprintf(to,
            "<pattern id=\"k%zu\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
            "<rect width=\"8\" height=\"8\" fill=\"%s\"/><path d=\"%s\" stroke=\"#fff\" stroke-opacity=\".28\"/>"
            "</pattern>\n",
            i, colours[i], marks[i % CLI_COUNT(marks)]);
  }
  fputs("</defs>\n", to);
}

/* In as many lines as it takes, each ends before the right edge. to: NULL only counts them. */
static int print_legend(FILE *to, const cli_gantt *gantt, bool has_copies) {
  const size_t shown = gantt->nkinds < MOST_KINDS ? gantt->nkinds : MOST_KINDS + 1;
  double x = LEFT;
  int line = 0;
  for (size_t i = 0; i < shown + has_copies; i++) {
    const bool is_copy = i == shown;
    const char *name = is_copy ? "copies" : i < MOST_KINDS ? gantt->kind[i] : "other";
    const size_t letters = strlen(name) < MOST_LETTERS ? strlen(name) : MOST_LETTERS;
    const double width = 30 + LETTER * (double)letters;
    if (x > LEFT && x + width > WIDTH - 16) {
      x = LEFT;
      line++;
    }
    const int y = LEGEND + LEGEND_LINE * line;
    if (to && is_copy)
      fprintf(to, "<rect class=\"c\" x=\"%.1f\" y=\"%d\" width=\"12\" height=\"%d\"/>", x, y + 4, COPY);
    else if (to)
      fprintf(to, "<rect x=\"%.1f\" y=\"%d\" width=\"12\" height=\"12\" fill=\"url(#k%zu)\"/>", x, y, i);
    if (to) {
      fprintf(to, "<text x=\"%.1f\" y=\"%d\">", x + 16, y + 10);
      shortened(to, name, MOST_LETTERS);
      fputs("</text>\n", to);
    }
    x += width;
  }
  return line + 1;
}

/* 1, 2 or 5 times a power of ten, so that five to ten of them fill the axis. */
static double step_of(double length) {
  const double power = pow(10, floor(log10(length / 5)));
  const double steps[] = {5, 2, 1};
  for (size_t i = 0; i < CLI_COUNT(steps); i++)
    if (length / (steps[i] * power) >= 5) return steps[i] * power;
  return power;
}

static void print_axis(FILE *to, const cli_gantt *gantt, double top, double bottom) {
  const double length = gantt->until - gantt->from, step = step_of(length);
  const char *unit = length >= 2e6 ? "s" : length >= 2e3 ? "ms" : "\xc2\xb5s";
  const double scale = length >= 2e6 ? 1e-6 : length >= 2e3 ? 1e-3 : 1;
  for (int i = 0; i * step <= length * 1.0001; i++) {
    const double x = x_of(gantt, gantt->from + i * step);
    fprintf(to,
            "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text class=\"dim\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g%s%s</text>\n",
            x, x, top - 6, bottom + 4, x, bottom + 18, i * step * scale, i == 0 ? " " : "", i == 0 ? unit : "");
  }
}

static void print_bar(FILE *to, const cli_gantt *gantt, const cli_slice *slice, double until, size_t joined, double y) {
  const double x = x_of(gantt, slice->from), width = fmax(x_of(gantt, until) - x, 0.3);
  const size_t letters = strlen(slice->name);
  if (slice->is_copy)
    fprintf(to, "<rect class=\"c\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\"", x, y, width, COPY);
  else
    fprintf(to, "<rect class=\"%s\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"url(#k%zu)\"",
            width > 3 ? "b" : "", x, y, width, BAR, kind_of(gantt, slice->kind));
  fputs("><title>", to);
  escaped(to, slice->name, 80);
  if (joined > 1) fprintf(to, " and %zu more", joined - 1);
  fputs(" (", to);
  escaped(to, slice->kind, 80);
  fprintf(to, "), %.6g to %.6g ms</title></rect>", slice->from * 1e-3, until * 1e-3);
  if (!slice->is_copy && joined == 1 && LETTER * (double)letters + 4 < width) {
    fprintf(to, "<text class=\"in\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">", x + width / 2, y + 14);
    escaped(to, slice->name, 80);
    fputs("</text>", to);
  }
  fputc('\n', to);
}

/* Bars of one row; those that cannot be told apart become one. */
static void print_bars(FILE *to, const cli_gantt *gantt, size_t device, bool copies, double y) {
  const double pixel = (gantt->until - gantt->from) / (WIDTH - LEFT - RIGHT) * NARROW;
  const cli_slice *open = NULL;
  size_t joined = 0;
  double until = 0;
  for (size_t i = 0; i < gantt->nslices; i++) {
    const cli_slice *slice = &gantt->slice[i];
    if (slice->device != device || slice->is_copy != copies) continue;
    if (open && slice->from - until < pixel / 2 && strcmp(open->kind, slice->kind) == 0 &&
        slice->until - slice->from < pixel && until - open->from < 40 * pixel) {
      until = fmax(until, slice->until);
      joined++;
      continue;
    }
    if (open) print_bar(to, gantt, open, until, joined, y);
    open = slice;
    until = slice->until;
    joined = 1;
  }
  if (open) print_bar(to, gantt, open, until, joined, y);
}

static double busy_share(const cli_gantt *gantt, size_t device) {
  double busy = 0;
  for (size_t i = 0; i < gantt->nslices; i++)
    if (gantt->slice[i].device == device && !gantt->slice[i].is_copy)
      busy += gantt->slice[i].until - gantt->slice[i].from;
  return busy / (gantt->until - gantt->from);
}

static void print_chart(FILE *to, const cli_gantt *gantt, const char *title) {
  const size_t rows = gantt->ndevices < MOST_DEVICES ? gantt->ndevices : MOST_DEVICES;
  bool has_copies = false;
  for (size_t i = 0; i < gantt->nslices; i++) has_copies = has_copies || gantt->slice[i].is_copy;
  const double top = TOP + LEGEND_LINE * print_legend(NULL, gantt, has_copies), bottom = top + ROW * (double)rows;
  fprintf(to,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" "
          "role=\"img\">\n",
          WIDTH, bottom + 30, WIDTH, bottom + 30);
  print_style(to);
  fputs("<title>", to);
  escaped(to, title, 200);
  fputs("</title>\n", to);
  print_patterns(to);
  fprintf(
      to,
      "<rect class=\"paper\" fill=\"#fff\" width=\"%d\" height=\"%.0f\"/>\n<text class=\"title\" x=\"%d\" y=\"20\">",
      WIDTH, bottom + 30, LEFT);
  escaped(to, title, 100);
  fputs("</text>\n", to);
  if (gantt->ndevices > rows)
    fprintf(to, "<text class=\"dim\" text-anchor=\"end\" x=\"%d\" y=\"20\">the first %zu of %zu devices</text>\n",
            WIDTH - 10, rows, gantt->ndevices);
  (void)print_legend(to, gantt, has_copies);
  print_axis(to, gantt, top, bottom);
  fprintf(to, "<text class=\"dim\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">busy</text>\n", WIDTH - 16, top - 4);
  for (size_t i = 0; i < rows; i++) {
    const double y = top + ROW * (double)i;
    fprintf(to, "<text text-anchor=\"end\" x=\"%d\" y=\"%.1f\">", LEFT - 8, y + 18);
    shortened(to, gantt->device[i], 20);
    fprintf(to, "</text><text class=\"dim\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">%.0f%%</text>\n", WIDTH - 16,
            y + 18, 100 * busy_share(gantt, i));
    print_bars(to, gantt, i, false, y + 4);
    print_bars(to, gantt, i, true, y + 4 + BAR + 1);
  }
  fputs("</svg>\n", to);
}

cli_exit cli_gantt_write(const cli_gantt *gantt, const char *title, const char *path) {
  char *text = NULL;
  size_t nbytes = 0;
  FILE *to = open_memstream(&text, &nbytes);
  if (!to) return cli_error(CLI_DEVICE, "out of memory");
  print_chart(to, gantt, title);
  const bool failed = ferror(to) != 0;
  if (fclose(to) != 0 || failed) {
    free(text);
    return cli_error(CLI_DEVICE, "out of memory");
  }
  const cli_exit code = cli_file_write(path, text, nbytes);
  free(text);
  return code;
}
