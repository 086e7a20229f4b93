/* Pieces of a run of a model on one replica, and the proof that samples do not depend on each other.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/parallel.h"

enum { MOST_PARTS = 64 };

/* A piece between run and settle. */
struct pare__flight {
  pare__flight *next;
  size_t member;
  int64_t begin;
  pare__mark *mark; /* behind its work; NULL: a group, which waits by itself */
  unsigned nparts;
  pare__part part[MOST_PARTS];
};

int64_t pare__divided_row(const pare__divided *divided, int64_t unit) {
  return unit >= divided->units ? divided->batch : unit * PARE__LEAST_ROWS;
}

static pare_context *context_of(const pare__divided *divided, size_t member) {
  return pare__team_context(divided->team, member);
}

static bool is_group(const pare_context *context) { return pare__context_members(context) > 1; }

pare_status pare__divided_replica(const pare__divided *divided, size_t member, pare_model **out) {
  *out = divided->team->replica[member];
  return *out ? PARE_OK : pare__fail(PARE_ERR_DEVICE, "%s: not open on this device", divided->team->path);
}

/* ---- one part ---- */

void pare__part_close(const pare__divided *divided, pare__part *one) {
  for (unsigned i = 0; one->input && i < divided->ninputs + divided->noutputs; i++) pare_tensor_close(one->input[i]);
  free(one->input);
  one->input = one->output = NULL;
}

/* Over the run's memory: where the device shares it nothing is copied. A group gets a copy, which lives as long as work
 * that was left behind on a device that it lost. */
static pare_status wrap_input(const pare__divided *divided, pare_context *context, unsigned i, const pare__part *one,
                              pare_tensor **out) {
  const pare__host_array *array = &divided->input[i];
  pare__shape shape = array->shape;
  size_t nbytes = (size_t)pare__shape_elements(&shape) * pare_dtype_bytes(array->dtype), offset = 0;
  if (divided->split) {
    shape.dim[0] = one->rows;
    nbytes = (size_t)one->rows * array->row_bytes;
    offset = (size_t)one->first * array->row_bytes;
  }
  if (nbytes == 0) return pare_tensor_create(context, array->dtype, shape.rank, shape.dim, out);
  if (is_group(context))
    return pare_tensor_from(context, array->dtype, shape.rank, shape.dim, (const char *)array->data + offset, nbytes,
                            out);
  return pare_tensor_wrap(context, array->dtype, shape.rank, shape.dim, (char *)array->data + offset, nbytes, out);
}

pare_status pare__part_open(const pare__divided *divided, size_t member, pare__part *one) {
  one->input = calloc((size_t)divided->ninputs + divided->noutputs + 1, sizeof(pare_tensor *));
  if (!one->input) return pare__fail_memory("a part of a run", sizeof(pare_tensor *));
  one->output = one->input + divided->ninputs;
  pare_status status = PARE_OK;
  for (unsigned i = 0; i < divided->ninputs && status == PARE_OK; i++)
    status = wrap_input(divided, context_of(divided, member), i, one, &one->input[i]);
  return status;
}

static pare_status part_run(const pare__divided *divided, size_t member, pare__part *one) {
  pare_model *replica;
  PARE__TRY(pare__divided_replica(divided, member, &replica));
  pare_status status = pare__part_open(divided, member, one);
  if (status == PARE_OK) status = pare_model_run(replica, one->input, divided->wanted, one->output);
  if (status != PARE_OK) pare__part_close(divided, one);
  return status;
}

/* ---- outputs ---- */

static pare_status odd_output(const pare_tensor *tensor, unsigned i, int64_t rows) {
  char text[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE, "output %u of %lld samples has the shape %s: the batch cannot be split", i,
                    (long long)rows, pare__shape_text(tensor->shape.rank, tensor->shape.dim, text, sizeof text));
}

/* Memory for an output, once its shape is known; all pieces must agree. */
static pare_status know_output(pare__divided *divided, unsigned i, const pare_tensor *tensor, int64_t rows) {
  pare__host_array *array = &divided->output[i];
  pare__shape shape = tensor->shape;
  if (divided->split) {
    if (shape.rank < 1 || shape.dim[0] != rows) return odd_output(tensor, i, rows);
    shape.dim[0] = divided->batch;
  }
  if (array->data) {
    bool same = array->dtype == tensor->dtype && array->shape.rank == shape.rank;
    for (int d = 0; same && d < shape.rank; d++) same = array->shape.dim[d] == shape.dim[d];
    return same ? PARE_OK : odd_output(tensor, i, rows);
  }
  if (!pare__shape_set(&array->shape, shape.rank, shape.dim)) return odd_output(tensor, i, rows);
  array->dtype = tensor->dtype;
  const size_t nbytes = (size_t)pare__shape_elements(&array->shape) * pare_dtype_bytes(array->dtype);
  array->row_bytes = divided->split && divided->batch > 0 ? nbytes / (size_t)divided->batch : nbytes;
  array->data = malloc(PARE__MAX(nbytes, (size_t)1));
  return array->data ? PARE_OK : pare__fail_memory("an output", nbytes);
}

