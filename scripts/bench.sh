#!/usr/bin/env bash
# Measures Libra beside its bare parts, in one run on one machine. Arguments go to the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."

exec cargo run --release --quiet -p libra-bench -- "$@"
