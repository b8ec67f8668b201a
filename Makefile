# Two commands matter: `make run` and `make test`. Both fetch and build what is missing first, into the user's cache,
# never into this directory. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Go, `make tools` and `patchbay dev` all keep their caches below HOME: a runner that leaves it unset, or names a
# directory that cannot be written, gets a usable one.
export HOME := $(shell tools/install --home)
# Only this module counts, whatever go.work stands above the checkout.
export GOWORK := off

# Packages whose tests take minutes, in the order in which they are begun: the last to end is no long one that runs alone.
longest := ./internal/e2e ./internal/crash ./starters ./internal/sandbox ./internal/devenv ./internal/web

# The rest of a command line: make run ARGS='--http 127.0.0.1:9000', make test TESTFLAGS='-run TestX -v' PKG=./internal/run
ARGS ?=
TESTFLAGS ?=
PKG ?= $(longest) ./...
FUZZTIME ?= 2m

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## Install what running needs: the Temporal CLI and PostgreSQL (about five minutes once, then nothing)
	@tools/install temporal postgresql

.PHONY: test-tools
test-tools: ## Install what tests need besides: a C compiler for the race detector, Chromium and the rules of its accessibility audit, the full Temporal server, an OData server by SAP, Dovecot
	@tools/install gcc chromium axe-core temporal-server cap dovecot

.PHONY: build
build: ## Build ./bin/patchbay
	@echo 'building patchbay (about a minute the first time)'
	@go build -buildvcs=false -o bin/patchbay .

.PHONY: run
run: tools build ## Run everything on this machine: PostgreSQL, Temporal, sandbox, workers, API, console
	@exec ./bin/patchbay dev $(ARGS)

.PHONY: compiled
compiled: ## Compile what tests are and what they start: once, so that no test waits for a compiler later
	@go list -export -f '' ./... >/dev/null
	@go list -export -tags failpoints -f '' ./... >/dev/null
	@go list -export -race -test -f '' ./... >/dev/null

# vet is a part of `make lint`, and nobody looks at a test binary with a debugger: neither costs a minute here.
.PHONY: test
test: tools test-tools ## Run every test with the race detector, on one PostgreSQL and one Temporal
	@go run ./internal/devenv/testenv/with -- go test -race -vet=off -ldflags=-w -timeout 30m $(TESTFLAGS) $(PKG)

.PHONY: lint
lint: check-determinism ## Run go vet, the linters of .golangci.yml and check-determinism
	@tools/install golangci-lint
	@go vet ./...
	@go vet -tags failpoints ./internal/failpoint ./internal/store ./internal/durable ./internal/connector
	@"$$(tools/install --path golangci-lint)" run ./...

.PHONY: check-determinism
check-determinism: ## Prove that no workflow reads a clock, the environment, a map in its order, or does I/O
	@tools/install workflowcheck
	@"$$(tools/install --path workflowcheck)" ./workflows/... ./internal/contract

.PHONY: replay
replay: ## Replay the recorded histories against the workflows as they are now
	@go test ./workflows -run Replay -count=1 -v

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (2m each); PKG=./internal/expr those of one package
	@go list -f '{{.Dir}}' $(PKG) | while read -r dir; do \
	  (grep -hos '^func Fuzz[A-Za-z]*' "$$dir"/*_test.go || true) | cut -c6- | while read -r target; do \
	    echo "== $$target in $${dir#$(CURDIR)/}"; \
	    go test "$$dir" -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $(TESTFLAGS) </dev/null; \
	  done; \
	done

.PHONY: bench
bench: tools ## Measure a press beside a bare workflow that makes the same calls
	@go run ./internal/bench $(ARGS)

# How many kills, and from which seed the schedule follows: make crash KILLS=200 SEED=1. GAP is the mean time between two
# in seconds, ALONE how often each kind is struck once more by itself, to measure recovery.
KILLS ?= 50
SEED ?= 1
GAP ?= 4
ALONE ?= 0

.PHONY: crash
crash: tools ## End processes at random while people press: make crash KILLS=200 SEED=1
	@go test -count=1 -timeout 12h -v -run TestRandomKills ./internal/crash -kills $(KILLS) -seed $(SEED) -gap $(GAP) -alone $(ALONE) -shipkills $(KILLS)

# How many: make cancels CANCELS=1000
CANCELS ?= 1000

.PHONY: cancels
cancels: tools ## Cancel presses at random moments and hold each certificate against the target
	@go test -count=1 -timeout 2h -v -run TestEachCertificate ./internal/crash -cancels $(CANCELS) -seed $(SEED)

# Blows of kill -9 while a picture of ROWS customers is made: make pictures KILLS=50 ROWS=200000 SEED=1
ROWS ?= 200000
.PHONY: pictures
pictures: tools ## Kill patchbay KILLS times while it consolidates three tables, and compare with SQL
	@go test -count=1 -timeout 2h -v -run TestAPictureIsExact ./internal/e2e -picture-kills $(KILLS) -picture-rows $(ROWS) -picture-seed $(SEED)

# How many values are planted: make residency VALUES=10000
VALUES ?= 10000
.PHONY: residency
residency: tools ## Plant VALUES recognisable values in one of three regions and look for them wherever another keeps or sends anything
	@go test -count=1 -timeout 1h -v -run TestNothingIsFoundInOtherData ./internal/residency -noise 1000
	@go run ./internal/devenv/testenv/with -- go test -tags residency -count=1 -timeout 1h -v -run TestNothingThatIsRestrictedLeavesItsRegion ./internal/e2e -residency-values $(VALUES) -residency-servers

.PHONY: residency-mutants
residency-mutants: tools ## Plant leaks in Patchbay, each with a value of its own: the scan of `make residency` has to find each where it is
	@go run ./internal/devenv/testenv/with -- go test -tags residency -count=1 -timeout 1h -v -run TestEveryPlantedLeakIsFoundWhereItIs ./internal/mutants

# make converge RECORDS=50000 FOR=5m BLOW=10s SEED=1: how many records three regions share, for how long they are edited,
# and how often something is killed, cut or stopped meanwhile.
RECORDS ?= 50000
FOR ?= 5m
BLOW ?= 10s

.PHONY: converge
converge: tools ## Edit RECORDS records in three regions at once FOR a while under kills and cuts, and compare with a sequential program
	@go run ./internal/devenv/testenv/with -- go test -count=1 -timeout 2h -v -run TestRegionsConvergeToWhatASequentialProgramSays ./internal/e2e \
	  -sync-rows $(RECORDS) -sync-for $(FOR) -sync-kill $(BLOW) -sync-seed $(SEED)

# How long Temporal and PostgreSQL are away: make outage OUTAGE=60s
OUTAGE ?= 60s

.PHONY: outage
outage: tools ## Take Temporal away for OUTAGE (60s) while people press, and PostgreSQL after it
	@go test -count=1 -timeout 1h -v -run 'TestWhile.*IsDown' ./internal/e2e -outage $(OUTAGE)

.PHONY: mutants
mutants: tools test-tools ## Plant known bugs one by one: each makes the suite fail that claims to catch it
	@tools/install workflowcheck
	@go run ./internal/devenv/testenv/with -- go test -count=1 -timeout 2h -v ./internal/mutants -all

.PHONY: clean
clean: ## Remove what was built here; caches and data (.patchbay) stay
	@rm -rf bin
