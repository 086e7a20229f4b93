#!/bin/bash
# pare compress as people use it: short forms, recipes, reports, and what mistakes get. SPDX-License-Identifier: Apache-2.0
set -u
srcdir=${srcdir:-.} builddir=${builddir:-.}
pare=$builddir/pare
[ -x "$pare" ] || { echo "there is no $pare"; exit 99; }
folder=$(mktemp -d) || exit 99
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
export LC_ALL=C.UTF-8 XDG_CACHE_HOME=${XDG_CACHE_HOME:-$folder/cache}
unset PARE_LOG PARE_MEMORY PARE_CACHE NO_COLOR
digits=$srcdir/tests/data/digits/digits.onnx data=$srcdir/tests/data/digits/digits_test.npz

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
json() { nchecks=$((nchecks + 1)); "$python" -m json.tool "$1" >/dev/null 2>&1 || fail "$shown: $1 is not JSON"; }
python=$(command -v python3) || json() { :; }
# mistake CODE TEXT ARGUMENT...: nothing but one message, which says TEXT.
mistake() { local expected=$1 text=$2; shift 2; run "$expected" "$@"; silent out; says err "pare: "; says err "$text"; }

# ---- short forms ----

correct() { "$pare" eval "$1" --data "$data" --json | grep -o '"accuracy": [0-9.]*' | grep -o '[0-9.]*$'; }
# loses POINTS MODEL: no more accuracy than that.
loses() {
  nchecks=$((nchecks + 1)) shown="pare eval $2" code=0
  awk -v before="$(correct "$digits")" -v after="$(correct "$2")" -v most="$1" 'BEGIN { exit !(100 * (before - after) <= most) }' ||
    fail "$shown: the accuracy falls from $(correct "$digits") to $(correct "$2")"
}
for form in int8 int4 w8a8 f16; do
  run 0 compress "$digits" "$folder/$form.onnx" --quantize $form
  says out "verified"
  loses 0.3 "$folder/$form.onnx"
done
run 0 compress "$digits" "$folder/sparse.onnx" --quantize int8 --prune 2:4 --report "$folder/report.json"
says out "no multiple of M"
says out "small, so it stays dense"
loses 0.6 "$folder/sparse.onnx"
json "$folder/report.json"
run 0 compress "$digits" "$folder/sparse.onnx" --quantize int8 --prune 2:4 --report "$folder/report.html"
nchecks=$((nchecks + 1))
shown="the page's tensors" # those that something is done to come first, biases when one opens them
awk '/<details><summary class=dim>4 other tensors stay/ { opened = 1 } /<td>output.weight/ { layers = !opened } /<td>output.bias/ { others = opened }
  END { exit !(layers && others) }' "$folder/report.html" || fail "$shown: in another order"
nchecks=$((nchecks + 1))
grep -q 'conv2.weight' "$folder/report.html" && grep -q 'times smaller' "$folder/report.html" || fail "$shown: no page"
run 0 diff "$digits" "$folder/sparse.onnx" -i "$data" --cosine 0.8
says out "int8 codes"
run 1 diff "$digits" "$folder/sparse.onnx" -i "$data" --cosine 0.9999
run 0 diff "$folder/int4.onnx" "$digits"
says out "hidden.weight"
run 0 diff "$folder/int8.onnx" "$folder/int8.onnx" --rows 1
says out " more, no worse (--rows 0 shows all)"
run 0 diff "$folder/int8.onnx" "$folder/int4.onnx" --rows 1 # codes of other forms
says out "that could not be compared (--rows 0 shows all)"

# ---- safetensors ----

tensors=$srcdir/tests/fuzz/corpus/safetensors/two.safetensors
for form in int8 int4 w8a8 f16; do
  run 0 compress "$tensors" "$folder/$form.safetensors" --quantize $form
  run 0 diff "$tensors" "$folder/$form.safetensors"
done
run 0 inspect "$folder/int4.safetensors" --json
says out "pare.recipe"

# As compressed-tensors reads it: codes without gaps, the zero point of a tensor not packed, whole groups.
floats=$srcdir/tests/data/quantised/expected.safetensors foreign=$srcdir/tests/data/quantised/model.safetensors
printf '%s\n' 'pare: 1' 'modifiers:' '- quantize: {num_bits: 3, strategy: channel, symmetric: false, targets: "*.q.weight"}' \
  '- quantize: {num_bits: 4, strategy: tensor, symmetric: false, targets: "*.one.weight"}' \
  '- quantize: {num_bits: 4, strategy: group, group_size: 32, targets: "*.o.weight"}' >"$folder/few.yaml"
