/* Rows of a weight: from the file to the device, in canonical order, through the steps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compress/rows.h"

#include <pare/elementwise.h>
#include <pare/grid.h>
#include <pare/move.h>
#include <pare/prune.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "compress/division.h"
#include "compress/quantize.h"
#include "compress/report.h"
#include "format/mapping.h"

/* Of a mapped file: read, before its pages are let go. */
#define RESIDENT_BYTES ((size_t)32 << 20)

/* ---- loading ---- */

static pthread_mutex_t viewing = PTHREAD_MUTEX_INITIALIZER;

/* "[17, 3]" of an element of a tensor. */
static void index_text(const pare__weight *weight, int64_t element, char *text, size_t capacity) {
  int64_t index[PARE_MAX_RANK] = {0};
  size_t used = 0;
  for (int d = weight->rank; d-- > 0; element /= weight->dim[d]) index[d] = element % weight->dim[d];
  for (int d = 0; d < weight->rank && used < capacity; d++)
    used += (size_t)snprintf(text + used, capacity - used, "%s%lld", d ? ", " : "", (long long)index[d]);
}

/* `loaded` holds [outer, nrows, inner] elements in the order of the file, of rows first_row …. */
static pare_status check_finite(const pare__weight *weight, const pare__view *view, int64_t first_row, int64_t nrows,
                                pare_tensor *loaded) {
  int64_t found, inner = 1;
  char text[128];
  PARE__TRY(pare_first_nonfinite(loaded, &found));
  if (found < 0) return PARE_OK;
  for (int d = weight->row_axis + 1; d < weight->rank; d++) inner *= weight->dim[d];
  const int64_t outer = found / (nrows * inner), rest = found % (nrows * inner);
  const int64_t element = (outer * pare__weight_rows(weight) + first_row) * inner + rest;
  const size_t nbytes = pare_dtype_bytes(weight->dtype);
  index_text(weight, element, text, sizeof text);
  const double value = pare__load_unaligned(weight->dtype, view->data, (size_t)element);
  if (view->file_offset == UINT64_MAX)
    return pare__fail(PARE_ERR_FORMAT, "tensor '%.100s': element [%s] is %g", weight->name, text, value);
  return pare__fail(PARE_ERR_FORMAT, "tensor '%.100s': element [%s], at byte %llu of the file, is %g", weight->name,
                    text, (unsigned long long)(view->file_offset + (uint64_t)element * nbytes), value);
}

/* Runs of a view, `stride` bytes apart, one behind the other. They may touch every page of the tensor: no more of them
 * stay than there is room for. */
static pare_status gather(const pare__view *view, size_t begin, size_t count, size_t run, size_t stride,
                          uint8_t **out) {
  const uint8_t *from = (const uint8_t *)view->data + begin;
  size_t resident = 0;
  *out = malloc(run * count + 1);
  if (!*out) return pare__fail_memory("rows of a weight", run * count);
  for (size_t i = 0; i < count; i++) {
    memcpy(*out + i * run, from + i * stride, run);
    if (!view->mapped || i * stride - resident < RESIDENT_BYTES) continue;
    pare__mapping_release(from + resident, i * stride - resident);
    resident = i * stride;
  }
  return PARE_OK;
}

/* The rows in the order of the file, of its dtype, with the shape [outer, nrows, inner]. */
static pare_status upload(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                          pare_tensor **out) {
  const pare__weight *weight = &compression->checkpoint->weights[index];
  const pare__checkpoint_format *format = compression->checkpoint->format;
  const size_t element = pare_dtype_bytes(weight->dtype);
  pare__view view;
  int64_t dim[3] = {1, nrows, 1};
  for (int d = 0; d < weight->rank; d++)
    if (d != weight->row_axis) dim[d < weight->row_axis ? 0 : 2] *= weight->dim[d];
  /* Formats look at their files one after the other; the elements themselves are read beside each other. */
  pthread_mutex_lock(&viewing);
  pare_status status = format->view(compression->checkpoint, index, &view);
  pthread_mutex_unlock(&viewing);
  PARE__TRY(status);
  const size_t run = (size_t)(nrows * dim[2]) * element, stride = (size_t)(weight->elements / dim[0]) * element;
  const size_t begin = (size_t)(first_row * dim[2]) * element;
  uint8_t *gathered = NULL;
  status = pare_tensor_create(compression->context, weight->dtype, 3, dim, out);
  if (status == PARE_OK && dim[0] > 1 && run < stride)
    status = gather(&view, begin, (size_t)dim[0], run, stride, &gathered);
  if (status == PARE_OK)
    status = pare_tensor_write(*out, gathered ? gathered : (const uint8_t *)view.data + begin, run * (size_t)dim[0]);
  if (status == PARE_OK) status = check_finite(weight, &view, first_row, nrows, *out);
  free(gathered);
  pthread_mutex_lock(&viewing);
  format->release(compression->checkpoint, &view);
  pthread_mutex_unlock(&viewing);
  if (status == PARE_OK) return PARE_OK;
  pare_tensor_close(*out);
  *out = NULL;
  return status;
}

