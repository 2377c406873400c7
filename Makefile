# chord-plugin. `make help` lists what there is.

GO       ?= go
BIN      := bin/chord-plugin
SEEDS    ?= 2000
SEED     ?= 1
MINUTES  ?= 10
FUZZTIME ?= 10s
COUNT    ?= 3
SDK09    := -modfile=sdk09.mod -tags vaultsdk09
HOSTARGS := -skip ^TestLong
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help build run test test-race sim bench bench-reshape soak integration fuzz lint generate verify clean hosts-fast hosts-test node-test vault-demo mutations bench-plugin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/chord-plugin
	$(GO) build -o $(BIN) ./cmd/chord-plugin

run: build ## start a ring of five, load it into a host, kill two members (KEEP=1 leaves it up)
	@$(GO) build -o bin/demo ./integration/demo
	@KEEP=$(KEEP) bin/demo -bin $(BIN)

test: build ## every test that ends within minutes: unit, scripts, simulation, crashes, real processes, hosts' suites
	$(GO) vet ./...
	$(GO) test -timeout 8m -p 3 -parallel 6 ./integration/soak ./chord $$($(GO) list ./... | grep -v -e '/integration' -e '/chord$$')
	$(GO) test -timeout 8m -count 1 -p 1 -parallel 2 $$($(GO) list ./integration/... | grep -v soak)
	$(MAKE) hosts-fast

mutations: ## take the rules of the protocols out, one by one: the simulations must notice
	$(GO) test -timeout 15m -tags mutation -run TestMutations ./internal/sim ./internal/txnsim

test-race: ## the tests under the race detector, one ring at a time (the simulation is one goroutine and left out)
	$(GO) test -race -p 1 -parallel 1 -timeout 60m $$($(GO) list ./... | grep -v -e internal/sim -e internal/txnsim -e integration)

sim: ## SEEDS=n simulated runs from SEED
	$(GO) test -timeout 0 -count 1 -v -run TestSeeds ./internal/sim -args -seeds=$(SEEDS) -seed=$(SEED)

bench: ## operations, frames, commits and hashes: time and allocations, COUNT times each
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./chord ./chord/ring ./chord/store ./mesh

bench-plugin: build ## what the plugin adds to an operation over the node in process, beside a bare gRPC echo
	@$(GO) build -o bin/bench-plugin ./plugin/internal/bench
	@bin/bench-plugin -bin $(BIN)

bench-reshape: build ## p50 and p99 at rest and while 100,000 keys of 1 KiB move to a new member
	@$(GO) build -o bin/move ./integration/move
	@bin/move -bin $(BIN)

soak: build ## MINUTES=n of joins, leaves, kills, freezes, cuts and wipes at random; SEED=n repeats the schedule
	$(GO) test -timeout 0 -count 1 -v -run TestSoak ./integration/soak -args -minutes=$(MINUTES) -seed=$(SEED) -binary=$(abspath $(BIN))

integration: build ## real processes: kills, freezes, partitions
	$(GO) test -count 1 -timeout 10m -v ./integration/...

hosts-fast: ## the adapters for Vault (both SDKs) and OpenBao, with the SDKs' own suites but the slowest
	cd backend/vault && $(GO) vet ./... && $(GO) test -timeout 8m $(HOSTARGS) ./...
	cd backend/vault && $(GO) vet $(SDK09) ./... && $(GO) test -timeout 8m $(SDK09) $(HOSTARGS) ./...
	cd backend/openbao && $(GO) vet ./... && $(GO) test -timeout 20m $(HOSTARGS) ./...

hosts-test: node-test ## the hosts: the SDKs' suites, the slowest too, a program in Node, and three real Vault servers
	$(MAKE) hosts-fast HOSTARGS=
	cd integration/hosts/vault && $(GO) vet -tags vaultsdk09 ./... && $(GO) test -count 1 -timeout 40m -tags vaultsdk09 ./...

vault-demo: ## three Vault servers on their plugins alone: write secrets, kill the active one, lose nothing
	@cd integration/hosts/vault && $(GO) run ./demo

node-test: ## a host and a plugin in Node (installs Debian's nodejs and npm if there is no npm)
	@command -v npm >/dev/null || { apt-get update && apt-get install -y --no-install-recommends nodejs npm; } || \
		{ echo "npm is missing; as root: apt-get install nodejs npm" >&2; exit 1; }
	cd integration/hosts/node && npm ci --ignore-scripts --no-audit --no-fund && $(GO) vet -tags node . && $(GO) test -count 1 -timeout 5m -tags node .

fuzz: ## each fuzz target for FUZZTIME
	@set -e; for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | cut -c6- | sort -u); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; done; done

lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags mutation ./chord/register ./chord/txn ./internal/sim ./internal/txnsim
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(STATICCHECK) -tags node ./integration/hosts/node

generate: ## make the gRPC code again (needs protoc: Debian's protobuf-compiler)
	$(GO) generate ./plugin/proto

verify: lint ## what a reviewer checks: lint, go.mod tidy, everything builds
	$(GO) mod tidy -diff
	$(GO) mod verify
	$(GO) build ./...

clean: ## remove what was built
	rm -rf bin
