#!/bin/bash
# The command as people use it: help, errors, exit codes, JSON, full disks, no device. SPDX-License-Identifier: Apache-2.0
set -u
srcdir=${srcdir:-.} builddir=${builddir:-.}
pare=$builddir/pare
[ -x "$pare" ] || { echo "there is no $pare"; exit 99; }
folder=$(mktemp -d) || exit 99
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
export LC_ALL=C.UTF-8 XDG_CACHE_HOME=${XDG_CACHE_HOME:-$folder/cache}
unset PARE_DEVICE PARE_LOG PARE_MEMORY PARE_KERNEL_PATH PARE_CACHE NO_COLOR

# One driver, if there is the usual one: the answers do not depend on what else is installed.
if [ -z "${OCL_ICD_VENDORS:-}" ] && [ -r /etc/OpenCL/vendors/pocl.icd ]; then
  mkdir "$folder/icd" && cp /etc/OpenCL/vendors/pocl.icd "$folder/icd/"
  export OCL_ICD_VENDORS=$folder/icd
fi

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

# ---- help: every command has some, and says what its table holds ----

run 0 help --machine
cp "$folder/out" "$folder/table"
mapfile -t commands < <(awk -F'\t' '$1 == "command" { print $2 }' "$folder/table")
[ ${#commands[@]} -ge 6 ] || fail "the table lists ${#commands[@]} commands"
awk -F'\t' '{ for (i = 1; i <= NF; i++) if ($i == "") exit 1 }' "$folder/table" || fail "an empty field in the table"
run 0 --help
cp "$folder/out" "$folder/overview"
run 2
cmp -s "$folder/out" "$folder/overview" || fail "pare alone does not print the overview"
run 0 help
for command in "${commands[@]}"; do
  says out "  $command "
  run 0 "$command" --help
  silent err
  says out "usage: pare $command"
  while IFS=$'\t' read -r _ _ long _; do says out "$long"; done < <(awk -F'\t' -v c="$command" '$1 == "option" && $2 == c' "$folder/table")
  # lines fit, and two blanks or a line's end stand between an option and what is said of it
  awk -F'\t' -v c="$command" 'NR == FNR { if ($1 == "option" && $2 == c) left[$3 ($5 == "-" ? "" : " " $5)]; next }
    length > 80 { print; bad = 1 }
    { for (option in left) if (index($0, option) == 7) found[option] = found[option] || substr($0, 7 + length(option)) ~ /^(  |$)/ }
    END { for (option in left) if (!found[option]) { print option; bad = 1 }; exit bad }' "$folder/table" "$folder/out" ||
    fail "the help of $command does not line up"
  cp "$folder/out" "$folder/help"
  run 0 help "$command"
  cmp -s "$folder/out" "$folder/help" || fail "pare help $command differs from pare $command --help"
  run 0 help
done
for topic in selectors environment exit-codes; do run 0 help $topic; silent err; done
run 0 --version
says out "pare "
says out "flags"
run 0 -V

# ---- usage errors: exit 2, one line on stderr, the nearest name ----

usage() { local text=$1; shift; run 2 "$@"; silent out; says err "pare: "; says err "$text"; }
usage "did you mean 'devices'" devcies
usage "did you mean 'selftest'" help slftest
usage "'pare help' lists them" frobnicate
usage "did you mean '--json'" devices --jsno
usage "did you mean '--device'" devices --devise 0
usage "pare devices --help" devices --frobnicate
usage "'-x'" devices -x
usage "needs a value" devices -d
usage "needs a value" bench --kernel
usage "takes no value" devices --json=yes
usage "does not take 'extra'" devices extra
usage "uses no device" cache -d cpu
usage "--kernel" bench
usage "there is no kernel family 'zzzzzz'" bench --kernel zzzzzz
usage "there is no kernel family" selftest --family zzzzzz
usage "no time" tune --budget soon
usage "no time" tune --budget -5
usage "no time" tune --budget 0s
usage "pare cache clear" cache purge
usage "error, warn, info, debug" --log loud devices
PARE_LOG=loud usage "PARE_LOG" devices

# ---- the environment: help and the man page name the same variables ----

run 0 help environment
grep -oE '^  [A-Z_]+' "$folder/out" | tr -d ' ' | LC_ALL=C sort >"$folder/help"
sed -n '/^\.Sh ENVIRONMENT/,/^\.Sh [^E]/p' "$srcdir/doc/man/pare.1" | sed -n 's/^\.It Ev //p' | tr -d ' ' | tr ',' '\n' |
  grep -vE '^(XDG_CACHE_HOME|HOME)$' | LC_ALL=C sort >"$folder/man"
nchecks=$((nchecks + 1))
diff "$folder/help" "$folder/man" || fail "pare help environment and pare(1) name different variables"

# The same for exit codes, of which the README and the page of the floor give a list each.
run 0 help exit-codes
grep -oE '^  [0-9]+' "$folder/out" | tr -d ' ' >"$folder/help"
sed -n '/^\.Sh EXIT STATUS/,/^\.Sh [^E]/p' "$srcdir/doc/man/pare.1" | sed -nE 's/^\.It ([0-9]+)$/\1/p' >"$folder/man"
nchecks=$((nchecks + 1))
diff "$folder/help" "$folder/man" || fail "pare help exit-codes and pare(1) name different exit codes"
for page in README.md doc/floor-9-cli.md; do
  tr '\n' ' ' <"$srcdir/$page" | grep -oiE 'exit codes[^0-9]*0 fine[^.)]*' | head -n 1 | grep -oE '[0-9]+' >"$folder/page"
  nchecks=$((nchecks + 1))
  diff "$folder/help" "$folder/page" || fail "pare help exit-codes and $page name different exit codes"
done

# ---- devices ----

run 0 devices
ndevices=0
if [ $code -eq 0 ]; then
  says out "selected 1st"
  says out "select by"
  tr -s ' \n' ' ' <"$folder/out" >"$folder/words" # its lines are wrapped
  meaning="Everything runs on it"
  grep -q "selected 2nd" "$folder/out" && meaning="divided among them"
  grep -qF "$meaning" "$folder/words" || fail "pare devices does not say '$meaning'"
  run 0 devices --json
  json
  [ -n "$python" ] && ndevices=$("$python" -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["devices"]))' "$folder/out")
  run 0 -d 0 devices
  run 0 devices -d0 --quiet
  run 0 --device=0 devices
  run 0 devices -d all
  if "$pare" devices -d 0/2 >"$folder/out" 2>/dev/null; then
    tr -s ' \n' ' ' <"$folder/out" >"$folder/words"
    grep -qF "2 selected by -d '0/2'. Work is divided among them" "$folder/words" || fail "pare devices -d 0/2"
  fi
  PARE_DEVICE=no-such-thing run 0 devices -d 0
fi
grep -q $'\033' "$folder/out" && fail "colours in a pipe"
for selector in no-such-thing 99 gpu: 'cpu/' 'cpu/0' '0=fast' '"open' ',' '!all'; do
  run 4 devices -d "$selector"
  [ "$ndevices" -gt 0 ] && says out "select by"
  says err "pare: "
  run 4 devices -d "$selector" --json
  json
  PARE_DEVICE=$selector run 4 devices
  run 4 selftest -d "$selector" --json
  silent out
done

# ---- no device, no driver ----

mkdir -p "$folder/empty"
for command in devices selftest tune 'bench --kernel all'; do
  # shellcheck disable=SC2086 # words
  OCL_ICD_VENDORS=$folder/empty run 4 $command
  says err "pocl-opencl-icd"
done
OCL_ICD_VENDORS=$folder/empty run 4 devices --json
json
OCL_ICD_VENDORS=$folder/empty run 0 help
OCL_ICD_VENDORS=$folder/empty run 0 cache

# ---- output that cannot be written ----

for command in --version help 'help --machine' devices 'devices --json' cache; do
  shown="pare $command >/dev/full"
  # shellcheck disable=SC2086 # words
  "$pare" $command >/dev/full 2>"$folder/err"; code=$?
  : >"$folder/out"
  [ $code -eq 3 ] || fail "$shown: expected exit 3"
  says err "cannot write the output"
  shown="pare $command >&-"
  # shellcheck disable=SC2086 # words
  "$pare" $command >&- 2>"$folder/err"; code=$?
  [ $code -eq 3 ] || fail "$shown: expected exit 3"
  says err "cannot write the output"
  shown="pare $command | true"
  # shellcheck disable=SC2086 # words
  { "$pare" $command 2>"$folder/err"; echo $? >"$folder/code"; } | { exec <&-; sleep 0; }
  code=$(cat "$folder/code")
  case $code in 0 | 3) ;; *) fail "$shown: expected exit 0 or 3" ;; esac
