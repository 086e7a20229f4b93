# The child process of self-tests; it needs the library's internals.
pkglibexec_PROGRAMS = pare-trial
pare_trial_SOURCES = src/trial/main.c
pare_trial_LDADD = libpare_internal.la
