# Benchmarks: built and run by `make bench` and `make bench-kernels` only. BENCH_FLAGS are those of tests/bench/bench.py, such as --quick.
bench_tools = tests/bench/serve_crew tests/bench/serve_sched tests/bench/serve_by_hand tests/bench/serve_pare tests/bench/serve_memory tests/bench/serve_ggml tests/bench/core_distance tests/bench/layout_costs
if HAVE_OPENBLAS
bench_tools += tests/bench/serve_openblas
endif
if HAVE_CLBLAST
bench_tools += tests/bench/serve_clblast
endif
if HAVE_STARPU
bench_tools += tests/bench/serve_starpu tests/bench/serve_starpu_shared
endif
EXTRA_PROGRAMS += $(bench_tools)
CLEANFILES += $(bench_tools)
noinst_HEADERS += tests/bench/serve.h tests/bench/serve_shared.h tests/bench/serve_tensors.h
EXTRA_DIST += tests/bench/bench.py tests/bench/rows.py tests/bench/models.py tests/bench/compress.py tests/bench/sched.py tests/bench/chains.py tests/bench/serve_onnxruntime.py

tests_bench_serve_crew_SOURCES = tests/bench/serve_crew.c
tests_bench_serve_crew_LDADD = libpare_internal.la
tests_bench_serve_sched_SOURCES = tests/bench/serve_sched.c tests/bench/serve.c tests/bench/serve_tensors.c
tests_bench_serve_sched_LDADD = libpare_internal.la
tests_bench_serve_by_hand_SOURCES = tests/bench/serve_by_hand.c tests/bench/serve_shared.c tests/bench/serve.c tests/bench/serve_tensors.c
tests_bench_serve_by_hand_LDADD = libpare_internal.la
tests_bench_serve_pare_SOURCES = tests/bench/serve_pare.c tests/bench/serve.c tests/bench/serve_tensors.c
tests_bench_serve_pare_LDADD = libpare_internal.la
tests_bench_serve_memory_SOURCES = tests/bench/serve_memory.c tests/bench/serve.c
tests_bench_serve_memory_LDADD =
tests_bench_serve_ggml_SOURCES = tests/bench/serve_ggml.c tests/bench/serve.c
tests_bench_serve_ggml_LDADD = -ldl
tests_bench_layout_costs_SOURCES = tests/bench/layout_costs.c
tests_bench_layout_costs_LDADD = libpare.la
tests_bench_core_distance_SOURCES = tests/bench/core_distance.c tests/bench/serve.c
tests_bench_core_distance_LDADD =
tests_bench_serve_openblas_SOURCES = tests/bench/serve_openblas.c tests/bench/serve.c
tests_bench_serve_openblas_CPPFLAGS = $(AM_CPPFLAGS) $(OPENBLAS_CFLAGS)
tests_bench_serve_openblas_LDADD = $(OPENBLAS_LIBS)
tests_bench_serve_clblast_SOURCES = tests/bench/serve_clblast.c tests/bench/serve.c
tests_bench_serve_clblast_CPPFLAGS = $(AM_CPPFLAGS) $(CLBLAST_CFLAGS)
tests_bench_serve_clblast_LDADD = $(CLBLAST_LIBS) $(OPENCL_LIBS)
# Its headers declare functions without prototypes.
starpu_warnings = -Wno-strict-prototypes
tests_bench_serve_starpu_SOURCES = tests/bench/serve_starpu.c
tests_bench_serve_starpu_CPPFLAGS = $(AM_CPPFLAGS) $(STARPU_CFLAGS)
tests_bench_serve_starpu_CFLAGS = $(AM_CFLAGS) $(starpu_warnings)
tests_bench_serve_starpu_LDADD = $(STARPU_LIBS)
tests_bench_serve_starpu_shared_SOURCES = tests/bench/serve_starpu_shared.c tests/bench/serve_shared.c tests/bench/serve.c tests/bench/serve_tensors.c
tests_bench_serve_starpu_shared_CPPFLAGS = $(AM_CPPFLAGS) $(STARPU_CFLAGS)
tests_bench_serve_starpu_shared_CFLAGS = $(AM_CFLAGS) $(starpu_warnings)
tests_bench_serve_starpu_shared_LDADD = libpare_internal.la $(STARPU_LIBS)

# std::nth_element, where there is a C++ compiler.
EXTRA_DIST += tests/bench/serve_nth_element.cc
CLEANFILES += tests/bench/serve_nth_element
tests/bench/serve_nth_element: tests/bench/serve_nth_element.cc tests/bench/serve.$(OBJEXT)
	-$(AM_V_GEN)$(BENCH_CXX) -O3 -march=native -I$(srcdir)/tests/bench $(srcdir)/tests/bench/serve_nth_element.cc tests/bench/serve.$(OBJEXT) -o $@ -lpthread
BENCH_CXX = c++

bench: bench-kernels

bench-tools: $(bench_tools) tests/bench/first_result tests/bench/serve_nth_element

bench-kernels: bench-tools
	$(AM_V_at)python3 $(srcdir)/tests/bench/bench.py --programs tests/bench $(BENCH_FLAGS)

bench-compress: bench-compress-kernels bench-compress-models bench-compress-sparse

bench-compress-kernels: bench-tools
	$(AM_V_at)python3 $(srcdir)/tests/bench/bench.py --programs tests/bench threshold prune quantise-q8 quantise-q4 \
	  gemm-int4-int8 gemm-int4 gemm-int8 $(BENCH_FLAGS)

# 2:4 weights beside dense ones of the same type.
bench-compress-sparse: pare
	$(AM_V_at)for family in gemm_nm gemv gemm_blocks; do ./pare bench --kernel $$family || exit 1; done

.PHONY: bench bench-tools bench-kernels bench-compress bench-compress-kernels bench-compress-sparse

EXTRA_DIST += tests/bench/irregular.cl

bench-sched: bench-tools pare
	$(AM_V_at)if test -f tests/fault_layer.la || $(MAKE) tests/fault_layer.la; then \
	  python3 $(srcdir)/tests/bench/sched.py ./pare tests/bench $(BENCH_FLAGS); fi

.PHONY: bench-sched