done

# ---- cache ----

export PARE_CACHE=$folder/own-cache
run 0 cache
says out "$PARE_CACHE"
run 0 cache show --json
json
PARE_CACHE=relative run 0 cache
says err '"relative"'
mkdir -p "$PARE_CACHE"
for name in performance.json performance.json.a1b2c3.tmp performance.json.mine; do echo '{}' >"$PARE_CACHE/$name"; done
run 0 cache show --json
says out '"files": 2,'
run 0 cache clear
[ "$(ls "$PARE_CACHE")" = performance.json.mine ] || fail "pare cache clear leaves speeds, or takes a file that is not pare's"
rm "$PARE_CACHE/performance.json.mine"
run 0 cache clear --json
json

if [ "$ndevices" -gt 0 ]; then
  family=gemm_pack # tests quickly
  # The first run fills the cache; the second finds everything there.
  run 0 selftest -d 0 --family "$family"
  says out "0 failed"
  run 0 selftest -d 0 --family "$family" --json
  json
  run 0 selftest -d 0 --family "$family" --again
  run 0 cache --json
  grep -q '"files": 0,' "$folder/out" && fail "the cache is empty after a self-test"
  run 0 bench -d 0 --kernel ticketed # has one small problem
  says out "40 steps"
  run 0 bench -d 0 --kernel ticketed --json
  json
  run 0 tune -d 0 --family "$family" --budget 200ms
  says out "$PARE_CACHE"
  run 0 cache clear

  # A folder that cannot be written or made is a warning.
  : >"$folder/file"
  PARE_CACHE=$folder/file/cache run 0 selftest -d 0 --family "$family"
  says out "0 failed"
  says err "warning"
  PARE_CACHE=$folder/file/cache run 0 -q selftest -d 0 --family "$family"
  silent err
  read_only=/proc/self # root may write in any folder but those of the kernel
  [ "$(id -u)" -eq 0 ] || { read_only=$folder/read-only; mkdir "$read_only" && chmod 555 "$read_only"; }
  PARE_CACHE=$read_only run 0 selftest -d 0 --family "$family"
  says out "0 failed"
  says err "warning"

  # Kernels that are not there: exit 4, and where they were looked for.
  PARE_KERNEL_PATH=$folder/empty PARE_CACHE=$folder/other run 0 devices
  says out "select by"
  PARE_KERNEL_PATH=$folder/empty PARE_CACHE=$folder/other run 4 selftest -d 0 --family "$family"
  says err "$folder/empty"
  PARE_KERNEL_PATH=$folder/empty PARE_CACHE=$folder/other run 4 bench -d 0 --kernel "$family"
  says err "$folder/empty"
