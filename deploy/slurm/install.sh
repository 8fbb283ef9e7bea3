#!/bin/sh
# Installs Libra's hooks for Slurm on this machine, a node or the controller's; docs/slurm-hooks.md.
#   install.sh [--to DIR] [--env FILE] [--slurm-user USER]
#   install.sh --check [--env FILE]      whether Libra is reached and takes the key
set -eu

from=$(cd "$(dirname "$0")" && pwd)
to=/usr/local/lib/libra/slurm
env=/etc/libra/slurm.env
user=
check=
while [ $# -gt 0 ]; do
    case $1 in
        --to) to=$2 && shift ;;
        --env) env=$2 && shift ;;
        --slurm-user) user=$2 && shift ;;
        --check) check=yes ;;
        *)
            echo "install.sh: unknown option $1; it knows --to, --env, --slurm-user and --check" >&2
            exit 2
            ;;
    esac
    shift
done

if [ -n "$check" ]; then
    here=$from
    LIBRA_SLURM_ENV=$env
    set +eu
    . "$from/libra-hooks.sh"
    if ! libra_settings; then
        echo "install.sh: there is no LIBRA_URL in $env" >&2
        exit 1
    fi
    if ! libra_token; then
        echo "install.sh: $LIBRA_TOKEN_FILE holds no key that can be read by $(id -un)" >&2
        exit 1
    fi
    # An event without a job is refused, by a Libra that takes the key.
    event='{}'
    code=$(libra_request 1 check '{}' | curl -q --config - --silent --show-error --output /dev/null | sed -n 's/^libra-answer //p')
    case $code in
        400) echo "Libra at $LIBRA_URL takes events" ;;
        401 | 403)
            echo "install.sh: Libra at $LIBRA_URL answers $code: it wants a key of a developer or an admin in ${LIBRA_TOKEN_FILE:-LIBRA_TOKEN_FILE}" >&2
            exit 1
            ;;
        *)
            echo "install.sh: Libra at $LIBRA_URL gave no answer that is its own ($code); look at LIBRA_URL in $env" >&2
            exit 1
            ;;
    esac
    for queue in node controller; do
        dir=$LIBRA_SPOOL/$queue
        [ ! -d "$dir" ] || echo "$(find "$dir" -maxdepth 1 -name '[0-9]*.json' | grep -c .) events wait in $dir"
        [ ! -d "$dir/refused" ] || echo "$(find "$dir/refused" -name '*.json' | grep -c .) were refused; look into $dir/refused, then drain --refused"
        [ ! -r "$dir/dropped" ] || echo "$(cat "$dir/dropped") were dropped, because the spool of $dir was full"
    done
    exit 0
fi

for program in curl awk timeout; do
    command -v "$program" >/dev/null || {
        echo "install.sh: the hooks need $program; install it" >&2
        exit 1
    }
done
mkdir -p "$to"
for file in prolog epilog prolog-slurmctld epilog-slurmctld jobcomp drain libra-hooks.sh; do
    # Written aside and renamed: a hook may be running the old one just now.
    cp "$from/$file" "$to/.$file.new"
    chmod 755 "$to/.$file.new"
    mv -f "$to/.$file.new" "$to/$file"
done
if [ ! -e "$env" ]; then
    mkdir -p "$(dirname "$env")"
    cat >"$env" <<END
# What Libra's hooks and its node agent read. One value a line; nothing in it is run.
LIBRA_URL=http://127.0.0.1:8080
# A file with a key of Libra's, readable for the hooks alone: root on nodes, SlurmUser on the controller's machine.
#LIBRA_TOKEN_FILE=/etc/libra/token
# The cluster's name in libra.slurm.clusters; without it Slurm's own name for it.
#LIBRA_CLUSTER=main
# Where events are kept while Libra is away.
LIBRA_SPOOL=/var/spool/libra-slurm
END
    echo "wrote $env: set LIBRA_URL in it"
fi
spool=$(sed -n 's/^LIBRA_SPOOL=//p' "$env")
spool=${spool:-/var/spool/libra-slurm}
mkdir -p "$spool"
chmod 755 "$spool"
for queue in node controller; do
    mkdir -p "$spool/$queue"
    chmod 700 "$spool/$queue"
done
if [ -z "$user" ] && command -v scontrol >/dev/null; then
    user=$(timeout 5 scontrol show config 2>/dev/null | sed -n 's/^SlurmUser *= *\([^( ]*\).*/\1/p') || user=
fi
if [ -n "$user" ] && [ "$(id -u)" = 0 ]; then
    # slurmctld's hooks run as SlurmUser, a node's as root.
    chown -R "$user" "$spool/controller"
fi
cat <<END
Add to slurm.conf on all machines, then \`scontrol reconfigure\` (JobCompType wants a restart of slurmctld):

Prolog=$to/prolog
Epilog=$to/epilog
PrologFlags=Alloc
PrologSlurmctld=$to/prolog-slurmctld
EpilogSlurmctld=$to/epilog-slurmctld
JobCompType=jobcomp/script
JobCompLoc=$to/jobcomp
PrologEpilogTimeout=30
END
[ "$env" = /etc/libra/slurm.env ] || cat <<END

The settings are not in /etc/libra/slurm.env: set LIBRA_SLURM_ENV=$env in the environment of slurmd and slurmctld, or
link it as $to/slurm.env.
END
