#!/usr/bin/env bash
# What the compiler does not see: a folder includes only folders below it, lines and files have a bounded length, and
# nothing is left undone. Prints each offence as file:line: what; exits with 1 if there is any.
set -u
cd "$(dirname "$0")/.."
status=0
offence() { echo "$1"; status=1; }

declare -A may_include=(
  [core]="core" [kernels]="kernels core" [text]="text core" [models]="models kernels text core"
  [training]="training models kernels text core" [tasks]="tasks training models kernels text core"
  [commands]="commands tasks training models kernels text core"
)
for folder in "${!may_include[@]}"; do
  while IFS=: read -r file line include; do
    target=$(sed -E 's/.*"([a-z]+)\/.*/\1/' <<<"$include")
    [[ " ${may_include[$folder]} " == *" $target "* ]] || offence "$file:$line: $folder/ includes $target/, which is not below it"
  done < <(grep -rnE '^#include "[a-z]+/' "$folder" --include='*.cc' --include='*.h' --include='*.cu')
done

mapfile -t sources < <(git ls-files '*.cc' '*.h' '*.cu' '*.cuh')
for file in "${sources[@]}"; do
  lines=$(wc -l <"$file")
  ((lines <= 400)) || offence "$file:1: $lines lines; a file has at most 400"
done
((${#sources[@]})) && while IFS= read -r found; do offence "$found: longer than 120 columns"; done \
  < <(awk 'length($0) > 120 {print FILENAME ":" FNR}' "${sources[@]}")
while IFS= read -r found; do offence "$found"; done \
  < <(grep -nEi '\b(TODO|FIXME|XXX|HACK)\b' "${sources[@]}" /dev/null)
while IFS=: read -r file line _; do
  offence "$file:$line: a parameter's value is written by Parameters::write, which keeps its rounded copy in step"
done < <(grep -nE '(copy_in|zero)\([a-z_.>-]*value[.,)]|\.y = [a-z_.>-]*value[,}]' $(git ls-files 'models/*.cc' 'training/*.cc' 'tasks/*.cc' \
  ':!models/parameters.cc') /dev/null)
((status)) || echo "lint: ${#sources[@]} files, nothing to say"
exit $status
