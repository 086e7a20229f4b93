#!/bin/bash
# What `make install` gives is enough: the examples of the manual compile and run against it. SPDX-License-Identifier: Apache-2.0
set -u
srcdir=${srcdir:-.} builddir=${builddir:-.}
command -v pkg-config >/dev/null || { echo "skipped: no pkg-config"; exit 77; }
case $("$builddir/pare" --version) in *"sanitizers: no"*) ;; *) echo "skipped: built with sanitizers"; exit 77 ;; esac
folder=$(mktemp -d) || exit 99
trap 'rm -rf "$folder"' EXIT

"${MAKE:-make}" -C "$builddir" -s install DESTDIR="$folder/root" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
find_one() { find "$folder/root" -path "$1" -print -quit; }
pc=$(find_one '*/pkgconfig/pare.pc')
library=$(find_one '*/libpare.so')
kernels=$(find_one '*/share/pare/cl')
for found in "$pc" "$library" "$kernels" "$(find_one '*/man1/pare.1')" "$(find_one '*/bash-completion/completions/pare')" \
  "$(find_one '*/_pare')" "$(find_one '*/examples/opencl.c')" "$(find_one '*/include/pare/opencl.h')" \
  "$(find_one '*/libexec/pare/pare-trial')"; do
  [ -n "$found" ] || { echo "something is not installed:"; (cd "$folder/root" && find . -type f); exit 1; }
done
export PKG_CONFIG_PATH=${pc%/*}${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH} PKG_CONFIG_SYSROOT_DIR=$folder/root
export LD_LIBRARY_PATH=${library%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PARE_KERNEL_PATH=$kernels
read -ra flags < <(pkg-config --cflags --libs pare)
[ ${#flags[@]} -gt 0 ] || { echo "pkg-config knows no flags of pare"; exit 1; }

# A driver that starts at all; what it can do is for other tests.
"$(find_one '*/bin/pare')" devices >/dev/null || { echo "skipped: no device"; exit 77; }

# README.md's program, as it stands there.
{ echo '#include <stdio.h>'
  sed -n '/^<!-- make check compiles and runs this -->$/,/^```$/p' "${srcdir:-.}/README.md" | grep -E '^#include'
  echo 'static float a_data[64 * 300], b_data[300 * 50], c_data[64 * 50];'
  echo 'int main(void) { for (int i = 0; i < 64 * 300; i++) a_data[i] = 1; for (int i = 0; i < 300 * 50; i++) b_data[i] = 2;'
  sed -n '/^<!-- make check compiles and runs this -->$/,/^```$/p' "${srcdir:-.}/README.md" | grep -vE '^(<!--|```|#include)'
  echo 'pare_context_close(context); if (c_data[64 * 50 - 1] == 600) return 0; puts(pare_message()); return 1; }'
} >"$folder/readme.c"

status=0
for source in "$folder/readme.c" "$(dirname "$(find_one '*/examples/opencl.c')")"/*.c; do
  name=$(basename "$source" .c)
  if ! ${CC:-cc} -std=c11 -Wall -Wextra -Werror "$source" -DFOLDER="\"$(dirname "$source")\"" "${flags[@]}" -pthread -lOpenCL -lm -o "$folder/$name"; then
    echo "FAIL: $name.c does not compile against the installed library"
    status=1
  elif ! "$folder/$name"; then
    echo "FAIL: $name"
    status=1
  fi
done

# What pkg-config names is enough for the static library, too, if there is one and what it needs is installed.
archive=$(find_one '*/libpare.a')
read -ra needed < <(sed -n 's/^Requires.private: *//p' "$pc")
read -ra needed < <(pkg-config --static --libs "${needed[@]}")
if [ -n "$archive" ] && echo 'int main(void) { return 0; }' >"$folder/nothing.c" &&
  ${CC:-cc} "$folder/nothing.c" "${needed[@]}" -o "$folder/nothing" 2>"$folder/log"; then
  mkdir "$folder/static" && cp "$archive" "$folder/static"
  read -ra flags_static < <(pkg-config --static --cflags --libs pare)
  if ! ${CC:-cc} -std=c11 "$folder/readme.c" -L"$folder/static" "${flags_static[@]}" -o "$folder/readme-static"; then
    echo "FAIL: pkg-config --static names too little to link libpare.a"
    status=1
  elif ldd "$folder/readme-static" | grep libpare || ! "$folder/readme-static"; then
    echo "FAIL: README.md's program, linked with libpare.a"
    status=1
  fi
fi

# The installed header is C++ as well.
if command -v c++ >/dev/null; then
  echo '#include <pare.h>' >"$folder/header.cc"
  c++ -Wall -Wextra -Werror -c "$folder/header.cc" "${flags[@]}" -o "$folder/header.o" || status=1
fi
exit $status
