#!/bin/sh
# The first result in a fresh home folder and the next one: equal, and the second builds nothing. SPDX-License-Identifier: Apache-2.0
set -eu
program=${builddir:?}/tests/bench/first_result
layer=$builddir/tests/.libs/fault_layer.so
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
unset XDG_CACHE_HOME PARE_CACHE POCL_CACHE_DIR PARE_BINARIES
export HOME="$home" PARE_DEVICE="${PARE_DEVICE:-cpu}" OPENCL_LAYERS="$layer"

# run LOG: one result, every OpenCL call of it in LOG.
run() {
  PARE_FAULT_LOG=$1 "$program"
}

fail() {
  echo "test_first_result: $1" >&2
  exit 1
}

first=$(run "$home/first.log")
[ -s "$home/first.log" ] || fail "the fault layer $layer is not in the chain"
second=$(run "$home/second.log")
[ "$first" = "$second" ] || fail "the first result is $first, the second $second"
grep -q clCreateProgramWithSource "$home/first.log" || fail "the first run built nothing: its cache was not fresh"
if grep -q clCreateProgramWithSource "$home/second.log"; then
  fail "the second run built from source again: $(grep -c clCreateProgramWithSource "$home/second.log") programs"
fi

# A corrupt cache changes nothing but the time.
find "$home/.cache/pare" -type f | while read -r file; do
  printf 'x' | dd of="$file" bs=1 seek=40 conv=notrunc 2>/dev/null
done
third=$(run "$home/third.log")
[ "$first" = "$third" ] || fail "with a corrupt cache the result is $third instead of $first"

# Many processes at once in one fresh folder.
rm -rf "$home/.cache"
for i in 1 2 3 4; do
  "$program" > "$home/result.$i" &
done
wait
for i in 1 2 3 4; do
  [ "$(cat "$home/result.$i")" = "$first" ] || fail "process $i of four found $(cat "$home/result.$i")"
done
