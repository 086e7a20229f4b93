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

/* Inside double quotes. */
static void print_quoted(FILE *to, const char *text) {
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', to);
    fputc((unsigned char)*text < ' ' ? ' ' : *text, to);
  }
}

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

/* A node, and the edges from what makes its inputs; `makers` maps values to the names of those. */
static void print_node(FILE *to, const pare_inspection *inspection, json_t *makers, size_t index,
                       const pare_node_info *node) {
  char name[32];
  fprintf(to, "  n%zu [label=\"", index);
  print_quoted(to, node->op_type);
  if (*node->name) {
    fputs("\\n", to);
    print_quoted(to, node->name);
  }
  fputs("\", tooltip=\"", to);
  print_quoted(to, node->attributes);
  fprintf(to, "\"%s%s];\n", node->depth > 0 ? ", style=\"rounded,dashed\"" : "",
          node->supported ? "" : ", color=red, fontcolor=red");
  for (size_t i = 0; i < node->ninputs; i++) {
    const char *maker = json_string_value(json_object_get(makers, node->input[i]));
    if (maker) print_edge(to, inspection, maker, index, node->input[i]);
  }
  snprintf(name, sizeof name, "n%zu", index);
  for (size_t i = 0; i < node->noutputs; i++)
    if (*node->output[i]) json_object_set_new(makers, node->output[i], json_string(name));
}

static void print_end(FILE *to, const char *kind, size_t index, const pare_model_value *value) {
  char shape[CLI_SHAPE];
  fprintf(to, "  %s%zu [shape=ellipse, label=\"", kind, index);
  print_quoted(to, value->name);
  fputs("\\n", to);
  print_quoted(to, cli_value_text(value, shape));
  fputs("\"];\n", to);
}

cli_exit cli_drawing_dot(const pare_inspection *inspection, FILE *to) {
  json_t *makers = json_object();
  pare_model_info info;
  pare_model_value value;
  pare_node_info node;
  if (!makers) return cli_error(CLI_DEVICE, "out of memory");
  pare_inspect_model(inspection, &info);
  fputs("digraph model {\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n", to);
  fputs("  edge [fontname=\"sans-serif\", fontsize=9];\n", to);
  for (size_t i = 0; i < info.ninputs; i++) {
    char name[32];
    if (pare_inspect_input(inspection, i, &value) != PARE_OK) continue;
    print_end(to, "input", i, &value);
    snprintf(name, sizeof name, "input%zu", i);
    json_object_set_new(makers, value.name, json_string(name));
  }
  for (size_t i = 0; i < info.nnodes; i++)
    if (pare_inspect_node(inspection, i, &node) == PARE_OK) print_node(to, inspection, makers, i, &node);
  for (size_t i = 0; i < info.noutputs; i++) {
    if (pare_inspect_output(inspection, i, &value) != PARE_OK) continue;
    print_end(to, "output", i, &value);
    const char *maker = json_string_value(json_object_get(makers, value.name));
    if (maker) fprintf(to, "  %s -> output%zu;\n", maker, i);
  }
  fputs("}\n", to);
  json_decref(makers);
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
