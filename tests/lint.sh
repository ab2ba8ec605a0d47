#!/usr/bin/env bash
# Checks what the compiler does not see: a folder includes only folders below it, lines, functions and files have a
# bounded length, comments are sentences, and nothing is left undone. Prints each offence as file:line: what, and exits
# with 1 if there is any.
set -u
cd "$(dirname "$0")/.."
status=0
offence() { echo "$1"; status=1; }

declare -A may_include=(
  [core]="core" [kernels]="kernels core" [text]="text core" [models]="models kernels text core"
  [training]="training models kernels text core" [tasks]="tasks training models kernels text core"
  [report]="report training models kernels text core"
  [commands]="commands report tasks training models kernels text core"
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
# A function's body, in the style of .clang-format, begins with a line that is indented by nothing or (in a class) by two
# spaces and ends in "{", and it ends with the next "}" that stands as far in.
while IFS= read -r found; do offence "$found"; done < <(awk '
  FNR == 1 { start[0] = start[2] = 0 }
  /^(  )?[A-Za-z_~].*\{$/ && !/^ *(namespace|struct|class|enum|union|extern|if|for|while|switch|else|do|public|private)[ :]/ &&
  !/^ *template <.*> (struct|class) / { start[/^ / ? 2 : 0] = FNR }
  /^(  )?\}/ {
    indent = /^ / ? 2 : 0
    if (start[indent] && FNR - start[indent] >= 80)
      print FILENAME ":" start[indent] ": a function of " FNR - start[indent] + 1 " lines; it may have 80"
    start[indent] = 0
  }' "${sources[@]}")
while IFS=: read -r file line _; do offence "$file:$line: a comment is a sentence: it begins with its subject"; done \
  < <(grep -nE '^ *// (Of|What|Where|Which|Who|Whose|Whoever)\b' "${sources[@]}" /dev/null)
while IFS= read -r found; do offence "$found"; done \
  < <(grep -nEi '\b(TODO|FIXME|XXX|HACK)\b' "${sources[@]}" /dev/null)
while IFS=: read -r file line _; do
  offence "$file:$line: a parameter's value is written by Parameters::write, which keeps its rounded copy in step"
done < <(grep -nE '(copy_in|zero)\([a-z_.>-]*value[.,)]|\.y = [a-z_.>-]*value[,}]' $(git ls-files 'models/*.cc' 'training/*.cc' 'tasks/*.cc' \
  ':!models/parameters.cc') /dev/null)
# Several test files are compiled as one.
for file in $(git ls-files 'tests/test_*.cc' 'tests/cudasim/test_*.cc'); do
  name=$(basename "$file" .cc)
  grep -q "^namespace engine::test::$name {" "$file" || offence "$file:1: its names lie in no namespace engine::test::$name"
done
((status)) || echo "lint: ${#sources[@]} files, nothing to say"
exit $status
