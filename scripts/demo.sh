#!/usr/bin/env bash
# The main job, end to end on this machine: build, serve, run a SQL job and a Python job on a real Spark, show
# their rows, and clean up. Leaves nothing behind but the build and what setup.sh installed.
set -euo pipefail
cd "$(dirname "$0")/.."

# How long the service may take to be ready, and to end. Seconds.
READY_LIMIT=60
END_LIMIT=60

heading() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

scripts/setup.sh
libra=${CARGO_TARGET_DIR:-target}/release/libra
if [[ ! -x $libra ]]; then echo "building Libra; the first time takes some minutes …"; fi
cargo build --release --quiet -p libra

# The copy that setup.sh installs, rather than some other Spark on PATH.
if [[ -z ${SPARK_HOME:-} ]]; then
  homes=("${XDG_DATA_HOME:-$HOME/.local/share}"/libra/spark/lib/python3*/site-packages/pyspark)
  export SPARK_HOME=${homes[0]}
fi

# The demo runs with the defaults, whatever this shell has set for another Libra.
for name in $(compgen -e | grep '^LIBRA_' || true); do unset "$name"; done
dir=$(mktemp -d "${TMPDIR:-/tmp}/libra-demo.XXXXXX")
server=

# The pids of what still works below the demo's directory: drivers and Spark's server outlive Libra by design.
left() {
  local proc
  for proc in /proc/[0-9]*; do
    case $(readlink "$proc/cwd" 2>/dev/null) in "$dir"/*) echo "${proc#/proc/}" ;; esac
  done
}

clean_up() {
  local code=$? i pid
  trap '' INT TERM
  trap - EXIT
  if [[ -n $server ]] && kill -TERM "$server" 2>/dev/null; then
    for ((i = 0; i < END_LIMIT * 10; i++)); do
      kill -0 "$server" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$server" 2>/dev/null || true
  fi
  if [[ -n $server ]]; then wait "$server" 2>/dev/null || true; fi
  for ((i = 0; i < END_LIMIT * 5; i++)); do
    [[ -n $(left) ]] || break
    for pid in $(left); do kill -TERM "$pid" 2>/dev/null || true; done
    sleep 0.2
  done
  for pid in $(left); do kill -KILL "$pid" 2>/dev/null || true; done
  # Interrupted is not failed.
  if ((code != 0 && code < 128)) && [[ -s $dir/libra.log ]]; then
    echo "the last lines of the service's log:" >&2
    tail -n 20 "$dir/libra.log" >&2
  fi
  rm -rf "$dir"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

heading "libra serve (SQLite in $dir)"
LIBRA_EXECUTION_MODES_IN_CLUSTER_STOP_SERVER_ON_SHUTDOWN=true \
  "$libra" serve --listen 127.0.0.1:0 --data-dir "$dir/data" >"$dir/libra.log" 2>&1 </dev/null &
server=$!
for ((i = 0; ; i++)); do
  # The service writes its address there once it listens: port 0 is any free one.
  if [[ -s $dir/data/address ]]; then LIBRA_URL=$(<"$dir/data/address"); fi
  if [[ -n ${LIBRA_URL:-} ]] && curl -fsS -o /dev/null "$LIBRA_URL/health/ready" 2>/dev/null; then break; fi
  kill -0 "$server" 2>/dev/null || fail "the service ended by itself"
  ((i < READY_LIMIT * 20)) || fail "the service was not ready after $READY_LIMIT s"
  sleep 0.05
done
export LIBRA_URL
echo "ready on $LIBRA_URL"

sql='SELECT id % 4 AS quarter, count(*) AS orders, sum(id) AS total
FROM range(0, 100000000, 1, 40) GROUP BY 1 ORDER BY 1'
heading "a SQL job in the shared Spark; the first one starts it"
printf '%s\n\n' "$sql"
"$libra" submit --sql "$sql" --name quarters --mode in-cluster --wait ||
  fail "the SQL job did not succeed"

python='import random

print("counting points in a circle")

def inside(_):
    return random.random() ** 2 + random.random() ** 2 < 1

points = 400_000
hits = spark.sparkContext.parallelize(range(points), 8).filter(inside).count()
libra.result(spark.createDataFrame([(points, hits, 4.0 * hits / points)], ["points", "hits", "pi"]))'
heading "a Python job in a process of its own, by spark-submit"
printf '%s\n\n' "$python"
job=$("$libra" submit --python "$python" --name pi --mode spark-submit)
"$libra" wait "$job" || fail "the Python job did not succeed"
"$libra" result "$job"
echo "its log:"
"$libra" logs "$job"

heading "libra jobs"
"$libra" jobs

heading "done; where to go next"
cat <<'NEXT'
  make run                            serve on 127.0.0.1:8080, data in ./.libra
  target/release/libra submit --help  submit your own jobs
  README.md                           the API with curl, configuration, keys
NEXT
