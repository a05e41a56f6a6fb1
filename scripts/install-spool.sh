#!/bin/sh
# Creates a scheduler's spool.
set -eu

usage() {
    cat <<'EOF'
install-spool.sh - creates a scheduler's spool from spool-layout/tree

Usage: install-spool.sh [-s DIR] [-o OWNER] [-g GROUP]

  -s DIR    the spool (default /var/cache/mig); its parent directory must exist
  -o OWNER  the scheduler's user (root only; default: mig for /var/cache/mig, else the current user)
  -g GROUP  the drop group: its members may read the spool and drop actions (root only; default: mig-drop for the
            owner mig, else OWNER's group)
  -h        print this text

Directories get mode 2750, action/new gets 3770: members of the group drop there and cannot touch each other's files.
agents_whitelist.txt is created empty, mode 0640, if it is missing. Existing files stay unchanged; existing directories get
owner and mode again. Nothing is written outside DIR. It is idempotent.

Without -o and -g the spool belongs to the current user; so it does for root with -s alone.

The drop group is not the group that OWNER's programs run as: that one may read the configuration with its passwords, and
write into the relay. OWNER is a member of the drop group, to read what is dropped. Run this script again to give an
existing spool another group; files that are there keep theirs.

Examples: groupadd --system mig-drop; usermod -aG mig-drop mig; install-spool.sh
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

warn() { printf 'install-spool.sh: %s\n' "$*" >&2; }

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
    own=$(id -g -- "$owner" 2>/dev/null) || own=
    if [ -z "$group" ] && [ "$owner" != mig ]; then
        group=${own:-none}
        [ "$group" != none ] || die 64 "user $owner has no known group: use -g"
    else
        name=${group:-mig-drop}
        case $name in
            *[!0-9]*)
                group=$(getent group -- "$name" | cut -d: -f3)
                [ -n "$group" ] || die 64 "there is no group '$name': create it, for example with groupadd --system $name, or use -g"
                ;;
        esac
        if [ "$user" -ne 0 ] && [ "$own" = "$group" ]; then
            warn "$name is the group of $owner: its members may read what $owner's programs may, such as passwords; use a group of its own for drops"
        fi
    fi
    if [ "$user" -ne 0 ] && [ -n "$own" ] && ! id -G -- "$owner" | tr ' ' '\n' | grep -qx "$group"; then
        warn "$owner is not in the drop group and cannot read actions that are for the group only: usermod -aG GROUP $owner, then restart its programs"
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
