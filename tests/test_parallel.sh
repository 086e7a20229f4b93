#!/bin/sh
# Models on several devices at once, from the command line: the same bits as on one, who did what, and one that dies.
# SPDX-License-Identifier: Apache-2.0
set -eu
pare=${builddir:?}/pare
digits=${srcdir:?}/tests/data/digits
layer=$builddir/tests/.libs/fault_layer.so
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PARE_DEVICE=pocl/1+1

fail() {
  echo "test_parallel: $1" >&2
  exit 1
}
# refuse CODE TEXT ARGUMENTS...: the command fails so, and says so.
refuse() {
  wanted=$1 text=$2 found=0
  shift 2
  timeout 120 "$pare" "$@" >"$folder/out" 2>"$folder/err" || found=$?
  [ "$found" = "$wanted" ] || fail "'$*' exited with $found instead of $wanted: $(cat "$folder/err")"
  grep -q -e "$text" "$folder/err" || fail "'$*' did not say '$text': $(cat "$folder/err")"
}
run() { timeout 120 "$pare" -q run "$digits/digits.onnx" -i "$digits/digits_test.npz" "$@"; }

"$pare" devices --json >/dev/null 2>&1 || exit 77
if ! timeout 120 "$pare" -q run "$digits/digits.onnx" >"$folder/out" 2>"$folder/err"; then
  echo "test_parallel: no two sub-devices: $(cat "$folder/err")"
  exit 77
fi

# The same bits, however it is divided and by whatever policy.
run --parallel off -o "$folder/off.npz"
for policy in dmda hguided heft static priority round-robin; do
  run --policy $policy -o "$folder/data.npz"
  cmp "$folder/off.npz" "$folder/data.npz" || fail "other bits with the policy $policy"
done
run --parallel task -o "$folder/task.npz"
cmp "$folder/off.npz" "$folder/task.npz" || fail "other bits as a task"
run --parallel pipeline --stats -o "$folder/pipeline.npz" >"$folder/stats"
cmp "$folder/off.npz" "$folder/pipeline.npz" || fail "other bits in stages"
grep -q 'parallel by pipeline: .* through 2 stages' "$folder/stats" || fail "stages are not said: $(cat "$folder/stats")"
! grep -q 'stage . of 0' "$folder/stats" || fail "a stage of none: $(cat "$folder/stats")"

# Who did what: counters and a trace, in which both have worked.
run --repeat 3 --trace "$folder/t.json" --stats >"$folder/stats"
grep -q 'parallel by data: a batch of 360' "$folder/stats" || fail "how it was divided is not said: $(cat "$folder/stats")"
grep -q '^ *device .*busy .*copies .*idle .*wait .*pieces .*energy' "$folder/stats" || fail "no table: $(cat "$folder/stats")"
grep -q '^kernel .*device .*busy .*copies .*wait .*pieces' "$folder/stats" || fail "kernels are not counted: $(cat "$folder/stats")"
run --stats --json >"$folder/stats.json"
python3 - "$folder/t.json" "$folder/stats.json" <<'PYTHON' || fail "the trace or the counters are not right"
import json, sys
trace, run = (json.load(open(path)) for path in sys.argv[1:])
worked = {event["pid"] for event in trace["traceEvents"] if event["ph"] == "X"}
assert len(worked) == 2, f"{len(worked)} devices have worked"
stats = run["stats"]
assert run["parallel"] == "data" and run["parallel_why"], run
assert len(stats["devices"]) == 2 and not any(d["lost"] for d in stats["devices"]), stats
assert sum(d["pieces"] for d in stats["devices"]) == stats["pieces"] >= 2, stats
assert sum(k["pieces"] for k in stats["kernels"]) == stats["pieces"] and stats["jobs_per_s"] > 0, stats

