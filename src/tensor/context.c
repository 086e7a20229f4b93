/* The context: opens the first selected device and keeps what went wrong until somebody waits.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensor/context.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SELECTED 256
#define FLAG_COUNT 32 /* operations that may meet a bad index */

struct pare_context {
  atomic_int references;
  atomic_bool closed;
  pid_t process; /* OpenCL does not survive fork: the child must not touch the driver */
  pare_device_list *list;
  pare__device *device;
  atomic_int pieces;
  pthread_mutex_t lock; /* guards what follows */
  pare_status failed;
  char *failure;
  pare__buffer *flags;
  unsigned flags_used;
  const char *flag_operation[FLAG_COUNT];
};

static pare_status memory_limit(const pare_context_options *options, uint64_t *out) {
  const char *text = getenv("PARE_MEMORY");
  *out = options ? options->memory_limit_bytes : 0;
  if (*out == 0 && text && *text) return pare__parse_bytes("PARE_MEMORY", text, out);
  return PARE_OK;
}

pare_status pare_context_open(const pare_context_options *options, pare_context **out) {
  if (!out) return pare__fail_null("pare_context_open", "out");
  *out = NULL;
  uint64_t limit = 0;
  PARE__TRY(memory_limit(options, &limit));
  pare_context *context = calloc(1, sizeof *context);
  if (!context) return pare__fail_memory("a context", sizeof *context);
  atomic_init(&context->references, 1);
  context->process = getpid();
  pthread_mutex_init(&context->lock, NULL);

  pare_device_choice choice[MAX_SELECTED];
  size_t count = 0;
  pare_status status = pare_device_list_open(false, &context->list);
  if (status == PARE_OK)
    status = pare_device_list_select(context->list, options ? options->device : NULL, MAX_SELECTED, choice, &count);
  if (status == PARE_OK) status = pare__device_open(context->list, &choice[0], limit, &context->device);
  if (status != PARE_OK) {
    pare__context_release(context);
    return status;
  }
  if (count > 1)
    pare__log(PARE_LOG_INFO, "%zu devices selected; operations run on the first, %s", count,
              pare__device_info(context->device)->name);
  *out = context;
  return PARE_OK;
}

void pare__context_retain(pare_context *context) {
  atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
}

void pare__context_release(pare_context *context) {
  if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1) return;
  if (context->process == getpid()) {
    pare__buffer_release(context->flags);
    pare__device_close(context->device);
    pare_device_list_close(context->list);
  }
  pthread_mutex_destroy(&context->lock);
  free(context->failure);
  free(context);
}

void pare_context_close(pare_context *context) {
  if (!context || atomic_exchange(&context->closed, true)) return;
  if (context->process == getpid()) (void)pare__device_finish(context->device);
  pare__context_release(context);
}

pare_status pare__context_check(const char *function, const pare_context *context) {
  if (!context) return pare__fail_null(function, "context");
  if (atomic_load(&((pare_context *)context)->closed))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the context is closed", function);
  if (context->process != getpid())
    return pare__fail(
        PARE_ERR_ARGUMENT,
        "%s: the context was opened in process %ld and cannot be used after fork in process %ld; open a new "
        "one in a process started with exec",
        function, (long)context->process, (long)getpid());
  return PARE_OK;
}

pare__device *pare__context_device(pare_context *context) { return context->device; }

const pare_device_info *pare_context_device(const pare_context *context) {
  return context ? pare__device_info(context->device) : NULL;
}

pare_status pare_context_memory(const pare_context *context, pare_memory_usage *out) {
  if (!out) return pare__fail_null("pare_context_memory", "out");
  memset(out, 0, sizeof *out);
  PARE__TRY(pare__context_check("pare_context_memory", context));
  pare__device_memory(context->device, &out->in_use_bytes, &out->peak_bytes, &out->limit_bytes);
  return PARE_OK;
}

void pare__context_record(pare_context *context, pare_status status) {
  pthread_mutex_lock(&context->lock);
  if (context->failed == PARE_OK) {
    context->failed = status;
    context->failure = pare__strdup(pare_message());
  }
  pthread_mutex_unlock(&context->lock);
}

pare_status pare__context_flag(pare_context *context, const char *operation, cl_mem *mem, int64_t *offset) {
  pthread_mutex_lock(&context->lock);
  pare_status status = PARE_OK;
  if (!context->flags) {
    static const int32_t zero[FLAG_COUNT];
    status = pare__buffer_create(context->device, sizeof zero, "error flags", &context->flags);
    if (status == PARE_OK) {
      status = pare__buffer_write(context->flags, 0, sizeof zero, zero);
      if (status != PARE_OK) {
        pare__buffer_release(context->flags);
        context->flags = NULL;
      }
    }
  }
  if (status == PARE_OK) {
    unsigned slot = 0;
    while (slot < context->flags_used && strcmp(context->flag_operation[slot], operation) != 0) slot++;
    /* more operations than flags share the last: the name may be another's, the error is not lost */
    slot = PARE__MIN(slot, FLAG_COUNT - 1U);
    if (slot == context->flags_used) context->flag_operation[context->flags_used++] = operation;
    *mem = pare__buffer_mem(context->flags);
    *offset = slot;
  }
  pthread_mutex_unlock(&context->lock);
  return status;
}

pare_status pare__context_flags_check(pare_context *context) {
  pthread_mutex_lock(&context->lock);
  pare_status status = PARE_OK;
  unsigned used = context->flags_used;
  if (used > 0) {
    int32_t flag[FLAG_COUNT];
    static const int32_t zero[FLAG_COUNT];
    const char *operation = NULL;
    status = pare__buffer_read(context->flags, 0, used * sizeof flag[0], flag);
    for (unsigned i = 0; status == PARE_OK && i < used && !operation; i++)
      if (flag[i] != 0) operation = context->flag_operation[i];
    if (operation) {
      status = pare__buffer_write(context->flags, 0, used * sizeof flag[0], zero);
      if (status == PARE_OK)
        status = pare__fail(PARE_ERR_ARGUMENT, "%s: an index is out of range; that element was not moved", operation);
    }
  }
  pthread_mutex_unlock(&context->lock);
  return status;
}

pare_status pare_context_wait(pare_context *context) {
  PARE__TRY(pare__context_check("pare_context_wait", context));
  pare_status finished = pare__device_finish(context->device);
  if (finished == PARE_OK) finished = pare__context_flags_check(context);
  pthread_mutex_lock(&context->lock);
  pare_status status = context->failed;
  if (status != PARE_OK)
    status = pare__fail_text(status, context->failure ? context->failure : pare_status_meaning(status));
  context->failed = PARE_OK;
  free(context->failure);
  context->failure = NULL;
  pthread_mutex_unlock(&context->lock);
  return status != PARE_OK ? status : finished;
}

void pare__context_split(pare_context *context, int pieces) { atomic_store(&context->pieces, pieces); }
int pare__context_pieces(const pare_context *context) { return atomic_load(&((pare_context *)context)->pieces); }
