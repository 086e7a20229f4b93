# The manual: pages, completions, examples. SPDX-License-Identifier: Apache-2.0
dist_man_MANS =
dist_man_MANS += doc/man/pare.1
dist_man_MANS += doc/man/pare-bench.1
dist_man_MANS += doc/man/pare-cache.1
dist_man_MANS += doc/man/pare-devices.1
dist_man_MANS += doc/man/pare-eval.1
dist_man_MANS += doc/man/pare-inspect.1
dist_man_MANS += doc/man/pare-run.1
dist_man_MANS += doc/man/pare-selftest.1
dist_man_MANS += doc/man/pare-tune.1
dist_man_MANS += doc/man/pare-verify.1
dist_man_MANS += doc/man/pare.3

dist_bashcompletion_DATA = doc/completion/bash/pare
dist_zshcompletion_DATA = doc/completion/zsh/_pare

# Read in the source tree and beside the examples.
dist_doc_DATA = README.md
dist_doc_DATA += doc/index.md
dist_doc_DATA += doc/operators.md
dist_doc_DATA += doc/add-a-kernel.md
dist_doc_DATA += doc/benchmarks.md
dist_doc_DATA += doc/cache.md
dist_doc_DATA += doc/drivers.md
dist_doc_DATA += doc/selectors.md
dist_doc_DATA += doc/floor-0-base.md
dist_doc_DATA += doc/floor-1-ocl.md
dist_doc_DATA += doc/floor-2-kernel.md
dist_doc_DATA += doc/floor-3-tensor.md
dist_doc_DATA += doc/floor-4-format.md
dist_doc_DATA += doc/floor-4-sched.md
dist_doc_DATA += doc/floor-5-op.md
dist_doc_DATA += doc/floor-6-graph.md
dist_doc_DATA += doc/floor-9-cli.md

# Examples: installed, compiled and run by make check; tests/test_install.sh does so against the installed library.
examplesdir = $(docdir)/examples
dist_examples_DATA =
dist_examples_DATA += doc/examples/multiply.c
dist_examples_DATA += doc/examples/normalise.c
dist_examples_DATA += doc/examples/opencl.c
dist_examples_DATA += doc/examples/threads.c
dist_examples_DATA += doc/examples/wrap.c

EXAMPLE_CPPFLAGS = -I$(top_srcdir)/include $(OPENCL_CFLAGS)
EXAMPLES =
EXAMPLES += doc/examples/multiply
doc_examples_multiply_SOURCES = doc/examples/multiply.c
doc_examples_multiply_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
doc_examples_multiply_LDADD = libpare.la
EXAMPLES += doc/examples/normalise
doc_examples_normalise_SOURCES = doc/examples/normalise.c
doc_examples_normalise_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
doc_examples_normalise_LDADD = libpare.la
EXAMPLES += doc/examples/opencl
doc_examples_opencl_SOURCES = doc/examples/opencl.c
doc_examples_opencl_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
doc_examples_opencl_LDADD = libpare.la $(OPENCL_LIBS)
EXAMPLES += doc/examples/threads
doc_examples_threads_SOURCES = doc/examples/threads.c
doc_examples_threads_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
doc_examples_threads_LDADD = libpare.la
EXAMPLES += doc/examples/wrap
doc_examples_wrap_SOURCES = doc/examples/wrap.c
doc_examples_wrap_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
doc_examples_wrap_LDADD = libpare.la
check_PROGRAMS += $(EXAMPLES)
EXTRA_DIST += doc/draw-benchmarks.py
