# Every check that CI makes can be made here: `make check`.
SHELL := /usr/bin/env bash
GO ?= go
FUZZTIME ?= 30s

.PHONY: help build check fmt vet test race lint bench fuzz test-kafka clean \
  lab lab-alerts lab-scale lab-nats lab-forward lab-observe lab-feed lab-down lab-check

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

test-kafka: ## the Kafka adapters and the whole program against a real three-broker Kafka (Java 17, Maven; minutes)
	set -o pipefail; dir=$$(mktemp -d); up="scripts/kafka-up -n 3 -s $$dir"; trap "scripts/kafka-up remove $$dir" EXIT; out=$$($$up) && eval "$$out" && \
	  BOOTSTRAP=$$BOOTSTRAP KAFKA_DIR=$$dir KAFKA_UP="$$up" $(GO) test -count=1 -parallel 16 -timeout 20m -v ./test/kafka 2>&1 | grep --line-buffered -vE '^=== |^ *--- PASS: .*/'

lint: ## golangci-lint, pinned in tools.mod (its first build takes minutes)
	$(GO) tool -modfile=tools.mod golangci-lint run ./...

bench: ## the benchmarks, on one core and on two
	$(GO) test -run '^$$' -bench . -benchmem -cpu 1,2 ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

# The lab (docker-compose.yml): Compose v2, else docker-compose 1.29.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
LAB_ALL = --profile kafka --profile scale --profile nats --profile forward --profile observe

lab: ## the lab: Kafka, the sample, one spawnwatch
	$(COMPOSE) --profile kafka up -d --build

lab-alerts: ## the alerts of the lab as cards, from the alert topic (Ctrl-C ends)
	$(COMPOSE) --profile kafka exec $$([[ -t 0 && -t 1 ]] || echo -T) spawnwatch \
	  /spawnwatch tail --kafka kafka:19092 --topic k8s.alerts --start earliest -o cards

lab-scale: ## the lab with three instances in one consumer group
	$(COMPOSE) --profile scale up -d --build

lab-nats: ## the lab with NATS JetStream in place of Kafka
	$(COMPOSE) --profile nats up -d --build

lab-forward: ## the lab with Fluent Bit in front
	$(COMPOSE) --profile forward up -d --build

lab-observe: ## the lab with Grafana on http://localhost:3000
	LAB_OTLP=http://lgtm:4318 $(COMPOSE) --profile kafka --profile observe up -d --build

lab-feed: ## the sample once more into the topic of the lab
	$(COMPOSE) --profile kafka run --rm -e FEED=again kafka-feed

lab-down: ## end the lab and remove its data
	$(COMPOSE) $(LAB_ALL) down --volumes --remove-orphans

lab-check: ## run every profile that can run without an image registry, and compare the alerts (root; minutes)
	scripts/lab-check

clean: ## remove what was built
	rm -rf bin dist
