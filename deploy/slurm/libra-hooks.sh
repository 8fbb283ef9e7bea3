# What Libra's hooks for Slurm share. POSIX sh, awk and curl (7.52 or newer); docs/slurm-hooks.md says what it does and why.
#
# Invariant: a hook ends with 0 and in time, whatever happens. Slurm drains the node of a Prolog or Epilog that fails, puts the job
# of a PrologSlurmctld that fails back into its queue, and waits for all of them.

# Seconds that a run may take; it is killed a second later.
LIBRA_HOOK_SECONDS=3
# Seconds to a connection, and for a whole request.
LIBRA_CONNECT_SECONDS=1
LIBRA_REQUEST_SECONDS=2
# A run begins no new batch after so many seconds.
LIBRA_DRAIN_SECONDS=2
# Events in one run of curl.
LIBRA_BATCH=40
# Seconds for which Libra is left alone when there was no answer, and when it had other things to do.
LIBRA_AWAY_SECONDS=10
LIBRA_BUSY_SECONDS=2
# A lock that is older than this was left behind, in seconds.
LIBRA_LOCK_SECONDS=30
# Events that are kept while Libra is away, and their bytes; the oldest go first. What was refused has bounds of its own.
LIBRA_SPOOL_EVENTS=10000
LIBRA_SPOOL_BYTES=67108864
LIBRA_REFUSED_FILES=2000
# Bytes that are kept of a refusal.
LIBRA_ANSWER_BYTES=4000

# Slurm sets no PATH.
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin
# Bytes are bytes, and files are in order.
LC_ALL=C
export PATH LC_ALL
umask 077

# One hook, named as its script, from its environment. A run of its own under `timeout`, where there is one.
libra_hook() {
    exec </dev/null >/dev/null 2>&1
    locked=
    trap 'libra_unlock; exit 0' EXIT HUP INT TERM PIPE
    if [ -z "${LIBRA_HOOK_DAEMON:-}" ]; then
        # Who has started this may know the file of settings; below `timeout` it is not the parent any more.
        LIBRA_HOOK_DAEMON=$PPID
        export LIBRA_HOOK_DAEMON
        if command -v timeout; then
            timeout -k 1 "$LIBRA_HOOK_SECONDS" /bin/sh "$0"
            exit 0
        fi
    fi
    cd /
    libra_settings || exit 0
    begun=$(date +%s)
    libra_event "$1" || exit 0
    case $1 in
        prolog | epilog) queue=$LIBRA_SPOOL/node ;;
        *) queue=$LIBRA_SPOOL/controller ;;
    esac
    case $1 in
        prolog*) class=1 ;;
        *) class=2 ;;
    esac
    if libra_keep "$begun-$class-$job-$1-$$.json"; then
        libra_drain_while_there_is_time
        libra_bound
    else
        libra_send_unkept "$1" "$class"
    fi
    exit 0
}

# Reads LIBRA_URL, LIBRA_TOKEN_FILE, LIBRA_CLUSTER, LIBRA_SPOOL, LIBRA_SPOOL_EVENTS and LIBRA_CA_FILE. The file is not run: it belongs to
# systemd's units as well. False where nothing is set up.
libra_settings() {
    settings=${LIBRA_SLURM_ENV:-}
    if [ -z "$settings" ] && [ -r "${here:-}/slurm.env" ]; then
        settings=$here/slurm.env
    fi
    if [ -z "$settings" ] && [ -r "/proc/${LIBRA_HOOK_DAEMON:-0}/environ" ]; then
        # Slurm cleans the environment of a hook, and its daemon's own is still there.
        settings=$(tr '\0' '\n' <"/proc/$LIBRA_HOOK_DAEMON/environ" | sed -n 's/^LIBRA_SLURM_ENV=//p')
    fi
    settings=${settings:-/etc/libra/slurm.env}
    if [ -r "$settings" ]; then
        while read -r line || [ -n "$line" ]; do
            value=${line#*=}
            case $value in
                \"*\") value=${value#\"} value=${value%\"} ;;
                \'*\') value=${value#\'} value=${value%\'} ;;
            esac
            case $line in
                LIBRA_URL=*) LIBRA_URL=$value ;;
                LIBRA_TOKEN_FILE=*) LIBRA_TOKEN_FILE=$value ;;
                LIBRA_CLUSTER=*) LIBRA_CLUSTER=$value ;;
                LIBRA_SPOOL=*) LIBRA_SPOOL=$value ;;
                LIBRA_CA_FILE=*) LIBRA_CA_FILE=$value ;;
                LIBRA_SPOOL_EVENTS=[1-9]*)
                    case $value in
                        *[!0-9]*) ;;
                        *) LIBRA_SPOOL_EVENTS=$value ;;
                    esac
                    ;;
            esac
        done <"$settings"
    fi
    LIBRA_SPOOL=${LIBRA_SPOOL:-/var/spool/libra-slurm}
    LIBRA_URL=${LIBRA_URL:-}
    LIBRA_URL=${LIBRA_URL%/}
    LIBRA_CLUSTER=${LIBRA_CLUSTER:-}
    export LIBRA_CLUSTER
    # It becomes part of what curl reads.
    case $LIBRA_URL$LIBRA_SPOOL${LIBRA_CA_FILE:-} in
        *[\"\\]*) return 1 ;;
    esac
    [ -n "$LIBRA_URL" ]
}

