#!/usr/bin/env bash
# Makes the database of the PostgreSQL store on this machine's server, or brings it up to date.
set -euo pipefail
# shellcheck source=scripts/database-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/database-lib.sh"

usage() {
    cat <<'TEXT'
Usage: scripts/createlocaldb.sh [--credentials FILE] [--new-passwords]

Makes the database mig with its tables on the PostgreSQL server of this machine, and the users
  migadmin      owns the tables and changes them
  migscheduler  for mig-scheduler: reads and writes, deletes nothing
  migapi        for the API: reads; adds and disables investigators; never sees the scheduler's private key
  migreadonly   cannot log in: targets are evaluated as this role, which reads agents, actions and commands
It works as the server's superuser: run it as root, as postgres, or as somebody who may use sudo. It may be run again at any
time: data and passwords are kept, and what a newer version of MIG needs is added.

  --credentials FILE  keeps the passwords, for nobody else to read (default: $MIG_CREDENTIALS or ~/.mig-database)
  --new-passwords     gives all users new passwords

PGDATABASE is the database's name, mig if not set. With PGHOST the server is reached there, as PGUSER (default: postgres).

Exit codes: 0 done; 1 something failed, the text says what; 64 command line.
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
sql postgres <<SQL || die "the database was not made"
SELECT 'CREATE DATABASE "$database" OWNER migadmin ENCODING ''UTF8'' TEMPLATE template0'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$database') \gexec
SQL
sql "$database" <<'SQL' || die "the schema was not given to migadmin"
ALTER SCHEMA public OWNER TO migadmin;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SQL
tables "$database" migadmin
report
