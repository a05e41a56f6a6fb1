#!/usr/bin/env bash
# Builds MIG and runs an investigation twice: a signed action is dropped with cp, agents run it, and their answers are printed; then
# the program mig launches one over the REST API.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
Usage: scripts/quickstart.sh            build, start a scheduler, an API and 3 agents under ./sandbox, investigate, leave them running
       scripts/quickstart.sh --scale    the same under ./sandbox/scale with a private RabbitMQ and a private PostgreSQL
       scripts/quickstart.sh --stop     stop them, those of --scale too
       scripts/quickstart.sh --once [--scale]   in a temporary sandbox, then clean up (for CI)

Everything is under ./sandbox: keys, spool, relay, database, logs; the servers of --scale keep their files in the system's
directory for temporary files. Only what the build needs is installed, and with --scale both servers.
Exit codes: 0 done; 1 failed, with a message; 64 command line.
EOF
}

agents=3
scale=

use_sandbox() {
    bin=$(programs release)
    sandbox=$1
    spool=$sandbox/spool
    relay=$sandbox/relay
    etc=$sandbox/etc
    logs=$sandbox/log
    pids=$sandbox/pid
}

# quoted TEXT : prints it as a value of a configuration file.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# is_running PIDFILE PROGRAM : whether the process is alive and runs this program.
is_running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    [ -n "$pid" ] && [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == "$bin/$2"* ]]
}

stop() { # stop NAME
    local file=$pids/$1 program=mig-agent pid
    case $1 in scheduler | api) program=mig-$1 ;; esac
    if is_running "$file" "$program"; then
        pid=$(cat "$file")
        kill "$pid"
        for _ in $(seq 100); do
            is_running "$file" "$program" || break
            sleep 0.05
        done
        if is_running "$file" "$program"; then kill -9 "$pid"; fi
    fi
    rm -f -- "$file"
}

start() { # start NAME PROGRAM ARGUMENT... : unless it runs; restarts one whose program was rebuilt
    local name=$1 program=$2
    shift 2
    if is_running "$pids/$name" "$program"; then
        [[ $(readlink "/proc/$(cat "$pids/$name")/exe") != *' (deleted)' ]] && return
        stop "$name"
    fi
    "$bin/$program" "$@" >>"$logs/$name.log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$pids/$name"
}

# servers_dir : where the private servers of this sandbox are.
servers_dir() { cat "$sandbox/servers" 2>/dev/null; }

stop_servers() {
    local dir
    dir=$(servers_dir) || return 0
    "$root/scripts/servers.sh" postgres stop "$dir/postgres"
    "$root/scripts/servers.sh" rabbitmq stop "$dir/rabbitmq"
}

start_servers() {
    local dir
    install postgresql rabbitmq-server
    # PostgreSQL runs as another user, which may not reach the sandbox.
    dir=$(servers_dir) || { dir=$(mktemp -d "${TMPDIR:-/tmp}/mig-quickstart.XXXXXX") && chmod 755 "$dir" && printf '%s\n' "$dir" >"$sandbox/servers"; }
    say "== starting PostgreSQL and RabbitMQ in $dir"
    (
        umask 022
        "$root/scripts/servers.sh" postgres start "$dir/postgres"
        "$root/scripts/servers.sh" rabbitmq start "$dir/rabbitmq"
    )
    postgres_port=$(cat "$dir/postgres/port")
    rabbitmq_port=$(cat "$dir/rabbitmq/port")
    PGHOST=127.0.0.1 PGPORT=$postgres_port "$root/scripts/createlocaldb.sh" --credentials "$etc/database-passwords" >/dev/null
    RABBITMQCTL="$(printf '%q ' "$root/scripts/servers.sh" rabbitmq ctl "$dir/rabbitmq")" \
        "$root/scripts/setup-rabbitmq.sh" --passwords "$etc/rabbitmq-passwords" >/dev/null
}

stop_all() {
    local file
    for file in "$pids"/*; do
        [ -e "$file" ] || continue
        stop "${file##*/}"
    done
    stop_servers
}

build() {
    install_build_tools
    install jq
    say "== building (the first time takes about 5 minutes on two cores)"
    (cd "$root" && cargo build --release --locked "${cargo_says[@]}")
}

make_sandbox() {
    mkdir -p "$relay" "$etc" "$logs" "$pids" "$sandbox/demo"
    [ -z "$scale" ] || start_servers
    "$root/scripts/install-spool.sh" -s "$spool" >/dev/null
    if [ ! -e "$etc/investigator.key" ]; then
        "$bin/mig-action-generator" --make-key 'Quickstart Investigator <investigator@example.net>' \
            --key-file "$etc/investigator.key" >/dev/null
    fi
    # Every agent may register; a whitelist in production names each one.
    printf 're:linux\\..*\n' >"$spool/agents_whitelist.txt"
    printf 'world-writable\n' >"$sandbox/demo/open-to-all.txt"
    printf 'fine\n' >"$sandbox/demo/private.txt"
    printf '#!/bin/sh\n' >"$sandbox/demo/backdoor"
    chmod 666 "$sandbox/demo/open-to-all.txt"
    chmod 600 "$sandbox/demo/private.txt"
    chmod 4755 "$sandbox/demo/backdoor"
    write_configuration
}

