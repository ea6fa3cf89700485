#!/usr/bin/env bash
# Installs (Debian, root) what the tests, or with the argument "fault" the fault runner, need and this machine lacks. Silent when nothing is missing.
set -euo pipefail

missing=()

# component PACKAGES COMMAND...: any one of the commands is enough.
component() {
  local packages=$1 command
  shift
  for command in "$@"; do
    if command -v "$command" >/dev/null; then return; fi
  done
  # PACKAGES is split into words.
  # shellcheck disable=SC2206
  missing+=($packages)
}

what=${1:-test}

if ! scripts/has-cxx-runtime.sh; then
  missing+=(g++)
fi

# The browser of the page's tests, with a font so that a screenshot shows text.
if [ "$what" = test ] && [ -z "${CHROMIUM_PATH:-}" ]; then
  component "chromium fonts-liberation" chromium
fi

# The server that the tests of the fleet's store start. Debian keeps its programs out of the PATH.
if [ "$what" = test ] && [ -z "${PULSESTREAM_TEST_POSTGRES_BIN:-}" ]; then
  component postgresql-15 /usr/lib/postgresql/*/bin/postgres postgres
fi

# Faults of system calls are injected by strace; the disks that lose power are ext4.
if [ "$what" = fault ]; then
  component strace strace
  component e2fsprogs mkfs.ext4 /sbin/mkfs.ext4
fi

if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "This needs: ${missing[*]}. This machine has no apt-get: install them by hand (or set CHROMIUM_PATH to a Chromium)." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "This needs: ${missing[*]}. Installing them takes root: sudo apt-get install ${missing[*]}" >&2
  echo "(make test-fast needs none of them, and make fault leaves out what it cannot do.)" >&2
  exit 1
fi

echo "$what: installing ${missing[*]} (a few minutes, the first time only)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  tail -n 30 "$log" >&2
  echo "Installing ${missing[*]} failed: see above." >&2
  exit 1
fi
