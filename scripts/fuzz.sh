#!/usr/bin/env bash
# Feeds every parser of bytes from outside with mutated input, and watches for crashes, broken promises, hangs and memory.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
Usage: scripts/fuzz.sh SECONDS [TARGET...]     each target for that long
       scripts/fuzz.sh --runs N [TARGET...]    each target N times

TARGET is one of tests/fuzz/src/bin, without .rs; all of them by default. A run fails when it panics, takes more than a
second or 256 MB. Then it keeps the input, and prints how to run it again.

Environment: MIG_SCORES, a file to which a line of JSON per target is appended (see tests/common/score.rs).

Files: each target begins with tests/fuzz/seeds and tests/fuzz/regressions, and keeps new inputs in target/fuzz/corpus for
the next run; target/fuzz/crashes has failing inputs, target/fuzz/logs the output.

Exit codes: 0 nothing found; 1 an input failed, or the build did; 64 command line.
EOF
}

# Inputs of the parsers are small, or consist of small pieces; a signature has at most 16 KiB.
size_bytes_max=16384
memory_mb_max=256
# The time limit is wall time, and other programs may use the processor: an input that took a second is tried again,
# alone.
slow_seconds=1
hang_seconds=10
# target, runs, runs/s, seconds, new, MB, crashes
line='%-14s %10s %8s %8s %7s %6s %8s\n'

# Coverage for libFuzzer; no address sanitizer, because our code forbids unsafe code, the C libraries would not be
# watched by it, and its own memory would hide what the limit of 256 MB is to detect. The release profile, with debug
# assertions and overflow checks. The flags apply to --target only: not to build scripts, not to the main build.
build() {
    local flags=(
        -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
        -Ccodegen-units=1
    )
    # Not --locked: the lock file follows that of the main package.
    host=$(rustc --print host-tuple)
    RUSTFLAGS="${flags[*]}" cargo build --release --quiet --manifest-path tests/fuzz/Cargo.toml \
        --target "$host" --target-dir target/fuzz-build
}

targets() {
    local file
    for file in tests/fuzz/src/bin/*.rs; do
        basename "$file" .rs
    done
}

# dictionary TARGET : prints the dictionary of its inputs; nothing if libFuzzer needs none.
dictionary() {
    case $1 in
        action | command | result | heartbeat | events | parameters | json | acl) say tests/fuzz/dictionaries/json.dict ;;
        target) say tests/fuzz/dictionaries/sql.dict ;;
        configuration) say tests/fuzz/dictionaries/ini.dict ;;
    esac
}

# statistic NAME LOG : prints a number from libFuzzer's final statistics; 0 if it printed none.
statistic() {
    local found
    found=$(sed -n "s/^stat::$1: *//p" "$2")
    say "${found:-0}"
}

# fuzz TARGET LIMIT : prints its line; returns false if an input failed.
fuzz() {
    local name=$1 limit=$2 failed=0 seed=$((RANDOM * 32768 + RANDOM + 1)) started=$EPOCHREALTIME directory words input
    local program=target/fuzz-build/$host/release/$name log=target/fuzz/logs/$name.log
    local corpus=target/fuzz/corpus/$name crashes=target/fuzz/crashes/$name temporary=target/fuzz/tmp
    rm -rf "$temporary"
    mkdir -p "$corpus" "$crashes" "$temporary" "${log%/*}"
    local arguments=(
        "$limit" -seed="$seed" -max_len="$size_bytes_max" -rss_limit_mb="$memory_mb_max" -timeout="$hang_seconds"
        -report_slow_units="$slow_seconds" -artifact_prefix="$crashes/" -print_final_stats=1
    )
    words=$(dictionary "$name")
    [ -z "$words" ] || arguments+=("-dict=$words")
    for directory in "$corpus" "tests/fuzz/seeds/$name" "tests/fuzz/regressions/$name"; do
        [ ! -d "$directory" ] || arguments+=("$directory")
    done
    TMPDIR=$PWD/$temporary "$program" "${arguments[@]}" >"$log" 2>&1 || failed=1
    for input in $(inputs_in "$log" slow-unit-); do
        if is_slow "$program" "$input"; then
            failed=$((failed + 1))
            say "takes more than $slow_seconds s, alone: $input" >>"$log"
        else
            rm "$input"
        fi
    done

    local runs rate new memory_mb seconds
    runs=$(statistic number_of_executed_units "$log")
    rate=$(statistic average_exec_per_sec "$log")
    new=$(statistic new_units_added "$log")
    memory_mb=$(statistic peak_rss_mb "$log")
    seconds=$(awk -v from="$started" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }')
    # shellcheck disable=SC2059  # the format is one for all lines
    printf "$line" "$name" "$runs" "$rate" "$seconds" "$new" "$memory_mb" "$failed"
    score "$name" "$runs" "$failed" "$seconds" "$seed" "$memory_mb MB"
    [ "$failed" -eq 0 ] || explain "$program" "$log"
    [ "$failed" -eq 0 ]
}

