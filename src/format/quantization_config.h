/* How a file of safetensors says that its tensors are quantised: the "quantization_config" of compressed-tensors.
 * SPDX-License-Identifier: Apache-2.0
 *
 * It lies in the file's metadata, where pare writes it, or in a config.json beside the file, where other tools write
 * it, as "quantization_config" or "compression_config". https://github.com/vllm-project/compressed-tensors */
#ifndef PARE_FORMAT_QUANTIZATION_CONFIG_H
#define PARE_FORMAT_QUANTIZATION_CONFIG_H

#include "format/safetensors.h"

typedef struct pare__quantization_config pare__quantization_config;

/* How the weights of a group are quantised. */
typedef struct pare__quantization_scheme {
  const char *format;   /* "pack-quantized"; "": not said */
  const char *strategy; /* "tensor", "channel", "group"; "": not said */
  bool integers;        /* codes are whole numbers */
  bool symmetric;       /* without zero points */
  unsigned bits;        /* 1 … 8 of whole numbers */
  int64_t group;        /* columns that share a scale; 0: none do */
} pare__quantization_scheme;

/* Of `file`, which was read from `path`. *out NULL: there is none. PARE_ERR_FORMAT: the file, the key and what is wrong
 * with it; PARE_ERR_UNSUPPORTED likewise: a method other than compressed-tensors. */
pare_status pare__quantization_config_open(const char *path, const pare__safetensors *file,
                                           pare__quantization_config **out);
void pare__quantization_config_close(pare__quantization_config *config); /* NULL is allowed */
/* The scheme of a layer, by its name, an expression that fits it, or a class of layers, in this order; *out NULL: none,
 * or `config` is NULL. PARE_ERR_FORMAT: an expression that takes too many steps. */
pare_status pare__quantization_config_find(const pare__quantization_config *config, const char *layer,
                                           const pare__quantization_scheme **out);

#endif
