# Floor 9: the command. Public headers only.
bin_PROGRAMS += pare
pare_CPPFLAGS = -I$(top_srcdir)/include -DPARE_BUILD_SUMMARY='"$(PARE_BUILD_SUMMARY)"' $(JANSSON_CFLAGS)
pare_LDADD = libpare.la $(JANSSON_LIBS)
pare_SOURCES =
pare_SOURCES += src/cli/main.c
