# Floor 4.
libpare_internal_la_SOURCES += src/sched/sched.h
