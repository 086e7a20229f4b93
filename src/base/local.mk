# Floor 0: status, log, checked arithmetic, hashes, paths.
libpare_internal_la_SOURCES += src/base/arena.c
libpare_internal_la_SOURCES += src/base/arena.h
libpare_internal_la_SOURCES += src/base/base.h
libpare_internal_la_SOURCES += src/base/dtype.h
libpare_internal_la_SOURCES += src/base/expression.c
libpare_internal_la_SOURCES += src/base/expression.h
libpare_internal_la_SOURCES += src/base/hash.h
libpare_internal_la_SOURCES += src/base/path.h
libpare_internal_la_SOURCES += src/base/version.c
libpare_internal_la_SOURCES += src/base/base.c
libpare_internal_la_SOURCES += src/base/dtype.c
libpare_internal_la_SOURCES += src/base/hash.c
libpare_internal_la_SOURCES += src/base/log.c
libpare_internal_la_SOURCES += src/base/path.c
libpare_internal_la_SOURCES += src/base/status.c
libpare_internal_la_SOURCES += src/base/thread.c
