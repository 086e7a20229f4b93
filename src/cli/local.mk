# Floor 9: the command. Public headers only.
bin_PROGRAMS += pare
pare_CPPFLAGS = -I$(top_srcdir)/src -I$(top_srcdir)/include $(OPENCL_CFLAGS) $(JANSSON_CFLAGS) \
  -DPARE_BUILD_SUMMARY='"$(PARE_BUILD_SUMMARY)"' -DPARE_BUILD_FLAGS='"$(strip $(CPPFLAGS) $(CFLAGS) $(LDFLAGS))"'
pare_LDADD = libpare.la $(JANSSON_LIBS)
pare_SOURCES = src/cli/cli.h
pare_SOURCES += src/cli/main.c
pare_SOURCES += src/cli/options.c
pare_SOURCES += src/cli/output.c
pare_SOURCES += src/cli/table.c
pare_SOURCES += src/cli/progress.c
pare_SOURCES += src/cli/json.c
pare_SOURCES += src/cli/device.c
pare_SOURCES += src/cli/drawing.c
pare_SOURCES += src/cli/drawing.h
pare_SOURCES += src/cli/feed.c
pare_SOURCES += src/cli/feed.h
pare_SOURCES += src/cli/outputs.c
pare_SOURCES += src/cli/times.c
pare_SOURCES += src/cli/cmd_bench.c
pare_SOURCES += src/cli/cmd_cache.c
pare_SOURCES += src/cli/cmd_devices.c
pare_SOURCES += src/cli/cmd_help.c
pare_SOURCES += src/cli/cmd_inspect.c
pare_SOURCES += src/cli/cmd_run.c
pare_SOURCES += src/cli/cmd_selftest.c
pare_SOURCES += src/cli/cmd_tune.c
pare_SOURCES += src/cli/cmd_verify.c
