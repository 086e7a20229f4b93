#!/bin/bash
# pare convert: compact and portable storage, bit for bit both ways, and what mistakes get. SPDX-License-Identifier: Apache-2.0
set -u
srcdir=${srcdir:-.} builddir=${builddir:-.}
pare=$builddir/pare
[ -x "$pare" ] || { echo "there is no $pare"; exit 99; }
folder=$(mktemp -d) || exit 99
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
export LC_ALL=C.UTF-8 XDG_CACHE_HOME=${XDG_CACHE_HOME:-$folder/cache}
unset PARE_LOG PARE_MEMORY PARE_CACHE NO_COLOR
digits=$srcdir/tests/data/digits/digits.onnx

# One driver, if there is the usual one: the answers do not depend on what else is installed.
if [ -z "${OCL_ICD_VENDORS:-}" ] && [ -r /etc/OpenCL/vendors/pocl.icd ]; then
  mkdir "$folder/icd" && cp /etc/OpenCL/vendors/pocl.icd "$folder/icd/"
  export OCL_ICD_VENDORS=$folder/icd
fi
"$pare" devices >/dev/null 2>&1 || { echo "skipped: no device"; exit 77; }

nfailed=0 nchecks=0
fail() { echo "FAIL: $*"; echo "  exit $code"; sed 's/^/  out: /' "$folder/out" | head -20; sed 's/^/  err: /' "$folder/err" | head -20; nfailed=$((nfailed + 1)); }
# run CODE ARGUMENT...: the command exits with CODE.
run() {
  local expected=$1
  shift
  shown="pare $*"
  "$pare" "$@" >"$folder/out" 2>"$folder/err" </dev/null
  code=$?
  nchecks=$((nchecks + 1))
  [ $code -eq "$expected" ] || fail "$shown: expected exit $expected"
}
# says FILE TEXT: the last run wrote it.
says() { nchecks=$((nchecks + 1)); grep -qF -e "$2" "$folder/$1" || fail "$shown: std$1 does not say '$2'"; }
silent() { nchecks=$((nchecks + 1)); [ -s "$folder/$1" ] && fail "$shown: std$1 is not empty"; }
# mistake CODE TEXT ARGUMENT...: nothing but one message, which says TEXT.
mistake() { local expected=$1 text=$2; shift 2; run "$expected" "$@"; silent out; says err "pare: "; says err "$text"; }

same() { nchecks=$((nchecks + 1)); cmp -s "$1" "$2" || fail "$shown: $1 and $2 differ"; }
size() { stat -c %s "$1"; }

# ---- both ways ----

for form in "--prune 2:4" "--prune 2:4 --quantize int8" "--prune 3:8 --quantize f16" "--prune magnitude:0.9"; do
  run 0 compress "$digits" "$folder/portable.onnx" $form --no-verify
  run 0 convert "$folder/portable.onnx" "$folder/compact.onnx" --storage compact
  says out "compact instead of"
  nchecks=$((nchecks + 1))
  [ "$(size "$folder/compact.onnx")" -lt "$(size "$folder/portable.onnx")" ] || fail "$shown: compact is no smaller"
  run 0 convert "$folder/compact.onnx" "$folder/again.onnx" --storage portable
  same "$folder/again.onnx" "$folder/portable.onnx"
  # compact stays compact, portable stays portable, and a file may take its own place
  run 0 convert "$folder/compact.onnx" "$folder/twice.onnx" --storage compact
  same "$folder/twice.onnx" "$folder/compact.onnx"
  run 0 convert "$folder/portable.onnx" "$folder/portable.onnx" --storage compact
  same "$folder/portable.onnx" "$folder/compact.onnx"
  # the same results, from the weights as they are stored
  run 0 diff "$folder/again.onnx" "$folder/compact.onnx" --shape image=3x1x8x8 --cosine 0.99999
  # compress writes it at once
  run 0 compress "$digits" "$folder/at-once.onnx" $form --storage compact
  says out "portable it would be"
  same "$folder/at-once.onnx" "$folder/compact.onnx"
done
# 2:4 with int8 takes five bits a weight, and its scales half a bit at most.
run 0 compress "$digits" --prune 2:4 --quantize int8 --storage compact --dry-run --json
nchecks=$((nchecks + 1))
awk -F'[:,]' '/"treatment"/ { pruned = /2:4/ } /"bits"/ && pruned { n++; if ($2 > 5.5) bad = 1 } END { exit bad || !n }' \
  "$folder/out" || fail "$shown: more than 5.5 bits a weight"
run 0 convert "$digits" "$folder/dense.onnx" --storage compact --json
says out '"tensors": 0'

# ---- mistakes ----

mistake 2 "pare convert IN OUT" convert "$digits" --storage compact
mistake 2 "portable or compact" convert "$digits" "$folder/out.onnx"
mistake 2 "portable or compact" convert "$digits" "$folder/out.onnx" --storage small
mistake 2 "portable or compact" compress "$digits" "$folder/out.onnx" --prune 2:4 --storage small
mistake 3 "no-such.onnx" convert "$folder/no-such.onnx" "$folder/out.onnx" --storage compact
mistake 3 "no-folder" convert "$digits" "$folder/no-folder/out.onnx" --storage compact
printf '\x02\0\0\0\0\0\0\0{}' >"$folder/empty.safetensors"
mistake 3 "safetensors" convert "$folder/empty.safetensors" "$folder/out.onnx" --storage compact
nchecks=$((nchecks + 1)) shown="mistakes" code=0
[ ! -e "$folder/out.onnx" ] || fail "a mistake left a file"

echo "$nchecks checks, $nfailed failed"
[ $nfailed -eq 0 ]
