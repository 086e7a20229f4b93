# Floor 6: models as graphs.
libpare_internal_la_SOURCES += src/graph/graph.h
libpare_internal_la_SOURCES += src/graph/operator.h
libpare_internal_la_SOURCES += src/graph/operator_tables.h
libpare_internal_la_SOURCES += src/graph/operator_tables.h
