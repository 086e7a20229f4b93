#!/bin/sh
# Makes configure and its helpers from configure.ac. SPDX-License-Identifier: Apache-2.0
set -e
cd "$(dirname "$0")"
command -v autoreconf >/dev/null || {
  echo "autogen.sh: autoreconf is missing; on Debian: apt-get install autoconf automake libtool pkg-config" >&2
  exit 1
}
mkdir -p build-aux
exec autoreconf --install