# inputs_in LOG [KIND] : prints the paths of the inputs that were kept.
inputs_in() {
    sed -n "s/.*Test unit written to \(.*\/${2:-}.*\)/\1/p" "$1"
}

# is_slow PROGRAM INPUT : whether it exceeds the time limit three times in a row. libFuzzer checks its own limit once a
# second.
is_slow() {
    local milliseconds
    for _ in 1 2 3; do
        milliseconds=$("$1" -timeout="$hang_seconds" -artifact_prefix=target/fuzz/tmp/ "$2" 2>&1 |
            sed -n 's/^Executed .* in \([0-9]*\) ms$/\1/p') || true
        [ "${milliseconds:-$((hang_seconds * 1000))}" -ge $((slow_seconds * 1000)) ] || return 1
    done
}

score() {
    [ -n "${MIG_SCORES:-}" ] || return 0
    jq -cnS --arg test "fuzz: $1" --argjson runs "$2" --argjson violations "$3" --argjson seconds "$4" --argjson seed "$5" \
        --arg note "$6" '$ARGS.named' >>"$MIG_SCORES"
}

# explain PROGRAM LOG : prints the errors, and how to reproduce them.
explain() {
    local program=$1 log=$2 input
    grep -a -A 4 'panicked at' "$log" | head -n 5 || true
    grep -a '^SUMMARY\|^error\|ERROR\|alone: ' "$log" | head -n 5 || true
    for input in $(inputs_in "$log"); do
        say "    again: $program -timeout=$hang_seconds -rss_limit_mb=$memory_mb_max $input"
    done
    say "    log: $log"
    say "    keep the input in tests/fuzz/regressions/${program##*/}: every test run tries it from then on"
}

main() {
    local limit=$1 names=("${@:2}") name found=0
    cd "$root"
    [ ${#names[@]} -gt 0 ] || mapfile -t names < <(targets)
    for name in "${names[@]}"; do
        [ -f "tests/fuzz/src/bin/$name.rs" ] || die_usage "no target '$name'; the targets are $(targets | tr '\n' ' ')"
    done
    install_build_tools
    install jq
    build
    # The OpenPGP library would capture a backtrace for each of its errors.
    export RUST_LIB_BACKTRACE=0
    # shellcheck disable=SC2059
    printf "$line" target runs runs/s seconds new MB crashes
    for name in "${names[@]}"; do
        fuzz "$name" "$limit" || found=1
    done
    return "$found"
}

die_usage() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 64
}

is_number() { [[ $1 =~ ^[1-9][0-9]{0,8}$ ]]; }

case "${1:-}" in
    -h | --help) usage ;;
    --runs)
        is_number "${2:-}" || die_usage "--runs takes a number"
        main "-runs=$2" "${@:3}"
        ;;
    *)
        if ! is_number "${1:-}"; then
            usage >&2
            exit 64
        fi
        main "-max_total_time=$1" "${@:2}"
        ;;
esac