PYTHON
# Joules that follow from watts that somebody gave are called an estimate.
export PARE_WATTS=100:10,50 PARE_PRICES=36,0
run --stats >"$folder/stats"
[ "$(grep -c ' J (estimate)' "$folder/stats")" = 2 ] || fail "joules of watts are no estimates: $(cat "$folder/stats")"
run --stats --json >"$folder/stats.json"
unset PARE_WATTS PARE_PRICES
python3 - "$folder/stats.json" <<'PYTHON' || fail "joules or prices are not right: $(cat "$folder/stats.json")"
import json, sys
stats = json.load(open(sys.argv[1]))["stats"]
first, second = stats["devices"]
assert first["joules_estimated"] is second["joules_estimated"] is True
drawn = 100 * first["busy_s"] + 10 * (stats["elapsed_s"] - first["busy_s"])
assert abs(first["joules"] - drawn) < 1e-6 * drawn and abs(second["joules"] - 50 * second["busy_s"]) < 1e-6
assert abs(first["price"] - 0.01 * first["busy_s"]) < 1e-9 and "price" not in second
PYTHON
"$pare" trace "$folder/t.json" --svg "$folder/t.svg" >/dev/null
grep -q '</svg>' "$folder/t.svg" || fail "no picture"

# What ran can be simulated: by the same policy it is as long, up to what the host did in between.
"$pare" trace "$folder/t.json" --machine "$folder/machine.json" --tasks "$folder/tasks.json" >/dev/null
"$pare" simulate --machine "$folder/machine.json" --tasks "$folder/tasks.json" >"$folder/simulated" ||
  fail "the trace cannot be simulated"
grep -q 'on 2 devices' "$folder/simulated" || fail "the simulated machine is another: $(cat "$folder/simulated")"
echo '[{"ph":"X","pid":1,"tid":0,"ts":0,"dur":5,"name":"a"}]' >"$folder/no-steps.json"
refuse 3 'which steps' trace "$folder/no-steps.json" --tasks "$folder/tasks.json"

# A call of the driver that never comes back: the run ends elsewhere with the same bits, and so does the process. The layer's log
# of a shorter run says which launch is in the midst of this one.
OPENCL_LAYERS=$layer PARE_FAULT_LOG=$folder/calls run --repeat 5 >"$folder/out"
nth=$(grep -c clEnqueueNDRangeKernel "$folder/calls")
OPENCL_LAYERS=$layer PARE_FAULT_HANG_CALL=clEnqueueNDRangeKernel PARE_FAULT_HANG_NTH=$nth run --repeat 50 --stall 3 --stats \
  -o "$folder/hung.npz" >"$folder/stats" 2>"$folder/err" ||
  [ "$(grep -c 'no progress' "$folder/err")" -gt 1 ] || # a machine that is busy otherwise may delay both for so long
  fail "a run with a device that hangs: $(cat "$folder/err")"
[ ! -e "$folder/hung.npz" ] || cmp "$folder/off.npz" "$folder/hung.npz" || fail "other bits when a device hangs"
grep -q 'no progress' "$folder/err" || fail "that a device hangs is not said: $(cat "$folder/err")"

# eval and bench take the same options, and are as right.
"$pare" -q eval "$digits/digits.onnx" --data "$digits/digits_test.npz" --batch 64 --stats >"$folder/eval"
grep -q '^accuracy' "$folder/eval" && grep -q '^ *device ' "$folder/eval" || fail "eval: $(cat "$folder/eval")"
timeout 120 "$pare" -q eval "$digits/digits.onnx" --data "$digits/digits_test.npz" --batch 50 --parallel off >"$folder/one"
timeout 120 "$pare" -q eval "$digits/digits.onnx" --data "$digits/digits_test.npz" --batch 50 --parallel task >"$folder/two"
for line in accuracy means cosine; do
  [ "$(grep "^$line" "$folder/one")" = "$(grep "^$line" "$folder/two")" ] || fail "eval: other $line, batches at once"
done
run --repeat 5 --parallel task | grep -q 'then 4 .*, 2 at once' || fail "runs are not at once"
"$pare" -q bench "$digits/digits.onnx" -i "$digits/digits_test.npz" --duration 20ms --warmup 1ms --parallel data --stats \
  >"$folder/bench"
