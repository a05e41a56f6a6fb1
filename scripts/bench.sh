#!/usr/bin/env bash
# Measures the speed of MIG on this machine, each figure beside the raw limit or rival of the same run.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'TEXT'
Usage: scripts/bench.sh [--json] [GROUP...]            the embedded relay and store
       scripts/bench.sh --scale [--json] [GROUP...]    RabbitMQ and PostgreSQL, private ones

Groups: journey workers fleet heartbeats idle agent files netstat process memory pkg yara verify api; with --scale: heartbeats journey
fleet hundred-thousand api idle (default: all; idle alone takes five minutes, all some fifteen). Prints one line per figure: median and spread of five
runs, the raw limit or rival measured in the same runs, their ratio, and whether the goal is met. --json prints a list
of {id, value, unit, min, max, runs, raw, raw_is, ratio, goal, ok}.

Quote ratios: absolute figures depend on the machine as much as on MIG. Nothing else should run meanwhile. Spools are
created below MIG_BENCH_DIR (default target/bench); a batch is synced with one syncfs, which also writes other files of
that file system, so a separate file system has the most accurate figures. ext4 without a journal (see
/proc/fs/ext4/*/options) searches the recently deleted inodes whenever it creates a file: its figures are far too low.

Exit codes: 0 every goal is met; 1 not; 64 command line.
TEXT
}

arguments=("$@")
groups=()
options=()
scale=
for word in "$@"; do
    case "$word" in
        --json) options+=("$word") ;;
        --scale) scale=1 ;;
        -h | --help)
            usage
            exit
            ;;
        journey | workers | fleet | heartbeats | idle | agent | files | netstat | process | memory | pkg | yara | verify | api | hundred-thousand) groups+=("$word") ;;
        *)
            usage >&2
            exit 64
            ;;
    esac
done

if [ -n "$scale" ]; then
    with_servers "${arguments[@]}"
    options+=(--scale)
fi
cd "$root"
shipped=(--locked --quiet --profile dist --features vendored --bench bench)
{
    install_shipping_tools
    install ripgrep openssl iproute2 yara
    cargo bench "${shipped[@]}" --no-run
} >&2
directory=${MIG_BENCH_DIR:-$root/target/bench}
mkdir -p "$directory"
TMPDIR=$directory exec cargo bench "${shipped[@]}" -- "${options[@]}" "${groups[@]}"
