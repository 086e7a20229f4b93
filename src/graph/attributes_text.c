/* Attributes as people read them. SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph/inspect.h"

#define MOST_ITEMS 16  /* of a list */
#define MOST_BYTES 100 /* of a text */

static void print_bytes(FILE *to, const pare__onnx_bytes *bytes) {
  const unsigned char *text = bytes->data;
  fputc('\'', to);
  for (size_t i = 0; i < bytes->nbytes && i < MOST_BYTES; i++)
    if (isprint(text[i]) || text[i] >= 128)
      fputc(text[i], to);
    else
      fprintf(to, "\\x%02x", text[i]);
  fputs(bytes->nbytes > MOST_BYTES ? "…'" : "'", to);
}

static void print_tensor(FILE *to, const pare__onnx_tensor *tensor) {
  fprintf(to, "%s[", pare__onnx_dtype_name(tensor->data_type));
  for (size_t i = 0; i < tensor->dims.count && i < MOST_ITEMS; i++)
    fprintf(to, "%s%" PRId64, i ? ", " : "", tensor->dims.items[i]);
  fputc(']', to);
}

/* What follows the items of a list that were printed. */
static void end_list(FILE *to, size_t count) {
  if (count > MOST_ITEMS) fprintf(to, ", … %zu in all", count);
  fputc(']', to);
}

static void print_list(FILE *to, const pare__onnx_attribute *attribute) {
  fputc('[', to);
  size_t count = 0;
  switch (attribute->type) {
  case PARE__ONNX_ATTRIBUTE_FLOATS:
    count = attribute->floats.count;
    for (size_t i = 0; i < count && i < MOST_ITEMS; i++)
      fprintf(to, "%s%g", i ? ", " : "", (double)attribute->floats.items[i]);
    break;
  case PARE__ONNX_ATTRIBUTE_INTS:
    count = attribute->ints.count;
    for (size_t i = 0; i < count && i < MOST_ITEMS; i++)
      fprintf(to, "%s%" PRId64, i ? ", " : "", attribute->ints.items[i]);
    break;
  default: /* PARE__ONNX_ATTRIBUTE_STRINGS */
    count = attribute->strings.count;
    for (size_t i = 0; i < count && i < MOST_ITEMS; i++) {
      fputs(i ? ", " : "", to);
      print_bytes(to, &attribute->strings.items[i]);
    }
  }
  end_list(to, count);
}

static void print_attribute(FILE *to, const pare__onnx_attribute *attribute) {
  fprintf(to, "%s=", attribute->name ? attribute->name : "");
  if (attribute->ref_attr_name && *attribute->ref_attr_name) {
    fprintf(to, "@%s", attribute->ref_attr_name);
    return;
  }
  switch (attribute->type) {
  case PARE__ONNX_ATTRIBUTE_FLOAT: fprintf(to, "%g", (double)attribute->f); break;
  case PARE__ONNX_ATTRIBUTE_INT: fprintf(to, "%" PRId64, attribute->i); break;
  case PARE__ONNX_ATTRIBUTE_STRING: print_bytes(to, &attribute->s); break;
  case PARE__ONNX_ATTRIBUTE_FLOATS:
  case PARE__ONNX_ATTRIBUTE_INTS:
  case PARE__ONNX_ATTRIBUTE_STRINGS: print_list(to, attribute); break;
  case PARE__ONNX_ATTRIBUTE_TENSOR:
    if (attribute->t) print_tensor(to, attribute->t);
    break;
  case PARE__ONNX_ATTRIBUTE_GRAPH: fputs("{graph}", to); break;
  default: fputs("…", to);
  }
}

pare_status pare__attributes_text(pare__onnx_source *source, const pare__onnx_node *node, const char **out) {
  *out = "";
  if (node->attribute.count == 0) return PARE_OK;
  char *text = NULL;
  size_t nbytes = 0;
  FILE *to = open_memstream(&text, &nbytes);
  if (!to) return pare__fail_memory("attributes as text", node->attribute.count);
  for (size_t i = 0; i < node->attribute.count; i++) {
    if (i > 0) fputc(' ', to);
    print_attribute(to, &node->attribute.items[i]);
  }
  const bool failed = fclose(to) != 0;
  const pare_status status =
      failed ? pare__fail_memory("attributes as text", nbytes) : pare__onnx_text(source, text, out);
  free(text);
  return status;
}
