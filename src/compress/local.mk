# Floor 7: compression.
libpare_internal_la_SOURCES += src/compress/calibration.h
libpare_internal_la_SOURCES += src/compress/calibration_data.h
libpare_internal_la_SOURCES += src/compress/checkpoint.h
libpare_internal_la_SOURCES += src/compress/distance.c
libpare_internal_la_SOURCES += src/compress/distance.h
libpare_internal_la_SOURCES += src/compress/gptq.c
libpare_internal_la_SOURCES += src/compress/gptq.h
libpare_internal_la_SOURCES += src/compress/layer_input.h
libpare_internal_la_SOURCES += src/compress/method.h
libpare_internal_la_SOURCES += src/compress/recipe.h
