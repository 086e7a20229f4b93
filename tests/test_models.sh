#!/bin/bash
# Commands for models as people use them: run, inspect, eval, bench, and what mistakes get. SPDX-License-Identifier: Apache-2.0
set -u
srcdir=${srcdir:-.} builddir=${builddir:-.}
pare=$builddir/pare
[ -x "$pare" ] || { echo "there is no $pare"; exit 99; }
folder=$(mktemp -d) || exit 99
trap 'rm -rf "$folder"' EXIT
export LC_ALL=C.UTF-8 XDG_CACHE_HOME=${XDG_CACHE_HOME:-$folder/cache}
unset PARE_DEVICE PARE_LOG PARE_MEMORY PARE_CACHE NO_COLOR
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
json() { nchecks=$((nchecks + 1)); "$python" -m json.tool "$folder/out" >/dev/null 2>&1 || fail "$shown: not JSON"; }
python=$(command -v python3) || json() { :; }
# mistake CODE TEXT ARGUMENT...: nothing but one message, which says TEXT.
mistake() { local expected=$1 text=$2; shift 2; run "$expected" "$@"; silent out; says err "pare: "; says err "$text"; }
# npy FILE DESCR SHAPE NBYTES: an array of zeros.
npy() {
  local head
  printf -v head "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" "$2" "$3"
  printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$head" >"$1"
  head -c "$4" /dev/zero >>"$1"
}

# ---- inspect ----

run 0 inspect "$digits"
silent err
says out "ai.onnx 17"
says out "38282 parameters"
says out "image: f32[batch, 1, 8, 8]"
for show in summary nodes tensors support memory graph; do
  run 0 inspect "$digits" --show $show
  [ -s "$folder/out" ] || fail "$shown: nothing"
  run 0 inspect "$digits" --show $show --json
  json
done
run 0 inspect "$digits" --show nodes
says out "kernel_shape=[2, 2] strides=[2, 2]"
run 0 inspect "$digits" --show graph
says out "digraph"
OCL_ICD_VENDORS=$folder run 0 inspect "$digits" --show support # without a device
says out "MaxPool"
run 0 inspect --show support
says out "Conv "
run 0 inspect --show support --json
json
run 0 inspect "$digits" --histogram
says out "deviation"
run 0 inspect "$digits" --show tensors --histogram --json
json
tensors=$srcdir/tests/fuzz/corpus/safetensors/two.safetensors
run 0 inspect "$tensors"
says out "2 tensors, 4 parameters"
run 0 inspect "$tensors" --histogram
says out "I8"
foreign=$srcdir/tests/data/quantised
run 0 inspect "$foreign/model.safetensors" --show tensors
says out "4 bits in groups of 16: layer.q.weight [6, 64]"
says out "float-quantized"
# The values are those that the codes stand for.
spread() { "$pare" inspect "$1" --histogram --json | grep -A200 -F "\"$2\"" | grep -A4 -m1 '"minimum"'; }
for layer in q v o one up; do
  codes=layer.$layer.weight_packed
  [ $layer != up ] || codes=layer.up.weight
  nchecks=$((nchecks + 1)) shown="pare inspect --histogram: $layer" code=0
  [ -n "$(spread "$foreign/expected.safetensors" "layer.$layer.weight")" ] &&
    [ "$(spread "$foreign/model.safetensors" "$codes")" = "$(spread "$foreign/expected.safetensors" "layer.$layer.weight")" ] ||
    fail "$shown: other values than those dequantised"
done
cp "$foreign/model.safetensors" "$folder/" && echo '{"quantization_config": {"config_groups": 3}}' >"$folder/config.json"
mistake 3 "config.json: quantization_config.config_groups is 3" inspect "$folder/model.safetensors"
mistake 3 "no graph" inspect "$tensors" --show graph
mistake 3 "overlap" inspect "${tensors%two*}overlap.safetensors"
peak() { "$pare" inspect "$digits" --show memory --json --shape "batch=$1" | grep -o '"peak_bytes": [0-9]*' | grep -o '[0-9]*'; }
nchecks=$((nchecks + 1)) shown="pare inspect --show memory" code=0
[ "$(peak 64)" -gt "$(peak 1)" ] || fail "$shown: 64 images take no more memory than one"
if command -v dot >/dev/null; then
  run 0 inspect "$digits" --svg "$folder/digits.svg"
  grep -q '<svg' "$folder/digits.svg" || fail "$shown: no picture"
else
  mistake 3 "Graphviz" inspect "$digits" --svg "$folder/digits.svg"
fi

# ---- diff ----

