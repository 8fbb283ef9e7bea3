#!/usr/bin/env bash
# Measures Libra beside its bare parts, in one run on one machine. Arguments go to the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet -p libra -p libra-bench
exec target/release/libra-bench "$@"