grep -q 'parallel by data' "$folder/bench" || fail "bench: $(cat "$folder/bench")"

# One device dies in the middle: the same bits, and it is said once.
for nth in 3 20 45; do
  OPENCL_LAYERS=$layer PARE_FAULT_CALL=clEnqueueNDRangeKernel PARE_FAULT_NTH=$nth \
    timeout 120 "$pare" run "$digits/digits.onnx" -i "$digits/digits_test.npz" -o "$folder/lost.npz" 2>"$folder/err" ||
    fail "call $nth failed, and the run with it: $(cat "$folder/err")"
  cmp "$folder/off.npz" "$folder/lost.npz" || fail "other bits after a loss at call $nth"
  [ "$(grep -c 'lost' "$folder/err")" = 1 ] || fail "call $nth: the loss is told not once: $(cat "$folder/err")"
done
# All of them.
OPENCL_LAYERS=$layer PARE_FAULT_CALL=clEnqueueNDRangeKernel PARE_FAULT_NTH=3 PARE_FAULT_COUNT=0
export OPENCL_LAYERS PARE_FAULT_CALL PARE_FAULT_NTH PARE_FAULT_COUNT
refuse 4 '.' run "$digits/digits.onnx" -i "$digits/digits_test.npz"
unset OPENCL_LAYERS PARE_FAULT_CALL PARE_FAULT_NTH PARE_FAULT_COUNT

# compress: each makes some of the tensors, and the file is the same.
"$pare" -q compress "$digits/digits.onnx" "$folder/one.onnx" --quantize int8 --prune magnitude:0.5 --parallel off >/dev/null
"$pare" -q compress "$digits/digits.onnx" "$folder/two.onnx" --quantize int8 --prune magnitude:0.5 --stats >"$folder/compress"
cmp "$folder/one.onnx" "$folder/two.onnx" || fail "compress: another file with two devices"
grep -q '^ *device ' "$folder/compress" || fail "compress --stats: $(cat "$folder/compress")"
# Weights of another treatment, or with rows of another magnitude, have a performance model of their own.
"$pare" -q compress "$digits/digits.onnx" "$folder/two.onnx" --quantize int8 --prune magnitude:0.5 --stats --json \
  >"$folder/compress.json"
python3 - "$folder/compress.json" <<'PYTHON' || fail "compress: performance models: $(cat "$folder/compress.json")"
import json, sys
kernels = {kernel["kernel"] for kernel in json.load(open(sys.argv[1]))["stats"]["kernels"]}
# the threshold is one of all weights: they are counted, and marked, before any is made
for start in "compress count", "compress mark", "compress prune quantize 8 bits":
    assert len([name for name in kernels if name.startswith(start)]) >= 2, (start, kernels)
PYTHON
# A device that fails wherever it is: in a job, while the writer reads what it made, or in what only the first does.
for call in clEnqueueNDRangeKernel clFinish clEnqueueWriteBuffer; do
  rm -f "$folder/calls"
  OPENCL_LAYERS=$layer PARE_FAULT_LOG=$folder/calls "$pare" -q compress "$digits/digits.onnx" "$folder/two.onnx" --no-verify \
    --quantize int8 --prune magnitude:0.5 >/dev/null
  for part in 3 2; do
    nth=$(($(grep -c "$call" "$folder/calls" || :) * (part - 1) / part + 1))
    OPENCL_LAYERS=$layer PARE_FAULT_CALL=$call PARE_FAULT_NTH=$nth timeout 120 "$pare" -q compress "$digits/digits.onnx" \
      "$folder/three.onnx" --no-verify --quantize int8 --prune magnitude:0.5 >/dev/null 2>"$folder/err" ||
      fail "compress: $call $nth fails, and all with it: $(cat "$folder/err")"
    cmp "$folder/two.onnx" "$folder/three.onnx" || fail "compress: another file when $call $nth fails"
  done
done

