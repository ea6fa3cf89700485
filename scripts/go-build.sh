#!/usr/bin/env bash
# Builds one Go binary, and shows how far it is: the first build compiles DuckDB's bindings, SQLite and NATS.
# usage: go-build.sh OUTPUT PACKAGE
set -euo pipefail

go=${GO:-go}
output=$1
package=$2

if [ ! -e "$output" ]; then
  echo "build: $output (the first build fetches its modules and takes some minutes)"
fi

tty=0
if [ -t 2 ]; then tty=1; fi

# With -v, go prints the path of each package that it compiles, and one line for each module that it fetches.
# Everything else it says is an error and is passed on as it is.
"$go" build -v -buildvcs=false -ldflags "-s -w -X main.version=${VERSION:-dev}" -o "$output" "$package" 2>&1 | awk -v tty="$tty" '
  function progress(text) {
    if (tty) {
      printf "\r\033[K  %s", text > "/dev/stderr"
    } else if (text != last && (fetched + compiled) % 50 == 0) {
      print "  " text > "/dev/stderr"
    }
    last = text
  }
  /^go: downloading / { fetched++;  progress("fetched " fetched " modules"); next }
  /^[A-Za-z0-9_.\/@~-]+$/ { compiled++; progress("compiled " compiled " packages" (tty ? ": " $0 : "")); next }
  { if (tty && last != "") printf "\r\033[K" > "/dev/stderr"; last = ""; print > "/dev/stderr" }
  END { if (tty && last != "") printf "\r\033[K" > "/dev/stderr" }
'
