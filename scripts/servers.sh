#!/usr/bin/env bash
# Private PostgreSQL and RabbitMQ servers for the tests and for experiments: on this machine only, on free ports, with
# their own data.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'TEXT'
Usage: scripts/servers.sh run COMMAND...             start both in a new directory, run COMMAND, stop and remove them
       scripts/servers.sh postgres|rabbitmq start DIR   start one in DIR, created if missing, on its previous ports, unless it
                                                        runs
       scripts/servers.sh postgres|rabbitmq stop DIR    stop it; keeps its data
       scripts/servers.sh postgres|rabbitmq kill DIR    kill -9 it; keeps its data
       scripts/servers.sh rabbitmq ctl DIR ARGUMENT...  run rabbitmqctl for it

COMMAND finds the servers by MIG_TEST_SERVERS, the directory with postgres/ and rabbitmq/. In each, `port` holds the port;
rabbitmq/tls-port that of AMQPS if there is rabbitmq/extra.conf with ssl_options, which names it @PORT@. PostgreSQL
accepts the superuser `postgres` without a password; RabbitMQ the user guest, password guest.

Exit codes: 0 done; 1 failed, with a message; 64 command line; run: those of COMMAND.
TEXT
}

# Time limit for a server to start or to stop, in seconds: far longer than on an idle machine.
patience=240

# free_port : prints a port without a listener, below the ephemeral ports of the kernel.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { printf '%s\n' "$port"; return; }
    done
}

# port_of FILE : prints the port stored in it, or stores a free one first.
port_of() {
    [ -s "$1" ] || free_port >"$1"
    cat "$1"
}

# wait_for SECONDS COMMAND... : repeats it until it succeeds; false after that time.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.1
    done
}

# exec_as_postgres COMMAND... : PostgreSQL does not run as root.
exec_as_postgres() {
    if [ "$(id -u)" -eq 0 ]; then exec setpriv --reuid postgres --regid postgres --clear-groups "$@"; else exec "$@"; fi
}

# runs DIR : whether the process of DIR/pid is alive and is the server of DIR.
runs() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) && [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$1/data"
}

