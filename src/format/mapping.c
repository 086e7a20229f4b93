/* Mapped files. SPDX-License-Identifier: Apache-2.0 */
#include "format/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

pare_status pare__mapping_open_file(int file, const char *path, pare__mapping *out) {
  *out = (pare__mapping){0};
  struct stat about;
  if (fstat(file, &about) != 0) return pare__fail(PARE_ERR_IO, "opening %s: %s", path, strerror(errno));
  if (!S_ISREG(about.st_mode)) return pare__fail(PARE_ERR_IO, "opening %s: not a regular file", path);
  if ((uintmax_t)about.st_size > PTRDIFF_MAX) return pare__fail(PARE_ERR_IO, "opening %s: too large", path);
  if (about.st_size == 0) return PARE_OK; /* mmap refuses to map nothing */
  void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  if (data == MAP_FAILED)
    return pare__fail(PARE_ERR_IO, "mapping %s (%jd bytes): %s", path, (intmax_t)about.st_size, strerror(errno));
  out->data = data;
  out->nbytes = (size_t)about.st_size;
  out->mapped = true;
  return PARE_OK;
}

pare_status pare__mapping_open(const char *path, pare__mapping *out) {
  *out = (pare__mapping){0};
  /* Opening a FIFO would wait for its writer. */
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return pare__fail(PARE_ERR_IO, "opening %s: %s", path, strerror(errno));
  pare_status status = pare__mapping_open_file(file, path, out);
  close(file);
  return status;
}

void pare__mapping_close(pare__mapping *mapping) {
  if (mapping->mapped) munmap((void *)(uintptr_t)mapping->data, mapping->nbytes);
  *mapping = (pare__mapping){0};
}

void pare__mapping_release(const void *data, size_t nbytes) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data, end = begin + nbytes;
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}
