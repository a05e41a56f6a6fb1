# Shared by createlocaldb.sh and createremotedb.sh: roles, passwords and tables of the PostgreSQL store. All of it may be
# done again: what is there is kept. Passwords reach psql through its standard input only.
# shellcheck shell=bash

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Those who use it set: connect, the command that runs psql; credentials, the file for passwords; new_passwords, yes or no.

connect=(psql)

# sql DATABASE : runs what comes on the standard input; prints bare values.
sql() { "${connect[@]}" -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -f -; }

# new_password : 32 characters that need no quoting anywhere.
new_password() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

# known_password ROLE : the one in the credentials file, if any.
known_password() { [ ! -e "$credentials" ] || sed -n "s/^$1\/\([A-Za-z0-9_-]\{1,\}\)\$/\1/p" "$credentials"; }

# lock_credentials : one run at a time on this machine, for as long as the script lives.
lock_credentials() {
    local directory
    directory=$(dirname -- "$credentials")
    [ -d "$directory" ] || die "there is no directory $directory for $credentials; choose another file with --credentials"
    exec 9<"$directory"
    flock 9
}

# roles DATABASE ROLE... : makes those users and migreadonly where they are missing, and gives them passwords: new users, and
# with --new-passwords all. The file has the passwords before the server does. Fills `created` and `kept`.
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
            created+=" $role/${passwords[$role]}"
        elif [ "$new_passwords" = yes ]; then
            passwords[$role]=$(new_password)
            statements+="ALTER ROLE $role LOGIN PASSWORD '${passwords[$role]}';"$'\n'
            created+=" $role/${passwords[$role]}"
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
    sql "$database" <<SQL || die "the users were not made; if passwords changed, the new ones are in $credentials.new"
BEGIN;
-- Otherwise the server's log may get the passwords. Only a superuser may ask for it.
SELECT set_config('log_statement', 'none', true), set_config('log_min_duration_statement', '-1', true)
    WHERE current_setting('is_superuser') = 'on' \g /dev/null
$statements
SELECT 'GRANT migreadonly TO migscheduler' WHERE NOT pg_has_role('migscheduler', 'migreadonly', 'MEMBER') \gexec
COMMIT;
SQL
    mv -f -- "$credentials.new" "$credentials"
}

# tables DATABASE [OWNER] : makes the tables or brings them up to date, and gives the roles their permissions.
tables() {
    sql "$1" <<SQL || die "the tables were not made; nothing of them was changed"
${2:+SET ROLE $2;}
$(cat "$root/src/store/postgres.sql")
REVOKE ALL ON DATABASE "$1" FROM PUBLIC;
GRANT CONNECT ON DATABASE "$1" TO migscheduler, migapi;
SQL
}

# report : what the configuration needs.
report() {
    [ -z "$kept" ] || say "kept users:$kept"
    [ -z "$unknown" ] || say "not in $credentials:$unknown; --new-passwords makes new passwords"
    [ -z "$created" ] || say "created users:$created"
    say "passwords are in $credentials"
}

# options PROGRAM_ARGUMENT... : those that both scripts have.
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