run 0 compress "$floats" "$folder/few.safetensors" --recipe "$folder/few.yaml"
says out "whole groups only"
run 0 inspect "$folder/few.safetensors" --show tensors
nchecks=$((nchecks + 2))
grep -qE 'q\.weight_packed +I32 +\[6, 6\]' "$folder/out" || fail "$shown: codes of 3 bits have gaps"
grep -qE 'one\.weight_zero_point +I8 +\[1\]' "$folder/out" || fail "$shown: the zero point of a tensor is packed"
run 0 diff "$floats" "$folder/few.safetensors"
says out "3 bits"

# What others quantised stays, and no more is quantised beside it.
mistake 4 "'layer.eight.weight_packed' is quantised already" compress "$foreign" "$folder/again.safetensors" --quantize int8
run 0 compress "$foreign" "$folder/again.safetensors" --quantize f16
says out "quantised already"
run 0 diff "$floats" "$foreign"
says out "4 bits in groups of 16"
says out "float-quantized"
run 0 compress "$digits" "$folder/calibrated.onnx" --quantize int8 --prune 2:4 --calibrate "$data"
loses 0.6 "$folder/calibrated.onnx"
for form in magnitude:0.3 random:0.05 threshold:0.01 1:2; do
  run 0 compress "$digits" "$folder/pruned.onnx" --prune $form --ignore '@head' --ignore 'conv1.*'
done
run 0 compress "$digits" "$folder/both.json.onnx" --quantize int8 --json
json "$folder/out"
says out '"verified": true'
cmp -s "$folder/both.json.onnx" "$folder/int8.onnx" || fail "two runs give two files"

# What cannot be written is told before the work, under the name that was given.
run 3 compress "$digits" "$folder/nowhere/small.onnx" --quantize int8
says err "writing $folder/nowhere/small.onnx: its folder $folder/nowhere/: No such file"
run 3 compress "$digits" "$folder" --quantize int8
says err "it is a folder"
run 3 convert "$digits" "$folder/nowhere/small.onnx" --storage compact
says err "its folder"
run 2 compress "$tensors" "$folder/tensors.onnx" --quantize int8
says err "is a file of safetensors"
run 2 compress "$digits" "$folder/digits.safetensors" --quantize int8
says err "is a file of onnx"
[ ! -e "$folder/tensors.onnx" ] && [ ! -e "$folder/digits.safetensors" ] || fail "a file under a wrong name"

# Over itself.
cp "$digits" "$folder/self.onnx"
run 0 compress "$folder/self.onnx" "$folder/self.onnx" --quantize int8
cmp -s "$folder/self.onnx" "$folder/int8.onnx" || fail "$shown: another file than elsewhere"

# ---- dry runs need no device and write nothing ----

OCL_ICD_VENDORS=$folder run 0 compress "$digits" --quantize int4 --dry-run
says out "groups of 32"
says out "would become"
OCL_ICD_VENDORS=$folder run 0 compress "$digits" --quantize int8 --prune 2:4 --dry-run --json
portable=$(grep -o '"weight_bytes_after": [0-9]*' "$folder/out")
OCL_ICD_VENDORS=$folder run 0 compress "$digits" --quantize int8 --prune 2:4 --dry-run --storage compact --json
compact=$(grep -o '"weight_bytes_after": [0-9]*' "$folder/out")
nchecks=$((nchecks + 1))
[ "${compact##* }" -lt "${portable##* }" ] || fail "$shown: $compact, and portable $portable"
OCL_ICD_VENDORS=$folder run 0 compress "$digits" --quantize int4 --dry-run --json
json "$folder/out"

# ---- one tensor at a time ----

