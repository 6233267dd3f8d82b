# The first target is what "make" alone does.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# SOURCE_DATE_EPOCH makes a build repeatable; without it the day is enough.
DATE    ?= $(shell date -u $${SOURCE_DATE_EPOCH:+-d @$$SOURCE_DATE_EPOCH} +%Y-%m-%d)
X       := github.com/tagwarden/tagwarden/internal/version
LDFLAGS := -s -w -X $(X).version=$(VERSION) -X $(X).commit=$(COMMIT) -X $(X).date=$(DATE)
LINT    := go tool -modfile=$(CURDIR)/tools/golangci-lint/go.mod golangci-lint

export CGO_ENABLED ?= 0

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/tagwarden
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/tagwarden ./cmd/tagwarden

.PHONY: demo
demo: build ## Replay a recorded attack, in five seconds and without any set-up
	bin/tagwarden demo

.PHONY: lab
lab: build ## Run the attack on a real one-node cluster (root on Linux, else simulated)
	cd lab && go build -o ../bin/lab ./cmd/lab
	bin/lab run --tagwarden bin/tagwarden

.PHONY: test
test: ## Run all tests but the lab's
	go vet ./...
	go test ./...
	cd lab && go vet ./cmd/... ./internal/... && go test ./cmd/... ./internal/...
	cd bench && go vet ./... && go test ./...

.PHONY: race
race: ## Run all tests with the race detector
	CGO_ENABLED=1 go test -race ./...

.PHONY: e2e
e2e: build ## Run the lab's scenarios against a real node (root on Linux)
	cd lab && go test -count=1 -timeout 20m -v ./e2e/...

.PHONY: conformance
conformance: ## Hold the engines that a policy is written for to one meaning
	cd conformance && go vet ./... && go test ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s)
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $${FUZZTIME:-10s} $$pkg || exit 1; \
	  done; done

.PHONY: bench
bench: ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-pin
bench-pin: build ## Measure pin beside its peers, which are built at first
	cd bench && go run ./cmd/bench pin

.PHONY: bench-scan
bench-scan: build ## Measure scan beside its peers, which are built at first
	cd bench && go run ./cmd/bench scan

.PHONY: bench-admission
bench-admission: build ## Measure admission beside its peers, which are built at first
	cd bench && go run ./cmd/bench admission

.PHONY: lint
lint: ## Check the code with golangci-lint
	$(LINT) run ./...
	cd lab && $(LINT) run --config ../.golangci.yml ./cmd/... ./internal/... ./e2e/...
	cd bench && $(LINT) run --config ../.golangci.yml ./...
	cd conformance && $(LINT) run --config ../.golangci.yml ./...

.PHONY: fmt
fmt: ## Format the code
	$(LINT) fmt ./...
	cd lab && $(LINT) fmt --config ../.golangci.yml ./...
	cd conformance && $(LINT) fmt --config ../.golangci.yml ./...

.PHONY: check
check: test conformance lint race ## All that a change must pass, but for the lab
	go mod tidy -diff
	cd lab && go mod tidy -diff
	cd bench && go mod tidy -diff
	cd conformance && go mod tidy -diff

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
