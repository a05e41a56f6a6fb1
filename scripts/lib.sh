# Shared by quickstart.sh, scoreboard.sh, servers.sh and test.sh: where the project is, and how missing Debian packages are installed.
# shellcheck shell=bash

# shellcheck disable=SC2034  # used by those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck disable=SC2034
# The test programs whose outcome scripts/scoreboard.sh prints; scripts/test.sh leaves them to it.
scoreboard_tests=(faults reliability)

# shellcheck disable=SC2034
# How much cargo tells while it builds: its progress on a terminal, elsewhere errors only (it would be a line for each crate).
cargo_says=(--quiet)
[ ! -t 2 ] || cargo_says=()

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# not_installed PACKAGE... : those of them, a line each.
not_installed() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || say "$package"
    done
}

# install PACKAGE... : those that are missing, with apt-get, with sudo when not root. Another run that installs something is
# waited for.
install() {
    local missing
    mapfile -t missing < <(not_installed "$@")
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || die "please install: ${missing[*]} (there is no apt-get here)"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "please install as root: apt-get install ${missing[*]}"
    {
        flock 9
        mapfile -t missing < <(not_installed "$@")
        [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
    } 9</var/lib/dpkg
}

# apt_install PACKAGE... : waits ten minutes at most for other programs that install something.
apt_install() {
    local sudo=() said until=$((SECONDS + 600))
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    say "installing $*"
    # It waits for the lock of dpkg by itself, but not for that of the lists.
    until said=$("${sudo[@]}" env LC_ALL=C apt-get update -qq 2>&1 9<&-); do
        [[ $said == *lock* && $SECONDS -lt $until ]] || die "apt-get update: $said"
        sleep 2
    done
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=600 "$@" >/dev/null 9<&-
}

# What cargo needs to build everything: a C compiler, nettle, libclang for its bindings, and OpenSSL.
install_build_tools() {
    install build-essential pkg-config nettle-dev clang libclang-dev libssl-dev
    need_rust
}

# The same for what is shipped, the feature `vendored`: OpenSSL is built, with perl.
install_shipping_tools() {
    # The scripts that OpenSSL is built with take spaces, but not this.
    [[ $root != *\'* ]] || die "OpenSSL cannot be built below a directory with an apostrophe in its name: $root; move the project, then run this again"
    install perl
    install_build_tools
}

need_rust() {
    command -v cargo >/dev/null || die "Rust 1.95 or newer is missing; install it with rustup (https://rustup.rs), then run this again"
}

# programs PROFILE : the folder that cargo builds the programs of a profile into.
programs() {
    need_rust
    printf '%s/target/%s/%s\n' "$root" "$(rustc --print host-tuple)" "$1"
}

# with_servers ARGUMENT... : runs this script again with a private PostgreSQL and RabbitMQ, unless it has them already.
with_servers() {
    [ -n "${MIG_TEST_SERVERS:-}" ] || exec "$root/scripts/servers.sh" run "$root/scripts/${0##*/}" "$@"
}