# store USER : the section of a program's configuration with the store.
store() {
    if [ -z "$scale" ]; then
        printf '[sqlite]\n    file = %s\n' "$(quoted "$sandbox/mig.db")"
        return
    fi
    printf '[postgres]\n    host = "127.0.0.1"\n    port = %s\n    dbname = "mig"\n    user = "%s"\n    sslmode = "disable"\n    password = "%s"\n' \
        "$postgres_port" "$1" "$(sed -n "s|^$1/||p" "$etc/database-passwords")"
}

# relay USER : the same with the relay.
relay() {
    if [ -z "$scale" ]; then
        printf '[relay]\n    directory = %s\n' "$(quoted "$relay")"
        return
    fi
    printf '[mq]\n    host = "127.0.0.1"\n    port = %s\n    vhost = "mig"\n    usetls = off\n    user = "%s"\n    pass = "%s"\n' \
        "$rabbitmq_port" "$1" "$(rabbitmq_password "$1")"
}

rabbitmq_password() { sed -n "s|^$1 ||p" "$etc/rabbitmq-passwords"; }

agent_relay() {
    if [ -z "$scale" ]; then printf 'dir://%s' "$relay"; else printf 'amqp://agent:%s@127.0.0.1:%s/mig' "$(rabbitmq_password agent)" "$rabbitmq_port"; fi
}

# api_port : a port for the API, the same one at each start.
api_port() {
    local port
    while [ ! -s "$etc/api-port" ]; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || printf '%s\n' "$port" >"$etc/api-port"
    done
    cat "$etc/api-port"
}

write_configuration() {
    local fingerprint n
    cat >"$etc/mig-scheduler.cfg" <<EOF
[agent]
    heartbeatfreq = "30s"
    timeout = "10m"
[directories]
    spool = $(quoted "$spool")
[investigators]
    keyring = $(quoted "$etc/investigator.key.pub")
$(relay scheduler)
$(store migscheduler)
[logging]
    level = "info"
EOF
    cat >"$etc/mig-api.cfg" <<EOF
[server]
    port = $(api_port)
[directories]
    spool = $(quoted "$spool")
$(relay api)
$(store migapi)
[logging]
    level = "info"
EOF
    cat >"$etc/migrc" <<EOF
[api]
    url = "http://127.0.0.1:$(api_port)/api/v1/"
EOF
    fingerprint=$("$bin/mig-action-generator" --fingerprint "$etc/investigator.key.pub")
    cat >"$etc/acl.json" <<EOF
[{"default": {"minimumweight": 1, "investigators": {"Quickstart Investigator": {"fingerprint": "$fingerprint", "weight": 1}}}}]
EOF
    for n in $(seq "$agents"); do
        cat >"$etc/mig-agent-$n.cfg" <<EOF
[agent]
    relay = $(quoted "$(agent_relay)")
    keyring = $(quoted "$etc/investigator.key.pub")
    acl = $(quoted "$etc/acl.json")
    rundir = $(quoted "$sandbox/agent-$n")
    heartbeatfreq = "30s"
    tags = "number=$n"
[logging]
    level = "info"
EOF
    done
}

write_action() {
    jq -n --arg demo "$sandbox/demo" '{
        name: "Who may write everything, and what runs as root",
        target: "status = '\''online'\'' AND queueloc LIKE '\''linux.%'\''",
        description: {author: "Quickstart", revision: 1},
        threat: {level: "info", family: "quickstart"},
        operations: [{module: "file", parameters: {searches: {
            setuid: {description: "an u among the mode letters", paths: [$demo, "/etc"], modes: ["u"], options: {matchall: true}},
            worldwritable: {description: "others may write", paths: [$demo, "/etc"], modes: ["^[^DLScp]*w.$"], options: {matchall: true}}}}}],
        syntaxversion: 2}' >"$sandbox/action.json"
}

