/* Compression: models pruned and quantised by a recipe, on the device. SPDX-License-Identifier: Apache-2.0
 *
 * And what it cost: a report with the error and the bytes of every tensor. */
#ifndef PARE_COMPRESS_H
#define PARE_COMPRESS_H

#include <pare/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- recipes: what to do, in which order, to which tensors ---- */

typedef struct pare_recipe pare_recipe;

/* A recipe that does nothing yet. */
PARE_API pare_status pare_recipe_create(pare_recipe **out);
/* Reads YAML or JSON; doc/recipes.md has the language. PARE_ERR_IO; PARE_ERR_FORMAT: file, line, column and what is
 * wrong: unknown or repeated keys, anchors, aliases and tags among it. */
PARE_API pare_status pare_recipe_open(const char *path, pare_recipe **out);
/* As open, from memory; `name` stands for the path in messages. */
PARE_API pare_status pare_recipe_parse(const char *text, size_t nbytes, const char *name, pare_recipe **out);
PARE_API void pare_recipe_close(pare_recipe *recipe); /* NULL is allowed */

/* The short forms of the command line; each adds its modifiers after those that are there. PARE_ERR_ARGUMENT says what
 * there is. Inputs for calibration: an .npz file in the names of the model's inputs, the first axis counts samples. */
PARE_API pare_status pare_recipe_calibrate(pare_recipe *recipe, const char *path);
/* "2:4" (any N:M with N < M <= 16), "magnitude:0.5", "random:0.3", "threshold:0.01"; targets Linear and Conv. N:M
 * leaves the smallest tensors dense, as long as the others hold 80% of the weights. */
PARE_API pare_status pare_recipe_prune(pare_recipe *recipe, const char *form);
/* "int8", "int4", "w8a8", "f16". Of a recipe that calibrates, int4 and int8 are done by GPTQ, and w8a8 after
 * SmoothQuant. */
PARE_API pare_status pare_recipe_quantize(pare_recipe *recipe, const char *form);
/* No modifier, added before or after, touches what fits the pattern: a name, a glob, "re:" and an expression, "Linear",
 * "@head", … */
PARE_API pare_status pare_recipe_ignore(pare_recipe *recipe, const char *pattern);
/* The recipe written out, as JSON that pare_recipe_parse reads; every field with its value. Free it. */
PARE_API pare_status pare_recipe_text(const pare_recipe *recipe, char **out);

/* ---- storage ---- */

/* Portable: any ONNX runtime reads and runs the file; pruned weights are zeros. Compact: tensors of which each group of
 * M <= 16 neighbours keeps N at most are stored as <pare/sparse.h> says, with a node pare.DecodeNM each; only pare runs
 * it. */
typedef enum pare_storage { PARE_STORAGE_PORTABLE, PARE_STORAGE_COMPACT } pare_storage;

typedef struct pare_conversion {
  uint64_t input_bytes, output_bytes; /* of the files */
  size_t ntensors;                    /* stored otherwise than before */
} pare_conversion;

/* Reads the ONNX model `in` and writes it to `out`, which may be the same path, in the other storage: nothing but the
 * storage of tensors changes, and back again gives the same bytes. What is N:M is found by looking, along the axis and
 * with the N and M that take the least; what takes no less, and what is not raw data, stays. One tensor at a time is in
 * memory; no device is needed. Weights that lie in a file of their own come into the new file, and from 1 GiB on into a
 * new one beside it, OUT.data or another name that is free. conversion NULL: not wanted. PARE_ERR_FORMAT: not ONNX, or
 * it names the tensor whose indices or sizes are wrong; PARE_ERR_IO. */
PARE_API pare_status pare_convert(const char *in, const char *out, pare_storage storage, pare_conversion *conversion);

/* ---- compressing ---- */

typedef struct pare_report pare_report;

/* `fraction` of the work is done, `what` is at work; from the calling thread. */
typedef void (*pare_compress_progress)(double fraction, const char *what, void *user);

typedef struct pare_compress_options {
  bool skip_verify; /* do not run the result and compare it before it takes its place */
  pare_compress_progress progress;
  void *user;
  bool sensitivity;     /* first compress one tensor at a time, and report how far the outputs are then: takes about the
                           time of a verification for each */
  bool optimize_speed;  /* first time each layer, compressed and not, and leave dense what would be slower on this
                           device; the report has the reason. Two runs of it may decide differently. */
  pare_storage storage; /* of the result; safetensors are portable only */
} pare_compress_options;
#define PARE_COMPRESS_OPTIONS_INIT \
  { 0, 0, 0, 0, 0, 0 }

