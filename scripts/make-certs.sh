#!/usr/bin/env bash
# Creates a certificate authority, a server certificate for RabbitMQ and client certificates, for trying out AMQPS.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/make-certs.sh [--host NAME]... DIR

Creates in DIR, and DIR if it is missing:

  cacert.pem, ca-key.pem                           the authority
  server.pem, server-key.pem                       the broker, for localhost, 127.0.0.1 and every NAME or address
  scheduler-amqps.pem, scheduler-amqps-key.pem     the scheduler
  agent-amqps.pem, agent-amqps-key.pem             the agents

Keys are EC P-256 in PKCS#8, mode 0600; certificates are valid for a year, the authority's for ten. Keeps every key,
and certificates that are valid for 30 more days and have the names of --host. conf/README.md says where to install them. No
program needs the authority's key: keep it elsewhere, or delete it. Production takes the certificates of its own authority.

Example: scripts/make-certs.sh --host relay1.mig.example.net ./certs

Exit codes: 0 done; 1 failed, with a message; 64 command line.
TEXT
}

die() { printf 'make-certs.sh: %s\n' "$*" >&2; exit 1; }
wrong() { printf 'make-certs.sh: %s; try --help\n' "$*" >&2; exit 64; }

hosts=(localhost 127.0.0.1) dir=''
while [ $# -gt 0 ]; do
    case $1 in
        --host)
            [[ ${2:-} =~ ^[A-Za-z0-9.:*-]+$ ]] || wrong "--host: '${2:-}' is neither a host name nor an address"
            hosts+=("$2")
            shift
            ;;
        -h | --help) usage && exit ;;
        -*) wrong "unexpected argument '$1'" ;;
        *)
            [ -z "$dir" ] || wrong "unexpected argument '$1'"
            dir=$1
            ;;
    esac
    shift
done
[ -n "$dir" ] || wrong "the directory is missing"
command -v openssl >/dev/null || die "openssl is missing: apt-get install openssl"

# openssl_quiet ARGUMENT... : prints its output only if it fails.
openssl_quiet() {
    local output
    output=$(openssl "$@" 2>&1) || die "openssl $1: $output"
}

is_address() { [[ $1 == *:* || $1 =~ ^[0-9.]+$ ]]; }

# key FILE
key() {
    [ -s "$1" ] || openssl_quiet genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
    chmod 600 -- "$1"
}

# is_good CERTIFICATE KEY AUTHORITY : whether it is valid for 30 more days, of this key, signed by this authority.
is_good() {
    [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend 2592000 >/dev/null 2>&1 &&
        openssl verify -CAfile "$3" "$1" >/dev/null 2>&1 &&
        [ "$(openssl x509 -in "$1" -noout -pubkey)" = "$(openssl pkey -in "$2" -pubout)" ]
}

# names CERTIFICATE HOST... : whether it has all of them.
names() {
    local certificate=$1 host option
    shift
    for host in "$@"; do
        option=-checkhost
        ! is_address "$host" || option=-checkip
        openssl x509 -in "$certificate" -noout "$option" "$host" | grep -q 'does match' || return 1
    done
}

authority() {
    # Without its key no certificate can be created; the existing ones stay valid.
    if [ -s "$dir/cacert.pem" ] && [ ! -e "$dir/ca-key.pem" ]; then return; fi
    key "$dir/ca-key.pem"
    ! is_good "$dir/cacert.pem" "$dir/ca-key.pem" "$dir/cacert.pem" || return 0
    printf '%s\n' '[req]' 'distinguished_name = name' 'x509_extensions = authority' '[name]' '[authority]' \
        'basicConstraints = critical, CA:TRUE, pathlen:0' 'keyUsage = critical, keyCertSign, cRLSign' \
        'subjectKeyIdentifier = hash' >"$scratch"
    openssl_quiet req -x509 -new -key "$dir/ca-key.pem" -config "$scratch" -subj '/CN=MIG authority' -days 3650 -sha256 -out "$dir/cacert.pem"
    chmod 644 -- "$dir/cacert.pem"
    printf 'created %s\n' "$dir/cacert.pem"
}

# certificate NAME COMMON-NAME USAGE [HOST]...
certificate() {
    local file=$dir/$1.pem key=$dir/$1-key.pem subject=$2 usage=$3 host alternatives=()
    shift 3
    key "$key"
    if is_good "$file" "$key" "$dir/cacert.pem" && names "$file" "$@"; then return; fi
    [ -s "$dir/ca-key.pem" ] || die "cannot create $file: $dir/ca-key.pem is missing"
    for host in "$@"; do
        if is_address "$host"; then alternatives+=("IP:$host"); else alternatives+=("DNS:$host"); fi
    done
    {
        printf '%s\n' 'basicConstraints = critical, CA:FALSE' 'keyUsage = critical, digitalSignature' \
            "extendedKeyUsage = $usage" 'subjectKeyIdentifier = hash' 'authorityKeyIdentifier = keyid'
        [ ${#alternatives[@]} -eq 0 ] || (IFS=, && printf 'subjectAltName = %s\n' "${alternatives[*]}")
    } >"$scratch"
    openssl_quiet req -new -key "$key" -subj "/CN=$subject" -out "$request"
    openssl_quiet x509 -req -in "$request" -CA "$dir/cacert.pem" -CAkey "$dir/ca-key.pem" -set_serial "0x$(openssl rand -hex 16)" \
        -days 365 -sha256 -extfile "$scratch" -out "$file"
    chmod 644 -- "$file"
    printf 'created %s\n' "$file"
}

# Keys are private from the first byte.
umask 077
if [ ! -d "$dir" ]; then
    mkdir -p -- "$dir" || die "cannot create $dir"
    chmod 755 -- "$dir"
fi
scratch=$(mktemp) request=$(mktemp)
trap 'rm -f "$scratch" "$request"' EXIT
authority
certificate server "${hosts[2]:-localhost}" serverAuth "${hosts[@]}"
certificate scheduler-amqps scheduler clientAuth
certificate agent-amqps agent clientAuth