postgres_start() {
    local dir=$1 bin port fresh=() server
    # Without its postmaster.pid, removed below, a server ends itself.
    ! runs "$dir" || return 0
    bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
    mkdir -p "$dir"
    [ -s "$dir/port" ] || fresh=("$dir/port")
    if [ ! -d "$dir/data" ]; then
        mkdir -p "$dir/data"
        [ "$(id -u)" -ne 0 ] || chown postgres "$dir/data"
        (cd / && exec_as_postgres "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync -E UTF8 --locale C.UTF-8) >"$dir/initdb.log" 2>&1 || die "initdb: $(tail -n 3 "$dir/initdb.log")"
        printf 'host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n' >"$dir/data/pg_hba.conf"
        cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
logging_collector = off
include_if_exists = '$dir/extra.conf'
CONF
    fi
    # The port may have been taken since it was found free.
    for _ in 1 2 3; do
        port=$(port_of "$dir/port")
        rm -f "$dir/data/postmaster.pid"
        (cd / && exec_as_postgres "$bin/postgres" -D "$dir/data" -p "$port") >>"$dir/log" 2>&1 </dev/null &
        server=$!
        printf '%s\n' "$server" >"$dir/pid"
        wait_for "$patience" postgres_decided "$dir" "$server" || break
        kill -0 "$server" 2>/dev/null && return
        rm -f "${fresh[@]}"
    done
    die "PostgreSQL did not start: $(tail -n 3 "$dir/log")"
}

# postgres_decided DIR PROCESS : whether it has started, or exited. Another server may have its port.
postgres_decided() {
    local found
    kill -0 "$2" 2>/dev/null || return 0
    found=$(psql -X -A -t -h 127.0.0.1 -p "$(cat "$1/port")" -U postgres -c 'SHOW data_directory') && [ "$found" -ef "$1/data" ]
}

# rabbitmq_run DIR PROGRAM ARGUMENT... : runs one of RabbitMQ's programs, for the node in DIR.
rabbitmq_run() {
    local dir=$1 program=$2 port
    shift 2
    port=$(cat "$dir/port")
    env -i PATH="$PATH" HOME="$dir" LANG=C.UTF-8 LC_ALL=C.UTF-8 \
        RABBITMQ_NODENAME="mig-$port@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$port" \
        RABBITMQ_DIST_PORT="$(cat "$dir/dist-port")" ERL_EPMD_PORT="$(cat "$dir/epmd-port")" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE="$dir" RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" RABBITMQ_PID_FILE="$dir/pid" \
        ERL_CRASH_DUMP="$dir/erl_crash.dump" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none" \
        "/usr/lib/rabbitmq/bin/$program" "$@"
}

rabbitmq_start() {
    local dir=$1 name fresh=() server
    ! runs "$dir" || return 0
    mkdir -p "$dir/data"
    for name in port dist-port epmd-port tls-port; do [ -s "$dir/$name" ] || fresh+=("$dir/$name"); done
    printf '[].\n' >"$dir/enabled_plugins"
    for _ in 1 2 3; do
        for name in port dist-port epmd-port tls-port; do port_of "$dir/$name" >/dev/null; done
        {
            printf 'listeners.tcp.1 = 127.0.0.1:%s\nlog.console = false\nlog.file.level = warning\n' "$(cat "$dir/port")"
            printf 'disk_free_limit.absolute = 50MB\nloopback_users = none\n'
            [ ! -e "$dir/extra.conf" ] || sed "s/@PORT@/$(cat "$dir/tls-port")/g" "$dir/extra.conf"
        } >"$dir/rabbitmq.conf"
        rabbitmq_run "$dir" rabbitmq-server >>"$dir/log" 2>&1 </dev/null &
        server=$!
        wait_for "$patience" rabbitmq_decided "$dir" "$server" || break
        kill -0 "$server" 2>/dev/null && return
        rm -f "${fresh[@]}"
    done
    die "RabbitMQ did not start: $(tail -n 5 "$dir/log")"
}

# rabbitmq_decided DIR PROCESS : whether it has started, or exited.
rabbitmq_decided() {
    ! kill -0 "$2" 2>/dev/null || rabbitmq_run "$1" rabbitmqctl -q await_startup --timeout 60
}

end() { # end DIR SIGNAL : stops the process of DIR/pid
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 0
    if kill "-$2" "$pid" 2>/dev/null; then
        wait_for "$patience" eval "! kill -0 $pid" || kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$1/pid"
}

# epmd_ended PORT : asks the port mapper of a broker to exit; it refuses while the broker is registered.
epmd_ended() {
    env ERL_EPMD_PORT="$1" epmd -kill
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1")
}

rabbitmq_stop() {
    [ -e "$1/epmd-port" ] || return 0
    end "$1" TERM
    # Otherwise the next start finds it, with the broker's name still registered.
    wait_for 60 epmd_ended "$(cat "$1/epmd-port")" || true
}

run() {
    local dir status=0
    install postgresql rabbitmq-server tinyproxy
    dir=$(mktemp -d "${TMPDIR:-/tmp}/mig-servers.XXXXXX")
    chmod 755 "$dir"
    # shellcheck disable=SC2064
    trap "end '$dir/postgres' INT; rabbitmq_stop '$dir/rabbitmq'; rm -rf '$dir'" EXIT
    postgres_start "$dir/postgres"
    rabbitmq_start "$dir/rabbitmq"
    MIG_TEST_SERVERS=$dir "$@" || status=$?
    exit "$status"
}

case "${1:-} ${2:-}" in
    'run '?*)
        shift
        run "$@"
        ;;
    'postgres start' | 'rabbitmq start') "$1_start" "${3:?directory}" ;;
    'postgres stop') end "${3:?directory}" INT ;;
    'rabbitmq stop') rabbitmq_stop "${3:?directory}" ;;
    'postgres kill' | 'rabbitmq kill') end "${3:?directory}" KILL ;;
    'rabbitmq ctl')
        dir=${3:?directory}
        shift 3
        rabbitmq_run "$dir" rabbitmqctl "$@"
        ;;
    '-h ' | '--help ') usage ;;
    *)
        usage >&2
        exit 64
        ;;
esac
