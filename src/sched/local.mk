# Floor 4: the seam of the scheduler, and what needs a context and kernels.
libpare_internal_la_SOURCES += src/sched/executor.c src/sched/kernels.c src/sched/order.c src/sched/order.h src/sched/recording.c src/sched/sched.h src/sched/worker_opencl.c
libpare_internal_la_SOURCES += src/sched/replay.c src/sched/replay.h src/sched/replay_choice.c src/sched/replay_steps.c
libpare_internal_la_SOURCES += src/sched/multi.c src/sched/multi.h src/sched/multi_piece.c src/sched/task.c
# Policies, performance models and the simulator: no clock, no OpenCL.
libpare_internal_la_SOURCES += src/sched/performance.c src/sched/performance.h src/sched/performance_file.c src/sched/timings.c src/sched/timings.h
# Devices that work at the same time.
libpare_internal_la_SOURCES += src/sched/crew.c src/sched/crew.h src/sched/crew_energy.c src/sched/crew_jobs.c src/sched/crew_open.c
libpare_internal_la_SOURCES += src/sched/crew_run.c src/sched/crew_state.h src/sched/crew_stats.c src/sched/schedule.c
libpare_internal_la_SOURCES += src/sched/crew_context.c src/sched/crew_context.h src/sched/crew_members.c
libpare_internal_la_SOURCES += src/sched/policy.c src/sched/policy.h src/sched/policy_choice.c src/sched/policy_look.c src/sched/policy_queue.c src/sched/policy_read.c
libpare_internal_la_SOURCES += src/sched/policy_dmda.c src/sched/policy_heft.c src/sched/policy_heft.h src/sched/policy_hguided.c
libpare_internal_la_SOURCES += src/sched/policy_priority.c src/sched/policy_round_robin.c src/sched/policy_static.c
libpare_internal_la_SOURCES += src/sched/bounds.c src/sched/json_stream.c src/sched/json_stream.h src/sched/machine.c
libpare_internal_la_SOURCES += src/sched/simulate.c src/sched/simulate.h src/sched/simulate_result.c
libpare_internal_la_SOURCES += src/sched/trace.c src/sched/trace.h src/sched/workload.c src/sched/workload_random.c
