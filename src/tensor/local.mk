# Floor 3: tensors and the context.
libpare_internal_la_SOURCES += src/tensor/context.c
libpare_internal_la_SOURCES += src/tensor/context.h
libpare_internal_la_SOURCES += src/tensor/host_copy.c
libpare_internal_la_SOURCES += src/tensor/interop.c
libpare_internal_la_SOURCES += src/tensor/memory.c
libpare_internal_la_SOURCES += src/tensor/memory.h
libpare_internal_la_SOURCES += src/tensor/shape.c
libpare_internal_la_SOURCES += src/tensor/sparse.c
libpare_internal_la_SOURCES += src/tensor/sparse.h
libpare_internal_la_SOURCES += src/tensor/storage.c
libpare_internal_la_SOURCES += src/tensor/storage.h
libpare_internal_la_SOURCES += src/tensor/tensor.c
libpare_internal_la_SOURCES += src/tensor/tensor.h
libpare_internal_la_SOURCES += src/tensor/view.c
