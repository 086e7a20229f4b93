dnl Macros of pare's configure.ac. SPDX-License-Identifier: Apache-2.0

dnl PARE_COMPILER_FLAGS(VARIABLE, FLAGS): substitutes VARIABLE with those of FLAGS that the compiler takes without a warning.
AC_DEFUN([PARE_COMPILER_FLAGS], [
  $1=
  pare_saved_cflags=$CFLAGS
  for pare_flag in m4_normalize([$2]); do
    AC_MSG_CHECKING([whether $CC takes $pare_flag])
    CFLAGS="$pare_saved_cflags -Werror $pare_flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes]); $1="$$1 $pare_flag"], [AC_MSG_RESULT([no])])
  done
  CFLAGS=$pare_saved_cflags
  AC_SUBST([$1])
])

dnl PARE_REQUIRE_FLAGS(FLAGS, MESSAGE): stops with MESSAGE unless a program links with FLAGS.
AC_DEFUN([PARE_REQUIRE_FLAGS], [
  pare_saved_cflags=$CFLAGS
  CFLAGS="$CFLAGS $1"
  AC_MSG_CHECKING([whether $CC links with $1])
  AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])], [AC_MSG_RESULT([no]); AC_MSG_ERROR([$2])])
  CFLAGS=$pare_saved_cflags
])

dnl PARE_WITH_PACKAGE(NAME, PREFIX, MODULES, WHAT FOR, DEBIAN PACKAGE): --with-NAME, used by default if pkg-config finds MODULES.
dnl Sets with_NAME to yes or no, and the conditional HAVE_PREFIX.
AC_DEFUN([PARE_WITH_PACKAGE], [
  AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1], [$4; default: if found])],, [with_$1=auto])
  AS_IF([test "$with_$1" != no], [
    PKG_CHECK_MODULES([$2], [$3], [with_$1=yes], [
      AS_IF([test "$with_$1" = yes], [AC_MSG_ERROR([--with-$1: pkg-config finds no $3; on Debian: apt-get install $5])])
      with_$1=no])
  ])
  AM_CONDITIONAL([HAVE_$2], [test "$with_$1" = yes])
])
