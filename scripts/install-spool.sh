#!/bin/sh
# Creates a scheduler's spool.
set -eu

usage() {
    cat <<'EOF'
install-spool.sh - creates a scheduler's spool from spool-layout/tree

Usage: install-spool.sh [-s DIR] [-o OWNER] [-g GROUP]

  -s DIR    the spool (default /var/cache/mig); its parent directory must exist
  -o OWNER  the scheduler's user (root only; default: mig for /var/cache/mig, else the current user)
  -g GROUP  its members may read everything and drop actions (root only; default: OWNER's group)
  -h        print this text

Directories get mode 2750, action/new gets 3770: members of the group drop there and cannot touch each other's files.
agents_whitelist.txt is created empty, mode 0640, if it is missing. Existing files stay unchanged; existing directories get
owner and mode again. Nothing is written outside DIR. It is idempotent.

Without -o and -g the spool belongs to the current user; so it does for root with -s alone.

Examples: install-spool.sh
          install-spool.sh -s /srv/mig -o mig -g investigators
          install-spool.sh -s ./sandbox/spool
          install-spool.sh -s "$HOME/spool"

Exit codes: 0 done; 64 command line, or no such user or group; 66 spool-layout/tree is missing; 73 cannot create a
directory; 77 no permission.
EOF
}

die() {
    code=$1
    shift
    printf 'install-spool.sh: %s\n' "$*" >&2
    exit "$code"
}

spool='' owner='' group=''
case ${1-} in
    --help)
        usage
        exit 0
        ;;
esac
while getopts :s:o:g:h option; do
    case $option in
        s)
            spool=$OPTARG
            [ -n "$spool" ] || die 64 "-s: the directory is empty"
            ;;
        o) owner=$OPTARG ;;
        g) group=$OPTARG ;;
        h)
            usage
            exit 0
            ;;
        *) die 64 "unknown option or missing argument: -$OPTARG; try --help" ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || die 64 "unexpected argument '$1'; try --help"
case $spool in
    '')
        spool=/var/cache/mig
        [ "$(id -u)" -ne 0 ] || owner=${owner:-mig}
        ;;
    /*) ;;
    *) spool=./$spool ;;
esac

if [ "$(id -u)" -eq 0 ]; then
    owner=${owner:-0}
    user=$(id -u -- "$owner" 2>/dev/null) || case $owner in
        *[!0-9]*) die 64 "there is no user '$owner': create it, for example with useradd --system $owner, or use -o" ;;
        *) user=$owner ;;
    esac
    if [ -z "$group" ]; then
        group=$(id -g -- "$owner" 2>/dev/null) || die 64 "user $owner has no known group: use -g"
    else
        case $group in
            *[!0-9]*)
                group=$(getent group -- "$group" | cut -d: -f3)
                [ -n "$group" ] || die 64 "-g: there is no such group"
                ;;
        esac
    fi
else
    [ -z "$owner$group" ] || die 77 "only root can set another owner or group: run it as root, or omit -o and -g"
    user=$(id -u) group=''
fi

tree=$(dirname -- "$(readlink -f -- "$0")")/../spool-layout/tree
[ -d "$tree" ] || die 66 "$tree is missing: run the script from its source tree"

# Creates a directory if it is missing, sets owner and mode. Never replaces another kind of file.
directory() { # PATH MODE
    if [ -L "$1" ] && [ "$1" != "$spool" ]; then
        die 73 "$1 is a symbolic link: a stage must be a directory on the spool's own file system"
    fi
    if [ ! -d "$1" ]; then
        if [ -e "$1" ] || [ -L "$1" ]; then die 73 "$1 exists and is not a directory"; fi
        mkdir -m 0700 -- "$1" 2>/dev/null || die 73 "cannot create $1: its parent must exist and be writable"
    fi
    if [ -n "$group" ]; then
        if [ "$(stat -L -c %u:%g -- "$1")" != "$user:$group" ]; then
            chown -- "$user:$group" "$1" || die 77 "cannot set the owner $user:$group of $1"
        fi
    elif [ "$(stat -L -c %u -- "$1")" != "$user" ]; then
        die 77 "$1 belongs to another user: run as root, or choose a directory of your own"
    fi
    if [ "$(stat -L -c %a -- "$1")" != "$2" ]; then
        chmod -- "$2" "$1" || die 77 "cannot set mode $2 on $1"
        [ "$(stat -L -c %a -- "$1")" = "$2" ] || die 77 "cannot set mode $2 on $1: you are not in its group"
    fi
}

umask 027
# The names in the tree are plain words.
for name in . $(cd -- "$tree" && find . -mindepth 1 -type d -printf '%P\n' | sort); do
    case $name in
        .) directory "$spool" 2750 ;;
        action/new) directory "$spool/$name" 3770 ;;
        *) directory "$spool/$name" 2750 ;;
    esac
done

whitelist=$spool/agents_whitelist.txt
if [ ! -e "$whitelist" ] && [ ! -L "$whitelist" ]; then
    (set -C && : >"$whitelist") 2>/dev/null || die 73 "cannot create $whitelist"
    if [ -n "$group" ]; then chown -- "$user:$group" "$whitelist"; fi
    chmod 0640 -- "$whitelist"
fi
