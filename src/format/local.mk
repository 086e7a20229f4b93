# Floor 4: file formats. They know nothing of devices.
libpare_internal_la_SOURCES += src/format/mapping.c
libpare_internal_la_SOURCES += src/format/mapping.h
libpare_internal_la_SOURCES += src/format/npy.c
libpare_internal_la_SOURCES += src/format/npy.h
libpare_internal_la_SOURCES += src/format/npz.c
libpare_internal_la_SOURCES += src/format/npz.h
libpare_internal_la_SOURCES += src/format/onnx.c
libpare_internal_la_SOURCES += src/format/onnx.h
libpare_internal_la_SOURCES += src/format/onnx_data.c
libpare_internal_la_SOURCES += src/format/onnx_read.c
libpare_internal_la_SOURCES += src/format/onnx_schema.c
libpare_internal_la_SOURCES += src/format/onnx_schema.h
libpare_internal_la_SOURCES += src/format/onnx_source.c
libpare_internal_la_SOURCES += src/format/onnx_write.c
libpare_internal_la_SOURCES += src/format/sink.c
libpare_internal_la_SOURCES += src/format/sink.h
