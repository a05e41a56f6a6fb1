#!/usr/bin/env bash
# Runs every check and every test, from nothing: installs what is missing first.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
Usage: scripts/test.sh            every check and test, and the samples of scripts/scoreboard.sh
       scripts/test.sh --quick    without the slow ones (scoreboard, quickstart, the OpenSSL that is shipped)

PostgreSQL and RabbitMQ are private ones on ports of their own (scripts/servers.sh). Where Debian's packages of them are
missing they are installed, and on a machine that runs systemd Debian starts its own services of them then.

Exit codes: 0 all passed; 64 command line; anything else: the check named last failed.
EOF
}

# announce quick|full : once; with_servers runs this script again.
announce() {
    [ -z "${MIG_TEST_ANNOUNCED:-}" ] || return 0
    export MIG_TEST_ANNOUNCED=yes
    if [ "$1" = full ]; then
        say "Installs what is missing, builds, runs every check and test and samples of every fault: about 30 minutes on 2 cores, from nothing."
    else
        say "Installs what is missing, builds, runs every check and the quick tests: about 20 minutes on 2 cores, from nothing."
    fi
}

# conclude quick|full : the last line; every test that could not try something here has written so to MIG_SCORES.
conclude() {
    local skipped
    skipped=$(jq -rs 'map(select(.note | startswith("SKIPPED")) | "\(.test) (\(.note | sub("^[^:]*: "; "")))") | unique | join(", ")' "$MIG_SCORES")
    [ "$1" = full ] || skipped="${skipped:+$skipped, }with --quick the scoreboard, quickstart, the OpenSSL that is shipped and the examples in the documentation"
    step "everything passed; skipped: ${skipped:-nothing}"
}

step() { printf '\n== %s\n' "$*"; }

# What makes requests from the description of the API, in a place of its own.
install_schemathesis() {
    local place=$root/target/schemathesis
    install python3-venv
    [ -x "$place/bin/schemathesis" ] ||
        { python3 -m venv "$place" && "$place/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5; } ||
        die "cannot install schemathesis from PyPI"
    export MIG_SCHEMATHESIS=$place/bin/schemathesis
}

# Each part of the program must build alone: an agent links no database, a scheduler no search.
check_features() {
    local features
    for features in agent server client; do
        step "only $features"
        cargo check --release --locked --quiet --lib --bins --no-default-features --features "$features"
    done
}

# What is shipped has an OpenSSL of its own. See .cargo/perl-for-openssl for how it could lose its threads.
check_shipped() {
    step "what is shipped"
    cargo check --release --locked --quiet --bins --features vendored
    local made=("$(programs release)"/build/openssl-sys-*/out/openssl-build/install/include/openssl/configuration.h)
    [ "$(grep -ls 'define OPENSSL_THREADS' "${made[@]}" | wc -l)" -eq ${#made[@]} ] ||
        die "the OpenSSL that is shipped was built without threads, its locks do nothing: ${made[*]}"
}

# An agent with its configuration inside, as an operator builds it: its version names date, commit and environment, and with
# STAMPKEY it takes no configuration that the key has not signed.
check_built_agent() {
    step "an agent with its configuration inside"
    local made said key
    made=$(mktemp -d)
    mkdir -m 700 "$made/gnupg"
    export GNUPGHOME=$made/gnupg
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key 'Fleet <fleet@example.net>' ed25519 sign never
    key=$(gpg --batch --no-auto-check-trustdb --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }')
    gpg --batch --armor --export >"$made/fleet.asc"
    cat >"$made/conf.toml" <<EOF
amqpbroker = "dir:///var/lib/mig/relay"
agentacl = ['{"default": {"minimumweight": 1, "investigators": {"Fleet": {"fingerprint": "$key", "weight": 1}}}}']
publicpgpkeys = ['''
$(cat "$made/fleet.asc")
''']
EOF
    gpg --batch --quiet --armor --detach-sign "$made/conf.toml"
    build_agent() {
        scripts/build-agent.sh PROFILE=release AGTCONF="$made/conf.toml" OUTPUT="$made/mig-agent" BUILDENV=test STAMPKEY="$key" "$@"
    }
    ! said=$(build_agent 2>&1) || die "a configuration that is not signed made an agent that takes signed ones only: $said"
    [[ $said == *"is not signed"* ]] || die "a configuration that is not signed is refused with: $said"
    build_agent SIGNATURE="$made/conf.toml.asc" SIGNER="$made/fleet.asc"
    said=$("$made/mig-agent" -V)
    [[ $said =~ ^([0-9]{8}\+[0-9a-f]{7,}|[0-9.]+)(-dirty)?\.test$ ]] || die "the version of the agent that was built is '$said'"
    ! said=$("$made/mig-agent.unstamped" -c /etc/hostname --once 2>&1) || die "without a stamp it takes a file: $said"
    [[ $said == *"takes none but those that key $key has signed"* ]] || die "without a stamp it says: $said"
    said=$("$made/mig-agent" --show-config -c '')
    [[ $said == *"signed by $key"* ]] || die "the agent that was built does not name the signer: $said"
    ! said=$(scripts/build-agent.sh AGTCONF="$made/conf.toml" OS=windows 2>&1) || die "an agent for windows was built"
    [[ $said == *"agents for windows cannot be built"* ]] || die "an agent for windows is refused with: $said"
    gpgconf --kill all
    unset GNUPGHOME
    rm -rf "$made"
}

# run_tests [MODULE] : all but those that scripts/scoreboard.sh runs; without the tests in that module.
run_tests() {
    local name filter=()
    if cargo nextest --version >/dev/null 2>&1; then
        filter=("not ($(printf 'binary(%s) or ' "${scoreboard_tests[@]}")test(/^${1:-none}::/))")
        cargo nextest run --release --locked --no-fail-fast --status-level slow --final-status-level fail -E "${filter[@]}"
    else
        for name in tests/*/main.rs; do
            name=${name#tests/} name=${name%/main.rs}
            [[ " ${scoreboard_tests[*]} " == *" $name "* ]] || filter+=(--test "$name")
        done
        cargo test --release --locked --no-fail-fast --lib --bins "${filter[@]}" -- ${1:+--skip "$1::"}
    fi
}

main() {
    local wanted=${MIG_SCORES:-}
    cd "$root"
    MIG_SCORES=$(mktemp)
    export MIG_SCORES
    trap 'rm -f "$MIG_SCORES"' EXIT
    if [ "$1" = full ]; then install_shipping_tools; else install_build_tools; fi
    install jq gnupg shellcheck sqlite3 strace openssl openssh-client systemd tinyproxy iproute2 yara rpm db5.3-util python3-venv
    install_schemathesis
    step "format"
    cargo fmt --check
    cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
    step "tests"
    if [ "$1" = quick ]; then
        run_tests quickstart
    else
        run_tests
        cargo test --release --locked --quiet --doc
    fi
    step "clippy"
    cargo clippy --release --locked --all-targets --quiet -- -D warnings
    check_features
    step "documentation"
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --quiet
    if [ "$1" = full ]; then
        check_built_agent
        check_shipped
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
