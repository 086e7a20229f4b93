# Test programs: a block each, appended at the end. They link the library's internals, so that hidden symbols are visible. A test named NAME:
#
#   check_PROGRAMS += tests/test_NAME
#   tests_test_NAME_SOURCES = tests/test_NAME.c
#   tests_test_NAME_LDADD = $(TEST_LDADD)
#   tests_test_NAME_CPPFLAGS = $(TEST_CPPFLAGS)
TEST_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests $(CHECK_CFLAGS)
TEST_LDADD = libpare_internal.la $(CHECK_LIBS)
TESTS += $(check_PROGRAMS)
noinst_HEADERS += tests/without-check/check.h
if !HAVE_CHECK
TEST_CPPFLAGS += -I$(top_srcdir)/tests/without-check
endif

check_PROGRAMS += tests/test_version
tests_test_version_SOURCES = tests/test_version.c
tests_test_version_LDADD = $(TEST_LDADD)
tests_test_version_CPPFLAGS = $(TEST_CPPFLAGS)

# The OpenCL layer that injects faults: a shared object that tests load through OPENCL_LAYERS.
check_LTLIBRARIES = tests/fault_layer.la
tests_fault_layer_la_SOURCES = tests/fault/layer.c tests/fault/objects.c tests/fault/objects.h tests/fault/calls.h tests/fault/fault.h
tests_fault_layer_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath $(abs_builddir)/tests
FAULT_CPPFLAGS = $(TEST_CPPFLAGS) -DFAULT_LAYER_PATH='"$(abs_builddir)/tests/.libs/fault_layer.so"'
EXTRA_DIST += tests/fault/README.md

check_PROGRAMS += tests/test_fault_layer
tests_test_fault_layer_SOURCES = tests/test_fault_layer.c tests/fault/load.c tests/fault/fault.h
tests_test_fault_layer_LDADD = $(TEST_LDADD) $(OPENCL_LIBS)
tests_test_fault_layer_CPPFLAGS = $(FAULT_CPPFLAGS)

check_PROGRAMS += tests/test_kernels tests/test_trust tests/test_tensor
tests_test_kernels_SOURCES = tests/test_kernels.c
tests_test_kernels_LDADD = $(TEST_LDADD)
tests_test_kernels_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_trust_SOURCES = tests/test_trust.c
tests_test_trust_LDADD = $(TEST_LDADD)
tests_test_trust_CPPFLAGS = $(TEST_CPPFLAGS) -DPARE_TEST_FOLDER='"$(abs_srcdir)/tests"'
tests_test_tensor_SOURCES = tests/test_tensor.c
tests_test_tensor_LDADD = $(TEST_LDADD)
tests_test_tensor_CPPFLAGS = $(TEST_CPPFLAGS)
EXTRA_DIST += tests/kernels/doubled.cl

check_PROGRAMS += tests/test_executor
tests_test_executor_SOURCES = tests/test_executor.c
tests_test_executor_LDADD = $(TEST_LDADD) $(OPENCL_LIBS)
tests_test_executor_CPPFLAGS = $(TEST_CPPFLAGS)
# The command as people use it.
TESTS += tests/test_cli.sh
dist_check_SCRIPTS += tests/test_cli.sh
EXTRA_DIST += tests/cli/complete.bash tests/cli/complete.zsh

# The example of doc/add-a-kernel.md, as it stands there.
check_PROGRAMS += tests/test_add_a_kernel
tests_test_add_a_kernel_SOURCES = tests/test_add_a_kernel.c
nodist_tests_test_add_a_kernel_SOURCES = tests/add-a-kernel/family_axpy.c
tests_test_add_a_kernel_LDADD = $(TEST_LDADD)
tests_test_add_a_kernel_CPPFLAGS = $(TEST_CPPFLAGS) \
  -DPARE_TEST_KERNELS='"$(abs_builddir)/tests/add-a-kernel:$(abs_srcdir)/cl"'
