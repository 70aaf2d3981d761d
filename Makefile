export GOFLAGS += -trimpath
# What makes the programs small, and what is fast all the same: docs/decisions/0020.
HOT     = runtime/... internal/runtime/... sync/... internal/strconv strconv bytes strings math math/bits \
	encoding/binary hash/... unicode/utf8 github.com/klauspost/compress/zstd github.com/mochi-mqtt/server/v2/packets \
	$(addprefix github.com/tidegate/tidegate/,wire reading buffer ingest ingest/decode ingest/mqttin ingest/route \
	ingest/frame internal/scalar)
SMALL   = -tags=nethttpomithttp2 -gcflags=all=-l $(HOT:%=-gcflags=%=)
BUILD   = CGO_ENABLED=0 go build -ldflags='-s -w' $(SMALL)
MOST    = 16100000
SECONDS = 10
BENCH   = .
STORM   = 1
VERSION = $(shell sed -n 's/^const Version = "\(.*\)"$$/\1/p' daemon/main.go)
VM      = amd64
VM_CUTS = 6
VM_RUN  = .
PKG     = ./...
SEEDS   = 1-3
SHARE   = 10
# Debian's names of the architectures that packages are made for.
ARCHES  = arm64 armhf amd64 riscv64
GOARCHOF = $(patsubst armhf,arm GOARM=6,$(1))
# What tests of an upgrade begin with, for an architecture: a package of COMMIT, the file
# PREVIOUS, or nothing, which is this program under a lower version.
BEFORE  = $(if $(FROM),$$(packaging/previous $(FROM) $(1)),$(abspath $(PREVIOUS)))
# These skip themselves with the race detector, which makes minutes of them.
SLOW    = Nasty
# A Raspberry Pi Zero. What computes for minutes there is left to the other machines.
EMULATE = qemu-arm-static -cpu arm1176
ONARM   = TIDEGATE_EMULATOR='$(EMULATE)' CGO_ENABLED=0 GOARCH=arm GOARM=6 go test -vet=off -short -timeout=20m -exec='$(EMULATE)'
LONG    = ReadingsOfMergedBlocks|WhatIsDamagedIsNotMerged|NoDayOfAnyLoad|EveryStepOfAnExchange
# The race detector needs a C compiler; without one the tests run without it.
RACE    = $(shell command -v $$(go env CC) >/dev/null && echo -race || echo "no C compiler, no race detector: apt-get install gcc" >&2)

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t12

build: ## the programs, in bin/
	@$(BUILD) -o bin/ ./cmd/...

size: ## the gateway for arm64, stripped: fails when it is larger than MOST=16100000 bytes
	@GOARCH=arm64 $(BUILD) -o bin/arm64/ ./cmd/tidegate
	@bytes=$$(stat -c %s bin/arm64/tidegate); echo "tidegate for arm64: $$bytes bytes, at most $(MOST)"; test $$bytes -le $(MOST)

page: ## packs the live page of dashboard/assets as browsers get it
	go test ./dashboard -run Packed -update -v | grep bytes

test: lint ## every test, with the race detector: a few minutes
	CGO_ENABLED=$(if $(RACE),1,0) go test -timeout=20m $(RACE) ./...
	$(if $(RACE),go test -run '$(SLOW)' ./uplink)

short: ## the quick tests only
	go test -short ./...

lint: ## formatting and suspicious code
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt -w $$files"; exit 1; }
	go vet ./...

fuzz: ## every fuzz target for SECONDS=10
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run='^$$' -fuzz="^$$target$$" -fuzztime=$(SECONDS)s $$pkg; \
		done; \
	done

corpus: ## what this program leaves on flash, as the next version will find it; part of every release
	cd daemon && CORPUS=$${CORPUS:-$$(go run ../cmd/tidegate version | cut -d' ' -f2)} CORPUS_END=$${CORPUS_END:-kill} \
		CORPUS_COMMIT=$${CORPUS_COMMIT:-$$(git rev-parse --short HEAD)} go test -count=1 -run MakeCorpus .

downgrade: ## this program, then the one of FROM=COMMIT on the same data, and this one again
	@test -n "$(FROM)" || { echo "FROM=COMMIT is missing"; exit 2; }
	dir=$$(mktemp -d) && git archive $(FROM) | tar -xC $$dir && (cd $$dir && go build -buildvcs=false -o tidegate ./cmd/tidegate) && \
		(cd daemon && DOWNGRADE=$$dir/tidegate go test -count=1 -run GoingBackAndForth .); done=$$?; rm -rf $$dir; exit $$done

