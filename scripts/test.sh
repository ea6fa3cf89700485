#!/usr/bin/env bash
# Runs the tests, goes on after a failure, and ends with one line: N passed, N failed.
# usage: test.sh fast|all
set -euo pipefail

go=${GO:-go}
npm=${NPM:-npm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
failed_parts=()

# count PART PASSED FAILED SKIPPED EXIT: adds up; a part that ended badly without a failed test counts as one failure.
count() {
  local part=$1 fails=$3
  if [ "$5" -ne 0 ] && [ "$fails" -eq 0 ]; then fails=1; fi
  if [ "$fails" -ne 0 ]; then failed_parts+=("$part"); fi
  passed=$((passed + $2))
  failed=$((failed + fails))
  skipped=$((skipped + $4))
}

# number PATTERN FILE: the number in the last line of FILE that matches, or 0. The first group of PATTERN is the number.
number() {
  sed -nE "s/$1/\\1/p" "$2" | tail -n 1 | grep . || echo 0
}

# go_tests PART ARGUMENTS...: go test -v, of which only failures, skips and the line of each package are shown.
go_tests() {
  local part=$1 status=0
  shift
  echo "test: $part"
  # shellcheck disable=SC2086 # GOTESTFLAGS holds several flags
  "$go" test -vet=off -v ${GOTESTFLAGS:-} "$@" 2>&1 | awk -v counts="$work/counts" '
    /^=== (RUN|PAUSE|CONT|NAME) / { next }
    /^go: downloading / { next }
    /^ *--- PASS: / { if ($0 ~ /^---/) pass++; next }
    /^ *--- SKIP: / { if ($0 ~ /^---/) skip++; print $0 (remark == "" ? "" : "\n" remark); remark = ""; next }
    /^--- FAIL: / { fail++; blamed = 1 }
    /^(ok  |\?   )\t/ { if ($0 !~ /\[no test files\]/) print; text = ""; fflush(); next }
    # A package may fail without a failed test: it does not compile, or it panics.
    /^FAIL\t/ { if (!blamed) fail++; blamed = 0; printf "%s", text; print; text = ""; fflush(); next }
    /^(PASS|FAIL)$/ { next }
    { remark = /^ / ? $0 : ""; text = text $0 "\n" }
    END { printf "%s", text; print pass + 0, fail + 0, skip + 0 > counts }
  ' || status=$?
  local p f s
  read -r p f s <"$work/counts"
  count "$part" "$p" "$f" "$s" "$status"
}

# web_tests PART PASS-PATTERN FAIL-PATTERN ARGUMENTS...: an npm script of web/, shown as it is.
web_tests() {
  local part=$1 pass_pattern=$2 fail_pattern=$3 status=0
  shift 3
  echo "test: $part"
  (cd web && CI=1 FORCE_COLOR=0 "$npm" run --silent "$@") 2>&1 </dev/null | tee "$work/web" || status=$?
  count "$part" "$(number "$pass_pattern" "$work/web")" "$(number "$fail_pattern" "$work/web")" 0 "$status"
}

if [ "$1" = fast ]; then
  go_tests 'Go, short' -short ./...
else
  # End-to-end tests measure time and start real servers, so they run after the others and one package at a time;
  # what they test is a binary, which go's test cache does not know of.
  packages=$("$go" list ./... | grep -vE '/e2e(/|$)')
  # shellcheck disable=SC2086 # one word for each package
  go_tests 'Go' $packages
  if [ -d e2e ]; then
    PULSESTREAM_BIN=$PWD/bin/pulsestream go_tests 'Go, end to end' -count=1 -p 1 -timeout 15m ./e2e/...
  fi
  web_tests 'web, unit' '^[^a-z]*pass ([0-9]+)$' '^[^a-z]*fail ([0-9]+)$' test
  PULSESTREAM_BIN=$PWD/bin/pulsestream web_tests 'web, browser' '^ +([0-9]+) passed.*$' '^ +([0-9]+) failed$' e2e
fi

echo
if [ "${#failed_parts[@]}" -ne 0 ]; then
  printf 'failed: %s\n' "${failed_parts[@]}"
fi
if [ "$skipped" -ne 0 ]; then
  echo "$skipped skipped, each with its reason above"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
