# Everything runs from a clone on a machine with rustup's Rust, gcc, Python 3, Node and Go: each target sets up what it needs first.

.DEFAULT_GOAL := help
.PHONY: help demo cluster build image-layout package archive test test-cluster check deny bench simulate mutants soak policies hosts clean

CARGO ?= cargo
SETUP := tests/setup/setup.sh
# The operator with the same dependencies as the tests have: none is built twice with other features.
OPERATOR := -p redis-operator -p simulator --bin redis-operator
# The engine, as the file that any host can load.
COMPONENT := target/policies/default.wasm
# Many tests wait, for a server or for a time limit: one more than there are cores.
export RUST_TEST_THREADS ?= $(shell expr $$(nproc) + 1)
# The scenarios in full, as any host can read them.
SCENARIOS := target/scenarios

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## a master killed, a replica promoted, a switchover, a policy swapped: on real Redis, on this machine
	@$(SETUP) rust redis
	$(CARGO) build --locked $(OPERATOR)
	@target/debug/redis-operator demo

cluster: ## a Kubernetes cluster with Pods as processes, and kubectl for it, until Ctrl-C; `make cluster NODES=5`
	@$(SETUP) rust redis cluster
	$(CARGO) build --locked $(OPERATOR) -p tests --bin cluster
	@target/debug/cluster $(NODES)

build: ## the operator, at target/release/redis-operator
	@$(SETUP) rust
	$(CARGO) build --locked --release

image-layout: ## what the container image holds, in target/image: a static program, tried in a root of its own
	@$(SETUP) rust image
	CARGO='$(CARGO)' deploy/image.sh

package: ## what a release ships beside the program, in target/package, judged by its own validators and installed on the test cluster
	@$(SETUP) rust redis servers ruby registry cluster helm helm3 lua validators
	CARGO='$(CARGO)' deploy/package.sh

archive: ## the program with its man pages and completions as an archive, and its bill of materials, in target/package
	@$(SETUP) rust image sbom
	CARGO='$(CARGO)' deploy/archive.sh

test: ## everything: unit, scenario, property, real-Redis and cluster tests, then the same component in Python and JavaScript
	@$(SETUP) rust redis python node servers ruby clients exporter registry cluster helm lua
	$(CARGO) test --locked --workspace --no-fail-fast
	@$(MAKE) --no-print-directory hosts

test-cluster: ## the operator on a real Kubernetes control plane, Pods as processes; with TEST_KUBECONFIG=FILE in a cluster of yours
	@$(SETUP) rust redis servers registry cluster
	$(CARGO) test --locked --workspace --test cluster

simulate: ## the whole operator on a virtual clock, against a model of Redis: `make simulate SEEDS=20000 FROM=0`, another kind of schedule: `KIND=--lies`, `--sentinels`, `--pods` or `--hops`
	@$(SETUP) rust
	$(CARGO) run --locked --release -p simulator -- many $(KIND) $(or $(SEEDS),5000) $(or $(FROM),0)

mutants: ## each rule, check and precondition left out in turn: which scenario or schedule notices
	@$(SETUP) rust
	$(CARGO) run --locked --release -p simulator --features mutants -- mutants $(or $(SEEDS),300)

soak: ## random histories of several faults on real servers of four versions: `make soak MINUTES=60`
	@$(SETUP) rust redis servers
	$(CARGO) run --locked --release -p tests --bin soak -- $(or $(MINUTES),5)

hosts: ## every scenario in the Python and the JavaScript host
	@$(SETUP) rust python node
	example/policies/build.sh default
	target/debug/redis-operator policy expand tests/scenarios --output $(SCENARIOS)
	target/venv/bin/python example/hosts/python/host.py $(COMPONENT) $(SCENARIOS)/*.json
	node example/hosts/javascript/host.mjs $(COMPONENT) $(SCENARIOS)/*.json

check: ## the quick part, under a minute when warm: format, lints, docs, engine, guard and scenarios
	@$(SETUP) rust
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --quiet --workspace --no-deps
	$(CARGO) test --locked --quiet --workspace --lib
	$(CARGO) test --locked --quiet --workspace --test scenarios

deny: ## licences, sources, bans and security advisories of the dependencies; advisories where their database can be fetched
	@$(SETUP) rust deny
	tests/setup/deny.sh

bench: ## decisions a second, failover beside Redis Sentinel, a thousand groups, failover on a Kubernetes cluster
	@$(SETUP) rust redis cluster
	$(CARGO) bench --locked -p tests

policies: ## the engine and every example policy as components, in target/policies
	@$(SETUP) rust
	example/policies/build.sh

clean: ## what was built and set up here; packages of the system stay
	$(CARGO) clean
	rm -rf example/hosts/javascript/node_modules
