# Fuzzers: `make fuzz FUZZ_SECONDS=N` runs each for N seconds with libFuzzer; `make check` replays their committed inputs.
FUZZERS_ALL = \
  tests/fuzz/fuzz_bytes \
  tests/fuzz/fuzz_calibration \
  tests/fuzz/fuzz_checkpoint \
  tests/fuzz/fuzz_convert \
  tests/fuzz/fuzz_database \
  tests/fuzz/fuzz_diff \
  tests/fuzz/fuzz_machine \
  tests/fuzz/fuzz_model \
  tests/fuzz/fuzz_npy \
  tests/fuzz/fuzz_npz \
  tests/fuzz/fuzz_onnx \
  tests/fuzz/fuzz_performance \
  tests/fuzz/fuzz_quantised \
  tests/fuzz/fuzz_recipe \
  tests/fuzz/fuzz_safetensors \
  tests/fuzz/fuzz_selector \
  tests/fuzz/fuzz_shape \
  tests/fuzz/fuzz_source \
  tests/fuzz/fuzz_trace \
  tests/fuzz/fuzz_workload
FUZZ_SECONDS = 60
noinst_HEADERS += tests/fuzz/fuzz.h
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/replay.c

check_LTLIBRARIES += tests/fuzz/libfuzz.la
tests_fuzz_libfuzz_la_SOURCES = tests/fuzz/common.c
if FUZZERS
EXTRA_PROGRAMS += $(FUZZERS_ALL)
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
else
check_PROGRAMS += $(FUZZERS_ALL)
tests_fuzz_libfuzz_la_SOURCES += tests/fuzz/replay.c
fuzz_ldflags = $(AM_LDFLAGS)
endif
fuzz_ldadd = tests/fuzz/libfuzz.la libpare_internal.la $(JANSSON_LIBS)

tests_fuzz_fuzz_bytes_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_bytes_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_database_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_database_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_model_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_model_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_npy_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_npy_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_npz_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_npz_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_onnx_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_onnx_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_safetensors_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_safetensors_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_quantised_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_quantised_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_recipe_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_recipe_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_selector_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_selector_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_shape_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_shape_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_source_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_source_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_machine_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_machine_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_workload_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_workload_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_calibration_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_calibration_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_checkpoint_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_checkpoint_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_convert_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_convert_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_diff_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_diff_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_performance_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_performance_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_trace_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_trace_LDFLAGS = $(fuzz_ldflags)
# The command's reader of traces, with what it needs.
tests_fuzz_fuzz_trace_SOURCES = tests/fuzz/fuzz_trace.c src/cli/cmd_trace.c src/cli/replay.c src/cli/gantt.c \
  src/cli/file.c
