# Floor 4: file formats. They know nothing of devices.
libpare_internal_la_SOURCES += src/format/onnx.h
