/* Models: ONNX files, run on the context's devices. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_MODEL_H
#define PARE_MODEL_H

#include <pare/schedule.h>
#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_model pare_model;

typedef struct pare_model_options {
  const char *without; /* passes to leave out, separated by commas; "all": every one. NULL: none */
  bool no_plan;        /* run every node at once, as for graphs whose shapes depend on values */
  /* Most iterations of one Loop, and steps of one Scan. 0: 100,000, or what the Loop or Scan itself names if that is at
   * most 1,000,000; a run that has more is PARE_ERR_LIMIT. */
  uint64_t loop_limit;
  bool any_shape; /* take inputs of other shapes than the file declares, as long as its nodes do */
  pare_executor executor;
  /* While *stop is not 0, opening the model and its runs stop as by pare_model_interrupt: for a signal handler, which
   * may set it. It must outlive the model. NULL: none. */
  const volatile int *stop;
  /* An input that the file lists and has an initialiser for (before IR 4 that is every initialiser) may be left out: it
   * is a constant then, with that value, as it is here unless it is named. Those that are named are inputs as others
   * are, in the file's order, and must be given. Other names are passed over, so that all names of a file of arrays can
   * be said. */
  size_t noverridden;
  const char *const *overridden;
} pare_model_options;
#define PARE_MODEL_OPTIONS_INIT \
  { 0, 0, 0, 0, PARE_EXECUTOR_AUTO, 0, 0, 0 }

/* Opens an ONNX file, IR 3 and opset 7 or later: reads the graph, rewrites it, packs constant weights on the device.
 * Weights stay in the mapped file until they are needed. options NULL: the defaults.
 * PARE_ERR_IO, PARE_ERR_FORMAT (what is wrong and where); PARE_ERR_UNSUPPORTED: every operator that pare lacks, with
 * its node, domain and opset; PARE_ERR_LIMIT: over the memory limit. */
PARE_API pare_status pare_model_open(pare_context *context, const char *path, const pare_model_options *options,
                                     pare_model **out);
/* NULL is allowed. Waits for runs of it in other threads. */
PARE_API void pare_model_close(pare_model *model);

/* An input or output as the file declares it. Valid as long as the model. */
typedef struct pare_model_value {
  const char *name;
  pare_dtype dtype;                  /* PARE_NDTYPES if the file does not say, or pare has no such type */
  const char *dtype_name;            /* as ONNX calls it: "float32", "uint4" */
  int rank;                          /* -1: not said */
  int64_t dim[PARE_MAX_RANK];        /* -1: any */
  const char *symbol[PARE_MAX_RANK]; /* the name of a dimension that is -1; NULL: none */
} pare_model_value;
PARE_API size_t pare_model_inputs(const pare_model *model);
PARE_API size_t pare_model_outputs(const pare_model *model);
/* PARE_ERR_ARGUMENT if there are not so many. */
PARE_API pare_status pare_model_input(const pare_model *model, size_t index, pare_model_value *out);
PARE_API pare_status pare_model_output(const pare_model *model, size_t index, pare_model_value *out);

/* outputs[i] = a new tensor for each output of the model, or NULL where wanted[i] is false (wanted NULL: all are). The
 * tensors stay on the device; reading one waits for the work that makes it (pare_tensor_read, pare_context_wait).
 * inputs[i] for each input, none NULL; their shapes may change from run to run: each set of shapes is planned once,
 * then replayed. Thread-safe. Returns once the work is submitted, or, where shapes depend on values or there are
 * several devices, done. With several devices the run is divided as the context's schedule says; the bits are the same.
 * PARE_ERR_SHAPE, PARE_ERR_TYPE: an input that does not fit its declaration, or shapes that turn out impossible (the
 * node and both shapes); PARE_ERR_LIMIT: the plan needs more memory than the limit leaves, before anything runs. */
PARE_API pare_status pare_model_run(pare_model *model, pare_tensor *const *inputs, const bool *wanted,
                                    pare_tensor **outputs);
/* What a run enqueues, as of the last one that was planned; zeros before a plan's second run, and without a plan.
 * PARE_ERR_ARGUMENT. Thread-safe. */
PARE_API pare_status pare_model_count_launches(pare_model *model, pare_model_launches *out);
/* How the last run was divided among the context's devices. */
typedef struct pare_model_division {
  pare_parallel parallel; /* PARE_PARALLEL_OFF: one device has it all */
  int64_t pieces;         /* at most: the policy may give a device several at a time */
  char why[320];          /* why so, for people */
} pare_model_division;
/* PARE_ERR_ARGUMENT. Thread-safe. */
PARE_API pare_status pare_model_divided(pare_model *model, pare_model_division *out);
/* Makes runs in any thread, now and later, stop with PARE_ERR_ARGUMENT "interrupted" before their next node, iteration
 * or stage, and planned runs before their next step, which may be a ticketed launch of many nodes: what is submitted is
 * finished. false allows runs again. */
PARE_API void pare_model_interrupt(pare_model *model, bool interrupted);

/* What opening the model and a run with these shapes take of the device's memory, beforehand. */
typedef struct pare_model_memory {
  uint64_t weight_bytes;     /* constants and packed weights on the device */
  uint64_t input_bytes;      /* the caller's tensors */
  uint64_t activation_bytes; /* between the nodes, with reuse */
  uint64_t output_bytes;
  uint64_t load_bytes; /* the most that opening the model took: weights beside what they are packed from */
  uint64_t peak_bytes; /* load_bytes, or the sum of the others if that is more */
  bool exact;          /* false: there is no plan, as shapes depend on values; the figures estimate a run at once */
  bool bounded;        /* no run takes more than peak_bytes, to a few percent; false: nodes that nothing bounds are left
                        * out of it (pare_model_unplanned_nodes) */
} pare_model_memory;
PARE_API pare_status pare_model_plan(pare_model *model, pare_tensor *const *inputs, pare_model_memory *out);

/* A node whose outputs depend on values. */
typedef struct pare_model_unplanned {
  const char *node, *op_type, *domain; /* valid as long as the model */
  bool bounded;                        /* counted with the largest outputs that it can have */
  bool follows;                        /* not bounded only because an input of it is not */
  char output[64];                     /* dtype and largest shape of its first output; "": not bounded */
} pare_model_unplanned;
/* Those for inputs of these shapes, in the order of a run, as an array to free with pare_model_unplanned_free; none if
 * the run is planned. memory: what pare_model_plan tells, found on the way; NULL: not wanted. */
PARE_API pare_status pare_model_unplanned_nodes(pare_model *model, pare_tensor *const *inputs,
                                                pare_model_memory *memory, pare_model_unplanned **nodes, size_t *count);
PARE_API void pare_model_unplanned_free(pare_model_unplanned *nodes);

/* One node of a profiled run. */
typedef struct pare_model_step {
  const char *node, *op_type, *domain; /* node "" if it has no name */
  const char *placement;               /* "device", "host", "view", "control" */
  double seconds;                      /* without those of the nodes of its subgraphs, which have steps of their own */
  char output[64];                     /* shape and dtype of its first output */
} pare_model_step;
/* Runs as pare_model_run, waiting after every node; *steps is an array to free with pare_model_steps_free. */
PARE_API pare_status pare_model_profile(pare_model *model, pare_tensor *const *inputs, pare_tensor **outputs,
                                        pare_model_step **steps, size_t *nsteps);
PARE_API void pare_model_steps_free(pare_model_step *steps);

#ifdef __cplusplus
}
#endif
#endif
