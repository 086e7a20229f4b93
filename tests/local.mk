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