fi

# ---- a model whose loop never ends: y = x + x, again and again ----

if [ "$ndevices" -gt 0 ]; then
  base64 -d >"$folder/endless.onnx" <<'ENCODED'
CAg6sQEKfQoACgRjb25kCgF4EgF5IgRMb29wKmcKBGJvZHkyXAoOCgF2CgF2EgF3IgNBZGQSAWJaCwoBaRIGCgQIBxIAWgsKAWMSBgoECAkSAF
oPCgF2EgoKCAgBEgQKAggBYgsKAWMSBgoECAkSAGIPCgF3EgoKCAgBEgQKAggBoAEFEgFnKgsQCUIEY29uZEoBAVoPCgF4EgoKCAgBEgQKAggB
Yg8KAXkSCgoICAESBAoCCAFCBAoAEBE=
ENCODED
  run 4 run "$folder/endless.onnx" --loop-limit 100
  says err "100 iterations"
  run 2 run "$folder/endless.onnx" --loop-limit none
fi

# SIGINT once the command listens to it, as a shell in the foreground sends it; one that runs scripts in the background
# has it ignored, which commands inherit.
if [ "$ndevices" -gt 0 ] && [ -n "$python" ] && [ -r /proc/self/status ]; then
  shown="pare run, interrupted"
  "$python" - "$pare" run "$folder/endless.onnx" --loop-limit 1000000000000 >"$folder/out" 2>"$folder/err" <<'ENDED'
