#!/usr/bin/env bash
# Runs each fuzz target of the module for FUZZTIME. Go fuzzes one target of one package at a time.
set -euo pipefail

go=${GO:-go}
found=0
while read -r directory; do
  targets=$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$directory"/*_test.go 2>/dev/null) || true
  for target in $targets; do
    found=1
    echo "fuzz: $target in ${directory#"$PWD"/} for ${FUZZTIME:-20s}"
    "$go" test -vet=off -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" "$directory" </dev/null
  done
done < <("$go" list -f '{{.Dir}}' ./...)
if [ "$found" -eq 0 ]; then echo "fuzz: there are no fuzz targets"; fi
