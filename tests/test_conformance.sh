#!/bin/sh
# The ONNX backend suite of Debian's libonnx-testdata: every case passes but those that a list names with the reason,
# and those do not; planned, at once, and without passes. SPDX-License-Identifier: Apache-2.0
set -eu
program=${builddir:?}/pare
list=${srcdir:?}/tests/conformance/onnx-1.12.tsv
data=/usr/share/libonnx-testdata/data
export LC_ALL=C PARE_DEVICE="${PARE_DEVICE:-cpu}"
if ! [ -d "$data" ]; then
  echo "SKIP: there is no $data: install libonnx-testdata"
  exit 77
fi
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
grep -v '^#' "$list" | cut -f 1 | sort > "$found/listed"
failed=0

# complain TEXT FILE: the names in FILE, if there are any, are a failure.
complain() {
  [ -s "$2" ] || return 0
  echo "test_conformance: $1:"
  while read -r name; do
    grep " $name" "$found/lines" | head -n 1 || echo "$name"
  done < "$2"
  failed=1
}

# suite OPTION...: runs all cases with these options of pare verify.
suite() {
  status=0
  "$program" verify "$@" "$data" > "$found/lines" || status=$?
  if [ $status -gt 1 ]; then
    echo "test_conformance: pare verify $* ended with status $status"
    exit 1
  fi
  echo "pare verify $*: $(tail -n 1 "$found/lines")"
  awk '$1 == "pass" { print $2 }' "$found/lines" | sort > "$found/passed"
  awk '$1 == "fail" || $1 == "unsupported" || $1 == "error" { sub(/:$/, "", $2); print $2 }' "$found/lines" | sort \
    > "$found/others"
  sort "$found/passed" "$found/others" > "$found/all"
  comm -13 "$found/listed" "$found/others" > "$found/broken"
  comm -12 "$found/listed" "$found/passed" > "$found/mended"
  comm -23 "$found/listed" "$found/all" > "$found/unknown"
  complain "these do not pass" "$found/broken"
  complain "these pass, though $list names them" "$found/mended"
  complain "$list names these, and the suite lacks them" "$found/unknown"
  if [ "$(wc -l < "$found/all")" -lt 1000 ]; then
    echo "test_conformance: the suite has only $(wc -l < "$found/all") cases"
    failed=1
  fi
}

suite
# In a small run once is enough, but where memory is looked at: these take other ways through the engine.
if [ -z "${PARE_TEST_SMALL:-}" ] || "$program" --version | grep -q 'sanitizers: .*address'; then
  suite --at-once
  suite --without=all
fi
exit $failed
