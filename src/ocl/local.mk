# Floor 1: devices, programs, buffers, launches.
libpare_internal_la_SOURCES += src/ocl/ocl.h