/* A view of [outer, nrows, inner] whose axes are in canonical order. */
static pare_status canonical_view(const pare__weight *weight, int64_t nrows, pare_tensor *loaded, pare_tensor **out) {
  int axes[PARE_MAX_RANK];
  int64_t dim[PARE_MAX_RANK];
  pare_tensor *shaped;
  memcpy(dim, weight->dim, sizeof dim);
  dim[weight->row_axis] = nrows;
  pare__weight_axes(weight, axes);
  PARE__TRY(pare_tensor_reshape(loaded, weight->rank, dim, &shaped));
  const pare_status status = pare_tensor_permute(shaped, axes, out);
  pare_tensor_close(shaped);
  return status;
}

/* w *= factors along an axis of [nrows, columns]; the factors of the inputs repeat where columns are more. */
static pare_status scale_columns(const pare__weight *weight, const float *factor, pare_tensor *w) {
  const int64_t inputs = pare__weight_inputs(weight), all = pare_tensor_elements(w);
  pare_tensor *shaped = NULL, *factors = NULL;
  pare_status status = pare_tensor_reshape(w, 2, (const int64_t[]){all / inputs, inputs}, &shaped);
  if (status == PARE_OK)
    status = pare_tensor_from(pare_tensor_context(w), PARE_F32, 1, &inputs, factor, (size_t)inputs * sizeof(float),
                              &factors);
  if (status == PARE_OK) status = pare_binary(PARE_BINARY_mul, shaped, factors, shaped);
  pare_tensor_close(factors);
  pare_tensor_close(shaped);
  return status;
}

static pare_status scale_rows(const float *factor, pare_tensor *w) {
  const int64_t dim[2] = {pare_tensor_shape(w)[0], 1};
  pare_tensor *factors;
  PARE__TRY(
      pare_tensor_from(pare_tensor_context(w), PARE_F32, 2, dim, factor, (size_t)dim[0] * sizeof(float), &factors));
  const pare_status status = pare_binary(PARE_BINARY_mul, w, factors, w);
  pare_tensor_close(factors);
  return status;
}

pare_status pare__load_rows(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                            pare_tensor **out) {
  const pare__weight *weight = &compression->checkpoint->weights[index];
  const pare__treatment *treatment = &compression->treatments[index];
  const int64_t dim[2] = {nrows, pare__weight_row_elements(weight)};
  pare_tensor *loaded = NULL, *view = NULL, *shaped = NULL;
  *out = NULL;
  pare_status status = upload(compression, index, first_row, nrows, &loaded);
  if (status == PARE_OK) status = canonical_view(weight, nrows, loaded, &view);
  if (status == PARE_OK) status = pare_tensor_create(compression->context, PARE_F32, 2, dim, out);
  if (status == PARE_OK) status = pare_tensor_reshape(*out, pare_tensor_rank(view), pare_tensor_shape(view), &shaped);
  if (status == PARE_OK) status = weight->dtype == PARE_F32 ? pare_copy(view, shaped) : pare_cast(view, shaped);
  if (status == PARE_OK && treatment->factor) status = scale_columns(weight, treatment->factor, *out);
  if (status == PARE_OK && pare__division_holds(treatment->takes, compression->treatments))
    status = scale_rows(treatment->takes->inverse + first_row, *out);
  pare_tensor_close(shaped);
  pare_tensor_close(view);
  pare_tensor_close(loaded);
  if (status == PARE_OK) return PARE_OK;
  pare_tensor_close(*out);
  *out = NULL;
  return status;
}

/* ---- steps ---- */

static void close_work(pare__work *work) {
  pare_tensor_close(work->w);
  pare_tensor_close(work->mask);
  pare__result_close(&work->result);
}

static pare_status open_work(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                             pare__work *out) {
  const pare__weight *weight = &compression->checkpoint->weights[index];
  *out = (pare__work){.index = index,
                      .weight = weight,
                      .treatment = &compression->treatments[index],
                      .first_row = first_row,
                      .nrows = nrows,
                      .columns = pare__weight_row_elements(weight)};
  return pare__load_rows(compression, index, first_row, nrows, &out->w);
}

/* The steps before `end`. */
static pare_status apply_steps(pare__compression *compression, size_t end, pare__work *work) {
  for (unsigned i = 0; i < work->treatment->nsteps; i++) {
    const size_t step = work->treatment->step[i];
    if (step >= end) break;
    PARE__TRY(compression->recipe->modifiers[step].method->apply(compression, step, work));
  }
  return PARE_OK;
}

pare_status pare__load_before(pare__compression *compression, size_t index, size_t step, int64_t first_row,
                              int64_t nrows, pare_tensor **out) {
  pare__work work;
  *out = NULL;
  pare_status status = open_work(compression, index, first_row, nrows, &work);
  if (status == PARE_OK) status = apply_steps(compression, step, &work);
  if (status == PARE_OK) {
    *out = work.w;
    work.w = NULL;
  }
  close_work(&work);
  return status;
}

