/* What a fuzzer defines, and helpers. SPDX-License-Identifier: Apache-2.0
 *
 * A fuzzer looks at one parser of what users or files bring. It is linked twice: with libFuzzer by `make fuzz`, and
 * with replay.c for `make check`, which runs the committed inputs under tests/fuzz/corpus/NAME. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);

/* A copy with a terminator, so that sanitizers see a read past the end. */
char *fuzz_text(const uint8_t *data, size_t nbytes);

/* Ends the process with a message unless `law` holds. */
#define FUZZ_LAW(law)                                  \
  do {                                                 \
    if (!(law)) fuzz_broken(__FILE__, __LINE__, #law); \
  } while (0)
void fuzz_broken(const char *file, int line, const char *law) __attribute__((noreturn));

/* A folder of this process alone, made at the first call; also $PARE_CACHE and $PARE_KERNEL_PATH. */
const char *fuzz_folder(void);

#endif
