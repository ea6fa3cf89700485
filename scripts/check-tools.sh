#!/usr/bin/env bash
# Says what is missing before a build starts, so that nobody has to read it out of a linker's error. Silent when all is there.
# usage: check-tools.sh go|node...
set -euo pipefail

missing=0
need() {
  echo "missing: $1" >&2
  missing=1
}

check_go() {
  if ! command -v "${GO:-go}" >/dev/null; then
    need "Go 1.26 or later (https://go.dev/dl/)"
  elif ! scripts/has-cxx-runtime.sh; then
    need "a C compiler with the C++ runtime (Debian: apt-get install gcc g++)"
  fi
}

check_node() {
  if ! command -v node >/dev/null || ! command -v "${NPM:-npm}" >/dev/null; then
    need "Node.js 20.19 or later, with npm (https://nodejs.org/)"
  elif ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
    need "Node.js 20.19 or later (this is $(node --version))"
  fi
}

for tool in "$@"; do
  case $tool in
    go) check_go ;;
    node) check_node ;;
  esac
done
exit "$missing"
