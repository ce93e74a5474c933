# Every check that CI makes can be made here: `make check`.
SHELL := /usr/bin/env bash
GO ?= go
FUZZTIME ?= 30s

.PHONY: help build check fmt vet test race lint bench fuzz test-kafka clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build bin/spawnwatch
	$(GO) build -trimpath -o bin/spawnwatch ./cmd/spawnwatch

check: fmt vet test ## what must pass before a commit

fmt: ## fail when a file is not formatted
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); if [[ -n $$files ]]; then echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...

test: ## the tests
	$(GO) test ./...

race: ## the tests under the race detector
	$(GO) test -race ./...

lint: ## golangci-lint, pinned in tools.mod (its first build takes minutes)
	$(GO) tool -modfile=tools.mod golangci-lint run ./...

bench: ## the benchmarks, on one core and on two
	$(GO) test -run '^$$' -bench . -benchmem -cpu 1,2 ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

clean: ## remove what was built
	rm -rf bin dist
