# Floor 5: operations on tensors.
libpare_internal_la_SOURCES += src/op/op.h
libpare_internal_la_SOURCES += src/op/op.c
libpare_internal_la_SOURCES += src/op/copy.c
libpare_internal_la_SOURCES += src/op/random.c
libpare_internal_la_SOURCES += src/op/gemm.c
libpare_internal_la_SOURCES += src/op/gemm.h
libpare_internal_la_SOURCES += src/op/gemm_product.c
libpare_internal_la_SOURCES += src/op/gemm_weights.c
libpare_internal_la_SOURCES += src/op/elementwise.c
libpare_internal_la_SOURCES += src/op/elementwise.h
libpare_internal_la_SOURCES += src/op/normalise.c
libpare_internal_la_SOURCES += src/op/reduce.c
libpare_internal_la_SOURCES += src/op/reduce.h
libpare_internal_la_SOURCES += src/op/softmax.c
libpare_internal_la_SOURCES += src/op/move.c
libpare_internal_la_SOURCES += src/op/select.c