files=$(ls -A "$folder" | wc -l)
TMPDIR=$folder run 0 compress "$digits" --quantize int4 --sensitivity --json
json "$folder/out"
nchecks=$((nchecks + 1))
[ "$(grep -c '"sensitivity"' "$folder/out")" -eq 4 ] || fail "$shown: not every layer was tried"
[ "$(ls -A "$folder" | wc -l)" -eq "$files" ] || fail "$shown: files were left behind"
run 0 compress "$digits" "$folder/tried.onnx" --quantize int8 --sensitivity --report "$folder/tried.html"
says out "worst first"
grep -q 'Sensitivity, worst first' "$folder/tried.html" || fail "$shown: it is not on the page"
cmp -s "$folder/tried.onnx" "$folder/int8.onnx" || fail "$shown: another file than without"
run 0 compress "$digits" "$folder/fast.onnx" --quantize w8a8 --optimize speed
loses 0.3 "$folder/fast.onnx"
mistake 2 "neither size nor speed" compress "$digits" "$folder/x.onnx" --quantize int8 --optimize all
mistake 2 "has no graph" compress "$tensors" --quantize int8 --sensitivity

# ---- recipes ----

run 0 compress "$digits" "$folder/recipe.onnx" --recipe "$srcdir/doc/examples/digits.yaml"
says out "2:4"
loses 1.4 "$folder/recipe.onnx"
printf 'pare: 1\nmodifiers:\n- prune:\n    spasity: 0.5\n' >"$folder/bad.yaml"
mistake 3 "bad.yaml:4:5: prune has no field 'spasity'" compress "$digits" "$folder/out.onnx" --recipe "$folder/bad.yaml"
printf 'pare: 1\nmodifiers:\n- quantize:\n    scheme: W8A16\n    targets:\n    - Linear\n    - encoder.*\n' >"$folder/bad.yaml"
mistake 3 "bad.yaml:7:7: the target 'encoder.*' fits no Linear" compress "$digits" "$folder/out.onnx" --recipe "$folder/bad.yaml"
printf 'pare: 1\nmodifiers:\n- quantize: {scheme: W8A16, ignore: lm_head}\n' >"$folder/bad.yaml"
mistake 3 "bad.yaml:3:37: what is ignored, 'lm_head' fits no Linear" compress "$digits" "$folder/out.onnx" --recipe "$folder/bad.yaml"
printf 'pare: 1\n' >"$folder/bad.yaml"
mistake 3 "bad.yaml:1:1: the recipe has no modifiers" compress "$digits" "$folder/out.onnx" --recipe "$folder/bad.yaml"
# Without calibration data, or a graph to run on it, a dry run tells as well.
printf 'pare: 1\nmodifiers:\n- gptq: {scheme: W8A16}\n' >"$folder/bad.yaml"
mistake 3 "bad.yaml:3:3: gptq needs calibration data" compress "$digits" --dry-run --recipe "$folder/bad.yaml"
printf 'pare: 1\nmodifiers:\n- smoothquant: {}\n- quantize: {scheme: W8A8}\n' >"$folder/bad.yaml"
mistake 3 "bad.yaml:3:3: smoothquant needs calibration data" compress "$digits" --dry-run --recipe "$folder/bad.yaml"
printf 'pare: 1\nmodifiers:\n- quantize: {scheme: W8A8, dynamic: false}\n' >"$folder/bad.yaml"
mistake 3 "bad.yaml:3:3: dynamic: false, as for 'conv1.weight', needs" compress "$digits" --dry-run --recipe "$folder/bad.yaml"
mistake 2 "has no graph to run" compress "$tensors" "$folder/out.safetensors" --quantize int4 --calibrate "$data"
mistake 3 "no-such.yaml" compress "$digits" "$folder/out.onnx" --recipe "$folder/no-such.yaml"
# What a file was made by is in the file, and makes the same again.
if [ -n "$python" ]; then
  "$pare" inspect "$folder/sparse.onnx" --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["metadata"]["pare.recipe"])' >"$folder/again.json"
  run 0 compress "$digits" "$folder/again.onnx" --recipe "$folder/again.json"
  cmp -s "$folder/again.onnx" "$folder/sparse.onnx" || fail "$shown: another file than its recipe was taken from"
fi

# ---- mistakes ----

mistake 2 "pare compress IN OUT" compress
mistake 2 "say where to write" compress "$digits" --quantize int8
mistake 2 "say what to do" compress "$digits" "$folder/out.onnx"
mistake 2 "int8, int4, w8a8, f16" compress "$digits" "$folder/out.onnx" --quantize int5
mistake 2 "N:M (2:4)" compress "$digits" "$folder/out.onnx" --prune 4:2
mistake 2 "fits no Linear" compress "$digits" "$folder/out.onnx" --quantize int8 --ignore 'encoder.*'
mistake 2 "--recipe says everything" compress "$digits" "$folder/out.onnx" --quantize int8 --recipe x
mistake 3 "no-such.onnx" compress "$folder/no-such.onnx" "$folder/out.onnx" --quantize int8
mistake 3 "README.md" compress "$srcdir/tests/data/digits/README.md" "$folder/out.onnx" --quantize int8
mistake 3 "no-folder" compress "$digits" "$folder/no-folder/out.onnx" --quantize int8
mistake 4 "no-such-device" compress "$digits" "$folder/out.onnx" --quantize int8 -d no-such-device
nchecks=$((nchecks + 1)) shown="mistakes" code=0
[ ! -e "$folder/out.onnx" ] || fail "a mistake left a file"

