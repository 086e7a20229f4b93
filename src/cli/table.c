/* Tables whose columns line up. SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define MAX_COLUMNS 16
#define GAP 2 /* spaces between columns */

typedef struct cell {
  char *text;
  cli_style style;
} cell;

struct cli_table {
  size_t ncolumns, ncells, capacity;
  bool right[MAX_COLUMNS];
  bool failed; /* memory ran out */
  cell *cells; /* the titles first */
};

static void add(cli_table *table, cli_style style, const char *text) {
  if (table->failed) return;
  if (table->ncells == table->capacity) {
    size_t capacity = table->capacity ? 2 * table->capacity : 64;
    cell *cells = reallocarray(table->cells, capacity, sizeof *cells);
    if (!cells) {
      table->failed = true;
      return;
    }
    table->cells = cells;
    table->capacity = capacity;
  }
  char *copy = strdup(text);
  if (!copy) {
    table->failed = true;
    return;
  }
  /* A driver's name must not move the cursor. */
  for (char *c = copy; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 127) *c = ' ';
  table->cells[table->ncells++] = (cell){copy, style};
}

cli_table *cli_table_open(const char *columns) {
  cli_table *table = calloc(1, sizeof *table);
  if (!table) return NULL;
  for (const char *title = columns; table->ncolumns < MAX_COLUMNS; title++) {
    char text[64];
    size_t nbytes = strcspn(title, "|");
    bool right = *title == '>';
    table->right[table->ncolumns++] = right;
    snprintf(text, sizeof text, "%.*s", (int)nbytes - right, title + right);
    add(table, CLI_BOLD, text);
    title += nbytes;
    if (!*title) break;
  }
  return table;
}

void cli_table_cell(cli_table *table, cli_style style, const char *format, ...) {
  char text[2048];
  va_list arguments;
  if (!table) return;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  add(table, style, text);
}

size_t cli_table_rows(const cli_table *table) {
  return table && table->ncells ? table->ncells / table->ncolumns - 1 : 0;
}

static void print_row(const cli_table *table, const cell *row, const size_t *widths) {
  size_t column = 0, padding = 0;
  for (size_t i = 0; i < table->ncolumns; i++) {
    size_t width = cli_text_width(row[i].text, strlen(row[i].text));
    bool last = i + 1 == table->ncolumns;
    if (width > 0 || !last) printf("%*s", (int)(padding + (table->right[i] ? widths[i] - width : 0)), "");
    if (last && !table->right[i] && cli_terminal() && column + width > cli_terminal_width() &&
        column + 20 < cli_terminal_width()) {
      cli_print_wrapped(column, column, row[i].text);
      return;
    }
    if (width > 0) cli_print(row[i].style, "%s", row[i].text);
    padding = GAP + (table->right[i] ? 0 : widths[i] - width);
    column += widths[i] + GAP;
  }
  putchar('\n');
}

cli_exit cli_table_print(cli_table *table) {
  size_t widths[MAX_COLUMNS] = {0};
  bool failed = !table || table->failed;
  for (size_t i = 0; !failed && i < table->ncells; i++) {
    size_t width = cli_text_width(table->cells[i].text, strlen(table->cells[i].text));
    if (width > widths[i % table->ncolumns]) widths[i % table->ncolumns] = width;
  }
  for (size_t i = 0; !failed && i + table->ncolumns <= table->ncells; i += table->ncolumns)
    print_row(table, table->cells + i, widths);
  for (size_t i = 0; table && i < table->ncells; i++) free(table->cells[i].text);
  if (table) free(table->cells);
  free(table);
  return failed ? cli_error(CLI_DEVICE, "out of memory for a table") : CLI_OK;
}
