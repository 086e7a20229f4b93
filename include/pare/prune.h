/* Pruning: masks of what is kept, from scores. SPDX-License-Identifier: Apache-2.0
 *
 * A mask is a bool tensor of the scores' shape: 1 keeps an element. Scores are f32, f16 or bf16: the weights themselves
 * with by_magnitude (magnitude pruning), random scores (pare_random_scores), or any tensor of the caller's. Order is
 * that of select.h: by_magnitude compares |score|; NaN is larger than everything, -0 equals +0, and of equal scores the
 * one with the lower index (row-major) is kept. Masks depend on the scores alone, so that they are the same on every
 * device and however the work is split. Errors of all functions: PARE_ERR_TYPE, PARE_ERR_SHAPE; more at each. */
#ifndef PARE_PRUNE_H
#define PARE_PRUNE_H

#include <pare/select.h>

#ifdef __cplusplus
extern "C" {
#endif

/* mask = score >= threshold (|score| if by_magnitude), compared with the threshold rounded to f32; NaN scores are kept.
 * PARE_ERR_ARGUMENT for a threshold that is NaN. */
PARE_API pare_status pare_mask_threshold(pare_tensor *scores, bool by_magnitude, double threshold, pare_tensor *mask);

/* Keeps exactly the k largest of all scores, 0 <= k <= their number, else PARE_ERR_ARGUMENT. */
PARE_API pare_status pare_mask_largest(pare_tensor *scores, bool by_magnitude, int64_t k, pare_tensor *mask);

/* Keeps exactly the k largest of each row: the elements that differ in their index of `axis` (negative: from the end)
 * alone. PARE_ERR_ARGUMENT unless 0 <= k <= the length of the axis. */
PARE_API pare_status pare_mask_largest_rows(pare_tensor *scores, bool by_magnitude, int axis, int64_t k,
                                            pare_tensor *mask);

/* N:M: keeps exactly the n largest of each m neighbours along `axis`, 0 < n < m <= 16, else PARE_ERR_ARGUMENT.
 * PARE_ERR_SHAPE if the axis' length is not a multiple of m. */
PARE_API pare_status pare_mask_n_of_m(pare_tensor *scores, bool by_magnitude, int axis, int n, int m,
                                      pare_tensor *mask);

/* Element i (row-major) is kept, independently of the others, if word begin + i of the Philox stream (random.h) is
 * below probability * 2^32: the fraction kept is about `probability`. `begin` is the index of the mask's first element
 * in the tensor that it is a part of, so that ranges of a tensor get the mask of the whole. PARE_ERR_ARGUMENT unless 0
 * <= probability <= 1 and begin >= 0. For exactly k at random, in a tensor, a row, N:M or over many tensors, use random
 * scores. */
PARE_API pare_status pare_mask_random(uint64_t seed, uint64_t stream, int64_t begin, double probability,
                                      pare_tensor *mask);
/* scores (f32) = uniform numbers of 24 bits in [0, 1), element i from word begin + i of the stream. */
PARE_API pare_status pare_random_scores(uint64_t seed, uint64_t stream, int64_t begin, pare_tensor *scores);

/* out = w where the mask is set, with w's bits (NaN and -0 too), else +0. mask has w's shape; out w's shape and dtype,
 * and may be w. Any dtype. */
PARE_API pare_status pare_mask_apply(pare_tensor *w, pare_tensor *mask, pare_tensor *out);
/* count (i64, one element) = elements of the mask that are set. */
PARE_API pare_status pare_mask_count(pare_tensor *mask, pare_tensor *count);

/* out = w with the n of each m neighbours along `axis` that have the largest magnitude, the others +0: as
 * pare_mask_n_of_m and pare_mask_apply, in one pass. w f32, f16 or bf16; out of w's shape and dtype, and may be w. */
PARE_API pare_status pare_prune_n_of_m(pare_tensor *w, int axis, int n, int m, pare_tensor *out);

/* ---- the k largest over many tensors, which need not be in memory together ----
 *
 *   pare_selection_open(context, total, k, true, &selection);
 *   do {
 *     for (each tensor, or range of one) pare_selection_feed(selection, scores);
 *     pare_selection_step(selection, &done);
 *   } while (!done);
 *   for (each, in the same order) pare_selection_mask(selection, scores, mask);
 *
 * Exact for every input. Usually two passes: one that looks at a sample of the elements only and encloses the k-th
 * between two of them, and one that counts what lies beyond the two and lists what lies between; up to three more where
 * the sample misled. Under 2^21 elements in all three passes, none of them a sample. Ties are kept in the order of
 * feeding, and by index within a tensor. */

typedef struct pare_selection pare_selection;

/* total: elements of all scores of a pass. PARE_ERR_ARGUMENT unless 0 <= k <= total. */
PARE_API pare_status pare_selection_open(pare_context *context, int64_t total, int64_t k, bool by_magnitude,
                                         pare_selection **out);
/* The next scores of this pass: f32, f16 or bf16, also mixed, of any shape, the same ones in the same order in each
 * pass. The tensor may be closed or overwritten after the call. PARE_ERR_ARGUMENT if a pass gets more than `total`
 * elements, or the selection is done. */
PARE_API pare_status pare_selection_feed(pare_selection *selection, pare_tensor *scores);
/* Ends a pass: waits for its counts. *done: the threshold is known. PARE_ERR_ARGUMENT if the pass got fewer than
 * `total` elements; errors of the device come back here. */
PARE_API pare_status pare_selection_step(pare_selection *selection, bool *done);
/* Once done: the k-th largest score (its magnitude if by_magnitude; +infinity if k is 0), how many are beyond it, and
 * how many of those equal to it belong to the k. Any output may be NULL. PARE_ERR_ARGUMENT if it is not done. */
PARE_API pare_status pare_selection_threshold(const pare_selection *selection, double *threshold, int64_t *beyond,
                                              int64_t *ties);
/* Once done: the mask of the next scores, in the order of feeding; masks of all keep exactly k. PARE_ERR_ARGUMENT if it
 * is not done, or past `total`. After the last the first comes again. */
PARE_API pare_status pare_selection_mask(pare_selection *selection, pare_tensor *scores, pare_tensor *mask);
PARE_API void pare_selection_close(pare_selection *selection); /* NULL is allowed */

#ifdef __cplusplus
}
#endif
#endif
