
# Ends all of it with these words, and with what the daemons have said. The second word names the file in which Libra looks.
fail() {
  printf '%s\n' "$1" >"$LIBRA_ATTEMPT_DIR/${2:-spark-cluster-error}"
  echo "libra: $1" >&2
  for log in "$room"/*.log; do
    [ -s "$log" ] && { echo "--- ${log##*/}"; tail -n 30 "$log"; } >&2
  done
  exit 1
}

# Ends all children: all are told at once, and have 20 seconds together. Slurm itself kills 30 seconds (KillWait) after it has
# asked for the end.
end_all() {
  local pid until=$((SECONDS + 20))
  trap '' TERM INT HUP
  trap - EXIT
  for pid in $watcher $driver $beside $master; do kill "$pid"; done 2>/dev/null
  # Of SIGTERM srun would make a SIGKILL; this one it hands on.
  for pid in $others; do kill -USR1 "$pid"; done 2>/dev/null
  for pid in $driver $others $beside $master; do
    while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$until" ]; do sleep 0.1; done
  done
  for pid in $driver $others $beside $master; do
    kill -9 "$pid"
    wait "$pid"
  done 2>/dev/null
  rm -rf "$room"
  rm -f "$LIBRA_ATTEMPT_DIR/spark-daemons.conf"
}

# True while one of these processes is there.
any_of() {
  local pid
  for pid; do kill -0 "$pid" 2>/dev/null && return; done
  return 1
}

# Sleeps, on a pipe into which nobody writes: that is no process that somebody has to end.
nap() {
  read -rt "$1" -u 9
  [ $? -gt 128 ] || sleep "$1"
}

# Ends a driver that nothing is left for, and leaves word of it.
watch() {
  local why=
  [ -p "$room/silence" ] && exec 9<>"$room/silence"
  until [ -n "$why" ]; do
    nap 3
    any_of "$master" || why="the master on the node $node has ended"
    any_of $beside $others || why="no worker is left of $workers"
  done
  printf '%s\n' "$why" >"$room/lost"
  kill "$driver"
  nap 10
  kill -9 "$driver"
} >/dev/null 2>&1

# Waits until the words after the seconds succeed; fails when they don't in time, or when one of the daemons has ended.
wait_for() {
  local ends=$((SECONDS + $1)) pid
  shift
  until "$@"; do
    for pid in $master $beside $others; do
      kill -0 "$pid" 2>/dev/null || return 1
    done
    [ "$SECONDS" -lt "$ends" ] || return 1
    sleep 0.2
  done
}

listens() {
  address=$(sed -n 's/.*Starting Spark master at \(spark:[^ ]*\).*/\1/p' "$room/master.log" | head -n 1)
  [ -n "$address" ]
}

are_registered() {
  [ "$(grep -c 'Registering worker ' "$room/master.log")" -ge "$workers" ]
}

# A worker, on the node where this runs: its own room there is gone when it ends.
worker='
room= pid=
end() {
  trap "" TERM INT HUP USR1
  kill $pid
  for tenth in 1 2 3 4 5 6 7 8 9 10; do kill -0 $pid && sleep 0.1; done
  kill -9 $pid
  # An executor may still be writing.
  rm -rf "$room" || { sleep 1; rm -rf "$room"; }
} 2>/dev/null
trap end EXIT
trap "exit 143" TERM INT HUP USR1
room=$(mktemp -d "${TMPDIR:-/tmp}/libra-spark.XXXXXXXX") || exit 1
: "${SPARK_LOCAL_DIRS:=$room/local}"
[ -x "${JAVA_HOME:-}/bin/java" ] || unset JAVA_HOME
export SPARK_LOCAL_DIRS
grep -q "^spark.authenticate.secret=." "$LIBRA_ATTEMPT_DIR/spark-daemons.conf" || exit 1
"$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker --port 0 --webui-port 0 --cores "$1" --memory "$2M" \
  --work-dir "$room/work" --properties-file "$LIBRA_ATTEMPT_DIR/spark-daemons.conf" "$3" &
pid=$!
wait "$pid"
'

driver= watcher= master= beside= others= address= room= node=${SLURMD_NODENAME:-}
trap end_all EXIT
trap 'exit 143' TERM INT HUP
room=$(mktemp -d "${TMPDIR:-/tmp}/libra-spark.XXXXXXXX") || exit 1

# What an attempt before a requeue has left is none of this one's.
(cd "$LIBRA_ATTEMPT_DIR" && rm -f spark-cluster-error spark-cluster-lost driver-exit error.json result.json rows.jsonl application.json) ||
  fail "what an earlier run has left in $LIBRA_ATTEMPT_DIR can't be removed on the node $node; see that it may be written there"
