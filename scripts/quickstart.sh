#!/usr/bin/env bash
# Builds MIG and runs an investigation: drops a signed action with cp, agents run it, and their answers are printed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
Usage: scripts/quickstart.sh            build, start a scheduler and 3 agents under ./sandbox, investigate, leave them running
       scripts/quickstart.sh --stop     stop them
       scripts/quickstart.sh --once     the same in a temporary sandbox, then clean up (for CI)

Everything is under ./sandbox: keys, spool, relay, database, logs. Only what the build needs is installed.
Exit codes: 0 done; 1 failed, with a message; 64 command line.
EOF
}

agents=3

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
    [ "$1" = scheduler ] && program=mig-scheduler
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

stop_all() {
    local file
    for file in "$pids"/*; do
        [ -e "$file" ] || continue
        stop "${file##*/}"
    done
}

build() {
    install_build_tools
    install jq
    say "== building (the first time takes about 5 minutes on two cores)"
    (cd "$root" && cargo build --release --locked "${cargo_says[@]}")
}

make_sandbox() {
    mkdir -p "$relay" "$etc" "$logs" "$pids" "$sandbox/demo"
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
[relay]
    directory = $(quoted "$relay")
[sqlite]
    file = $(quoted "$sandbox/mig.db")
[logging]
    level = "info"
EOF
    fingerprint=$("$bin/mig-action-generator" --fingerprint "$etc/investigator.key.pub")
    cat >"$etc/acl.json" <<EOF
[{"default": {"minimumweight": 1, "investigators": {"Quickstart Investigator": {"fingerprint": "$fingerprint", "weight": 1}}}}]
EOF
    for n in $(seq "$agents"); do
        cat >"$etc/mig-agent-$n.cfg" <<EOF
[agent]
    relay = $(quoted "dir://$relay")
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
    "$bin/mig-action-generator" -i "$sandbox/action.json" -k "$etc/investigator.key" -expireafter 10m >"$sandbox/signed.json"
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

run() {
    local n
    make_sandbox
    say "== starting a scheduler and $agents agents"
    start scheduler mig-scheduler -c "$etc/mig-scheduler.cfg"
    for n in $(seq "$agents"); do start "agent-$n" mig-agent -c "$etc/mig-agent-$n.cfg"; done
    wait_for_agents
    investigate
}

case "${1:-}" in
    '')
        use_sandbox "$root/sandbox"
        build
        run
        cat <<EOF

It is running. The next one (edit sandbox/action.json first, if you like):
   ${bin#"$root/"}/mig-action-generator -i sandbox/action.json -k sandbox/etc/investigator.key > sandbox/next.json
   cp sandbox/next.json sandbox/spool/action/new/
   scripts/spool-status -s sandbox/spool
See the stages in spool-layout/README.md, the logs in sandbox/log. To stop it: scripts/quickstart.sh --stop
EOF
        ;;
    --once)
        use_sandbox "$root/sandbox/once-$$"
        build
        trap 'stop_all; rm -rf -- "$sandbox"' EXIT
        run
        say "== cleaning up"
        ;;
    --stop)
        use_sandbox "$root/sandbox"
        stop_all
        ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 64
        ;;
esac
