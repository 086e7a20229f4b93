# Prints what zsh completes: "<words before> word". SPDX-License-Identifier: Apache-2.0
# usage: complete.zsh SRCDIR PARE
# The completion runs outside of the line editor: what it calls there is replaced by functions that print.
program=$2
functions[complete_pare]=$(<$1/doc/completion/zsh/_pare)
_describe() {
  [[ $1 == -o ]] && shift
  local entry
  for entry in "${(@P)2}"; do print -r -- "<$before> ${entry%%:*}"; done
}
_files() { :; }
compset() { :; }
offer() {
  words=($program "$@") CURRENT=$(($# + 1)) before="${(j: :)${(@)argv[1,-2]}}"
  complete_pare
}
offer ''
while IFS=$'\t' read -r kind name _; do
  [[ $kind == command ]] || continue
  offer $name --
  offer $name ''
done < <($program help --machine)
offer bench --kernel ''
offer inspect --show ''
offer --log ''
offer -d ''
