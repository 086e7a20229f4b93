# Prints what bash completes: "<words before> word". SPDX-License-Identifier: Apache-2.0
# usage: complete.bash SRCDIR PARE
source "$1/doc/completion/bash/pare"
program=$2
offer() {
  COMP_WORDS=("$program" "$@") COMP_CWORD=$# COMPREPLY=()
  _pare
  local before=("${@:1:$#-1}") word
  for word in "${COMPREPLY[@]}"; do echo "<${before[*]}> $word"; done
}
offer ''
while IFS=$'\t' read -r kind name _; do
  [ "$kind" = command ] || continue
  offer "$name" --
  offer "$name" ''
done < <("$program" help --machine)
offer bench --kernel ''
offer inspect --show ''
offer --log ''
offer -d ''
