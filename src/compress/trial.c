/* Trials. SPDX-License-Identifier: Apache-2.0 */
#include "compress/trial.h"

#include "compress/rows.h"

pare_status pare__trial_write(pare__compression *compression, const pare__treatment *treatments, const char *path,
                              char **companion) {
  pare__checkpoint *checkpoint;
  PARE__TRY(pare__checkpoint_open(compression->checkpoint->path, &checkpoint));
  const pare__producer producer = pare__rows_producer(compression);
  const pare__write_request request = {.path = path, .final_path = path, .recipe = "{}", .companion = companion};
  const pare_status status = checkpoint->format->write(checkpoint, treatments, &producer, &request);
  pare__checkpoint_close(checkpoint);
  return status;
}