import signal, subprocess, sys, time

def caught(process):
    with open(f"/proc/{process.pid}/status") as status:
        return any(line.startswith("SigCgt:") and int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1 for line in status)

process = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
while process.poll() is None and not caught(process):
    time.sleep(0.01)
time.sleep(0.5)  # mostly, its loop has begun
process.send_signal(signal.SIGINT)
try:
    code = process.wait(120)
except subprocess.TimeoutExpired:
    process.kill()
    code = 99
sys.exit(code if code >= 0 else 98)  # a signal ended it
ENDED
  code=$?
  nchecks=$((nchecks + 1))
  [ $code -eq 130 ] || fail "$shown: expected exit 130"
  says err "interrupted"
fi

# ---- man pages and completions know every command and option ----

for command in "${commands[@]}"; do
  page=$srcdir/doc/man/pare-$command.1
  [ "$command" = help ] && page=$srcdir/doc/man/pare.1
  [ -r "$page" ] || { fail "there is no manual page for pare $command"; continue; }
  grep -q "Cm $command" "$srcdir/doc/man/pare.1" || fail "pare(1) does not list $command"
  while IFS=$'\t' read -r _ _ long _; do
    grep -q "Fl ${long#-}" "$page" || fail "$page does not describe $long"
  done < <(awk -F'\t' -v c="$command" '$1 == "option" && $2 == c' "$folder/table")
done
while IFS=$'\t' read -r _ _ long _; do
  grep -q "Fl ${long#-}" "$srcdir/doc/man/pare.1" || fail "pare(1) does not describe $long"
done < <(awk -F'\t' '$1 == "option" && $2 == "-"' "$folder/table")

shown="links of the manual" code=0
while IFS=: read -r page target; do
  nchecks=$((nchecks + 1))
  [ -e "$(dirname "$page")/$target" ] || fail "$page links to $target, which is not there"
done < <(grep -oHE '\]\([^)#:]+\)' "$srcdir"/README.md "$srcdir"/doc/*.md | sed -E 's/:\]\((.*)\)$/:\1/')

if command -v mandoc >/dev/null; then
  shown="mandoc -T lint" code=0
  mandoc -T lint -W warning "$srcdir"/doc/man/*.[13] >"$folder/out" 2>"$folder/err" || code=$?
  [ $code -eq 0 ] || fail "the manual pages have mistakes"
fi

for shell in bash zsh; do
  command -v $shell >/dev/null || continue
  $shell "$srcdir/tests/cli/complete.$shell" "$srcdir" "$pare" >"$folder/out" 2>"$folder/err"
  code=$?
  shown="completion of $shell"
  silent err
  for command in "${commands[@]}"; do
    says out "<> $command"
    while IFS=$'\t' read -r _ _ long _; do says out "<$command> $long"; done < <(
      awk -F'\t' -v c="$command" '$1 == "option" && ($2 == c || $2 == "-")' "$folder/table")
  done
  for word in gemm all; do grep -q "<bench --kernel> $word" "$folder/out" || fail "$shown: bench --kernel $word"; done
  says out "<cache> clear"
  says out "<help> selectors"
  says out "<inspect --show> memory"
  says out "<--log> debug"
  says out "<-d> gpu"
done

echo "$nchecks checks, $nfailed failed"
[ $nfailed -eq 0 ]