EXTRA_DIST += tests/cli/extract.awk
EXTRACT = $(MKDIR_P) tests/add-a-kernel && $(AWK) -f $(srcdir)/tests/cli/extract.awk
tests/add-a-kernel/family_axpy.c: doc/add-a-kernel.md tests/cli/extract.awk tests/add-a-kernel/axpy.cl
	$(AM_V_GEN)$(EXTRACT) -v file=family_axpy.c $(srcdir)/doc/add-a-kernel.md >$@
tests/add-a-kernel/axpy.cl: doc/add-a-kernel.md tests/cli/extract.awk
	$(AM_V_GEN)$(EXTRACT) -v file=axpy.cl $(srcdir)/doc/add-a-kernel.md >$@
CLEANFILES += tests/add-a-kernel/family_axpy.c tests/add-a-kernel/axpy.cl
check_PROGRAMS += tests/test_null_calls
tests_test_null_calls_SOURCES = tests/test_null_calls.c
nodist_tests_test_null_calls_SOURCES = tests/null_calls.h
tests_test_null_calls_LDADD = $(TEST_LDADD)
tests_test_null_calls_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_builddir)/tests
CLEANFILES += tests/null_calls.h
EXTRA_DIST += tests/tools/make-null-calls
# A row for every public function, from the headers.
tests/null_calls.h: $(pareinclude_HEADERS) tests/tools/make-null-calls
	$(AM_V_GEN)$(MKDIR_P) tests && (cd $(srcdir) && tests/tools/make-null-calls $(pareinclude_HEADERS)) > $@.tmp && mv $@.tmp $@
tests/test_null_calls-test_null_calls.$(OBJEXT): tests/null_calls.h

# What make install gives is enough.
TESTS += tests/test_install.sh
dist_check_SCRIPTS += tests/test_install.sh

check_PROGRAMS += tests/test_base
tests_test_base_SOURCES = tests/test_base.c
tests_test_base_LDADD = $(TEST_LDADD)
tests_test_base_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_selector
tests_test_selector_SOURCES = tests/test_selector.c
tests_test_selector_LDADD = $(TEST_LDADD)
tests_test_selector_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_program
tests_test_program_SOURCES = tests/test_program.c
tests_test_program_LDADD = $(TEST_LDADD) $(OPENCL_LIBS)
tests_test_program_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_devices
tests_test_devices_SOURCES = tests/test_devices.c
tests_test_devices_LDADD = $(TEST_LDADD) $(OPENCL_LIBS)
tests_test_devices_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_random
tests_test_random_SOURCES = tests/test_random.c
tests_test_random_LDADD = $(TEST_LDADD) -lm
tests_test_random_CPPFLAGS = $(TEST_CPPFLAGS)
check_PROGRAMS += tests/test_ocl_faults
tests_test_ocl_faults_SOURCES = tests/test_ocl_faults.c tests/fault/load.c tests/fault/fault.h
tests_test_ocl_faults_LDADD = $(TEST_LDADD) $(OPENCL_LIBS)
tests_test_ocl_faults_CPPFLAGS = $(FAULT_CPPFLAGS)
# Faults of drivers and of the operating system, threads: each repeats the work of tests/workload.c.
check_PROGRAMS += tests/test_faults tests/test_environment tests/test_threads
tests_test_faults_SOURCES = tests/test_faults.c tests/workload.c tests/workload.h tests/fault/load.c tests/fault/fault.h
tests_test_faults_LDADD = $(TEST_LDADD) $(OPENCL_LIBS)
tests_test_faults_CPPFLAGS = $(FAULT_CPPFLAGS)
tests_test_environment_SOURCES = tests/test_environment.c tests/workload.c tests/workload.h tests/fault/system.c tests/fault/system.h
tests_test_environment_LDADD = $(TEST_LDADD)
tests_test_environment_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=posix_memalign,--wrap=write
tests_test_environment_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_threads_SOURCES = tests/test_threads.c tests/workload.c tests/workload.h
tests_test_threads_LDADD = $(TEST_LDADD)
tests_test_threads_CPPFLAGS = $(TEST_CPPFLAGS)