bench: build ## benchmarks, BENCH=name for some; then the whole gateway beside its rivals
	go test -run='^$$' -bench='$(BENCH)' -benchmem ./...
	./bin/tidebench

storm: ## 10,000 kills, 10,000 power cuts, failing calls and random actions, STORM=1 times; docs/understand/storms.md
	cd daemon && go test -timeout=0 -run 'KillStorm' -kills=$$((10000 * $(STORM)))
	cd buffer && go test -timeout=0 -run 'PowerCut' -powercuts=$$((10000 * $(STORM)))
	cd buffer && go test -timeout=0 -run 'Accident|Model|KillNine' -iofaults=$$((10 * $(STORM))) -rapid.checks=$$((500 * $(STORM)))
	cd daemon && go test -timeout=0 -run 'KillNine|StormOf' -count=$$((5 * $(STORM)))

vm: ## the package on Debian 12 in qemu: its life, serial lines, an upgrade (FROM=COMMIT, PREVIOUS=FILE.deb), VM_CUTS=6 power cuts; VM=arm64
	@$(MAKE) deb ARCHES=$(VM)
	previous="$(call BEFORE,$(VM))" && PREVIOUS=$$previous TIDEGATE_VM=$(VM) VM_CUTS=$(VM_CUTS) go test -count=1 -timeout=0 -v -run '$(VM_RUN)' ./packaging/vm

stutter: ## tests, PKG=./..., in programs that stop for a moment at drawn statements, SEEDS=1-3, of the libraries WITH= as well; docs/understand/storms.md
	go run ./internal/stutter -seeds $(SEEDS) -share $(SHARE) -with '$(WITH)' $(PKG)

e2e: ## the doors out against real servers, which are installed with apt-get; docs/understand/servers.md
	.ci/servers
	TIDEGATE_E2E=all go test -count=1 -timeout=40m ./internal/servertest ./uplink/... ./command/...
	TIDEGATE_E2E=all go test -count=1 -timeout=40m -run 'Uplinks|Commands|Deliveries' ./daemon

bare: ## the README's two commands in a minimal Debian with nothing but make and Go; as root
	packaging/bare

cover: ## how much of the code the tests reach
	@mkdir -p bin
	go test -coverprofile=bin/cover.prof ./... && go tool cover -func=bin/cover.prof | tail -1

cross: ## build for the boards: arm64, ARMv6, RISC-V
	CGO_ENABLED=0 GOARCH=arm64 go build ./...
	CGO_ENABLED=0 GOARCH=arm GOARM=6 go build ./...
	CGO_ENABLED=0 GOARCH=riscv64 go build ./...

arm: ## the suites of the core on an ARMv6 processor, emulated: qemu-user-static
	@$(ONARM) ./reading ./wire ./ingest/frame ./ingest/decode ./ingest/dialect ./ingest/refine ./internal/conf & others=$$!; \
	$(ONARM) ./buffer -skip='$(LONG)' -powercuts=8; core=$$?; wait $$others && exit $$core

demo: build ## devices, a gateway, a cloud and a cut cable: a minute and a verdict
	./bin/firmware-sim demo

deb: build ## Debian packages, in dist/; ARCHES=amd64 for one architecture
	@# Version control would leave a mark in the programs that a tarball's do not have.
	@$(foreach arch,$(ARCHES),GOARCH=$(call GOARCHOF,$(arch)) $(BUILD) -ldflags='-s -w -X main.packaged=$(VERSION)' -buildvcs=false -o bin/deb/$(arch)/ ./cmd/tidegate ./cmd/tidegate-cloud ./cmd/firmware-sim &&) true
	@packaging/build $(ARCHES)

deb-check: deb ## looks into the packages, builds them again, installs, upgrades (FROM=COMMIT, PREVIOUS=FILE.deb), removes and purges them; as root
	previous="$(call BEFORE,$$(dpkg --print-architecture))" && PREVIOUS=$$previous packaging/check $(ARCHES)

clean: ## remove what was built
	rm -rf bin dist

.PHONY: help build size page test short lint fuzz bench storm vm stutter e2e bare cover cross arm demo deb deb-check clean corpus downgrade
