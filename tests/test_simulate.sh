#!/bin/bash
# pare simulate and pare trace as people use them: what malformed files and wrong options get.
# SPDX-License-Identifier: Apache-2.0
set -u
pare=${builddir:-.}/pare
folder=$(mktemp -d) || exit 99
trap 'rm -rf "$folder"' EXIT
nfailed=0
fail() { echo "FAILED: $*"; nfailed=$((nfailed + 1)); }

# refused CODE TEXT OPTION...: the exit code, nothing on stdout, one line on stderr that holds the text.
refused() {
  local want=$1 text=$2 code=0
  shift 2
  "$pare" "$@" >"$folder/out" 2>"$folder/err" || code=$?
  [ $code -eq "$want" ] || fail "pare $*: exit $code, not $want: $(cat "$folder/err")"
  [ "$(wc -l <"$folder/err")" -eq 1 ] || fail "pare $*: not one line: $(cat "$folder/err")"
  grep -qF -- "$text" "$folder/err" || fail "pare $*: '$(cat "$folder/err")' lacks '$text'"
}
machine() { printf '%b' "$2" >"$folder/m"; refused 3 "m:$1" simulate --machine "$folder/m" --random tasks=5; }
tasks() { printf '%b' "$2" >"$folder/t"; refused 3 "$1" simulate --machine "$folder/good" --tasks "$folder/t"; }

cat >"$folder/good" <<'END'
{"device": "cpu", "class": "cpu", "rates": {"*": 1e9}, "watts": 60}
{"device": "acc", "count": 2, "class": "accelerator", "rates": {"*": 3e9}, "bandwidth": 1e10, "memory": 1000000, "watts": 30}
END

machine "1:36: there is no key 'colour'" '{"device": "a", "rates": {"*": 1}, "colour": "red"}'
machine "2:2: " '{"device": "a", "rates": {"*": 1}}\n{,}'
machine "1:27: the rate of 'gemm' must be a positive number" '{"device": "a", "rates": {"gemm": 0}}'
machine "1:" '{"device": "a", "rates": {"gemm": NaN}}'
machine "1:2: 'device' must be text" '{"device": 1, "rates": 7}'
machine "1:17: a device needs 'rates'" '{"device": "a", "rates": 7}'
machine "1:16: there is no class 'fpga'" '{"device": "a","class": "fpga", "rates": {"*": 1}}'
machine "2:18: there is no device 'b'" '{"device": "a", "rates": {"*": 1}}\n{"event": "lost","device": "b", "at": 1}'
machine "2:2: the device 'a' is there twice" '{"device": "a", "rates": {"*": 1}}\n{"device": "a", "rates": {"*": 1}}'
machine "1:39: the device 'a.1' is there twice" '{"device": "a.1", "rates": {"*": 1}} {"device": "a", "count": 2, "rates": {"*": 1}}'
machine "1:1: a machine needs a device" ''
machine "1:1: an object" '[1]'

tasks "tasks need each other in a circle: a needs c needs b needs a" \
  '{"task": "a", "needs": ["c"]}\n{"task": "b", "needs": ["a"]}\n{"task": "c", "needs": ["b"]}'
tasks "t:2:1: there is no task 'z'" '{"task": "a"}\n{"task": "b", "needs": ["z"]}'
tasks "t:1:15: 'n' must be a number from 1" '{"task": "a", "n": 0}'
tasks "t:1:15: 'grain' must be" '{"task": "a", "grain": 0, "split": true}'
tasks "the task 'a' can run nowhere" '{"task": "a", "class": "gpu"}'
tasks "the task 'a' can run nowhere" '{"task": "a", "class": "accelerator", "writes": 2e6}'
tasks "there is no task in it" ' \n'
tasks "the task 'a' can run nowhere" '{"task": "a", "class": "accelerator", "n": 9e15, "split": true, "reads": 1e18}'

