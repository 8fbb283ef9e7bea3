#!/usr/bin/env bash
# Installs what Libra needs and does not find: Java 17, Python 3.11 with venv, a C compiler, curl (all by the
# system's package manager), and Spark (from PyPI, into a directory of its own). Quick when nothing is to do.
# `setup.sh sail` adds Sail (from PyPI, into a directory of its own), a Spark server without Java. `setup.sh test` adds
# what only the tests use for themselves: Sail, Flink (from PyPI, into a directory of its own), PostgreSQL, Redis, Slurm with
# a MariaDB for its accounting, openssl, promtool, a JDK; `setup.sh bench` also adds Node, on which graphile-worker runs, beside which
# Libra is measured.
set -euo pipefail

PYSPARK_VERSION=4.3.0
PYSAIL_VERSION=0.7.2
# Whole, with what Python jobs need (850 MB); the tests start it with `java`.
FLINK_VERSION=2.3.0
# What Spark's Python client needs for in-cluster Python: the versions that were tested together. Spark warns about pandas
# 3 on the standard output of every job.
PYTHON_CLIENT=(
  grpcio==1.85.1 grpcio-status==1.85.1 googleapis-common-protos==1.76.0 zstandard==0.25.0
  pandas==2.3.3 pyarrow==26.0.1
)
LEAST_JAVA=17
LEAST_POSTGRES=14
LEAST_RUST=95 # 1.95
venv="${XDG_DATA_HOME:-$HOME/.local/share}/libra/spark"
sail_venv="${XDG_DATA_HOME:-$HOME/.local/share}/libra/sail"
flink_venv="${XDG_DATA_HOME:-$HOME/.local/share}/libra/flink" # The tests look there.
# Whatever this installs, it asks nothing.
export DEBIAN_FRONTEND=noninteractive PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf 'hint: %s\n' "$hint" >&2; done
  exit 1
}

# Says what it does, does it, and says how long it took when that was more than two seconds.
step() {
  local what=$1 begun=$SECONDS log
  shift
  say "$what …"
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "could not do this: $what" "the lines above say why; run \`make setup\` again afterwards"
  fi
  rm -f "$log"
  if ((SECONDS - begun > 2)); then say "  done in $((SECONDS - begun)) s"; fi
  changed=yes
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif ! command -v sudo >/dev/null; then
    echo "this needs root, and there is no sudo"
    return 1
  elif (: </dev/tty) 2>/dev/null; then
    sudo "$@" # Asks on the terminal itself.
  else
    sudo -n "$@"
  fi
}

