/* Runs a kernel of its own on all selected devices: rows are divided among them. SPDX-License-Identifier: Apache-2.0
 *
 *   cc task.c $(pkg-config --cflags --libs pare) -lm -o task && PARE_DEVICE=cpu/1+1 ./task */
#include <math.h>
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>

/* Where task.cl lies. */
#ifndef FOLDER
#define FOLDER "."
#endif

enum { ROWS = 4000, COLUMNS = 256 };

/* y = every row of x over its root mean square */
static pare_status scale_rows(pare_context *context, pare_tensor *x, pare_tensor *y, pare_task **out) {
  const pare_task_tensor tensors[] = {{x, PARE_ACCESS_READ, 0, 1}, {y, PARE_ACCESS_WRITE, 0, 1}};
  const pare_task_number numbers[] = {{PARE_I32, {.i32 = COLUMNS}}, {PARE_F32, {.f32 = 1e-6F}}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = FOLDER "/task.cl";
  options.entry = "scale_rows";
  options.tensor = tensors;
  options.ntensors = 2;
  options.number = numbers;
  options.nnumbers = 2;
  options.n = ROWS; /* a step a row */
  options.grain = 8;
  return pare_task_submit(context, &options, out);
}

int main(void) {
  const int64_t shape[] = {ROWS, COLUMNS};
  const size_t nbytes = sizeof(float) * ROWS * COLUMNS;
  float *values = malloc(nbytes);
  pare_context *context = NULL;
  pare_tensor *x = NULL, *y = NULL;
  pare_task *task = NULL;
  pare_schedule_stats stats = {0};
  double sum = 0;
  int result = EXIT_FAILURE;
  if (!values) goto out;
  for (int i = 0; i < ROWS * COLUMNS; i++) values[i] = (float)(i % 101 - 50);

  if (pare_context_open(NULL, &context) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 2, shape, values, nbytes, &x) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_F32, 2, shape, &y) != PARE_OK) goto out;
  if (scale_rows(context, x, y, NULL) != PARE_OK) goto out;
  /* The second needs what the first writes: that follows from the tensors. */
  if (scale_rows(context, y, y, &task) != PARE_OK) goto out;
  if (pare_task_wait(task) != PARE_OK) goto out;
  if (pare_tensor_read(y, values, nbytes) != PARE_OK) goto out;
  if (pare_context_stats(context, &stats) != PARE_OK) goto out;

  for (int j = 0; j < COLUMNS; j++) sum += (double)values[j] * (double)values[j];
  printf("the mean square of a row is %.4f\n", sum / COLUMNS);
  for (size_t i = 0; i < stats.ndevices; i++)
    fprintf(stderr, "%s: %llu pieces\n", stats.device[i].name, (unsigned long long)stats.device[i].pieces);
  if (fabs(sum / COLUMNS - 1) < 1e-3) result = EXIT_SUCCESS;
out:
  if (result != EXIT_SUCCESS) fprintf(stderr, "task: %s\n", pare_message());
  pare_schedule_stats_close(&stats);
  pare_task_close(task);
  pare_tensor_close(x);
  pare_tensor_close(y);
  pare_context_close(context);
  free(values);
  return result;
}
