# Bare `make` prints the targets.
.DEFAULT_GOAL := help

BIN := bin/cairn
# The race detector needs a C compiler; without one the tests run without it.
RACE := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo -race)
FUZZTIME ?= 1m
# How often `make prove` kills the server; SEED=... repeats what an earlier run chose,
# also of `make soak`.
CYCLES ?= 1000
SEED ?=

# How many simulated days `make soak` takes.
DAYS ?= 30

# The folder of the load generator and the null sinks, and what else to say to
# the measurement, such as BENCH_ARGS='-run a,b -rounds 5'.
BENCH ?= ../shared/bench
BENCH_ARGS ?=

.PHONY: help build run demo test mutants prove soak test-clients lint fuzz bench bench-client bench-ingest bench-query bench-store screenshots clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/cairn, a static binary
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(BIN) .

run: build ## build and start it: UDP 127.0.0.1:8125, http://127.0.0.1:8127, data in ./data
	@exec $(BIN) serve

demo: build ## the same with the made-up traffic of a small shop, in a data dir of its own
	@exec $(BIN) demo

lint: ## gofmt, go vet and staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "gofmt these: $$bad"; exit 1; }
	go vet ./...
	go vet -tags clients ./internal/e2e
	GOOS=darwin CGO_ENABLED=0 go build -o /dev/null .
	go tool staticcheck ./...
	go tool staticcheck -tags clients ./internal/e2e

test: lint ## everything: unit, race, end-to-end on the built binary, browser
	@[ -n "$(RACE)" ] || echo '*** NO C COMPILER: the tests run WITHOUT the race detector; install gcc to have it ***'
	CAIRN_CHROME="$$(internal/e2e/chromium.sh)" go test $(RACE) -count=1 -timeout 12m ./...

prove: ## kill the server CYCLES (1000) times and compare every event with what is there; about a second each
	CAIRN_PROVE_CYCLES=$(CYCLES) CAIRN_PROVE_SEED=$(SEED) go test -count=1 -timeout 0 -v -run '^TestKilledServersLoseNothing$$' ./internal/e2e

soak: ## let DAYS (30) simulated days pass: every bucket compared daily, disk and memory flat; some 10 s a day
	CAIRN_SOAK_DAYS=$(DAYS) CAIRN_SOAK_SEED=$(SEED) go test -count=1 -timeout 0 -v -run '^TestSoak$$' ./internal/engine

test-clients: ## real clients in Python, Perl, Ruby, JavaScript and C; installs them (Debian, as root)
	internal/e2e/clients/install.sh
	go test -count=1 -timeout 10m -tags clients -run '^TestClient' ./internal/e2e

mutants: ## plant each of the mistakes of internal/mutant, and see that the tests catch it
	go vet -tags mutants ./...
	go run ./internal/mutant/hunt

fuzz: ## fuzz the parsers and the codecs, FUZZTIME (1m) each
	go test -run '^$$' -fuzz '^FuzzLine$$' -fuzztime $(FUZZTIME) ./ingest
	go test -run '^$$' -fuzz '^FuzzSeries$$' -fuzztime $(FUZZTIME) ./client
	go test -run '^$$' -fuzz '^FuzzChunk$$' -fuzztime $(FUZZTIME) ./internal/chunk
	go test -run '^$$' -fuzz '^FuzzBuckets$$' -fuzztime $(FUZZTIME) ./tsdb
	go test -run '^$$' -fuzz '^FuzzVerdict$$' -fuzztime $(FUZZTIME) ./internal/dedupe
	go test -run '^$$' -fuzz '^FuzzSegment$$' -fuzztime $(FUZZTIME) ./internal/journal
	go test -run '^$$' -fuzz '^FuzzGauge$$' -fuzztime $(FUZZTIME) ./internal/bucket
	go test -run '^$$' -fuzz '^FuzzDistribution$$' -fuzztime $(FUZZTIME) ./internal/bucket
	go test -run '^$$' -fuzz '^FuzzSet$$' -fuzztime $(FUZZTIME) ./internal/bucket
	go test -run '^$$' -fuzz '^FuzzPromQL$$' -fuzztime $(FUZZTIME) ./query/promql

bench: ## benchmarks of the hot path, of the store and of PromQL
	go test -run '^$$' -bench . -benchmem -count 6 ./agg ./ingest ./tsdb ./internal/chunk ./internal/bucket ./query/promql

bench-client: ## the Go client, on one core and on two, beside those of others; see docs/performance.md
	go test -run '^$$' -bench . -benchmem -cpu 1,2 -count 3 ./client
	cd internal/bench/client && go test -run '^$$' -bench . -cpu 1,2 -count 3 .

bench-ingest: ## CPU time and memory beside a null sink (Linux, two cores, gcc); see docs/performance.md
	@go run ./internal/bench/ingest -tools $(BENCH) $(BENCH_ARGS)

bench-query: ## queries over HTTP beside VictoriaMetrics, and a dashboard beside ingest (Linux, two cores, gcc); see docs/performance.md
	@go run ./internal/bench/query -tools $(BENCH) $(BENCH_ARGS)

bench-store: ## bytes a sample, CPU time of flushes, and the store's other bars (Linux); see docs/performance.md
	@go run ./internal/bench/store -tools $(BENCH) $(BENCH_ARGS)

screenshots: build ## take docs/screenshots anew from the demo
	CAIRN_CHROME="$$(internal/e2e/chromium.sh)" CAIRN_SCREENSHOTS=$(CURDIR)/docs/screenshots go test -count=1 -run '^TestBrowserScreenshots$$' ./internal/e2e

clean: ## remove what was built; ./data stays
	rm -rf bin .tools