# Makes the event of a hook: its JSON in $event, its job's number in $job. False where there is nothing to tell.
libra_event() {
    event=$(LIBRA_HOOK=$1 LIBRA_NOW=$begun awk "$libra_event_awk")
    job=${event%% *}
    event=${event#* }
    case $job in
        '' | *[!0-9]*) return 1 ;;
    esac
}

# An awk that reads nothing but its environment, and writes `NUMBER JSON`. Job names come from users: only what is a whole character
# and no control character goes on, of 255 bytes each.
libra_event_awk='
function clean(s,   n, i, k, c, o, d, need, lo, hi, ok, piece, width, used, r) {
    n = length(s)
    for (i = 1; i <= n; i += width) {
        c = substr(s, i, 1)
        o = ord[c]
        width = 1
        if (o < 32 || o == 127) piece = " "
        else if (o < 128) piece = (c == "\\" || c == "\"") ? "\\" c : c
        else {
            need = 0; lo = 128; hi = 191
            if (o >= 194 && o <= 223) { need = 1; if (o == 194) lo = 160 }
            else if (o >= 224 && o <= 239) { need = 2; if (o == 224) lo = 160; if (o == 237) hi = 159 }
            else if (o >= 240 && o <= 244) { need = 3; if (o == 240) lo = 144; if (o == 244) hi = 143 }
            ok = need > 0 && i + need <= n
            for (k = 1; ok && k <= need; k++) {
                d = ord[substr(s, i + k, 1)]
                if (d < lo || d > hi) ok = 0
                lo = 128; hi = 191
            }
            piece = "?"
            if (ok) { width = need + 1; piece = substr(s, i, width) }
        }
        used += width
        if (used > 255) break
        r = r piece
    }
    sub(/^ +/, "", r)
    sub(/ +$/, "", r)
    return r
}
function put(name, value) { out = out (out == "" ? "" : ",") "\"" name "\":" value }
function text(name, value) { value = clean(value); if (value != "") put(name, "\"" value "\"") }
function digits(value) {
    if (value !~ /^[0-9]+$/ || length(value) > 12) return ""
    sub(/^0+/, "", value)
    return value == "" ? "0" : value
}
function number(name, value) { value = digits(value); if (value != "") put(name, value) }
# RFC 3339 of seconds since the epoch: days are counted from the first of March, so that a leap day is the last of its year.
function time(name, value,   s, days, era, left, year, day, month) {
    value = digits(value)
    if (value == "" || value + 0 < 1000000) return
    s = value % 86400
    days = (value - s) / 86400 + 719468
    era = int(days / 146097)
    left = days - era * 146097
    year = int((left - int(left / 1460) + int(left / 36524) - int(left / 146096)) / 365)
    day = left - (365 * year + int(year / 4) - int(year / 100))
    month = int((5 * day + 2) / 153)
    day = day - int((153 * month + 2) / 5) + 1
    month = month < 10 ? month + 3 : month - 9
    year = year + era * 400 + (month <= 2 ? 1 : 0)
    put(name, sprintf("\"%04d-%02d-%02dT%02d:%02d:%02dZ\"", year, month, day, s / 3600, s % 3600 / 60, s % 60))
}
# Slurm writes n[1-3,7],m1: a list of as few words as it can; Libra takes it apart.
function nodes(name, list,   n, i, c, depth, word, words) {
    n = length(list)
    for (i = 1; i <= n + 1; i++) {
        c = i > n ? "," : substr(list, i, 1)
        if (c == "," && (depth == 0 || i > n)) {
            word = clean(word)
            if (word != "" && length(word) < 255 && word !~ /^\(/) words = words (words == "" ? "" : ",") "\"" word "\""
            word = ""
            continue
        }
        if (c == "[") depth++
        if (c == "]") depth--
        word = word c
    }
    if (words != "") put(name, "[" words "]")
    return words
}
# 2(x3),1 is seven.
function processors(name, list,   n, i, parts, pair, sum) {
    n = split(list, parts, ",")
    for (i = 1; i <= n; i++) {
        if (parts[i] !~ /^[0-9]+(\(x[0-9]+\))?$/) return
        split(parts[i], pair, /[(x)]+/)
        sum += pair[1] * (pair[2] == "" ? 1 : pair[2])
    }
    if (sum > 0) number(name, sum "")
}
function exits(pair, state,   parts) {
    if (pair !~ /^[0-9]+:[0-9]+$/) return
    # Of a job that was cancelled or had no time left Slurm says 0:0, which it is not.
    if (pair == "0:0" && state != "COMPLETED") return
    split(pair, parts, ":")
    number("exit_code", parts[1])
    number("signal", parts[2])
}
BEGIN {
    for (i = 1; i < 256; i++) ord[sprintf("%c", i)] = i
    hook = ENVIRON["LIBRA_HOOK"]
    now = ENVIRON["LIBRA_NOW"]
    text("cluster", ENVIRON["LIBRA_CLUSTER"])
    if (hook == "jobcomp") {
        if (out == "") text("cluster", ENVIRON["CLUSTER"])
        job = digits(ENVIRON["JOBID"])
        state = ENVIRON["JOBSTATE"]
        text("raw_state", state)
        exits(ENVIRON["EXITCODE"], state)
        time("timestamp", ENVIRON["END"] + 0 > 0 ? ENVIRON["END"] : now)
        time("submit_time", ENVIRON["SUBMIT"])
        # What never had a node has not begun, whatever time Slurm says.
        if (nodes("node_list", ENVIRON["NODES"]) != "") time("start_time", ENVIRON["START"])
        text("user", ENVIRON["USERNAME"])
        text("name", ENVIRON["JOBNAME"])
        text("partition", ENVIRON["PARTITION"])
        text("account", ENVIRON["ACCOUNT"])
    } else {
        if (out == "") text("cluster", ENVIRON["SLURM_CLUSTER_NAME"])
        job = digits(ENVIRON["SLURM_JOB_ID"])
        user = ENVIRON["SLURM_JOB_USER"]
        text("user", user == "" ? ENVIRON["SLURM_JOB_UID"] : user)
        number("restart_count", ENVIRON["SLURM_JOB_RESTART_COUNT"])
        if (hook ~ /^prolog/) {
            # Newer Slurms tell the time of the controller, so that it is the same on all nodes.
            begun = ENVIRON["SLURM_JOB_START_TIME"]
            time("timestamp", begun + 0 > 0 ? begun : now)
            text("partition", ENVIRON["SLURM_JOB_PARTITION"])
            text("account", ENVIRON["SLURM_JOB_ACCOUNT"])
            text("name", ENVIRON["SLURM_JOB_NAME"])
            processors("cpu_allocation", ENVIRON["SLURM_JOB_CPUS_PER_NODE"])
            gpus = ENVIRON["SLURM_JOB_GPUS"]
            # A node knows its own alone.
            if (ENVIRON["SLURM_JOB_NUM_NODES"] == 1 && gpus ~ /^[0-9]+(,[0-9]+)*$/) number("gpu_allocation", split(gpus, parts, ",") "")
            list = hook == "prolog" ? ENVIRON["SLURMD_NODENAME"] : ENVIRON["SLURM_JOB_NODELIST"]
            if (list == "") list = ENVIRON["SLURM_NODELIST"]
            if (nodes("node_list", list) == "") exit
        } else {
            time("timestamp", now)
            pair = ENVIRON["SLURM_JOB_EXIT_CODE2"]
            exits(pair, "")
            # It is still being cleaned up: how it ended is for Slurm to say, 0:0 may be a cancelled job.
            if (hook == "epilog") text("node", ENVIRON["SLURMD_NODENAME"])
            else put("raw_state", "\"COMPLETING\"")
        }
    }
    if (job == "" || job == "0") exit
    printf "%s {\"job_id\":\"%s\",%s}", job, job, out
}'

# Puts $event into the queue, under this name. False where the disk does not take it.
libra_keep() {
    [ -d "$queue" ] || mkdir -p "$queue" || return 1
    cd "$queue" || return 1
    if printf '%s' "$event" >".new.$$" && mv -f ".new.$$" "$1"; then
        return 0
    fi
    rm -f ".new.$$"
    return 1
}

# Sends batches, the oldest events first, until there are none or there is no time. One run does it for all: those that come
# meanwhile leave theirs in the queue, and it looks again when it has let go of the lock.
libra_drain_while_there_is_time() {
    while :; do
        now=$(date +%s)
        [ $((now - begun)) -lt "$LIBRA_DRAIN_SECONDS" ] || return 0
        libra_left_alone "$now" && return 0
        set -- [0-9]*.json
        [ -e "$1" ] || return 0
        libra_lock "$now" || return 0
        libra_send_batch "$@"
        sent=$?
        libra_unlock
        [ "$sent" = 0 ] || return 0
    done
}

# True while Libra is left alone.
libra_left_alone() {
    until=0
    [ ! -r away ] || read -r until why <away
    case $until in
        '' | *[!0-9]*) until=0 ;;
    esac
    # A clock that was set back must not keep it away for long.
    [ "$until" -gt "$1" ] && [ $((until - $1)) -le "$LIBRA_AWAY_SECONDS" ]
}

