# Floor 3: tensors.
libpare_internal_la_SOURCES += src/tensor/tensor.h
libpare_internal_la_SOURCES += src/tensor/context.h
# Floor 3: tensors and the context.
libpare_internal_la_SOURCES += src/tensor/tensor.h
