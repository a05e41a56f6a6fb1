# Shared by createlocaldb.sh and createremotedb.sh: roles, passwords and tables of the PostgreSQL store. All of it is
# idempotent: what exists is kept. Passwords reach psql through its standard input only.
# shellcheck shell=bash

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Callers set: connect, the command that runs psql; credentials, the file for passwords; new_passwords, yes or no.

connect=(psql)

# sql DATABASE : runs the SQL on standard input; prints bare values.
sql() { "${connect[@]}" -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -f -; }

# new_password : prints 32 characters that need no quoting anywhere.
new_password() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

# known_password ROLE : prints the one in the credentials file, if any.
known_password() { [ ! -e "$credentials" ] || sed -n "s/^$1\/\([A-Za-z0-9_-]\{1,\}\)\$/\1/p" "$credentials"; }

# lock_credentials : permits one run at a time on this machine, until the script exits.
lock_credentials() {
    local directory
    directory=$(dirname -- "$credentials")
    [ -d "$directory" ] || die "the directory of $credentials is missing; choose another file with --credentials"
    exec 9<"$directory"
    flock 9
}

# roles DATABASE ROLE... : creates missing ones of those users and migreadonly, and sets passwords: of new users, and
# with --new-passwords of all. Writes the file before the server gets the passwords. Sets `created` and `kept`.
roles() {
    local database=$1 existing role password statements=""
    local -A passwords=()
    shift
    created="" kept="" unknown=""
    existing=$(sql "$database" <<<"SELECT rolname FROM pg_roles WHERE rolname LIKE 'mig%';") || exit 1
    for role in "$@"; do
        password=$(known_password "$role")
        if ! grep -qx "$role" <<<"$existing"; then
            passwords[$role]=${password:-$(new_password)}
            statements+="CREATE ROLE $role LOGIN PASSWORD '${passwords[$role]}';"$'\n'
            created+=" $role"
        elif [ "$new_passwords" = yes ]; then
            passwords[$role]=$(new_password)
            statements+="ALTER ROLE $role LOGIN PASSWORD '${passwords[$role]}';"$'\n'
            created+=" $role"
        else
            [ -n "$password" ] || unknown+=" $role"
            passwords[$role]=$password
            kept+=" $role"
        fi
    done
    grep -qx migreadonly <<<"$existing" || statements+="CREATE ROLE migreadonly NOLOGIN;"$'\n'
    (
        umask 077
        {
            [ ! -e "$credentials" ] || grep -v -x -E "($(IFS='|'; printf '%s' "$*"))/.*" "$credentials" || true
            for role in "$@"; do
                [ -z "${passwords[$role]}" ] || printf '%s/%s\n' "$role" "${passwords[$role]}"
            done
        } >"$credentials.new"
    ) || die "cannot write $credentials.new"
    sql "$database" <<SQL || die "cannot create the users; if passwords changed, the new ones are in $credentials.new"
BEGIN;
-- Keeps the passwords out of the server's log. Only a superuser may set it.
SELECT set_config('log_statement', 'none', true), set_config('log_min_duration_statement', '-1', true)
    WHERE current_setting('is_superuser') = 'on' \g /dev/null
$statements
SELECT 'GRANT migreadonly TO migscheduler' WHERE NOT pg_has_role('migscheduler', 'migreadonly', 'MEMBER') \gexec
SELECT 'GRANT migreadonly TO migapi' WHERE NOT pg_has_role('migapi', 'migreadonly', 'MEMBER') \gexec
COMMIT;
SQL
    mv -f -- "$credentials.new" "$credentials"
}

# utf8 DATABASE : ends the script unless the database has that encoding, which results need.
utf8() {
    local encoding
    encoding=$(sql "$1" <<<"SHOW server_encoding;") || die "cannot look at the database $1"
    [ "$encoding" = UTF8 ] ||
        die "the database $1 is there and has the encoding $encoding, MIG needs UTF8; drop it, or choose another name with PGDATABASE"
}

# tables DATABASE [OWNER] : creates or upgrades the tables, and grants the roles their permissions.
tables() {
    sql "$1" <<SQL || die "cannot create or upgrade the tables; they are unchanged"
${2:+SET ROLE $2;}
$(cat "$root/src/store/postgres.sql")
REVOKE ALL ON DATABASE "$1" FROM PUBLIC;
GRANT CONNECT ON DATABASE "$1" TO migscheduler, migapi;
SQL
}

# report : prints where what the configuration needs is.
report() {
    [ -z "$kept" ] || say "kept users:$kept"
    [ -z "$unknown" ] || say "not in $credentials:$unknown; --new-passwords sets new ones"
    [ -z "$created" ] || say "created users:$created"
    say "passwords are in $credentials"
}

# options PROGRAM_ARGUMENT... : parses the options of both scripts.
options() {
    credentials=${MIG_CREDENTIALS:-$HOME/.mig-database}
    new_passwords=no
    while [ $# -gt 0 ]; do
        case $1 in
            --credentials) credentials=${2:?--credentials needs a file}; shift ;;
            --new-passwords) new_passwords=yes ;;
            -h | --help) usage; exit 0 ;;
            *) usage >&2; exit 64 ;;
        esac
        shift
    done
    case $PGDATABASE in
        '' | *[!A-Za-z0-9_-]*) die "PGDATABASE: '$PGDATABASE' is not a name of letters, digits, _ and -" ;;
    esac
    command -v psql >/dev/null || die "psql is missing; install postgresql-client"
}
