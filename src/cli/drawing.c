/* A model's graph in the language of Graphviz. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/drawing.h"
#include "cli/feed.h"

enum { LINE = 28, MOST_WEIGHTS = 4 };

/* Inside double quotes. */
static void print_quoted(FILE *to, const char *text) {
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', to);
    fputc((unsigned char)*text < ' ' ? ' ' : *text, to);
  }
}

/* The same in lines: a long name goes on in the next one behind a character that parts it. */
static void print_wrapped(FILE *to, const char *text) {
  size_t column = 0;
  for (; *text; text++, column++) {
    const char one[2] = {*text, '\0'};
    print_quoted(to, one);
    if (column < LINE * 3 / 4 || !text[1]) continue;
    if (!strchr("/._:-", *text) && column < 2 * LINE) continue;
    fputs("\\n", to);
    column = 0;
  }
}

/* Where the work is done, by colour. */
static const struct {
  const char *placement, *fill, *line;
} colours[] = {{"device", "#dbe9f8", "#4a78b0"},
               {"host", "#fdf0cd", "#b8912b"},
               {"view", "#eeeeee", "#999999"},
               {"control", "#e9dcf5", "#8457ad"},
               {"", "#fadbd8", "#c0392b"}};

static size_t colour_of(const pare_node_info *node) {
  size_t i = 0;
  const char *placement = node->supported && !*node->placement ? "view" : node->placement; /* a function of the file */
  while (i + 1 < CLI_COUNT(colours) && strcmp(colours[i].placement, placement) != 0) i++;
  return i;
}

typedef struct drawing {
  const pare_inspection *inspection;
  json_t *makers;  /* of values: the names of the nodes */
  json_t *weights; /* names to shapes */
} drawing;

static void print_edge(FILE *to, const pare_inspection *inspection, const char *from, size_t target,
                       const char *value) {
  pare_model_value known;
  char shape[CLI_SHAPE];
  fprintf(to, "  %s -> n%zu [tooltip=\"", from, target);
  print_quoted(to, value);
  fputs("\"", to);
  if (pare_inspect_value(inspection, value, &known)) {
    fputs(", label=\"", to);
    print_quoted(to, cli_value_text(&known, shape));
    fputs("\"", to);
  }
  fputs("];\n", to);
}

/* The shapes of the weights that a node reads. */
static void print_weights(FILE *to, const drawing *all, const pare_node_info *node) {
  size_t printed = 0;
  for (size_t i = 0; i < node->ninputs && printed < MOST_WEIGHTS; i++) {
    const char *shape = json_string_value(json_object_get(all->weights, node->input[i]));
    if (!shape) continue;
    fputs(printed++ == 0 ? "\\n" : ", ", to);
    print_quoted(to, shape);
  }
}

/* A node, and the edges from what makes its inputs. */
static void print_node(FILE *to, const drawing *all, size_t index, const pare_node_info *node) {
  char name[32];
  const size_t colour = colour_of(node);
  fprintf(to, "  n%zu [label=\"", index);
  print_quoted(to, node->op_type);
  if (*node->name) {
    fputs("\\n", to);
    print_wrapped(to, node->name);
  }
  print_weights(to, all, node);
  fputs("\", tooltip=\"", to);
  print_quoted(to, node->attributes);
  fprintf(to, "\", fillcolor=\"%s\", color=\"%s\"%s];\n", colours[colour].fill, colours[colour].line,
          node->depth > 0 ? ", style=\"filled,rounded,dashed\"" : "");
  for (size_t i = 0; i < node->ninputs; i++) {
    const char *maker = json_string_value(json_object_get(all->makers, node->input[i]));
    if (maker) print_edge(to, all->inspection, maker, index, node->input[i]);
  }
  snprintf(name, sizeof name, "n%zu", index);
  for (size_t i = 0; i < node->noutputs; i++)
    if (*node->output[i]) json_object_set_new(all->makers, node->output[i], json_string(name));
}

static void print_end(FILE *to, const char *kind, size_t index, const pare_model_value *value) {
  char shape[CLI_SHAPE];
  fprintf(to, "  %s%zu [shape=ellipse, fillcolor=\"#e0f2de\", color=\"#4c9a45\", label=\"", kind, index);
  print_wrapped(to, value->name);
  fputs("\\n", to);
  print_quoted(to, cli_value_text(value, shape));
  fputs("\"];\n", to);
}