# Groups of devices: one way among them, another inside of each.
groups='(pocl:0/1+1),(pocl:1/1+1)'
POCL_DEVICES='pthread pthread'
export POCL_DEVICES
if "$pare" devices -d "$groups" >/dev/null 2>&1; then
  for ways in auto data/columns data/data data/pipeline task/data pipeline; do
    run -d "$groups" --parallel $ways --repeat 3 --trace "$folder/g.json" --stats -o "$folder/groups.npz" >"$folder/stats"
    cmp "$folder/off.npz" "$folder/groups.npz" || fail "other bits in groups, $ways"
    grep -q "inside of group [12] by" "$folder/stats" || fail "groups by $ways: $(cat "$folder/stats")"
    [ "$(grep -c '^[1-4] *group [12], ' "$folder/stats")" = 4 ] || fail "not all devices, $ways: $(cat "$folder/stats")"
  done
  run -d "$groups" --repeat 3 --parallel data/columns --trace "$folder/g.json" --stats --json >"$folder/groups.json"
  python3 - "$folder/g.json" "$folder/groups.json" <<'PYTHON' || fail "the trace or the counters of groups are not right"
import json, sys
trace, run = (json.load(open(path)) for path in sys.argv[1:])
worked = {event["pid"] for event in trace["traceEvents"] if event["ph"] == "X"}
assert worked == {10, 20, 30, 40}, worked
assert [device["group"] for device in run["stats"]["devices"]] == [1, 1, 2, 2], run["stats"]["devices"]
assert all(device["pieces"] > 0 for device in run["stats"]["devices"]), run["stats"]["devices"]
PYTHON
  "$pare" trace "$folder/g.json" --svg "$folder/g.svg" --machine "$folder/machine.json" --tasks "$folder/tasks.json" >/dev/null
  grep -q 'group 2, ' "$folder/g.svg" || fail "groups are not in the picture"
  grep -o '<text x="[0-9.]*"' "$folder/g.svg" | awk -F'"' '$2 > 990 { found = 1 } END { exit found }' || fail "the legend leaves the picture"
  "$pare" simulate --machine "$folder/machine.json" --tasks "$folder/tasks.json" >"$folder/simulated" ||
    fail "the trace of groups cannot be simulated"
  grep -q 'on 4 devices' "$folder/simulated" || fail "the simulated groups are others: $(cat "$folder/simulated")"
  run -d "$groups" --repeat 5 --parallel task/data | grep -q 'then 4 .*, 2 at once' || fail "runs are not one a group"
  "$pare" -q compress "$digits/digits.onnx" "$folder/three.onnx" --quantize int8 --prune magnitude:0.5 -d "$groups" >/dev/null
  cmp "$folder/one.onnx" "$folder/three.onnx" || fail "compress: another file with groups"
  refuse 2 'divided by columns' run "$digits/digits.onnx" -d "$groups" --parallel pipeline/data
  refuse 4 'column 15.*already' run "$digits/digits.onnx" -d '(pocl:0/1+1),(pocl:0)'
fi
unset POCL_DEVICES

# What is malformed is refused at once.
refuse 2 'write them in parentheses' run "$digits/digits.onnx" --parallel data/columns
refuse 2 "no way to be parallel ''" run "$digits/digits.onnx" --parallel data/
refuse 4 'column 2: expected a device' run "$digits/digits.onnx" -d '()'
refuse 2 "--parallel.*'sideways'.*auto, data, columns" run "$digits/digits.onnx" --parallel sideways
refuse 2 'policy.*dmda' run "$digits/digits.onnx" --policy best
refuse 2 'objective.*makespan' run "$digits/digits.onnx" --objective beauty
refuse 2 "--stall: 'soon'" run "$digits/digits.onnx" --stall soon
refuse 2 'one is selected; select more' run "$digits/digits.onnx" -d pocl --trace "$folder/alone.json"
refuse 2 'with --parallel off one does all' compress "$digits/digits.onnx" "$folder/two.onnx" --quantize int8 --parallel off \
  --trace "$folder/alone.json"
refuse 3 'nowhere' run "$digits/digits.onnx" --trace "$folder/nowhere/t.json"