[ -x "${JAVA_HOME:-}/bin/java" ] || unset JAVA_HOME
[ -x "$SPARK_HOME/bin/spark-class" ] ||
  fail "there is no Spark in $SPARK_HOME on the node $node; set spark-home of the cluster"

# Only those who can read these files can talk to them; without a secret nothing is started. The daemons know of the network
# what the job knows.
secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
properties=$LIBRA_ATTEMPT_DIR/spark.properties
daemons=$LIBRA_ATTEMPT_DIR/spark-daemons.conf
shared=$(secret) pages=$(secret)

write_secrets() (
  [ ${#shared} -eq 64 ] && [ ${#pages} -eq 64 ] || exit 1
  umask 077
  # 1 is that it has none of these, 2 that it can't be read or they can't be written.
  grep -E '^spark\.(network|rpc|shuffle|ssl|worker|deploy)\.' "$properties" >"$daemons" || [ $? -eq 1 ] || exit 1
  printf '%s\n' spark.authenticate=true "spark.authenticate.secret=$shared" spark.master.rest.enabled=false \
    spark.ui.filters=org.apache.spark.ui.JWSFilter "spark.org.apache.spark.ui.JWSFilter.param.secretKey=$pages" \
    >>"$daemons" || exit 1
  # What was there may have been cut off within a line.
  printf '%s\n' '' spark.authenticate=true "spark.authenticate.secret=$shared" >>"$properties" || exit 1
  # The secret is on no command line: printf is bash itself.
  for file in "$daemons" "$properties"; do
    grep -qxF spark.authenticate=true "$file" || exit 1
    printf '%s\n' "spark.authenticate.secret=$shared" | grep -qxF -f - "$file" || exit 1
  done
  printf '%s\n' "spark.org.apache.spark.ui.JWSFilter.param.secretKey=$pages" | grep -qxF -f - "$daemons"
)
write_secrets ||
  fail "the job's secret could not be written into $LIBRA_ATTEMPT_DIR on the node $node, and without it anybody could send it work; look at the free space and the quota there"

# Its log tells where it listens and who is there, whatever the site has Spark log.
cat >"$room/log4j2.properties" <<'END'
rootLogger.level = info
rootLogger.appenderRef.file.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
END
SPARK_DAEMON_MEMORY=${daemon_mb}m SPARK_DAEMON_JAVA_OPTS="-Dlog4j2.configurationFile=$room/log4j2.properties" \
  "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master --port 0 --webui-port 0 \
  --properties-file "$LIBRA_ATTEMPT_DIR/spark-daemons.conf" >"$room/master.log" 2>&1 &
master=$!
wait_for "$start_seconds" listens ||
  fail "the master has not come up within $start_seconds s on the node $node; stderr has its log"

export SPARK_DAEMON_MEMORY=${daemon_mb}m
if [ "$first_cores" -gt 0 ]; then
  bash -c "$worker" worker "$first_cores" "$first_mb" "$address" >"$room/worker.log" 2>&1 &
  beside=$!
fi
if [ "$other_nodes" -gt 0 ]; then
  # GPUs of the whole job are none of a part of it: it gets those of its nodes.
  env -u SLURM_GPUS srun --overlap --relative=1 --nodes="$other_nodes" --ntasks="$other_nodes" --ntasks-per-node=1 \
    --cpus-per-task="$cpus" --cpu-bind=none --mem=0 --kill-on-bad-exit=0 --input=none \
    bash -c "$worker" worker "$other_cores" "$other_mb" "$address" >"$room/workers.log" 2>&1 &
  others=$!
fi
unset SPARK_DAEMON_MEMORY
wait_for "$start_seconds" are_registered ||
  fail "not all of the $workers workers have come up within $start_seconds s; stderr has their logs"

: "${SPARK_LOCAL_DIRS:=$room/local}"
export SPARK_LOCAL_DIRS
command[master_at]=$address
"${command[@]}" &
driver=$!
mkfifo "$room/silence"
watch &
watcher=$!
wait "$driver"
code=$?
driver=
# One that has ended well needs nobody any more.
[ "$code" -ne 0 ] && [ -s "$room/lost" ] && fail "$(<"$room/lost"); stderr has the logs" spark-cluster-lost
# And of which run: Slurm may put back what has ended.
printf '%s %s\n' "$code" "${SLURM_RESTART_COUNT:-0}" >"$LIBRA_ATTEMPT_DIR/driver-exit"
exit "$code"
