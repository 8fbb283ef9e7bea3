# Thin on purpose: every target is one command that can be typed by hand as well.
# `make demo` and `make test` install what is missing (scripts/setup.sh says what).

# Where rustup puts cargo, for shells that were open before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

LISTEN ?= 127.0.0.1:8080
DATA_DIR ?= ./.libra

.PHONY: help setup demo test run bench lint deny

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install what is missing: Java, Spark, a C compiler
	@scripts/setup.sh

demo: ## Build, serve, run a SQL and a Python job on a real Spark, and clean up
	@scripts/demo.sh

test: setup ## Run all tests, those against a real Spark included
	cargo test --workspace --no-fail-fast

run: setup ## Serve on 127.0.0.1:8080 with ./.libra as the data directory (LISTEN=, DATA_DIR=)
	cargo build --release -p libra
	exec target/release/libra serve --listen $(LISTEN) --data-dir $(DATA_DIR)

bench: setup ## Measure Libra beside its bare parts
	@scripts/bench.sh

lint: ## Formatting and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## Licences and sources of every dependency
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources
