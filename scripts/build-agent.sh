#!/usr/bin/env bash
# Builds an agent with its configuration inside: one file that needs no other.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/build-agent.sh AGTCONF=FILE [BUILDENV=NAME] [OS=linux] [ARCH=amd64] [OUTPUT=FILE]
                              [STAMPKEY=FINGERPRINT] [SIGNATURE=FILE SIGNER=FILE] [PROFILE=dist]

AGTCONF    the configuration: a copy of conf/mig-agent-conf.toml.inc (default: conf/mig-agent-conf.toml)
BUILDENV   the last part of the agent's version, such as prod: 20261125+abc1234.prod
OS, ARCH   what the agent is for; only what this machine is, because nothing else can be built here
OUTPUT     the agent (default: target/agents/OS/ARCH/mig-agent)
STAMPKEY   the agent takes configurations only that this OpenPGP key has signed
SIGNATURE  made by gpg --armor --detach-sign AGTCONF; SIGNER is the public key. With STAMPKEY they are required
PROFILE    dist (what is shipped), or release (built sooner, larger)

The program without a configuration stays beside it, OUTPUT.unstamped: mig-agent --stamp writes another configuration into a
copy of it, without a compiler.

Exit codes: 0 done; 64 command line; 66 no such file; 78 the configuration has an error; anything else: what was named last failed.
USAGE
}

refuse() { printf '%s: %s\n' "${0##*/}" "$1" >&2; exit "${2:-64}"; }

# What uname -m calls the original's names of architectures.
machine_of() {
    case $1 in
        amd64) say x86_64 ;;
        arm64) say aarch64 ;;
        *) say "$1" ;;
    esac
}

# The date and the commit of what is built; the package's version where there is no git.
version() {
    local commit
    commit=$(git -C "$root" log -1 --format='%cd+%h' --date=format:%Y%m%d --abbrev=7 2>/dev/null) ||
        commit=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
    # A stamp is for one version: what is built from other files has another one.
    [ -z "$(git -C "$root" status --porcelain --untracked-files=no 2>/dev/null)" ] || commit+=-dirty
    say "$commit"
}

main() {
    local AGTCONF=conf/mig-agent-conf.toml BUILDENV='' OS=linux ARCH OUTPUT='' STAMPKEY='' SIGNATURE='' SIGNER='' PROFILE=dist
    local word name flags=() stamp=()
    case $(uname -m) in
        x86_64) ARCH=amd64 ;;
        aarch64) ARCH=arm64 ;;
        *) ARCH=$(uname -m) ;;
    esac
    for word; do
        name=${word%%=*}
        case $word in
            AGTCONF=* | BUILDENV=* | OS=* | ARCH=* | OUTPUT=* | STAMPKEY=* | SIGNATURE=* | SIGNER=* | PROFILE=*)
                printf -v "$name" '%s' "${word#*=}"
                ;;
            -h | --help)
                usage
                exit 0
                ;;
            *) refuse "'$word' is none of AGTCONF=, BUILDENV=, OS=, ARCH=, OUTPUT=, STAMPKEY=, SIGNATURE=, SIGNER=, PROFILE=; try --help" ;;
        esac
    done
    [ "$OS" = linux ] ||
        refuse "OS=$OS: agents for $OS cannot be built: what differs between systems (src/agent/os) is written for linux only"
    [ "$(machine_of "$ARCH")" = "$(uname -m)" ] ||
        refuse "ARCH=$ARCH: this machine is $(uname -m), and there is no compiler for another one; run this on a machine of that architecture"
    case $PROFILE in
        dist) flags=(--profile dist --no-default-features --features agent --features vendored) ;;
        release) flags=(--profile release) ;;
        *) refuse "PROFILE=$PROFILE is neither dist nor release" ;;
    esac
    [ -r "$AGTCONF" ] || refuse "AGTCONF=$AGTCONF: there is no such file; copy conf/mig-agent-conf.toml.inc and edit it" 66
    OUTPUT=${OUTPUT:-$root/target/agents/$OS/$ARCH/mig-agent}
    [ -z "$BUILDENV" ] || stamp+=(--buildenv "$BUILDENV")
    [ -z "$SIGNATURE$SIGNER" ] || stamp+=(--signature "$SIGNATURE" --signer "$SIGNER")

    if [ "$PROFILE" = dist ]; then install_shipping_tools; else install_build_tools; fi
    mkdir -p "$(dirname "$OUTPUT")"
    export MIG_VERSION
    MIG_VERSION=$(version)
    [ -z "$STAMPKEY" ] || export MIG_STAMP_KEY=${STAMPKEY// /}
    # cargo reads its configuration from where it is started.
    (cd "$root" && env -u CARGO_TARGET_DIR cargo build --locked "${cargo_says[@]}" --bin mig-agent "${flags[@]}")
    command install -m 755 "$(programs "$PROFILE")/mig-agent" "$OUTPUT.unstamped"
    [ "$("$OUTPUT.unstamped" -V)" = "$MIG_VERSION" ] || die "$OUTPUT.unstamped is not the program that was just built"
    "$OUTPUT.unstamped" --stamp "$AGTCONF" --output "$OUTPUT" "${stamp[@]}"
}

main "$@"