pare_status pare__part_read(pare__divided *divided, const pare__part *one, bool done) {
  for (unsigned i = 0; i < divided->noutputs; i++) {
    pare_tensor *tensor = one->output[i];
    if (!tensor) continue;
    pthread_mutex_lock(&divided->lock);
    const pare_status known = know_output(divided, i, tensor, one->rows);
    pthread_mutex_unlock(&divided->lock);
    PARE__TRY(known);
    const pare__host_array *array = &divided->output[i];
    const size_t rows = divided->split ? (size_t)one->rows : 1, first = divided->split ? (size_t)one->first : 0;
    char *to = (char *)array->data + first * array->row_bytes;
    PARE__TRY((done ? pare__tensor_read_done : pare_tensor_read)(tensor, to, rows * array->row_bytes));
  }
  return PARE_OK;
}

/* ---- a piece ---- */

static void flight_close(const pare__divided *divided, pare__flight *flight) {
  for (unsigned i = 0; i < flight->nparts; i++) pare__part_close(divided, &flight->part[i]);
  pare__mark_close(flight->mark);
  free(flight);
}

/* Few shapes, whatever the policy's pieces are: a replica plans each. What is left over runs by itself. A group that
 * divides them does so inside. */
static void cut(const pare__divided *divided, size_t member, int64_t begin, int64_t end, pare__flight *flight) {
  const pare_model *replica = divided->team->replica[member];
  if (replica && replica->team) {
    const int64_t first = pare__divided_row(divided, begin);
    flight->part[flight->nparts++] = (pare__part){.first = first, .rows = pare__divided_row(divided, end) - first};
    return;
  }
  const bool odd = divided->split && end == divided->units && divided->batch % PARE__LEAST_ROWS != 0;
  const int64_t plain = odd ? end - 1 : end;
  while (begin < plain && flight->nparts < MOST_PARTS - 1) {
    int64_t units = 1;
    while (2 * units <= plain - begin) units *= 2;
    const int64_t first = pare__divided_row(divided, begin), next = pare__divided_row(divided, begin + units);
    flight->part[flight->nparts++] = (pare__part){.first = first, .rows = next - first};
    begin += units;
  }
  if (odd) {
    const int64_t first = pare__divided_row(divided, end - 1);
    flight->part[flight->nparts++] = (pare__part){.first = first, .rows = divided->batch - first};
  }
}

void pare__divided_release(pare__divided *divided) {
  if (!divided || atomic_fetch_sub(&divided->references, 1) != 1) return;
  while (divided->flights) {
    pare__flight *next = divided->flights->next;
    flight_close(divided, divided->flights);
    divided->flights = next;
  }
  pare__microbatches_close(divided);
  for (unsigned i = 0; i < divided->ninputs && divided->input; i++) free(divided->input[i].data);
  for (unsigned i = 0; i < divided->noutputs && divided->output; i++) free(divided->output[i].data);
  pthread_mutex_destroy(&divided->lock);
  free(divided->input);
  free(divided->output);
  free(divided->wanted);
  free(divided->ran);
  free(divided->key);
  free(divided);
}

pare_status pare__divided_run(void *argument, size_t member, int64_t begin, int64_t end) {
  pare__divided *divided = argument;
  pare__flight *flight = calloc(1, sizeof *flight);
  if (!flight) return pare__fail_memory("a piece of a run", sizeof *flight);
  atomic_fetch_add(&divided->references, 1);
  flight->member = member;
  flight->begin = begin;
  const double began = pare__seconds();
  const uint64_t preparations = pare__team_preparations(divided->team, member);
  cut(divided, member, begin, end, flight);
  pare_status status = PARE_OK;
  for (unsigned i = 0; i < flight->nparts && status == PARE_OK; i++)
    status = part_run(divided, member, &flight->part[i]);
  pare__team_prepared(divided->team, member, preparations);
  pare_context *context = context_of(divided, member);
  if (status == PARE_OK && !is_group(context)) status = pare__mark_set(pare__context_device(context), &flight->mark);
  if (status == PARE_OK) {
    const bool done = flight->mark && pare__mark_done(flight->mark, pare__seconds() - began);
    pthread_mutex_lock(&divided->lock);
    flight->next = divided->flights;
    divided->flights = flight;
    divided->ran[member] = true;
    pthread_mutex_unlock(&divided->lock);
    if (done) pare__crew_finished(divided->team->crew, member);
  } else {
    flight_close(divided, flight);
  }
  pare__divided_release(divided);
  return status;
}

