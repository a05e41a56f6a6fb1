# shellcheck shell=sh disable=SC2034,SC2089,SC2090
# Shared by the spool-* scripts; sourced, not run.

LC_ALL=C
export LC_ALL
spool=/var/cache/mig
me=$(basename -- "$0")
tab=$(printf '\t')

die() { # CODE TEXT...
    code=$1
    shift
    printf '%s: %s\n' "$me" "$*" >&2
    exit "$code"
}

usage_error() {
    die 64 "$*; try $me --help"
}

need() { # PROGRAM...
    for program; do
        command -v "$program" >/dev/null || die 69 "$program is not installed"
    done
}

# Changes to the spool, so that every name begins with a stage; each stage must be readable.
enter_spool() {
    case $spool in
        /*) ;;
        *) spool=./$spool ;;
    esac
    cd -- "$spool" 2>/dev/null || die 66 "cannot enter the spool $spool"
    for dir in tmp action/new action/inflight action/done action/invalid \
        command/ready command/inflight command/returned command/done; do
        if [ ! -d "$dir" ] || [ ! -r "$dir" ] || [ ! -x "$dir" ]; then
            die 66 "cannot read $spool/$dir: it is missing, or not permitted"
        fi
    done
}

# A positive whole number up to 2^63-1 without leading zeros: the only form that an id has in a file name.
is_id() {
    case $1 in
        '' | 0* | *[!0-9]*) return 1 ;;
    esac
    [ ${#1} -lt 19 ] && return 0
    [ ${#1} -eq 19 ] && [ "$(printf '%s\n%s\n' "$1" 9223372036854775807 | sort | tail -n 1)" = 9223372036854775807 ]
}

# Converts NUL-ended records to lines; a newline within a record becomes the byte 001, which is shown as '?'.
records_to_lines() {
    tr '\n\0' '\001\n'
}

# Runs a jq program over the files named on standard input (NUL after each), many files per process. Halves a batch that
# fails until the bad file is alone, and prints "BAD<TAB>file" for it; "GONE<TAB>file" for a missing one.
json_over() { # PROGRAM
    # shellcheck disable=SC2016 # expands in the inner shell
    MIG_HALVE='
        program=$1
        shift
        if out=$(jq -r "$program" "$@" 2>/dev/null); then
            [ -z "$out" ] || printf "%s\n" "$out"
        elif [ "$#" -eq 1 ]; then
            if [ -e "$1" ]; then word=BAD; else word=GONE; fi
            printf "%s\t%s\n" "$word" "$1"
        else
            printf "%s\0" "$@" | xargs -0 -n "$((($# + 1) / 2))" sh -c "$MIG_HALVE" halve "$program"
        fi'
    export MIG_HALVE
    xargs -0 -r -n 2000 sh -c "$MIG_HALVE" halve "$1"
}