int64_t pare__most_rows(const pare__compression *compression, size_t index) {
  const pare__weight *weight = &compression->checkpoint->weights[index];
  const int64_t rows = pare__weight_rows(weight), columns = pare__weight_row_elements(weight);
  const int64_t most = PARE__PIECE_ELEMENTS / columns;
  return PARE__MIN(rows, PARE__MAX(1, most));
}

bool pare__in_pieces(const pare__compression *compression, size_t index) {
  return pare__most_rows(compression, index) < pare__weight_rows(&compression->checkpoint->weights[index]);
}

/* ---- results ---- */

/* What the stored weight stands for, as f32 rows. */
static pare_status decompress(const pare__work *work, pare_tensor **out) {
  const pare__result *result = &work->result;
  pare_context *context = pare_tensor_context(work->w);
  pare_status status = pare_tensor_create(context, PARE_F32, 2, pare_tensor_shape(work->w), out);
  if (status == PARE_OK && result->codes) {
    const pare_grid grid = pare__grid_of(&work->treatment->grid);
    status = pare_grid_dequantize(&grid, result->codes, result->scales, result->zeros, *out);
  } else if (status == PARE_OK) {
    const pare__stored_as storage = work->treatment->storage;
    const pare_dtype dtype = storage == PARE__STORE_F16    ? PARE_F16
                             : storage == PARE__STORE_BF16 ? PARE_BF16
                                                           : work->weight->dtype;
    pare_tensor *stored = NULL;
    status = pare_tensor_create(context, dtype, 2, pare_tensor_shape(work->w), &stored);
    if (status == PARE_OK) status = pare_cast(work->w, stored);
    if (status == PARE_OK) status = pare_cast(stored, *out);
    pare_tensor_close(stored);
  }
  if (status == PARE_OK) return PARE_OK;
  pare_tensor_close(*out);
  *out = NULL;
  return status;
}

static pare_status count_kept(const pare__work *work, int64_t *kept) {
  pare_tensor *count;
  *kept = work->nrows * work->columns;
  if (!work->mask) return PARE_OK;
  PARE__TRY(pare_tensor_create(pare_tensor_context(work->mask), PARE_I64, 0, NULL, &count));
  pare_status status = pare_mask_count(work->mask, count);
  if (status == PARE_OK) status = pare_tensor_read(count, kept, sizeof *kept);
  pare_tensor_close(count);
  return status;
}

static pare_status measure(const pare__work *work, pare_tensor *before, pare__made_rows *out) {
  pare_tensor *after = NULL;
  pare_status status = decompress(work, &after);
  if (status == PARE_OK) status = pare__distance_tensors(before, after, &out->sums);
  pare_tensor_close(after);
  return status == PARE_OK ? count_kept(work, &out->kept) : status;
}

pare_status pare__make_rows(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                            pare__made_rows *out) {
  pare__work work;
  pare_tensor *before = NULL;
  *out = (pare__made_rows){.index = index};
  pare_status status = open_work(compression, index, first_row, nrows, &work);
  if (status == PARE_OK)
    status = pare_tensor_create(compression->context, PARE_F32, 2, pare_tensor_shape(work.w), &before);
  if (status == PARE_OK) status = pare_copy(work.w, before);
  if (status == PARE_OK) status = apply_steps(compression, SIZE_MAX, &work);
  if (status == PARE_OK && compression->report) status = measure(&work, before, out);
  pare_tensor_close(before);
  if (status == PARE_OK) {
    out->result = work.result;
    work.result = (pare__result){0};
    out->result.first_row = first_row;
    out->result.nrows = nrows;
    out->elements = (uint64_t)(nrows * work.columns);
    if (!out->result.codes) {
      out->result.values = work.w;
      work.w = NULL;
    }
  }
  close_work(&work);
  return status;
}

pare_status pare__make_values(pare__compression *compression, size_t index, int64_t first_row, int64_t nrows,
                              pare_tensor **out) {
  pare__work work;
  *out = NULL;
  pare_status status = open_work(compression, index, first_row, nrows, &work);
  if (status == PARE_OK) status = apply_steps(compression, SIZE_MAX, &work);
  if (status == PARE_OK) status = decompress(&work, out);
  close_work(&work);
  return status;
}

void pare__take_rows(pare__compression *compression, pare__made_rows *made, pare__result *out) {
  if (compression->report) pare__report_rows(compression->report, made->index, &made->sums, made->kept);
  pare__compression_advance(compression, made->elements, compression->checkpoint->weights[made->index].name);
  *out = made->result;
  made->result = (pare__result){0};
}

static pare_status produce(void *user, size_t index, int64_t first_row, int64_t nrows, pare__result *out) {
  pare__made_rows made;
  *out = (pare__result){0};
  PARE__TRY(pare__make_rows(user, index, first_row, nrows, &made));
  pare__take_rows(user, &made, out);
  return PARE_OK;
}

static int64_t most_rows(void *user, size_t index) { return pare__most_rows(user, index); }

pare__producer pare__rows_producer(pare__compression *compression) {
  return (pare__producer){produce, most_rows, compression};
}
