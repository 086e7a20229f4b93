/* Does the new model do what the old one does? SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_VERIFY_H
#define PARE_COMPRESS_VERIFY_H

#include <pare/model.h>

#include "compress/report.h"

/* What a model answers to the first samples of a calibration file, or to random inputs. */
typedef struct pare__reference pare__reference;
pare_status pare__reference_open(pare_context *context, const char *path, const char *calibration,
                                 pare__reference **out);
void pare__reference_close(pare__reference *reference); /* NULL is allowed */

/* How far another model's output is from the reference's. */
typedef void (*pare__output_distance)(void *user, const char *output, const pare__distance_sums *sums);
/* Runs the model at `path`, called `name` in messages, on the same inputs. PARE_ERR_FORMAT: other inputs or outputs, an
 * output of another shape, or with NaN or infinity that the reference's does not have. */
pare_status pare__reference_compare(pare__reference *reference, const char *path, const char *name,
                                    pare__output_distance each, void *user);

/* Compares a new model with the old one, and notes in the report how far the outputs are. */
pare_status pare__verify(pare_context *context, const char *old_path, const char *new_path, const char *name,
                         const char *calibration, pare_report *report);

/* Times each node of two models on the same inputs, turn by turn: `each` gets the least seconds of every step of both.
 */
typedef void (*pare__speeds)(void *user, const pare_model_step *before, size_t nbefore, const pare_model_step *after,
                             size_t nafter);
pare_status pare__compare_speed(pare_context *context, const char *old_path, const char *new_path,
                                const char *calibration, int turns, pare__speeds each, void *user);

#endif
