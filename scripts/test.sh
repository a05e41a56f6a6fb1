#!/usr/bin/env bash
# Runs every check and every test on a fresh checkout: installs what is missing first.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
Usage: scripts/test.sh            every check and test, and the samples of scripts/scoreboard.sh
       scripts/test.sh --quick    without the slow ones (scoreboard, quickstart)

PostgreSQL and RabbitMQ are private ones on their own ports (scripts/servers.sh). Missing Debian packages are installed; on a
machine with systemd, installing these two also starts their system services.

Exit codes: 0 all passed; 64 command line; anything else: the check named last failed.
EOF
}

# announce quick|full : prints it once; with_servers runs this script again.
announce() {
    [ -z "${MIG_TEST_ANNOUNCED:-}" ] || return 0
    export MIG_TEST_ANNOUNCED=yes
    if [ "$1" = full ]; then
        say "Installs what is missing, builds, runs every check and test and samples of every fault: about 30 minutes on 2 cores on a fresh checkout."
    else
        say "Installs what is missing, builds, runs every check and the quick tests: about 20 minutes on 2 cores on a fresh checkout."
    fi
}

# conclude quick|full : prints the last line; tests that skipped something have written so to MIG_SCORES.
conclude() {
    local skipped
    skipped=$(jq -rs 'map(select(.note | startswith("SKIPPED")) | "\(.test) (\(.note | sub("^[^:]*: "; "")))") | unique | join(", ")' "$MIG_SCORES")
    [ "$1" = full ] || skipped="${skipped:+$skipped, }with --quick the scoreboard, quickstart and the examples in the documentation"
    step "everything passed; skipped: ${skipped:-nothing}"
}

step() { printf '\n== %s\n' "$*"; }

# Each feature must build alone: an agent links no database, a scheduler no search.
check_features() {
    local features
    for features in agent server client; do
        step "only $features"
        cargo check --release --locked --quiet --lib --bins --no-default-features --features "$features"
    done
}

# run_tests NAME... : runs all but these test programs.
run_tests() {
    local name filter=()
    if cargo nextest --version >/dev/null 2>&1; then
        filter=("not ($(printf 'binary(%s) or ' "$@")none())")
        cargo nextest run --release --locked --no-fail-fast --status-level slow --final-status-level fail -E "${filter[@]}"
    else
        for name in tests/*.rs tests/*/main.rs; do
            name=${name#tests/} name=${name%/main.rs} name=${name%.rs}
            [[ " $* " == *" $name "* ]] || filter+=(--test "$name")
        done
        cargo test --release --locked --no-fail-fast --lib --bins "${filter[@]}"
    fi
}

main() {
    local wanted=${MIG_SCORES:-}
    cd "$root"
    MIG_SCORES=$(mktemp)
    export MIG_SCORES
    trap 'rm -f "$MIG_SCORES"' EXIT
    install_build_tools
    install jq gnupg shellcheck sqlite3 strace openssl systemd
    step "format"
    cargo fmt --check
    cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
    step "tests"
    if [ "$1" = quick ]; then
        run_tests "${scoreboard_tests[@]}" quickstart
    else
        run_tests "${scoreboard_tests[@]}"
        cargo test --release --locked --quiet --doc
    fi
    step "clippy"
    cargo clippy --release --locked --all-targets --quiet -- -D warnings
    check_features
    step "documentation"
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --quiet
    if [ "$1" = full ]; then
        step "scoreboard"
        scripts/scoreboard.sh --quick
    fi
    [ -z "$wanted" ] || cat "$MIG_SCORES" >>"$wanted"
    conclude "$1"
}

case "${1:-}" in
    '')
        announce full
        with_servers
        main full
        ;;
    --quick)
        announce quick
        with_servers --quick
        main quick
        ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 64
        ;;
esac