wait_for_agents() {
    for _ in $(seq 2400); do
        "$bin/mig-scheduler" -c "$etc/mig-scheduler.cfg" --explain-target "status='online'" 2>/dev/null |
            grep -q "^$agents agents\$" && return
        sleep 0.05
    done
    tail -n 5 "$logs"/*.log >&2
    die "the agents did not register; the logs are in $logs"
}

# count STAGE : sets n to the number of its *.json files. Starts no process: files move in milliseconds.
count() {
    local files=("$spool/$1"/*.json)
    n=${#files[@]}
    [ -e "${files[0]}" ] || n=0
}

# watch_stages DONE INVALID : prints the number of files per stage whenever it changes, until action/done has more than
# DONE files, or action/invalid more than INVALID.
watch_stages() {
    local stages=(action/new action/inflight command/ready command/inflight command/returned command/done action/done action/invalid)
    local n before='' line stage done_now=0 invalid_now=0
    printf '   %-18s' "${stages[@]}"
    printf '\n'
    for _ in $(seq 24000); do
        line=''
        for stage in "${stages[@]}"; do
            count "$stage"
            printf -v line '%s   %-18s' "$line" "$n"
            case $stage in
                action/done) done_now=$n ;;
                action/invalid) invalid_now=$n ;;
            esac
        done
        if [ "$line" != "$before" ]; then
            printf '%s\n' "$line"
            before=$line
        fi
        if [ "$done_now" -gt "$1" ] || [ "$invalid_now" -gt "$2" ]; then return; fi
        sleep 0.005
    done
    die "the action is not done yet; look at $logs and at scripts/spool-status -s '$spool'"
}

show_answers() {
    local action id
    action=$(find "$spool/action/done" -name '*.json' -printf '%C@ %f\n' | sort -n | tail -n 1 | cut -d' ' -f2)
    id=${action%.json}
    say "== the action ($spool/action/done/$action)"
    jq -r '"   \(.status): \(.counters | to_entries | map("\(.value) \(.key)") | join(", "))"' "$spool/action/done/$action"
    say "== the answers ($spool/command/done/$id-*.json)"
    jq -r '"\(.agent.queueloc): \(.status)", (.results[0] | (.elements // {} | to_entries[] | .key as $name | .value[] |
        select(.file != "") | "   \($name)  \(.fileinfo.mode)  \(.file)"), "   \(.statistics.filescount) files checked in \(.statistics.exectime)")' \
        "$spool/command/done/$id"-*.json
}

investigate() {
    local name=quickstart-$$.json n done_before invalid_before
    write_action
    say "== signing sandbox/action.json"
    "$bin/mig-action-generator" -nolaunch -i "$sandbox/action.json" -k "$etc/investigator.key" -expireafter 10m >"$sandbox/signed.json"
    "$bin/mig-action-verifier" -a "$sandbox/signed.json" --keyring "$etc/investigator.key.pub" | sed 's/^/   /'
    count action/done
    done_before=$n
    count action/invalid
    invalid_before=$n
    say "== dropping it: cp signed.json spool/action/new/$name; files per stage from here on:"
    cp "$sandbox/signed.json" "$spool/action/new/$name"
    watch_stages "$done_before" "$invalid_before"
    count action/invalid
    if [ "$n" -gt "$invalid_before" ]; then
        cat "$spool"/action/invalid/*.reason >&2
        die "the action was refused"
    fi
    show_answers
}

wait_for_api() {
    local port
    port=$(api_port)
    for _ in $(seq 1200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        sleep 0.05
    done
    tail -n 5 "$logs/api.log" >&2
    die "the API does not answer on port $port; its log is $logs/api.log"
}

# The same question over the REST API, as an investigator asks it from another machine.
ask() {
    wait_for_api
    say "== the same over the API: mig file -path sandbox/demo -path /etc -mode u"
    # Where it keeps its session.
    XDG_RUNTIME_DIR=$etc "$bin/mig" file -c "$etc/migrc" -k "$etc/investigator.key" --yes -path "$sandbox/demo" -path /etc -mode u | sed 's/^/   /'
}

run() {
    local n
    # What is written has passwords.
    umask 077
    make_sandbox
    say "== starting a scheduler, an API and $agents agents"
    start scheduler mig-scheduler -c "$etc/mig-scheduler.cfg"
    for n in $(seq "$agents"); do start "agent-$n" mig-agent -f -c "$etc/mig-agent-$n.cfg"; done
    "$bin/mig-api" -c "$etc/mig-api.cfg" --add-investigator 'Quickstart Investigator' "$etc/investigator.key.pub" >/dev/null
    start api mig-api -c "$etc/mig-api.cfg"
    wait_for_agents
    investigate
    ask
}

# The sandbox of these options.
place() {
    local directory=$root/sandbox
    [ -z "$scale" ] || directory=$directory/scale
    printf '%s' "$directory"
}

once=
stop=
for word in "$@"; do
    case $word in
        --scale) scale=1 ;;
        --once) once=1 ;;
        --stop) stop=1 ;;
        -h | --help) usage && exit ;;
        *)
            usage >&2
            exit 64
            ;;
    esac
done

if [ -n "$stop" ]; then
    for directory in "$root/sandbox" "$root/sandbox/scale"; do
        use_sandbox "$directory"
        stop_all
    done
elif [ -n "$once" ]; then
    use_sandbox "$root/sandbox/once-$$"
    build
    trap 'stop_all; dir=$(servers_dir) && rm -rf -- "$dir"; rm -rf -- "$sandbox"' EXIT
    run
    say "== cleaning up"
else
    use_sandbox "$(place)"
    build
    run
    at=${sandbox#"$root/"}
    programs=${bin#"$root/"}
    cat <<EOF

It is running. The next questions:
   $programs/mig file -c $at/etc/migrc -k $at/etc/investigator.key -path /etc -name passwd -content '^root:'
   $programs/mig status -c $at/etc/migrc -k $at/etc/investigator.key
or with cp alone (edit $at/action.json first, if you like):
   $programs/mig-action-generator -i $at/action.json -k $at/etc/investigator.key --spool $at/spool
   scripts/spool-status -s $at/spool
See the stages in spool-layout/README.md, the logs in $at/log. To stop it: scripts/quickstart.sh --stop
EOF
fi
