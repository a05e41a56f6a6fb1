#!/usr/bin/env bash
# Creates or upgrades the tables of the PostgreSQL store in a database on another machine.
set -euo pipefail

# Edit these, or set them in the environment: an empty database, and its owner, with the right to create users.
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

Creates the tables of MIG in an existing PostgreSQL database, and the users
  migscheduler  for mig-scheduler: reads and writes, deletes nothing
  migapi        for the API: reads; adds and disables investigators; cannot read the scheduler's private key
  migreadonly   cannot log in: targets are evaluated as this role, which reads agents, actions and commands
Edit the variables at the top of this file, or set them in the environment: PGDATABASE, PGUSER (its owner, with CREATEROLE),
PGPASS, PGHOST, PGPORT. It is idempotent: it keeps data and passwords, and adds what a newer version of MIG needs.

  --credentials FILE  the file for the passwords, mode 0600 (default: $MIG_CREDENTIALS or ~/.mig-database)
  --new-passwords     sets new passwords for both users

psql's own variables apply too, such as PGSSLMODE=verify-full with PGSSLROOTCERT.

Exit codes: 0 done; 1 failed, with a message; 64 command line.
TEXT
}

database=$PGDATABASE
options "$@"
export PGUSER PGHOST PGPORT
[ -z "$PGPASS" ] || export PGPASSWORD=$PGPASS
connect=(psql -w)
lock_credentials

utf8 "$database"
roles "$database" migscheduler migapi
tables "$database"
report
