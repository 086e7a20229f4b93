# Floor 4: the seam of the scheduler, and what needs a context and kernels.
libpare_internal_la_SOURCES += src/sched/executor.c src/sched/kernels.c src/sched/recording.c src/sched/sched.h src/sched/worker_opencl.c
libpare_internal_la_SOURCES += src/sched/replay.c src/sched/replay.h src/sched/replay_steps.c
