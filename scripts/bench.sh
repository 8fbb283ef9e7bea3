#!/usr/bin/env bash
# Measures Libra beside its bare parts, in one run on one machine. Arguments go to the benchmark: parts by name, such
# as `scripts/bench.sh postgres end-to-end lists`, and options (`--help`).
set -euo pipefail
cd "$(dirname "$0")/.."

# What Libra is measured beside, from npm; kept between runs.
graphile=target/graphile-worker
packages=(graphile-worker@0.17.3 pg@8)
help=$(printf '%s\n' "$@" | grep -cxE -e '-h|--help|-V|--version' || true)
parts=$(printf '%s\n' "$@" | grep -xE 'start|submissions|latency|python|spark-submit|postgres|end-to-end|lists|follow|turns|hpc|hpc-requests|flink-redeploy|flink-pass|flink-slow|flink-cycle' || true)
if [ "$help" = 0 ] && { [ -z "$parts" ] || grep -qx end-to-end <<<"$parts"; } &&
  [ ! -d "$graphile/node_modules/graphile-worker" ]; then
  if command -v npm >/dev/null; then
    mkdir -p "$graphile"
    npm install --silent --no-audit --no-fund --prefix "$graphile" "${packages[@]}"
  else
    echo "note: npm is missing, so end-to-end has nothing to be measured beside (apt-get install nodejs npm)" >&2
  fi
fi

cargo build --release --quiet -p libra -p libra-bench
exec target/release/libra-bench "$@"
