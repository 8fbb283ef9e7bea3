#!/usr/bin/env bash
# Builds deploy/flink-runner/libra-flink-runner.jar, which is part of the binary: users have no JDK. The same sources and
# the same javac give the same bytes. A test says when the jar is older than its sources.
set -euo pipefail
cd "$(dirname "$0")/../deploy/flink-runner"

version=2.3.0
lib=$(echo "${XDG_DATA_HOME:-$HOME/.local/share}"/libra/flink/lib/python3*/site-packages/pyflink/lib)
[[ -f $lib/flink-dist-$version.jar ]] || {
  printf 'error: there is no Flink %s in %s\nhint: scripts/setup.sh test\n' "$version" "$lib" >&2
  exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Java 11: the oldest that a Flink which is still looked after runs on.
javac --release 11 -Xlint:-options -d "$work/classes" \
  -cp "$lib/flink-dist-$version.jar:$lib/flink-table-api-java-uber-$version.jar" libra/flink/Sql.java
printf 'Main-Class: libra.flink.Sql\nLibra-Sources: %s\n' "$(sha256sum libra/flink/Sql.java | cut -c1-64)" >"$work/manifest"
# Stored, not packed: how well a zlib packs is its own affair.
jar --create --no-compress --date=2026-01-01T00:00:00Z --file "$work/runner.jar" --manifest "$work/manifest" \
  -C "$work/classes" .
mv "$work/runner.jar" libra-flink-runner.jar
