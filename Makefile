# Everything a newcomer types. `make` alone says what there is.
#
# What a target needs is installed from lock files on its first run and kept behind stamps; Debian packages too, when
# root runs it. A test that cannot run says why and counts as skipped; with CI=true nothing may be skipped.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
CONFORMANCE := tests/conformance
ORACLE := tests/oracle
NODE_MODULES := $(CONFORMANCE)/node_modules/.package-lock.json
PEERS := bench/peers
PEER_MODULES := $(PEERS)/node_modules/.package-lock.json
PYTHON := $(CONFORMANCE)/.venv/bin/python
VENV := $(CONFORMANCE)/.venv/installed
DENY_VERSION := 0.20.2
DENY := $(TARGET)/tools/deny-$(DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(TARGET)/tools/fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz
export CHROMIUM ?= /usr/bin/chromium

SERVER := $(TARGET)/release/conformance
CHAT := $(TARGET)/release/examples/chat
NODE_TEST := node --test --test-reporter=spec --test-concurrency=1
NODE_FILES := protocol/*.test.mjs clients/*.test.mjs bad-input/*.test.mjs
PYTEST := .venv/bin/python -m pytest -p no:cacheprovider

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(NODE_MODULES) ## build the chat and serve it on http://localhost:3000
	cargo run --release -p ringio --example chat

test: lint test-rust simulate-planted loom test-asan test-node test-python test-browser test-load test-attacks test-instructions test-autobahn test-oracle ## everything that CI runs

lint: $(DENY) openssl ## format, clippy, docs, and what the dependencies may be
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	for outside in bench/io_layer loadtest/io; do cargo check --locked --manifest-path $$outside/Cargo.toml --target-dir $(TARGET)/outside; done
	@echo "cargo-deny: bans, licences, sources (not advisories: their database is on the open internet)"
	$(DENY) --log-level warn check --hide-inclusion-graph bans licenses sources

test-rust: openssl socketioxide $(NODE_MODULES) ## unit, property and integration tests
	cargo test --workspace --no-fail-fast

simulate: ## stories of whole servers on a simulated kernel, for ever; SEEDS=n, MINUTES=n, FROM=seed, SEED=s for one
	cargo run --release -p ringio-simulation -- $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(FROM),--from $(FROM))

simulate-planted: ## bugs planted on purpose: the simulator must find each within so many seeds
	RUSTFLAGS="--cfg ringio_planted" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		cargo test --release -p ringio-simulation --test planted --target-dir $(TARGET)/planted -- --nocapture

fuzz: ## every decoder and a whole shard, fed with mutated bytes; MINUTES=n (1), TARGET_NAME=name for one
	cargo run --release -p ringio-fuzz -- $(or $(MINUTES),1) $(TARGET_NAME)

soak: server ## mixed load with faults, MINUTES=n (30) on each driver: does memory, a descriptor, a client stay? SEED=s; results in target/soak
	cargo build --release -p ringio-soak -p ringio-loadtest
	for driver in uring epoll; do \
		$(TARGET)/release/ringio-soak --server $(SERVER) --loadtest $(TARGET)/release/ringio-loadtest --driver $$driver \
			--minutes $(or $(MINUTES),30) --seed $(or $(SEED),1) --output $(TARGET)/soak/$$driver; \
	done

libfuzzer: fuzz-seeds ## the same targets under libFuzzer and AddressSanitizer, guided by coverage; SECONDS=n for each (60), TARGET_NAME=name
	for name in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZING)/artifacts/$$name; \
		$(LIBFUZZER) $$name $(FUZZING)/corpus/$$name $(CURDIR)/tests/fuzz/corpus/$$name -- -max_total_time=$(or $(SECONDS),60) -timeout=10 \
			-artifact_prefix=$(FUZZING)/artifacts/$$name/; \
	done

fuzz-corpus: fuzz-seeds ## choose tests/fuzz/corpus anew out of all that `make libfuzzer` has found here; TARGET_NAME=name for one
	for name in $(FUZZ_TARGETS); do \
		rm -rf $(FUZZING)/merged/$$name $(FUZZING)/merged/$$name.control; \
		mkdir -p $(FUZZING)/merged/$$name $(CURDIR)/tests/fuzz/corpus/$$name; \
		$(LIBFUZZER) $$name $(FUZZING)/merged/$$name $(FUZZING)/corpus/$$name $(CURDIR)/tests/fuzz/corpus/$$name -- \
			-set_cover_merge=1 -merge_control_file=$(FUZZING)/merged/$$name.control; \
		cargo run --release -p ringio-fuzz -- keep $(FUZZING)/merged/$$name.control $(CURDIR)/tests/fuzz/corpus/$$name; \
	done

loom: ## every interleaving of the rings and doorbells between the shards
	RUSTFLAGS="--cfg ringio_loom" cargo test --release -p ringio-runtime --lib --target-dir $(TARGET)/loom loom \
		| tee /dev/stderr | grep -c '^test result: ok. [1-9]' >/dev/null

test-asan: ## the drivers and the rings between the shards under AddressSanitizer, leaks included
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" cargo test -p ringio-runtime --lib --target $(HOST) --target-dir $(TARGET)/asan

# Not in `test`: it takes a toolchain that the project does not pin and cannot fetch everywhere.
miri: ## the rings, the buffers lent to the kernel and the plain system calls under Miri; wants `rustup toolchain install nightly --component miri,rust-src`
	@cargo +nightly miri --version >/dev/null 2>&1 && test -d "$$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library" || \
		{ echo "Miri is missing: rustup toolchain install nightly --component miri,rust-src"; exit 1; }
	MIRIFLAGS="-Zmiri-disable-isolation" cargo +nightly miri test -p ringio-runtime --lib -- $(MIRI_TESTS) \
		| tee /dev/stderr | grep -c '^test result: ok. [1-9]' >/dev/null

test-node: openssl $(NODE_MODULES) server examples ## official JavaScript client, both protocols, bad input: 1 and 3 shards, uring and epoll
	cd $(CONFORMANCE) && RINGIO_SERVER=$(SERVER) RINGIO_EXAMPLES=$(TARGET)/debug/examples $(NODE_TEST) $(NODE_FILES)

test-python: openssl $(VENV) server ## python-socketio, asyncio and threads, on the same servers
	cd $(CONFORMANCE) && RINGIO_SERVER=$(SERVER) $(PYTEST) -q python

test-browser: $(NODE_MODULES) chat chromium ## the chat page in Chromium, two windows; screenshots in tests/conformance/artifacts
	cd $(CONFORMANCE) && RINGIO_CHAT=$(CHAT) $(NODE_TEST) browser/*.test.mjs

test-oracle: $(NODE_MODULES) server ## scripts made from seeds, on Node and on ours: is there a difference? and mistakes that must be found
	cd $(ORACLE) && RINGIO_SERVER=$(SERVER) $(NODE_TEST) oracle.test.mjs

oracle: $(NODE_MODULES) server ## the same from new seeds, MINUTES=n (60)
	cd $(ORACLE) && RINGIO_SERVER=$(SERVER) nice node main.mjs --minutes $(or $(MINUTES),60) --keep-going

test-load: server ## 5,000 WebSocket clients: nothing lost, repeated, reordered or changed
	cargo build --release -p ringio-bench --bin drive
	bash tests/load.sh $(SERVER) $(TARGET)/release/drive

test-attacks: server ## the attack board in its short form, on uring and epoll, with neighbours that must not notice
	cargo build --release -p ringio-attacks
	$(TARGET)/release/ringio-attacks --quick --target-dir $(TARGET)

attacks: server slowhttptest $(NODE_MODULES) $(PEER_MODULES) ## all of it, on Node and socketioxide too: table in tests/attacks/README.md
	cargo build --release --locked --manifest-path $(PEERS)/socketioxide/Cargo.toml --target-dir $(TARGET)/peers
	cargo build --release -p ringio-attacks
	$(TARGET)/release/ringio-attacks --target-dir $(TARGET) --targets uring,epoll,node,socketioxide --table tests/attacks/README.md

test-instructions: valgrind ## instructions of every hot path, compared with bench/instructions.tsv
	cargo build --release -p ringio-bench --bin instructions
	$(TARGET)/release/instructions --check bench/instructions.tsv

test-autobahn: $(VENV) server ## a choice of the fuzzing suite for WebSocket, on uring and epoll
	$(PYTHON) tests/autobahn/run.py $(SERVER) --quick

autobahn: $(VENV) server ## the whole of it, 20 to 60 minutes: report in tests/autobahn/report, table in tests/autobahn/README.md
	$(PYTHON) tests/autobahn/run.py $(SERVER) --table tests/autobahn/README.md

test-reference: openssl $(NODE_MODULES) $(VENV) chromium ## the same tests against the official Node server: are the tests right?
	cd $(CONFORMANCE) && $(NODE_TEST) $(NODE_FILES) browser/*.test.mjs
	cd $(CONFORMANCE) && $(PYTEST) -q python

unsafe-inventory: ## write engine/runtime/UNSAFE.md anew: every use of unsafe and why it is sound
	RINGIO_WRITE_INVENTORY=1 cargo test -p ringio-tests --test unsafe_inventory

bench: ## build the measuring programs and say how to use them
	cargo build --release -p ringio-bench -p ringio-tests
	@echo "see bench/README.md"

bench-hot: ## criterion: the hot paths by the clock, on this machine
	cargo bench -p ringio-bench --bench hot

instructions-table: valgrind ## write bench/instructions.tsv anew, after a change that was meant
	cargo build --release -p ringio-bench --bin instructions
	$(TARGET)/release/instructions --write bench/instructions.tsv

peers: peer-servers ## measure Ringio beside socket.io (ws, uWebSockets, Bun), socketioxide and uWebSockets alone: NAME=x ROUNDS=n SECONDS=n WARMUP=s ROWS=a,b ARGS=--no-syscalls
	$(MEASURE) $(if $(ROWS),--scenarios $(ROWS)) $(PEER_TARGETS)

latency: NAME ?= latency
latency: ROUNDS ?= 2
latency: WARMUP ?= 0.3
latency: peer-servers ## how long a message takes at 1, 10, 100 and 1,000 paced connections, with and without busy polling, beside the peers; ROUNDS=n SECONDS=n
	$(MEASURE) --scenarios $(or $(ROWS),latency-1$(comma)latency-10$(comma)latency-100$(comma)latency-1000) $(PEER_TARGETS) $(BUSY_TARGETS)

io-layer: NAME ?= io-layer
io-layer: ROUNDS ?= 2
io-layer: SECONDS ?= 1
io-layer: WARMUP ?= 0.3
io-layer: ## one trivial protocol on Ringio's drivers, tokio, tokio-uring, monoio and the bare ring; ROUNDS=n SECONDS=n ROWS=a,b
	cargo build --release -p ringio-bench -p ringio-loadtest
	cargo build --locked --release --manifest-path bench/io_layer/Cargo.toml --target-dir $(TARGET)/io-layer
	$(MEASURE) --raw --scenarios $(or $(ROWS),echo-1$(comma)echo-500$(comma)broadcast-1000$(comma)broadcast-1000-50/s) \
		$(foreach layer,ring epoll tokio-direct tokio tokio-uring monoio monoio-epoll,--target '$(layer)=$(TARGET)/io-layer/release/io-layer $(layer) {mode} --port {port}')

growth: bench-programs ## what a delivery, a join and an idle connection cost as their number grows, with plots; NAME=x CLIENTS=n (100000)
	$(TARGET)/release/growth --name $(or $(NAME),growth) $(if $(CLIENTS),--clients $(CLIENTS))

cores: bench-programs ## one and two shards, messages between shards, SO_REUSEPORT, and a model of more cores; NAME=x ROUNDS=n
	$(TARGET)/release/cores --name $(or $(NAME),cores) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS))

hundred-thousand: bench-programs ## 100,000 live clients in one process under `ulimit -n 20000`; NAME=x N=n
	ulimit -n 20000; $(TARGET)/release/crowd --name $(or $(NAME),hundred-thousand) --clients $(or $(N),100000)

thresholds: valgrind bench-programs ## where one way of doing it becomes cheaper than another: few members, simd-json, joining; NAME=x
	$(TARGET)/release/thresholds --name $(or $(NAME),thresholds)

loadtest-figures: $(PEER_MODULES) openssl ## what the load generator costs beside Ringio, Node and socketioxide, 15 minutes: NAME=x ROUNDS=n SECONDS=n ARGS='--rows echo'
	cargo build --release -p ringio-loadtest -p ringio-tests
	cargo build --release --locked --manifest-path $(PEERS)/socketioxide/Cargo.toml --target-dir $(TARGET)/peers
	node bench/loadtest-figures.mjs --name $(or $(NAME),loadtest) --rounds $(or $(ROUNDS),3) --seconds $(or $(SECONDS),3) --official $(ARGS)

clean: ## remove everything that was built or installed here
	cargo clean
	rm -rf $(PEERS)/node_modules $(CONFORMANCE)/node_modules $(CONFORMANCE)/.venv $(CONFORMANCE)/artifacts tests/autobahn/report

# Every target but the files named by a variable.
.PHONY: $(shell awk -F: '/^[a-z-]+:/ { print $$1 }' $(firstword $(MAKEFILE_LIST)))

# What the targets above stand on.

comma := ,
MEASURE = $(TARGET)/release/measure --name $(or $(NAME),peers) --rounds $(or $(ROUNDS),3) --seconds $(or $(SECONDS),2) --warmup $(or $(WARMUP),1) $(ARGS)
PEER_TARGETS = --reference raw-uws \
	--target 'ringio-uring=$(SERVER) bench --port {port} --shards 1 --driver uring' \
	--target 'ringio-epoll=$(SERVER) bench --port {port} --shards 1 --driver epoll' \
	--target 'socketio-ws=node $(PEERS)/server.mjs ws --port {port}' \
	--target 'socketio-uws=node $(PEERS)/server.mjs uws --port {port}' \
	--target 'socketio-bun=$(PEERS)/node_modules/@oven/bun-linux-x64/bin/bun $(PEERS)/server.mjs bun --port {port}' \
	--target 'socketioxide=$(TARGET)/peers/release/peer-socketioxide --port {port}' \
	--target 'raw-uws=node $(PEERS)/server.mjs raw-uws --port {port}' \
	--lacks socketio-bun=deflate --lacks socketioxide=recovery,deflate \
	--lacks raw-uws=acks,rooms,namespaces,recovery,polling,msgpack,leave
# They look on for longer than the pause between two messages of any of these rows, so they never sleep.
BUSY_TARGETS = \
	--target 'ringio-busy=$(SERVER) bench --port {port} --shards 1 --driver uring --busy-poll 5000' \
	--target 'ringio-epoll-busy=$(SERVER) bench --port {port} --shards 1 --driver epoll --busy-poll 5000'

FUZZING := $(TARGET)/libfuzzer
FUZZ_TARGETS = $(or $(TARGET_NAME),$(basename $(notdir $(wildcard tests/fuzz/libfuzzer/targets/*.rs))))
LIBFUZZER = RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(FUZZING) $(CARGO_FUZZ) run --fuzz-dir tests/fuzz/libfuzzer

fuzz-seeds: $(CARGO_FUZZ)
	cargo run --release -p ringio-fuzz -- seeds $(FUZZING)/corpus

# What makes no ring of the kernel's: Miri has no io_uring, and no timerfd, which the epoll driver begins with.
MIRI_TESTS := mesh epoll::system uring:: --skip driver_tests

bench-programs:
	cargo build --release -p ringio-bench -p ringio-loadtest -p ringio-tests

peer-servers: $(PEER_MODULES) bench-programs
	cargo build --release --manifest-path $(PEERS)/socketioxide/Cargo.toml --target-dir $(TARGET)/peers

server:
	cargo build --release -p ringio-tests --bin conformance

# For a test of the load generator; unoptimised, because that builds in half a minute and the test is not about speed.
socketioxide:
	cargo build --locked --manifest-path $(PEERS)/socketioxide/Cargo.toml --target-dir $(TARGET)/peers

# As `cargo test` builds them: quick, and there already after test-rust.
examples:
	cargo build -p ringio --examples

chat:
	cargo build --release -p ringio --example chat

$(NODE_MODULES): $(CONFORMANCE)/package.json $(CONFORMANCE)/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer"; exit 1; }
	cd $(CONFORMANCE) && npm ci
	touch $@

# Their install scripts are not needed: the binaries lie in packages of their own.
$(PEER_MODULES): $(PEERS)/package.json $(PEERS)/package-lock.json
	cd $(PEERS) && npm ci --ignore-scripts
	touch $@

$(VENV): $(CONFORMANCE)/requirements.txt
	@python3 -c 'import ensurepip' 2>/dev/null || $(call debian,python3-venv)
	rm -rf $(CONFORMANCE)/.venv
	python3 -m venv $(CONFORMANCE)/.venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

$(CARGO_FUZZ):
	cargo install --locked --debug --version $(CARGO_FUZZ_VERSION) --root $(dir $(@D)) --target-dir $(TARGET)/tools/build cargo-fuzz
	rm -rf $(TARGET)/tools/build

$(DENY):
	cargo install --locked --debug --version $(DENY_VERSION) --root $(dir $(@D)) --target-dir $(TARGET)/tools/build cargo-deny
	rm -rf $(TARGET)/tools/build

# For a client library among the tests, and for the certificates that the tests of TLS make.
openssl:
	@{ pkg-config --exists openssl && command -v openssl >/dev/null; } 2>/dev/null || $(call debian,pkg-config libssl-dev openssl)

valgrind:
	@command -v valgrind >/dev/null || $(call debian,valgrind)

slowhttptest:
	@command -v slowhttptest >/dev/null || $(call debian,slowhttptest)

# Without the browser its tests say so and are skipped; CI wants them run.
chromium:
	@test -x $(CHROMIUM) || $(call debian,chromium fonts-noto-color-emoji) || test -z "$${CI:-}"

debian = { test $$(id -u) = 0 && apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $(1); } \
	|| { echo "missing here: apt-get install $(1)"; false; }