pare_status pare__divided_settle(void *argument, size_t member, int64_t begin, int64_t end) {
  pare__divided *divided = argument;
  (void)end;
  atomic_fetch_add(&divided->references, 1);
  pthread_mutex_lock(&divided->lock);
  pare__flight **link = &divided->flights;
  while (*link && ((*link)->member != member || (*link)->begin != begin)) link = &(*link)->next;
  pare__flight *flight = *link;
  if (flight) *link = flight->next;
  pthread_mutex_unlock(&divided->lock);
  const uint64_t preparations = pare__team_preparations(divided->team, member);
  pare_status status = flight && flight->mark ? pare__mark_wait(flight->mark) : PARE_OK;
  if (status == PARE_OK) pare__crew_worked(divided->team->crew, member);
  for (unsigned i = 0; flight && i < flight->nparts && status == PARE_OK; i++)
    status = pare__part_read(divided, &flight->part[i], flight->mark);
  pare__team_prepared(divided->team, member, preparations);
  if (flight) flight_close(divided, flight);
  pare__divided_release(divided);
  return status;
}

/* ---- the proof ---- */

static pare_status differ(pare__divided *divided, unsigned output, const char *how) {
  pthread_mutex_lock(&divided->lock);
  divided->equal = false;
  snprintf(divided->why, sizeof divided->why, "output %u %s", output, how);
  pthread_mutex_unlock(&divided->lock);
  return PARE_OK;
}

/* Reads the rows of an output that both parts have; NULL: memory ran out, or it has no such rows. */
static void *shared_rows(const pare__part *one, unsigned output, int64_t from, int64_t rows, size_t *nbytes,
                         pare_status *status) {
  pare_tensor *tensor = one->output[output], *view = NULL;
  void *data = NULL;
  *status = pare_tensor_slice(tensor, 0, from, rows, 1, &view);
  if (*status == PARE_OK) {
    *nbytes = (size_t)pare_tensor_elements(view) * pare_dtype_bytes(tensor->dtype);
    data = malloc(PARE__MAX(*nbytes, (size_t)1));
    *status = data ? pare_tensor_read(view, data, *nbytes) : pare__fail_memory("a proof", *nbytes);
  }
  pare_tensor_close(view);
  return data;
}

static pare_status compare(pare__divided *divided, const pare__part *a, const pare__part *b) {
  const int64_t shift = b->first - a->first, rows = a->rows - shift;
  for (unsigned i = 0; i < divided->noutputs; i++) {
    const pare_tensor *x = a->output[i], *y = b->output[i];
    if (!x || !y) continue;
    if (x->shape.rank < 1 || x->shape.dim[0] != a->rows || !pare__shape_equal(&x->shape, &y->shape))
      return differ(divided, i, "has another first dimension than the samples");
    size_t nx = 0, ny = 0;
    pare_status sx, sy;
    void *p = shared_rows(a, i, shift, rows, &nx, &sx), *q = shared_rows(b, i, 0, rows, &ny, &sy);
    const bool same = p && q && nx == ny && memcmp(p, q, nx) == 0;
    free(p);
    free(q);
    PARE__TRY(sx);
    PARE__TRY(sy);
    if (!same) return differ(divided, i, "is another for other neighbours in the batch");
  }
  return PARE_OK;
}

pare_status pare__divided_prove(void *argument, size_t member, int64_t begin, int64_t end) {
  pare__divided *divided = argument;
  pare__part two[2] = {{.rows = PARE__LEAST_ROWS}, {.first = PARE__LEAST_ROWS / 2, .rows = PARE__LEAST_ROWS}};
  (void)begin;
  (void)end;
  atomic_fetch_add(&divided->references, 1);
  pare_status status = part_run(divided, member, &two[0]);
  if (status == PARE_OK) status = part_run(divided, member, &two[1]);
  if (status == PARE_OK) status = compare(divided, &two[0], &two[1]);
  /* a graph that refuses so many samples has told why; what a device or memory refuses is another matter, and what was
   * interrupted tells nothing */
  const pare_model *replica = divided->team->replica[member];
  const bool refused = status == PARE_ERR_SHAPE || status == PARE_ERR_ARGUMENT || status == PARE_ERR_UNSUPPORTED ||
                       status == PARE_ERR_FORMAT;
  if (refused && !(replica && atomic_load(&replica->interrupted))) {
    char text[200];
    snprintf(text, sizeof text, "%s", pare_message());
    pthread_mutex_lock(&divided->lock);
    divided->equal = false;
    snprintf(divided->why, sizeof divided->why, "it does not take %d samples (%s)", PARE__LEAST_ROWS, text);
    pthread_mutex_unlock(&divided->lock);
    status = PARE_OK;
  }
  pare__part_close(divided, &two[0]);
  pare__part_close(divided, &two[1]);
  pare__divided_release(divided);
  return status;
}