good=(simulate --machine "$folder/good")
refused 2 "there is no policy 'fastest'" "${good[@]}" --random tasks=5 --policy fastest
refused 2 "there is no objective 'beauty'" "${good[@]}" --random tasks=5 --objective beauty
refused 2 "keys are tasks" "${good[@]}" --random task=5
refused 2 "tasks must be a number" "${good[@]}" --random tasks=0
refused 2 "either --tasks FILE or --random" "${good[@]}"
refused 2 "--machine FILE" simulate --random tasks=5
refused 3 "no-such-file" simulate --machine "$folder/no-such-file" --random tasks=5

# A trace with copies, in a chain: what comes in, the work, what goes back. Simulated, it is as long, within a tenth; and
# so is one in which the next piece's copies overlap with the work.
live() {
  python3 - "$@" >"$folder/live" <<'PYTHON'
import json, sys
overlaps, events = sys.argv[1] == "overlaps", []
slice_ = lambda row, kind, at, length, step, **more: events.append(
    {"ph": "X", "pid": 1, "tid": row, "ts": at, "dur": length, "name": f"t{step}", "cat": kind,
     "args": {"begin": 0, "end": 1, **more}})
at = 0
for step in range(50):
    begin = at - 4000 if overlaps and step else at
    slice_(1, "copy", begin, 4000, step, bytes=4000000)
    at = begin + 4000
    slice_(0, "k", at, 10000, step)
    at += 10000
    if not overlaps:
        slice_(2, "copy", at, 2000, step, bytes=2000000)
        at += 2000
print(json.dumps(events))
PYTHON
}
for how in chain overlaps; do
  live $how
  "$pare" trace "$folder/live" --machine "$folder/m" --tasks "$folder/t" >/dev/null || fail "the live trace"
  # Tasks that overlap need nothing of each other.
  [ $how = chain ] || sed -i 's/"needs": [^]]*\], //; s/, "needs": [^]]*\]//' "$folder/t"
  "$pare" simulate --machine "$folder/m" --tasks "$folder/t" --json >"$folder/json" || fail "replay: $how"
  python3 - "$folder/live" "$folder/json" <<'PYTHON' || fail "replay: $how: $(cat "$folder/json")"
import json, sys
events = json.load(open(sys.argv[1]))
live = max(e["ts"] + e["dur"] for e in events) * 1e-6
told = json.load(open(sys.argv[2]))
result = told[0] if isinstance(told, list) else told
simulated = result.get("makespan") or result.get("makespan_seconds") or result["result"]["makespan"]
assert abs(simulated / live - 1) < 0.1, (simulated, live)
PYTHON
done

# The same seed, the same bytes; another seed, others.
for run in 1 2 3; do
  "$pare" "${good[@]}" --random tasks=100,edges=2,bytes=1000 --seed $((run / 3)) --json --stats --trace "$folder/trace$run" \
    >"$folder/json$run" || fail "run $run"
done
cmp -s "$folder/json1" "$folder/json2" || fail "the same seed gave another result"
cmp -s "$folder/trace1" "$folder/trace2" || fail "the same seed gave another trace"
cmp -s "$folder/json1" "$folder/json3" && fail "another seed gave the same result"

