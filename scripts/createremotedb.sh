#!/usr/bin/env bash
# Makes the tables of the PostgreSQL store in a database on another machine, or brings them up to date.
set -euo pipefail

# Edit these, or set them in the environment: an empty database, and the user who owns it and may make users.
PGDATABASE=${PGDATABASE:-mig}
PGUSER=${PGUSER:-migadmin}
PGPASS=${PGPASS:-}
PGHOST=${PGHOST:-192.168.0.1}
PGPORT=${PGPORT:-5432}

# shellcheck source=scripts/database-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/database-lib.sh"

usage() {
    cat <<'TEXT'
Usage: scripts/createremotedb.sh [--credentials FILE] [--new-passwords]

Makes the tables of MIG in a PostgreSQL database that is there already, and the users
  migscheduler  for mig-scheduler: reads and writes, deletes nothing
  migapi        for the API: reads; adds and disables investigators; never sees the scheduler's private key
  migreadonly   cannot log in: targets are evaluated as this role, which reads agents, actions and commands
Edit the variables at the top of this file, or set them in the environment: PGDATABASE, PGUSER (its owner, with CREATEROLE),
PGPASS, PGHOST, PGPORT. It may be run again at any time: data and passwords are kept, and what a newer version of MIG
needs is added.

  --credentials FILE  keeps the passwords, for nobody else to read (default: $MIG_CREDENTIALS or ~/.mig-database)
  --new-passwords     gives both users new passwords

psql's own variables count too, such as PGSSLMODE=verify-full with PGSSLROOTCERT.

Exit codes: 0 done; 1 something failed, the text says what; 64 command line.
TEXT
}

database=$PGDATABASE
options "$@"
export PGUSER PGHOST PGPORT
[ -z "$PGPASS" ] || export PGPASSWORD=$PGPASS
connect=(psql -w)
lock_credentials

roles "$database" migscheduler migapi
tables "$database"
report