# The time is in the link itself. Two that break an old lock at once send the same events, which is as good as once.
libra_lock() {
    if ln -s "$1" lock; then
        locked=yes
        return 0
    fi
    since=$(readlink lock)
    case $since in
        '' | *[!0-9]*) since=0 ;;
    esac
    age=$(($1 - since))
    [ "$age" -le "$LIBRA_LOCK_SECONDS" ] && [ "$age" -ge "-$LIBRA_LOCK_SECONDS" ] && return 1
    mv -f lock ".stale.$$"
    rm -f ".stale.$$"
    ln -s "$1" lock && locked=yes
}

libra_unlock() {
    [ -z "${locked:-}" ] || rm -f lock
    locked=
}

# The first of these files, in one run of curl. True when each is gone from the queue.
libra_send_batch() {
    libra_token || {
        libra_leave_alone "$LIBRA_AWAY_SECONDS" "the file of the token can't be read"
        return 1
    }
    libra_requests "$@" | curl -q --config - --silent --fail-early | libra_answers "$@"
}

# The token goes to curl through a pipe: a command line can be read by everybody.
libra_token() {
    token=
    [ -n "${LIBRA_TOKEN_FILE:-}" ] || return 0
    [ -r "$LIBRA_TOKEN_FILE" ] || return 1
    read -r token <"$LIBRA_TOKEN_FILE"
    case $token in
        '' | *[!A-Za-z0-9._~+/=:-]*) return 1 ;;
    esac
}