# ends OPTION...: all tasks of files m and t end, within seconds.
ends() {
  timeout 60 "$pare" simulate --machine "$folder/m" "$@" >"$folder/out" 2>"$folder/err" || fail "pare simulate $*: $(cat "$folder/err")"
}
# What one device may not take does not hold up what it may.
printf '%s\n' '{"device": "c", "class": "cpu", "rates": {"*": 1e9}}' '{"device": "g", "rates": {"*": 1e9}, "memory": 1000}' >"$folder/m"
{
  echo '{"task": "s", "n": 1000, "grain": 100, "work": 1e6, "split": true, "reads": 1e6}'
  for i in $(seq 20); do echo "{\"task\": \"u$i\", \"class\": \"gpu\"}"; done
} >"$folder/t"
ends --tasks "$folder/t" --policy all
# Nor does what only the device that is gone could take whole.
printf '%s\n' '{"device": "small", "memory": 1000, "rates": {"*": 1}}' '{"device": "large", "rates": {"*": 1}}' \
  '{"event": "lost", "device": "large", "at": 0.6}' >"$folder/m"
{
  for name in a b c d; do echo "{\"task\": \"$name\", \"n\": 10}"; done
  echo '{"task": "big", "at": 0.5, "n": 1000, "split": true, "reads": 40000}'
} >"$folder/t"
ends --tasks "$folder/t" --policy all
# Who is thrifty may change while it is learned.
printf '%s\n' '{"machine": "m", "noise": 0.1}' '{"device": "d", "count": 2, "rates": {"*": 1e9}, "watts": 100}' >"$folder/m"
echo '{"task": "a", "n": 1e9, "split": true}' >"$folder/t"
for seed in 1 2 3 4 5; do ends --tasks "$folder/t" --policy hguided --objective energy --seed $seed; done
ends --random tasks=1000,work=2,spread=1 --policy round-robin
# Times so late that a second is nothing beside them.
echo '{"device": "d", "rates": {"*": 1e9}}' >"$folder/m"
echo '{"task": "a", "at": 1e18, "n": 1e12, "split": true}' >"$folder/t"
ends --tasks "$folder/t" --policy hguided
for times in '"ts": 1e17, "dur": 0' '"ts": 0, "dur": 5e-324' '"ts": 1.7e18, "dur": 1'; do
  echo "[{\"ph\": \"X\", \"pid\": 1, $times}]" >"$folder/late"
  timeout 60 "$pare" trace "$folder/late" --svg "$folder/late.svg" >"$folder/out" || fail "pare trace of $times"
done

# The nodes of a model: 2 * 16*9*64 + 2 * 32*16*9*64 operations of an image in convolutions.
digits=${srcdir:-.}/tests/data/digits/digits.onnx
printf '%s\n' '{"device": "c", "class": "cpu", "rates": {"conv": 608256, "*": 1e18}}' >"$folder/m"
ends --model "$digits" --json
grep -q '"tasks": 8,' "$folder/out" || fail "digits has 8 nodes that do something: $(cat "$folder/out")"
grep -Eq '"makespan_seconds": 1\.0' "$folder/out" || fail "an image is not a second of convolutions: $(cat "$folder/out")"
ends --model "$digits" --shape batch=8 --batches 3 --policy heft --json
grep -Eq '"makespan_seconds": 24\.0' "$folder/out" || fail "24 images are not 24 seconds: $(cat "$folder/out")"
refused 2 "no symbol 'rows'" simulate --machine "$folder/m" --model "$digits" --shape rows=8
refused 2 "--batches: 'many'" simulate --machine "$folder/m" --model "$digits" --batches many
refused 2 "are of --model" "${good[@]}" --random tasks=5 --batches 2
refused 3 "no-such-file" "${good[@]}" --model "$folder/no-such-file"

"$pare" trace "$folder/trace1" --svg "$folder/out.svg" >"$folder/out" || fail "pare trace"
grep -q "acc.1" "$folder/out" || fail "pare trace does not list the devices"
grep -q "</svg>" "$folder/out.svg" || fail "the chart is not whole"
grep -q '<rect class="paper" fill="#fff"' "$folder/out.svg" || fail "the chart has no background"
! grep -q 'var(' "$folder/out.svg" || fail "the chart is black on black where there is no var(): outside of browsers"
echo '{"traceEvents": [{"ph": "X", "ts": "now"}]}' >"$folder/bad"
refused 3 "event 0" trace "$folder/bad"
echo '[{' >"$folder/bad"
refused 3 "bad:" trace "$folder/bad"
echo '{"traceEvents": [{"ph": "X", "ts": 1, "dur": 1, "args": {"begin": -9223372036854775807, "end": 5}}]}' >"$folder/bad"
refused 3 "event 0: a slice of the steps -9223372036854775807 to 5" trace "$folder/bad"
refused 2 "which trace" trace

echo "$nfailed failed"
[ $nfailed -eq 0 ]
