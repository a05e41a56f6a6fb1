#!/usr/bin/env bash
# Creates or upgrades the database of the PostgreSQL store on this machine's server.
set -euo pipefail
# shellcheck source=scripts/database-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/database-lib.sh"

usage() {
    cat <<'TEXT'
Usage: scripts/createlocaldb.sh [--credentials FILE] [--new-passwords]

Creates the database mig with its tables on the PostgreSQL server of this machine, and the users
  migadmin      owns the tables and changes them
  migscheduler  for mig-scheduler: reads and writes, deletes nothing
  migapi        for the API: reads; adds and disables investigators; cannot read the scheduler's private key
  migreadonly   cannot log in: targets are evaluated as this role, which reads agents, actions and commands
It connects as the server's superuser: run it as root, as postgres, or as a user with sudo. It is idempotent: it keeps data
and passwords, and adds what a newer version of MIG needs.

  --credentials FILE  the file for the passwords, mode 0600 (default: $MIG_CREDENTIALS or ~/.mig-database)
  --new-passwords     sets new passwords for all users

PGDATABASE is the database's name (default: mig). With PGHOST it connects to that server, as PGUSER (default: postgres).

Exit codes: 0 done; 1 failed, with a message; 64 command line.
TEXT
}

PGDATABASE=${PGDATABASE:-mig}
database=$PGDATABASE
options "$@"
if [ -n "${PGHOST:-}" ]; then
    export PGUSER=${PGUSER:-postgres}
    connect=(psql)
elif [ "$(id -un)" = postgres ]; then
    connect=(psql)
elif [ "$(id -u)" -eq 0 ]; then
    connect=(runuser -u postgres -- env "PGPORT=${PGPORT:-5432}" psql)
else
    connect=(sudo -u postgres env "PGPORT=${PGPORT:-5432}" psql)
fi
credentials=$(realpath -m -- "$credentials")
cd /
lock_credentials

roles postgres migadmin migscheduler migapi
sql postgres <<SQL || die "cannot create the database"
SELECT 'CREATE DATABASE "$database" OWNER migadmin ENCODING ''UTF8'' TEMPLATE template0'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$database') \gexec
SQL
utf8 "$database"
sql "$database" <<'SQL' || die "cannot set the schema's owner to migadmin"
ALTER SCHEMA public OWNER TO migadmin;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SQL
tables "$database" migadmin
report