/* What pare_compress would do with these options (NULL: the defaults), with the sizes in their storage: needs no device
 * and writes nothing. */
PARE_API pare_status pare_compress_plan(const char *in, const pare_recipe *recipe, const pare_compress_options *options,
                                        pare_report **report);
/* Reads the model `in`, compresses it and writes `out`, which may be the same path: there is the old file or the new
 * one, whole; once it returns, the new one, on the disk, with the permissions of the old one. A link at `out` is
 * followed and stays; other names (hard links) of an old file keep that. What is no regular file, or may not be written
 * to, is refused. `in` must not be cut short meanwhile: it is mapped, and that is SIGBUS. Weights that an old model at
 * `out` had beside it, in OUT.data or OUT.N.data, go with that, and so does what processes left there that were killed.
 * Unless skip_verify, the new model is run beside the old one first, on calibration inputs or random ones, and takes
 * its place only if its outputs have the same shapes and no NaN or infinity that the old one's do not have. report
 * NULL: none. With options->sensitivity `out` may be NULL: then nothing is written but files of one changed tensor in
 * $TMPDIR or /tmp, one at a time. PARE_ERR_IO, PARE_ERR_FORMAT (also NaN in a weight: tensor and offset),
 * PARE_ERR_LIMIT, PARE_ERR_DEVICE; PARE_ERR_ARGUMENT: a target that fits nothing. */
PARE_API pare_status pare_compress(pare_context *context, const char *in, const char *out, const pare_recipe *recipe,
                                   const pare_compress_options *options, pare_report **report);

/* ---- the report ---- */

/* How far b is from a: over all elements, in double precision. */
typedef struct pare_distance {
  double mse;       /* mean (a - b)^2 */
  double sqnr_db;   /* 10 log10(sum a^2 / sum (a - b)^2); infinite if equal */
  double cosine;    /* sum a b / sqrt(sum a^2 sum b^2) */
  double max_error; /* max |a - b| */
} pare_distance;

typedef struct pare_report_summary {
  const char *input, *output;         /* paths; output "" for a plan */
  uint64_t input_bytes, output_bytes; /* of the files, external data included; a plan's output without the graph's
                                         few bytes more or less */
  uint64_t portable_bytes;            /* of the file in portable storage; 0 unless it was stored compact */
  uint64_t weight_bytes_before, weight_bytes_after;
  size_t ntensors, noutputs;
  size_t nsensitive; /* tensors that were tried alone */
  bool planned_only, verified;
  bool calibrated_inputs; /* verified on calibration inputs, else on random ones */
  double seconds;
  const char *recipe; /* JSON, resolved */
} pare_report_summary;
/* All texts live as long as the report. */
PARE_API pare_status pare_report_get(const pare_report *report, pare_report_summary *out);

/* One tensor of the file. */
typedef struct pare_report_tensor {
  const char *name, *role; /* role: "Linear", "Conv", "Embedding", "" */
  const char *dtype_name;  /* in the input */
  int rank;
  const int64_t *dim;
  const char *treatment; /* "2:4, int8 per channel"; "": stays as it is */
  const char *reason;    /* why it is not compressed, or not as the recipe asks; "": nothing to say */
  double bits;           /* stored bits an element, scales included */
  uint64_t bytes_before, bytes_after;
  bool changed;                /* has what follows: not in a plan */
  double kept;                 /* fraction of elements that are not zero */
  pare_distance distance;      /* of the decompressed weights from the original ones */
  bool tried_alone;            /* has what follows: options.sensitivity */
  pare_distance outputs_alone; /* of all outputs, if only this tensor is compressed */
} pare_report_tensor;
PARE_API pare_status pare_report_tensor_get(const pare_report *report, size_t index, pare_report_tensor *out);

/* One output of the verification. */
typedef struct pare_report_output {
  const char *name;
  pare_distance distance; /* of the new model's output from the old one's */
} pare_report_output;
PARE_API pare_status pare_report_output_get(const pare_report *report, size_t index, pare_report_output *out);
PARE_API void pare_report_close(pare_report *report); /* NULL is allowed */

#ifdef __cplusplus
}
#endif
#endif
