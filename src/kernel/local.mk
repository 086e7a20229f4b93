# Floor 2: families of kernels, trust, tuning.
libpare_internal_la_SOURCES += src/kernel/check.c src/kernel/choose.c src/kernel/database.c src/kernel/kernel.h \
  src/kernel/registry.c src/kernel/run.c src/kernel/state.c src/kernel/state.h src/kernel/trial.c src/kernel/trial.h \
  src/kernel/trust.c src/kernel/tune.c
libpare_internal_la_SOURCES += src/kernel/family_gemm.c src/kernel/family_gemm.h src/kernel/family_gemm_cases.c \
  src/kernel/family_gemm_pack.c src/kernel/family_gemm_pack.h src/kernel/family_gemm_wide.c src/kernel/family_gemv.c
libpare_internal_la_SOURCES += src/kernel/family_reduce.h src/kernel/family_reduce.c
libpare_internal_la_SOURCES += src/kernel/reduce_reference.h src/kernel/reduce_reference.c