# The first result, cold and warm. The program is the benchmark's, too.
check_PROGRAMS += tests/bench/first_result
tests_bench_first_result_SOURCES = tests/bench/first_result.c
tests_bench_first_result_LDADD = libpare_internal.la
dist_check_SCRIPTS += tests/test_first_result.sh
TESTS += tests/test_first_result.sh

check_PROGRAMS += tests/test_elementwise
tests_test_elementwise_SOURCES = tests/test_elementwise.c
tests_test_elementwise_LDADD = $(TEST_LDADD) -lm
tests_test_elementwise_CPPFLAGS = $(TEST_CPPFLAGS)
check_PROGRAMS += tests/test_reduce
tests_test_reduce_SOURCES = tests/test_reduce.c
tests_test_reduce_LDADD = $(TEST_LDADD)
tests_test_reduce_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_normalise
tests_test_normalise_SOURCES = tests/test_normalise.c
tests_test_normalise_LDADD = $(TEST_LDADD)
tests_test_normalise_CPPFLAGS = $(TEST_CPPFLAGS)

# For make check-long: every fault instead of a sample, tensors larger than a buffer.
EXTRA_PROGRAMS += tests/test_large
tests_test_large_SOURCES = tests/test_large.c
tests_test_large_LDADD = $(TEST_LDADD)
tests_test_large_CPPFLAGS = $(TEST_CPPFLAGS)
CLEANFILES += tests/test_large
check-large: tests/test_large
	$(AM_TESTS_ENVIRONMENT) tests/test_large
check-every-fault: tests/test_faults tests/test_environment tests/fault_layer.la
	$(AM_TESTS_ENVIRONMENT) tests/test_faults all && tests/test_environment all
.PHONY: check-large check-every-fault
check_PROGRAMS += tests/test_move
tests_test_move_SOURCES = tests/test_move.c
tests_test_move_LDADD = $(TEST_LDADD)
tests_test_move_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_select
tests_test_select_SOURCES = tests/test_select.c
tests_test_select_LDADD = $(TEST_LDADD)
tests_test_select_CPPFLAGS = $(TEST_CPPFLAGS)
check_PROGRAMS += tests/test_gemm
tests_test_gemm_SOURCES = tests/test_gemm.c
tests_test_gemm_LDADD = $(TEST_LDADD)
tests_test_gemm_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_quantise
tests_test_quantise_SOURCES = tests/test_quantise.c
tests_test_quantise_LDADD = $(TEST_LDADD)
tests_test_quantise_CPPFLAGS = $(TEST_CPPFLAGS)
check_PROGRAMS += tests/test_index
tests_test_index_SOURCES = tests/test_index.c
tests_test_index_LDADD = $(TEST_LDADD)
tests_test_index_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_format_onnx
tests_test_format_onnx_SOURCES = tests/test_format_onnx.c
tests_test_format_onnx_LDADD = $(TEST_LDADD)
tests_test_format_onnx_CPPFLAGS = $(TEST_CPPFLAGS)

# The ONNX reader against the parser that protoc generates.
EXTRA_PROGRAMS += tests/onnx_dump
CLEANFILES += tests/onnx_dump
check_DATA = tests/onnx_dump
tests_onnx_dump_SOURCES = tests/onnx_dump.c
tests_onnx_dump_LDADD = libpare_internal.la
TESTS += tests/test_onnx_oracle.py
dist_check_SCRIPTS += tests/test_onnx_oracle.py
check_PROGRAMS += tests/test_convolve
tests_test_convolve_SOURCES = tests/test_convolve.c
tests_test_convolve_LDADD = $(TEST_LDADD)
tests_test_convolve_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/test_format_npy
tests_test_format_npy_SOURCES = tests/test_format_npy.c
tests_test_format_npy_LDADD = $(TEST_LDADD)
tests_test_format_npy_CPPFLAGS = $(TEST_CPPFLAGS)
TESTS += tests/test_npy_numpy.py
dist_check_SCRIPTS += tests/test_npy_numpy.py
