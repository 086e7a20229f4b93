/* Files that appear whole or not at all. SPDX-License-Identifier: Apache-2.0 */
#include "format/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "format/mapping.h"

#define BUFFER_BYTES ((size_t)64 << 10)
#define PIECE_BYTES ((size_t)4 << 20)

struct pare__sink {
  char *path, *temporary; /* NULL for memory; temporary is NULL once it is renamed */
  int file;
  char *buffer; /* of a file: what is not yet written; of memory: all */
  size_t capacity, used;
  uint64_t flushed;
};

static pare_status fail_write(const pare__sink *sink, int error) {
  return pare__fail(PARE_ERR_IO, "writing %s: %s", sink->path, strerror(error));
}

pare_status pare__sink_open(const char *path, pare__sink **out) {
  static atomic_uint next;
  *out = NULL;
  pare__sink *sink = calloc(1, sizeof *sink);
  if (!sink) return pare__fail_memory("an output", sizeof *sink);
  sink->file = -1;
  pare_status status = PARE_OK;
  if (path) {
    status = pare__file_target(path, &sink->path);
    if (status != PARE_OK) goto out;
    sink->temporary = pare__format("%s.%ld-%u.tmp", sink->path, (long)getpid(), atomic_fetch_add(&next, 1));
    sink->buffer = malloc(BUFFER_BYTES);
    if (!sink->temporary || !sink->buffer) {
      status = pare__fail_memory("an output", BUFFER_BYTES);
      goto out;
    }
    sink->capacity = BUFFER_BYTES;
    sink->file = open(sink->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (sink->file < 0) {
      status = fail_write(sink, errno);
      free(sink->temporary); /* nothing of ours to remove */
      sink->temporary = NULL;
    }
  }
out:
  if (status != PARE_OK) {
    pare__sink_close(sink);
    return status;
  }
  *out = sink;
  return PARE_OK;
}

pare_status pare__sink_place(pare__sink *sink, uint64_t offset, const void *data, size_t nbytes) {
  const char *from = data;
  while (nbytes > 0) {
    const ssize_t put = pwrite(sink->file, from, nbytes, (off_t)offset);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return fail_write(sink, put < 0 ? errno : ENOSPC);
    from += put;
    offset += (uint64_t)put;
    nbytes -= (size_t)put;
  }
  return PARE_OK;
}

static pare_status write_through(pare__sink *sink, const char *data, size_t nbytes) {
  PARE__TRY(pare__sink_place(sink, sink->flushed, data, nbytes));
  sink->flushed += nbytes;
  return PARE_OK;
}

static pare_status flush(pare__sink *sink) {
  size_t nbytes = sink->used;
  sink->used = 0;
  return write_through(sink, sink->buffer, nbytes);
}

/* Of a sink in memory: room for so many bytes more. */
static pare_status make_room(pare__sink *sink, size_t nbytes) {
  size_t end;
  if (!pare__size_add(sink->used, nbytes, &end)) return pare__fail_memory("an output", SIZE_MAX);
  if (end <= sink->capacity) return PARE_OK;
  const size_t capacity = PARE__MAX(end, sink->capacity < SIZE_MAX / 2 ? 2 * sink->capacity : end);
  char *larger = realloc(sink->buffer, capacity);
  if (!larger) return pare__fail_memory("an output", capacity);
  sink->buffer = larger;
  sink->capacity = capacity;
  return PARE_OK;
}

pare_status pare__sink_write(pare__sink *sink, const void *data, size_t nbytes) {
  if (nbytes == 0) return PARE_OK;
  if (!sink->path) {
    PARE__TRY(make_room(sink, nbytes));
  } else if (nbytes > sink->capacity - sink->used) {
    PARE__TRY(flush(sink));
    if (nbytes >= sink->capacity) return write_through(sink, data, nbytes);
  }
  memcpy(sink->buffer + sink->used, data, nbytes);
  sink->used += nbytes;
  return PARE_OK;
}

pare_status pare__sink_copy(pare__sink *sink, const void *data, size_t nbytes, bool mapped) {
  for (size_t done = 0; done < nbytes; done += PIECE_BYTES) {
    const char *piece = (const char *)data + done;
    const size_t length = PARE__MIN(nbytes - done, PIECE_BYTES);
    PARE__TRY(pare__sink_write(sink, piece, length));
    if (mapped) pare__mapping_release(piece, length);
  }
  return PARE_OK;
}

pare_status pare__sink_align(pare__sink *sink, size_t alignment) {
  static const char zeros[64];
  size_t missing = (size_t)((alignment - pare__sink_offset(sink) % alignment) % alignment);
  while (missing > 0) {
    size_t piece = PARE__MIN(missing, sizeof zeros);
    PARE__TRY(pare__sink_write(sink, zeros, piece));
    missing -= piece;
  }
  return PARE_OK;
}

/* A stream's place in a sink. */
struct place {
  pare__sink *sink;
  uint64_t begin;
  size_t nbytes, made;
  const char *what;
};

static pare_status put(void *user, size_t offset, const void *data, size_t nbytes) {
  struct place *place = user;
  if (offset > place->nbytes || nbytes > place->nbytes - offset)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: its stream made %zu bytes at %zu of %zu", place->what, nbytes, offset,
                      place->nbytes);
  place->made += nbytes;
  if (place->sink->path) return pare__sink_place(place->sink, place->begin + offset, data, nbytes);
  if (nbytes > 0) memcpy(place->sink->buffer + place->begin + offset, data, nbytes);
  return PARE_OK;
}

pare_status pare__sink_stream(pare__sink *sink, const pare__stream *stream, const char *what) {
  struct place place = {.sink = sink, .begin = pare__sink_offset(sink), .nbytes = stream->nbytes, .what = what};
  PARE__TRY(sink->path ? flush(sink) : make_room(sink, stream->nbytes));
  PARE__TRY(stream->produce(stream->user, put, &place));
  if (place.made != stream->nbytes)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: its stream made %zu bytes instead of %zu", what, place.made,
                      stream->nbytes);
  if (sink->path)
    sink->flushed += stream->nbytes;
  else
    sink->used += stream->nbytes;
  return PARE_OK;
}

uint64_t pare__sink_offset(const pare__sink *sink) { return sink->flushed + sink->used; }

pare_status pare__sink_commit(pare__sink *sink) {
  PARE__TRY(flush(sink));
  int file = sink->file;
  sink->file = -1;
  if (close(file) != 0) return fail_write(sink, errno);
  pare__file_keep_mode(sink->path, sink->temporary);
  if (rename(sink->temporary, sink->path) != 0) return fail_write(sink, errno);
  free(sink->temporary);
  sink->temporary = NULL;
  return PARE_OK;
}

void pare__sink_take(pare__sink *sink, void **out, size_t *nbytes) {
  *out = sink->buffer;
  *nbytes = sink->used;
  sink->buffer = NULL;
  sink->capacity = sink->used = 0;
}

void pare__sink_close(pare__sink *sink) {
  if (!sink) return;
  if (sink->file >= 0) close(sink->file);
  if (sink->temporary) unlink(sink->temporary);
  free(sink->temporary);
  free(sink->path);
  free(sink->buffer);
  free(sink);
}