# A folder that cannot be written to, and a path that cannot be: the old file stays whole. Root may write anywhere.
mkdir "$folder/closed" && cp "$digits" "$folder/closed/model.onnx" && chmod a-w "$folder/closed"
if [ "$(id -u)" -ne 0 ]; then
  mistake 3 "closed/" compress "$digits" "$folder/closed/model.onnx" --quantize int8
else
  echo "the folder that cannot be written to is left out: root may write to it"
fi
cmp -s "$folder/closed/model.onnx" "$digits" || fail "$shown: the old file is gone"
mistake 3 "/dev/null/" compress "$digits" /dev/null/model.onnx --quantize int8 # what is no folder
# Whom nothing but kill -9 stops leaves files behind: the next one who writes there removes them.
touch "$folder/.int8.onnx.999999999-0" "$folder/.int8.onnx.999999999-0.999999999-1.tmp"
run 0 compress "$digits" "$folder/int8.onnx" --quantize int8
nchecks=$((nchecks + 1))
[ -z "$(ls -A "$folder" | grep -F 999999999)" ] || fail "$shown: what a killed process left is still there"

# Killed at any moment: the old file or the new one, whole.
for delay in 0.02 0.05 0.1 0.15 0.2 0.3; do
  cp "$digits" "$folder/killed.onnx"
  "$pare" compress "$folder/killed.onnx" "$folder/killed.onnx" --quantize int8 >/dev/null 2>&1 &
  sleep $delay
  kill -9 $! 2>/dev/null
  wait $! 2>/dev/null
  nchecks=$((nchecks + 1)) shown="killed after $delay s" code=0
  cmp -s "$folder/killed.onnx" "$digits" || cmp -s "$folder/killed.onnx" "$folder/int8.onnx" || fail "$shown: half a file"
done
run 0 compress "$folder/killed.onnx" "$folder/killed.onnx" --quantize int8
nchecks=$((nchecks + 1))
[ -z "$(ls -A "$folder" | grep -F .killed.onnx.)" ] || fail "$shown: what was killed left files"

# An input that gets shorter while it is read: an error, and the old output stays. Its zeros take no space on the disk.
head='{"layer.weight":{"dtype":"F32","shape":[65536,4096],"data_offsets":[0,1073741824]}}     '
printf '\x58\0\0\0\0\0\0\0%s' "$head" >"$folder/short.safetensors"
truncate -s $((96 + 1073741824)) "$folder/short.safetensors"
echo old >"$folder/kept.safetensors"
"$pare" compress "$folder/short.safetensors" "$folder/kept.safetensors" --quantize int8 >"$folder/out" 2>"$folder/err" &
child=$!
until ls -A "$folder" | grep -qF .kept.safetensors. || ! kill -0 $child 2>/dev/null; do sleep 0.02; done
truncate -s 4096 "$folder/short.safetensors"
wait $child
code=$? shown="an input that gets shorter" nchecks=$((nchecks + 2))
[ $code -eq 3 ] || fail "$shown: expected exit 3"
[ "$(cat "$folder/kept.safetensors")" = old ] || fail "$shown: the old output is gone"
says err "got shorter"

# What is no regular file is no place for a model; a report goes into it.
mkfifo "$folder/pipe"
mistake 3 "no regular file" compress "$digits" "$folder/pipe" --quantize int8
mistake 3 "no regular file" convert "$digits" "$folder/pipe" --storage compact
cat "$folder/pipe" >"$folder/report.json" &
run 0 compress "$digits" "$folder/again.onnx" --quantize int8 --no-verify --report "$folder/pipe"
wait $!
json "$folder/report.json"
[ -p "$folder/pipe" ] || fail "$shown: the pipe is gone"

echo "$nchecks checks, $nfailed failed"
[ $nfailed -eq 0 ]
