# PulseStream: `make help` lists the targets.

# ---- settings, each to be overridden on the command line: make test GOTESTFLAGS=-v ------------------------------

GO             ?= go
NPM            ?= npm
VERSION        ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOLANGCI       ?= v2.15.0
GOVULNCHECK    ?= v1.9.0
GITLEAKS       ?= v8.30.1
FUZZTIME       ?= 20s
GOTESTFLAGS    ?=
ARGS           ?=
BENCH          ?= .
COUNT          ?= 6
PKG            ?= ./internal/event ./internal/ingest ./internal/metric ./internal/process ./internal/series ./internal/store/column ./internal/store/shred ./internal/store/segment

# ---- how make itself behaves ------------------------------------------------------------------------------------

SHELL          := /bin/sh
.SHELLFLAGS    := -eu -c
.DEFAULT_GOAL  := help
.DELETE_ON_ERROR:
# Every step uses all cores by itself, and some order matters: components come before the compiler is looked for.
.NOTPARALLEL:
MAKEFLAGS      += --no-print-directory

# DuckDB is linked as a C++ library, so there is no build without cgo.
export CGO_ENABLED := 1
# The tests use the browser of the machine; Playwright's own is several hundred megabytes.
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD := 1
export GO NPM VERSION GOTESTFLAGS FUZZTIME GOVULNCHECK GITLEAKS

BIN            := bin/pulsestream
PAGE           := internal/ui/dist/index.html
MODULES        := web/node_modules/.package-lock.json
LINTER         := .tools/golangci-lint-$(GOLANGCI)/golangci-lint
# Folders are listed too, so that a file that was removed counts as a change.
PAGE_SOURCES   := $(shell find web/src web/public 2>/dev/null) web/index.html web/package-lock.json \
                  $(wildcard web/vite.config.* web/svelte.config.* web/tsconfig*.json)
