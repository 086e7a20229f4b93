# Floor 1: devices, programs, buffers, launches.
libpare_internal_la_SOURCES += src/ocl/ocl.h
libpare_internal_la_SOURCES += src/ocl/child.c src/ocl/child.h
libpare_internal_la_SOURCES += src/ocl/buffer.c
libpare_internal_la_SOURCES += src/ocl/caps.c
libpare_internal_la_SOURCES += src/ocl/device.c
libpare_internal_la_SOURCES += src/ocl/device.h
libpare_internal_la_SOURCES += src/ocl/error.c
libpare_internal_la_SOURCES += src/ocl/launch.c
libpare_internal_la_SOURCES += src/ocl/list.c
libpare_internal_la_SOURCES += src/ocl/list.h
libpare_internal_la_SOURCES += src/ocl/program.c
libpare_internal_la_SOURCES += src/ocl/program.h
libpare_internal_la_SOURCES += src/ocl/quirks.c
libpare_internal_la_SOURCES += src/ocl/quirks.h
libpare_internal_la_SOURCES += src/ocl/selector.c
libpare_internal_la_SOURCES += src/ocl/source.c
libpare_internal_la_SOURCES += src/ocl/cache.c src/ocl/cache.h
