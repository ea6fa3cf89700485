#!/usr/bin/env bash
# Exits with 0 when the C compiler can link the C++ runtime. DuckDB's static library wants its development files, which
# Debian's gcc package alone does not bring along.
set -euo pipefail

cc=$("${GO:-go}" env CC)
# CC may hold a command with flags, so it is split into words.
# shellcheck disable=SC2086
echo 'int main(void) { return 0; }' | $cc -x c - -lstdc++ -o /dev/null 2>/dev/null
