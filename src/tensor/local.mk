# Floor 3: tensors and the context.
libpare_internal_la_SOURCES += src/tensor/context.c src/tensor/context.h src/tensor/host_copy.c src/tensor/interop.c \
  src/tensor/shape.c src/tensor/storage.c src/tensor/storage.h src/tensor/tensor.c src/tensor/tensor.h src/tensor/view.c