run 0 diff "$digits" "$digits"
silent err
says out "hidden.weight"
says out "equal"
run 0 diff "$digits" "$digits" -i "$data" --layers --cosine 0.9999
says out "logits"
run 0 diff "$digits" "$digits" --layers --rows 1 --json
json
run 0 diff "$tensors" "$tensors"
says out "equal"
mistake 3 "no graph to run" diff "$tensors" "$tensors" --layers
mistake 2 "pare diff FIRST SECOND" diff "$digits"
mistake 2 "no number of rows" diff "$digits" "$digits" --rows x
mistake 2 "from -1 to 1" diff "$digits" "$digits" --cosine 2
mistake 3 "nowhere.onnx" diff "$digits" "$folder/nowhere.onnx"

# ---- run ----

run 0 run "$digits"
says out "f32[1, 10]"
says err "random"
run 0 -q run "$digits" --shape batch=3
silent err
says out "f32[3, 10]"
run 0 run "$digits" --shape image=2x1x8x8
says out "f32[2, 10]"
run 0 run "$digits" -i "$data"
silent err
says out "f32[360, 10]"
run 0 run "$digits" -i "$data" -o "$folder/out.npz"
silent out
run 0 run "$digits" -i "image=$data" --json --repeat 3
json
says out '"runs": 3'
run 0 run "$digits" -i "$data" --profile
for word in Conv device total share; do says out $word; done
run 0 run "$digits" -i "$data" --profile --json
json
run 0 run "$digits" -i "$data" --at-once --without all
npy "$folder/image.npy" '<f4' '1, 1, 8, 8' 256
run 0 run "$digits" -i "image=$folder/image.npy"
run 0 run "$digits" -i "$folder/image.npy" # the only input needs no name
cp "$folder/image.npy" "$folder/a=b.npy"
run 0 run "$digits" -i "$folder/a=b.npy" # a file whose name holds '='

# An input that has a default, b of y = x + b: given it counts, left out the default does.
printf '%b' "\x08\x08\x3a\x5e\x0a\x0e\x0a\x01\x78\x0a\x01\x62\x12\x01\x79\x22\x03\x41\x64\x64\x12\x02\x6f\x76\x2a\
\x15\x08\x03\x10\x01\x42\x01\x62\x4a\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5a\x0f\x0a\
\x01\x78\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x03\x5a\x0f\x0a\x01\x62\x12\x0a\x0a\x08\x08\x01\
\x12\x04\x0a\x02\x08\x03\x62\x0f\x0a\x01\x79\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x03\x42\x04\
\x0a\x00\x10\x11" \
  >"$folder/default.onnx"
npy "$folder/x.npy" '<f4' '3,' 12
npy "$folder/b.npy" '<f4' '3,' 0
printf '\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f' >>"$folder/b.npy"
run 0 run "$folder/default.onnx" -i "x=$folder/x.npy" --json
says out '"max": 0.0'
run 0 run "$folder/default.onnx" -i "x=$folder/x.npy" -i "b=$folder/b.npy" --json
says out '"min": 1.0'
# An index that is out of range is bad input, on the device or on the host.
printf '%b' "\x08\x08\x3a\x4a\x0a\x11\x0a\x01\x78\x0a\x01\x69\x12\x01\x79\x22\x06Gather\x12\x02\x6f\x76\x5a\x0f\x0a\
\x01\x78\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x03\x5a\x0f\x0a\x01\x69\x12\x0a\x0a\x08\x08\x07\
\x12\x04\x0a\x02\x08\x01\x62\x0f\x0a\x01\x79\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\x42\x04\
\x0a\x00\x10\x11" >"$folder/gather.onnx"
npy "$folder/nine.npy" '<i8' '1,' 0
printf '\x09\0\0\0\0\0\0\0' >>"$folder/nine.npy"
mistake 3 "out of range" run "$folder/gather.onnx" -i "x=$folder/x.npy" -i "i=$folder/nine.npy"
# Before IR 4 every initialiser is such an input.
{ printf '%b' "\x08\x03" && tail -c +3 "$folder/default.onnx"; } >"$folder/default3.onnx"
run 0 run "$folder/default3.onnx" -i "x=$folder/x.npy" --json
says out '"max": 0.0'
run 0 run "$folder/default3.onnx" -i "x=$folder/x.npy" -i "b=$folder/b.npy" --json
says out '"min": 1.0'
# What is compared takes it, too: models with other defaults differ by them alone.
LC_ALL=C sed 's/\x4a\x0c\x00\x00\x00\x00/\x4a\x0c\x00\x00\x80\x3f/' "$folder/default.onnx" >"$folder/other.onnx"
run 0 diff "$folder/default.onnx" "$folder/other.onnx" -i "x=$folder/b.npy" -i "b=$folder/b.npy" --cosine 0.99
run 1 diff "$folder/default.onnx" "$folder/other.onnx" -i "x=$folder/b.npy" --cosine 0.99
# So does a data set: its y is 2 for x = 1 and b = 1.
for model in default default3; do
  mkdir -p "$folder/case-$model/test_data_set_0"
  cp "$folder/$model.onnx" "$folder/case-$model/model.onnx"
  for tensor in 'input_0 \x78 \x80\x3f' 'input_1 \x62 \x80\x3f' 'output_0 \x79 \x00\x40'; do
    # shellcheck disable=SC2086 # words
    set -- $tensor
    printf '%b' "\x08\x03\x10\x01\x42\x01$2\x4a\x0c\0\0$3\0\0$3\0\0$3" >"$folder/case-$model/test_data_set_0/$1.pb"
  done
  run 0 verify "$folder/case-$model"
  says out "1 passed"
