# Floor 4: codelets, tasks, workers, the executor.
libpare_internal_la_SOURCES += src/sched/sched.h
