#!/usr/bin/env bash
# Looks for known vulnerabilities in what the code calls, and for secrets in the sources. The tools are built once into .tools.
# What needs data from outside says in one line that it could not be had, and the rest goes on.
# usage: scan.sh vulnerabilities|secrets|packages...
set -euo pipefail

go=${GO:-go}
npm=${NPM:-npm}
tools=$PWD/.tools

# tool NAME VERSION MODULE: builds a program into .tools, the first time only, and prints its path.
tool() {
  local at=$tools/$1-$2
  if [ ! -x "$at/$1" ]; then
    echo "scan: building $1 $2 into .tools (under a minute, the first time only)" >&2
    GOBIN=$at CGO_ENABLED=0 GOFLAGS='' "$go" install -ldflags '-s -w' "$3@$2" >&2
  fi
  echo "$at/$1"
}

unreachable() { # WHAT WHERE
  echo "scan: NOT CHECKED: $1, because $2 cannot be reached from here"
}

vulnerabilities() {
  local program out status=0
  program=$(tool govulncheck "${GOVULNCHECK:?}" golang.org/x/vuln/cmd/govulncheck)
  # Which database it is can be set as for govulncheck itself. Whether it answers is asked first: to load the packages takes a while.
  local database=${GOVULNDB:-https://vuln.go.dev}
  if ! out=$("$program" -db "$database" -mode query -format json stdlib@go1.20 2>&1); then
    unreachable 'known vulnerabilities of Go modules' "$database"
    return
  fi
  out=$("$program" -db "$database" ./... 2>&1) || status=$?
  [ "$status" -eq 0 ] || echo "$out"
  return "$status"
}

secrets() {
  local program
  program=$(tool gitleaks "${GITLEAKS:?}" github.com/zricethezav/gitleaks/v8)
  # What git knows is what can be published; node_modules, data and builds are no sources.
  local files
  files=$(mktemp -d)
  # shellcheck disable=SC2064 # the directory of this call
  trap "rm -rf '$files'" RETURN
  git ls-files -z --cached --others --exclude-standard | grep -zvE '^web/package-lock\.json$|^go\.sum$|\.png$' |
    tar --null --files-from - --ignore-failed-read -cf - 2>/dev/null | tar -xf - -C "$files"
  (cd "$files" && "$program" dir . --no-banner --no-color --log-level error --redact=60 --verbose)
}

packages() {
  local out status=0
  out=$(cd web && timeout 60 "$npm" audit --omit=optional --audit-level=low 2>&1) || status=$?
  case $out in
    *'found 0 vulnerabilities'*) ;;
    *ENOTFOUND* | *ECONNREFUSED* | *EAI_AGAIN* | *ETIMEDOUT* | *'audit endpoint returned an error'* | '') unreachable 'known vulnerabilities of npm packages' 'the registry' ;;
    *)
      echo "$out"
      return "$status"
      ;;
  esac
}

for what in "$@"; do
  "$what"
done
