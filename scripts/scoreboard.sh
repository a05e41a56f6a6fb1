#!/usr/bin/env bash
# Runs the reliability tests and prints one line for each: runs and violations.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'TEXT'
Usage: scripts/scoreboard.sh [--quick]    samples of every fault matrix, a planted bug in each place, every table (the default)
       scripts/scoreboard.sh --full       every point, 500 pairs of crashes, 100 seeds, a minute of fuzzing for each parser

Prints one line per test: runs, violations, seconds, seed, and a note. What cannot be tested on this machine (no strace, not
root) is SKIPPED and does not count as passed; the last line has their number. With MIG_SCORES=FILE the same lines are
appended to FILE as JSON.

Exit codes: 0 no violations; 1 violations, or a test failed; 64 command line.
TEXT
}

# The tests that report to the scoreboard, as cargo's options.
tests=()
for name in "${scoreboard_tests[@]}"; do tests+=(--test "$name"); done

# run COMMAND... : runs it quietly; prints the failures.
run() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        failed=1
        # Compiler errors, or cargo's list of failed tests: their output, then their names.
        sed -n -e '/^error/,+12p' -e '/^failures:$/,/^test result/p' "$log" | head -n 400 >&2 || true
    fi
    rm -f "$log"
}

print_scores() {
    jq -rs '
        (["test", "runs", "violations", "seconds", "seed", ""], (sort_by(.test)[] | [.test, .runs, .violations, .seconds, (.seed // "-"), .note]))
        | @tsv' "$scores" | column -t -s "$(printf '\t')" | cut -c 1-180
    jq -rs '"\(length) tests, \(map(.runs) | add) runs, \(map(.violations) | add) violations, \(map(select(.note | startswith("SKIPPED"))) | length) skipped"' "$scores"
}

main() {
    cd "$root"
    install_build_tools
    install jq gnupg sqlite3 strace bsdextrautils
    scores=$(mktemp)
    trap 'rm -f "$scores"' EXIT
    local wanted=${MIG_SCORES:-}
    export MIG_SCORES=$scores
    failed=0
    if [ "$1" = full ]; then
        export MIG_FAULTS=full MIG_CRASH_SEEDS=${MIG_CRASH_SEEDS:-100}
    fi
    say "building"
    cargo test --release --locked --quiet --no-run "${tests[@]}"
    cargo test --profile mutants --features mutants --locked --quiet --no-run --test faults
    say "testing"
    run cargo test --release --locked --no-fail-fast "${tests[@]}" -- --test-threads=2
    run cargo test --profile mutants --features mutants --locked --test faults -- planted_bugs_are_caught
    [ "$1" = full ] && run scripts/fuzz.sh 60
    print_scores
    [ -z "$wanted" ] || cat "$scores" >>"$wanted"
    jq -se 'length > 0 and all(.violations == 0)' "$scores" >/dev/null || failed=1
    exit "$failed"
}

case "${1:-}" in
    '' | --quick)
        with_servers --quick
        main quick
        ;;
    --full)
        with_servers --full
        main full
        ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 64
        ;;
esac
