# Floor 7: compression.
libpare_internal_la_SOURCES += src/compress/calibration.h
libpare_internal_la_SOURCES += src/compress/checkpoint.h
libpare_internal_la_SOURCES += src/compress/method.h
libpare_internal_la_SOURCES += src/compress/recipe.h
