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
one='{"device": "a", "rates": {"*": 1}}'
machine "2:2: the event speed needs 'speed'" "$one"'\n{"event": "speed", "device": "a", "at": 1}'
machine "2:43: 'speed' belongs to the event speed" "$one"'\n{"event": "lost", "device": "a", "at": 1, "speed": 0.5}'
machine "1:36: 'latency' is of a link to the host: say its 'bandwidth', too" '{"device": "a", "rates": {"*": 1}, "latency": 1e-5}'
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

# A trace with copies, in a chain: what comes in, the work, what goes back. Simulated, it is as long; and so is one in
# which the next piece's copies overlap with the work, and one in which the host works in between.
live() {
  python3 - "$@" >"$folder/live" <<'PYTHON'
import json, sys
how, events = sys.argv[1], []
overlaps = how == "overlaps"
slice_ = lambda row, kind, at, length, step, **more: events.append(
    {"ph": "X", "pid": 1, "tid": row, "ts": at, "dur": length, "name": f"t{step}", "cat": kind,
     "args": {"begin": 0, "end": 1, **more}})
at = 0
for step in range(50):
    begin = at - 4000 if overlaps and step else at
    slice_(1, "copy", begin, 4000, step, bytes=4000000)
    at = begin + 4000
    slice_(0, "k", at, 10000, step, ready=begin)
    at += 10000
    if not overlaps:
        slice_(2, "copy", at, 2000, step, bytes=2000000)
        at += 2000
    if how == "pauses": at += 3000 # in which the host works, and nothing is ready
print(json.dumps(events))
PYTHON
}
for how in chain overlaps pauses; do
  live $how
  "$pare" trace "$folder/live" --machine "$folder/m" --tasks "$folder/t" >/dev/null || fail "the live trace"
  "$pare" simulate --machine "$folder/m" --tasks "$folder/t" --json >"$folder/json" || fail "replay: $how"
  python3 - "$folder/live" "$folder/json" <<'PYTHON' || fail "replay: $how: $(cat "$folder/json")"
import json, sys
events = json.load(open(sys.argv[1]))
live = max(e["ts"] + e["dur"] for e in events) * 1e-6
told = json.load(open(sys.argv[2]))
result = told[0] if isinstance(told, list) else told
simulated = result["makespan_seconds"]
assert abs(simulated / live - 1) < 0.001, (simulated, live)
PYTHON
done

# What a simulation's trace tells is the machine that made it, and as long when it is simulated again.
cat >"$folder/links" <<'END'
{"device": "a", "rates": {"*": 1e9}, "launch": 1e-5, "bandwidth": 1e9, "latency": 1e-4}
{"device": "b", "rates": {"*": 3e9}, "launch": 2e-5, "bandwidth": 3e9, "latency": 2e-5}
END
for work in tasks=200 tasks=200,bytes=1e6,kernels=3 tasks=200,bytes=1e6,edges=1,window=10 tasks=50,bytes=1e6,split=1,work=1e7; do
  for policy in dmda hguided; do
    "$pare" simulate --machine "$folder/links" --random $work --policy $policy --trace "$folder/live" --json >"$folder/first"
    "$pare" trace "$folder/live" --machine "$folder/m" --tasks "$folder/t" >/dev/null || fail "trace of $work by $policy"
    "$pare" simulate --machine "$folder/m" --tasks "$folder/t" --policy $policy --json >"$folder/again" || fail "$work by $policy"
    python3 - "$folder/first" "$folder/again" "$folder/m" $work <<'PYTHON' || fail "$work by $policy is another when it is simulated again"
import json, sys
first, again = (json.load(open(path))[0]["makespan_seconds"] for path in sys.argv[1:3])
assert abs(again / first - 1) < 0.1, (first, again)
machine = [json.loads(line) for line in open(sys.argv[3])]
work = sys.argv[4]
said = {"launch": (1e-5, 2e-5)}
if "bytes" in work and "edges" not in work: # several needs are one slice
    said.update(bandwidth=(1e9, 3e9), latency=(1e-4, 2e-5))
for key, values in said.items():
    for device, value in zip(machine, values):
        found = device[key]
        for one in found.values() if key == "launch" else [found]:
            assert abs(one / value - 1) < 0.05, (key, device, value)
PYTHON
  done
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
echo '{"traceEvents": [{"ph": "X", "ts": 1, "dur": 1, "args": {"begin": 0, "end": 5, "n": 4}}]}' >"$folder/bad"
refused 3 "event 0: the steps 0 to 5 of 4" trace "$folder/bad"
echo '[{"ph": "X", "ts": 1, "dur": 1}]' >"$folder/bad"
for what in machine tasks; do refused 3 "does not say which steps" trace "$folder/bad" --$what "$folder/$what"; done
refused 2 "which trace" trace
refused 3 "is a folder: say which file" trace "$folder"
refused 3 "cannot read the trace '$folder/none': No such file" trace "$folder/none"
echo no trace >"$folder/bad"
refused 3 "bad:1:2: " trace "$folder/bad"
refused 3 "a trace is the JSON that --trace FILE writes" trace "$folder/bad"
for what in svg machine tasks; do refused 2 "option '--$what' needs the name of a file" trace "$folder/trace1" --$what ""; done
refused 2 "option '--trace' needs the name of a file" "${good[@]}" --random tasks=5 --trace ""
# Whatever names another program gives, and however quick its work is, the files can be simulated.
cat >"$folder/other" <<'END'
[{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "worker"}},
 {"ph": "M", "name": "process_name", "pid": 2, "args": {"name": "worker"}},
 {"ph": "X", "pid": 1, "ts": 1, "dur": 0, "cat": "", "args": {"begin": 0, "end": 5}},
 {"ph": "X", "pid": 2, "ts": 1, "dur": 1e60, "cat": "long", "args": {"begin": 0, "end": 5}}]
END
"$pare" trace "$folder/other" --machine "$folder/m" --tasks "$folder/t" >/dev/null || fail "another program's trace"
ends --tasks "$folder/t"

echo "$nfailed failed"
[ $nfailed -eq 0 ]
