# Shared by the other *.sh: the project's root, installation of missing Debian packages, private servers.
# shellcheck shell=bash

# shellcheck disable=SC2034  # used by the scripts that source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck disable=SC2034
# Test programs that scripts/scoreboard.sh runs; scripts/test.sh skips them.
scoreboard_tests=(faults crash hostile_drops hostile_messages second_user watch_and_time target_table signature_table parsers)

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# not_installed PACKAGE... : prints the missing ones, a line each.
not_installed() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || say "$package"
    done
}

# install PACKAGE... : installs the missing ones with apt-get, with sudo unless root. Waits for a concurrent run.
install() {
    local missing
    mapfile -t missing < <(not_installed "$@")
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || die "please install: ${missing[*]} (apt-get is missing)"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "please install as root: apt-get install ${missing[*]}"
    {
        flock 9
        mapfile -t missing < <(not_installed "$@")
        [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
    } 9</var/lib/dpkg
}

# apt_install PACKAGE... : waits at most ten minutes for other programs that install packages.
apt_install() {
    local sudo=() said until=$((SECONDS + 600))
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    say "installing $*"
    # apt-get waits for the lock of dpkg, but not for that of the package lists.
    until said=$("${sudo[@]}" env LC_ALL=C apt-get update -qq 2>&1 9<&-); do
        [[ $said == *lock* && $SECONDS -lt $until ]] || die "apt-get update: $said"
        sleep 2
    done
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=600 "$@" >/dev/null 9<&-
}

# Installs what cargo needs: a C compiler, nettle, libclang for its bindings, and perl for OpenSSL.
install_build_tools() {
    # The build scripts of OpenSSL accept spaces in a path, but no apostrophe.
    [[ $root != *\'* ]] || die "OpenSSL cannot be built below a directory with an apostrophe in its name: $root; move the project, then run this again"
    install build-essential pkg-config nettle-dev clang libclang-dev perl
    need_rust
}

need_rust() {
    command -v cargo >/dev/null || die "Rust 1.95 or newer is missing; install it with rustup (https://rustup.rs), then run this again"
}

# programs PROFILE : prints the directory with the programs of a cargo profile.
programs() {
    need_rust
    printf '%s/target/%s/%s\n' "$root" "$(rustc --print host-tuple)" "$1"
}

# with_servers ARGUMENT... : runs the script again with a private PostgreSQL and RabbitMQ, unless it has them.
with_servers() {
    [ -n "${MIG_TEST_SERVERS:-}" ] || exec "$root/scripts/servers.sh" run "$root/scripts/${0##*/}" "$@"
}
