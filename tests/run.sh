#!/usr/bin/env bash
# Runs a test program, each file's cases in a process of its own, a process a processor. Of a file that fails all that it
# wrote is shown, of others one line.
#
#     tests/run.sh PROGRAM [DOCTEST_OPTION...] -- FILE...
#
# Ends with a line "N passed, N failed" over all cases, with ", N skipped" behind it where some skipped themselves
# (tests/skip.h). A process that came to no summary counts as one that failed.
set -uo pipefail
export TEST_PROGRAM=$1
shift
options=()
while [ "$1" != -- ]; do options+=("$1"); shift; done
shift
TEST_RESULTS=$(mktemp -d)
export TEST_RESULTS
trap 'rm -rf "$TEST_RESULTS"' EXIT

# of_file FILE [DOCTEST_OPTION...]
of_file() {
  local log="$TEST_RESULTS/${1//\//_}" start=$SECONDS code summary passed=0 failed=0 skipped
  "$TEST_PROGRAM" --source-file="*$1" "${@:2}" >"$log" 2>&1
  code=$?
  summary=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^\[doctest\] test cases:' | tail -n 1)
  [[ $summary =~ ([0-9]+)\ passed ]] && passed=${BASH_REMATCH[1]}
  [[ $summary =~ ([0-9]+)\ failed ]] && failed=${BASH_REMATCH[1]}
  ((code == 0 || failed)) || failed=1
  ((failed == 0)) || cat "$log"
  # To the test framework a case that skipped itself has passed.
  skipped=$(grep -c '^skipped: ' "$log")
  ((passed -= skipped))
  ((passed + failed + skipped == 0)) && return
  grep '^skipped: ' "$log"
  echo "$1: $passed passed, $failed failed, $skipped skipped, $((SECONDS - start)) s" | tee -a "$TEST_RESULTS/counts"
}
export -f of_file

printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -I{} bash -c 'of_file "$@"' of_file {} "${options[@]}"
awk '{ passed += $2; failed += $4; skipped += $6 }
  END {
    print passed + 0 " passed, " failed + 0 " failed" (skipped ? ", " skipped " skipped" : "")
    exit failed > 0 || passed + skipped == 0
  }' "$TEST_RESULTS/counts"