FAULT_BINS     := bin/pulsestream-faults bin/pulsestream-plain bin/faultrun
SHELL_SCRIPTS  := .ci/run $(wildcard scripts/*.sh)

# ---- everyday ---------------------------------------------------------------------------------------------------

.PHONY: help
help: ## list the targets
	@echo 'make TARGET, where TARGET is one of:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'From a fresh clone, `make run` builds the server and the page and serves the demo on http://127.0.0.1:8080.'

.PHONY: build
build: tools-all $(PAGE) ## build bin/pulsestream, the page included
	@scripts/go-build.sh $(BIN) ./cmd/pulsestream

.PHONY: run
run: build ## build what is missing and run the demo on http://127.0.0.1:8080
	@exec $(BIN) demo $(ARGS)

.PHONY: test
test: components build ## run every test: Go, end-to-end, web unit, browser (installs what they need)
	@scripts/test.sh all

.PHONY: test-fast
test-fast: tools-go ## run the Go tests that need nothing but Go, in short mode
	@scripts/test.sh fast

.PHONY: test-race
test-race: tools-go ## run the same tests under the race detector
	@GOTESTFLAGS='-race $(GOTESTFLAGS)' scripts/test.sh fast

.PHONY: lint
lint: tools-all $(LINTER) $(MODULES) ## check Go, TypeScript and shell sources, and look for secrets and known vulnerabilities
	@echo 'lint: Go, formatting included (the first run compiles everything, which takes some minutes)'
	@$(LINTER) run --allow-parallel-runners ./...
	@echo 'lint: shell'
	@for f in $(SHELL_SCRIPTS); do bash -n "$$f"; done
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); fi
	@echo 'lint: web'
	@cd web && $(NPM) run --silent check
	@echo 'lint: secrets and known vulnerabilities'
	@scripts/scan.sh secrets vulnerabilities packages

.PHONY: fmt
fmt: $(LINTER) $(MODULES) ## format Go and TypeScript sources
	@$(LINTER) fmt
	@cd web && $(NPM) run --silent format

.PHONY: bench
bench: build ## measure everything once, in some minutes (make bench ARGS='--help' says what can be set; ARGS='--parts all' does each five times)
	@$(BIN) bench $(or $(ARGS),--parts all --runs 1 --for 5s --events 1000000)

.PHONY: bench-long
bench-long: build ## store 100 million events (some 20 GB, most of an hour) and ask for them
	@$(BIN) bench --parts read --events 100000000 $(or $(ARGS),--runs 3)

.PHONY: bench-go
bench-go: tools-go ## run the benchmarks of the hot functions; the output is for benchstat (make bench-go BENCH=Parse PKG=./internal/event)
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG)

.PHONY: fuzz
fuzz: tools-go ## run each fuzz target for FUZZTIME (20s)
	@scripts/fuzz.sh

.PHONY: fault
fault: $(FAULT_BINS) ## break a server in every way and prove that nothing is lost (under 4 minutes; power cuts need root)
	@bin/faultrun -binary bin/pulsestream-faults -plain bin/pulsestream-plain $(ARGS)

.PHONY: fault-long
fault-long: $(FAULT_BINS) ## the same for a night: over 200 kills, 50 power cuts, 1 000 failed system calls, 200 flipped bits
	@bin/faultrun -binary bin/pulsestream-faults -plain bin/pulsestream-plain -long $(ARGS)

.PHONY: deploy-check
deploy-check: tools-go ## check the Helm chart with Helm's and Kubernetes' own code (a module of its own: some minutes the first time)
	@cd deploy/check && $(GO) test -count=1 ./...

.PHONY: kms-check
kms-check: tools-go ## check the encryption of secrets under a KMS of somebody else's making (a module of its own: half a minute the first time)
	@cd internal/vault/awskms/localkms && CGO_ENABLED=0 $(GO) build -o '$(CURDIR)/.tools/localkms' .
	@PULSESTREAM_TEST_KMS='$(CURDIR)/.tools/localkms' $(GO) test -count=1 -v -run KMSByOthers ./internal/vault/awskms

.PHONY: clean
clean: ## remove what was built; downloaded modules and linters stay
	@rm -rf bin web/.test web/test-results web/playwright-report
	@find internal/ui/dist -mindepth 1 ! -name .gitkeep -delete 2>/dev/null || true

.PHONY: distclean
distclean: clean ## remove node_modules and the linter as well
	@rm -rf web/node_modules .tools

# ---- parts ------------------------------------------------------------------------------------------------------

.PHONY: tools-go tools-all
tools-go:
	@scripts/check-tools.sh go
tools-all:
	@scripts/check-tools.sh go node

# The server under fault may have no page, and its worker fails at events of the types fault.panic and fault.commit; the plain one doesn't.
.PHONY: $(FAULT_BINS)
bin/pulsestream-faults: tools-go
	@GOFLAGS=-tags=faults scripts/go-build.sh $@ ./cmd/pulsestream
bin/pulsestream-plain: tools-go
	@scripts/go-build.sh $@ ./cmd/pulsestream
bin/faultrun: tools-go
	@scripts/go-build.sh $@ ./fault/cmd/faultrun

.PHONY: components fault-components
components:
	@scripts/test-components.sh test
fault-components:
	@scripts/test-components.sh fault

# Vite empties the folder first; web/public/.gitkeep puts the file back that makes a checkout without a page compile.
$(PAGE): $(PAGE_SOURCES) $(MODULES)
	@echo 'build: the page'
	@cd web && $(NPM) run --silent build -- --logLevel warn
	@touch $@

$(MODULES): web/package-lock.json web/package.json
	@echo 'build: fetching the npm packages of the page (about 190 MB unpacked, the first time only)'
	@cd web && $(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

$(LINTER):
	@echo 'lint: building golangci-lint $(GOLANGCI) into .tools (about two minutes, the first time only)'
	@GOBIN='$(CURDIR)/$(@D)' CGO_ENABLED=0 GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
