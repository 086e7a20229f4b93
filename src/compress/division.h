/* Where the inputs of smoothed layers are divided: in what makes them, or by a Mul before the layers.
 * SPDX-License-Identifier: Apache-2.0
 *
 * SmoothQuant divides input j of a layer by s_j. What makes that input can often do so itself: the scale and the bias
 * of a layer norm, the rows of a Linear and its bias, through what commutes with it (Relu, an attention's products,
 * changes of shape). Nodes and weights are known by their places in the file, as a file may be read more than once. */
#ifndef PARE_COMPRESS_DIVISION_H
#define PARE_COMPRESS_DIVISION_H

#include "compress/method.h"

#define PARE__DIVISION_MOST_STEPS 16

/* A node on the way back from the layers to what takes the division. */
typedef struct pare__division_step {
  size_t node;                  /* of the main graph */
  unsigned divided, multiplied; /* bit sets of its constant inputs */
} pare__division_step;

typedef struct pare__division {
  const char *value;  /* that the layers read */
  const char *reader; /* the first of them */
  size_t nlayers;     /* weights */
  size_t *layers;
  int64_t channels;
  const char *into;   /* the node that takes the division; NULL: none can */
  const char *reason; /* why none can */
  size_t linear;      /* the weight whose rows take it; SIZE_MAX: none */
  size_t nsteps;
  pare__division_step steps[PARE__DIVISION_MOST_STEPS];
  const float *inverse; /* [channels]; NULL: not known yet, or not divided */
} pare__division;

/* Does the division happen where it was made, with these treatments? Not if one of its layers is left as it was. NULL:
 * no. */
bool pare__division_holds(const pare__division *division, const pare__treatment *treatments);

/* What the layers read, and what can take its division: all fields but `inverse`; it lives as long as the checkpoint,
 * which is one with a graph. A Linear that the treatments leave as it is takes nothing, unless `may_change` says so. */
pare_status pare__division_find(pare__checkpoint *checkpoint, const pare__treatment *treatments, const char *value,
                                size_t nlayers, const size_t *layers, bool may_change, pare__division **out);
/* Is something of the way that the division goes called so: a node, a constant of it? */
struct pare__pattern;
pare_status pare__division_meets(const pare__division *division, const pare__checkpoint *checkpoint,
                                 struct pare__pattern *pattern, bool *out);

#endif