libra_requests() {
    count=0
    for file; do
        [ "$count" -lt "$LIBRA_BATCH" ] || return 0
        [ "$count" = 0 ] || printf 'next\n'
        count=$((count + 1))
        rest=${file#*-}
        hook=${rest#*-}
        hook=${hook#*-}
        libra_request "${rest%%-*}" "${hook%-*}" "@$file"
    done
}

# One request of a class of a hook, with this body.
libra_request() {
    case $1 in
        1) path=job-started ;;
        *) path=job-finished ;;
    esac
    printf 'url = "%s/v1/events/%s"\ndata-binary = "%s"\n' "$LIBRA_URL" "$path" "$3"
    printf 'header = "content-type: application/json"\nheader = "x-changed-by: slurm-%s"\nheader = "x-source: slurm"\n' "$2"
    [ -z "$token" ] || printf 'header = "authorization: Bearer %s"\n' "$token"
    [ -z "${LIBRA_CA_FILE:-}" ] || printf 'cacert = "%s"\n' "$LIBRA_CA_FILE"
    printf 'connect-timeout = %s\nmax-time = %s\n' "$LIBRA_CONNECT_SECONDS" "$LIBRA_REQUEST_SECONDS"
    printf 'write-out = "\\nlibra-answer %%{http_code}\\n"\n'
}

# Reads what curl says of each of these files. Taken: it goes. Refused: it is put aside, with the answer, for people to see.
# Everything else stays and is tried again.
libra_answers() {
    pause='' why='' said=''
    while read -r line || [ -n "$line" ]; do
        case $line in
            "libra-answer "*) code=${line#* } ;;
            *)
                [ -z "$line" ] || said=$line
                continue
                ;;
        esac
        case $code in
            # At once: a run that is killed while Libra is slow has not sent them for nothing.
            2??) rm -f "$1" ;;
            408 | 425 | 429 | 5??)
                pause=${pause:-$LIBRA_BUSY_SECONDS}
                why="answer $code"
                ;;
            4??) libra_put_aside "$1" "$code $said" ;;
            *)
                pause=$LIBRA_AWAY_SECONDS
                why="no answer ($code)"
                ;;
        esac
        said=''
        shift
    done
    if [ -n "$pause" ]; then
        libra_leave_alone "$pause" "$why"
        return 1
    fi
    rm -f away
}

