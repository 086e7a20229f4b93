/* The methods that there are. SPDX-License-Identifier: Apache-2.0 */
#include "compress/method.h"

#include <stdio.h>
#include <string.h>

extern const pare__method pare__method_gptq, pare__method_prune, pare__method_quantize, pare__method_smoothquant;

const pare__method *const pare__methods[] = {
    &pare__method_prune, &pare__method_smoothquant, &pare__method_gptq, &pare__method_quantize, NULL,
};

const pare__method *pare__method_find(const char *name) {
  for (size_t i = 0; pare__methods[i]; i++)
    if (strcmp(pare__methods[i]->name, name) == 0) return pare__methods[i];
  return NULL;
}

const char *pare__method_names(char *buffer, size_t capacity) {
  size_t used = 0;
  buffer[0] = '\0';
  for (size_t i = 0; pare__methods[i] && used < capacity; i++)
    used += (size_t)snprintf(buffer + used, capacity - used, "%s%s", i ? ", " : "", pare__methods[i]->name);
  return buffer;
}

bool pare__treats(const pare__treatment *treatment, size_t step) {
  for (unsigned i = 0; i < treatment->nsteps; i++)
    if (treatment->step[i] == step) return true;
  return false;
}