apt_updated=no
install_packages() {
  if ! command -v apt-get >/dev/null; then
    fail "these packages are missing, and there is no apt-get to install them: $*" \
      "install their likes with your system's package manager, then run \`make setup\` again"
  fi
  if [[ $apt_updated == no ]]; then
    step "refreshing the list of packages" as_root apt-get update -q
    apt_updated=yes
  fi
  step "installing $*" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

java_major() {
  local java=java version
  if [[ -n ${JAVA_HOME:-} && -x $JAVA_HOME/bin/java ]]; then java=$JAVA_HOME/bin/java; fi
  version=$("$java" -version 2>&1) || { echo 0; return; }
  version=${version#*version \"}
  version=${version%%[.\"-]*}
  [[ $version =~ ^[0-9]+$ ]] && echo "$version" || echo 0
}

# The first Python 3.11 or newer on PATH that can run at all.
find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11 python3.14; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

# Flink's packages are built for no newer one than 3.12.
find_python_of_flink() {
  local name
  for name in python3 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

# Spark as pip leaves it once it is whole: RECORD is written last.
spark_is_there() {
  local record=("$venv"/lib/python3*/site-packages/"pyspark-$PYSPARK_VERSION.dist-info/RECORD")
  [[ -f ${record[0]} ]] && "$venv/bin/python" -c '' 2>/dev/null
}

sail_is_there() {
  local record=("$sail_venv"/lib/python3*/site-packages/"pysail-$PYSAIL_VERSION.dist-info/RECORD")
  [[ -f ${record[0]} && -x $sail_venv/bin/sail ]] && "$sail_venv/bin/python" -c '' 2>/dev/null
}

flink_jars_are_there() {
  local record=("$flink_venv"/lib/python3*/site-packages/"apache_flink_libraries-$FLINK_VERSION.dist-info/RECORD")
  [[ -f ${record[0]} && -f ${record[0]%/*/*}/pyflink/lib/flink-dist-$FLINK_VERSION.jar ]] &&
    "$flink_venv/bin/python" -c '' 2>/dev/null
}

# The jars, and what Python jobs need; pip installs that after the packages it depends on.
flink_is_there() {
  local record=("$flink_venv"/lib/python3*/site-packages/"apache_flink-$FLINK_VERSION.dist-info/RECORD")
  [[ -f ${record[0]} ]] && flink_jars_are_there
}

# The same for the packages of the Python client, of any version: an administrator may have chosen others.
client_is_there() {
  "$venv/bin/python" -c 'import google.rpc, grpc, grpc_status, pandas, pyarrow, zstandard' 2>/dev/null
}

install_client() {
  step "installing what in-cluster Python needs (150 MB)" \
    "$venv/bin/python" -m pip install --quiet "${PYTHON_CLIENT[@]}"
}

# A virtual environment that holds nothing yet.
make_venv() {
  local python=$1 where=$2
  mkdir -p "$(dirname "$where")"
  # Left by a run that was interrupted, or of another version. Only what is a virtual environment goes.
  if [[ -e $where ]]; then
    [[ -f $where/pyvenv.cfg ]] || fail "$where is in the way: it is not a virtual environment" "move it elsewhere"
    rm -rf "$where"
  fi
  step "making a Python environment in $where" "$python" -m venv "$where"
}

install_sail() {
  make_venv "$1" "$sail_venv"
  step "installing Sail $PYSAIL_VERSION from PyPI (63 MB)" \
    "$sail_venv/bin/python" -m pip install --quiet "pysail==$PYSAIL_VERSION"
}

install_flink() {
  # What an earlier set-up left is completed; a Flink that runs from it is not disturbed.
  flink_jars_are_there || make_venv "$1" "$flink_venv"
  step "installing Flink $FLINK_VERSION with Python's part from PyPI (500 MB, a minute)" \
    "$flink_venv/bin/python" -m pip install --quiet "apache-flink==$FLINK_VERSION"
}

install_spark() {
  make_venv "$1" "$venv"
  step "installing Spark $PYSPARK_VERSION from PyPI (450 MB, some minutes)" \
    "$venv/bin/python" -m pip install --quiet "pyspark==$PYSPARK_VERSION"
}

# A PostgreSQL of a version that Libra supports, where Debian puts it or on PATH. The tests look in the same places.
postgres_is_there() {
  local postgres version
  for postgres in /usr/lib/postgresql/*/bin/postgres "$(command -v postgres || true)"; do
    if [[ ! -x $postgres || ! -x ${postgres%/*}/initdb || ! -x ${postgres%/*}/psql ]]; then continue; fi
    version=$("$postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p')
    if [[ -n $version ]] && ((version >= LEAST_POSTGRES)); then return 0; fi
  done
  return 1
}

# The tests build jars.
jdk_is_there() { command -v javac >/dev/null && command -v jar >/dev/null; }

redis_is_there() { command -v redis-server >/dev/null; }

# Slurm's daemons are on the search path of root alone; the tests look where Debian puts them.
slurm_is_there() {
  local path=$PATH:/usr/sbin:/sbin program plugin
  for program in slurmctld slurmd slurmrestd slurmdbd sbatch squeue sacct munged mariadbd mariadb-install-db; do
    PATH=$path command -v "$program" >/dev/null || return 1
  done
  # Tokens are a package of their own.
  for plugin in /usr/lib/*/slurm*/auth_jwt.so /usr/lib/slurm*/auth_jwt.so /usr/lib64/slurm*/auth_jwt.so; do
    if [[ -f $plugin ]]; then return 0; fi
  done
  return 1
}

for_tests=no for_benches=no for_sail=no
case ${1:-} in
'') ;;
sail) for_sail=yes ;;
test) for_tests=yes for_sail=yes ;;
bench) for_tests=yes for_benches=yes ;;
*) fail "setup.sh does not know \`$1\`" "say nothing, \`sail\`, \`test\` or \`bench\` for what these need as well" ;;
esac

changed=no
packages=()
command -v curl >/dev/null || packages+=(curl ca-certificates)
command -v cc >/dev/null || packages+=(build-essential)
(($(java_major) >= LEAST_JAVA)) || packages+=(openjdk-17-jre-headless)
own_spark=yes
if [[ -n ${SPARK_HOME:-} ]]; then
  [[ -x $SPARK_HOME/bin/spark-submit ]] ||
    fail "SPARK_HOME is $SPARK_HOME, but there is no bin/spark-submit in it" "mend it, or unset SPARK_HOME"
  own_spark=no
fi
python=
if { [[ $own_spark == yes ]] && ! spark_is_there; } || { [[ $for_sail == yes ]] && ! sail_is_there; } ||
  { [[ $for_tests == yes ]] && ! flink_is_there; }; then
  python=$(find_python) || packages+=(python3)
  # Debian keeps venv in a package of its own, one for each Python.
  if [[ -z $python ]]; then
    packages+=(python3-venv)
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
  fi
fi
if [[ $for_benches == yes ]]; then command -v npm >/dev/null || packages+=(nodejs npm); fi
if [[ $for_tests == yes ]]; then
  # Where systemd runs, these start a server each when they are installed. The tests leave it alone.
  postgres_is_there || packages+=(postgresql)
  redis_is_there || packages+=(redis-server)
  slurm_is_there ||
    packages+=(slurmctld slurmd slurmrestd slurmdbd slurm-client slurm-wlm-jwt-plugin munge mariadb-server)
  command -v openssl >/dev/null || packages+=(openssl)
  command -v promtool >/dev/null || packages+=(prometheus)
  jdk_is_there || packages+=(openjdk-17-jdk-headless)
fi
if ((${#packages[@]})); then install_packages "${packages[@]}"; fi

if (($(java_major) < LEAST_JAVA)); then
  fail "\`java\` is older than $LEAST_JAVA even now: $(command -v java || echo none)" \
    "set JAVA_HOME to Java $LEAST_JAVA or newer"
fi
if [[ $for_tests == yes ]]; then
  postgres_is_there || fail "the PostgreSQL of this system is older than $LEAST_POSTGRES, or not whole" \
    "install PostgreSQL $LEAST_POSTGRES or newer: https://www.postgresql.org/download"
  redis_is_there || fail "redis-server is missing even now" "install Redis: https://redis.io/docs"
  slurm_is_there || fail "Slurm is not whole even now: slurmctld, slurmd, slurmrestd, slurmdbd, munge, MariaDB, tokens" \
    "install Slurm 22.05: https://slurm.schedmd.com/quickstart_admin.html"
  jdk_is_there || fail "javac or jar is missing even now" "install a JDK 17, and put its bin directory on PATH"
fi
if [[ $own_spark == yes ]] && ! { spark_is_there && client_is_there; }; then
  # One installation at a time, when two of these run at once.
  mkdir -p "$(dirname "$venv")"
  exec 9>"$(dirname "$venv")/.setup.lock"
  if command -v flock >/dev/null; then flock 9; fi
  if ! spark_is_there; then
    python=${python:-$(find_python)} || fail "there is no Python 3.11 or newer on PATH" "install one; Spark needs it"
    install_spark "$python"
  fi
  client_is_there || install_client
  { spark_is_there && client_is_there; } ||
    fail "Spark is not whole in $venv" "remove that directory and run \`make setup\` again"
  exec 9>&-
fi

if [[ $for_sail == yes ]] && ! sail_is_there; then
  python=${python:-$(find_python)} || fail "there is no Python 3.11 or newer on PATH" "install one; Sail needs it"
  mkdir -p "$(dirname "$sail_venv")"
  exec 9>"$(dirname "$sail_venv")/.setup.lock"
  if command -v flock >/dev/null; then flock 9; fi
  sail_is_there || install_sail "$python"
  sail_is_there || fail "Sail is not whole in $sail_venv" "remove that directory and run \`scripts/setup.sh sail\` again"
  exec 9>&-
fi

if [[ $for_tests == yes ]] && ! flink_is_there; then
  python=$(find_python_of_flink) ||
    fail "there is no Python 3.11 or 3.12 on PATH" "install one beside your newer one: Flink's packages are built for these"
  mkdir -p "$(dirname "$flink_venv")"
  exec 9>"$(dirname "$flink_venv")/.setup.lock"
  if command -v flock >/dev/null; then flock 9; fi
  flink_is_there || install_flink "$python"
  flink_is_there || fail "Flink is not whole in $flink_venv" "remove that directory and run \`scripts/setup.sh test\` again"
  exec 9>&-
fi

if ! command -v cargo >/dev/null; then
  fail "cargo is missing, and Libra is built with it" \
    "install Rust 1.$LEAST_RUST or newer: https://rustup.rs"
fi
rust=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
if [[ -n $rust ]] && ((rust < LEAST_RUST)); then
  fail "cargo is version 1.$rust; Libra needs 1.$LEAST_RUST or newer" "update it: rustup update"
fi
if [[ $changed == no ]]; then say "nothing is missing"; fi