static void find_weights(drawing *all, size_t count) {
  for (size_t i = 0; i < count; i++) {
    pare_tensor_info tensor;
    char text[CLI_SHAPE];
    if (pare_inspect_tensor(all->inspection, i, &tensor) != PARE_OK) continue;
    if (tensor.rank > 0)
      json_object_set_new(all->weights, tensor.name, json_string(cli_shape_text(tensor.rank, tensor.dim, text)));
  }
}

cli_exit cli_drawing_dot(const pare_inspection *inspection, FILE *to) {
  drawing all = {inspection, json_object(), json_object()};
  pare_model_info info;
  pare_model_value value;
  pare_node_info node;
  if (!all.makers || !all.weights) {
    json_decref(all.makers);
    json_decref(all.weights);
    return cli_error(CLI_DEVICE, "out of memory");
  }
  pare_inspect_model(inspection, &info);
  find_weights(&all, info.ntensors);
  fputs("digraph model {\n  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=11, "
        "margin=\"0.12,0.06\"];\n  edge [fontname=\"sans-serif\", fontsize=9, fontcolor=\"#555555\", "
        "color=\"#777777\", arrowsize=0.7];\n  ranksep=0.35;\n  fontname=\"sans-serif\";\n  fontsize=10;\n"
        "  label=\"blue: on the device; yellow: on the host; grey: a view; violet: control; red: not supported\";\n",
        to);
  for (size_t i = 0; i < info.ninputs; i++) {
    char name[32];
    if (pare_inspect_input(inspection, i, &value) != PARE_OK) continue;
    print_end(to, "input", i, &value);
    snprintf(name, sizeof name, "input%zu", i);
    json_object_set_new(all.makers, value.name, json_string(name));
  }
  for (size_t i = 0; i < info.nnodes; i++)
    if (pare_inspect_node(inspection, i, &node) == PARE_OK) print_node(to, &all, i, &node);
  for (size_t i = 0; i < info.noutputs; i++) {
    if (pare_inspect_output(inspection, i, &value) != PARE_OK) continue;
    print_end(to, "output", i, &value);
    const char *maker = json_string_value(json_object_get(all.makers, value.name));
    if (maker) fprintf(to, "  %s -> output%zu;\n", maker, i);
  }
  fputs("}\n", to);
  json_decref(all.makers);
  json_decref(all.weights);
  return CLI_OK;
}

/* dot with the file as its input. */
static cli_exit run_dot(FILE *from, const char *path) {
  char *const arguments[] = {(char *)"dot", (char *)"-Tsvg", (char *)"-o", (char *)(uintptr_t)path, NULL};
  posix_spawn_file_actions_t actions;
  pid_t child;
  int status = 0;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fileno(from), 0);
  const int failed = posix_spawnp(&child, "dot", &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed)
    return cli_error(CLI_INPUT,
                     "cannot run dot, which draws graphs: %s. Install Graphviz (Debian: apt-get install "
                     "graphviz), or keep the text: pare inspect MODEL --show graph",
                     strerror(failed));
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return cli_error(CLI_INPUT, "cannot wait for dot: %s", strerror(errno));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return cli_error(CLI_INPUT,
                     "cannot run dot, which draws graphs. Install Graphviz (Debian: apt-get install graphviz)");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return cli_error(CLI_INPUT, "dot could not draw %s", path);
  return CLI_OK;
}

cli_exit cli_drawing_svg(const pare_inspection *inspection, const char *path) {
  FILE *text = tmpfile();
  if (!text) return cli_error(CLI_INPUT, "cannot make a temporary file: %s", strerror(errno));
  cli_exit code = cli_drawing_dot(inspection, text);
  if (code == CLI_OK && (fflush(text) != 0 || fseek(text, 0, SEEK_SET) != 0))
    code = cli_error(CLI_INPUT, "cannot write a temporary file: %s", strerror(errno));
  if (code == CLI_OK) code = run_dot(text, path);
  fclose(text);
  return code;
}
