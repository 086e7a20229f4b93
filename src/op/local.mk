# Floor 5: operations on tensors.
libpare_internal_la_SOURCES += src/op/op.h