done

# The same numbers on all ways.
run 0 run "$digits" -i "$data"
cp "$folder/out" "$folder/expected"
for way in --at-once '--without all'; do
  # shellcheck disable=SC2086 # words
  run 0 run "$digits" -i "$data" $way
  says out "f32[360, 10]"
done
nchecks=$((nchecks + 1))
run 0 run "$digits" -i "$data" --at-once
cmp -s "$folder/out" "$folder/expected" || fail "$shown: other results than with a plan"

# ---- eval ----

run 0 eval "$digits" --data "$data"
says out "accuracy   0.99"
says out "logits: mean 1.000000"
run 0 eval "$digits" --data "$data" --labels labels --batch 7 --json
json
says out '"accuracy": 0.99'
says out '"confusion"'
mistake 2 "pare eval MODEL.onnx --data" eval "$digits"
mistake 2 "no array 'nothing'" eval "$digits" --data "$data" --labels nothing
mistake 3 "integers" eval "$digits" --data "$data" --labels image
mistake 2 "no number" eval "$digits" --data "$data" --batch 0
mistake 2 "no output 'nothing'" eval "$digits" --data "$data" --output nothing
mistake 3 "no array 'image'" eval "$digits" --data "$folder/image.npy"

# ---- bench ----

run 0 bench "$digits" --executor launches --warmup 10ms --duration 50ms --shape batch=2
says out "median ms"
run 0 bench "$digits" "$digits" -i "$data" --executor launches --warmup 10ms --duration 50ms --json
json
for key in name device shapes runs median_ms p90_ms p95_ms p99_ms per_second peak_bytes executor; do says out "\"$key\""; done
says out '"executor_reason": "asked for"'
sed 's/"median_ms": [0-9.]*/"median_ms": 1000000/' "$folder/out" >"$folder/slow.json"
sed 's/"median_ms": [0-9.]*/"median_ms": 0.000001/' "$folder/out" >"$folder/fast.json"
run 0 bench "$digits" -i "$data" --executor launches --warmup 10ms --duration 50ms --baseline "$folder/slow.json"
says out "0.00x"
run 1 bench "$digits" -i "$data" --executor launches --warmup 10ms --duration 50ms --baseline "$folder/fast.json"
says err "slower"
# A model is found again by its name, from another folder too; one that is not there is said.
mkdir "$folder/elsewhere" && cp "$digits" "$folder/elsewhere/"
run 1 bench "$folder/elsewhere/digits.onnx" -i "$data" --executor launches --warmup 10ms --duration 50ms --baseline "$folder/fast.json"
cp "$digits" "$folder/elsewhere/no-digits.onnx"
run 0 bench "$folder/elsewhere/no-digits.onnx" -i "$data" --executor launches --warmup 10ms --duration 50ms --baseline "$folder/fast.json" --json
says err "has no median of $folder/elsewhere/no-digits.onnx"
says out '"baseline_ms": null'
# Two models of one name: each is its own, a third that may be either is neither, and no model takes another one's figure.
mkdir "$folder/a" "$folder/b" "$folder/c" && cp "$digits" "$folder/a/" && cp "$digits" "$folder/b/" && cp "$digits" "$folder/c/"
short() { run "$@" -i "$data" --executor launches --warmup 10ms --duration 50ms --json; }
short 0 bench "$folder/a/digits.onnx" "$folder/b/digits.onnx"
awk '/"median_ms"/ { sub(/: [0-9.e-]*/, ": " (n++ ? 2000000 : 1000000)) } { print }' "$folder/out" >"$folder/both.json"
short 0 bench "$folder/b/digits.onnx" --baseline "$folder/both.json"
says out '"baseline_ms": 2000000'
short 0 bench "$folder/c/digits.onnx" --baseline "$folder/both.json"
says out '"baseline_ms": null'
says err "may be either"
short 0 bench "$folder/a/digits.onnx"
sed 's/"median_ms": [0-9.]*/"median_ms": 3000000/' "$folder/out" >"$folder/one.json"
short 0 bench "$folder/b/digits.onnx" "$folder/a/digits.onnx" --baseline "$folder/one.json"
says out '"baseline_ms": null'
says out '"baseline_ms": 3000000'
mistake 2 "no time" bench "$digits" --duration soon
mistake 3 "no-such.json" bench "$digits" --baseline "$folder/no-such.json"
mistake 2 "kernels or models" bench "$digits" --kernel gemm

