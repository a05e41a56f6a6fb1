#!/usr/bin/env bash
# Creates the virtual host, the users, their permissions and the policy that MIG needs on a RabbitMQ broker.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/setup-rabbitmq.sh [OPTION]...

  --vhost NAME       the virtual host (default mig)
  --passwords FILE   the users' passwords, mode 0600 (default /etc/mig/rabbitmq-passwords); a line each: user, a space,
                     password. Existing ones are used, missing ones are generated and added.
  --delete-guest     delete the user guest, whose password is public
  --strict           add topic permissions: the user agent publishes heartbeats and results only, and cannot bind a queue
                     with a wildcard. Without it they are removed.
  --agent QUEUELOC   a separate user for this agent, named like its queueloc, which cannot use another agent's queue; may
                     be repeated. Always strict.
  --policy POLICY    none (default); mirror: classic queues on all nodes of a cluster, for RabbitMQ before 4;
                     quorum: for quorum queues
  -h, --help         print this text

Policies of others that let queues of MIG discard messages, or refuse them, are named on standard error; they stay. A broker
does not show its policies to clients: run this again after policies were changed.

Users: admin (administrator), scheduler, agent, api, worker. An existing user keeps its password. Everything else is
changed only if it differs; each change is printed. It is idempotent.

It runs rabbitmqctl, as a user with that right (root, rabbitmq). RABBITMQCTL names another command, for example that of a
private broker: RABBITMQCTL="scripts/servers.sh rabbitmq ctl DIR". The shell parses it: quote spaces.

Examples: sudo scripts/setup-rabbitmq.sh --delete-guest --strict
          sudo scripts/setup-rabbitmq.sh --strict --agent linux.db4.example.net.56b2andxmyb00

Exit codes: 0 done; 1 failed, with a message; 64 command line.
TEXT
}

die() { printf 'setup-rabbitmq.sh: %s\n' "$*" >&2; exit 1; }
wrong() { printf 'setup-rabbitmq.sh: %s; try --help\n' "$*" >&2; exit 64; }
changed() { printf '%s\n' "$*"; }

vhost=mig passwords=/etc/mig/rabbitmq-passwords delete_guest='' strict='' policy=none agents=()
while [ $# -gt 0 ]; do
    case $1 in
        --vhost | --passwords | --agent | --policy) [ -n "${2:-}" ] || wrong "$1 needs a value" ;;
    esac
    case $1 in
        --vhost) vhost=$2 && shift ;;
        --passwords) passwords=$2 && shift ;;
        --delete-guest) delete_guest=yes ;;
        --strict) strict=yes ;;
        --agent)
            [[ $2 =~ ^(linux|windows|darwin)(\.[A-Za-z0-9_-]+)+$ ]] || wrong "--agent: '$2' is not a queueloc such as linux.host.example.net.58b3mndjmbb00"
            agents+=("$2")
            shift
            ;;
        --policy)
            [[ $2 =~ ^(none|mirror|quorum)$ ]] || wrong "--policy: '$2' is none of none, mirror, quorum"
            policy=$2
            shift
            ;;
        -h | --help) usage && exit ;;
        *) wrong "unexpected argument '$1'" ;;
    esac
    shift
done

# ctl ARGUMENT... : runs rabbitmqctl; prints its messages only if it fails.
declare -a rabbitmqctl
eval "rabbitmqctl=(${RABBITMQCTL:-rabbitmqctl})"
ctl() {
    local output
    output=$("${rabbitmqctl[@]}" -q "$@" 2>&1) || die "rabbitmqctl $1: $output"
    printf '%s' "$output"
}

# table COMMAND... : prints the rows, columns separated by tabs.
table() { ctl "$@" --no-table-headers; }

# row TABLE FIRST : prints "=" and the rest of the row that begins with FIRST.
row() { awk -F '\t' -v first="$2" '$1 == first { sub(/^[^\t]*\t?/, ""); print "=" $0 }' <<<"$1"; }

# password_of USER : prints the one in the file. Adds a new one before the broker gets it: an interrupted run loses
# none.
password_of() {
    local password
    password=$(awk -v user="$1" '$1 == user { print $2; exit }' "$passwords")
    if [ -z "$password" ]; then
        password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        printf '%s %s\n' "$1" "$password" >>"$passwords"
    fi
    printf '%s' "$password"
}

# user NAME [TAG]
user() {
    local row password
    row=$(row "$users" "$1")
    if [ -z "$row" ]; then
        password=$(password_of "$1")
        # On standard input: arguments are visible to all users.
        ctl add_user "$1" <<<"$password"
        changed "created user $1"
    elif ! grep -q "^$1 " "$passwords"; then
        printf 'setup-rabbitmq.sh: user %s existed and keeps its password, which is missing in %s\n' "$1" "$passwords" >&2
    fi
    if [ -n "${2:-}" ] && [ "$row" != "=[$2]" ]; then
        ctl set_user_tags "$1" "$2"
        changed "user $1 has the tag $2"
    fi
}

# permissions USER CONFIGURE WRITE READ
permissions() {
    local wanted="=$2"$'\t'"$3"$'\t'"$4"
    [ "$(row "$permissions" "$1")" != "$wanted" ] || return 0
    ctl set_permissions -p "$vhost" "$1" "$2" "$3" "$4"
    changed "set the permissions of $1"
}

# topics USER WRITE READ : sets the keys of the exchange mig that it may publish with, and bind with.
topics() {
    local wanted="=mig"$'\t'"$2"$'\t'"$3"
    [ "$(row "$topics" "$1")" != "$wanted" ] || return 0
    ctl set_topic_permissions -p "$vhost" "$1" mig "$2" "$3"
    changed "set the topic permissions of $1"
}

# queue_policy NAME PATTERN DEFINITION : sets a policy for queues.
queue_policy() {
    local row
    row=$(awk -F '\t' -v name="$1" '$2 == name { print "=" $3 "\t" $4 "\t" $5 }' <<<"$policies")
    [ "$row" != "=$2"$'\t'"queues"$'\t'"$3" ] || return 0
    ctl set_policy -p "$vhost" --apply-to queues "$1" "$2" "$3"
    changed "set the policy $1"
}

# no_queue_policy NAME
no_queue_policy() {
    awk -F '\t' -v name="$1" '$2 == name { found = 1 } END { exit !found }' <<<"$policies" || return 0
    ctl clear_policy -p "$vhost" "$1"
    changed "removed the policy $1"
}

set_users() {
    local name
    users=$(table list_users)
    user admin administrator
    for name in scheduler agent api worker "${agents[@]}"; do user "$name"; done
    if [ -n "$delete_guest" ] && [ -n "$(row "$users" guest)" ]; then
        ctl delete_user guest
        changed "deleted user guest"
    fi
}

set_permissions() {
    local name word
    permissions=$(table list_permissions -p "$vhost")
    permissions admin '.*' '.*' '.*'
    # The expressions of the original's documentation, unchanged.
    permissions scheduler '^mig(|(event|\.agt)(|\..*))$' '^mig(|event(|\..*)|\.(agt\.(events|heartbeats|results)))$' \
        '^mig(|event(|\..*)|\.(agt\.(events|heartbeats|results)))$'
    permissions agent '^mig\.agt\.(linux|windows|darwin)\..*$' '^mig(|\.agt\.(linux|windows|darwin)\..*)$' \
        '^mig(|\.agt\.(linux|windows|darwin)\..*)$'
    permissions worker '^migevent\..*$' '^migevent(|\..*)$' '^migevent(|\..*)$'
    permissions api '^migevent\..*$' '^migevent(|\..*)$' '^migevent(|\..*)$'
    for name in "${agents[@]}"; do
        word=${name//./\\.}
        permissions "$name" "^mig\\.agt\\.$word\$" "^mig(|\\.agt\\.$word)\$" "^mig(|\\.agt\\.$word)\$"
    done
}

# Permissions cover exchanges and queues, not keys: with those above alone an agent can bind its queue to mig with the
# key mig.agt.# and read every command, and publish to any agent's queue. Topic permissions close both without another
# exchange, so programs are unchanged: the write expression is matched with the key of each message, the read expression
# with the key of each binding. A second exchange for commands would not separate agents that share one user either;
# only separate users do. What stays open is in SECURITY.md.
set_topic_permissions() {
    local name
    local write='^mig\.agt\.(events|heartbeats|results)$'
    topics=$(table list_topic_permissions -p "$vhost")
    if [ -n "$strict" ]; then
        topics agent "$write" '^mig\.agt\.(linux|windows|darwin)\.[^#*]+$'
    elif [ -n "$(row "$topics" agent)" ]; then
        ctl clear_topic_permissions -p "$vhost" agent
        changed "removed the topic permissions of agent"
    fi
    for name in "${agents[@]}"; do topics "$name" "$write" "^mig\\.agt\\.${name//./\\.}\$"; done
}

set_policy() {
    local version
    policies=$(table list_policies -p "$vhost")
    if [ "$policy" = mirror ]; then
        version=$(ctl version)
        [ "${version%%.*}" -lt 4 ] || die "RabbitMQ $version has no mirrored queues: use --policy quorum, and queuetype = quorum in the configurations"
        queue_policy mig-mirror-all '^mig\.' '{"ha-mode":"all"}'
    else
        no_queue_policy mig-mirror-all
    fi
    if [ "$policy" = quorum ]; then
        # What expires or is rejected is dead-lettered, where an operator can read it. That queue is bounded: expired
        # commands of agents that are gone end there too. No limit of deliveries: it would count restarts.
        queue_policy mig-quorum '^mig\.' '{"dead-letter-exchange":"migevent","dead-letter-routing-key":"dead.mig"}'
        queue_policy mig-dead '^migevent\.dead$' '{"max-length":10000,"message-ttl":604800000}'
    else
        no_queue_policy mig-quorum
        no_queue_policy mig-dead
    fi
}

# effects DEFINITION : what a policy with this definition does to messages, a line each.
effects() {
    local definition=$1 overflow
    has() { [[ $definition == *"\"$1\":"* ]]; }
    value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" <<<"$definition"; }
    overflow=$(value overflow)
    for limit in max-length max-length-bytes; do
        ! has "$limit" || case $overflow in
            reject-*) printf '%s %s refuses messages when the queue is full; their senders wait\n' "$limit" "$(value "$limit")" ;;
            *) printf '%s %s discards the oldest messages when the queue is full\n' "$limit" "$(value "$limit")" ;;
        esac
    done
    ! has message-ttl || printf 'message-ttl %s discards messages after so many milliseconds\n' "$(value message-ttl)"
    ! has expires || printf 'expires %s deletes a queue that is not used for so many milliseconds, with its messages\n' "$(value expires)"
    ! has delivery-limit || printf 'delivery-limit %s discards messages that were returned so often, restarts included\n' "$(value delivery-limit)"
}

# foreign_policies KIND COMMAND : names policies of others that apply to queues of MIG and do something to their messages.
foreign_policies() {
    local kind=$1 clear=$2 name pattern apply definition effect queue hit
    while IFS=$'\t' read -r name pattern apply definition; do
        [[ $name != mig-* && $apply != exchanges && $apply != streams ]] || continue
        hit=''
        while read -r queue; do
            if grep -qP -e "$pattern" <<<"$queue"; then hit=$queue && break; fi
        done <<<"$queues"
        [ -n "$hit" ] || continue
        while read -r effect; do
            [ -z "$effect" ] || printf 'setup-rabbitmq.sh: %s %s, with the pattern %s, applies to %s: %s. Change its pattern, for example to ^(?!mig), or remove it: rabbitmqctl %s -p %s %s\n' \
                "$kind" "$name" "$pattern" "$hit" "$effect" "$clear" "$vhost" "$name" >&2
        done < <(effects "$definition")
    done
}

# Names of the queues that there are or will be.
check_foreign_policies() {
    local queues
    queues=$(printf '%s\n' mig.agt.results mig.agt.heartbeats mig.agt.linux.host.example.net.58b3mndjmbb00 migevent.dead migevent.worker.name
        table list_queues -p "$vhost" name | grep '^mig' || true)
    # Columns: virtual host, name, pattern, apply-to, definition, priority.
    table list_policies -p "$vhost" | cut -f 2-5 | foreign_policies policy clear_policy
    table list_operator_policies -p "$vhost" | cut -f 2-5 | foreign_policies 'operator policy' clear_operator_policy
}

# Passwords are private from the first byte.
umask 077
[ ! -L "$passwords" ] || die "$passwords is a symbolic link"
touch -- "$passwords" || die "cannot write $passwords: choose another file with --passwords"
chmod 600 -- "$passwords"

vhosts=$(table list_vhosts)
if [ -z "$(row "$vhosts" "$vhost")" ]; then
    ctl add_vhost "$vhost"
    changed "created the virtual host $vhost"
fi
set_users
set_permissions
set_topic_permissions
set_policy
check_foreign_policies
printf 'RabbitMQ is ready for MIG: virtual host %s, passwords in %s\n' "$vhost" "$passwords"
