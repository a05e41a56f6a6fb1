#!/usr/bin/env bash
# Runs every check and every test, from nothing: installs what is missing first.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
Usage: scripts/test.sh            every check and test
       scripts/test.sh --quick    without the slow ones (crashes at random, quickstart)

Exit codes: 0 all passed; 64 command line; anything else: the check named last failed.
EOF
}

step() { printf '\n== %s\n' "$*"; }

# Each part of the program must build alone: an agent links no database, a scheduler no search.
check_features() {
    local features
    for features in agent server client; do
        step "only $features"
        cargo check --release --locked --quiet --lib --bins --no-default-features --features "$features"
    done
}

run_tests() {
    local filter=("$@")
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --release --locked --no-fail-fast --status-level slow --final-status-level fail "${filter[@]}"
    else
        cargo test --release --locked --no-fail-fast
    fi
}

main() {
    cd "$root"
    install_build_tools
    install jq gnupg shellcheck sqlite3 strace
    step "format"
    cargo fmt --check
    cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
    step "tests"
    if [ "$1" = quick ]; then
        run_tests -E 'not (binary(crash) or binary(quickstart))'
    else
        run_tests
        cargo test --release --locked --quiet --doc
    fi
    step "clippy"
    cargo clippy --release --locked --all-targets --quiet -- -D warnings
    check_features
    step "documentation"
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --quiet
    step "everything passed"
}

case "${1:-}" in
    '') main full ;;
    --quick) main quick ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 64
        ;;
esac