# ---- mistakes: files ----

for command in run inspect bench 'eval --data '"$data"; do
  # shellcheck disable=SC2086 # words
  mistake 3 "no-such.onnx" $command "$folder/no-such.onnx"
done
head -c 70000 "$digits" >"$folder/truncated.onnx"
mistake 3 "truncated.onnx" run "$folder/truncated.onnx"
mistake 3 "truncated.onnx" inspect "$folder/truncated.onnx"
: >"$folder/empty.onnx"
mistake 3 "empty.onnx" run "$folder/empty.onnx"
mistake 3 "" run "$srcdir/tests/data/digits/README.md"
sed 's/MaxPool/MaxPoop/' "$digits" >"$folder/unknown.onnx"
mistake 3 "MaxPoop" run "$folder/unknown.onnx"
says err "'pool'"
run 0 inspect "$folder/unknown.onnx"
says out "--show support"
run 0 inspect "$folder/unknown.onnx" --show support
says out "no"
head -c 9000 "$data" >"$folder/truncated.npz"
mistake 3 "truncated.npz" run "$digits" -i "$folder/truncated.npz"
head -c 200 "$folder/image.npy" >"$folder/truncated.npy"
mistake 3 "truncated.npy" run "$digits" -i "$folder/truncated.npy"
mistake 3 "no-such.npy" run "$digits" -i "image=$folder/no-such.npy"
mistake 3 "README.md" run "$digits" -i "image=$srcdir/tests/data/digits/README.md"
mistake 3 "no-folder" run "$digits" -i "$data" -o "$folder/no-folder/out.npz"

# ---- mistakes: inputs ----

npy "$folder/double.npy" '<f8' '1, 1, 8, 8' 512
mistake 3 "f64[1, 1, 8, 8]; the model takes f32[batch, 1, 8, 8]" run "$digits" -i "image=$folder/double.npy"
npy "$folder/wide.npy" '<f4' '1, 1, 8, 9' 288
mistake 3 "f32[1, 1, 8, 9]; the model takes f32[batch, 1, 8, 8]" run "$digits" -i "image=$folder/wide.npy"
npy "$folder/flat.npy" '<f4' '64,' 256
mistake 3 "f32[64]; the model takes f32[batch, 1, 8, 8]" run "$digits" -i "image=$folder/flat.npy"
mistake 2 "did you mean 'image'" run "$digits" -i "imag=$folder/image.npy"
mistake 2 "it has: image" run "$digits" -i "frobnicate=$folder/image.npy"
mistake 2 "the name before '='" run "$digits" -i "=$folder/image.npy"
run 0 run "$digits" -i "$data" -o "$folder/logits.npz" # an archive without the input
mistake 3 "input 'image', f32[batch, 1, 8, 8], is in none of the files" run "$digits" -i "$folder/logits.npz"
for shape in image image= =1x2 image=1x image=x1 image=1xtwo image=-1x1x8x8 image=1x1x1x1x1x1x1x1x1; do
  mistake 2 "--shape" run "$digits" --shape $shape
done
mistake 2 "--shape image=1x1x8x9: input 'image' takes f32[batch, 1, 8, 8]" run "$digits" --shape image=1x1x8x9
mistake 2 "--shape image=3x4: input 'image' takes f32[batch, 1, 8, 8]" run "$digits" --shape image=3x4
mistake 2 "no input 'frobnicate'" run "$digits" --shape frobnicate=3
mistake 2 "random inputs" run "$digits" -i "$data" --shape batch=3

# ---- mistakes: the rest ----

mistake 2 "pare run MODEL.onnx" run
mistake 2 "pare inspect MODEL.onnx" inspect
mistake 2 "no 'everything'" inspect "$digits" --show everything
mistake 2 "frobnicate" run "$digits" --without frobnicate
for count in 0 -1 two ''; do mistake 2 "--repeat" run "$digits" "--repeat=$count"; done
mistake 4 "no-such-device" run "$digits" -d no-such-device
PARE_MEMORY=64KiB mistake 4 "limit" run "$digits" -i "$data"
for command in run bench 'eval --data '"$data"; do
  # shellcheck disable=SC2086 # words
  OCL_ICD_VENDORS=$folder mistake 4 "pocl-opencl-icd" $command "$digits"
done
shown="pare run >/dev/full" code=0
"$pare" run "$digits" >/dev/full 2>"$folder/err" || code=$?
[ $code -eq 3 ] || fail "$shown: expected exit 3"

echo "$nchecks checks, $nfailed failed"
[ $nfailed -eq 0 ]
