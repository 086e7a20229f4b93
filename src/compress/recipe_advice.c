/* What to write instead of names that other tools' recipes have. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "compress/recipe.h"

/* Names of llm-compressor, and of GPTQ's own tools; input_activations is a mapping there. */
static const struct advice {
  const char *name, *text;
} advices[] = {
    {"QuantizationModifier", "write quantize"},
    {"GPTQModifier", "write gptq"},
    {"SmoothQuantModifier", "write smoothquant"},
    {"MagnitudePruningModifier", "write prune"},
    {"SparseGPTModifier", "write gptq with a scheme and mask_structure, or prune, which quantises nothing"},
    {"WandaPruningModifier", "write prune, or gptq with mask_structure"},
    {"AWQModifier", "write gptq"},
    {"config_groups", "write a modifier for each group, with its targets and the fields of its weights"},
    {"weights", "write its fields in the modifier itself"},
    {"input_activations", "write none or int8, and dynamic: true or false beside it"},
    {"output_activations", "leave it out: outputs stay floats"},
    {"kv_cache_scheme", "leave it out: caches stay floats"},
    {"init_sparsity", "write sparsity"},
    {"final_sparsity", "write sparsity"},
    {"preserve_sparsity_mask", "leave it out: what is pruned stays so"},
    {"sequential_update", "write sequential"},
    {"sequential_targets", "leave it out: with sequential, layers are taken by their depth in the graph"},
    {"offload_hessians", "leave it out: as many Hessians are kept as the memory limit allows"},
    {"percdamp", "write dampening_frac"},
    {"desc_act", "write actorder"},
    {"bits", "write num_bits"},
    {"sym", "write symmetric"},
};

static bool ends_with(const char *text, const char *ending) {
  const size_t length = strlen(text), tail = strlen(ending);
  return length >= tail && strcmp(text + length - tail, ending) == 0;
}

const char *pare__recipe_advice(const char *name, char *buffer, size_t capacity) {
  const char *text = NULL;
  if (ends_with(name, "_stage") || ends_with(name, "_modifiers"))
    text = "there are no stages: write pare: 1, and under modifiers a list of them in their order";
  for (size_t i = 0; i < PARE__COUNT(advices) && !text; i++)
    if (strcmp(advices[i].name, name) == 0) text = advices[i].text;
  buffer[0] = '\0';
  if (text) snprintf(buffer, capacity, ": %s", text);
  return buffer;
}
