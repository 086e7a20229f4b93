/* What inspections of a model share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_INSPECT_H
#define PARE_GRAPH_INSPECT_H

#include <pare/inspect.h>

#include "base/arena.h"
#include "format/onnx.h"
#include "format/quantised.h"
#include "format/safetensors.h"

struct pare_inspection {
  pare__onnx_model *onnx; /* NULL: a file of tensors */
  pare__safetensors safetensors;
  pare__quantised_file quantised; /* of it */
  pare__arena texts;
  pare_model_info info;
  size_t nodes_capacity, tensors_capacity, sources_capacity, values_capacity, nvalues, ninputs;
  pare_node_info *node;
  pare_tensor_info *tensor;
  const pare__onnx_tensor **source; /* of an ONNX model: what each tensor was made of */
  const pare__onnx_value **value;   /* all that are declared, by name */
  const pare__onnx_value **input;   /* without those that are initialisers, but for overridden ones */
  pare_model *inferred;             /* its values have the shapes that were inferred; NULL: none were */
  pare_node_work *work;             /* one a node; NULL: not asked for yet */
};

/* What the file has an initialiser for and lists as an input, too, is an input if it is among these names. */
pare_status pare__inspect_override(pare_inspection *inspection, size_t count, const char *const *names);
/* Is there an initialiser of this name? */
bool pare__inspect_has_default(const pare_inspection *inspection, const char *name);
/* One more tensor, whose elements and bytes are counted. PARE_ERR_FORMAT if all have more than can be counted. */
pare_status pare__inspect_add(pare_inspection *inspection, const pare_tensor_info *info, size_t nbytes);
/* Is the file one of safetensors? */
bool pare__inspect_is_safetensors(const char *path);
pare_status pare__inspect_safetensors(pare_inspection *inspection, const char *path);

/* A value as pare_inspect_infer found it; false: it did not. */
bool pare__inspect_inferred(const pare_inspection *inspection, const char *name, pare_model_value *out);

/* A node's attributes for people, in memory of the source: "axis=1 perm=[0, 2, 1] mode='linear' value=int64[3]". */
pare_status pare__attributes_text(pare__onnx_source *source, const pare__onnx_node *node, const char **out);

#endif