libra_leave_alone() {
    # Readable for the drain of another user as well.
    (umask 022 && printf '%s %s\n' "$(($(date +%s) + $1))" "$2" >".away.$$") && mv -f ".away.$$" away
}

libra_put_aside() {
    [ -d refused ] || mkdir refused || return 0
    printf '%.*s\n' "$LIBRA_ANSWER_BYTES" "$2" >"refused/$1.answer"
    mv -f "$1" "refused/$1"
}

# Keeps queue and refusals within their bounds; what goes for that is counted in `dropped`. Only where something is left.
libra_bound() {
    set -- [0-9]*.json
    [ -e "$1" ] || [ -d refused ] || return 0
    libra_lock "$(date +%s)" || return 0
    libra_drop . "$LIBRA_SPOOL_EVENTS"
    [ ! -d refused ] || libra_drop refused "$LIBRA_REFUSED_FILES"
    # What a killed run has left half written.
    find . -maxdepth 1 -name '.new.*' -mmin +5 -exec rm -f {} +
    libra_unlock
}

libra_drop() {
    gone=$(ls -lr "$1" | awk -v most="$2" -v bytes="$LIBRA_SPOOL_BYTES" -v in_dir="$1" '
        $NF ~ /^[0-9].*\.json/ { kept++; sum += $5; if (kept > most || sum > bytes) print in_dir "/" $NF }')
    [ -n "$gone" ] || return 0
    dropped=0
    [ ! -r dropped ] || read -r dropped <dropped
    case $dropped in
        '' | *[!0-9]*) dropped=0 ;;
    esac
    printf '%s\n' "$gone" | xargs rm -f
    dropped=$((dropped + $(printf '%s\n' "$gone" | grep -c .)))
    (umask 022 && printf '%s\n' "$dropped" >".dropped.$$") && mv -f ".dropped.$$" dropped
}

# Sends an event that the disk does not take. If Libra does not take it either, it is lost; polling finds the job.
libra_send_unkept() {
    libra_token || return 0
    # Nothing can be given to curl in two pipes, so the body goes into its configuration.
    body=$(printf '%s' "$event" | sed 's/\\/\\\\/g; s/"/\\"/g')
    libra_request "$2" "$1" "$body" | curl -q --config - --silent --output /dev/null
}
