# Floor 2: families of kernels, trust, tuning.
libpare_internal_la_SOURCES += src/kernel/kernel.h
