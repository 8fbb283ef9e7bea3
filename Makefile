# Thin on purpose: every target is one command that can be typed by hand as well.
# `make demo` and `make test` install what is missing (scripts/setup.sh says what).

# Where rustup puts cargo, for shells that were open before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

LISTEN ?= 127.0.0.1:8080
SEEDS ?= 5000
FIRST ?= 1
DATA_DIR ?= ./.libra

.PHONY: help setup setup-test setup-bench demo test drills run bench chaos soak lint deny

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install what is missing: Java, Spark, a C compiler
	@scripts/setup.sh

# What only tests and benchmarks need besides: PostgreSQL, Redis and Flink.
setup-test:
	@scripts/setup.sh test

# Node as well, for what Libra is measured beside.
setup-bench:
	@scripts/setup.sh bench

demo: ## Build, serve, run a SQL and a Python job on a real Spark, and clean up
	@scripts/demo.sh

test: setup-test ## Run all tests, those against a real Spark included
	cargo test --workspace --no-fail-fast

# One command for each loop that is too long for `make test`. Other seeds: make drills FIRST=100001 SEEDS=20000
drills: setup-test ## Simulate 5,000 seeds of faults; die between any two steps; kill Spark's server 20 times; SQL and TPC-H beside PySpark; 500 Slurm jobs with hooks that fail
	LIBRA_SIM_FIRST=$(FIRST) LIBRA_SIM_SEEDS=$(SEEDS) cargo test --release -p libra-server --lib simulation:: -- --nocapture --test-threads 1
	cargo test -p libra --test stories drill_ -- --ignored --nocapture --test-threads 1

run: setup ## Serve on 127.0.0.1:8080 with ./.libra as the data directory (LISTEN=, DATA_DIR=)
	cargo build --release -p libra
	exec target/release/libra serve --listen $(LISTEN) --data-dir $(DATA_DIR)

bench: setup-bench ## Measure Libra beside its bare parts
	@scripts/bench.sh

# More: make chaos CHAOS='--minutes 2 --seed 0x2a --no-redis'; all options: target/release/libra-chaos chaos --help
chaos: setup-test ## Break replicas, PostgreSQL, Redis and the network for 10 minutes: nothing lost, nothing twice
	cargo build --release -p libra -p libra-chaos
	target/release/libra-chaos chaos $(CHAOS)

soak: setup-test ## A steady load for an hour: memory and dead rows must not grow
	cargo build --release -p libra -p libra-chaos
	target/release/libra-chaos soak $(SOAK)

lint: ## Formatting and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## Licences and sources of every dependency
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources
