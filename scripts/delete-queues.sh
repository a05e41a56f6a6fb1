#!/usr/bin/env bash
# Deletes every queue of MIG, for a cluster that lost the node of its queues.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/delete-queues.sh [--vhost NAME] [--yes]

  --vhost NAME   the virtual host (default mig)
  --yes          do not ask

Deletes all queues of the virtual host whose names begin with mig, after listing them and asking. Use it when a node of a cluster
is lost and agents get `NOT_FOUND - no binding mig.agt...`. Commands and answers in the queues are lost: the scheduler ends
those commands when they expire. Restart the scheduler afterwards; the agents declare their queues again by themselves.

It runs rabbitmqctl once per queue, about a second each. With thousands of agents it is quicker to delete the virtual host
(rabbitmqctl delete_vhost mig) and to run scripts/setup-rabbitmq.sh again with the options it had.

RABBITMQCTL names another command, as for scripts/setup-rabbitmq.sh.

Example: sudo scripts/delete-queues.sh --vhost mig

Exit codes: 0 done, or there are none; 1 failed, or the answer was not yes; 64 command line.
TEXT
}

die() { printf 'delete-queues.sh: %s\n' "$*" >&2; exit 1; }

vhost=mig yes=''
while [ $# -gt 0 ]; do
    case $1 in
        --vhost)
            [ -n "${2:-}" ] || { usage >&2; exit 64; }
            vhost=$2
            shift
            ;;
        --yes) yes=yes ;;
        -h | --help) usage && exit ;;
        *)
            usage >&2
            exit 64
            ;;
    esac
    shift
done

declare -a rabbitmqctl
eval "rabbitmqctl=(${RABBITMQCTL:-rabbitmqctl})"
listed=$("${rabbitmqctl[@]}" -q list_queues -p "$vhost" --no-table-headers name) || die "cannot list the queues of $vhost"
mapfile -t queues < <(grep '^mig' <<<"$listed" | sort)
if [ ${#queues[@]} -eq 0 ]; then
    printf '%s has no queues of MIG\n' "$vhost"
    exit 0
fi
printf '%s\n' "${queues[@]}"
if [ -z "$yes" ]; then
    printf 'Delete these %s queues of %s and their messages? (yes/no) ' "${#queues[@]}" "$vhost"
    read -r answer || answer=''
    [ "$answer" = yes ] || die "nothing was deleted"
fi
for queue in "${queues[@]}"; do
    # It prints its error; the remaining queues are deleted nevertheless.
    "${rabbitmqctl[@]}" -q delete_queue -p "$vhost" "$queue" </dev/null || failed=yes
done
[ -z "${failed:-}" ] || die "some queues could not be deleted"
printf 'deleted %s queues; restart the scheduler now\n' "${#queues[@]}"
