/* Random fill: the problem. Counter-based, Philox4x32-10. SPDX-License-Identifier: Apache-2.0
 *
 * Buffer 0, the output, gets elements begin … begin + n of the stream. real[0], real[1]: low and high, or mean and
 * deviation. */
#ifndef PARE_KERNEL_FAMILY_RANDOM_H
#define PARE_KERNEL_FAMILY_RANDOM_H

#include "kernel/kernel.h"

typedef enum pare__distribution {
  RANDOM_UNIFORM,
  RANDOM_NORMAL,
  RANDOM_BERNOULLI,
  RANDOM_INTEGER
} pare__distribution; /* mode */

enum {
  RANDOM_N,
  RANDOM_BEGIN,
  RANDOM_SEED,
  RANDOM_STREAM,
  RANDOM_LOW,  /* of the integers */
  RANDOM_RANGE /* high - low as 64 bits, 0 = 2^64; Bernoulli: the probability times 2^32 */
};

extern const pare__family pare__family_random;

/* The four words of block `block`: the reference, and the known answers of the paper. */
void pare__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
